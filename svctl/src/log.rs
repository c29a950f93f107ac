//! What services have logged: svctl becomes svlog, or asks it for the last lines.

use crate::Context;
use crate::arguments::NO_NAME;
use crate::services::Service;
use crate::text::shown;
use crate::usage::{self, USAGE};
use crate::verbs::Verb;
use daemontools::logdir::locate::log_directory;
use daemontools::service::SILENT;
use daemontools::sys::{companion, exec::exec};
use daemontools::tai64::{Label, Tai64N};
use daemontools::{Attempt, Fatal, Unable};
use lexopt::Arg;
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::{chdir, read};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{PathBuf, absolute};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long svlog may take for a few lines.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long svlog may take to end when it is killed, and how long to wait between two looks.
const DYING: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// No more bytes of a service's last words are shown.
const MOST: usize = 16384;

fn svlog() -> PathBuf {
    companion("svlog")
}

/// The options of svlog that have a value behind them.
const VALUED: [&str; 14] = [
    "lines",
    "head",
    "run",
    CURSOR_FILE,
    "since",
    "until",
    "grep",
    "not",
    "field",
    "level",
    "after-context",
    "before-context",
    "context",
    "output",
];
/// Its other options.
const PLAIN: [&str; 10] =
    ["follow", "reverse", "count", "histogram", "json", "utc", "raw", "no-pager", "color", "help"];
const PLAIN_LETTERS: [char; 2] = ['f', 'r'];
/// Those with a value that are also letters.
const LETTERS: [(char, &str); 5] =
    [('n', "lines"), ('A', "after-context"), ('B', "before-context"), ('C', "context"), ('o', "output")];
/// The option whose value is a path from the user's directory, as svlog runs in another one.
const CURSOR_FILE: &str = "cursor-file";

/// Becomes svlog. Names and patterns mean services as everywhere in svctl, and a path begins in the user's directory. svlog
/// runs in the scan directory, so that names are paths there, and lines are shown with them.
///
/// # Errors
/// A word means no service, an option has no value, or svlog cannot be executed.
pub fn become_svlog(context: &Context, words: Vec<OsString>) -> Result<i32, Fatal> {
    let (mut options, names) = match split(words).map_err(|error| Fatal::option(&error, &USAGE))? {
        Words::All(options, names) => (options, names),
        // Whether a word behind it is its value or a name is not known. svlog says what to do instead.
        Words::Unknown(option) => return Err(executed(svlog(), [option])),
    };
    if names.is_empty() {
        return Err(Fatal::misuse(&[NO_NAME.as_bytes()], &usage::of(Verb::Log)));
    }
    options.extend(context.shape.json.then(|| "--json".into()));
    options
        .extend(context.shape.color.map(|color| format!("--color={}", if color { "always" } else { "never" }).into()));
    let chosen = context.services.choose_existing(&names)?;
    let argument = |service: Service| {
        let is_entry = context.services.named(&service.name).path == service.path;
        if is_entry { service.name } else { service.path.into_os_string() }
    };
    let directory = context.services.directory();
    chdir(directory).unable_to("chdir to", directory)?;
    let names = std::iter::once("--".into()).chain(chosen.into_iter().map(argument));
    Err(executed(svlog(), options.into_iter().chain(names)))
}

/// Becomes svlog with these arguments, or says why that is not possible.
fn executed(svlog: PathBuf, arguments: impl IntoIterator<Item = OsString>) -> Fatal {
    let argv: Vec<OsString> = std::iter::once(svlog.clone().into_os_string()).chain(arguments).collect();
    Unable::new("run", &svlog, exec(&argv, &[])).into()
}

/// What the words behind `log` are.
#[derive(Debug, PartialEq, Eq)]
enum Words {
    /// Options of svlog, with their values, and names.
    All(Vec<OsString>, Vec<OsString>),
    /// The first of them that svlog does not know, as it is written.
    Unknown(OsString),
}

fn split(words: Vec<OsString>) -> Result<Words, lexopt::Error> {
    let (mut options, mut names) = (Vec::new(), Vec::new());
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(name) => names.push(name),
            Arg::Short(letter) => match LETTERS.iter().find(|(known, _)| *known == letter) {
                Some((_, name)) => options.extend([format!("--{name}").into(), parser.value()?]),
                None if PLAIN_LETTERS.contains(&letter) => options.push(format!("-{letter}").into()),
                None => return Ok(Words::Unknown(format!("-{letter}").into())),
            },
            Arg::Long(name) if !VALUED.contains(&name) && !PLAIN.contains(&name) => {
                return Ok(Words::Unknown(format!("--{name}").into()));
            }
            Arg::Long(name) => {
                let (is_valued, mut option) = (VALUED.contains(&name), OsString::from(format!("--{name}")));
                let is_path = name == CURSOR_FILE;
                let value = if is_valued { Some(parser.value()?) } else { parser.optional_value() };
                if let Some(value) = value {
                    option.push("=");
                    option.push(if is_path { absolute(&value).map_or(value, PathBuf::into_os_string) } else { value });
                }
                options.push(option);
            }
        }
    }
    Ok(Words::All(options, names))
}

/// Where the log of a service is, if its file system does not answer, and that it does not.
pub fn silent_log(service: &Service) -> Option<String> {
    let why = log_directory(service.path.as_os_str()).err()?;
    why.ends_with(SILENT.as_bytes()).then(|| shown(&why))
}

/// The last lines that a service has logged, with their times, as a terminal may have them. Without a log there is none.
pub fn last_words(service: &Service, lines: u32) -> Vec<String> {
    words(service, &["-n", &lines.to_string()])
}

/// As [`last_words`], but only lines that were logged after this moment.
pub fn since(service: &Service, moment: Tai64N, lines: u32) -> Vec<String> {
    words(service, &["-n", &lines.to_string(), "--since", &Label(moment).to_string()])
}

/// What svlog shows of a service's log with these options.
fn words(service: &Service, options: &[&str]) -> Vec<String> {
    let command = Command::new(svlog())
        .arg("--color=never")
        .args(options)
        .arg(&service.path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = command else { return Vec::new() };
    let mut said = Vec::new();
    if let Some(output) = &child.stdout {
        let until = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while said.len() < MOST {
            let left = until.saturating_duration_since(Instant::now());
            let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            let is_ready =
                !left.is_zero() && poll(&mut ready, daemontools::sys::timeout(Some(left))).is_ok_and(|n| n > 0);
            match is_ready.then(|| read(output, &mut buffer)) {
                Some(Ok(length @ 1..)) => said.extend(buffer.iter().take(length)),
                Some(Ok(0) | Err(_)) | None => break,
            }
        }
    }
    // It has ended, or says too much or nothing. One that waits for a mount may not end at all.
    let _ = child.kill();
    let until = Instant::now() + DYING;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
        sleep(LOOK_AGAIN);
    }
    said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_options_of_svlog_and_names() {
        let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        for (line, expected) in [
            ("-n 2 web", Words::All(words("--lines 2"), words("web"))),
            ("-fn2 --grep fatal web db", Words::All(words("-f --lines 2 --grep=fatal"), words("web db"))),
            ("--color=always web", Words::All(words("--color=always"), words("web"))),
            ("-n 2", Words::All(words("--lines 2"), vec![])),
            ("-g fatal web", Words::Unknown("-g".into())),
            ("web --signal HUP", Words::Unknown("--signal".into())),
        ] {
            assert_eq!(split(words(line)).unwrap(), expected, "{line}");
        }
    }
}
