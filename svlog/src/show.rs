//! Formats lines as text, with colours on a terminal, or as JSON. No I/O.

use crate::highlight;
use crate::line::{Line, Role};
use crate::pattern::Pattern;
use crate::style::{Colours, Form, Style, Text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use daemontools::sys::localtime::{Calendar, utc};
use daemontools::tai64::{self, Tai64, Tai64N};
use daemontools::terminal::{visible, visible_json};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::RangeInclusive;

/// The colours of the services, one after the other. Red stays for errors, and black and white may be the background.
const COLOURS: [&str; 5] = ["36", "33", "32", "35", "34"];

/// How long the bar of the greatest number in a histogram is.
const BAR: u64 = 50;

/// What each number of a histogram is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Minute,
    Hour,
    Day,
}

/// How many lines there are in each minute, by its number since 1970, and of each service, by its number.
pub type Counts = BTreeMap<(i64, usize), u64>;
/// How many lines each service has.
type Shares = BTreeMap<usize, u64>;

/// How many services have a letter of their own in the bars.
const NAMED: usize = 8;
/// What stands for all others.
const OTHERS: char = '+';

/// The letters that stand for services in bars.
#[derive(Debug, Default)]
struct Letters(BTreeMap<usize, char>);

impl Letters {
    /// How much of a bar of this length each service has, in the order of the letters. A service with few lines may have
    /// nothing of it. Without letters, none has.
    fn parts(&self, shares: &Shares, length: usize) -> Vec<(usize, usize)> {
        let count: u128 = shares.values().map(|share| u128::from(*share)).sum();
        let mut services: Vec<usize> = shares.keys().copied().filter(|_| !self.0.is_empty()).collect();
        services.sort_by_key(|service| self.0.get(service).copied().unwrap_or(char::MAX));
        let (mut sum, mut end) = (0, 0);
        let part = |service: usize| {
            sum += u128::from(shares.get(&service).copied().unwrap_or(0));
            // Each part ends where the sum until then ends, so that all of them are as long as the bar.
            let begin = end;
            end = usize::try_from((2 * sum * length as u128 + count) / (2 * count.max(1))).unwrap_or(length);
            (service, end - begin)
        };
        services.into_iter().map(part).collect()
    }
}

/// The time zone in which times are shown.
#[derive(Debug, Clone, Copy)]
pub enum Zone {
    /// Local time, by a function that gives the local time of a second since 1970.
    Local(fn(i64) -> Option<Calendar>),
    Utc,
}

/// Some seconds of a minute, mostly all of them, and their texts before the second and after the nanoseconds (none beyond
/// the calendar). Most lines have the same minute as the line before.
struct Cached {
    seconds: RangeInclusive<u64>,
    /// Which second of the minute the first of these is.
    first_second: u64,
    shown: Option<(String, String)>,
}

/// Formats lines as bytes.
pub struct Show {
    style: Style,
    zone: Zone,
    /// The names of the services. A single service is shown without its name.
    json_names: Vec<Vec<u8>>,
    raw_names: Vec<Vec<u8>>,
    cached: Option<Cached>,
    /// What is coloured in the texts.
    pattern: Option<Pattern>,
    /// The service whose line was begun but not ended.
    unfinished: Option<usize>,
    pub output: Vec<u8>,
}

impl Show {
    /// `names` are the names of the services, in their order.
    pub fn new(style: Style, zone: Zone, mut raw_names: Vec<Vec<u8>>) -> Show {
        let in_json = |name: &Vec<u8>| {
            let mut output = Vec::new();
            string(&mut output, &String::from_utf8_lossy(name));
            output
        };
        let json_names = raw_names.iter().map(in_json).collect();
        if style.text == Text::Visible {
            raw_names.iter_mut().for_each(|name| *name = visible(name).into_owned());
        }
        Show { style, zone, json_names, raw_names, cached: None, pattern: None, unfinished: None, output: Vec::new() }
    }

    /// Takes in which pattern the lines match, so that it is coloured in them if the style has colours for it.
    pub fn colouring(self, pattern: Option<&Pattern>) -> Show {
        match self.style.colours {
            Colours::NamesAndMatches => Show { pattern: pattern.cloned(), ..self },
            Colours::None | Colours::Names => self,
        }
    }

    /// Appends a line, or a piece of one, of the service with that number.
    pub fn line(&mut self, service: usize, line: Line) {
        match self.style.form {
            Form::Json => self.json(service, line),
            Form::Short | Form::Iso | Form::Raw | Form::Cat => self.text(service, line),
        }
    }

    /// Appends how a run of a service has ended. JSON and the bytes of the files have only lines.
    pub fn end_of_run(&mut self, service: usize, words: &str) {
        match self.style.form {
            Form::Json | Form::Raw => return,
            Form::Short | Form::Iso | Form::Cat => {}
        }
        if self.unfinished.take().is_some() {
            self.output.push(b'\n');
        }
        let name = self.raw_names.get(service).map(Vec::as_slice).unwrap_or_default();
        for part in ["\u{2500}\u{2500} ".as_bytes(), name, b": ", words.as_bytes(), " \u{2500}\u{2500}\n".as_bytes()] {
            self.output.extend_from_slice(part);
        }
    }

    /// Appends how many lines of a service there are.
    pub fn count(&mut self, service: usize, lines: u64) {
        match self.style.form {
            Form::Json => {
                let start = self.output.len();
                self.output.extend_from_slice(b"{\"service\":");
                self.output.extend_from_slice(self.json_names.get(service).map_or(b"\"\"", Vec::as_slice));
                // Writing to a Vec cannot fail.
                let _ = write!(self.output, ",\"count\":{lines}}}");
                self.spell_out_on_terminal(start);
                self.output.push(b'\n');
            }
            Form::Short | Form::Iso | Form::Raw | Form::Cat => {
                self.name(service, b": ");
                self.number("", lines, "");
            }
        }
    }

    /// Appends how many lines all services have together.
    pub fn total(&mut self, lines: u64) {
        match self.style.form {
            Form::Json => self.number("{\"total\":", lines, "}"),
            Form::Short | Form::Iso | Form::Raw | Form::Cat => self.number("total: ", lines, ""),
        }
    }

    /// Appends how many lines there are in each minute, hour or day. On a terminal each number has a bar. With shares, it
    /// is told how many of the lines each service has: JSON names them, and bars consist of letters that stand for them.
    pub fn histogram(&mut self, unit: Unit, counts: Counts, with_shares: bool) {
        let mut rows: Vec<(Calendar, Shares)> = Vec::new();
        let mut totals = Shares::new();
        for ((minute, service), count) in counts {
            let Some(shown) = self.calendar(minute.saturating_mul(60)) else { continue };
            *totals.entry(service).or_default() += count;
            let begin = match unit {
                Unit::Minute => Calendar { second: 0, ..shown },
                Unit::Hour => Calendar { minute: 0, second: 0, ..shown },
                Unit::Day => Calendar { hour: 0, minute: 0, second: 0, ..shown },
            };
            let day = |of: &Calendar| (of.year, of.month, of.day);
            match rows.last_mut() {
                Some((last, shares)) if *last == begin || (unit == Unit::Day && day(last) == day(&begin)) => {
                    *shares.entry(service).or_default() += count;
                }
                Some(_) | None => rows.push((begin, Shares::from([(service, count)]))),
            }
        }
        let letters = match self.style.text {
            Text::Visible if with_shares => self.legend(&totals),
            Text::Visible | Text::Raw => Letters::default(),
        };
        let most = rows.iter().map(|(_, shares)| shares.values().sum()).max().unwrap_or(0);
        for (begin, shares) in rows {
            match self.style.form {
                Form::Json => self.json_row(&begin, &shares, with_shares),
                Form::Short | Form::Iso | Form::Raw | Form::Cat => self.row((unit, &begin), &shares, (most, &letters)),
            }
        }
    }

    /// Gives the services with most lines a letter each, and appends which is whose, with its number of lines.
    fn legend(&mut self, totals: &Shares) -> Letters {
        let mut services: Vec<(usize, u64)> = totals.iter().map(|(service, count)| (*service, *count)).collect();
        services.sort_by_key(|(service, count)| (Reverse(*count), *service));
        let mut letters = Letters::default();
        if self.style.form == Form::Json {
            return letters;
        }
        let (named, others) = services.split_at(services.len().min(NAMED));
        for (letter, (service, count)) in ('a'..).zip(named) {
            letters.0.insert(*service, letter);
            self.piece(&letters, *service, 1);
            self.output.push(b' ');
            let name = self.raw_names.get(*service).cloned().unwrap_or_default();
            self.output.extend_from_slice(&name);
            self.number(" ", *count, "");
        }
        if !others.is_empty() {
            let count = others.iter().map(|(_, count)| count).sum();
            self.number(&format!("{OTHERS} {} others ", others.len()), count, "");
        }
        letters
    }

    /// Appends a part of a bar: the letter of a service, as often as said, in the service's colour.
    fn piece(&mut self, letters: &Letters, service: usize, length: usize) {
        let letter = letters.0.get(&service).copied().unwrap_or(OTHERS);
        let text = String::from(letter).repeat(length);
        let (on, off) = self.colour(service);
        let is_own = letter != OTHERS && length > 0;
        let parts = if is_own { [on.as_str(), &text, off] } else { ["", &text, ""] };
        self.output.extend(parts.iter().flat_map(|part| part.bytes()));
    }

    fn row(&mut self, (unit, begin): (Unit, &Calendar), shares: &Shares, (most, letters): (u64, &Letters)) {
        let shown = begin.date_and_time(' ');
        let shown = match unit {
            Unit::Minute | Unit::Hour => shown.get(..shown.len() - 3).unwrap_or(&shown),
            Unit::Day => shown.get(..shown.len() - 9).unwrap_or(&shown),
        };
        let count: u64 = shares.values().sum();
        let width = most.to_string().len();
        // Writing to a Vec cannot fail.
        let _ = write!(self.output, "{shown} {count:width$}");
        if self.style.text == Text::Visible {
            self.output.push(b' ');
            let length = (u128::from(count) * u128::from(BAR)).div_ceil(u128::from(most.max(1)));
            let length = usize::try_from(length).unwrap_or(0);
            if letters.0.is_empty() {
                self.output.resize(self.output.len() + length, b'#');
            }
            for (service, part) in letters.parts(shares, length) {
                self.piece(letters, service, part);
            }
        }
        self.output.push(b'\n');
    }

    fn json_row(&mut self, begin: &Calendar, shares: &Shares, with_shares: bool) {
        let offset = match self.zone {
            Zone::Utc => "Z".to_string(),
            Zone::Local(_) => begin.offset_from_utc(),
        };
        let (time, count) = (begin.date_and_time('T') + &offset, shares.values().sum::<u64>());
        let start = self.output.len();
        // Writing to a Vec cannot fail.
        let _ = write!(self.output, "{{\"time\":\"{time}\",\"count\":{count}");
        if with_shares {
            self.output.extend_from_slice(b",\"services\":");
            for (number, (service, count)) in shares.iter().enumerate() {
                self.output.push(if number == 0 { b'{' } else { b',' });
                self.output.extend_from_slice(self.json_names.get(*service).map_or(b"\"\"", Vec::as_slice));
                let _ = write!(self.output, ":{count}");
            }
            self.output.push(b'}');
        }
        self.output.push(b'}');
        self.spell_out_on_terminal(start);
        self.output.push(b'\n');
    }

    fn number(&mut self, before: &str, number: u64, after: &str) {
        // Writing to a Vec cannot fail.
        let _ = writeln!(self.output, "{before}{number}{after}");
    }

    fn text(&mut self, service: usize, line: Line) {
        if self.unfinished.take().is_some_and(|other| other != service || line.begins) {
            self.output.push(b'\n');
        }
        if line.gap {
            self.gap(service);
        }
        if line.begins {
            match self.style.form {
                Form::Short | Form::Iso | Form::Json => self.front(service, line),
                Form::Raw => self.output.extend_from_slice(line.stamp),
                Form::Cat => {}
            }
        }
        match (&self.pattern, self.style.text) {
            (Some(pattern), text) => highlight::put(&mut self.output, line.text, pattern, text),
            (None, Text::Raw) => self.output.extend_from_slice(line.text),
            (None, Text::Visible) => self.output.extend_from_slice(&visible(line.text)),
        }
        match line.ends {
            true => self.output.push(b'\n'),
            false => self.unfinished = Some(service),
        }
    }

    /// Appends the time and the name.
    fn front(&mut self, service: usize, line: Line) {
        if !line.stamp.is_empty() {
            self.time(line.time);
            self.output.push(b' ');
        }
        // As grep has it.
        self.name(service, if line.role == Role::Match { b": " } else { b"- " });
    }

    /// Appends what stands between lines that do not follow each other in their log.
    fn gap(&mut self, service: usize) {
        match self.style.form {
            Form::Short | Form::Iso => self.name(service, b": "),
            Form::Raw | Form::Cat | Form::Json => {}
        }
        self.output.extend_from_slice(b"--\n");
    }

    /// Appends the name of a service, unless it is the only one.
    fn name(&mut self, service: usize, end: &[u8; 2]) {
        if let (Some(name), true) = (self.raw_names.get(service), self.raw_names.len() > 1) {
            let (on, off) = self.colour(service);
            self.output.extend_from_slice(on.as_bytes());
            self.output.extend_from_slice(name);
            self.output.extend_from_slice(&end[..1]);
            self.output.extend_from_slice(off.as_bytes());
            self.output.extend_from_slice(&end[1..]);
        }
    }

    /// What begins and ends the colour of a service.
    fn colour(&self, service: usize) -> (String, &'static str) {
        match self.style.colours {
            Colours::Names | Colours::NamesAndMatches => {
                (format!("\x1b[{}m", COLOURS[service % COLOURS.len()]), "\x1b[0m")
            }
            Colours::None => (String::new(), ""),
        }
    }

    /// Appends `2026-11-21 05:13:07.123456789`, with a `Z` in UTC; in some forms by RFC 3339.
    fn time(&mut self, label: Tai64N) {
        let Tai64N(Tai64(second), nanos) = label;
        if !self.cached.as_ref().is_some_and(|cached| cached.seconds.contains(&second)) {
            self.cached = Some(self.cache_around(second));
        }
        let Some(cached) = &self.cached else { return };
        match &cached.shown {
            Some((minute, after)) => {
                let of_minute = cached.first_second + (second - cached.seconds.start());
                self.output.extend_from_slice(minute.as_bytes());
                self.output.extend_from_slice(&second_and_fraction(of_minute, nanos));
                self.output.extend_from_slice(after.as_bytes());
            }
            // Writing to a Vec cannot fail.
            None => _ = write!(self.output, "{}", tai64::Label(label)),
        }
    }

    /// The texts for a second and, if its minute has no change of the clocks, for all seconds of this minute. RFC 3339
    /// has no years of five digits.
    fn cache_around(&self, second: u64) -> Cached {
        let unix = Tai64(second).to_unix();
        let Some(shown) = self.calendar(unix) else {
            return Cached { seconds: second..=second, first_second: 0, shown: None };
        };
        let of_minute = u64::try_from(shown.second).unwrap_or(0);
        let begin = unix - i64::from(shown.second);
        let is_shown =
            |after: i32| self.calendar(begin + i64::from(after)) == Some(Calendar { second: after, ..shown });
        let (seconds, first_second) = match is_shown(0) && is_shown(59) {
            true => (second - of_minute..=second - of_minute + 59, 0),
            false => (second..=second, of_minute),
        };
        let is_rfc_3339 = match self.style.form {
            Form::Json | Form::Iso => true,
            Form::Short | Form::Raw | Form::Cat => false,
        };
        let after = match self.zone {
            Zone::Utc => "Z".into(),
            Zone::Local(_) if is_rfc_3339 => shown.offset_from_utc(),
            Zone::Local(_) => String::new(),
        };
        let between = if is_rfc_3339 { 'T' } else { ' ' };
        let mut minute = shown.date_and_time(between);
        minute.truncate(minute.len() - 2);
        Cached { seconds, first_second, shown: Some((minute, after)) }
    }

    fn calendar(&self, second: i64) -> Option<Calendar> {
        let calendar = match self.zone {
            Zone::Utc => utc(second),
            Zone::Local(local) => local(second),
        };
        calendar.filter(|calendar| (0..=9999).contains(&calendar.year))
    }

    /// Appends an object on a line. Text that is not UTF-8 is in it twice: readable, and exact.
    fn json(&mut self, service: usize, line: Line) {
        let start = self.output.len();
        self.output.extend_from_slice(b"{\"time\":\"");
        self.time(line.time);
        self.output.extend_from_slice(b"\",\"service\":");
        self.output.extend_from_slice(self.json_names.get(service).map_or(b"\"\"", Vec::as_slice));
        self.output.extend_from_slice(b",\"text\":");
        self.json_text(line.text);
        if line.stamp.is_empty() && line.begins {
            self.output.extend_from_slice(b",\"stamped\":false");
        }
        if !line.begins {
            self.output.extend_from_slice(b",\"continued\":true");
        }
        if line.role != Role::Match {
            self.output.extend_from_slice(b",\"context\":true");
        }
        self.output.push(b'}');
        self.spell_out_on_terminal(start);
        self.output.push(b'\n');
    }

    fn json_text(&mut self, bytes: &[u8]) {
        if is_as_in_json(bytes) {
            self.output.push(b'"');
            self.output.extend_from_slice(bytes);
            self.output.push(b'"');
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        string(&mut self.output, &text);
        if matches!(text, Cow::Owned(_)) {
            self.output.extend_from_slice(b",\"base64\":");
            string(&mut self.output, &BASE64.encode(bytes));
        }
    }

    /// Escapes what could control a terminal in the JSON from `start` on, if it is for a terminal.
    fn spell_out_on_terminal(&mut self, start: usize) {
        if self.style.text == Text::Raw {
            return;
        }
        if let Ok(Cow::Owned(spelled)) = std::str::from_utf8(&self.output[start..]).map(visible_json) {
            self.output.truncate(start);
            self.output.extend_from_slice(spelled.as_bytes());
        }
    }
}

/// Two digits, a point and nine digits. Most of the time that a line takes would go into the standard library's
/// formatting.
fn second_and_fraction(second: u64, nanos: u32) -> [u8; 12] {
    let digit = |number: u32| b'0' + u8::try_from(number % 10).unwrap_or(0);
    let pair = |number: u32| [digit(number / 10), digit(number)];
    let [a, b] = pair(u32::try_from(second).unwrap_or(0));
    let [[d, e], [f, g], [h, i], [j, k]] =
        [pair(nanos / 10_000_000), pair(nanos / 100_000), pair(nanos / 1000), pair(nanos / 10)];
    [a, b, b'.', d, e, f, g, h, i, j, k, digit(nanos)]
}

/// Whether JSON has these bytes in a string as they are.
fn is_as_in_json(text: &[u8]) -> bool {
    // Without an early end, the compiler looks at many bytes at a time.
    let is_special = |byte: u8| !(b' '..=b'~').contains(&byte) | (byte == b'"') | (byte == b'\\');
    !text.iter().fold(false, |any, byte| any | is_special(*byte))
}

fn string(output: &mut Vec<u8>, text: &str) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(output, text);
}

#[cfg(test)]
mod tests;
