//! Datagrams of a socket that asks the kernel for the sender of each (`SO_PASSCRED`).
//!
//! A sender may attach descriptors. The receiver here offers no room for them, so the kernel installs none, closes
//! them, and sets `MSG_CTRUNC`. nix then returns no control messages at all, although the sender is complete: the
//! kernel writes the sender first. So this module calls recvmsg(2) itself.
//!
//! The sender can make the closing of its descriptors slow: a connection whose other end reads nothing is closed only
//! after the time of `SO_LINGER`. So [`peek`] tells whether descriptors are attached before [`take`] removes the
//! datagram.

use nix::errno::Errno;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

/// A datagram that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The number of bytes in the buffer that belong to the datagram.
    pub length: usize,
    /// Whether the datagram was longer than the buffer.
    pub cut: bool,
    /// The sender, if the kernel reports it.
    pub sender: Option<Sender>,
    /// Whether descriptors are attached to the datagram.
    pub has_descriptors: bool,
}

/// The process that sent a datagram, and its account. The kernel checks both, except that root may state others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The process number.
    pub pid: i32,
    /// The account's number.
    pub uid: u32,
}

/// Room for one control message with the sender and for nothing else, aligned as a control message must be.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    sender: libc::ucred,
}

/// Looks at the next datagram without removing it. Does not wait.
///
/// # Errors
/// EAGAIN: there is none. EINTR: call again, there may be one.
pub fn peek(socket: BorrowedFd, buffer: &mut [u8]) -> nix::Result<Received> {
    receive(socket, buffer, libc::MSG_PEEK)
}

/// Removes the next datagram. This does not wait for a datagram, but it waits until attached descriptors are closed.
///
/// # Errors
/// EAGAIN: there is none. EINTR: call again, there may be one.
pub fn take(socket: BorrowedFd, buffer: &mut [u8]) -> nix::Result<Received> {
    receive(socket, buffer, 0)
}

fn receive(socket: BorrowedFd, buffer: &mut [u8], manner: i32) -> nix::Result<Received> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = MaybeUninit::<Control>::zeroed();
    // SAFETY: this is a struct of integers and pointers, for which all zeros is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of::<Control>() as _);
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | manner;
    // SAFETY: the descriptor is open. The buffer and the room for control messages live during the call and have the
    // lengths that the message states.
    let length = Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) })?;
    // SAFETY: these are integers, all zero at first.
    let Control { header, sender } = unsafe { control.assume_init() };
    // The buffer has room for the sender, so the kernel never cuts it off.
    let is_sender = (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS);
    Ok(Received {
        length: usize::try_from(length).unwrap_or(0),
        cut: message.msg_flags & libc::MSG_TRUNC != 0,
        sender: is_sender.then_some(Sender { pid: sender.pid, uid: sender.uid }),
        has_descriptors: message.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::sockopt::PassCred;
    use nix::sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, setsockopt, socketpair,
    };
    use nix::unistd::{getpid, getuid};
    use std::io::IoSlice;
    use std::os::fd::{AsFd, OwnedFd, RawFd};

    fn pair() -> (OwnedFd, OwnedFd) {
        let pair = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC).unwrap();
        setsockopt(&pair.0, PassCred, &true).unwrap();
        pair
    }

    fn say(socket: &OwnedFd, text: &[u8], attached: &[RawFd]) {
        let rights = [ControlMessage::ScmRights(attached)];
        let control = if attached.is_empty() { &[][..] } else { &rights };
        sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(text)], control, MsgFlags::empty(), None).unwrap();
    }

    fn us() -> Option<Sender> {
        Some(Sender { pid: getpid().as_raw(), uid: getuid().as_raw() })
    }

    #[test]
    fn the_sender_is_told_whatever_is_attached() {
        let (ours, theirs) = pair();
        let mut buffer = [0; 8];
        for attached in [0, 1, 2, 253] {
            say(&theirs, b"READY=1", &vec![ours.as_raw_fd(); attached]);
            let expected = Received { length: 7, cut: false, sender: us(), has_descriptors: attached > 0 };
            assert_eq!(peek(ours.as_fd(), &mut buffer), Ok(expected), "{attached}");
            assert_eq!(take(ours.as_fd(), &mut buffer), Ok(expected), "{attached}");
            assert_eq!(&buffer[..7], b"READY=1");
        }
        assert_eq!(peek(ours.as_fd(), &mut buffer), Err(Errno::EAGAIN));
    }

    #[test]
    fn what_is_attached_is_closed() {
        let (ours, theirs) = pair();
        let (mut reader, writer) = std::io::pipe().unwrap();
        say(&theirs, b"", &[writer.as_raw_fd()]);
        drop(writer);
        take(ours.as_fd(), &mut [0; 8]).unwrap();
        // The reader would wait for ever if the kernel had not closed the attached descriptor.
        assert_eq!(std::io::Read::read(&mut reader, &mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn a_datagram_that_is_too_long_is_cut_and_has_its_sender() {
        let (ours, theirs) = pair();
        say(&theirs, b"READY=1\nX=y", &[]);
        let expected = Received { length: 8, cut: true, sender: us(), has_descriptors: false };
        assert_eq!(take(ours.as_fd(), &mut [0; 8]), Ok(expected));
    }
}
