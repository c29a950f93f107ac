//! Positions in logs that outlive a process, and the file that has them: parsed and written. No I/O.
//!
//! The file is text. Its first line has a version, its last line is `end`, so that a file that is cut short is known for
//! one. Each line between is of one log, with words that are separated by blanks:
//!
//! `LABEL DEVICE INODE OFFSET AFTER LENGTH HASH LAST PATH`
//!
//! | word | what it is |
//! |---|---|
//! | LABEL | the label in the name of the file; `-` if it had no finished name |
//! | DEVICE INODE | the identity of the file |
//! | OFFSET | the position of the next line, in the unpacked file |
//! | AFTER | the newest finished file when this one was begun; `-`: none |
//! | LENGTH HASH | how many bytes before the position were hashed, and their hash |
//! | LAST | the stamp of the last line that was passed; `-`: none |
//! | PATH | the path of the log directory, as Rust escapes bytes |

use daemontools::tai64::{self, Label, Tai64N};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The first line of the file.
const FIRST: &str = "svlog cursor 1";
const LAST: &str = "end";

/// The position of the next line in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The label in the name of the file, if it had a finished name.
    pub label: Option<Tai64N>,
    /// The device and the inode of the file.
    pub id: (u64, u64),
    /// The position, in bytes of the unpacked file.
    pub offset: u64,
    /// The newest finished file when this one was begun.
    pub after: Option<Tai64N>,
    /// How many bytes before the position were hashed.
    pub length: u64,
    /// Their hash.
    pub hash: u64,
    /// The stamp of the last line that was passed.
    pub last: Option<Tai64N>,
}

/// The positions in several logs, by the escaped paths of their directories.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Marks(pub BTreeMap<String, Mark>);

impl Marks {
    /// The name of a log by the path of its directory.
    pub fn name(path: &[u8]) -> String {
        path.escape_ascii().to_string().replace(' ', "\\x20")
    }

    /// Parses the file. `None`: it is none of svlog's, or is not complete.
    pub fn parse(bytes: &[u8]) -> Option<Marks> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let mut lines: Vec<&str> = text.split('\n').collect();
        let is_whole = lines.len() >= 2 && lines.remove(0) == FIRST && lines.pop()? == LAST;
        let marks = lines.into_iter().map(mark).collect::<Option<BTreeMap<_, _>>>()?;
        is_whole.then_some(Marks(marks))
    }

    /// The content of the file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST}\n");
        for (path, mark) in &self.0 {
            let Mark { id: (device, inode), offset, length, hash, .. } = mark;
            let [label, after, last] = [mark.label, mark.after, mark.last].map(word);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{label} {device} {inode} {offset} {after} {length} {hash:016x} {last} {path}");
        }
        text + LAST + "\n"
    }
}

fn word(label: Option<Tai64N>) -> String {
    label.map_or("-".into(), |label| Label(label).to_string())
}

fn mark(line: &str) -> Option<(String, Mark)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [label, device, inode, offset, after, length, hash, last, path] = words.try_into().ok()?;
    let mark = Mark {
        label: parsed(label)?,
        id: (device.parse().ok()?, inode.parse().ok()?),
        offset: offset.parse().ok()?,
        after: parsed(after)?,
        length: length.parse().ok()?,
        hash: u64::from_str_radix(hash, 16).ok()?,
        last: parsed(last)?,
    };
    let is_possible = mark.length <= mark.offset && !path.is_empty();
    is_possible.then(|| (path.to_string(), mark))
}

/// A label, or none where there is `-`. The outer `None`: neither.
fn parsed(word: &str) -> Option<Option<Tai64N>> {
    if word == "-" { Some(None) } else { tai64::parse(word.as_bytes()).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::tai64::Tai64;

    fn marks() -> Marks {
        let at = |second: u64| Some(Tai64N(Tai64((1 << 62) + second), 5));
        let mark = Mark { label: at(1), id: (1, 2), offset: 40, after: None, length: 26, hash: 7, last: at(9) };
        let other = Mark { label: None, id: (u64::MAX, 3), after: at(4), last: None, ..mark.clone() };
        Marks([(Marks::name(b"/log/a b\xff\n"), mark), (Marks::name(b"/log/b"), other)].into_iter().collect())
    }

    #[test]
    fn what_is_written_is_parsed_and_nothing_that_is_cut_short_or_changed() {
        let text = marks().to_text();
        assert_eq!(text.lines().count(), 4);
        assert_eq!(Marks::parse(text.as_bytes()), Some(marks()));
        for length in 0..text.len() {
            assert_eq!(Marks::parse(&text.as_bytes()[..length]), None, "{length}");
        }
        for (from, to) in [
            ("cursor 1", "cursor 2"),
            ("end", "fin"),
            (" 40 ", " 4 "),
            (" 40 ", " -1 "),
            (" 40 ", " "),
            (" 40 ", " 40 40 "),
            ("@4", "4"),
            (" 1 2 ", " 1 99999999999999999999 "),
            ("/log/b", ""),
            ("/log/b", "/log/\u{0}\nx"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert!(changed != text && Marks::parse(changed.as_bytes()).is_none(), "{from} {to}");
        }
        assert_eq!(Marks::parse(b"\xff\n"), None);
        assert_eq!(Marks::parse(Marks::default().to_text().as_bytes()), Some(Marks::default()));
    }
}
