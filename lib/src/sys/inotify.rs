//! Reading the events of inotify(7).

use super::unread;
use nix::NixPath;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, Inotify, InotifyEvent};
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// The length of an event without its name. The length of a name's field is a multiple of it.
const HEADER: usize = 16;

/// Watches a file through the inotify that is this descriptor, and returns the number of the watch. The inotify may be
/// that of the parent process, which then gets the events.
///
/// # Errors
/// As for inotify_add_watch(2). EBADF: the descriptor is no inotify.
pub fn add_watch<P: ?Sized + NixPath>(inotify: RawFd, path: &P, changes: AddWatchFlags) -> nix::Result<i32> {
    // SAFETY: the path ends with NUL; the kernel checks the descriptor.
    let watch =
        path.with_nix_path(|path| unsafe { libc::inotify_add_watch(inotify, path.as_ptr(), changes.bits()) })?;
    Errno::result(watch)
}

/// Ends a watch.
///
/// # Errors
/// EINVAL: there is no such watch any more, as what was watched is gone.
pub fn remove_watch(inotify: &Inotify, watch: i32) -> nix::Result<()> {
    // SAFETY: the arguments are integers.
    Errno::result(unsafe { libc::inotify_rm_watch(inotify.as_fd().as_raw_fd(), watch) }).map(drop)
}

/// Calls `visit` with each event that is waiting now. An account that changes the watched files without pause causes
/// more events while these are read. Those are left for the next call, so that this call ends, and the descriptor stays
/// readable.
///
/// # Errors
/// The errors of read(2), of which none is expected.
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
            // Another reader has taken the events.
            Err(Errno::EAGAIN) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The number of bytes that this event took in the buffer.
fn size(event: &InotifyEvent) -> usize {
    // At least one NUL ends a name.
    HEADER + event.name.as_ref().map_or(0, |name| (name.len() + 1).next_multiple_of(HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::inotify::{AddWatchFlags, InitFlags};
    use std::fs;

    /// The names have all lengths, and their events fill more than one buffer.
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
        // The last buffer is read completely, so some events of the second part are visited too.
        assert!(meanwhile.len() < 256, "{}", meanwhile.len());
        let mut rest = 0;
        for_each_event(&inotify, |_| rest += 1).unwrap();
        assert_eq!(rest, NAMES, "as many as were made meanwhile, without those that were read");
    }
}
