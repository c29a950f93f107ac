//! Processes that no signal ends: those that wait in the kernel, without an interruption, for a server of NFS or FUSE that is
//! gone. A supervise waits for its service, so a stop that waits for such a process would never end. When what is stopped
//! is killed, svscan waits for such processes for some time only.

use crate::table::{SuperviseId, label};
use daemontools::report;
use daemontools::sys::process::{Ancestry, is_uninterruptible, process_table};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// After this time, svscan does not wait any longer for a process that a signal does not end.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often svscan looks.
const AGAIN: Duration = Duration::from_millis(500);

/// The processes for which each supervise that is left waits.
#[derive(Debug, Default)]
pub struct Unkillable {
    stuck: Vec<(SuperviseId, Pid)>,
    since: Option<Instant>,
    next: Option<Instant>,
}

impl Unkillable {
    /// From now on svscan kills what it stops.
    pub fn watch(&mut self, now: Instant) {
        self.next.get_or_insert(now);
    }

    /// When svscan is to look.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Looks at what these supervises wait for, which are all that are left. The result are the processes that svscan gives
    /// up: each supervise that is left waits for one, and has done so for some time.
    pub fn given_up(&mut self, left: &[(SuperviseId, Pid)], now: Instant) -> Option<&[(SuperviseId, Pid)]> {
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        let table = process_table();
        self.see(left.iter().map(|(which, supervise)| Some((*which, stuck_below(*supervise, &table)?))).collect(), now)
    }

    /// Takes in the processes `stuck` for which the supervises wait; `None` if one of the supervises waits for none.
    /// Returns those that svscan gives up.
    fn see(&mut self, stuck: Option<Vec<(SuperviseId, Pid)>>, now: Instant) -> Option<&[(SuperviseId, Pid)]> {
        self.next = Some(now + AGAIN);
        let stuck = stuck.unwrap_or_default();
        if stuck.is_empty() || stuck != self.stuck {
            (self.stuck, self.since) = (stuck, Some(now));
            return None;
        }
        self.since.is_some_and(|since| since + PATIENCE <= now).then_some(self.stuck.as_slice())
    }
}

/// Says that svscan does not wait for this process of a service.
pub fn say(which: SuperviseId, name: &OsStr, pid: Pid) {
    let (label, pid) = (label(which.part, name), pid.to_string());
    report::warning(&[label.as_bytes(), b": no signal ends process ", pid.as_bytes(), b": leaving it"]);
}

/// A process that waits in the kernel without an interruption: a descendant of this supervise, or the supervise itself.
fn stuck_below(supervise: Pid, table: &[Ancestry]) -> Option<Pid> {
    let parent = |pid: Pid| table.iter().find(|process| process.pid == pid).map(|process| process.parent);
    let is_below =
        |pid: Pid| std::iter::successors(Some(pid), |pid| parent(*pid)).take(1000).any(|pid| pid == supervise);
    table.iter().map(|process| process.pid).find(|pid| is_uninterruptible(*pid) && is_below(*pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Id, Part};

    #[test]
    fn svscan_gives_up_only_when_all_that_is_left_has_waited_for_the_same_processes_for_some_time() {
        let which = |inode| SuperviseId { id: Id { device: 1, inode }, part: Part::Service };
        let stuck = |pids: &[i32]| -> Option<Vec<(SuperviseId, Pid)>> {
            Some((1..).zip(pids).map(|(inode, pid)| (which(inode), Pid::from_raw(*pid))).collect())
        };
        let begin = Instant::now();
        let mut unkillable = Unkillable::default();
        assert_eq!(unkillable.deadline(), None, "nothing is killed");
        assert_eq!(unkillable.given_up(&[], begin), None);
        unkillable.watch(begin);
        // Seconds, what is seen, and whether svscan gives up.
        let story = [
            (0, stuck(&[7, 8]), false),
            (4, stuck(&[7, 8]), false),
            // One has ended, so others may end too.
            (5, stuck(&[7]), false),
            (9, stuck(&[7]), false),
            (9, None, false),
            (11, stuck(&[7]), false),
            (16, stuck(&[7]), true),
            (17, stuck(&[]), false),
            (99, stuck(&[]), false),
        ];
        for (seconds, seen, expected) in story {
            let found = unkillable.see(seen.clone(), begin + Duration::from_secs(seconds));
            assert_eq!(found.is_some(), expected, "{seconds} {seen:?}");
        }
    }

    #[test]
    fn a_process_that_can_be_killed_is_not_stuck() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let has_slept = || !is_uninterruptible(pid);
        while !has_slept() {}
        assert_eq!(stuck_below(pid, &process_table()), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
