//! Keeping supervises: starting them, finding those that run already and the pipes between them, learning
//! of their end, and of the end of what they left.

use crate::attach::{self, InCharge};
use crate::diagnostics::Subject;
use crate::identity;
use crate::inspect::{self, processes};
use crate::orphans::End;
use crate::procfs;
use crate::scanner::Scanner;
use crate::table::{Id, Leftover, Part, SuperviseId, label};
use daemontools::service::{self, Command, Directory, Identity, Place, Process, Record, put_file, read_file_itself};
use daemontools::sys::process::{self, COMMANDS, PidFd};
use daemontools::{Attempt, Unable, report};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How a supervise has ended that is not our child, as far as we are told.
const KILLED: i32 = 9;

/// So many supervises are looked at in each scan.
const ASKED: usize = 100;

/// Starts in a row before the loop looks at what else has happened.
const BATCH: usize = 32;

impl Scanner {
    /// Starts what is to be started now, at most a batch of it.
    pub fn start(&mut self, now: Instant) {
        for which in self.table.starts(now, BATCH) {
            self.start_one(which);
        }
    }

    /// Waits for every child that has ended; whether that is all, as far as the system tells.
    pub fn reap(&mut self, now: Instant) -> bool {
        loop {
            let (pid, status) = match process::ended_child_status(None) {
                Ok(Some(ended)) => ended,
                Ok(None) | Err(Errno::ECHILD) => return true,
                Err(_) => return false,
            };
            self.attached.release(pid);
            self.forward.ended(pid, now);
            self.see_expected(pid, now);
            if !self.supervise_ended(pid, status, now) {
                self.inherited(End { process: Process::of(pid), status });
            }
            if process::wait_for(pid).is_err() {
                return false;
            }
        }
    }

    /// A supervise that ended just when svscan executed its file anew has been one all the same: how it ended counts.
    fn see_expected(&mut self, pid: Pid, now: Instant) {
        if let Some(which) = self.attached.expected_to_run(pid)
            && self.table.is_due(which)
        {
            let mut todo = Vec::new();
            self.table.started(which, pid, now, &mut todo);
            self.perform(todo, now);
        }
    }

    /// Learns of the end of supervises that are not our children.
    pub fn see_attached_end(&mut self, now: Instant) {
        for pid in self.attached.ended() {
            self.supervise_ended(pid, KILLED, now);
        }
    }

    /// Whether it was a supervise, and ended like this, as `wait(2)` has it.
    fn supervise_ended(&mut self, pid: Pid, status: i32, now: Instant) -> bool {
        let Some(which) = self.table.supervise_of(pid) else { return false };
        let was_killed = status & 0x7f != 0 && !self.was_told_to_end(which, pid);
        if which.part == Part::Logger && was_killed {
            self.stopping.logger_was_killed(which.id);
        }
        let left = self.left_by(which, pid, status, now);
        let could_not_serve = status & 0x7f == 0 && status != 0;
        if left == Leftover::Process && could_not_serve && self.table.is_stopping(which.id) {
            self.end_itself(which);
        }
        let mut todo = Vec::new();
        self.table.died(pid, left, now, &mut todo);
        self.perform(todo, now);
        true
    }

    /// Whether a supervise that is no child of ours has said, as the last thing, that it has stopped its service and ends.
    fn was_told_to_end(&mut self, which: SuperviseId, pid: Pid) -> bool {
        let is_last = |record: Record| record.supervise.pid == pid && record.leaving && record.process.is_none();
        self.record(which).is_some_and(is_last)
    }

    fn left_by(&mut self, which: SuperviseId, pid: Pid, status: i32, now: Instant) -> Leftover {
        let failed = status & 0x7f == 0 && status != 0;
        let stopping = self.table.is_stopping(which.id);
        let is_removed = !stopping && !self.table.is_present(which.id);
        if (stopping || (is_removed && !failed)) && self.has_lines_for(which, now) {
            return Leftover::Lines;
        }
        if is_removed && self.leaves_lines(which) {
            return Leftover::Lines;
        }
        if !stopping && (status == 0 || self.was_told_to_end(which, pid)) {
            return Leftover::Told;
        }
        let Some(folder) = self.folder(which).filter(|_| failed || stopping) else { return Leftover::Nothing };
        // Another one may have been in charge all the time, and ours in vain.
        let is_served = !matches!(self.in_charge(which, &folder), InCharge::Nobody);
        let left = |record: Record| processes(&record).any(|process| attach::is_same(&process));
        match stopping {
            true if is_served || self.trusted_record(which).is_some_and(left) => Leftover::Process,
            false if failed && !is_served => Leftover::CannotServe,
            _ => Leftover::Nothing,
        }
    }

    /// Ends the processes of a service that is being stopped, whose supervise cannot take charge of it: the owner of
    /// `supervise/` may keep the lock. Only what nobody else could have written down is believed.
    fn end_itself(&mut self, which: SuperviseId) {
        let processes: Vec<Process> = self.trusted_record(which).iter().flat_map(processes).collect();
        let signals =
            if self.stopping.is_hurried() { [Signal::SIGKILL; 2] } else { [Signal::SIGTERM, Signal::SIGCONT] };
        for process in processes {
            let held = PidFd::open(process.pid).ok().filter(|held| process.identity_of(held) == Ok(Identity::Same));
            for signal in held.iter().flat_map(|held| signals.map(|signal| held.signal(signal))) {
                // One that has ended is what is wanted.
                let _ = signal;
            }
        }
    }

    pub(crate) fn in_charge(&self, which: SuperviseId, folder: &Path) -> InCharge {
        match attach::in_charge(folder, self.launcher.record(which).as_ref()) {
            // Its files may have been removed while there was no svscan.
            InCharge::Nobody => match self.survivor(folder) {
                Ok(None) => InCharge::Nobody,
                Ok(Some(process)) => InCharge::Supervise(process),
                Err(_) => InCharge::Unknown,
            },
            found => found,
        }
    }

    /// The supervise of an earlier svscan that serves this directory, whatever became of its files.
    ///
    /// # Errors
    /// It cannot be told which directory this is.
    fn survivor(&self, folder: &Path) -> nix::Result<Option<Process>> {
        if self.survivors.is_empty() {
            return Ok(None);
        }
        let id = identity::of(folder)?;
        let path = fs::canonicalize(folder).map_err(|error| report::errno_of(&error))?;
        let is_this = |directory: &Directory| match directory {
            Directory::Inode { device, inode, born: _ } => id == Id { device: *device, inode: *inode },
            Directory::Path(known) => path == Path::new(known),
        };
        let found = self.survivors.iter().filter(|(directory, _)| is_this(directory)).map(|(_, process)| *process);
        Ok(found.into_iter().find(attach::is_running))
    }

    /// Wakes some supervises whose files were removed, so that they make them again: a few of them at each scan.
    pub fn see_reached(&mut self) {
        let mut running: Vec<(Pid, SuperviseId)> = self.table.running().collect();
        running.sort_unstable_by_key(|(_, which)| *which);
        let next = running.partition_point(|(_, which)| Some(*which) <= self.last_seen);
        let turned = next.min(running.len().saturating_sub(1));
        running.rotate_left(turned);
        for (pid, which) in running.into_iter().take(ASKED) {
            self.last_seen = Some(which);
            let Some(folder) = self.folder(which) else { continue };
            if self.complete.is_unchanged(which, &folder) {
                continue;
            }
            let is_ours = self.launcher.record(which).is_some_and(|record| record.supervise.pid == pid);
            if is_ours && self.complete.misses_files(which, &folder) {
                let _ = self.attached.signal(pid, &Command::ForService.into());
            }
        }
    }

    fn start_one(&mut self, which: SuperviseId) {
        let Some(name) = self.table.name(which.id).map(OsStr::to_os_string) else { return };
        let now = Instant::now();
        let mut todo = Vec::new();
        match self.run(which, &name) {
            Ok(Some(pid)) => {
                self.diagnostics.clear(&Subject::Start(which));
                self.table.started(which, pid, now, &mut todo);
                if which.part == Part::Logger {
                    self.stopping.logger_has_started(which.id);
                }
                if which.part == Part::Service && self.stopping.is_essential(which.id) {
                    self.ready_watch.begin(which.id, now);
                }
            }
            Ok(None) => self.table.not_needed(which, now, &mut todo),
            Err(unable) if which.part == Part::Logger && !self.table.is_present(which.id) => {
                self.diagnostics.warn_unable_once(Subject::Start(which), &unable);
                self.table.not_needed(which, now, &mut todo);
            }
            // Removed or replaced meanwhile, which is told anew.
            Err(unable) if unable.errno == Errno::ENOENT && inspect::still_there(&name, which.id).is_err() => {
                let replaced = fs::metadata(&name).is_ok();
                if replaced && self.table.has_ended(which) && !self.table.is_stopping(which.id) {
                    let words = b" is not the directory any more whose supervise has ended: what that left runs on";
                    self.diagnostics.warn_once(Subject::Entry(name.clone()), [name.as_bytes(), words].concat());
                }
                self.entry(&name);
                self.scan_now(now);
                if self.table.is_stopping(which.id) {
                    self.table.not_needed(which, now, &mut todo);
                } else {
                    self.table.not_started(which, now);
                }
            }
            Err(unable) => {
                // What keeps a service from starting may keep its logger from it too.
                let main = Subject::Start(SuperviseId { part: Part::Service, ..which });
                if which.part == Part::Service || !self.diagnostics.is_current(&main, &unable) {
                    self.diagnostics.warn_unable_once(Subject::Start(which), &unable);
                }
                self.table.not_started(which, now);
            }
        }
        self.perform(todo, now);
    }

    /// The supervise of a part: the one that is in charge, or a new one. `None` if there is nothing to
    /// stop and nothing else is wanted.
    fn run(&mut self, which: SuperviseId, name: &OsStr) -> Result<Option<Pid>, Unable> {
        let place = self.place(which).unwrap_or_else(|| name.to_os_string());
        let (label, folder) = (label(which.part, name), label(which.part, &place));
        let folder = Path::new(&folder);
        let reached = self.mounts.probe_service(Path::new(&place));
        let there = reached.and_then(|()| inspect::still_there(&place, which.id));
        there.unable_to("supervise", &label)?;
        let logged = self.table.has_logger(which.id) || self.forward.wants(which.id);
        if logged && !self.launcher.has_pipe(which.id) {
            self.recover_pipe(which.id, name);
        }
        if !self.table.has_logger(which.id) && self.launcher.has_pipe(which.id) {
            self.forward.begin(which.id);
        }
        if let Some(pid) = self.attached.expected(which).filter(|pid| self.table.supervise_of(*pid).is_none()) {
            return Ok(Some(pid));
        }
        match self.in_charge(which, folder) {
            InCharge::Supervise(process) => {
                let pid = process.pid;
                self.attached.hold(&process, folder).unable_to("watch supervise of", &label)?;
                if let Some(pages) = &mut self.launcher.pages {
                    pages.find(which, pid);
                }
                self.launcher.pockets.find(which, pid);
                // One whose files are gone makes them again.
                if self.complete.misses_files(which, folder) && procfs::blocks(pid, COMMANDS) == Some(true) {
                    let _ = self.attached.signal(pid, &Command::ForService.into());
                }
                if self.table.has_logger(which.id) {
                    self.settle_pipe(which, pid);
                }
                return Ok(Some(pid));
            }
            InCharge::Unknown if self.table.is_stopping(which.id) && self.stopping.has_told_unknown(which, folder) => {
                return Ok(None);
            }
            InCharge::Unknown => return Err(Unable::new("find supervise of", &label, Errno::ESRCH)),
            InCharge::Nobody => {}
        }
        // Whoever has written it, the supervise will know whether the process is the service's.
        if self.table.is_stopping(which.id) && !self.has_lines_for(which, Instant::now()) && !self.may_have_left(which)
        {
            return Ok(None);
        }
        // What ended meanwhile is written down before anybody asks.
        let record = self.trusted_record(which);
        let left = record.iter().flat_map(processes);
        let ends: Vec<End> = left.filter_map(|process| self.orphans.left_behind(process, which)).collect();
        ends.into_iter().for_each(|end| write_end(folder, end));
        let started = self.launcher.start(which, name, &place, logged);
        if self.forward.wants(which.id) && self.launcher.has_pipe(which.id) {
            self.forward.begin(which.id);
        }
        started.map(Some)
    }

    /// Whether a supervise may have left a process of its service. Where one cannot be told from another, the next supervise
    /// is to see to it, if the one before has written it on its page: then it is of this boot.
    fn may_have_left(&mut self, which: SuperviseId) -> bool {
        let is_gone = |process: Process| process.identity() == Ok(Identity::Gone);
        match self.launcher.record(which) {
            Some(page) => processes(&page).any(|process| !is_gone(process)),
            None => self.record(which).iter().flat_map(processes).any(|process| attach::is_same(&process)),
        }
    }

    /// The pipe of a service that an earlier svscan started lives on in its processes.
    fn recover_pipe(&mut self, id: Id, name: &OsStr) {
        let of = |part, number| {
            let (folder, which) = (PathBuf::from(label(part, name)), SuperviseId { id, part });
            let supervise = match self.in_charge(which, &folder) {
                InCharge::Supervise(process) => Some(process.pid),
                InCharge::Nobody | InCharge::Unknown => None,
            };
            // Of a process that another account has named, the pipe would be another's.
            let record = self.launcher.record(which).or_else(|| attach::trusted_record(&folder));
            let process = record.and_then(|record| record.process).map(|(_, process)| process);
            let process = process.filter(attach::is_same).map(|process| process.pid);
            supervise.into_iter().chain(process).map(move |pid| (pid, number))
        };
        // Where a service has no logger, or has sent its lines through a filter, this is another's pipe.
        let main = of(Part::Service, 1).filter(|(pid, number)| attach::is_own_pipe(*pid, *number));
        if let Some(pipe) = attach::recover_pipe(main.chain(of(Part::Logger, 0))) {
            self.launcher.put_pipe(id, pipe);
        }
    }

    /// A supervise is in charge whose svscan was killed while it was starting. What it has is the pipe then, not what
    /// we made meanwhile; a logger that reads another is to end when it has read that, and is started again.
    fn settle_pipe(&mut self, which: SuperviseId, pid: Pid) {
        let SuperviseId { id, part } = which;
        if part == Part::Service
            && self.launcher.is_other_pipe(id, pid, 1)
            && (self.table.has_logger(id) || attach::is_own_pipe(pid, 1))
            && let Some(pipe) = attach::recover_pipe([(pid, 1)].into_iter())
        {
            self.launcher.put_pipe(id, pipe);
            self.forward.changed(id);
        }
        let log = SuperviseId { id, part: Part::Logger };
        let logger = if part == Part::Logger { Some(pid) } else { self.table.pid(log) };
        if logger.is_some_and(|logger| self.launcher.is_other_pipe(id, logger, 0)) {
            self.stopping.let_end(log, Instant::now());
        }
    }

    /// A process has ended that is no supervise: one that a killed supervise left, or a stranger's.
    fn inherited(&mut self, end: End) {
        let Some(which) = self.orphans.ended(end) else { return };
        if let Some(folder) = self.folder(which) {
            write_end(&folder, end);
        }
    }
}

/// Writes down how a process ended: newest first, of two at most, as one supervise has no more.
fn write_end(service: &Path, end: End) {
    let Ok(place) = Place::of(service) else { return };
    let (path, new) = (place.path(service::ORPHAN), place.path(service::ORPHAN_NEW));
    let before = read_file_itself(&path, LONGEST_ORPHAN).map(|(bytes, _)| bytes).unwrap_or_default();
    let before = before.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    let Process { pid, ticks, serial } = end.process;
    let text = format!("{pid} {ticks} {} {serial}\n", end.status);
    if let Err((verb, errno)) = put_file(&new, &path, &[text.as_bytes(), before].concat()) {
        let path = if verb == "rename" { &path } else { &new };
        Unable::new(verb, path, errno).warn();
    }
}

/// Two lines of four numbers.
const LONGEST_ORPHAN: usize = 1024;
