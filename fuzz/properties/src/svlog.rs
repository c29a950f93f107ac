use daemontools::tai64::Tai64N;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use svlog::lines::{FileBoundary, Lines};
use svlog::mark::Marks;
use svlog::{bisect, stamp, time_argument};

/// The reader finds the lines of the bytes, however these arrive, and stamps within them. A search by halving finds a
/// moment where a search line by line finds it. No moment that a user can write makes a number overflow. A cursor file that is taken for one is written as it is read.
pub fn lines_and_times(data: &[u8]) {
    let expected: Vec<&[u8]> = data.strip_suffix(b"\n").unwrap_or(data).split(|byte| *byte == b'\n').collect();
    let expected = if data.is_empty() { Vec::new() } else { expected };
    assert_eq!(lines([data]), expected);
    assert_eq!(lines(data.chunks(1)), expected);
    for line in &expected {
        if let Some(stamp) = stamp::of(line) {
            assert!(stamp.length <= line.len().min(stamp::LONGEST), "{}", line.escape_ascii());
        }
        joined(data, line);
    }
    search(data, &expected);
    if let Some(marks) = Marks::parse(data) {
        assert_eq!(Marks::parse(marks.to_text().as_bytes()), Some(marks));
    }
    let local = |second| Timestamp::from_second(second).ok().map(|moment| TimeZone::UTC.to_datetime(moment));
    if let (Ok(text), Ok(now)) = (std::str::from_utf8(data), "2026-11-21T00:00:00Z".parse()) {
        time_argument::moment(text, &time_argument::Clock { now, local });
    }
}

/// How many bytes are read at a time: more than any input has.
const ROOM: usize = 1 << 16;

fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut lines = Lines::new(ROOM);
    let mut found = Vec::new();
    for piece in pieces {
        read(&mut lines, piece);
        take(&mut lines, &mut found, false);
    }
    take(&mut lines, &mut found, true);
    found
}

fn read(lines: &mut Lines, piece: &[u8]) {
    lines.room()[..piece.len()].copy_from_slice(piece);
    lines.filled(piece.len());
}

fn take(lines: &mut Lines, found: &mut Vec<Vec<u8>>, at_end: bool) {
    while let Some(piece) = lines.piece(at_end) {
        found.push(lines.text(piece).to_vec());
        lines.take(piece);
    }
}

/// Checks a line that continues in the next file, unless that file begins with a stamp.
fn joined(first: &[u8], second: &[u8]) {
    let mut lines = Lines::new(ROOM);
    let mut found = Vec::new();
    read(&mut lines, first);
    take(&mut lines, &mut found, false);
    lines.next_file(FileBoundary::MayGoOn);
    read(&mut lines, second);
    take(&mut lines, &mut found, true);
    let parted = stamp::of(second).is_some() && !first.ends_with(b"\n") && !first.is_empty();
    let between: &[u8] = if parted { b"\n" } else { b"" };
    let text = [first, between, second].concat();
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    assert_eq!(found.join(&b'\n'), text, "{} and {}", first.escape_ascii(), second.escape_ascii());
}

fn search(data: &[u8], lines: &[&[u8]]) {
    let mut start = 0;
    let mut stamps: Vec<(u64, Tai64N)> = Vec::new();
    for line in lines {
        stamps.extend(stamp::of(line).map(|stamp| (start, stamp.time)));
        start += line.len() as u64 + 1;
    }
    let length = data.len() as u64;
    let found = |moment| bisect::first_line_from(data, length, moment).ok().flatten();
    let Some((_, moment)) = stamps.get(stamps.len() / 2).copied() else {
        return assert_eq!(found(Tai64N::now()), None);
    };
    // Lines before the first stamp have its time.
    stamps.iter_mut().take(1).for_each(|(start, _)| *start = 0);
    let first = stamps.iter().find(|(_, time)| *time >= moment).map(|(start, _)| *start);
    if stamps.is_sorted_by_key(|(_, time)| *time) {
        assert_eq!(found(moment), first, "{}", data.escape_ascii());
    } else {
        let starts = |at: u64| at == length || stamps.iter().any(|(start, _)| *start == at);
        assert!(found(moment).is_some_and(starts), "{}", data.escape_ascii());
    }
}
