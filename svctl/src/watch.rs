//! Watching services without polling: which are there, and how each is. `events` and `top` both live on it.
//!
//! 1. [`Watch::changes`] looks at each service that may have changed since the last call, at first at all of them.
//! 2. [`Watch::wait_beside`] sleeps until the kernel tells that something has changed: in `supervise/` of a service, or a name
//!    of which [`names`](crate::names) tells, so that services that appear and disappear are found too.
//!
//! A logger is a service of its own, `web/log`.

use crate::answer::Answer;
use crate::list::logger_of;
use crate::names::Names;
use crate::services::{Reach, Service, Services};
use daemontools::service::observe::{LISTENING, Observer};
use daemontools::service::view::View;
use daemontools::service::{Directory, LOG, Part};
use daemontools::{Attempt, Fatal, Unable};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::PollFlags;
use nix::sys::stat::Mode;
use nix::unistd::fchdir;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

/// What a look has found.
#[derive(Debug)]
pub enum Change {
    /// This is known of the service now. It may be what was known before.
    Seen(Service, Answer),
    /// The service is no longer there.
    Gone(Service),
}

/// The services that are watched.
pub struct Watch<'a> {
    services: &'a Services,
    words: &'a [OsString],
    /// The directory in which svctl was started. A name that is a relative path is one in this directory.
    origin: OwnedFd,
    names: Names,
    names_have_changed: bool,
    observer: Observer,
    /// The services by the numbers that the observer gave them.
    directories: BTreeMap<usize, WatchedDirectory>,
    /// The services that are left out because they lie on a mount that does not answer.
    hanging: Vec<Service>,
}

/// One service directory that is watched.
struct WatchedDirectory {
    service: Service,
    identity: Option<Directory>,
}

impl<'a> Watch<'a> {
    /// Watches the services that these words mean, and their loggers; without a word, all of them.
    ///
    /// # Errors
    /// The current directory cannot be opened.
    pub fn new(services: &'a Services, words: &'a [OsString]) -> Result<Watch<'a>, Fatal> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let origin = open(".", flags, Mode::empty()).unable_to("open current directory", "")?;
        Ok(Watch {
            services,
            words,
            origin,
            names: Names::new(services.directory()),
            names_have_changed: true,
            observer: Observer::new(Part::Service),
            directories: BTreeMap::new(),
            hanging: Vec::new(),
        })
    }

    /// Looks at the services that may have changed since the last call. Those that are gone are told first. Afterwards
    /// another directory may be the current one.
    ///
    /// # Errors
    /// The scan directory cannot be read, or a service cannot be watched.
    pub fn changes(&mut self) -> Result<Vec<Change>, Fatal> {
        let mut changes = Vec::new();
        if std::mem::take(&mut self.names_have_changed) {
            fchdir(&self.origin).unable_to("set directory", "")?;
            let chosen = self.chosen()?;
            // Watched first, so that nothing is missed between the two.
            self.names.watch(&chosen);
            changes.extend(self.set_services(chosen)?);
        }
        changes.extend(self.look());
        Ok(changes)
    }

    /// The services that are not watched, because they lie on a mount that does not answer.
    pub fn hanging(&self) -> &[Service] {
        &self.hanging
    }

    /// Has the next call of [`changes`](Watch::changes) find out anew which services there are.
    pub fn look_for_services(&mut self) {
        self.names_have_changed = true;
    }

    /// Waits until a service may have changed, until one of `others` is ready as poll(2) means it, or until the deadline.
    /// Returns what each of `others` is ready for.
    ///
    /// # Errors
    /// As for [`Observer::wait_beside`].
    pub fn wait_beside(
        &mut self,
        deadline: Option<Instant>,
        others: &[(BorrowedFd, PollFlags)],
    ) -> Result<Vec<PollFlags>, Unable> {
        let mut all = others.to_vec();
        all.extend(self.names.fd().map(|fd| (fd, PollFlags::POLLIN)));
        let deadline = deadline.into_iter().chain(self.names.look_again()).min();
        let mut ready = self.observer.wait_beside(deadline, &all)?;
        ready.truncate(others.len());
        self.names_have_changed |= self.names.have_changed();
        Ok(ready)
    }

    /// The services to watch. Without a scan directory, which may be made anew, there is none. What hangs must not be
    /// touched.
    fn chosen(&mut self) -> Result<Vec<Service>, Fatal> {
        self.services.refresh();
        match self.services.choose(self.words) {
            Ok((chosen, _)) => {
                let (answering, hanging) = chosen.into_iter().partition(|service| service.reach == Reach::Answers);
                self.hanging = hanging;
                Ok(answering)
            }
            Err(_) if !self.services.directory().is_dir() => Ok(Vec::new()),
            Err(fatal) => Err(fatal),
        }
    }

    /// Watches these services and their loggers from now on, and no others.
    fn set_services(&mut self, chosen: Vec<Service>) -> Result<Vec<Change>, Fatal> {
        let loggers: Vec<Service> =
            chosen.iter().filter(|service| service.path.join(LOG).is_dir()).map(logger_of).collect();
        let mut wanted = BTreeMap::new();
        for service in chosen.into_iter().chain(loggers) {
            wanted.insert(service.name.clone(), (Directory::at(&service.path).ok(), service));
        }
        let mut gone = Vec::new();
        let observer = &mut self.observer;
        self.directories.retain(|number, directory| {
            // A directory that has replaced another one is another service.
            let is_same = |(identity, service): &(Option<Directory>, Service)| {
                *service == directory.service && *identity == directory.identity
            };
            let stays = wanted.get(&directory.service.name).is_some_and(is_same);
            if stays {
                wanted.remove(&directory.service.name);
            } else {
                observer.dismiss(*number);
                gone.push(Change::Gone(directory.service.clone()));
            }
            stays
        });
        for (identity, service) in wanted.into_values() {
            match self.observer.add(service.path.clone().into_os_string()) {
                Ok(number) => {
                    self.directories.insert(number, WatchedDirectory { service, identity });
                }
                // It was removed just now.
                Err(unable) if unable.errno == Errno::ENOENT => {}
                Err(unable) => return Err(unable.into()),
            }
        }
        Ok(gone)
    }

    /// Looks at the services that may have changed.
    fn look(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for number in self.observer.changed() {
            let Some(directory) = self.directories.get(&number) else { continue };
            // The observer changes into the directory, so that a service that was renamed is still the same.
            let reach = self.services.reach(&directory.service.path);
            let answer = match (reach == Reach::Answers).then(|| self.observer.look(number)) {
                None => {
                    self.observer.look_again_within(number, LISTENING);
                    Answer::of(&Service { reach, ..directory.service.clone() })
                }
                Some(Ok(_)) => Answer::here(),
                Some(Err(unable)) => {
                    self.observer.dismiss(number);
                    Answer::Unknown(String::from_utf8_lossy(&unable.to_bytes()).into_owned())
                }
            };
            if let Some(time) = answer.view().and_then(View::changes_within) {
                self.observer.look_again_within(number, time);
            }
            changes.push(Change::Seen(directory.service.clone(), answer));
        }
        changes
    }
}
