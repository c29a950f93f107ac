//! A pocket: a socket that keeps one descriptor for whoever comes next.
//!
//! It is a datagram socket that is connected to itself, so that what is sent through it waits in its own queue, for as long
//! as anybody has the pocket open, and so that the kernel refuses what others send to it. A descriptor in there stays open
//! though the process that has put it there is killed; it is looked at, not taken out, so that it is still there for the
//! one after.
//!
//! svscan makes one for a supervise whose service speaks through a socket: the name of that socket in the kernel's own space
//! would be anybody's to take from the moment when supervise is killed.

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

/// The environment variable by which a supervise knows its pocket: the number of the descriptor.
pub const VARIABLE: &str = "SVSCAN_POCKET";

/// See the module's introduction.
#[derive(Debug)]
pub struct Pocket {
    socket: OwnedFd,
}

impl Pocket {
    /// An empty one, close-on-exec.
    ///
    /// # Errors
    /// EMFILE, ENOMEM …: there is none to be had.
    pub fn create() -> nix::Result<Pocket> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        // Until it is connected, every account could send to it: a name that the kernel chooses can be foreseen on some.
        let [one, other] = [0, 1].map(|number| RandomState::new().hash_one(number));
        let own = UnixAddr::new_abstract(format!("svscan-pocket-{one:016x}{other:016x}").as_bytes())?;
        bind(socket.as_raw_fd(), &own)?;
        connect(socket.as_raw_fd(), &own)?;
        Ok(Pocket { socket })
    }

    /// The one that was left open for us by this number.
    ///
    /// # Errors
    /// It was not, or is none: EBADF, ENOTSOCK, EINVAL …
    pub fn inherited(number: RawFd) -> nix::Result<Pocket> {
        Pocket::of(inherited_descriptor(number)?)
    }

    /// The one behind a descriptor.
    ///
    /// # Errors
    /// It is none: ENOTSOCK, ENOTCONN, EINVAL.
    pub fn of(socket: OwnedFd) -> nix::Result<Pocket> {
        let own = getsockname::<UnixAddr>(socket.as_raw_fd())?;
        let is_one = own.as_abstract().is_some() && getpeername::<UnixAddr>(socket.as_raw_fd())? == own;
        if is_one { Ok(Pocket { socket }) } else { Err(Errno::EINVAL) }
    }

    /// The one that svscan has given us, if it has.
    pub fn from_environment() -> Option<Pocket> {
        Pocket::inherited(std::env::var(VARIABLE).ok()?.parse().ok()?).ok()
    }

    /// Puts a descriptor in, in the place of what was there.
    ///
    /// # Errors
    /// ETOOMANYREFS, ENOMEM, ENOBUFS: it is not kept.
    pub fn put(&self, kept: BorrowedFd) -> nix::Result<()> {
        self.empty();
        let descriptors = [kept.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<UnixAddr>(self.socket.as_raw_fd(), &[IoSlice::new(b"k")], &rights, flags, None).map(drop)
    }

    /// Another descriptor of what is in there, close-on-exec.
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
        // SAFETY: the kernel has just opened it for us, and said so once; there was room for one.
        Some(unsafe { OwnedFd::from_raw_fd(number) })
    }

    /// Takes out what is there.
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
    fn what_is_in_there_is_there_for_everybody_who_looks() {
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
    fn a_name_that_is_kept_is_nobody_elses() {
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
