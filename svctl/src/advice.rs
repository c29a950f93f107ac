//! What to type next, where something is wrong with a service.

use crate::answer::Answer;
use crate::check::cure_of_missing_run;
use crate::list::logger_of;
use crate::metrics::{LogUsage, NOT_EXECUTED, NOT_FOUND};
use crate::services::{Reach, Service, Services};
use crate::text::{quoted, shown};
use crate::unsupervised::STANDARD_ERROR;
use daemontools::interpreter::{self, obstacle};
use daemontools::logdir::locate::log_directory;
use daemontools::service::setting::{LONGEST, TIMEOUT_KILL, value};
use daemontools::service::view::{State, View};
use daemontools::service::{Exit, LOG, LOG_RUN, RUN, SOON, answers, read_file};
use nix::unistd::chdir;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest `run` that is searched, in bytes. No person writes a longer script by hand.
const LONGEST_SCRIPT: usize = 1 << 16;
/// The setting that says where a service writes that it is ready.
const NOTIFICATION_FD: &str = "notification-fd";
/// The setting that gives a service the socket of sd_notify(3).
const NOTIFY_SOCKET: &str = "notify-socket";
/// The program that succeeds when the service is ready.
const CHECK: &str = "check";
/// The setting that says how long a service may take to be ready.
const TIMEOUT_UP: &str = "timeout-up";

/// What to type next, all in one line.
pub fn advice(services: &Services, service: &Service, answer: &Answer) -> Option<String> {
    let svctl = |words: &str| command(services, service, words);
    let view = answer.view()?;
    let usual = match view.state() {
        State::Up | State::Starting | State::Waiting | State::Stopping => vec![],
        State::Paused => vec![svctl("kill --signal CONT")],
        State::Restarting => lines_of(services, service, view).into_iter().chain([svctl("stop")]).collect(),
        State::Failed => lines_of(services, service, view).into_iter().chain([svctl("start")]).collect(),
        State::Down => vec![svctl("start")],
    };
    let all: Vec<String> = hint(services, service, answer).into_iter().chain(usual).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// What to type next about the logger of a service, if it is not as it is wanted.
pub fn logger_advice(services: &Services, service: &Service, logger: Option<&Answer>) -> Option<String> {
    let logger = logger?;
    let file = if service.path.join(LOG).is_dir() { LOG_RUN } else { LOG };
    let state = logger.view().map(View::state)?;
    let is_wrong = matches!(state, State::Restarting | State::Failed);
    let more = || {
        let own = logger_of(service);
        own.path.is_dir().then(|| command(services, &own, "status"))
    };
    let all = [logger.view().and_then(|view| code_words(view, file)), more()];
    is_wrong.then(|| all.into_iter().flatten().collect::<Vec<_>>().join("; ")).filter(|words| !words.is_empty())
}

/// What a shell means by the code with which the program in this file has ended.
fn code_words(view: &View, file: &str) -> Option<String> {
    match view.seen.record.as_ref()?.deaths.last()?.exit {
        Exit::Code(NOT_EXECUTED) => {
            Some(format!("a command in {file} could not be executed (exit code 126 of a shell)"))
        }
        Exit::Code(NOT_FOUND) => Some(format!("a command in {file} was not found (exit code 127 of a shell)")),
        Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) | Exit::Unknown => None,
    }
}

/// How to see what a service has said before it ended. A program that could not be executed has said nothing.
fn lines_of(services: &Services, service: &Service, view: &View) -> Option<String> {
    match service.path.join(LOG).exists() {
        _ if is_unstarted(view) => None,
        true => Some(command(services, service, "log -n 50")),
        false => Some(format!("it has no logger, so its lines are among the messages of svscan ({STANDARD_ERROR})")),
    }
}

/// Whether its last program could not be executed.
fn is_unstarted(view: &View) -> bool {
    let last = view.seen.record.as_ref().and_then(|record| record.deaths.last());
    last.is_some_and(|death| matches!(death.exit, Exit::Unstarted(_)))
}

/// What is probably wrong, where that can be known, and what to do.
pub fn hint(services: &Services, service: &Service, answer: &Answer) -> Option<String> {
    let view = answer.view().filter(|_| service.reach == Reach::Answers)?;
    match view.state() {
        State::Stopping if view.seen.record.as_ref()?.kill_at.is_none() => {
            let kill = command(services, service, "kill");
            let path = quoted(&shown(service.path.join(TIMEOUT_KILL).as_os_str().as_bytes()));
            Some(format!("{kill} (ends it at once); echo 10s >{path} (supervise does so from the next start on)"))
        }
        State::Up if view.ready() == Some(false) => why_unready(service, view),
        State::Restarting | State::Failed => why_ended(service, view),
        State::Up | State::Starting | State::Down if has_died_just_now(view) => why_ended(service, view),
        State::Up | State::Paused | State::Starting | State::Waiting | State::Stopping | State::Down => None,
    }
}

/// A command of svctl about this service.
fn command(services: &Services, service: &Service, words: &str) -> String {
    format!("{} {}", services.command(words), quoted(&shown(service.name.as_bytes())))
}

fn has_died_just_now(view: &View) -> bool {
    view.lasting() < SOON && view.seen.last_exit().is_some()
}

/// What is wrong with `run`, or why its messages are not in the log.
fn why_ended(service: &Service, view: &View) -> Option<String> {
    if is_unstarted(view) {
        return cure_of_run(service, view);
    }
    let deaf = has_deaf_log(service).then(|| DEAF_LOG.to_string());
    let is_in_background = view.seen.record.as_ref().is_some_and(|record| record.in_background.is_some());
    let foreground = is_in_background.then(|| FOREGROUND.to_string());
    let all: Vec<String> = [foreground, code_words(view, RUN), deaf].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// What to do about a `run` that could not be executed. What a chain program of `run` could not do it says itself.
fn cure_of_run(service: &Service, view: &View) -> Option<String> {
    let record = view.seen.record.as_ref()?;
    // A relative interpreter begins in the service directory.
    let is_of_run = record.is_unexecuted() && record.refusal.is_none() && chdir(&service.path).is_ok();
    let file = || quoted(&shown(service.path.join(RUN).as_os_str().as_bytes()));
    match (is_of_run && interpreter::answers(Path::new(RUN))).then(|| obstacle(Path::new(RUN)))? {
        Ok(found) => Some(found?.cure_of(&file())),
        Err(unread) if unread.is_missing() => Some(format!("{}: {}", file(), cure_of_missing_run())),
        Err(_) => None,
    }
}

/// What to do about a `run` that leaves its program in the background.
const FOREGROUND: &str = "let run stay in the foreground, without & or an option such as --daemonize";

const DEAF_LOG: &str =
    "put exec 2>&1 below the first line of run, so that its error messages reach the log, which is empty";

/// Whether nothing is in the service's log, and its `run` is a script for a shell that does not send its standard error
/// there.
fn has_deaf_log(service: &Service) -> bool {
    let is_empty = || {
        let found = log_directory(service.path.as_os_str()).ok().filter(|found| found.doubt.is_none())?;
        LogUsage::of_directory(&found.path).map(|usage| usage.bytes == 0)
    };
    let run = || {
        let run = service.path.join(RUN);
        answers(&run).then(|| read_file(&run, LONGEST_SCRIPT).ok()).flatten()
    };
    service.path.join(LOG).is_dir() && run().is_some_and(|run| leaves_stderr(&run)) && is_empty() == Some(true)
}

/// Whether a script is one for a shell, and redirects its standard error nowhere.
fn leaves_stderr(script: &[u8]) -> bool {
    let mut lines = script.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let is_code = |line: &&[u8]| !line.trim_ascii_start().starts_with(b"#");
    first.starts_with(b"#!") && first.trim_ascii_end().ends_with(b"sh") && !lines.filter(is_code).any(redirects_stderr)
}

/// Whether a line of a script redirects standard error: `2>FILE`, `&>FILE`, `>&FILE`, but not `>&2`, by which a command writes
/// there.
fn redirects_stderr(line: &[u8]) -> bool {
    let has = |words: &[u8]| line.windows(words.len()).any(|part| part == words);
    let targets = (0..line.len()).filter_map(|start| line.get(start..)?.strip_prefix(b">&"));
    let is_stderr = |target: &[u8]| match target.trim_ascii_start().strip_prefix(b"2") {
        Some(rest) => !rest.first().is_some_and(u8::is_ascii_digit),
        None => false,
    };
    has(b"2>") || has(b"&>") || targets.into_iter().any(|target| !is_stderr(target))
}

/// What a service that is up has not done to be ready.
fn why_unready(service: &Service, view: &View) -> Option<String> {
    let setting = |name: &str| {
        let file = service.path.join(name);
        answers(&file).then(|| read_file(&file, LONGEST).ok()).flatten()
    };
    let is_there = |name: &str| service.path.join(name).symlink_metadata().is_ok();
    let what = if let Some(fd) = setting(NOTIFICATION_FD) {
        let fd = String::from_utf8_lossy(&fd).into_owned();
        format!("run has written no newline to descriptor {} ({NOTIFICATION_FD}) yet", shown(value(&fd).as_bytes()))
    } else if is_there(NOTIFY_SOCKET) {
        format!("run has not sent READY=1 to $NOTIFY_SOCKET ({NOTIFY_SOCKET}) yet")
    } else if is_there(CHECK) {
        format!("its program {CHECK} has not succeeded yet")
    } else {
        let (beside, _) = view.seen.record.as_ref()?.beside?;
        format!("its program {} has not ended yet", beside.program())
    };
    let limit = if is_there(TIMEOUT_UP) { "" } else { "; a file timeout-up (30s) limits how long that may take" };
    Some(what + limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shell_scripts_that_leave_their_errors_alone_are_told() {
        for (script, expected) in [
            ("#!/bin/sh\nexec prog\n", true),
            ("#!/usr/bin/env bash\nexec prog\n", true),
            ("#!/bin/sh\nexec 2>&1\nexec prog\n", false),
            ("#!/bin/bash\nexec prog &>errors\n", false),
            ("#!/bin/sh\nexec prog 2>errors\n", false),
            ("#!/bin/sh\nexec prog >&errors\n", false),
            ("#!/bin/sh\nexec 2>&1\necho x >&2; exit 1\n", false),
            ("#!/bin/sh\nexec prog >& 25\n", false),
            ("#!/bin/sh\necho x >&2; exit 1\n", true),
            ("#!/bin/sh\necho x 1>& 2\n", true),
            ("#!/bin/sh\n# exec 2>&1\nexec prog\n", true),
            ("#!/usr/bin/execlineb -P\nfdmove -c 2 1 prog\n", false),
            ("#!/usr/bin/python3\n", false),
            ("\x7fELF", false),
            ("", false),
        ] {
            assert_eq!(leaves_stderr(script.as_bytes()), expected, "{script:?}");
        }
    }
}
