//! What a service uses: the share of a processor, from one measurement to the next, and its memory; and its last line.
//!
//! Only processes that are proven to be the service's are measured, as [`memory`](crate::memory) explains.

use crate::answer::Answer;
use crate::cpu::CpuClock;
use crate::memory;
use crate::services::{Reach, Service, Services};
use crate::top::last_line::last_line;
use crate::top::screen::Figures;
use daemontools::logdir::locate::log_directory;
use daemontools::service::LOG;
use daemontools::sys::process::ticks_per_second;
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A share that was measured over a shorter time than this says nothing.
const SHORTEST: Duration = Duration::from_millis(500);

/// What was measured before.
#[derive(Debug, Default)]
pub struct Measure {
    clock: CpuClock,
    before: BTreeMap<OsString, Before>,
}

/// The last measurement of a service.
#[derive(Debug)]
struct Before {
    /// The process that `supervise/status` tells.
    told: Option<Pid>,
    at: Instant,
    ticks: Option<u64>,
    cpu: Option<u64>,
    /// Its log directory, once it was found.
    log: Option<PathBuf>,
}

impl Measure {
    /// Whether this service was measured since it has this process.
    pub fn has(&self, name: &OsStr, answer: &Answer) -> bool {
        self.before.get(name).is_some_and(|before| before.told == answer.pid())
    }

    /// Forgets a service.
    pub fn forget(&mut self, name: &OsStr) {
        self.before.remove(name);
    }

    /// Measures a service.
    pub fn measure(&mut self, services: &Services, service: &Service, answer: &Answer) -> Figures {
        let mut before = self.before.remove(&service.name);
        let log = before.as_mut().and_then(|before| before.log.take()).or_else(|| log_of(services, service));
        let before = before.filter(|before| before.told == answer.pid());
        if services.reach(&service.path) == Reach::Hangs {
            return Figures::default();
        }
        let process = answer.view().and_then(|view| view.seen.status.pid.and(memory::proven(&service.path, view).0));
        let family = process.map(memory::family).unwrap_or_default();
        let pids: Vec<Pid> = family.iter().map(|(pid, _)| *pid).collect();
        let ticks = process.and_then(|process| self.clock.of(process, &pids)).map(|ticks| ticks.user + ticks.system);
        let now = Instant::now();
        let elapsed = before.as_ref().map(|before| now.saturating_duration_since(before.at));
        let is_too_soon = elapsed.is_some_and(|elapsed| elapsed < SHORTEST);
        let cpu = match &before {
            Some(before) if is_too_soon => before.cpu,
            Some(before) => share(before.ticks, ticks, elapsed),
            None => None,
        };
        let last_line = log.as_ref().filter(|log| services.reach(log) == Reach::Answers).and_then(|log| last_line(log));
        // If nothing is there, it may be another one meanwhile.
        let log = log.filter(|_| last_line.is_some());
        let (at, ticks) = match before {
            Some(before) if is_too_soon => (before.at, before.ticks),
            Some(_) | None => (now, ticks),
        };
        self.before.insert(service.name.clone(), Before { told: answer.pid(), at, ticks, cpu, log });
        Figures { cpu, memory: memory::in_bytes(&family), last_line }
    }
}

/// The log directory of a service.
fn log_of(services: &Services, service: &Service) -> Option<PathBuf> {
    let may_have_one = services.reach(&service.path) == Reach::Answers && service.path.join(LOG).exists();
    let found = may_have_one.then(|| log_directory(service.path.as_os_str()).ok()).flatten()?;
    Some(found.path)
}

/// The share of one processor in thousandths. Processes that have ended take their ticks with them.
fn share(before: Option<u64>, now: Option<u64>, elapsed: Option<Duration>) -> Option<u64> {
    let ticks = now?.saturating_sub(before?);
    let elapsed = u64::try_from(elapsed?.as_millis()).ok()?;
    (ticks * 1_000_000).checked_div(ticks_per_second()? * elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_one_processor() {
        let rate = ticks_per_second().unwrap();
        let second = Some(Duration::from_secs(1));
        for (before, now, elapsed, expected) in [
            (Some(0), Some(rate), second, Some(1000)),
            (Some(rate), Some(rate * 2), Some(Duration::from_secs(2)), Some(500)),
            (Some(rate), Some(rate * 5), second, Some(4000)),
            (Some(rate), Some(0), second, Some(0)),
            (None, Some(rate), second, None),
            (Some(rate), None, second, None),
            (Some(0), Some(rate), None, None),
            (Some(0), Some(rate), Some(Duration::ZERO), None),
        ] {
            assert_eq!(share(before, now, elapsed), expected);
        }
    }
}
