//! Searches the simulated worlds.
//!
//! `world [ --world NAME ] [ --schedules COUNT ] [ --first SEED ] [ --exhaustive LIMIT ]`,
//! `world --world NAME --seed SEED`,
//! `world --real --seed SEED`
//!
//! There are two worlds: `services` has svscan and its supervises, and `logs` has one multilog. Without `--world`, both
//! are searched. Without other options, 50,000 random schedules of each world are run, and then all schedules of
//! several small adversaries, within a limit. `--seed` runs one schedule again, shortens it if it breaks a promise, and
//! prints it transition by transition. With `--real`, the seed is one of a schedule that the real programs perform too,
//! those in the folder that `BIN` names, or else those beside this program.
//!
//! Exit codes: 0, all promises hold; 1, one is broken; 100, wrong usage.

use daemontools::service::policy::Policy;
use lexopt::{Arg, Parser, ValueExt};
use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use world::exhaustive::search;
use world::kernel::Service;
use world::logs::{self, Logs};
use world::random::{Found, run_seed, shrink};
use world::simulated::Simulated;
use world::world::{Budget, World};

const SERVICES: &str = "services";
const LOGS: &str = "logs";

/// The adversaries of a service without a logger whose schedules are all run.
const SMALL: [Budget; 5] = [
    Budget { kills: 1, ..Budget::NONE },
    Budget { kills: 2, ..Budget::NONE },
    Budget { kills: 1, refusals: 1, ..Budget::NONE },
    Budget { kills: 1, commands: 1, ..Budget::NONE },
    Budget { kills: 1, stops: 1, ..Budget::NONE },
];

/// The same for a service with a logger.
const SMALL_OF_LOGGED: [Budget; 2] =
    [Budget { lines: 1, ..Budget::NONE }, Budget { stops: 1, lines: 1, ..Budget::NONE }];

/// The same for a service with a logger, both of which are up and at rest when the adversary begins.
const SMALL_OF_LOGGED_AT_REST: [Budget; 2] =
    [Budget { kills: 2, ..Budget::NONE }, Budget { kills: 1, lines: 1, ..Budget::NONE }];

/// The same for a service that has programs beside `run` and is up and at rest when the adversary begins.
const SMALL_OF_BESIDE_AT_REST: Budget = Budget { sweeps: 1, commands: 1, ..Budget::NONE };

/// The same for a service with a logger from the boot on. These have some hundred thousand states, and take minutes. They
/// are searched only if `--exhaustive` allows more states than usual.
const LARGE_OF_LOGGED: [Budget; 2] =
    [Budget { kills: 1, ..Budget::NONE }, Budget { kills: 1, lines: 1, ..Budget::NONE }];

/// How many states of a small adversary are visited at most, unless `--exhaustive` says another number.
const LIMIT: usize = 200_000;

/// The same for two services, of which the second starts after the first.
const SMALL_OF_TWO: [Budget; 3] =
    [Budget::NONE, Budget { kills: 1, ..Budget::NONE }, Budget { stops: 1, ..Budget::NONE }];

/// The adversaries of multilog whose schedules are all run.
const SMALL_OF_LOGS: [logs::Budget; 4] = [
    logs::Budget { kills: 2, ..logs::Budget::NONE },
    logs::Budget { kills: 1, refusals: 1, ..logs::Budget::NONE },
    logs::Budget { cuts: 1, ..logs::Budget::NONE },
    logs::Budget { terms: 1, refusals: 1, ..logs::Budget::NONE },
];

/// The adversaries of a multilog that finds a journal which another one has left in order. All their schedules are run.
const SMALL_OF_LEFT: [logs::Budget; 2] =
    [logs::Budget { kills: 1, ..logs::Budget::NONE }, logs::Budget { cuts: 1, ..logs::Budget::NONE }];

/// The maximum number of transitions that are printed after the adversary rests.
const SHOWN: usize = 100;

/// What the arguments ask for.
struct Order {
    schedules: u64,
    first: u64,
    limit: usize,
    only: Option<u64>,
    /// The world to search; `None` means all worlds.
    world: Option<String>,
    /// Whether the real programs perform the schedule too.
    is_real: bool,
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
    let mut order = Order { schedules: 50_000, first: 0, limit: LIMIT, only: None, world: None, is_real: false };
    let mut arguments = Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("schedules") => order.schedules = arguments.value()?.parse()?,
            Arg::Long("first") => order.first = arguments.value()?.parse()?,
            Arg::Long("exhaustive") => order.limit = arguments.value()?.parse()?,
            Arg::Long("seed") => order.only = Some(arguments.value()?.parse()?),
            Arg::Long("real") => order.is_real = true,
            Arg::Long("world") => order.world = Some(arguments.value()?.string()?),
            argument => return Err(argument.unexpected().into()),
        }
    }
    match order.world.as_deref() {
        None if order.is_real => order.only.map(|_| order).ok_or_else(|| "--real needs --seed".into()),
        None if order.only.is_some() => Err("--seed needs --world".into()),
        None | Some(SERVICES | LOGS) => Ok(order),
        Some(name) => Err(format!("there is no world {name}: services, logs").into()),
    }
}

fn run(order: &Order) -> Result<bool, Box<dyn Error>> {
    if let Some(seed) = order.only.filter(|_| order.is_real) {
        return run_real(seed);
    }
    let epoch = Instant::now();
    let plain = || Service::new("web", 1, Policy::default());
    let small_world = |services: Vec<Service>, budget: Budget| {
        let names: Vec<String> = services.iter().map(Service::words).collect();
        let mut world = World::new(services, budget, epoch);
        world.is_fast = true;
        (format!("{}, {budget:?}", names.join(" and ")), world)
    };
    let mut small: Vec<(String, World)> = SMALL.iter().map(|budget| small_world(vec![plain()], *budget)).collect();
    let two = || vec![Service::new("db", 2, Policy::default()), plain().after("db")];
    small.extend(SMALL_OF_TWO.iter().map(|budget| small_world(two(), *budget)));
    let logged = || vec![plain().logged()];
    small.extend(SMALL_OF_LOGGED.iter().map(|budget| small_world(logged(), *budget)));
    for budget in SMALL_OF_LOGGED_AT_REST {
        let (name, world) = small_world(logged(), budget);
        let world = world.at_rest().map_err(|broken| broken.to_string())?;
        small.push((format!("at rest, {name}"), world));
    }
    let beside = Policy { has_post_start: true, has_pre_stop: true, has_reload: true, ..Policy::default() };
    let (name, world) = small_world(vec![Service::new("web", 1, beside)], SMALL_OF_BESIDE_AT_REST);
    small.push((format!("at rest, {name}"), world.at_rest().map_err(|broken| broken.to_string())?));
    let large = LARGE_OF_LOGGED.iter().filter(|_| order.limit > LIMIT);
    small.extend(large.map(|budget| small_world(logged(), *budget)));
    let mut small_of_logs: Vec<(String, Logs)> =
        SMALL_OF_LOGS.iter().map(|budget| (format!("{budget:?}"), Logs::small(*budget))).collect();
    for budget in SMALL_OF_LEFT {
        let left = Logs::after_orderly_end(budget).map_err(|broken| broken.to_string())?;
        small_of_logs.push((format!("after an orderly end, {budget:?}"), left));
    }
    let is_wanted = |name| order.world.as_deref().is_none_or(|wanted| wanted == name);
    let services = !is_wanted(SERVICES) || search_world(SERVICES, order, epoch, &small)?;
    Ok(services && (!is_wanted(LOGS) || search_world(LOGS, order, epoch, &small_of_logs)?))
}

/// Performs a schedule in the world and with the real programs, and tells what is seen.
fn run_real(seed: u64) -> Result<bool, Box<dyn Error>> {
    let beside = std::env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default();
    let programs = std::env::var_os("BIN").map_or(Ok(beside), std::fs::canonicalize)?;
    let outcome = world::real::run_seed(seed, &programs)?;
    let mut out = stdout().lock();
    match outcome.difference {
        Some(difference) => writeln!(out, "{difference}").map(|()| false),
        None => writeln!(out, "{}seed {seed}: no difference", outcome.story).map(|()| true),
    }
    .map_err(Into::into)
}

/// Searches a world in both ways; `small` are those whose schedules are all run, each with the name of its adversary.
fn search_world<S: Simulated>(
    name: &str,
    order: &Order,
    epoch: Instant,
    small: &[(String, S)],
) -> Result<bool, Box<dyn Error>> {
    let mut out = stdout().lock();
    if let Some(seed) = order.only {
        return match run_seed::<S>(seed, epoch) {
            Some(found) => print_found::<S>(&mut out, name, &found, epoch).map(|()| false),
            None => Ok(writeln!(out, "{name}, seed {seed}: all promises hold").map(|()| true)?),
        };
    }
    let began = Instant::now();
    for seed in order.first..order.first + order.schedules {
        if let Some(found) = run_seed::<S>(seed, epoch) {
            print_found::<S>(&mut out, name, &found, epoch)?;
            return Ok(false);
        }
    }
    let time = began.elapsed().as_secs_f64();
    writeln!(out, "{name}, {} schedules: all promises hold ({time:.1} s)", order.schedules)?;
    for (budget, world) in small.iter().filter(|_| order.limit > 0) {
        let began = Instant::now();
        match search(world, order.limit) {
            Ok(seen) => {
                let how = if seen.is_complete { "complete" } else { "cut" };
                let time = began.elapsed().as_secs_f64();
                let (states, depth) = (seen.states, seen.depth);
                writeln!(out, "{name}, {budget}: {states} states, {depth} transitions deep, {how} ({time:.1} s)")?;
            }
            Err((transitions, broken)) => {
                writeln!(out, "{name}, {budget}: {broken}")?;
                print_transitions(&mut out, world, &shrink(world, transitions))?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn print_found<S: Simulated>(
    out: &mut impl Write,
    name: &str,
    found: &Found<S::Transition>,
    epoch: Instant,
) -> Result<(), Box<dyn Error>> {
    writeln!(out, "{name}, seed {}: {}", found.seed, found.broken)?;
    let world = S::of_seed(found.seed, epoch);
    let transitions = shrink(&world, found.transitions.clone());
    print_transitions(out, &world, &transitions)
}

/// Runs transitions again, and says before each what is about to happen; then lets the adversary rest.
fn print_transitions<S: Simulated>(
    out: &mut impl Write,
    world: &S,
    transitions: &[S::Transition],
) -> Result<(), Box<dyn Error>> {
    let mut world = world.clone();
    let mut possible = Vec::new();
    for chosen in transitions {
        world.transitions(&mut possible);
        if possible.contains(chosen) {
            writeln!(out, "{:8.3} {}", world.uptime().as_secs_f64(), world.words(*chosen))?;
            if let Err(broken) = world.apply(*chosen) {
                writeln!(out, "         broken: {broken}")?;
                return Ok(());
            }
        }
    }
    writeln!(out, "         the adversary rests")?;
    let mut told = Vec::new();
    let rest = world.rest_and_tell(|world, chosen| {
        told.push(format!("{:8.3} {}", world.uptime().as_secs_f64(), world.words(chosen)));
    });
    for line in told.iter().take(SHOWN) {
        writeln!(out, "{line}")?;
    }
    if let Err(broken) = rest {
        writeln!(out, "         broken: {broken}")?;
    }
    Ok(())
}
