//! A pocket: a socket that keeps one descriptor for a later process.
//!
//! It is a datagram socket that is connected to itself. A message sent through it waits in its own queue as long as any
//! process has the pocket open, and the kernel refuses messages of others. A descriptor in such a message stays open
//! even if the process that put it there is killed. A reader looks at it without removing it, so the next reader finds
//! it too.
//!
//! svscan makes a pocket for a supervise whose service reports through a socket. Otherwise, once that supervise is
//! killed, any account could take the name of the socket in the abstract namespace.

use super::inherited_descriptor;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect,
    getpeername, getsockname, recv, recvmsg, sendmsg, socket,
};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The environment variable that tells a supervise the number of its pocket's descriptor.
pub const VARIABLE: &str = "SVSCAN_POCKET";

/// A socket that keeps one descriptor for a later process; the introduction of this module explains how.
#[derive(Debug)]
pub struct Pocket {
    socket: OwnedFd,
}

impl Pocket {
    /// Makes an empty pocket. It is close-on-exec.
    ///
    /// # Errors
    /// EMFILE, ENOMEM and others: the system gives us none.
    pub fn create() -> nix::Result<Pocket> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        // Until the socket is connected, every account can send to it. On some kernels the names that the kernel
        // chooses can be predicted, so the name is random.
        let [one, other] = [0, 1].map(|number| RandomState::new().hash_one(number));
        let own = UnixAddr::new_abstract(format!("svscan-pocket-{one:016x}{other:016x}").as_bytes())?;
        bind(socket.as_raw_fd(), &own)?;
        connect(socket.as_raw_fd(), &own)?;
        Ok(Pocket { socket })
    }

    /// Takes over the pocket that was left open for us with this number.
    ///
    /// # Errors
    /// EBADF, ENOTSOCK, EINVAL and others: there is no such descriptor, or it is no pocket.
    pub fn inherited(number: RawFd) -> nix::Result<Pocket> {
        Pocket::of(inherited_descriptor(number)?)
    }

    /// Uses the descriptor `socket` as a pocket.
    ///
    /// # Errors
    /// ENOTSOCK, ENOTCONN, EINVAL: it is no pocket.
    pub fn of(socket: OwnedFd) -> nix::Result<Pocket> {
        let own = getsockname::<UnixAddr>(socket.as_raw_fd())?;
        let is_one = own.as_abstract().is_some() && getpeername::<UnixAddr>(socket.as_raw_fd())? == own;
        if is_one { Ok(Pocket { socket }) } else { Err(Errno::EINVAL) }
    }

    /// The pocket that svscan has given us, if it has given one.
    pub fn from_environment() -> Option<Pocket> {
        Pocket::inherited(std::env::var(VARIABLE).ok()?.parse().ok()?).ok()
    }

    /// Puts a descriptor into the pocket, in place of the one that was there.
    ///
    /// # Errors
    /// ETOOMANYREFS, ENOMEM, ENOBUFS: the descriptor is not kept.
    pub fn put(&self, kept: BorrowedFd) -> nix::Result<()> {
        self.empty();
        let descriptors = [kept.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<UnixAddr>(self.socket.as_raw_fd(), &[IoSlice::new(b"k")], &rights, flags, None).map(drop)
    }

    /// A new descriptor for what is in the pocket, close-on-exec.
    pub fn look(&self) -> Option<OwnedFd> {
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        let mut space = nix::cmsg_space!(RawFd);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_PEEK;
        let seen = recvmsg::<UnixAddr>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), flags).ok()?;
        let number = seen.cmsgs().ok()?.find_map(|message| match message {
            ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
            _ => None,
        })?;
        // SAFETY: the kernel has just opened this descriptor for us and reported it once. The buffer had room for one.
        Some(unsafe { OwnedFd::from_raw_fd(number) })
    }

    /// Removes what is in the pocket.
    pub fn empty(&self) {
        while matches!(recv(self.socket.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT), Ok(_) | Err(Errno::EINTR)) {}
    }
}

impl AsFd for Pocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{sendto, socketpair};
    use nix::sys::stat::fstat;

    fn dead_letter() -> OwnedFd {
        socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC).unwrap().0
    }

    fn is_same(one: &OwnedFd, other: &OwnedFd) -> bool {
        fstat(one).unwrap().st_ino == fstat(other).unwrap().st_ino
    }

    #[test]
    fn what_a_pocket_holds_is_found_by_each_process_that_looks() {
        let pocket = Pocket::create().unwrap();
        assert!(pocket.look().is_none());
        let (first, second) = (dead_letter(), dead_letter());
        for kept in [&first, &second] {
            pocket.put(kept.as_fd()).unwrap();
            assert!(is_same(&pocket.look().unwrap(), kept));
            let next = Pocket::of(pocket.as_fd().try_clone_to_owned().unwrap()).unwrap();
            assert!(is_same(&next.look().unwrap(), kept));
        }
        pocket.empty();
        assert!(pocket.look().is_none());
    }

    #[test]
    fn a_name_that_is_kept_cannot_be_taken_by_another_process() {
        let pocket = Pocket::create().unwrap();
        let new = || socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let named = new();
        bind(named.as_raw_fd(), &UnixAddr::new_unnamed()).unwrap();
        let name = getsockname::<UnixAddr>(named.as_raw_fd()).unwrap();
        pocket.put(named.as_fd()).unwrap();
        drop(named);
        assert_eq!(bind(new().as_raw_fd(), &name), Err(Errno::EADDRINUSE));
        pocket.empty();
        assert_eq!(bind(new().as_raw_fd(), &name), Ok(()));
    }

    #[test]
    fn others_can_put_nothing_in() {
        let pocket = Pocket::create().unwrap();
        let name = getsockname::<UnixAddr>(pocket.socket.as_raw_fd()).unwrap();
        assert_eq!(sendto(dead_letter().as_raw_fd(), b"k", &name, MsgFlags::empty()), Err(Errno::EPERM));
    }

    #[test]
    fn another_socket_is_none() {
        assert_eq!(Pocket::of(dead_letter()).map(drop), Err(Errno::EINVAL));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(Pocket::of(file.into()).map(drop), Err(Errno::ENOTSOCK));
    }
}
