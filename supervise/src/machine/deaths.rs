//! The deaths of `run`: what follows from one, which are remembered, and when they are too many. No clock, no I/O.

use super::Machine;
use daemontools::service::policy::Limit;
use daemontools::service::{Death, Exit, Failure, Verdict};
use daemontools::tai64::Moment;
use std::time::Duration;

impl Machine {
    /// Records a death of `run`, and decides what follows from it.
    pub(super) fn record_death(&mut self, now: Moment, exit: Exit, told_to_end: bool) -> Verdict {
        let counts = !(told_to_end && self.policy.limits_deaths());
        self.deaths.push(Death { started: self.started.label, ended: now.label, exit, counts, is_told: told_to_end });
        let lived = now.uptime.saturating_sub(self.started.uptime);
        self.short_runs = if lived >= self.policy.restart.stable { 0 } else { self.short_runs.saturating_add(1) };
        let verdict = if told_to_end { Verdict::AsWanted } else { self.verdict_on(now, exit) };
        self.forget_deaths();
        verdict
    }

    /// Decides what follows from a death of a `run` that was not told to end.
    fn verdict_on(&mut self, now: Moment, exit: Exit) -> Verdict {
        match exit {
            Exit::Code(code) if self.astray.is_none() && self.policy.success.contains(&code) => Verdict::Done,
            Exit::Signal(signal) | Exit::Core(signal) if self.policy.success_signals.contains(&signal) => Verdict::Done,
            Exit::Code(100) => self.give_up(Failure::Run),
            Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) | Exit::Unknown => {
                if self.dies_too_often(now) { self.give_up(Failure::RestartLimit) } else { Verdict::AsWanted }
            }
        }
    }

    /// Forgets the oldest deaths, as the setting `max-death-tally` says. It keeps those that the restart limit still
    /// counts: if this supervise is killed, the next one counts them from the record.
    fn forget_deaths(&mut self) {
        let surplus = self.deaths.len().saturating_sub(self.policy.deaths_kept);
        let counted = self.deaths.iter().enumerate().rev().filter(|(_, death)| death.counts);
        let needed = counted.take(self.recent_deaths.len()).last().map_or(surplus, |(oldest, _)| oldest);
        self.deaths.drain(..surplus.min(needed));
    }

    pub(super) fn give_up(&mut self, why: Failure) -> Verdict {
        self.failure = Some(why);
        // Only a command starts the service again, and then the restart limit counts from zero.
        self.recent_deaths.clear();
        Verdict::GiveUp
    }

    /// Has the restart limit count from zero again, also for a supervise that comes after this one. Without a limit too, who
    /// reads the record sees from it that a command has come since these deaths.
    pub(super) fn forgive_deaths(&mut self) {
        self.recent_deaths.clear();
        self.deaths.iter_mut().for_each(|death| death.counts = false);
    }

    fn dies_too_often(&mut self, now: Moment) -> bool {
        if let Some(limit) = self.policy.respawn_limit {
            return self.respawns_too_often(now, limit);
        }
        let Some(limit) = self.policy.restart_limit else { return false };
        self.recent_deaths.retain(|death| now.uptime.saturating_sub(*death) < limit.within);
        self.recent_deaths.push(now.uptime);
        self.recent_deaths.len() >= limit.count
    }

    /// Counts the restart that would follow this death. The first death of a window begins it; a death after its time begins
    /// the next one, in which the deaths before count no more, also for the next supervise.
    ///
    /// Source: Upstart 1.x, which compares whole seconds.
    fn respawns_too_often(&mut self, now: Moment, limit: Limit) -> bool {
        let since = self.recent_deaths.first().map(|first| now.uptime.as_secs().saturating_sub(first.as_secs()));
        if since.is_none_or(|seconds| Duration::from_secs(seconds) >= limit.within) {
            self.recent_deaths.clear();
            // The last one is this death.
            let before = self.deaths.len().saturating_sub(1);
            self.deaths.iter_mut().take(before).for_each(|death| death.counts = false);
        }
        self.recent_deaths.push(now.uptime);
        self.recent_deaths.len() > limit.count
    }
}
