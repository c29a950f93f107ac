//! What the programs of a life are given: see [`Given`]. `supervise/given` is read when a life is prepared, and once more by a
//! supervise that takes a life over; `supervise/given-stop` before each program that runs at the end of a life. Both files are
//! removed when the service has come to rest, before that is written down: who sees it at rest may give it something new.

use super::Runner;
use crate::program::Program;
use crate::shared::Shared;
use daemontools::service::{Beside, GIVEN, GIVEN_STOP, Given, Part, Place, Role};
use nix::unistd::unlink;

/// What the programs are given, as far as there is anything.
#[derive(Default)]
pub struct Gifts {
    life: Option<Box<Given>>,
    stop: Option<Box<Given>>,
}

impl Gifts {
    /// What a life is given that an earlier supervise has begun.
    pub fn of_life(place: &Place) -> Gifts {
        Gifts { life: Given::read(place, GIVEN).ok().flatten().map(Box::new), stop: None }
    }

    /// What this program is given.
    pub fn of(&self, program: Program) -> impl Iterator<Item = &Given> {
        self.life.iter().chain(self.stop.iter().filter(move |_| ends_a_life(program))).map(|given| &**given)
    }
}

/// Whether this program runs at the end of a life.
fn ends_a_life(program: Program) -> bool {
    matches!(program, Program::Main(Role::Finish) | Program::Beside(Beside::PreStop))
}

impl Runner {
    /// Reads what the life that begins is given.
    pub(super) fn take_gifts(&mut self, shared: &Shared) {
        if self.part == Part::Service {
            self.gifts.life = self.read_gifts(GIVEN, shared);
        }
    }

    /// Reads what this program is given besides, if it runs at the end of a life.
    pub(super) fn take_last_gifts(&mut self, program: Program, shared: &Shared) {
        if ends_a_life(program) && self.part == Part::Service {
            self.gifts.stop = self.read_gifts(GIVEN_STOP, shared);
        }
    }

    fn read_gifts(&mut self, file: &'static str, shared: &Shared) -> Option<Box<Given>> {
        let read = Given::read(&shared.control_files.place, file);
        self.messages.given(file, read.as_ref().err().copied(), &shared.control_files.object(file));
        read.ok().flatten().map(Box::new)
    }

    /// Removes what the service was given, if it has just come to rest.
    pub(super) fn drop_gifts(&mut self, shared: &Shared) {
        let was_at_rest = std::mem::replace(&mut self.is_at_rest, self.machine.is_at_rest());
        if self.is_at_rest && !was_at_rest && self.part == Part::Service {
            self.gifts = Gifts::default();
            for file in [GIVEN, GIVEN_STOP] {
                // Mostly there is none.
                let _ = unlink(&shared.control_files.place.path(file));
            }
        }
    }
}
