//! What the user asks for. No I/O.

use crate::cursor::Selection;
use crate::show::{Style, Text};
use crate::source::Mode;
use crate::when::{self, Clock};
use daemontools::tai64::Tai64N;
use daemontools::{Args, Fatal};
use lexopt::{Arg, Parser};
use regex::bytes::{Regex, RegexBuilder};
use std::ffi::{OsStr, OsString};

const USAGE: &str = "svlog: usage: svlog [ -f ] [ -n lines ] [ --since time ] [ --until time ] [ --grep pattern ] \
                     [ --json ] [ --utc ] [ --color=auto|always|never ] [ --raw ] service|dir ...";

/// The usage of svlog.
pub const HELP: daemontools::Help = daemontools::Help {
    usage: USAGE,
    text: "\
Shows what services have logged, merged by time and with local times. A service is a service
directory; dir is a log directory of multilog's.

  -f, --follow       wait for more; begins with the last 10 lines, unless told otherwise
  -n, --lines LINES  only so many of the last lines, or all
  --since TIME       only lines from then on: '2026-11-21 06:53', 06:53, today, 1h (ago) ...
  --until TIME       only lines before then
  --grep PATTERN     only lines that match a regular expression
  --json             a JSON document a line
  --utc              times of UTC
  --color[=WHEN]     colours: auto, always (also without WHEN) or never
  --raw              bytes as they are, on a terminal too

Exit codes: 0; 100, wrong usage; 111, something could not be read, all else was.
",
};
/// The number of lines that `-f` shows before new lines.
const LAST: u64 = 10;

/// Everything that the user can ask for.
#[derive(Debug)]
pub struct Request {
    pub mode: Mode,
    /// How many of the last lines the user asks for; none: all lines.
    pub last: Option<u64>,
    pub selection: Selection,
    pub style: Style,
    pub text: Text,
    /// Whether the user asks for times in UTC instead of local times.
    pub is_utc: bool,
    /// The names of services and log directories.
    pub logs: Vec<OsString>,
}

/// What standard output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output is a terminal that may have colours.
    ColouredTerminal,
    /// Standard output is a terminal that may not have colours.
    Terminal,
    /// Standard output is a file or a pipe.
    Other,
}

#[derive(Debug, Default)]
struct Raw {
    follow: bool,
    lines: Option<Option<u64>>,
    selection: Selection,
    json: bool,
    utc: bool,
    color: Option<bool>,
    raw: bool,
    logs: Vec<OsString>,
}

/// Reads the arguments. Times in them are understood by this clock.
///
/// # Errors
/// The usage is wrong: exit 100.
pub fn parse(args: Args, clock: &Clock, output: Output) -> Result<Request, Fatal> {
    let raw = options(args, clock).map_err(|refusal| match refusal {
        Refusal::Option(error) => Fatal::option(&error, USAGE),
        Refusal::Value(words) => Fatal::new(daemontools::report::PERMANENT, &[words.as_bytes()]),
    })?;
    if raw.logs.is_empty() {
        return Err(Fatal::usage(USAGE));
    }
    let anything = raw.selection.since.is_none() && raw.selection.until.is_none();
    Ok(Request {
        mode: if raw.follow { Mode::Follow } else { Mode::Once },
        last: raw.lines.unwrap_or_else(|| (raw.follow && anything).then_some(LAST)),
        selection: raw.selection,
        style: match (raw.json, raw.color.unwrap_or(output == Output::ColouredTerminal)) {
            (true, _) => Style::Json,
            (false, true) => Style::Coloured,
            (false, false) => Style::Plain,
        },
        text: if raw.raw || output == Output::Other { Text::Raw } else { Text::Visible },
        is_utc: raw.utc,
        logs: raw.logs,
    })
}

enum Refusal {
    Option(lexopt::Error),
    Value(String),
}

impl From<lexopt::Error> for Refusal {
    fn from(error: lexopt::Error) -> Refusal {
        Refusal::Option(error)
    }
}

fn options(args: Args, clock: &Clock) -> Result<Raw, Refusal> {
    let mut raw = Raw::default();
    let mut parser = Parser::from_args(args);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('f') | Arg::Long("follow") => raw.follow = true,
            Arg::Short('n') | Arg::Long("lines") => raw.lines = Some(lines(&parser.value()?)?),
            Arg::Long("since") => raw.selection.since = Some(moment("--since", &parser.value()?, clock)?),
            Arg::Long("until") => raw.selection.until = Some(moment("--until", &parser.value()?, clock)?),
            Arg::Long("grep") => raw.selection.pattern = Some(pattern(&parser.value()?)?),
            Arg::Long("json") => raw.json = true,
            Arg::Long("utc") => raw.utc = true,
            Arg::Long("raw") => raw.raw = true,
            Arg::Long("color") => raw.color = color(parser.optional_value())?,
            Arg::Value(log) => raw.logs.push(log),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(raw)
}

fn lines(value: &OsStr) -> Result<Option<u64>, Refusal> {
    let number = || value.to_str()?.parse().ok();
    if value == "all" { Ok(None) } else { number().map(Some).ok_or_else(|| refused("a number of lines", value)) }
}

/// The message about a time that makes no sense. It gives examples, as a bare number could mean minutes, hours or
/// seconds.
fn moment(option: &str, value: &OsStr, clock: &Clock) -> Result<Tai64N, Refusal> {
    value.to_str().and_then(|text| when::moment(text, clock)).ok_or_else(|| {
        let text = value.to_string_lossy();
        Refusal::Value(format!(
            "not a time: {text}: say for example {option} 10m, {option} 06:53 or {option} \"2026-11-21 06:53\""
        ))
    })
}

/// Compiles a pattern that matches bytes, not letters, as a log may be in any encoding.
fn pattern(value: &OsStr) -> Result<Regex, Refusal> {
    let pattern = value.to_str().ok_or_else(|| refused("a pattern", value))?;
    RegexBuilder::new(pattern).unicode(false).build().map_err(|error| {
        // If the error has several lines, the last one says what is wrong.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        let why = last.strip_prefix("error: ").unwrap_or(last);
        Refusal::Value(format!("not a regular expression: {}: {why}", value.to_string_lossy()))
    })
}

fn color(value: Option<OsString>) -> Result<Option<bool>, Refusal> {
    match value.as_deref().and_then(OsStr::to_str) {
        Some("auto") => Ok(None),
        Some("always") => Ok(Some(true)),
        Some("never") => Ok(Some(false)),
        None if value.is_none() => Ok(Some(true)),
        _ => Err(refused("auto, always or never", &value.unwrap_or_default())),
    }
}

fn refused(expected: &str, value: &OsStr) -> Refusal {
    Refusal::Value(format!("not {expected}: {}", value.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    fn parsed(line: &str, output: Output) -> Result<Request, i32> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let local = |second| Timestamp::from_second(second).ok().map(|moment| TimeZone::UTC.to_datetime(moment));
        let clock = Clock { now: "2026-11-21T08:00:00Z".parse().unwrap(), local };
        parse(args.into_iter(), &clock, output).map_err(|fatal| fatal.tell())
    }

    #[test]
    fn following_begins_with_the_last_lines_unless_told_otherwise() {
        for (line, expected) in [
            ("web", None),
            ("-f web", Some(10)),
            ("-f -n all web", None),
            ("-fn3 web", Some(3)),
            ("-n 0 web", Some(0)),
            ("--since 1h -f web", None),
            ("--lines=7 --since 1h -f web", Some(7)),
        ] {
            assert_eq!(parsed(line, Output::Other).unwrap().last, expected, "{line}");
        }
    }

    #[test]
    fn colours_are_for_terminals_unless_told_otherwise() {
        for (line, output, expected) in [
            ("web", Output::ColouredTerminal, Style::Coloured),
            ("web", Output::Terminal, Style::Plain),
            ("web", Output::Other, Style::Plain),
            ("--color web", Output::Other, Style::Coloured),
            ("--color=always web", Output::Other, Style::Coloured),
            ("--color=auto web", Output::Other, Style::Plain),
            ("--color=never web", Output::ColouredTerminal, Style::Plain),
            ("--json web", Output::ColouredTerminal, Style::Json),
        ] {
            assert_eq!(parsed(line, output).unwrap().style, expected, "{line}");
        }
    }

    #[test]
    fn bytes_are_as_they_are_but_on_a_terminal() {
        for (line, output, expected) in [
            ("web", Output::ColouredTerminal, Text::Visible),
            ("--json web", Output::Terminal, Text::Visible),
            ("--raw web", Output::Terminal, Text::Raw),
            ("web", Output::Other, Text::Raw),
            ("--color web", Output::Other, Text::Raw),
        ] {
            assert_eq!(parsed(line, output).unwrap().text, expected, "{line}");
        }
    }

    #[test]
    fn bad_usage_exits_100() {
        for line in [
            "",
            "-f",
            "-x web",
            "-n",
            "-n -1 web",
            "-n few web",
            "--since soon web",
            "--until= web",
            "--grep ( web",
            "--color=red web",
            "--json=yes web",
        ] {
            assert_eq!(parsed(line, Output::Other).map(|_| ()), Err(100), "{line}");
        }
    }
}
