//! The two parts of a service: the service itself, and the logger that reads its output.

use super::{LOG, Role};

/// One of the two parts of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The service itself: its `run`.
    Service,
    /// Its logger: the program or the service directory `log`.
    Logger,
}

impl Part {
    /// The program that plays `role` for this part where one supervise runs both parts. The logger has only one
    /// program.
    pub fn program(self, role: Role) -> &'static str {
        match self {
            Part::Service => role.program(),
            Part::Logger => LOG,
        }
    }
}
