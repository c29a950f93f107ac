//! Starting one of the service's programs: a new process prepares everything, waits at its gate, and executes.
//!
//! The process prepares all that the program is to find before it waits at its gate. That costs no time, as supervise
//! writes the record of the process at the same time.

use crate::gate::{Gate, ProcessEnd};
use crate::given::LifeInputs;
use crate::machine::EXIT_GATE_CLOSED;
use crate::pipe::Pipe;
use crate::program::Program;
use crate::service_process::ServiceProcess;
use crate::{ready, tree};
use daemontools::service::policy::{Policy, Scope};
use daemontools::service::{Exit, LifeEnd, Part, Place, Process, Role, ledger, refusal};
use daemontools::sys::exec::{Change, c_string, environment, execute};
use daemontools::sys::process;
use daemontools::tai64::Moment;
use daemontools::{interpreter, report, sys};
use nix::errno::Errno;
use nix::unistd::{close, getpid, setsid};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What the new process needs to know.
pub struct LaunchContext<'a> {
    pub program: Program,
    pub part: Part,
    /// The pipe between the service and its logger.
    pub pipe: Option<&'a Pipe>,
    /// For `finish`: how the life ended.
    pub life_end: Option<LifeEnd>,
    /// For `finish`: the `run` that ended.
    pub last_run: Option<Process>,
    /// For a program that runs beside `run`: the process of that.
    pub main: Option<Process>,
    /// What the programs of this life are given.
    pub inputs: &'a LifeInputs,
    pub policy: &'a Policy,
    /// The address of the socket in which supervise hears `run`, in the form of NOTIFY_SOCKET.
    pub socket: Option<&'a OsStr>,
    /// The environment of the process gets a tag by which it can be known again.
    pub tags_processes: bool,
    /// The service as the argument of supervise names it.
    pub name: &'a [u8],
    /// Where the FIFO lies into which the service writes that it is ready.
    pub place: &'a Place,
    /// supervise's lock, which the process closes first: it must not hold the lock of a supervise that is dead.
    pub lock: BorrowedFd<'a>,
}

/// Makes the process and holds it at its gate.
///
/// # Errors
/// The system has no process or descriptor to give.
pub fn launch(context: &LaunchContext) -> nix::Result<(ServiceProcess, Gate)> {
    let (gate, its_end) = Gate::new()?;
    let before = Moment::now().uptime;
    let pid = process::fork(|| {
        let _ = close(context.lock.as_raw_fd());
        let _ = close(gate.as_fd().as_raw_fd());
        become_program(context, its_end)
    })?;
    Ok((ServiceProcess::made_between(pid, before, Moment::now().uptime), gate))
}

/// Becomes the program, in the new process. It returns only if that fails, with the exit code.
fn become_program(context: &LaunchContext, gate: ProcessEnd) -> i32 {
    let Ok(gate) = gate.away_from(context.policy.notification_fd) else { return EXIT_GATE_CLOSED };
    process::unblock_signals();
    sys::make_stderr_write_only();
    if context.policy.own_session() {
        let _ = setsid();
    }
    let program = prepare(context);
    if !gate.wait() {
        return EXIT_GATE_CLOSED;
    }
    let file = Path::new(context.program.file(context.part));
    let errno = match program {
        Ok(Prepared { path, argv, environment }) => match execute(&path, &argv, &environment) {
            // The file was replaced at this moment: the new one is executed.
            Errno::ENOENT if interpreter::is_there(file) => execute(&path, &argv, &environment),
            errno => errno,
        },
        Err(errno) => errno,
    };
    gate.refuse(match errno {
        // The program is there: what is missing is its interpreter or a library.
        Errno::ENOENT if file.exists() => Errno::ELIBACC,
        errno => errno,
    });
    report::TEMPORARY
}

/// A program that is ready to be executed.
struct Prepared {
    path: CString,
    argv: Vec<CString>,
    environment: Vec<CString>,
}

/// Puts all descriptors and variables where the program expects them.
fn prepare(context: &LaunchContext) -> nix::Result<Prepared> {
    let path = format!("./{}", context.program.file(context.part));
    let mut argv: Vec<OsString> = match context.program {
        Program::Main(Role::Finish) => finish_arguments(context),
        Program::Main(Role::Start | Role::PreStart | Role::Run | Role::Stop) | Program::Beside(_) => {
            vec![path.clone().into()]
        }
    };
    context.pipe.map_or(Ok(()), |pipe| pipe.give(context.part))?;
    let mut changes: Vec<Change> = Vec::new();
    for given in context.inputs.of(context.program) {
        argv.extend(given.arguments.iter().cloned());
        changes.extend(given.variables.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
    }
    if context.program == Program::Main(Role::Run) && context.part == Part::Service {
        changes.extend(ready::environment(context.policy, context.socket, getpid().as_raw()));
        give_notification_fd(context)?;
    }
    // What a supervise above this one has said to this one is not for the programs of this service.
    let heard = context.socket.filter(|_| context.program == Program::Main(Role::Run));
    let report = heard.map(|socket| refusal::variable(getpid().as_raw(), socket));
    changes.push((refusal::VARIABLE.into(), report));
    match context.program {
        Program::Main(Role::Finish) => changes.extend(context.life_end.iter().flat_map(end_variables)),
        Program::Beside(_) => {
            changes.extend(context.main.map(|run| ("MAINPID".into(), Some(run.pid.to_string().into()))))
        }
        Program::Main(Role::Start | Role::PreStart | Role::Run | Role::Stop) => {}
    }
    let is_tagged =
        context.policy.scope == Scope::Tree || context.policy.goes_into_background() || context.tags_processes;
    if is_tagged {
        changes.extend(tree::environment_tag(context.part));
    }
    // The variables by which svscan tells supervise something are not for the service.
    changes.extend(ledger::taken_away());
    let argv = argv.iter().map(|argument| c_string(argument)).collect::<Result<_, _>>()?;
    Ok(Prepared { path: c_string(path.as_ref())?, argv, environment: environment(&changes)? })
}

/// Puts the service's end of the notification FIFO at the number that the service expects.
fn give_notification_fd(context: &LaunchContext) -> nix::Result<()> {
    let Some(number) = context.policy.notification_fd else { return Ok(()) };
    // Without the FIFO the service runs, but cannot say that it is ready. supervise has said so.
    let fifo = ready::open_for_service(context.place).or_else(|_| sys::null())?;
    process::duplicate_to(&fifo, number)?;
    if fifo.as_raw_fd() == number {
        // The descriptor has that number already, and must stay open.
        let _ = fifo.into_raw_fd();
    }
    Ok(())
}

/// The variables by which `finish` learns how the life has ended: `ENDED`, its last program; `TOLD`, whether the service was
/// told to go down (`1`) or the program ended of itself (`0`); `PRE_STOP`, whether `pre-stop` has run; `STARTED`, whether the
/// last program was executed, as far as is known, together with what chain programs execute.
fn end_variables(end: &LifeEnd) -> [Change; 4] {
    let flag = |is_so: bool| Some(if is_so { "1".into() } else { "0".into() });
    [
        ("ENDED".into(), Some(end.role.program().into())),
        ("TOLD".into(), flag(end.is_told)),
        ("PRE_STOP".into(), flag(end.has_pre_stop)),
        ("STARTED".into(), flag(!matches!(end.exit, Exit::Unstarted(_)))),
    ]
}

/// The arguments of `finish CODE SIGNAL NAME PGID`. CODE is 256 for a run that was killed; SIGNAL is 0 for one that
/// exited. PGID is the pid of `run`, and thus its process group where it has a session of its own. Where it has
/// supervise's, no group has that number: `kill -- -PGID` reaches no process then, instead of all of supervise's group.
///
/// Source: s6-supervise.
fn finish_arguments(context: &LaunchContext) -> Vec<OsString> {
    let (code, signal) = match context.life_end.map(|end| end.exit) {
        Some(Exit::Code(code)) => (code, 0),
        Some(Exit::Signal(signal) | Exit::Core(signal)) => (256, signal),
        Some(Exit::Unstarted(_)) => (report::TEMPORARY, 0),
        Some(Exit::Unknown) | None => (256, 0),
    };
    let name = OsStr::from_bytes(context.name).to_os_string();
    let has_run = context.life_end.is_none_or(|end| end.role == Role::Run);
    let group = context.last_run.filter(|_| has_run).map_or(0, |run| run.pid.as_raw());
    vec!["finish".into(), code.to_string().into(), signal.to_string().into(), name, group.to_string().into()]
}
