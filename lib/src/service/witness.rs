//! Asking about processes, one after the other, what a process may keep back.
//!
//! Most of what `/proc` shows of a process waits while the process executes a program. If that closes a file whose server
//! does not answer, it waits for ever, and any account can make such a process. So a helper asks in the place of the
//! program. A helper that waits is replaced, and the process is not asked about again.
//!
//! An [`Inquiry`](super::Inquiry) has one small question about a great many processes, and a child of its own for each
//! round of questions. A witness keeps its helper: where there is a question about each of many services, no process is
//! made for each.

use super::Helper;
use crate::encoding::Encode;
use crate::files::open_pipe_of;
use crate::sys::pocket::Pocket;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Pid;
use std::collections::HashSet;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// A helper that has waited in the kernel for this long gives no answer any more. The waits of other processes are shorter.
pub const SILENCE: Duration = Duration::from_millis(100);
/// The longest time that one question may take, also on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

/// Answers a request; `None` if the request makes no sense. It is called in a helper.
type Answer = fn(&[u8]) -> Option<Vec<u8>>;

/// Asks about processes, and waits for none of them for long.
pub struct Witness {
    answer: Answer,
    helper: Option<Helper>,
    /// The processes about which a question was not answered.
    silent: HashSet<Pid>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Witness").field("silent", &self.silent).finish_non_exhaustive()
    }
}

impl Witness {
    /// A witness whose helper answers each request with what `answer` returns. The helper is made when it is needed.
    pub fn new(answer: Answer) -> Witness {
        Witness { answer, helper: None, silent: HashSet::new() }
    }

    /// The answer to a request about a process.
    ///
    /// # Errors
    /// ETIMEDOUT: the process keeps it back. EAGAIN, ENOMEM, EMFILE: the system cannot make a helper now.
    pub fn ask(&mut self, about: Pid, request: &[u8]) -> nix::Result<Vec<u8>> {
        if self.silent.contains(&about) {
            return Err(Errno::ETIMEDOUT);
        }
        let mut helper = match self.helper.take() {
            Some(helper) => helper,
            None => Helper::start(self.answer)?,
        };
        let answer = helper.ask(request, SILENCE, Instant::now() + LONGEST);
        match &answer {
            Ok(_) => self.helper = Some(helper),
            // The helper is ended, as it is dropped here.
            Err(Errno::ETIMEDOUT) => drop(self.silent.insert(about)),
            Err(_) => {}
        }
        answer
    }
}

/// Opens the pipe that a process has open as [`open_pipe_of`] does, but waits for the process no longer than a witness
/// does.
///
/// # Errors
/// As for [`open_pipe_of`] and [`Witness::ask`].
pub fn open_pipe_in_time(pid: Pid, number: i32, inode: u64, access: OFlag) -> nix::Result<OwnedFd> {
    // The helper puts there what it has opened.
    let pocket = Pocket::create()?;
    let mut helper = Helper::start_with(Some(pocket.as_fd()), |_| {
        let opened = open_pipe_of(pid, number, inode, access).map_err(Errno::from);
        let mut answer = Vec::new();
        opened.and_then(|end| pocket.put(end.as_fd())).encode(&mut answer);
        Some(answer)
    })?;
    let answer = helper.ask(&[], SILENCE, Instant::now() + LONGEST)?;
    Result::<(), Errno>::decode(&mut &answer[..]).unwrap_or(Err(Errno::EPROTO))?;
    pocket.look().ok_or(Errno::EBADF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::fstat;
    use nix::unistd::{getpid, pipe, read, write};
    use std::os::fd::AsRawFd;
    use std::thread::sleep;

    #[test]
    fn a_pipe_is_opened_that_a_process_has() {
        let (reader, writer) = pipe().unwrap();
        let inode = fstat(&reader).unwrap().st_ino;
        let open = |inode| open_pipe_in_time(getpid(), writer.as_raw_fd(), inode, OFlag::O_WRONLY);
        write(open(inode).unwrap(), b"x").unwrap();
        assert_eq!(read(&reader, &mut [0; 2]), Ok(1));
        assert_eq!(open(inode + 1).map(drop), Err(Errno::EINVAL));
    }

    #[test]
    fn a_process_that_keeps_its_answer_back_keeps_back_no_other() {
        let mut witness = Witness::new(|request| {
            if request == b"silent" {
                sleep(Duration::from_secs(1000));
            }
            Some([request, b"!"].concat())
        });
        let [one, silent] = [1_000_001, 1_000_002].map(Pid::from_raw);
        assert_eq!(witness.ask(one, b"a"), Ok(b"a!".to_vec()));
        assert_eq!(witness.ask(silent, b"silent"), Err(Errno::ETIMEDOUT));
        assert_eq!(witness.ask(one, b"b"), Ok(b"b!".to_vec()));
        // It is not asked about again, whatever the question is.
        assert_eq!(witness.ask(silent, b"c"), Err(Errno::ETIMEDOUT));
    }
}
