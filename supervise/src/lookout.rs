//! Finding the processes that a `run` has left in the background, and which of them is the service's.
//!
//! supervise is the parent of all processes of the service whose parents have ended (a child subreaper). So what `run` has
//! left are the children of supervise that were made after `run` was started, and that supervise has not made itself. After
//! a supervise was killed, such processes have another parent: they are known by their tag. A program may have overwritten
//! its environment by then, and the tag with it. Then a pid file proves it that only root or supervise's own account can
//! write, if it names a process that was made after `run` was started and that has been inherited by those that inherit
//! what supervise leaves.
//!
//! A pid file may lie where its reader waits for ever, on a mount whose server is gone. So a child process reads it.

use crate::adoption::{Adopted, adopt};
use crate::machine::Gated;
use crate::service_process::ServiceProcess;
use crate::strangers::Strangers;
use crate::tree;
use daemontools::encoding::Encode;
use daemontools::files::{is_only_ours, is_way_only_ours, read_file, read_file_itself};
use daemontools::report::reason;
use daemontools::service::policy::Scope;
use daemontools::service::setting::{LONGEST, value};
use daemontools::service::{BackgroundFailure, Helper, Place, Process, Unread};
use daemontools::sys::process::{
    ancestors, ancestry, ancestry_of, has_proc, is_apart, is_living, known_path, known_processes,
};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid, getpid, getppid};
use std::path::Path;
use std::time::{Duration, Instant};

/// The pause before the second look, which is short, as most daemons are quick. Each later one is twice as long.
const FIRST: Duration = Duration::from_millis(10);
/// The longest pause between two looks.
const RAREST: Duration = Duration::from_secs(1);

/// If it cannot be told for this time what is left of what is to end, supervise gives up: a stop must come to its end.
const GIVE_UP: Duration = Duration::from_secs(20);

/// How long supervise waits for what a pid file says.
const PATIENCE: Duration = Duration::from_secs(1);

/// After the death of a supervise, a process that has overwritten its tag is not found before it has written its pid file.
/// For this time supervise does not conclude that none is left.
const UNSEEN: Duration = Duration::from_secs(5);

/// A process that executes another program has no environment for a moment, and no tag in it: on a busy machine this may
/// take some time. After the death of a supervise, the next one does not conclude for this time that none is left.
const EXECUTING: Duration = Duration::from_secs(1);

/// How often supervise looks at the processes that come and go, until it believes that none is left.
const TRIES: u32 = 100;

/// The most processes that a message names.
const NAMED: usize = 8;

/// A look at the processes that `run` has left.
pub struct Lookout {
    /// Since when it looks, in time since boot.
    since: Duration,
    /// When to look again at the latest, in time since boot.
    due: Duration,
    pause: Duration,
    /// Reads the pid file.
    reader: Option<Helper>,
    /// What the last look has found.
    trouble: Trouble,
    /// Since when it cannot be told what is left of what is to end, in time since boot.
    untold_since: Option<Duration>,
}

/// The `run` that has left processes, and what is known around it.
pub struct Traces<'a> {
    /// The `run` that was started last.
    pub run: Option<Process>,
    /// When it was started, in time since boot.
    pub started: Duration,
    /// `run` was started by a supervise that was killed, so that what it has left may have another parent.
    pub is_inherited: bool,
    /// Processes that have to do with supervise or the service, but that `run` has not left.
    pub strangers: Strangers,
    /// The setting `pidfile`.
    pub pidfile: Option<&'a str>,
    pub place: &'a Place,
}

/// What one look has found.
pub enum Look {
    Nothing,
    /// The service's process.
    Process(ServiceProcess),
    Undecided(BackgroundFailure),
}

/// Why supervise cannot take any process for the service's.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    Nothing,
    Several(Vec<Pid>),
    /// The system does not tell now which processes are left.
    Untold,
    PidFile {
        why: String,
        left: Vec<Pid>,
    },
}

impl Lookout {
    /// Looks for the first time at `now`, in time since boot.
    pub fn new(now: Duration) -> Lookout {
        Lookout { since: now, due: now, pause: FIRST, reader: None, trouble: Trouble::Nothing, untold_since: None }
    }

    /// When to look again at the latest, in time since boot.
    pub fn deadline(&self) -> Duration {
        self.due
    }

    fn looks_again(&mut self, now: Duration) {
        self.due = now + self.pause;
        self.pause = (self.pause * 2).min(RAREST);
    }

    /// Whether anything is left of the `run`.
    pub fn look_for_any(&mut self, traces: &Traces, now: Duration) -> bool {
        self.looks_again(now);
        let is_left = match traces.left() {
            Ok(left) => {
                self.untold_since = None;
                !left.is_empty()
            }
            // The next look may tell. What cannot be told can be signalled neither.
            Err(_) => now.saturating_sub(*self.untold_since.get_or_insert(now)) < GIVE_UP,
        };
        is_left || self.may_be_unseen(traces, now, EXECUTING)
    }

    /// Whether a process may be left that is not found, as supervise has looked for less than this time.
    fn may_be_unseen(&self, traces: &Traces, now: Duration, time: Duration) -> bool {
        traces.is_inherited && now.saturating_sub(self.since) < time
    }

    /// Looks for the process that is the service's.
    pub fn look(&mut self, traces: &Traces, now: Duration) -> Look {
        self.looks_again(now);
        let told = traces.left();
        let is_told = told.is_ok();
        let left = told.unwrap_or_default();
        let Some(file) = traces.pidfile else {
            if is_told {
                return self.only_one(&left, traces, now);
            }
            self.trouble = Trouble::Untold;
            return Look::Undecided(BackgroundFailure::Several);
        };
        let (why, is_shown) = match self.named_by(file) {
            Ok((pid, is_ours)) => match traces.hold_named(pid, is_ours) {
                Ok(process) => return Look::Process(process),
                Err(why) => (why, !is_ours || is_shown(pid)),
            },
            Err(why) => (why, true),
        };
        // What the file names may be the service's though `/proc` does not show it.
        if is_told && left.is_empty() && is_shown && !self.may_be_unseen(traces, now, UNSEEN) {
            self.trouble = Trouble::Nothing;
            return Look::Nothing;
        }
        self.trouble = Trouble::PidFile { why: format!("{file} {why}"), left };
        Look::Undecided(BackgroundFailure::PidFile)
    }

    fn only_one(&mut self, left: &[Pid], traces: &Traces, now: Duration) -> Look {
        match left {
            [] if self.may_be_unseen(traces, now, EXECUTING) => Look::Undecided(BackgroundFailure::Nothing),
            [] => {
                self.trouble = Trouble::Nothing;
                Look::Nothing
            }
            [pid] => match hold(*pid, traces.place).filter(|_| traces.left().is_ok_and(|left| left.contains(pid))) {
                Some(process) => Look::Process(process),
                // It has ended meanwhile, or cannot be held for lack of descriptors.
                None => Look::Undecided(BackgroundFailure::Several),
            },
            left => {
                self.trouble = Trouble::Several(left.to_vec());
                Look::Undecided(BackgroundFailure::Several)
            }
        }
    }

    /// The number in the pid file, and whether only root or our account can have written it; or what is wrong, in words.
    fn named_by(&mut self, file: &str) -> Result<(Pid, bool), String> {
        let (is_ours, bytes) = self.read(file)?;
        let text = String::from_utf8_lossy(&bytes);
        let number: Option<i32> = value(&text).parse().ok().filter(|number| *number > 0);
        number.map(|number| (Pid::from_raw(number), is_ours)).ok_or_else(|| "has no process number".into())
    }

    fn read(&mut self, file: &str) -> Result<(bool, Vec<u8>), String> {
        let silent = || String::from("cannot be read, as its server does not answer");
        let deadline = Instant::now() + PATIENCE;
        if self.reader.as_ref().is_some_and(Helper::is_waiting) {
            return Err(silent());
        }
        let mut reader = self.reader.take().map_or_else(start_reader, Ok).map_err(|errno| reason(errno).to_string())?;
        let answer = reader.request(file.as_bytes(), deadline).and_then(|()| reader.answer(deadline));
        match answer {
            Ok(answer) => {
                self.reader = Some(reader);
                let said = <Result<(bool, Vec<u8>), Unread>>::decode(&mut answer.as_slice());
                said.unwrap_or(Err(Unread::System(Errno::EIO))).map_err(|unread| match unread.is_missing() {
                    true => "does not exist".into(),
                    false => format!("cannot be read: {}", unread.reason()),
                })
            }
            Err(Errno::ETIMEDOUT) => {
                self.reader = Some(reader);
                Err(silent())
            }
            // The reader was killed. There is another one at the next look.
            Err(errno) => Err(format!("cannot be read: {}", reason(errno))),
        }
    }

    /// Why no process could be taken.
    pub fn astray(&self) -> BackgroundFailure {
        match self.trouble {
            Trouble::Nothing => BackgroundFailure::Nothing,
            Trouble::Several(_) | Trouble::Untold => BackgroundFailure::Several,
            Trouble::PidFile { .. } => BackgroundFailure::PidFile,
        }
    }

    /// What to say of a service that could not be started: what follows its name.
    pub fn words(&self) -> String {
        match &self.trouble {
            Trouble::Nothing => "has ended well and left no process in the background".into(),
            Trouble::Untold => "may have left processes in the background, which cannot be told now".into(),
            Trouble::Several(left) => {
                format!("has left {} in the background, and no pidfile says which one is the service's", named(left))
            }
            Trouble::PidFile { why, left } => format!("has left {} in the background, but {why}", named(left)),
        }
    }
}

fn named(left: &[Pid]) -> String {
    let mut numbers: Vec<String> = left.iter().take(NAMED).map(Pid::to_string).collect();
    if left.len() > NAMED {
        numbers.push(format!("{} more", left.len() - NAMED));
    }
    match &numbers[..] {
        [] => "no process that could be found".into(),
        [one] => format!("process {one}"),
        numbers => format!("processes {}", numbers.join(", ")),
    }
}

fn start_reader() -> nix::Result<Helper> {
    Helper::start(|file| {
        let path = Path::new(std::str::from_utf8(file).ok()?);
        let said = match read_file_itself(path, LONGEST) {
            Ok((bytes, stat)) => {
                // Another account may have led the path to a file of root's, or given that a second name.
                let is_ours = is_only_ours(&stat) && stat.st_nlink == 1 && is_way_only_ours(path) == Ok(true);
                Ok((is_ours, bytes))
            }
            // It may be a link, which another account may have made.
            Err(_) => read_file(path, LONGEST).map(|bytes| (false, bytes)),
        };
        let mut answer = Vec::new();
        said.encode(&mut answer);
        Some(answer)
    })
}

impl Traces<'_> {
    /// The processes that `run` has left and whose parents have ended.
    ///
    /// While supervise looks at the processes one by one, one of them may end, and leave another one that was not among
    /// them. So that none is left is believed only if two looks in a row have seen the same processes.
    ///
    /// # Errors
    /// They cannot be told now.
    fn left(&self) -> nix::Result<Vec<Pid>> {
        let mut before = Err(Errno::EAGAIN);
        for _ in 0..TRIES {
            let seen = self.orphans();
            let left = seen.clone().and_then(|seen| self.those_left(seen));
            match left {
                Ok(left) if !left.is_empty() || before == seen => return Ok(left),
                Ok(_) => before = seen,
                Err(errno) => before = Err(errno),
            }
        }
        // Processes come and go. Whether one stays cannot be told, unless it is the system that does not tell.
        before.map(|_| Vec::new())
    }

    /// The processes among `seen` that `run` has left, and that are alive.
    fn those_left(&self, seen: Vec<Pid>) -> nix::Result<Vec<Pid>> {
        let (mut shown, mut left) = (Vec::new(), Vec::new());
        for pid in seen.into_iter().filter(|pid| !self.strangers.have(*pid)) {
            match ancestry_of(pid)? {
                Some(process) if process.zombie => {}
                Some(_) => shown.push(pid),
                // It has ended, or `/proc` does not show us this child, of which the age is not known then.
                None if tree::is_living_child(pid) => left.push(pid),
                None => {}
            }
        }
        left.extend(self.those_not_older(shown)?);
        Ok(left)
    }

    /// Processes that may have been left by `run`. Those that have ended and were not waited for are among them.
    fn orphans(&self) -> nix::Result<Vec<Pid>> {
        let mut found = children(self.run.map(|run| run.pid))?;
        if self.is_inherited {
            if tree::had_proc() && !has_proc() {
                return Err(Errno::EAGAIN);
            }
            let tagged = tree::tagged_orphans(&self.strangers)?;
            let others: Vec<Pid> = tagged.into_iter().filter(|pid| !found.contains(pid)).collect();
            found.extend(others);
        }
        Ok(found)
    }

    /// The processes that supervise must spare when it kills what `run` has left.
    fn spared(&self) -> Strangers {
        let children = (0..TRIES).find_map(|_| children(self.run.map(|run| run.pid)).ok()).unwrap_or_default();
        // Where that cannot be told now, all are spared.
        let young = self.those_not_older(children.clone()).unwrap_or_default();
        let older = children.into_iter().filter(|pid| !young.contains(pid));
        self.strangers.clone().and(older)
    }

    /// Sends a signal to what `run` has left, as far as stopping reaches.
    pub fn send(&self, scope: Scope, signal: Signal) {
        let signal_one = |pid: Pid| {
            let leads = scope == Scope::Group && getpgid(Some(pid)) == Ok(pid);
            if leads && tree::is_orphan_still(pid) {
                let _ = killpg(pid, signal);
            } else {
                tree::send_orphan(pid, signal);
            }
        };
        match scope {
            Scope::Tree => tree::send(None, signal, &self.spared()),
            Scope::Main | Scope::Group => {
                self.left().unwrap_or_default().into_iter().for_each(signal_one);
            }
        }
    }

    /// Kills what `run` has left, and all that this starts meanwhile.
    pub fn kill(&self) {
        if tree::kill_all(None, &self.spared()).is_err() {
            // `/proc` does not show them.
            self.left().unwrap_or_default().into_iter().for_each(|pid| tree::send_orphan(pid, Signal::SIGKILL));
        }
    }

    /// Those among these processes that were not made before `run` was started. A process that keeps its age back is one.
    fn those_not_older(&self, pids: Vec<Pid>) -> nix::Result<Vec<Pid>> {
        let older = tree::those_older(&pids, self.started, self.run)?;
        Ok(pids.into_iter().filter(|pid| !older.contains(pid)).collect())
    }

    /// Holds the process that the pid file names, if it is the service's. Otherwise the result is what it is, in words.
    fn hold_named(&self, pid: Pid, is_ours: bool) -> Result<ServiceProcess, String> {
        let lacks = || if is_shown(pid) { "is not there" } else { "/proc does not show" };
        let held = hold(pid, self.place).ok_or_else(|| format!("names process {pid}, which {}", lacks()))?;
        // The process is held first, and then looked at: what is held cannot become another process.
        if !(is_living(pid) || tree::is_living_child(pid)) || held.has_ended() {
            return Err(format!("names process {pid}, which has ended"));
        }
        let is_hidden_child = !has_proc() && tree::is_living_child(pid) && !self.strangers.have(pid);
        let is_proven = is_hidden_child || self.descends_from_left(pid) || (is_ours && self.was_inherited(pid));
        if is_proven { Ok(held) } else { Err(format!("names process {pid}, which the service has not left")) }
    }

    fn descends_from_left(&self, pid: Pid) -> bool {
        let left = self.left().unwrap_or_default();
        let mut line = ancestors(pid).take_while(|pid| pid.as_raw() > 1 && !self.strangers.have(*pid));
        line.any(|above| left.contains(&above))
    }

    /// Whether a process may have been left by a `run` whose supervise was killed: it is of the right age, and its parent is
    /// one of those that inherit.
    fn was_inherited(&self, pid: Pid) -> bool {
        let is_heir = |parent: Pid| parent == getppid() || parent.as_raw() == 1;
        let is_orphan = ancestry(pid).is_some_and(|process| is_heir(process.parent));
        self.is_inherited
            && is_orphan
            && self.those_not_older(vec![pid]) == Ok(vec![pid])
            && !self.strangers.have(pid)
            && pid != getpid()
    }
}

/// The children of supervise, also where the kernel keeps no list of them.
///
/// # Errors
/// They cannot be told now.
fn children(run: Option<Pid>) -> nix::Result<Vec<Pid>> {
    let listed = tree::own_children()?;
    if !listed.is_empty() || known_path(getpid(), &format!("task/{}/children", getpid()))?.exists() {
        return Ok(listed);
    }
    let mut found = Vec::new();
    for process in known_processes()?.into_iter().filter(|process| process.parent == getpid()) {
        if !is_apart(process.pid)? {
            found.push(process.pid);
        }
    }
    if found.is_empty() && tree::has_living_child() {
        // A child that `/proc` does not show is still a child.
        let hidden = tree::children_with_numbers_near(run);
        return if hidden.is_empty() { Err(Errno::EAGAIN) } else { Ok(hidden) };
    }
    Ok(found)
}

/// Whether `/proc` shows this process, or there is no process with this number.
fn is_shown(pid: Pid) -> bool {
    ancestry(pid).is_some() || kill(pid, None) == Err(Errno::ESRCH)
}

/// Holds a process, as a child of supervise if it is one.
fn hold(pid: Pid, place: &Place) -> Option<ServiceProcess> {
    if pid == getpid() {
        return None;
    }
    if tree::is_living_child(pid) || ancestry(pid)?.parent == getpid() {
        return Some(ServiceProcess::child(pid));
    }
    match adopt(Process::of(pid).with_start(), place, Gated::No) {
        Ok(Adopted::Alive(held)) => Some(held),
        Ok(Adopted::Ended(_)) | Err(_) => None,
    }
}
