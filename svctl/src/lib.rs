//! svctl: the one command of people for all services.
//!
//! `svctl [ -d DIR ] [ -j ] [ COMMAND ] [ NAME ... ]`
//!
//! svc, svstat, svwait and svlog take paths and letters, which suits scripts. svctl takes names and words, and says more.
//! It uses the same parts of lib.
//!
//! 1. [`arguments`] makes a [`Request`](arguments::Request) of the words. [`verbs`] and [`flags`] have a table each of the
//!    commands and of the options, from which [`usage`], [`help`] and [`completion`] come too.
//! 2. [`services`] finds the scan directory, and the services that the names or patterns mean.
//! 3. One file answers each kind of request:
//!
//! | command | file | answer |
//! |---|---|---|
//! | `list` | [`list`] | a table with one row for each service |
//! | `status` | [`detail`] | everything about a service: its state and the reason, its last ends, its last words, what to type |
//! | `start` `stop` `restart` `once` `reload` `kill` | [`act`] | commands the services, and waits for the outcome |
//! | `wait` | [`act`] | waits without a command |
//! | `log` | [`log`] | becomes svlog |
//! | `add` | [`add`] | makes an entry in the scan directory, and waits for the service |
//! | `remove` | [`remove`] | takes an entry away, ends the service, and lets its logger read everything |
//! | `enable` `disable` | [`enable`] | whether services are started by themselves |
//! | `completion` | [`completion`] | a script that completes the words in a shell |
//! | `check` | [`check`] | what would keep services from working |
//! | `events` | [`events`] | a line for each change of a service |
//! | `metrics` | [`metrics`] | the state of the services in numbers, in the text format of Prometheus |
//! | `top` | [`top`] | the table as a live screen |
//!
//! lib's `trial` says whether a command has had its effect, [`unsupervised`] why a service has no supervise, [`after`]
//! for which services svscan waits, [`logger`] why a logger does not write, [`disk`] whether a disk is full, [`advice`]
//! what to type next, [`entry`] takes an entry out of the scan directory, [`keeper`] finds another svscan that has a service, [`starting`] a supervise that is starting,
//! and [`access`] says whose a service is that this account may not look at. [`row`] lists the columns of
//! the table, each with how its cells are made; [`column`] and [`table`] align the rows, and [`paint`] decides on
//! symbols and colours.
//!
//! With `-H`, [`remote`] runs the same command on other machines. Called `sv`, the program is [`sv`].
//!
//! Everything that svctl shows of names and texts is escaped, also where standard output is no terminal: its tables are
//! for people. The JSON documents of `-j` are for programs; they are those of svstat.
//!
//! Exit codes. `list`, `metrics`: 0, or 4 if a name means no service. `status`: 0, all services are up, or as wanted with
//! `--wanted`; 3, one is not; 4, one is unknown or not supervised, or a name means no service. These are the codes of the
//! Linux Standard Base. `check`: 0, nothing was found; 1, something was. Actions and `wait`: 0, reached; 1, a service will not
//! come there; 99, the time is over. Everywhere else a name that means no service gives 100, as wrong usage does. 111, the
//! system refuses.

#![forbid(unsafe_code)]

pub mod access;
pub mod act;
pub mod action;
pub mod add;
pub mod advice;
pub mod after;
pub mod answer;
pub mod arguments;
pub mod check;
pub mod code;
pub mod column;
pub mod completion;
pub mod cpu;
pub mod detail;
pub mod disk;
pub mod enable;
pub mod entry;
pub mod events;
pub mod flags;
pub mod foreign;
pub mod help;
pub mod keeper;
pub mod list;
pub mod log;
pub mod logger;
pub mod memory;
pub mod metrics;
pub mod missing;
pub mod names;
pub mod paint;
pub mod remote;
pub mod remove;
pub mod row;
pub mod services;
pub mod starting;
pub mod sv;
pub mod table;
pub mod text;
pub mod top;
pub mod unsupervised;
pub mod usage;
pub mod verbs;
pub mod watch;

use arguments::{Request, Shape};
use daemontools::{Args, Attempt, Fatal, Help, program, sys};
use paint::Paint;
use remote::Order;
use services::Services;
use std::ffi::{OsStr, OsString};
use sv::name::{Called, SV, called};

/// The answers to `--help` and to wrong usage.
fn own_help() -> Help {
    Help { usage: &usage::USAGE, text: &usage::TEXT }
}

/// Starts svctl or sv, as the name says by which the program was called. Returns the exit code.
pub fn start(name: &OsStr, args: Args) -> i32 {
    match called(name, |path| std::fs::read_link(path).ok()) {
        Called::Svctl => program("svctl", args, &own_help(), svctl),
        Called::Sv => program(SV, args, &sv::arguments::HELP, |args| sv::sv(None, args)),
        Called::Script(service) => program(SV, args, &sv::arguments::HELP, |args| sv::sv(Some(&service), args)),
    }
}

/// The program.
///
/// # Errors
/// Why it ends before it has answered.
pub fn svctl(args: Args) -> Result<i32, Fatal> {
    let words: Vec<OsString> = args.collect();
    let (shape, request) = arguments::parse(words.clone().into_iter())?;
    if !shape.hosts.is_empty() {
        return elsewhere(&shape.hosts, &words, &request);
    }
    // Not every request needs a scan directory.
    let services = || Services::find(shape.directory.as_deref());
    let paint = Paint::of_output(shape.color);
    let context = || services().map(|services| Context { services, shape: shape.clone(), paint });
    match request {
        Request::List { names, which } => list::list(&context()?, &names, which),
        Request::Status { names, right } => detail::status(&context()?, &names, right),
        Request::Act { action, names, then } => act::act(&context()?, &names, action, then),
        Request::Wait { goal, names } => act::wait(&context()?, &names, goal),
        Request::Log { words } => log::become_svlog(&context()?, words),
        Request::Check { names } => check::check(services(), &names),
        Request::Help(verb) => write(help::of(verb).as_bytes()).map(|()| 0),
        Request::Completion(shell) => write(shell.script().as_bytes()).map(|()| 0),
        Request::Add { path, name, then } => add::add(&context()?, &path, name.as_deref(), then),
        Request::Names => list::names(&services()?),
        Request::Change { change, names } => enable::change(&services()?, &names, change),
        Request::Remove { names } => remove::remove(&context()?, &names),
        Request::Events { names } => events::events(&context()?, &names),
        Request::Metrics { names, scope } => metrics::metrics(&services()?, &names, &scope),
        Request::Top { names } => top::top(context()?, &names),
    }
}

/// Does what is asked for on other machines.
fn elsewhere(hosts: &[OsString], words: &[OsString], request: &Request) -> Result<i32, Fatal> {
    let order = match request {
        Request::Events { .. } | Request::Log { .. } => Order::OfTime,
        Request::List { .. } | Request::Status { .. } | Request::Act { .. } | Request::Wait { .. } => Order::OfHosts,
        Request::Check { .. } | Request::Add { .. } | Request::Change { .. } | Request::Remove { .. } => Order::OfHosts,
        Request::Names | Request::Completion(_) | Request::Help(_) | Request::Metrics { .. } => Order::OfHosts,
        Request::Top { .. } => Order::OfHosts,
    };
    remote::run(hosts, &remote::words_for_there(words), order)
}

/// What the commands about services have in common.
#[derive(Debug)]
pub struct Context {
    /// The scan directory.
    pub services: Services,
    /// The options that are not those of one command.
    pub shape: Shape,
    /// How text is shown.
    pub paint: Paint,
}

/// Writes an answer to standard output.
fn write(answer: &[u8]) -> Result<(), Fatal> {
    Ok(sys::write_all(sys::stdout(), answer).unable_to("write output", "")?)
}
