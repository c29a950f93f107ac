//! setuidgid: runs a program as another account.
//!
//! `setuidgid [ -s ] ACCOUNT[:GROUP...] PROGRAM [ ARG ... ]`, `setuidgid :UID:GID[:GID...] PROGRAM [ ARG ... ]`
//!
//! 1. Sets the groups to those that follow the account, or else to the account's own group alone; with `-s`, also to all
//!    groups that list the account. The first of them is the group of the process. With numbers, which need no account
//!    and no `/etc/passwd`, it sets them to these groups alone.
//! 2. Sets the user to that of the account, or to the number. The process cannot undo this.
//! 3. Runs PROGRAM. The environment does not change: USER and HOME stay as they are.
//!
//! Usage: 100. No such account, not root, PROGRAM cannot be run: 111. Files: `/etc/passwd`, `/etc/group`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use chain::account::{Account, is_numeric};
use daemontools::{Args, Attempt, Fatal, Help, Unable};
use nix::errno::Errno;
use nix::unistd::{geteuid, setgid, setgroups, setuid};
use std::os::unix::ffi::OsStrExt;

chain::main!(setuidgid, HELP);

const USAGE: &str = "setuidgid: usage: setuidgid [ -s ] account child";

const HELP: Help = Help {
    usage: USAGE,
    text: "\
Runs child, a program and its arguments, as account, with its group alone, or with those that
follow it: web:www:ssl. The account may be two numbers, :UID:GID, which need no /etc/passwd.

  -s  take on all groups that list the account too, which is a name then

Exit codes: 100, wrong usage; 111, no such account or group, the system refuses, or child
cannot be run; else child's.
",
};

enum Groups {
    Own,
    All,
}

fn setuidgid(args: Args) -> Result<i32, Fatal> {
    // These words are not parsed as options: the original takes any word before PROGRAM for an account.
    let (groups, rest) = match args.as_slice() {
        [first, rest @ ..] if first == "-s" => (Groups::All, rest),
        rest => (Groups::Own, rest),
    };
    let [name, program @ ..] = rest else { return Err(Fatal::usage(USAGE)) };
    if program.is_empty() {
        return Err(Fatal::usage(USAGE));
    }
    if matches!(groups, Groups::All) && is_numeric(name) {
        let words = [b"-s takes the name of an account, as groups list names: ", name.as_bytes()];
        return Err(Fatal::misuse(&words, USAGE));
    }
    let account = Account::named(name)?;
    let groups = match groups {
        Groups::Own => account.named_groups(),
        Groups::All => account.all_groups()?,
    };
    // The user comes last: after that the process has no right to change its groups.
    setgroups(&groups).unable_to("setgid", "").map_err(denied)?;
    setgid(account.gid).unable_to("setgid", "").map_err(denied)?;
    setuid(account.uid).unable_to("setuid", "").map_err(denied)?;
    Err(chain::run(program, &[]))
}

/// Says what is missing, where that is another account than root's.
fn denied(unable: Unable) -> Unable {
    let is_root = geteuid().is_root();
    if unable.errno == Errno::EPERM && !is_root { unable.because("only root can change the account") } else { unable }
}
