//! svwait: waits until services have reached a goal.
//!
//! `svwait [ -ao ] [ -T TIME ] up|ready|down|finished|restarted SERVICE ...`
//!
//! 1. Looks at each SERVICE, and watches it from then on.
//! 2. Waits until all of them have reached the goal (`-a`, `--all`, the default), or one of them (`-o`, `--any`), at
//!    most as long as TIME (`-T`, `--timeout`), which has a unit. With a TIME of 0 it only looks once.
//!
//! The `goal` module of lib explains the goals.
//!
//! Exit codes: 0, they have reached it; 1, they will not, and a message says why; 99, the time is over; 100,
//! usage; 111, a service cannot be watched.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::service::Part;
use daemontools::service::goal::{Goal, Sent};
use daemontools::service::trial::Test;
use daemontools::service::waiting::{AwaitedOutcome, Quorum, Waiting, parse_timeout};
use daemontools::{Args, Attempt, Fatal, Help, suggest};
use lexopt::Arg;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::fchdir;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

daemontools::main!(svwait, HELP);

const USAGE: &str = "svwait: usage: svwait [ -ao ] [ -T timeout ] up|ready|down|finished|restarted service ...";

const HELP: Help = Help {
    usage: USAGE,
    text: "\
Waits until each service, a service directory, is up, ready, down, finished (so are its
programs finish and stop) or restarted. A service that has neither check nor a way of
saying that it is ready (see supervise(8)) is ready when it is executed.

  -a, --all           all of them (the default)
  -o, --any           one of them
  -T, --timeout TIME  wait no longer: 5s, 500ms, 1m ...; 0: only look

Exit codes: 0, they have come there; 1, they will not; 99, the time is over; 100, wrong
usage; 111, a service cannot be watched. A message says why.
",
};

fn svwait(args: Args) -> Result<i32, Fatal> {
    let Options { goal, quorum, timeout, services } = parse(args)?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let origin = open(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .unable_to("open current directory", "")
        .map_err(|unable| unable.where_denied(Path::new(".")))?;
    let mut waiting = Waiting::new(Part::Service);
    for service in services {
        let added = waiting.add(service.clone());
        fchdir(&origin).unable_to("set directory", "")?;
        if let Err(refusal) = added {
            let code = Fatal::from(refusal).print();
            suggest::where_missing(&service);
            return Ok(code);
        }
    }
    waiting.wait(&AwaitedOutcome { goal, quorum, test: Test::Comes, sent: Sent::default(), deadline })
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    goal: Goal,
    quorum: Quorum,
    timeout: Option<Duration>,
    services: Vec<OsString>,
}

fn parse(args: Args) -> Result<Options, Fatal> {
    let misused = |error: lexopt::Error| Fatal::option(&error, USAGE);
    let (mut quorum, mut timeout) = (Quorum::All, None);
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(argument) = parser.next().map_err(misused)? {
        match argument {
            Arg::Short('a') | Arg::Long("all") => quorum = Quorum::All,
            Arg::Short('o') | Arg::Long("any") => quorum = Quorum::Any,
            Arg::Short('T') | Arg::Long("timeout") => {
                timeout = Some(parse_timeout(&parser.value().map_err(misused)?)?);
            }
            Arg::Value(word) => {
                let services: Vec<OsString> = parser.raw_args().map_err(misused)?.collect();
                if services.is_empty() {
                    break;
                }
                return Ok(Options { goal: Goal::parse(&word)?, quorum, timeout, services });
            }
            other @ (Arg::Short(_) | Arg::Long(_)) => return Err(misused(other.unexpected())),
        }
    }
    Err(Fatal::usage(USAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, Fatal> {
        parse(line.split(' ').map(OsString::from).collect::<Vec<_>>().into_iter())
    }

    #[test]
    fn a_goal_and_services_are_needed() {
        let (services, timeout) = (vec!["a".into(), "-o".into()], Some(Duration::from_secs(60)));
        let all = Options { goal: Goal::Up, quorum: Quorum::All, timeout: None, services };
        assert_eq!(parsed("up a -o"), Ok(all.clone()));
        assert_eq!(parsed("-oa up a -o"), Ok(all.clone()));
        assert_eq!(parsed("-o -T 1m -- up a -o"), Ok(Options { quorum: Quorum::Any, timeout, ..all.clone() }));
        assert_eq!(parsed("--any --timeout=60000ms up a -o"), Ok(Options { quorum: Quorum::Any, timeout, ..all }));
        for line in ["up", "-o", "-T 5s up", "sideways a", "-T soon up a", "-T 5 up a", "-x up a", "--none up a"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
