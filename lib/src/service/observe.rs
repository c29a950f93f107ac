//! Observing services. The kernel wakes the observer when something changes, as long as it can.
//!
//! A supervise renames `supervise/status` and `supervise/state` into place at each change. When it has gone,
//! `supervise/ok` has no reader. An observer can be woken in three ways, tried in this order:
//!
//! 1. **inotify** reports each change by any supervise, including the original's, to every account that may read the
//!    directory. It also reports when another supervise comes, because that opens `ok`. But each user has only a
//!    limited number of inotify instances (128 unless `fs.inotify.max_user_instances` says otherwise) and of watches:
//!    three hundred programs that each wait for one service are too many.
//! 2. **A FIFO in `supervise/event`** ([`Listener`]), of which there may be any number. Only our supervise writes to
//!    it, and only about the service, not about a logger that it runs too; and only the owner of the service may
//!    listen. Changes that are not reported there are found by looking once a second.
//! 3. **Polling**: where neither is available, the observer looks five times a second.
//!
//! In all three ways, watching begins before the first look, and each look reads everything that was written before it,
//! so nothing is missed between the two. A report only causes a look, and only the look counts. So too many, too few or
//! late reports cause useless or late looks, but never a wrong answer.

mod listener;

use super::{OK, Observation, Part, Place, Presence, SUPERVISE, Snapshot, Unwritten, hold_ok, service_answers};
use crate::report::{Attempt, Unable, joined};
use crate::sys::inotify::for_each_event;
use crate::sys::{self, open_files};
use listener::Listener;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::stat::Mode;
use nix::unistd::fchdir;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a supervise may be missing. svscan replaces one that was killed, and the original's svscan does so within
/// five seconds.
const GRACE: Duration = Duration::from_secs(6);

/// How often the observer looks at a service with a listener.
pub const LISTENING: Duration = Duration::from_secs(1);
/// How often the observer looks at a service about which nothing is reported.
const POLLING: Duration = Duration::from_millis(200);

/// The names in `supervise/` whose change may be a change of the service.
const TELLING: [&str; 3] = ["status", "state", "ok"];

const NOTHING: PollFlags = PollFlags::empty();

/// The services that are observed. Each has the number that [`Observer::add`] returns.
pub struct Observer {
    /// `None` if the system gives us no inotify instance.
    inotify: Option<Inotify>,
    part: Part,
    subjects: Vec<Subject>,
    /// The numbers of services that were dismissed, for those that are added later.
    free: Vec<usize>,
}

impl Observer {
    /// Makes an observer of this part of each service that is added.
    pub fn new(part: Part) -> Observer {
        // Each service needs a few descriptors, and there may be many services.
        open_files::raise();
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        Observer { inotify, part, subjects: Vec::new(), free: Vec::new() }
    }

    /// Starts observing a service, and returns its number. The first is 0, the next one 1, and so on, as long as none was
    /// dismissed. The service counts as changed until the first look.
    ///
    /// # Errors
    /// The service directory does not exist, or we may not enter it. ETIMEDOUT: its file system does not answer.
    pub fn add(&mut self, name: OsString) -> Result<usize, Unable> {
        if !service_answers(Path::new(&name), &[SUPERVISE]) {
            return Err(Unable::new("chdir to", &name, Errno::ETIMEDOUT));
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(name.as_os_str(), flags, Mode::empty()).unable_to("chdir to", &name);
        let directory = directory.map_err(|unable| unable.where_denied(name.as_ref()))?;
        let subject = Subject {
            name,
            directory: Some(directory),
            ok: None,
            presence: Presence::Away,
            patience: None,
            watches: Vec::new(),
            awaited: None,
            listener: None,
            look_again: None,
            has_changed: true,
            is_dismissed: false,
        };
        match self.free.pop() {
            Some(number) => {
                self.subjects[number] = subject;
                Ok(number)
            }
            None => {
                self.subjects.push(subject);
                Ok(self.subjects.len() - 1)
            }
        }
    }

    /// The name under which a service was added.
    pub fn name(&self, number: usize) -> &OsStr {
        &self.subjects[number].name
    }

    /// The services that may have changed since the last look at them.
    pub fn changed(&self) -> Vec<usize> {
        let changed = |(number, subject): (usize, &Subject)| subject.is_of_interest_and_changed().then_some(number);
        self.subjects.iter().enumerate().filter_map(changed).collect()
    }

    /// Looks at a service. Afterwards its directory is the current directory.
    ///
    /// # Errors
    /// The service cannot be watched any more.
    pub fn look(&mut self, number: usize) -> Result<Observation, Unable> {
        let subject = &mut self.subjects[number];
        let mut before = subject.watches.clone();
        let looked = subject.look(self.inotify.as_ref(), self.part);
        before.retain(|watch| !subject.watches.contains(watch));
        self.remove_watches(&before);
        let observation = looked?;
        self.subjects[number].has_changed = false;
        Ok(observation)
    }

    /// Makes a service count as changed after this time at the latest.
    pub fn look_again_within(&mut self, number: usize, time: Duration) {
        let soon = Instant::now() + time;
        let look_again = &mut self.subjects[number].look_again;
        *look_again = Some(look_again.map_or(soon, |look_again| look_again.min(soon)));
    }

    /// Stops observing a service, and closes what was open for that. Its number may be given to another one.
    pub fn dismiss(&mut self, number: usize) {
        let subject = &mut self.subjects[number];
        if std::mem::replace(&mut subject.is_dismissed, true) {
            return;
        }
        (subject.directory, subject.ok, subject.listener) = (None, None, None);
        let watches = std::mem::take(&mut subject.watches);
        self.remove_watches(&watches);
        self.free.push(number);
    }

    /// Removes those of these watches that no service has any more. The kernel limits the number of watches of each
    /// user.
    fn remove_watches(&self, watches: &[WatchDescriptor]) {
        let Some(inotify) = &self.inotify else { return };
        let is_used = |watch: &WatchDescriptor| self.subjects.iter().any(|subject| subject.watches.contains(watch));
        for watch in watches.iter().filter(|watch| !is_used(watch)) {
            // The kernel has removed it already if what it was for is gone, or if it was for one event.
            let _ = inotify.rm_watch(*watch);
        }
    }

    /// Waits until one of the services may have changed, or until the deadline.
    ///
    /// # Errors
    /// poll(2) or reading inotify's events failed.
    pub fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Unable> {
        self.wait_beside(deadline, &[]).map(drop)
    }

    /// Waits as [`wait`](Observer::wait) does, but also ends the wait when one of `others` is ready as poll(2) means
    /// it. Returns what each of `others` is ready for, in their order.
    ///
    /// # Errors
    /// As for [`wait`](Observer::wait).
    pub fn wait_beside(
        &mut self,
        deadline: Option<Instant>,
        others: &[(BorrowedFd, PollFlags)],
    ) -> Result<Vec<PollFlags>, Unable> {
        let open = || self.subjects.iter().enumerate().filter(|(_, subject)| !subject.is_dismissed);
        let wake = open().filter_map(|(_, subject)| subject.wake()).chain(deadline).min();
        let mut fds: Vec<PollFd> = Vec::new();
        let mut whose = Vec::new();
        for (number, subject) in open() {
            // The kernel reports an error on `ok` without being asked, and nothing else about `ok` matters.
            fds.extend(subject.ok.as_ref().map(|ok| PollFd::new(ok.as_fd(), NOTHING)));
            fds.extend(subject.listener.as_ref().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
            whose.resize(fds.len(), number);
        }
        fds.extend(self.inotify.as_ref().map(|inotify| PollFd::new(inotify.as_fd(), PollFlags::POLLIN)));
        let first_other = fds.len();
        fds.extend(others.iter().map(|(other, flags)| PollFd::new(*other, *flags)));
        let left = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        match poll(&mut fds, sys::timeout(left)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Unable::new("wait", "", errno)),
        }
        let ready = fds.iter().skip(first_other).map(|fd| fd.revents().unwrap_or(NOTHING)).collect();
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
        told.unwrap_or(Ok(())).unable_to("wait", "")?;
        Ok(ready)
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

/// One service that is observed.
struct Subject {
    name: OsString,
    /// The service directory; `None` once the service is dismissed.
    directory: Option<OwnedFd>,
    /// `supervise/ok`, held open while a supervise is in charge.
    ok: Option<OwnedFd>,
    presence: Presence,
    /// If the supervise is missing, the time until which one may still come.
    patience: Option<Instant>,
    watches: Vec<WatchDescriptor>,
    /// The last name in the path of `supervise/`: if that directory does not exist yet, the observer waits for an entry
    /// of this name in the directory above.
    awaited: Option<OsString>,
    /// The listener, where inotify is not available.
    listener: Option<Listener>,
    /// When to look even if nothing was reported.
    look_again: Option<Instant>,
    /// Whether something may have happened since the last look.
    has_changed: bool,
    is_dismissed: bool,
}

impl Subject {
    fn is_of_interest_and_changed(&self) -> bool {
        self.has_changed && !self.is_dismissed
    }

    /// Sets the watches first, then finds out who is in charge, then reads the files. In this order no change is
    /// missed.
    fn look(&mut self, inotify: Option<&Inotify>, part: Part) -> Result<Observation, Unable> {
        let directory = self.directory.as_ref().ok_or(Errno::EBADF);
        directory.and_then(fchdir).unable_to("chdir to", &self.name)?;
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
        let unwritten = seen.as_ref().map(|seen| Unwritten::of(Path::new(""), seen)).unwrap_or_default();
        let (ended, seen) = match part {
            Part::Service => (unwritten.service, seen),
            Part::Logger => (unwritten.logger, seen.and_then(Snapshot::of_logger)),
        };
        if ended.is_some() {
            // The kernel reports a change of the files only once supervise can write them.
            let soon = Instant::now() + LISTENING;
            self.look_again = Some(self.look_again.map_or(soon, |look_again| look_again.min(soon)));
        }
        Ok(Observation { presence, seen, unwritten: ended.map(|pid| unwritten.words_of(pid)) })
    }

    /// Has the observer woken by a FIFO in `supervise/event`, or else looks at the service from time to time: the
    /// second and the third of the ways that the introduction lists.
    fn listen(&mut self, part: Part) {
        self.watches.clear();
        // A listener is kept only if its FIFO is in the directory that is there now.
        self.listener = self.listener.take().filter(Listener::is_in_place).or_else(|| match part {
            Part::Service => Listener::new().ok(),
            Part::Logger => None,
        });
        let patience = if self.listener.is_some() && self.presence == Presence::Here { LISTENING } else { POLLING };
        self.look_again = Some(Instant::now() + patience);
    }

    /// Watches `supervise/`. The watch is set anew each time, because the directory may have been replaced. Until it
    /// exists, the directory in which it will be made is watched. Returns false if the system gives us no more watches.
    fn watch(&mut self, inotify: &Inotify) -> Result<bool, Unable> {
        let changes = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY;
        let itself = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        let coming = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        let place = Place::here().map_err(|errno| self.unable("watch", SUPERVISE, errno))?;
        let watch = || inotify.add_watch(place.directory(), changes | itself);
        let added = match watch() {
            Err(Errno::ENOENT) => {
                let parent = inotify.add_watch(&parent(place.directory()), coming);
                // `supervise/` may have been made just before its parent was watched.
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
            Err(errno) => Err(self.unable("watch", SUPERVISE, errno).where_denied(place.directory())),
        }
    }

    fn presence(&mut self, inotify: Option<&Inotify>) -> Result<Presence, Unable> {
        self.ok = self.hold()?;
        if let (None, Some(inotify)) = (&self.ok, inotify) {
            // inotify reports when a process opens `ok`, as a supervise does.
            // A link is none of a supervise, and may lead anywhere.
            let opened = AddWatchFlags::IN_OPEN | AddWatchFlags::IN_ONESHOT | AddWatchFlags::IN_DONT_FOLLOW;
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
            Err(errno) => Err(self.unable("open", OK, errno).where_own_is_denied(OK)),
        }
    }

    fn unable(&self, verb: &'static str, file: &str, errno: Errno) -> Unable {
        Unable::new(verb, joined(&self.name, file), errno)
    }

    /// When the service must be looked at although nothing was reported: when a missing supervise is too late, or at
    /// the next poll.
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
