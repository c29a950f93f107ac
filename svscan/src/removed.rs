//! The directories of services whose entries are gone. svscan finds them through their supervises, which work there, and keeps
//! them open, so that the supervise of a logger that dies can be started again for the lines that it has not read.

use crate::identity;
use crate::procfs::process_path;
use crate::remote_mounts::RemoteMounts;
use crate::table::{Id, Part};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpid};
use std::collections::{HashMap, HashSet};
use std::fs::read_link;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// The directories, each only as a place in the file system.
#[derive(Debug, Default)]
pub struct Removed {
    held: HashMap<Id, OwnedFd>,
    /// The services whose directory was not found, as svscan had no descriptor, or nobody answered. It is looked for again.
    sought: HashSet<Id>,
}

impl Removed {
    /// Looks for the directory of a service through these supervises of it.
    pub fn hold(&mut self, id: Id, supervises: impl Iterator<Item = (Part, Pid)>, mounts: &mut RemoteMounts) {
        match supervises.into_iter().find_map(|(part, pid)| place(id, part, pid, mounts)) {
            Some(place) => {
                self.held.insert(id, place);
                self.sought.remove(&id);
            }
            None => drop(self.sought.insert(id)),
        }
    }

    /// The services whose directory is looked for.
    pub fn sought(&self) -> Vec<Id> {
        self.sought.iter().copied().collect()
    }

    /// A path that leads to the directory for as long as it is held.
    pub fn path(&self, id: Id) -> Option<PathBuf> {
        self.held.get(&id).map(path_of)
    }

    /// The service has an entry again, or is forgotten.
    pub fn let_go(&mut self, id: Id) {
        self.held.remove(&id);
        self.sought.remove(&id);
    }
}

fn place(id: Id, part: Part, pid: Pid, mounts: &mut RemoteMounts) -> Option<OwnedFd> {
    let path = match part {
        Part::Service => process_path(pid, "cwd"),
        // Where `log` is a link to elsewhere, this is another directory, and refused below.
        Part::Logger => process_path(pid, "cwd/.."),
    };
    mounts.probe(&read_link(process_path(pid, "cwd")).ok()?).ok()?;
    let place = open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    (identity::of(&path_of(&place)) == Ok(id)).then_some(place)
}

/// A path to a directory that is held. It does not lead by way of `/proc/self`: a supervise that is being started closes
/// svscan's descriptors before it goes there.
fn path_of(place: &OwnedFd) -> PathBuf {
    process_path(getpid(), &format!("fd/{}", place.as_raw_fd()))
}
