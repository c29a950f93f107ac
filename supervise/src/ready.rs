//! The channels through which a service says that it is ready: a descriptor to which it writes a newline, and a socket
//! to which it sends datagrams. (The third way, a `check` that succeeds, is in [`hooks`](crate::hooks).)
//!
//! Both channels outlive a supervise that is killed. The descriptor is a FIFO in `supervise/`. The service holds it
//! open for reading too, so that it never writes to a FIFO without a reader. The socket has a name in the kernel's own
//! space, so that the next supervise can use the same one. (A service that runs as another user could not reach a
//! socket in `supervise/`.) Each `run` has another name, which cannot be guessed: a process that took the name first
//! would get the service's messages in place of supervise. When supervise is killed, svscan still keeps the socket in a
//! [`Pocket`], so that no other process can take the name. Without svscan another process can take it; the next
//! supervise then tries again each second.
//!
//! A service in a network namespace of its own does not see such names. If the setting `notify-socket` is `path`, the
//! socket lies in `supervise/`, and any process that may search that directory reaches it. supervise makes the socket
//! again if it was removed.
//! Which senders are believed does not depend on the kind of socket: see
//! [`speaks_for`](crate::sender_check::speaks_for).
//!
//! A service without `notify-socket` has a socket too, through which a chain program says why it could not become the program
//! of the service (see [`refusal`](daemontools::service::refusal)); nothing else that comes through it counts. That must cost
//! a service little that never has anything to say:
//!
//! - The socket is made once, before the first `run`, and is kept for all that follow. A restart makes no system call for it.
//!   What is left of an earlier `run` may know its name, but only the process of `run` is believed.
//! - supervise listens only for the first seconds of a `run`. Otherwise each account could make each supervise of the machine
//!   work, for services that never asked for a socket. A chain program that speaks later, like `setlock` after a long
//!   wait, is heard nevertheless: supervise looks at what waits in the socket when `run` has ended with the code 111.
//! - svscan keeps no such socket: that would be one more descriptor for each service. A supervise that comes after one that
//!   was killed takes the same name, and the chain program tries for a second. If another process has taken the name, or
//!   fills the socket, the end is told by its exit code.

use crate::datagram_limit::DatagramLimit;
use crate::discard::discard_first;
use crate::notify::{LONGEST, Message};
use daemontools::report::errno_of;
use daemontools::service::policy::Policy;
use daemontools::service::{self, NOTIFICATION, Place, SOCKET, SOCKET_NAMES, SOON};
use daemontools::sys::datagram::{self, Received, Sender};
use daemontools::sys::exec::Change;
use daemontools::sys::pocket::Pocket;
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, getsockname, setsockopt, socket};
use nix::sys::stat::{Mode, lstat, stat, umask};
use nix::unistd::{Pid, mkfifo, read, unlink};
use std::collections::hash_map::RandomState;
use std::ffi::{OsStr, OsString};
use std::hash::BuildHasher;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The FIFO and the socket through which a service that runs says that it is ready.
pub struct ReadinessChannels {
    fifo: Option<OwnedFd>,
    socket: Option<OwnedFd>,
    /// The address to which the service sends, even if the socket could not be opened.
    address: Option<Address>,
    /// The device and inode of the socket's file, if it has a path.
    file: Option<(u64, u64)>,
    /// When supervise tries again to open the socket, in time since boot.
    retry: Option<Duration>,
    datagram_limit: DatagramLimit,
    /// The socket is only for the words of chain programs. supervise listens to it until then, in time since boot.
    only_refusals_until: Option<Duration>,
    /// poll(2) has told of something in the socket. That is asked only of a socket for chain programs, as a plain restart is
    /// to make no system call for that.
    is_readable: bool,
}

/// The address of the socket to which a service sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A name in the kernel's own space.
    Name(String),
    /// A path, which begins with a slash.
    Path(PathBuf),
}

/// The name of a channel that could not be opened, and the reason.
pub type Complaint = (&'static str, Errno);

/// Whether the service's process is new, or was adopted from an earlier supervise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The process was adopted. What it has said counts, and it sends to this address.
    Adopted(Option<Address>),
    New,
}

/// A datagram that has come through the socket.
pub struct Incoming {
    /// The message and its sender; `None` if the message is too long or its sender is unknown.
    pub said: Option<(Message, Sender)>,
    /// A child of supervise that closes the descriptors which were attached to the datagram.
    pub child: Option<Pid>,
}

/// The most datagrams that are looked through for one of a `run` that has ended, and how many of them may have descriptors
/// attached, which cost a process each. The queue of a socket is shorter, except where an administrator has made it longer.
const MOST_WAITING: u32 = 1024;
const MOST_WITH_DESCRIPTORS: u32 = 16;

/// supervise tries again after this time if the socket could not be opened.
const RETRY: Duration = Duration::from_secs(1);

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

    fn complaint(&self, errno: Errno) -> Complaint {
        match self {
            Address::Name(_) => ("notify-socket", errno),
            Address::Path(_) => (SOCKET, errno),
        }
    }
}

impl ReadinessChannels {
    /// No channel is open.
    pub const NONE: ReadinessChannels = ReadinessChannels {
        fifo: None,
        socket: None,
        address: None,
        file: None,
        retry: None,
        datagram_limit: DatagramLimit::NONE,
        only_refusals_until: None,
        is_readable: false,
    };

    /// Remembers the address to which an adopted process sends. No channel is open yet.
    pub fn remember(address: Option<Address>) -> ReadinessChannels {
        ReadinessChannels { address, ..ReadinessChannels::NONE }
    }

    /// Opens the channels that the policy asks for. A socket that cannot have a path gets a name. Returns also which
    /// channels could not be opened; the others are open. A socket that is only for chain programs is kept from `before`.
    pub fn open(
        policy: &Policy,
        origin: Origin,
        place: &Place,
        pocket: Option<&Pocket>,
        before: ReadinessChannels,
    ) -> (ReadinessChannels, Vec<Complaint>) {
        let mut complaints = Vec::new();
        let fifo = policy.notification_fd.map(|_| open_fifo(&origin, place).map_err(|errno| (NOTIFICATION, errno)));
        let fifo = fifo.and_then(|opened| opened.map_err(|complaint| complaints.push(complaint)).ok());
        let mut channels = ReadinessChannels { fifo, ..ReadinessChannels::NONE };
        if !policy.listens() {
            channels.listen_for_refusals(origin, before);
            return (channels, complaints);
        }
        let (address, is_new) = match origin {
            Origin::Adopted(address) => (address, false),
            Origin::New => (None, true),
        };
        let mut path = || socket_path(place).map_err(|errno| complaints.push((SOCKET, errno))).ok();
        let path = if policy.has_socket_path && address.is_none() { path() } else { None };
        channels.address = address.or(path.map(Address::Path));
        if let Some(Address::Path(_)) = &channels.address
            && let Err(complaint) = channels.open_socket(place, pocket)
        {
            complaints.push(complaint);
            if !is_new {
                // The service knows no other address.
                return (channels, complaints);
            }
            (channels.address, channels.retry) = (None, None);
        }
        if channels.socket.is_none() {
            channels.address.get_or_insert_with(|| Address::Name(new_name()));
            complaints.extend(channels.open_socket(place, pocket).err());
        }
        (channels, complaints)
    }

    /// Opens the socket that is only for chain programs, or takes over the one that there was before. Without one, nothing is
    /// said of it: the service runs as well.
    fn listen_for_refusals(&mut self, origin: Origin, before: ReadinessChannels) {
        let named = |name: String| open_named(&name, None).ok().map(|socket| (socket, Address::Name(name)));
        let kept = before.socket.zip(before.address).filter(|_| before.only_refusals_until.is_some());
        let opened = match origin {
            Origin::New => kept.or_else(|| named(new_name())),
            Origin::Adopted(Some(Address::Name(name))) => named(name),
            Origin::Adopted(Some(Address::Path(_)) | None) => None,
        };
        (self.socket, self.address) = opened.unzip();
        self.only_refusals_until = Some(Moment::now().uptime + SOON);
    }

    /// What stays open when `run` has ended: the socket that is only for chain programs.
    pub fn after_end(self) -> ReadinessChannels {
        match self.only_refusals_until {
            Some(_) => ReadinessChannels { fifo: None, ..self },
            None => ReadinessChannels::NONE,
        }
    }

    /// Whether only chain programs are heard through the socket.
    pub fn are_only_for_refusals(&self) -> bool {
        self.only_refusals_until.is_some()
    }

    /// Whether supervise listens to the socket now.
    fn is_listening(&self, now: Duration) -> bool {
        self.only_refusals_until.is_none_or(|until| now < until)
    }

    /// Takes in which descriptors are readable.
    pub fn note_readable(&mut self, readable: &[RawFd]) {
        self.is_readable = self.socket.as_ref().is_some_and(|socket| readable.contains(&socket.as_raw_fd()));
    }

    /// Opens the socket, and closes the one that the service does not reach any more.
    ///
    /// # Errors
    /// The socket could not be opened. [`ReadinessChannels::is_to_retry`] tells when to try again.
    pub fn open_socket(&mut self, place: &Place, pocket: Option<&Pocket>) -> Result<(), Complaint> {
        let Some(address) = &self.address else { return Ok(()) };
        let opened = match address {
            Address::Name(name) => open_named(name, pocket).map(|socket| (socket, None)),
            Address::Path(path) => open_socket_in(path, place).map(|(socket, file)| (socket, Some(file))),
        };
        let (socket, file) = opened.map_err(|errno| {
            self.retry = Some(Moment::now().uptime + RETRY);
            address.complaint(errno)
        })?;
        (self.socket, self.file, self.retry) = (Some(socket), file, None);
        Ok(())
    }

    /// Whether what the service says to its socket does not reach supervise.
    pub fn misses_messages(&self) -> bool {
        if self.are_only_for_refusals() {
            return false;
        }
        match (&self.address, &self.socket) {
            (None, _) | (Some(Address::Name(_)), Some(_)) => false,
            (Some(_), None) => true,
            (Some(Address::Path(path)), Some(_)) => identity(path).ok() != self.file,
        }
    }

    /// Whether it is time to try again to open the socket.
    pub fn is_to_retry(&self, now: Duration) -> bool {
        self.retry.is_none_or(|at| at <= now)
    }

    /// When supervise must look at the channels again, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        [self.retry, self.datagram_limit.paused_until()].into_iter().flatten().min()
    }

    /// The address to which the service sends.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// The address to which the service sends, in the form of its variable NOTIFY_SOCKET.
    pub fn variable(&self) -> Option<OsString> {
        self.address.as_ref().map(|address| match address {
            Address::Name(name) => format!("@{name}").into(),
            Address::Path(path) => path.clone().into_os_string(),
        })
    }

    /// The descriptors to poll for reading.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let is_polled = self.datagram_limit.paused_until().is_none() && self.is_listening(Moment::now().uptime);
        let socket = self.socket.iter().filter(move |_| is_polled);
        self.fifo.iter().chain(socket).map(AsFd::as_fd)
    }

    /// Whether a newline has come through the FIFO, which is then closed, as nothing else is expected from it. Only
    /// some bytes are read at a time, because a process may write without end.
    pub fn receive_newline(&mut self) -> bool {
        let Some(fifo) = &self.fifo else { return false };
        let mut bytes = [0; 512];
        let length = read(fifo, &mut bytes).unwrap_or(0);
        let said = bytes[..length].contains(&b'\n');
        if said {
            self.fifo = None;
        }
        said
    }

    /// Reads the next datagram, if there is one, and if strangers have not sent too many recently.
    pub fn receive_message(&mut self) -> Option<Incoming> {
        let now = Moment::now().uptime;
        let may_have_some = self.is_readable || !self.are_only_for_refusals();
        // The limit is asked first, as a pause that is over ends by that.
        if !self.datagram_limit.may_read(now) || !may_have_some {
            return None;
        }
        self.next_datagram(now)
    }

    /// Reads the datagrams that wait in the socket, now that `run` has ended. There are only so many, as their sender must
    /// wait or is refused; so the limit for strangers does not count.
    pub fn waiting_messages(&mut self) -> Vec<Incoming> {
        let now = Moment::now().uptime;
        let (mut waiting, mut with_descriptors) = (Vec::new(), 0);
        for _ in 0..MOST_WAITING {
            let Some(incoming) = self.next_datagram(now) else { break };
            with_descriptors += u32::from(incoming.child.is_some());
            waiting.push(incoming);
            if with_descriptors == MOST_WITH_DESCRIPTORS {
                break;
            }
        }
        waiting
    }

    fn next_datagram(&mut self, now: Duration) -> Option<Incoming> {
        let socket = self.socket.as_ref()?.as_fd();
        let mut bytes = vec![0; LONGEST];
        // After EINTR the datagram is still there, and is read the next time.
        let Received { length, cut, sender, has_descriptors } = datagram::peek(socket, &mut bytes).ok()?;
        let child = if has_descriptors {
            let child = discard_first(socket);
            if child.is_err() {
                self.datagram_limit.pause(now);
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

    /// Counts a datagram that did not come from the service, or had descriptors attached. supervise has spent the time
    /// since `began` on it.
    pub fn count_stranger(&mut self, began: Duration) {
        self.datagram_limit.count_stranger(began, Moment::now().uptime);
    }
}

/// Opens the service's end of the FIFO, in the service's process: to read and to write, so that writing never fails for
/// want of a reader.
///
/// # Errors
/// The FIFO is not there.
pub fn open_for_service(place: &Place) -> nix::Result<OwnedFd> {
    let fifo = service::open_fifo(&place.path(NOTIFICATION), OFlag::O_RDWR)?;
    // The service expects its writes to block until the FIFO has room.
    fcntl(&fifo, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(fifo)
}

/// The variables that tell the service how to say that it is ready and alive. `socket` is the address of its socket, which
/// it may have for its chain programs alone.
pub fn environment(policy: &Policy, socket: Option<&OsStr>, service_pid: i32) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    if let Some(socket) = socket.filter(|_| policy.listens()) {
        changes.push(("NOTIFY_SOCKET".into(), Some(socket.into())));
    }
    if let Some(within) = policy.watchdog {
        changes.push(("WATCHDOG_USEC".into(), Some(within.as_micros().to_string().into())));
        changes.push(("WATCHDOG_PID".into(), Some(service_pid.to_string().into())));
    }
    changes
}

fn open_fifo(origin: &Origin, place: &Place) -> nix::Result<OwnedFd> {
    let path = place.path(NOTIFICATION);
    if *origin == Origin::New {
        let _ = unlink(&path);
    }
    match mkfifo(&path, Mode::from_bits_truncate(0o600)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    // supervise opens the FIFO for writing too: a FIFO without a writer is at its end, and poll(2) would return at
    // once.
    Ok(service::open_fifo(&path, OFlag::O_RDWR)?)
}

/// Returns the socket that has a name: the one that the supervise before had, if svscan has kept it, or a new one,
/// which svscan keeps from now on.
fn open_named(name: &str, pocket: Option<&Pocket>) -> nix::Result<OwnedFd> {
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

/// The path by which the service reaches a socket in `supervise/`.
///
/// # Errors
/// ENAMETOOLONG: no program could use it.
fn socket_path(place: &Place) -> nix::Result<PathBuf> {
    let here = std::env::current_dir().map_err(|error| errno_of(&error))?;
    let path = here.join(place.path(SOCKET));
    UnixAddr::new(&path).map(|_| path)
}

/// Makes the socket at the path that the service knows, if that still leads into `supervise/`: the service's directory
/// may have been moved, and another one may lie where it was.
fn open_socket_in(known: &Path, place: &Place) -> nix::Result<(OwnedFd, (u64, u64))> {
    let directory = |path: &Path| stat(path).map(|directory| (directory.st_dev, directory.st_ino));
    if known.parent().map(directory).transpose()? != Some(directory(place.directory())?) {
        return Err(Errno::ENOENT);
    }
    let path = place.path(SOCKET);
    let socket = new_socket()?;
    // The path may have the socket of the `run` before, or of a supervise that was killed.
    let _ = unlink(&path);
    // The umask sets the mode. A chmod(2) of the path could change another file that was put there meanwhile.
    let before = umask(Mode::from_bits_truncate(0o111));
    let bound = bind(socket.as_raw_fd(), &UnixAddr::new(&path)?);
    umask(before);
    bound?;
    Ok((socket, identity(&path)?))
}

/// The device and inode of a file, which tell it from others.
fn identity(path: &Path) -> nix::Result<(u64, u64)> {
    lstat(path).map(|file| (file.st_dev, file.st_ino))
}

fn new_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    setsockopt(&socket, PassCred, &true)?;
    Ok(socket)
}

/// Makes a name that no socket has or had, from hashes of the standard library, whose keys are random.
fn new_name() -> String {
    let random = || RandomState::new().hash_one(Moment::now().uptime);
    format!("{SOCKET_NAMES}/{:016x}{:016x}", random(), random())
}
