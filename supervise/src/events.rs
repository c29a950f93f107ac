//! Telling listeners of the service's transitions, by one letter each.
//!
//! A listener makes a FIFO in `supervise/event` and reads it.
//!
//! Source: s6-supervise, whose listeners these are.

use daemontools::service::{EVENT, Place, Unread, open_fifo_at};
use daemontools::sys::directory::for_each_name_in;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Writes letters to every FIFO in `supervise/event`, and removes the FIFOs that no process reads any more. No link is
/// followed to that directory: it would lead to another one than that whose owner may say who listens. So the directory
/// is opened once, and everything is done in what was opened.
pub fn announce(letters: &[u8], place: &Place) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let Ok(event) = open(&place.path(EVENT), flags, Mode::empty()) else { return };
    // Where the directory cannot be read, there is no listener.
    let _ = for_each_name_in(&event, |name| {
        if name.starts_with(b"ftrig1:") {
            tell(&event, Path::new(OsStr::from_bytes(name)), letters);
        }
        ControlFlow::Continue(())
    });
}

/// Writes letters to one listener's FIFO.
fn tell(event: &OwnedFd, listener: &Path, letters: &[u8]) {
    match open_fifo_at(event, listener, OFlag::O_WRONLY) {
        Ok(fifo) => drop(nix::unistd::write(&fifo, letters)),
        Err(Unread::System(Errno::ENXIO)) => drop(unlinkat(event, listener, UnlinkatFlags::NoRemoveDir)),
        Err(_) => {}
    }
}
