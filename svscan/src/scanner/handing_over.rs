//! What the next svscan in this process gets from this one, and going on with that.

use super::Scanner;
use crate::handover::Handover;
use crate::table::Id;
use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::time::Instant;

impl Scanner {
    /// Whether svscan's file may be executed anew now: not before what is being stopped is down.
    pub fn may_be_handed_over(&self) -> bool {
        self.table.may_be_handed_on()
    }

    /// What the next svscan in this process needs to know, but for the lock of the directory, and its descriptors.
    pub fn handover(&self) -> (Handover, Vec<BorrowedFd<'_>>) {
        let mut handover = Handover {
            // The next svscan could not find supervises that are just starting, as they have written nothing yet.
            supervises: self.table.running().map(|(pid, which)| (which, pid)).collect(),
            absent: self.table.absent().map(|(id, name)| (id, name.to_os_string())).collect(),
            reading_on: self.table.reading_on().collect(),
            delayed: self.table.delayed(Instant::now()).collect(),
            forwarder: self.forward.forwarder(),
            ..Handover::default()
        };
        self.supervises.hand_over(&mut handover);
        (handover, self.supervises.descriptors())
    }

    /// Goes on where an earlier svscan in this process has stopped.
    pub fn take_over(&mut self, handover: &Handover, now: Instant) {
        self.supervises.take_over(handover);
        handover.delayed.iter().for_each(|delayed| self.table.expect_delayed(delayed, now));
        handover.absent.iter().for_each(|(id, name)| self.inherit(*id, name));
        handover.reading_on.iter().for_each(|id| self.table.inherit_reading_on(*id));
        handover.forwarder.into_iter().for_each(|pid| self.forward.inherit(pid, now));
    }

    /// Takes over a service that is up, although no entry of the scan directory leads to it any more.
    fn inherit(&mut self, id: Id, name: &OsStr) {
        let supervises = self.supervises.inherit(id);
        let launcher = &mut self.supervises.launcher;
        if supervises == [None, None] {
            return launcher.forget(id);
        }
        self.table.inherit(id, name, supervises);
        self.probe.keep_open(&self.table, id);
        if !self.table.has_logger(id) && launcher.has_pipe(id) {
            self.forward.want(id);
            self.forward.begin(id);
        }
    }
}
