//! What the user asks for. No I/O.

mod contradictions;

use crate::context::Around;
use crate::course::Mode;
use crate::fields::Field;
use crate::level::AtLeast;
use crate::pattern::Pattern;
use crate::runs::Wanted;
use crate::selection::Selection;
use crate::style::{Colours, Form, Style, Text};
use crate::time_argument::{self, Clock};
use daemontools::tai64::Tai64N;
use daemontools::{Args, Fatal};
use lexopt::{Arg, Parser};
use std::ffi::{OsStr, OsString};

const USAGE: &str = "svlog: usage: svlog [ -f ] [ -n lines | --head lines | --count | --histogram ] [ -r ] [ --cursor-file file ] [ --run number|all ] \
                     [ --since time ] [ --until time ] \
                     [ --grep pattern ] ... [ --not pattern ] ... \
                     [ --field key=value ] ... [ --level level ] [ -A lines ] [ -B lines ] [ -C lines ] [ -o form ] [ --json ] [ --utc ] [ --color=auto|always|never ] [ --raw ] [ --no-pager ] service|dir ...";

/// The usage of svlog.
pub const HELP: daemontools::Help = daemontools::Help {
    usage: USAGE,
    text: "\
Shows what services have logged, merged by time and with local times. A service is a service
directory; dir is a log directory of multilog's.

  -f, --follow       wait for more; begins with the last 10 lines, unless told otherwise
  -n, --lines LINES  only the last LINES lines, or all
  --head LINES       only the first LINES lines; with -f, end after them
  -r, --reverse      the newest lines first
  --count            only how many lines there are, of each log and of all
  --histogram        only how many lines there are in each minute, hour or day, of all logs
  --cursor-file FILE only lines that came since the svlog before with this FILE
  --run NUMBER       only lines of one run of the services: 0 is the run now, -1 the run that has
                     ended last, -2 the run before; or all, with how each has ended
  --since TIME       only lines from then on: '2026-11-21 06:53', 06:53, today, 1h (ago) ...
  --until TIME       only lines before then
  --grep PATTERN     only lines that match a regular expression, or any of several
  --not PATTERN      no lines that match this one, or any of several
  --field KEY=VALUE  only lines of JSON or logfmt with this field; with all, if there are several
  --level LEVEL      only lines that say that they are of this level or graver: warning, error ...
  -A, --after-context LINES, -B, --before-context LINES, -C, --context LINES
                     also LINES lines after, before, or around each line that matches
  -o, --output FORM  short (the default); iso, the time by RFC 3339; raw, the stamp of the file;
                     cat, only the text; or json
  --json             a JSON document a line, as -o json
  --utc              times of UTC
  --color[=WHEN]     names and matches in colours: auto, always (also without WHEN) or never
  --raw              bytes as they are, on a terminal too
  --no-pager         straight to the terminal; otherwise through $SVLOG_PAGER, $PAGER or less

Exit codes: 0; 100, wrong usage; 111, something could not be read, all else was.
",
};
/// The forms by their names.
const FORMS: [(&str, Form); 5] =
    [("short", Form::Short), ("iso", Form::Iso), ("raw", Form::Raw), ("json", Form::Json), ("cat", Form::Cat)];
/// The number of lines that `-f` shows before new lines.
const LAST: u64 = 10;

/// Everything that the user can ask for.
#[derive(Debug)]
pub struct Request {
    pub mode: Mode,
    pub amount: Amount,
    pub order: LineOrder,
    pub selection: Selection,
    /// Of which runs of the services lines are shown; `None`: without regard to runs.
    pub run: Option<Wanted>,
    pub style: Style,
    /// Whether the user asks for times in UTC instead of local times.
    pub is_utc: bool,
    /// Where svlog keeps how far it has come.
    pub cursor_file: Option<OsString>,
    /// Whether the output goes through a pager.
    pub is_paged: bool,
    /// The names of services and log directories.
    pub logs: Vec<OsString>,
    /// What the user may not have meant so, in words.
    pub doubts: Vec<String>,
}

/// In which order lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOrder {
    OldestFirst,
    NewestFirst,
}

/// How much is shown of the lines that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    All,
    /// How many of the first lines of all logs together.
    First(u64),
    /// How many of the last lines of all logs together.
    Last(u64),
    /// Only how many lines there are.
    Count,
    /// Only how many lines there are in each minute, hour or day.
    Histogram,
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
    head: Option<u64>,
    count: bool,
    histogram: bool,
    reverse: bool,
    run: Option<Wanted>,
    selection: Selection,
    /// The values of `--since` and `--until`.
    since: String,
    until: String,
    /// The values of `--grep` and of `--not`.
    wanted: Vec<String>,
    unwanted: Vec<String>,
    /// The values of `-A`, `-B` and `-C`.
    after: Option<u64>,
    before: Option<u64>,
    context: u64,
    json: bool,
    form: Option<Form>,
    utc: bool,
    color: Option<bool>,
    raw: bool,
    no_pager: bool,
    cursor_file: Option<OsString>,
    logs: Vec<OsString>,
    /// The names of the options that were given.
    given: Vec<&'static str>,
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
    if let Some(words) = contradictions::first(&raw.given) {
        return Err(Fatal::new(daemontools::report::PERMANENT, &[words.as_bytes()]));
    }
    Ok(Request {
        mode: if raw.follow { Mode::Follow } else { Mode::Once },
        amount: amount(&raw),
        order: if raw.reverse { LineOrder::NewestFirst } else { LineOrder::OldestFirst },
        style: style(&raw, output),
        is_paged: is_paged(&raw, output),
        doubts: doubts(&raw, clock),
        selection: raw.selection,
        run: raw.run,
        is_utc: raw.utc,
        cursor_file: raw.cursor_file,
        logs: raw.logs,
    })
}

/// Lines that are to come, one number, and lines of which svlog keeps how far it has shown them, go straight to a terminal.
fn is_paged(raw: &Raw, output: Output) -> bool {
    let is_straight = raw.no_pager || raw.follow || raw.count || raw.cursor_file.is_some();
    output != Output::Other && !is_straight
}

fn style(raw: &Raw, output: Output) -> Style {
    let form = if raw.json { Form::Json } else { raw.form.unwrap_or(Form::Short) };
    let is_coloured = raw.color.unwrap_or(output == Output::ColouredTerminal);
    let colours = match form {
        Form::Json | Form::Raw => Colours::None,
        Form::Short | Form::Iso | Form::Cat if !is_coloured => Colours::None,
        // The bytes of a text stay as they are.
        Form::Short | Form::Iso | Form::Cat if raw.raw => Colours::Names,
        Form::Short | Form::Iso | Form::Cat => Colours::NamesAndMatches,
    };
    let text = if raw.raw || output == Output::Other { Text::Raw } else { Text::Visible };
    Style { form, colours, text }
}

fn amount(raw: &Raw) -> Amount {
    let begins_anywhere = raw.selection.since.is_none() && raw.selection.until.is_none();
    if raw.histogram {
        return Amount::Histogram;
    }
    match (raw.count, raw.head, raw.lines) {
        (true, _, _) => Amount::Count,
        (false, Some(first), _) => Amount::First(first),
        (false, None, Some(Some(last))) => Amount::Last(last),
        (false, None, Some(None)) => Amount::All,
        (false, None, None) if raw.follow && begins_anywhere && raw.cursor_file.is_none() => Amount::Last(LAST),
        (false, None, None) => Amount::All,
    }
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
        raw.given.extend(contradictions::name(&argument));
        match argument {
            Arg::Short('f') | Arg::Long("follow") => raw.follow = true,
            Arg::Short('n') | Arg::Long("lines") => raw.lines = Some(lines(&parser.value()?)?),
            Arg::Long("head") => raw.head = Some(number(&parser.value()?)?),
            Arg::Long("count") => raw.count = true,
            Arg::Long("histogram") => raw.histogram = true,
            Arg::Short('r') | Arg::Long("reverse") => raw.reverse = true,
            Arg::Long("run") => {
                let run = run(&parser.value()?)?;
                raw.given.extend((run == Wanted::All).then_some(contradictions::ALL_RUNS));
                raw.run = Some(run);
            }
            Arg::Long("since") => {
                let value = parser.value()?;
                raw.selection.since = Some(moment("--since", &value, clock)?);
                raw.since = value.to_string_lossy().into_owned();
            }
            Arg::Long("until") => {
                let value = parser.value()?;
                raw.selection.until = Some(moment("--until", &value, clock)?);
                raw.until = value.to_string_lossy().into_owned();
            }
            Arg::Long("grep") => raw.wanted.push(pattern(&parser.value()?)?),
            Arg::Long("not") => raw.unwanted.push(pattern(&parser.value()?)?),
            Arg::Long("field") => raw.selection.fields.push(field(&parser.value()?)?),
            Arg::Long("level") => raw.selection.level = Some(level(&parser.value()?)?),
            Arg::Short('A') | Arg::Long("after-context") => raw.after = Some(number(&parser.value()?)?),
            Arg::Short('B') | Arg::Long("before-context") => raw.before = Some(number(&parser.value()?)?),
            Arg::Short('C') | Arg::Long("context") => raw.context = number(&parser.value()?)?,
            Arg::Long("cursor-file") => raw.cursor_file = Some(parser.value()?),
            Arg::Long("json") => raw.json = true,
            Arg::Short('o') | Arg::Long("output") => {
                let form = form(&parser.value()?)?;
                raw.given.extend((form != Form::Json).then_some(contradictions::OTHER_FORM));
                raw.form = Some(form);
            }
            Arg::Long("utc") => raw.utc = true,
            Arg::Long("raw") => raw.raw = true,
            Arg::Long("no-pager") => raw.no_pager = true,
            Arg::Long("color") => raw.color = color(parser.optional_value())?,
            Arg::Value(log) => raw.logs.push(log),
            Arg::Short(letter) => return Err(unknown(letter)),
            other => return Err(other.unexpected().into()),
        }
    }
    raw.selection.pattern = any_of(&raw.wanted)?;
    raw.selection.unwanted = any_of(&raw.unwanted)?;
    raw.selection.around =
        Around { before: raw.before.unwrap_or(raw.context), after: raw.after.unwrap_or(raw.context) };
    Ok(raw)
}

/// Times for which no line can be shown, or none yet.
fn doubts(raw: &Raw, clock: &Clock) -> Vec<String> {
    let Raw { since, until, .. } = raw;
    let is_turned = raw.selection.since.zip(raw.selection.until).is_some_and(|(since, until)| since > until);
    let to_come = raw.selection.since.and_then(|_| time_argument::still_to_come(since, clock));
    let turned = is_turned.then(|| format!("--since {since} is later than --until {until}, so there can be no lines"));
    to_come.map(|words| format!("--since {words}")).into_iter().chain(turned).collect()
}

/// Letters of grep and journalctl, and the options of svlog for the same.
const LETTERS: [(char, &str); 6] = [
    ('g', "--grep PATTERN"),
    ('e', "--grep PATTERN"),
    ('v', "--not PATTERN"),
    ('S', "--since TIME"),
    ('U', "--until TIME"),
    ('p', "--level LEVEL"),
];

/// The refusal of a letter that is no option.
fn unknown(letter: char) -> Refusal {
    match LETTERS.iter().find(|(known, _)| *known == letter) {
        Some((_, instead)) => Refusal::Value(format!("svlog has no -{letter}: use {instead}")),
        None => Refusal::Option(Arg::Short(letter).unexpected()),
    }
}

fn lines(value: &OsStr) -> Result<Option<u64>, Refusal> {
    if value == "all" { Ok(None) } else { number(value).map(Some) }
}

fn number(value: &OsStr) -> Result<u64, Refusal> {
    value.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| refused("a number of lines", value))
}

/// The message about a time that makes no sense. It gives examples, as a bare number could mean minutes, hours or
/// seconds.
fn moment(option: &str, value: &OsStr, clock: &Clock) -> Result<Tai64N, Refusal> {
    value.to_str().and_then(|text| time_argument::moment(text, clock)).ok_or_else(|| {
        let text = value.to_string_lossy();
        Refusal::Value(format!(
            "not a time: {text}: say for example {option} 10m, {option} 06:53 or {option} \"2026-11-21 06:53\""
        ))
    })
}

fn run(value: &OsStr) -> Result<Wanted, Refusal> {
    let known = "a run: 0 is the run now, -1 the run that has ended last, -2 the run before, or all";
    value.to_str().and_then(Wanted::parse).ok_or_else(|| refused(known, value))
}

/// A value that is a pattern.
fn pattern(value: &OsStr) -> Result<String, Refusal> {
    let text = value.to_str().ok_or_else(|| refused("a pattern", value))?;
    compiled(text).map(|_| text.to_string())
}

fn field(value: &OsStr) -> Result<Field, Refusal> {
    value.to_str().and_then(Field::parse).ok_or_else(|| refused("a field as in --field status=500", value))
}

fn level(value: &OsStr) -> Result<AtLeast, Refusal> {
    let known = "a level: trace, debug, info, notice, warning, error, critical, alert or emergency";
    value.to_str().and_then(AtLeast::parse).ok_or_else(|| refused(known, value))
}

/// One pattern that matches where any of these does. Its options apply to each by itself.
fn any_of(patterns: &[String]) -> Result<Option<Pattern>, Refusal> {
    match patterns {
        [] => Ok(None),
        [pattern] => compiled(pattern).map(Some),
        several => compiled(&format!("(?:{})", several.join(")|(?:"))).map(Some),
    }
}

fn compiled(text: &str) -> Result<Pattern, Refusal> {
    Pattern::new(text).map_err(|error| {
        // If the error has several lines, the last one says what is wrong.
        let words = error.to_string();
        let last = words.lines().last().unwrap_or_default();
        let why = last.strip_prefix("error: ").unwrap_or(last);
        Refusal::Value(format!("not a regular expression: {text}: {why}"))
    })
}

fn form(value: &OsStr) -> Result<Form, Refusal> {
    let is_it = |(name, _): &&(&str, Form)| value == *name;
    FORMS.iter().find(is_it).map(|(_, form)| *form).ok_or_else(|| refused("short, iso, raw, json or cat", value))
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
mod tests;
