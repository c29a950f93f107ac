//! What both searches need of a world, and how a world comes to rest.

use crate::broken::Broken;
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// A world whose adversary rests must come to rest itself within this number of transitions.
const MOST_TRANSITIONS: usize = 4000;

/// Which kind of actor makes a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A program makes its next step.
    Program,
    /// Time passes until the next thing is due.
    Clock,
    /// The adversary does something.
    Adversary,
}

/// A world in which an adversary chooses what happens next.
pub trait Simulated: Clone + Debug {
    /// One thing that can happen in the world.
    type Transition: Copy + Debug + PartialEq;

    /// Makes the world with which the schedule of this seed begins. `epoch` is the moment of boot.
    fn of_seed(seed: u64, epoch: Instant) -> Self;

    /// Puts all transitions that are possible now into `into`, which is emptied first.
    fn transitions(&self, into: &mut Vec<Self::Transition>);

    /// Returns which kind of actor makes this transition.
    fn actor(chosen: &Self::Transition) -> Actor;

    /// Performs a transition.
    ///
    /// # Errors
    /// The promise that the transition breaks.
    fn apply(&mut self, chosen: Self::Transition) -> Result<(), Broken>;

    /// Makes the adversary rest from now on. What it has taken away for a time, as room on the disk, comes back.
    fn stop_adversary(&mut self);

    /// Whether the machine works as it should, so that the promises for a world at rest can be checked. They cannot
    /// while the adversary keeps a disk from taking writes.
    fn is_sound(&self) -> bool;

    /// Checks the promises for a world in which the programs have finished their work.
    ///
    /// # Errors
    /// The promise that is broken.
    fn check_at_rest(&self) -> Result<(), Broken>;

    /// How long the programs may take to finish their work once the adversary rests.
    fn longest_rest(&self) -> Duration;

    /// Describes a transition that is about to happen, in words.
    fn words(&self, chosen: Self::Transition) -> String;

    /// The time since the machine was booted.
    fn uptime(&self) -> Duration;

    /// Makes the adversary rest, and lets the programs take turns until they have finished their work.
    ///
    /// # Errors
    /// The promise that is broken on the way, or in the end.
    fn rest(&mut self) -> Result<(), Broken> {
        self.rest_and_tell(|_, _| {})
    }

    /// Does what [`Simulated::rest`] does, and calls `tell` before each transition.
    ///
    /// # Errors
    /// The promise that is broken on the way, or in the end.
    fn rest_and_tell(&mut self, mut tell: impl FnMut(&Self, Self::Transition)) -> Result<(), Broken> {
        self.stop_adversary();
        let (mut transitions, began) = (Vec::new(), self.uptime());
        for turn in 0..MOST_TRANSITIONS {
            self.transitions(&mut transitions);
            // `transitions` has the steps of programs before the passing of time.
            let steps = transitions.iter().filter(|chosen| Self::actor(chosen) == Actor::Program).count();
            let Some(chosen) = transitions.get(turn % steps.max(1)).copied() else {
                let took = self.uptime() - began;
                return if took > self.longest_rest() { Err(Broken::TooLate(took)) } else { self.check_at_rest() };
            };
            tell(self, chosen);
            self.apply(chosen)?;
        }
        Err(Broken::NeverAtRest)
    }
}
