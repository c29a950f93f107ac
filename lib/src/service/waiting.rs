//! Waits until services have reached a goal, and says why a service does not reach it.
//!
//! Each service is observed before any command is sent to it, so that a change after the command is seen to be new.

use super::goal::{Goal, Sent};
use super::observe::{LISTENING, Observer};
use super::trial::{Outcome, Test, Trial};
use super::{LOG, Observation, Part, Place, RUN, Record};
use crate::tai64::{Moment, Tai64N};
use crate::{Fatal, Unable, duration, report};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Exit code when the time is over.
const TIMED_OUT: i32 = 99;
/// Exit code when the services will not reach the goal.
const FAILED: i32 = 1;

/// Reads the longest time to wait.
///
/// # Errors
/// The text is not a duration, or has no unit: exit 100.
pub fn parse_timeout(text: &OsStr) -> Result<Duration, Fatal> {
    let parsed = text.to_str().ok_or_else(|| duration::NO_DURATION.to_string()).and_then(duration::of_option);
    parsed.map_err(|why| Fatal::new(report::PERMANENT, &[b"timeout ", text.as_bytes(), b": ", why.as_bytes()]))
}

/// The outcome for which a program waits.
#[derive(Debug, Clone, Copy)]
pub struct AwaitedOutcome {
    /// The goal that services are to reach.
    pub goal: Goal,
    /// What a service must show beyond that it comes there.
    pub test: Test,
    /// How many services must reach the goal.
    pub quorum: Quorum,
    /// The commands that the services have received since they were added.
    pub sent: Sent,
    /// The time at which the wait ends; `None`: it never ends.
    pub deadline: Option<Instant>,
}

/// How many services must reach a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    /// Every service must reach it.
    All,
    /// One service must reach it.
    Any,
    /// Every service must reach it once. The wait goes on for the others when one has failed.
    Each,
}

/// The services for which a program waits.
pub struct Waiting {
    observer: Observer,
    /// The services by the numbers that the observer gave them.
    services: Vec<Service>,
}

struct Service {
    before: Observation,
    last: Observation,
    added: Instant,
    /// When the service was given the commands whose effect the program waits for.
    told_at: Tai64N,
    outcome: Outcome,
}

impl Waiting {
    /// Begins a wait without services.
    pub fn new(part: Part) -> Waiting {
        Waiting { observer: Observer::new(part), services: Vec::new() }
    }

    /// Observes a service from now on. Afterwards the current directory is that of the service.
    ///
    /// # Errors
    /// The directory does not exist, we may not enter it, or it cannot be watched.
    pub fn add(&mut self, name: OsString) -> Result<(), Unable> {
        self.add_since(name, Moment::now().label)
    }

    /// Does what [`add`](Waiting::add) does, for a service that was given its commands at the moment `told_at`.
    ///
    /// # Errors
    /// As for [`add`](Waiting::add).
    pub fn add_since(&mut self, name: OsString, told_at: Tai64N) -> Result<(), Unable> {
        let number = self.observer.add(name)?;
        let before = self.observer.look(number)?;
        let (last, outcome) = (before.clone(), Outcome::NotYet(None));
        self.services.push(Service { last, before, added: Instant::now(), told_at, outcome });
        Ok(())
    }

    /// Notes that a service, the first of which has the number 0, will not reach the goal, and why.
    pub fn give_up(&mut self, number: usize, why: String) {
        self.services[number].outcome = Outcome::Failed(why);
        self.observer.dismiss(number);
    }

    /// Waits for the outcome, and says why the services have not reached the goal. Returns the exit code.
    ///
    /// # Errors
    /// A service cannot be watched any more, or the kernel does not let us wait.
    pub fn wait(&mut self, order: &AwaitedOutcome) -> Result<i32, Fatal> {
        let code = self.watch(order)?;
        for (number, service) in self.services.iter().enumerate().filter(|_| code != 0) {
            let why = match &service.outcome {
                Outcome::Failed(why) => why.clone(),
                Outcome::NotYet(_) if code == TIMED_OUT => format!("timed out: {}", service.last.words()),
                Outcome::NotYet(_) | Outcome::Reached => continue,
            };
            let missed = [b" is ", order.goal.missed().as_bytes(), b": "].concat();
            report::warning(&[self.observer.name(number).as_bytes(), &missed, why.as_bytes()]);
        }
        Ok(code)
    }

    /// Waits for the outcome, and says nothing. Returns the exit code.
    ///
    /// # Errors
    /// As for [`wait`](Waiting::wait).
    pub fn watch(&mut self, order: &AwaitedOutcome) -> Result<i32, Fatal> {
        let mut changed: Vec<usize> = (0..self.services.len()).collect();
        loop {
            for number in changed {
                self.look(number, order)?;
            }
            if let Some(code) = self.outcome(order) {
                return Ok(code);
            }
            self.observer.wait(order.deadline)?;
            changed = self.observer.changed();
        }
    }

    /// What has become of the services, in the order in which they were added.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.services.iter().map(|service| &service.outcome)
    }

    /// A service that has reached the goal may still leave it before the others reach it, unless each is to reach it by
    /// itself. A service that will never reach the goal is not looked at again.
    fn look(&mut self, number: usize, order: &AwaitedOutcome) -> Result<(), Unable> {
        if matches!(self.services[number].outcome, Outcome::Failed(_)) {
            return Ok(());
        }
        let now = self.observer.look(number)?;
        let sent = self.sent(number, order.sent);
        let service = &mut self.services[number];
        let (before, told_at) = (&service.before, service.told_at);
        let trial = Trial { goal: order.goal, sent, test: order.test, before, told_at };
        service.outcome = trial.judge(&now, Moment::now());
        service.last = now;
        match (&service.outcome, order.quorum) {
            (Outcome::Failed(_), _) | (Outcome::Reached, Quorum::Each) => self.observer.dismiss(number),
            (Outcome::NotYet(Some(time)), _) => self.observer.look_again_within(number, *time),
            (Outcome::NotYet(None), _) | (Outcome::Reached, Quorum::All | Quorum::Any) => {}
        }
        Ok(())
    }

    /// The commands of the service in the current directory, as far as they matter. A logger whose service exits too
    /// reads to the end of its input, and then ends by itself. The exit of the service is not a command to the logger,
    /// and the observer may not see it at once.
    fn sent(&mut self, number: usize, sent: Sent) -> Sent {
        let is_new = self.services[number].added.elapsed() < LISTENING;
        let ends_by_itself = sent.only_to_exit && is_logger() && (is_new || is_service_leaving());
        if ends_by_itself {
            self.observer.look_again_within(number, LISTENING);
        }
        Sent { only_to_exit: sent.only_to_exit && !ends_by_itself, ..sent }
    }

    /// The exit code, once the wait is over.
    fn outcome(&self, order: &AwaitedOutcome) -> Option<i32> {
        let count = |wanted: fn(&Outcome) -> bool| self.outcomes().filter(|outcome| wanted(outcome)).count();
        let reached = count(|outcome| *outcome == Outcome::Reached);
        let pending = count(|outcome| matches!(outcome, Outcome::NotYet(_)));
        let failed = self.services.len() - reached - pending;
        let (is_reached, is_failed) = match order.quorum {
            Quorum::All => (reached == self.services.len(), failed > 0),
            Quorum::Any => (reached > 0, reached + pending == 0),
            Quorum::Each => (reached == self.services.len(), failed > 0 && pending == 0),
        };
        let is_late = || order.deadline.is_some_and(|deadline| deadline <= Instant::now());
        match (is_reached, is_failed) {
            (true, _) => Some(0),
            (false, true) => Some(FAILED),
            (false, false) => is_late().then_some(TIMED_OUT),
        }
    }
}

/// Whether the service in the current directory is the logger of a service in the directory above.
fn is_logger() -> bool {
    std::env::current_dir().is_ok_and(|directory| directory.ends_with(LOG)) && Path::new("..").join(RUN).exists()
}

/// Whether the supervise of the service in the directory above was told to exit.
fn is_service_leaving() -> bool {
    let service = || Record::read(&Place::of(Path::new("..")).ok()?).ok();
    service().is_some_and(|service| service.leaving)
}
