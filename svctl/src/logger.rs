//! Loggers that do not write: what their scripts and their log directories tell.
//!
//! The words of multilog are judged by multilog itself (`multilog --check`).

use crate::disk::{MAKE_ROOM, full_disk};
use crate::services::{Reach, Service};
use crate::text::shown;
use daemontools::files::read_beginning;
use daemontools::logdir::CURRENT;
use daemontools::logdir::locate::log_directory;
use daemontools::logdir::script::{MultilogCommand, SCRIPT_AT_MOST};
use daemontools::service::{LOG, RUN, SILENT, answers};
use daemontools::sys::companion;
use nix::unistd::{Group, User, geteuid};
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a logger cannot do, and where that is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, relative to the service: `log/run`.
    pub file: PathBuf,
    /// What is wrong.
    pub what: Vec<u8>,
    /// What to do.
    pub cure: String,
}

/// Why a logger that runs may not write what it reads.
pub fn trouble(service: &Service) -> Option<String> {
    match log_directory(service.path.as_os_str()) {
        Ok(found) => full_disk(&found.path).or_else(|| found.doubt.map(|words| shown(&words))),
        Err(why) if why.ends_with(SILENT.as_bytes()) => None,
        Err(why) => Some(shown(&why)),
    }
}

/// What is wrong with the script of a service's logger and with the directories that it names.
pub fn faults(service: &Service) -> Vec<Fault> {
    let log = service.path.join(LOG);
    if service.reach == Reach::Hangs || !answers(&log) {
        return Vec::new();
    }
    // A logger that is a program works in the directory of its service.
    let (base, file) = if log.is_dir() { (log, Path::new(LOG).join(RUN)) } else { (service.path.clone(), LOG.into()) };
    let script = service.path.join(&file);
    let text = answers(&script).then(|| read_beginning(&script, SCRIPT_AT_MOST).ok()).flatten();
    let Some(command) = text.and_then(|text| MultilogCommand::of(&text)) else { return Vec::new() };
    let fault = |what: Vec<u8>, cure: &str| Fault { file: file.clone(), what, cure: cure.into() };
    let mut faults: Vec<Fault> =
        warnings(&base, &command.words).into_iter().map(|what| fault(what, "correct it")).collect();
    let is_directory = |word: &&OsString| word.as_bytes().starts_with(b".") || word.as_bytes().starts_with(b"/");
    for word in command.words.iter().filter(is_directory).filter(|_| command.stays) {
        let directory: PathBuf = base.join(word).components().collect();
        if !answers(&directory) || !answers(&directory.join(CURRENT)) {
            continue;
        }
        let words = |words: &[u8]| [word.as_bytes(), words].concat();
        if directory.exists() && !directory.is_dir() {
            faults.push(fault(words(b" is no directory, so multilog cannot write there"), "move it away"));
        } else if let Some(what) = full_disk(if directory.is_dir() { &directory } else { &base }) {
            faults.push(fault(what.into_bytes(), MAKE_ROOM));
        } else if let Some(account) = &command.account {
            faults.extend(refused(account, &directory).map(|why| match why {
                Refused::Setuidgid(why) => fault(why, "correct it"),
                Refused::Access(path) => {
                    let path = shown(path.as_os_str().as_bytes());
                    let what = format!("{} cannot write to {path}", shown(account.as_bytes()));
                    fault(what.into_bytes(), "give it to that account: mkdir, chown")
                }
            }));
        }
    }
    faults
}

/// multilog is not asked about more words: the time that it takes grows with the square of their number.
const MOST_WORDS: usize = 200;

/// What multilog warns of in this script.
fn warnings(base: &Path, words: &[OsString]) -> Vec<Vec<u8>> {
    // multilog looks for the directories above these.
    let is_silent = |word: &OsString| word.as_bytes().starts_with(b"/") && !answers(Path::new(word));
    if words.is_empty() || words.len() > MOST_WORDS || words.iter().any(is_silent) {
        return Vec::new();
    }
    let check = Command::new(companion("multilog"))
        .arg("--check")
        .args(words)
        .current_dir(base)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output();
    let said = check.map(|check| check.stderr).unwrap_or_default();
    let lines = said.split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.strip_prefix(b"multilog: warning: ")).map(<[u8]>::to_vec).collect()
}

/// Why multilog could not write as an account.
enum Refused {
    /// setuidgid says so.
    Setuidgid(Vec<u8>),
    /// It may not write to this file or directory.
    Access(PathBuf),
}

/// Tells, as root, whether an account may write to a log directory, or make it, by what the modes of the files say. No process
/// runs as the account for this: the account could stop it, and svctl would wait for ever.
fn refused(account: &OsStr, directory: &Path) -> Option<Refused> {
    if !geteuid().is_root() {
        return None;
    }
    let Some((uid, gid)) = numbers(account) else {
        return Some(Refused::Setuidgid([b"unknown account ", account.as_bytes()].concat()));
    };
    let current = directory.join(CURRENT);
    let paths = if directory.is_dir() { vec![directory, current.as_path()] } else { vec![directory.parent()?] };
    let is_closed = |path: &&Path| path.metadata().is_ok_and(|file| uid != 0 && !may_write(&file, uid, gid));
    paths.into_iter().find(is_closed).map(|path| Refused::Access(path.to_path_buf()))
}

/// The user and group of an account: those of its name, the group that follows it, or `:UID:GID`. More groups may follow.
fn numbers(account: &OsStr) -> Option<(u32, u32)> {
    let mut words = account.to_str()?.split(':');
    let (name, group) = (words.next()?, words.next());
    if let ("", Some(uid)) = (name, group) {
        return Some((uid.parse().ok()?, words.next()?.parse().ok()?));
    }
    let user = User::from_name(name).ok()??;
    let gid = match group {
        Some(group) => Group::from_name(group).ok()??.gid,
        None => user.gid,
    };
    Some((user.uid.as_raw(), gid.as_raw()))
}

/// Whether the mode of a file lets an account write to it, or make files in it if it is a directory.
fn may_write(file: &Metadata, uid: u32, gid: u32) -> bool {
    let shift = if file.uid() == uid {
        6
    } else if file.gid() == gid {
        3
    } else {
        0
    };
    let needed = if file.is_dir() { 0o3 } else { 0o2 };
    (file.mode() >> shift) & needed == needed
}
