//! The process that writes the lines of services to standard output, each with its service's name in
//! front. It is no part of svscan's own life: svscan's end is not its end, nor the other way round.
//!
//! It takes from a pipe only what it has written: killed, it loses nothing, and of what it wrote last
//! the next one writes a few lines again. Several lines go out in one write of at most `PIPE_BUF`
//! bytes, which nobody else's writing can come between; a longer line goes alone.
//!
//! It holds a lock on each pipe that it reads, so that there is one reader even where svscan was killed and
//! another one has started the next. TERM: it ends between two lines. INT: it writes all there is first,
//! a line without its end as well. USR1: everything is being stopped. Lines that nobody will ever read are
//! dropped from then on: a service whose pipe is full could not end.

use daemontools::sys::{self, process};
use daemontools::{Attempt, report};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, SpliceFFlags, open, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::unistd::{pipe2, read};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// As much as a pipe holds.
const CAPACITY: usize = 65536;
/// Written at once, it stays in one piece (`PIPE_BUF`).
const ATOMIC: usize = 4096;
/// Until standard output is tried again.
const AGAIN: u16 = 1000;

/// The end of a service's pipe, and what stands in front of the service's lines.
pub struct Source<'a> {
    pub reader: BorrowedFd<'a>,
    pub prefix: Vec<u8>,
}

/// In a child of svscan.
///
/// Exit codes: 0, told to end, or nobody writes any more; 111, the system refused.
pub fn relay(sources: Vec<Source>) -> i32 {
    match Relay::new(sources).unable_to("forward lines", "").map(Relay::run) {
        Ok(()) => 0,
        Err(unable) => {
            unable.warn();
            report::TEMPORARY
        }
    }
}

struct Pipe {
    end: OwnedFd,
    /// Taken when the one before us has let go of it.
    _lock: Option<Flock<OwnedFd>>,
    prefix: Vec<u8>,
}

struct Relay {
    pipes: Vec<Pipe>,
    /// Those that may have something to read.
    ready: BTreeSet<usize>,
    epoll: Epoll,
    signals: SignalFd,
    /// What lies in a pipe is looked at through another one, so that it is not taken from it.
    glass: (OwnedFd, OwnedFd),
    buffer: Vec<u8>,
    complained: bool,
    /// What nobody will read is dropped; so many bytes were.
    stopping: bool,
    dropped: usize,
    /// We were told to end, and to nothing else any more.
    finishing: bool,
}

/// What became of an attempt to write some lines of a pipe.
#[derive(PartialEq, Eq)]
enum Progress {
    Written,
    /// There is nothing, or only the beginning of a line.
    Nothing,
    /// Nor will there be.
    End,
    /// Not written: we were told something meanwhile.
    Told,
}

/// What became of some lines.
enum Fate {
    Written,
    Dropped,
    Kept,
}

impl Relay {
    fn new(sources: Vec<Source>) -> nix::Result<Relay> {
        let sources: Vec<(Vec<u8>, OwnedFd)> =
            sources.into_iter().map(|source| Ok((source.prefix, own(source.reader)?))).collect::<nix::Result<_>>()?;
        let ends: Vec<RawFd> = sources.iter().map(|(_, end)| end.as_raw_fd()).collect();
        process::close_all_but(&ends);
        let signals = process::signal_set(&[Signal::SIGTERM as i32, Signal::SIGINT as i32, Signal::SIGUSR1 as i32]);
        signals.thread_block()?;
        let mut relay = Relay {
            pipes: Vec::new(),
            ready: (0..sources.len()).collect(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            signals: SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
            glass: pipe2(OFlag::O_CLOEXEC)?,
            buffer: vec![0; CAPACITY],
            complained: false,
            stopping: false,
            dropped: 0,
            finishing: false,
        };
        relay.epoll.add(&relay.signals, EpollEvent::new(EpollFlags::EPOLLIN, u64::MAX))?;
        for (prefix, end) in sources {
            let lock = end.try_clone().ok().and_then(|end| Flock::lock(end, FlockArg::LockExclusive).ok());
            // Each change is told once: what is only the beginning of a line must not wake us again and again.
            let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, relay.pipes.len() as u64);
            relay.epoll.add(&end, event)?;
            relay.pipes.push(Pipe { end, _lock: lock, prefix });
        }
        Ok(relay)
    }

    fn run(mut self) {
        let mut open = self.pipes.len();
        while open > 0 {
            self.wait();
            if let Ok(Some(signal)) = self.signals.read_signal() {
                if signal.ssi_signo != Signal::SIGUSR1 as u32 {
                    self.finish(signal.ssi_signo == Signal::SIGINT as u32);
                    break;
                }
                self.stopping = true;
            }
            // A few lines of each in turn.
            for index in self.ready.clone() {
                match self.pass_on(index, false) {
                    Progress::Written => continue,
                    Progress::Told => break,
                    Progress::Nothing => {}
                    Progress::End => open -= 1,
                }
                self.ready.remove(&index);
            }
        }
        say_dropped(self.dropped);
    }

    /// Writes all there is: of every pipe, or only of those that svscan knows no more, nor the next one of us.
    fn finish(&mut self, every: bool) {
        self.stopping |= every;
        self.finishing = true;
        for index in 0..self.pipes.len() {
            let last = every || self.pipes.get(index).is_some_and(|pipe| is_abandoned(&pipe.end));
            while last && self.pass_on(index, true) == Progress::Written {}
        }
    }

    fn wait(&mut self) {
        let timeout = if self.ready.is_empty() { EpollTimeout::NONE } else { EpollTimeout::ZERO };
        let mut events = [EpollEvent::empty(); 64];
        let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
        let told = events.iter().take(count).filter_map(|event| usize::try_from(event.data()).ok());
        self.ready.extend(told.filter(|index| *index < self.pipes.len()));
    }

    /// Writes some lines of a pipe, then takes them from it. What has no end is written too if the pipe
    /// can hold no more, if nobody will end it, or `at_last`.
    fn pass_on(&mut self, index: usize, at_last: bool) -> Progress {
        let Some(pipe) = self.pipes.get(index) else { return Progress::End };
        let shown = match tee(&pipe.end, &self.glass.1, CAPACITY, SpliceFFlags::SPLICE_F_NONBLOCK) {
            Ok(0) => return Progress::End,
            Ok(shown) => shown,
            Err(Errno::EINTR) => return Progress::Written,
            Err(_) => return Progress::Nothing,
        };
        if !fill(&self.glass.0, &mut self.buffer, shown) {
            return Progress::End;
        }
        let cut = at_last || shown == CAPACITY || is_abandoned(&pipe.end);
        let (taken, lines) = some_lines(&pipe.prefix, self.buffer.get(..shown).unwrap_or_default(), cut);
        if taken == 0 {
            return Progress::Nothing;
        }
        match self.write(&lines) {
            Fate::Written => {}
            Fate::Dropped => self.dropped += taken,
            Fate::Kept => return Progress::Told,
        }
        if let Some(pipe) = self.pipes.get(index) {
            fill(&pipe.end, &mut self.buffer, taken);
        }
        Progress::Written
    }

    /// Never gives up, unless nobody will ever read them: what waits in the pipes is not lost.
    fn write(&mut self, mut lines: &[u8]) -> Fate {
        let all = lines.len();
        while !lines.is_empty() {
            let whole = lines.len() == all;
            if whole && !self.finishing && !self.is_taken() {
                return Fate::Kept;
            }
            match nix::unistd::write(sys::stdout(), lines) {
                Ok(written) => lines = lines.get(written..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let _ = poll(&mut [PollFd::new(sys::stdout(), PollFlags::POLLOUT)], PollTimeout::NONE);
                }
                Err(Errno::EPIPE | Errno::ECONNRESET) if self.stopping => return Fate::Dropped,
                Err(errno) => {
                    if !std::mem::replace(&mut self.complained, true) {
                        report::warning(&[b"unable to forward lines: ", report::reason(errno).as_bytes()]);
                    }
                    let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
                    if whole && !self.finishing {
                        if poll(&mut [signals], PollTimeout::from(AGAIN)) == Ok(1) {
                            return Fate::Kept;
                        }
                    } else {
                        let _ = poll(&mut [], PollTimeout::from(AGAIN));
                    }
                }
            }
        }
        Fate::Written
    }

    /// Waits until standard output takes something, unless we are told something before.
    fn is_taken(&self) -> bool {
        loop {
            let output = PollFd::new(sys::stdout(), PollFlags::POLLOUT);
            let mut fds = [output, PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::NONE) != Err(Errno::EINTR) {
                let [output, signals] = fds;
                return output.any() == Some(true) || signals.any() != Some(true);
            }
        }
    }
}

/// Says how much of the lines is lost, if anything is.
pub fn say_dropped(bytes: usize) {
    if bytes > 0 {
        report::warning(
            &[format!("dropped {bytes} bytes of services' lines: nobody reads standard output").as_bytes()],
        );
    }
}

/// A description of our own, which can be locked against others; the given one where that cannot be had.
fn own(reader: BorrowedFd) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .or_else(|_| process::duplicate_above(reader, 3))
}

/// Whether nobody can write into it any more.
fn is_abandoned(end: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(end.as_fd(), PollFlags::empty())];
    let _ = poll(&mut fds, PollTimeout::ZERO);
    fds.iter().any(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)))
}

/// Reads exactly so much, which is there.
fn fill(from: &OwnedFd, buffer: &mut [u8], length: usize) -> bool {
    let mut rest = buffer.get_mut(..length).unwrap_or_default();
    while !rest.is_empty() {
        match read(from, rest) {
            Ok(0) => return false,
            Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// How much of what was seen can be taken, and what is to be written for it: whole lines, as many as fit
/// into one write, one at least. Without any end of line: nothing, or with `cut` all of it as one line.
fn some_lines(prefix: &[u8], seen: &[u8], cut: bool) -> (usize, Vec<u8>) {
    let (mut taken, mut lines) = (0, Vec::new());
    for line in seen.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.ends_with(b"\n");
        let fits = lines.len() + prefix.len() + line.len() <= ATOMIC;
        if !(whole || cut && taken == 0) || !(fits || taken == 0) {
            break;
        }
        taken += line.len();
        lines.extend([prefix, line].concat());
        if !whole {
            lines.push(b'\n');
        }
    }
    (taken, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_taken_and_a_cut_one_only_if_need_be() {
        let table: [(&[u8], bool, usize, &[u8]); 7] = [
            (b"one\ntwo\nthr", false, 8, b"a: one\na: two\n"),
            (b"one\ntwo\nthr", true, 8, b"a: one\na: two\n"),
            (b"thr", false, 0, b""),
            (b"thr", true, 3, b"a: thr\n"),
            (b"\n\n", false, 2, b"a: \na: \n"),
            (b"\xff\0\n", false, 3, b"a: \xff\0\n"),
            (b"", true, 0, b""),
        ];
        for (seen, cut, taken, lines) in table {
            assert_eq!(some_lines(b"a: ", seen, cut), (taken, lines.to_vec()), "{seen:?} {cut}");
        }
    }

    #[test]
    fn one_write_is_in_one_piece_unless_a_line_is_longer() {
        let long = [vec![b'x'; 5000], b"\n".to_vec(), b"y\n".to_vec()].concat();
        assert_eq!(some_lines(b"a: ", &long, false).0, 5001);
        let many = b"123456\n".repeat(1000);
        let (taken, lines) = some_lines(b"a: ", &many, false);
        assert_eq!((taken, lines.len()), (7 * 409, 10 * 409));
    }
}
