//! Many long schedules, each from a seed; a schedule that breaks a promise is made shorter.

use crate::promises::Broken;
use crate::world::{Budget, Move, World};
use fastrand::Rng;
use std::time::{Duration, Instant};
use supervise::policy::{Limit, Policy};

/// Moves in a schedule before the adversary rests.
const MOVES: usize = 200;
/// Of so many moves one is the adversary's, as far as it has any.
const ADVERSARY: usize = 8;

/// A schedule that breaks a promise.
#[derive(Debug, Clone)]
pub struct Found {
    /// The seed that makes it.
    pub seed: u64,
    /// What is broken.
    pub broken: Broken,
    /// The moves before the adversary rests.
    pub moves: Vec<Move>,
}

/// The world that a seed begins with.
pub fn world_of(seed: u64, epoch: Instant) -> World {
    let mut rng = Rng::with_seed(seed);
    let policy = Policy {
        has_finish: rng.u8(..4) == 0,
        has_start: rng.u8(..8) == 0,
        has_stop: rng.u8(..8) == 0,
        kill_after: (rng.u8(..4) == 0).then(|| Duration::from_secs(3)),
        restart_limit: (rng.u8(..8) == 0).then(|| Limit { count: 3, within: Duration::from_secs(30) }),
        ..Policy::default()
    };
    let budget = Budget {
        kills: rng.u32(..6),
        refusals: rng.u32(..3),
        deeds: rng.u32(..4),
        commands: rng.u32(..4),
        strangers: rng.u32(..6),
        disk: rng.u32(..3),
        stops: rng.u32(..4) / 3,
    };
    World::new(policy, budget, epoch)
}

/// Plays the schedule of a seed.
pub fn play(seed: u64, epoch: Instant) -> Option<Found> {
    let (moves, broken) = play_all(seed, epoch);
    broken.map(|broken| Found { seed, broken, moves })
}

/// The moves that a seed makes.
pub fn moves_of(seed: u64, epoch: Instant) -> Vec<Move> {
    play_all(seed, epoch).0
}

fn play_all(seed: u64, epoch: Instant) -> (Vec<Move>, Option<Broken>) {
    let mut world = world_of(seed, epoch);
    let mut rng = Rng::with_seed(!seed);
    let (mut possible, mut played) = (Vec::new(), Vec::with_capacity(MOVES));
    for _ in 0..MOVES {
        world.moves(&mut possible);
        let Some(chosen) = choose(&possible, &mut rng) else { break };
        played.push(chosen);
        if let Err(broken) = world.play(chosen) {
            return (played, Some(broken));
        }
    }
    (played, world.rest().err())
}

/// Mostly a step of a program; now and then a deed of the adversary, or time that passes.
fn choose(moves: &[Move], rng: &mut Rng) -> Option<Move> {
    let is_step = |chosen: &&Move| matches!(chosen, Move::Step(_));
    let steps = moves.iter().filter(is_step).count();
    let others = moves.len() - steps;
    let wants_step = others == 0 || (steps > 0 && rng.usize(..ADVERSARY) > 0);
    if wants_step {
        let number = rng.usize(..steps.max(1));
        return moves.iter().filter(is_step).nth(number).copied();
    }
    let number = rng.usize(..others);
    moves.iter().filter(|chosen| !is_step(chosen)).nth(number).copied()
}

/// Plays moves, without those that are impossible by then. Returns what is broken, if anything is.
pub fn replay(world: &World, moves: &[Move]) -> Option<Broken> {
    let mut world = world.clone();
    let mut possible = Vec::new();
    for chosen in moves {
        world.moves(&mut possible);
        if possible.contains(chosen)
            && let Err(broken) = world.play(*chosen)
        {
            return Some(broken);
        }
    }
    world.rest().err()
}

/// Takes moves out of a schedule for as long as a promise is broken without them.
pub fn shrink(world: &World, moves: Vec<Move>) -> Vec<Move> {
    shortest(moves, |fewer| replay(world, fewer).is_some())
}

/// Takes things out of a list for as long as what is left `still` does what the list did: halves first, then ever fewer.
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
