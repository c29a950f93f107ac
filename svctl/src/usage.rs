//! How svctl is used: its usage line, and a line for each command and option. No I/O.

use crate::action::Action;
use crate::verbs::{VERBS, Verb};

/// The line that wrong usage is answered with.
pub const USAGE: &str = "svctl: usage: svctl [ -j ] [ -d dir ] [ -H host,... ] [ -T time ] [ -s signal ] [ --color=when ] [ command ] [ name ... ]";

/// What `--help` says.
pub const TEXT: &str = "\
Shows and controls the services in a directory: dir, or else $SVDIR, /service, /etc/service
or /var/service, the first that exists. A name is one of the directory; it may have *, ? and
[...] in it. A name that begins with / or . is a path.

  list [ name ... ]      a table (also without a command)
  status name ...        everything about each service
  start name ...         keep it up, and wait until it is ready
  stop name ...          take it down, and wait until it is
  restart name ...       end it and start it again, and wait until it is ready
  once name ...          run it once
  reload name ...        its program reload, or HUP
  kill name ...          KILL, or another signal
  wait goal name ...     wait until each is up, ready, down, finished or restarted
  log name ...           what it has logged: svlog with all its options
  check [ name ... ]     what would keep a service from working, before it is started
  add path [ name ]      link a service directory into dir, and wait until it is ready
  enable name ...        start it by itself from now on: removes its file down
  disable name ...       do not start it by itself: makes the file; what runs runs on
  remove name ...        take the link away for good: end the service, let its logger read all
  completion shell       a script that completes these words in bash, zsh or fish
  events [ name ... ]    a line for each change of a service, until it is interrupted
  metrics [ name ... ]   the state of services in numbers, in the text format of Prometheus
  top [ name ... ]       the table as a live screen, until q is pressed

  -d, --directory dir    where the services are
  -H, --host host,...    do the same there, over ssh
  -j, --json             a JSON document a line, as of svstat -j
  -T, --timeout time     wait no longer (30s), as 5s, 500ms, 1m ...
  -s, --signal name      the signal of kill: TERM, HUP ...
      --no-wait          do not wait
      --processes        metrics also of what their processes use
      --logs             metrics also of what their logs hold
      --textfile file    metrics: replace this file at once
      --failed           list only what is not as it is wanted
      --names            list only the names, a line each, for other programs
      --wanted           status: a service that is down on purpose is right, too
      --color when       auto, always or never

Exit codes. status: 0, all are up; 3, one is not; 4, one is unknown or not supervised. Actions
and wait: 0, done; 1, a service will not come there; 99, the time is over. check: 0, nothing is
wrong; 1, something is. All: 100, wrong usage, or no such service; 111, the system refuses.
";

/// The usage line of one command.
pub fn of(verb: Verb) -> String {
    format!("svctl: usage: svctl [ options ] {}", line_of(verb).0)
}

/// How a command is written, and what it does: the two halves of its line.
pub fn line_of(verb: Verb) -> (&'static str, &'static str) {
    let word = VERBS.iter().find(|(_, known)| same_line(*known, verb)).map_or("", |(word, _)| *word);
    let is_line = |line: &&str| line.trim_start().split(' ').next() == Some(word) && line.starts_with("  ");
    let line = TEXT.lines().find(is_line).unwrap_or_default().trim_start();
    line.split_once("  ").map_or((line, ""), |(form, what)| (form, what.trim_start()))
}

/// Whether two commands have one line in the help: all signals are those of `kill`.
fn same_line(one: Verb, other: Verb) -> bool {
    match (one, other) {
        (Verb::Act(Action::Signal(_)), Verb::Act(Action::Signal(_))) => true,
        (one, other) => one == other,
    }
}
