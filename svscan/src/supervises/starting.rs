//! Starting a supervise, or taking over one that is in charge already.

use super::{Lent, Supervises, write_end};
use crate::abandoned::{RecordSource, may_run};
use crate::in_charge::InCharge;
use crate::launch::NewSupervise;
use crate::procfs;
use crate::start::{Start, StartFacts, start};
use crate::table::{Part, SuperviseId, label};
use daemontools::service::{Command, OrphanEnd, Record};
use daemontools::sys::is_shortage;
use daemontools::sys::process::COMMANDS;
use daemontools::{Attempt, Unable};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

impl Supervises {
    /// The supervise of a part: svscan takes over the supervise that is in charge, or starts a new one. `None` if the part is
    /// being stopped and a supervise would have nothing to do.
    ///
    /// # Errors
    /// The directory is not there, or the system refused.
    pub fn start_or_take_over(
        &mut self,
        which: SuperviseId,
        name: &OsStr,
        lent: &mut Lent,
    ) -> Result<Option<Pid>, Unable> {
        let (table, id) = (lent.table, which.id);
        let place = lent.probe.place(table, which).unwrap_or_else(|| name.to_os_string());
        let (words, folder) = (label(which.part, name), PathBuf::from(label(which.part, &place)));
        // A supervise that is to be stopped is taken over even if its directory cannot be touched.
        if table.is_stopping(id)
            && let Some(pid) = self.attached.expected(which).filter(|pid| table.supervise_of(*pid).is_none())
        {
            return Ok(Some(pid));
        }
        lent.probe.leads_to(&place, id).and_then(|()| lent.probe.reach(&folder)).unable_to("supervise", &words)?;
        let logged = table.has_logger(id) || lent.forward.wants(id);
        if logged && !self.launcher.has_pipe(id) {
            self.recover_pipe(id, name, lent.probe).unable_to("find pipe of", name)?;
        }
        if !table.has_logger(id) && self.launcher.has_pipe(id) {
            lent.forward.begin(id);
        }
        if let Some(pid) = self.attached.expected(which).filter(|pid| table.supervise_of(*pid).is_none()) {
            return Ok(Some(pid));
        }
        let due = &mut FactsAtStart { supervises: self, which, folder: &folder, lent };
        match start(table.is_stopping(id), due) {
            Start::TakeOver(process) => {
                self.attached.hold(&process, &folder).unable_to("watch supervise of", &words)?;
                if let Err(errno) = self.adopt(which, process.pid, &folder, lent) {
                    self.attached.release(process.pid);
                    return Err(Unable::new("find pipe of", name, errno));
                }
                return Ok(Some(process.pid));
            }
            Start::Later(errno) => return Err(Unable::new("find supervise of", &words, errno)),
            Start::NotNeeded => return Ok(None),
            Start::New => {}
        }
        self.write_ends(which, &folder, lent);
        // A logger is started even while its service is being stopped, because there may be lines to read.
        let stops = table.is_stopping(id) && which.part == Part::Service;
        let speech = lent.probe.speech(&folder);
        let is_here = lent.probe.is_here(Path::new(&place));
        let new = NewSupervise { which, name, place: &place, is_here, logged, stops, speech };
        let started = self.launcher.start(&new);
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
        // A supervise whose files are gone makes them again.
        if self.files.misses_files(which, folder, lent.probe) && procfs::blocks(pid, COMMANDS) == Some(true) {
            let _ = self.attached.signal(pid, &Command::ForService.into());
        }
        if lent.table.has_logger(which.id) {
            self.settle_pipe(which, pid, lent)?;
        }
        Ok(())
    }

    /// Whether a service that is being stopped wants another supervise: its logger has lines to read, or the last
    /// supervise may have left a process. Another account may have written that down; the next supervise finds out
    /// whether the process is the service's.
    fn is_wanted_to_stop(&self, which: SuperviseId, lent: &mut Lent) -> bool {
        lent.stopping.has_lines_for(which, lent.table, &self.launcher, Instant::now())
            || self.may_have_left(which, lent)
    }

    /// Whether a supervise may have left a process of its service. If one process cannot be told from another, the next
    /// supervise has to decide, but only if the process was written on the page: then it is of this boot.
    fn may_have_left(&self, which: SuperviseId, lent: &mut Lent) -> bool {
        let (record, source) = match self.launcher.record(which) {
            Some(page) => (Some(page), RecordSource::Page),
            None => (lent.probe.record(lent.table, which), RecordSource::File),
        };
        record.iter().flat_map(Record::processes).any(|process| may_run(&process, source))
    }

    /// Writes down, for the next supervise, how the processes have ended that it will ask for.
    fn write_ends(&mut self, which: SuperviseId, folder: &Path, lent: &mut Lent) {
        let record = self.trusted_record(which, lent).ok().flatten();
        let left = record.iter().flat_map(|(record, _)| record.processes());
        let ends: Vec<OrphanEnd> = left.filter_map(|process| self.orphans.left_behind(process, which)).collect();
        ends.into_iter().for_each(|end| write_end(folder, end, lent.probe));
    }
}

/// Answers what svscan asks before it starts a supervise.
struct FactsAtStart<'a, 'b> {
    supervises: &'a Supervises,
    which: SuperviseId,
    folder: &'a Path,
    lent: &'a mut Lent<'b>,
}

impl StartFacts for FactsAtStart<'_, '_> {
    fn in_charge(&mut self) -> InCharge {
        self.supervises.in_charge(self.which, self.folder, self.lent.probe)
    }

    fn may_be_given_up(&mut self, reason: Errno) -> bool {
        // A shortage passes, and svscan knows afterwards which supervise it has to stop.
        !is_shortage(reason)
            && self.lent.stopping.tell_unknown(self.which, |commands| {
                let _ = self.lent.probe.send_commands(self.folder, commands);
            })
            && !self.supervises.may_be_left(self.which, Instant::now(), self.lent)
    }

    fn is_wanted_to_stop(&mut self) -> bool {
        self.supervises.is_wanted_to_stop(self.which, self.lent)
    }
}
