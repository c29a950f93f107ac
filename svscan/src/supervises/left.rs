//! What a supervise that has ended has left.

use super::{EndedSupervise, SuperviseContext, Supervises};
use crate::abandoned::may_run;
use crate::in_charge::InCharge;
use crate::leftover::{EndFacts, ExitKind, RemainingProcess, Wanted, leftover};
use crate::stopping::leaves_lines;
use crate::table::{Leftover, Part, SuperviseId};
use daemontools::service::Record;
use nix::unistd::Pid;
use std::time::Instant;

impl Supervises {
    /// What an ended supervise has left. If the service is being stopped and no supervise can take charge of it, svscan
    /// ends what is left.
    pub fn left_by(&mut self, ended: EndedSupervise, now: Instant, context: &mut SuperviseContext) -> Leftover {
        let which = ended.which;
        let is_killed_logger = which.part == Part::Logger && ended.exit_kind() == ExitKind::Killed;
        if is_killed_logger && !self.was_told_to_end(which, ended.pid, context) {
            context.stopping.logger_was_killed(which.id);
        }
        let wanted = match (context.table.is_stopping(which.id), context.table.is_present(which.id)) {
            (true, _) => Wanted::Stopped,
            (false, true) => Wanted::Present,
            (false, false) => Wanted::Removed,
        };
        let left = leftover(ended.exit_kind(), wanted, &mut FactsAtEnd { supervises: self, ended, now, context });
        if left == Leftover::Process && ended.exit_kind() == ExitKind::Failed && wanted == Wanted::Stopped {
            self.end_itself(which, context);
        }
        left
    }

    /// Whether a supervise is in charge of a part, or may be.
    fn is_served(&self, which: SuperviseId, ended: Option<Pid>, context: &mut SuperviseContext) -> bool {
        !matches!(self.served_by(which, ended, context), InCharge::NoSupervise)
    }

    /// What the last supervise of a part has left. Only what no other account could have written down is believed.
    pub(super) fn remaining_process(&self, which: SuperviseId, context: &mut SuperviseContext) -> RemainingProcess {
        match self.trusted_record(which, context) {
            Ok(Some((record, source))) if record.processes().any(|process| may_run(&process, source)) => {
                RemainingProcess::Possible
            }
            Ok(_) => RemainingProcess::None,
            Err(_) => RemainingProcess::Unknown,
        }
    }

    /// Whether the last record of a supervise says that it has stopped its service and ends. svscan asks this of a
    /// supervise that is not its child.
    fn was_told_to_end(&self, which: SuperviseId, pid: Pid, context: &mut SuperviseContext) -> bool {
        let is_last = |record: Record| record.supervise.pid == pid && record.has_left();
        self.record(which, context.table, context.probe).is_some_and(is_last)
    }
}

/// Answers what svscan asks about a supervise that has ended.
struct FactsAtEnd<'a, 'b> {
    supervises: &'a Supervises,
    ended: EndedSupervise,
    now: Instant,
    context: &'a mut SuperviseContext<'b>,
}

impl EndFacts for FactsAtEnd<'_, '_> {
    fn has_lines(&mut self) -> bool {
        let SuperviseContext { table, stopping, .. } = &mut *self.context;
        stopping.has_lines_for(self.ended.which, table, &self.supervises.launcher, self.now)
    }

    fn leaves_lines(&mut self) -> bool {
        leaves_lines(self.ended.which, self.context.table, &self.supervises.launcher)
    }

    fn was_told(&mut self) -> bool {
        self.supervises.was_told_to_end(self.ended.which, self.ended.pid, self.context)
    }

    fn is_served(&mut self) -> bool {
        self.supervises.is_served(self.ended.which, Some(self.ended.pid), self.context)
    }

    fn remaining_process(&mut self) -> RemainingProcess {
        self.supervises.remaining_process(self.ended.which, self.context)
    }

    fn still_waits(&mut self) -> bool {
        self.context.stopping.waits_for(self.ended.which, self.now)
    }
}
