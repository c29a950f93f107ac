//! A socket to which processes of a service send datagrams, and its address.

use crate::datagram_limit::DatagramLimit;
use crate::discard::discard_first;
use crate::notify::{LONGEST, Message};
use daemontools::service::SOCKET_NAMES;
use daemontools::sys::datagram::{self, Received, Sender};
use daemontools::sys::pocket::Pocket;
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, getsockname, setsockopt, socket};
use nix::unistd::Pid;
use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::hash::BuildHasher;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// The address of the socket to which a service sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A name in the kernel's own space.
    Name(String),
    /// A path, which begins with a slash.
    Path(PathBuf),
}

/// A datagram that has come through the socket.
pub struct Incoming {
    /// The message and its sender; `None` if the message is too long or its sender is unknown.
    pub said: Option<(Message, Sender)>,
    /// A child of supervise that closes the descriptors which were attached to the datagram.
    pub child: Option<Pid>,
}

/// A socket that is open, and how much of supervise's time strangers have used up by it.
pub struct Inbox {
    socket: OwnedFd,
    limit: DatagramLimit,
}

/// The most datagrams that are looked through for one of a `run` that has ended, and how many of them may have descriptors
/// attached, which cost a process each. The queue of a socket is shorter, except where an administrator has made it longer.
const MOST_WAITING: u32 = 1024;
const MOST_WITH_DESCRIPTORS: u32 = 16;

impl Address {
    /// Reads the word that `supervise/state` has for an address.
    pub fn parse(text: &str) -> Address {
        if text.starts_with('/') { Address::Path(text.into()) } else { Address::Name(text.into()) }
    }

    /// The word that `supervise/state` has for the address; `None` for a path with blanks, which cannot be a word.
    pub fn word(&self) -> Option<String> {
        match self {
            Address::Name(name) => Some(name.clone()),
            Address::Path(path) => {
                path.to_str().filter(|path| !path.contains(|c: char| c.is_ascii_whitespace())).map(str::to_string)
            }
        }
    }

    /// The address in the form of the variable NOTIFY_SOCKET.
    pub fn variable(&self) -> OsString {
        match self {
            Address::Name(name) => format!("@{name}").into(),
            Address::Path(path) => path.clone().into_os_string(),
        }
    }
}

impl Inbox {
    /// Makes the inbox of this socket, from which nothing was read yet.
    pub fn of(socket: OwnedFd) -> Inbox {
        Inbox { socket, limit: DatagramLimit::NONE }
    }

    /// What to poll for reading; `None` while the socket is not read, as strangers have sent too much.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.limit.paused_until().is_none().then(|| self.socket.as_fd())
    }

    /// When the socket is read again, in time since boot, if it is not read now.
    pub fn deadline(&self) -> Option<Duration> {
        self.limit.paused_until()
    }

    /// Reads the next datagram, if there is one, and if strangers have not sent too many recently.
    pub fn receive(&mut self, now: Duration) -> Option<Incoming> {
        if self.may_read(now) { self.next(now) } else { None }
    }

    /// Whether strangers have not sent too many recently. A pause that is over ends by that.
    pub fn may_read(&mut self, now: Duration) -> bool {
        self.limit.may_read(now)
    }

    /// Reads the datagrams that wait in the socket. The queue of a socket is limited: a process that sends more must
    /// wait or is refused. So the limit for strangers does not count here.
    pub fn waiting(&mut self, now: Duration) -> Vec<Incoming> {
        let (mut waiting, mut with_descriptors) = (Vec::new(), 0);
        for _ in 0..MOST_WAITING {
            let Some(incoming) = self.next(now) else { break };
            with_descriptors += u32::from(incoming.child.is_some());
            waiting.push(incoming);
            if with_descriptors == MOST_WITH_DESCRIPTORS {
                break;
            }
        }
        waiting
    }

    fn next(&mut self, now: Duration) -> Option<Incoming> {
        let socket = self.socket.as_fd();
        let mut bytes = vec![0; LONGEST];
        // After EINTR the datagram is still there, and is read the next time.
        let Received { length, cut, sender, has_descriptors } = datagram::peek(socket, &mut bytes).ok()?;
        let child = if has_descriptors {
            let child = discard_first(socket);
            if child.is_err() {
                self.limit.pause(now);
            }
            Some(child.ok()?)
        } else {
            datagram::take(socket, &mut []).ok()?;
            None
        };
        let heard = sender.filter(|_| !cut);
        let said = heard.and_then(|sender| Some((Message::parse(bytes.get(..length)?), sender)));
        Some(Incoming { said, child })
    }

    /// Takes off what is in the socket. Returns false if that was not possible for all: what has descriptors attached could
    /// take long, and stays.
    pub fn empty(&mut self) -> bool {
        let socket = self.socket.as_fd();
        for _ in 0..MOST_WAITING {
            match datagram::peek(socket, &mut []) {
                Ok(Received { has_descriptors: false, .. }) => drop(datagram::take(socket, &mut [])),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return true,
                Ok(_) | Err(_) => return false,
            }
        }
        // They come in the order in which they were sent: what is there now was sent just now.
        true
    }

    /// Counts a datagram that did not come from the service, or had descriptors attached. supervise has spent the time
    /// since `began` on it, until `now`.
    pub fn count_stranger(&mut self, began: Duration, now: Duration) {
        self.limit.count_stranger(began, now);
    }
}

/// Opens the socket that has a name: the one that the supervise before had, if svscan has kept it, or a new one,
/// which svscan keeps from now on.
pub fn open_named(name: &str, pocket: Option<&Pocket>) -> nix::Result<OwnedFd> {
    let kept = pocket.and_then(Pocket::look).filter(|kept| {
        let its = getsockname::<UnixAddr>(kept.as_raw_fd());
        its.is_ok_and(|its| its.as_abstract() == Some(name.as_bytes()))
    });
    if let Some(kept) = kept {
        return Ok(kept);
    }
    let socket = new_socket()?;
    bind(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
    // If svscan cannot keep the socket, its name is free when this supervise is killed.
    let _ = pocket.map(|pocket| pocket.put(socket.as_fd()));
    Ok(socket)
}

/// Makes a socket that asks the kernel for the sender of each datagram, and has no address yet.
pub fn new_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    setsockopt(&socket, PassCred, &true)?;
    Ok(socket)
}

/// Makes a name that no socket has or had, from hashes of the standard library, whose keys are random.
pub fn new_name() -> String {
    let random = || RandomState::new().hash_one(Moment::now().uptime);
    format!("{SOCKET_NAMES}/{:016x}{:016x}", random(), random())
}
