//! The runs of a service that its supervise remembers: which lines belong to which, and how each has ended. No I/O.
//!
//! A run has the lines from its own start to the start of the next one, as its logger may read its last words only after
//! it has ended. So what `finish` says belongs to the run that has ended, and what `pre-start` says to the run before.

use crate::selection::Selection;
use daemontools::duration::brief;
use daemontools::service::{Death, Exit, Record, Role};
use daemontools::tai64::{Tai64N, between, previous_nanosecond};

/// Which runs the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The run that goes on now.
    Now,
    /// A run that has ended: 1 is the last of them.
    Ended(usize),
    All,
}

impl Wanted {
    /// Reads the value of the option: 0, -1, -2 … or `all`.
    pub fn parse(text: &str) -> Option<Wanted> {
        match text {
            "all" => Some(Wanted::All),
            "0" | "-0" => Some(Wanted::Now),
            _ => text.strip_prefix('-')?.parse().ok().map(Wanted::Ended),
        }
    }
}

/// The runs of a service, oldest first.
#[derive(Debug)]
pub struct Runs {
    ended: Vec<Death>,
    /// How each of them has ended.
    words: Vec<String>,
    /// When the run that goes on now was started.
    now: Option<Tai64N>,
}

/// The end of a run, as it stands between the lines of two runs.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// From this time on, lines belong to the next run, if there is one.
    pub next: Option<Tai64N>,
    /// How the run has ended.
    pub words: String,
}

impl Runs {
    /// The runs that a supervise has written down.
    pub fn of(record: &Record) -> Runs {
        let now = match record.process {
            Some((Role::Run, _)) => Some(record.since.label),
            Some((Role::Start | Role::PreStart | Role::Finish | Role::Stop, _)) | None => None,
        };
        let words = record.deaths.iter().map(|death| words(death, &record.words_of(death))).collect();
        Runs { ended: record.deaths.clone(), words, now }
    }

    /// The part of a selection that lies in a run.
    ///
    /// # Errors
    /// There is no such run. The error says why, in words that follow the name of the service.
    pub fn narrow(&self, selection: &Selection, wanted: Wanted) -> Result<Selection, String> {
        let (since, until) = match wanted {
            Wanted::Now => (self.now.ok_or("does not run now: --run -1 shows the run that has ended last")?, None),
            Wanted::Ended(number) => {
                let at = self.ended.len().checked_sub(number).ok_or_else(|| self.too_few())?;
                (self.start(at).ok_or_else(|| self.too_few())?, self.start(at + 1).map(previous_nanosecond))
            }
            Wanted::All => (self.start(0).ok_or_else(|| self.too_few())?, None),
        };
        let until = [selection.until, until].into_iter().flatten().min();
        Ok(Selection { since: selection.since.max(Some(since)), until, ..selection.clone() })
    }

    /// When the run at this place was started.
    fn start(&self, at: usize) -> Option<Tai64N> {
        match self.ended.get(at) {
            Some(death) => Some(death.started),
            None if at == self.ended.len() => self.now,
            None => None,
        }
    }

    fn too_few(&self) -> String {
        match self.ended.len() {
            0 => "has no run that has ended, as far as supervise remembers".into(),
            1 => "has only one run that has ended, as far as supervise remembers".into(),
            count => format!("has only {count} runs that have ended, as far as supervise remembers"),
        }
    }

    /// The ends of all runs.
    pub fn ends(&self) -> impl Iterator<Item = End> {
        let next = |at: usize| self.start(at + 1);
        self.words.iter().enumerate().map(move |(at, words)| End { next: next(at), words: words.clone() })
    }
}

/// How a run has ended, which `exit` says, and when.
fn words(death: &Death, exit: &str) -> String {
    match death.exit {
        Exit::Unstarted(_) => exit.into(),
        Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unknown => {
            let told = if death.is_told { "told to end, " } else { "" };
            format!("{told}{exit} after {}", brief(between(death.started, death.ended)))
        }
    }
}

/// Ends of runs that are still to be shown, of all services, in the order of time.
#[derive(Debug, Default)]
pub struct Rules {
    /// The last is the next to be shown. Each has the number of its service.
    left: Vec<(Tai64N, usize, String)>,
}

impl Rules {
    /// The ends of the runs of these services.
    pub fn new<'a>(services: impl Iterator<Item = &'a Runs>) -> Rules {
        let mut left = Vec::new();
        for (service, runs) in services.enumerate() {
            // The end of the last run comes after all lines.
            let last = Tai64N(daemontools::tai64::Tai64(u64::MAX), 0);
            left.extend(runs.ends().map(|end| (end.next.unwrap_or(last), service, end.words)));
        }
        // If two have the same time, the one that was put in first comes first.
        left.sort_by_key(|one| one.0);
        left.reverse();
        Rules { left }
    }

    /// Takes out the next end, if it comes before a line of this time. `None` as a time: all lines were shown.
    #[inline]
    pub fn next_before(&mut self, time: Option<Tai64N>) -> Option<(usize, String)> {
        let is_due = self.left.last().is_some_and(|(next, _, _)| time.is_none_or(|time| *next <= time));
        if !is_due {
            return None;
        }
        self.left.pop().map(|(_, service, words)| (service, words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::tai64::Tai64;

    fn at(second: u64) -> Tai64N {
        Tai64N(Tai64(second), 0)
    }

    fn death(started: u64, ended: u64, exit: Exit) -> Death {
        Death { started: at(started), ended: at(ended), exit, counts: true, is_told: exit == Exit::Signal(15) }
    }

    fn runs(now: Option<u64>) -> Runs {
        let ended =
            vec![death(10, 12, Exit::Code(3)), death(20, 95, Exit::Signal(15)), death(100, 100, Exit::Unstarted(2))];
        runs_of(ended, now)
    }

    fn runs_of(ended: Vec<Death>, now: Option<u64>) -> Runs {
        let words = ended.iter().map(|death| words(death, &death.exit.words())).collect();
        Runs { ended, words, now: now.map(at) }
    }

    #[test]
    fn a_number_is_zero_or_negative() {
        for (text, expected) in [
            ("0", Some(Wanted::Now)),
            ("-1", Some(Wanted::Ended(1))),
            ("-12", Some(Wanted::Ended(12))),
            ("all", Some(Wanted::All)),
            ("1", None),
            ("-", None),
            ("--1", None),
            ("last", None),
        ] {
            assert_eq!(Wanted::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_run_has_the_lines_up_to_the_start_of_the_next_one() {
        let before = |second: u64| Some(Tai64N(Tai64(second - 1), 999_999_999));
        for (now, wanted, since, until) in [
            (Some(110), Wanted::Now, 110, None),
            (Some(110), Wanted::Ended(1), 100, before(110)),
            (None, Wanted::Ended(1), 100, None),
            (None, Wanted::Ended(2), 20, before(100)),
            (None, Wanted::Ended(3), 10, before(20)),
            (None, Wanted::All, 10, None),
        ] {
            let narrowed = runs(now).narrow(&Selection::default(), wanted).unwrap();
            assert_eq!((narrowed.since, narrowed.until), (Some(at(since)), until), "{now:?} {wanted:?}");
        }
    }

    #[test]
    fn what_else_the_user_asks_for_still_holds() {
        let asked = Selection { since: Some(at(50)), until: Some(at(60)), ..Selection::default() };
        let narrowed = runs(None).narrow(&asked, Wanted::Ended(2)).unwrap();
        assert_eq!((narrowed.since, narrowed.until), (Some(at(50)), Some(at(60))));
        let narrowed = runs(None).narrow(&asked, Wanted::Ended(1)).unwrap();
        assert_eq!((narrowed.since, narrowed.until), (Some(at(100)), Some(at(60))));
    }

    #[test]
    fn a_run_that_is_not_known_is_refused() {
        for (now, wanted) in [(None, Wanted::Now), (Some(110), Wanted::Ended(4)), (None, Wanted::Ended(usize::MAX))] {
            assert!(runs(now).narrow(&Selection::default(), wanted).is_err(), "{wanted:?}");
        }
        let none = runs_of(Vec::new(), None);
        for wanted in [Wanted::Now, Wanted::Ended(1), Wanted::All] {
            assert!(none.narrow(&Selection::default(), wanted).is_err(), "{wanted:?}");
        }
        let first = Runs { now: Some(at(5)), ..none };
        assert_eq!(first.narrow(&Selection::default(), Wanted::All).unwrap().since, Some(at(5)));
    }

    #[test]
    fn the_ends_come_in_the_order_of_time_and_each_before_the_first_line_of_the_next_run() {
        let other = runs_of(vec![death(30, 31, Exit::Code(0))], Some(40));
        let all = [runs(None), other];
        let mut rules = Rules::new(all.iter());
        assert_eq!(rules.next_before(Some(at(19))), None);
        assert_eq!(rules.next_before(Some(at(20))), Some((0, "exited 3 after 2.0s".into())));
        assert_eq!(rules.next_before(Some(at(39))), None);
        assert_eq!(rules.next_before(Some(at(200))), Some((1, "exited 0 after 1.0s".into())));
        assert_eq!(rules.next_before(Some(at(200))), Some((0, "told to end, killed by SIGTERM after 1m".into())));
        assert_eq!(rules.next_before(Some(at(200))), None);
        assert_eq!(rules.next_before(None), Some((0, "not executed: file does not exist".into())));
        assert_eq!(rules.next_before(None), None);
    }
}
