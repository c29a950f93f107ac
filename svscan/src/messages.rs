//! What svscan says about services.

use crate::diagnostics::{Diagnostics, Subject};
use crate::probe::{ExaminedService, Logger, Probe};
use crate::settings::unread_words;
use crate::supervises::Supervises;
use crate::table::{Id, Message, Part, SuperviseId, Table, label};
use daemontools::duration::in_seconds;
use daemontools::service::{AFTER, After, MOST_NAMES, Unread};
use daemontools::{Unable, report};
use nix::errno::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// How many names a message has about services that are waited for.
const FEW: usize = 5;

/// Says what the table has to say of a service.
pub fn say(
    id: Id,
    message: Message,
    table: &Table,
    supervises: &Supervises,
    probe: &mut Probe,
    diagnostics: &mut Diagnostics,
) {
    let name = table.name(id).unwrap_or_default();
    match message {
        Message::SameAs(other) => {
            let words = [other.as_bytes(), b" is the same directory as ", name.as_bytes()].concat();
            diagnostics.warn_once(Subject::Names(id), words);
        }
        Message::UnknownAfter(others) => after_ignored(id, others, b": no such service", name, diagnostics),
        Message::CyclicAfter(others) => after_ignored(id, others, b": goes in a circle", name, diagnostics),
        Message::AfterResolved(other) => diagnostics.clear(&Subject::After(id, other)),
        Message::Replaces => {
            let words = [name.as_bytes(), b" is another directory now: stopping the one before"].concat();
            diagnostics.warn_once(Subject::Service(id), words);
        }
        Message::Stopping => {
            // Where its directory cannot be touched, it is stopped all the same.
            let folder = probe.folder(table, SuperviseId { id, part: Part::Service });
            let time = folder.as_ref().and_then(|folder| probe.time_to_stop(folder)).map(killed_in).unwrap_or_default();
            let name = folder.as_ref().map_or(name, |folder| folder.as_os_str());
            report::notice(&[b"stopping ", name.as_bytes(), time.as_bytes()]);
        }
        Message::Gone(_) => {}
        Message::Down(name) => down(&name, table, |which| supervises.time_left(which, table, probe)),
    }
}

/// Names in a service's `after` have no effect, for this reason.
fn after_ignored(id: Id, others: Vec<OsString>, reason: &[u8], name: &OsStr, diagnostics: &mut Diagnostics) {
    let words = |others: &[u8]| [name.as_bytes(), b": after ", others, reason].concat();
    diagnostics.warn_once_of_names(others, |other| Subject::After(id, other), words);
}

/// What svscan has found in a service directory; `None` if it could not look at a file. Says at which file, and what is wrong
/// with the logger.
pub fn examined(
    id: Id,
    name: &OsStr,
    examined: Result<ExaminedService, (&'static str, Errno)>,
    diagnostics: &mut Diagnostics,
) -> Option<ExaminedService> {
    let unable = match &examined {
        Ok(ExaminedService { logger: Logger::Unusable, .. }) => {
            let unable = Unable::new("supervise", label(Part::Logger, name), Errno::ENOTDIR);
            Some(unable.because("make it a directory with a run, or a program (chmod +x)"))
        }
        Ok(_) => None,
        Err((file, errno)) => Some(Unable::new("stat", Path::new(name).join(file).as_path(), *errno)),
    };
    if let Some(unable) = unable {
        diagnostics.warn_unable_once(Subject::Service(id), &unable);
    }
    examined.ok()
}

/// The names in the `after` of a service; none if the file cannot be read. Says so, and says if there are too many names.
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

/// Says that a service is down, and for which services svscan still waits, each with the time after which it is killed, which
/// `time_left` tells. If there are many, the message has the first few and the number of the others, and no times.
fn down(name: &OsStr, table: &Table, time_left: impl FnMut(SuperviseId) -> Option<Duration>) {
    let list = waited_for(table, time_left).map(|(list, _)| [b", waiting for ", &list[..]].concat());
    report::notice(&[name.as_bytes(), b" is down", &list.unwrap_or_default()]);
}

/// Says for which services and loggers svscan still waits in a stop that takes long, and what ends them.
pub fn still_waiting(table: &Table, time_left: impl FnMut(SuperviseId) -> Option<Duration>) {
    let Some((list, parts)) = waited_for(table, time_left) else { return };
    let cure = |part, words| if parts.contains(&part) { words } else { &b""[..] };
    let service = cure(Part::Service, b"; svc -k kills a service that does not end");
    let logger = cure(Part::Logger, b"; a logger may need room on its disk, and svc -k loses what it has not written");
    report::warning(&[b"still waiting for ", &list, service, logger]);
}

/// The first few services for which svscan waits, or their loggers where the services are down, as a list for a message;
/// and which of both these are. `None` if there are none.
fn waited_for(
    table: &Table,
    mut time_left: impl FnMut(SuperviseId) -> Option<Duration>,
) -> Option<(Vec<u8>, Vec<Part>)> {
    let (count, ids) = table.waited_for(FEW);
    let (mut names, mut parts) = (Vec::new(), Vec::new());
    for id in ids {
        let service = SuperviseId { id, part: Part::Service };
        let logger = SuperviseId { part: Part::Logger, ..service };
        let which = if table.is_busy(logger) && !table.is_busy(service) { logger } else { service };
        let time = if count > FEW { None } else { time_left(which) };
        let name = label(which.part, table.name(id).unwrap_or_default());
        names.push([name.as_bytes(), time.map(killed_in).unwrap_or_default().as_bytes()].concat());
        parts.push(which.part);
    }
    let more = if count > FEW { format!(" and {} more", count - FEW) } else { String::new() };
    (!names.is_empty()).then(|| ([&names.join(&b", "[..])[..], more.as_bytes()].concat(), parts))
}

/// The pipe of a service is closed with this number of bytes in it, which its logger has not read.
pub fn unread(name: &OsStr, bytes: usize) {
    if bytes > 0 {
        let words = format!(": dropped {bytes} bytes of its service's lines: it did not read them");
        report::warning(&[label(Part::Logger, name).as_bytes(), words.as_bytes()]);
    }
}

/// Says that an essential service has ended.
pub fn essential_ended(folder: &Path) {
    report::notice(&[folder.as_os_str().as_bytes(), b" has ended, and is essential"]);
}

/// Says that svscan executes its file anew only when what is being stopped is down.
pub fn reexec_postponed() {
    report::notice(&[b"to be executed anew when what is being stopped is down"]);
}

fn killed_in(time: Duration) -> String {
    format!(" (killed in {})", in_seconds(time))
}
