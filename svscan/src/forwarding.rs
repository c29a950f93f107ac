//! Forwarding: lines of services without a logger go to svscan's standard output, each with its service's
//! name in front. svscan only keeps the pipes and the process that reads them (see [`forwarder`](crate::forwarder)).
//!
//! That process knows its pipes from its beginning. When there are more of them, it is told to end, and another one
//! begins. A forwarder that a killed svscan has left gives way by itself to the forwarder that the next svscan starts.

use crate::forwarder::{ForwardedPipe, forward_lines, say_dropped};
use crate::launch::Launcher;
use crate::table::{Id, Table};
use daemontools::service::Exit;
use daemontools::sys::process::fork;
use daemontools::{Unable, sys};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{self, WaitPidFlag, waitid};
use nix::unistd::{Pid, getpid};
use std::collections::HashSet;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// A forwarder that ends by itself within this time is not replaced at once.
const SHORT: Duration = Duration::from_secs(1);
/// How long svscan waits before it replaces a forwarder that has ended too soon.
const PAUSE: Duration = Duration::from_secs(1);
/// At the end, svscan does not wait any longer for a reader of its standard output that takes nothing for this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// What svscan knows of the forwarder that it has started.
#[derive(Debug, Clone, Copy)]
struct ForwarderChild {
    pid: Pid,
    since: Instant,
    /// The forwarder was told to end.
    told: bool,
    /// The forwarder was told that everything is being stopped.
    stopping: bool,
}

/// The services whose lines are forwarded, and the forwarder, which is the process that forwards them.
#[derive(Debug, Default)]
pub struct Forwarding {
    wanted: HashSet<Id>,
    services: HashSet<Id>,
    forwarder: Option<ForwarderChild>,
    /// There is a service that the forwarder does not know.
    stale: bool,
    /// When svscan may start the next forwarder, if not at once.
    pause: Option<Instant>,
    /// svscan has told the last forwarder to write all there is, and the forwarder was not killed before it had.
    finished: bool,
    /// Whether svscan was told to kill what it stops, so that it does not wait for the forwarder any more.
    hurried: bool,
    /// The fewest bytes that were still to be read and to be written, and until when svscan waits for fewer.
    left: Option<([usize; 2], Instant)>,
}

impl Forwarding {
    /// Has the lines of this service forwarded, once the service has a pipe.
    pub fn want(&mut self, id: Id) {
        self.wanted.insert(id);
    }

    /// Whether the lines of this service are to be forwarded.
    pub fn wants(&self, id: Id) -> bool {
        self.wanted.contains(&id)
    }

    /// Takes in that the service has its pipe, so that its lines can be forwarded from now on.
    pub fn begin(&mut self, id: Id) {
        self.stale |= self.services.insert(id);
    }

    /// Takes in that the service has another pipe than before, which the forwarder does not know.
    pub fn changed(&mut self, id: Id) {
        self.stale |= self.includes(id);
    }

    /// Whether the lines of this service are forwarded: it has its pipe.
    pub fn includes(&self, id: Id) -> bool {
        self.services.contains(&id)
    }

    /// Forgets what is kept for a service that is gone.
    pub fn forget(&mut self, id: Id) {
        self.wanted.remove(&id);
        self.services.remove(&id);
    }

    /// The process that reads the pipes.
    pub fn forwarder(&self) -> Option<Pid> {
        self.forwarder.map(|forwarder| forwarder.pid)
    }

    /// Takes over the forwarder that an earlier svscan in this process has started. svscan tells it to make room for
    /// the next one as soon as there is a pipe to read, because it may be of another version.
    pub fn inherit(&mut self, pid: Pid, now: Instant) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        // Only of a child is the number sure to be its own.
        if waitid(wait::Id::Pid(pid), flags).is_ok() {
            self.forwarder = Some(ForwarderChild { pid, since: now, told: false, stopping: false });
        }
    }

    /// Takes in that a process has ended, with this status as `wait(2)` has it. A forwarder that was killed while it
    /// wrote the last lines has left some: another one writes them.
    pub fn ended(&mut self, pid: Pid, status: i32, now: Instant) {
        if let Some(forwarder) = self.forwarder.filter(|forwarder| forwarder.pid == pid) {
            self.forwarder = None;
            self.stale = true;
            self.finished &= matches!(Exit::from_wait_status(status), Exit::Code(_)) || self.hurried;
            let hasty = !forwarder.told && now < forwarder.since + SHORT;
            self.pause = hasty.then_some(now + PAUSE);
        }
    }

    /// When there is something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let pause = self.pause.filter(|_| self.stale && self.forwarder.is_none());
        pause.into_iter().chain(self.left.map(|(_, until)| until)).min()
    }

    /// Tells the forwarder that everything is being stopped: lines that will never be read need not be kept any more.
    fn tell_stopping(&mut self) {
        if let Some(forwarder) = self.forwarder.as_mut().filter(|forwarder| !forwarder.stopping) {
            forwarder.stopping = true;
            let _ = kill(forwarder.pid, Signal::SIGUSR1);
        }
    }

    fn tell(&mut self, signal: Signal) {
        if let Some(forwarder) = self.forwarder.as_mut().filter(|forwarder| !forwarder.told) {
            forwarder.told = true;
            // Not waited for yet, so that the number is still its own.
            let _ = kill(forwarder.pid, signal);
        }
    }

    /// Starts a forwarder if none reads the pipes, and tells the present one to end if it does not know all of them.
    pub fn tend(&mut self, table: &Table, launcher: &Launcher, now: Instant) {
        if table.is_stopping_all() {
            self.tell_stopping();
        }
        // More services may begin in a moment.
        let settled = table.deadline().is_none_or(|next| next > now);
        if !self.stale || self.finished || !settled || self.pause.is_some_and(|pause| pause > now) {
            return;
        }
        match self.forwarder {
            Some(_) => self.tell(Signal::SIGTERM),
            None if self.services.is_empty() => self.stale = false,
            None => self.start_forwarder(table, launcher, now),
        }
    }

    fn start_forwarder(&mut self, table: &Table, launcher: &Launcher, now: Instant) {
        self.stale = false;
        let forwarded = launcher.pipes().filter(|(id, _, _)| self.includes(*id));
        let sources = forwarded.map(|(id, reader, _)| {
            let name = table.name(id).unwrap_or_default();
            ForwardedPipe { reader: reader.as_fd(), prefix: [name.as_bytes(), b": "].concat() }
        });
        let (sources, parent) = (sources.collect(), getpid());
        match fork(|| forward_lines(sources, parent)) {
            Ok(pid) => self.forwarder = Some(ForwarderChild { pid, since: now, told: false, stopping: false }),
            Err(errno) => {
                Unable::new("forward lines", "", errno).warn();
                (self.stale, self.pause) = (true, Some(now + PAUSE));
            }
        }
    }

    /// All services are down. Returns whether all their lines are written too, or given up.
    pub fn has_forwarded(&mut self, table: &Table, launcher: &Launcher, now: Instant) -> bool {
        if self.services.is_empty() {
            return true;
        }
        match self.forwarder {
            None if self.finished => return true,
            None => self.start_forwarder(table, launcher, now),
            Some(_) => {}
        }
        // A forwarder that was told to end before only makes room for the next.
        if self.forwarder.is_some_and(|forwarder| !forwarder.told) {
            self.finished = true;
            self.tell(Signal::SIGINT);
        }
        self.gives_up(launcher, now)
    }

    /// Whether svscan gives up the lines that are left, as no reader has taken any for some time. Lines that a process adds
    /// which has outlived its service are no reason to wait longer.
    fn gives_up(&mut self, launcher: &Launcher, now: Instant) -> bool {
        let forwarded = launcher.pipes().filter(|(id, _, _)| self.includes(*id));
        let unread = forwarded.filter_map(|(_, reader, _)| sys::unread(reader).ok()).sum();
        let left = [unread, sys::unread(sys::stdout()).unwrap_or(0)];
        let before = self.left.map(|(least, _)| least);
        let least = before.map_or(left, |[unread, unsaid]| [unread.min(left[0]), unsaid.min(left[1])]);
        match self.left {
            Some((before, until)) if least == before && until <= now => {
                self.hurry();
                say_dropped(unread);
                true
            }
            Some((before, _)) if least == before => false,
            _ => {
                self.left = Some((least, now + PATIENCE));
                false
            }
        }
    }

    /// Kills the forwarder. Lines that it has not written are lost.
    pub fn hurry(&mut self) {
        self.hurried = true;
        if let Some(forwarder) = self.forwarder {
            let _ = kill(forwarder.pid, Signal::SIGKILL);
        }
    }
}
