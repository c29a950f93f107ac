//! The forwarder: the process that writes the lines of services to standard output, each with its service's name in front.
//! The forwarder lives on when svscan ends, and svscan lives on when the forwarder ends.
//!
//! The forwarder takes from a pipe only what it has written. If it is killed, no line is lost, and of those that it wrote
//! last the next forwarder writes a few again. Several lines go out in one write of at most `PIPE_BUF` bytes, so that no
//! other process's lines can come between; a longer line goes alone.
//!
//! One forwarder reads at a time, also where svscan was killed and the next svscan has started another forwarder: see
//! [`forwarder_lock`](crate::forwarder_lock). Until then the forwarder outlives svscan, so that services can write on.
//! Where that lock cannot be had, the forwarder ends with svscan.
//!
//! A service may do with its own pipe what it likes: make it small, read from it, put into it what cannot be read. So
//! nothing here waits for a pipe, and what is seen in one may be gone the next moment.
//!
//! TERM, or a request for the lock: the forwarder ends between two lines. INT: it writes all there is first, even a line
//! without its end. USR1: everything is being stopped. From then on the forwarder drops lines that no process will ever
//! read: a service whose pipe is full could not end.

mod lines;
mod output;
mod peek;
mod writing;

use crate::forwarder_lock::ForwarderLock;
use daemontools::sys::{self, process};
use daemontools::{Attempt, report};
use lines::some_lines;
use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getppid, setsid};
pub use output::say_dropped;
use output::{PATIENCE, is_taken_within};
use peek::{PeekPipe, has_no_writer, is_full};
use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// How long the forwarder waits before it tries standard output again, and looks again at a line that has no end yet.
const AGAIN: Duration = Duration::from_secs(1);
/// After this number of attempts to get the lock, a tenth of a second each, the forwarder says that it waits.
const ATTEMPTS: u32 = 50;

/// The end of a service's pipe, and what stands in front of the service's lines.
pub struct ForwardedPipe<'a> {
    pub reader: BorrowedFd<'a>,
    pub prefix: Vec<u8>,
}

/// Runs the forwarder in a child of svscan, whose process is `parent`.
///
/// Returns the exit code: 0, told to end, or no process can write any more; 111, the system refused.
pub fn forward_lines(sources: Vec<ForwardedPipe>, parent: Pid) -> i32 {
    match Forwarder::new(sources).and_then(|forwarder| forwarder.run(parent)).unable_to("forward lines", "") {
        Ok(()) => 0,
        Err(unable) => {
            unable.warn();
            report::TEMPORARY
        }
    }
}

struct SourcePipe {
    end: OwnedFd,
    prefix: Vec<u8>,
}

struct Forwarder {
    /// The pipes; `None` for a pipe that has come to its end.
    pipes: Vec<Option<SourcePipe>>,
    /// The pipes that may have something to read.
    ready: BTreeSet<usize>,
    /// The pipes that have the beginning of a line. The kernel does not tell of all that is added to it.
    partial: BTreeSet<usize>,
    /// When the forwarder looks at those again.
    look_again: Instant,
    epoll: Epoll,
    /// Readable when the forwarder is told something, by a signal or through the lock.
    orders: Epoll,
    signals: SignalFd,
    lock: Option<ForwarderLock>,
    /// Through it the forwarder looks at what lies in the pipes.
    peek_pipe: PeekPipe,
    complained: bool,
    /// Lines that no process will read are dropped; this many bytes were.
    stopping: bool,
    dropped: usize,
    /// A line was begun and given up: what the forwarder writes next must not become a part of it.
    torn: bool,
    /// What the forwarder writes before it ends, if it is to end.
    end: Option<End>,
    /// The forwarder is ending, and obeys nothing else any more.
    finishing: bool,
}

/// What is to be written before the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Only what lies in pipes that neither svscan nor the next forwarder knows any more.
    OnlyAbandoned,
    Everything,
}

/// What became of an attempt to write some lines of a pipe.
#[derive(PartialEq, Eq)]
enum Progress {
    /// This many bytes were taken from the pipe.
    Written(usize),
    /// There is nothing in the pipe.
    Nothing,
    /// There is only the beginning of a line in the pipe.
    Partial,
    /// There is nothing in the pipe, and never will be.
    End,
    /// The lines were not written, because the forwarder was told something meanwhile.
    Told,
}

/// What became of some lines.
enum Fate {
    Written,
    Dropped,
    Kept,
}

impl Forwarder {
    fn new(sources: Vec<ForwardedPipe>) -> nix::Result<Forwarder> {
        let sources: Vec<(Vec<u8>, OwnedFd)> = sources
            .into_iter()
            .map(|source| Ok((source.prefix, process::duplicate_above(source.reader, 3)?)))
            .collect::<nix::Result<_>>()?;
        let ends: Vec<RawFd> = sources.iter().map(|(_, end)| end.as_raw_fd()).collect();
        process::close_all_but(&ends);
        // In a session of its own, as each supervise: a signal for the process group of svscan is meant for svscan, which
        // tells the forwarder what it means; and if svscan is killed while the forwarder is stopped, the kernel neither
        // hangs up on the forwarder nor continues it. No terminal stops it when it writes there.
        let _ = setsid();
        let signals = process::signal_set(&[Signal::SIGTERM as i32, Signal::SIGINT as i32, Signal::SIGUSR1 as i32]);
        signals.thread_block()?;
        let mut forwarder = Forwarder {
            pipes: Vec::new(),
            ready: (0..sources.len()).collect(),
            partial: BTreeSet::new(),
            look_again: Instant::now(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            orders: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            signals: SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
            lock: ForwarderLock::open().ok(),
            peek_pipe: PeekPipe::new()?,
            complained: false,
            stopping: false,
            dropped: 0,
            torn: false,
            end: None,
            finishing: false,
        };
        forwarder.orders.add(&forwarder.signals, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        forwarder.epoll.add(&forwarder.orders.0, EpollEvent::new(EpollFlags::EPOLLIN, u64::MAX))?;
        for (prefix, end) in sources {
            // Each change is told once: what is only the beginning of a line must not wake the forwarder again and again.
            let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, forwarder.pipes.len() as u64);
            forwarder.epoll.add(&end, event)?;
            forwarder.pipes.push(Some(SourcePipe { end, prefix }));
        }
        Ok(forwarder)
    }

    fn run(mut self, parent: Pid) -> nix::Result<()> {
        if !self.becomes_only_one(parent)? {
            return Ok(());
        }
        while self.end.is_none() && self.pipes.iter().any(Option::is_some) {
            self.wait();
            self.learn_orders();
            // A few lines of each pipe in turn.
            for index in self.ready.clone() {
                match self.pass_on(index, false) {
                    Progress::Written(_) => continue,
                    Progress::Told => break,
                    Progress::Nothing => {}
                    Progress::Partial => drop(self.partial.insert(index)),
                    Progress::End => self.close(index),
                }
                self.ready.remove(&index);
            }
        }
        if let Some(end) = self.end {
            self.finish(end);
        }
        say_dropped(self.dropped);
        Ok(())
    }

    /// Closes a pipe from which nothing will come any more, and takes it out of the set explicitly: svscan may have a
    /// copy of the descriptor, with which the pipe would stay there.
    fn close(&mut self, index: usize) {
        if let Some(pipe) = self.pipes.get_mut(index).and_then(Option::take) {
            let _ = self.epoll.delete(&pipe.end);
        }
    }

    /// Waits until no other forwarder forwards lines of this directory. Returns false if this one is told to end before.
    fn becomes_only_one(&mut self, parent: Pid) -> nix::Result<bool> {
        let mut attempts = 0;
        while let Some(lock) = &self.lock {
            match lock.acquire() {
                Ok(()) => {
                    self.orders.add(lock, EpollEvent::new(EpollFlags::EPOLLIN, 1))?;
                    return Ok(true);
                }
                Err(Errno::EAGAIN) => {}
                Err(_) => {
                    self.lock = None;
                    break;
                }
            }
            attempts += 1;
            if attempts == ATTEMPTS {
                report::warning(&[b"waiting for the process that forwards lines of the svscan before"]);
            }
            self.read_signals();
            if self.end == Some(End::OnlyAbandoned) {
                return Ok(false);
            }
        }
        set_pdeathsig(Signal::SIGKILL)?;
        // svscan may have ended before that.
        Ok(getppid() == parent)
    }

    /// Learns what the forwarder is told.
    fn learn_orders(&mut self) {
        self.read_signals();
        if self.lock.as_ref().is_some_and(ForwarderLock::is_requested) {
            self.end.get_or_insert(End::OnlyAbandoned);
        }
    }

    fn read_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGUSR1)) => self.stopping = true,
                Ok(Ok(Signal::SIGINT)) => self.end = Some(End::Everything),
                _ => drop(self.end.get_or_insert(End::OnlyAbandoned)),
            }
        }
    }

    /// Writes what is to be written before the end.
    fn finish(&mut self, end: End) {
        self.stopping |= end == End::Everything;
        self.finishing = true;
        for index in 0..self.pipes.len() {
            let Some(Some(pipe)) = self.pipes.get(index) else { continue };
            if end == End::OnlyAbandoned && !has_no_writer(&pipe.end) {
                continue;
            }
            // A process that has outlived its service may write for ever.
            let mut left = sys::unread(&pipe.end).unwrap_or(0);
            while left > 0 {
                if end == End::OnlyAbandoned && !is_taken_within(PATIENCE) {
                    self.lock = None;
                }
                let Progress::Written(count) = self.pass_on(index, true) else { break };
                left = left.saturating_sub(count);
            }
        }
    }

    fn wait(&mut self) {
        let now = Instant::now();
        if self.partial.is_empty() {
            self.look_again = now + AGAIN;
        }
        let timeout = match (self.ready.is_empty(), self.partial.is_empty()) {
            (false, _) => PollTimeout::ZERO,
            (true, false) => sys::timeout(Some(self.look_again.saturating_duration_since(now))),
            (true, true) => PollTimeout::NONE,
        };
        let mut events = [EpollEvent::empty(); 64];
        let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
        if self.look_again <= Instant::now() {
            self.ready.append(&mut self.partial);
        }
        let told = events.iter().take(count).filter_map(|event| usize::try_from(event.data()).ok());
        self.ready.extend(told.filter(|index| *index < self.pipes.len()));
    }

    /// Writes some lines of a pipe, then takes them from it. What has no end is written too if the pipe
    /// can hold no more, if no process can write the end, or `at_last`.
    fn pass_on(&mut self, index: usize, at_last: bool) -> Progress {
        self.partial.remove(&index);
        let Some(Some(pipe)) = self.pipes.get(index) else { return Progress::End };
        let abandoned = has_no_writer(&pipe.end);
        let shown = match self.peek_pipe.show(&pipe.end) {
            Ok(0) if abandoned => return Progress::End,
            Ok(0) | Err(_) => return Progress::Nothing,
            Ok(shown) => shown,
        };
        let Some(seen) = self.peek_pipe.read(shown) else { return Progress::Nothing };
        let cut = at_last || abandoned || !seen.contains(&b'\n') && is_full(&pipe.end);
        let (taken, lines) = some_lines(&pipe.prefix, seen, cut);
        if taken == 0 {
            return Progress::Partial;
        }
        match self.write(&lines) {
            Fate::Written => {}
            Fate::Dropped => self.dropped += taken,
            Fate::Kept => return Progress::Told,
        }
        if let Some(Some(pipe)) = self.pipes.get(index) {
            self.peek_pipe.take(&pipe.end, taken);
        }
        Progress::Written(taken)
    }
}
