//! Reading what inotify(7) has to tell.

use super::unread;
use nix::errno::Errno;
use nix::sys::inotify::{Inotify, InotifyEvent};

/// Bytes of an event without its name, and what a name's length is a multiple of.
const HEADER: usize = 16;

/// Calls `visit` with each event that waits by now. Who changes what is watched without end causes more of them while these
/// are read: those stay for the next time, so that this ends, and the descriptor stays readable.
///
/// # Errors
/// Those of read(2), of which none is known.
pub fn for_each_event(inotify: &Inotify, mut visit: impl FnMut(InotifyEvent)) -> nix::Result<()> {
    let mut left = unread(inotify)?;
    while left > 0 {
        match inotify.read_events() {
            Ok(events) => {
                for event in events {
                    left = left.saturating_sub(size(&event));
                    visit(event);
                }
            }
            Err(Errno::EINTR) => {}
            // Somebody else has read them.
            Err(Errno::EAGAIN) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// So many bytes of what is unread was this event.
fn size(event: &InotifyEvent) -> usize {
    // A name is ended by a NUL at least.
    HEADER + event.name.as_ref().map_or(0, |name| (name.len() + 1).next_multiple_of(HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::inotify::{AddWatchFlags, InitFlags};
    use std::fs;

    /// Names of all lengths, in more than one buffer of them.
    const NAMES: usize = 200;

    #[test]
    fn what_is_caused_meanwhile_is_left_for_the_next_time() {
        let scratch = tempfile::tempdir().unwrap();
        let make = |name: String| fs::create_dir(scratch.path().join(name)).unwrap();
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        inotify.add_watch(scratch.path(), AddWatchFlags::IN_CREATE).unwrap();
        let names: Vec<String> = (1..=NAMES).map(|length| "x".repeat(length)).collect();
        names.iter().for_each(|name| make(name.clone()));
        let mut seen = Vec::new();
        for_each_event(&inotify, |event| {
            let name = event.name.unwrap().into_string().unwrap();
            make(format!("{}-{name}", seen.len()));
            seen.push(name);
        })
        .unwrap();
        let (queued, meanwhile) = seen.split_at(NAMES);
        assert_eq!(queued, names);
        // The last buffer is read as it is.
        assert!(meanwhile.len() < 256, "{}", meanwhile.len());
        let mut rest = 0;
        for_each_event(&inotify, |_| rest += 1).unwrap();
        assert_eq!(rest, NAMES, "as many as were made meanwhile, without those that were read");
    }
}
