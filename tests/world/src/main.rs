//! Searches the simulated world.
//!
//! `world [ --schedules COUNT ] [ --first SEED ] [ --exhaustive LIMIT ]`, `world --seed SEED`
//!
//! Without options 50,000 random schedules are played, and all of a small adversary's, as far as the limit allows.
//! `--seed` plays one schedule again, makes it shorter if it breaks a promise, and tells it move by move.
//!
//! Exit codes: 0, all promises hold; 1, one is broken; 100, wrong usage.

use lexopt::{Arg, Parser, ValueExt};
use std::error::Error;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Instant;
use supervise::policy::Policy;
use world::exhaustive::search;
use world::random::{Found, play, shrink, world_of};
use world::world::{Budget, Move, World};

/// The adversaries all of whose schedules are played.
const SMALL: [Budget; 5] = [
    Budget { kills: 1, ..Budget::NONE },
    Budget { kills: 2, ..Budget::NONE },
    Budget { kills: 1, refusals: 1, ..Budget::NONE },
    Budget { kills: 1, commands: 1, ..Budget::NONE },
    Budget { kills: 1, stops: 1, ..Budget::NONE },
];

/// So many moves are told after the adversary rests.
const SHOWN: usize = 100;

/// What is to be done.
struct Order {
    schedules: u64,
    first: u64,
    limit: usize,
    only: Option<u64>,
}

fn main() -> ExitCode {
    match order().map(|order| run(&order)) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) | Err(error) => {
            let _ = writeln!(std::io::stderr(), "world: {error}");
            ExitCode::from(100)
        }
    }
}

fn order() -> Result<Order, Box<dyn Error>> {
    let mut order = Order { schedules: 50_000, first: 0, limit: 200_000, only: None };
    let mut arguments = Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("schedules") => order.schedules = arguments.value()?.parse()?,
            Arg::Long("first") => order.first = arguments.value()?.parse()?,
            Arg::Long("exhaustive") => order.limit = arguments.value()?.parse()?,
            Arg::Long("seed") => order.only = Some(arguments.value()?.parse()?),
            argument => return Err(argument.unexpected().into()),
        }
    }
    Ok(order)
}

fn run(order: &Order) -> Result<bool, Box<dyn Error>> {
    let epoch = Instant::now();
    let mut out = stdout().lock();
    if let Some(seed) = order.only {
        return match play(seed, epoch) {
            Some(found) => tell(&mut out, &found, epoch).map(|()| false),
            None => Ok(writeln!(out, "seed {seed}: all promises hold").map(|()| true)?),
        };
    }
    for seed in order.first..order.first + order.schedules {
        if let Some(found) = play(seed, epoch) {
            tell(&mut out, &found, epoch)?;
            return Ok(false);
        }
    }
    writeln!(out, "{} schedules: all promises hold ({:.1} s)", order.schedules, epoch.elapsed().as_secs_f64())?;
    for budget in SMALL {
        let mut world = World::new(Policy::default(), budget, epoch);
        world.is_fast = true;
        match search(&world, order.limit) {
            Ok(seen) => {
                writeln!(out, "all schedules of {budget:?}: {seen:?} ({:.1} s)", epoch.elapsed().as_secs_f64())?
            }
            Err((moves, broken)) => {
                writeln!(out, "all schedules of {budget:?}: {broken}")?;
                tell_moves(&mut out, &world, &shrink(&world, moves))?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn tell(out: &mut impl Write, found: &Found, epoch: Instant) -> Result<(), Box<dyn Error>> {
    writeln!(out, "seed {}: {}", found.seed, found.broken)?;
    let world = world_of(found.seed, epoch);
    let moves = shrink(&world, found.moves.clone());
    tell_moves(out, &world, &moves)
}

/// Plays moves again, and says before each what is about to happen; then lets the adversary rest.
fn tell_moves(out: &mut impl Write, world: &World, moves: &[Move]) -> Result<(), Box<dyn Error>> {
    let mut world = world.clone();
    let mut possible = Vec::new();
    for chosen in moves {
        world.moves(&mut possible);
        if possible.contains(chosen) {
            writeln!(out, "{:8.3} {}", world.kernel.uptime.as_secs_f64(), world.words(*chosen))?;
            if let Err(broken) = world.play(*chosen) {
                writeln!(out, "         broken: {broken}")?;
                return Ok(());
            }
        }
    }
    writeln!(out, "         the adversary rests")?;
    let mut told = Vec::new();
    let rest = world.rest_and_tell(|world, chosen| {
        told.push(format!("{:8.3} {}", world.kernel.uptime.as_secs_f64(), world.words(chosen)));
    });
    for line in told.iter().take(SHOWN) {
        writeln!(out, "{line}")?;
    }
    if let Err(broken) = rest {
        writeln!(out, "         broken: {broken}")?;
    }
    Ok(())
}
