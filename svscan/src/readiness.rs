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

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service::Running;
    use daemontools::tai64::{Tai64N, at};
    use std::time::UNIX_EPOCH;

    const SUPERVISE: i32 = 7;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number)
    }

    fn label(seconds: u64) -> Tai64N {
        at(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// So many seconds after the boot, which was a thousand seconds after the epoch.
    fn moment(seconds: u64) -> Moment {
        Moment { uptime: Duration::from_secs(seconds), label: label(1000 + seconds) }
    }

    fn record(change: impl FnOnce(&mut Record)) -> Record {
        let mut record = Record::decode(&format!("supervise {SUPERVISE} 0 0\nwant up\nphase running\n"));
        let process = Process { pid: pid(8), ticks: 1, serial: 0 };
        record.process = Some((Role::Run, process));
        change(&mut record);
        record
    }

    #[test]
    fn how_far_a_service_is_by_the_record_of_its_supervise() {
        type Change = fn(&mut Record);
        let table: [(Change, Readiness); 9] = [
            (|_| {}, Readiness::Starting),
            (|record| record.ready = Some(moment(1)), Readiness::Ready),
            (|record| record.want = Want::Down, Readiness::Unready),
            (|record| record.process = None, Readiness::Starting),
            (|record| (record.process, record.next_start) = (None, Some(moment(9))), Readiness::Unready),
            (|record| (record.process, record.phase) = (None, Phase::Failed), Readiness::Unready),
            (|record| record.process = record.process.map(|(_, run)| (Role::Start, run)), Readiness::Starting),
            (|record| record.process = record.process.map(|(_, run)| (Role::Finish, run)), Readiness::Unready),
            (|record| record.process = record.process.map(|(_, run)| (Role::Stop, run)), Readiness::Unready),
        ];
        for (index, (change, readiness)) in table.into_iter().enumerate() {
            let record = record(change);
            assert_eq!(of(None, Some(&record), pid(SUPERVISE)), readiness, "{index}");
            assert_eq!(of(None, Some(&record), pid(9)), Readiness::Starting, "{index}: what another supervise wrote");
        }
    }

    #[test]
    fn without_a_record_what_runs_is_ready() {
        let status = |pid, want| {
            let (phase, running) = (Phase::Running, Running::Run);
            Status { since: label(0), pid, paused: false, want, phase, running }
        };
        let table = [
            (None, Readiness::Starting),
            (Some(status(Some(pid(8)), Want::Up)), Readiness::Ready),
            (Some(status(Some(pid(8)), Want::Down)), Readiness::Ready),
            (Some(status(None, Want::Up)), Readiness::Starting),
            (Some(status(None, Want::Down)), Readiness::Unready),
        ];
        for (status, readiness) in table {
            assert_eq!(of(status.as_ref(), None, pid(SUPERVISE)), readiness, "{status:?}");
        }
    }

    /// A record of a service that is down and had its last end, this one, 50 seconds after the boot.
    fn ended(exit: Exit) -> Record {
        record(|record| {
            (record.process, record.phase) = (None, Phase::Stopped);
            record.deaths = vec![Death { started: label(1040), ended: label(1050), exit, counts: true }];
        })
    }

    fn code(record: &Record, supervise: i32) -> Option<i32> {
        final_exit(Some(record), pid(supervise), moment(60), Some(100))
    }

    #[test]
    fn with_what_code_a_service_has_ended() {
        let table =
            [(Exit::Code(3), 3), (Exit::Signal(15), 143), (Exit::Core(11), 139), (Exit::Unknown, report::TEMPORARY)];
        for (exit, expected) in table {
            assert_eq!(code(&ended(exit), SUPERVISE), Some(expected), "{exit:?}");
        }
        assert_eq!(code(&ended(Exit::Code(3)), 9), None, "what another supervise wrote");
        assert_eq!(code(&record(|_| {}), SUPERVISE), None, "it runs");
    }

    #[test]
    fn a_service_that_is_to_be_started_again_has_not_ended_for_good() {
        let mut record = ended(Exit::Code(3));
        record.next_start = Some(moment(61));
        assert_eq!(code(&record, SUPERVISE), None);
    }

    #[test]
    fn a_death_before_the_supervise_began_does_not_count() {
        let mut record = ended(Exit::Code(3));
        for (started, expected) in [(45, Some(3)), (55, None)] {
            record.supervise.ticks = started * 100;
            assert_eq!(code(&record, SUPERVISE), expected, "{started}");
        }
        record.phase = Phase::Failed;
        assert_eq!(code(&record, SUPERVISE), Some(report::TEMPORARY), "given up before `run`");
    }
}
