//! The programs of a service that supervise supervises, by name. No clock, no I/O.

use daemontools::service::{Beside, Part, Role};

/// Which of the service's programs a process is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// One of those that make up the service's life, of which one runs at a time.
    Main(Role),
    /// One that runs beside `run`.
    Beside(Beside),
}

impl Program {
    /// Its file name in the service directory.
    pub fn file(self, part: Part) -> &'static str {
        match self {
            Program::Main(role) => part.program(role),
            Program::Beside(beside) => beside.program(),
        }
    }
}

impl From<Role> for Program {
    fn from(role: Role) -> Program {
        Program::Main(role)
    }
}

impl From<Beside> for Program {
    fn from(beside: Beside) -> Program {
        Program::Beside(beside)
    }
}
