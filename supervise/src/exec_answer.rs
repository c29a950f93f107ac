//! What a process at its gate has told of its execution. No I/O.
//!
//! A process that cannot become its program says why, once, and then ends. Both its end and its execution close its end
//! of the gate: only a reason that supervise has read before tells the two apart, so this value keeps it.

use nix::errno::Errno;

/// What supervise has received at its end of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Nothing yet.
    Nothing,
    /// The reason why the program could not be executed.
    Reason(Errno),
    /// The process's end is closed, by its execution or by its end.
    Closed,
}

/// What has become of the process behind its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecResult {
    /// It is not known yet.
    Pending,
    /// The process has become the program, or has ended.
    Executed,
    /// The program could not be executed, for this reason.
    Refused(Errno),
}

/// What one process has told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExecAnswer {
    refused: Option<Errno>,
}

impl ExecAnswer {
    /// What has become of the process. `receive` reads from the gate. After [`ExecResult::Refused`] the answer stays that, and
    /// nothing is read any more.
    pub fn take(&mut self, receive: impl FnOnce() -> Received) -> ExecResult {
        if let Some(errno) = self.refused {
            return ExecResult::Refused(errno);
        }
        match receive() {
            Received::Nothing => ExecResult::Pending,
            Received::Closed => ExecResult::Executed,
            Received::Reason(errno) => {
                self.refused = Some(errno);
                ExecResult::Refused(errno)
            }
        }
    }

    /// Whether the process has told why it could not be executed.
    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_not_forgotten_when_the_end_is_closed_after_it() {
        let mut answer = ExecAnswer::default();
        assert_eq!(answer.take(|| Received::Nothing), ExecResult::Pending);
        let refused = ExecResult::Refused(Errno::ENOENT);
        assert_eq!(answer.take(|| Received::Reason(Errno::ENOENT)), refused);
        assert!(answer.is_refused());
        for next in [Received::Nothing, Received::Closed, Received::Reason(Errno::EIO)] {
            assert_eq!(answer.take(|| next), refused);
        }
        assert_eq!(ExecAnswer::default().take(|| Received::Closed), ExecResult::Executed);
    }
}
