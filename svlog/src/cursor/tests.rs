use super::*;
use crate::lines::ROOM;
use daemontools::tai64::{Label, Tai64};

/// More than comes in one piece.
const LONG: usize = (1 << 20) + 2;

fn at(second: u64) -> Tai64N {
    Tai64N(Tai64((1 << 62) + second), 0)
}

/// The times of the files; those of stamps are smaller.
const FILES: [u64; 2] = [91, 92];

fn stamped(second: u64, text: &str) -> String {
    format!("{} {text}", Label(at(second)))
}

/// A reader that has come into a state, and what it has found since.
struct Reader<'a> {
    cursor: Cursor<'a>,
    file: usize,
    found: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, text: &str) {
        for bytes in text.as_bytes().chunks(ROOM) {
            self.cursor.lines.room()[..bytes.len()].copy_from_slice(bytes);
            self.cursor.lines.filled(bytes.len());
            self.find(false);
        }
    }

    fn next_file(&mut self, boundary: FileBoundary) {
        self.find(false);
        self.cursor.leave_file(|| at(FILES[self.file]));
        self.file = 1;
        self.cursor.begin_file(boundary);
    }

    fn find(&mut self, at_end: bool) {
        while let Some(time) = self.cursor.find(at_end, || at(FILES[self.file])) {
            let line = self.cursor.line().unwrap();
            let text = String::from_utf8_lossy(line.text);
            let text = if text.len() > 9 { format!("{}..", &text[..1]) } else { text.into_owned() };
            let (begins, ends) = (if line.begins { "" } else { "~" }, if line.ends { "" } else { "~" });
            let (second, file) = (time.0.0 - (1 << 62), self.cursor.file_number());
            self.found.push(format!("{begins}{text}{ends} {second}/{file}"));
            self.cursor.take();
        }
    }
}

/// What a reader does, and its name in the table.
type Named = (&'static str, fn(&mut Reader));

/// The states, and how a reader comes into each.
fn states() -> [Named; 5] {
    [
        ("between lines", |reader| reader.read(&(stamped(10, "a") + "\n"))),
        ("beginning after stamps", |reader| reader.read(&(stamped(10, "a") + "\nbe"))),
        ("beginning, no stamps", |reader| reader.read("be")),
        ("within a line", |reader| reader.read(&stamped(10, &"l".repeat(LONG)))),
        ("within one left out", |reader| reader.read(&stamped(50, &"l".repeat(LONG)))),
    ]
}

/// What comes then.
fn events() -> [Named; 10] {
    const STAMPED: u64 = 20;
    [
        ("the rest", |reader| reader.read("X\n")),
        ("the rest, and a line", |reader| reader.read("X\nY\n")),
        ("nothing more", |reader| reader.find(true)),
        ("next file: text", |reader| {
            reader.next_file(FileBoundary::MayGoOn);
            reader.read("X\nY\n");
        }),
        ("next file: text, nothing more", |reader| {
            reader.next_file(FileBoundary::MayGoOn);
            reader.read("X");
            reader.find(true);
        }),
        ("next file: a stamp", |reader| {
            reader.next_file(FileBoundary::MayGoOn);
            reader.read(&(stamped(STAMPED, "X") + "\nY\n"));
        }),
        ("next file: empty, nothing more", |reader| {
            reader.next_file(FileBoundary::MayGoOn);
            reader.find(true);
        }),
        ("next file after a crash: text", |reader| {
            reader.next_file(FileBoundary::Ends);
            reader.read("X\nY\n");
        }),
        ("next file after a crash: a stamp", |reader| {
            reader.next_file(FileBoundary::Ends);
            reader.read(&(stamped(STAMPED, "X") + "\n"));
        }),
        ("the file from its start", |reader| {
            reader.cursor.begin_again();
            reader.read(&(stamped(STAMPED, "X") + "\n"));
        }),
    ]
}

#[test]
fn every_event_in_every_state() {
    let table = table();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cursor/table.txt");
    if std::env::var_os("UPDATE").is_some() {
        assert!(std::env::var_os("CI").is_none(), "with CI set no file is updated");
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(table, std::fs::read_to_string(path).unwrap());
}

const LEGEND: &str = "\
What comes (down) in every state (across): the lines that are found then, each with its second and the number of the
file in which it begins. ~ is where a piece of a line goes on, .. where many bytes are. The files have the seconds 91
and 92, the stamps before are 10, and those that come 20. In the last column only lines up to second 30 are asked for,
and the one before is of second 50.
";

fn table() -> String {
    let selection = Selection { until: Some(at(95)), ..Selection::default() };
    let early = Selection { until: Some(at(30)), ..Selection::default() };
    let mut text = format!("{LEGEND}\n{:<33}", "");
    states().iter().for_each(|(name, _)| text.push_str(&format!("| {name:<25}")));
    for (event_name, event) in events() {
        text = format!("{}\n{event_name:<33}", text.trim_end());
        for (state_name, come) in states() {
            let selection = if state_name == "within one left out" { &early } else { &selection };
            let mut cursor = Cursor::new(selection, ROOM);
            cursor.leave_file(|| at(FILES[0]));
            cursor.begin_file(FileBoundary::MayGoOn);
            let mut reader = Reader { cursor, file: 0, found: Vec::new() };
            come(&mut reader);
            reader.found.clear();
            event(&mut reader);
            let found = if reader.found.is_empty() { "-".into() } else { reader.found.join(", ") };
            text.push_str(&format!("| {found:<25}"));
        }
    }
    format!("{}\n", text.trim_end())
}
