//! envuidgid: runs a program with the numbers of an account in its environment.
//!
//! `envuidgid ACCOUNT PROGRAM [ ARG ... ]`, `envuidgid :UID:GID PROGRAM [ ARG ... ]`
//!
//! 1. Sets UID and GID to the account's user number and group number, or to the numbers given. ACCOUNT may be
//!    followed by a group, as in setuidgid: `ACCOUNT:GROUP`.
//! 2. Runs PROGRAM as the same user as before. PROGRAM may change to that account when it has done
//!    the work that needs more rights.
//!
//! Usage: 100. No such account, PROGRAM cannot be run: 111. Files: `/etc/passwd`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use chain::account::Account;
use daemontools::sys::exec::Change;
use daemontools::{Args, Fatal, Help};

chain::main!(envuidgid, HELP);

const USAGE: &str = "envuidgid: usage: envuidgid account child";

const HELP: Help = Help {
    usage: USAGE,
    text: "\
Runs child, a program and its arguments, with the numbers of account in the variables UID
and GID. It changes nothing else: child runs as the same user. The account may be followed
by a group, web:www, or be two numbers, :UID:GID, which need no /etc/passwd.

Exit codes: 100, wrong usage; 111, no such account, or child cannot be run; else child's.
",
};

fn envuidgid(args: Args) -> Result<i32, Fatal> {
    let [name, program @ ..] = args.as_slice() else { return Err(Fatal::usage(USAGE)) };
    if program.is_empty() {
        return Err(Fatal::usage(USAGE));
    }
    let Account { uid, gid, .. } = Account::named(name)?;
    let change = |name: &str, number: String| -> Change { (name.into(), Some(number.into())) };
    Err(chain::run(program, &[change("GID", gid.to_string()), change("UID", uid.to_string())]))
}
