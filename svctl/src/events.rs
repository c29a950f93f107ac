//! A line for each change of a service, as it happens.
//!
//! 1. First there is one line about how each service is.
//! 2. Then svctl sleeps until the kernel tells that something has changed: in `supervise/` of a service, or a name of which
//!    [`names`](crate::names) tells. Services and loggers that appear and disappear are told too.
//! 3. It ends with a signal, or when the reader of its output is gone.
//!
//! The lines of one look are in the order of time. [`transition`] finds also what has begun and ended between two looks.
//! A logger is a service of its own, `web/log`.

use crate::Context;
use crate::list::logger_of;
use crate::names::Names;
use crate::paint::{Mark, Paint};
use crate::row::{Known, shown};
use crate::services::{Reach, Service, Services};
use daemontools::service::observe::{LISTENING, Observer};
use daemontools::service::view::transition::{self, Condition, Transition};
use daemontools::service::view::{View, document, local_time};
use daemontools::service::{Directory, LOG, Part};
use daemontools::tai64::{self, Tai64N};
use daemontools::terminal::visible_json;
use daemontools::{Attempt, Fatal, Unable, sys};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::PollFlags;
use nix::sys::stat::Mode;
use nix::unistd::fchdir;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Tells what happens to the services until a signal ends svctl, or its output has no reader.
///
/// # Errors
/// A word means no service; the scan directory cannot be read; the output cannot be written.
pub fn events(context: &Context, names: &[OsString]) -> Result<i32, Fatal> {
    let services = &context.services;
    let form = if context.shape.json { Form::Json } else { Form::Line(context.paint) };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let origin = open(".", flags, Mode::empty()).unable_to("open current directory", "")?;
    services.choose_existing(names)?;
    let mut watched = Watched::new(services);
    let mut directory = Names::new(services.directory());
    let mut names_changed = true;
    loop {
        let mut told = Vec::new();
        if names_changed {
            // A name that is a relative path is one in the directory in which svctl was started.
            fchdir(&origin).unable_to("set directory", "")?;
            let chosen = chosen(services, names)?;
            // Watched first, so that nothing is missed between the two.
            directory.watch(&chosen);
            told.extend(watched.set_services(chosen)?);
        }
        told.extend(watched.look());
        told.sort_by_key(|told| (told.change.time.0.0, told.change.time.1));
        let text: String = told.iter().map(|told| form.of(told)).collect();
        match sys::write_all(sys::stdout(), text.as_bytes()) {
            Err(Errno::EPIPE) => return Ok(0),
            written => written.unable_to("write output", "")?,
        }
        if watched.wait(&directory)? == Woken::Unread {
            return Ok(0);
        }
        names_changed = directory.have_changed();
    }
}

/// The services to watch. Without a scan directory, which may be made anew, there is none. What hangs must not be touched.
fn chosen(services: &Services, names: &[OsString]) -> Result<Vec<Service>, Fatal> {
    services.refresh();
    match services.choose(names) {
        Ok((chosen, _)) => Ok(chosen.into_iter().filter(|service| service.reach == Reach::Answers).collect()),
        Err(_) if !services.directory().is_dir() => Ok(Vec::new()),
        Err(fatal) => Err(fatal),
    }
}

/// A change that is to be told: the service, the state before, and the change.
struct Told {
    name: OsString,
    before: Option<Condition>,
    change: Transition,
}

/// Why the wait is over.
#[derive(PartialEq, Eq)]
enum Woken {
    /// Something may have changed.
    Changed,
    /// The reader of the output is gone.
    Unread,
}

/// All services that are watched.
struct Watched<'a> {
    services: &'a Services,
    observer: Observer,
    /// The services by the numbers that the observer gave them.
    directories: BTreeMap<usize, WatchedDirectory>,
}

/// One service directory that is watched.
struct WatchedDirectory {
    service: Service,
    identity: Option<Directory>,
    own: History,
    /// The logger that the same supervise runs.
    logger: History,
}

/// What is known of a service since the last look.
struct History {
    name: OsString,
    condition: Option<Condition>,
    /// The last look that a supervise has answered.
    seen: Option<View>,
}

impl History {
    fn new(name: OsString) -> History {
        History { name, condition: None, seen: None }
    }

    /// Takes in what is seen now, and tells what is new.
    fn observe(&mut self, known: Known) -> Vec<Told> {
        let condition = known.condition();
        let changes = match known {
            Known::Told(view) => {
                let mut changes = transition::since(self.seen.as_ref(), &view);
                // A supervise is there again, and all is as before.
                if changes.is_empty() && self.condition != Some(condition) {
                    changes.extend(transition::since(None, &view));
                    changes.iter_mut().for_each(|change| change.time = view.now.label);
                }
                self.seen = Some(*view);
                changes
            }
            Known::Unsupervised(why) | Known::Unknown(why) if self.condition != Some(condition) => {
                vec![Transition::bare(tai64::now(), condition, Some(why))]
            }
            Known::Unsupervised(_) | Known::Unknown(_) => Vec::new(),
        };
        changes.into_iter().map(|change| self.told(change)).collect()
    }

    fn told(&mut self, change: Transition) -> Told {
        Told { name: self.name.clone(), before: self.condition.replace(change.condition), change }
    }

    fn end(&mut self) -> Option<Told> {
        self.condition.is_some().then(|| self.told(Transition::bare(tai64::now(), Condition::Removed, None)))
    }
}

impl<'a> Watched<'a> {
    fn new(services: &'a Services) -> Watched<'a> {
        Watched { services, observer: Observer::new(Part::Service), directories: BTreeMap::new() }
    }

    /// Watches these services and their loggers from now on, and no others.
    fn set_services(&mut self, chosen: Vec<Service>) -> Result<Vec<Told>, Fatal> {
        let loggers: Vec<Service> =
            chosen.iter().filter(|service| service.path.join(LOG).is_dir()).map(logger_of).collect();
        let mut wanted = BTreeMap::new();
        for service in chosen.into_iter().chain(loggers) {
            wanted.insert(service.name.clone(), (Directory::at(&service.path).ok(), service));
        }
        let mut told = Vec::new();
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
                told.extend(directory.own.end());
                told.extend(directory.logger.end());
            }
            stays
        });
        for (identity, service) in wanted.into_values() {
            match self.observer.add(service.path.clone().into_os_string()) {
                Ok(number) => {
                    let (own, logger) = (History::new(service.name.clone()), History::new(logger_of(&service).name));
                    self.directories.insert(number, WatchedDirectory { service, identity, own, logger });
                }
                // It was removed just now.
                Err(unable) if unable.errno == Errno::ENOENT => {}
                Err(unable) => return Err(unable.into()),
            }
        }
        Ok(told)
    }

    /// Looks at the services that may have changed.
    fn look(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        for number in self.observer.changed() {
            let Some(directory) = self.directories.get_mut(&number) else { continue };
            // The observer changes into the directory, so that a service that was renamed is still the same.
            let reach = self.services.reach(&directory.service.path);
            let known = match (reach == Reach::Answers).then(|| self.observer.look(number)) {
                None => {
                    self.observer.look_again_within(number, LISTENING);
                    Known::of(&Service { reach, ..directory.service.clone() })
                }
                Some(Ok(_)) => Known::here(),
                Some(Err(unable)) => {
                    self.observer.dismiss(number);
                    Known::Unknown(String::from_utf8_lossy(&unable.to_bytes()).into_owned())
                }
            };
            if let Some(time) = known.view().and_then(View::changes_within) {
                self.observer.look_again_within(number, time);
            }
            told.extend(known.logger().into_iter().flat_map(|logger| directory.logger.observe(logger)));
            told.extend(directory.own.observe(known));
        }
        told
    }

    fn wait(&mut self, directory: &Names) -> Result<Woken, Unable> {
        let mut others = vec![(sys::stdout(), PollFlags::empty())];
        others.extend(directory.fd().map(|fd| (fd, PollFlags::POLLIN)));
        let ready = self.observer.wait_beside(directory.look_again(), &others)?;
        // A pipe without readers has an error; a socket whose other end is closed has hung up.
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        let is_unread = ready.first().is_some_and(|stdout| stdout.intersects(gone));
        Ok(if is_unread { Woken::Unread } else { Woken::Changed })
    }
}

/// How a change is written.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Line(Paint),
}

impl Form {
    fn of(self, told: &Told) -> String {
        match self {
            Form::Json => {
                let document = document::of_transition(&told.name, told.before, &told.change);
                format!("{}\n", visible_json(&document))
            }
            Form::Line(paint) => line(&told.name, &told.change, paint),
        }
    }
}

/// `2026-11-28 21:00:32.123 ↻ crash restarting: exited 3, again in 0.8s`
fn line(name: &OsStr, change: &Transition, paint: Paint) -> String {
    let mark = Mark::of(change.condition);
    let pid = change.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let reason = change.reason.as_ref().map(|reason| format!(": {}", shown(reason.as_bytes()))).unwrap_or_default();
    let forgotten = match change.forgotten {
        0 => String::new(),
        count => format!(" ({count} starts before that are forgotten)"),
    };
    let symbol = paint.in_color_of(mark, paint.symbol(mark));
    let (time, name, state) =
        (local(change.time), shown(name.as_bytes()), paint.in_color_of(mark, change.condition.word()));
    let ready = if change.ready == Some(false) { ", not ready" } else { "" };
    format!("{time} {symbol} {name} {state}{ready}{pid}{reason}{forgotten}\n")
}

/// Local time, to the millisecond.
fn local(label: Tai64N) -> String {
    format!("{}.{:03}", local_time(label), label.1.min(999_999_999) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service::view::State;
    use daemontools::tai64::Tai64;
    use nix::unistd::Pid;

    #[test]
    fn a_line_has_time_name_state_process_and_reason() {
        let paint = Paint { is_unicode: false, is_colored: false };
        let time = Tai64N(Tai64::from_unix(1_000_000_000), 123_456_789);
        let up = Transition {
            pid: Some(Pid::from_raw(7)),
            ready: Some(false),
            ..Transition::bare(time, Condition::Told(State::Up), None)
        };
        let ended = Transition {
            forgotten: 3,
            ..Transition::bare(time, Condition::Told(State::Restarting), Some("exited 3\x1b".into()))
        };
        for (change, expected) in [
            (up, ".123 * web up, not ready (pid 7)\n"),
            (ended, ".123 ~ web restarting: exited 3\\x1b (3 starts before that are forgotten)\n"),
            (Transition::bare(time, Condition::Removed, None), ".123 - web removed\n"),
        ] {
            let line = line(OsStr::new("web"), &change, paint);
            assert!(line.ends_with(expected) && line.starts_with("2001-09-0"), "{line}");
        }
    }
}
