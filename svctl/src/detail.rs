//! Everything about a service on half a screen: how it is and why, how it ended, what it said, what to type next.

use crate::access::closed_to;
use crate::advice::{advice, logger_advice};
use crate::after::is_entry;
use crate::answer::Answer;
use crate::arguments::Right;
use crate::check::doubtful_settings;
use crate::code::{NOT_UP, UNKNOWN};
use crate::list::logger_of;
use crate::log::{last_words, silent_log};
use crate::logger::{Fault, faults, trouble};
use crate::services::{Reach, Service};
use crate::text::{quoted, shown};
use crate::{Context, memory, unsupervised, write};
use daemontools::duration::brief;
use daemontools::report::Whose;
use daemontools::service::view::{View, local_time};
use daemontools::service::{Death, Ends, LOG, Record};
use daemontools::tai64::between;
use daemontools::{Fatal, report};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// How many of its last lines are shown.
const LINES: u32 = 5;
/// How many of its last ends are shown.
const ENDS: usize = 3;

/// Shows all about the services that are meant.
///
/// # Errors
/// The directory cannot be read, or the answer cannot be written.
pub fn status(context: &Context, names: &[OsString], right: Right) -> Result<i32, Fatal> {
    let (chosen, missing) = context.services.choose(names)?;
    missing.iter().for_each(|words| report::warning(&[words]));
    let all: Vec<Answer> = chosen.iter().map(Answer::of).collect();
    for (service, answer) in chosen.iter().zip(&all) {
        let answer = if context.shape.json { answer.document(service) } else { detail(context, service, answer) };
        write(answer.as_bytes())?;
    }
    let is_unknown = |answer: &Answer| answer.view().is_none();
    let is_right = |answer: &Answer| match right {
        Right::Up => answer.is_up(),
        Right::Wanted => answer.is_as_wanted(),
    };
    Ok(match () {
        () if !missing.is_empty() || all.iter().any(is_unknown) => UNKNOWN,
        () if all.iter().all(is_right) => 0,
        () => NOT_UP,
    })
}

/// Everything about a service, in lines.
pub fn detail(context: &Context, service: &Service, answer: &Answer) -> String {
    let answer = &unsupervised::explained(&context.services, service, answer.clone());
    let paint = context.paint;
    let name = shown(service.name.as_bytes());
    let mark = answer.mark();
    let dash = if paint.is_unicode { "—" } else { "-" };
    let reason = answer.reason().map(|reason| format!(": {}", shown(reason.as_bytes()))).unwrap_or_default();
    let mut text = format!(
        "{} {name} {dash} {}{reason}\n",
        paint.in_color_of(mark, paint.symbol(mark)),
        paint.in_color_of(mark, answer.word())
    );
    let mut line = |name: &str, words: &str| text.push_str(&format!("  {name:<11} {words}\n"));
    for (name, words) in answer.view().map(|view| facts(service, view)).unwrap_or_default() {
        line(name, &words);
    }
    if matches!(answer, Answer::Unsupervised(_)) && service.reach == Reach::Answers {
        line("cause", &unsupervised::why(&context.services, service));
    } else if is_entry(&context.services, service)
        && let Some(words) = unsupervised::no_svscan_though_meant(&context.services)
    {
        // It runs on, and is not started again when its supervise ends.
        line("svscan", &words);
    }
    if let Some(Whose { owner, own, .. }) = closed_to(service, answer) {
        line("cause", &format!("it belongs to {owner}, and this is {own}: run it as {owner}"));
    }
    if let Ok(target) = std::fs::read_link(&service.path) {
        line("link to", &shown(target.as_os_str().as_bytes()));
    }
    let mut logger = None;
    // What lies in a directory that does not answer must not be touched.
    if service.reach == Reach::Answers {
        let doubtful = doubtful_settings(service);
        if !doubtful.is_empty() {
            let check = format!("{} {}", context.services.command("check"), quoted(&name));
            line("settings", &format!("ignored or doubtful: {}: {check} says more", doubtful.join(", ")));
        }
        if service.path.join(LOG).exists() {
            let answer = answer.logger().unwrap_or_else(|| Answer::of(&logger_of(service)));
            line("logger", &words_of_logger(&answer));
            if answer.is_up() {
                // Its lines are lost without a message that svlog could show.
                let trouble = trouble(service);
                let faults = if trouble.is_some() { faults(service) } else { Vec::new() };
                trouble.into_iter().for_each(|words| line(LOG, &words));
                faults.iter().for_each(|fault| line("", &fault_words(fault)));
            }
            logger = Some(answer);
        }
        // svlog would say so too, but with a patience of its own for each service.
        match silent_log(service) {
            Some(words) => text.push_str(&format!("  {LOG:<11} {words}\n")),
            None => {
                let words = last_words(service, LINES);
                words.iter().for_each(|words| text.push_str(&format!("    {}\n", paint.dimmed(words))));
            }
        }
    }
    let next = [advice(&context.services, service, answer), logger_advice(&context.services, service, logger.as_ref())];
    let next: Vec<String> = next.into_iter().flatten().collect();
    if !next.is_empty() {
        let next = next.join("; ");
        text.push_str(&format!("  {:<11} {next}\n", "try"));
    }
    text
}

/// What its supervise tells, line by line.
fn facts(service: &Service, view: &View) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let status = &view.seen.status;
    if let Some(pid) = status.pid {
        let memory = memory::of_service(&service.path, view)
            .map(|bytes| format!(", {}", memory::in_words(bytes)))
            .unwrap_or_default();
        let program = view
            .other_program()
            .filter(|_| !view.runs_run())
            .map(|program| format!(" ({program})"))
            .unwrap_or_default();
        facts.push(("process", format!("{pid}{program}, for {}{memory}", brief(view.lasting()))));
    }
    let ready = match view.ready() {
        Some(true) => ", ready",
        Some(false) => ", not ready yet",
        None => "",
    };
    let wanted = status.want.words();
    facts.push(("wanted", format!("{wanted}, normally {}{ready}", view.normally.word())));
    let Some(record) = &view.seen.record else { return facts };
    if !record.status_text.is_empty() {
        facts.push(("says", shown(record.status_text.as_bytes())));
    }
    let starts = if record.starts == 1 { "1 start".into() } else { format!("{} starts", record.starts) };
    let pattern = view.pattern().map(|pattern| format!("; {pattern}")).unwrap_or_default();
    let ends = if record.ends.is_empty() { String::new() } else { format!("; ended: {}", ended(&record.ends)) };
    facts.push(("starts", format!("{starts}{ends}{pattern}")));
    let names = ["last end"].into_iter().chain(std::iter::repeat("before it"));
    facts.extend(names.zip(record.deaths.iter().rev().take(ENDS).map(|death| end(record, death))));
    if record.supervise.pid.as_raw() != 0 {
        facts.push(("supervise", record.supervise.pid.to_string()));
    }
    facts
}

/// `3 failed, 1 told`
fn ended(ends: &Ends) -> String {
    let occurred = ends.all().filter(|(_, times)| *times > 0);
    occurred.map(|(reason, times)| format!("{times} {}", reason.word())).collect::<Vec<_>>().join(", ")
}

/// `2026-11-28 21:00:32 exited 3 after 0.2s`
fn end(record: &Record, death: &Death) -> String {
    let words = shown(record.end_words(death).as_bytes());
    format!("{} {words} after {}", local_time(death.ended), brief(between(death.started, death.ended)))
}

/// How its logger is.
fn words_of_logger(answer: &Answer) -> String {
    let pid = answer.pid().map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let reason = answer.reason().filter(|_| !answer.is_up()).map(|reason| format!(": {}", shown(reason.as_bytes())));
    format!("{}{pid}{}", answer.word(), reason.unwrap_or_default())
}

/// `log/run: main: no such action, so it is ignored: correct it`
fn fault_words(fault: &Fault) -> String {
    let what = [fault.file.as_os_str().as_bytes(), b": ", &fault.what].concat();
    format!("{}: {}", shown(&what), shown(fault.cure.as_bytes()))
}
