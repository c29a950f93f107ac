//! The words behind `sv`. No I/O.

use super::verb::{Verb, is_of_another_tool, verb};
use daemontools::{Args, Fatal, Help};
use lexopt::Arg;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The answers to `--help` and to wrong usage.
pub const HELP: Help = Help {
    usage: "usage: sv [-v] [-w sec] command service ...",
    text: "\
Commands services, or shows them, in the words of runit's sv. A service without a slash or dot in
front is one of $SVDIR, /service, /etc/service or /var/service, the first that exists.

  status                                         shows each service in a line
  up down once pause cont hup alarm interrupt    commands services; a letter is enough
  quit 1 2 term kill exit
  start stop restart reload shutdown check       the same, and waits for the outcome
  try-restart
  force-stop force-restart force-reload          kills what has not come there in time
  force-shutdown

  -v  wait for the outcome of the others too
  -w  wait this number of seconds, not $SVWAIT or seven

A link of another name to sv is a script for the service of that name: /etc/init.d/web start.

Exit codes: the number of services that failed, at most 99; 100, wrong usage or the system
refuses. A script exits 2 and 151 then, and from status 0, 3 or 4: up, down, unknown.
",
};

/// How long is waited unless the user says otherwise. Source: runit.
const PATIENCE: Duration = Duration::from_secs(7);

/// Exit code of a script that is used in a wrong way. Source: the Linux Standard Base, as in runit.
const MISUSED_SCRIPT: i32 = 2;

/// What the user asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// What is to be done.
    pub verb: Verb,
    /// With what.
    pub services: Vec<OsString>,
    /// Whether to wait for an outcome also where the verb does not.
    pub waits: bool,
    /// How long.
    pub patience: Duration,
}

/// Reads the words. `script` is the service whose script this is, and `patience` the value of `$SVWAIT`.
///
/// # Errors
/// The usage is wrong.
pub fn parse(args: Args, script: Option<&OsStr>, patience: Option<&OsStr>) -> Result<Request, Fatal> {
    let usage = usage(script);
    let misused = |error: lexopt::Error| with_code_of(script, Fatal::option(&error, &usage));
    let mut patience = patience.map_or(PATIENCE, seconds);
    let mut waits = false;
    let mut words = Vec::new();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(argument) = parser.next().map_err(misused)? {
        match argument {
            Arg::Short('v') => waits = true,
            Arg::Short('w') => {
                patience = seconds(&parser.value().map_err(misused)?);
                waits = true;
            }
            Arg::Value(first) => {
                words.push(first);
                words.extend(parser.raw_args().map_err(misused)?);
            }
            Arg::Short(_) | Arg::Long(_) => return Err(misused(argument.unexpected())),
        }
    }
    let wrong = || with_code_of(script, Fatal::usage(&usage));
    let mut words = words.into_iter();
    let word = words.next().ok_or_else(wrong)?;
    if is_of_another_tool(word.as_bytes()) {
        let words = [word.as_bytes(), b" is no command of sv; svctl --help lists those of svctl"];
        return Err(with_code_of(script, Fatal::misuse(&words, &usage)));
    }
    let verb = verb(word.as_bytes(), script.is_some()).ok_or_else(wrong)?;
    let services: Vec<OsString> = match script {
        Some(service) => vec![service.to_os_string()],
        None => words.collect(),
    };
    if services.is_empty() {
        return Err(wrong());
    }
    Ok(Request { verb, services, waits, patience })
}

/// runit's sv ends its usage with an empty line.
fn usage(script: Option<&OsStr>) -> String {
    match script {
        Some(name) => format!("usage: {} [-w sec] command\n", String::from_utf8_lossy(name.as_bytes())),
        None => format!("{}\n", HELP.usage),
    }
}

fn with_code_of(script: Option<&OsStr>, fatal: Fatal) -> Fatal {
    if script.is_some() { fatal.with_code(MISUSED_SCRIPT) } else { fatal }
}

/// The number at the beginning of a word; 0 if there is none, as runit reads it.
fn seconds(word: &OsStr) -> Duration {
    let digits = word.as_bytes().iter().map_while(|byte| char::from(*byte).to_digit(10));
    Duration::from_secs(digits.fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(digit.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str, script: Option<&str>) -> Result<Request, Fatal> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(words.into_iter(), script.map(OsStr::new), None)
    }

    #[test]
    fn options_come_before_the_verb_and_say_how_long_to_wait() {
        for (line, waits, patience, services) in [
            ("status web", false, 7, vec!["web"]),
            ("up web mail", false, 7, vec!["web", "mail"]),
            ("-v up web", true, 7, vec!["web"]),
            ("-w 3 up web", true, 3, vec!["web"]),
            ("-w12s up web", true, 12, vec!["web"]),
            ("-w soon up web", true, 0, vec!["web"]),
            ("up web -v", false, 7, vec!["web", "-v"]),
            ("-v -- up web", true, 7, vec!["web"]),
        ] {
            let request = parsed(line, None).unwrap();
            assert_eq!((request.waits, request.patience), (waits, Duration::from_secs(patience)), "{line}");
            assert_eq!(request.services, services, "{line}");
        }
        let request = parse(vec!["up".into(), "web".into()].into_iter(), None, Some(OsStr::new("60"))).unwrap();
        assert_eq!(request.patience, Duration::from_secs(60));
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in ["", "status", "up", "-z up web", "--up web", "-w", "restarting web", "enable web", "pid web"] {
            assert!(parsed(line, None).is_err(), "{line}");
        }
        let usage = "usage: web [-w sec] command\n";
        assert_eq!(parsed("", Some("web")), Err(Fatal::usage(usage).with_code(2)));
        assert_eq!(parsed("stat", Some("web")), Err(Fatal::usage(usage).with_code(2)));
    }

    #[test]
    fn a_script_is_about_its_own_service() {
        let request = parsed("stop other", Some("web")).unwrap();
        assert_eq!(request.services, ["web"]);
    }
}
