//! What to type next, where something is wrong with a service.

use crate::answer::Answer;
use crate::metrics::LogUsage;
use crate::services::{Reach, Service, Services};
use crate::text::{quoted, shown};
use daemontools::logdir::locate::log_directory;
use daemontools::service::setting::{LONGEST, TIMEOUT_KILL, value};
use daemontools::service::view::{State, View};
use daemontools::service::{LOG, RUN, SOON, answers, read_file};
use std::os::unix::ffi::OsStrExt;

/// The longest `run` that is searched. Nobody writes a longer script by hand.
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
    let usual = match answer.view()?.state() {
        State::Up | State::Starting | State::Waiting | State::Stopping => None,
        State::Paused => Some(svctl("kill --signal CONT")),
        State::Restarting => Some(format!("{}; {}", svctl("log -n 50"), svctl("stop"))),
        State::Failed => Some(format!("{}; {}", svctl("log -n 50"), svctl("start"))),
        State::Down => Some(svctl("start")),
    };
    let all: Vec<String> = [hint(services, service, answer), usual].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
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
        State::Restarting | State::Failed if has_deaf_log(service) => Some(DEAF_LOG.into()),
        State::Up | State::Starting | State::Down if has_died_just_now(view) && has_deaf_log(service) => {
            Some(DEAF_LOG.into())
        }
        State::Up | State::Paused | State::Starting | State::Restarting | State::Waiting => None,
        State::Stopping | State::Failed | State::Down => None,
    }
}

/// A command of svctl about this service.
fn command(services: &Services, service: &Service, words: &str) -> String {
    format!("{} {}", services.command(words), quoted(&shown(service.name.as_bytes())))
}

fn has_died_just_now(view: &View) -> bool {
    view.lasting() < SOON && view.seen.last_exit().is_some()
}

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
    let first = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let has = |words: &[u8]| script.windows(words.len()).any(|part| part == words);
    first.starts_with(b"#!") && first.trim_ascii_end().ends_with(b"sh") && !has(b"2>") && !has(b"&>") && !has(b">&")
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
            ("#!/usr/bin/execlineb -P\nfdmove -c 2 1 prog\n", false),
            ("#!/usr/bin/python3\n", false),
            ("\x7fELF", false),
            ("", false),
        ] {
            assert_eq!(leaves_stderr(script.as_bytes()), expected, "{script:?}");
        }
    }
}
