//! The words after `svctl`, as a request. No I/O.

use crate::action::Action;
use crate::flags::{FLAGS, Flag, FlagForm, WHEN, by_letter, by_name};
use crate::foreign::{Foreign, meaning, refusal as refused_word, refused_option};
use crate::text::{quoted, shown};
use crate::usage::{self, USAGE};
use crate::verbs::{self, Change, SIGNALS, Shell, Verb, signal_option, verb};
use daemontools::report::PERMANENT;
use daemontools::service::Command;
use daemontools::service::goal::Goal;
use daemontools::service::waiting::parse_timeout;
use daemontools::{Args, Fatal};
use lexopt::Arg;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

/// How long an action waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all requests have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Where the services are, if that was said.
    pub directory: Option<OsString>,
    /// JSON instead of a table.
    pub json: bool,
    /// Whether there are colours; `None`: on a terminal.
    pub color: Option<bool>,
    /// The longest time to wait; `None`: none was given.
    pub timeout: Option<Duration>,
    /// The machines where the command is run over ssh; none: it is run here.
    pub hosts: Vec<OsString>,
}

impl Shape {
    /// The longest time that an action waits.
    pub fn patience(&self) -> Duration {
        self.timeout.unwrap_or(PATIENCE)
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The table.
    List {
        /// The services; all of them if there is none.
        names: Vec<OsString>,
        /// Which of them have a row.
        which: Which,
    },
    /// Everything about some services.
    Status {
        /// The services; all of them if there is none.
        names: Vec<OsString>,
        /// Which services are right.
        right: Right,
    },
    /// Commands, and what comes of them.
    Act {
        /// Which.
        action: Action,
        /// The services.
        names: Vec<OsString>,
        /// What follows when they are told.
        then: Then,
    },
    /// A goal to wait for.
    Wait {
        /// Which.
        goal: Goal,
        /// The services.
        names: Vec<OsString>,
    },
    /// What would keep services from working.
    Check {
        /// The services; all of them if there is none.
        names: Vec<OsString>,
    },
    /// An entry in the scan directory.
    Add {
        /// The service directory.
        path: OsString,
        /// What the entry is called; `None`: as the directory.
        name: Option<OsString>,
        /// What follows when the entry is made.
        then: Then,
    },
    /// Whether services are started by themselves.
    Change {
        /// What is to become of them.
        change: Change,
        /// The services.
        names: Vec<OsString>,
    },
    /// The names of all services, a line each.
    Names,
    /// The script that completes words in a shell.
    Completion(Shell),
    /// Services to do away with for good.
    Remove {
        /// The services.
        names: Vec<OsString>,
    },
    /// What happens to services.
    Events {
        /// The services; all of them if there is none.
        names: Vec<OsString>,
    },
    /// The state of services in numbers.
    Metrics {
        /// The services; all of them if there is none.
        names: Vec<OsString>,
        /// What is told.
        scope: Scope,
    },
    /// The table as a live screen.
    Top {
        /// The services; all of them if there is none.
        names: Vec<OsString>,
    },
    /// How a command is used; without one, how svctl is.
    Help(Option<Verb>),
    /// What services have logged.
    Log {
        /// The arguments of svlog.
        words: Vec<OsString>,
    },
}

/// Which services a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those that are not as they are wanted.
    Failed,
}

/// Which services are right for the exit code of `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Those that are up.
    Up,
    /// Those that are up, and those that are down and not wanted up.
    Wanted,
}

/// What follows a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// svctl waits for the outcome.
    Wait,
    /// svctl returns.
    Return,
}

/// What metrics tell beside the state of services, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// What the processes use.
    pub processes: bool,
    /// What the log directories hold.
    pub logs: bool,
    /// The file that is replaced; `None`: standard output.
    pub textfile: Option<OsString>,
}

/// What is said of a command that needs the name of a service and has none.
pub const NO_NAME: &str = "no service is named";

fn signal(word: &OsStr) -> Result<Command, Fatal> {
    let names = || SIGNALS.map(|(name, _)| name)[..11].join(" ");
    let unknown = || refusal(&[b"signal ", word.as_bytes(), b": not one of ", names().as_bytes()]);
    verbs::signal(word).map(|(_, command)| command).ok_or_else(unknown)
}

fn refusal(words: &[&[u8]]) -> Fatal {
    Fatal::new(PERMANENT, words)
}

/// Reads the hosts of one `-H`: names with commas between.
///
/// # Errors
/// A name is empty, or ssh would take it for an option: exit 100.
fn parse_hosts(list: &OsStr) -> Result<Vec<OsString>, Fatal> {
    let hosts: Vec<&[u8]> = list.as_bytes().split(|byte| *byte == b',').collect();
    match hosts.iter().find(|host| host.is_empty() || host.starts_with(b"-")) {
        Some(host) => Err(refusal(&[b"\"", host, b"\" is no name of a host"])),
        None => Ok(hosts.into_iter().map(|host| OsString::from_vec(host.to_vec())).collect()),
    }
}

/// Refuses a host that is written together with `-H` and without `=`: such a word may be a signal that was meant for `kill`,
/// and a command must not go to another machine by mistake.
fn stands_alone(word: &OsStr) -> Result<(), Fatal> {
    let bytes = word.as_bytes();
    if bytes == b"-H" || bytes.starts_with(b"-H=") || bytes.starts_with(b"--") {
        return Ok(());
    }
    let words = b": -H must stand alone, with its hosts behind a blank; a signal is svctl kill -s HUP NAME";
    Err(Fatal::misuse(&[bytes, words], &USAGE))
}

/// Options as they come.
#[derive(Debug, Default)]
struct Raw {
    /// The options that were given.
    given: Vec<Flag>,
    directory: Option<OsString>,
    color: Option<bool>,
    timeout: Option<Duration>,
    signal: Option<Command>,
    textfile: Option<OsString>,
    hosts: Vec<OsString>,
    /// Whether `--help` was given, or the command `help`: both are a request, and no option of one.
    help: bool,
}

impl Raw {
    /// Takes an option, with its value if it has one.
    ///
    /// # Errors
    /// The value is missing or makes no sense: exit 100.
    fn take(&mut self, flag: Flag, word: &OsStr, parser: &mut lexopt::Parser) -> Result<(), Fatal> {
        let mut value = || parser.value().map_err(|error| Fatal::option(&error, &USAGE));
        match flag {
            Flag::Directory => self.directory = Some(value()?),
            Flag::Color => self.color = color(&value()?)?,
            Flag::Timeout => self.timeout = Some(parse_timeout(&value()?)?),
            Flag::Signal => self.signal = Some(signal(&value()?)?),
            Flag::Textfile => self.textfile = Some(value()?),
            Flag::Host => {
                stands_alone(word)?;
                self.hosts.extend(parse_hosts(&value()?)?);
            }
            Flag::Json | Flag::NoWait | Flag::Processes | Flag::Logs => {}
            Flag::Failed | Flag::Names | Flag::Wanted => {}
        }
        self.given.push(flag);
        Ok(())
    }

    fn has(&self, flag: Flag) -> bool {
        self.given.contains(&flag)
    }
}

/// Reads the words.
///
/// # Errors
/// They make no sense: exit 100.
pub fn parse(args: Args) -> Result<(Shape, Request), Fatal> {
    let misused = |error: lexopt::Error| Fatal::option(&error, &USAGE);
    let mut raw = Raw::default();
    let (mut asked, mut names) = (None, Vec::new());
    let mut parser = lexopt::Parser::from_args(args);
    // The word that is read, and whether such words may still be options.
    let (mut word, mut has_options) = (OsString::new(), true);
    loop {
        if let Some(mut rest) = parser.try_raw_args() {
            // As kill(1) has it. lexopt would take -HUP for the host UP.
            let is_signal =
                |word: &OsStr| matches!(asked, Some(Verb::Act(Action::Signal(_)))) && signal_option(word).is_some();
            if let Some(name) = rest.next_if(|word| has_options && is_signal(word)) {
                raw.signal = signal_option(&name).map(|(_, command)| command);
                raw.given.push(Flag::Signal);
                continue;
            }
            word = rest.peek().unwrap_or_default().into();
            has_options &= word != "--";
        }
        let Some(argument) = parser.next().map_err(misused)? else { break };
        match argument {
            Arg::Long("help") => raw.help = true,
            Arg::Value(word) if asked.is_none() && names.is_empty() && !raw.help => {
                asked = meant(&word)?;
                match asked {
                    // All that follows is for svlog.
                    Some(Verb::Log) => {
                        names = parser.raw_args().map_err(misused)?.collect();
                        raw.help = names.iter().take_while(|word| *word != "--").any(|word| word == "--help");
                        break;
                    }
                    Some(_) => {}
                    None if word == "help" => raw.help = true,
                    None => names.push(word),
                }
            }
            Arg::Value(name) => names.push(name),
            Arg::Short(letter) => match by_letter(letter) {
                Some(flag) => raw.take(flag, &word, &mut parser)?,
                None => {
                    let refused = refused_option(&letter.to_string(), asked);
                    return Err(refused.unwrap_or_else(|| misused(Arg::Short(letter).unexpected())));
                }
            },
            Arg::Long(name) => match by_name(name) {
                Some(flag) => raw.take(flag, &word, &mut parser)?,
                None => {
                    let refused = refused_option(name, asked);
                    return Err(refused.unwrap_or_else(|| misused(Arg::Long(name).unexpected())));
                }
            },
        }
    }
    if raw.help {
        let of = names.first().filter(|_| asked.is_none());
        let verb = of.map_or(Ok(asked), |word| meant(word))?;
        return Ok((Shape::default(), Request::Help(verb)));
    }
    let request = request(asked, names, &raw)?;
    let json = raw.has(Flag::Json);
    let Raw { directory, color, timeout, hosts, .. } = raw;
    Ok((Shape { directory, json, color, timeout, hosts }, request))
}

/// The command that a word is, also in the words of other tools.
///
/// # Errors
/// The word is one of another tool for what svctl has not: exit 100.
pub fn meant(word: &OsStr) -> Result<Option<Verb>, Fatal> {
    match (verb(word), meaning(word)) {
        (Some(verb), _) | (None, Some(Foreign::Same(verb))) => Ok(Some(verb)),
        (None, Some(Foreign::Instead(instead))) => Err(refused_word(word, instead)),
        (None, None) => Ok(None),
    }
}

/// The first option, in the order of the help, that was given and means nothing to this command.
fn misplaced(verb: Verb, names: &[OsString], raw: &Raw) -> Option<&'static FlagForm> {
    let are_names_alone = !raw.has(Flag::Failed) && !raw.has(Flag::Json) && names.is_empty();
    let is_wrong = |form: &FlagForm| !(form.belongs)(verb) || (form.flag == Flag::Names && !are_names_alone);
    FLAGS.iter().find(|form| raw.has(form.flag) && is_wrong(form))
}

fn request(asked: Option<Verb>, mut names: Vec<OsString>, raw: &Raw) -> Result<Request, Fatal> {
    let verb = asked.unwrap_or(Verb::List);
    if let Some(option) = misplaced(verb, &names, raw) {
        return Err(Fatal::misuse(&[b"--", option.long.as_bytes(), b" does not belong here"], &usage::of(verb)));
    }
    let refused = |why: &str| Err(Fatal::misuse(&[why.as_bytes()], &usage::of(verb)));
    let then = if raw.has(Flag::NoWait) { Then::Return } else { Then::Wait };
    Ok(match verb {
        Verb::List if raw.has(Flag::Names) => Request::Names,
        Verb::List => Request::List { names, which: if raw.has(Flag::Failed) { Which::Failed } else { Which::All } },
        Verb::Status => Request::Status { names, right: if raw.has(Flag::Wanted) { Right::Wanted } else { Right::Up } },
        Verb::Act(_) | Verb::Remove | Verb::Change(_) if names.is_empty() => return refused(NO_NAME),
        Verb::Act(Action::Signal(usual)) => {
            Request::Act { action: Action::Signal(raw.signal.unwrap_or(usual)), names, then: Then::Return }
        }
        Verb::Act(action) => Request::Act { action, names, then },
        Verb::Wait if names.len() < 2 => return refused("wait needs a goal and a service"),
        Verb::Wait if is_behind_names(&names) => {
            let words: Vec<String> = goal_first(&names).iter().map(|word| quoted(&shown(word.as_bytes()))).collect();
            return refused(&format!("the goal comes first: svctl wait {}", words.join(" ")));
        }
        Verb::Wait => Request::Wait { goal: Goal::parse(&names.remove(0))?, names },
        Verb::Log => Request::Log { words: names },
        Verb::Check => Request::Check { names },
        Verb::Add if !matches!(names.len(), 1 | 2) => {
            return refused("add needs the path of a service directory, and perhaps a name");
        }
        Verb::Add => Request::Add { path: names.remove(0), name: names.pop(), then },
        Verb::Remove => Request::Remove { names },
        Verb::Completion if names.len() != 1 => return refused("completion needs a shell: bash, zsh or fish"),
        Verb::Completion => Request::Completion(Shell::parse(&names.remove(0))?),
        Verb::Change(change) => Request::Change { change, names },
        Verb::Events => Request::Events { names },
        Verb::Metrics => {
            let (processes, logs) = (raw.has(Flag::Processes), raw.has(Flag::Logs));
            Request::Metrics { names, scope: Scope { processes, logs, textfile: raw.textfile.clone() } }
        }
        Verb::Top => Request::Top { names },
    })
}

/// Whether the last of these words is a goal, and the first is none.
fn is_behind_names(words: &[OsString]) -> bool {
    let is_goal = |word: Option<&OsString>| word.is_some_and(|word| Goal::parse(word).is_ok());
    !is_goal(words.first()) && is_goal(words.last())
}

/// These words with the last one in front.
fn goal_first(words: &[OsString]) -> Vec<OsString> {
    words.last().into_iter().chain(words.iter().take(words.len().saturating_sub(1))).cloned().collect()
}

fn color(word: &OsStr) -> Result<Option<bool>, Fatal> {
    match word.as_bytes() {
        b"auto" => Ok(None),
        b"always" => Ok(Some(true)),
        b"never" => Ok(Some(false)),
        other => Err(refusal(&[b"color ", other, b": not one of ", WHEN.join(" ").as_bytes()])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::TEXT;
    use crate::verbs::VERBS;

    fn parsed(line: &str) -> Result<(Shape, Request), Fatal> {
        parse(line.split_whitespace().map(OsString::from).collect::<Vec<_>>().into_iter())
    }

    fn request_of(line: &str) -> Request {
        parsed(line).unwrap().1
    }

    fn names(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn every_command_is_read() {
        let act = |action, then| Request::Act { action, names: names("web"), then };
        for (line, request) in [
            ("", Request::List { names: vec![], which: Which::All }),
            ("list --failed", Request::List { names: vec![], which: Which::Failed }),
            ("web db", Request::List { names: names("web db"), which: Which::All }),
            ("status web", Request::Status { names: names("web"), right: Right::Up }),
            ("status --wanted", Request::Status { names: vec![], right: Right::Wanted }),
            ("start web", act(Action::Start, Then::Wait)),
            ("stop --no-wait web", act(Action::Stop, Then::Return)),
            ("restart web", act(Action::Restart, Then::Wait)),
            ("once web", act(Action::Once, Then::Wait)),
            ("reload web", act(Action::Reload, Then::Wait)),
            ("kill web", act(Action::Signal(Command::Kill), Then::Return)),
            ("kill -s sigterm web", act(Action::Signal(Command::Terminate), Then::Return)),
            ("kill -s 9 web", act(Action::Signal(Command::Kill), Then::Return)),
            ("kill -HUP web", act(Action::Signal(Command::Hangup), Then::Return)),
            ("kill web -Hup", act(Action::Signal(Command::Hangup), Then::Return)),
            ("kill -SIGTERM web", act(Action::Signal(Command::Terminate), Then::Return)),
            ("kill -j -15 web", act(Action::Signal(Command::Terminate), Then::Return)),
            ("kill -d -9 -int web", act(Action::Signal(Command::Interrupt), Then::Return)),
            ("kill -- web", act(Action::Signal(Command::Kill), Then::Return)),
            ("wait ready web", Request::Wait { goal: Goal::Ready, names: names("web") }),
            ("log -n 5 web", Request::Log { words: names("-n 5 web") }),
            ("check web", Request::Check { names: names("web") }),
            ("add /etc/web", Request::Add { path: "/etc/web".into(), name: None, then: Then::Wait }),
            ("add etc/web www --no-wait", {
                Request::Add { path: "etc/web".into(), name: Some("www".into()), then: Then::Return }
            }),
            ("list --names", Request::Names),
            ("--names", Request::Names),
            ("enable web", Request::Change { change: Change::Enable, names: names("web") }),
            ("disable web", Request::Change { change: Change::Disable, names: names("web") }),
            ("completion zsh", Request::Completion(Shell::Zsh)),
            ("remove web", Request::Remove { names: names("web") }),
            ("events", Request::Events { names: vec![] }),
            ("events web", Request::Events { names: names("web") }),
            ("metrics", Request::Metrics { names: vec![], scope: Scope::default() }),
            ("top", Request::Top { names: vec![] }),
            ("top web", Request::Top { names: names("web") }),
            (
                "metrics --logs --textfile x --processes web",
                Request::Metrics {
                    names: names("web"),
                    scope: Scope { processes: true, logs: true, textfile: Some("x".into()) },
                },
            ),
            ("start --help", Request::Help(Some(Verb::Act(Action::Start)))),
            ("stop web --help", Request::Help(Some(Verb::Act(Action::Stop)))),
            ("help wait", Request::Help(Some(Verb::Wait))),
            ("help", Request::Help(None)),
            ("web --help", Request::Help(None)),
            ("log -n 5 --help", Request::Help(Some(Verb::Log))),
            ("log web -- --help", Request::Log { words: names("web -- --help") }),
            ("up web", act(Action::Start, Then::Wait)),
            ("hup web", act(Action::Signal(Command::Hangup), Then::Return)),
            ("show web", Request::Status { names: names("web"), right: Right::Up }),
            // Only the first word is a command.
            ("list tail", Request::List { names: names("tail"), which: Which::All }),
            ("list log", Request::List { names: names("log"), which: Which::All }),
            ("web log", Request::List { names: names("web log"), which: Which::All }),
            (
                "kill -- -HUP",
                Request::Act { action: Action::Signal(Command::Kill), names: names("-HUP"), then: Then::Return },
            ),
        ] {
            assert_eq!(request_of(line), request, "{line}");
        }
    }

    #[test]
    fn options_stand_before_and_behind_the_command() {
        let shape = Shape {
            directory: Some("x".into()),
            json: true,
            color: Some(false),
            timeout: Some(Duration::from_secs(5)),
            hosts: names("a b c"),
        };
        for line in [
            "-d x -j -H a,b -H c --color never -T 5s start web",
            "start -jdx --color=never web --timeout 5000ms --host a,b,c",
            "start web --json --directory x --color never -T5s -H=a,b,c",
        ] {
            let (seen, request) = parsed(line).unwrap();
            assert_eq!(seen, shape, "{line}");
            assert!(matches!(request, Request::Act { action: Action::Start, .. }), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "start",
            "stop --failed web",
            "list --wanted",
            "start -s TERM web",
            "kill -s ROSES web",
            "kill -s 11 web",
            "kill -ROSES web",
            "kill -HUPP web",
            "kill -Ha web",
            "-HUP kill web",
            "-HUP web",
            "restart -HUP web",
            "restart -jHUP web",
            "-jH a web",
            "start -TERM web",
            "start -9 web",
            "list --no-wait",
            "check -j",
            "metrics -j",
            "list -T 5s",
            "kill -T 5s web",
            "-T 5s log web",
            "add",
            "add /etc/web www third",
            "remove",
            "remove -j web",
            "remove --no-wait web",
            "completion",
            "completion tcsh",
            "enable",
            "disable -j web",
            "status --names",
            "list --names web",
            "list --names -j",
            "list --names --failed",
            "list --processes",
            "events --logs",
            "status --textfile x web",
            "metrics --textfile",
            "wait ready",
            "wait sideways web",
            "--color pink",
            "-T 5 start web",
            "-x",
            "--frob",
            "tail web",
            "-H -x status",
            "-H a metrics",
            "-H a top",
            "-j top",
            "-k web",
            "enable --now web",
            "-d",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn hosts_are_names() {
        assert_eq!(parse_hosts(OsStr::new("a,root@b")).unwrap(), names("a root@b"));
        for list in ["", "a,", "-oProxyCommand=x", "a,-b"] {
            assert!(parse_hosts(OsStr::new(list)).is_err(), "{list}");
        }
    }

    #[test]
    fn the_commands_that_are_told_are_those_that_are_read() {
        for word in VERBS.map(|form| form.word) {
            assert!(verb(OsStr::new(word)).is_some() && TEXT.contains(&format!("\n  {word} ")), "{word}");
        }
    }
}
