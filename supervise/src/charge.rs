//! Taking charge of a service directory: its lock and its FIFOs.

use daemontools::service::{CONTROL, DOWN, EVENT, LOCK, OK, Place, is_fifo};
use daemontools::{Attempt, Fatal, Unable, report, sys};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, readlink};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, stat};
use nix::unistd::{chdir, mkdir, mkfifo, unlink};
use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;

const OWNER: Mode = Mode::from_bits_truncate(0o700);
const OWNER_FILE: Mode = Mode::from_bits_truncate(0o600);
const FOR_GROUP: Mode = Mode::from_bits_truncate(0o620);

/// What shows, as long as it is held, that the service in the current directory is supervised.
pub struct Charge {
    /// The service as it was named to us, for messages.
    pub name: OsString,
    /// Where its `supervise/` lies.
    pub place: Place,
    pub lock: OwnedFd,
    /// Where commands are read from.
    pub control: OwnedFd,
    /// Keeps `control` from ever being at its end.
    _control_writer: OwnedFd,
    /// Its reading end, once the status is written.
    ok: Option<OwnedFd>,
}

/// Whether there is a file `down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normally {
    Up,
    Down,
}

impl Charge {
    /// Changes into `name` and locks it against other supervises; nobody is told yet.
    ///
    /// # Errors
    /// Whatever is missing, and EAGAIN if another supervise is in charge.
    pub fn take(name: OsString) -> Result<(Charge, Normally), Fatal> {
        chdir(name.as_os_str()).unable_to("chdir to", &name)?;
        let normally = match stat(DOWN) {
            Ok(_) => Normally::Down,
            Err(Errno::ENOENT) => Normally::Up,
            Err(errno) => return Err(Unable::new("stat", within(&name, DOWN), errno).into()),
        };
        let place = Place::here().unable_to("find the path of", &name)?;
        make_directory(&place)?;
        let paths = Paths { name: &name, place: &place };
        let lock = paths.lock()?;
        let control = paths.open_fifo(CONTROL, OFlag::O_RDONLY)?;
        let access = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let writer = open(&place.path(CONTROL), access, Mode::empty()).unable_to("write", paths.object(CONTROL))?;
        // Listeners are nobody we depend on.
        let _ = mkdir(&place.path(EVENT), OWNER);
        Ok((Charge { name, place, lock, control, _control_writer: writer, ok: None }, normally))
    }

    /// Tells everybody that the service is supervised and its status written.
    ///
    /// # Errors
    /// `supervise/ok` can be neither made nor opened.
    pub fn show(&mut self) -> Result<(), Fatal> {
        let paths = Paths { name: &self.name, place: &self.place };
        self.ok = Some(paths.open_fifo(OK, OFlag::O_RDONLY)?);
        Ok(())
    }

    /// What a file in its `supervise/` is called in messages.
    pub fn object(&self, file: &str) -> OsString {
        Paths { name: &self.name, place: &self.place }.object(file)
    }

    /// The service's name as bytes.
    pub fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }
}

/// Makes `supervise/`, also where it is a link to a place that has yet to be made (on a disk that
/// is empty after each boot), and where `$SUPERVISEDIR` is. Whoever made it before decided on its owner and mode.
fn make_directory(place: &Place) -> Result<(), Fatal> {
    let directory = place.directory();
    match mkdir(directory, OWNER) {
        Err(Errno::EEXIST) if stat(directory) == Err(Errno::ENOENT) => {
            let target = readlink(directory).unable_to("readlink", directory)?;
            let _ = mkdir(target.as_os_str(), OWNER);
        }
        Err(Errno::ENOENT) => {
            let above = directory.parent().unwrap_or(directory);
            let _ = DirBuilder::new().recursive(true).mode(0o755).create(above);
            let _ = mkdir(directory, OWNER);
        }
        // What else is wrong the next step says.
        Ok(()) | Err(_) => {}
    }
    Ok(())
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

    fn lock(&self) -> Result<OwnedFd, Fatal> {
        let object = self.object(LOCK);
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        let file = open(&self.place.path(LOCK), flags, OWNER_FILE).unable_to("acquire", &object)?;
        Ok(sys::lock::lock(file).unable_to("acquire", &object)?)
    }

    /// Whoever made the directory gave it, by its setgid bit, to its group to command.
    fn is_for_group(&self) -> bool {
        let mode = stat(self.place.directory()).map_or(0, |directory| directory.st_mode);
        Mode::from_bits_truncate(mode).contains(Mode::S_ISGID)
    }

    /// Opens a FIFO, which is made if need be; what lies in its place and is none is of no use to
    /// anybody, and is replaced.
    fn open_fifo(&self, fifo: &str, access: OFlag) -> Result<OwnedFd, Fatal> {
        let (path, object) = (self.place.path(fifo), self.object(fifo));
        let opened = || {
            if mkfifo(&path, OWNER_FILE).is_ok() && self.is_for_group() {
                let _ = fchmodat(AT_FDCWD, &path, FOR_GROUP, FchmodatFlags::FollowSymlink);
            }
            open(&path, access | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty()).unable_to("read", &object)
        };
        let fd = opened()?;
        if is_fifo(&fd).unable_to("read", &object)? {
            return Ok(fd);
        }
        // A directory stays; said as the original does, which tries to write there.
        unlink(&path).unable_to("write", &object)?;
        report::warning(&[object.as_bytes(), b" was not a FIFO: replaced"]);
        Ok(opened()?)
    }
}

fn within(name: &OsStr, file: &str) -> OsString {
    OsString::from_vec([name.as_bytes(), b"/", file.as_bytes()].concat())
}
