//! A line for each change of a service, as it happens.
//!
//! 1. First there is one line about how each service is.
//! 2. Then svctl sleeps until the kernel tells that something has changed: in `supervise/` of a service, or a name of which
//!    [`names`](crate::names) tells. Services and loggers that appear and disappear are told too.
//! 3. It ends with a signal, or when the reader of its output is gone.
//!
//! The lines of one look are in the order of time. [`transition`] finds also what has begun and ended between two looks.
//! A logger is a service of its own, `web/log`.

use crate::Context;
use crate::answer::Answer;
use crate::list::logger_of;
use crate::paint::{Mark, Paint};
use crate::services::Service;
use crate::text::shown;
use crate::watch::{Change, Watch};
use daemontools::service::view::transition::{self, Condition, Transition};
use daemontools::service::view::{View, document, local_time};
use daemontools::tai64::{self, Tai64N};
use daemontools::terminal::visible_json;
use daemontools::{Attempt, Fatal, sys};
use nix::errno::Errno;
use nix::poll::PollFlags;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Tells what happens to the services until a signal ends svctl, or its output has no reader.
///
/// # Errors
/// A word means no service; the scan directory cannot be read; the output cannot be written.
pub fn events(context: &Context, names: &[OsString]) -> Result<i32, Fatal> {
    let form = if context.shape.json { Form::Json } else { Form::Line(context.paint) };
    context.services.choose_existing(names)?;
    let mut watch = Watch::new(&context.services, names)?;
    let mut histories: BTreeMap<OsString, Histories> = BTreeMap::new();
    loop {
        let mut told = Vec::new();
        for change in watch.changes()? {
            match change {
                Change::Gone(service) => {
                    told.extend(histories.remove(&service.name).into_iter().flat_map(Histories::end));
                }
                Change::Seen(service, answer) => {
                    let histories = histories.entry(service.name.clone()).or_insert_with(|| Histories::new(&service));
                    told.extend(histories.observe(answer));
                }
            }
        }
        told.sort_by_key(|told| (told.change.time.0.0, told.change.time.1));
        let text: String = told.iter().map(|told| form.of(told)).collect();
        match sys::write_all(sys::stdout(), text.as_bytes()) {
            Err(Errno::EPIPE) => return Ok(0),
            written => written.unable_to("write output", "")?,
        }
        // A pipe without readers has an error; a socket whose other end is closed has hung up.
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        let ready = watch.wait_beside(None, &[(sys::stdout(), PollFlags::empty())])?;
        if ready.iter().any(|stdout| stdout.intersects(gone)) {
            return Ok(0);
        }
    }
}

/// A change that is to be told: the service, the state before, and the change.
struct Told {
    name: OsString,
    before: Option<Condition>,
    change: Transition,
}

/// What is known of a service and of its logger since the last look.
struct Histories {
    own: History,
    /// The logger that the same supervise runs.
    logger: History,
}

impl Histories {
    fn new(service: &Service) -> Histories {
        Histories { own: History::new(service.name.clone()), logger: History::new(logger_of(service).name) }
    }

    fn observe(&mut self, answer: Answer) -> Vec<Told> {
        let mut told: Vec<Told> = answer.logger().into_iter().flat_map(|logger| self.logger.observe(logger)).collect();
        told.extend(self.own.observe(answer));
        told
    }

    fn end(mut self) -> Vec<Told> {
        self.own.end().into_iter().chain(self.logger.end()).collect()
    }
}

/// What is known of a service since the last look.
struct History {
    name: OsString,
    condition: Option<Condition>,
    /// The last look that a supervise has answered.
    seen: Option<View>,
}

impl History {
    fn new(name: OsString) -> History {
        History { name, condition: None, seen: None }
    }

    /// Takes in what is seen now, and tells what is new.
    fn observe(&mut self, answer: Answer) -> Vec<Told> {
        let condition = answer.condition();
        let changes = match answer {
            Answer::Told(view) => {
                let mut changes = transition::since(self.seen.as_ref(), &view);
                // A supervise is there again, and all is as before.
                if changes.is_empty() && self.condition != Some(condition) {
                    changes.extend(transition::since(None, &view));
                    changes.iter_mut().for_each(|change| change.time = view.now.label);
                }
                self.seen = Some(*view);
                changes
            }
            Answer::Unsupervised(why) | Answer::Unknown(why) if self.condition != Some(condition) => {
                vec![Transition::bare(tai64::now(), condition, Some(why))]
            }
            Answer::Unsupervised(_) | Answer::Unknown(_) => Vec::new(),
        };
        changes.into_iter().map(|change| self.told(change)).collect()
    }

    fn told(&mut self, change: Transition) -> Told {
        Told { name: self.name.clone(), before: self.condition.replace(change.condition), change }
    }

    fn end(&mut self) -> Option<Told> {
        self.condition.is_some().then(|| self.told(Transition::bare(tai64::now(), Condition::Removed, None)))
    }
}

/// How a change is written.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Line(Paint),
}

impl Form {
    fn of(self, told: &Told) -> String {
        match self {
            Form::Json => {
                let document = document::of_transition(&told.name, told.before, &told.change);
                format!("{}\n", visible_json(&document))
            }
            Form::Line(paint) => line(&told.name, &told.change, paint),
        }
    }
}

/// `2026-11-28 21:00:32.123 ↻ crash restarting: exited 3, again in 0.8s`
fn line(name: &OsStr, change: &Transition, paint: Paint) -> String {
    let mark = Mark::of(change.condition);
    let pid = change.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let reason = change.reason.as_ref().map(|reason| format!(": {}", shown(reason.as_bytes()))).unwrap_or_default();
    let forgotten = match change.forgotten {
        0 => String::new(),
        count => format!(" ({count} starts before that are forgotten)"),
    };
    let symbol = paint.in_color_of(mark, paint.symbol(mark));
    let (time, name, state) =
        (local(change.time), shown(name.as_bytes()), paint.in_color_of(mark, change.condition.word()));
    let ready = if change.ready == Some(false) { ", not ready" } else { "" };
    format!("{time} {symbol} {name} {state}{ready}{pid}{reason}{forgotten}\n")
}

/// Local time, to the millisecond.
fn local(label: Tai64N) -> String {
    format!("{}.{:03}", local_time(label), label.1.min(999_999_999) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service::view::State;
    use daemontools::tai64::Tai64;
    use nix::unistd::Pid;

    #[test]
    fn a_line_has_time_name_state_process_and_reason() {
        let paint = Paint { is_unicode: false, is_colored: false };
        let time = Tai64N(Tai64::from_unix(1_000_000_000), 123_456_789);
        let up = Transition {
            pid: Some(Pid::from_raw(7)),
            ready: Some(false),
            ..Transition::bare(time, Condition::Told(State::Up), None)
        };
        let ended = Transition {
            forgotten: 3,
            ..Transition::bare(time, Condition::Told(State::Restarting), Some("exited 3\x1b".into()))
        };
        for (change, expected) in [
            (up, ".123 * web up, not ready (pid 7)\n"),
            (ended, ".123 ~ web restarting: exited 3\\x1b (3 starts before that are forgotten)\n"),
            (Transition::bare(time, Condition::Removed, None), ".123 - web removed\n"),
        ] {
            let line = line(OsStr::new("web"), &change, paint);
            assert!(line.ends_with(expected) && line.starts_with("2001-09-0"), "{line}");
        }
    }
}
