//! Watching services: woken by what happens, as long as the kernel lets us.
//!
//! A supervise renames `supervise/status` and `supervise/state` into place at each change. That it is gone is told by
//! `supervise/ok`, which has no reader then. There are three means of being woken, tried in this order:
//!
//! 1. **inotify** tells of each change, of any supervise, also of the original's, to whoever may look; and of another
//!    supervise that comes, as that opens `ok`. But a user has only so many instances of it (128 where nobody has set
//!    `fs.inotify.max_user_instances`) and watches: three hundred that wait, each for one service, are too many.
//! 2. **A FIFO in `supervise/event`** ([`Listener`]), of which there may be any number. Only our supervise tells
//!    there, only of the service, not of a logger that it runs too, and only whoever owns the service may listen. What is
//!    not told there is seen once a second.
//! 3. **Looking again** five times a second, where there is neither.
//!
//! Whatever the means, watching begins before the first look, and each look takes in all that was written before it, so
//! that nothing is missed between the two; and only what is seen counts, not what is told. So one that tells too much,
//! too little or too late makes us look too often, or later, but never wrong.

use crate::goal::{Goal, Picture, Presence, Told, Verdict, judge};
use crate::listener::Listener;
use daemontools::service::{LOG, OK, Place, Record, SUPERVISE, Snapshot, hold_ok};
use daemontools::sys::events::for_each_event;
use daemontools::{Attempt, Fatal, Unable, duration, report, sys};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::fchdir;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Exit code when the time is over.
const TIMED_OUT: i32 = 99;
/// Exit code when what is waited for will not happen.
const FAILED: i32 = 1;

/// How long a supervise may be missing: a killed one is replaced by svscan, the original's within five seconds.
const GRACE: Duration = Duration::from_secs(6);

/// How often it is looked where a listener should be told …
const LISTENING: Duration = Duration::from_secs(1);
/// … and where nothing tells.
const ASKING: Duration = Duration::from_millis(200);

/// The names in `supervise/` that tell something.
const TELLING: [&str; 3] = ["status", "state", "ok"];

const NOTHING: PollFlags = PollFlags::empty();

/// Reads how long to wait.
///
/// # Errors
/// It is not a duration, or has no unit: exit 100.
pub fn parse_timeout(text: &OsStr) -> Result<Duration, Fatal> {
    let parsed = text.to_str().ok_or_else(|| "not a duration".to_string()).and_then(duration::of_option);
    parsed.map_err(|why| Fatal::new(report::PERMANENT, &[b"timeout ", text.as_bytes(), b": ", why.as_bytes()]))
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Where services are to come …
    pub goal: Goal,
    /// … and how many of them.
    pub quorum: Quorum,
    /// What they have been told since they were added.
    pub told: Told,
    /// Until when; `None`: for ever.
    pub deadline: Option<Instant>,
}

/// How many services must come there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    /// Each.
    All,
    /// One of them.
    Any,
}

/// Which part of a service directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `run`.
    Service,
    /// A `log` that the same supervise runs.
    Logger,
}

/// The services that are watched.
pub struct Watch {
    /// None: the system has no more for us.
    inotify: Option<Inotify>,
    part: Part,
    subjects: Vec<Subject>,
}

impl Watch {
    /// None yet.
    pub fn new(part: Part) -> Watch {
        // A few descriptors a service: as many services as there may be.
        let most = getrlimit(Resource::RLIMIT_NOFILE).map(|(_, most)| most);
        let _ = most.and_then(|most| setrlimit(Resource::RLIMIT_NOFILE, most, most));
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        Watch { inotify, part, subjects: Vec::new() }
    }

    /// Watches a service from now on, and remembers how it is. Leaves us in its directory.
    ///
    /// # Errors
    /// There is no such directory for us.
    pub fn add(&mut self, name: OsString) -> Result<(), Unable> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(name.as_os_str(), flags, Mode::empty()).unable_to("chdir to", &name)?;
        let unseen = Picture { presence: Presence::Away, seen: None };
        let mut subject = Subject {
            name,
            directory,
            ok: None,
            presence: Presence::Away,
            patience: None,
            watches: Vec::new(),
            awaited: None,
            listener: None,
            look_again: None,
            stale: true,
            before: unseen.clone(),
            last: unseen,
            added: Instant::now(),
            verdict: Verdict::NotYet,
        };
        subject.before = subject.look(self.inotify.as_ref(), self.part)?;
        self.subjects.push(subject);
        Ok(())
    }

    /// Waits for the outcome, and says why it is not the one wanted. The exit code.
    ///
    /// # Errors
    /// A service cannot be watched any more, or the kernel does not let us wait.
    pub fn wait(&mut self, order: &Order) -> Result<i32, Fatal> {
        loop {
            for subject in self.subjects.iter_mut().filter(|subject| subject.is_open() && subject.stale) {
                let now = subject.look(self.inotify.as_ref(), self.part)?;
                let told = subject.told(order.told);
                subject.verdict = judge(order.goal, told, &subject.before, &now);
                subject.last = now;
                subject.stale = false;
            }
            if let Some(code) = self.outcome(order) {
                return Ok(code);
            }
            self.sleep(order.deadline)?;
        }
    }

    fn outcome(&self, order: &Order) -> Option<i32> {
        let count =
            |wanted: fn(&Verdict) -> bool| self.subjects.iter().filter(|subject| wanted(&subject.verdict)).count();
        let reached = count(|verdict| *verdict == Verdict::Reached);
        let pending = count(|verdict| *verdict == Verdict::NotYet);
        let never = self.subjects.len() - reached - pending;
        let (is_reached, is_failed) = match order.quorum {
            Quorum::All => (reached == self.subjects.len(), never > 0),
            Quorum::Any => (reached > 0, reached + pending == 0),
        };
        if is_reached {
            return Some(0);
        }
        let timed_out = order.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if !is_failed && !timed_out {
            return None;
        }
        for subject in &self.subjects {
            match subject.verdict {
                Verdict::Never(reason) => subject.complain(order.goal, &reason.words(&subject.last)),
                Verdict::NotYet if !is_failed => {
                    subject.complain(order.goal, &format!("timed out: {}", subject.last.words()));
                }
                Verdict::NotYet | Verdict::Reached => {}
            }
        }
        Some(if is_failed { FAILED } else { TIMED_OUT })
    }

    /// Until something happens to one of them, or a time is over.
    fn sleep(&mut self, deadline: Option<Instant>) -> Result<(), Fatal> {
        let open = || self.subjects.iter().enumerate().filter(|(_, subject)| subject.is_open());
        let wake = open().filter_map(|(_, subject)| subject.wake()).chain(deadline).min();
        let mut fds: Vec<PollFd> = Vec::new();
        let mut whose = Vec::new();
        for (number, subject) in open() {
            // Of `ok` only the error counts, which is told unasked.
            fds.extend(subject.ok.as_ref().map(|ok| PollFd::new(ok.as_fd(), NOTHING)));
            fds.extend(subject.listener.as_ref().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
            whose.resize(fds.len(), number);
        }
        fds.extend(self.inotify.as_ref().map(|inotify| PollFd::new(inotify.as_fd(), PollFlags::POLLIN)));
        let left = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        match poll(&mut fds, sys::timeout(left)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Unable::new("wait", "", errno).into()),
        }
        let has_happened: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        for (number, _) in whose.into_iter().zip(has_happened).filter(|(_, has_happened)| *has_happened) {
            self.subjects[number].stale = true;
            self.subjects[number].listener.iter().for_each(Listener::drain);
        }
        let now = Instant::now();
        for subject in &mut self.subjects {
            subject.stale |= subject.wake().is_some_and(|wake| wake <= now);
        }
        let subjects = &mut self.subjects;
        let told = self.inotify.as_ref().map(|inotify| for_each_event(inotify, |event| take_in(subjects, &event)));
        told.unwrap_or(Ok(())).unable_to("wait", "").map_err(Fatal::from)
    }
}

fn take_in(subjects: &mut [Subject], event: &InotifyEvent) {
    let name = event.name.as_ref();
    let telling = name.is_none_or(|name| TELLING.iter().any(|telling| name == telling));
    let lost = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
    for subject in subjects.iter_mut().filter(|subject| lost || subject.watches.contains(&event.wd)) {
        subject.stale |= telling || name == subject.awaited.as_ref();
    }
}

/// A service that is watched.
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
    /// When to look though nothing was told; never where inotify tells.
    look_again: Option<Instant>,
    /// Something has happened since the last look.
    stale: bool,
    before: Picture,
    /// What was seen at the last look.
    last: Picture,
    added: Instant,
    verdict: Verdict,
}

impl Subject {
    /// Watches first, then looks who is in charge, then at what is written: in this order nothing is missed.
    fn look(&mut self, inotify: Option<&Inotify>, part: Part) -> Result<Picture, Unable> {
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
        Ok(Picture { presence, seen })
    }

    /// What it was told, as far as it matters: a logger whose service leaves too reads to the end of its input, and then
    /// ends by itself. Whether the service leaves is not told here, and may not be seen at once.
    fn told(&mut self, told: Told) -> Told {
        let is_new = self.added.elapsed() < LISTENING;
        let ends_by_itself = told.only_to_exit && is_logger() && (is_new || is_service_leaving());
        if ends_by_itself {
            let soon = Instant::now() + LISTENING;
            self.look_again = Some(self.look_again.map_or(soon, |look_again| look_again.min(soon)));
        }
        Told { only_to_exit: told.only_to_exit && !ends_by_itself, ..told }
    }

    /// Without inotify.
    fn listen(&mut self, part: Part) {
        self.watches.clear();
        // Of the directory that is there now.
        self.listener = self.listener.take().filter(Listener::is_in_place).or_else(|| match part {
            Part::Service => Listener::new().ok(),
            Part::Logger => None,
        });
        let patience = if self.listener.is_some() && self.presence == Presence::Here { LISTENING } else { ASKING };
        self.look_again = Some(Instant::now() + patience);
    }

    /// Anew each time: `supervise/` may be another directory now. Before there is one, its coming is watched for. False
    /// if there are no more watches for us.
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

    /// What has come there may still leave again before the others come.
    fn is_open(&self) -> bool {
        !matches!(self.verdict, Verdict::Never(_))
    }

    /// When it is to be looked at, if nothing happens before: when it is too late for a supervise that is missing, if it
    /// is not yet, or because nothing may be told.
    fn wake(&self) -> Option<Instant> {
        self.patience.filter(|_| self.presence == Presence::Away).into_iter().chain(self.look_again).min()
    }

    fn complain(&self, goal: Goal, why: &str) {
        let missed = [b" is ", goal.missed().as_bytes(), b": "].concat();
        report::warning(&[self.name.as_bytes(), &missed, why.as_bytes()]);
    }
}

/// Whether the service in the current directory is the logger of one in the directory above.
fn is_logger() -> bool {
    std::env::current_dir().is_ok_and(|directory| directory.ends_with(LOG)) && Path::new("../run").exists()
}

/// Whether the supervise of the service in the directory above was told to exit.
fn is_service_leaving() -> bool {
    let service = || Record::read(&Place::of(Path::new("..")).ok()?).ok();
    service().is_some_and(|service| service.leaving)
}

fn parent(directory: &Path) -> PathBuf {
    match directory.parent() {
        Some(parent) if parent != Path::new("") => parent.into(),
        Some(_) | None => PathBuf::from("."),
    }
}
