//! How much memory a service has: the resident pages of its process and of all that descend from it.
//!
//! The number in `supervise/status` proves nothing: the owner of `supervise/` may have written that of any process, whose use
//! would then be told as the service's. So only processes are asked about that are proven to be the service's.

use daemontools::service::view::View;
use daemontools::service::{Proof, proof_of};
use daemontools::sys::process::{Footprint, Proc};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::path::Path;
use std::sync::OnceLock;

/// No more processes of one service are looked at.
const MOST: usize = 1000;

/// The bytes of the service in this directory, of which this was seen; `None` if it has no process that is proven to be its
/// own, or if `/proc` does not tell.
pub fn of_service(service: &Path, view: &View) -> Option<u64> {
    view.seen.status.pid.and(proven(service, view).0).and_then(resident)
}

/// The process of the service in this directory, and that of the logger that the same supervise runs, if they are proven.
pub fn proven(service: &Path, view: &View) -> (Option<Pid>, Option<Pid>) {
    let proven = |proof| match proof {
        Proof::Proven(pid) => Some(pid),
        Proof::Nothing | Proof::Ended(_) | Proof::Elsewhere(_) | Proof::Unproven(_) => None,
    };
    let (service, logger) = proof_of(service, &view.seen, view.alive);
    (proven(service), logger.and_then(proven))
}

/// The bytes; `None` if `/proc` does not tell.
fn resident(pid: Pid) -> Option<u64> {
    in_bytes(&family(pid))
}

/// The resident memory of these processes in bytes; `None` if there are no processes.
pub fn in_bytes(family: &[(Pid, Footprint)]) -> Option<u64> {
    (!family.is_empty()).then(|| family.iter().map(|(_, footprint)| footprint.resident).sum())
}

/// The process and all that descend from it, with what each has in use; none if there is no such process. This waits for
/// no process, whatever that does.
pub fn family(pid: Pid) -> Vec<(Pid, Footprint)> {
    static PROC: OnceLock<Option<Proc>> = OnceLock::new();
    let Some(proc) = *PROC.get_or_init(Proc::here) else { return Vec::new() };
    let (mut seen, mut open, mut family) = (HashSet::new(), vec![pid], Vec::new());
    while let Some(pid) = open.pop().filter(|_| family.len() < MOST) {
        if let Some(footprint) = proc.footprint(pid).filter(|_| seen.insert(pid)) {
            family.push((pid, footprint));
            open.extend(proc.children(pid, footprint.threads));
        }
    }
    family
}

/// `512 B`, `43.1 M`: one digit behind the point, rounded down.
pub fn in_words(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "K", "M", "G", "T", "P"];
    let power = (0..6).rev().find(|power| bytes >> (10 * power) > 0).unwrap_or(0);
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    match UNITS.get(power) {
        Some(unit) if power > 0 => format!("{}.{} {unit}", tenths / 10, tenths % 10),
        Some(_) | None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        for (bytes, words) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 K"),
            (1536, "1.5 K"),
            (12_900_000, "12.3 M"),
            (5 << 30, "5.0 G"),
            (u64::MAX, "16383.9 P"),
        ] {
            assert_eq!(in_words(bytes), words, "{bytes}");
        }
    }

    #[test]
    fn what_descends_from_a_process_counts() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let (own, other) = (Pid::this(), Pid::from_raw(i32::try_from(child.id()).unwrap()));
        assert!(family(own).iter().any(|(pid, _)| *pid == other));
        assert!(resident(own).unwrap() > resident(other).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(resident(Pid::from_raw(i32::MAX)), None);
    }
}
