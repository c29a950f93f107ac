//! Whether a service is ready, and whether it has ended for good, by what its supervise has written. No clock, no I/O.

use crate::table::Readiness;
use daemontools::report;
use daemontools::service::{Death, Exit, Phase, Process, Record, Role, Status, Want};
use daemontools::tai64::Moment;
use std::time::Duration;

/// How far the service of this supervise is: as its supervise says in `record`, or by its `status` if the supervise writes
/// no record. In a container that is started again, a supervise has the number of one that is gone, whose record is still
/// there. So the number alone does not tell whose record it is.
pub fn of(status: Option<&Status>, record: Option<&Record>, supervise: &Process) -> Readiness {
    let Some(record) = record else {
        return match status {
            Some(status) if status.pid.is_some() || status.is_active() => Readiness::Ready,
            Some(status) if status.want == Want::Down => Readiness::Unready,
            Some(_) | None => Readiness::Starting,
        };
    };
    if !record.supervise.is_same_as(supervise) {
        return Readiness::Starting;
    }
    if record.ready.is_some() {
        return Readiness::Ready;
    }
    // A service that has ended and is to be started again later is not about to be ready.
    let is_expected = match record.process {
        Some((role, _)) => matches!(role, Role::Start | Role::PreStart | Role::Run),
        None => record.active || record.next_start.is_none() && record.phase != Phase::Failed,
    };
    if is_expected && record.want != Want::Down { Readiness::Starting } else { Readiness::Unready }
}

/// With what code the service of this supervise has ended for good, as that says in `record`; `None` if it has not.
/// `ticks_per_second` is the unit of the supervise's start time, if the system tells.
pub fn final_exit(
    record: Option<&Record>,
    supervise: &Process,
    now: Moment,
    ticks_per_second: Option<u64>,
) -> Option<i32> {
    let record = record.filter(|record| record.supervise.is_same_as(supervise))?;
    let has_ended = matches!(record.phase, Phase::Stopped | Phase::Failed) && record.next_start.is_none();
    if !has_ended || record.held.is_some() || record.active || record.has_any() {
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
    // From the wall clock svscan takes only how long ago the end was, so that a clock that is set has no effect for long.
    let ago = now.label.duration_since(&death.ended);
    ago.is_ok_and(|ago| ago <= now.uptime.saturating_sub(started))
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service::RunitState;
    use daemontools::tai64::{Tai64N, at};
    use nix::unistd::Pid;
    use std::time::UNIX_EPOCH;

    const SUPERVISE: i32 = 7;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number)
    }

    /// A supervise of which the system tells the number only.
    fn supervise(number: i32) -> Process {
        Process { pid: pid(number), ticks: 0, serial: 0 }
    }

    fn label(seconds: u64) -> Tai64N {
        at(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// The moment `seconds` after the boot, which was a thousand seconds after the epoch.
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
    fn the_readiness_of_a_service_is_read_from_its_record() {
        type Change = fn(&mut Record);
        let table: [(Change, Readiness); 10] = [
            (|record| (record.process, record.active) = (None, true), Readiness::Starting),
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
            assert_eq!(of(None, Some(&record), &supervise(SUPERVISE)), readiness, "{index}");
            assert_eq!(
                of(None, Some(&record), &supervise(9)),
                Readiness::Starting,
                "{index}: what another supervise wrote"
            );
        }
    }

    #[test]
    fn a_running_service_without_a_record_is_ready() {
        let status = |pid, want| {
            let is_there = |pid: Option<Pid>| if pid.is_some() { RunitState::Run } else { RunitState::Nothing };
            let (phase, running) = (Phase::Running, is_there(pid));
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
            assert_eq!(of(status.as_ref(), None, &supervise(SUPERVISE)), readiness, "{status:?}");
        }
    }

    /// A record of a service that is down and had its last end, this one, 50 seconds after the boot.
    fn ended(exit: Exit) -> Record {
        record(|record| {
            (record.process, record.phase) = (None, Phase::Stopped);
            record.deaths =
                vec![Death { started: label(1040), ended: label(1050), exit, counts: true, is_told: false }];
        })
    }

    fn code(record: &Record, number: i32) -> Option<i32> {
        final_exit(Some(record), &supervise(number), moment(60), Some(100))
    }

    #[test]
    fn the_final_exit_code_of_a_service_is_read_from_its_record() {
        let table =
            [(Exit::Code(3), 3), (Exit::Signal(15), 143), (Exit::Core(11), 139), (Exit::Unknown, report::TEMPORARY)];
        for (exit, expected) in table {
            assert_eq!(code(&ended(exit), SUPERVISE), Some(expected), "{exit:?}");
        }
        assert_eq!(code(&ended(Exit::Code(3)), 9), None, "what another supervise wrote");
        assert_eq!(code(&record(|_| {}), SUPERVISE), None, "it runs");
    }

    /// The supervise of a container that is started again has the number of the one in the container before.
    #[test]
    fn the_record_of_another_supervise_with_the_same_number_does_not_count() {
        let told = Process { ticks: 100, serial: 1000, ..supervise(SUPERVISE) };
        let table = [
            (Process { serial: 1001, ..told }, false),
            (Process { ticks: 101, serial: 0, ..told }, false),
            (Process { ticks: 0, ..told }, true),
            (told, true),
        ];
        for (now, is_the_same) in table {
            let ready = record(|record| (record.supervise, record.ready) = (told, Some(moment(1))));
            let expected = if is_the_same { Readiness::Ready } else { Readiness::Starting };
            assert_eq!(of(None, Some(&ready), &now), expected, "{now:?}");
            let ended = Record { supervise: told, ..ended(Exit::Code(3)) };
            let code = final_exit(Some(&ended), &now, moment(60), Some(100));
            assert_eq!(code, is_the_same.then_some(3), "{now:?}");
        }
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
