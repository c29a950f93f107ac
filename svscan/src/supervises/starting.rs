//! Starting a supervise, or taking over one that is in charge already.

use super::{SuperviseContext, Supervises, write_end};
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
        context: &mut SuperviseContext,
    ) -> Result<Option<Pid>, Unable> {
        let (table, id) = (context.table, which.id);
        let place = context.probe.place(table, which).unwrap_or_else(|| name.to_os_string());
        let (words, folder) = (label(which.part, name), PathBuf::from(label(which.part, &place)));
        // A supervise that is to be stopped is taken over even if its directory cannot be touched.
        if table.is_stopping(id)
            && let Some(pid) = self.attached.expected(which).filter(|pid| table.supervise_of(*pid).is_none())
        {
            return Ok(Some(pid));
        }
        context
            .probe
            .leads_to(&place, id)
            .and_then(|()| context.probe.reach(&folder))
            .unable_to("supervise", &words)?;
        let logged = table.has_logger(id) || context.forward.wants(id);
        if logged && !self.launcher.has_pipe(id) {
            self.recover_pipe(id, name, context.probe).unable_to("find pipe of", name)?;
        }
        if !table.has_logger(id) && self.launcher.has_pipe(id) {
            context.forward.begin(id);
        }
        if let Some(pid) = self.attached.expected(which).filter(|pid| table.supervise_of(*pid).is_none()) {
            return Ok(Some(pid));
        }
        let due = &mut FactsAtStart { supervises: self, which, folder: &folder, context };
        match start(table.is_stopping(id), due) {
            Start::TakeOver(process) => {
                self.attached.attach(&process, &folder).unable_to("watch supervise of", &words)?;
                if let Err(errno) = self.adopt(which, process.pid, &folder, context) {
                    self.attached.release(process.pid);
                    return Err(Unable::new("find pipe of", name, errno));
                }
                return Ok(Some(process.pid));
            }
            Start::Later(errno) => return Err(Unable::new("find supervise of", &words, errno)),
            Start::NotNeeded => return Ok(None),
            Start::New => {}
        }
        self.write_ends(which, &folder, context);
        // A logger is started even while its service is being stopped, because there may be lines to read.
        let stops = table.is_stopping(id) && which.part == Part::Service;
        let speech = context.probe.speech(&folder);
        let is_here = context.probe.is_here(Path::new(&place));
        let new = NewSupervise { which, name, place: &place, is_here, logged, stops, speech };
        let started = self.launcher.start(&new);
        if context.forward.wants(id) && self.launcher.has_pipe(id) {
            context.forward.begin(id);
        }
        started.map(Some)
    }

    /// Takes over a supervise that is in charge already.
    ///
    /// # Errors
    /// EMFILE, EIO …: its pipe cannot be opened now.
    fn adopt(
        &mut self,
        which: SuperviseId,
        pid: Pid,
        folder: &Path,
        context: &mut SuperviseContext,
    ) -> nix::Result<()> {
        if let Some(pages) = &mut self.launcher.pages {
            pages.find(which, pid);
        }
        self.launcher.pockets.find(which, pid);
        // A supervise whose files are gone makes them again.
        if self.files.misses_files(which, folder, context.probe) && procfs::blocks(pid, COMMANDS) == Some(true) {
            let _ = self.attached.signal(pid, &Command::ForService.into());
        }
        if context.table.has_logger(which.id) {
            self.settle_pipe(which, pid, context)?;
        }
        Ok(())
    }

    /// Whether a service that is being stopped wants another supervise: its logger has lines to read, or the last
    /// supervise may have left a process. Another account may have written that down; the next supervise finds out
    /// whether the process is the service's.
    fn is_wanted_to_stop(&self, which: SuperviseId, context: &mut SuperviseContext) -> bool {
        context.stopping.has_lines_for(which, context.table, &self.launcher, Instant::now())
            || self.may_have_left(which, context)
    }

    /// Whether a supervise may have left a process of its service. If one process cannot be told from another, the next
    /// supervise has to decide, but only if the process was written on the page: then it is of this boot.
    fn may_have_left(&self, which: SuperviseId, context: &mut SuperviseContext) -> bool {
        let (record, source) = match self.launcher.record(which) {
            Some(page) => (Some(page), RecordSource::Page),
            None => (context.probe.record(context.table, which), RecordSource::File),
        };
        record.iter().flat_map(Record::processes).any(|process| may_run(&process, source))
    }

    /// Writes down, for the next supervise, how the processes have ended that it will ask for.
    fn write_ends(&mut self, which: SuperviseId, folder: &Path, context: &mut SuperviseContext) {
        let record = self.trusted_record(which, context).ok().flatten();
        let left = record.iter().flat_map(|(record, _)| record.processes());
        let ends: Vec<OrphanEnd> = left.filter_map(|process| self.orphans.left_behind(process, which)).collect();
        ends.into_iter().for_each(|end| write_end(folder, end, context.probe));
    }
}

/// Answers what svscan asks before it starts a supervise.
struct FactsAtStart<'a, 'b> {
    supervises: &'a Supervises,
    which: SuperviseId,
    folder: &'a Path,
    context: &'a mut SuperviseContext<'b>,
}

impl StartFacts for FactsAtStart<'_, '_> {
    fn in_charge(&mut self) -> InCharge {
        self.supervises.in_charge(self.which, self.folder, self.context.probe)
    }

    fn may_be_given_up(&mut self, reason: Errno) -> bool {
        // A shortage passes, and svscan knows afterwards which supervise it has to stop.
        !is_shortage(reason)
            && self.context.stopping.tell_unknown(self.which, |commands| {
                let _ = self.context.probe.send_commands(self.folder, commands);
            })
            && !self.supervises.may_be_left(self.which, Instant::now(), self.context)
    }

    fn is_wanted_to_stop(&mut self) -> bool {
        self.supervises.is_wanted_to_stop(self.which, self.context)
    }
}
