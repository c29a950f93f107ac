//! sv: runit's command of that name, for our services. `svctl` is this program when it is called `sv`.
//!
//! `sv [ -v ] [ -w SEC ] COMMAND SERVICE ...`
//!
//! 1. [`name`] says which program was called: svctl, sv, or a link to sv that is a script for one service.
//! 2. [`arguments`] makes a [`Request`](arguments::Request) of the words, and [`verb`] knows the verbs.
//! 3. [`subject`] finds the services.
//! 4. [`status`] shows each service in a line, whose text comes from [`line`]; or [`act`] commands them and waits until each has
//!    come where [`outcome`] wants it, and until its [script](check_script) finds that it works.
//!
//! Lines about services go to standard output, also those about what failed: programs look for them there.
//!
//! Exit codes: the number of services that failed, at most 99; 100, wrong usage, or the system refuses. A script of the Linux
//! Standard Base exits 2 and 151 then, and after `status` 0, 3 or 4: up, down, unknown.

pub mod act;
pub mod arguments;
pub mod check_script;
pub mod line;
pub mod name;
pub mod outcome;
pub mod status;
pub mod subject;
pub mod verb;

use crate::write;
use daemontools::report::{self, PERMANENT};
use daemontools::suggest::where_unsupervised;
use daemontools::terminal::visible;
use daemontools::{Args, Attempt, Fatal, sys};
use line::Refusal;
use nix::sys::signal::{SigSet, Signal};
use status::Found;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use verb::Verb;

/// The variable that says how long to wait, in seconds.
const PATIENCE: &str = "SVWAIT";
/// The highest number of services that the exit code tells.
const MOST: i32 = 99;
/// The exit code of a script when the system refuses something. Source: runit.
const REFUSED_SCRIPT: i32 = 151;

/// What is said, and how many services failed.
#[derive(Debug, Default)]
pub struct Output {
    failed: i32,
    /// The names of the services that have refused something.
    refused: Vec<OsString>,
}

impl Output {
    /// Writes a line. On a terminal, what a name or a word of a service has in it commands nothing there.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn say(&mut self, line: &[u8]) -> Result<(), Fatal> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if sys::stdout().is_terminal() { write(&[&visible(text), &b"\n"[..]].concat()) } else { write(line) }
    }

    /// Says what a service refuses, and counts it.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn refuse(&mut self, name: &OsStr, refusal: &Refusal) -> Result<(), Fatal> {
        let line = self.count(name, refusal);
        self.refused.push(name.into());
        self.say(&line)
    }

    /// Counts what a service refuses, and returns the line about it.
    pub fn count(&mut self, name: &OsStr, refusal: &Refusal) -> Vec<u8> {
        self.fail();
        refusal.line(name)
    }

    /// Counts a service that failed.
    pub fn fail(&mut self) {
        self.failed += 1;
    }

    fn code(&self) -> i32 {
        self.failed.min(MOST)
    }
}

/// The program. `script` is the service whose script this is, if this is one.
///
/// # Errors
/// Why it ends before it has answered.
pub fn sv(script: Option<&OsStr>, args: Args) -> Result<i32, Fatal> {
    let request = arguments::parse(args, script, env::var_os(PATIENCE).as_deref())?;
    let refused = |fatal: Fatal| fatal.with_code(if script.is_some() { REFUSED_SCRIPT } else { PERMANENT });
    answer(request, script.is_some()).map_err(refused)
}

fn answer(request: arguments::Request, is_script: bool) -> Result<i32, Fatal> {
    // A supervise that ends while it is told something is worth a message, not our end.
    SigSet::from_iter([Signal::SIGPIPE]).thread_block().unable_to("block signals", "")?;
    let subjects = subject::find(request.services)?;
    let mut output = Output::default();
    match request.verb {
        Verb::Act(deed) => {
            let patience = (deed.waits || request.waits).then_some(request.patience);
            act::act(&subjects, &deed, patience, &mut output)?;
        }
        Verb::Status => {
            for subject in &subjects {
                let found = status::status(subject, &mut output)?;
                if let (true, Some(code)) = (is_script, code_of_script(found)) {
                    return Ok(code);
                }
            }
        }
    }
    // runit's sv says nothing there, so this is for people alone.
    for subject in subjects.iter().filter(|subject| output.refused.contains(&subject.name)) {
        if let Ok(path) = subject.path() {
            where_unsupervised(path.as_os_str());
        }
    }
    report::retry_lost();
    Ok(output.code())
}

/// Source: the Linux Standard Base, and runit for what it leaves open.
fn code_of_script(found: Found) -> Option<i32> {
    match found {
        Found::Up => Some(0),
        Found::Down => Some(3),
        Found::Unknown => Some(4),
        Found::Unsupervised => None,
    }
}
