//! What svscan says about services.

use crate::diagnostics::{Diagnostics, Subject};
use crate::probe::{AFTER, After, MOST_NAMES};
use crate::settings::unread_words;
use crate::table::{Id, Table};
use daemontools::duration::in_seconds;
use daemontools::report;
use daemontools::service::Unread;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// How many names a message about services that are waited for has.
pub const FEW: usize = 5;

/// Another name leads to the service, by which it is not known.
pub fn same_as(id: Id, other: &OsStr, table: &Table, diagnostics: &mut Diagnostics) {
    let words = [other.as_bytes(), b" is the same directory as ", name(id, table)].concat();
    diagnostics.warn_once(Subject::Names(id), words);
}

/// Another directory has taken the name of a service.
pub fn replaces(id: Id, table: &Table, diagnostics: &mut Diagnostics) {
    let words = [name(id, table), b" is another directory now: stopping the one before"].concat();
    diagnostics.warn_once(Subject::Service(id), words);
}

/// Names in a service's `after` have no effect, for this reason.
pub fn after_ignored(id: Id, others: Vec<OsString>, reason: &[u8], table: &Table, diagnostics: &mut Diagnostics) {
    let name = name(id, table);
    let words = |others: &[u8]| [name, b": after ", others, reason].concat();
    diagnostics.warn_once_of_names(others, |other| Subject::After(id, other), words);
}

/// The names that a service comes after; none, where that cannot be read. Says so, and that there are too many.
pub fn names_after(id: Id, name: &OsStr, after: Result<After, Unread>, diagnostics: &mut Diagnostics) -> Vec<OsString> {
    let name = name.as_bytes();
    match after {
        Ok(After { names, surplus: 0 }) => names,
        Ok(After { names, surplus }) => {
            let words = format!("/{AFTER}: {} names: only the first {MOST_NAMES} count", names.len() + surplus);
            diagnostics.warn_once(Subject::Order(id), [name, words.as_bytes()].concat());
            names
        }
        Err(unread) => {
            let file = [name, b"/", AFTER.as_bytes()].concat();
            diagnostics.warn_once(Subject::Order(id), unread_words(&file, unread));
            Vec::new()
        }
    }
}

/// A service in this directory is being stopped, and killed after this time, if it is ever.
pub fn stopping(folder: &Path, time: Option<Duration>) {
    let time = time.map(killed_in).unwrap_or_default();
    report::notice(&[b"stopping ", folder.as_os_str().as_bytes(), time.as_bytes()]);
}

/// A service is down, and these are waited for still, each with the time after which it is killed; there may be more.
pub fn down(name: &OsStr, waited_for: &[(&OsStr, Option<Duration>)], count: usize) {
    let mut line = [name.as_bytes(), b" is down"].concat();
    for (index, (name, time)) in waited_for.iter().enumerate() {
        line.extend_from_slice(if index == 0 { b", waiting for " } else { b", " });
        line.extend_from_slice(name.as_bytes());
        line.extend_from_slice(time.map(killed_in).unwrap_or_default().as_bytes());
    }
    if count > waited_for.len() {
        line.extend_from_slice(format!(" and {} more", count - waited_for.len()).as_bytes());
    }
    report::notice(&[&line]);
}

/// An essential service has ended.
pub fn essential_ended(folder: &Path) {
    report::notice(&[folder.as_os_str().as_bytes(), b" has ended, and is essential"]);
}

/// An upgrade waits for what is being stopped.
pub fn reexec_postponed() {
    report::notice(&[b"to be executed anew when what is being stopped is down"]);
}

fn name(id: Id, table: &Table) -> &[u8] {
    table.name(id).unwrap_or_default().as_bytes()
}

fn killed_in(time: Duration) -> String {
    format!(" (killed in {})", in_seconds(time))
}
