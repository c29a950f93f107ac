//! The JSON form: one document a service, always with the same keys; `null` is what is not known.
//!
//! | key | value |
//! |---|---|
//! | `service` | the name as given; bytes that are not UTF-8 are U+FFFD |
//! | `service_bytes` | all bytes of the name as numbers, if it is not UTF-8; else `null` |
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
//! Times are seconds since 1970 with a fraction; lengths are seconds by the clock that is never set, where
//! there is a `supervise/state`. `exit` is `exit`, `signal`, `unstarted` or `unknown`.

use super::View;
use crate::service::{Death, Exit, Record, Role};
use crate::tai64::{Tai64N, since_1970};
use nix::unistd::Pid;
use serde::Serialize;
use serde_json::Number;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The document of a service. Its members are the keys, in this order.
#[derive(Debug, Default, Serialize)]
struct Document<'a> {
    service: String,
    service_bytes: Option<&'a [u8]>,
    error: Option<&'a str>,
    #[serde(flatten)]
    known: Known<'a>,
    normally: Option<&'static str>,
    log: Option<Known<'a>>,
}

/// What is known of a service or a logger; all of it is `None` where nothing can be said.
#[derive(Debug, Default, Serialize)]
struct Known<'a> {
    up: Option<bool>,
    pid: Option<i32>,
    since: Option<Number>,
    seconds: Option<u64>,
    want: Option<&'static str>,
    paused: Option<bool>,
    phase: Option<&'static str>,
    failure: Option<String>,
    program: Option<&'static str>,
    ready: Option<bool>,
    ready_since: Option<Number>,
    ready_seconds: Option<Number>,
    kill_at: Option<Number>,
    kill_at_seconds: Option<Number>,
    next_start: Option<Number>,
    next_start_seconds: Option<Number>,
    starts: Option<u64>,
    status_text: Option<&'a str>,
    supervise_pid: Option<i32>,
    deaths: Option<Vec<End>>,
}

/// One end of `run`.
#[derive(Debug, Serialize)]
struct End {
    started: Option<Number>,
    ended: Option<Number>,
    exit: &'static str,
    code: Option<i32>,
    signal: Option<i32>,
    core: bool,
    errno: Option<i32>,
    text: String,
}

/// All that is known of a service, as one line.
pub fn of(service: &OsStr, view: &View) -> String {
    let logger = view.logger();
    text(&Document {
        known: known(view),
        normally: Some(view.normally.word()),
        log: logger.as_ref().map(known),
        ..named(service)
    })
}

/// That nothing is known, and why, as one line.
pub fn without_answer(service: &OsStr, why: &str) -> String {
    text(&Document { error: Some(why), ..named(service) })
}

fn named(service: &OsStr) -> Document<'_> {
    let bytes = service.as_bytes();
    let raw = std::str::from_utf8(bytes).is_err().then_some(bytes);
    Document { service: String::from_utf8_lossy(bytes).into_owned(), service_bytes: raw, ..Document::default() }
}

/// A document has nothing in it that JSON lacks, so that this cannot fail.
fn text(document: &Document) -> String {
    serde_json::to_string(document).unwrap_or_default()
}

fn known(view: &View) -> Known<'_> {
    let (status, record) = (&view.seen.status, view.record());
    let role = record.and_then(|record| record.process).map(|(role, _)| role);
    let ready = record.and_then(|record| record.ready);
    let kill = record.and_then(|record| record.kill_at);
    let next = record.and_then(|record| record.next_start);
    Known {
        up: Some(status.pid.is_some()),
        pid: status.pid.map(Pid::as_raw),
        since: time(status.since),
        seconds: Some(view.seconds()),
        want: Some(status.want.word()),
        paused: Some(status.paused),
        phase: Some(status.phase.word()),
        failure: record.and_then(Record::failure_words),
        program: role.map(Role::program),
        ready: record.map(|_| role == Some(Role::Run) && ready.is_some()),
        ready_since: ready.and_then(|ready| time(ready.label)),
        ready_seconds: ready.and_then(|ready| length(view.since(ready))),
        kill_at: kill.and_then(|kill| time(kill.label)),
        kill_at_seconds: kill.and_then(|kill| length(view.until(kill))),
        next_start: next.and_then(|next| time(next.label)),
        next_start_seconds: next.and_then(|next| length(view.until(next))),
        starts: record.map(|record| record.starts),
        status_text: record.map(|record| record.status_text.as_str()).filter(|text| !text.is_empty()),
        supervise_pid: record.map(|record| record.supervise.pid.as_raw()).filter(|pid| *pid != 0),
        deaths: record.map(|record| record.deaths.iter().map(end).collect()),
    }
}

fn end(death: &Death) -> End {
    let (exit, code, signal, errno) = match death.exit {
        Exit::Code(code) => ("exit", Some(code), None, None),
        Exit::Signal(signal) | Exit::Core(signal) => ("signal", None, Some(signal), None),
        Exit::Unstarted(errno) => ("unstarted", None, None, Some(errno)),
        Exit::Unknown => ("unknown", None, None, None),
    };
    End {
        started: time(death.started),
        ended: time(death.ended),
        exit,
        code,
        signal,
        core: matches!(death.exit, Exit::Core(_)),
        errno,
        text: death.exit.words(),
    }
}

/// Seconds since 1970; labels of earlier times have none.
fn time(label: Tai64N) -> Option<Number> {
    since_1970(label).and_then(|time| decimal(&format!("{}.{:09}", time.as_secs(), time.subsec_nanos())))
}

fn length(length: Duration) -> Option<Number> {
    decimal(&format!("{}.{:03}", length.as_secs(), length.subsec_millis()))
}

/// A float would not keep all these digits.
fn decimal(digits: &str) -> Option<Number> {
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::view::Normally;
    use crate::service::{Phase, Process, Snapshot, Status, Want};
    use crate::tai64::{Moment, Tai64};

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
            deaths: vec![Death { started: at(1).label, ended: at(2).label, exit: Exit::Core(11), counts: true }],
            ..Record::blank()
        };
        Snapshot::of(Status::actual(&record), None, Some(record))
    }

    fn view(seen: Snapshot, normally: Normally) -> View {
        View { seen, normally, lack: None, now: at(160) }
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
        assert_eq!(of(OsStr::new("web"), &view(seen(), Normally::Up)), expected);
    }

    #[test]
    fn without_a_state_it_is_null() {
        let bare = Snapshot { record: None, ..seen() };
        let document = of(OsStr::new("web"), &view(bare, Normally::Down));
        for part in [r#""program":null"#, r#""ready":null"#, r#""starts":null"#, r#""deaths":null"#, r#""seconds":60"#]
        {
            assert!(document.contains(part), "{part}: {document}");
        }
    }

    #[test]
    fn keys_are_the_same_where_nothing_can_be_said() {
        let keys = |document: &str| -> Vec<String> {
            document.split("\":").filter_map(|part| part.rsplit('"').next().map(str::to_string)).collect()
        };
        let alive = Snapshot { record: seen().record.map(|record| Record { deaths: vec![], ..record }), ..seen() };
        let known = keys(&of(OsStr::new("a"), &view(alive, Normally::Up)));
        let unknown = keys(&without_answer(OsStr::new("a"), "no"));
        assert_eq!(known[..known.len() - 1], unknown[..unknown.len() - 1]);
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_told_by_its_bytes() {
        let document = without_answer(OsStr::from_bytes(b"\xffa"), "no");
        assert!(document.starts_with("{\"service\":\"\u{fffd}a\",\"service_bytes\":[255,97],\"error\":\"no\""));
    }
}
