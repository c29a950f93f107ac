//! svscan: starts and keeps a supervise for every service in a directory.
//!
//! `svscan [ DIRECTORY ]`
//!
//! 1. Changes into DIRECTORY, if it is given. If another svscan serves it, and so holds a lock on `.svscan/lock`, says so
//!    and waits for its end; told to stop meanwhile, exits with 0.
//! 2. For each entry that is a directory, or a link to one, and whose name does not begin with a dot,
//!    starts `supervise NAME`; if it contains a directory `log`, also `supervise log` in it, with a
//!    pipe between the two. Two entries that lead to one directory are one service; an entry renamed
//!    is the same service. A supervise that runs already is not started again but watched, and its
//!    pipe recovered.
//! 3. Starts a supervise again when it has ended: at once, but not more than twice within a second. If a supervise
//!    cannot do its work, svscan starts it after five seconds, ten, and so on up to 80.
//! 4. Looks at the directory again whenever the kernel reports a change, and every five seconds. A new
//!    directory is started when its `run` can be executed and it is not being made any more, or after
//!    five seconds.
//! 5. Told TERM, stops all services in order, loggers last, and exits.
//!
//! If an entry is removed, svscan stops nothing: it only does not start the supervise again. It still starts the
//! supervise of a logger whose service runs or has left lines: the logger reads the lines, and is then told to end. The
//! pipe is kept until the entry is gone and both supervises have ended; the logger sees its end once the entry is gone
//! and the service's own supervise has ended. With the word `stop` in `.svscan/on-remove` the service and its logger
//! are stopped. Where another directory takes the name, the service before it is stopped first in any case.
//!
//! `NAME/after`: names of services, one a line. NAME is started when they are ready, and stopped before
//! them. `NAME/essential`: when NAME ends for good, everything is stopped, and svscan exits with its code
//! (128 and the signal's number if it was killed, 111 if it never ran).
//!
//! `.svscan/starts-at-a-time`: a number of services; the next one is started when one of them is ready.
//!
//! `.svscan/forward`: lines of services without a logger go to standard output, their names in front.
//!
//! Signals: TERM, PWR, RTMIN+3: stop, as long as it takes. INT: the same; the second one kills. HUP, ALRM:
//! look at the directory now. USR2: svscan's file is executed anew, for an upgrade; nothing is stopped. It waits until
//! what is being stopped is down.
//! An executable `.svscan/SIGTERM`, `SIGHUP` and so on is run instead, also for QUIT, USR1 and WINCH,
//! which are ignored otherwise. At the end `.svscan/finish CODE` is executed in svscan's place; after a
//! failure, `.svscan/crash`.
//!
//! Each supervise, and each script, leads a process group of its own. A supervise gets a page of svscan's memory by the
//! environment variable SVSCAN_LEDGER, and svscan commands it by a signal. svscan commands a supervise without a page through
//! `supervise/control`.
//!
//! `supervise` is the one beside svscan's own file, else the first in PATH. svscan raises its own limit
//! of open files; what it starts has the limits that svscan was given. Processes whose supervise was
//! killed become svscan's children: it keeps their exit statuses for the next supervise, in
//! `supervise/orphan`.
//!
//! A failure is one line on standard error, once: `svscan: warning: unable to VERB NAME: reason`.
//! Exit codes: 0, stopped; that of an essential service; 111, DIRECTORY cannot be entered.

#![forbid(unsafe_code)]

mod abandoned;
mod attached;
mod changes;
mod diagnostics;
mod essential;
mod forwarder;
mod forwarder_lock;
mod forwarding;
mod handover;
mod identity;
pub mod in_charge;
mod incomplete;
mod late_loggers;
mod launch;
pub mod leftover;
mod link_recheck;
mod lock;
pub mod lock_step;
mod long_stop;
mod look;
mod messages;
pub mod orphans;
mod pages;
mod pockets;
mod probe;
mod procfs;
pub mod readiness;
mod ready_watch;
mod reexec;
mod removed;
mod scan;
mod scanner;
mod service_pipe;
mod settings;
mod signals;
pub mod start;
pub mod stopping;
mod supervise_files;
mod supervises;
mod survivors;
pub mod table;
mod unkillable;

use daemontools::sys::exec::exec;
use daemontools::sys::inherited_descriptor;
use daemontools::{Args, Attempt, Fatal, Help, Unable, report, sys};
use handover::Handover;
use launch::Launcher;
use lock::LockOutcome;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signalfd::SignalFd;
use probe::Probe;
use scanner::Scanner;
use signals::Request;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use survivors::Survivors;

/// What svscan answers when it is asked for its usage, for help or for its version.
pub const HELP: Help = Help {
    usage: "svscan: usage: svscan [ directory ]",
    text: "\
Starts a supervise for each service in directory, or in the current one, and keeps it
running; where the service has a directory log, also one for its logger, and a pipe.

Signals: TERM, PWR, RTMIN+3 and INT stop all services and then svscan; a second INT kills.
HUP and ALRM look at the directory now; USR2 executes svscan's file anew.

Exit codes: 0, stopped; that of a service that is essential; 111, directory cannot be entered.
",
};

/// How often svscan looks whether something has happened, where the system does not let it wait for that.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

const FINISH: &str = ".svscan/finish";
const CRASH: &str = ".svscan/crash";

/// Runs svscan until all its services are stopped.
///
/// # Errors
/// The scan directory cannot be entered, or the system refuses what svscan cannot work without.
pub fn svscan(mut args: Args) -> Result<i32, Fatal> {
    sys::open_missing_stdio();
    // Before anything that may take long: svscan obeys what it is told meanwhile, also where it is the first process.
    let signals = signals::take().unable_to("set up signals", "")?;
    // Known before the current directory is left, and before the files can be replaced.
    let files = Files { own: sys::companion("svscan"), supervise: sys::companion("supervise") };
    if let Some(directory) = args.next() {
        let entered = nix::unistd::chdir(directory.as_os_str()).unable_to("chdir to", &directory);
        entered.map_err(|unable| unable.where_denied(directory.as_ref()))?;
    }
    let handover = reexec::inherited();
    let may_follow_another = lock::may_follow_another();
    let inherited = handover.as_ref().and_then(|handover| inherited_descriptor(handover.lock?).ok());
    let lock = match inherited.filter(lock::is_lock).map_or_else(|| lock::lock(&signals), LockOutcome::Acquired) {
        LockOutcome::Acquired(lock) => Some(lock),
        LockOutcome::Unavailable => None,
        LockOutcome::ToldToStop => return Ok(0),
    };
    // To find what another svscan has left takes a look at every process. It may have started more while this one waited.
    let survivors = if may_follow_another { Survivors::find() } else { Survivors::default() };
    report::on_panic(|| replace_by(CRASH, report::BUG));
    match serve(&signals, &files, Earlier { handover, survivors }, lock.as_ref()) {
        Ok(code) => {
            replace_by(FINISH, code);
            Ok(code)
        }
        Err(fatal) => {
            let code = fatal.print();
            replace_by(CRASH, code);
            Ok(code)
        }
    }
}

/// The programs that svscan executes.
struct Files {
    own: PathBuf,
    supervise: PathBuf,
}

/// What earlier svscans have left.
struct Earlier {
    /// What an earlier svscan in this process has handed over.
    handover: Option<Handover>,
    /// Supervises that svscans in other processes have started.
    survivors: Survivors,
}

fn serve(signals: &SignalFd, files: &Files, earlier: Earlier, lock: Option<&OwnedFd>) -> Result<i32, Fatal> {
    // Without it, exit statuses of processes whose supervise was killed are lost; nothing else is.
    let _ = set_child_subreaper(true);
    let open_files = earlier.handover.as_ref().and_then(|handover| handover.open_files);
    let launcher = Launcher::new(&files.supervise, reexec::VARIABLE, open_files, lock).unable_to("start", "")?;
    let mut scanner = Scanner::new(launcher, earlier.survivors, Instant::now()).unable_to("start", "")?;
    let follows = earlier.handover.is_some();
    scanner.take_over(&earlier.handover.unwrap_or_default(), Instant::now());
    if follows {
        reexec::say_done(&files.own);
    }
    let (mut interrupts, mut reexec_wanted) = (0, false);
    // waitid(2) is O(children), so it is called only after SIGCHLD; and once at the start, for children that died before the
    // signalfd existed.
    let mut some_have_ended = true;
    let mut unable_to_wait = None;
    // Told to stop everything before it has started anything, svscan only stops what an earlier svscan has left.
    scanner.look(Instant::now());
    loop {
        report::retry_lost();
        while let Ok(Some(signal)) = signals.read_signal() {
            match obey(signal.ssi_signo, &mut interrupts, &mut scanner) {
                Request::Reap => some_have_ended = true,
                Request::Reexec if !reexec_wanted => {
                    reexec_wanted = true;
                    if !scanner.may_be_handed_over() {
                        messages::reexec_postponed();
                    }
                }
                _ => {}
            }
        }
        some_have_ended = scanner.do_what_is_due(some_have_ended);
        if let Some(code) = scanner.exit_code() {
            return Ok(code);
        }
        if reexec_wanted && scanner.may_be_handed_over() {
            reexec_wanted = false;
            let (mut handover, mut descriptors) = scanner.handover();
            handover.lock = lock.map(AsRawFd::as_raw_fd);
            descriptors.extend(lock.map(AsFd::as_fd));
            reexec::reexec(&files.own, &handover, &descriptors).warn();
        }
        wait(signals, &scanner, &mut unable_to_wait);
    }
}

/// Does what a signal asks for, and returns that. Reaping and executing svscan anew are left to the caller.
fn obey(number: u32, interrupts: &mut u32, scanner: &mut Scanner) -> Request {
    let (request, name) = signals::request(number);
    let script = signals::script(name);
    if request != Request::Reap && scanner.has_script(&script) {
        match scanner.start_program(&script, name) {
            Ok(_) => return Request::Nothing,
            Err(refused) => Unable::execute_own("start", &script, &script, refused.errno()).warn(),
        }
    }
    let now = Instant::now();
    match request {
        Request::Reap | Request::Reexec | Request::Nothing => {}
        Request::Scan => {
            scanner.hasten(now);
        }
        Request::Stop => scanner.stop_all(now),
        Request::Interrupt => {
            *interrupts += 1;
            scanner.stop_all(now);
            if *interrupts > 1 {
                scanner.hurry(now);
            }
        }
    }
    request
}

/// Executes the script in svscan's place, if there is one.
fn replace_by(script: &str, code: i32) {
    let mut probe = Probe::default();
    probe.refresh();
    if probe.is_program(Path::new(script)) {
        // A signal that waits would end svscan before it becomes the script.
        sys::write_now::take_away(&signals::of_writes());
        sys::process::unblock_signals();
        let errno = exec(&[script.into(), code.to_string().into()], &[(reexec::VARIABLE.into(), None)]);
        Unable::execute_own("start", script, script.as_ref(), errno).warn();
    }
}

/// Waits until something happens or is to be done. Where the system refuses that, as it has no memory, or as the limit
/// of open files was lowered, svscan says so once, and looks from time to time: it does not end while services run.
fn wait(signals: &SignalFd, scanner: &Scanner, refused: &mut Option<Errno>) {
    let sources = [signals.as_fd()].into_iter().chain(scanner.sources());
    let mut fds: Vec<PollFd> = sources.map(|source| PollFd::new(source, PollFlags::POLLIN)).collect();
    let left = scanner.deadline().saturating_duration_since(Instant::now());
    match poll(&mut fds, sys::timeout(Some(left))) {
        Ok(_) | Err(Errno::EINTR) => *refused = None,
        Err(errno) => {
            if refused.replace(errno) != Some(errno) {
                Unable::new("poll", "", errno).warn();
            }
            sleep(left.min(LOOK_AGAIN));
        }
    }
}
