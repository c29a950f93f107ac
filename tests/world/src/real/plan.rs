//! What is done from outside in a schedule that the real programs perform too, made from a seed.

use crate::kernel::{Place, Service};
use daemontools::service::policy::Policy;
use daemontools::service::{Part, Role};
use fastrand::Rng;
use std::fmt::{self, Display, Formatter};

/// The inode of the service that another one comes after.
const DB: u64 = 2;

/// How many steps a schedule has before svscan is told to stop everything.
const STEPS: usize = 6;

/// The commands that an operator writes at once. None of them has a signal for a process that a command before it starts,
/// as it is not said whether the shell in `run` has written its line by then.
const COMMANDS: [&str; 14] = ["d", "u", "o", "t", "x", "k", "p", "c", "dx", "du", "td", "pd", "dudu", "to"];

/// The exit codes other than 0 that a program may have.
const CODES: [(Role, i32); 5] =
    [(Role::Start, 1), (Role::PreStart, 1), (Role::Finish, 1), (Role::Finish, 100), (Role::Finish, 125)];

/// What somebody does who is none of our programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// An operator writes these commands for the supervise of a directory.
    Tell(Place, &'static str),
    /// The supervise of a directory is killed.
    KillSupervise(Place),
    /// `run` of a directory is killed.
    KillRun(Place),
    /// `run` of a directory ends by itself with this code.
    Exit(Place, i32),
    /// `run` of a directory ignores TERM from now on.
    Ignore(Place),
    /// A service writes a line for its logger.
    Say(Place),
    /// svscan is killed.
    KillSvscan,
    /// svscan and all supervises are killed, before any of them does something.
    KillAll,
    /// svscan is told to stop everything.
    Stop,
}

/// The system calls of a supervise that have a counterpart in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemCall {
    /// supervise writes its page.
    WritePage,
    /// supervise puts `supervise/state` or `supervise/status` into its place.
    Rename,
    /// supervise makes a process.
    Fork,
    /// supervise opens the gate of a process.
    OpenGate,
    /// supervise sends a signal.
    Signal,
    /// supervise waits for a process that has ended.
    Wait,
}

impl SystemCall {
    /// All of them.
    const ALL: [SystemCall; 6] = [
        SystemCall::WritePage,
        SystemCall::Rename,
        SystemCall::Fork,
        SystemCall::OpenGate,
        SystemCall::Signal,
        SystemCall::Wait,
    ];

    /// The name by which strace knows the call. A process that supervise has taken over gets its signals through a descriptor.
    pub fn name(self) -> &'static str {
        match self {
            SystemCall::WritePage => "pwrite64",
            SystemCall::Rename => "renameat2",
            SystemCall::Fork => "clone",
            SystemCall::OpenGate => "sendto",
            SystemCall::Signal => "kill,pidfd_send_signal",
            SystemCall::Wait => "wait4",
        }
    }
}

/// What happens at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The program is killed before the call.
    Kill,
    /// The call fails with EIO.
    Fail,
}

/// A fault at a system call that a supervise makes because of a deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// The directory of the supervise.
    pub place: Place,
    /// Which call.
    pub call: SystemCall,
    /// How many calls of this kind supervise has made by then, with this one.
    pub when: usize,
    /// What happens there.
    pub fault: Fault,
}

/// A deed, after which everything comes to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub deed: Deed,
    /// What befalls a supervise meanwhile.
    pub strike: Option<Strike>,
}

/// A schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The services.
    pub services: Vec<Service>,
    /// One of the programs that end by themselves, and its exit code, which is 0 for the others.
    pub fails: Option<(Role, i32)>,
    /// What happens. The last step is that svscan is told to stop everything.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// The schedule of a seed.
    pub fn of_seed(seed: u64) -> Schedule {
        let mut rng = Rng::with_seed(seed);
        let policy = Policy {
            has_start: rng.u8(..4) == 0,
            has_pre_start: rng.u8(..4) == 0,
            has_finish: rng.u8(..3) == 0,
            has_stop: rng.u8(..4) == 0,
            ..Policy::default()
        };
        let service = Service::new("web", 1, policy);
        let services = match rng.u8(..4) {
            0 => vec![Service::new("db", DB, Policy::default()), service.after("db")],
            1 => vec![service],
            _ => vec![service.logged()],
        };
        let fails = if rng.u8(..4) == 0 { rng.choice(CODES) } else { None };
        let mut steps: Vec<Step> = (0..STEPS).map(|_| step(&services, &mut rng)).collect();
        steps.push(Step { deed: Deed::Stop, strike: None });
        Schedule { services, fails, steps }
    }

    /// The exit code of a program that ends by itself, if it is not 0.
    pub fn code_of(&self, program: Role) -> Option<i32> {
        self.fails.filter(|(role, _)| *role == program).map(|(_, code)| code)
    }
}

fn step(services: &[Service], rng: &mut Rng) -> Step {
    let places: Vec<Place> = services.iter().flat_map(Service::places).collect();
    let place =
        places.get(rng.usize(..places.len())).copied().unwrap_or(Place { id: services[0].id, part: Part::Service });
    let deed = deed(place, rng);
    let may_strike = matches!(deed, Deed::Tell(..) | Deed::KillRun(_) | Deed::Exit(..));
    let strike = (may_strike && rng.u8(..3) > 0).then(|| strike(place, rng));
    Step { deed, strike }
}

fn deed(place: Place, rng: &mut Rng) -> Deed {
    let is_service = place.part == Part::Service;
    match rng.u8(..16) {
        0 => Deed::KillSupervise(place),
        1 | 2 => Deed::KillRun(place),
        3 => Deed::KillSvscan,
        4 => Deed::KillAll,
        5 if is_service => Deed::Ignore(place),
        6 | 7 if is_service => Deed::Say(place),
        8 | 9 if is_service => Deed::Exit(place, [0, 1, 100][rng.usize(..3)]),
        _ => {
            // What the supervise of a logger does that is told to exit is not in the world.
            let mut commands = COMMANDS.iter().filter(|commands| is_service || !commands.contains('x'));
            Deed::Tell(place, commands.nth(rng.usize(..11)).copied().unwrap_or("t"))
        }
    }
}

fn strike(place: Place, rng: &mut Rng) -> Strike {
    let call = SystemCall::ALL[rng.usize(..SystemCall::ALL.len())];
    let (most, fault) = match call {
        SystemCall::Rename if rng.u8(..3) == 0 => (6, Fault::Fail),
        SystemCall::Rename | SystemCall::WritePage => (6, Fault::Kill),
        SystemCall::Fork | SystemCall::OpenGate | SystemCall::Signal | SystemCall::Wait => (2, Fault::Kill),
    };
    Strike { place, call, when: rng.usize(1..=most), fault }
}

fn name(place: &Place) -> &'static str {
    match place.part {
        Part::Service if place.id.inode == DB => "db",
        Part::Service => "web",
        Part::Logger => "the logger",
    }
}

impl Display for Step {
    fn fmt(&self, to: &mut Formatter) -> fmt::Result {
        match &self.deed {
            Deed::Tell(place, commands) => write!(to, "an operator writes {commands} to {}", name(place))?,
            Deed::KillSupervise(place) => write!(to, "the supervise of {} is killed", name(place))?,
            Deed::KillRun(place) => write!(to, "run of {} is killed", name(place))?,
            Deed::Exit(place, code) => write!(to, "run of {} exits {code}", name(place))?,
            Deed::Ignore(place) => write!(to, "run of {} ignores TERM from now on", name(place))?,
            Deed::Say(place) => write!(to, "{} writes a line", name(place))?,
            Deed::KillSvscan => write!(to, "svscan is killed")?,
            Deed::KillAll => write!(to, "svscan and all supervises are killed")?,
            Deed::Stop => write!(to, "svscan is told to stop everything")?,
        }
        let Some(Strike { place, call, when, fault }) = &self.strike else { return Ok(()) };
        let what = match fault {
            Fault::Kill => "is killed at",
            Fault::Fail => "has an error at",
        };
        write!(to, "; the supervise of {} {what} its {} number {when}", name(place), call.name())
    }
}
