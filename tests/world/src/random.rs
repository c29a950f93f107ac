//! Runs many long schedules, each from a seed, and shortens a schedule that breaks a promise.

use crate::broken::Broken;
use crate::simulated::{Actor, Simulated};
use fastrand::Rng;
use std::time::Instant;

/// The number of transitions in a schedule before the adversary rests.
const TRANSITIONS: usize = 200;
/// About one transition out of this number is the adversary's, as long as it has any left.
const ADVERSARY: usize = 8;

/// A schedule that breaks a promise.
#[derive(Debug, Clone)]
pub struct Found<M> {
    /// The seed that makes the schedule.
    pub seed: u64,
    /// The promise that is broken.
    pub broken: Broken,
    /// The transitions before the adversary rests.
    pub transitions: Vec<M>,
}

/// Runs the schedule of a seed.
pub fn run_seed<S: Simulated>(seed: u64, epoch: Instant) -> Option<Found<S::Transition>> {
    let (transitions, broken) = run_schedule::<S>(seed, epoch);
    broken.map(|broken| Found { seed, broken, transitions })
}

/// The transitions of a seed's schedule.
pub fn transitions_of<S: Simulated>(seed: u64, epoch: Instant) -> Vec<S::Transition> {
    run_schedule::<S>(seed, epoch).0
}

fn run_schedule<S: Simulated>(seed: u64, epoch: Instant) -> (Vec<S::Transition>, Option<Broken>) {
    let mut world = S::of_seed(seed, epoch);
    let mut rng = Rng::with_seed(!seed);
    let (mut possible, mut applied) = (Vec::new(), Vec::with_capacity(TRANSITIONS));
    for _ in 0..TRANSITIONS {
        world.transitions(&mut possible);
        let Some(chosen) = choose::<S>(&possible, &mut rng) else { break };
        applied.push(chosen);
        if let Err(broken) = world.apply(chosen) {
            return (applied, Some(broken));
        }
    }
    (applied, world.rest().err())
}

/// Chooses the next transition: usually a step of a program, sometimes an action of the adversary or time that passes.
fn choose<S: Simulated>(transitions: &[S::Transition], rng: &mut Rng) -> Option<S::Transition> {
    let is_step = |chosen: &&S::Transition| S::actor(chosen) == Actor::Program;
    let steps = transitions.iter().filter(is_step).count();
    let others = transitions.len() - steps;
    let wants_step = others == 0 || (steps > 0 && rng.usize(..ADVERSARY) > 0);
    if wants_step {
        let number = rng.usize(..steps.max(1));
        return transitions.iter().filter(is_step).nth(number).copied();
    }
    let number = rng.usize(..others);
    transitions.iter().filter(|chosen| !is_step(chosen)).nth(number).copied()
}

/// Performs transitions, except those that are impossible when their turn comes. Returns the promise that is broken, if
/// one is.
pub fn replay<S: Simulated>(world: &S, transitions: &[S::Transition]) -> Option<Broken> {
    let mut world = world.clone();
    let mut possible = Vec::new();
    for chosen in transitions {
        world.transitions(&mut possible);
        if possible.contains(chosen)
            && let Err(broken) = world.apply(*chosen)
        {
            return Some(broken);
        }
    }
    world.rest().err()
}

/// Removes transitions from a schedule as long as the same promise is broken without them.
pub fn shrink<S: Simulated>(world: &S, transitions: Vec<S::Transition>) -> Vec<S::Transition> {
    let kind = |broken: &Broken| std::mem::discriminant(broken);
    let known = replay(world, &transitions).as_ref().map(kind);
    shortest(transitions, |fewer| replay(world, fewer).as_ref().map(kind) == known)
}

/// Removes elements from a list as long as `still` holds for the rest: first halves, then fewer and fewer.
fn shortest<T: Clone>(mut list: Vec<T>, still: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut size = list.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < list.len() {
            let fewer: Vec<T> = list.iter().take(at).chain(list.iter().skip(at + size)).cloned().collect();
            if still(&fewer) { list = fewer } else { at += size }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_made_as_short_as_can_be() {
        let has = |wanted: [u32; 3]| move |list: &[u32]| wanted.iter().all(|number| list.contains(number));
        for wanted in [[0, 1, 2], [7, 50, 99], [98, 99, 97]] {
            let mut found = shortest((0..100).collect(), has(wanted));
            found.sort_unstable();
            let mut expected = wanted.to_vec();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
        assert_eq!(shortest((0..100).collect(), |_| true), Vec::<u32>::new());
    }
}
