//! The side of the real programs, in a scratch directory: svscan, whose parent starts it again if it is killed, as process
//! 1 does in the world; and services whose programs do what they are told.

use crate::kernel::{Place, Service};
use crate::real::plan::{Deed, Fault, Schedule, Strike};
use crate::real::seen::{Facts, Seen, tell_machine};
use daemontools::service::{Part, Record, Role, Status};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::{Daemon, Scratch, children_of_any, processes_in, state_of};

/// The scan directory.
const SCANNED: &str = "services";

/// `run`: it does what it is told through a FIFO. It has the FIFO open for writing too, so that this never ends.
const RUN: &str = "echo run $$ >>executed
[ -p fate ] || mkfifo fate
exec 3<>fate
while read -r what which <&3; do
    case $what in
    exit) exit $which ;;
    ignore) trap '' TERM ;;
    say) echo $which ;;
    esac
done";

/// `run` of a logger: it takes lines until there are no more.
const LOGGER: &str = "echo run $$ >>executed
exec cat >>taken";

/// A machine on which the real programs perform a schedule.
pub struct Machine {
    scratch: Scratch,
    services: Vec<Service>,
    svscan: Option<Daemon>,
    is_stopped: bool,
    /// What strace writes about the supervise that is to be struck.
    trace: Option<PathBuf>,
}

impl Machine {
    /// Makes the services, and starts svscan.
    ///
    /// # Errors
    /// A program or a file cannot be made.
    pub fn new(programs: &Path, schedule: &Schedule) -> io::Result<Machine> {
        let scratch = Scratch::of(programs);
        for service in &schedule.services {
            let path = |name: &str| format!("{SCANNED}/{}/{name}", service.name);
            scratch.script(path("run"), &format!("#!/bin/sh\n{RUN}\n"));
            scratch.file(path("restart-delay"), "20");
            if let Some(earlier) = service.after {
                scratch.file(path("after"), earlier);
            }
            if service.has_logger {
                scratch.script(path("log/run"), &format!("#!/bin/sh\n{LOGGER}\n"));
                scratch.file(path("log/restart-delay"), "20");
            }
            let policy = &service.policy;
            let programs = [
                (policy.has_start, Role::Start),
                (policy.has_pre_start, Role::PreStart),
                (policy.has_finish, Role::Finish),
                (policy.has_stop, Role::Stop),
            ];
            for (_, role) in programs.into_iter().filter(|(exists, _)| *exists) {
                let (name, code) = (role.program(), schedule.code_of(role).unwrap_or(0));
                scratch.script(path(name), &format!("#!/bin/sh\necho {name} $$ >>executed\nexit {code}\n"));
            }
        }
        let mut machine =
            Machine { scratch, services: schedule.services.clone(), svscan: None, is_stopped: false, trace: None };
        machine.keep_svscan();
        Ok(machine)
    }

    fn keep_svscan(&mut self) {
        let ended = self.svscan.as_mut().and_then(|svscan| svscan.has_ended().then(|| svscan.wait()));
        let is_over = self.is_stopped && ended == Some(0);
        if self.svscan.is_none() || (ended.is_some() && !is_over) {
            self.is_stopped = false;
            let mut command = self.scratch.command("svscan");
            self.svscan = Some(Daemon::start(command.arg(SCANNED), &self.scratch));
        }
    }

    fn path(&self, place: Place) -> PathBuf {
        let name = self.services.iter().find(|service| service.id == place.id).map_or("", |service| service.name);
        let service = self.scratch.path().join(SCANNED).join(name);
        match place.part {
            Part::Service => service,
            Part::Logger => service.join("log"),
        }
    }

    /// Waits until the programs are at rest and what is seen is `expected`; or, if that takes longer than `limit`, returns
    /// what is seen then.
    pub fn settle(&mut self, expected: impl Fn(&Seen) -> bool, limit: Duration) -> Seen {
        let began = Instant::now();
        loop {
            self.keep_svscan();
            let seen = self.seen();
            let is_settled = expected(&seen) && self.is_quiet() && self.seen() == seen;
            if is_settled || began.elapsed() > limit {
                return seen;
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// What an outsider sees now.
    pub fn seen(&mut self) -> Seen {
        let has_ended = self.svscan.as_mut().is_none_or(Daemon::has_ended);
        let trace = self.trace.as_ref().and_then(|trace| fs::read_to_string(trace).ok()).unwrap_or_default();
        let mut seen = Vec::new();
        tell_machine(
            !has_ended,
            ["killed by SIGKILL", "(INJECTED)"].iter().any(|words| trace.contains(words)),
            &mut seen,
        );
        let mut places: Vec<Place> = self.services.iter().flat_map(Service::places).collect();
        places.sort();
        places.iter().for_each(|place| self.facts(*place).tell(&mut seen));
        seen
    }

    fn facts(&self, place: Place) -> Facts {
        let path = self.path(place);
        let text = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
        let state = text("supervise/state");
        let record = (!state.is_empty()).then(|| Record::decode(&state));
        let status = fs::read(path.join("supervise/status")).unwrap_or_default();
        let shown = record.as_ref().map(|record| Status::of(record).encode().to_vec());
        let executed = text("executed");
        let executed = executed.lines().filter_map(|line| line.split_once(' '));
        let name = path.strip_prefix(self.scratch.path().join(SCANNED)).map(Path::to_string_lossy);
        Facts {
            name: name.unwrap_or_default().into_owned(),
            is_supervised: is_supervised(&path),
            shows_other: shown.is_some_and(|shown| shown != status),
            record,
            alive: executed.clone().filter(|(_, pid)| pid.parse().is_ok_and(tests::is_alive)).count(),
            executed: executed.map(|(name, _)| name.to_string()).collect(),
            lines: text("taken").lines().map(str::to_string).collect(),
        }
    }

    /// Whether there is a moment at which none of the processes runs. Each sleeps when it is looked at twice, and was not
    /// awake between; so all of them sleep at the moment after all were looked at once. What one of them waits for wakes it
    /// at once; so none of them has anything to do before a deadline, or before something comes from outside. A process that
    /// is about to be a zombie shows no directory, arguments or environment any more, but it has a parent.
    fn is_quiet(&self) -> bool {
        let look = || -> Option<Vec<(i32, String)>> {
            let mut pids = processes_in(self.scratch.path());
            pids.extend(children_of_any(&pids));
            pids.sort_unstable();
            pids.dedup();
            pids.into_iter().map(|pid| Some((pid, asleep(pid)?))).collect()
        };
        let first = look();
        first.is_some() && first == look()
    }

    /// Does something.
    ///
    /// # Errors
    /// A command or an order cannot be given.
    pub fn perform(&mut self, deed: &Deed, said: usize) -> io::Result<()> {
        match deed {
            Deed::Tell(place, commands) => tell(&self.path(*place).join("supervise/control"), commands),
            Deed::KillSupervise(place) => self.supervise(*place).map_or(Ok(()), end),
            Deed::KillRun(place) => self.run_of(*place).map_or(Ok(()), end),
            Deed::Exit(place, code) => tell(&self.path(*place).join("fate"), &format!("exit {code}\n")),
            Deed::Ignore(place) => tell(&self.path(*place).join("fate"), "ignore -\n"),
            Deed::Say(place) => tell(&self.path(*place).join("fate"), &format!("say {said}\n")),
            Deed::KillSvscan => self.svscan.as_ref().map_or(Ok(()), |svscan| end(svscan.pid())),
            Deed::KillAll => {
                let places: Vec<Place> = self.services.iter().flat_map(Service::places).collect();
                let supervises: Vec<i32> = places.into_iter().filter_map(|place| self.supervise(place)).collect();
                let svscan = self.svscan.as_ref().map(Daemon::pid);
                // None of them does anything between the first kill and the last: a supervise that saw what comes of the
                // end of another one would do something about it.
                let all: Vec<i32> = svscan.into_iter().chain(supervises).collect();
                all.iter().try_for_each(|pid| freeze(*pid))?;
                all.iter().try_for_each(|pid| send(*pid, Signal::SIGKILL))?;
                all.into_iter().try_for_each(end)
            }
            Deed::Stop => {
                self.is_stopped = true;
                let Some(svscan) = &self.svscan else { return Ok(()) };
                if !tests::is_alive(svscan.pid()) {
                    return Err(io::Error::other(format!(
                        "svscan has ended by itself, and said:\n{}",
                        svscan.errors()
                    )));
                }
                kill(Pid::from_raw(svscan.pid()), Signal::SIGTERM).map_err(io::Error::from)
            }
        }
    }

    /// Has strace wait for the call of a supervise at which it is to be struck.
    pub fn arm(&mut self, strike: &Strike) -> Option<Daemon> {
        let supervise = self.supervise(strike.place)?;
        let (call, when) = (strike.call.name(), strike.when);
        let fault = match strike.fault {
            Fault::Kill => format!("signal=KILL:when={when}"),
            Fault::Fail => format!("error=EIO:when={when}"),
        };
        let trace = self.scratch.path().join(format!("trace.{}", self.scratch.next()));
        let mut command = self.scratch.command("strace");
        command.args(["-q", "-o"]).arg(&trace);
        self.trace = Some(trace);
        command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{fault}")]);
        let strace = Daemon::start(command.args(["-p", &supervise.to_string()]), &self.scratch);
        tests::wait_until("strace is attached", || tracer(supervise) == Some(strace.pid()) && self.is_quiet());
        Some(strace)
    }

    /// Takes strace away again.
    pub fn disarm(&mut self, mut strace: Daemon) {
        self.trace = None;
        if !strace.has_ended() {
            // strace may end at this moment, with what it traces.
            let _ = kill(Pid::from_raw(strace.pid()), Signal::SIGTERM);
        }
        strace.wait();
    }

    /// What svscan has said.
    pub fn errors(&self) -> String {
        self.svscan.as_ref().map(Daemon::errors).unwrap_or_default()
    }

    /// The supervise that is in charge of a directory. At rest, no other process of that name works there.
    fn supervise(&self, place: Place) -> Option<i32> {
        let path = fs::canonicalize(self.path(place)).ok()?;
        let is_it = |pid: &i32| {
            fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"supervise\n")
                && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == path)
        };
        processes_in(self.scratch.path()).into_iter().find(is_it)
    }

    fn run_of(&self, place: Place) -> Option<i32> {
        let state = fs::read_to_string(self.path(place).join("supervise/state")).ok()?;
        Record::decode(&state).process.map(|(_, process)| process.pid.as_raw())
    }
}

/// Kills a process, and waits until it has ended. Until then it may look as if nothing had happened to it.
fn end(pid: i32) -> io::Result<()> {
    send(pid, Signal::SIGKILL)?;
    tests::wait_until("a process that was killed has ended", || !tests::is_alive(pid));
    Ok(())
}

/// Stops a process, and waits until it is stopped.
fn freeze(pid: i32) -> io::Result<()> {
    send(pid, Signal::SIGSTOP)?;
    tests::wait_until("a process is stopped", || state_of(pid) == Some('T') || !tests::is_alive(pid));
    Ok(())
}

/// Sends a signal to a process, which may have ended.
fn send(pid: i32, signal: Signal) -> io::Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes to a FIFO that has a reader.
fn tell(path: &Path, words: &str) -> io::Result<()> {
    let mut fifo = OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    fifo.write_all(words.as_bytes())
}

fn is_supervised(path: &Path) -> bool {
    let mut open = OpenOptions::new();
    open.write(true).custom_flags(nix::libc::O_NONBLOCK).open(path.join("supervise/ok")).is_ok()
}

/// How often a process has gone to sleep, if it sleeps or was stopped.
fn asleep(pid: i32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let sleeps = matches!(state_of(pid), Some('S' | 'T'));
    let switches = status.lines().filter(|line| line.contains("ctxt_switches")).collect();
    sleeps.then_some(switches)
}

fn tracer(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?.trim().parse().ok()
}
