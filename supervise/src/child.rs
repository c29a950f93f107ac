//! The service's process: launched behind a gate, or adopted from a supervise that was killed.

use crate::machine::Event;
use crate::pipe::Pipe;
use crate::policy::{Policy, Scope};
use crate::slot::Which;
use crate::{ready, tree};
use daemontools::service::{Exit, ORPHAN, Place, Process, Role};
use daemontools::sys::exec::{c_string, environment, execute};
use daemontools::sys::process::{self, Ended, PidFd};
use daemontools::{Attempt, Fatal, Unable, report};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixCredentials, recv, send, shutdown, socketpair,
};
use nix::sys::stat::stat;
use nix::unistd::{Pid, close, getpgid, getpid, setsid};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// The process of the service, as far as it is ours to wait for and to signal.
pub struct Held {
    pub role: Role,
    pub process: Process,
    hold: Hold,
}

enum Hold {
    /// Our child: nobody else can have its number until we have waited for it.
    Own,
    /// Somebody else's child by now: held by a descriptor.
    Adopted(PidFd),
}

/// Our end of the gate at which a child waits before it becomes a program.
pub struct Gate(OwnedFd);

/// How the child fared behind its gate.
pub enum Passage {
    Underway,
    Executed,
    Refused(Errno),
}

/// Exit code of a child whose gate never opened: the next supervise does what the child was to do. No program
/// of repute exits so.
const TURNED_BACK: i32 = 213;

/// What a child needs to know.
pub struct Order<'a> {
    pub role: Role,
    pub which: Which,
    /// The pipe between the service and its logger.
    pub pipe: Option<&'a Pipe>,
    /// For `finish`: how `run` ended.
    pub exit: Option<Exit>,
    /// For `finish`: the `run` that ended.
    pub last_run: Option<Process>,
    pub policy: &'a Policy,
    /// Where `run` finds NOTIFY_SOCKET.
    pub socket_name: Option<&'a str>,
    /// The service's name in messages.
    pub name: &'a [u8],
    /// Where the service's end of what it tells us lies.
    pub place: &'a Place,
    /// Given up first: a child must not keep its dead supervise's lock.
    pub lock: BorrowedFd<'a>,
    /// The signal mask supervise was started with.
    pub mask: &'a SigSet,
}

/// Makes the process and holds it at its gate.
///
/// # Errors
/// The system has no process or descriptor to give.
pub fn launch(order: &Order) -> nix::Result<(Held, Gate)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let pid = process::fork(|| {
        let _ = close(order.lock.as_raw_fd());
        let _ = close(ours.as_raw_fd());
        become_program(order, theirs)
    })?;
    Ok((Held { role: order.role, process: Process::of(pid), hold: Hold::Own }, Gate(ours)))
}

/// In the child. Returns only with the exit code of a failure. All is prepared before it waits at its gate: what
/// it does then costs no time, as its supervise writes down meanwhile who it is.
fn become_program(order: &Order, gate: OwnedFd) -> i32 {
    let Ok(gate) = out_of_the_way(gate, order) else { return TURNED_BACK };
    let _ = order.mask.thread_set_mask();
    if order.policy.own_session() {
        let _ = setsid();
    }
    let program = prepare(order);
    let mut pass = [0];
    loop {
        match recv(gate.as_raw_fd(), &mut pass, MsgFlags::empty()) {
            Ok(1) => break,
            Err(Errno::EINTR) => {}
            // The supervise that would have opened it was killed.
            Ok(_) | Err(_) => return TURNED_BACK,
        }
    }
    let errno = match program {
        Ok(Program { path, argv, environment }) => execute(&path, &argv, &environment),
        Err(errno) => errno,
    };
    // The supervise may be dead by now: that must not kill us before we have spoken.
    let _ = send(gate.as_raw_fd(), &(errno as i32).to_ne_bytes(), MsgFlags::MSG_NOSIGNAL);
    let path = [order.name, b"/", order.which.program(order.role).as_bytes()].concat();
    Fatal::from(Unable::new("start", OsStr::from_bytes(&path), errno)).tell()
}

/// The gate may have the number on which the service expects something else.
fn out_of_the_way(gate: OwnedFd, order: &Order) -> nix::Result<OwnedFd> {
    match order.policy.notification_fd {
        Some(number) if number == gate.as_raw_fd() => gate.try_clone().map_err(|error| report::errno_of(&error)),
        Some(_) | None => Ok(gate),
    }
}

/// What is to be executed.
struct Program {
    path: CString,
    argv: Vec<CString>,
    environment: Vec<CString>,
}

/// Puts everything where the program expects it.
fn prepare(order: &Order) -> nix::Result<Program> {
    let path = format!("./{}", order.which.program(order.role));
    let argv: Vec<OsString> = match order.role {
        Role::Start | Role::Run | Role::Stop => vec![path.clone().into()],
        Role::Finish => finish_arguments(order),
    };
    order.pipe.map_or(Ok(()), |pipe| pipe.give(order.which))?;
    let mut changes = Vec::new();
    if order.role == Role::Run && order.which == Which::Service {
        changes = ready::environment(order.policy, order.socket_name, getpid().as_raw());
        give_notification_fd(order)?;
    }
    if order.policy.scope == Scope::Tree {
        changes.extend(tree::mark());
    }
    let argv = argv.iter().map(|argument| c_string(argument)).collect::<Result<_, _>>()?;
    Ok(Program { path: c_string(path.as_ref())?, argv, environment: environment(&changes)? })
}

/// Puts the service's end of the notification FIFO where it expects it.
fn give_notification_fd(order: &Order) -> nix::Result<()> {
    let Some(number) = order.policy.notification_fd else { return Ok(()) };
    let fifo = ready::open_for_service(order.place)?;
    process::duplicate_to(&fifo, number)?;
    if fifo.as_raw_fd() == number {
        // It is there already, and is to stay.
        let _ = fifo.into_raw_fd();
    }
    Ok(())
}

/// `finish CODE SIGNAL NAME PGID`: 256 for a run that was killed, and the signal, else 0. The group is the one that
/// `run` leads where it has a session of its own; where it has ours, none has that number, and `kill -- -PGID` reaches
/// nobody instead of everybody.
///
/// Source: s6-supervise.
fn finish_arguments(order: &Order) -> Vec<OsString> {
    let (code, signal) = match order.exit {
        Some(Exit::Code(code)) => (code, 0),
        Some(Exit::Signal(signal) | Exit::Core(signal)) => (256, signal),
        Some(Exit::Unstarted(_)) => (report::TEMPORARY, 0),
        Some(Exit::Unknown) | None => (256, 0),
    };
    let name = OsStr::from_bytes(order.name).to_os_string();
    let group = order.last_run.map_or(0, |run| run.pid.as_raw());
    vec!["finish".into(), code.to_string().into(), signal.to_string().into(), name, group.to_string().into()]
}

impl Gate {
    /// Lets the child through. If it is dead, its end tells; if it cannot be let through, it is turned back.
    pub fn open(&self) {
        loop {
            match send(self.0.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                Ok(_) | Err(Errno::EPIPE) => return,
                Err(_) => {
                    let _ = shutdown(self.0.as_raw_fd(), Shutdown::Write);
                    return;
                }
            }
        }
    }

    /// How the child fared; does not block.
    pub fn passage(&self) -> Passage {
        let mut errno = [0; 4];
        match recv(self.0.as_raw_fd(), &mut errno, MsgFlags::MSG_DONTWAIT) {
            Ok(4) => Passage::Refused(Errno::from_raw(i32::from_ne_bytes(errno))),
            Err(Errno::EAGAIN | Errno::EINTR) => Passage::Underway,
            // Closed by its execution, or by its end, which is noticed elsewhere.
            Ok(_) | Err(_) => Passage::Executed,
        }
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What became of a process that a killed supervise left behind.
pub enum Found {
    /// It is still there, the same one.
    Alive(Held),
    /// It is not.
    Ended(Event),
}

/// Takes over the process in the record of an earlier supervise.
///
/// # Errors
/// Whether it is still there cannot be told now: EMFILE, or no `/proc`. To guess would be to have it twice, or to lose it.
pub fn adopt(role: Role, process: Process, place: &Place, past: Gated) -> Result<Found, Unable> {
    let ended = || Found::Ended(of_adopted(inherited_exit(process, place).unwrap_or(Exit::Unknown), past));
    let object = format!("process {}", process.pid);
    // First hold it, then look whether it is the one: what is held cannot become another.
    let held = match PidFd::open(process.pid) {
        Err(Errno::ESRCH) => return Ok(ended()),
        held => Held { role, process, hold: Hold::Adopted(held.unable_to("hold", &object)?) },
    };
    match process::ticks_of(process.pid).unable_to("recognise", &object)? {
        Some(ticks) if ticks == process.ticks => Ok(Found::Alive(held)),
        Some(_) if process.ticks != 0 => Ok(ended()),
        None if held.has_ended() => Ok(ended()),
        // Its start was not known, or is not now.
        Some(_) | None => Err(Unable::new("recognise", &object, Errno::ENOENT)),
    }
}

/// Whether an adopted process may have been at its gate when its supervise was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gated {
    Maybe,
    No,
}

fn of_adopted(exit: Exit, past: Gated) -> Event {
    if exit == Exit::Code(TURNED_BACK) && past == Gated::Maybe { Event::NeverBegan } else { Event::Ended(exit) }
}

impl Held {
    /// Readable once the process has ended; `None` if that is told by SIGCHLD.
    pub fn end_watch(&self) -> Option<BorrowedFd<'_>> {
        match &self.hold {
            Hold::Own => None,
            Hold::Adopted(pidfd) => Some(pidfd.as_fd()),
        }
    }

    /// Whether this is an adopted process and has ended.
    pub fn has_ended(&self) -> bool {
        let Hold::Adopted(pidfd) = &self.hold else { return false };
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
    }

    /// How the adopted process ended; `None` if its parent has yet to wait for it.
    pub fn adopted_end(&self, place: &Place, past: Gated) -> Option<Event> {
        let Hold::Adopted(pidfd) = &self.hold else { return None };
        // Looked at first: if nothing is left of it by now, all that can be told has been.
        let gone = self.is_gone();
        let told = match pidfd.ended() {
            Ended::Status(status) => return Some(of_adopted(Exit::from_wait_status(status), past)),
            Ended::NotReaped | Ended::Untold => inherited_exit(self.process, place),
        };
        let seen = || process::zombie_status(self.process.pid, self.process.ticks).map(Exit::from_wait_status);
        told.or_else(seen).or_else(|| gone.then_some(Exit::Unknown)).map(|exit| of_adopted(exit, past))
    }

    /// Whether the process has become a program: until then it is this one still.
    pub fn has_executed(&self) -> bool {
        let program = |who: &str| stat(format!("/proc/{who}/exe").as_str()).map(|file| (file.st_dev, file.st_ino));
        program(&self.process.pid.to_string()).ok() != program("self").ok()
    }

    fn is_gone(&self) -> bool {
        process::start_ticks(self.process.pid) != Some(self.process.ticks)
    }

    /// Sends a signal to the process. One that has ended is beyond reach, which is no failure.
    pub fn send(&self, signal: Signal) {
        let _ = match &self.hold {
            Hold::Own => kill(self.process.pid, signal),
            Hold::Adopted(pidfd) => pidfd.signal(signal),
        };
    }

    /// Whether what `sender` says is to be taken as said by the service: it is one of its processes, or
    /// of its user, who could as well make it say so, or of root.
    pub fn speaks_through(&self, sender: &UnixCredentials) -> bool {
        let owner = std::fs::metadata(format!("/proc/{}", self.process.pid)).ok().map(|process| process.uid());
        let trusted = sender.uid() == 0 || owner == Some(sender.uid());
        trusted || self.is_ancestor_of(Pid::from_raw(sender.pid()))
    }

    /// The service as the process `pid`, if that is one of its processes or of ours.
    pub fn moved_to(&self, pid: Pid, place: &Place) -> Option<Held> {
        let ours = pid != self.process.pid && (self.is_ancestor_of(pid) || is_ancestor(getpid(), pid));
        let process = Process::of(pid);
        match adopt(self.role, process, place, Gated::No) {
            Ok(Found::Alive(held)) if ours => Some(held),
            Ok(Found::Alive(_) | Found::Ended(_)) | Err(_) => None,
        }
    }

    fn is_ancestor_of(&self, pid: Pid) -> bool {
        is_ancestor(self.process.pid, pid)
    }

    /// Sends a signal to the group that the process leads, if it leads one.
    pub fn send_group(&self, signal: Signal) {
        match getpgid(Some(self.process.pid)) {
            Ok(group) if group == self.process.pid => drop(killpg(group, signal)),
            Ok(_) | Err(_) => self.send(signal),
        }
    }
}

/// Whether `pid` is `ancestor` or descends from it. The way up is short, and never in a circle for long.
fn is_ancestor(ancestor: Pid, pid: Pid) -> bool {
    let parents = std::iter::successors(Some(pid), |pid| Some(process::ancestry(*pid)?.parent));
    parents.take(1000).take_while(|pid| pid.as_raw() > 0).any(|pid| pid == ancestor)
}

/// What svscan, having inherited the process, wrote down of its end.
fn inherited_exit(process: Process, place: &Place) -> Option<Exit> {
    let text = std::fs::read_to_string(place.path(ORPHAN)).ok()?;
    text.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace();
        let same = numbers.next()? == process.pid.to_string() && numbers.next()? == process.ticks.to_string();
        let status = numbers.next()?.parse().ok()?;
        same.then(|| Exit::from_wait_status(status))
    })
}
