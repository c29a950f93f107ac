//! Sending a supervise the commands that it is owed, by a signal or through its FIFO.

use super::Supervises;
use crate::in_charge;
use crate::probe::Probe;
use crate::procfs;
use crate::stopping::PendingCommands;
use crate::table::{SuperviseId, Table};
use daemontools::service::Commands;
use daemontools::sys::process::COMMANDS;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::time::Instant;

impl Supervises {
    /// Sends a supervise the commands that it is owed. If the supervise has written its page, it is known to take
    /// commands by signal, which depends on no file, and svscan sends a signal. Otherwise, or if the kernel queues no
    /// signal that carries a value (there are too many, or a filter forbids it), svscan writes to the supervise's FIFO.
    /// If it cannot reach the FIFO for a while, it sends a signal after all, unless the signal would kill the
    /// supervise.
    ///
    /// # Errors
    /// The supervise does not read commands yet, or cannot be reached now.
    pub fn command(&self, owed: &mut PendingCommands, table: &Table, probe: &mut Probe) -> nix::Result<()> {
        let (pid, commands) = (owed.pid, &Commands::from(owed.commands));
        if self.launcher.record(owed.which).is_some_and(|record| record.supervise.pid == pid) {
            let signalled = self.attached.signal(pid, commands);
            self.attached.wake(pid);
            if matches!(signalled, Ok(()) | Err(Errno::ESRCH)) {
                return signalled;
            }
        }
        let sent = match self.command_through_fifo(owed.which, pid, commands, table, probe) {
            // svscan waits for a directory that hangs, and for a FIFO that is full.
            Err(Errno::ETIMEDOUT) => Err(Errno::ETIMEDOUT),
            Err(_) => probe.command_itself(pid, commands.clone()),
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

    /// If the directory of a supervise cannot be touched, svscan sends the commands when it can be touched again. If a
    /// supervise is not in charge yet, svscan sends them when it is: otherwise the supervise before it would read the
    /// commands and exit, and this supervise would start the service.
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
        // If the directory was renamed or removed, the supervise still works in it.
        let folder = match probe.leads_to(name, which.id) {
            Err(Errno::ETIMEDOUT) => return Err(Errno::ETIMEDOUT),
            Ok(()) => {
                let page = self.launcher.record(which);
                if !in_charge::may_be_in_charge(&folder, page.as_ref(), pid, probe) {
                    return Err(Errno::ENXIO);
                }
                folder
            }
            Err(_) => procfs::process_path(pid, "cwd"),
        };
        probe.send_commands(&folder, commands.clone())
    }
}
