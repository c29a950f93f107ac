//! privatedir: makes a directory for an account, and runs a program.
//!
//! `privatedir [ -m MODE ] ACCOUNT[:GROUP] DIR PROGRAM [ ARG ... ]`
//!
//! 1. Makes DIR if it does not exist. Its parent directory must exist.
//! 2. Gives DIR to ACCOUNT and GROUP, which are written as for setuidgid, and sets its MODE: 0700 if `-m` says no other.
//! 3. Runs PROGRAM, as the same user as before.
//!
//! The account of a service, and others, may write to directories on the way to DIR, and may put there what they want
//! while privatedir works. So it never changes what could be theirs to choose:
//!
//! - DIR itself may be no link. A link on the way is followed only where root has made it, or to a directory of the
//!   account that has made it.
//! - A directory that exists already must belong to ACCOUNT. One that belongs to the account which runs privatedir, as
//!   root, is given away only if no other account can move it there.
//! - A new directory has a mode that no other one has until it was given away, and only what has this mode is given away:
//!   an account that exchanges it gets nothing. If privatedir is killed meanwhile, the next one goes on with it.
//! - Owner and mode are changed through the descriptor of the directory.
//!
//! Usage: 100. No such account, DIR cannot be had, PROGRAM cannot be run: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use chain::account::Account;
use daemontools::files::PathWalk;
use daemontools::report::account_name;
use daemontools::sys::directory::for_each_name_in;
use daemontools::{Args, Attempt, Fatal, Help, Unable};
use lexopt::Arg;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat, umask};
use nix::unistd::{fchown, geteuid};
use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

chain::main!(privatedir, HELP);

const USAGE: &str = "privatedir: usage: privatedir [ -m mode ] account dir child";

const HELP: Help = Help {
    usage: USAGE,
    text: "\
Makes the directory dir, unless it is there, and gives it to account, or account:group. Then
it runs child, a program and its arguments, as the same user as before.

  -m  the mode of the directory, in octal; 0700 is the default

Exit codes: 100, wrong usage; 111, no such account, dir cannot be had, or child cannot be run;
else child's.
",
};

/// The mode of a directory that was made and not yet given away. The sticky bit has no meaning where no account may write,
/// so no other directory has this mode.
const UNFINISHED: u32 = 0o1400;

/// The bits of the mode that mkdir(2) sets as it was told.
const MADE_BITS: u32 = 0o1777;

fn privatedir(args: Args) -> Result<i32, Fatal> {
    let Options { mode, account, dir, program } = parse(args)?;
    give(&dir, &Account::named(&account)?, mode)?;
    Err(chain::run(&program, &[]))
}

/// Makes the directory, and gives it to the account.
fn give(dir: &OsStr, account: &Account, mode: u32) -> Result<(), Unable> {
    let path = Path::new(dir);
    let missing = |unable: Unable| unable.where_missing(path);
    let name = path.file_name().unwrap_or_default();
    let mut way = PathWalk::from(AT_FDCWD).unable_to("open directory", ".")?;
    way.go(path.parent().unwrap_or(Path::new(""))).unable_to("make directory", dir).map_err(missing)?;
    match make(way.at(), name) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(missing(Unable::new("make directory", dir, errno))),
    }
    let directory = open_directory_itself(way.at(), name)
        .unable_to("open directory", dir)
        .map_err(|unable| if path.is_symlink() { unable.because("it is a link") } else { missing(unable) })?;
    let found = fstat(&directory).unable_to("open directory", dir)?;
    let is_new = found.st_mode & MADE_BITS == UNFINISHED && is_empty(&directory).unable_to("read directory", dir)?;
    let is_ours = is_new || !way.depends_on_others().unable_to("open directory", dir)?;
    if let Some(why) = why_not(geteuid().as_raw(), found.st_uid, account.uid.as_raw(), is_ours) {
        return Err(Unable::new("use directory", dir, Errno::EPERM).because(&why));
    }
    if (found.st_uid, found.st_gid) != (account.uid.as_raw(), account.gid.as_raw()) {
        fchown(&directory, Some(account.uid), Some(account.gid)).unable_to("change owner of", dir)?;
    }
    // The kernel may have removed some of these bits when the owner changed.
    let bits = fstat(&directory).unable_to("open directory", dir)?.st_mode & ALL_BITS;
    if bits != mode {
        fchmod(&directory, Mode::from_bits_truncate(mode)).unable_to("change mode of", dir)?;
    }
    Ok(())
}

/// Makes the directory with the mode by which it is known.
fn make(at: impl AsFd, name: &OsStr) -> nix::Result<()> {
    let before = umask(Mode::empty());
    let made = mkdirat(at, name, Mode::from_bits_truncate(UNFINISHED));
    umask(before);
    made
}

fn open_directory_itself(at: impl AsFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

fn is_empty(directory: impl AsFd) -> nix::Result<bool> {
    let mut is_empty = true;
    for_each_name_in(directory, |name| {
        is_empty &= matches!(name, b"." | b"..");
        if is_empty { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(is_empty)
}

/// Why a process of the account `own` does not give the directory of this owner to an account; `is_ours` if no other
/// account has chosen the directory.
fn why_not(own: u32, owner: u32, account: u32, is_ours: bool) -> Option<String> {
    if owner == own && !is_ours {
        return Some(format!("it belongs to {}, and another account may have moved it there", account_name(own)));
    }
    (owner != own && owner != account).then(|| format!("it belongs to {}", account_name(owner)))
}

/// The bits that `-m` may set: permissions, set-user-id, set-group-id and sticky.
const ALL_BITS: u32 = 0o7777;

#[derive(Debug, PartialEq, Eq)]
struct Options {
    mode: u32,
    account: OsString,
    dir: OsString,
    program: Vec<OsString>,
}

fn parse(args: Args) -> Result<Options, Fatal> {
    let misused = |error: lexopt::Error| Fatal::option(&error, USAGE);
    let (mut mode, mut words) = (0o700, Vec::new());
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(argument) = parser.next().map_err(misused)? {
        match argument {
            Arg::Short('m') => {
                let word = parser.value().map_err(misused)?;
                mode = parse_mode(word.as_bytes()).ok_or_else(|| {
                    Fatal::misuse(&[b"-m ", word.as_bytes(), b" is no mode: say it in octal, as in 0750"], USAGE)
                })?;
            }
            Arg::Value(account) => {
                words = vec![account];
                words.extend(parser.raw_args().map_err(misused)?);
            }
            other @ (Arg::Short(_) | Arg::Long(_)) => return Err(misused(other.unexpected())),
        }
    }
    let mut words = words.into_iter();
    let (Some(account), Some(dir)) = (words.next(), words.next()) else { return Err(Fatal::usage(USAGE)) };
    let program: Vec<OsString> = words.collect();
    if program.is_empty() {
        return Err(Fatal::usage(USAGE));
    }
    if Path::new(&dir).file_name().is_none() {
        return Err(Fatal::misuse(&[dir.as_bytes(), b" is no name for a directory of its own"], USAGE));
    }
    Ok(Options { mode, account, dir, program })
}

/// Reads one to five octal digits.
fn parse_mode(text: &[u8]) -> Option<u32> {
    let is_octal = (1..=5).contains(&text.len()) && text.iter().all(|digit| (b'0'..=b'7').contains(digit));
    let mode = u32::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok()?;
    Some(mode).filter(|mode| is_octal && *mode <= ALL_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_ours_or_the_accounts_is_given_to_it() {
        let (own, web, stranger) = (4_294_967_290, 4_294_967_291, 4_294_967_292);
        let moved = Some("it belongs to account 4294967290, and another account may have moved it there");
        let strangers = Some("it belongs to account 4294967292");
        for (owner, account, is_ours, expected) in [
            (own, web, true, None),
            (own, web, false, moved),
            (own, own, true, None),
            // Its mode may keep a secret that the account which has moved it wants to read.
            (own, own, false, moved),
            (web, web, true, None),
            (web, web, false, None),
            (web, own, true, Some("it belongs to account 4294967291")),
            (stranger, web, true, strangers),
            (stranger, web, false, strangers),
        ] {
            assert_eq!(why_not(own, owner, account, is_ours).as_deref(), expected, "{owner} {account} {is_ours}");
        }
    }

    fn parsed(words: &str) -> Result<Options, Fatal> {
        parse(words.split(' ').map(OsString::from).collect::<Vec<_>>().into_iter())
    }

    #[test]
    fn a_mode_is_octal() {
        for (text, expected) in [
            ("0700", Some(0o700)),
            ("750", Some(0o750)),
            ("02770", Some(0o2770)),
            ("7777", Some(0o7777)),
            ("0", Some(0)),
            ("10000", None),
            ("000700", None),
            ("0o700", None),
            ("800", None),
            ("+700", None),
            ("-1", None),
            ("u=rwx", None),
            ("", None),
        ] {
            assert_eq!(parse_mode(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn an_account_and_a_directory_stand_before_the_program() {
        let expected = |mode, program: &str| {
            let program = program.split(' ').map(OsString::from).collect();
            Ok(Options { mode, account: "web:www".into(), dir: "/run/web".into(), program })
        };
        assert_eq!(parsed("web:www /run/web prog -m 5"), expected(0o700, "prog -m 5"));
        assert_eq!(parsed("-m 750 -- web:www /run/web prog"), expected(0o750, "prog"));
        for words in ["web", "web /run/web", "-m 700 web /run/web", "--"] {
            assert_eq!(parsed(words), Err(Fatal::usage(USAGE)), "{words}");
        }
        for dir in ["/", ".", "..", "/run/web/..", "", "//"] {
            let misuse = Fatal::misuse(&[dir.as_bytes(), b" is no name for a directory of its own"], USAGE);
            assert_eq!(parsed(&format!("web {dir} prog")), Err(misuse), "{dir:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_as_options_is_parsed_or_misuse(words in "(-?[-=am0-7:/. ]{0,6} ){0,6}") {
            if let Ok(options) = parsed(words.trim_end()) {
                prop_assert!(!options.program.is_empty() && options.mode <= ALL_BITS);
            }
        }
    }
}
