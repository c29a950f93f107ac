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

/// How many names in the directory supervise looks at for one transition. Its owner may make millions, and each takes some
/// microseconds.
const MOST_NAMES: usize = 1000;

/// Writes letters to every FIFO in `supervise/event`, and removes the FIFOs that no process reads any more. No link is
/// followed to that directory: it would lead to another one than that whose owner may say who listens. So the directory
/// is opened once, and everything is done in what was opened. Among more than [`MOST_NAMES`] names some listeners are not
/// told.
pub fn announce(letters: &[u8], place: &Place) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let Ok(event) = open(&place.path(EVENT), flags, Mode::empty()) else { return };
    let mut names = 0;
    // Where the directory cannot be read, there is no listener.
    let _ = for_each_name_in(&event, |name| {
        if name.starts_with(b"ftrig1:") {
            tell(&event, Path::new(OsStr::from_bytes(name)), letters);
        }
        names += 1;
        if names < MOST_NAMES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;

    #[test]
    fn a_flood_of_names_is_looked_at_in_parts() {
        let scratch = std::env::temp_dir().join(format!("supervise-events-{}", std::process::id()));
        let event = scratch.join(EVENT);
        std::fs::create_dir_all(&event).unwrap();
        let most = 2 * MOST_NAMES + MOST_NAMES / 2;
        for number in 0..most {
            mkfifo(&event.join(format!("ftrig1:{number}")), Mode::S_IRWXU).unwrap();
        }
        let place = Place::of(&scratch).unwrap();
        let left = || std::fs::read_dir(&event).unwrap().count();
        // `.` and `..` are names too.
        announce(b"u", &place);
        assert!((most - MOST_NAMES..most).contains(&left()), "{}", left());
        announce(b"d", &place);
        announce(b"u", &place);
        assert_eq!(left(), 0, "no process reads any of them");
        std::fs::remove_dir_all(&scratch).unwrap();
    }
}
