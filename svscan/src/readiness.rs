//! Whether a service is ready, and whether it has ended for good, by what its supervise has written. No clock, no I/O.

use crate::table::Readiness;
use daemontools::report;
use daemontools::service::{Death, Exit, Phase, Process, Record, Role, Status, Want};
use daemontools::tai64::Moment;
use nix::unistd::Pid;
use std::time::Duration;

/// How far the service is whose supervise is `pid`: as its supervise says in `record`, or by its `status` where the supervise
/// is one that writes no record.
pub fn of(status: Option<&Status>, record: Option<&Record>, pid: Pid) -> Readiness {
    let Some(record) = record else {
        return match status {
            Some(status) if status.pid.is_some() => Readiness::Ready,
            Some(status) if status.want == Want::Down => Readiness::Unready,
            Some(_) | None => Readiness::Starting,
        };
    };
    if record.supervise.pid != pid {
        return Readiness::Starting;
    }
    if record.ready.is_some() {
        return Readiness::Ready;
    }
    // A service that has ended and is to be started again later is not about to be ready.
    let is_expected = match record.process {
        Some((role, _)) => matches!(role, Role::Start | Role::Run),
        None => record.next_start.is_none() && record.phase != Phase::Failed,
    };
    if is_expected && record.want != Want::Down { Readiness::Starting } else { Readiness::Unready }
}

/// With what code the service whose supervise is `pid` has ended for good, as that says in `record`; `None` if it has not.
/// `ticks_per_second` is the unit of the supervise's start time, if the system tells.
pub fn final_exit(record: Option<&Record>, pid: Pid, now: Moment, ticks_per_second: Option<u64>) -> Option<i32> {
    let record = record.filter(|record| record.supervise.pid == pid)?;
    let has_ended = matches!(record.phase, Phase::Stopped | Phase::Failed) && record.next_start.is_none();
    if !has_ended || record.process.is_some() {
        return None;
    }
    let last = record.deaths.last().filter(|death| was_seen(death, &record.supervise, now, ticks_per_second));
    match last.map(|death| &death.exit) {
        Some(Exit::Code(code)) => Some(*code),
        Some(Exit::Signal(signal) | Exit::Core(signal)) => Some(128 + signal),
        Some(Exit::Unstarted(_) | Exit::Unknown) => Some(report::TEMPORARY),
        // Given up before `run`, as when `start` fails. Otherwise it has not been up yet.
        None => (record.phase == Phase::Failed).then_some(report::TEMPORARY),
    }
}

/// Whether a death came after the start of this supervise: a death of the time before says nothing of its service.
fn was_seen(death: &Death, supervise: &Process, now: Moment, ticks_per_second: Option<u64>) -> bool {
    let ticks_per_second = ticks_per_second.filter(|ticks| *ticks > 0 && supervise.ticks > 0);
    let Some(ticks_per_second) = ticks_per_second else { return true };
    let started = Duration::from_millis(supervise.ticks.saturating_mul(1000) / ticks_per_second);
    // Of the wall clock only how long ago it was: one that was set has no effect on that for long.
    let ago = now.label.duration_since(&death.ended);
    ago.is_ok_and(|ago| ago <= now.uptime.saturating_sub(started))
}
