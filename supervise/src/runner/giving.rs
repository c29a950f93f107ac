//! When supervise reads and removes the files that give the programs of a life something (see [`Given`]). supervise
//! reads `supervise/given` when it prepares a life, and once more when it takes a life over; it reads
//! `supervise/given-stop` before each program that runs at the end of a life. Both files are removed when the service
//! has come to rest, before that is written down: a program that sees the service at rest may give it something new.

use super::Runner;
use crate::given::{LifeInputs, ends_a_life};
use crate::program::Program;
use crate::shared::Shared;
use daemontools::service::{GIVEN, GIVEN_STOP, Given, Part};
use nix::unistd::unlink;

impl Runner {
    /// Reads what the life that begins is given.
    pub(super) fn read_inputs(&mut self, shared: &Shared) {
        if self.part == Part::Service {
            self.inputs.life = self.read_given(GIVEN, shared);
        }
    }

    /// Reads what this program is given besides, if it runs at the end of a life.
    pub(super) fn read_stop_inputs(&mut self, program: Program, shared: &Shared) {
        if ends_a_life(program) && self.part == Part::Service {
            self.inputs.stop = self.read_given(GIVEN_STOP, shared);
        }
    }

    fn read_given(&mut self, file: &'static str, shared: &Shared) -> Option<Box<Given>> {
        let read = Given::read(&shared.control_files.place, file);
        self.messages.given(file, read.as_ref().err().copied(), &shared.control_files.object(file));
        read.ok().flatten().map(Box::new)
    }

    /// Removes what the service was given, if it has just come to rest.
    pub(super) fn remove_inputs(&mut self, shared: &Shared) {
        let was_at_rest = std::mem::replace(&mut self.is_at_rest, self.machine.is_at_rest());
        if self.is_at_rest && !was_at_rest && self.part == Part::Service {
            self.inputs = LifeInputs::default();
            for file in [GIVEN, GIVEN_STOP] {
                // Mostly there is none.
                let _ = unlink(&shared.control_files.place.path(file));
            }
        }
    }
}
