//! `supervise/status`: daemontools' eighteen bytes, one of daemontools-encore's and one of runit's.

use super::{Record, Role, Shown};
use crate::tai64::{Tai64, Tai64N};
use nix::unistd::Pid;

/// What supervise was told to achieve (byte 17 of the status).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The service shall run, and be restarted whenever it ends.
    Up,
    /// The service shall not run.
    Down,
    /// The service is left as it is, and not restarted when it ends.
    Once,
}

impl Want {
    /// What people read: `up once`, where the word in `supervise/state` is `once`.
    pub fn words(self) -> &'static str {
        match self {
            Want::Up => "up",
            Want::Down => "down",
            Want::Once => "up once",
        }
    }
}

/// Where a service is in its life (byte 18 of the status).
///
/// Source: daemontools-encore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// There is no process.
    Stopped = 0,
    /// `start` or `pre-start` is running.
    Starting = 1,
    /// `start` has ended, `run` comes next.
    Started = 2,
    /// `run` is running.
    Running = 3,
    /// The service was told to end, or `stop` or `finish` is running.
    Stopping = 4,
    /// The service has failed, and is not restarted until a command says so.
    Failed = 5,
}

/// Which of its programs a service runs, in runit's three words (byte 19 of the status).
///
/// Source: runit's `sv` and the collectors that read `supervise/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RunitState {
    /// There is no process.
    Nothing = 0,
    /// `run`, or `start` or `pre-start` before it. Without a process: a state that is up.
    Run = 1,
    /// `finish`, or `stop` after it.
    Finish = 2,
}

impl From<Role> for RunitState {
    fn from(role: Role) -> RunitState {
        match role {
            Role::Start | Role::PreStart | Role::Run => RunitState::Run,
            Role::Finish | Role::Stop => RunitState::Finish,
        }
    }
}

/// The contents of `supervise/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// When `pid` last changed.
    pub since: Tai64N,
    /// The process that is running, if one is.
    pub pid: Option<Pid>,
    /// Whether the service was told to pause.
    pub paused: bool,
    /// What the service was told to achieve.
    pub want: Want,
    /// daemontools-encore's state. For a file of the original's, which lacks it, `pid` decides.
    pub phase: Phase,
    /// runit's state. For a file without it, `pid` decides.
    pub running: RunitState,
}

/// The status file is shorter than the original's eighteen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooShort;

impl Status {
    /// The number of bytes that our supervise writes: the original's eighteen, encore's one and runit's one.
    pub const LENGTH: usize = 20;
    /// The number of bytes that a file must have at least: the original's.
    pub const SHORTEST: usize = 18;

    /// The bytes of the status file.
    ///
    /// ```text
    ///  0..8   TAI64 seconds, big-endian
    ///  8..12  nanoseconds, big-endian
    /// 12..16  pid, little-endian; 0: down
    /// 16      1: paused
    /// 17      'u': want up; 'd': want down; 0: once
    /// 18      phase
    /// 19      runit's state: 0 down, 1 run, 2 finish
    /// ```
    pub fn encode(&self) -> [u8; Status::LENGTH] {
        let mut bytes = [0; Status::LENGTH];
        bytes[..12].copy_from_slice(&self.since.to_bytes());
        bytes[12..16].copy_from_slice(&self.pid.map_or(0, Pid::as_raw).to_le_bytes());
        bytes[16] = u8::from(self.paused && self.pid.is_some());
        bytes[17] = match self.want {
            Want::Up => b'u',
            Want::Down => b'd',
            Want::Once => 0,
        };
        bytes[18] = self.phase as u8;
        bytes[19] = self.running as u8;
        bytes
    }

    /// The status that a supervise shows for a service in the state `record`. If a `run` has just ended, and is started
    /// again when its second is over, the status is the one from before (see [`Shown`]).
    pub fn of(record: &Record) -> Status {
        match record.shown {
            Some(Shown { pid, since }) => Status {
                since,
                pid: Some(pid),
                paused: false,
                want: record.want,
                phase: Phase::Running,
                running: RunitState::Run,
            },
            None => Status::actual(record),
        }
    }

    /// The real status of a service in the state `record`.
    pub fn actual(record: &Record) -> Status {
        let Record { since, paused, want, phase, process, .. } = *record;
        let without_process = if record.active { RunitState::Run } else { RunitState::Nothing };
        let running = process.map_or(without_process, |(role, _)| role.into());
        let pid = process.map(|(_, process)| process.pid);
        Status { since: since.label, pid, paused, want, phase, running }
    }

    /// Whether the service is a state that is up: it has no process and needs none.
    pub fn is_active(&self) -> bool {
        self.pid.is_none() && self.running == RunitState::Run
    }

    /// Reads a status that any daemontools wrote: ours, the original's or encore's.
    ///
    /// # Errors
    /// [`TooShort`], for which the original's words are "bad format". Meaningless values are read as the original reads
    /// them: any other `want` counts as none.
    pub fn decode(bytes: &[u8]) -> Result<Status, TooShort> {
        let (fixed, rest) = bytes.split_first_chunk::<{ Status::SHORTEST }>().ok_or(TooShort)?;
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, p0, p1, p2, p3, paused, want] = *fixed;
        let pid = Some(i32::from_le_bytes([p0, p1, p2, p3])).filter(|pid| *pid != 0).map(Pid::from_raw);
        let without_encore = if pid.is_some() { Phase::Running } else { Phase::Stopped };
        let without_runit = if pid.is_some() { RunitState::Run } else { RunitState::Nothing };
        Ok(Status {
            since: Tai64N(
                Tai64(u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7])),
                u32::from_be_bytes([n0, n1, n2, n3]),
            ),
            pid,
            paused: paused != 0,
            want: match want {
                b'u' => Want::Up,
                b'd' => Want::Down,
                _ => Want::Once,
            },
            phase: match rest.first() {
                Some(0) => Phase::Stopped,
                Some(1) => Phase::Starting,
                Some(2) => Phase::Started,
                Some(3) => Phase::Running,
                Some(4) => Phase::Stopping,
                Some(5) => Phase::Failed,
                Some(_) | None => without_encore,
            },
            running: match (rest.get(1), pid) {
                (Some(1), Some(_)) => RunitState::Run,
                (Some(2), Some(_)) => RunitState::Finish,
                // Only our supervise writes this, of a state.
                (Some(1), None) => RunitState::Run,
                // A zero is also written where there is a process, by daemontools-encore's supervise and by ours of
                // version 0.1.0.
                (_, _) => without_runit,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tai64::Moment;
    use proptest::prelude::*;

    fn running() -> Status {
        Status {
            since: Tai64N(Tai64(0x4000_0000_0000_000b), 0x1234),
            pid: Some(Pid::from_raw(0x0102_0304)),
            paused: false,
            want: Want::Up,
            phase: Phase::Running,
            running: RunitState::Run,
        }
    }

    #[test]
    fn the_first_eighteen_bytes_are_the_originals() {
        assert_eq!(running().encode(), [0x40, 0, 0, 0, 0, 0, 0, 0xb, 0, 0, 0x12, 0x34, 4, 3, 2, 1, 0, b'u', 3, 1]);
    }

    #[test]
    fn nothing_that_is_down_is_paused() {
        let down = Status {
            pid: None,
            paused: true,
            want: Want::Down,
            phase: Phase::Stopped,
            running: RunitState::Nothing,
            ..running()
        };
        assert_eq!(down.encode()[12..], [0, 0, 0, 0, 0, b'd', 0, 0]);
    }

    #[test]
    fn a_file_of_the_originals_tells_the_phase_by_its_pid() {
        let bytes = running().encode();
        assert_eq!(Status::decode(&bytes[..18]), Ok(running()));
        assert_eq!(Status::decode(&bytes[..17]), Err(TooShort));
    }

    #[test]
    fn runits_state_is_read_where_it_is_written() {
        let finish = Status { phase: Phase::Stopping, running: RunitState::Finish, ..running() };
        assert_eq!(Status::decode(&finish.encode()), Ok(finish));
        let mut of_encore = finish.encode();
        of_encore[19] = 0;
        assert_eq!(Status::decode(&of_encore), Ok(Status { running: RunitState::Run, ..finish }));
    }

    #[test]
    fn a_state_is_active_without_a_process() {
        let record = Record { active: true, phase: Phase::Running, want: Want::Up, ..Record::blank() };
        let active = Status::of(&record);
        assert_eq!(active.encode()[12..], [0, 0, 0, 0, 0, b'u', 3, 1]);
        assert_eq!(Status::decode(&active.encode()), Ok(active));
        assert!(active.is_active() && !running().is_active() && !Status::of(&Record::blank()).is_active());
    }

    #[test]
    fn a_run_that_has_just_ended_is_shown_as_before() {
        let (before, ended) = (running(), Moment::ZERO);
        let record = Record { want: Want::Up, phase: Phase::Started, since: ended, ..Record::blank() };
        let shown = before.pid.map(|pid| Shown { pid, since: before.since });
        assert_eq!(Status::of(&Record { shown, ..record.clone() }), before);
        assert_eq!(Status::of(&record), Status::actual(&record));
        let actual = Status::actual(&Record { shown, ..record });
        assert_eq!((actual.since, actual.pid, actual.running), (ended.label, None, RunitState::Nothing));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(Status::decode(&bytes).is_ok(), bytes.len() >= Status::SHORTEST);
        }
    }
}
