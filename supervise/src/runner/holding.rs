//! The FIFO `supervise/hold`, by which another program holds back starts and ends of the service: it has the FIFO open for
//! reading. supervise opens it for writing, writes nothing, and keeps it open as long as the transition is held, so that each
//! of the two sees when the other one is gone.

use super::Runner;
use crate::machine::Event;
use crate::shared::Shared;
use daemontools::service::{HOLD, Part, Unread, open_fifo};
use daemontools::sys;
use nix::errno::Errno;
use nix::fcntl::OFlag;

impl Runner {
    /// Whether a program holds back what the machine asks for.
    pub(super) fn ask_holder(&mut self, shared: &Shared) -> Event {
        if self.part == Part::Logger {
            return Event::NotHeld;
        }
        match open_fifo(&shared.control_files.place.path(HOLD), OFlag::O_WRONLY) {
            Ok(holder) => {
                self.messages.may_be_held();
                self.holder = Some(holder);
                Event::Held
            }
            Err(Unread::System(Errno::ENOENT | Errno::ENXIO)) => Event::NotHeld,
            Err(unread) => {
                let why = if unread == Unread::WrongKind { "not a FIFO of its own" } else { unread.reason() };
                self.messages.cannot_be_held(why, &shared.control_files.object(HOLD));
                Event::NotHeld
            }
        }
    }

    /// Looks whether the program that holds a transition back is gone.
    pub(super) fn poll_holder(&mut self, shared: &mut Shared) {
        if self.holder.as_ref().is_some_and(|holder| !sys::has_reader(holder)) {
            self.holder = None;
            self.handle(Event::HolderGone, shared);
        }
    }

    /// Lets the holder see that nothing is held any more.
    pub(super) fn forget_holder(&mut self) {
        if self.machine.held().is_none() {
            self.holder = None;
        }
    }
}
