//! The pockets of supervises: what keeps the socket that a service speaks through when its supervise is killed (see
//! [`pocket`](daemontools::sys::pocket)).
//!
//! A service, or a logger, has one from the first supervise on that finds one of the settings by which it has such a
//! socket. A supervise that an earlier svscan started in another process still has its own, which svscan takes a share
//! of.

use crate::procfs::variable_of;
use crate::table::{Id, Part, SuperviseId};
use daemontools::sys::pocket::{Pocket, VARIABLE};
use daemontools::sys::process::{PidFd, duplicate_above};
use nix::fcntl::OFlag;
use nix::unistd::{Pid, dup3};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The pocket of each service and logger that has one.
#[derive(Debug)]
pub struct Pockets {
    pockets: HashMap<SuperviseId, Pocket>,
    /// What a supervise gets its pocket through: a descriptor with a low number, the same in svscan and in the supervise.
    low_fd: OwnedFd,
}

/// Whether a service may speak to its supervise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// It has a setting for that.
    Possible,
    /// It has none.
    Impossible,
}

impl Pockets {
    /// Makes a value without any pocket. The low descriptor is a duplicate of `null` as long as no supervise is being
    /// started: a pocket that stayed there would outlive its service.
    ///
    /// # Errors
    /// EMFILE: no descriptors.
    pub fn new(null: impl AsFd) -> nix::Result<Pockets> {
        Ok(Pockets { pockets: HashMap::new(), low_fd: duplicate_above(null, 3)? })
    }

    /// The pocket that the next supervise of this part gets, under the number that it has there, if the service may speak
    /// or has a pocket already. Without a pocket, supervise works all the same.
    pub fn lend(&mut self, which: SuperviseId, speech: Speech) -> Option<BorrowedFd<'_>> {
        let pocket = match self.pockets.entry(which) {
            Entry::Occupied(pocket) => pocket.into_mut(),
            Entry::Vacant(none) => match speech {
                Speech::Possible => none.insert(Pocket::create().ok()?),
                Speech::Impossible => return None,
            },
        };
        dup3(&*pocket, &mut self.low_fd, OFlag::O_CLOEXEC).ok()?;
        Some(self.low_fd.as_fd())
    }

    /// Takes in that the supervise has what was lent to it: the low descriptor is free again.
    pub fn take_back(&mut self, null: impl AsFd) {
        let _ = dup3(null, &mut self.low_fd, OFlag::O_CLOEXEC);
    }

    /// Takes over a pocket that an earlier svscan in this process has handed over.
    pub fn resume(&mut self, which: SuperviseId, socket: OwnedFd) {
        self.pockets.extend(Pocket::of(socket).ok().map(|pocket| (which, pocket)));
    }

    /// Looks for the pocket of a supervise that another svscan has started. It must be proven that it is a supervise.
    pub fn find(&mut self, which: SuperviseId, pid: Pid) {
        if self.pockets.contains_key(&which) {
            return;
        }
        let number = variable_of(pid, VARIABLE).and_then(|number| number.parse().ok());
        let socket = number.and_then(|number| PidFd::open(pid).ok()?.descriptor(number).ok());
        socket.into_iter().for_each(|socket| self.resume(which, socket));
    }

    /// Forgets what is kept for a service that is gone.
    pub fn forget(&mut self, id: Id) {
        for part in [Part::Service, Part::Logger] {
            self.pockets.remove(&SuperviseId { id, part });
        }
    }

    /// All pockets.
    pub fn all(&self) -> impl Iterator<Item = (SuperviseId, BorrowedFd<'_>)> {
        self.pockets.iter().map(|(which, pocket)| (*which, pocket.as_fd()))
    }
}

/// The value of the variable of a supervise that has a pocket.
pub fn variable(lent: BorrowedFd) -> String {
    format!("{VARIABLE}={}", lent.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervise_has_a_pocket_once_its_service_may_speak() {
        let which = |part| SuperviseId { id: Id { device: 1, inode: 2 }, part };
        let null = std::fs::File::open("/dev/null").unwrap();
        let mut pockets = Pockets::new(&null).unwrap();
        assert!(pockets.lend(which(Part::Service), Speech::Impossible).is_none());
        let socket = pockets.lend(which(Part::Service), Speech::Possible).unwrap().try_clone_to_owned().unwrap();
        Pocket::of(socket).unwrap().put(null.as_fd()).unwrap();
        let again = pockets.lend(which(Part::Service), Speech::Impossible).unwrap().try_clone_to_owned().unwrap();
        assert!(Pocket::of(again).unwrap().look().is_some(), "the next one has the same");
        assert!(pockets.lend(which(Part::Logger), Speech::Impossible).is_none());
        assert_eq!(pockets.all().count(), 1);
        pockets.take_back(&null);
        pockets.forget(which(Part::Service).id);
        assert_eq!(pockets.all().count(), 0);
    }
}
