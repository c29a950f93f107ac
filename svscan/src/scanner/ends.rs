//! Processes that have ended: supervises, and what killed supervises have left.

use super::Scanner;
use crate::supervises::EndedSupervise;
use daemontools::service::{OrphanEnd, Process};
use daemontools::sys::process;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::time::Instant;

impl Scanner {
    /// Waits for every child that has ended. Returns whether these are all, as far as the system tells.
    pub(super) fn reap(&mut self, now: Instant) -> bool {
        loop {
            let (pid, status) = match process::ended_child_status(None) {
                Ok(Some(ended)) => ended,
                Ok(None) | Err(Errno::ECHILD) => return true,
                Err(_) => return false,
            };
            self.supervises.release(pid);
            self.forward.ended(pid, status, now);
            self.see_expected(pid, now);
            if !self.supervise_ended(pid, status, now) {
                let end = OrphanEnd { process: Process::of(pid), status };
                self.supervises.orphan_ended(end, &self.table, &mut self.probe);
            }
            if process::wait_for(pid).is_err() {
                return false;
            }
        }
    }

    /// A supervise may end just when svscan executes its file anew. It is entered as started first, so that its exit is
    /// handled like any other.
    fn see_expected(&mut self, pid: Pid, now: Instant) {
        if let Some(which) = self.supervises.expected_that_ended(pid)
            && self.table.is_due(which)
        {
            let mut todo = Vec::new();
            self.table.started(which, pid, now, &mut todo);
            self.perform(todo, now);
        }
    }

    /// Handles the end of a process, if that was a supervise. Returns whether it was one.
    pub(super) fn supervise_ended(&mut self, pid: Pid, status: i32, now: Instant) -> bool {
        let Some(which) = self.table.supervise_of(pid) else { return false };
        let (supervises, mut context) = self.context();
        let left = supervises.left_by(EndedSupervise { which, pid, status }, now, &mut context);
        let mut todo = Vec::new();
        self.table.process_ended(pid, left, now, &mut todo);
        self.perform(todo, now);
        true
    }
}
