//! The text of `supervise/state`.
//!
//! One `key value …` on each line. Unknown keys and malformed lines are ignored, so that an older reader can read a
//! newer file. Times are TAI64N labels (`@` and 24 digits), durations are nanoseconds.
//!
//! ```text
//! supervise PID TICKS SERIAL   the supervise that wrote this
//! boot ID                      of the kernel's boot and of process 1, for readers of version 0.1.0
//! boot-facts WORDS             what tells this boot from others (see [`Boot`]): in another one nothing below is alive
//! directory WORDS              what tells the service directory from others (see [`Directory`])
//! change N                     counts the changes of this file: who knows another one than N-1 has missed some
//! want up|down|once
//! phase stopped|starting|started|running|stopping|failed
//! active                       it is up without a process: the service is a state (see [`policy`](crate::service::policy))
//! pid PID                      the process …
//! pid-start TICKS              … its start time, field 22 of /proc/PID/stat …
//! pid-serial SERIAL            … its number among all processes since boot …
//! role PROGRAM                 … and which of the service's programs it is
//! beside PROGRAM PID TICKS SERIAL  the process that runs beside `run`, or has outlived it
//! beside-gated                 that process was not seen to become its program yet
//! beside-kill-at LABEL UPTIME  it is killed then if it has not ended
//! post-start-due               `post-start` runs or is still to run, and then the service is ready
//! pre-stopped                  `pre-stop` has run: `run` is told to end
//! reload-due                   `reload` is still to run
//! restart-due                  `run` is to end though the service is wanted up
//! killed                       `run` was sent KILL: nothing more is started beside it
//! since LABEL UPTIME           last change of the process; UPTIME counts since boot
//! ready LABEL UPTIME           since when it is ready
//! held starting|stopping       another program holds this transition back, in `supervise/hold`
//! end-let-go                   the end of this life is not held back, or not any more
//! paused                       it was told to pause
//! ending told|itself|overdue   it is expected to end, and why
//! to-group                     signals go to its process group
//! kill-at LABEL UPTIME         it is killed then if it has not ended
//! leaving                      supervise exits as soon as the service is down
//! gated                        the process was not seen to become `run` yet: whether that can be executed is not known
//! begun                        `start` has succeeded, `stop` is owed
//! again                        told up after `run` has ended: it starts once more when its life is over
//! life-end ROLE EXIT [WORD …]  how the life ended that the `finish` that runs is about; `told`: that was commanded;
//!                              `pre-stopped`: `pre-stop` has run
//! in-background [presumed]     `run` goes there: it ended well at once, and left processes. `presumed`: one ended well at
//!                              once, and those after it fail at once; the first may hold what they need
//! taken LABEL UPTIME           since when the process is the one that was taken for the service's in the background
//! unstable                     that was not long ago: if it ends well, it had a fork to do yet
//! search PURPOSE EXIT          processes are looked for that `run` has left there: `start`, the service's; `successor`, the
//!                              one that took its place; `end`, all, which are told to end. EXIT: of the one that left them
//! astray nothing|several|pid-file  why the last start failed of a service that goes into the background
//! verdict done|give-up         after the `finish` or `stop` that runs it is not restarted, for that reason
//! shown-pid PID LABEL          `supervise/status` still shows this `run`, started then, which has ended (see [`Shown`])
//! failure REASON               why it gave up, or will with that verdict (see [`Failure`])
//! last-run PID TICKS SERIAL    the last `run`, whose number its process group has, where it led one
//! next-start LABEL UPTIME      nothing runs, and `run` is started then
//! notify-socket NAME           where it finds NOTIFY_SOCKET, or only its chain programs are heard: a name in the abstract
//!                              namespace, or a path
//! setting FILE TEXT            a setting that counts for the process, or a program or mark that is there
//! settings-left-out            there was no room for them (on a page of svscan's ledger)
//! streak N                     short runs in a row, which make the pause longer
//! starts N                     how often `run` was started
//! ends REASON N …              how often it has ended, by reason (see [`Ends`])
//! status-text TEXT             what it last said of itself
//! pipe INODE                   from the service to a `log` that the same supervise runs
//! log-…                        all of this but the first two and `change` once more, for that `log`
//! refusal TEXT                 why a chain program of the last `run` that has ended could not execute what comes after it
//! death START END EXIT [WORD …]  the last exits of `run` (labels, see [`Exit`]), oldest first; `uncounted`: `restart-limit` does
//!                              not count it; `told`: it was commanded
//! ```

use super::{
    BackgroundFailure, Beside, Death, Ending, Failure, Held, InBackground, LifeEnd, Record, Role, Search, SearchGoal,
    Shown, Verdict,
};
use crate::service::refusal::Refusal;
use crate::service::{Directory, Ends, Exit, Phase, Process, Want};
use crate::sys::boot::Boot;
use crate::tai64::{self, Moment};
use nix::unistd::Pid;
use std::fmt::{self, Display, Write};
use std::str::{FromStr, SplitAsciiWhitespace};
use std::time::Duration;

impl Record {
    /// The text of the file.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(1024);
        // Writing to a String cannot fail.
        let Process { pid, ticks, serial } = self.supervise;
        let _ = write!(text, "supervise {pid} {ticks} {serial}\nboot {}\n", self.boot.in_one_word());
        let _ = writeln!(text, "boot-facts {}", self.boot);
        if let Some(directory) = &self.directory {
            let _ = writeln!(text, "directory {directory}");
        }
        let _ = writeln!(text, "change {}", self.change);
        let _ = self.write(&mut text);
        if let Some(inode) = self.pipe {
            let _ = writeln!(text, "pipe {inode}");
        }
        if let Some(logger) = &self.logger {
            let mut lines = String::new();
            let _ = logger.write(&mut lines);
            lines.split_inclusive('\n').for_each(|line| text.extend([LOGGER, line]));
        }
        text
    }

    fn write(&self, to: &mut String) -> fmt::Result {
        writeln!(to, "want {}", self.want.word())?;
        writeln!(to, "phase {}", self.phase.word())?;
        if let Some((role, process)) = self.process {
            writeln!(to, "pid {}\npid-start {}", process.pid, process.ticks)?;
            writeln!(to, "pid-serial {}\nrole {}", process.serial, role.program())?;
        }
        if let Some((beside, Process { pid, ticks, serial })) = self.beside {
            writeln!(to, "beside {} {pid} {ticks} {serial}", beside.program())?;
        }
        if let Some(kill_at) = self.beside_kill_at {
            writeln!(to, "beside-kill-at {kill_at}")?;
        }
        writeln!(to, "since {}", self.since)?;
        if let Some(ready) = self.ready {
            writeln!(to, "ready {ready}")?;
        }
        if let Some(held) = self.held {
            writeln!(to, "held {}", held.word())?;
        }
        let flags = [
            ("active", self.active),
            ("paused", self.paused),
            ("to-group", self.to_group),
            ("leaving", self.leaving),
            ("gated", self.gated),
            ("beside-gated", self.beside_gated),
            ("begun", self.begun),
            ("again", self.again),
            ("unstable", self.unstable),
            ("settings-left-out", self.settings_left_out),
            ("post-start-due", self.progress.post_start),
            (PRE_STOPPED, self.progress.pre_stopped),
            ("reload-due", self.progress.reload),
            ("restart-due", self.progress.restart),
            ("end-let-go", self.progress.let_go),
            ("killed", self.progress.killed),
        ];
        flags.iter().filter(|(_, set)| *set).try_for_each(|(flag, _)| writeln!(to, "{flag}"))?;
        if let Some(ending) = self.ending {
            writeln!(to, "ending {}", word_of(&ENDINGS, ending))?;
        }
        if let Some(LifeEnd { role, exit, is_told, has_pre_stop }) = self.life_end {
            let words = words_that_hold([(TOLD, is_told), (PRE_STOPPED, has_pre_stop)]);
            writeln!(to, "life-end {} {exit}{words}", role.program())?;
        }
        if let Some(taken) = self.taken {
            writeln!(to, "taken {taken}")?;
        }
        if let Some(Search { purpose, exit }) = self.search {
            writeln!(to, "search {} {exit}", purpose.word())?;
        }
        match self.in_background {
            Some(InBackground::Noticed) => writeln!(to, "in-background")?,
            Some(InBackground::Presumed) => writeln!(to, "in-background {PRESUMED}")?,
            None => {}
        }
        if let Some(astray) = self.astray {
            writeln!(to, "astray {}", word_of(&ASTRAY, astray))?;
        }
        if self.verdict != Verdict::AsWanted {
            writeln!(to, "verdict {}", word_of(&VERDICTS, self.verdict))?;
        }
        if let Some(Shown { pid, since }) = self.shown {
            writeln!(to, "shown-pid {pid} {}", tai64::Label(since))?;
        }
        if let Some(failure) = self.failure {
            writeln!(to, "failure {failure}")?;
        }
        if let Some(run) = self.last_run {
            writeln!(to, "last-run {} {} {}", run.pid, run.ticks, run.serial)?;
        }
        if let Some(kill_at) = self.kill_at {
            writeln!(to, "kill-at {kill_at}")?;
        }
        if let Some(next_start) = self.next_start {
            writeln!(to, "next-start {next_start}")?;
        }
        if let Some(name) = &self.notify_socket {
            writeln!(to, "notify-socket {name}")?;
        }
        self.settings.iter().try_for_each(|(file, text)| writeln!(to, "setting {file} {text}"))?;
        writeln!(to, "streak {}\nstarts {}", self.streak, self.starts)?;
        if !self.ends.is_empty() {
            writeln!(to, "ends {}", self.ends)?;
        }
        if !self.status_text.is_empty() {
            writeln!(to, "status-text {}", self.status_text)?;
        }
        if let Some(refusal) = &self.refusal {
            writeln!(to, "{REFUSAL}{refusal}")?;
        }
        self.deaths.iter().try_for_each(|death| {
            let words = words_that_hold([(UNCOUNTED, !death.counts), (TOLD, death.is_told)]);
            let (started, ended) = (tai64::Label(death.started), tai64::Label(death.ended));
            writeln!(to, "death {started} {ended} {}{words}", death.exit)
        })
    }

    /// Reads the text of the file. Facts that are missing or malformed are as in [`Record::blank`].
    pub fn decode(text: &str) -> Record {
        let of_logger = |line: &&str| line.starts_with(LOGGER);
        let mut record = Record::from_lines(text.split('\n').filter(|line| !of_logger(line)));
        let mut logger = text.split('\n').filter_map(|line| line.strip_prefix(LOGGER)).peekable();
        if logger.peek().is_some() {
            // The facts about the supervise and the pipe stand only once, in the service's own lines.
            let Record { supervise, boot, directory, change, pipe, .. } = Record::blank();
            let logger = Record { supervise, boot, directory, change, pipe, ..Record::from_lines(logger) };
            record.logger = Some(Box::new(logger));
        }
        record
    }

    fn from_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Record {
        let mut record = Record::blank();
        let (mut role, mut pid, mut ticks, mut serial) = (None, None, 0, 0);
        for line in lines {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default() {
                "role" => role = words.next().and_then(Role::of_program),
                "status-text" => record.status_text = line.strip_prefix("status-text ").unwrap_or_default().into(),
                "refusal" => record.refusal = line.strip_prefix(REFUSAL).map(refusal_words),
                "setting" => record.settings.extend(setting(line)),
                "pid" => pid = number(&mut words),
                "pid-start" => ticks = number(&mut words).unwrap_or(0),
                "pid-serial" => serial = number(&mut words).unwrap_or(0),
                "directory" => record.directory = line.strip_prefix("directory ").and_then(Directory::parse),
                "boot-facts" => {
                    record.boot = line.strip_prefix("boot-facts ").map(Boot::from_words).unwrap_or_default()
                }
                key => record.take(key, &mut words),
            }
        }
        let positive = pid.filter(|pid| *pid > 0);
        record.process =
            positive.map(|pid| (role.unwrap_or(Role::Run), Process { pid: Pid::from_raw(pid), ticks, serial }));
        record
    }

    fn take(&mut self, key: &str, words: &mut SplitAsciiWhitespace) {
        match key {
            "supervise" => {
                self.supervise = process(words).unwrap_or(self.supervise);
            }
            // Version 0.1.0 wrote only this line. A later version also writes the line with all facts, after this one.
            "boot" => self.boot = Boot::from_one_word(words.next().unwrap_or_default()),
            "want" => self.want = meaning_of(&WANTS, words).unwrap_or(self.want),
            "phase" => self.phase = meaning_of(&PHASES, words).unwrap_or(self.phase),
            "since" => self.since = moment(words).unwrap_or(self.since),
            "active" => self.active = true,
            "ready" => self.ready = moment(words),
            "paused" => self.paused = true,
            "ending" => self.ending = meaning_of(&ENDINGS, words),
            "to-group" => self.to_group = true,
            "leaving" => self.leaving = true,
            "gated" => self.gated = true,
            "begun" => self.begun = true,
            "again" => self.again = true,
            "beside" => self.beside = beside(words),
            "beside-gated" => self.beside_gated = true,
            "beside-kill-at" => self.beside_kill_at = moment(words),
            "post-start-due" => self.progress.post_start = true,
            PRE_STOPPED => self.progress.pre_stopped = true,
            "reload-due" => self.progress.reload = true,
            "restart-due" => self.progress.restart = true,
            "held" => self.held = meaning_of(&HELDS, words),
            "end-let-go" => self.progress.let_go = true,
            "killed" => self.progress.killed = true,
            "life-end" => self.life_end = life_end(words),
            "in-background" => {
                let is_presumed = words.next() == Some(PRESUMED);
                self.in_background = Some(if is_presumed { InBackground::Presumed } else { InBackground::Noticed });
            }
            "unstable" => self.unstable = true,
            "taken" => self.taken = moment(words),
            "search" => self.search = search(words),
            "astray" => self.astray = meaning_of(&ASTRAY, words),
            "settings-left-out" => self.settings_left_out = true,
            "verdict" => self.verdict = meaning_of(&VERDICTS, words).unwrap_or(self.verdict),
            "shown-pid" => self.shown = shown(words),
            "failure" => self.failure = Failure::parse(words),
            "last-run" => self.last_run = process(words).filter(|run| run.pid.as_raw() > 1),
            "kill-at" => self.kill_at = moment(words),
            "next-start" => self.next_start = moment(words),
            "notify-socket" => self.notify_socket = words.next().map(str::to_string),
            "pipe" => self.pipe = number(words),
            "streak" => self.streak = number(words).unwrap_or(0),
            "change" => self.change = number(words).unwrap_or(0),
            "ends" => self.ends = Ends::parse(words),
            "starts" => self.starts = number(words).unwrap_or(0),
            "death" => self.deaths.extend(death(words)),
            _ => {}
        }
    }
}

/// The beginning of the line with the words of a chain program.
const REFUSAL: &str = "refusal ";

/// The word after an end that was commanded.
const TOLD: &str = "told";

/// The word, and the line, that says that `pre-stop` has run.
const PRE_STOPPED: &str = "pre-stopped";
const PRESUMED: &str = "presumed";

/// The word after a death that `restart-limit` does not count.
const UNCOUNTED: &str = "uncounted";

impl Failure {
    /// Reads the text that [`Display`] writes.
    fn parse(words: &mut SplitAsciiWhitespace) -> Option<Failure> {
        match words.next()? {
            "restart-limit" => Some(Failure::RestartLimit),
            "run" => Some(Failure::Run),
            "finish" => Some(Failure::Finish),
            "start" => Exit::parse(words).map(Failure::Start),
            "pre-start" => Exit::parse(words).map(Failure::PreStart),
            "post-start" => Some(Failure::PostStart),
            _ => None,
        }
    }
}

impl Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::RestartLimit => write!(to, "restart-limit"),
            Failure::Run => write!(to, "run"),
            Failure::Finish => write!(to, "finish"),
            Failure::Start(exit) => write!(to, "start {exit}"),
            Failure::PreStart(exit) => write!(to, "pre-start {exit}"),
            Failure::PostStart => write!(to, "post-start"),
        }
    }
}

/// The prefix of each line about the logger.
const LOGGER: &str = "log-";

const WANTS: [(&str, Want); 3] = [("up", Want::Up), ("down", Want::Down), ("once", Want::Once)];

const PHASES: [(&str, Phase); 6] = [
    ("stopped", Phase::Stopped),
    ("starting", Phase::Starting),
    ("started", Phase::Started),
    ("running", Phase::Running),
    ("stopping", Phase::Stopping),
    ("failed", Phase::Failed),
];

const HELDS: [(&str, Held); 2] = [("starting", Held::Starting), ("stopping", Held::Stopping)];

const ENDINGS: [(&str, Ending); 3] =
    [("told", Ending::Told), ("itself", Ending::OfItself), ("overdue", Ending::Overdue)];

const PURPOSES: [(&str, SearchGoal); 3] =
    [("start", SearchGoal::Start), ("successor", SearchGoal::Successor), ("end", SearchGoal::End)];

const ASTRAY: [(&str, BackgroundFailure); 3] = [
    ("nothing", BackgroundFailure::Nothing),
    ("several", BackgroundFailure::Several),
    ("pid-file", BackgroundFailure::PidFile),
];

const VERDICTS: [(&str, Verdict); 3] =
    [("as-wanted", Verdict::AsWanted), ("done", Verdict::Done), ("give-up", Verdict::GiveUp)];

impl Held {
    /// The word for this value in `supervise/state`.
    pub fn word(self) -> &'static str {
        word_of(&HELDS, self)
    }
}

impl Want {
    /// The word for this value in `supervise/state`.
    pub fn word(self) -> &'static str {
        word_of(&WANTS, self)
    }
}

impl SearchGoal {
    /// The word for this value in `supervise/state`.
    pub fn word(self) -> &'static str {
        word_of(&PURPOSES, self)
    }
}

impl Phase {
    /// The word for this value in `supervise/state`.
    pub fn word(self) -> &'static str {
        word_of(&PHASES, self)
    }
}

/// The words that hold, each with a blank before it.
fn words_that_hold(words: [(&str, bool); 2]) -> String {
    words.iter().filter(|(_, holds)| *holds).map(|(word, _)| format!(" {word}")).collect()
}

fn word_of<T: PartialEq>(table: &[(&'static str, T)], meaning: T) -> &'static str {
    table.iter().find(|(_, known)| *known == meaning).map_or("", |(word, _)| word)
}

fn meaning_of<T: Copy>(table: &[(&str, T)], words: &mut SplitAsciiWhitespace) -> Option<T> {
    let word = words.next()?;
    table.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
}

fn number<T: FromStr>(words: &mut SplitAsciiWhitespace) -> Option<T> {
    words.next()?.parse().ok()
}

/// The words of a chain program, of which a forged file may have more than it could say.
fn refusal_words(text: &str) -> String {
    Refusal::new(text.as_bytes(), None).words
}

fn setting(line: &str) -> Option<(String, String)> {
    let (file, text) = line.strip_prefix("setting ")?.split_once(' ')?;
    Some((file.into(), text.into()))
}

fn process(words: &mut SplitAsciiWhitespace) -> Option<Process> {
    let (pid, ticks) = (number(words)?, number(words).unwrap_or(0));
    Some(Process { pid: Pid::from_raw(pid), ticks, serial: number(words).unwrap_or(0) })
}

fn life_end(words: &mut SplitAsciiWhitespace) -> Option<LifeEnd> {
    let role = words.next().and_then(Role::of_program)?;
    let exit = Exit::parse(words)?;
    let words: Vec<&str> = words.collect();
    Some(LifeEnd { role, exit, is_told: words.contains(&TOLD), has_pre_stop: words.contains(&PRE_STOPPED) })
}

fn search(words: &mut SplitAsciiWhitespace) -> Option<Search> {
    Some(Search { purpose: meaning_of(&PURPOSES, words)?, exit: Exit::parse(words)? })
}

fn beside(words: &mut SplitAsciiWhitespace) -> Option<(Beside, Process)> {
    let beside = words.next().and_then(Beside::of_program)?;
    process(words).filter(|process| process.pid.as_raw() > 0).map(|process| (beside, process))
}

fn shown(words: &mut SplitAsciiWhitespace) -> Option<Shown> {
    let pid = number(words).filter(|pid| *pid > 0).map(Pid::from_raw)?;
    Some(Shown { pid, since: tai64::parse(words.next()?.as_bytes())? })
}

fn moment(words: &mut SplitAsciiWhitespace) -> Option<Moment> {
    let label = tai64::parse(words.next()?.as_bytes())?;
    let nanoseconds: u128 = number(words)?;
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    Some(Moment { label, uptime: Duration::new(u64::try_from(seconds).ok()?, u32::try_from(rest).ok()?) })
}

fn death(words: &mut SplitAsciiWhitespace) -> Option<Death> {
    let started = tai64::parse(words.next()?.as_bytes())?;
    let ended = tai64::parse(words.next()?.as_bytes())?;
    let exit = Exit::parse(words)?;
    let words: Vec<&str> = words.collect();
    Some(Death { started, ended, exit, counts: !words.contains(&UNCOUNTED), is_told: words.contains(&TOLD) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::LifeProgress;
    use crate::tai64::{Tai64, Tai64N};
    use proptest::prelude::*;

    fn at(seconds: u64) -> Moment {
        Moment { label: Tai64N(Tai64(0x4000_0000_0000_0000 + seconds), 5), uptime: Duration::new(seconds, 7) }
    }

    fn full() -> Record {
        let exits = [Exit::Code(111), Exit::Signal(9), Exit::Core(11), Exit::Unstarted(2), Exit::Unknown];
        Record {
            supervise: Process { pid: Pid::from_raw(5), ticks: 44, serial: 45 },
            boot: Boot::from_words("b-1 1f 2 -"),
            directory: Some(Directory::Inode { device: 1, inode: 2, born: 3 }),
            change: 0,
            want: Want::Once,
            phase: Phase::Stopping,
            active: true,
            process: Some((Role::Finish, Process { pid: Pid::from_raw(77), ticks: 99, serial: 100 })),
            since: at(9),
            ready: Some(at(10)),
            held: Some(Held::Stopping),
            paused: true,
            ending: Some(Ending::Overdue),
            kill_at: Some(at(11)),
            to_group: true,
            leaving: true,
            gated: true,
            begun: true,
            again: true,
            life_end: Some(LifeEnd { role: Role::Run, exit: Exit::Core(6), is_told: true, has_pre_stop: true }),
            beside: Some((Beside::PreStop, Process { pid: Pid::from_raw(78), ticks: 100, serial: 101 })),
            beside_gated: true,
            beside_kill_at: Some(at(13)),
            progress: LifeProgress {
                post_start: true,
                pre_stopped: true,
                reload: true,
                restart: true,
                let_go: true,
                killed: true,
            },
            in_background: Some(InBackground::Presumed),
            taken: Some(at(14)),
            unstable: true,
            search: Some(Search { purpose: SearchGoal::Successor, exit: Exit::Signal(6) }),
            astray: Some(BackgroundFailure::PidFile),
            verdict: Verdict::GiveUp,
            shown: Some(Shown { pid: Pid::from_raw(75), since: at(8).label }),
            failure: Some(Failure::Start(Exit::Signal(15))),
            last_run: Some(Process { pid: Pid::from_raw(76), ticks: 98, serial: 0 }),
            next_start: Some(at(12)),
            notify_socket: Some("supervise/notify/05".into()),
            settings: vec![("finish".into(), "".into()), ("restart-limit".into(), "3 in 5m".into())],
            settings_left_out: true,
            streak: 3,
            starts: 1 << 40,
            ends: Ends::parse(&mut "well 2 told 3 unseen 1".split_ascii_whitespace()),
            status_text: "loading  5 of 7 ".into(),
            refusal: Some("setlock: unable to lock x  y: temporary failure".into()),
            deaths: exits
                .map(|exit| Death {
                    started: at(1).label,
                    ended: at(2).label,
                    exit,
                    counts: exit != Exit::Signal(9),
                    is_told: exit == Exit::Core(11),
                })
                .to_vec(),
            pipe: None,
            logger: None,
        }
    }

    fn with_logger() -> Record {
        let logger = Record { supervise: Record::blank().supervise, boot: Boot::default(), directory: None, ..full() };
        Record { pipe: Some(7), change: 9, logger: Some(Box::new(logger)), ..full() }
    }

    #[test]
    fn what_is_written_is_read() {
        for record in [full(), with_logger(), Record::blank()] {
            assert_eq!(Record::decode(&record.encode()), record);
        }
    }

    #[test]
    fn what_version_0_1_0_wrote_is_read() {
        let text =
            "supervise 5 44\nboot b-1/2\nwant up\nphase running\npid 77\npid-start 99\nrole run\nlast-run 77 99\n";
        let record = Record::decode(text);
        let process = Process { pid: Pid::from_raw(77), ticks: 99, serial: 0 };
        assert_eq!((record.process, record.last_run), (Some((Role::Run, process)), Some(process)));
        assert_eq!(record.boot, Boot::from_words("b-1 - 2 -"));
        assert_eq!(record.directory, None);
    }

    #[test]
    fn what_is_odd_is_read_too() {
        let odd = Record {
            next_start: Some(Moment { uptime: Duration::MAX, ..at(1) }),
            status_text: "ends in a return\r".into(),
            ..Record::blank()
        };
        for record in [odd.clone(), Record { logger: Some(Box::new(odd)), ..Record::blank() }] {
            assert_eq!(Record::decode(&record.encode()), record);
        }
    }

    #[test]
    fn only_the_service_has_a_writer_and_a_pipe() {
        let record = Record::decode("log-supervise 5 6\nlog-boot b\nlog-directory path /\nlog-pipe 7\nlog-starts 8\n");
        let logger = Record { starts: 8, ..Record::blank() };
        assert_eq!(record, Record { logger: Some(Box::new(logger)), ..Record::blank() });
    }

    #[test]
    fn a_failure_is_read_as_it_is_written_and_has_words() {
        let table = [
            (Failure::RestartLimit, "restart-limit 3 in 5m reached, last ended unseen"),
            (Failure::Run, "exited 100, which means not to restart it"),
            (Failure::Finish, "finish exited 125, which means not to restart it"),
            (Failure::Start(Exit::Unstarted(13)), "start failed: not executed: access denied"),
        ];
        for (failure, words) in table {
            let record = Record { failure: Some(failure), ..full() };
            assert_eq!(Record::decode(&record.encode()).failure, Some(failure));
            assert_eq!(record.failure_words().as_deref(), Some(words));
        }
        for text in ["failure", "failure other", "failure start", "failure start exit"] {
            assert_eq!(Record::decode(text).failure, None, "{text}");
        }
        assert_eq!(Record::blank().failure_words(), None);
        let without_past = Record { failure: Some(Failure::RestartLimit), ..Record::blank() };
        assert_eq!(without_past.failure_words().as_deref(), Some("restart-limit reached"));
    }

    #[test]
    fn a_process_needs_a_number() {
        for text in ["pid 0", "pid -5", "pid x", "pid", "role run"] {
            assert_eq!(Record::decode(text).process, None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s).{0,300}") {
            let _ = Record::decode(&text);
        }

        #[test]
        fn a_text_cut_short_is_read_without_panic(length in 0usize..700) {
            let text = full().encode();
            let _ = Record::decode(text.get(..length).unwrap_or(&text));
        }
    }
}
