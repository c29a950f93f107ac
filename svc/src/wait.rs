//! Waits until services have reached a goal, and says why a service does not reach it.
//!
//! Each service is observed before any command is sent to it, so that a change after the command is seen to be new.

use daemontools::service::goal::{Goal, Sent, Verdict, evaluate};
use daemontools::service::observe::{LISTENING, Observer};
use daemontools::service::{LOG, Observation, Part, Place, RUN, Record};
use daemontools::{Fatal, Unable, duration, report};
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
    let parsed = text.to_str().ok_or_else(|| "not a duration".to_string()).and_then(duration::of_option);
    parsed.map_err(|why| Fatal::new(report::PERMANENT, &[b"timeout ", text.as_bytes(), b": ", why.as_bytes()]))
}

/// The outcome for which svc or svwait waits.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// The goal that services are to reach.
    pub goal: Goal,
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
}

/// The services for which svc or svwait waits.
pub struct Waiting {
    observer: Observer,
    /// The services by the numbers that the observer gave them.
    services: Vec<Service>,
}

struct Service {
    before: Observation,
    last: Observation,
    added: Instant,
    verdict: Verdict,
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
        let number = self.observer.add(name)?;
        let before = self.observer.look(number)?;
        self.services.push(Service { last: before.clone(), before, added: Instant::now(), verdict: Verdict::NotYet });
        Ok(())
    }

    /// Waits for the outcome, and says why the services have not reached the goal. Returns the exit code.
    ///
    /// # Errors
    /// A service cannot be watched any more, or the kernel does not let us wait.
    pub fn wait(&mut self, order: &Order) -> Result<i32, Fatal> {
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

    /// A service that has reached the goal may still leave it before the others reach it. A service that will never
    /// reach the goal is not looked at again.
    fn look(&mut self, number: usize, order: &Order) -> Result<(), Unable> {
        let now = self.observer.look(number)?;
        let sent = self.sent(number, order.sent);
        let service = &mut self.services[number];
        service.verdict = evaluate(order.goal, sent, &service.before, &now);
        service.last = now;
        if matches!(service.verdict, Verdict::Never(_)) {
            self.observer.dismiss(number);
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

    fn outcome(&self, order: &Order) -> Option<i32> {
        let count =
            |wanted: fn(&Verdict) -> bool| self.services.iter().filter(|service| wanted(&service.verdict)).count();
        let reached = count(|verdict| *verdict == Verdict::Reached);
        let pending = count(|verdict| *verdict == Verdict::NotYet);
        let never = self.services.len() - reached - pending;
        let (is_reached, is_failed) = match order.quorum {
            Quorum::All => (reached == self.services.len(), never > 0),
            Quorum::Any => (reached > 0, reached + pending == 0),
        };
        if is_reached {
            return Some(0);
        }
        let timed_out = order.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if !is_failed && !timed_out {
            return None;
        }
        for (number, service) in self.services.iter().enumerate() {
            let why = match service.verdict {
                Verdict::Never(reason) => reason.words(&service.last),
                Verdict::NotYet if !is_failed => format!("timed out: {}", service.last.words()),
                Verdict::NotYet | Verdict::Reached => continue,
            };
            let missed = [b" is ", order.goal.missed().as_bytes(), b": "].concat();
            report::warning(&[self.observer.name(number).as_bytes(), &missed, why.as_bytes()]);
        }
        Some(if is_failed { FAILED } else { TIMED_OUT })
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
