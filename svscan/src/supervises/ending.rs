//! Ending what is left of a service that is being stopped and for which no supervise can be started.

use super::{SuperviseContext, Supervises};
use crate::in_charge::InCharge;
use crate::leftover::RemainingProcess;
use crate::table::SuperviseId;
use daemontools::sys::is_shortage;
use daemontools::tai64::Moment;
use nix::sys::signal::Signal;
use std::time::Instant;

impl Supervises {
    /// No supervise can be started for a part that is being stopped. Ends what is left of it, and returns whether
    /// svscan is to wait, and to try again: there is something left, or there are lines that only its logger can read.
    pub fn stop_without_supervise(&mut self, which: SuperviseId, now: Instant, context: &mut SuperviseContext) -> bool {
        if context.stopping.has_lines_for(which, context.table, &self.launcher, now) {
            return true;
        }
        match self.served_by(which, None, context) {
            InCharge::NoSupervise => {}
            // This process was told to stop its service. But it need not be a supervise: the owner of `supervise/` can
            // make any process look like a supervise.
            InCharge::Unknown(errno) if !is_shortage(errno) && context.stopping.was_unknown_told(which) => {}
            // That supervise is to stop its service, once it can be reached.
            InCharge::Supervise(_) | InCharge::Unknown(_) => return true,
        }
        let is_left = self.may_be_left(which, now, context);
        if is_left {
            self.end_itself(which, context);
        }
        is_left
    }

    /// Whether a process of a part that is being stopped may be left. If svscan knows of no process and cannot
    /// find out, it waits for some time.
    pub(super) fn may_be_left(&self, which: SuperviseId, now: Instant, context: &mut SuperviseContext) -> bool {
        match self.remaining_process(which, context) {
            RemainingProcess::Possible => true,
            RemainingProcess::Unknown => context.stopping.waits_for(which, now),
            RemainingProcess::None => false,
        }
    }

    /// Ends the processes of a service that is being stopped, whose supervise cannot take charge of it: the owner of
    /// `supervise/` may keep the lock, or nothing leads there any more. Only what no other account could have written down is
    /// believed.
    pub(super) fn end_itself(&self, which: SuperviseId, context: &mut SuperviseContext) {
        let Ok(Some((record, _))) = self.trusted_record(which, context) else { return };
        // The last supervise may have known when it would kill its service.
        let is_overdue = record.kill_at.is_some_and(|kill_at| kill_at.uptime <= Moment::now().uptime);
        for process in record.processes() {
            if context.stopping.is_hurried() || is_overdue {
                process.send(&[Signal::SIGKILL]);
            } else if context.stopping.mark_told(which, process) {
                process.send(&[Signal::SIGTERM, Signal::SIGCONT]);
            }
        }
    }
}
