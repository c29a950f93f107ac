//! The world of one multilog: a pipe of small capacity, a service that writes lines into it, a log directory on a disk,
//! and everything that can happen next.
//!
//! A multilog that has ended is started again, as supervise does. The content of the pipe outlives multilog, because
//! svscan holds the pipe. Neither program is part of this world; the world of services ([`crate::world`]) has them.

use crate::broken::Broken;
use crate::disk::Left;
use crate::multilog::{Machine, Multilog, Settings, kept_by};
use crate::simulated::{Actor, Simulated};
use fastrand::Rng;
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The number of bytes that the pipe holds.
const CAPACITY: usize = 16;
/// The number of bytes of a line: three digits and a newline.
const LINE: usize = 4;
/// The number of seconds by which the adversary puts the wall clock forward or back.
const PUT: u64 = 1000;

/// One thing that can happen in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// multilog makes its next step, or is started.
    Step,
    /// The service writes its next bytes.
    Write,
    /// multilog makes its next step, and the system refuses it.
    Refuse(Errno),
    /// multilog makes its next step, which is a write, and the system takes only half of it.
    Shorten,
    /// multilog is killed.
    Kill,
    /// multilog gets a TERM.
    Term,
    /// The power is cut. The first field tells whether the disk keeps changes of names that were not synced, the second
    /// what it keeps of files that were not.
    Cut(bool, Left),
    /// The kernel writes to the disk everything that is only in memory.
    Flush,
    /// The disk refuses writes from now on, or accepts them again.
    Disk,
    /// The wall clock is put forward (true) or back.
    Clock(bool),
}

/// How often the adversary may still act. The steps of the programs are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How often it kills multilog.
    pub kills: u32,
    /// How many calls it makes fail, or cuts short.
    pub refusals: u32,
    /// How often it sends TERM to multilog.
    pub terms: u32,
    /// How often it cuts the power.
    pub cuts: u32,
    /// How often it makes the kernel write everything to the disk.
    pub flushes: u32,
    /// How often it makes the disk refuse or accept writes.
    pub disk: u32,
    /// How often it puts the wall clock forward or back.
    pub clock: u32,
}

impl Budget {
    /// The budget of an adversary that rests.
    pub const NONE: Budget = Budget { kills: 0, refusals: 0, terms: 0, cuts: 0, flushes: 0, disk: 0, clock: 0 };
}

/// The world of one multilog.
#[derive(Debug, Clone)]
pub struct Logs {
    /// The disk, the pipe and the clock that multilog works with.
    pub machine: Machine,
    multilog: Option<Multilog>,
    settings: Settings,
    budget: Budget,
    /// The number of lines that the service writes in all.
    lines: usize,
    /// The number of bytes that the service writes at a time.
    piece: usize,
    /// The number of bytes that the service has written.
    written: usize,
    /// Whether each store into the journal is a step of its own.
    is_fine: bool,
    /// Whether multilog has read all that was written, and has ended.
    is_over: bool,
    /// The lines up to this number may be missing, because the power was cut, or because multilog had no journal and
    /// said so.
    may_miss: usize,
    /// The lines that were surely on the disk when the power was cut. They must not be missing.
    certain: BTreeSet<usize>,
    /// Whether a part of a line may stand alone: the power was cut while multilog wrote the line, or a multilog without
    /// a journal was killed then.
    may_be_torn: bool,
}

impl Logs {
    /// Makes a machine that has just been booted, whose log directory is empty. The service will write this number of
    /// `lines`, `piece` bytes at a time.
    pub fn new(settings: Settings, budget: Budget, lines: usize, piece: usize, is_fine: bool) -> Logs {
        Logs {
            machine: Machine::default(),
            multilog: None,
            settings,
            budget,
            lines,
            piece,
            written: 0,
            is_fine,
            is_over: false,
            may_miss: 0,
            certain: BTreeSet::new(),
            may_be_torn: false,
        }
    }

    /// Makes the world whose schedules are all run. Its files are full after three lines.
    pub fn small(budget: Budget) -> Logs {
        let settings = Settings { limit: 2012, count: 10, is_synced_by_line: false, has_pattern: false };
        Logs::new(settings, budget, 4, 6, false)
    }

    /// Makes the world that follows from [`Logs::small`] when multilog gets a TERM while it cannot write, ends and
    /// leaves a journal in order, and the machine is booted again.
    ///
    /// # Errors
    /// The promise that was broken on the way.
    pub fn after_orderly_end(budget: Budget) -> Result<Logs, Broken> {
        let prelude = Budget { refusals: 1, terms: 1, cuts: 1, ..Budget::NONE };
        let mut logs = Logs { budget: prelude, ..Logs::small(prelude) };
        logs.apply(Transition::Write)?;
        while !logs.multilog.as_ref().is_some_and(Multilog::is_about_to_write) {
            logs.apply(Transition::Step)?;
        }
        logs.apply(Transition::Term)?;
        logs.apply(Transition::Refuse(Errno::ENOSPC))?;
        while logs.multilog.is_some() {
            logs.apply(Transition::Step)?;
        }
        logs.apply(Transition::Cut(true, Left::All))?;
        Ok(Logs { budget, ..logs })
    }

    /// Returns everything that the service writes.
    fn text(&self) -> Vec<u8> {
        (1..=self.lines).flat_map(|line| format!("{line:03}\n").into_bytes()).collect()
    }

    fn write(&mut self) {
        let room = CAPACITY - self.machine.pipe.bytes.len();
        let text = self.text();
        let piece = text.iter().skip(self.written).take(self.piece.min(room));
        let before = self.machine.pipe.bytes.len();
        self.machine.pipe.bytes.extend(piece);
        self.written += self.machine.pipe.bytes.len() - before;
        self.machine.pipe.is_closed = self.written == text.len();
    }

    fn may_write(&self) -> bool {
        self.written < self.lines * LINE && self.machine.pipe.bytes.len() < CAPACITY
    }

    fn step(&mut self, fault: Option<Errno>, is_short: bool) {
        let Logs { machine, multilog, settings, is_fine, .. } = self;
        match multilog {
            Some(multilog) => multilog.step(machine, fault, is_short),
            None => *multilog = Some(Multilog::new(settings.clone(), *is_fine)),
        }
    }

    /// Removes a multilog that has ended, with the files that only it had open, and notes what it may have lost.
    fn note_ended(&mut self, is_killed: bool) {
        let ended = self.multilog.take_if(|multilog| is_killed || multilog.exited.is_some());
        if let Some(ended) = ended {
            if ended.is_at_risk() {
                self.may_miss = self.written.div_ceil(LINE);
                self.may_be_torn = true;
            }
            let has_all = self.machine.pipe.is_closed && self.machine.pipe.bytes.is_empty();
            let is_in_journal = self.machine.disk.lookup(daemontools::logdir::JOURNAL).is_some();
            self.is_over = ended.exited == Some(0) && has_all && !is_in_journal;
        }
        let open = self.multilog.as_ref().map(Multilog::open).unwrap_or_default();
        self.machine.disk.forget(&open);
    }

    /// Cuts the power and boots the machine again. It then has a new pipe, into which the service writes from the next
    /// line on.
    fn cut(&mut self, names: bool, left: Left) {
        let (files, journal) = self.machine.disk.certain();
        let texts = files.iter().map(|file| &file.bytes[..]).chain(journal.map(kept_by));
        self.certain = texts.flat_map(whole_lines).collect();
        self.multilog = None;
        self.is_over = false;
        self.may_miss = self.written.div_ceil(LINE);
        self.may_be_torn = true;
        self.written = self.may_miss * LINE;
        self.machine.disk.cut(names, left);
        self.machine.pipe.number += 1;
        self.machine.pipe.bytes.clear();
        self.machine.pipe.is_closed = self.written == self.lines * LINE;
        self.machine.boot += 1;
    }
}

impl Simulated for Logs {
    type Transition = Transition;

    fn of_seed(seed: u64, _: Instant) -> Logs {
        let mut rng = Rng::with_seed(seed);
        let settings = Settings {
            limit: 2000 + rng.u64(4..24),
            count: if rng.u8(..4) == 0 { 3 } else { 20 },
            is_synced_by_line: rng.u8(..4) == 0,
            has_pattern: rng.bool(),
        };
        let budget = Budget {
            kills: rng.u32(..5),
            refusals: rng.u32(..4),
            terms: rng.u32(..3),
            cuts: rng.u32(..4).saturating_sub(1),
            flushes: rng.u32(..3),
            disk: rng.u32(..3),
            clock: rng.u32(..3),
        };
        let logs = Logs::new(settings, budget, 4 + rng.usize(..8), 1 + rng.usize(..12), true);
        // Chance alone seldom leaves a journal in order and boots the machine.
        match Logs::after_orderly_end(budget) {
            Ok(left) if rng.u8(..8) == 0 => Logs { is_fine: true, ..left },
            Ok(_) | Err(_) => logs,
        }
    }

    fn transitions(&self, into: &mut Vec<Transition>) {
        into.clear();
        if self.multilog.as_ref().map_or(!self.is_over, |multilog| multilog.is_ready(&self.machine)) {
            into.push(Transition::Step);
        }
        if self.may_write() {
            into.push(Transition::Write);
        }
        if let Some(multilog) = &self.multilog {
            if self.budget.refusals > 0 && multilog.may_fail() {
                into.extend([Transition::Refuse(Errno::ENOSPC), Transition::Refuse(Errno::EIO)]);
            }
            if self.budget.refusals > 0 && multilog.may_be_short() {
                into.push(Transition::Shorten);
            }
            if self.budget.kills > 0 {
                into.push(Transition::Kill);
            }
            if self.budget.terms > 0 {
                into.push(Transition::Term);
            }
        }
        if self.budget.cuts > 0 {
            let kept = [Left::Nothing, Left::Half, Left::Files, Left::Journal, Left::All];
            into.extend(kept.into_iter().flat_map(|left| [Transition::Cut(false, left), Transition::Cut(true, left)]));
        }
        if self.budget.flushes > 0 {
            into.push(Transition::Flush);
        }
        if self.budget.disk > 0 {
            into.push(Transition::Disk);
        }
        if self.budget.clock > 0 {
            into.extend([Transition::Clock(true), Transition::Clock(false)]);
        }
    }

    fn actor(chosen: &Transition) -> Actor {
        match chosen {
            Transition::Step | Transition::Write => Actor::Program,
            Transition::Refuse(_)
            | Transition::Shorten
            | Transition::Kill
            | Transition::Term
            | Transition::Cut(..)
            | Transition::Flush
            | Transition::Disk
            | Transition::Clock(_) => Actor::Adversary,
        }
    }

    fn apply(&mut self, chosen: Transition) -> Result<(), Broken> {
        match chosen {
            Transition::Step => self.step(None, false),
            Transition::Write => self.write(),
            Transition::Refuse(errno) => {
                self.budget.refusals -= 1;
                self.step(Some(errno), false);
            }
            Transition::Shorten => {
                self.budget.refusals -= 1;
                self.step(None, true);
            }
            Transition::Kill => self.budget.kills -= 1,
            Transition::Term => {
                self.budget.terms -= 1;
                self.multilog.iter_mut().for_each(|multilog| multilog.is_told = true);
            }
            Transition::Cut(names, left) => {
                self.budget.cuts -= 1;
                self.cut(names, left);
            }
            Transition::Flush => {
                self.budget.flushes -= 1;
                self.machine.disk.sync_all();
            }
            Transition::Disk => {
                self.budget.disk -= 1;
                self.machine.disk.is_read_only = !self.machine.disk.is_read_only;
            }
            Transition::Clock(is_forward) => {
                self.budget.clock -= 1;
                let clock = self.machine.clock;
                self.machine.clock = if is_forward { clock + PUT } else { clock.saturating_sub(PUT) };
            }
        }
        self.note_ended(chosen == Transition::Kill);
        Ok(())
    }

    fn stop_adversary(&mut self) {
        self.budget = Budget::NONE;
        self.machine.disk.is_read_only = false;
    }

    fn is_sound(&self) -> bool {
        !self.machine.disk.is_read_only
    }

    /// Checks that no line that multilog took is lost, torn or doubled. A power cut may take only what was not synced.
    fn check_at_rest(&self) -> Result<(), Broken> {
        let log: Vec<&[u8]> = self.machine.disk.log().map(|inode| &inode.now.bytes[..]).collect();
        let files = [&self.machine.disk.removed[..]].into_iter().chain(log);
        let mut last = 0;
        let mut found = BTreeSet::new();
        for text in files.flat_map(|file| file.split_inclusive(|byte| *byte == b'\n')) {
            let Some(line) = number_of(text) else {
                if self.may_be_torn {
                    continue;
                }
                return Err(Broken::LineTorn(text.escape_ascii().to_string()));
            };
            if !found.insert(line) {
                return Err(Broken::LineDoubled(line));
            }
            if line < last {
                return Err(Broken::LinesOutOfOrder(last, line));
            }
            last = line;
        }
        let must = |line: &usize| *line > self.may_miss || self.certain.contains(line);
        match (1..=self.lines).filter(must).find(|line| !found.contains(line)) {
            Some(line) => Err(Broken::LineLost(line)),
            None => Ok(()),
        }
    }

    fn longest_rest(&self) -> Duration {
        Duration::ZERO
    }

    fn words(&self, chosen: Transition) -> String {
        let next = || self.multilog.as_ref().map_or("is started".into(), Multilog::next);
        match chosen {
            Transition::Step => format!("multilog {}", next()),
            Transition::Write => "the service writes".into(),
            Transition::Refuse(errno) => format!("multilog {}: {errno:?}", next()),
            Transition::Shorten => format!("multilog {}, and half of it is taken", next()),
            Transition::Kill => "multilog is killed".into(),
            Transition::Term => "multilog is told to end".into(),
            Transition::Cut(names, left) => {
                let names = if names { "with" } else { "without" };
                format!("the power is cut, {names} the names of now; of what was written is left: {left:?}")
            }
            Transition::Flush => "the kernel writes all to the disk".into(),
            Transition::Disk => "the disk turns".into(),
            Transition::Clock(true) => "the clock is put forward".into(),
            Transition::Clock(false) => "the clock is put back".into(),
        }
    }

    fn uptime(&self) -> Duration {
        Duration::ZERO
    }
}

/// Parses a line and its newline, and returns its number.
fn number_of(text: &[u8]) -> Option<usize> {
    let digits = text.strip_suffix(b"\n").filter(|digits| digits.len() == LINE - 1)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn whole_lines(text: &[u8]) -> Vec<usize> {
    text.split_inclusive(|byte| *byte == b'\n').filter_map(number_of).collect()
}
