//! svstat: shows the state of services.
//!
//! `svstat [ -l | -j | -L ] SERVICE ...`
//!
//! For each SERVICE one line, in the words of daemontools 0.76:
//!
//! ```text
//! SERVICE: up (pid PID) N seconds[, normally down][, paused][, want down]
//! SERVICE: down N seconds[, normally up][, want up]
//! SERVICE: the reason why its state cannot be read
//! ```
//!
//! Seconds count from the last start or end of the process; they are 0 if the clock was set back before it. "normally"
//! tells whether the file `down` exists at this moment, "want" what supervise was told.
//!
//! With `-l` (`--long`) more lines follow, each indented, with everything in `supervise/state`; seconds are then
//! counted by the monotonic clock. With `-j` (`--json`) svstat prints one JSON document a line instead: see the
//! `document` module of lib. With `-L` (from daemontools-encore) the line is about the logger:
//!
//! ```text
//! SERVICE log: up (pid PID) N seconds
//! SERVICE: no log service
//! ```
//!
//! This is the logger that the same supervise runs, or else the service `log` in the directory, which has a supervise
//! of its own. These words are options only before the first SERVICE. The original has no options and takes any word
//! for a service; svstat does so after the first SERVICE. To name a service `-l`, write `./-l`.
//!
//! On a terminal, svstat escapes control characters in names and in the status texts of services.
//!
//! Without a SERVICE it prints its usage. If a word is a command of another supervisor and there is no such service
//! (`svstat restart`), it says which command to use. Both go to standard error.
//!
//! Exit codes: 0, also if a line only says why a state cannot be read; 111 if the current directory cannot be opened.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::service::view::{Normally, View, document, enter, line_of_status, look};
use daemontools::service::{self, Status, StatusError, has_ended, take_written};
use daemontools::terminal::{visible, visible_json};
use daemontools::{Args, Attempt, Fatal, Help, suggest, sys};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::fchdir;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

daemontools::main!(svstat, HELP);

const HELP: Help = Help {
    usage: "svstat: usage: svstat [ -l | -j | -L ] service ...",
    text: "\
Says in one line how each service, a service directory, is.

  -l, --long  more lines: since when, its last ends, what comes next, its supervise
  -j, --json  a JSON document a line
  -L          its logger instead

Exit codes: 0, also where a line says why it cannot be said; 111, the system refuses.
",
};

/// svstat writes its answers when it has this many bytes of them. Written one at a time, ten thousand answers take
/// twice as long.
const OUTPUT: usize = 8192;

fn svstat(mut args: Args) -> Result<i32, Fatal> {
    let origin = open(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .unable_to("open current directory", "")
        .map_err(|unable| unable.where_denied(Path::new(".")))?;
    let text = if sys::stdout().is_terminal() { Text::Visible } else { Text::Raw };
    let mut answer: Form = line;
    while let Some(other) = args.as_slice().first().and_then(|word| form(word)) {
        answer = other;
        args.next();
    }
    if args.as_slice().is_empty() {
        // The original prints nothing and exits 0, and scripts without a service may rely on that exit code.
        return Ok(Fatal::usage(HELP.usage).with_code(0).print());
    }
    let mut answers = Vec::new();
    let mut explain: fn(&OsStr) = suggest::where_first_is_missing;
    for service in args {
        // To look at a service is to change into its directory. Only a relative name begins in the first one.
        let go_back = || fchdir(&origin).unable_to("set directory", "");
        if Path::new(&service).is_relative() {
            go_back()?;
        }
        let answered = answer(&service, text);
        let is_told = answered.is_ok();
        answers.extend(answered.unwrap_or_else(|why| why));
        answers.push(b'\n');
        if answers.len() > OUTPUT {
            sys::write_all(sys::stdout(), &answers).unable_to("write output", "")?;
            answers.clear();
        }
        if !is_told {
            go_back()?;
            explain(&service);
            suggest::where_unsupervised(&service);
        }
        explain = suggest::where_missing;
    }
    sys::write_all(sys::stdout(), &answers).unable_to("write output", "")?;
    Ok(0)
}

/// What is told of a service, or else why nothing can be told.
type Answer = Result<Vec<u8>, Vec<u8>>;
/// A way to answer.
type Form = fn(&OsStr, Text) -> Answer;

/// The form of the answer that an option asks for.
fn form(word: &OsStr) -> Option<Form> {
    match word.as_bytes() {
        b"-l" | b"--long" => Some(lines),
        b"-j" | b"--json" => Some(json),
        b"-L" => Some(of_logger),
        _ => None,
    }
}

/// The original's line about a service.
fn line(service: &OsStr, text: Text) -> Answer {
    let said = look(service, read_own_status);
    answer(service, text, said.and_then(line_of))
}

/// The line about a status, unless that names a process that has ended.
fn line_of((status, normally): (Result<Status, String>, Normally)) -> Result<String, String> {
    status.map(|status| line_of_status(&status, normally))
}

/// The state of the service alone, without that of a logger that the same supervise runs; or that its process has ended,
/// though the status names it.
fn read_own_status() -> Result<Result<Status, String>, StatusError> {
    let (status, _) = service::read_status()?;
    if !status.pid.is_some_and(has_ended) {
        return Ok(Ok(status));
    }
    let (seen, unwritten) = take_written()?;
    Ok(unwritten.service.map_or(Ok(seen.shown), |pid| Err(unwritten.words_of(pid))))
}

/// The state of the logger that the same supervise runs, in the same form.
fn read_logger_status() -> Result<Option<Result<Status, String>>, StatusError> {
    let (_, logger) = service::read_status()?;
    if !logger.is_some_and(|logger| logger.pid.is_some_and(has_ended)) {
        return Ok(logger.map(Ok));
    }
    let (seen, unwritten) = take_written()?;
    Ok(seen.logger.map(|status| unwritten.logger.map_or(Ok(status), |pid| Err(unwritten.words_of(pid)))))
}

/// The line about the logger of a service.
fn of_logger(service: &OsStr, text: Text) -> Answer {
    if let Err(why) = enter(service) {
        return answer(service, text, Err(why));
    }
    let logger = match look(OsStr::new("."), read_logger_status) {
        Ok((Some(logger), normally)) => Ok((logger, normally)),
        // The logger has a supervise of its own, and so does not depend on that of the service.
        Ok(_) | Err(_) if !service::answers(Path::new(service::LOG)) => Err(service::SILENT.into()),
        Ok(_) | Err(_) if Path::new(service::LOG).is_dir() => look(OsStr::new(service::LOG), read_own_status),
        Ok(_) => return answer(service, text, Ok("no log service".into())),
        Err(why) => return answer(service, text, Err(why)),
    };
    let words = logger.and_then(line_of);
    answer(OsStr::from_bytes(&[service.as_bytes(), b" log"].concat()), text, words)
}

fn lines(service: &OsStr, text: Text) -> Answer {
    answer(service, text, View::of(service).map(|view| view.long()))
}

fn json(service: &OsStr, text: Text) -> Answer {
    let shown = |document: String| match text {
        Text::Raw => document.into_bytes(),
        Text::Visible => visible_json(&document).into_owned().into_bytes(),
    };
    match View::of(service) {
        Ok(view) => Ok(shown(document::of(service, &view))),
        Err(why) => Err(shown(document::without_answer(service, &why))),
    }
}

/// The words, or the reason why there are none, behind the name.
fn answer(name: &OsStr, text: Text, words: Result<String, String>) -> Answer {
    words.map(|words| named(name, &words, text)).map_err(|why| named(name, &why, text))
}

/// How svstat shows bytes that other accounts may have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    /// The bytes are shown unchanged.
    Raw,
    /// Control characters are escaped.
    Visible,
}

/// Shows lines of svstat's own words, which contain texts of a service.
fn named(service: &OsStr, words: &str, text: Text) -> Vec<u8> {
    let (name, words) = (service.as_bytes(), words.as_bytes());
    match text {
        Text::Raw => [name, b": ", words].concat(),
        Text::Visible => {
            let lines: Vec<Cow<[u8]>> = words.split(|byte| *byte == b'\n').map(visible).collect();
            [&visible(name), &b": "[..], &lines.join(&b'\n')].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn on_a_terminal_what_commands_it_is_spelled_out() {
        let name = OsStr::from_bytes(b"w\x1b[2J\nfake");
        let words = "up\n    says       \u{202e}done";
        assert_eq!(named(name, words, Text::Raw), [name.as_bytes(), b": ", words.as_bytes()].concat());
        assert_eq!(named(name, words, Text::Visible), b"w\\x1b[2J\\x0afake: up\n    says       \\u202edone");
    }

    #[test]
    fn options_are_words_of_their_own() {
        for (word, is_option) in
            [("-l", true), ("--json", true), ("-L", true), ("-lj", false), ("--", false), ("web", false)]
        {
            assert_eq!(form(OsStr::new(word)).is_some(), is_option, "{word}");
        }
    }
}
