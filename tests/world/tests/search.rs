//! Both searches, limited so that they fit into every run of the tests. `.ci/run` and `.ci/slow` search longer.

use daemontools::service::Command;
use daemontools::service::policy::Policy;
use std::fs;
use std::path::Path;
use std::process;
use std::time::Instant;
use world::exhaustive::search;
use world::kernel::Service;
use world::logs::{self, Logs};
use world::random::{replay, run_seed, transitions_of};
use world::simulated::Simulated;
use world::world::{Budget, Transition, World};

const SCHEDULES: u64 = 2000;

fn random_schedules<S: Simulated>(name: &str) {
    let epoch = Instant::now();
    for seed in 0..SCHEDULES {
        let found = run_seed::<S>(seed, epoch).map(|found| found.broken);
        assert_eq!(found, None, "again: cargo run --release -p world -- --world {name} --seed {seed}");
    }
}

#[test]
fn random_schedules_of_services_break_no_promise() {
    random_schedules::<World>("services");
}

#[test]
fn random_schedules_of_multilog_break_no_promise() {
    random_schedules::<Logs>("logs");
}

#[test]
fn all_schedules_with_one_kill_break_no_promise() {
    let mut world = World::new(
        vec![Service::new("web", 1, Policy::default())],
        Budget { kills: 1, ..Budget::NONE },
        Instant::now(),
    );
    world.is_fast = true;
    let seen = search(&world, 100_000).map_err(|(transitions, broken)| format!("{broken}: {transitions:?}")).unwrap();
    assert!(seen.is_complete && seen.states > 1000, "{seen:?}");
}

#[test]
fn all_schedules_of_a_service_with_a_logger_break_no_promise() {
    let services = vec![Service::new("web", 1, Policy::default()).logged()];
    let mut world = World::new(services, Budget { lines: 1, ..Budget::NONE }, Instant::now());
    world.is_fast = true;
    let seen = search(&world, 100_000).map_err(|(transitions, broken)| format!("{broken}: {transitions:?}")).unwrap();
    assert!(seen.is_complete && seen.states > 5000, "{seen:?}");
}

#[test]
fn all_schedules_of_a_stop_of_two_services_break_no_promise() {
    let plain = |name, inode| Service::new(name, inode, Policy::default());
    let services = vec![plain("db", 2), plain("web", 1).after("db")];
    let mut world = World::new(services, Budget { stops: 1, ..Budget::NONE }, Instant::now());
    world.is_fast = true;
    let seen = search(&world, 100_000).map_err(|(transitions, broken)| format!("{broken}: {transitions:?}")).unwrap();
    assert!(seen.is_complete && seen.states > 1000, "{seen:?}");
}

#[test]
fn all_schedules_of_multilog_with_one_kill_break_no_promise() {
    let world = Logs::small(logs::Budget { kills: 1, ..logs::Budget::NONE });
    let seen = search(&world, 100_000).map_err(|(transitions, broken)| format!("{broken}: {transitions:?}")).unwrap();
    assert!(seen.is_complete && seen.states > 1000, "{seen:?}");
}

/// svscan and the supervise are killed when the process of `reload` is recorded and its gate is not open yet, so that no
/// program learns how that process ends.
#[test]
fn a_reload_that_is_at_its_gate_when_all_are_killed_is_not_forgotten() {
    let policy = Policy { has_reload: true, ..Policy::default() };
    let world = World::new(vec![Service::new("web", 1, policy)], Budget::NONE, Instant::now());
    let mut world = world.at_rest().unwrap();
    let supervise = world.supervises[0].clone();
    world.budget = Budget { commands: 1, sweeps: 1, ..Budget::NONE };
    world.apply(Transition::Tell(supervise.place, Command::Reload.byte())).unwrap();
    while world.supervises[0].next() != "Act(OpenBesideGate)" {
        world.apply(Transition::Step(supervise.pid)).unwrap();
    }
    world.apply(Transition::KillOurs).unwrap();
    world.rest().unwrap();
    let reloads = world.promises.reloads_told(supervise.place);
    assert_eq!(reloads, 0, "it was told once, and has run");
}

/// The world would be useless if it found no fault in programs that have one.
#[test]
fn a_world_that_forgets_what_was_written_down_breaks_promises() {
    let epoch = Instant::now();
    let found = (0..SCHEDULES).find_map(|seed| {
        let mut world = World::of_seed(seed, epoch);
        world.kernel.forgets = true;
        replay(&world, &transitions_of::<World>(seed, epoch))
    });
    assert!(found.is_some());
    let found = (0..SCHEDULES).find_map(|seed| {
        let mut world = Logs::of_seed(seed, epoch);
        world.machine.forgets = true;
        replay(&world, &transitions_of::<Logs>(seed, epoch))
    });
    assert!(found.is_some());
}

/// A fault that the programs once had is kept as a patch that brings it back. `tests/world/faults/put-back` checks that
/// the world finds it.
#[test]
fn the_faults_can_still_be_put_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let patches: Vec<_> =
        fs::read_dir(root.join("tests/world/faults")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let patches: Vec<_> =
        patches.iter().filter(|path| path.extension().is_some_and(|suffix| suffix == "patch")).collect();
    assert!(!patches.is_empty());
    for patch in patches {
        let applies =
            process::Command::new("git").args(["apply", "--check"]).arg(patch).current_dir(&root).status().unwrap();
        assert!(applies.success(), "{}", patch.display());
    }
}
