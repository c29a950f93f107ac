//! Asking the kernel through a child process what it may take for ever to answer.
//!
//! Some files in `/proc` make their reader wait for the process that they are about: `cmdline` and `environ` until no thread
//! of that process changes its memory map, `auxv` until it has executed its program. Any account can make a process of its
//! own for which that takes for ever. The time to read `/proc/locks` grows with the square of the number of locks, and any
//! account can hold a great many. So a child process asks in the place of the program, and is killed if it gives no answer
//! in time. The kernel ends all of these waits when the process that waits is killed.

use crate::sys::process::{accounts, close_all_but, fork, is_waiting, wait_for};
use crate::sys::timeout;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid, pipe2, read, setpgid, write};
use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// A child process that has waited for this long in the kernel gets no answer any more. The waits of other processes
/// are shorter.
const SILENCE: Duration = Duration::from_millis(100);
/// The longest time that all questions of one round may take together, also on a busy machine.
const ROUND: Duration = Duration::from_secs(1);
/// How long a killed child may take to end. A child that takes longer is left to the program's loop.
const DYING: Duration = Duration::from_secs(1);
/// What a child says last. Without it, the answer is not complete.
const COMPLETE: u8 = b'.';

/// Answers `question` in a child process. The result is `None` if the child has not answered after this time.
///
/// # Errors
/// EAGAIN, ENOMEM, EMFILE: the system cannot make the child now.
pub fn ask(patience: Duration, question: impl FnOnce() -> Vec<u8>) -> nix::Result<Option<Vec<u8>>> {
    let mut child = Child::start(|say| {
        say(&question());
        say(&[COMPLETE]);
    })?;
    let until = Instant::now() + patience;
    let mut answer = Vec::new();
    while let Heard::Bytes(bytes) = child.listen(until)? {
        answer.extend(bytes);
    }
    Ok((answer.pop() == Some(COMPLETE)).then_some(answer))
}

/// Questions about many processes. A process about which the kernel once gave no answer is not asked about again.
#[derive(Debug, Default)]
pub struct Inquiry {
    silent: HashSet<Pid>,
    /// The accounts of the silent processes. What else these accounts run is asked about last, so that one account
    /// cannot use up the time of the others.
    accounts: HashSet<Option<u32>>,
    was_hindered: bool,
}

impl Inquiry {
    /// The processes among `pids` of which `question` is true. One child asks about all of them; another child takes its
    /// place where it gets no answer. A process that gives no answer in time is not among the result.
    ///
    /// # Errors
    /// As for [`ask`].
    pub fn those(&mut self, pids: &[Pid], question: impl Fn(Pid) -> bool) -> nix::Result<Vec<Pid>> {
        let found = self.those_answered(pids, question);
        self.was_hindered = found.is_err();
        found
    }

    /// Whether the system could not make a child for the last questions.
    pub fn was_hindered(&self) -> bool {
        self.was_hindered
    }

    fn those_answered(&mut self, pids: &[Pid], question: impl Fn(Pid) -> bool) -> nix::Result<Vec<Pid>> {
        let until = Instant::now() + ROUND;
        let mut rest: Vec<Pid> = pids.iter().copied().filter(|pid| !self.silent.contains(pid)).collect();
        let mut found = Vec::new();
        while !rest.is_empty() && Instant::now() < until {
            let answers = answers_about(&rest, &question, until)?;
            let asked = rest.drain(..answers.len().min(rest.len())).zip(answers);
            found.extend(asked.filter_map(|(pid, is_one)| is_one.then_some(pid)));
            if !rest.is_empty() {
                self.pass_over(rest.remove(0), &mut rest);
            }
        }
        Ok(found)
    }

    /// Notes that there is no answer about this process, and puts the processes of its account last.
    fn pass_over(&mut self, silent: Pid, rest: &mut [Pid]) {
        self.silent.insert(silent);
        self.accounts.insert(account(silent));
        rest.sort_by_cached_key(|pid| self.accounts.contains(&account(*pid)));
    }
}

/// The account that started a process, as far as `/proc` tells. Reading it waits for no process.
fn account(pid: Pid) -> Option<u32> {
    accounts(pid).map(|[real, ..]| real)
}

/// The answers to `question` about these processes, in the order of `pids`, up to the first process about which the
/// kernel gives no answer.
fn answers_about(pids: &[Pid], question: impl Fn(Pid) -> bool, until: Instant) -> nix::Result<Vec<bool>> {
    let mut child = Child::start(|say| pids.iter().for_each(|pid| say(&[u8::from(question(*pid))])))?;
    let mut answers = Vec::new();
    loop {
        match child.listen(until.min(Instant::now() + SILENCE))? {
            Heard::Bytes(bytes) => answers.extend(bytes.into_iter().map(|byte| byte != 0)),
            Heard::End => return Ok(answers),
            // Where the processors are busy, the child may not have had its turn.
            Heard::Nothing if Instant::now() < until && !is_waiting(child.pid) => {}
            Heard::Nothing => return Ok(answers),
        }
    }
}

/// A child process that answers through a pipe. It is killed when this value is dropped.
#[derive(Debug)]
struct Child {
    pid: Pid,
    answers: OwnedFd,
}

/// What came through the pipe.
enum Heard {
    Bytes(Vec<u8>),
    /// The child has ended.
    End,
    /// Nothing came in time.
    Nothing,
}

impl Child {
    fn start(talk: impl FnOnce(&dyn Fn(&[u8]))) -> nix::Result<Child> {
        let (answers, writer) = pipe2(OFlag::O_CLOEXEC)?;
        let parent = getpid();
        let pid = fork(|| {
            let _ = set_pdeathsig(Signal::SIGKILL);
            // Signals to the parent's process group are meant for the parent, so the child leaves the group.
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            close_all_but(&[writer.as_raw_fd()]);
            if getppid() == parent {
                talk(&|bytes| say(&writer, bytes));
            }
            0
        })?;
        Ok(Child { pid, answers })
    }

    fn listen(&mut self, until: Instant) -> nix::Result<Heard> {
        loop {
            let mut fds = [PollFd::new(self.answers.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout(Some(until.saturating_duration_since(Instant::now())))) {
                Ok(0) => return Ok(Heard::Nothing),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
            }
            let mut bytes = vec![0; 4096];
            let length = read(&self.answers, &mut bytes)?;
            bytes.truncate(length);
            return Ok(if length == 0 { Heard::End } else { Heard::Bytes(bytes) });
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The child was not waited for, so no other process has its number.
        let _ = kill(self.pid, Signal::SIGKILL);
        let until = Instant::now() + DYING;
        // The pipe is closed when the child ends.
        while let Ok(Heard::Bytes(_)) = self.listen(until) {}
        if matches!(self.listen(until), Ok(Heard::End)) {
            let _ = wait_for(self.pid);
        }
    }
}

/// Writes all bytes. If the parent is gone, the child ends soon.
fn say(writer: &OwnedFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(writer, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::ended_child_status;
    use std::thread::sleep;

    fn wait_for_ever() -> ! {
        loop {
            sleep(Duration::from_secs(1000));
        }
    }

    #[test]
    fn an_answer_of_any_length_comes_whole_or_not_at_all() {
        let patience = Duration::from_secs(20);
        for length in [0, 1, 4095, 4096, 1 << 20] {
            assert_eq!(ask(patience, || vec![b'x'; length]), Ok(Some(vec![b'x'; length])));
        }
        let began = Instant::now();
        assert_eq!(ask(Duration::from_millis(50), || wait_for_ever()), Ok(None));
        assert!(began.elapsed() < Duration::from_secs(15));
        let dies = || {
            let _ = kill(getpid(), Signal::SIGKILL);
            Vec::new()
        };
        assert_eq!(ask(patience, dies), Ok(None));
    }

    #[test]
    fn a_process_that_gives_no_answer_keeps_back_no_answer_about_others() {
        let pids: Vec<Pid> = (1_000_001..1_000_020).map(Pid::from_raw).collect();
        let silent = [pids[0], pids[18]];
        let asked = |inquiry: &mut Inquiry| {
            inquiry.those(&pids, |pid| if silent.contains(&pid) { wait_for_ever() } else { pid.as_raw() % 2 == 0 })
        };
        let even: Vec<Pid> =
            pids.iter().copied().filter(|pid| pid.as_raw() % 2 == 0 && !silent.contains(pid)).collect();
        let mut inquiry = Inquiry::default();
        let found = asked(&mut inquiry).map(|mut found| {
            found.sort_unstable();
            found
        });
        assert_eq!(found, Ok(even.clone()));
        assert_eq!(inquiry.silent, HashSet::from(silent));
        // They are not asked again.
        let began = Instant::now();
        assert_eq!(asked(&mut inquiry), Ok(even));
        assert!(began.elapsed() < Duration::from_secs(15));
        assert_eq!(inquiry.those(&[], |_| true), Ok(Vec::new()));
    }

    #[test]
    fn no_child_is_left() {
        let pid = Child::start(|_| wait_for_ever()).map(|child| child.pid).unwrap();
        assert_eq!(ended_child_status(Some(pid)), Err(Errno::ECHILD));
    }
}
