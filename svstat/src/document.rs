//! The JSON form: one document a service, always with the same keys; `null` is what is not known.
//!
//! | key | value |
//! |---|---|
//! | `service` | the name as given; bytes that are not UTF-8 are U+FFFD … |
//! | `service_bytes` | … and all its bytes as numbers, if there are such; else `null` |
//! | `error` | why nothing can be said, and then all that follows is `null` |
//! | `up` `pid` `since` `seconds` | whether it has a process, which, since when and for how long |
//! | `normally` | `up`, or `down` if there is a file `down` |
//! | `want` | `up` `down` `once` |
//! | `paused` `phase` | as in `supervise/status`: `stopped` `starting` `started` `running` `stopping` `failed` |
//! | `failure` | why it gave up, in words |
//! | `program` | which of its programs runs: `start` `run` `finish` `stop` |
//! | `ready` `ready_since` `ready_seconds` | whether it is ready, since when and for how long |
//! | `kill_at` `kill_at_seconds` | when it is killed if it has not ended, and in how many seconds |
//! | `next_start` `next_start_seconds` | when `run` is started next, and in how many seconds |
//! | `starts` | how often `run` was started |
//! | `status_text` | what it last said of itself |
//! | `supervise_pid` | its supervise |
//! | `deaths` | the last ends of `run`, oldest first: `started` `ended` `exit` `code` `signal` `core` `errno` `text` |
//! | `log` | the same from `up` on, of a logger that the same supervise runs |
//!
//! Times are seconds since 1970 with a fraction; lengths are seconds by the clock that nobody sets, where
//! there is a `supervise/state`. `exit` is `exit`, `signal`, `unstarted` or `unknown`.

use crate::{Normally, seconds};
use daemontools::service::{Death, Exit, Record, Role, Snapshot};
use daemontools::tai64::{Moment, Tai64N, since_1970};
use nix::unistd::Pid;
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

type Member = (&'static str, Value);

/// All that is known of a service.
pub fn of(service: &OsStr, seen: &Snapshot, normally: Normally, now: Moment) -> Value {
    let normally = if normally == Normally::Down { "down" } else { "up" };
    let log = seen.clone().of_logger().map(|logger| object(known(&logger, now)));
    let more = [("normally", normally.into()), ("log", log.into())];
    object(name(service).into_iter().chain([("error", Value::Null)]).chain(known(seen, now)).chain(more))
}

/// That nothing is known, and why.
pub fn without_answer(service: &OsStr, why: &str) -> Value {
    let unknown = KEYS.map(|key| (key, Value::Null));
    object(name(service).into_iter().chain([("error", why.into())]).chain(unknown))
}

/// What is `null` where nothing can be said.
const KEYS: [&str; 22] = [
    "up",
    "pid",
    "since",
    "seconds",
    "want",
    "paused",
    "phase",
    "failure",
    "program",
    "ready",
    "ready_since",
    "ready_seconds",
    "kill_at",
    "kill_at_seconds",
    "next_start",
    "next_start_seconds",
    "starts",
    "status_text",
    "supervise_pid",
    "deaths",
    "normally",
    "log",
];

fn name(service: &OsStr) -> [Member; 2] {
    let bytes = service.as_bytes();
    let raw = std::str::from_utf8(bytes).is_err().then(|| bytes.to_vec());
    [("service", String::from_utf8_lossy(bytes).into()), ("service_bytes", raw.into())]
}

/// Its keys in this order.
fn object(members: impl IntoIterator<Item = Member>) -> Value {
    members.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

fn known(seen: &Snapshot, now: Moment) -> Vec<Member> {
    let (status, record) = (&seen.status, seen.record.as_ref());
    let role = record.and_then(|record| record.process).map(|(role, _)| role);
    let ready = record.and_then(|record| record.ready);
    let is_ready = record.map(|_| role == Some(Role::Run) && ready.is_some());
    let kill = record.and_then(|record| record.kill_at);
    let next = record.and_then(|record| record.next_start);
    let text = record.map(|record| &record.status_text).filter(|text| !text.is_empty());
    let supervise = record.map(|record| record.supervise.pid.as_raw()).filter(|pid| *pid != 0);
    vec![
        ("up", status.pid.is_some().into()),
        ("pid", status.pid.map(Pid::as_raw).into()),
        ("since", time(status.since)),
        ("seconds", seconds(status, record, now).into()),
        ("want", status.want.word().into()),
        ("paused", status.paused.into()),
        ("phase", status.phase.word().into()),
        ("failure", record.and_then(Record::failure_words).into()),
        ("program", role.map(Role::program).into()),
        ("ready", is_ready.into()),
        ("ready_since", ready.map(|ready| time(ready.label)).into()),
        ("ready_seconds", ready.map(|ready| length(now.uptime.saturating_sub(ready.uptime))).into()),
        ("kill_at", kill.map(|kill| time(kill.label)).into()),
        ("kill_at_seconds", kill.map(|kill| length(kill.uptime.saturating_sub(now.uptime))).into()),
        ("next_start", next.map(|next| time(next.label)).into()),
        ("next_start_seconds", next.map(|next| length(next.uptime.saturating_sub(now.uptime))).into()),
        ("starts", record.map(|record| record.starts).into()),
        ("status_text", text.cloned().into()),
        ("supervise_pid", supervise.into()),
        ("deaths", record.map(|record| record.deaths.iter().map(death).collect::<Value>()).into()),
    ]
}

fn death(death: &Death) -> Value {
    let (exit, code, signal, errno) = match death.exit {
        Exit::Code(code) => ("exit", Some(code), None, None),
        Exit::Signal(signal) | Exit::Core(signal) => ("signal", None, Some(signal), None),
        Exit::Unstarted(errno) => ("unstarted", None, None, Some(errno)),
        Exit::Unknown => ("unknown", None, None, None),
    };
    object([
        ("started", time(death.started)),
        ("ended", time(death.ended)),
        ("exit", exit.into()),
        ("code", code.into()),
        ("signal", signal.into()),
        ("core", matches!(death.exit, Exit::Core(_)).into()),
        ("errno", errno.into()),
        ("text", death.exit.words().into()),
    ])
}

/// Seconds since 1970; before that there was nothing.
fn time(label: Tai64N) -> Value {
    since_1970(label).map_or(Value::Null, |time| decimal(&format!("{}.{:09}", time.as_secs(), time.subsec_nanos())))
}

fn length(length: Duration) -> Value {
    decimal(&format!("{}.{:03}", length.as_secs(), length.subsec_millis()))
}

/// As a float it would not have all these digits.
fn decimal(digits: &str) -> Value {
    digits.parse().map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service::{Phase, Process, Status, Want};
    use daemontools::tai64::Tai64;

    fn at(second: i64) -> Moment {
        let uptime = Duration::from_secs(u64::try_from(second).unwrap());
        Moment { uptime, label: Tai64N(Tai64::from_unix(second), 500) }
    }

    fn seen() -> Snapshot {
        let pid = Pid::from_raw(7);
        let record = Record {
            since: at(100),
            want: Want::Up,
            phase: Phase::Running,
            process: Some((Role::Run, Process { pid, ticks: 1, serial: 0 })),
            supervise: Process { pid: Pid::from_raw(5), ticks: 1, serial: 0 },
            ready: Some(at(130)),
            starts: 2,
            status_text: "at \"ease\"".into(),
            deaths: vec![Death { started: at(1).label, ended: at(2).label, exit: Exit::Core(11) }],
            ..Record::blank()
        };
        Snapshot::of(Status::actual(&record), None, Some(record))
    }

    fn text(value: Value) -> String {
        value.to_string()
    }

    #[test]
    fn all_that_is_known() {
        let expected = r#"{"service":"web","service_bytes":null,"error":null,"up":true,"pid":7,"since":100.000000500,"#
            .to_string()
            + r#""seconds":60,"want":"up","paused":false,"phase":"running","failure":null,"program":"run","ready":true,"#
            + r#""ready_since":130.000000500,"ready_seconds":30.000,"kill_at":null,"kill_at_seconds":null,"next_start":null,"next_start_seconds":null,"#
            + r#""starts":2,"status_text":"at \"ease\"","supervise_pid":5,"deaths":[{"started":1.000000500,"#
            + r#""ended":2.000000500,"exit":"signal","code":null,"signal":11,"core":true,"errno":null,"#
            + r#""text":"killed by SIGSEGV (core dumped)"}],"normally":"up","log":null}"#;
        assert_eq!(text(of(OsStr::new("web"), &seen(), Normally::Up, at(160))), expected);
    }

    #[test]
    fn without_a_state_it_is_null() {
        let bare = Snapshot { record: None, ..seen() };
        let document = text(of(OsStr::new("web"), &bare, Normally::Down, at(160)));
        for part in [r#""program":null"#, r#""ready":null"#, r#""starts":null"#, r#""deaths":null"#, r#""seconds":60"#]
        {
            assert!(document.contains(part), "{part}: {document}");
        }
    }

    #[test]
    fn keys_are_the_same_where_nothing_can_be_said() {
        let keys = |document: Value| -> Vec<String> {
            let document = text(document);
            document.split("\":").filter_map(|part| part.rsplit('"').next().map(str::to_string)).collect()
        };
        let alive = Snapshot { record: seen().record.map(|record| Record { deaths: vec![], ..record }), ..seen() };
        let known = keys(of(OsStr::new("a"), &alive, Normally::Up, at(160)));
        let unknown = keys(without_answer(OsStr::new("a"), "no"));
        assert_eq!(known[..known.len() - 1], unknown[..unknown.len() - 1]);
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_told_by_its_bytes() {
        let document = text(without_answer(OsStr::from_bytes(b"\xffa"), "no"));
        assert!(document.starts_with("{\"service\":\"\u{fffd}a\",\"service_bytes\":[255,97],\"error\":\"no\""));
    }
}
