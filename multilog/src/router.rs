//! Decides where lines go: lines come in, and bytes for each log directory go out. No I/O and no clock.

mod in_bulk;
mod output;

use crate::prefilter::Prefilter;
use crate::script::Script;
use crate::steps::{Destinations, LineStart, SEEN, SideOutput, Steps};
use crate::syslog::Identity;
use daemontools::logdir::stamp::StampKind;
use daemontools::logdir::stamp::write::Stamper;
use daemontools::tai64::Moment;
pub use output::{HasOutput, Input, Line, Output, is_full};
use output::{each, put};
use std::time::Duration;

/// The most bytes that are taken at a time. With their stamps, they have to fit into the processor's cache, and into
/// little memory even if all lines are empty.
const MOST_TAKEN: usize = 64 * 1024;
/// What lines send to other places than directories is written there once it is this many bytes.
const MOST_ASIDE: usize = 128 * 1024;

/// Sends lines to the places that the script names.
pub struct Router {
    steps: Steps,
    is_plain: bool,
    is_selective: bool,
    only_selects: bool,
    /// Finds lines that match no pattern but `*`; `others` is where these go.
    prefilter: Option<Prefilter>,
    others: Destinations,
    needs_clock: bool,
    stamper: Stamper,
    /// Where the input stands.
    pub line: Line,
    /// Whether [`Router::take`] stops after the line that the input is in the middle of, as a new file is due then.
    pub stops_at_line_end: bool,
    line_start: Vec<u8>,
    most_taken: usize,
    most_aside: usize,
}

impl Router {
    /// Makes the router do with this much memory: what is put out for a batch of lines takes a small part of it.
    pub fn with_memory(mut self, limit: u64) -> Router {
        let part = |divisor| usize::try_from(limit / divisor).unwrap_or(usize::MAX);
        // An empty line becomes a stamp, and a vector that grows is in memory twice for a moment.
        self.most_taken = part(128).clamp(2 * SEEN, MOST_TAKEN);
        self.most_aside = part(16).min(MOST_ASIDE);
        self
    }

    /// Makes the router of a script. It is at the beginning of a line.
    pub fn new(script: &Script, identity: &Identity) -> Router {
        let steps = Steps::new(script, identity);
        Router {
            is_plain: script.is_plain(),
            is_selective: !script.only_writes(),
            only_selects: steps.only_selects(),
            prefilter: steps.prefilter(),
            others: steps.destinations_of_others(),
            needs_clock: script.stamp != StampKind::None || steps.need_clock(),
            stamper: Stamper::new(script.stamp),
            line: Line::Fresh,
            stops_at_line_end: false,
            line_start: Vec::with_capacity(SEEN + 1),
            most_taken: MOST_TAKEN,
            most_aside: MOST_ASIDE,
            steps,
        }
    }

    /// Goes on in a line, in those of its places that this script knows.
    pub fn resume(&mut self, line: Line) {
        self.line = match line {
            Line::Fresh => Line::Fresh,
            Line::Within(to) => Line::Within(to & self.steps.destinations()),
        };
    }

    /// Gives the lines that come next the time `now`.
    pub fn batch(&mut self, now: Moment) {
        self.stamper.batch(now.label);
        self.steps.now = now.uptime;
    }

    /// Whether the caller has to read the clock before each batch.
    pub fn needs_clock(&self) -> bool {
        self.needs_clock
    }

    /// When suppressed lines are to be reported even if no input comes.
    pub fn deadline(&self) -> Option<Duration> {
        self.steps.deadline().filter(|_| self.line == Line::Fresh)
    }

    /// Takes lines off the beginning of `data` until it is used up, or the rest is the beginning of a
    /// line that may matter as a whole, or a file is full. Returns how many bytes were taken.
    pub fn take(&mut self, data: &[u8], input: Input, outputs: &mut [impl HasOutput], side: &mut SideOutput) -> usize {
        let (data, input) = match data.get(..self.most_taken) {
            Some(part) if part.len() < data.len() => (part, Input::Open),
            _ => (data, input),
        };
        let is_last = self.stops_at_line_end && self.line != Line::Fresh;
        let mut taken = if self.is_selective {
            self.select_lines(data, outputs, side)
        } else {
            self.stamp_lines(data, Destinations::MAX, outputs)
        };
        while side.size() < self.most_aside && !outputs.iter().any(|place| place.output().is_full(self.line)) {
            if self.line == Line::Fresh && self.tell_suppressed(self.steps.now, outputs, side) {
                continue;
            }
            let rest = &data[taken..];
            if rest.is_empty() {
                break;
            }
            let used = match self.line {
                Line::Fresh => self.begin_line(rest, input, outputs, side),
                Line::Within(to) => self.go_on(rest, to, outputs, side),
            };
            if used == 0 {
                break;
            }
            taken += used;
            if is_last && self.line == Line::Fresh {
                break;
            }
        }
        taken
    }

    /// Ends a line that has no newline at the end of the input.
    pub fn end_line(&mut self, outputs: &mut [impl HasOutput], side: &mut SideOutput) {
        if let Line::Within(to) = std::mem::replace(&mut self.line, Line::Fresh) {
            put(to, b"\n", outputs, side);
        }
    }

    /// Reports all lines that were suppressed.
    pub fn end(&mut self, outputs: &mut [impl HasOutput], side: &mut SideOutput) {
        while self.tell_suppressed(Duration::MAX, outputs, side) {}
    }

    fn begin_line(
        &mut self,
        rest: &[u8],
        input: Input,
        outputs: &mut [impl HasOutput],
        side: &mut SideOutput,
    ) -> usize {
        let newline = memchr::memchr(b'\n', rest);
        let length = newline.unwrap_or(rest.len());
        if newline.is_none() && length < SEEN && input == Input::Open {
            return 0;
        }
        self.line_start.clear();
        self.stamper.put(&mut self.line_start);
        let stamp = self.line_start.len();
        let seen = length.min(SEEN - stamp);
        self.line_start.extend_from_slice(&rest[..seen]);
        let goes_on = seen < length || newline.is_none() && input == Input::Open;
        let to = self.put_head(0, (stamp, goes_on), outputs, side);
        if goes_on {
            self.line = Line::Within(to);
            return seen;
        }
        length + usize::from(newline.is_some())
    }

    /// Performs the script, from a step on, on the line whose beginning is in `line_start`, with a stamp of this
    /// length.
    fn put_head(
        &mut self,
        from: usize,
        (stamp, goes_on): (usize, bool),
        outputs: &mut [impl HasOutput],
        side: &mut SideOutput,
    ) -> Destinations {
        let line_start = LineStart { bytes: &self.line_start, stamp, goes_on, time: self.stamper.last() };
        let to = self.steps.judge(from, &line_start, side);
        each(to, outputs, |number, output| {
            output.add(&self.line_start[..stamp]);
            output.add(self.steps.prefix(number));
            output.add(&self.line_start[stamp..]);
            output.add(if goes_on { b"" } else { b"\n" });
        });
        to
    }

    /// Adds a line that reports what a rate limit has suppressed, if the time for that has come.
    fn tell_suppressed(&mut self, now: Duration, outputs: &mut [impl HasOutput], side: &mut SideOutput) -> bool {
        let Some((count, next)) = self.steps.take_suppressed(now) else { return false };
        self.line_start.clear();
        self.stamper.put(&mut self.line_start);
        let stamp = self.line_start.len();
        let lines = if count == 1 { "line" } else { "lines" };
        self.line_start.extend_from_slice(format!("multilog: {count} {lines} suppressed").as_bytes());
        self.put_head(next, (stamp, false), outputs, side);
        true
    }

    /// Passes on the rest of a long line. The router does not keep it, so that a line may have any length; it is cut
    /// where a file is full.
    fn go_on(&mut self, rest: &[u8], to: Destinations, outputs: &mut [impl HasOutput], side: &mut SideOutput) -> usize {
        let mut room = rest.len();
        each(to, outputs, |_, output| room = room.min(output.room()));
        let newline = memchr::memchr(b'\n', rest);
        let piece = &rest[..newline.map_or(rest.len(), |at| at + 1).min(room)];
        put(to, piece, outputs, side);
        if piece.ends_with(b"\n") {
            self.line = Line::Fresh;
        }
        piece.len()
    }
}

#[cfg(test)]
mod tests {
    use super::output::NEARLY_FULL;
    use super::*;
    use daemontools::tai64::{Tai64, Tai64N};
    use proptest::prelude::*;
    use std::ffi::OsString;

    fn route(script: &[&str], pieces: &[&[u8]], limit: u64) -> (Vec<Vec<u8>>, SideOutput) {
        let script = Script::parse(script.iter().map(OsString::from));
        let router = Router::new(&script, &Identity::default());
        route_by(router, &script, pieces, limit)
    }

    /// What the files of the first directory have in the end, and what goes to other places.
    fn route_by(mut router: Router, script: &Script, pieces: &[&[u8]], limit: u64) -> (Vec<Vec<u8>>, SideOutput) {
        router.batch(Moment { uptime: Duration::ZERO, label: Tai64N(Tai64(0x4000_0000_0000_000a), 0) });
        let mut outputs: Vec<Output> =
            script.directories.iter().map(|_| Output { limit, ..Output::default() }).collect();
        let mut files = vec![Vec::new()];
        let (mut side, mut data) = (SideOutput::new(9), Vec::new());
        for (index, piece) in pieces.iter().enumerate() {
            data.extend_from_slice(piece);
            let input = if index + 1 == pieces.len() { Input::Ended } else { Input::Open };
            loop {
                let plain = router.plain_part(&data, &outputs);
                let taken = match plain {
                    Some(plain) => {
                        outputs.iter_mut().for_each(|output| output.add(&data[..plain]));
                        plain
                    }
                    None => router.take(&data, input, &mut outputs, &mut side),
                };
                data.drain(..taken);
                if outputs.first().is_some_and(|output| output.is_full(router.line)) {
                    files.last_mut().unwrap().append(&mut outputs[0].pending);
                    outputs[0].size = 0;
                    files.push(Vec::new());
                } else if taken == 0 {
                    break;
                }
            }
        }
        router.end_line(&mut outputs, &mut side);
        router.end(&mut outputs, &mut side);
        if let Some(output) = outputs.first_mut() {
            files.last_mut().unwrap().append(&mut output.pending);
        }
        (files, side)
    }

    #[test]
    fn lines_are_selected_stamp_and_all() {
        let (files, _) = route(&["t", "-*", "+* b*", "./d"], &[b"a\nb1\nb2\n"], 99999);
        assert_eq!(files, [b"@400000000000000a00000001 b1\n@400000000000000a00000002 b2\n"]);
    }

    #[test]
    fn stamped_lines_go_to_every_directory_until_one_is_full() {
        let script = Script::parse(["t", "./a", "./b"].iter().map(OsString::from));
        let mut router = Router::new(&script, &Identity::default());
        let mut outputs = [99999, NEARLY_FULL + 60].map(|limit| Output { limit, ..Output::default() });
        let taken = router.take(b"a\nb\nc\nd\n", Input::Open, &mut outputs, &mut SideOutput::default());
        assert_eq!((taken, outputs[0].size, outputs[1].size), (6, 84, 84));
        assert!(outputs[0].pending.ends_with(b"00000002 c\n") && outputs[0].pending == outputs[1].pending);
    }

    #[test]
    fn prefixes_stand_behind_stamps_and_no_pattern_sees_them() {
        let script = ["T", "x", "p[web] ", "-*web*", "-b", "./d", "p", "o", "p> ", "e", "u/dev/log"];
        let (files, side) = route(&script, &[b"a\nb\n"], 99999);
        assert_eq!(files, [b"0.000000 [web] a\n"]);
        assert_eq!((&side.lines[..], &side.alerts[..]), (&b"0.000000 a\n"[..], &b"0.000000 > a\n"[..]));
        assert_eq!(side.messages[0], b"<30>1 1970-01-01T00:00:00.000000Z - - - - - > a\n");
    }

    #[test]
    fn a_long_line_reaches_each_destination_as_the_script_says() {
        let long = [b'x'; 2500];
        let (files, side) = route(&["p> ", "./d", "o", "p! ", "o", "u/dev/log"], &[&long, b"y\nz\n"], 99999);
        assert_eq!(files, [[b"> ", &long[..], b"y\n> z\n"].concat()]);
        assert_eq!(side.lines, [b"> ", &long[..], b"y\n> z\n! z\n"].concat());
        let messages: Vec<&[u8]> = side.messages[0].split_inclusive(|byte| *byte == b'\n').collect();
        assert!(messages[0].ends_with(&[b"! ", &long[..1000], b"...\n"].concat()) && messages[1].ends_with(b"! z\n"));
    }

    #[test]
    fn what_a_limit_suppresses_is_told_to_the_actions_after_it() {
        let (files, side) = route(&["-c", "o", "l2/1s", "p> ", "./d", "-*s*", "e"], &[b"a\nb\nc\nd\ne\n"], 99999);
        assert_eq!(files, [b"> a\n> b\n> multilog: 2 lines suppressed\n"]);
        assert_eq!((&side.lines[..], &side.alerts[..]), (&b"a\nb\nd\ne\n"[..], &b"> a\n> b\n"[..]));
    }

    #[test]
    fn once_its_window_is_over_a_limit_tells_without_input() {
        let script = Script::parse(["l0/1s", "o"].iter().map(OsString::from));
        let mut router = Router::new(&script, &Identity::default());
        let mut side = SideOutput::default();
        let at = |seconds| Moment { uptime: Duration::from_secs(seconds), ..Moment::ZERO };
        router.batch(at(5));
        router.take(b"a\n", Input::Open, &mut [] as &mut [Output], &mut side);
        assert_eq!((router.deadline(), side.is_empty()), (Some(Duration::from_secs(6)), true));
        router.batch(at(6));
        router.take(b"", Input::Open, &mut [] as &mut [Output], &mut side);
        assert_eq!((router.deadline(), &side.lines[..]), (None, &b"multilog: 1 line suppressed\n"[..]));
    }

    #[test]
    fn a_line_is_resumed_where_this_script_has_a_place_for_it() {
        let script = Script::parse(["./d"].iter().map(OsString::from));
        let mut router = Router::new(&script, &Identity::default());
        router.resume(Line::Within(u64::MAX));
        assert_eq!(router.line, Line::Within(1));
    }

    #[test]
    fn a_line_waits_for_its_end_unless_it_is_long() {
        let long = [b'x'; 1500];
        let (files, _) = route(&["-y*", "./d"], &[b"ab", b"c\n", &long, b"yy\nz"], 99999);
        assert_eq!(files, [[b"abc\n", &long[..], b"yy\nz\n"].concat()]);
    }

    #[test]
    fn alerts_show_two_hundred_bytes() {
        let (_, side) = route(&["e"], &[&[b'x'; 200], b"\n", &[b'y'; 201], b"\n"], 99999);
        assert_eq!(side.alerts, [&[b'x'; 200][..], b"\n", &[b'y'; 200], b"...\n"].concat());
    }

    #[test]
    fn a_status_is_the_last_line_and_blank_lines_up_to_1001_bytes() {
        let (_, side) = route(&["=f"], &[b"first one\nlast\n"], 99999);
        assert_eq!(side.statuses[0].1.len(), 1001);
        assert_eq!(side.statuses[0].1.trim_ascii_end(), b"last");
    }

    fn lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(proptest::collection::vec(prop::sample::select(&b"xy\n"[..]), 0..3000), 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However the input is cut, whatever looks at it: nothing is lost, added or moved, and no
        /// file is longer than its size.
        #[test]
        fn bytes_go_through_unchanged(pieces in lines(), limit in 4096u64..9000) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let mut expected = pieces.concat();
            if !expected.is_empty() && !expected.ends_with(b"\n") {
                expected.push(b'\n');
            }
            for script in [&["./d"][..], &["-z", "./d"], &["e", "./d"], &["p", "./d", "o"]] {
                let (files, side) = route(script, &pieces, limit);
                prop_assert_eq!(files.concat(), expected.clone());
                prop_assert!(side.lines.is_empty() || side.lines == expected);
                for file in &files {
                    prop_assert!(file.len() as u64 <= limit + 1);
                }
            }
        }

        /// To look for lines that no pattern can match changes nothing but the time that it takes.
        #[test]
        fn lines_are_selected_as_without_a_prefilter(pieces in lines()) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let scripts = [
                &["-*yyx*", "-*xxy*y", "./d"][..],
                &["-*", "+*yyy*", "./d"],
                &["R", "-.*", "S", "+*yyy*", "./d"],
                &["-yxy*", "./d", "+*", "./e"],
            ];
            for script in scripts {
                let with = route(script, &pieces, 9000);
                let script = Script::parse(script.iter().map(OsString::from));
                let mut router = Router::new(&script, &Identity::default());
                prop_assert!(router.prefilter.take().is_some());
                prop_assert_eq!(with.0, route_by(router, &script, &pieces, 9000).0);
            }
        }
    }
}
