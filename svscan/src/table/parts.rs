//! What the table is told and what it answers, as data: services, their supervises, and what is to be done about them.

use daemontools::report::joined;
use daemontools::service::LOG;
pub use daemontools::service::Part;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

/// What identifies a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// The number of the file system that the directory is on.
    pub device: u64,
    /// The number that the directory has there.
    pub inode: u64,
}

/// A supervise of a service, running or not: that of the service itself, or that of its logger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SuperviseId {
    /// The service.
    pub id: Id,
    /// Whose supervise it is: the service's own, or its logger's.
    pub part: Part,
}

/// What the table asks svscan to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Look into a new service, then say [`Table::inspected`](super::Table::inspected).
    Inspect(Id),
    /// Tell this supervise to stop its service and then end.
    EndSupervise(SuperviseId),
    /// Let the logger read what is left in its pipe, and then tell it to end.
    DrainLogger(Id),
    /// The service is gone for good, and svscan does not stop its logger: let the logger see the end of its input.
    EndInput(Id),
    /// A service with a logger has no entry any more, but a supervise of it runs: find its directory through that
    /// supervise, and keep the directory open.
    HoldDirectory(Id),
    /// A service whose directory is kept open has an entry again: close the directory.
    ReleaseDirectory(Id),
    /// A service that was stopped has an entry, and is started again: forget how its stop went.
    ForgetStop(Id),
    /// The service is gone: give up all that is kept for it.
    Forget(Id),
    /// Look whether the service is ready, until it is, or is not going to be for now.
    WatchReady(Id),
    /// Tell the user something about the service.
    Say(Id, Message),
}

/// What the user may want to know of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The service has this other name, by which it is not known.
    SameAs(OsString),
    /// The service's `after` has names that no service has; they are ignored.
    UnknownAfter(Vec<OsString>),
    /// The service's `after` has names of services that are themselves to start after this one; they are ignored.
    CyclicAfter(Vec<OsString>),
    /// This name in the service's `after` is neither unknown nor in a circle any more.
    AfterResolved(OsString),
    /// The service took the name of another one, which is stopped first.
    Replaces,
    /// The service is told to stop.
    Stopping,
    /// The service of this name was told to stop and is down, and so is its logger.
    Down(OsString),
    /// The service of this name is down for good: it has no entry any more, or everything is being stopped.
    Gone(OsString),
}

/// What was found in a new service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// The service has a logger.
    pub logger: bool,
    /// The services that are to be ready before it starts.
    pub after: Vec<OsString>,
    /// The service runs already, whether or not a supervise is in charge of it.
    pub running: bool,
}

/// A supervise that is to be started later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delayed {
    /// The supervise.
    pub which: SuperviseId,
    /// How long svscan waits from now on before it starts the supervise.
    pub wait: Duration,
    /// How often in a row the supervise has ended at once because it cannot serve.
    pub failures: u32,
}

/// What a supervise that ended left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftover {
    /// Nothing that runs or could be read.
    Nothing,
    /// Nothing: the supervise was told to end, and has stopped its service.
    Told,
    /// The service's process, running.
    Process,
    /// Lines that the logger has not read, or a service that may still speak.
    Lines,
    /// Nothing: the supervise could not take charge of the service, and has told the user why.
    CannotServe,
}

/// How far a service is that others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The service is about to be ready, or nothing is known of it yet.
    Starting,
    /// Those that wait for the service may start.
    Ready,
    /// The service is not going to be ready for now: it is down, or is to be started again later.
    Unready,
}

/// What svscan does with services whose entry is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRemove {
    /// svscan leaves them running, as the original does.
    #[default]
    Leave,
    /// svscan stops them.
    Stop,
}

/// Both supervises that a service can have, whether or not it has a logger.
pub fn both(id: Id) -> [SuperviseId; 2] {
    [Part::Service, Part::Logger].map(|part| SuperviseId { id, part })
}

/// The service, or its logger, as messages have it.
pub fn label(part: Part, name: &OsStr) -> OsString {
    match part {
        Part::Service => name.to_os_string(),
        Part::Logger => joined(name, LOG),
    }
}
