//! The pager through which svlog shows its output on a terminal, as a log is often longer than the screen.
//!
//! The pager is a command of the shell: `$SVLOG_PAGER`, or else `$PAGER`, or else `less` if it is there. With an empty command, or
//! `cat`, there is none, nor on a terminal that is `dumb`, nor for a user who has got the rights of another account (sudo), as
//! most pagers start any program. `less` ends by itself if all fits on one screen.

use daemontools::report::TEMPORARY;
use daemontools::sys::process::ignore_signal;
use daemontools::{Fatal, sys};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, dup2_stdout, geteuid, getuid};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The variables that name a pager, the first one first.
const VARIABLES: [&str; 2] = ["SVLOG_PAGER", "PAGER"];
/// The pager if none of them is set.
const USUAL: &str = "less";
/// Options for `less` if the user has set none: end if all fits on one screen, show colours,
/// leave the lines on the screen, and end by ^C.
const OPTIONS: (&str, &str) = ("LESS", "FRXK");

/// One of these is set if another account has got the rights of this one for a command.
const BORROWED: [&str; 3] = ["SUDO_UID", "PKEXEC_UID", "DOAS_USER"];

/// A pager that runs, and to which standard output leads.
pub struct Pager(Child);

impl Pager {
    /// Starts the pager that the user wants, if there is one. If it cannot be started, the output goes to the terminal.
    pub fn start() -> Option<Pager> {
        // A pager could do nothing on it.
        let is_dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        let variables = VARIABLES.map(std::env::var_os);
        let is_borrowed = geteuid() != getuid() || BORROWED.iter().any(|name| std::env::var_os(name).is_some());
        let command = command(variables, is_installed(USUAL)).filter(|_| !is_dumb && !is_borrowed)?;
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).stdin(Stdio::piped());
        if std::env::var_os(OPTIONS.0).is_none() {
            shell.env(OPTIONS.0, OPTIONS.1);
        }
        let mut child = shell.spawn().ok()?;
        let input = child.stdin.take()?;
        // A pager that has ended is no reason to end without waiting for it.
        ignore_signal(Signal::SIGPIPE);
        end_by_interrupt(Pid::from_raw(i32::try_from(child.id()).ok()?));
        dup2_stdout(&input).ok()?;
        Some(Pager(child))
    }

    /// Waits until the user has seen enough.
    ///
    /// # Errors
    /// The shell could not execute the pager, so that the user has seen nothing.
    pub fn finish(mut self) -> Result<(), Fatal> {
        end_its_input();
        match self.0.wait().ok().and_then(|status| status.code()) {
            Some(NOT_EXECUTABLE | NOT_FOUND) => {
                Err(Fatal::new(TEMPORARY, &[b"the pager of $SVLOG_PAGER or $PAGER cannot be run: say --no-pager"]))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Lets the pager find the end of its input. What svlog still writes goes nowhere.
fn end_its_input() {
    if let Ok(null) = sys::null() {
        let _ = dup2_stdout(&null);
    }
}

/// Lets ^C end svlog, but not before the pager: the shell would take the terminal from it.
fn end_by_interrupt(pager: Pid) {
    let interrupt = SigSet::from_iter([Signal::SIGINT]);
    if interrupt.thread_block().is_ok() {
        std::thread::spawn(move || {
            let _ = interrupt.wait();
            end_its_input();
            while waitpid(pager, None) == Err(Errno::EINTR) {}
            sys::exit_now(INTERRUPTED);
        });
    }
}

/// The shell's exit codes for a command that it cannot execute or find.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// The exit code of a program that SIGINT has ended, as shells show it.
const INTERRUPTED: i32 = 130;

/// The command that the values of the variables ask for.
fn command(values: [Option<OsString>; 2], is_usual_installed: bool) -> Option<OsString> {
    let said = values.into_iter().flatten().next();
    let command = said.or_else(|| is_usual_installed.then(|| USUAL.into()))?;
    Some(command).filter(|command| !command.is_empty() && command != "cat")
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .any(|directory| directory.is_absolute() && Path::new(&directory).join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_names_the_pager() {
        for (values, is_installed, expected) in [
            ([None, None], true, Some("less")),
            ([None, None], false, None),
            ([None, Some("more")], true, Some("more")),
            ([Some("most -s"), Some("more")], true, Some("most -s")),
            ([Some(""), Some("more")], true, None),
            ([Some("cat"), None], true, None),
        ] {
            let values = values.map(|value| value.map(OsString::from));
            assert_eq!(command(values.clone(), is_installed), expected.map(OsString::from), "{values:?}");
        }
    }
}
