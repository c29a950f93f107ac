//! What would keep services from working, found out without starting them.
//!
//! Each finding is a line `NAME/FILE: what is wrong: what to do`. The programs are judged by lib's [`interpreter`], and
//! the settings by the same parser as supervise's, [`Policy`].
//!
//! [`interpreter`]: daemontools::interpreter
//! [`Policy`]: daemontools::service::policy::Policy

use crate::after::{Doubt, Lists};
use crate::code::FAILED;
use crate::list::logger_of;
use crate::logger::faults;
use crate::services::{Reach, Service, Services, is_path};
use crate::text::{quoted, shown};
use crate::unsupervised::{self, no_svscan_though_meant};
use crate::write;
use daemontools::interpreter::{self, Obstacle, obstacle};
use daemontools::report::{PERMANENT, reason};
use daemontools::service::policy::{ABSTRACT, Kind, Policy, files, meant_by};
use daemontools::service::setting::{LONGEST, value};
use daemontools::service::{
    AFTER, DOWN, MOST_NAMES, RUN, SILENT, SUPERVISE, Unread, answers, has_supervise_at, read_file,
};
use daemontools::spelling::is_one_edit_away;
use daemontools::sys::directory::for_each_name;
use daemontools::{Attempt, Fatal, report};
use nix::unistd::{chdir, geteuid};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::symlink_metadata;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    place: Vec<u8>,
    what: Vec<u8>,
    cure: String,
}

impl Finding {
    fn new(place: &[&[u8]], what: impl AsRef<[u8]>, cure: impl Into<String>) -> Finding {
        Finding { place: place.concat(), what: what.as_ref().to_vec(), cure: cure.into() }
    }

    fn unreadable(place: &[&[u8]], why: &str) -> Finding {
        Finding::new(place, format!("unable to read it: {why}"), "check it as root")
    }

    fn silent(place: &[&[u8]]) -> Finding {
        Finding::new(place, SILENT, "look at the server of its mount")
    }

    /// The finding as one line.
    fn line(&self) -> String {
        format!("{}: {}: {}\n", shown(&self.place), shown(&self.what), shown(self.cure.as_bytes()))
    }
}

/// Checks the services that are meant, or all entries of the scan directory if no name is given, and prints what it finds.
/// A path needs no scan directory.
///
/// # Errors
/// A name means no service, there is no scan directory, or it cannot be read; the answer cannot be written.
pub fn check(services: Result<Services, Fatal>, names: &[OsString]) -> Result<i32, Fatal> {
    let command = services.as_ref().map_or_else(|_| "svctl enable".into(), |services| services.command("enable"));
    let is_of_paths = !names.is_empty() && names.iter().all(|name| is_path(name));
    let (chosen, mut findings) = match &services {
        Ok(services) => chosen(services, names)?,
        Err(_) if is_of_paths => {
            let missing = |name: &OsString| Fatal::new(PERMANENT, &[b"no directory ", name.as_bytes()]);
            let service = |name: &OsString| Service::at_path(name)?.ok_or_else(|| missing(name));
            (names.iter().map(service).collect::<Result<Vec<_>, Fatal>>()?, Vec::new())
        }
        Err(_) => return services.map(|_| 0),
    };
    let mut lists = services.as_ref().ok().map(Lists::new);
    for service in &chosen {
        of_service(service, &command, &mut findings);
        let doubts = lists.as_mut().map(|lists| lists.doubts(service)).unwrap_or_default();
        findings.extend(doubts.into_iter().map(|doubt| of_after(service, doubt)));
    }
    let lines: String = findings.iter().map(Finding::line).collect();
    match (findings.is_empty(), chosen.len()) {
        (false, _) => write(lines.as_bytes())?,
        (true, 1) => write(b"1 service: nothing is wrong\n")?,
        (true, count) => write(format!("{count} services: nothing is wrong\n").as_bytes())?,
    }
    // That is nothing wrong with a service.
    let no_svscan = services.as_ref().ok().filter(|_| !is_of_paths).and_then(no_svscan_though_meant);
    no_svscan.iter().for_each(|words| report::warning(&[words.as_bytes()]));
    Ok(if findings.is_empty() { 0 } else { FAILED })
}

/// The services to check, and what is wrong with entries of the scan directory. An entry that is no service is checked too
/// if it is named.
fn chosen(services: &Services, names: &[OsString]) -> Result<(Vec<Service>, Vec<Finding>), Fatal> {
    let entries = entries(services)?;
    let mut findings = Vec::new();
    let (chosen, mut missing) = (services.choose(names)?.0, Vec::new());
    for name in names {
        let (found, why) = services.choose(std::slice::from_ref(name))?;
        match entries.contains(name) {
            false if found.is_empty() => missing.extend(why),
            true if found.is_empty() => findings.extend(ignored(services, name)),
            false | true => {}
        }
    }
    if !missing.is_empty() {
        return Err(Fatal::new(PERMANENT, &[&missing.join(&b"; "[..])]));
    }
    if names.is_empty() {
        findings.extend(entries.iter().filter_map(|name| ignored(services, name)));
    }
    findings.extend(twins(services, &chosen)?);
    Ok((chosen, findings))
}

/// All names in the scan directory, in their order.
fn entries(services: &Services) -> Result<BTreeSet<OsString>, Fatal> {
    let mut names = BTreeSet::new();
    let visit = |name: &[u8]| {
        names.insert(OsStr::from_bytes(name).to_os_string());
        ControlFlow::Continue(())
    };
    for_each_name(services.directory(), visit).unable_to("read directory", services.directory())?;
    Ok(names)
}

/// Why svscan ignores an entry that was probably meant for a service.
fn ignored(services: &Services, name: &OsStr) -> Option<Finding> {
    let entry = services.named(name);
    if entry.reach == Reach::Hangs {
        return None;
    }
    let path = entry.path;
    let place: &[&[u8]] = &[name.as_bytes()];
    if name.as_bytes().starts_with(b".") {
        let words = "svscan ignores names that begin with a dot";
        return path.join(RUN).exists().then(|| Finding::new(place, words, "rename it when it is ready to run"));
    }
    if path.is_dir() {
        return None;
    }
    if !path.is_symlink() || path.exists() {
        return Some(Finding::new(place, "it is no directory, so svscan ignores it", "move it to another place"));
    }
    let target = std::fs::read_link(&path).unwrap_or_default();
    let words = [b"it is a link to nothing: ", target.as_os_str().as_bytes()].concat();
    Some(Finding::new(place, words, "make that directory, or remove the link"))
}

/// Chosen services that another entry of the scan directory leads to, too: two supervises would have one directory.
fn twins(services: &Services, chosen: &[Service]) -> Result<Vec<Finding>, Fatal> {
    let directories = services.directories()?;
    let mut findings = Vec::new();
    let is_entry = |service: &&Service| services.named(&service.name) == **service && service.reach == Reach::Answers;
    for service in chosen.iter().filter(is_entry) {
        // The later one of two entries is said to be the second.
        let first = directories.leading_to(&service.path)?.next().filter(|first| *first != service.name);
        findings.extend(first.map(|first| {
            let words = [b"it is the same directory as ", first.as_bytes()].concat();
            Finding::new(&[service.name.as_bytes()], words, "remove one of the two entries")
        }));
    }
    Ok(findings)
}

/// Checks the directory of a service, and that of its logger.
fn of_service(service: &Service, enable: &str, findings: &mut Vec<Finding>) {
    if service.reach == Reach::Hangs {
        return findings.push(Finding::silent(&[service.name.as_bytes()]));
    }
    of_directory(service, findings);
    findings.extend(of_down(service, enable));
    findings.extend(of_supervise(service));
    let logger = logger_of(service);
    let name = logger.name.as_bytes();
    if logger.path.is_dir() {
        of_directory(&logger, findings);
        findings.extend(of_down(&logger, enable));
        findings.extend(of_supervise(&logger));
    } else if !interpreter::answers(&logger.path) {
        findings.push(Finding::silent(&[name]));
    } else if let Ok(found) = obstacle(&logger.path) {
        // A logger that is a program is run by the supervise of its service.
        findings.extend(found.map(|found| match is_plain_file(&logger.path) {
            true => Finding::new(&[name], found.what, "make it a directory with a run, or a program (chmod +x)"),
            false => of_program(&[name], found),
        }));
    }
    findings.extend(faults(service).into_iter().map(|fault| {
        let place: &[&[u8]] = &[service.name.as_bytes(), b"/", fault.file.as_os_str().as_bytes()];
        Finding::new(place, fault.what, fault.cure)
    }));
}

/// Whether this is a file that no account may execute. It was perhaps never meant for a program.
fn is_plain_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o111 == 0)
}

/// What keeps a supervise from taking charge of a service that has none. Whether it may write there, only the account as
/// which it runs can tell: that is root, or the owner of the directory.
fn of_supervise(service: &Service) -> Option<Finding> {
    let is_account =
        geteuid().is_root() || symlink_metadata(&service.path).is_ok_and(|at| at.uid() == geteuid().as_raw());
    if !is_account || has_supervise_at(&service.path) != Ok(false) {
        return None;
    }
    let (what, cure) = unsupervised::fault(&service.path)?;
    Some(Finding::new(&[service.name.as_bytes(), b"/", SUPERVISE.as_bytes()], what, cure))
}

/// Checks everything in one directory, which becomes the current one: a relative interpreter begins there.
fn of_directory(service: &Service, findings: &mut Vec<Finding>) {
    let name = service.name.as_bytes();
    if let Err(errno) = chdir(&service.path) {
        return findings.push(Finding::new(
            &[name],
            format!("unable to enter it: {}", reason(errno)),
            "check it as root",
        ));
    }
    let names = match names_here() {
        Ok(names) => names,
        Err(errno) => return findings.push(Finding::unreadable(&[name], reason(errno))),
    };
    findings.extend(of_run(name, &names));
    findings.extend(files(Kind::Program).filter_map(|program| {
        let place: &[&[u8]] = &[name, b"/", program.as_bytes()];
        if !interpreter::answers(Path::new(program)) {
            return Some(Finding::silent(place));
        }
        match obstacle(Path::new(program)) {
            Ok(found) => found.map(|found| of_program(place, found)),
            Err(unread) if unread.is_missing() => None,
            Err(unread) => Some(Finding::unreadable(place, unread.reason())),
        }
    }));
    findings.extend(files(Kind::Value).filter_map(|file| of_setting(name, file)));
    findings.extend(names.iter().filter_map(|file| of_misspelt(name, file, &names)));
}

/// What is wrong with the file `after` of a service.
fn of_after(service: &Service, doubt: Doubt) -> Finding {
    let place: &[&[u8]] = &[service.name.as_bytes(), b"/", AFTER.as_bytes()];
    match doubt {
        Doubt::Unread(Unread::System(errno)) => Finding::unreadable(place, reason(errno)),
        Doubt::Unread(unread) => Finding::new(place, unread.reason(), "correct it, or svscan ignores it"),
        Doubt::TooMany(count) => {
            let words = format!("it has {count} names, and only the first {MOST_NAMES} count");
            Finding::new(place, words, "let the service come after fewer services")
        }
        Doubt::Unknown(name) => {
            let words = [b"no service ", name.as_bytes(), b", so svscan ignores the name"].concat();
            Finding::new(place, words, "correct it, or remove the name")
        }
        Doubt::Circle(way) => {
            let names: Vec<&[u8]> = way.iter().map(|name| name.as_bytes()).collect();
            let words = [b"it goes in a circle (", &names.join(&b", "[..])[..], b"), so svscan ignores a part of it"];
            Finding::new(place, words.concat(), "remove one of the names")
        }
    }
}

/// A file `down`, with the command that removes it.
fn of_down(service: &Service, enable: &str) -> Option<Finding> {
    symlink_metadata(service.path.join(DOWN)).ok()?;
    let name = service.name.as_bytes();
    let cure = format!("{enable} {}", quoted(&shown(name)));
    Some(Finding::new(&[name, b"/", DOWN.as_bytes()], "the service is not started by itself", cure))
}

fn of_program(place: &[&[u8]], found: Obstacle) -> Finding {
    Finding::new(place, found.what, found.cure)
}

/// Checks `run`, without which nothing works.
fn of_run(name: &[u8], names: &[Vec<u8>]) -> Option<Finding> {
    let place: &[&[u8]] = &[name, b"/", RUN.as_bytes()];
    if !interpreter::answers(Path::new(RUN)) {
        return Some(Finding::silent(place));
    }
    match obstacle(Path::new(RUN)) {
        Ok(found) => found.map(|found| of_program(place, found)),
        // A state needs none.
        Err(unread) if unread.is_missing() && names.iter().any(|name| name == ABSTRACT.as_bytes()) => None,
        Err(unread) if unread.is_missing() => Some(Finding::new(place, "it is missing", cure_of_missing(names))),
        Err(unread) => Some(Finding::unreadable(place, unread.reason())),
    }
}

/// What to do where `run` is missing from among these files.
fn cure_of_missing(names: &[Vec<u8>]) -> String {
    match names.iter().find(|name| is_one_edit_away(name, RUN.as_bytes())) {
        Some(near) => format!("rename {}", String::from_utf8_lossy(near)),
        None => "write a script that executes the program in the foreground".into(),
    }
}

/// What to do about the `run` that is missing from the current directory.
pub fn cure_of_missing_run() -> String {
    cure_of_missing(&names_here().unwrap_or_default())
}

/// The names in the current directory, in their order.
fn names_here() -> nix::Result<Vec<Vec<u8>>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    let visit = |name: &[u8]| {
        names.push(name.to_vec());
        ControlFlow::Continue(())
    };
    for_each_name(".", visit)?;
    names.sort();
    Ok(names)
}

/// Checks the value of a setting, as supervise would read it.
fn of_setting(name: &[u8], file: &'static str) -> Option<Finding> {
    let place: &[&[u8]] = &[name, b"/", file.as_bytes()];
    let without_effect = |why: &str| Some(Finding::new(place, why, "correct it, or supervise ignores it"));
    if !answers(Path::new(file)) {
        return Some(Finding::silent(place));
    }
    match read_file(Path::new(file), LONGEST) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => match Policy::default().set(file, &text) {
                Err(why) => without_effect(why),
                Ok(()) => brief_time(file, value(&text)).map(|(what, cure)| Finding::new(place, what, cure)),
            },
            Err(_) => without_effect("not text"),
        },
        Err(unread) if unread.is_missing() => None,
        Err(unread @ (Unread::WrongKind | Unread::TooLong)) => without_effect(unread.reason()),
        Err(unread @ Unread::System(_)) => Some(Finding::unreadable(place, unread.reason())),
    }
}

/// What to say of a time that was probably meant in seconds: a number alone is in milliseconds, as in s6.
fn brief_time(file: &str, value: &str) -> Option<(String, String)> {
    let words = value.split_whitespace();
    let is_time = |number: &usize| match file {
        _ if file.starts_with("timeout-") => true,
        "watchdog" | "restart-delay" => true,
        // COUNT in TIME
        "restart-limit" => *number == 2,
        _ => false,
    };
    let times = words.enumerate().filter(|(number, _)| is_time(number));
    let is_brief = |word: &&str| word.parse().is_ok_and(|number: u64| (1..1000).contains(&number));
    let time = times.map(|(_, word)| word).find(is_brief)?;
    Some((format!("{time} means {time} milliseconds"), format!("write {time}s for seconds, or {time}ms")))
}

/// The settings of a service of which [`check`] has something to say.
pub fn doubtful_settings(service: &Service) -> Vec<String> {
    let Ok(names) = chdir(&service.path).and_then(|()| names_here()) else { return Vec::new() };
    let settings = files(Kind::Value).filter(|file| of_setting(b"", file).is_some()).map(str::to_string);
    let misspelt = names.iter().filter(|file| of_misspelt(b"", file, &names).is_some()).map(|file| shown(file));
    settings.chain(misspelt).collect()
}

/// Checks whether a file was probably meant for a setting that is not there.
fn of_misspelt(name: &[u8], file: &[u8], names: &[Vec<u8>]) -> Option<Finding> {
    let meant = meant_by(file).filter(|meant| names.iter().all(|known| known != meant.as_bytes()))?;
    let is_file = symlink_metadata(OsStr::from_bytes(file)).is_ok_and(|found| !found.is_dir());
    let place: &[&[u8]] = &[name, b"/", file];
    is_file.then(|| Finding::new(place, "it is no setting, so supervise ignores it", format!("did you mean {meant}?")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_less_than_a_second_without_a_unit_is_doubted() {
        for (file, value, doubted) in [
            ("timeout-kill", "5", true),
            ("timeout-kill", "0", false),
            ("timeout-kill", "5s", false),
            ("timeout-kill", "5000", false),
            ("restart-delay", "1 60", true),
            ("restart-delay", "1s 60s", false),
            ("watchdog", "30", true),
            ("restart-limit", "5 in 60", true),
            ("restart-limit", "5 in 60s", false),
            ("notification-fd", "3", false),
            ("success-codes", "1 2", false),
            ("max-death-tally", "16", false),
        ] {
            assert_eq!(brief_time(file, value).is_some(), doubted, "{file} {value}");
        }
    }
}
