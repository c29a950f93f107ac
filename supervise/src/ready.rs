//! How a service tells that it is ready: by a newline to a descriptor, by datagrams to a socket, or by
//! a `check` that succeeds.
//!
//! All of it outlives a supervise that is killed. The descriptor is a FIFO in `supervise/`, which the
//! service holds open for reading too, so that it never writes to nobody; the socket has a name in
//! the kernel's own space, so that the next supervise can listen under the same. (A socket in `supervise/` could not be
//! reached by a service that runs as another user.) The name is another for each `run`, and nobody can foretell it:
//! whoever took it first would be told what is meant for us, and we nothing.
//!
//! A service in a network namespace of its own does not see such names. Where `notify-socket` says `path`, the socket lies
//! in `supervise/`, and whoever may search that directory reaches it. Whom we believe is the same for both: see
//! [`speaks_through`](crate::child::Held::speaks_through).

use crate::notify::{LONGEST, Message};
use crate::policy::Policy;
use daemontools::report::errno_of;
use daemontools::service::{self, NOTIFICATION, Place, SOCKET};
use daemontools::sys::exec::Change;
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, recvmsg,
    setsockopt, socket,
};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{mkfifo, read, unlink};
use std::collections::hash_map::RandomState;
use std::ffi::{OsStr, OsString};
use std::hash::BuildHasher;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Where a service that runs is listened to.
pub struct Ears {
    fifo: Option<OwnedFd>,
    socket: Option<OwnedFd>,
    /// The socket's name in the kernel's own space, also where it could not be had.
    pub name: Option<String>,
    /// The socket's path, if it has one, likewise.
    path: Option<PathBuf>,
}

/// What could not be opened, in a word, and why.
pub type Complaint = (&'static str, Errno);

/// Whether what an earlier process of the service said still counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Past {
    /// It does, and what it says comes to the socket of this name.
    Counts(Option<String>),
    Forgotten,
}

impl Ears {
    /// Nobody is listened to.
    pub const DEAF: Ears = Ears { fifo: None, socket: None, name: None, path: None };

    /// Listens where the policy says that the service speaks. A socket that cannot have a path has a name.
    ///
    /// # Errors
    /// What could not be opened; the rest listens.
    pub fn open(policy: &Policy, past: Past, place: &Place) -> (Ears, Vec<Complaint>) {
        let mut complaints = Vec::new();
        let fifo = policy.notification_fd.map(|_| open_fifo(&past, place).map_err(|errno| (NOTIFICATION, errno)));
        let fifo = fifo.and_then(|opened| opened.map_err(|complaint| complaints.push(complaint)).ok());
        let mut ears = Ears { fifo, ..Ears::DEAF };
        if !policy.listens() {
            return (ears, complaints);
        }
        let (name, is_new) = match past {
            Past::Counts(name) => (name, false),
            Past::Forgotten => (None, true),
        };
        if policy.has_socket_path && name.is_none() {
            let path = socket_path(place);
            let socket = path.as_ref().map_err(|errno| *errno).and_then(|_| open_socket_in(place));
            let refused = socket.as_ref().err().map(|errno| (SOCKET, *errno));
            complaints.extend(refused);
            if refused.is_none() || !is_new {
                // The service knows no other one.
                (ears.socket, ears.path) = (socket.ok(), path.ok());
                return (ears, complaints);
            }
        }
        let name = name.unwrap_or_else(new_name);
        let socket = open_socket(&name).map_err(|errno| complaints.push(("notify-socket", errno)));
        (ears.socket, ears.name) = (socket.ok(), Some(name));
        (ears, complaints)
    }

    /// Whether nothing the service says to its socket would be heard.
    pub fn misses_messages(&self) -> bool {
        (self.name.is_some() || self.path.is_some()) && self.socket.is_none()
    }

    /// What the service finds as NOTIFY_SOCKET.
    pub fn address(&self) -> Option<OsString> {
        let path = self.path.as_ref().map(|path| path.clone().into_os_string());
        path.or_else(|| self.name.as_ref().map(|name| format!("@{name}").into()))
    }

    /// What to poll for reading.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fifo.iter().chain(&self.socket).map(AsFd::as_fd)
    }

    /// Whether a newline has come; then the descriptor has said all it can say. What is not read now, as
    /// somebody writes without end, is read the next time.
    pub fn hear_newline(&mut self) -> bool {
        let Some(fifo) = &self.fifo else { return false };
        let mut bytes = [0; 512];
        let length = read(fifo, &mut bytes).unwrap_or(0);
        let said = bytes[..length].contains(&b'\n');
        if said {
            self.fifo = None;
        }
        said
    }

    /// The next datagram, if one has come; nothing of it if it is longer than any of use, or nobody's.
    pub fn hear_message(&self) -> Option<Option<(Message, UnixCredentials)>> {
        let socket = self.socket.as_ref()?;
        let mut bytes = vec![0; LONGEST];
        let mut space = nix::cmsg_space!(UnixCredentials);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        // One interrupted is still there, and so is the next time to look.
        let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags).ok()?;
        let sender = received.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|message| match message {
                ControlMessageOwned::ScmCredentials(sender) => Some(sender),
                _ => None,
            })
        });
        let (length, whole) = (received.bytes, !received.flags.contains(MsgFlags::MSG_TRUNC));
        let heard = sender.filter(|_| whole);
        Some(heard.and_then(|sender| Some((Message::parse(bytes.get(..length)?), sender))))
    }
}

/// The service's end of the FIFO, to be opened by the service itself: to read and to write, so that
/// writing never fails for want of a reader.
///
/// # Errors
/// The FIFO is not there.
pub fn open_for_service(place: &Place) -> nix::Result<OwnedFd> {
    let fifo = service::open_fifo(&place.path(NOTIFICATION), OFlag::O_RDWR)?;
    // The service expects to wait.
    fcntl(&fifo, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(fifo)
}

/// What the service finds in its environment.
pub fn environment(policy: &Policy, socket: Option<&OsStr>, service_pid: i32) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    if let Some(socket) = socket {
        changes.push(("NOTIFY_SOCKET".into(), Some(socket.into())));
    }
    if let Some(within) = policy.watchdog {
        changes.push(("WATCHDOG_USEC".into(), Some(within.as_micros().to_string().into())));
        changes.push(("WATCHDOG_PID".into(), Some(service_pid.to_string().into())));
    }
    changes
}

fn open_fifo(past: &Past, place: &Place) -> nix::Result<OwnedFd> {
    let path = place.path(NOTIFICATION);
    if *past == Past::Forgotten {
        let _ = unlink(&path);
    }
    match mkfifo(&path, Mode::from_bits_truncate(0o600)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    // For writing too: with no writer at all the FIFO would be at its end, which is always news.
    Ok(service::open_fifo(&path, OFlag::O_RDWR)?)
}

fn open_socket(name: &str) -> nix::Result<OwnedFd> {
    let socket = new_socket()?;
    bind(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
    Ok(socket)
}

/// The path by which the service reaches a socket in `supervise/`.
///
/// # Errors
/// ENAMETOOLONG: no program could use it.
fn socket_path(place: &Place) -> nix::Result<PathBuf> {
    let here = std::env::current_dir().map_err(|error| errno_of(&error))?;
    let path = here.join(place.path(SOCKET));
    UnixAddr::new(&path).map(|_| path)
}

fn open_socket_in(place: &Place) -> nix::Result<OwnedFd> {
    let path = place.path(SOCKET);
    let socket = new_socket()?;
    // That of the `run` before, or of a supervise that was killed.
    let _ = unlink(&path);
    // By its name in the file system it could be another's by the time that its mode is changed.
    let before = umask(Mode::from_bits_truncate(0o111));
    let bound = bind(socket.as_raw_fd(), &UnixAddr::new(&path)?);
    umask(before);
    bound.map(|()| socket)
}

fn new_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    setsockopt(&socket, PassCred, &true)?;
    Ok(socket)
}

/// A name that no socket has or had: the standard library's hashes begin at random.
fn new_name() -> String {
    let random = || RandomState::new().hash_one(Moment::now().uptime);
    format!("supervise/notify/{:016x}{:016x}", random(), random())
}
