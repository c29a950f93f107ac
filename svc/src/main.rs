//! svc: commands services.
//!
//! `svc [ -udopchaitkxq12wRg ] [ -lL+= ] [ -s ] [ -W GOAL [ -T TIME ] ] SERVICE ...`
//!
//! 1. Collects the options, each letter once, in the order given.
//! 2. For each SERVICE: changes into it and writes the letters, in one write(2), to the FIFO
//!    `supervise/control`, from which its supervise reads them. Letters for the logger end with `l`, so that
//!    supervise does not take for the logger what other programs write behind them before supervise has read.
//!    With `-s`, svc then waits until supervise has read them, at most five seconds.
//! 3. With `-W`: waits until each has reached the GOAL (`up` `ready` `down` `finished` `restarted`, see the
//!    `goal` module of lib), at most as long as TIME, which has a unit (`5s`).
//!
//! | option | supervise … |
//! |---|---|
//! | `-u` `-d` `-o` | keeps the service up; takes it down (TERM, then CONT); runs it once |
//! | `-x` | exits as soon as the service is down |
//! | `-p` `-c` | sends STOP; CONT |
//! | `-h` `-a` `-i` `-t` `-k` | sends HUP; ALRM; INT; TERM; KILL |
//! | `-q` `-1` `-2` `-w` | sends QUIT; USR1; USR2; WINCH (as daemontools-encore's svc) |
//! | `-R` | has the service load its configuration again: runs `reload`, or sends HUP |
//! | `-g` | goes on with a start or an end that another program holds back |
//! | `-L` `-l` | takes the letters that follow for commands to the logger that it runs too; to the service |
//! | `-+` `-=` | sends signals to the process group; to the process |
//!
//! Without a SERVICE, svc prints its usage. If a word is a command of another supervisor and there is no such service
//! (`svc restart web`), or if an option is (`-restart`), svc says which option to use. It also says that options come
//! before the services. If the original accepts each letter of such an option (`-up`), svc sends the letters, and says
//! what they mean only on a terminal.
//!
//! Exit codes: 0, also if a service could not be commanded (a warning says which), but 1 then with `-s` or
//! `-W`; 1 if one will not reach the GOAL; 99 if the time is over; 100 for an unknown option; 111 if the
//! current directory cannot be opened.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::service::goal::{Goal, Sent};
use daemontools::service::trial::Test;
use daemontools::service::waiting::{AwaitedOutcome, Quorum, Waiting, parse_timeout};
use daemontools::service::{Command, Commands, Delivery, SUPERVISE, SendError, send_commands_in_time, service_answers};
use daemontools::{Args, Attempt, Fatal, Help, Unable, report, suggest, sys};
use lexopt::Arg;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir};
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

daemontools::main!(svc, HELP);

/// The message about an unknown option, in the words of the original.
const OPTIONS: &str = "svc options: u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, i interrupt, \
                       t term, k kill, q quit, 1 usr1, 2 usr2, w winch, R reload, g let go, + to group, = to process, L to logger, \
                       l to service, s strict, W wait for goal, T time to wait";

const HELP: Help = Help {
    usage: "svc: usage: svc [ -udopchaitkxq12wRg+=lLs ] [ -W goal [ -T time ] ] service ...",
    text: "\
Tells the supervise of each service, a service directory, what to do.

  -u  keep the service up                -t  TERM: restart it, where it is kept up
  -d  take it down: TERM, then CONT      -k  KILL
  -o  run it once                        -h  HUP     -a  ALRM    -i  INT
  -x  supervise exits when it is down    -q  QUIT    -1  USR1    -2  USR2    -w  WINCH
  -p  STOP: pause                        -c  CONT: continue
  -R  reload: its program reload, or HUP
  -g  let go: what another program holds back goes on

  -+  signals go to the process group    -=  to the process alone
  -L  what follows is for the logger that the same supervise runs, -l  for the service
  -s  fail if a service could not be told
  -W  wait until each is up, ready, down, finished or restarted
  -T  wait no longer: 5s, 500ms, 1m ...

Exit codes: 0; 1, with -s or -W, a service could not be told or will not come there; 99, the
time is over; 100, wrong usage; 111, the system refuses.
",
};

/// Exit code if strictness was asked for and a service could not be commanded.
const NOT_COMMANDED: i32 = 1;

fn svc(args: Args) -> Result<i32, Fatal> {
    let hint = letters_that_spell_a_word(args.as_slice());
    let options = parse(args)?;
    if options.services.is_empty() {
        // The original prints nothing and exits 0, and scripts without a service may rely on that exit code.
        return Ok(Fatal::usage(HELP.usage).with_code(0).print());
    }
    if let Some(meant) = hint.filter(|_| sys::stderr().is_terminal()) {
        // A script may mean the letters, so only a person at a terminal gets the message.
        report::warning(&[meant.as_bytes()]);
    }
    // A supervise that ends while svc writes to it causes a warning: the other services must still get the commands.
    SigSet::from_iter([Signal::SIGPIPE]).thread_block().unable_to("block signals", "")?;
    let origin = open(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .unable_to("open current directory", "")
        .map_err(|unable| unable.where_denied(Path::new(".")))?;
    match options.goal {
        Some(goal) => command_and_wait(goal, &options, &origin),
        None => {
            let enter = |service: &OsStr| {
                if !service_answers(Path::new(service), &[SUPERVISE]) {
                    return Err(Unable::new("chdir to", service, Errno::ETIMEDOUT));
                }
                let entered = chdir(service).unable_to("chdir to", service);
                entered.map_err(|unable| unable.where_denied(service.as_ref()))
            };
            // The original does not wait either, so only a strict svc does.
            let deliver = |delivery: Delivery| if options.strict { delivery.wait() } else { Ok(()) };
            let missed = command_all(&options, &origin, enter, deliver)?;
            Ok(if options.strict && missed > 0 { NOT_COMMANDED } else { 0 })
        }
    }
}

/// Looks at each service before any command is sent to it, so that a change after the command is seen to be new.
fn command_and_wait(goal: Goal, options: &Options, origin: &OwnedFd) -> Result<i32, Fatal> {
    let deadline = options.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut waiting = Waiting::new(options.commands.part());
    // Commands that a killed supervise has not read are kept for the next one until the goal is reached.
    let mut unread = Vec::new();
    let deliver = |delivery| {
        unread.retain(|delivery: &Delivery| !delivery.is_read());
        unread.push(delivery);
        Ok(())
    };
    let missed = command_all(options, origin, |service| waiting.add(service.into()), deliver)?;
    if missed > 0 {
        return Ok(NOT_COMMANDED);
    }
    waiting.wait(&AwaitedOutcome {
        goal,
        quorum: Quorum::All,
        test: Test::Comes,
        sent: Sent::by(&options.commands),
        deadline,
    })
}

/// Commands the services, and has `deliver` take care that the commands are read. A service that cannot be commanded causes
/// a warning, and the others are still commanded. Returns how many could not be commanded.
fn command_all<Enter, Deliver>(
    options: &Options,
    origin: &OwnedFd,
    mut enter: Enter,
    mut deliver: Deliver,
) -> Result<usize, Fatal>
where
    Enter: FnMut(&OsStr) -> Result<(), Unable>,
    Deliver: FnMut(Delivery) -> Result<(), SendError>,
{
    let mut missed = 0;
    for service in &options.services {
        let entered = enter(service).map_err(|refusal| refusal.to_bytes());
        let mut commanded = || send_commands_in_time(&options.commands).and_then(&mut deliver);
        if let Err(why) = entered.and_then(|()| commanded().map_err(|unsent| unsent.words_here(service))) {
            report::warning(&[&why]);
            missed += 1;
            fchdir(origin).unable_to("set directory", "")?;
            suggest::where_missing(service);
            suggest::where_unsupervised(service);
        }
        fchdir(origin).unable_to("set directory", "")?;
    }
    Ok(missed)
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Options {
    commands: Commands,
    strict: bool,
    goal: Option<Goal>,
    timeout: Option<Duration>,
    services: Vec<OsString>,
}

/// The words that are options. No word after the first service is one.
fn option_words(args: &[OsString]) -> impl Iterator<Item = &OsString> {
    let mut takes_value = false;
    let mut is_over = false;
    args.iter().filter(move |word| {
        let bytes = word.as_bytes();
        let is_value = std::mem::take(&mut takes_value);
        is_over |= !is_value && (!bytes.starts_with(b"-") || bytes == b"--");
        takes_value = !is_value && (bytes.ends_with(b"W") || bytes.ends_with(b"T"));
        !is_value && !is_over
    })
}

/// Whether the original accepts each letter of an option.
fn is_the_originals(option: &OsStr) -> bool {
    option.as_bytes().iter().skip(1).all(|letter| THE_ORIGINALS.contains(letter))
}

/// The letters that the original knows.
const THE_ORIGINALS: &[u8] = b"udopchaitkx";

/// The message about the first option that is a command of another supervisor, and that the original does not accept.
fn foreign_word(args: &[OsString]) -> Option<String> {
    option_words(args).filter(|word| !is_the_originals(word)).find_map(|word| suggest::for_option(word))
}

/// The message about the first option that the original accepts, and that is also a command of another supervisor.
fn letters_that_spell_a_word(args: &[OsString]) -> Option<String> {
    option_words(args).filter(|word| is_the_originals(word)).find_map(|word| suggest::for_letters(word))
}

fn parse(args: Args) -> Result<Options, Fatal> {
    if let Some(meant) = foreign_word(args.as_slice()) {
        return Err(Fatal::misuse(&[meant.as_bytes()], HELP.usage));
    }
    let misused = |error: lexopt::Error| Fatal::option(&error, OPTIONS);
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(argument) = parser.next().map_err(misused)? {
        let letter = match argument {
            Arg::Short('s') => {
                options.strict = true;
                continue;
            }
            Arg::Short('W') => {
                options.goal = Some(Goal::parse(&parser.value().map_err(misused)?)?);
                continue;
            }
            Arg::Short('T') => {
                options.timeout = Some(parse_timeout(&parser.value().map_err(misused)?)?);
                continue;
            }
            Arg::Short(letter) => u8::try_from(letter).ok().and_then(Command::from_byte),
            Arg::Long(_) => None,
            Arg::Value(first) => {
                options.services.push(first);
                options.services.extend(parser.raw_args().map_err(misused)?);
                break;
            }
        };
        options.commands.add(letter.ok_or_else(|| misused(argument.unexpected()))?);
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, Fatal> {
        parse(args.iter().map(OsString::from).collect::<Vec<_>>().into_iter())
    }

    fn commanding(commands: &[u8], services: &[&str]) -> Options {
        let services = services.iter().map(OsString::from).collect();
        let commands: Vec<Command> = commands.iter().filter_map(|letter| Command::from_byte(*letter)).collect();
        Options { commands: Commands::from(&commands[..]), services, ..Options::default() }
    }

    #[test]
    fn each_letter_counts_once_and_keeps_its_place() {
        assert_eq!(parsed(&["-ud", "-u", "x"]), Ok(commanding(b"ud", &["x"])));
    }

    #[test]
    fn options_end_at_the_first_service() {
        assert_eq!(parsed(&["a", "-d"]), Ok(commanding(b"", &["a", "-d"])));
        assert_eq!(parsed(&["-d", "--", "-u"]), Ok(commanding(b"d", &["-u"])));
    }

    #[test]
    fn what_is_said_of_a_wrong_option_lists_all_others() {
        let commands = Command::ALL.map(|command| char::from(command.byte()));
        for letter in commands.into_iter().chain(['s', 'W', 'T']) {
            assert!(OPTIONS.contains(&format!("{}{letter} ", if letter == 'u' { ": " } else { ", " })), "{letter}");
            assert!(HELP.text.contains(&format!("-{letter}  ")), "{letter}");
        }
    }

    #[test]
    fn unknown_letters_are_refused() {
        assert!(parsed(&["-uz"]).is_err());
        assert!(parsed(&["--up"]).is_err());
    }

    #[test]
    fn words_of_others_are_no_options_unless_the_original_takes_their_letters() {
        let meant = |line: &str| foreign_word(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for (line, command) in [
            ("-restart web", Some("-restart is no option: did you mean svc -t SERVICE?")),
            ("--restart web", Some("--restart is no option: did you mean svc -t SERVICE?")),
            ("-stop web", Some("-stop is no option: did you mean svc -d SERVICE?")),
            ("-s -W up -T 5s -kill web", Some("-kill is no option: did you mean svc -k SERVICE?")),
            ("-up web", None),
            ("-hup web", None),
            ("-d web -stop", None),
            ("-d -- -stop", None),
            ("-W -stop web", None),
            ("-z web", None),
            ("-", None),
        ] {
            assert_eq!(meant(line).as_deref(), command, "{line}");
        }
    }

    #[test]
    fn letters_of_the_original_that_spell_a_word_are_hinted_at() {
        let hint = |line: &str| letters_that_spell_a_word(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let up = "-up means -u -p: did you mean svc -u SERVICE? svc -c SERVICE undoes -p";
        for (line, said) in [
            ("-up web", Some(up)),
            ("-s -W up -T 5s -up web", Some(up)),
            ("-dx web", None),
            ("-u -p web", None),
            ("-W -up web", None),
            ("-d web -up", None),
            ("-d -- -up", None),
        ] {
            assert_eq!(hint(line).as_deref(), said, "{line}");
        }
    }

    #[test]
    fn waiting_has_a_goal_and_a_time() {
        let waiting = Options {
            goal: Some(Goal::Down),
            timeout: Some(Duration::from_secs(5)),
            strict: true,
            ..commanding(b"dx", &["a"])
        };
        for words in ["-dx -s -W down -T 5s a", "-dxsWdown -T5000ms a", "-T 0 -W up -T5s -d -Wdown -sx a"] {
            assert_eq!(parsed(&words.split(' ').collect::<Vec<_>>()), Ok(waiting.clone()), "{words}");
        }
        for words in ["-W", "-W sideways a", "-T", "-T soon a", "-T 5 a"] {
            assert!(parsed(&words.split(' ').collect::<Vec<_>>()).is_err(), "{words}");
        }
    }
}
