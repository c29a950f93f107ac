//! Where the log of a service is.
//!
//! A directory with `current` or finished files in it is a log directory itself. Of a service directory, the first
//! that is one of:
//!
//! 1. what the logger that runs for it has open: the first `…/current` of the process that `log/supervise/status` names
//!    (which lies elsewhere where `$SUPERVISEDIR` says so);
//! 2. `log/main`; `log`;
//! 3. the first directory in `log`, by name, that has `current` and `lock`;
//! 4. the first directory that `log/run` gives to multilog.
//!
//! Where `log` is a program (daemontools-encore has that), the same in the service directory itself, and `log` is
//! read for `log/run`.

use crate::folder::Finished;
use daemontools::Attempt;
use daemontools::service;
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Nobody writes a longer script that runs multilog.
const SCRIPT_AT_MOST: usize = 64 * 1024;

/// The log directory of a service, or the directory itself if it is one.
///
/// # Errors
/// It does not exist, or nothing says where its log is: in words.
pub fn log_directory(argument: &OsStr) -> Result<OsString, Vec<u8>> {
    let path = Path::new(argument);
    let entries = fs::read_dir(path).unable_to("open directory", argument).map_err(|unable| unable.to_bytes())?;
    if is_log(path) || entries.flatten().any(|entry| Finished::parse(entry.file_name().as_bytes()).is_some()) {
        return Ok(argument.to_os_string());
    }
    let log = path.join("log");
    let found = if log.is_dir() {
        search(&log, logger(&log), &log.join("run"))
    } else {
        search(path, logger_beside(path), &log)
    };
    let unknown = || [b"unable to find a log in ", argument.as_bytes(), b": no multilog wrote there"].concat();
    found.map(PathBuf::into_os_string).ok_or_else(unknown)
}

fn search(base: &Path, logger: Option<Pid>, script: &Path) -> Option<PathBuf> {
    let open = || opened_by(logger?);
    let known = || [base.join("main"), base.to_path_buf()].into_iter().find(|path| is_log(path));
    open().or_else(known).or_else(|| first_in(base)).or_else(|| named_in(script, base))
}

fn is_log(path: &Path) -> bool {
    path.join("current").is_file()
}

/// The process that reads the log, by the status of its supervise.
fn logger(log: &Path) -> Option<Pid> {
    service::read_status_at(log).ok()?.0.pid
}

/// The same where one supervise runs both.
fn logger_beside(path: &Path) -> Option<Pid> {
    service::read_status_at(path).ok()?.1?.pid
}

/// multilog opens its directories in the order of its script, so the first is where most goes.
fn opened_by(pid: Pid) -> Option<PathBuf> {
    let folder = format!("/proc/{pid}/fd");
    let numbers = fs::read_dir(&folder).ok()?.flatten();
    let mut numbers: Vec<u32> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    let opened = numbers.into_iter().filter_map(|number| fs::read_link(format!("{folder}/{number}")).ok());
    opened
        .filter(|path| path.file_name() == Some(OsStr::new("current")))
        .filter_map(|path| Some(path.parent()?.to_path_buf()))
        .find(|path| is_log(path))
}

fn first_in(base: &Path) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(base).ok()?.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    folders.into_iter().find(|path| is_log(path) && path.join("lock").exists())
}

fn named_in(script: &Path, base: &Path) -> Option<PathBuf> {
    let script = service::read_beginning(script, SCRIPT_AT_MOST).ok()?;
    multilog_directories(&script).into_iter().map(|name| base.join(name)).find(|path| is_log(path))
}

/// The words after `multilog` that it would take for directories.
fn multilog_directories(script: &[u8]) -> Vec<OsString> {
    let words = script.split(u8::is_ascii_whitespace);
    let words = words.map(|word| word.iter().filter(|byte| !b"'\"".contains(byte)).copied().collect::<Vec<u8>>());
    let after = words.skip_while(|word| word != b"multilog" && !word.ends_with(b"/multilog")).skip(1);
    after.filter(|word| word.starts_with(b".") || word.starts_with(b"/")).map(OsString::from_vec).collect()
}

/// What to call the logs: by their last parts, or as they were given if two had the same.
pub fn names(arguments: &[OsString]) -> Vec<Vec<u8>> {
    let short: Vec<Vec<u8>> = arguments.iter().map(|argument| last_part(argument)).collect();
    let mut sorted = short.clone();
    sorted.sort();
    let unique = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    if unique { short } else { arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect() }
}

fn last_part(argument: &OsStr) -> Vec<u8> {
    let real = || fs::canonicalize(argument).ok()?.file_name().map(OsStr::to_os_string);
    let part = Path::new(argument).file_name().map(OsStr::to_os_string).or_else(real);
    part.unwrap_or_else(|| argument.to_os_string()).into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_told_from_the_words_of_a_script() {
        let script =
            b"#!/bin/sh\nexec setuidgid log /command/multilog t '-*' '+* fatal *' \\\n\t./main /var/log/\"web\"\n";
        assert_eq!(multilog_directories(script), ["./main", "/var/log/web"]);
        assert_eq!(multilog_directories(b"#!/bin/sh\nexec logger -t ./x\n"), [""; 0]);
    }

    #[test]
    fn names_are_short_unless_they_would_be_the_same() {
        let of = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            names(&arguments).into_iter().map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of(&["/service/web/", "db"]), ["web", "db"]);
        assert_eq!(of(&["/service/web/log/main", "db/log/main"]), ["/service/web/log/main", "db/log/main"]);
        assert_eq!(of(&["/"]), ["/"]);
    }
}
