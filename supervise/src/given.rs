//! What the programs of a life are given (see [`Given`]), as supervise holds it in memory while the life lasts.

use crate::program::Program;
use daemontools::service::{Beside, GIVEN, Given, Place, Role};

/// What the programs of a life are given, as far as there is anything.
#[derive(Default)]
pub struct LifeInputs {
    /// For each program of the life: what `supervise/given` said.
    pub life: Option<Box<Given>>,
    /// For the programs that run at its end also this: what `supervise/given-stop` said.
    pub stop: Option<Box<Given>>,
}

impl LifeInputs {
    /// What the programs of a life are given that an earlier supervise has begun.
    pub fn of_life(place: &Place) -> LifeInputs {
        LifeInputs { life: Given::read(place, GIVEN).ok().flatten().map(Box::new), stop: None }
    }

    /// What this program is given.
    pub fn of(&self, program: Program) -> impl Iterator<Item = &Given> {
        self.life.iter().chain(self.stop.iter().filter(move |_| ends_a_life(program))).map(|given| &**given)
    }
}

/// Whether this program runs at the end of a life.
pub fn ends_a_life(program: Program) -> bool {
    matches!(program, Program::Main(Role::Finish) | Program::Beside(Beside::PreStop))
}
