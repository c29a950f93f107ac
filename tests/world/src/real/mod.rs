//! Schedules that the real programs perform too, on the real kernel.
//!
//! The world has a kernel of its own and a second copy of the code that performs what the machines decide. Both can be
//! wrong. So some hundred schedules are performed twice: in the world, and by the real programs in a scratch directory. What
//! an outsider sees ([`seen`]) must be the same after each step: which programs of each directory were executed and in which
//! order, how each `run` has ended, what `supervise/state` says without its times and process numbers, whether
//! `supervise/status` says the same, which lines the logger has taken, how many programs of a directory are alive, and
//! whether its supervise and svscan run.
//!
//! # A schedule
//!
//! A [`plan`] is a list of steps, made from a seed. Each step is one deed from outside: commands of an operator, a kill, an
//! end of `run`, a line, a stop. After each, all programs come to rest. A step can also strike a supervise in the middle of
//! its work: strace kills it at its n-th system call of one kind after the deed, or makes that call fail. Only calls are
//! struck that have a counterpart in the world ([`plan::SystemCall`]); there the supervise is killed before its n-th step of
//! this kind. If supervise does not make so many calls, nothing is struck, in the world and on the machine.
//!
//! # Orders
//!
//! The kernel does not say in which order processes run, and two orders may end differently: a service that is killed by
//! `k` while svscan is killed is reported as killed or as ended in an unknown way. So the world performs each step in some
//! orders, chosen at random ([`possible`]), and remembers all outcomes. The machine must show one of them. The worlds that
//! look like the machine are those with which the next step is performed. If the machine shows something else, the world
//! performs the step in more and more orders before that counts as a difference: on a busy machine a process can be late by
//! many steps.
//!
//! Where two things are done at once in the world, as svscan and all supervises are killed, the machine must not do
//! anything between them: the processes are stopped first. And a kill is over only when the process has ended.
//!
//! # Rest
//!
//! No step waits for a fixed time. The machine is at rest if two things hold ([`machine`]). Each of its processes sleeps, was
//! looked at twice, and has not been awake between: then there was a moment at which all of them slept. And what is seen is
//! an outcome of the world, in which no deadline is left. If that does not happen within a limit, it is a difference.
//!
//! # What cannot be compared
//!
//! Times, process numbers, messages, and the counters that depend on how long something took. Deeds that have no
//! counterpart from outside: a process number that is used again, a disk that turns read-only, strangers. A fork that
//! fails, after which supervise waits a minute. Calls of a supervise before it is in charge, and calls of svscan: strace
//! takes hold of a supervise that is at rest.

pub mod machine;
pub mod plan;
pub mod possible;
pub mod seen;

use crate::broken::Broken;
use fastrand::Rng;
use machine::Machine;
use plan::{Schedule, Step};
use possible::Possible;
use seen::{Seen, is_struck, side_by_side};
use std::error::Error;
use std::fmt::Write;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// In how many orders the world performs a step at first, and again each time that the programs have not come to rest with
/// one of the outcomes; and how long they may take to do so each time.
const ROUNDS: &[(usize, Duration)] =
    &[(16, Duration::from_secs(3)), (200, Duration::from_secs(20)), (1000, Duration::from_secs(3))];

/// The same in a world with a fault, where a difference is expected.
const FEW_ROUNDS: &[(usize, Duration)] = &[(16, Duration::from_secs(5)), (100, Duration::from_secs(5))];

/// How many different worlds are kept that look the same.
const KEPT: usize = 3;

/// What came of a schedule.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The steps in words, with what was seen after each.
    pub story: String,
    /// What the world and the programs did not agree about, if anything.
    pub difference: Option<String>,
    /// What could not be done, or which promise is broken in the world.
    pub error: Option<String>,
    /// How many steps were performed.
    pub steps: usize,
    /// How many of them had only one outcome in the world.
    pub certain: usize,
    /// How many times a supervise was struck.
    pub strikes: usize,
}

/// The worlds that look as the real machine does.
struct Worlds<'a> {
    schedule: &'a Schedule,
    now: Vec<Possible>,
    next: Vec<(Seen, Possible)>,
    rounds: &'static [(usize, Duration)],
    rng: Rng,
}

impl<'a> Worlds<'a> {
    fn new(seed: u64, schedule: &'a Schedule, first: Possible, rounds: &'static [(usize, Duration)]) -> Worlds<'a> {
        Worlds { schedule, now: vec![first], next: Vec::new(), rounds, rng: Rng::with_seed(!seed) }
    }

    /// Lets each world perform a step in some orders more.
    fn explore(&mut self, step: Option<&Step>, orders: usize) -> Result<(), Broken> {
        for world in &self.now {
            for _ in 0..orders {
                let next = world.after(step, self.schedule, &mut self.rng)?;
                let seen = next.seen();
                if self.next.iter().filter(|(other, _)| *other == seen).count() < KEPT {
                    self.next.push((seen, next));
                }
            }
        }
        Ok(())
    }

    fn expects(&self, seen: &Seen) -> bool {
        self.next.iter().any(|(expected, _)| expected == seen)
    }

    /// Goes on with those worlds that look like this.
    fn keep(&mut self, seen: &Seen) {
        self.now = self.next.drain(..).filter(|(expected, _)| expected == seen).map(|(_, world)| world).collect();
    }
}

/// Performs the schedule of a seed in the world, and with the programs of a folder.
///
/// # Errors
/// A promise is broken in the world, or something cannot be done on this machine.
pub fn run_seed(seed: u64, programs: &Path) -> Result<Outcome, Box<dyn Error>> {
    let schedule = Schedule::of_seed(seed);
    let first = Possible::new(&schedule, Instant::now());
    run(Worlds::new(seed, &schedule, first, ROUNDS), programs)
}

/// Performs the schedule of a seed in a world with a fault, in which the record of a supervise is lost when it is killed,
/// and with the programs of a folder. A test uses this to check that a difference is found.
///
/// # Errors
/// As with [`run_seed`].
pub fn run_seed_forgetting(seed: u64, programs: &Path) -> Result<Outcome, Box<dyn Error>> {
    let schedule = Schedule::of_seed(seed);
    let first = Possible::new(&schedule, Instant::now()).forgetting();
    run(Worlds::new(seed, &schedule, first, FEW_ROUNDS), programs)
}

fn run(mut worlds: Worlds, programs: &Path) -> Result<Outcome, Box<dyn Error>> {
    let mut machine = Machine::new(programs, worlds.schedule)?;
    let mut outcome = Outcome::default();
    let steps = [None].into_iter().chain(worlds.schedule.steps.iter().map(Some));
    for step in steps {
        let allowed = step.is_none_or(|step| worlds.now.first().is_some_and(|world| world.allows(&step.deed)));
        if allowed && !perform(step, &mut worlds, &mut machine, &mut outcome)? {
            break;
        }
    }
    Ok(outcome)
}

/// Performs a step, and returns whether the programs did what the world does.
fn perform(
    step: Option<&Step>,
    worlds: &mut Worlds,
    machine: &mut Machine,
    outcome: &mut Outcome,
) -> Result<bool, Box<dyn Error>> {
    outcome.steps += 1;
    let words = step.map_or_else(|| "svscan is started".into(), Step::to_string);
    writeln!(outcome.story, "-- {words}")?;
    let story = outcome.story.clone();
    let explored = |explored: Result<(), Broken>| {
        explored.map_err(|broken| io::Error::other(format!("{story}in the world, {broken}")))
    };
    let strace = step.and_then(|step| step.strike).and_then(|strike| machine.arm(&strike));
    if let Some(step) = step {
        let said = worlds.now.first().map_or(0, Possible::said) + 1;
        machine.perform(&step.deed, said)?;
    }
    let mut seen = Seen::new();
    for (orders, limit) in worlds.rounds.iter().copied() {
        if !worlds.expects(&seen) {
            explored(worlds.explore(step, orders))?;
            seen = machine.settle(|seen| worlds.expects(seen), limit);
        }
    }
    strace.into_iter().for_each(|strace| machine.disarm(strace));
    seen.iter().for_each(|line| outcome.story.push_str(&format!("   {line}\n")));
    if !worlds.expects(&seen) {
        let mut expected: Vec<&Seen> = worlds.next.iter().map(|(expected, _)| expected).collect();
        expected.sort();
        expected.dedup();
        let mut difference = format!("{}after: {words}\n", outcome.story);
        expected.iter().for_each(|expected| difference.push_str(&side_by_side(expected, &seen)));
        write!(difference, "svscan says:\n{}", machine.errors())?;
        outcome.difference = Some(difference);
        return Ok(false);
    }
    outcome.strikes += usize::from(is_struck(&seen));
    outcome.certain += usize::from(worlds.next.iter().all(|(expected, _)| *expected == seen));
    worlds.keep(&seen);
    Ok(worlds.now.first().is_some_and(|world| !world.is_over()))
}
