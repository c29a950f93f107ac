//! What the table keeps of each entry and of each service, as data.

use super::parts::Id;
use super::supervise::Supervise;
use std::ffi::OsString;

/// An entry that leads to a directory.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: Id,
    /// The number of the scan that has seen the entry last.
    pub scan: u64,
    /// The inode of the entry itself, if that is a link whose target is known; otherwise 0.
    pub link: u64,
}

/// A service, present or not.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// The entries that lead to the service; the first gives it its name. Empty: not present.
    pub names: Vec<OsString>,
    /// The name that the service had when it was last present.
    pub name: OsString,
    /// The service's own supervise; `None`: not inspected.
    pub main: Option<Supervise>,
    /// `None`: not inspected, or without a logger.
    pub log: Option<Supervise>,
    /// An earlier svscan has inspected the service. It is inspected again once it is present.
    pub inherited: bool,
    /// svscan has started the supervise of the logger again while the service was not present, and so has to tell it to end.
    pub reads_on: bool,
    /// The services for which this one waits before its first start.
    pub blocked_by: Vec<Id>,
    /// The place of the service in the sequence in which services were inspected.
    pub number: usize,
    /// How far stopping the service has come, if it is to be stopped.
    pub stop: Option<StopStage>,
    /// svscan has told the service or its logger to stop.
    pub told: bool,
}

/// How far stopping a service has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopStage {
    /// svscan waits for the services that come after this one.
    Waiting,
    /// svscan waits for the service.
    Service,
    /// svscan waits for the logger.
    Logger,
}
