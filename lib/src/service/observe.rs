//! Observing services: woken by what happens, as long as the kernel lets us.
//!
//! A supervise renames `supervise/status` and `supervise/state` into place at each change. That it has gone is told by
//! `supervise/ok`, which has no reader then. There are three means of being woken, tried in this order:
//!
//! 1. **inotify** tells of each change, of any supervise, also of the original's, to everybody who may look; and of another
//!    supervise that comes, as that opens `ok`. But a user has only a limited number of instances of it (128 unless
//!    `fs.inotify.max_user_instances` says otherwise) and of watches: three hundred programs that wait, each for one
//!    service, are too many.
//! 2. **A FIFO in `supervise/event`** ([`Listener`]), of which there may be any number. Only our supervise tells
//!    there, only of the service, not of a logger that it runs too, and only the owner of the service may listen. What is
//!    not told there is seen once a second.
//! 3. **Looking again** five times a second, where there is neither.
//!
//! Whatever the means, watching begins before the first look, and each look takes in all that was written before it, so
//! that nothing is missed between the two. Only what is seen counts, not what is told: a means that tells too much, too
//! little or too late makes us look too often, or later, but never wrong.

mod listener;

use super::{OK, Observation, Part, Place, Presence, SUPERVISE, Snapshot, hold_ok};
use crate::report::{Attempt, Unable};
use crate::sys::events::for_each_event;
use crate::sys::{self, open_files};
use listener::Listener;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::stat::Mode;
use nix::unistd::fchdir;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a supervise may be missing: svscan replaces one that was killed, the original's svscan within five seconds.
const GRACE: Duration = Duration::from_secs(6);

/// How often a service is looked at whose transitions a listener is told.
pub const LISTENING: Duration = Duration::from_secs(1);
/// How often a service is looked at of which nothing is told.
const POLLING: Duration = Duration::from_millis(200);

/// The names in `supervise/` whose change may be a change of the service.
const TELLING: [&str; 3] = ["status", "state", "ok"];

const NOTHING: PollFlags = PollFlags::empty();

/// Services that are observed, each by the number that [`Observer::add`] gives.
pub struct Observer {
    /// `None`: the system has no more instances for us.
    inotify: Option<Inotify>,
    part: Part,
    subjects: Vec<Subject>,
}

impl Observer {
    /// Observes one part of each service that is added.
    pub fn new(part: Part) -> Observer {
        // A few descriptors a service: as many services as there may be.
        open_files::raise();
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        Observer { inotify, part, subjects: Vec::new() }
    }

    /// Observes a service from now on: it counts as changed. Returns its number; the first is 0.
    ///
    /// # Errors
    /// There is no such directory for us.
    pub fn add(&mut self, name: OsString) -> Result<usize, Unable> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(name.as_os_str(), flags, Mode::empty()).unable_to("chdir to", &name)?;
        self.subjects.push(Subject {
            name,
            directory,
            ok: None,
            presence: Presence::Away,
            patience: None,
            watches: Vec::new(),
            awaited: None,
            listener: None,
            look_again: None,
            has_changed: true,
            is_dismissed: false,
        });
        Ok(self.subjects.len() - 1)
    }

    /// The name that a service was added by.
    pub fn name(&self, number: usize) -> &OsStr {
        &self.subjects[number].name
    }

    /// The services that may have changed since they were looked at.
    pub fn changed(&self) -> Vec<usize> {
        let changed = |(number, subject): (usize, &Subject)| subject.is_of_interest_and_changed().then_some(number);
        self.subjects.iter().enumerate().filter_map(changed).collect()
    }

    /// Looks at a service. The current directory is the service's afterwards.
    ///
    /// # Errors
    /// The service cannot be watched any more.
    pub fn look(&mut self, number: usize) -> Result<Observation, Unable> {
        let subject = &mut self.subjects[number];
        let observation = subject.look(self.inotify.as_ref(), self.part)?;
        subject.has_changed = false;
        Ok(observation)
    }

    /// Counts a service as changed after this time at the latest.
    pub fn look_again_within(&mut self, number: usize, time: Duration) {
        let soon = Instant::now() + time;
        let look_again = &mut self.subjects[number].look_again;
        *look_again = Some(look_again.map_or(soon, |look_again| look_again.min(soon)));
    }

    /// Stops observing a service.
    pub fn dismiss(&mut self, number: usize) {
        self.subjects[number].is_dismissed = true;
    }

    /// Waits until one of the services may have changed, or until the deadline.
    ///
    /// # Errors
    /// The kernel does not let us wait.
    pub fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Unable> {
        let open = || self.subjects.iter().enumerate().filter(|(_, subject)| !subject.is_dismissed);
        let wake = open().filter_map(|(_, subject)| subject.wake()).chain(deadline).min();
        let mut fds: Vec<PollFd> = Vec::new();
        let mut whose = Vec::new();
        for (number, subject) in open() {
            // The kernel reports the error of `ok`, which is all that counts of it, without being asked.
            fds.extend(subject.ok.as_ref().map(|ok| PollFd::new(ok.as_fd(), NOTHING)));
            fds.extend(subject.listener.as_ref().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
            whose.resize(fds.len(), number);
        }
        fds.extend(self.inotify.as_ref().map(|inotify| PollFd::new(inotify.as_fd(), PollFlags::POLLIN)));
        let left = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        match poll(&mut fds, sys::timeout(left)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Unable::new("wait", "", errno)),
        }
        let has_happened: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        for (number, _) in whose.into_iter().zip(has_happened).filter(|(_, has_happened)| *has_happened) {
            self.subjects[number].has_changed = true;
            self.subjects[number].listener.iter().for_each(Listener::drain);
        }
        let now = Instant::now();
        for subject in &mut self.subjects {
            subject.has_changed |= subject.wake().is_some_and(|wake| wake <= now);
        }
        let subjects = &mut self.subjects;
        let told = self.inotify.as_ref().map(|inotify| for_each_event(inotify, |event| take_in(subjects, &event)));
        told.unwrap_or(Ok(())).unable_to("wait", "")
    }
}

fn take_in(subjects: &mut [Subject], event: &InotifyEvent) {
    let name = event.name.as_ref();
    let telling = name.is_none_or(|name| TELLING.iter().any(|telling| name == telling));
    let lost = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
    for subject in subjects.iter_mut().filter(|subject| lost || subject.watches.contains(&event.wd)) {
        subject.has_changed |= telling || name == subject.awaited.as_ref();
    }
}

/// A service that is observed.
struct Subject {
    name: OsString,
    directory: OwnedFd,
    /// Held while a supervise is in charge.
    ok: Option<OwnedFd>,
    presence: Presence,
    /// Until when a supervise that is missing may come.
    patience: Option<Instant>,
    watches: Vec<WatchDescriptor>,
    /// What `supervise/` is called.
    awaited: Option<OsString>,
    /// Where inotify does not tell.
    listener: Option<Listener>,
    /// When to look though nothing was told.
    look_again: Option<Instant>,
    /// Something may have happened since the last look.
    has_changed: bool,
    is_dismissed: bool,
}

impl Subject {
    fn is_of_interest_and_changed(&self) -> bool {
        self.has_changed && !self.is_dismissed
    }

    /// Watches first, then looks who is in charge, then at what is written: in this order nothing is missed.
    fn look(&mut self, inotify: Option<&Inotify>, part: Part) -> Result<Observation, Unable> {
        fchdir(&self.directory).unable_to("chdir to", &self.name)?;
        self.look_again = None;
        let inotify = match inotify {
            Some(inotify) if self.watch(inotify)? => Some(inotify),
            Some(_) | None => {
                self.listen(part);
                None
            }
        };
        let presence = self.presence(inotify)?;
        let seen = Snapshot::take().ok();
        let seen = match part {
            Part::Service => seen,
            Part::Logger => seen.and_then(Snapshot::of_logger),
        };
        Ok(Observation { presence, seen })
    }

    /// Takes the second means of being woken, or the third.
    fn listen(&mut self, part: Part) {
        self.watches.clear();
        // Of the directory that is there now.
        self.listener = self.listener.take().filter(Listener::is_in_place).or_else(|| match part {
            Part::Service => Listener::new().ok(),
            Part::Logger => None,
        });
        let patience = if self.listener.is_some() && self.presence == Presence::Here { LISTENING } else { POLLING };
        self.look_again = Some(Instant::now() + patience);
    }

    /// Watches `supervise/`, anew each time, as that may be another directory now; before there is one, what it will be
    /// made in. False if the system has no more watches for us.
    fn watch(&mut self, inotify: &Inotify) -> Result<bool, Unable> {
        let changes = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY;
        let itself = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        let coming = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        let place = Place::here().map_err(|errno| self.unable("watch", SUPERVISE, errno))?;
        let watch = || inotify.add_watch(place.directory(), changes | itself);
        let added = match watch() {
            Err(Errno::ENOENT) => {
                let parent = inotify.add_watch(&parent(place.directory()), coming);
                // It may have come just before.
                watch().or(parent)
            }
            added => added,
        };
        self.awaited = place.directory().file_name().map(OsStr::to_os_string);
        match added {
            Ok(watch) => {
                self.watches = vec![watch];
                self.listener = None;
                Ok(true)
            }
            Err(Errno::ENOSPC | Errno::ENOMEM) => Ok(false),
            Err(errno) => Err(self.unable("watch", SUPERVISE, errno)),
        }
    }

    fn presence(&mut self, inotify: Option<&Inotify>) -> Result<Presence, Unable> {
        self.ok = self.hold()?;
        if let (None, Some(inotify)) = (&self.ok, inotify) {
            // Told when somebody opens it, as a supervise does.
            let opened = AddWatchFlags::IN_OPEN | AddWatchFlags::IN_ONESHOT;
            let ok = Place::here().and_then(|place| inotify.add_watch(&place.path(OK), opened));
            self.watches.extend(ok);
            self.ok = self.hold()?;
        }
        self.presence = match (&self.ok, self.patience) {
            (Some(_), _) => Presence::Here,
            (None, Some(patience)) if patience <= Instant::now() => Presence::Gone,
            (None, _) => Presence::Away,
        };
        self.patience = match self.presence {
            Presence::Here => None,
            Presence::Away | Presence::Gone => Some(self.patience.unwrap_or_else(|| Instant::now() + GRACE)),
        };
        Ok(self.presence)
    }

    fn hold(&self) -> Result<Option<OwnedFd>, Unable> {
        match hold_ok() {
            Ok(ok) => Ok(Some(ok)),
            Err(Errno::ENXIO | Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.unable("open", OK, errno)),
        }
    }

    fn unable(&self, verb: &'static str, file: &str, errno: Errno) -> Unable {
        let object = [self.name.as_bytes(), b"/", file.as_bytes()].concat();
        Unable::new(verb, OsStr::from_bytes(&object), errno)
    }

    /// When the service is to be looked at if nothing is told before: when it is too late for a supervise that is missing,
    /// or because nothing may be told.
    fn wake(&self) -> Option<Instant> {
        self.patience.filter(|_| self.presence == Presence::Away).into_iter().chain(self.look_again).min()
    }
}

fn parent(directory: &Path) -> PathBuf {
    match directory.parent() {
        Some(parent) if parent != Path::new("") => parent.into(),
        Some(_) | None => PathBuf::from("."),
    }
}
