//! What the service and its logger share: the files in `supervise/`, the pipe between the two, and which processes
//! belong to neither.

use crate::control_files::ControlFiles;
use crate::pipe::Pipe;
use crate::publish::Publisher;
use crate::strangers::{Strangers, lasts};
use daemontools::sys::pocket::Pocket;
use nix::unistd::Pid;

/// What the service and its logger share.
pub struct Shared {
    pub control_files: ControlFiles,
    pub publisher: Publisher,
    pub pipe: Option<Pipe>,
    /// Children of this supervise that are not of the service and were not waited for: hooks, the logger.
    pub helpers: Vec<Pid>,
    /// The sessions of the hooks, of which each leads one. Those that have no process any more may be among them.
    pub sessions: Vec<Pid>,
    /// The logger's process, which need not be a child of this supervise.
    pub logger: Option<Pid>,
    /// Processes of the service get a tag in their environment, because other accounts could write a false record into
    /// `supervise/`.
    pub tags_processes: bool,
    /// The pocket in which svscan keeps the socket that the service speaks through, if this supervise is killed.
    pub pocket: Option<Pocket>,
}

impl Shared {
    /// Processes that have to do with this supervise, but are not of the service.
    pub fn strangers(&self) -> Strangers {
        Strangers::of(self.helpers.iter().copied().chain(self.logger), &self.sessions)
    }

    /// How many hooks have not ended yet.
    pub fn running_hooks(&self) -> usize {
        self.helpers.iter().filter(|helper| self.sessions.contains(helper)).count()
    }

    /// Takes in that a hook was started. It leads a session of its own.
    pub fn add_hook(&mut self, pid: Pid) {
        if !self.sessions.contains(&pid) {
            // A hook that was started just now may not have made its session yet.
            self.sessions.retain(|session| self.helpers.contains(session) || lasts(*session));
            self.sessions.push(pid);
        }
    }

    /// Makes `supervise/` again if it was removed, and what is missing in there by which others reach this supervise.
    pub fn mend(&mut self) {
        let is_new =
            self.control_files.see_files() || (self.publisher.misses_directory() && self.control_files.make_again());
        if is_new {
            self.publisher.write_anew();
        }
    }
}
