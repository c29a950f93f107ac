//! Processes that a supervise has left, of a service that is being stopped: whether they may run still, and ending them where
//! no supervise can take charge of them.

use daemontools::service::{Identity, Process, is_without_pidfd};
use daemontools::sys::process::PidFd;
use nix::sys::signal::{Signal, kill};

/// What tells svscan of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The page of its supervise, in svscan's memory: it is of this boot.
    Page,
    /// `supervise/state`, which may be of another boot.
    File,
}

/// Whether a process may run still, as far as the system tells now.
pub fn may_run(process: &Process, source: Source) -> bool {
    is_left(process.identity(), source)
}

/// What is not proven to be gone is left: svscan would end, and the process would run on.
fn is_left(identity: nix::Result<Identity>, source: Source) -> bool {
    match (identity, source) {
        // There are no descriptors for now, or no memory.
        (Ok(Identity::Same) | Err(_), Source::Page | Source::File) => true,
        (Ok(Identity::Unknown), Source::Page) => true,
        (Ok(Identity::Unknown), Source::File) => false,
        (Ok(Identity::Gone), Source::Page | Source::File) => false,
    }
}

/// Sends a process these signals, if it is proven to be that process. One that has ended is what is wanted.
pub fn send(process: &Process, signals: &[Signal]) {
    let held = PidFd::open(process.pid);
    for signal in signals.iter().copied() {
        let _ = match &held {
            Ok(held) if process.identity_of(held) == Ok(Identity::Same) => held.signal(signal),
            Err(errno) if is_without_pidfd(*errno) && process.is_there() => kill(process.pid, signal),
            Ok(_) | Err(_) => Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::unistd::Pid;

    #[test]
    fn what_is_not_proven_to_be_gone_is_left() {
        let table = [
            (Ok(Identity::Same), [true, true]),
            (Ok(Identity::Gone), [false, false]),
            // Of another boot, a number says nothing.
            (Ok(Identity::Unknown), [true, false]),
            (Err(Errno::EMFILE), [true, true]),
            (Err(Errno::ENOMEM), [true, true]),
        ];
        for (identity, left) in table {
            assert_eq!([Source::Page, Source::File].map(|source| is_left(identity, source)), left, "{identity:?}");
        }
    }

    #[test]
    fn only_the_process_itself_is_signalled() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::of(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        send(&Process { ticks: process.ticks + 1, serial: process.serial + 1, ..process }, &[Signal::SIGKILL]);
        assert!(child.try_wait().unwrap().is_none());
        send(&process, &[Signal::SIGKILL]);
        assert!(!child.wait().unwrap().success());
    }
}
