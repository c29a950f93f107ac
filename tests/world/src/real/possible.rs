//! The side of the world: what may be seen after a step.

use crate::broken::Broken;
use crate::kernel::{Kind, Place, State, Task};
use crate::real::plan::{Deed, Fault, Schedule, Step, Strike};
use crate::real::seen::{Facts, Seen, tell_machine};
use crate::simulated::Simulated;
use crate::world::{Budget, Transition, World};
use daemontools::service::{Part, Role};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A world that does not come to rest within this number of transitions never does.
const MOST_TRANSITIONS: usize = 4000;

/// After this number of transitions all processes are equally fast, and time passes only while none has anything to do. A
/// process that is late for ever would keep others busy that look for it again and again.
const UNFAIR_TRANSITIONS: usize = 1000;

/// How much time passes before each step. No `run` that was at rest counts as a short one then, as on the real machine,
/// where the services say that a short run is one of some milliseconds.
const LIFE: Duration = Duration::from_secs(20);

/// As much of everything as the adversary may need for one deed.
const ANY: Budget = Budget { kills: 9, refusals: 9, deeds: 9, commands: 9, lines: 9, stops: 9, ..Budget::NONE };

/// A world at rest, and what an outsider has seen so far.
#[derive(Debug, Clone)]
pub struct Possible {
    world: World,
    executed: BTreeMap<Place, Vec<String>>,
    taken: Vec<String>,
    said: usize,
    forgets: bool,
    is_struck: bool,
}

impl Possible {
    /// The world before anything has happened.
    pub fn new(schedule: &Schedule, epoch: Instant) -> Possible {
        let world = World::new(schedule.services.clone(), Budget::NONE, epoch);
        Possible { world, executed: BTreeMap::new(), taken: Vec::new(), said: 0, forgets: false, is_struck: false }
    }

    /// The same world, but what a supervise has recorded is lost when it is killed.
    pub fn forgetting(mut self) -> Possible {
        self.forgets = true;
        self
    }

    /// Whether a deed is possible now.
    pub fn allows(&self, deed: &Deed) -> bool {
        match deed {
            Deed::Tell(place, _) | Deed::KillSupervise(place) => self.supervise(*place).is_some(),
            Deed::KillRun(place) => self.run_of(*place).is_some(),
            Deed::Exit(place, _) | Deed::Ignore(place) => self.run_of(*place).is_some_and(|run| !run.stopped),
            Deed::Say(place) => {
                let is_logged = self.world.kernel.has_logger(place.id);
                is_logged && self.run_of(*place).is_some_and(|run| !run.stopped && !run.ends.is_empty())
            }
            Deed::KillSvscan | Deed::KillAll | Deed::Stop => self.world.svscan.is_some(),
        }
    }

    /// Does something, or nothing at first, and lets the programs take turns in a random order until they are at rest.
    ///
    /// # Errors
    /// The promise that is broken on the way.
    pub fn after(&self, step: Option<&Step>, schedule: &Schedule, rng: &mut Rng) -> Result<Possible, Broken> {
        let mut next = self.clone();
        let strike = step.and_then(|step| step.strike);
        let target = strike.and_then(|strike| self.supervise(strike.place));
        next.is_struck = false;
        next.world.budget = ANY;
        next.world.kernel.uptime += LIFE;
        if let Some(step) = step {
            next.perform(&step.deed)?;
        }
        let (mut possible, mut count, mut weights) = (Vec::new(), 0, BTreeMap::new());
        next.world.is_init_late = rng.bool();
        let mut clock = if rng.bool() { weight(rng) } else { 0 };
        for turn in 0..MOST_TRANSITIONS {
            if turn >= UNFAIR_TRANSITIONS {
                weights.values_mut().for_each(|weight| *weight = 1);
                clock = 0;
            }
            next.world.budget = Budget::NONE;
            next.world.transitions(&mut possible);
            next.world.budget = ANY;
            let Some(chosen) = choose(&possible, clock, &mut weights, rng) else {
                return if self.forgets { Ok(next) } else { next.world.check_at_rest().map(|()| next) };
            };
            let hit = strike.filter(|strike| target.is_some_and(|pid| next.is_at(chosen, pid, strike)));
            count += usize::from(hit.is_some());
            let struck = hit.filter(|strike| count == strike.when);
            next.is_struck |= struck.is_some();
            let chosen = match (struck.map(|strike| strike.fault), chosen) {
                (Some(Fault::Kill), Transition::Step(pid)) => Transition::Kill(pid),
                (Some(Fault::Fail), Transition::Step(pid)) => Transition::Refuse(pid),
                (_, Transition::Step(pid)) => next.end_of_program(pid, schedule).unwrap_or(chosen),
                (_, chosen) => chosen,
            };
            next.apply(chosen)?;
        }
        Err(Broken::NeverAtRest)
    }

    /// Whether the transition is a call at which this supervise is struck.
    fn is_at(&self, chosen: Transition, target: i32, strike: &Strike) -> bool {
        let mut supervises = self.world.supervises.iter();
        chosen == Transition::Step(target)
            && supervises.any(|one| one.pid == target && one.next_system_call() == Some(strike.call))
    }

    /// The end of a program that ends by itself, if its code is not 0.
    fn end_of_program(&self, pid: i32, schedule: &Schedule) -> Option<Transition> {
        match self.world.kernel.task(pid)?.kind {
            Kind::Program(role) => schedule.code_of(role).map(|code| Transition::Exit(pid, code)),
            Kind::Svscan
            | Kind::Supervise
            | Kind::AtGate(..)
            | Kind::BesideAtGate(..)
            | Kind::Beside(_)
            | Kind::Stranger => None,
        }
    }

    fn perform(&mut self, deed: &Deed) -> Result<(), Broken> {
        let run = |place: &Place| self.run_of(*place).map_or(0, |run| run.pid);
        let svscan = self.world.svscan.as_ref().map_or(0, |svscan| svscan.pid);
        let todo = match deed {
            Deed::Tell(place, commands) => commands.bytes().map(|byte| Transition::Tell(*place, byte)).collect(),
            Deed::KillSupervise(place) => vec![Transition::Kill(self.supervise(*place).unwrap_or(0))],
            Deed::KillRun(place) => vec![Transition::Kill(run(place))],
            Deed::Exit(place, code) => vec![Transition::Exit(run(place), *code)],
            Deed::Ignore(place) => vec![Transition::Ignore(run(place))],
            Deed::Say(place) => vec![Transition::Write(run(place))],
            Deed::KillSvscan => vec![Transition::Kill(svscan)],
            Deed::KillAll => {
                let supervises = self.world.supervises.iter().map(|supervise| supervise.pid);
                [svscan].into_iter().chain(supervises).map(Transition::Kill).collect()
            }
            Deed::Stop => vec![Transition::Stop],
        };
        self.said += usize::from(matches!(deed, Deed::Say(_)));
        todo.into_iter().try_for_each(|transition| self.apply(transition))
    }

    /// Applies a transition, and notes what an outsider sees of it.
    fn apply(&mut self, chosen: Transition) -> Result<(), Broken> {
        let acting = match chosen {
            Transition::Step(pid) => self.world.kernel.task(pid).cloned(),
            _ => None,
        };
        let pipe = acting.as_ref().and_then(|task| task.ends.first()).map(|end| end.pipe);
        let first = pipe.and_then(|pipe| self.world.kernel.pipes.get(pipe)?.lines.front().copied());
        let killed = match chosen {
            Transition::Kill(pid) if self.forgets => self.world.kernel.task(pid).and_then(|task| task.place),
            _ => None,
        };
        self.world.apply(chosen)?;
        if let Some(place) = killed {
            let files = self.world.kernel.files_mut(place);
            (files.state, files.page) = (None, None);
        }
        let Some(Task { pid, kind: before, place: Some(place), .. }) = acting else { return Ok(()) };
        match (before, self.world.kernel.task(pid).map(|task| task.kind)) {
            (Kind::AtGate(..), Some(Kind::Program(role))) => {
                self.executed.entry(place).or_default().push(role.program().into());
            }
            (Kind::Program(Role::Run), _) if place.part == Part::Logger => {
                let left = pipe.and_then(|pipe| self.world.kernel.pipes.get(pipe)?.lines.front().copied());
                self.taken.extend(first.filter(|line| Some(*line) != left).map(|line| line.to_string()));
            }
            _ => {}
        }
        Ok(())
    }

    /// The supervise in charge of a directory.
    fn supervise(&self, place: Place) -> Option<i32> {
        self.world.kernel.files(place).ok_reader.filter(|pid| self.world.kernel.is_alive(*pid))
    }

    fn run_of(&self, place: Place) -> Option<&Task> {
        self.programs(place).find(|task| task.kind == Kind::Program(Role::Run))
    }

    fn programs(&self, place: Place) -> impl Iterator<Item = &Task> {
        let is_program = |task: &&Task| matches!(task.kind, Kind::Program(_)) && task.state == State::Alive;
        self.world.kernel.tasks.iter().filter(move |task| task.place == Some(place)).filter(is_program)
    }

    /// What an outsider sees now.
    pub fn seen(&self) -> Seen {
        let kernel = &self.world.kernel;
        let mut seen = Vec::new();
        tell_machine(self.world.svscan.is_some(), self.is_struck, &mut seen);
        for place in kernel.places() {
            let record = kernel.read_state(place);
            let recorded = record.as_ref().and_then(|record| record.process).map(|(_, process)| process.pid.as_raw());
            let facts = Facts {
                name: kernel.name(place),
                is_supervised: self.supervise(place).is_some(),
                shows_other: record.is_some() && kernel.files(place).status != recorded,
                record,
                executed: self.executed.get(&place).cloned().unwrap_or_default(),
                alive: self.programs(place).count(),
                lines: if place.part == Part::Logger { self.taken.clone() } else { Vec::new() },
            };
            facts.tell(&mut seen);
        }
        seen
    }

    /// Whether svscan has stopped everything, after which nothing more can happen.
    pub fn is_over(&self) -> bool {
        self.world.promises.has_stopped
    }

    /// How many lines the service has written.
    pub fn said(&self) -> usize {
        self.said
    }
}

/// How fast a process or the clock is.
fn weight(rng: &mut Rng) -> u32 {
    1 << (2 * rng.u32(..6))
}

/// One of the transitions that are possible. Some processes are much faster than others, other ones in each order, so that
/// those orders come too in which a process is late by many steps. Time passes if nothing else can happen; or also before,
/// as on a slow machine, if `clock` is not 0.
fn choose(possible: &[Transition], clock: u32, weights: &mut BTreeMap<i32, u32>, rng: &mut Rng) -> Option<Transition> {
    let mut weighed = Vec::with_capacity(possible.len());
    for chosen in possible {
        let weight = match chosen {
            Transition::Step(pid) => *weights.entry(*pid).or_insert_with(|| weight(rng)),
            _ => clock,
        };
        weighed.push((*chosen, weight));
    }
    let mut number = rng.u32(..weighed.iter().map(|(_, weight)| weight).sum::<u32>().max(1));
    for (chosen, weight) in weighed {
        if number < weight {
            return Some(chosen);
        }
        number -= weight;
    }
    possible.first().copied()
}
