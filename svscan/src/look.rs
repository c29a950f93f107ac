//! The looks at entries and service directories. The result of each is a value, so that a helper process can look and send
//! the value (see [`RemoteMounts`](daemontools::service::RemoteMounts)). A look touches only what its fields lead to, and
//! `$SUPERVISEDIR`. The files in `look/` have the code of the looks, which svscan runs itself or the helper does. None of them
//! asks [`Probe`](crate::probe::Probe): svscan asks that, and that asks for looks.

pub mod contents;
pub mod entry;
pub mod files;
pub mod places;
pub mod signs;
pub mod written;

use crate::attached;
use crate::identity::{self, id_of};
use crate::table::Id;
use contents::{Completeness, ExaminedService, Logger};
use daemontools::encoding::Encode;
use daemontools::service::{
    AFTER, After, Commands, LOG, Look, OK, OrphanEnd, Place, Record, SPEAKS, STATE, Status, Unread, is_supervised_at,
    read_file, send_commands, setting,
};
use daemontools::sys::inotify::add_watch;
use daemontools::sys::kind::is_fifo;
use entry::{EntryKind, resolve, resolve_here, still_there};
use files::{FoundFiles, Stamp};
use nix::errno::Errno;
use nix::sys::inotify::AddWatchFlags;
use nix::sys::stat::{lstat, stat};
use nix::unistd::{AccessFlags, Pid, access};
use signs::Signs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

macro_rules! looks {
    ($($(#[$story:meta])* $code:literal $name:ident { $($field:ident: $kind:ty),* } -> $answer:ty
       { $look:expr } $(or $here:expr;)?)*) => {
        $(
            $(#[$story])*
            #[derive(Debug)]
            pub struct $name {
                $(pub $field: $kind),*
            }

            impl Look for $name {
                type Answer = $answer;

                fn look(&self) -> $answer {
                    let $name { $($field),* } = self;
                    $look
                }

                $(fn look_here(&self) -> Option<$answer> {
                    let here: fn(&$name) -> Option<$answer> = $here;
                    here(self)
                })?

                fn request(&self) -> Vec<u8> {
                    let mut bytes = vec![$code];
                    $(self.$field.encode(&mut bytes);)*
                    bytes
                }
            }
        )*

        /// Answers a request, in the helper; `None` if it is none.
        pub fn answer(request: &[u8]) -> Option<Vec<u8>> {
            let (code, mut rest) = request.split_first()?;
            let mut bytes = Vec::new();
            match *code {
                $($code => {
                    $(let $field = <$kind>::decode(&mut rest)?;)*
                    $name { $($field),* }.look().encode(&mut bytes);
                })*
                _ => return None,
            }
            Some(bytes)
        }
    };
}

looks! {
    /// Where an entry of the scan directory leads. `are_numbers_kept` tells that of the mount of the scan directory.
    1 ResolveEntry { name: PathBuf, are_numbers_kept: bool } -> EntryKind {
        { let _ = are_numbers_kept; resolve(name) }
    } or |look| if look.are_numbers_kept { resolve_here(&look.name) } else { None };
    /// What there is to supervise in a directory. `page` is what its last supervise has written in svscan's memory. An error
    /// has the file that could not be looked at, as its index in [`FILES`].
    2 Examine { folder: PathBuf, page: Option<Record> } -> Result<ExaminedService, (u8, Errno)> {
        contents::examine(folder, page.as_ref()).map_err(|(file, errno)| (index_of(file), errno))
    }
    /// What `log` in a service directory is.
    3 FindLogger { folder: PathBuf } -> Result<Logger, Errno> { contents::logger(folder) }
        or |look| contents::logger_here(&look.folder);
    /// Whether a service directory has all that it needs.
    4 FindCompleteness { folder: PathBuf } -> Completeness { contents::completeness(folder) }
    /// Whether this is a file, no link, with no second name.
    5 IsNewFile { path: PathBuf } -> bool {
        path.symlink_metadata().is_ok_and(|file| file.is_file() && file.nlink() == 1)
    }
    /// Whether a name still leads to a service.
    6 StillThere { place: PathBuf, id: Id } -> Result<(), Errno> { still_there(place, *id) }
    /// What the last supervise has written into `supervise/state`.
    7 ReadRecord { folder: PathBuf } -> Option<Record> { written::record(folder) }
    /// What the last supervise has written into `supervise/state`, if no other account could have written it.
    8 ReadTrustedRecord { folder: PathBuf } -> Result<Option<Record>, Unread> { Record::read_trusted(folder) }
    /// What `supervise/status` says, and `supervise/state` unless the page says it.
    9 ReadWritten { folder: PathBuf, has_page: bool } -> (Option<Status>, Option<Record>) {
        written::read(folder, *has_page)
    }
    /// The services that a service comes after, if its name still leads to it.
    10 ReadAfter { folder: PathBuf, id: Id } -> Option<After> {
        still_there(folder, *id).ok().and_then(|()| After::read(folder).ok())
    }
    /// What a setting says, if there is such a file.
    11 ReadSetting { file: PathBuf } -> Result<Option<Vec<u8>>, Unread> {
        Unread::unless_missing(read_file(file, setting::LONGEST))
    }
    /// Whether there is a file.
    12 IsThere { file: PathBuf } -> Result<bool, Errno> { contents::is_there(file) }
    /// Whether a file can be executed.
    13 IsExecutable { file: PathBuf } -> bool { access(file, AccessFlags::X_OK).is_ok() }
    /// Whether a service has a setting by which it may speak to its supervise. Only that the setting is there counts, not
    /// where it leads.
    14 MaySpeak { folder: PathBuf } -> bool {
        SPEAKS.into_iter().any(|setting| lstat(&folder.join(setting)).is_ok())
    }
    /// What tells which supervise is in charge; `None` if `supervise/ok` has no reader.
    15 ReadSigns { folder: PathBuf } -> Result<Option<Signs>, Errno> { signs::signs(folder) }
    /// Whether it is proven that no process holds the lock that every supervise in charge holds.
    16 IsUnlocked { folder: PathBuf } -> Result<bool, Errno> { signs::is_unlocked(folder) }
    /// Whether a supervise is in charge and has written its status.
    17 IsSupervised { folder: PathBuf } -> Result<bool, Errno> { is_supervised_at(folder) }
    /// The directory in which a process works.
    18 FindWorkingDirectory { pid: i32 } -> Result<Id, Errno> { identity::of_working_directory(Pid::from_raw(*pid)) }
    /// What a directory is, and its path: without any link, and with a link only in the last part.
    19 FindPlaces { folder: PathBuf } -> Result<(Id, (PathBuf, PathBuf)), Errno> { places::places(folder) }
    /// What tells whether `supervise/` is as it was.
    20 ReadStamp { folder: PathBuf } -> Result<Stamp, Errno> { Stamp::of(folder) } or |look| Stamp::of_here(&look.folder);
    /// Which files of a supervise in charge are there.
    21 FindFiles { folder: PathBuf } -> FoundFiles { FoundFiles::of(folder) }
    /// Writes commands into the FIFO of the supervise in charge.
    22 SendCommands { folder: PathBuf, commands: Commands } -> Result<(), Errno> {
        Place::of(folder).and_then(|place| send_commands(&place, commands))
    }
    /// Writes down how a process ended, for the next supervise.
    23 WriteEnd { folder: PathBuf, end: OrphanEnd } -> Result<(), Errno> {
        Place::of(folder).and_then(|place| end.write(&place).map_err(|unable| unable.errno))
    }
    /// Watches a directory through svscan's inotify, which has this number in the helper too. Returns the number of the watch.
    24 Watch { inotify: i32, place: WatchedPlace, changes: u32 } -> Result<i32, Errno> {
        place.path().and_then(|path| add_watch(*inotify, &path, AddWatchFlags::from_bits_truncate(*changes)))
    }
    /// The file that a descriptor of a process leads to, and whether that is a FIFO.
    25 FindDescriptor { path: PathBuf } -> Result<(Id, bool), Errno> {
        stat(path).map(|file| (id_of(&file), is_fifo(&file)))
    }
    /// Writes commands into the FIFO that a supervise of version 0.1.0 has open itself.
    26 CommandItself { pid: i32, commands: Commands } -> Result<(), Errno> {
        attached::command_itself(Pid::from_raw(*pid), commands)
    }
}

/// A directory that is watched.
#[derive(Debug, Clone)]
pub enum WatchedPlace {
    /// The directory itself.
    Itself(PathBuf),
    /// The `supervise/` of this service directory.
    SuperviseOf(PathBuf),
}

impl WatchedPlace {
    fn path(&self) -> nix::Result<PathBuf> {
        match self {
            WatchedPlace::Itself(path) => Ok(path.clone()),
            WatchedPlace::SuperviseOf(folder) => Place::of(folder).map(|place| place.directory().to_path_buf()),
        }
    }
}

impl Encode for WatchedPlace {
    fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            WatchedPlace::Itself(path) => (false, path.clone()).encode(bytes),
            WatchedPlace::SuperviseOf(path) => (true, path.clone()).encode(bytes),
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<WatchedPlace> {
        let (of_supervise, path) = <(bool, PathBuf)>::decode(bytes)?;
        Some(if of_supervise { WatchedPlace::SuperviseOf(path) } else { WatchedPlace::Itself(path) })
    }
}

/// The files of a service directory that may be impossible to look at.
pub const FILES: [&str; 5] = [LOG, AFTER, contents::ESSENTIAL, OK, STATE];

fn index_of(file: &str) -> u8 {
    FILES.iter().position(|known| *known == file).and_then(|index| u8::try_from(index).ok()).unwrap_or(0)
}

impl Encode for Id {
    fn encode(&self, bytes: &mut Vec<u8>) {
        (self.device, self.inode).encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Id> {
        <(u64, u64)>::decode(bytes).map(|(device, inode)| Id { device, inode })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<L: Look>(look: &L) -> L::Answer {
        let answer = answer(&look.request()).unwrap();
        let mut rest = answer.as_slice();
        let value = L::Answer::decode(&mut rest).unwrap();
        assert!(rest.is_empty());
        value
    }

    #[test]
    fn a_helper_finds_what_svscan_itself_finds() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("web");
        let entry = || format!("{:?}", asked(&ResolveEntry { name: folder.clone(), are_numbers_kept: true }));
        assert_eq!(entry(), format!("{:?}", resolve(&folder)));
        std::fs::create_dir_all(folder.join("log")).unwrap();
        assert_eq!(entry(), format!("{:?}", resolve(&folder)));
        assert!(entry().starts_with("Directory"));
        std::fs::write(folder.join("after"), "a\nb\n").unwrap();
        std::fs::write(folder.join("essential"), "").unwrap();
        let examine = Examine { folder: folder.clone(), page: Some(Record::blank()) };
        let found = asked(&examine).unwrap();
        assert_eq!(format!("{found:?}"), format!("{:?}", examine.look().unwrap()));
        assert_eq!((found.logger, found.essential, found.after.unwrap().names.len()), (Logger::Directory, true, 2));
        assert_eq!(asked(&ReadSetting { file: folder.join("after") }), Ok(Some(b"a\nb\n".to_vec())));
        assert_eq!(asked(&ReadSetting { file: folder.join("none") }), Ok(None));
        assert_eq!(asked(&ReadSetting { file: folder.clone() }), Err(Unread::WrongKind));
        assert_eq!(asked(&IsThere { file: folder.join("essential") }), Ok(true));
        assert!(!asked(&IsExecutable { file: folder.join("essential") }));
        assert!(asked(&IsNewFile { path: folder.join("essential") }));
        assert_eq!(asked(&StillThere { place: folder, id: Id { device: 0, inode: 0 } }), Err(Errno::ENOENT));
        assert_eq!(answer(&[99]), None);
        assert_eq!(answer(&[]), None);
    }
}
