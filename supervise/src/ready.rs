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
//!
//! Which senders are believed does not depend on the kind of socket: see
//! [`speaks_for`](crate::sender_check::speaks_for).
//!
//! A service without `notify-socket` has a socket too: see [`refusal_socket`](crate::refusal_socket).

use crate::inbox::{Address, Inbox, Incoming, new_name, new_socket, open_named};
use daemontools::report::errno_of;
use daemontools::service::policy::Policy;
use daemontools::service::{self, NOTIFICATION, Place, SOCKET};
use daemontools::sys::exec::Change;
use daemontools::sys::pocket::Pocket;
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{UnixAddr, bind};
use nix::sys::stat::{Mode, lstat, stat, umask};
use nix::unistd::{mkfifo, read, unlink};
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The FIFO and the socket through which a service that runs says that it is ready.
pub struct ReadinessChannels {
    fifo: Option<OwnedFd>,
    inbox: Option<Inbox>,
    /// The address to which the service sends, even if the socket could not be opened.
    address: Option<Address>,
    /// The device and inode of the socket's file, if it has a path.
    file: Option<(u64, u64)>,
    /// When supervise tries again to open the socket, in time since boot.
    retry: Option<Duration>,
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

/// supervise tries again after this time if the socket could not be opened.
const RETRY: Duration = Duration::from_secs(1);

impl ReadinessChannels {
    /// The value without any open channel.
    pub const NONE: ReadinessChannels =
        ReadinessChannels { fifo: None, inbox: None, address: None, file: None, retry: None };

    /// Remembers the address to which an adopted process sends. No channel is open yet.
    pub fn remember(address: Option<Address>) -> ReadinessChannels {
        ReadinessChannels { address, ..ReadinessChannels::NONE }
    }

    /// Opens the channels that the policy asks for. A socket that cannot have a path gets a name. Returns also which
    /// channels could not be opened; the others are open.
    pub fn open(
        policy: &Policy,
        origin: Origin,
        place: &Place,
        pocket: Option<&Pocket>,
    ) -> (ReadinessChannels, Vec<Complaint>) {
        let mut complaints = Vec::new();
        let fifo = policy.notification_fd.map(|_| open_fifo(&origin, place).map_err(|errno| (NOTIFICATION, errno)));
        let fifo = fifo.and_then(|opened| opened.map_err(|complaint| complaints.push(complaint)).ok());
        let mut channels = ReadinessChannels { fifo, ..ReadinessChannels::NONE };
        if !policy.listens() {
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
        if channels.inbox.is_none() {
            channels.address.get_or_insert_with(|| Address::Name(new_name()));
            complaints.extend(channels.open_socket(place, pocket).err());
        }
        (channels, complaints)
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
            complaint(address, errno)
        })?;
        (self.inbox, self.file, self.retry) = (Some(Inbox::of(socket)), file, None);
        Ok(())
    }

    /// Whether what the service says to its socket does not reach supervise.
    pub fn misses_messages(&self) -> bool {
        match (&self.address, &self.inbox) {
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
        [self.retry, self.inbox.as_ref().and_then(Inbox::deadline)].into_iter().flatten().min()
    }

    /// The address to which the service sends.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// The descriptors to poll for reading.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fifo.iter().map(AsFd::as_fd).chain(self.inbox.iter().filter_map(Inbox::descriptor))
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
        self.inbox.as_mut()?.receive(Moment::now().uptime)
    }

    /// Reads the datagrams that wait in the socket, now that `run` has ended.
    pub fn waiting_messages(&mut self) -> Vec<Incoming> {
        self.inbox.as_mut().map(|inbox| inbox.waiting(Moment::now().uptime)).unwrap_or_default()
    }

    /// Counts a datagram that did not come from the service, or had descriptors attached. supervise has spent the time
    /// since `began` on it.
    pub fn count_stranger(&mut self, began: Duration) {
        self.inbox.iter_mut().for_each(|inbox| inbox.count_stranger(began, Moment::now().uptime));
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

fn complaint(address: &Address, errno: Errno) -> Complaint {
    match address {
        Address::Name(_) => ("notify-socket", errno),
        Address::Path(_) => (SOCKET, errno),
    }
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
