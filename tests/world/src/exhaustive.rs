//! All schedules of a small adversary, until no state is new.

use crate::promises::{Broken, Promises};
use crate::world::{Move, World};
use std::collections::HashSet;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};

/// What a search has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// States that differ.
    pub states: usize,
    /// The most moves to one of them.
    pub depth: usize,
    /// There are no others.
    pub is_complete: bool,
}

/// Goes through all that can come of `world`, at most `limit` states of it.
///
/// # Errors
/// The moves to the first state that breaks a promise, and which.
pub fn search(world: &World, limit: usize) -> Result<Seen, (Vec<Move>, Broken)> {
    let mut known = HashSet::from([digest(world)]);
    // The last move of each state that is left to be looked at, and how many moves came before it.
    let mut stack: Vec<(World, usize, Option<Move>)> = vec![(world.clone(), 0, None)];
    let mut path: Vec<Move> = Vec::new();
    let mut depth = 0;
    let mut moves = Vec::new();
    while let Some((world, length, last)) = stack.pop() {
        path.truncate(length.saturating_sub(1));
        path.extend(last);
        depth = depth.max(length);
        world.moves(&mut moves);
        let is_at_rest = !moves.iter().any(|chosen| matches!(chosen, Move::Step(_) | Move::Pass));
        if is_at_rest && !world.kernel.files.read_only {
            Promises::check_at_rest(&world).map_err(|broken| (path.clone(), broken))?;
        }
        for chosen in &moves {
            let mut next = world.clone();
            if let Err(broken) = next.play(*chosen) {
                path.push(*chosen);
                return Err((path, broken));
            }
            if known.insert(digest(&next)) {
                if known.len() >= limit {
                    return Ok(Seen { states: known.len(), depth, is_complete: false });
                }
                stack.push((next, length + 1, Some(*chosen)));
            }
        }
    }
    Ok(Seen { states: known.len(), depth, is_complete: true })
}

/// A number for a state, which another state has only by a chance of one in a thousand million, as long as there are
/// some millions of them.
fn digest(world: &World) -> u64 {
    struct Hashed(DefaultHasher);
    impl Write for Hashed {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut hashed = Hashed(DefaultHasher::new());
    // Nothing in it refuses text.
    let _ = write!(hashed, "{world:?}");
    hashed.0.finish()
}
