//! Whether a service can reach its notify socket. A socket with a name in the kernel's own space belongs to a network
//! namespace, and a service may have gone into another one.

use daemontools::service::Inquiry;
use daemontools::sys::process::proc_path;
use nix::unistd::{Pid, getpid};
use std::fs;
use std::time::Duration;

/// The time until the first look. The pause is doubled after each one.
const FIRST: Duration = Duration::from_secs(1);
/// After a pause longer than this there is no further look.
const RAREST: Duration = Duration::from_secs(64);

/// Looks where a service is that has sent no message yet.
pub struct NamespaceWatch {
    pause: Duration,
    /// When to look next, in time since boot; `None` if there is no need to look again.
    due: Option<Duration>,
}

impl NamespaceWatch {
    /// Begins to watch a service that was started at `now`, in time since boot.
    pub fn from(now: Duration) -> NamespaceWatch {
        NamespaceWatch { pause: FIRST, due: Some(now + FIRST) }
    }

    /// When to call [`NamespaceWatch::is_far`] at the latest, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        self.due
    }

    /// Looks, if it is time. Returns true once, if the service is found in another network namespace.
    pub fn is_far(&mut self, pid: Pid, now: Duration) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        // A process may keep that back.
        let known = Inquiry::default().those(&[pid], is_elsewhere);
        let is_far = known.is_ok_and(|elsewhere| !elsewhere.is_empty());
        self.pause *= 2;
        self.due = (!is_far && self.pause <= RAREST).then_some(now + self.pause);
        is_far
    }
}

/// Whether a process is in another network namespace than supervise. If the system does not tell, the answer is no.
fn is_elsewhere(pid: Pid) -> bool {
    let namespace = |pid: Pid| fs::read_link(proc_path(pid, "ns/net")).ok();
    match (namespace(getpid()), namespace(pid)) {
        (Some(ours), Some(its)) => ours != its,
        (None, _) | (_, None) => false,
    }
}
