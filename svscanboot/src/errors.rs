//! The pipe for errors, which outlives svscanboot and all programs that it starts: the supervises of a killed svscan
//! and their services go on writing to it, and the next readproctitle reads what they write.
//!
//! It is a FIFO that svscan and every supervise have open for reading and writing at once, so that no writer gets
//! SIGPIPE, and readproctitle never sees its end. It lies in the first of these places that is possible:
//!
//! 1. `DIRECTORY/.svscan/errors`, DIRECTORY being the scan directory;
//! 2. `/run/svscanboot.DEVICE.INODE`, with the numbers of DIRECTORY in hexadecimal, if DIRECTORY cannot be written to,
//!    or `.svscan` belongs to another account;
//! 3. nowhere: a pipe without a name, which the next svscanboot does not find.
//!
//! svscanboot finds a FIFO that is in use through a process that has it as standard error, even if the FIFO or its
//! folder was renamed, removed or replaced since.

use daemontools::service::{Unread, open_fifo_at, open_fifo_of};
use daemontools::sys;
use daemontools::sys::kind::is_fifo;
use daemontools::sys::process::{mount_of, proc_path, process_numbers};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, open, openat, renameat, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat, stat};
use nix::unistd::{Pid, UnlinkatFlags, geteuid, getpid, mkfifoat, pipe2, unlinkat};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The folder in the scan directory in which svscan's settings lie.
const FOLDER: &str = ".svscan";
const NAME: &str = "errors";
/// The name of a FIFO that is not complete yet.
const NEW: &str = ".errors.new";
/// More bytes than a readproctitle shows.
const LAST: usize = 4096;

/// The two ends of the pipe: readproctitle reads the one, and svscan has the other as standard output and error.
pub struct Pipe {
    pub reader: OwnedFd,
    pub writer: OwnedFd,
}

impl Pipe {
    /// Opens the pipe of this scan directory: that of an earlier svscanboot, if there was one.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn open(directory: &Path) -> nix::Result<Pipe> {
        in_use(directory)
            .map_or_else(|| beside_settings(directory), Ok)
            .or_else(|_| in_run(directory))
            .or_else(|_| nameless())
    }

    /// Makes room in a full pipe that has no reader now. A readproctitle would show none of the bytes that this
    /// discards.
    pub fn make_room(&self) {
        let unread = sys::unread(&self.reader).unwrap_or(0);
        if unread == 0 || has_room(&self.writer) {
            return;
        }
        let surplus = unread.saturating_sub(LAST).max(unread.div_ceil(2));
        // splice(2) need not wait even if another process has read in between; the other pipe is closed with its bytes.
        if let Ok((_reader, writer)) = pipe2(OFlag::O_CLOEXEC) {
            let _ = splice(&self.reader, None, &writer, None, surplus, SpliceFFlags::SPLICE_F_NONBLOCK);
        }
    }
}

fn has_room(writer: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(writer.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) != Ok(0)
}

fn open_folder(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

fn beside_settings(directory: &Path) -> nix::Result<Pipe> {
    let directory = open_folder(directory)?;
    match mkdirat(&directory, FOLDER, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST | Errno::EROFS) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open_or_make(&openat(&directory, FOLDER, flags, Mode::empty())?, NAME)
}

fn in_run(directory: &Path) -> nix::Result<Pipe> {
    let directory = stat(directory)?;
    let name = format!("svscanboot.{:x}.{:x}", directory.st_dev, directory.st_ino);
    open_or_make(&open_folder(Path::new("/run"))?, &name)
}

/// Makes a pipe without a name. Without `/proc`, its writing end cannot be read: writers get SIGPIPE when svscanboot is
/// killed.
fn nameless() -> nix::Result<Pipe> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    Ok(Pipe { reader, writer: sys::reopen_read_write(writer) })
}

fn open_or_make(folder: &OwnedFd, name: &str) -> nix::Result<Pipe> {
    let file = fstat(folder)?;
    let trusted = file.st_uid == geteuid().as_raw() || file.st_uid == 0;
    if !trusted || file.st_mode & 0o022 != 0 {
        return Err(Errno::EPERM);
    }
    let there = |name| open_both(|access| open_fifo_at(folder, Path::new(name), access));
    there(name).or_else(|_| {
        // The FIFO is put in place at once: another svscanboot finds a complete FIFO or none.
        let _ = unlinkat(folder, NEW, UnlinkatFlags::NoRemoveDir);
        mkfifoat(folder, NEW, Mode::from_bits_truncate(0o600))?;
        renameat(folder, NEW, folder, name)?;
        there(name)
    })
}

/// Opens both ends, each as an open file of its own, so that a process that changes the flags of one end does not
/// change those of the other.
fn open_both(end: impl Fn(OFlag) -> Result<OwnedFd, Unread>) -> nix::Result<Pipe> {
    let writer = end(OFlag::O_RDWR)?;
    let reader = end(OFlag::O_RDONLY)?;
    let (one, other) = (fstat(&reader)?, fstat(&writer)?);
    is_ours(&one)?;
    if (one.st_dev, one.st_ino) != (other.st_dev, other.st_ino) {
        return Err(Errno::ESTALE);
    }
    for end in [&reader, &writer] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::empty()))?;
    }
    Ok(Pipe { reader, writer })
}

/// Whether this is a FIFO that only our account can open.
fn is_ours(file: &FileStat) -> nix::Result<()> {
    let ours = file.st_uid == geteuid().as_raw() && file.st_mode & 0o077 == 0;
    if is_fifo(file) && ours { Ok(()) } else { Err(Errno::EPERM) }
}

/// Finds the FIFO that a process of our account has as standard error, even if it or its folder has another name now,
/// as such processes go on writing to it. The name that the kernel shows must begin as when the FIFO lay in this scan
/// directory, and the FIFO must lie on the same mount: in a container, another directory may have the same path.
fn in_use(directory: &Path) -> Option<Pipe> {
    let place = Place { folder: fs::canonicalize(directory).ok()?.join(FOLDER), mount: mount(directory)? };
    let owner = |pid: Pid| fs::metadata(proc_path(pid, "")).map(|file| file.uid());
    let ours = process_numbers().into_iter().filter(|pid| owner(*pid).is_ok_and(|owner| owner == geteuid().as_raw()));
    ours.into_iter().find_map(|pid| taken_up(pid, &place))
}

/// The place at which the FIFO of a scan directory lay before it was moved.
struct Place {
    folder: PathBuf,
    mount: u64,
}

/// The mount on which the folder of settings lies, or else that of the scan directory.
fn mount(directory: &Path) -> Option<u64> {
    let open = |path: &Path| open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let folder = open(&directory.join(FOLDER)).or_else(|_| open(directory)).ok()?;
    mount_of(getpid(), folder.as_raw_fd())
}

fn taken_up(pid: Pid, place: &Place) -> Option<Pipe> {
    let name = fs::read_link(proc_path(pid, "fd/2")).ok()?;
    let lies_there = name.as_os_str().as_bytes().starts_with(place.folder.as_os_str().as_bytes());
    if !lies_there || mount_of(pid, 2) != Some(place.mount) {
        return None;
    }
    open_both(|access| open_fifo_of(pid, 2, access)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{read, write};
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn inode(pipe: &Pipe) -> u64 {
        fstat(&pipe.writer).unwrap().st_ino
    }

    #[test]
    fn the_next_one_finds_it_and_what_is_in_it() {
        let scratch = tempfile::tempdir().unwrap();
        let first = beside_settings(scratch.path()).unwrap();
        write(&first.writer, b"said").unwrap();
        let second = beside_settings(scratch.path()).unwrap();
        drop(first.reader);
        let mut said = [0; 4];
        assert_eq!((read(&second.reader, &mut said), &said), (Ok(4), b"said"));
        let mode = fs::metadata(scratch.path().join(FOLDER).join(NAME)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn what_is_in_its_place_and_is_none_of_ours_is_replaced_and_not_touched() {
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path().join(FOLDER).join(NAME);
        fs::create_dir(scratch.path().join(FOLDER)).unwrap();
        let other = scratch.path().join("other");
        fs::write(&other, "other").unwrap();
        for make in [|place: &Path, _: &Path| fs::write(place, ""), |place: &Path, other: &Path| symlink(other, place)]
        {
            let _ = fs::remove_file(&place);
            make(&place, &other).unwrap();
            let pipe = beside_settings(scratch.path()).unwrap();
            assert!(is_ours(&fstat(&pipe.writer).unwrap()).is_ok());
        }
        fs::set_permissions(&place, Permissions::from_mode(0o622)).unwrap();
        let before = fs::metadata(&place).unwrap().ino();
        assert_ne!(inode(&beside_settings(scratch.path()).unwrap()), before, "others could write to that one");
        assert_eq!(fs::read(&other).unwrap(), b"other");
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_no_home() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join(FOLDER)).unwrap();
        fs::set_permissions(scratch.path().join(FOLDER), Permissions::from_mode(0o777)).unwrap();
        assert_eq!(beside_settings(scratch.path()).err(), Some(Errno::EPERM));
    }

    #[test]
    fn a_full_pipe_is_shortened_to_what_came_last() {
        let pipe = nameless().unwrap();
        pipe.make_room();
        for _ in 0..16 {
            write(&pipe.writer, &[b'x'; LAST]).unwrap();
        }
        assert!(!has_room(&pipe.writer));
        pipe.make_room();
        assert_eq!(sys::unread(&pipe.reader), Ok(LAST));
        assert!(has_room(&pipe.writer));
    }
}
