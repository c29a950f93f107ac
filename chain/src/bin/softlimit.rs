//! softlimit: runs a program with lower resource limits.
//!
//! `softlimit [ -a BYTES ] [ -c BYTES ] … PROGRAM [ ARG ... ]`
//!
//! 1. Sets soft limits, in the order of the options: to the number given, to the hard limit if that
//!    is lower, or to the hard limit itself for `=`. A number of bytes may have a unit: `k`, `M` or `G`.
//!    `-m` data, stack, locked and all memory, each; `-a` all memory; `-d` data; `-s` stack;
//!    `-l` locked memory; `-r` resident memory; `-o` open files; `-p` processes of this user;
//!    `-f` size of a file written; `-c` size of a core dump; `-t` seconds of CPU.
//! 2. Runs PROGRAM. Hard limits stay as they are, so it may raise its limits again.
//!
//! Usage: 100. A limit is refused, PROGRAM cannot be run: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::sys::exec::Program;
use daemontools::{Args, Fatal, Help, report, size};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

chain::main!(softlimit, HELP);

const USAGE: &str = "softlimit: usage: softlimit [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] \
    [-l lockbytes] [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] \
    [-t cpusecs] child";

const HELP: Help = Help {
    usage: USAGE,
    text: "\
Runs child, a program and its arguments, with these soft limits. A limit is a number, of
bytes also with a unit (64k, 100M, 2G), or = for the hard limit.

  -a  all memory                     -m  data, stack, locked and all memory, each
  -c  size of a core dump            -o  open files
  -d  data                           -p  processes of this user
  -f  size of a file                 -r  resident memory
  -l  locked memory                  -s  stack
  -t  seconds of CPU

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Hard,
    AtMost(rlim_t),
}

fn set(resource: Resource, limit: Limit) -> Result<(), Fatal> {
    let (_, hard) = getrlimit(resource).map_err(|errno| failed(b"getrlimit failed: ", errno))?;
    let soft = match limit {
        Limit::Hard => hard,
        Limit::AtMost(limit) => limit.min(hard),
    };
    setrlimit(resource, soft, hard).map_err(|errno| failed(b"setrlimit failed: ", errno))
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
        'f' => &[Resource::RLIMIT_FSIZE],
        'l' => &[Resource::RLIMIT_MEMLOCK],
        'm' => &[Resource::RLIMIT_DATA, Resource::RLIMIT_STACK, Resource::RLIMIT_MEMLOCK, Resource::RLIMIT_AS],
        'o' => &[Resource::RLIMIT_NOFILE],
        'p' => &[Resource::RLIMIT_NPROC],
        'r' => &[Resource::RLIMIT_RSS],
        's' => &[Resource::RLIMIT_STACK],
        't' => &[Resource::RLIMIT_CPU],
        _ => return None,
    })
}

/// `softlimit: -o 12x is no limit: …`. The original prints only the usage.
fn no_limit(letter: char, limit: &OsStr) -> Fatal {
    let ways = match counts_bytes(letter) {
        true => "say a number of bytes, with or without k, M or G, or =",
        false => "say a number without a unit, or =",
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
        Limit::AtMost(bytes @ 1..PAGE) if "adms".contains(letter) => {
            Some(format!("-{letter} {bytes} is {bytes} bytes, with which no program can start: did you mean {bytes}M?"))
        }
        Limit::AtMost(_) | Limit::Hard => None,
    }
}

/// Whether the number of an option counts bytes, so that it may have a unit.
fn counts_bytes(letter: char) -> bool {
    !matches!(letter, 'o' | 'p' | 't')
}

/// Reads `=`, or decimal digits. No digits mean 0, and a number that is too large means no limit. A number of bytes
/// may have a unit.
fn parse_limit(letter: char, limit: &OsStr) -> Option<Limit> {
    if limit == "=" {
        return Some(Limit::Hard);
    }
    let (digits, unit) = match size::split(limit.as_bytes()) {
        ([], unit) if unit > 1 => return None,
        split if counts_bytes(letter) => split,
        _ => (limit.as_bytes(), 1),
    };
    let number = |number: rlim_t, byte: &u8| {
        let digit = char::from(*byte).to_digit(10)?;
        Some(number.saturating_mul(10).saturating_add(digit.into()))
    };
    digits.iter().try_fold(0, number).map(|number| Limit::AtMost(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Limit::{AtMost, Hard};
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
            for letter in "acdfmlrs".chars() {
                assert_eq!(parse_limit(letter, OsStr::new(limit)), bytes.map(AtMost), "-{letter} {limit}");
            }
            for letter in "opt".chars() {
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
