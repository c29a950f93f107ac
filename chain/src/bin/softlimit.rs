//! softlimit: runs a program with other resource limits.
//!
//! `softlimit [ -a BYTES ] [ -c BYTES ] … PROGRAM [ ARG ... ]`
//!
//! 1. Sets soft limits, in the order of the options: to the number given, to the hard limit if that
//!    is lower, or to the hard limit itself for `=`. A number of bytes may have a unit: `k`, `M` or `G`.
//!    `-m` data, stack, locked and all memory, each; `-a` all memory; `-d` data; `-s` stack;
//!    `-l` locked memory; `-r` resident memory; `-o` open files; `-p` processes of this user;
//!    `-f` size of a file written; `-c` size of a core dump; `-t` seconds of CPU; `-e` 20 minus the lowest nice value;
//!    `-i` signals that wait; `-q` bytes in message queues; `-R` real-time priority; `-y` microseconds in real time.
//! 2. Sets the hard limit too where the option says `SOFT:HARD`; `:HARD` keeps the soft limit, or lowers it to HARD.
//!    `unlimited` is no limit.
//! 3. Runs PROGRAM. Other hard limits stay as they are, so it may raise its limits again.
//!
//! Usage: 100. A limit is refused, PROGRAM cannot be run: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::sys::exec::Program;
use daemontools::{Args, Fatal, Help, Unable, report, size};
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use nix::unistd::geteuid;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

chain::main!(softlimit, HELP);

const USAGE: &str = "softlimit: usage: softlimit [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] \
    [-l lockbytes] [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] \
    [-t cpusecs] [-e nice] [-i signals] [-q queuebytes] [-R rtprio] [-y rtusecs] child";

const HELP: Help = Help {
    usage: USAGE,
    text: "\
Runs child, a program and its arguments, with these soft limits. A limit is a number, of
bytes also with a unit (64k, 100M, 2G), = for the hard limit, or unlimited. soft:hard sets
the hard limit too, and :hard that alone.

  -a  all memory                     -o  open files
  -c  size of a core dump            -p  processes of this user
  -d  data                           -q  bytes in message queues
  -e  20 minus the lowest nice       -R  real-time priority
  -f  size of a file                 -r  resident memory
  -i  signals that wait              -s  stack
  -l  locked memory                  -t  seconds of CPU
  -m  data, stack, locked and        -y  microseconds of CPU in real
      all memory, each                   time

Exit codes: 100, wrong usage; 111, a limit is refused or child cannot be run; else child's.
",
};

fn softlimit(args: Args) -> Result<i32, Fatal> {
    let Options { limits, program, doubts } = parse(args)?;
    doubts.iter().for_each(|doubt| report::warning(&[doubt.as_bytes()]));
    // The arguments are put together first, as there may be too little memory after the limits are set.
    let prepared = Program::new(&program, &[]);
    for (resource, limit) in limits {
        set(resource, limit)?;
    }
    let errno = prepared.map_or_else(|errno| errno, |prepared| prepared.run());
    Err(chain::cannot_run(&program, errno))
}

/// The limits that an option sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// The soft limit becomes the hard one.
    Hard,
    /// The soft limit becomes this, or the hard one if that is lower.
    AtMost(rlim_t),
    /// Both become these.
    Both { soft: rlim_t, hard: rlim_t },
    /// The hard limit becomes this, and the soft one does if it is higher.
    HardAtMost(rlim_t),
}

impl Limit {
    /// The soft and the hard limit, if these were the limits before.
    fn of(self, soft: rlim_t, hard: rlim_t) -> (rlim_t, rlim_t) {
        match self {
            Limit::Hard => (hard, hard),
            Limit::AtMost(limit) => (limit.min(hard), hard),
            Limit::Both { soft, hard } => (soft, hard),
            Limit::HardAtMost(limit) => (soft.min(limit), limit),
        }
    }
}

fn set(resource: Resource, limit: Limit) -> Result<(), Fatal> {
    let (soft, hard) = getrlimit(resource).map_err(|errno| failed(b"getrlimit failed: ", errno))?;
    let (new_soft, new_hard) = limit.of(soft, hard);
    setrlimit(resource, new_soft, new_hard).map_err(|errno| match errno {
        Errno::EPERM if new_hard > hard => Fatal::from(raised(resource, new_hard, errno)),
        _ => failed(b"setrlimit failed: ", errno),
    })
}

/// Only root may raise a hard limit, and the kernel allows no more open files than `fs.nr_open`, also to root.
fn raised(resource: Resource, hard: rlim_t, errno: Errno) -> Unable {
    let number = if hard == RLIM_INFINITY { "unlimited".into() } else { hard.to_string() };
    let unable = Unable::new("raise hard limit", format!("{resource:?} to {number}"), errno);
    match resource {
        _ if !geteuid().is_root() => unable.because("only root can raise it"),
        Resource::RLIMIT_NOFILE => unable.because("fs.nr_open may be lower"),
        _ => unable,
    }
}

fn failed(what: &[u8], errno: Errno) -> Fatal {
    Fatal::new(report::TEMPORARY, &[what, report::reason(errno).as_bytes()]).with_errno(errno)
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    limits: Vec<(Resource, Limit)>,
    program: Vec<OsString>,
    /// What was probably meant by limits with which no program can start.
    doubts: Vec<String>,
}

fn parse(args: Args) -> Result<Options, Fatal> {
    let misused = |error: lexopt::Error| Fatal::option(&error, USAGE);
    let (mut limits, mut doubts) = (Vec::new(), Vec::new());
    let mut args = args;
    while let Some((letter, glued)) = args.as_slice().first().and_then(|word| option(word)) {
        args.next();
        let Some(letter) = letter else { break };
        let name = if letter == '-' { long_name(&glued) } else { format!("-{letter}") };
        let unknown = || misused(lexopt::Error::UnexpectedOption(name));
        let resources = resources(letter).ok_or_else(unknown)?;
        let missing = || misused(lexopt::Error::MissingValue { option: Some(format!("-{letter}")) });
        let limit = if glued.is_empty() { args.next().ok_or_else(missing)? } else { glued };
        let limit = parse_limit(letter, &limit).ok_or_else(|| no_limit(letter, &limit))?;
        doubts.extend(doubt(letter, limit));
        limits.extend(resources.iter().map(|resource| (*resource, limit)));
    }
    let program: Vec<OsString> = args.collect();
    if program.is_empty() { Err(Fatal::usage(USAGE)) } else { Ok(Options { limits, program, doubts }) }
}

/// The letter of an option and the text directly behind it. `--` has no letter and ends the options, as does any word
/// that is no option. This reads as getopt(3) does, and not as lexopt, for which `-m=1` means `-m1`.
fn option(word: &OsStr) -> Option<(Option<char>, OsString)> {
    let letters = word.as_bytes().strip_prefix(b"-").filter(|letters| !letters.is_empty())?;
    if letters == b"-" {
        return Some((None, OsString::new()));
    }
    // A word whose second character is no letter is no option.
    let letter = letters.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    let letter = letter.unwrap_or(char::REPLACEMENT_CHARACTER);
    let glued = letters.get(letter.len_utf8()..).unwrap_or_default();
    Some((Some(letter), OsStr::from_bytes(glued).to_os_string()))
}

/// The long option whose text behind the first two dashes begins so.
fn long_name(glued: &OsStr) -> String {
    let text = glued.to_string_lossy();
    format!("--{}", text.split('=').next().unwrap_or_default())
}

/// The resource that an option limits.
fn resources(letter: char) -> Option<&'static [Resource]> {
    Some(match letter {
        'a' => &[Resource::RLIMIT_AS],
        'c' => &[Resource::RLIMIT_CORE],
        'd' => &[Resource::RLIMIT_DATA],
        'e' => &[Resource::RLIMIT_NICE],
        'f' => &[Resource::RLIMIT_FSIZE],
        'i' => &[Resource::RLIMIT_SIGPENDING],
        'l' => &[Resource::RLIMIT_MEMLOCK],
        'm' => &[Resource::RLIMIT_DATA, Resource::RLIMIT_STACK, Resource::RLIMIT_MEMLOCK, Resource::RLIMIT_AS],
        'o' => &[Resource::RLIMIT_NOFILE],
        'p' => &[Resource::RLIMIT_NPROC],
        'q' => &[Resource::RLIMIT_MSGQUEUE],
        'R' => &[Resource::RLIMIT_RTPRIO],
        'r' => &[Resource::RLIMIT_RSS],
        's' => &[Resource::RLIMIT_STACK],
        't' => &[Resource::RLIMIT_CPU],
        'y' => &[Resource::RLIMIT_RTTIME],
        _ => return None,
    })
}

/// `softlimit: -o 12x is no limit: …`. The original prints only the usage.
fn no_limit(letter: char, limit: &OsStr) -> Fatal {
    let is_number = |text: &[u8]| !text.is_empty() && parse_number(letter, text).is_some();
    let are_numbers = sides(limit.as_bytes()).is_some_and(|(soft, hard)| is_number(soft) && is_number(hard));
    let ways = match (are_numbers, counts_bytes(letter)) {
        (true, _) => "the soft limit is above the hard one",
        (false, true) => "say a number of bytes, with or without k, M or G, or =",
        (false, false) => "say a number without a unit, or =",
    };
    let option = format!("-{letter} ");
    Fatal::misuse(&[option.as_bytes(), limit.as_bytes(), b" is no limit: ", ways.as_bytes()], USAGE)
}

/// The size of the smallest page of memory. A program that may have less of one kind of memory is killed when it starts.
const PAGE: rlim_t = 4096;

/// What was probably meant by a limit on memory with which no program can start. The system kills such a program by
/// SIGSEGV, and nothing tells the reason.
fn doubt(letter: char, limit: Limit) -> Option<String> {
    match limit {
        Limit::AtMost(bytes @ 1..PAGE)
        | Limit::Both { soft: bytes @ 1..PAGE, .. }
        | Limit::HardAtMost(bytes @ 1..PAGE)
            if "adms".contains(letter) =>
        {
            Some(format!("-{letter} {bytes} is {bytes} bytes, with which no program can start: did you mean {bytes}M?"))
        }
        Limit::AtMost(_) | Limit::Both { .. } | Limit::HardAtMost(_) | Limit::Hard => None,
    }
}

/// Whether the number of an option counts bytes, so that it may have a unit.
fn counts_bytes(letter: char) -> bool {
    !matches!(letter, 'e' | 'i' | 'o' | 'p' | 'R' | 't' | 'y')
}

/// Reads a limit: `=`, a number, or `SOFT:HARD` or `:HARD` with numbers of which the first is not above the second.
fn parse_limit(letter: char, limit: &OsStr) -> Option<Limit> {
    if limit == "=" {
        return Some(Limit::Hard);
    }
    let Some((soft, hard)) = sides(limit.as_bytes()) else {
        return parse_number(letter, limit.as_bytes()).map(Limit::AtMost);
    };
    let hard = Some(hard).filter(|hard| !hard.is_empty()).and_then(|hard| parse_number(letter, hard))?;
    if soft.is_empty() {
        return Some(Limit::HardAtMost(hard));
    }
    parse_number(letter, soft).filter(|soft| *soft <= hard).map(|soft| Limit::Both { soft, hard })
}

/// What stands before and behind the first colon.
fn sides(limit: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = limit.iter().position(|byte| *byte == b':')?;
    Some((limit.get(..colon)?, limit.get(colon + 1..)?))
}

/// Reads decimal digits, or `unlimited`. No digits mean 0, and a number that is too large means no limit. A number of
/// bytes may have a unit.
fn parse_number(letter: char, text: &[u8]) -> Option<rlim_t> {
    if text == b"unlimited" {
        return Some(RLIM_INFINITY);
    }
    let (digits, unit) = match size::split(text) {
        ([], unit) if unit > 1 => return None,
        split if counts_bytes(letter) => split,
        _ => (text, 1),
    };
    let number = |number: rlim_t, byte: &u8| {
        let digit = char::from(*byte).to_digit(10)?;
        Some(number.saturating_mul(10).saturating_add(digit.into()))
    };
    digits.iter().try_fold(0, number).map(|number| number.saturating_mul(unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Limit::{AtMost, Both, Hard, HardAtMost};
    use proptest::prelude::*;

    fn parsed(words: &str) -> Result<Options, Fatal> {
        parse(words.split(' ').map(OsString::from).collect::<Vec<_>>().into_iter())
    }

    #[test]
    fn a_limit_is_a_number_or_the_hard_limit() {
        for (limit, expected) in [
            ("=", Some(Hard)),
            ("0", Some(AtMost(0))),
            ("", Some(AtMost(0))),
            ("007", Some(AtMost(7))),
            ("18446744073709551615", Some(AtMost(rlim_t::MAX))),
            ("18446744073709551616", Some(AtMost(rlim_t::MAX))),
            ("99999999999999999999999999", Some(AtMost(rlim_t::MAX))),
            ("12x", None),
            ("x12", None),
            ("-5", None),
            ("+5", None),
            (" 5", None),
            ("==", None),
            ("5=", None),
            ("0x10", None),
        ] {
            for letter in ['m', 'o'] {
                assert_eq!(parse_limit(letter, OsStr::new(limit)), expected, "-{letter} {limit:?}");
            }
        }
    }

    #[test]
    fn a_hard_limit_stands_behind_a_colon() {
        for (limit, expected) in [
            ("5:9", Some(Both { soft: 5, hard: 9 })),
            ("9:9", Some(Both { soft: 9, hard: 9 })),
            (":9", Some(HardAtMost(9))),
            ("unlimited", Some(AtMost(RLIM_INFINITY))),
            ("5:unlimited", Some(Both { soft: 5, hard: RLIM_INFINITY })),
            ("unlimited:unlimited", Some(Both { soft: RLIM_INFINITY, hard: RLIM_INFINITY })),
            (":unlimited", Some(HardAtMost(RLIM_INFINITY))),
            ("9:5", None),
            ("unlimited:5", None),
            ("5:", None),
            (":", None),
            ("::9", None),
            ("5:9:", None),
            ("=:9", None),
            ("5:=", None),
            ("5:x", None),
            ("x:9", None),
            ("Unlimited", None),
            ("infinity", None),
        ] {
            for letter in ['m', 'o'] {
                assert_eq!(parse_limit(letter, OsStr::new(limit)), expected, "-{letter} {limit:?}");
            }
        }
        assert_eq!(parse_limit('c', OsStr::new("64k:2G")), Some(Both { soft: 65_536, hard: 2_147_483_648 }));
        assert_eq!(parse_limit('o', OsStr::new("1:2k")), None);
    }

    #[test]
    fn a_soft_limit_is_never_above_the_hard_one() {
        for (limit, before, after) in [
            (Hard, (4, 8), (8, 8)),
            (AtMost(6), (4, 8), (6, 8)),
            (AtMost(9), (4, 8), (8, 8)),
            (Both { soft: 5, hard: 6 }, (4, 8), (5, 6)),
            (Both { soft: 9, hard: 10 }, (4, 8), (9, 10)),
            (HardAtMost(6), (4, 8), (4, 6)),
            (HardAtMost(3), (4, 8), (3, 3)),
            (HardAtMost(9), (4, 8), (4, 9)),
        ] {
            assert_eq!(limit.of(before.0, before.1), after, "{limit:?}");
        }
    }

    #[test]
    fn bytes_may_have_a_unit_and_nothing_else_may() {
        for (limit, bytes) in [
            ("64k", Some(65_536)),
            ("100M", Some(104_857_600)),
            ("2G", Some(2_147_483_648)),
            ("0G", Some(0)),
            ("18446744073709551615G", Some(rlim_t::MAX)),
            ("M", None),
            ("5m", None),
            ("5K", None),
            ("5kB", None),
            ("-5k", None),
            ("=k", None),
            ("1.5G", None),
        ] {
            for letter in "acdfmlqrs".chars() {
                assert_eq!(parse_limit(letter, OsStr::new(limit)), bytes.map(AtMost), "-{letter} {limit}");
            }
            for letter in "eiopRty".chars() {
                assert_eq!(parse_limit(letter, OsStr::new(limit)), None, "-{letter} {limit}");
            }
        }
    }

    #[test]
    fn options_are_glued_or_apart_and_end_at_the_program() {
        use Resource::*;
        for (words, limits, program) in [
            ("prog", vec![], "prog"),
            ("-o5 prog", vec![(RLIMIT_NOFILE, AtMost(5))], "prog"),
            ("-o 5 prog", vec![(RLIMIT_NOFILE, AtMost(5))], "prog"),
            ("-o = prog", vec![(RLIMIT_NOFILE, Hard)], "prog"),
            ("-o= prog", vec![(RLIMIT_NOFILE, Hard)], "prog"),
            ("-c64k prog", vec![(RLIMIT_CORE, AtMost(65_536))], "prog"),
            ("-o5 -- -c 3", vec![(RLIMIT_NOFILE, AtMost(5))], "-c 3"),
            ("-o5 prog -c 3 -- =", vec![(RLIMIT_NOFILE, AtMost(5))], "prog -c 3 -- ="),
            ("-o5 - -c", vec![(RLIMIT_NOFILE, AtMost(5))], "- -c"),
            ("-t1 -t2 prog", vec![(RLIMIT_CPU, AtMost(1)), (RLIMIT_CPU, AtMost(2))], "prog"),
        ] {
            let program = program.split(' ').map(OsString::from).collect();
            assert_eq!(parsed(words), Ok(Options { limits, program, doubts: vec![] }), "{words}");
        }
    }

    #[test]
    fn memory_is_four_limits() {
        let options = parsed("-m9 prog").unwrap();
        assert_eq!(options.limits.len(), 4);
        assert!(options.limits.iter().all(|(_, limit)| *limit == AtMost(9)));
    }

    #[test]
    fn memory_with_which_no_program_can_start_is_doubted() {
        for (words, doubted) in [
            ("-m100 p", true),
            ("-a 512 p", true),
            ("-s 4095 p", true),
            ("-s 64:100M p", true),
            ("-s :64 p", true),
            ("-s 1M:100M p", false),
            ("-d1 p", true),
            ("-m 4096 p", false),
            ("-m 100M p", false),
            ("-m 0 p", false),
            ("-m = p", false),
            ("-c 100 p", false),
            ("-l 64 p", false),
            ("-f 100 p", false),
            ("-o 100 p", false),
        ] {
            assert_eq!(!parsed(words).unwrap().doubts.is_empty(), doubted, "{words}");
        }
    }

    #[test]
    fn misuse_is_said_as_getopt_says_it() {
        let misuse = |complaint: &str| Err(Fatal::usage(&format!("daemontools: {complaint}\n{USAGE}")));
        assert_eq!(parsed("-z5 prog"), misuse("illegal option -- z"));
        assert_eq!(parsed("--foo prog"), misuse("illegal option --foo"));
        assert_eq!(parsed("--foo=5 prog"), misuse("illegal option --foo"));
        assert_eq!(parsed("-=5 prog"), misuse("illegal option -- ="));
        assert_eq!(parsed("-é5 prog"), misuse("illegal option -- é"));
        assert_eq!(parsed("-o5 -c"), misuse("option requires an argument -- c"));
        for words in ["--", "-o5", "-o5 --"] {
            assert_eq!(parsed(words), Err(Fatal::usage(USAGE)), "{words}");
        }
        let number = "say a number without a unit, or =";
        let bytes = "say a number of bytes, with or without k, M or G, or =";
        for (words, refused, ways) in [
            ("-o -- prog", "-o --", number),
            ("-o x prog", "-o x", number),
            ("-o=5 prog", "-o =5", number),
            ("-o== prog", "-o ==", number),
            ("-c0o64 prog", "-c 0o64", bytes),
            ("-m=1 prog", "-m =1", bytes),
            ("-o 9:5 prog", "-o 9:5", "the soft limit is above the hard one"),
            ("-c 1G:5k prog", "-c 1G:5k", "the soft limit is above the hard one"),
            ("-o 9:x prog", "-o 9:x", number),
            ("-o 1:2:3 prog", "-o 1:2:3", number),
            ("-o 9:5: prog", "-o 9:5:", number),
            ("-o : prog", "-o :", number),
        ] {
            assert_eq!(parsed(words), misuse(&format!("{refused} is no limit: {ways}")), "{words}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_itself_or_no_limit(number: u128) {
            let limit = rlim_t::try_from(number).unwrap_or(rlim_t::MAX);
            prop_assert_eq!(parse_limit('m', OsStr::new(&number.to_string())), Some(AtMost(limit)));
        }

        #[test]
        fn whatever_is_written_as_options_is_parsed_or_misuse(words in "(-?[-=a-z0-9 ]{0,4} ){0,6}") {
            if let Ok(options) = parsed(words.trim_end()) {
                prop_assert!(!options.program.is_empty());
            }
        }
    }
}
