//! The pipe between a service and its logger, where a supervise of an earlier svscan has it.

use super::{SuperviseContext, Supervises};
use crate::identity::id_of;
use crate::in_charge::InCharge;
use crate::probe::Probe;
use crate::procfs;
use crate::service_pipe;
use crate::table::{Id, Part, SuperviseId, label};
use daemontools::service::{Identity, Process};
use daemontools::sys::is_passing;
use daemontools::sys::kind::is_fifo;
use nix::sys::stat::{FileStat, fstat, stat};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Instant;

/// The running processes of a part that have its end of the pipe between the service and its logger.
struct Owners {
    supervise: Option<Process>,
    /// The process of the service, or of its logger, and the one that runs beside `run`.
    processes: Vec<Process>,
}

impl Owners {
    fn pids(&self) -> impl Iterator<Item = Pid> {
        self.supervise.iter().chain(&self.processes).map(|process| process.pid)
    }
}

impl Supervises {
    /// Recovers the pipe of a service that an earlier svscan started: it lives on in the processes of the service.
    ///
    /// # Errors
    /// EMFILE, EIO …: it cannot be told now whether there is one.
    pub(super) fn recover_pipe(&mut self, id: Id, name: &OsStr, probe: &mut Probe) -> nix::Result<()> {
        let service = self.owners_of_pipe(SuperviseId { id, part: Part::Service }, name, probe)?;
        let logger = self.owners_of_pipe(SuperviseId { id, part: Part::Logger }, name, probe)?;
        // A service without a logger, or one that sends its lines through a filter, has the pipe of another program there.
        let writers = service.pids().map(|pid| (pid, 1)).filter(|(pid, number)| service_pipe::is_own(*pid, *number));
        let mut pipe = service_pipe::recover(writers.chain(logger.pids().map(|pid| (pid, 0))))?;
        if let (None, Some(service), Some(logger)) = (&pipe, &service.supervise, &logger.supervise)
            && !procfs::is_there()
        {
            pipe = service_pipe::between(service, logger)?;
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
    fn owners_of_pipe(&self, which: SuperviseId, name: &OsStr, probe: &mut Probe) -> nix::Result<Owners> {
        let folder = &PathBuf::from(label(which.part, name));
        let supervise = match self.in_charge(which, folder, probe) {
            InCharge::Supervise(process) => Some(process),
            InCharge::Unknown(errno) if is_passing(errno) => return Err(errno),
            InCharge::NoSupervise | InCharge::Unknown(_) => None,
        };
        // A process that another account has named could have the pipe of another service.
        let record = self.launcher.record(which).map_or_else(|| probe.trusted_record_in(folder), |page| Ok(Some(page)));
        let recorded = record?.map(|record| {
            let beside = record.beside.map(|(_, process)| process);
            record.process.map(|(_, process)| process).into_iter().chain(beside)
        });
        let mut processes = Vec::new();
        for process in recorded.into_iter().flatten() {
            match process.identity() {
                Ok(Identity::Same) => processes.push(process),
                Err(errno) if is_passing(errno) => return Err(errno),
                Ok(Identity::Gone | Identity::Unknown) | Err(_) => {}
            }
        }
        Ok(Owners { supervise, processes })
    }

    /// Whether a supervise has a pipe as this descriptor, but not the service's.
    fn has_other_pipe(&self, id: Id, supervise: Pid, number: u8, probe: &mut Probe) -> bool {
        let path = procfs::process_path(supervise, &format!("fd/{number}"));
        let its = match procfs::pipe_of(supervise, number) {
            // A pipe without a name lies on no mount.
            Ok(Some(_)) => stat(&path).map(described),
            Ok(None) => probe.descriptor(&path),
            Err(_) if procfs::is_there() => return false,
            Err(_) => self.attached.descriptor_of(supervise, i32::from(number)).and_then(fstat).map(described),
        };
        its.is_ok_and(|(file, is_fifo)| is_fifo && self.launcher.is_other_pipe(id, file))
    }

    /// A supervise is in charge whose svscan was killed while the supervise was starting. svscan takes the pipe that
    /// this supervise has, and drops the pipe that it has made meanwhile. A logger that reads another pipe is told to
    /// end when it has read all, and is started again.
    ///
    /// # Errors
    /// EMFILE, EIO …: the pipe cannot be opened now.
    pub(super) fn settle_pipe(
        &mut self,
        which: SuperviseId,
        pid: Pid,
        context: &mut SuperviseContext,
    ) -> nix::Result<()> {
        let SuperviseId { id, part } = which;
        if part == Part::Service
            && self.has_other_pipe(id, pid, 1, context.probe)
            && (context.table.has_logger(id) || service_pipe::is_own(pid, 1))
            && let Some(pipe) = service_pipe::recover([(pid, 1)].into_iter())?
        {
            self.launcher.put_pipe(id, pipe);
            context.forward.changed(id);
        }
        let logger = SuperviseId { id, part: Part::Logger };
        let reader = if part == Part::Logger { Some(pid) } else { context.table.pid(logger) };
        if let Some(reader) = reader.filter(|reader| self.has_other_pipe(id, *reader, 0, context.probe)) {
            context.stopping.let_end((logger, reader), Instant::now());
        }
        Ok(())
    }
}

/// The file, and whether it is a FIFO.
fn described(file: FileStat) -> (Id, bool) {
    (id_of(&file), is_fifo(&file))
}
