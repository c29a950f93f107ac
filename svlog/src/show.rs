//! Formats lines as text, with colours on a terminal, or as JSON. No I/O.

use crate::cursor::Line;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use daemontools::sys::localtime::{Calendar, utc};
use daemontools::tai64::{self, Tai64N};
use daemontools::terminal::{visible, visible_json};
use std::borrow::Cow;
use std::io::Write;

/// The colours of the services, one after the other. Red stays for errors, and black and white may be the background.
const COLOURS: [&str; 5] = ["36", "33", "32", "35", "34"];

/// How lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Coloured,
    Json,
}

/// How svlog shows bytes that other accounts may have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// The bytes are shown unchanged.
    Raw,
    /// Control characters are escaped.
    Visible,
}

/// The time zone in which times are shown.
#[derive(Debug, Clone, Copy)]
pub enum Zone {
    /// Local time, by a function that gives the local time of a second since 1970.
    Local(fn(i64) -> Option<Calendar>),
    Utc,
}

/// The last second and its text (none beyond the calendar), as most lines have the same second as the line before.
struct Cached {
    second: u64,
    shown: Option<(String, String)>,
}

/// Formats lines as bytes.
pub struct Show {
    style: Style,
    text: Text,
    zone: Zone,
    /// The names of the services. A single service is shown without its name.
    names: Vec<String>,
    raw_names: Vec<Vec<u8>>,
    cached: Option<Cached>,
    /// The service whose line was begun but not ended.
    unfinished: Option<usize>,
    pub output: Vec<u8>,
}

impl Show {
    /// `names` are the names of the services, in their order.
    pub fn new(style: Style, text: Text, zone: Zone, mut raw_names: Vec<Vec<u8>>) -> Show {
        let names = raw_names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        if text == Text::Visible {
            raw_names.iter_mut().for_each(|name| *name = visible(name).into_owned());
        }
        Show { style, text, zone, names, raw_names, cached: None, unfinished: None, output: Vec::new() }
    }

    /// Appends a line, or a piece of one, of the service with that number.
    pub fn line(&mut self, service: usize, line: Line) {
        match self.style {
            Style::Json => self.json(service, line),
            Style::Plain | Style::Coloured => self.text(service, line),
        }
    }

    fn text(&mut self, service: usize, line: Line) {
        if self.unfinished.take().is_some_and(|other| other != service || line.begins) {
            self.output.push(b'\n');
        }
        if line.begins {
            self.front(service, line);
        }
        match self.text {
            Text::Raw => self.output.extend_from_slice(line.text),
            Text::Visible => self.output.extend_from_slice(&visible(line.text)),
        }
        match line.ends {
            true => self.output.push(b'\n'),
            false => self.unfinished = Some(service),
        }
    }

    /// Appends the time and the name.
    fn front(&mut self, service: usize, line: Line) {
        if line.stamped {
            self.time(line.time);
            self.output.push(b' ');
        }
        if let (Some(name), true) = (self.raw_names.get(service), self.raw_names.len() > 1) {
            let (on, off) = match self.style {
                Style::Coloured => (format!("\x1b[{}m", COLOURS[service % COLOURS.len()]), "\x1b[0m"),
                Style::Plain | Style::Json => (String::new(), ""),
            };
            self.output.extend_from_slice(on.as_bytes());
            self.output.extend_from_slice(name);
            self.output.extend_from_slice(b":");
            self.output.extend_from_slice(off.as_bytes());
            self.output.push(b' ');
        }
    }

    /// Appends `2026-11-21 05:13:07.123456789`, with a `Z` in UTC; in JSON by RFC 3339.
    fn time(&mut self, label: Tai64N) {
        let Tai64N(second, nanos) = label;
        if self.cached.as_ref().is_none_or(|cached| cached.second != second.0) {
            let shown = self.around_nanos(second.to_unix());
            self.cached = Some(Cached { second: second.0, shown });
        }
        // Writing to a Vec cannot fail.
        let _ = match self.cached.as_ref().and_then(|cached| cached.shown.as_ref()) {
            Some((before, after)) => write!(self.output, "{before}.{nanos:09}{after}"),
            None => write!(self.output, "{}", tai64::Label(label)),
        };
    }

    /// The texts before the point and after the nanoseconds. RFC 3339 has no years of five digits.
    fn around_nanos(&self, second: i64) -> Option<(String, String)> {
        let calendar = match self.zone {
            Zone::Utc => utc(second),
            Zone::Local(local) => local(second),
        };
        let calendar = calendar.filter(|calendar| (0..=9999).contains(&calendar.year))?;
        let after = match (self.zone, self.style) {
            (Zone::Utc, _) => "Z".into(),
            (Zone::Local(_), Style::Json) => calendar.offset_from_utc(),
            (Zone::Local(_), Style::Plain | Style::Coloured) => String::new(),
        };
        let between = if self.style == Style::Json { 'T' } else { ' ' };
        Some((calendar.date_and_time(between), after))
    }

    /// Appends an object on a line. Text that is not UTF-8 is in it twice: readable, and exact.
    fn json(&mut self, service: usize, line: Line) {
        let start = self.output.len();
        self.output.extend_from_slice(b"{\"time\":\"");
        self.time(line.time);
        self.output.extend_from_slice(b"\",\"service\":");
        let text = String::from_utf8_lossy(line.text);
        string(&mut self.output, self.names.get(service).map_or("", String::as_str));
        self.output.extend_from_slice(b",\"text\":");
        string(&mut self.output, &text);
        if matches!(text, Cow::Owned(_)) {
            self.output.extend_from_slice(b",\"base64\":");
            string(&mut self.output, &BASE64.encode(line.text));
        }
        if !line.stamped && line.begins {
            self.output.extend_from_slice(b",\"stamped\":false");
        }
        if !line.begins {
            self.output.extend_from_slice(b",\"continued\":true");
        }
        self.output.push(b'}');
        let spelled = std::str::from_utf8(&self.output[start..]).map(visible_json);
        if let (Text::Visible, Ok(Cow::Owned(spelled))) = (self.text, spelled) {
            self.output.truncate(start);
            self.output.extend_from_slice(spelled.as_bytes());
        }
        self.output.push(b'\n');
    }
}

fn string(output: &mut Vec<u8>, text: &str) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(output, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::tai64::Tai64;
    use serde_json::Value;

    fn line(text: &[u8]) -> Line<'_> {
        let time = Tai64N(Tai64::from_unix(1_795_243_987), 123_456_789);
        Line { time, stamped: true, text, begins: true, ends: true }
    }

    fn shown(style: Style, zone: Zone, names: &[&str], lines: &[(usize, Line)]) -> String {
        shown_as((style, Text::Raw), zone, names, lines)
    }

    fn shown_as((style, text): (Style, Text), zone: Zone, names: &[&str], lines: &[(usize, Line)]) -> String {
        let mut show = Show::new(style, text, zone, names.iter().map(|name| name.as_bytes().to_vec()).collect());
        lines.iter().for_each(|(service, line)| show.line(*service, *line));
        String::from_utf8_lossy(&show.output).into_owned()
    }

    /// An hour ahead of UTC.
    const AHEAD: Zone = Zone::Local(|second| Some(Calendar { offset: 3600, ..utc(second + 3600)? }));

    #[test]
    fn text_has_local_time_and_the_names_where_there_are_several() {
        let lines = [(0, line(b"a")), (1, line(b"b\xff")), (0, Line { stamped: false, ..line(b"c") })];
        let alone = shown(Style::Plain, AHEAD, &["web"], &lines[..1]);
        assert_eq!(alone, "2026-11-21 07:53:07.123456789 a\n");
        assert_eq!(shown(Style::Plain, Zone::Utc, &["web"], &lines[..1]), "2026-11-21 06:53:07.123456789Z a\n");
        let several = shown(Style::Plain, AHEAD, &["web", "db"], &lines);
        let expected = "2026-11-21 07:53:07.123456789 web: a\n2026-11-21 07:53:07.123456789 db: b\u{fffd}\nweb: c\n";
        assert_eq!(several, expected);
        let coloured = shown(Style::Coloured, AHEAD, &["web", "db"], &lines[..1]);
        assert_eq!(coloured, "2026-11-21 07:53:07.123456789 \x1b[36mweb:\x1b[0m a\n");
    }

    #[test]
    fn what_commands_a_terminal_is_spelled_out_but_for_the_colours() {
        let lines = [(0, Line { stamped: false, ..line("\x1b[2J\u{9b}1m gr\u{fc}n\x07".as_bytes()) })];
        let names = ["w\x1bb", "db"];
        for (style, text, expected) in [
            (Style::Plain, Text::Visible, "w\\x1bb: \\x1b[2J\\u009b1m grün\\x07\n"),
            (Style::Coloured, Text::Visible, "\x1b[36mw\\x1bb:\x1b[0m \\x1b[2J\\u009b1m grün\\x07\n"),
            (Style::Plain, Text::Raw, "w\x1bb: \x1b[2J\u{9b}1m grün\x07\n"),
        ] {
            assert_eq!(shown_as((style, text), Zone::Utc, &names, &lines), expected);
        }
        let json = [Text::Visible, Text::Raw].map(|text| shown_as((Style::Json, text), Zone::Utc, &names, &lines));
        let values = json.each_ref().map(|json| serde_json::from_str::<Value>(json).unwrap());
        assert_eq!(values[0], values[1]);
        assert!(json[0].contains("\\u001b[2J\\u009b1m grün") && json[1].contains('\u{9b}'), "{json:?}");
    }

    #[test]
    fn pieces_are_one_line_again_unless_another_comes_between() {
        let first = Line { ends: false, stamped: false, ..line(b"a") };
        let middle = Line { begins: false, ..first };
        let last = Line { begins: false, stamped: false, ..line(b"b") };
        let table: [(&[_], _); 2] = [
            (&[(0, first), (0, middle), (0, last)], "web: aab\n"),
            (&[(0, first), (1, Line { stamped: false, ..line(b"x") }), (0, last)], "web: a\ndb: x\nb\n"),
        ];
        for (lines, expected) in table {
            assert_eq!(shown(Style::Plain, Zone::Utc, &["web", "db"], lines), expected);
        }
    }

    #[test]
    fn json_is_an_object_a_line_and_keeps_every_byte() {
        let table: [(Line, &str); 4] = [
            (line(b"a \"b\"\t\0"), r#""text":"a \"b\"\t\u0000""#),
            (line(b"\xff"), r#""base64":"/w==""#),
            (Line { stamped: false, ..line(b"") }, r#""stamped":false"#),
            (Line { begins: false, ..line(b"") }, r#""continued":true"#),
        ];
        for (line, expected) in table {
            let text = shown(Style::Json, Zone::Utc, &["web"], &[(0, line)]);
            assert!(text.contains(expected) && text.ends_with("}\n"), "{text}");
            let object: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (&object["time"], &object["service"]),
                (&"2026-11-21T06:53:07.123456789Z".into(), &"web".into())
            );
        }
        let local = shown(Style::Json, AHEAD, &["web"], &[(0, line(b""))]);
        assert!(local.contains("2026-11-21T07:53:07.123456789+01:00"), "{local}");
    }

    #[test]
    fn a_time_beyond_all_calendars_is_a_label() {
        let late = Line { time: Tai64N(Tai64((1 << 63) - 1), 0), ..line(b"x") };
        assert_eq!(shown(Style::Plain, Zone::Utc, &["w"], &[(0, late)]), "@7fffffffffffffff00000000 x\n");
        assert!(shown(Style::Json, Zone::Utc, &["w"], &[(0, late)]).contains("@7fffffffffffffff00000000"));
    }
}
