//! Why a service has no supervise, as far as its files tell, and what to do.
//!
//! What a supervise said before it ended has gone to svscan's standard error, which svctl cannot read. So the causes are
//! looked for where they lie: is there an svscan, does it wait for other services before it starts this one, can supervise
//! make its files, and does another process have its lock?

use crate::after::{is_entry, not_ready};
use crate::answer::Answer;
use crate::disk::{MAKE_ROOM, full_disk};
use crate::services::{Reach, Service, Services};
use crate::text::{quoted, shown};
use daemontools::report::reason;
use daemontools::service::setting::LONGEST;
use daemontools::service::{AFTER, LOCK, Place, Unread, answers, open_file_itself_at, read_file};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use std::fs::{File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The lock of the svscan that serves a directory.
const SVSCAN_LOCK: &str = ".svscan/lock";
/// The file that says how many services svscan starts at a time.
const STARTS_AT_A_TIME: &str = ".svscan/starts-at-a-time";
/// Where the messages of svscan are if svscanboot has started it.
pub const STANDARD_ERROR: &str = "svscanboot: ps -ww -C readproctitle -o args";
/// No more names of services are told for which a service waits.
const MOST_NAMES: usize = 5;

/// The cause and the cure in words: `no svscan runs in /service: start it: svscan /service`.
pub fn why(services: &Services, service: &Service) -> String {
    let own = || obstacle(&service.path);
    if !is_entry(services, service) {
        return own().unwrap_or_else(messages_of_svscan);
    }
    let waits = || {
        waits(services, service).map(|(words, other)| {
            let status = services.command("status");
            format!("{words}: {status} {} says why", quoted(&shown(other.name.as_bytes())))
        })
    };
    let no_svscan = no_svscan(services);
    no_svscan.or_else(waits).or_else(own).or_else(|| turn(services)).unwrap_or_else(messages_of_svscan)
}

/// That no svscan serves the directory, and the cure.
pub fn no_svscan(services: &Services) -> Option<String> {
    let directory = shown(services.directory().as_os_str().as_bytes());
    let is_none = matches!(is_locked(&services.directory().join(SVSCAN_LOCK)), Ok(false));
    is_none.then(|| match services.is_meant_for_svscan() {
        true => format!("no svscan runs in {directory}: start it: svscan {}", quoted(&directory)),
        false => format!("no svscan runs in {directory}, and none ever has: is it the right directory?"),
    })
}

/// As [`no_svscan`], of a directory that is meant to be served by an svscan. In another one, services may be supervised without.
pub fn no_svscan_though_meant(services: &Services) -> Option<String> {
    no_svscan(services).filter(|_| services.is_meant_for_svscan())
}

/// Whether svscan is about to start a supervise for a service that has none, as far as can be seen: it serves the directory, and
/// nothing is known that keeps it from doing so. A supervise that has the lock of its directory already is starting.
pub fn is_coming(services: &Services, service: &Service) -> bool {
    is_entry(services, service)
        && is_locked(&services.directory().join(SVSCAN_LOCK)) == Ok(true)
        && closed_place(&service.path).is_none()
        && waits(services, service).is_none()
}

fn messages_of_svscan() -> String {
    format!("svscan's standard error says why ({STANDARD_ERROR})")
}

/// What was seen of a service, with the reason for which svscan has not started it yet, if it waits for something.
pub fn explained(services: &Services, service: &Service, answer: Answer) -> Answer {
    let is_unsupervised = matches!(answer, Answer::Unsupervised(_)) && service.reach == Reach::Answers;
    if !is_unsupervised
        || !is_entry(services, service)
        || is_locked(&services.directory().join(SVSCAN_LOCK)) != Ok(true)
    {
        return answer;
    }
    let waits = waits(services, service).map(|(words, _)| words);
    let turn = || if obstacle(&service.path).is_none() { turn(services) } else { None };
    waits.or_else(turn).map_or(answer, Answer::Unsupervised)
}

/// `waiting: for db, which is not ready (after)`, if svscan waits for other services before it starts this one; and the first
/// of them.
fn waits(services: &Services, service: &Service) -> Option<(String, Service)> {
    let others = not_ready(services, service);
    let names: Vec<String> = others.iter().take(MOST_NAMES).map(|other| shown(other.name.as_bytes())).collect();
    let more = others.len().saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let are = if others.len() == 1 { "is" } else { "are" };
    let words = format!("waiting: for {}{more}, which {are} not ready ({AFTER})", names.join(", "));
    others.into_iter().next().map(|first| (words, first))
}

/// That svscan may wait until fewer services are starting.
fn turn(services: &Services) -> Option<String> {
    let file = services.directory().join(STARTS_AT_A_TIME);
    let text = answers(&file).then(|| read_file(&file, LONGEST).ok()).flatten()?;
    let most: std::num::NonZeroUsize = std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()?;
    Some(format!("perhaps waiting: svscan starts at most {most} services at a time ({STARTS_AT_A_TIME})"))
}

/// What keeps a supervise from making its files in this service directory, and the cure, in words.
pub fn obstacle(service: &Path) -> Option<String> {
    fault(service).map(|(what, cure)| format!("{what}: {cure}"))
}

/// What keeps a supervise from making its files in this service directory; and what to do.
pub fn fault(service: &Path) -> Option<(String, String)> {
    closed_place(service).or_else(|| {
        let place = Place::of(service).ok()?;
        let name = shown(place.directory().as_os_str().as_bytes());
        match is_locked(&place.path(LOCK)) {
            Ok(true) => {
                Some((format!("another process has the lock of {name}"), format!("fuser {name}/lock names it")))
            }
            Ok(false) | Err(_) => full_disk(made_in(&place)?).map(|words| (words, MAKE_ROOM.into())),
        }
    })
}

/// The directory in which the files of supervise are, or that is to be made for them.
fn made_in(place: &Place) -> Option<&Path> {
    let directory = place.directory();
    if directory.symlink_metadata().is_ok() { Some(directory) } else { directory.parent() }
}

/// Why no supervise may write where its files are to be; and what to do.
fn closed_place(service: &Path) -> Option<(String, String)> {
    let place = Place::of(service).ok()?;
    let (directory, made_in) = (place.directory(), made_in(&place)?);
    let name = shown(directory.as_os_str().as_bytes());
    let access = faccessat(AT_FDCWD, made_in, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS);
    if made_in == directory && !directory.is_dir() {
        return Some((format!("{name} is no directory"), "remove it".into()));
    }
    match access {
        Err(Errno::EROFS) => Some((
            format!("{name} cannot be written to: its disk is read-only"),
            "let $SUPERVISEDIR name a place elsewhere".into(),
        )),
        Err(errno) => {
            Some((format!("supervise cannot write to {name}: {}", reason(errno)), "correct its owner or mode".into()))
        }
        Ok(()) => None,
    }
}

/// Whether a process has this lock. The lock is free again at once: who wants it meanwhile tries again.
fn is_locked(lock: &Path) -> Result<bool, Unread> {
    match open_file_itself_at(AT_FDCWD, lock) {
        Ok(file) => Ok(matches!(File::from(file).try_lock_shared(), Err(TryLockError::WouldBlock))),
        Err(unread) if unread.is_missing() => Ok(false),
        Err(unread) => Err(unread),
    }
}
