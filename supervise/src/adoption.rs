//! Taking over the process that a killed supervise left behind, and finding out how it ends.
//!
//! The process is not a child of this supervise. Its parent, svscan or the machine's first process, waits for it and so
//! learns how it ended. supervise learns it from the kernel, if that tells, from svscan, which writes it down, or from
//! `/proc`, which shows it for a moment.

use crate::machine::{Event, Gated};
use crate::service_process::ServiceProcess;
use daemontools::service::{Exit, Identity, Place, Process, orphan_exit};
use daemontools::sys::process;
use daemontools::{Attempt, Unable};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, getpgid};
use std::time::Duration;

/// The pause between two questions about how an adopted process has ended, as long as its parent has not waited for it.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// supervise asks no more after this number of questions that were not answered.
const ASK_TIMES: u32 = 100;

/// The pause between two questions about whether an adopted process has ended, on a kernel that does not report its end.
const ASK_UNHELD: Duration = Duration::from_millis(500);

/// What became of a process that a killed supervise left behind.
pub enum Adopted {
    /// The process is still there.
    Alive(ServiceProcess),
    /// The process has ended. This event tells the machine how.
    Ended(Event),
}

/// Takes over the process in the record of an earlier supervise.
///
/// # Errors
/// EMFILE, or no `/proc`: whether the process is still there cannot be told now. A guess would start a second
/// copy of it, or would lose it.
pub fn adopt(process: Process, place: &Place, gated: Gated) -> Result<Adopted, Unable> {
    let ended = || Adopted::Ended(Event::of_adopted(orphan_exit(process, place).unwrap_or(Exit::Unknown), gated));
    let object = format!("process {}", process.pid);
    let Some(held) = ServiceProcess::hold(process).unable_to("hold", &object)? else { return Ok(ended()) };
    match held.identity().unable_to("recognise", &object)? {
        Identity::Same => Ok(Adopted::Alive(held)),
        Identity::Gone => Ok(ended()),
        Identity::Unknown if held.has_ended() => Ok(ended()),
        // An old kernel without /proc: of the process there is only its group, which is its own or that of the
        // supervise that made it, and stays so.
        Identity::Unknown if leads_or_shares_group(process.pid) => Ok(Adopted::Alive(held)),
        // Its start was not known, or is not now.
        Identity::Unknown => Err(Unable::new("recognise", &object, Errno::ENOENT)),
    }
}

/// Whether a process leads its group, or is in one whose leader is no process any more, as the group of a supervise
/// that was killed.
fn leads_or_shares_group(pid: Pid) -> bool {
    getpgid(Some(pid)).is_ok_and(|group| group == pid || kill(group, None) == Err(Errno::ESRCH))
}

/// How an adopted process that has ended did so; `None` if its parent has yet to wait for it.
fn end_of(process: &ServiceProcess, place: &Place, gated: Gated) -> Option<Event> {
    let id = process.id;
    // This is asked first: if nothing is left of the process by now, its parent has told all that it will tell.
    let gone = id.identity() == Ok(Identity::Gone);
    // If it is still there after its status was read, that was its status.
    let is_there = |_: &i32| id.identity() == Ok(Identity::Same);
    let seen = || process::zombie_status(id.pid).filter(is_there).map(Exit::from_wait_status);
    let told = process.exit_told_by_kernel().or_else(|| orphan_exit(id, place));
    told.or_else(seen).or_else(|| gone.then_some(Exit::Unknown)).map(|exit| Event::of_adopted(exit, gated))
}

/// What is still to be found out about an adopted process: whether it has passed its gate, and how it ends.
pub struct AdoptionWatch {
    gated: Gated,
    /// How often supervise has asked how the process ended, without an answer.
    asked: u32,
    /// When to ask again, in time since boot.
    next: Option<Duration>,
    /// The process has ended, and supervise waits until the parent of the process has waited for it.
    end_was_seen: bool,
}

impl AdoptionWatch {
    /// Nothing is to be found out: the process is a child of this supervise, or there is none.
    pub const NONE: AdoptionWatch = AdoptionWatch { gated: Gated::No, asked: 0, next: None, end_was_seen: false };

    /// A process that was adopted at `now`, in time since boot.
    pub fn new(gated: Gated, now: Duration) -> AdoptionWatch {
        AdoptionWatch { gated, next: (gated == Gated::Maybe).then_some(now), ..AdoptionWatch::NONE }
    }

    /// Whether [`AdoptionWatch::poll`] has seen that the process has ended.
    pub fn end_was_seen(&self) -> bool {
        self.end_was_seen
    }

    /// When to call [`AdoptionWatch::poll`] at the latest, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        self.next
    }

    /// What has happened to the process: that it was executed, that it has ended, or that it never passed its gate.
    pub fn poll(&mut self, process: &ServiceProcess, place: &Place, now: Duration) -> Option<Event> {
        if process.is_unheld() && self.next.is_none() {
            self.next = Some(now + ASK_UNHELD);
        }
        if process.has_ended() {
            self.end_was_seen = true;
            let give_up = (self.asked >= ASK_TIMES).then_some(Event::Ended(Exit::Unknown));
            let end = end_of(process, place, self.gated).or(give_up);
            if end.is_none() {
                self.ask_again(now);
            }
            return end;
        }
        match self.gated {
            Gated::No if process.is_unheld() => {
                if self.next.is_some_and(|due| due <= now) {
                    self.next = Some(now + ASK_UNHELD);
                }
                None
            }
            Gated::No => None,
            // A process that takes longer than this is no child at a gate, whatever it is.
            Gated::Maybe if process.has_executed() || self.asked >= ASK_TIMES => {
                *self = AdoptionWatch::NONE;
                Some(Event::Executed)
            }
            Gated::Maybe => {
                self.ask_again(now);
                None
            }
        }
    }

    fn ask_again(&mut self, now: Duration) {
        self.asked += 1;
        self.next = Some(now + ASK_AGAIN);
    }
}
