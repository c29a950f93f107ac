//! Processes that have to do with this supervise, but are not of the service.

use nix::errno::Errno;
use nix::sys::signal::killpg;
use nix::unistd::{Pid, getsid};

/// Processes that have to do with this supervise, but are not of the service: the logger, the hooks, and what the hooks have
/// left in the background, which may be a child of supervise by now.
#[derive(Debug, Clone, Default)]
pub struct Strangers {
    processes: Vec<Pid>,
    /// The sessions of the hooks. A process of the service cannot join them.
    sessions: Vec<Pid>,
}

impl Strangers {
    /// These processes, and those of these sessions. The leader of a session may be about to make it.
    pub fn of(processes: impl IntoIterator<Item = Pid>, sessions: &[Pid]) -> Strangers {
        let processes: Vec<Pid> = processes.into_iter().collect();
        let sessions = sessions.iter().copied().filter(|session| processes.contains(session) || lasts(*session));
        Strangers { sessions: sessions.collect(), processes }
    }

    /// The same with further processes.
    #[must_use]
    pub fn and(mut self, processes: impl IntoIterator<Item = Pid>) -> Strangers {
        self.processes.extend(processes);
        self
    }

    /// Whether this process is one of them.
    pub fn have(&self, pid: Pid) -> bool {
        let is_of_hook = || getsid(Some(pid)).is_ok_and(|session| self.sessions.contains(&session));
        self.processes.contains(&pid) || (!self.sessions.is_empty() && is_of_hook())
    }
}

/// Whether a session has processes. As long as it has, no other process gets its number.
pub fn lasts(session: Pid) -> bool {
    killpg(session, None) != Err(Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_a_hook_has_started_is_a_stranger_too() {
        let hook = "setsid sh -c 'sleep 1000 & echo $$ $!; wait' & wait";
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", hook]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut said).unwrap();
        let pids: Vec<Pid> = said.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect();
        let [leader, other] = pids[..] else { panic!("{said}") };
        let strangers = Strangers::of([], &[leader]);
        let known = [leader, other, Pid::this()].map(|pid| strangers.have(pid));
        let alone = Strangers::of([other], &[]).have(leader);
        killpg(leader, nix::sys::signal::Signal::SIGKILL).unwrap();
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert_eq!((known, alone), ([true, true, false], false));
        assert!(Strangers::default().and([leader]).have(leader));
    }
}
