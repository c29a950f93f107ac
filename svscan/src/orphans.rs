//! Orphans: processes that svscan has inherited because the supervise that started them was killed. svscan keeps how they
//! ended for the next supervise of their service. No clock, no I/O.
//!
//! svscan may learn of the end of such a process before that of its supervise, or after it. If the process ends first, its
//! end is kept here until svscan asks for it on behalf of the service. If svscan asks first, the question is kept here, and
//! answered when the process ends.

use crate::table::{Id, SuperviseId};
use daemontools::service::{OrphanEnd, Process};
use nix::unistd::Pid;
use std::collections::{BTreeMap, VecDeque};

/// How many ends are kept. Where more orphans end that no supervise asks for, the oldest end is dropped.
const KEPT: usize = 1024;

/// The ends that no supervise has asked for, and the questions that have no answer yet.
#[derive(Debug, Clone, Default)]
pub struct Orphans {
    ended: VecDeque<OrphanEnd>,
    awaited: BTreeMap<Pid, (Process, SuperviseId)>,
}

impl Orphans {
    /// Takes in that a process which is no supervise has ended. Returns the part whose next supervise is to be told, if
    /// svscan has asked for this process already.
    pub fn ended(&mut self, end: OrphanEnd) -> Option<SuperviseId> {
        match self.awaited.remove(&end.process.pid) {
            Some((process, which)) if process.is_same_as(&end.process) => Some(which),
            _ => {
                if self.ended.len() == KEPT {
                    self.ended.pop_front();
                }
                self.ended.push_back(end);
                None
            }
        }
    }

    /// Takes in that the supervise of `which` has ended and has left this process. Returns how the process ended, if it
    /// has.
    pub fn left_behind(&mut self, process: Process, which: SuperviseId) -> Option<OrphanEnd> {
        let found = self.ended.iter().position(|end| end.process.is_same_as(&process));
        let end = found.and_then(|index| self.ended.remove(index));
        if end.is_none() {
            self.awaited.insert(process.pid, (process, which));
        }
        end
    }

    /// The ends that no supervise has asked for, oldest first.
    pub fn unasked(&self) -> impl Iterator<Item = &OrphanEnd> {
        self.ended.iter()
    }

    /// Forgets the questions about a service that is gone: no supervise will ask for its processes any more.
    pub fn forget(&mut self, id: Id) {
        self.awaited.retain(|_, (_, asked)| asked.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Part;

    const SUPERVISE: SuperviseId = SuperviseId { id: Id { device: 1, inode: 2 }, part: Part::Service };

    fn process(pid: i32, ticks: u64) -> Process {
        Process { pid: Pid::from_raw(pid), ticks, serial: 0 }
    }

    fn end(pid: i32, ticks: u64) -> OrphanEnd {
        OrphanEnd { process: process(pid, ticks), status: 7 << 8 }
    }

    #[test]
    fn the_process_may_end_before_its_service_asks() {
        let mut orphans = Orphans::default();
        assert_eq!(orphans.ended(end(5, 50)), None);
        assert_eq!(orphans.left_behind(process(5, 50), SUPERVISE), Some(end(5, 50)));
        assert_eq!(orphans.left_behind(process(5, 50), SUPERVISE), None);
    }

    #[test]
    fn the_service_may_ask_before_the_process_ends() {
        let mut orphans = Orphans::default();
        assert_eq!(orphans.left_behind(process(5, 50), SUPERVISE), None);
        assert_eq!(orphans.ended(end(5, 50)), Some(SUPERVISE));
    }

    #[test]
    fn another_process_with_the_number_of_an_orphan_is_not_taken_for_it() {
        let mut orphans = Orphans::default();
        assert_eq!(orphans.left_behind(process(5, 50), SUPERVISE), None);
        assert_eq!(orphans.ended(end(5, 51)), None);
        assert_eq!(orphans.left_behind(process(5, 50), SUPERVISE), None);
    }

    #[test]
    fn the_end_of_a_process_is_not_told_to_a_forgotten_service() {
        let mut orphans = Orphans::default();
        assert_eq!(orphans.left_behind(process(5, 50), SUPERVISE), None);
        orphans.forget(SUPERVISE.id);
        assert_eq!(orphans.ended(end(5, 50)), None);
    }

    #[test]
    fn no_more_than_a_limit_of_ends_are_kept() {
        let mut orphans = Orphans::default();
        for pid in 1..=i32::try_from(KEPT).unwrap() + 1 {
            assert_eq!(orphans.ended(end(pid, 50)), None);
        }
        assert_eq!(orphans.left_behind(process(1, 50), SUPERVISE), None);
        assert_eq!(orphans.left_behind(process(2, 50), SUPERVISE), Some(end(2, 50)));
    }
}
