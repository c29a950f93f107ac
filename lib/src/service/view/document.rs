//! The JSON form: one document for each service, always with the same keys. A value that is not known is `null`.
//!
//! | key | value |
//! |---|---|
//! | `service` | the name as given; bytes that are not UTF-8 are U+FFFD |
//! | `service_bytes` | all bytes of the name as numbers, if it is not UTF-8; else `null` |
//! | `error` | why nothing can be said, and then all that follows is `null` |
//! | `up` `pid` `since` `seconds` | whether it has a process, or is a state that is up; the process; since when and for how long |
//! | `normally` | `up`, or `down` if there is a file `down` |
//! | `want` | `up` `down` `once` |
//! | `paused` `phase` | as in `supervise/status`: `stopped` `starting` `started` `running` `stopping` `failed` |
//! | `failure` | why it gave up, in words |
//! | `state` `reason` | its state in one word, and why, in words for people: see [`State`](super::State) |
//! | `program` | which of its programs runs: `start` `pre-start` `run` `finish` `stop` |
//! | `beside` `beside_pid` | which runs beside `run`, or has outlived it: `post-start` `pre-stop` `reload`; its process |
//! | `held` | the transition that another program holds back: `starting` `stopping` |
//! | `search` | what is looked for of a `run` that has gone into the background: `start`, the service's process; `successor`, the one that took its place; `end`, all that are left, which are told to end |
//! | `ready` `ready_since` `ready_seconds` | whether it is ready, since when and for how long |
//! | `kill_at` `kill_at_seconds` | when it is killed if it has not ended, and in how many seconds |
//! | `next_start` `next_start_seconds` | when `run` is started next, and in how many seconds |
//! | `starts` | how often `run` was started |
//! | `change` | the number of this change of `supervise/state`; each one has the next |
//! | `ends` | how often `run` has ended: `well` (code 0) `failed` (another) `killed` (by a signal) `told` `late` (a deadline) `unstarted` `unseen` |
//! | `status_text` | what it last said of itself |
//! | `supervise_pid` | its supervise |
//! | `deaths` | the last ends of `run`, oldest first: `started` `ended` `exit` `code` `signal` `core` `errno` `text`, and `told`, whether it was told to end |
//! | `log` | the same from `up` on, of a logger that the same supervise runs |
//!
//! Times are seconds since 1970 with a fraction. Durations are measured by the monotonic clock where there is a
//! `supervise/state`. `exit` is `exit`, `signal`, `unstarted` or `unknown`.

use super::View;
use super::transition::{Condition, Transition};
use crate::service::{Death, Exit, Held, Record, Role};
use crate::tai64::{Tai64N, since_1970};
use nix::unistd::Pid;
use serde::Serialize;
use serde_json::Number;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The document of one service. Its members are the JSON keys, in this order.
#[derive(Debug, Default, Serialize)]
struct Document<'a> {
    service: String,
    service_bytes: Option<&'a [u8]>,
    error: Option<&'a str>,
    #[serde(flatten)]
    known: Members<'a>,
    normally: Option<&'static str>,
    log: Option<Members<'a>>,
}

/// What is known of a service or a logger. Every member is `None` where nothing is known.
#[derive(Debug, Default, Serialize)]
struct Members<'a> {
    up: Option<bool>,
    pid: Option<i32>,
    since: Option<Number>,
    seconds: Option<u64>,
    want: Option<&'static str>,
    paused: Option<bool>,
    phase: Option<&'static str>,
    failure: Option<String>,
    state: Option<&'static str>,
    reason: Option<String>,
    program: Option<&'static str>,
    beside: Option<&'static str>,
    beside_pid: Option<i32>,
    held: Option<&'static str>,
    search: Option<&'static str>,
    ready: Option<bool>,
    ready_since: Option<Number>,
    ready_seconds: Option<Number>,
    kill_at: Option<Number>,
    kill_at_seconds: Option<Number>,
    next_start: Option<Number>,
    next_start_seconds: Option<Number>,
    starts: Option<u64>,
    change: Option<u64>,
    ends: Option<BTreeMap<&'static str, u64>>,
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
    told: bool,
}

/// The document of one change. Its members are the JSON keys, in this order.
#[derive(Debug, Serialize)]
struct Change<'a> {
    time: Option<Number>,
    service: String,
    service_bytes: Option<&'a [u8]>,
    state: &'a str,
    before: Option<&'a str>,
    pid: Option<i32>,
    reason: Option<&'a str>,
    ready: Option<bool>,
    starts: Option<u64>,
    end: Option<End>,
    forgotten: u64,
}

/// Everything that is known of a service, as one line of JSON.
pub fn of(service: &OsStr, view: &View) -> String {
    let logger = view.logger();
    text(&Document {
        known: known(view),
        normally: Some(view.normally.word()),
        log: logger.as_ref().map(known),
        ..named(service)
    })
}

/// The document of a service of which nothing is known, with the reason, as one line of JSON.
pub fn without_answer(service: &OsStr, why: &str) -> String {
    text(&Document { error: Some(why), ..named(service) })
}

/// One change of a service as one line of JSON. `before` is the state before it.
///
/// | key | value |
/// |---|---|
/// | `time` | when it happened |
/// | `service` `service_bytes` | as above |
/// | `state` `before` | the state since then, and the one before |
/// | `pid` `reason` `ready` `starts` | as above, since then |
/// | `end` | the end of `run` that this change is, as in `deaths` |
/// | `forgotten` | how many starts before it are not told, because supervise has forgotten their ends |
pub fn of_transition(service: &OsStr, before: Option<Condition>, told: &Transition) -> String {
    let (service, service_bytes) = in_utf8(service);
    text(&Change {
        time: time(told.time),
        service,
        service_bytes,
        state: told.condition.word(),
        before: before.map(Condition::word),
        pid: told.pid.map(Pid::as_raw),
        reason: told.reason.as_deref(),
        ready: told.ready,
        starts: told.starts,
        end: told.end.as_ref().map(|(death, words)| end(death, words.clone())),
        forgotten: told.forgotten,
    })
}

fn named(service: &OsStr) -> Document<'_> {
    let (service, service_bytes) = in_utf8(service);
    Document { service, service_bytes, ..Document::default() }
}

/// The name of a service as text, and its bytes if they are no text.
fn in_utf8(service: &OsStr) -> (String, Option<&[u8]>) {
    let bytes = service.as_bytes();
    (String::from_utf8_lossy(bytes).into_owned(), std::str::from_utf8(bytes).is_err().then_some(bytes))
}

/// Every value in a document has a form in JSON, so this cannot fail.
fn text(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_default()
}

fn known(view: &View) -> Members<'_> {
    let (status, record) = (&view.seen.status, view.record());
    let role = record.and_then(|record| record.process).map(|(role, _)| role);
    let beside = record.and_then(|record| record.beside);
    let ready = record.and_then(|record| record.ready);
    let kill = record.and_then(|record| record.kill_at);
    let next = record.and_then(|record| record.next_start);
    Members {
        up: Some(status.pid.is_some() || status.is_active()),
        pid: status.pid.map(Pid::as_raw),
        since: time(status.since),
        seconds: Some(view.seconds()),
        want: Some(status.want.word()),
        paused: Some(status.paused),
        phase: Some(status.phase.word()),
        failure: record.and_then(Record::failure_words),
        state: Some(view.state().word()),
        reason: view.reason(),
        program: role.map(Role::program),
        beside: beside.map(|(beside, _)| beside.program()),
        beside_pid: beside.map(|(_, process)| process.pid.as_raw()),
        held: record.and_then(|record| record.held).map(Held::word),
        search: record.and_then(|record| record.search).map(|search| search.purpose.word()),
        ready: record.map(|record| (role == Some(Role::Run) || record.active) && ready.is_some()),
        ready_since: ready.and_then(|ready| time(ready.label)),
        ready_seconds: ready.and_then(|ready| length(view.since(ready))),
        kill_at: kill.and_then(|kill| time(kill.label)),
        kill_at_seconds: kill.and_then(|kill| length(view.until(kill))),
        next_start: next.and_then(|next| time(next.label)),
        next_start_seconds: next.and_then(|next| length(view.until(next))),
        starts: record.map(|record| record.starts),
        change: record.map(|record| record.change).filter(|change| *change > 0),
        ends: record.map(|record| record.ends.all().map(|(reason, times)| (reason.word(), times)).collect()),
        status_text: record.map(|record| record.status_text.as_str()).filter(|text| !text.is_empty()),
        supervise_pid: record.map(|record| record.supervise.pid.as_raw()).filter(|pid| *pid != 0),
        deaths: record.map(|record| record.deaths.iter().map(|death| end(death, record.words_of(death))).collect()),
    }
}

fn end(death: &Death, text: String) -> End {
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
        text,
        told: death.is_told,
    }
}

/// Seconds since 1970, or `None` for a label of an earlier time.
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
    use crate::service::view::State;
    use crate::service::{EndReason, Ends, Phase, Process, Snapshot, Status, Want};
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
            change: 8,
            ends: {
                let mut ends = Ends::default();
                ends.count(EndReason::Killed);
                ends
            },
            status_text: "at \"ease\"".into(),
            deaths: vec![Death {
                started: at(1).label,
                ended: at(2).label,
                exit: Exit::Core(11),
                counts: true,
                is_told: false,
            }],
            ..Record::blank()
        };
        Snapshot::of(Status::actual(&record), None, Some(record))
    }

    fn view(seen: Snapshot, normally: Normally) -> View {
        View { seen, normally, diagnosis: None, now: at(160), alive: None }
    }

    #[test]
    fn all_that_is_known() {
        let expected = r#"{"service":"web","service_bytes":null,"error":null,"up":true,"pid":7,"since":100.000000500,"#
            .to_string()
            + r#""seconds":60,"want":"up","paused":false,"phase":"running","failure":null,"#
            + r#""state":"up","reason":"killed by SIGSEGV (core dumped), 2m ago","program":"run","beside":null,"#
            + r#""beside_pid":null,"held":null,"search":null,"ready":true,"#
            + r#""ready_since":130.000000500,"ready_seconds":30.000,"kill_at":null,"kill_at_seconds":null,"next_start":null,"next_start_seconds":null,"#
            + r#""starts":2,"change":8,"ends":{"failed":0,"killed":1,"late":0,"told":0,"unseen":0,"unstarted":0,"well":0},"status_text":"at \"ease\"","supervise_pid":5,"deaths":[{"started":1.000000500,"#
            + r#""ended":2.000000500,"exit":"signal","code":null,"signal":11,"core":true,"errno":null,"#
            + r#""text":"killed by SIGSEGV (core dumped)","told":false}],"normally":"up","log":null}"#;
        assert_eq!(of(OsStr::new("web"), &view(seen(), Normally::Up)), expected);
    }

    #[test]
    fn each_end_says_whether_it_was_told() {
        let end_of = |is_told| {
            let mut seen = seen();
            let deaths = &mut seen.record.as_mut().unwrap().deaths;
            deaths.iter_mut().for_each(|death| death.is_told = is_told);
            of(OsStr::new("web"), &view(seen, Normally::Up))
        };
        assert!(end_of(false).contains(r#""told":false}]"#));
        assert!(end_of(true).contains(r#""told":true}]"#));
    }

    #[test]
    fn a_change_has_its_end() {
        let death =
            Death { started: at(1).label, ended: at(2).label, exit: Exit::Code(3), counts: true, is_told: false };
        let told = Transition {
            end: Some((death, "exited 3".into())),
            ..Transition::bare(at(2).label, Condition::Told(State::Restarting), Some("why".into()))
        };
        let expected = r#"{"time":2.000000500,"service":"web","service_bytes":null,"state":"restarting","before":"up","#
            .to_string()
            + r#""pid":null,"reason":"why","ready":null,"starts":null,"end":{"started":1.000000500,"ended":2.000000500,"#
            + r#""exit":"exit","code":3,"signal":null,"core":false,"errno":null,"text":"exited 3","told":false},"forgotten":0}"#;
        assert_eq!(of_transition(OsStr::new("web"), Some(Condition::Told(State::Up)), &told), expected);
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
            let is_reason = |key: &&str| EndReason::ALL.iter().any(|reason| reason.word() == *key);
            let keys = document.split("\":").filter_map(|part| part.rsplit('"').next());
            keys.filter(|key| !is_reason(key)).map(str::to_string).collect()
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
