//! Random schedules that the real programs perform too: what an outsider sees must be what the world allows.

// Tests report a failure by a panic.
#![allow(clippy::unwrap_used)]

use std::env;
use std::error::Error;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;
use world::real::{Outcome, run_seed, run_seed_forgetting};

/// How many schedules are performed, unless `SCHEDULES` says another number. `FIRST` says the seed of the first, by
/// default 0.
const SCHEDULES: u64 = 100;
/// How many schedules are performed at the same time. They wait most of the time.
const WORKERS: usize = 6;

type Run = fn(u64, &Path) -> Result<Outcome, Box<dyn Error>>;

/// The number that a variable of the environment has.
fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |number| number.parse().unwrap())
}

/// Performs one schedule. One that panics has failed as others do, so that its seed is told.
fn outcome_of(run: Run, seed: u64, programs: &Path) -> Outcome {
    let failed = |error: String| Outcome { error: Some(error), ..Outcome::default() };
    match catch_unwind(|| run(seed, programs)) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => failed(error.to_string()),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without words");
            failed(format!("a panic: {words}"))
        }
    }
}

/// Performs schedules, several at a time, until `is_enough` says so.
fn perform(run: Run, count: u64, is_enough: fn(&Outcome) -> bool) -> Vec<(u64, Outcome)> {
    let first = number("FIRST", 0);
    let (programs, next, over) = (tests::programs(), AtomicU64::new(first), AtomicBool::new(false));
    let outcomes = Mutex::new(Vec::new());
    scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || over.load(Ordering::Relaxed) {
                        break;
                    }
                    let outcome = outcome_of(run, seed, programs);
                    over.fetch_or(is_enough(&outcome), Ordering::Relaxed);
                    outcomes.lock().unwrap().push((seed, outcome));
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

#[test]
fn the_programs_do_what_the_world_does() {
    if !tests::has("strace") {
        return;
    }
    let count = number("SCHEDULES", SCHEDULES);
    let outcomes = perform(run_seed, count, |_| false);
    for (seed, outcome) in &outcomes {
        if let Some(failure) = outcome.difference.as_ref().or(outcome.error.as_ref()) {
            eprintln!("== again: cargo run -p world -- --real --seed {seed}\n{failure}");
        }
    }
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(|(_, outcome)| of(outcome)).sum::<usize>();
    let (steps, strikes, certain) =
        (sum(|outcome| outcome.steps), sum(|outcome| outcome.strikes), sum(|outcome| outcome.certain));
    eprintln!("{count} schedules, {steps} steps, {certain} of them with one outcome in the world, {strikes} strikes");
    let is_failed = |outcome: &Outcome| outcome.difference.is_some() || outcome.error.is_some();
    assert_eq!(outcomes.iter().filter(|(_, outcome)| is_failed(outcome)).count(), 0);
    assert!(strikes as u64 * 2 >= count, "supervises were struck {strikes} times only");
    assert!(certain * 2 > steps, "only {certain} of {steps} steps had one outcome in the world");
}

/// The comparison would be useless if it found no fault.
#[test]
fn a_world_in_which_records_are_lost_is_not_that_of_the_programs() {
    if tests::has("strace") {
        let outcomes = perform(run_seed_forgetting, SCHEDULES, |outcome| outcome.difference.is_some());
        assert!(outcomes.iter().any(|(_, outcome)| outcome.difference.is_some()));
    }
}
