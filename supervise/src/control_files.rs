//! Taking charge of a service directory: the lock and the FIFOs in its `supervise/`, which are kept as long as
//! supervise runs and made again if they are removed.

use crate::missing_files::{FilesFound, Repair, repair};
use crate::settings;
use daemontools::service::ledger;
use daemontools::service::{
    CONTROL, DOWN, EVENT, LOCK, OK, Place, STATE, STATUS, SUPERVISE, Unread, Want, open_fifo, open_lock_at,
};
use daemontools::{Attempt, Fatal, Unable, report, sys};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlink};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, lstat, stat};
use nix::unistd::{chdir, mkdir, mkfifo, unlink};
use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::mem::replace;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const OWNER: Mode = Mode::from_bits_truncate(0o700);
const OWNER_FILE: Mode = Mode::from_bits_truncate(0o600);
const FOR_GROUP: Mode = Mode::from_bits_truncate(0o620);

/// The reason in the message if another supervise holds the lock. The system's own words do not tell that.
const HELD: &str = "another supervise has it";

/// The files in `supervise/` that are held open. They show that the service in the current directory is supervised.
pub struct ControlFiles {
    /// What the service is called in messages.
    pub name: OsString,
    /// The service as the argument of supervise names it.
    pub given: OsString,
    /// Where the service's `supervise/` lies.
    pub place: Place,
    pub lock: OwnedFd,
    /// The reading end of `supervise/control`, from which commands come.
    control: OwnedFd,
    /// The writing end of `supervise/control`, which keeps the reading end from ever being at its end.
    control_writer: OwnedFd,
    /// Both ends of the `supervise/control` that was removed or replaced: a program that has it open still commands
    /// through it.
    former: Option<(OwnedFd, OwnedFd)>,
    /// The reading end of `supervise/ok`, once the status is written.
    ok: Option<OwnedFd>,
}

/// Changes to the directory from which the name of the service counts, if svscan has named one.
///
/// # Errors
/// The directory cannot be entered.
pub fn enter_origin() -> Result<(), Fatal> {
    if let Some(origin) = std::env::var_os(ledger::FROM) {
        chdir(origin.as_os_str()).unable_to("chdir to", &origin)?;
    }
    Ok(())
}

impl ControlFiles {
    /// Changes into `given`, which messages call `name`, and locks it against other supervises. It does not show yet
    /// that the service is supervised. Returns also what supervise wants of the service at first: it is down if there is a
    /// file `down`.
    ///
    /// # Errors
    /// A file or directory that can be neither made nor opened; EAGAIN if another supervise is in charge.
    pub fn acquire(given: OsString, name: OsString) -> Result<(ControlFiles, Want), Fatal> {
        let entered = chdir(given.as_os_str()).unable_to("chdir to", &name);
        entered.map_err(|unable| unable.where_denied(given.as_ref()))?;
        let is_down = settings::is_normally_down().unable_to("stat", report::joined(&name, DOWN))?;
        let want = if is_down { Want::Down } else { Want::Up };
        let place = Place::here().unable_to("find the path of", &name)?;
        make_directory(&name, &place)?;
        let paths = Paths { name: &name, place: &place };
        let lock = paths.lock(Duration::ZERO)?;
        let (control, writer) = paths.control()?;
        // supervise works without listeners.
        let _ = mkdir(&place.path(EVENT), OWNER);
        let former = None;
        Ok((ControlFiles { name, given, place, lock, control, control_writer: writer, former, ok: None }, want))
    }

    /// Makes `supervise/` again if it was removed, with all in it by which others reach this supervise. Returns whether
    /// it was gone and is there again.
    pub fn make_again(&mut self) -> bool {
        let directory = self.place.directory();
        if stat(directory).is_ok() || self.take_anew().is_err() {
            return false;
        }
        report::warning(&[&self.place.name(&self.name, SUPERVISE), b" was removed: made again"]);
        true
    }

    fn take_anew(&mut self) -> Result<(), Fatal> {
        make_directory(&self.name, &self.place)?;
        let paths = Paths { name: &self.name, place: &self.place };
        let lock = paths.lock(Duration::ZERO)?;
        let (control, writer) = paths.control()?;
        let ok = self.ok.as_ref().map(|_| paths.open_fifo(OK)).transpose()?;
        let _ = mkdir(&self.place.path(EVENT), OWNER);
        (self.lock, self.ok) = (lock, ok);
        self.exchange_control(control, writer);
        Ok(())
    }

    fn exchange_control(&mut self, control: OwnedFd, writer: OwnedFd) {
        let before = (replace(&mut self.control, control), replace(&mut self.control_writer, writer));
        self.former = Some(before);
    }

    /// The FIFOs from which commands are read.
    pub fn controls(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [self.control.as_fd()].into_iter().chain(self.former.iter().map(|(reader, _)| reader.as_fd()))
    }

    /// Makes each file of `supervise/` again that is missing or was replaced, and `supervise/` itself if it is gone.
    /// Without them, others would not reach this supervise, and a second one could start. Returns whether status and
    /// state must be written again.
    pub fn see_files(&mut self) -> bool {
        let id = |file: nix::Result<FileStat>| file.map(|file| (file.st_dev, file.st_ino));
        let there = |file: &str| id(lstat(&self.place.path(file)));
        let is = |file: &str, fd: &OwnedFd| there(file) == id(fstat(fd));
        let found = FilesFound {
            lock: is(LOCK, &self.lock),
            control: is(CONTROL, &self.control),
            ok: self.ok.as_ref().is_none_or(|ok| is(OK, ok)),
            written: self.ok.is_none() || [STATUS, STATE].into_iter().all(|file| there(file) != Err(Errno::ENOENT)),
        };
        let found = match repair(found, || stat(self.place.directory()) == Err(Errno::ENOENT)) {
            Repair::Nothing => return false,
            Repair::Directory => return self.make_again(),
            Repair::Files(found) => found,
        };
        let paths = Paths { name: &self.name, place: &self.place };
        // A disk that cannot be written to, or another supervise, prevents it: then the old lock is kept.
        if !found.lock
            && let Ok(lock) = paths.lock(Duration::ZERO)
        {
            self.lock = lock;
        }
        let ok = if found.ok { None } else { paths.open_fifo(OK).ok() };
        let control = if found.control { None } else { paths.control().ok() };
        if ok.is_some() {
            self.ok = ok;
        }
        if let Some((control, writer)) = control {
            self.exchange_control(control, writer);
        }
        !found.written
    }

    /// Whether accounts other than root and supervise's own can put files into `supervise/`.
    pub fn is_others(&self) -> bool {
        self.place.is_only_ours() != Ok(true)
    }

    /// Opens `supervise/ok`, which shows that the service is supervised and that its status is written.
    ///
    /// # Errors
    /// `supervise/ok` can be neither made nor opened.
    pub fn open_ok(&mut self) -> Result<(), Fatal> {
        let paths = Paths { name: &self.name, place: &self.place };
        self.ok = Some(paths.open_fifo(OK)?);
        Ok(())
    }

    /// What a file in the service's `supervise/` is called in messages.
    pub fn object(&self, file: &str) -> OsString {
        Paths { name: &self.name, place: &self.place }.object(file)
    }

    /// The service's name as bytes.
    pub fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }
}

/// Makes `supervise/`, also where it is a link to a place that has yet to be made (on a disk that is empty after each
/// boot), and where `$SUPERVISEDIR` is. A directory that is there keeps its owner and mode.
fn make_directory(name: &OsStr, place: &Place) -> Result<(), Unable> {
    let directory = place.directory();
    let mut object =
        if directory.is_absolute() { directory.into() } else { report::joined(name, directory.as_os_str()) };
    let mut path = directory.to_path_buf();
    let made = match mkdir(directory, OWNER) {
        Err(Errno::EEXIST) if stat(directory) == Err(Errno::ENOENT) => {
            object = readlink(directory).unable_to("readlink", directory)?;
            path = PathBuf::from(&object);
            mkdir(object.as_os_str(), OWNER)
        }
        Err(Errno::ENOENT) => {
            let above = directory.parent().unwrap_or(directory);
            let above = DirBuilder::new().recursive(true).mode(0o755).create(above);
            above.map_err(|error| report::errno_of(&error)).and_then(|()| mkdir(directory, OWNER))
        }
        made => made,
    };
    match (stat(directory), made) {
        // If the directory cannot be used, the next step says why.
        (Ok(_), _) | (Err(_), Ok(())) => Ok(()),
        (Err(errno), Err(Errno::EEXIST)) | (Err(_), Err(errno)) => {
            let unable = Unable::new("create directory", object, errno).where_missing(&path);
            Err(if errno == Errno::EROFS { unable.because("let SUPERVISEDIR name a place elsewhere") } else { unable })
        }
    }
}

/// The files in `supervise/`, and what they are called in messages.
struct Paths<'a> {
    name: &'a OsStr,
    place: &'a Place,
}

impl Paths<'_> {
    fn object(&self, file: &str) -> OsString {
        OsString::from_vec(self.place.name(self.name, file))
    }

    /// Locks `supervise/lock`. No link is followed, as that could have a file made elsewhere. The owner of `supervise/`
    /// may give another lock this name, to have supervise hold it: a file that has a second name is replaced. A lock that
    /// another process has is waited for as long as `time` says.
    fn lock(&self, time: Duration) -> Result<OwnedFd, Fatal> {
        let object = self.object(LOCK);
        let path = self.place.path(LOCK);
        let file = match self.open_lock(&path) {
            Err(unread @ (Unread::WrongKind | Unread::System(Errno::EMLINK))) => {
                unlink(&path).unable_to("acquire", &object)?;
                let what: &[u8] = match unread {
                    Unread::System(_) => b" was another file as well: replaced",
                    Unread::WrongKind | Unread::TooLong => b" was not a file: replaced",
                };
                report::warning(&[object.as_bytes(), what]);
                self.open_lock(&path)
            }
            opened => opened,
        };
        let file = file.map_err(Errno::from).unable_to("acquire", &object)?;
        let lock =
            sys::lock::lock_within(file, time).unable_to("acquire", &object).map_err(|unable| match unable.errno {
                Errno::EAGAIN => unable.because(HELD),
                _ => unable,
            });
        Ok(lock?)
    }

    fn open_lock(&self, path: &Path) -> Result<OwnedFd, Unread> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(self.place.directory(), flags, Mode::empty())?;
        let name = Path::new(path.file_name().unwrap_or_default());
        open_lock_at(directory, name).map(|(file, _)| file)
    }

    /// Opens both ends of `supervise/control`.
    fn control(&self) -> Result<(OwnedFd, OwnedFd), Fatal> {
        let reader = self.open_fifo(CONTROL)?;
        let writer = open_fifo(&self.place.path(CONTROL), OFlag::O_WRONLY).map_err(Errno::from);
        Ok((reader, writer.unable_to("write", self.object(CONTROL))?))
    }

    /// Whether the group of `supervise/` may command the service, which the setgid bit of the directory says.
    fn is_for_group(&self) -> bool {
        let mode = stat(self.place.directory()).map_or(0, |directory| directory.st_mode);
        Mode::from_bits_truncate(mode).contains(Mode::S_ISGID)
    }

    /// Opens a FIFO for reading, and makes it if it is missing. A file in its place that is no FIFO is replaced.
    fn open_fifo(&self, fifo: &str) -> Result<OwnedFd, Fatal> {
        let (path, object) = (self.place.path(fifo), self.object(fifo));
        let opened = match self.make_and_open(&path) {
            Err((_, Unread::WrongKind)) => {
                // A directory stays. The message is the original's, which tries to write there.
                unlink(&path).unable_to("write", &object)?;
                report::warning(&[object.as_bytes(), b" was not a FIFO: replaced"]);
                self.make_and_open(&path)
            }
            opened => opened,
        };
        opened.map_err(|(verb, unread)| Unable::new(verb, &object, unread.into()).into())
    }

    /// Opens a FIFO for reading, and makes it if it is missing. An error has the step that was refused, "create FIFO"
    /// or "read", and why.
    fn make_and_open(&self, path: &Path) -> Result<OwnedFd, (&'static str, Unread)> {
        let made = mkfifo(path, OWNER_FILE);
        match (open_fifo(path, OFlag::O_RDONLY), made) {
            (Ok(fd), made) => {
                // The mode is set by the descriptor, as another file may lie at the path by now.
                if made.is_ok() && self.is_for_group() {
                    let _ = fchmod(&fd, FOR_GROUP);
                }
                Ok(fd)
            }
            (Err(unread), Err(errno)) if unread.is_missing() => Err(("create FIFO", errno.into())),
            (Err(unread), _) => Err(("read", unread)),
        }
    }
}
