//! The two FIFOs of a supervise: `control`, into which commands are written, and `ok`, which has a reader exactly while
//! a supervise is in charge and its status is written.

use super::{CONTROL, Commands, OK, Place};
use crate::files::{Unread, open_fifo};
use crate::reason::reason;
use crate::{Unable, sys};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::write;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest time for which [`send_commands_in_time`] waits while the FIFO is full, and [`Delivery::wait`] until it is
/// read.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens `supervise/control` for writing commands. Writing to it never waits. Dropping the descriptor closes it.
///
/// # Errors
/// ENXIO: supervise is not running. ENOENT: no supervise has ever run here.
pub fn open_control() -> nix::Result<OwnedFd> {
    open_if_read(&Place::here()?.path(CONTROL))
}

/// Whether this is the path of a `supervise/control`, in the form in which the kernel shows an open file's path.
/// Further words may follow the path, such as ` (deleted)`.
pub fn is_control(shown: &Path) -> bool {
    let name = Path::new(CONTROL).file_name().unwrap_or_default().as_bytes();
    let wanted = [b"/", name].concat();
    shown.as_os_str().as_bytes().windows(wanted.len()).any(|part| part == wanted)
}

/// Whether a supervise is in charge of the current directory and has written its status.
///
/// # Errors
/// ENOENT: no supervise has ever run here. EACCES: we may not know.
pub fn is_supervised() -> nix::Result<bool> {
    is_supervised_at(Path::new(""))
}

/// Whether a supervise is in charge of the directory `service` and has written its status.
///
/// # Errors
/// As for [`is_supervised`].
pub fn is_supervised_at(service: &Path) -> nix::Result<bool> {
    match open_if_read(&Place::of(service)?.path(OK)) {
        Ok(_) => Ok(true),
        Err(Errno::ENXIO) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether a supervise is in charge of a directory and has written its status. A directory without the FIFO `ok` counts
/// as one without a supervise.
///
/// # Errors
/// EMFILE, EACCES, EIO and others: this cannot be found out now, and a supervise may well be in charge.
pub fn has_supervise_at(service: &Path) -> nix::Result<bool> {
    match is_supervised_at(service) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
        asked => asked,
    }
}

/// Opens `supervise/ok` of the current directory. In `poll(2)`, the descriptor reports an error as soon as the
/// supervise in charge is gone.
///
/// # Errors
/// ENXIO: no supervise is in charge. Otherwise as for [`is_supervised`].
pub fn hold_ok() -> nix::Result<OwnedFd> {
    hold_ok_at(Path::new(""))
}

/// Opens `supervise/ok` of the directory `service` as [`hold_ok`] does.
///
/// # Errors
/// As for [`hold_ok`].
pub fn hold_ok_at(service: &Path) -> nix::Result<OwnedFd> {
    open_if_read(&Place::of(service)?.path(OK))
}

/// Writes commands for the supervise whose files are in `place`. This never waits.
///
/// # Errors
/// ENXIO: supervise is not running, or has not opened the FIFO yet. ENOENT: no supervise has ever run here, or the
/// directory is gone. EAGAIN: the FIFO is full.
pub fn send_commands(place: &Place, commands: &Commands) -> nix::Result<()> {
    write(open_if_read(&place.path(CONTROL))?, &commands.bytes()).map(drop)
}

/// Why commands did not reach a supervise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The FIFO cannot be opened.
    Closed(Errno),
    /// The FIFO was opened, and does not take the commands.
    Refused(Errno),
    /// The commands are in the FIFO, and the supervise that has it open does not read them.
    Unread,
    /// The commands were in the FIFO, and are gone with the supervise that had it open.
    Lost,
}

impl SendError {
    /// The reason in words, as [`SendError::words`] gives it, for the service in the current directory, which messages
    /// call `name`. If access to the FIFO was denied, the words also say which account owns it.
    pub fn words_here(self, name: &OsStr) -> Vec<u8> {
        match self {
            SendError::Closed(errno @ Errno::EACCES) => {
                Unable::new("control", name, errno).where_own_is_denied(CONTROL).to_bytes()
            }
            SendError::Closed(_) | SendError::Refused(_) | SendError::Unread | SendError::Lost => self.words(name),
        }
    }

    /// The reason in words, about the service with this name.
    pub fn words(self, name: &OsStr) -> Vec<u8> {
        match self {
            SendError::Closed(Errno::ENXIO) => {
                [b"unable to control ", name.as_bytes(), b": supervise not running"].concat()
            }
            SendError::Closed(errno) => Unable::new("control", name, errno).to_bytes(),
            SendError::Refused(errno) => {
                [b"error writing commands to ", name.as_bytes(), b": ", reason(errno).as_bytes()].concat()
            }
            SendError::Unread => [b"commands to ", name.as_bytes(), b" are written, but not read yet"].concat(),
            SendError::Lost => {
                [b"commands to ", name.as_bytes(), b" are lost: its supervise has ended without reading them"].concat()
            }
        }
    }
}

/// Gives all commands, or none, to the supervise of the service in the current directory. The caller waits while the
/// FIFO is full, so that no command is lost, but at most [`PATIENCE`]: the owner of the FIFO may have filled it, and may
/// never read it. The caller must have blocked SIGPIPE. supervise has not read the commands yet when this returns.
///
/// # Errors
/// ETIMEDOUT: there was no room during all that time. EPIPE: the reader of the FIFO is gone. Others as for
/// [`open_control`].
pub fn send_commands_in_time(commands: &Commands) -> Result<Delivery, SendError> {
    let control = open_control().map_err(SendError::Closed)?;
    write_in_time(&control, &commands.bytes()).map_err(SendError::Refused)?;
    Ok(Delivery(control))
}

/// Commands that were written to the FIFO of a supervise, which is held open. The kernel keeps what is in a FIFO only as
/// long as a process has it open. So while this value exists, commands outlive a supervise that is killed before it has
/// read them, and the next one reads them.
#[derive(Debug)]
pub struct Delivery(OwnedFd);

impl Delivery {
    /// Whether a supervise has read the commands. If the kernel does not tell how many bytes are left in the FIFO, the
    /// commands count as read.
    pub fn is_read(&self) -> bool {
        !sys::unread(&self.0).is_ok_and(|bytes| bytes > 0)
    }

    /// Waits until a supervise has read the commands, but at most [`PATIENCE`].
    ///
    /// # Errors
    /// [`SendError::Unread`] or [`SendError::Lost`]: the time is over.
    pub fn wait(self) -> Result<(), SendError> {
        let deadline = Instant::now() + PATIENCE;
        // The kernel does not wake a writer when a FIFO that was not full is read. A supervise that is not stopped reads at
        // once, so the first pauses are short.
        let mut pause = Duration::from_micros(50);
        while !self.is_read() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(if sys::has_reader(&self.0) { SendError::Unread } else { SendError::Lost });
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }
}

/// The longest pause between two looks at a FIFO that is not read.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

fn write_in_time(control: &OwnedFd, bytes: &[u8]) -> nix::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match write(control, bytes) {
            Err(Errno::EAGAIN) => {}
            Err(Errno::EINTR) => continue,
            written => return written.map(drop),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Errno::ETIMEDOUT);
        }
        let _ = poll(&mut [PollFd::new(control.as_fd(), PollFlags::POLLOUT)], sys::timeout(Some(left)));
    }
}

/// Opens a FIFO for writing. Without waiting, open(2) fails with ENXIO unless a process has the FIFO open for reading.
/// A file that is no FIFO has no reader either.
fn open_if_read(fifo: &Path) -> nix::Result<OwnedFd> {
    open_fifo(fifo, OFlag::O_WRONLY).map_err(|unread| match unread {
        Unread::System(errno) => errno,
        Unread::WrongKind | Unread::TooLong => Errno::ENXIO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_fifo_is_known_by_what_the_kernel_shows_of_it() {
        for (shown, expected) in [
            ("/service/web/supervise/control", true),
            ("/run/sv/service:web/control", true),
            ("/service/web/supervise/control (deleted)", true),
            ("/service/web/supervise/ok", false),
            ("control", false),
            ("pipe:[7]", false),
            ("", false),
        ] {
            assert_eq!(is_control(Path::new(shown)), expected, "{shown}");
        }
    }
}
