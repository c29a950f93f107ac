//! Both searches, short enough for every run of the tests. `.ci/run` and `.ci/slow` search longer.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use supervise::policy::Policy;
use world::exhaustive::search;
use world::random::{play, replay, world_of};
use world::world::{Budget, World};

const SCHEDULES: u64 = 2000;

#[test]
fn random_schedules_break_no_promise() {
    let epoch = Instant::now();
    for seed in 0..SCHEDULES {
        let found = play(seed, epoch).map(|found| found.broken);
        assert_eq!(found, None, "again: cargo run --release -p world -- --seed {seed}");
    }
}

#[test]
fn all_schedules_with_one_kill_break_no_promise() {
    let mut world = World::new(Policy::default(), Budget { kills: 1, ..Budget::NONE }, Instant::now());
    world.is_fast = true;
    let seen = search(&world, 100_000).map_err(|(moves, broken)| format!("{broken}: {moves:?}")).unwrap();
    assert!(seen.is_complete && seen.states > 1000, "{seen:?}");
}

/// The world would be of no use if it found nothing in programs that are wrong.
#[test]
fn a_world_that_forgets_what_was_written_down_breaks_promises() {
    let epoch = Instant::now();
    let found = (0..SCHEDULES).find_map(|seed| {
        let mut world = world_of(seed, epoch);
        world.kernel.forgets = true;
        replay(&world, &world::random::moves_of(seed, epoch))
    });
    assert!(found.is_some());
}

/// A fault that the programs had once is a patch that has them have it again: `tests/world/faults/put-back` looks whether it is
/// found.
#[test]
fn the_faults_can_still_be_put_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let patches: Vec<_> =
        fs::read_dir(root.join("tests/world/faults")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let patches: Vec<_> =
        patches.iter().filter(|path| path.extension().is_some_and(|suffix| suffix == "patch")).collect();
    assert!(!patches.is_empty());
    for patch in patches {
        let applies = Command::new("git").args(["apply", "--check"]).arg(patch).current_dir(&root).status().unwrap();
        assert!(applies.success(), "{}", patch.display());
    }
}
