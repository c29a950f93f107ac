//! The services that others are to be started after (see [`After`]): which of them are not ready, and what is wrong with
//! their lists.

use crate::answer::Answer;
use crate::services::{Reach, Service, Services};
use daemontools::service::{AFTER, After, MOST_NAMES, Unread, answers};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What is wrong with the list of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// It cannot be read.
    Unread(Unread),
    /// It contains more names than svscan takes.
    TooMany(usize),
    /// There is no such service.
    Unknown(OsString),
    /// The service comes after itself by way of these, from itself to itself.
    Circle(Vec<OsString>),
}

/// Whether a service is an entry of the scan directory: only for an entry svscan looks at `after`.
pub fn is_entry(services: &Services, service: &Service) -> bool {
    services.named(&service.name).path == service.path
}

/// The services in the list of a service that are not ready, for which svscan waits before it starts this one.
pub fn not_ready(services: &Services, service: &Service) -> Vec<Service> {
    let Ok(Some(After { names, .. })) = list(service) else { return Vec::new() };
    let others = names.into_iter().filter_map(|name| entry(services, &name));
    others.filter(|other| !is_ready(other)).collect()
}

/// A service that cannot report that it is ready counts as ready when its `run` has been executed.
fn is_ready(service: &Service) -> bool {
    let answer = Answer::of(service);
    answer.ready().unwrap_or_else(|| answer.is_up())
}

/// The list of a service, if its file can be touched.
fn list(service: &Service) -> Result<Option<After>, Unread> {
    let is_there = service.reach == Reach::Answers && answers(&service.path.join(AFTER));
    is_there.then(|| After::read(&service.path)).transpose()
}

/// The service of this name. svscan serves no name that begins with a dot, and no name has a slash.
fn entry(services: &Services, name: &OsStr) -> Option<Service> {
    let is_name = !name.as_bytes().contains(&b'/') && !name.as_bytes().starts_with(b".");
    let service = is_name.then(|| services.named(name))?;
    (service.reach == Reach::Hangs || service.path.is_dir()).then_some(service)
}

/// The lists of all services, each of which is read once.
#[derive(Debug)]
pub struct Lists<'a> {
    services: &'a Services,
    known: HashMap<OsString, Vec<OsString>>,
}

impl<'a> Lists<'a> {
    /// No list is read yet.
    pub fn new(services: &'a Services) -> Lists<'a> {
        Lists { services, known: HashMap::new() }
    }

    /// What is wrong with the list of a service.
    pub fn doubts(&mut self, service: &Service) -> Vec<Doubt> {
        let After { names, surplus } = match list(service) {
            _ if !is_entry(self.services, service) => return Vec::new(),
            Ok(after) => after.unwrap_or_default(),
            Err(unread) => return vec![Doubt::Unread(unread)],
        };
        let too_many = (surplus > 0).then_some(Doubt::TooMany(MOST_NAMES.saturating_add(surplus)));
        let unknown = names.into_iter().filter(|name| entry(self.services, name).is_none()).map(Doubt::Unknown);
        let circle = self.circle(&service.name).map(Doubt::Circle);
        too_many.into_iter().chain(unknown).chain(circle).collect()
    }

    /// The shortest way from a service back to itself.
    fn circle(&mut self, start: &OsStr) -> Option<Vec<OsString>> {
        // From each service, the one by which it was found first.
        let mut found: HashMap<OsString, OsString> = HashMap::new();
        let mut next = std::collections::VecDeque::from([start.to_os_string()]);
        while let Some(name) = next.pop_front() {
            for other in self.names(&name) {
                if other == start {
                    let mut way = vec![other, name];
                    while let Some(before) = way.last().and_then(|last| found.get(last)) {
                        way.push(before.clone());
                    }
                    way.reverse();
                    return Some(way);
                }
                if !found.contains_key(&other) {
                    found.insert(other.clone(), name.clone());
                    next.push_back(other);
                }
            }
        }
        None
    }

    /// The names in the list of the service of this name.
    fn names(&mut self, name: &OsStr) -> Vec<OsString> {
        if let Some(names) = self.known.get(name) {
            return names.clone();
        }
        let list = entry(self.services, name).and_then(|service| list(&service).ok().flatten());
        let names = list.unwrap_or_default().names;
        self.known.insert(name.to_os_string(), names.clone());
        names
    }
}
