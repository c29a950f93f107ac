//! The supervises: starting them, finding those that run already and the pipes between them, commanding them, learning what
//! they have left when they end, and how that ended.

use crate::attach::{self, Attached, InCharge, processes};
use crate::complete::Complete;
use crate::forward::Forward;
use crate::handover::Handover;
use crate::identity;
use crate::launch::Launcher;
use crate::left::{self, Source, may_run};
use crate::leftover::{Death, Facts, Left, Wanted, leftover};
use crate::orphans::Orphans;
use crate::pages::Pages;
use crate::probe::{Probe, still_there};
use crate::procfs;
use crate::stopping::{Owed, Stopping, leaves_lines};
use crate::table::{Id, Leftover, Part, SuperviseId, Table, label};
use daemontools::service::{self, Command, Commands, Directory, Identity, OrphanEnd, Place, Process, Record, Unread};
use daemontools::sys::process::COMMANDS;
use daemontools::sys::{inherited_descriptor, is_passing, is_shortage};
use daemontools::tai64::Moment;
use daemontools::{Attempt, Unable, report};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::stat::{fstat, stat};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The status assumed for a supervise that is not svscan's child: killed by SIGKILL.
const KILLED: i32 = 9;
/// How many supervises are looked at in each scan.
const LOOKED_AT: usize = 100;
/// What svscan knows of its supervises besides the table.
pub struct Supervises {
    pub launcher: Launcher,
    attached: Attached,
    orphans: Orphans,
    complete: Complete,
    /// Supervises of earlier svscans that ran when this one began.
    survivors: Vec<(Directory, Process)>,
    /// Where the round over all supervises, which looks whether their files are there, stopped at the last scan.
    last_seen: Option<SuperviseId>,
}

/// What is lent to the supervises while something is done about one of them.
pub struct Lent<'a> {
    pub table: &'a Table,
    pub probe: &'a mut Probe,
    pub stopping: &'a mut Stopping,
    pub forward: &'a mut Forward,
}

/// How a supervise has ended, as `wait(2)` has it.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub which: SuperviseId,
    pub pid: Pid,
    pub status: i32,
}

impl Ended {
    fn death(&self) -> Death {
        Death::of(self.status)
    }
}

/// The processes of a part that have its end of the pipe between the service and its logger, as far as they run.
struct Owners {
    supervise: Option<Process>,
    /// That of the service, or of its logger.
    process: Option<Process>,
}

impl Owners {
    fn pids(&self) -> impl Iterator<Item = Pid> {
        self.supervise.iter().chain(&self.process).map(|process| process.pid)
    }
}

impl Supervises {
    /// None is known yet.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub fn new(launcher: Launcher, survivors: Vec<(Directory, Process)>) -> nix::Result<Supervises> {
        let (attached, orphans, complete) = (Attached::new()?, Orphans::default(), Complete::default());
        Ok(Supervises { launcher, attached, orphans, complete, survivors, last_seen: None })
    }

    /// What the last supervise of a part has written: on its page, or into `supervise/state`, which others may have written
    /// as well.
    pub fn record(&self, which: SuperviseId, table: &Table, probe: &mut Probe) -> Option<Record> {
        self.launcher.record(which).or_else(|| probe.record(table, which))
    }

    /// What the last supervise of a part has written, if no other account could have written it, and what tells of it. The
    /// page is asked first: for that svscan needs neither the directory nor a descriptor.
    ///
    /// # Errors
    /// It cannot be told now.
    fn trusted_record(&self, which: SuperviseId, lent: &mut Lent) -> Result<Option<(Record, Source)>, Unread> {
        match self.launcher.record(which) {
            Some(page) => Ok(Some((page, Source::Page))),
            None => Ok(lent.probe.trusted_record(lent.table, which)?.map(|record| (record, Source::File))),
        }
    }

    /// How long a part that is being stopped still has until it is killed, if it ever is.
    pub fn time_left(&self, which: SuperviseId, table: &Table, probe: &mut Probe) -> Option<Duration> {
        let kill_at = self.record(which, table, probe)?.kill_at?;
        Some(kill_at.uptime.saturating_sub(Moment::now().uptime))
    }

    /// Whether an earlier svscan in this process had a supervise of this part.
    pub fn expects(&self, which: SuperviseId) -> bool {
        self.attached.expects(which)
    }

    /// The part whose supervise an earlier svscan in this process has started, if that has ended before it was seen.
    pub fn expected_to_run(&mut self, pid: Pid) -> Option<SuperviseId> {
        self.attached.expected_to_run(pid)
    }

    /// The service is gone.
    pub fn forget(&mut self, id: Id) {
        self.launcher.forget(id);
        self.complete.forget(id);
        self.orphans.forget(id);
    }

    /// A child has ended, and is not held any more.
    pub fn release(&mut self, pid: Pid) {
        self.attached.release(pid);
    }

    /// The supervises that are not svscan's children and have ended since the last time, with the status assumed.
    pub fn ended(&mut self) -> Vec<(Pid, i32)> {
        self.attached.ended().into_iter().map(|pid| (pid, KILLED)).collect()
    }

    /// A child has ended that is no supervise: one that a killed supervise has left, or a stranger's.
    pub fn inherited(&mut self, end: OrphanEnd, table: &Table, probe: &mut Probe) {
        let Some(which) = self.orphans.ended(end) else { return };
        if let Some(folder) = probe.folder(table, which) {
            write_end(&folder, end);
        }
    }

    /// What a supervise has left that has ended. Where the service is being stopped and no supervise can take charge of it,
    /// what is left is ended.
    pub fn left_by(&mut self, ended: Ended, now: Instant, lent: &mut Lent) -> Leftover {
        let which = ended.which;
        let is_killed_logger = which.part == Part::Logger && ended.death() == Death::Killed;
        if is_killed_logger && !self.was_told_to_end(which, ended.pid, lent) {
            lent.stopping.logger_was_killed(which.id);
        }
        let wanted = match (lent.table.is_stopping(which.id), lent.table.is_present(which.id)) {
            (true, _) => Wanted::Stopped,
            (false, true) => Wanted::Present,
            (false, false) => Wanted::Removed,
        };
        let left = leftover(ended.death(), wanted, &mut Asked { supervises: self, ended, now, lent });
        if left == Leftover::Process && ended.death() == Death::Failed && wanted == Wanted::Stopped {
            self.end_itself(which, lent);
        }
        left
    }

    /// Whether a supervise is in charge of a part, or may be.
    fn is_served(&self, which: SuperviseId, ended: Option<Pid>, lent: &mut Lent) -> bool {
        !matches!(self.served_by(which, ended, lent), InCharge::Nobody)
    }

    /// Which supervise is in charge of a part. Where the directory cannot be touched, the page tells. If the one that has ended
    /// just now was in charge, none is.
    fn served_by(&self, which: SuperviseId, ended: Option<Pid>, lent: &mut Lent) -> InCharge {
        match self.launcher.record(which) {
            Some(page) if Some(page.supervise.pid) == ended => InCharge::Nobody,
            Some(page) if attach::is_running(&page.supervise) != Ok(false) => InCharge::Supervise(page.supervise),
            Some(_) | None => match lent.probe.own_folder(lent.table, which) {
                Some(folder) => self.in_charge(which, &folder),
                None => InCharge::Nobody,
            },
        }
    }

    /// What the last supervise of a part has left. Only what no other account could have written down is believed.
    fn left(&self, which: SuperviseId, lent: &mut Lent) -> Left {
        match self.trusted_record(which, lent) {
            Ok(Some((record, source))) if processes(&record).any(|process| may_run(&process, source)) => Left::Process,
            Ok(_) => Left::Nothing,
            Err(_) => Left::Untold,
        }
    }

    /// Whether a process of a part that is being stopped may be left. Where nothing is known of one, and cannot be, svscan
    /// waits for some time.
    fn may_be_left(&self, which: SuperviseId, now: Instant, lent: &mut Lent) -> bool {
        match self.left(which, lent) {
            Left::Process => true,
            Left::Untold => lent.stopping.waits_for(which, now),
            Left::Nothing => false,
        }
    }

    /// No supervise can be started for a part that is being stopped. Ends what is left of it, and returns whether svscan is to
    /// wait, and to try again: there is something left, or there are lines that only its logger can read.
    pub fn stop_without_supervise(&mut self, which: SuperviseId, now: Instant, lent: &mut Lent) -> bool {
        if lent.stopping.has_lines_for(which, lent.table, &self.launcher, now) {
            return true;
        }
        match self.served_by(which, None, lent) {
            InCharge::Nobody => {}
            // It was told to stop its service. But it need not be a supervise: the owner of `supervise/` can make any process
            // seem to be one.
            InCharge::Unknown(errno) if !is_shortage(errno) && lent.stopping.was_unknown_told(which) => {}
            // That supervise is to stop its service, once it can be reached.
            InCharge::Supervise(_) | InCharge::Unknown(_) => return true,
        }
        let is_left = self.may_be_left(which, now, lent);
        if is_left {
            self.end_itself(which, lent);
        }
        is_left
    }

    /// Whether a supervise that is no child of svscan has said, as the last thing, that it has stopped its service and ends.
    fn was_told_to_end(&self, which: SuperviseId, pid: Pid, lent: &mut Lent) -> bool {
        let is_last = |record: Record| record.supervise.pid == pid && record.leaving && record.process.is_none();
        self.record(which, lent.table, lent.probe).is_some_and(is_last)
    }

    /// Ends the processes of a service that is being stopped, whose supervise cannot take charge of it: the owner of
    /// `supervise/` may keep the lock, or nothing leads there any more. Only what no other account could have written down is
    /// believed.
    fn end_itself(&self, which: SuperviseId, lent: &mut Lent) {
        let Ok(Some((record, _))) = self.trusted_record(which, lent) else { return };
        // The last supervise may have known when it would kill its service.
        let is_overdue = record.kill_at.is_some_and(|kill_at| kill_at.uptime <= Moment::now().uptime);
        for process in processes(&record) {
            if lent.stopping.is_hurried() || is_overdue {
                left::send(&process, &[Signal::SIGKILL]);
            } else if lent.stopping.is_first_told(which, process) {
                left::send(&process, &[Signal::SIGTERM, Signal::SIGCONT]);
            }
        }
    }

    fn in_charge(&self, which: SuperviseId, folder: &Path) -> InCharge {
        match attach::in_charge(folder, self.launcher.record(which).as_ref()) {
            // Its files may have been removed while there was no svscan.
            InCharge::Nobody => match self.survivor(folder) {
                Ok(None) => InCharge::Nobody,
                Ok(Some(process)) => InCharge::Supervise(process),
                Err(errno) => InCharge::Unknown(errno),
            },
            found => found,
        }
    }

    /// The supervise of an earlier svscan that serves this directory, whatever became of its files.
    ///
    /// # Errors
    /// It cannot be told which directory this is, or whether the supervise still runs.
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
        for (_, process) in self.survivors.iter().filter(|(directory, _)| is_this(directory)) {
            if attach::is_running(process)? {
                return Ok(Some(*process));
            }
        }
        Ok(None)
    }

    /// Wakes some supervises whose files were removed, so that they make them again: a few of them at each scan.
    pub fn see_reached(&mut self, table: &Table, probe: &mut Probe) {
        let mut running: Vec<(Pid, SuperviseId)> = table.running().collect();
        running.sort_unstable_by_key(|(_, which)| *which);
        let next = running.partition_point(|(_, which)| Some(*which) <= self.last_seen);
        let turned = next.min(running.len().saturating_sub(1));
        running.rotate_left(turned);
        for (pid, which) in running.into_iter().take(LOOKED_AT) {
            self.last_seen = Some(which);
            let Some(folder) = probe.folder(table, which) else { continue };
            if self.complete.is_unchanged(which, &folder) {
                continue;
            }
            let is_ours = self.launcher.record(which).is_some_and(|record| record.supervise.pid == pid);
            if is_ours && self.complete.misses_files(which, &folder) {
                let _ = self.attached.signal(pid, &Command::ForService.into());
            }
        }
    }

    /// The supervise of a part: the one that is in charge, or a new one. `None` if there is nothing to stop and nothing else
    /// is wanted.
    ///
    /// # Errors
    /// The directory is not there, or the system refused.
    pub fn run(&mut self, which: SuperviseId, name: &OsStr, lent: &mut Lent) -> Result<Option<Pid>, Unable> {
        let (table, id) = (lent.table, which.id);
        let place = lent.probe.place(table, which).unwrap_or_else(|| name.to_os_string());
        let (words, folder) = (label(which.part, name), PathBuf::from(label(which.part, &place)));
        // To be stopped, it needs no directory that can be touched.
        if table.is_stopping(id)
            && let Some(pid) = self.attached.expected(which).filter(|pid| table.supervise_of(*pid).is_none())
        {
            return Ok(Some(pid));
        }
        lent.probe.leads_to(&place, id).unable_to("supervise", &words)?;
        let logged = table.has_logger(id) || lent.forward.wants(id);
        if logged && !self.launcher.has_pipe(id) {
            self.recover_pipe(id, name).unable_to("find pipe of", name)?;
        }
        if !table.has_logger(id) && self.launcher.has_pipe(id) {
            lent.forward.begin(id);
        }
        if let Some(pid) = self.attached.expected(which).filter(|pid| table.supervise_of(*pid).is_none()) {
            return Ok(Some(pid));
        }
        match self.in_charge(which, &folder) {
            InCharge::Supervise(process) => {
                self.attached.hold(&process, &folder).unable_to("watch supervise of", &words)?;
                if let Err(errno) = self.adopt(which, process.pid, &folder, lent) {
                    self.attached.release(process.pid);
                    return Err(Unable::new("find pipe of", name, errno));
                }
                return Ok(Some(process.pid));
            }
            // A shortage passes: then svscan knows which supervise it is to stop.
            InCharge::Unknown(errno)
                if table.is_stopping(id)
                    && !is_shortage(errno)
                    && lent.stopping.has_told_unknown(which, &folder)
                    && !self.may_be_left(which, Instant::now(), lent) =>
            {
                return Ok(None);
            }
            InCharge::Unknown(errno) => return Err(Unable::new("find supervise of", &words, errno)),
            InCharge::Nobody => {}
        }
        if table.is_stopping(id) && !self.is_wanted_to_stop(which, lent) {
            return Ok(None);
        }
        self.write_ends(which, &folder, lent);
        let started = self.launcher.start(which, name, &place, logged);
        if lent.forward.wants(id) && self.launcher.has_pipe(id) {
            lent.forward.begin(id);
        }
        started.map(Some)
    }

    /// Takes over a supervise that is in charge already.
    ///
    /// # Errors
    /// EMFILE, EIO …: its pipe cannot be opened now.
    fn adopt(&mut self, which: SuperviseId, pid: Pid, folder: &Path, lent: &mut Lent) -> nix::Result<()> {
        if let Some(pages) = &mut self.launcher.pages {
            pages.find(which, pid);
        }
        self.launcher.pockets.find(which, pid);
        // One whose files are gone makes them again.
        if self.complete.misses_files(which, folder) && procfs::blocks(pid, COMMANDS) == Some(true) {
            let _ = self.attached.signal(pid, &Command::ForService.into());
        }
        if lent.table.has_logger(which.id) {
            self.settle_pipe(which, pid, lent)?;
        }
        Ok(())
    }

    /// Whether a service that is being stopped wants another supervise: for its logger to read what is left, or for a process
    /// that the last one may have left. Whichever process has written that down, the supervise will know whether the process
    /// is the service's.
    fn is_wanted_to_stop(&self, which: SuperviseId, lent: &mut Lent) -> bool {
        lent.stopping.has_lines_for(which, lent.table, &self.launcher, Instant::now())
            || self.may_have_left(which, lent)
    }

    /// Whether a supervise may have left a process of its service. Where one cannot be told from another, the next supervise
    /// is to see to it, if the one before has written it on its page: then it is of this boot.
    fn may_have_left(&self, which: SuperviseId, lent: &mut Lent) -> bool {
        let (record, source) = match self.launcher.record(which) {
            Some(page) => (Some(page), Source::Page),
            None => (lent.probe.record(lent.table, which), Source::File),
        };
        record.iter().flat_map(processes).any(|process| may_run(&process, source))
    }

    /// Writes down how processes have ended that the next supervise will ask for, before it does.
    fn write_ends(&mut self, which: SuperviseId, folder: &Path, lent: &mut Lent) {
        let record = self.trusted_record(which, lent).ok().flatten();
        let left = record.iter().flat_map(|(record, _)| processes(record));
        let ends: Vec<OrphanEnd> = left.filter_map(|process| self.orphans.left_behind(process, which)).collect();
        ends.into_iter().for_each(|end| write_end(folder, end));
    }

    /// The pipe of a service that an earlier svscan started lives on in its processes.
    ///
    /// # Errors
    /// EMFILE, EIO …: it cannot be told now whether there is one.
    fn recover_pipe(&mut self, id: Id, name: &OsStr) -> nix::Result<()> {
        let service = self.owners_of_pipe(SuperviseId { id, part: Part::Service }, name)?;
        let logger = self.owners_of_pipe(SuperviseId { id, part: Part::Logger }, name)?;
        // Where a service has no logger, or has sent its lines through a filter, this is another's pipe.
        let writers = service.pids().map(|pid| (pid, 1)).filter(|(pid, number)| attach::is_own_pipe(*pid, *number));
        let mut pipe = attach::recover_pipe(writers.chain(logger.pids().map(|pid| (pid, 0))))?;
        if let (None, Some(service), Some(logger)) = (&pipe, &service.supervise, &logger.supervise)
            && !procfs::is_there()
        {
            pipe = attach::pipe_between(service, logger)?;
        }
        if let Some(pipe) = pipe {
            self.launcher.put_pipe(id, pipe);
        }
        Ok(())
    }

    /// The processes of a part that have its end of the pipe.
    ///
    /// # Errors
    /// EMFILE, EIO …: they cannot be told now.
    fn owners_of_pipe(&self, which: SuperviseId, name: &OsStr) -> nix::Result<Owners> {
        let folder = &PathBuf::from(label(which.part, name));
        let supervise = match self.in_charge(which, folder) {
            InCharge::Supervise(process) => Some(process),
            InCharge::Unknown(errno) if is_passing(errno) => return Err(errno),
            InCharge::Nobody | InCharge::Unknown(_) => None,
        };
        // Of a process that another account has named, the pipe would be another's.
        let record =
            self.launcher.record(which).map_or_else(|| attach::trusted_record_now(folder), |page| Ok(Some(page)));
        let process = match record?.and_then(|record| record.process) {
            Some((_, process)) => match process.identity() {
                Ok(Identity::Same) => Some(process),
                Err(errno) if is_passing(errno) => return Err(errno),
                Ok(Identity::Gone | Identity::Unknown) | Err(_) => None,
            },
            None => None,
        };
        Ok(Owners { supervise, process })
    }

    /// Whether a supervise has a pipe as this descriptor, but not the service's.
    fn has_other_pipe(&self, id: Id, supervise: Pid, number: u8) -> bool {
        let its = stat(&procfs::process_path(supervise, &format!("fd/{number}"))).or_else(|errno| {
            if procfs::is_there() {
                return Err(errno);
            }
            fstat(self.attached.descriptor_of(supervise, i32::from(number))?)
        });
        its.is_ok_and(|its| self.launcher.is_other_pipe(id, &its))
    }

    /// A supervise is in charge whose svscan was killed while it was starting. What it has is the pipe then, not what
    /// svscan made meanwhile; a logger that reads another is to end when it has read that, and is started again.
    ///
    /// # Errors
    /// EMFILE, EIO …: the pipe cannot be opened now.
    fn settle_pipe(&mut self, which: SuperviseId, pid: Pid, lent: &mut Lent) -> nix::Result<()> {
        let SuperviseId { id, part } = which;
        if part == Part::Service
            && self.has_other_pipe(id, pid, 1)
            && (lent.table.has_logger(id) || attach::is_own_pipe(pid, 1))
            && let Some(pipe) = attach::recover_pipe([(pid, 1)].into_iter())?
        {
            self.launcher.put_pipe(id, pipe);
            lent.forward.changed(id);
        }
        let logger = SuperviseId { id, part: Part::Logger };
        let reader = if part == Part::Logger { Some(pid) } else { lent.table.pid(logger) };
        if let Some(reader) = reader.filter(|reader| self.has_other_pipe(id, *reader, 0)) {
            lent.stopping.let_end((logger, reader), Instant::now());
        }
        Ok(())
    }

    /// Sends a supervise the commands that it is owed: by signal, if it has written its page, and so is known to take
    /// commands by signal; that depends on no file. Otherwise, or where the kernel queues no signal that brings something
    /// (there are too many, or a filter forbids it), through its FIFO; and if there is no way to that for a while, by signal
    /// too, unless that would kill it.
    ///
    /// # Errors
    /// It does not listen yet, or cannot be reached now.
    pub fn command(&self, owed: &mut Owed, table: &Table, probe: &mut Probe) -> nix::Result<()> {
        let (pid, commands) = (owed.pid, &Commands::from(owed.commands));
        if self.launcher.record(owed.which).is_some_and(|record| record.supervise.pid == pid) {
            let signalled = self.attached.signal(pid, commands);
            self.attached.wake(pid);
            if matches!(signalled, Ok(()) | Err(Errno::ESRCH)) {
                return signalled;
            }
        }
        let sent = match self.command_through_fifo(owed.which, pid, commands, table, probe) {
            // A directory that hangs is waited for, and a FIFO that is full.
            Err(Errno::ETIMEDOUT) => Err(Errno::ETIMEDOUT),
            Err(_) => attach::command_itself(pid, commands),
            sent => sent,
        };
        if sent.is_err() && !owed.signalled && owed.is_late(Instant::now()) {
            let is_child = !self.attached.includes(pid);
            if procfs::blocks(pid, COMMANDS).unwrap_or(is_child) {
                owed.signalled = self.attached.signal(pid, commands).is_ok();
            }
        }
        sent
    }

    /// A supervise whose directory cannot be touched is told when it can be touched again. One that is not in charge yet is
    /// told when it is: otherwise the supervise before it would read the command and leave, and this one would start the
    /// service.
    fn command_through_fifo(
        &self,
        which: SuperviseId,
        pid: Pid,
        commands: &Commands,
        table: &Table,
        probe: &mut Probe,
    ) -> nix::Result<()> {
        let folder = probe.folder(table, which).ok_or(Errno::ETIMEDOUT)?;
        let name = table.name(which.id).ok_or(Errno::ESRCH)?;
        // Renamed or removed, it is where its supervise works.
        let folder = match still_there(name, which.id) {
            Ok(()) if attach::may_be_in_charge(&folder, self.launcher.record(which).as_ref(), pid) => folder,
            Ok(()) => return Err(Errno::ENXIO),
            Err(_) => procfs::process_path(pid, "cwd"),
        };
        service::send_commands(&Place::of(&folder)?, commands)
    }

    /// Adds what the next svscan in this process needs to know.
    pub fn hand_over(&self, handover: &mut Handover) {
        let pages = &self.launcher.pages;
        let pipe = |(id, reader, writer): (Id, &OwnedFd, &OwnedFd)| (id, [reader.as_raw_fd(), writer.as_raw_fd()]);
        handover.open_files = self.launcher.open_files();
        handover.ledgers = pages.iter().flat_map(Pages::ledgers).map(|ledger| ledger.as_raw_fd()).collect();
        handover.pages = pages.iter().flat_map(Pages::pages).collect();
        handover.pockets = self.launcher.pockets.all().map(|(which, pocket)| (which, pocket.as_raw_fd())).collect();
        handover.pipes = self.launcher.pipes().map(pipe).collect();
        handover.ends = self.orphans.unasked().copied().collect();
    }

    /// The descriptors that are handed over.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let pipes = self.launcher.pipes().flat_map(|(_, reader, writer)| [reader.as_fd(), writer.as_fd()]);
        let ledgers = self.launcher.pages.iter().flat_map(Pages::ledgers);
        pipes.chain(ledgers).chain(self.launcher.pockets.all().map(|(_, pocket)| pocket)).collect()
    }

    /// Goes on where an earlier svscan in this process has stopped.
    pub fn take_over(&mut self, handover: &Handover) {
        let open = |number: &i32| inherited_descriptor(*number).ok();
        let ledgers = handover.ledgers.iter().filter_map(open).collect();
        self.launcher.pages = Pages::resume(ledgers, &handover.pages).or_else(|_| Pages::new()).ok();
        for (which, pocket) in &handover.pockets {
            open(pocket).into_iter().for_each(|pocket| self.launcher.pockets.resume(*which, pocket));
        }
        for (id, [reader, writer]) in &handover.pipes {
            if let (Some(reader), Some(writer)) = (open(reader), open(writer)) {
                self.launcher.put_pipe(*id, (reader, writer));
            }
        }
        handover.supervises.iter().for_each(|(which, pid)| self.attached.expect(*which, *pid));
        for end in &handover.ends {
            let _ = self.orphans.ended(*end);
        }
    }

    /// The supervises of a service that has no entry any more, as an earlier svscan in this process has left them.
    pub fn inherit(&mut self, id: Id) -> [Option<Pid>; 2] {
        [Part::Service, Part::Logger].map(|part| {
            let which = SuperviseId { id, part };
            self.attached.expected_unseen(which, self.launcher.record(which).map(|record| record.supervise))
        })
    }
}

impl AsFd for Supervises {
    /// Readable when a supervise has ended that is not svscan's child.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.attached.as_fd()
    }
}

/// Asks what there is to be known of a supervise that has ended.
struct Asked<'a, 'b> {
    supervises: &'a Supervises,
    ended: Ended,
    now: Instant,
    lent: &'a mut Lent<'b>,
}

impl Facts for Asked<'_, '_> {
    fn has_lines(&mut self) -> bool {
        let Lent { table, stopping, .. } = &mut *self.lent;
        stopping.has_lines_for(self.ended.which, table, &self.supervises.launcher, self.now)
    }

    fn leaves_lines(&mut self) -> bool {
        leaves_lines(self.ended.which, self.lent.table, &self.supervises.launcher)
    }

    fn was_told(&mut self) -> bool {
        self.supervises.was_told_to_end(self.ended.which, self.ended.pid, self.lent)
    }

    fn is_served(&mut self) -> bool {
        self.supervises.is_served(self.ended.which, Some(self.ended.pid), self.lent)
    }

    fn left(&mut self) -> Left {
        self.supervises.left(self.ended.which, self.lent)
    }

    fn still_waits(&mut self) -> bool {
        self.lent.stopping.waits_for(self.ended.which, self.now)
    }
}

/// Writes down how a process ended, for the next supervise of its service.
fn write_end(service: &Path, end: OrphanEnd) {
    if let Ok(place) = Place::of(service)
        && let Err(unable) = end.write(&place)
    {
        unable.warn();
    }
}
