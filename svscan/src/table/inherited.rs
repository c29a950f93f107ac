//! What an earlier svscan in this process has known, and what the next one has to know. No clock, no I/O.

use super::parts::both;
use super::records::Service;
use super::supervise::{Supervise, SuperviseState};
use super::{Delayed, Id, Table};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::time::Instant;

impl Table {
    /// The services that are not present and whose loggers read on.
    pub fn reading_on(&self) -> impl Iterator<Item = Id> {
        self.services.iter().filter(|(_, service)| service.reads_on).map(|(id, _)| *id)
    }

    /// Takes over that the logger of a service without an entry reads on, as an earlier svscan in this process knew.
    pub fn inherit_reading_on(&mut self, id: Id) {
        if let Some(service) = self.services.get_mut(&id) {
            service.reads_on = true;
        }
    }

    /// Takes over a service that is up but not present from an earlier svscan in this process, with these supervises:
    /// that of the service, and that of its logger.
    pub fn inherit(&mut self, id: Id, name: &OsStr, [main, log]: [Option<Pid>; 2]) {
        let service = Service {
            name: name.to_os_string(),
            main: Some(Supervise::idle()),
            log: log.map(|_| Supervise::idle()),
            inherited: true,
            ..Service::default()
        };
        self.services.insert(id, service);
        self.absent.insert(name, id);
        for (which, pid) in both(id).into_iter().zip([main, log]) {
            if let Some(pid) = pid {
                self.pids.insert(pid, which);
                self.set(which, SuperviseState::Up(pid));
            }
        }
    }

    /// Takes over that an earlier svscan in this process would have started a supervise with this delay after `now`.
    pub fn expect_delayed(&mut self, delayed: &Delayed, now: Instant) {
        self.delayed.insert(delayed.which, (now + delayed.wait, delayed.failures));
    }

    /// Supervises that are to be started later than `now`.
    pub fn delayed(&self, now: Instant) -> impl Iterator<Item = Delayed> {
        let of_services = self.services.keys().flat_map(|id| both(*id)).filter_map(move |which| {
            let supervise = self.supervise(which)?;
            match supervise.state {
                SuperviseState::Due(at) => Some((which, at, supervise.failures)),
                SuperviseState::Idle | SuperviseState::Starting | SuperviseState::Up(_) => None,
            }
        });
        let of_earlier = self.delayed.iter().map(|(which, (at, failures))| (*which, *at, *failures));
        of_services.chain(of_earlier).filter(move |(_, at, _)| *at > now).map(move |(which, at, failures)| Delayed {
            which,
            wait: at.duration_since(now),
            failures,
        })
    }

    /// Services that are not present but up, and their last names.
    pub fn absent(&self) -> impl Iterator<Item = (Id, &OsStr)> {
        self.absent.iter()
    }
}
