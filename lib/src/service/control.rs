//! The two FIFOs of a supervise: `control`, into which commands go, and `ok`, which has a reader exactly while a supervise
//! is in charge and its status is written.

use super::{CONTROL, Commands, OK, Place};
use crate::files::{Unread, open_fifo};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Opens `supervise/control` for writing commands; dropped, it is closed. Writing to it never waits.
///
/// # Errors
/// ENXIO: supervise is not running. ENOENT: it never ran here.
pub fn open_control() -> nix::Result<OwnedFd> {
    open_if_read(&Place::here()?.path(CONTROL))
}

/// Whether this is the path of a `supervise/control`, as the kernel shows it of a file that a process has open: it may have
/// words behind it, as where the file was removed.
pub fn is_control(shown: &Path) -> bool {
    let name = Path::new(CONTROL).file_name().unwrap_or_default().as_bytes();
    let wanted = [b"/", name].concat();
    shown.as_os_str().as_bytes().windows(wanted.len()).any(|part| part == wanted)
}

/// Whether a supervise is in charge of the current directory and has written its status.
///
/// # Errors
/// ENOENT: none ever was. EACCES: not ours to know.
pub fn is_supervised() -> nix::Result<bool> {
    is_supervised_at(Path::new(""))
}

/// The same of another directory.
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

/// Whether a supervise is in charge of a directory and has written its status. Where there is no FIFO by which it would
/// show that, none is.
///
/// # Errors
/// EMFILE, EACCES, EIO …: that cannot be told now. A supervise may well be in charge.
pub fn has_supervise_at(service: &Path) -> nix::Result<bool> {
    match is_supervised_at(service) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
        asked => asked,
    }
}

/// Takes hold of `supervise/ok` of the current directory: in `poll(2)`, the descriptor has an error as
/// soon as the supervise in charge is gone.
///
/// # Errors
/// ENXIO: no supervise is in charge. Otherwise as for [`is_supervised`].
pub fn hold_ok() -> nix::Result<OwnedFd> {
    hold_ok_at(Path::new(""))
}

/// The same of another directory.
///
/// # Errors
/// As for [`hold_ok`].
pub fn hold_ok_at(service: &Path) -> nix::Result<OwnedFd> {
    open_if_read(&Place::of(service)?.path(OK))
}

/// Gives commands to the supervise whose files lie in this place, without ever waiting.
///
/// # Errors
/// ENXIO: supervise is not running, or has not come that far. ENOENT: it never ran here, or its directory is gone. EAGAIN:
/// the FIFO is full.
pub fn send_commands(place: &Place, commands: &Commands) -> nix::Result<()> {
    nix::unistd::write(open_if_read(&place.path(CONTROL))?, &commands.bytes()).map(drop)
}

/// Opening a FIFO for writing without waiting fails with ENXIO unless somebody reads it. What is
/// not a FIFO has no reader either.
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
