//! The service's process: launched behind a gate, or adopted from a supervise that was killed.

use crate::machine::Event;
use crate::pipe::Pipe;
use crate::policy::{Policy, Scope};
use crate::{ready, tree};
use daemontools::service::{
    Exit, Identity, ORPHAN, Part, Place, Process, Role, is_without_pidfd, ledger, read_file_itself,
};
use daemontools::sys::datagram::Sender;
use daemontools::sys::exec::{c_string, environment, execute};
use daemontools::sys::process::{self, Ended, PidFd};
use daemontools::{Attempt, Unable, interpreter, report, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::socket::{AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, send, shutdown, socketpair};
use nix::sys::stat::stat;
use nix::unistd::{Pid, close, getpgid, getpid, setsid};
use std::cell::Cell;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The process of the service, as far as it is ours to wait for and to signal.
pub struct ServiceProcess {
    pub role: Role,
    pub id: Process,
    handle: Handle,
}

enum Handle {
    /// Our child: no other process can have its number until we have waited for it.
    Child,
    /// Another process' child by now: held by a descriptor.
    Adopted(PidFd),
    /// Likewise, on a kernel that has no such descriptors: known by its number, and asked for again and again.
    Unheld,
}

/// Our end of the gate at which a child waits before it becomes a program.
pub struct Gate {
    socket: OwnedFd,
    /// Why the program could not be executed, once the child has said so: it says it only once.
    refused: Cell<Option<Errno>>,
}

/// How the child fared behind its gate.
pub enum ExecResult {
    Pending,
    Executed,
    Refused(Errno),
}

/// Exit code of a child whose gate never opened: the next supervise does what the child was to do. No program
/// of repute exits so.
const EXIT_GATE_CLOSED: i32 = 213;

/// What a child needs to know.
pub struct Order<'a> {
    pub role: Role,
    pub part: Part,
    /// The pipe between the service and its logger.
    pub pipe: Option<&'a Pipe>,
    /// For `finish`: how `run` ended.
    pub exit: Option<Exit>,
    /// For `finish`: the `run` that ended.
    pub last_run: Option<Process>,
    pub policy: &'a Policy,
    /// Where `run` finds NOTIFY_SOCKET.
    pub socket: Option<&'a OsStr>,
    /// Its processes are marked, so that they can be known again.
    pub tags_processes: bool,
    /// The service as it was named to us.
    pub name: &'a [u8],
    /// Where the service's end of what it tells us lies.
    pub place: &'a Place,
    /// Given up first: a child must not keep its dead supervise's lock.
    pub lock: BorrowedFd<'a>,
}

/// Makes the process and holds it at its gate.
///
/// # Errors
/// The system has no process or descriptor to give.
pub fn launch(order: &Order) -> nix::Result<(ServiceProcess, Gate)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let pid = process::fork(|| {
        let _ = close(order.lock.as_raw_fd());
        let _ = close(ours.as_raw_fd());
        become_program(order, theirs)
    })?;
    Ok((
        ServiceProcess { role: order.role, id: Process::of(pid), handle: Handle::Child },
        Gate { socket: ours, refused: Cell::new(None) },
    ))
}

/// In the child. Returns only with the exit code of a failure. All is prepared before it waits at its gate: what
/// it does then costs no time, as its supervise writes down meanwhile who it is.
fn become_program(order: &Order, gate: OwnedFd) -> i32 {
    let Ok(gate) = out_of_the_way(gate, order) else { return EXIT_GATE_CLOSED };
    process::unblock_signals();
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
            Ok(_) | Err(_) => return EXIT_GATE_CLOSED,
        }
    }
    let file = Path::new(order.part.program(order.role));
    let errno = match program {
        Ok(Program { path, argv, environment }) => match execute(&path, &argv, &environment) {
            // It was replaced just now: what was executed is not the file that is there, which may be a better one.
            Errno::ENOENT if interpreter::is_there(file) => execute(&path, &argv, &environment),
            errno => errno,
        },
        Err(errno) => errno,
    };
    let errno = match errno {
        // The file that is missing is another one.
        Errno::ENOENT if file.exists() => Errno::ELIBACC,
        errno => errno,
    };
    // supervise says so. It may be dead by now: that must not kill us before we have exited.
    let _ = send(gate.as_raw_fd(), &(errno as i32).to_ne_bytes(), MsgFlags::MSG_NOSIGNAL);
    report::TEMPORARY
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
    let path = format!("./{}", order.part.program(order.role));
    let argv: Vec<OsString> = match order.role {
        Role::Start | Role::Run | Role::Stop => vec![path.clone().into()],
        Role::Finish => finish_arguments(order),
    };
    order.pipe.map_or(Ok(()), |pipe| pipe.give(order.part))?;
    let mut changes = Vec::new();
    if order.role == Role::Run && order.part == Part::Service {
        changes = ready::environment(order.policy, order.socket, getpid().as_raw());
        give_notification_fd(order)?;
    }
    if order.policy.scope == Scope::Tree || order.tags_processes {
        changes.extend(tree::environment_tag(order.part));
    }
    // What svscan tells us is ours alone.
    changes.extend(ledger::taken_away());
    let argv = argv.iter().map(|argument| c_string(argument)).collect::<Result<_, _>>()?;
    Ok(Program { path: c_string(path.as_ref())?, argv, environment: environment(&changes)? })
}

/// Puts the service's end of the notification FIFO where it expects it.
fn give_notification_fd(order: &Order) -> nix::Result<()> {
    let Some(number) = order.policy.notification_fd else { return Ok(()) };
    // It runs, though it cannot say that it is ready, which supervise has complained of.
    let fifo = ready::open_for_service(order.place).or_else(|_| sys::null())?;
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
            match send(self.socket.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                Ok(_) | Err(Errno::EPIPE) => return,
                Err(_) => {
                    let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
                    return;
                }
            }
        }
    }

    /// How the child fared; does not block. Once it is told that the program could not be executed, it stays so: the
    /// end of what the child says, which comes next, would otherwise look like an execution.
    pub fn exec_result(&self) -> ExecResult {
        if let Some(errno) = self.refused.get() {
            return ExecResult::Refused(errno);
        }
        let mut errno = [0; 4];
        match recv(self.socket.as_raw_fd(), &mut errno, MsgFlags::MSG_DONTWAIT) {
            Ok(4) => {
                let errno = Errno::from_raw(i32::from_ne_bytes(errno));
                self.refused.set(Some(errno));
                ExecResult::Refused(errno)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => ExecResult::Pending,
            // Closed by its execution, or by its end, which is noticed elsewhere.
            Ok(_) | Err(_) => ExecResult::Executed,
        }
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What became of a process that a killed supervise left behind.
pub enum Found {
    /// It is still there, the same one.
    Alive(ServiceProcess),
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
    let handle = match PidFd::open(process.pid) {
        Ok(held) => Handle::Adopted(held),
        // No process has the number, or only a thread of another.
        Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return Ok(ended()),
        Err(errno) if is_without_pidfd(errno) => Handle::Unheld,
        Err(errno) => return Err(Unable::new("hold", &object, errno)),
    };
    let identity = match &handle {
        Handle::Adopted(held) => process.identity_of(held),
        Handle::Child | Handle::Unheld => process.identity(),
    };
    let held = ServiceProcess { role, id: process, handle };
    match identity.unable_to("recognise", &object)? {
        Identity::Same => Ok(Found::Alive(held)),
        Identity::Gone => Ok(ended()),
        Identity::Unknown if held.has_ended() => Ok(ended()),
        // An old kernel without /proc: of the process there is only its group, which is its own or that of the supervise
        // that made it, and stays so.
        Identity::Unknown if leads_or_shares_group(process.pid) => Ok(Found::Alive(held)),
        // Its start was not known, or is not now.
        Identity::Unknown => Err(Unable::new("recognise", &object, Errno::ENOENT)),
    }
}

/// Whether a process leads its group, or is in one whose leader is no process any more, as the group of a supervise that was
/// killed.
fn leads_or_shares_group(pid: Pid) -> bool {
    getpgid(Some(pid)).is_ok_and(|group| group == pid || kill(group, None) == Err(Errno::ESRCH))
}

/// Whether an adopted process may have been at its gate when its supervise was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gated {
    Maybe,
    No,
}

fn of_adopted(exit: Exit, past: Gated) -> Event {
    if exit == Exit::Code(EXIT_GATE_CLOSED) && past == Gated::Maybe { Event::NeverBegan } else { Event::Ended(exit) }
}

impl ServiceProcess {
    /// Readable once the process has ended; `None` if that is told by SIGCHLD, or has to be asked for.
    pub fn end_watch(&self) -> Option<BorrowedFd<'_>> {
        match &self.handle {
            Handle::Child | Handle::Unheld => None,
            Handle::Adopted(pidfd) => Some(pidfd.as_fd()),
        }
    }

    /// Whether this is a child of ours, which we are to wait for.
    pub fn is_child(&self) -> bool {
        matches!(self.handle, Handle::Child)
    }

    /// Whether its end has to be asked for.
    pub fn is_unheld(&self) -> bool {
        matches!(self.handle, Handle::Unheld)
    }

    /// Whether this is an adopted process and has ended.
    pub fn has_ended(&self) -> bool {
        match &self.handle {
            Handle::Child => false,
            Handle::Unheld => {
                let gone = matches!(self.id.identity(), Ok(Identity::Gone));
                gone || process::ancestry(self.id.pid).is_some_and(|process| process.zombie)
            }
            Handle::Adopted(pidfd) => {
                let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
            }
        }
    }

    /// How the adopted process ended; `None` if its parent has yet to wait for it.
    pub fn adopted_end(&self, place: &Place, past: Gated) -> Option<Event> {
        // Looked at first: if nothing is left of it by now, all that can be told has been.
        let gone = self.id.identity() == Ok(Identity::Gone);
        let told = match &self.handle {
            Handle::Child => return None,
            Handle::Unheld => inherited_exit(self.id, place),
            Handle::Adopted(pidfd) => match pidfd.ended() {
                Ended::Status(status) => return Some(of_adopted(Exit::from_wait_status(status), past)),
                Ended::NotReaped | Ended::Untold => inherited_exit(self.id, place),
            },
        };
        let seen = || process::zombie_status(self.id.pid, self.id.ticks).map(Exit::from_wait_status);
        told.or_else(seen).or_else(|| gone.then_some(Exit::Unknown)).map(|exit| of_adopted(exit, past))
    }

    /// Whether the process has become a program: until then it is this one still.
    pub fn has_executed(&self) -> bool {
        let program = |who: &str| stat(format!("/proc/{who}/exe").as_str()).map(|file| (file.st_dev, file.st_ino));
        program(&self.id.pid.to_string()).ok() != program("self").ok()
    }

    /// Sends a signal to the process. One that has ended is beyond reach, which is no failure.
    pub fn send(&self, signal: Signal) {
        let _ = match &self.handle {
            Handle::Child => kill(self.id.pid, signal),
            Handle::Adopted(pidfd) => pidfd.signal(signal),
            Handle::Unheld if self.id.identity() == Ok(Identity::Gone) => Ok(()),
            Handle::Unheld => kill(self.id.pid, signal),
        };
    }

    /// Whether what `sender` says is to be taken as said by the service: it is one of its processes, or
    /// of its user, who could as well make it say so, or of root.
    pub fn speaks_through(&self, sender: &Sender) -> bool {
        let owner = std::fs::metadata(format!("/proc/{}", self.id.pid)).ok().map(|process| process.uid());
        let trusted = sender.uid == 0 || owner == Some(sender.uid);
        trusted || self.is_ancestor_of(Pid::from_raw(sender.pid))
    }

    /// The service as the process `pid`, if `sender` may say so and that process is the service's. `strangers` are our
    /// children that are not of the service.
    pub fn moved_to(&self, pid: Pid, sender: &Sender, strangers: &[Pid], place: &Place) -> Option<ServiceProcess> {
        if pid == self.id.pid {
            return None;
        }
        // First it is held, then looked at: no other process can get its number meanwhile, unless it ends.
        let held = match adopt(self.role, Process::of(pid), place, Gated::No) {
            Ok(Found::Alive(held)) => held,
            Ok(Found::Ended(_)) | Err(_) => return None,
        };
        let is_ours = match descent(line(pid), self.id.pid, getpid(), strangers) {
            Descent::Service => true,
            Descent::Orphan => may_signal(sender, pid),
            Descent::Stranger => false,
        };
        (is_ours && !held.has_ended()).then_some(held)
    }

    fn is_ancestor_of(&self, pid: Pid) -> bool {
        line(pid).any(|above| above == self.id.pid)
    }

    /// Sends a signal to the group that the process leads, if it leads one.
    pub fn send_group(&self, signal: Signal) {
        match getpgid(Some(self.id.pid)) {
            Ok(group) if group == self.id.pid => drop(killpg(group, signal)),
            Ok(_) | Err(_) => self.send(signal),
        }
    }
}

/// A process, its parent, and so on. The way up is short, and never in a circle for long.
fn line(pid: Pid) -> impl Iterator<Item = Pid> {
    let parents = std::iter::successors(Some(pid), |pid| Some(process::ancestry(*pid)?.parent));
    parents.take(1000).take_while(|pid| pid.as_raw() > 0)
}

/// What a process is to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Descent {
    /// The service's process, or a descendant of it.
    Service,
    /// A descendant of supervise whose parent has ended: it may be of the service, as a process that went into the
    /// background, or of another child of supervise.
    Orphan,
    /// Supervise itself, another of its children or a descendant of that, or none of supervise's descendants.
    Stranger,
}

/// What the first process of `line` is, of which each is the parent of the one before.
fn descent(line: impl Iterator<Item = Pid>, service: Pid, supervise: Pid, strangers: &[Pid]) -> Descent {
    for (generation, pid) in line.enumerate() {
        if pid == service {
            return Descent::Service;
        }
        if strangers.contains(&pid) || (pid == supervise && generation == 0) {
            return Descent::Stranger;
        }
        if pid == supervise {
            return Descent::Orphan;
        }
    }
    Descent::Stranger
}

/// Whether `sender` is the process `pid`, or could signal it itself.
fn may_signal(sender: &Sender, pid: Pid) -> bool {
    let is_its = |accounts: [u32; 4]| accounts[0] == sender.uid || accounts[2] == sender.uid;
    sender.uid == 0 || sender.pid == pid.as_raw() || process::accounts(pid).is_some_and(is_its)
}

/// What svscan, having inherited the process, wrote down of its end.
fn inherited_exit(process: Process, place: &Place) -> Option<Exit> {
    let text = String::from_utf8(read_file_itself(&place.path(ORPHAN), LONGEST_ORPHAN).ok()?.0).ok()?;
    text.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace();
        let pid = Pid::from_raw(numbers.next()?.parse().ok()?);
        let (ticks, status) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let serial = numbers.next().and_then(|serial| serial.parse().ok()).unwrap_or(0);
        let its = Process { pid, ticks, serial };
        its.is_same_as(&process).then(|| Exit::from_wait_status(status))
    })
}

/// Two lines of four numbers.
const LONGEST_ORPHAN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_descends_from_the_service_or_has_lost_its_parent_may_become_it() {
        // 10 is supervise, 20 the service, 30 its logger.
        let table: [(&[i32], Descent); 9] = [
            (&[20, 10, 1], Descent::Service),
            (&[22, 21, 20, 10, 1], Descent::Service),
            // supervise was killed, and the next one is not above the service.
            (&[22, 20, 1], Descent::Service),
            (&[40, 10, 1], Descent::Orphan),
            (&[41, 40, 10, 1], Descent::Orphan),
            (&[10, 1], Descent::Stranger),
            (&[30, 10, 1], Descent::Stranger),
            (&[31, 30, 10, 1], Descent::Stranger),
            (&[50, 1], Descent::Stranger),
        ];
        for (line, expected) in table {
            let [service, supervise, logger] = [20, 10, 30].map(Pid::from_raw);
            let found = descent(line.iter().copied().map(Pid::from_raw), service, supervise, &[logger]);
            assert_eq!(found, expected, "{line:?}");
        }
    }

    #[test]
    fn the_accounts_of_a_process_are_those_that_it_has() {
        let [real, effective, saved] =
            nix::unistd::getresuid().map(|ids| [ids.real, ids.effective, ids.saved]).unwrap();
        let accounts = process::accounts(getpid()).unwrap();
        assert_eq!(accounts[..3], [real, effective, saved].map(|id| id.as_raw()));
        assert_eq!(process::accounts(Pid::from_raw(i32::MAX)), None);
    }
}
