//! Starting one of the service's programs: a new process prepares everything, waits at its gate, and executes.
//!
//! The process prepares all that the program is to find before it waits at its gate. So that costs no time: supervise writes
//! down meanwhile who the process is.

use crate::gate::{EXIT_GATE_CLOSED, Gate, ProcessEnd};
use crate::pipe::Pipe;
use crate::policy::{Policy, Scope};
use crate::service_process::ServiceProcess;
use crate::{ready, tree};
use daemontools::service::{Exit, Part, Place, Process, Role, ledger};
use daemontools::sys::exec::{c_string, environment, execute};
use daemontools::sys::process;
use daemontools::{interpreter, report, sys};
use nix::errno::Errno;
use nix::unistd::{close, getpid, setsid};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
    let (gate, its_end) = Gate::new()?;
    let pid = process::fork(|| {
        let _ = close(order.lock.as_raw_fd());
        let _ = close(gate.as_fd().as_raw_fd());
        become_program(order, its_end)
    })?;
    Ok((ServiceProcess::child(order.role, pid), gate))
}

/// In the new process. Returns only with the exit code of a failure.
fn become_program(order: &Order, gate: ProcessEnd) -> i32 {
    let Ok(gate) = gate.away_from(order.policy.notification_fd) else { return EXIT_GATE_CLOSED };
    process::unblock_signals();
    if order.policy.own_session() {
        let _ = setsid();
    }
    let program = prepare(order);
    if !gate.wait() {
        return EXIT_GATE_CLOSED;
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
    gate.refuse(match errno {
        // The file that is missing is another one.
        Errno::ENOENT if file.exists() => Errno::ELIBACC,
        errno => errno,
    });
    report::TEMPORARY
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
