//! Reading what inotify(7) has to tell, and closing its descriptors.

use super::unread;
use nix::errno::Errno;
use nix::sys::inotify::{Inotify, InotifyEvent};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socketpair};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd};

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

/// Closes a descriptor of inotify(7) without waiting for the kernel.
///
/// close(2) and exit(2) wait 8 to 20 ms, until no processor uses the lists of watches any more. So the descriptor is sent
/// through a pair of sockets, and both sockets with it. Once our own descriptors are closed, no process can receive the
/// message, and the kernel's collector closes what is in it, which no process waits for. (Before Linux 6.10 the collector
/// works within our close(2), which then takes as long as ever.)
pub fn close_without_waiting(closed: impl AsFd) {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    // Without a pair, or where the message is refused, the descriptor is closed as any other at the end of this function.
    let Ok((one, other)) = socketpair(AddressFamily::Unix, SockType::Datagram, None, flags) else { return };
    let descriptors = [closed.as_fd(), one.as_fd(), other.as_fd()].map(|descriptor| descriptor.as_raw_fd());
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let _ = sendmsg::<UnixAddr>(one.as_raw_fd(), &[IoSlice::new(b"c")], &rights, MsgFlags::MSG_NOSIGNAL, None);
}

/// So many bytes of what is unread was this event.
fn size(event: &InotifyEvent) -> usize {
    // A name is ended by a NUL at least.
    HEADER + event.name.as_ref().map_or(0, |name| (name.len() + 1).next_multiple_of(HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::inotify::{AddWatchFlags, InitFlags};
    use std::fs;
    use std::io::Read;

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

    #[test]
    fn what_is_closed_without_waiting_is_closed() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        close_without_waiting(writer);
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(30_000u16)), Ok(1));
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
}
