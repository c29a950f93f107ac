//! Whether a service can reach the socket that it is to tell us through: names in the kernel's own space belong to a
//! network namespace, and a service may have gone into another one.

use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

/// The first look; later ones are rarer, until the service is ready or nobody needs to know any more.
const FIRST: Duration = Duration::from_secs(1);
const RAREST: Duration = Duration::from_secs(64);

/// A service that was not heard of yet.
pub struct NamespaceWatch {
    pause: Duration,
    /// When to look next, in time since boot.
    due: Option<Duration>,
}

impl NamespaceWatch {
    /// It was started at `now`.
    pub fn from(now: Duration) -> NamespaceWatch {
        NamespaceWatch { pause: FIRST, due: Some(now + FIRST) }
    }

    /// When to look next.
    pub fn deadline(&self) -> Option<Duration> {
        self.due
    }

    /// Whether it is time to look, and the service is in another network namespace: that is told once.
    pub fn is_far(&mut self, pid: Pid, now: Duration) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        let is_far = is_elsewhere(pid);
        self.pause *= 2;
        self.due = (!is_far && self.pause <= RAREST).then_some(now + self.pause);
        is_far
    }
}

/// Where that cannot be told, it is taken to be where we are.
fn is_elsewhere(pid: Pid) -> bool {
    let namespace = |who: &str| fs::read_link(format!("/proc/{who}/ns/net")).ok();
    match (namespace("self"), namespace(&pid.to_string())) {
        (Some(ours), Some(its)) => ours != its,
        (None, _) | (_, None) => false,
    }
}
