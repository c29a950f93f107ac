//! How grave a line is, as far as its text tells. No I/O.
//!
//! 1. A line that is a JSON object: its member `level`, `severity` or `lvl`, the first of these that it has.
//! 2. Other lines: `<3>` at the beginning, as syslog and systemd have it;
//! 3. a field of logfmt with one of these names;
//! 4. the first word in the first 128 bytes that names a level, if it is in capital letters, stands in brackets, or has
//!    a colon behind it.
//!
//! A level is a name in letters of either case, or a number: 0 to 7 as in syslog, 10 to 60 as in pino and bunyan.

use crate::fields::{logfmt, object};
use crate::pattern::Pattern;
use serde_json::Value;

/// The levels, from the least to the gravest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

/// The names of levels.
const NAMES: [(&str, Level); 21] = [
    ("trace", Level::Trace),
    ("verbose", Level::Trace),
    ("debug", Level::Debug),
    ("dbg", Level::Debug),
    ("info", Level::Info),
    ("information", Level::Info),
    ("inf", Level::Info),
    ("notice", Level::Notice),
    ("warning", Level::Warning),
    ("warn", Level::Warning),
    ("wrn", Level::Warning),
    ("error", Level::Error),
    ("err", Level::Error),
    ("severe", Level::Error),
    ("critical", Level::Critical),
    ("crit", Level::Critical),
    ("fatal", Level::Critical),
    ("alert", Level::Alert),
    ("emergency", Level::Emergency),
    ("emerg", Level::Emergency),
    ("panic", Level::Emergency),
];
/// The numbers of syslog, from 0 on.
const SYSLOG: [Level; 8] = [
    Level::Emergency,
    Level::Alert,
    Level::Critical,
    Level::Error,
    Level::Warning,
    Level::Notice,
    Level::Info,
    Level::Debug,
];
/// The numbers of pino and bunyan: 10, 20 and so on.
const TENS: [Level; 6] = [Level::Trace, Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];
/// The names of fields that have the level.
const KEYS: [&str; 3] = ["level", "severity", "lvl"];
/// How many bytes of a text are searched for a word.
const BEGINNING: usize = 128;

impl Level {
    /// The level of this name or number.
    pub fn parse(text: &[u8]) -> Option<Level> {
        let named = NAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, level)| *level).or_else(|| Level::numbered(std::str::from_utf8(text).ok()?.parse().ok()?))
    }

    fn numbered(number: u64) -> Option<Level> {
        let number = usize::try_from(number).ok()?;
        match (number / 10, number % 10) {
            (0, units) => SYSLOG.get(units).copied(),
            (tens, 0) => TENS.get(tens - 1).copied(),
            (_, _) => None,
        }
    }

    /// The level of a line with this text.
    pub fn of(text: &[u8]) -> Option<Level> {
        match object(text) {
            Some(object) => match KEYS.iter().find_map(|key| object.get(*key))? {
                Value::String(name) => Level::parse(name.as_bytes()),
                Value::Number(number) => Level::numbered(number.as_u64()?),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            },
            None => of_syslog(text).or_else(|| of_logfmt(text)).or_else(|| of_words(text)),
        }
    }
}

/// `<3>` at the beginning. syslog's number has the level in its last three bits.
fn of_syslog(text: &[u8]) -> Option<Level> {
    let rest = text.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|byte| *byte == b'>')?;
    let digits = rest[..end].iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(&rest[..end]).ok())??;
    let number: u16 = digits.parse().ok()?;
    SYSLOG.get(usize::from(number % 8)).copied()
}

fn of_logfmt(text: &[u8]) -> Option<Level> {
    let is_key = |key: &[u8]| KEYS.iter().any(|name| name.as_bytes() == key);
    logfmt(text).filter(|(key, _)| is_key(key)).find_map(|(_, value)| Level::parse(&value))
}

fn of_words(text: &[u8]) -> Option<Level> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let mut start = 0;
    while start < text.len().min(BEGINNING) {
        let length = text[start..].iter().take(BEGINNING).take_while(|byte| is_part(**byte)).count();
        let (word, before, after) = (&text[start..start + length], text[..start].last(), text.get(start + length));
        let is_marked = word.iter().all(u8::is_ascii_uppercase)
            || after == Some(&b':')
            || matches!(
                (before, after),
                (Some(b'['), Some(b']')) | (Some(b'<'), Some(b'>')) | (Some(b'('), Some(b')'))
            );
        let named = NAMES.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        if let Some((_, level)) = named.filter(|_| is_marked) {
            return Some(*level);
        }
        start += length + 1;
    }
    None
}

/// The lines that are at least this grave.
#[derive(Debug, Clone)]
pub struct AtLeast {
    level: Level,
    block: Pattern,
}

impl AtLeast {
    /// The lines of this level and of graver ones. None: there is no such level.
    pub fn parse(name: &str) -> Option<AtLeast> {
        let level = Level::parse(name.as_bytes())?;
        let names: Vec<&str> = NAMES.iter().filter(|(_, other)| *other >= level).map(|(name, _)| *name).collect();
        let keys = KEYS.join("|");
        let text = format!(r#"(?i:{})|(?:{keys})"?\s*[:=]\s*"?[0-9]|<[0-9]|\\u"#, names.join("|"));
        Some(AtLeast { level, block: Pattern::new(&text).ok()? })
    }

    /// What blocks of lines are searched for: a line without it is less grave, or its level is not known.
    pub fn for_blocks(&self) -> &Pattern {
        &self.block
    }

    /// Whether a line with this text is as grave.
    pub fn is_match(&self, text: &[u8]) -> bool {
        Level::of(text).is_some_and(|level| level >= self.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_level_is_found_where_programs_write_it() {
        for (text, expected) in [
            (r#"{"level":"error","msg":"x"}"#, Some(Level::Error)),
            (r#"{"msg":"ERROR","severity":"WARNING"}"#, Some(Level::Warning)),
            (r#"{"lvl":"dbg","level":"Info"}"#, Some(Level::Info)),
            (r#"{"level":50}"#, Some(Level::Error)),
            (r#"{"level":3}"#, Some(Level::Error)),
            (r#"{"level":"30"}"#, Some(Level::Info)),
            (r#"{"level":35}"#, None),
            (r#"{"msg":"ERROR: x"}"#, None),
            ("<3>disk full", Some(Level::Error)),
            ("<13>a notice", Some(Level::Notice)),
            ("<191>a line", Some(Level::Debug)),
            ("<x>ERROR", Some(Level::Error)),
            ("ts=1 level=warn msg=\"an ERROR\"", Some(Level::Warning)),
            ("lvl=crit", Some(Level::Critical)),
            ("level=odd ERROR", Some(Level::Error)),
            ("2024/01/01 12:00:00 [error] 123#0: *1 open() failed", Some(Level::Error)),
            ("2024-01-01 12:00:00,123 - name - ERROR - msg", Some(Level::Error)),
            ("WARNING:root:msg", Some(Level::Warning)),
            ("2024-01-01 00:00:00 UTC [123] FATAL:  no", Some(Level::Critical)),
            ("[2024-01-01T00:00:00Z WARN  crate] msg", Some(Level::Warning)),
            ("2024-01-01 \x1b[31mERROR\x1b[0m crate: msg", None),
            ("multilog: fatal: unable to open", Some(Level::Critical)),
            ("multilog: warning: x", Some(Level::Warning)),
            ("error: cannot find", Some(Level::Error)),
            ("an error occurred", None),
            ("Error occurred", None),
            ("MY_ERROR is no word", None),
            ("INFO: no ERROR", Some(Level::Info)),
            ("emerg: x", Some(Level::Emergency)),
            ("", None),
        ] {
            assert_eq!(Level::of(text.as_bytes()), expected, "{text:?}");
        }
        let far = format!("{} ERROR", "x ".repeat(70));
        assert_eq!(Level::of(far.as_bytes()), None);
    }

    #[test]
    fn lines_of_a_level_and_graver_ones_match() {
        for (name, expected) in [("warn", "wec"), ("ERROR", "ec"), ("3", "ec"), ("50", "ec"), ("debug", "diwec")] {
            let least = AtLeast::parse(name).unwrap();
            let lines = [("d", "DEBUG"), ("i", "INFO"), ("w", "WARN"), ("e", "ERR"), ("c", "CRIT"), ("", "x")];
            let found: String =
                lines.iter().filter(|(_, text)| least.is_match(text.as_bytes())).map(|(letter, _)| *letter).collect();
            assert_eq!(found, expected, "{name}");
        }
        for name in ["", "loud", "8", "35", "70", "-1"] {
            assert!(AtLeast::parse(name).is_none(), "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn no_block_is_passed_over_that_has_a_line_as_grave(
            least in "trace|info|warn|err|crit|emerg",
            text in r#"(<[0-9]{1,3}>|\[|ts=1 )?(\{"|)(level|severity|lvl|msg)("? ?[:=] ?"?)(error|WARN|Info|crit|[0-9]{1,2}|\\u0065rror)("?\}|\]|:|)( ERROR| WARN:)?"#,
        ) {
            let least = AtLeast::parse(&least).unwrap();
            let is_found = least.for_blocks().find(text.as_bytes()).is_some();
            prop_assert!(is_found || !least.is_match(text.as_bytes()), "{}", text);
        }
    }
}
