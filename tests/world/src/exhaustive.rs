//! Runs all schedules of a small adversary, until no new state is found.

use crate::broken::Broken;
use crate::simulated::{Actor, Simulated};
use std::collections::HashSet;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The number of different states.
    pub states: usize,
    /// The largest number of transitions that lead to one of them.
    pub depth: usize,
    /// Whether these are all states.
    pub is_complete: bool,
}

/// Visits all states that can follow from `world`, but at most `limit` of them.
///
/// # Errors
/// The transitions to the first state that breaks a promise, and the promise.
pub fn search<S: Simulated>(world: &S, limit: usize) -> Result<Seen, (Vec<S::Transition>, Broken)> {
    let mut text = String::new();
    let mut known = HashSet::from([digest(world, &mut text)]);
    // The last transition to each state that is still to be visited, and the number of transitions before it.
    let mut stack: Vec<(S, usize, Option<S::Transition>)> = vec![(world.clone(), 0, None)];
    let mut path: Vec<S::Transition> = Vec::new();
    let mut depth = 0;
    let mut transitions = Vec::new();
    while let Some((world, length, last)) = stack.pop() {
        path.truncate(length.saturating_sub(1));
        path.extend(last);
        depth = depth.max(length);
        world.transitions(&mut transitions);
        let is_at_rest = transitions.iter().all(|chosen| S::actor(chosen) == Actor::Adversary);
        if is_at_rest && world.is_sound() {
            world.check_at_rest().map_err(|broken| (path.clone(), broken))?;
        }
        for chosen in &transitions {
            let mut next = world.clone();
            if let Err(broken) = next.apply(*chosen) {
                path.push(*chosen);
                return Err((path, broken));
            }
            if known.insert(digest(&next, &mut text)) {
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
/// some millions of them. `text` is where the state is written for that.
fn digest(world: &impl Simulated, text: &mut String) -> u64 {
    text.clear();
    // Writing into a string cannot fail.
    let _ = write!(text, "{world:?}");
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}
