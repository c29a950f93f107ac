//! What svscan does when the supervise of a part is due: it takes over a supervise that runs already, starts a new one, or
//! finds that none is needed. No I/O.

use crate::in_charge::InCharge;
use daemontools::service::Process;
use nix::errno::Errno;

/// What svscan does about a supervise that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// svscan takes this supervise over, which is in charge already.
    TakeOver(Process),
    /// svscan starts a new supervise.
    New,
    /// The service is being stopped, and a supervise would have nothing to do.
    NotNeeded,
    /// A supervise may be in charge, but the system does not tell which, for this reason. svscan tries again later.
    Later(Errno),
}

/// What svscan asks before it decides. Each question may cost system calls, and is asked only where the answer matters.
pub trait StartFacts {
    /// Which supervise is in charge.
    fn in_charge(&mut self) -> InCharge;
    /// Whether svscan may give up a part of which the system does not name the process that seems to be in charge, for
    /// this reason: svscan has told that process to end before, and nothing is known to be left of the service.
    fn may_be_given_up(&mut self, reason: Errno) -> bool;
    /// Whether a service that is being stopped needs a supervise: its logger has lines to read, or a process may be
    /// left.
    fn is_wanted_to_stop(&mut self) -> bool;
}

/// Decides what to do about a supervise that is due.
pub fn start(is_stopping: bool, facts: &mut impl StartFacts) -> Start {
    match facts.in_charge() {
        InCharge::Supervise(process) => Start::TakeOver(process),
        InCharge::Unknown(errno) if is_stopping && facts.may_be_given_up(errno) => Start::NotNeeded,
        InCharge::Unknown(errno) => Start::Later(errno),
        InCharge::NoSupervise if is_stopping && !facts.is_wanted_to_stop() => Start::NotNeeded,
        InCharge::NoSupervise => Start::New,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy)]
    struct StartAnswers {
        in_charge: InCharge,
        may_be_given_up: bool,
        is_wanted: bool,
    }

    impl StartFacts for StartAnswers {
        fn in_charge(&mut self) -> InCharge {
            self.in_charge
        }

        fn may_be_given_up(&mut self, _: Errno) -> bool {
            self.may_be_given_up
        }

        fn is_wanted_to_stop(&mut self) -> bool {
            self.is_wanted
        }
    }

    #[test]
    fn a_supervise_is_started_only_where_none_is_in_charge_and_one_is_wanted() {
        let (nobody, one, unknown) =
            (InCharge::NoSupervise, InCharge::Supervise(Process::NONE), InCharge::Unknown(Errno::ESRCH));
        let take_over = Start::TakeOver(Process::NONE);
        let later = Start::Later(Errno::ESRCH);
        let table = [
            // Which is in charge, whether that may be given up, whether a stop wants a supervise; what is done while
            // the service is wanted, and what while it is being stopped.
            (nobody, false, false, [Start::New, Start::NotNeeded]),
            (nobody, false, true, [Start::New, Start::New]),
            (one, false, false, [take_over, take_over]),
            (one, true, true, [take_over, take_over]),
            (unknown, false, false, [later, later]),
            (unknown, true, true, [later, Start::NotNeeded]),
        ];
        for (in_charge, may_be_given_up, is_wanted, expected) in table {
            let known = StartAnswers { in_charge, may_be_given_up, is_wanted };
            assert_eq!([false, true].map(|is_stopping| start(is_stopping, &mut known.clone())), expected, "{known:?}");
        }
    }
}
