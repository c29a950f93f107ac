//! What the next svscan in this process has to know of the supervises, and going on with that.

use super::Supervises;
use crate::handover::Handover;
use crate::pages::Pages;
use crate::table::{Id, Part, SuperviseId};
use daemontools::sys::inherited_descriptor;
use nix::unistd::Pid;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

impl Supervises {
    /// Adds what the next svscan in this process needs to know.
    pub fn hand_over(&self, handover: &mut Handover) {
        let pages = &self.launcher.pages;
        let pipe = |(id, reader, writer): (Id, &OwnedFd, &OwnedFd)| (id, [reader.as_raw_fd(), writer.as_raw_fd()]);
        handover.open_files = self.launcher.open_files();
        handover.ledgers = pages.iter().flat_map(Pages::ledgers).map(|ledger| ledger.as_raw_fd()).collect();
        handover.pages = pages.iter().flat_map(Pages::pages).collect();
        handover.pockets = self.launcher.pockets.all().map(|(which, pocket)| (which, pocket.as_raw_fd())).collect();
        handover.pipes = self.launcher.pipes().map(pipe).collect();
        handover.ends = self.orphans.unasked().copied().collect();
    }

    /// The descriptors that are handed over.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let pipes = self.launcher.pipes().flat_map(|(_, reader, writer)| [reader.as_fd(), writer.as_fd()]);
        let ledgers = self.launcher.pages.iter().flat_map(Pages::ledgers);
        pipes.chain(ledgers).chain(self.launcher.pockets.all().map(|(_, pocket)| pocket)).collect()
    }

    /// Goes on where an earlier svscan in this process has stopped.
    pub fn take_over(&mut self, handover: &Handover) {
        let open = |number: &i32| inherited_descriptor(*number).ok();
        let ledgers = handover.ledgers.iter().filter_map(open).collect();
        self.launcher.pages = Pages::resume(ledgers, &handover.pages).or_else(|_| Pages::new()).ok();
        for (which, pocket) in &handover.pockets {
            open(pocket).into_iter().for_each(|pocket| self.launcher.pockets.resume(*which, pocket));
        }
        for (id, [reader, writer]) in &handover.pipes {
            if let (Some(reader), Some(writer)) = (open(reader), open(writer)) {
                self.launcher.put_pipe(*id, (reader, writer));
            }
        }
        handover.supervises.iter().for_each(|(which, pid)| self.attached.expect(*which, *pid));
        for end in &handover.ends {
            let _ = self.orphans.ended(*end);
        }
    }

    /// The supervises of a service that has no entry any more, as an earlier svscan in this process has left them.
    pub fn inherit(&mut self, id: Id) -> [Option<Pid>; 2] {
        [Part::Service, Part::Logger].map(|part| {
            let which = SuperviseId { id, part };
            self.attached.expected_unseen(which, self.launcher.record(which).map(|record| record.supervise))
        })
    }
}
