//! The two parts of a service: what it runs, and the logger that reads what that prints.

/// One of the two parts of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The service itself: its `run`.
    Service,
    /// Its logger: the program or the service directory `log`.
    Logger,
}
