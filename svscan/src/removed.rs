//! The directories of services whose entries are gone. svscan finds them through their supervises, which work there,
//! and keeps them open, so that the supervise of a logger that dies can be started again for the lines that it has not
//! read.

use crate::identity::{self, id_of};
use crate::look::ResolveEntry;
use crate::look::entry::EntryKind;
use crate::procfs::process_path;
use crate::table::{Id, Part};
use daemontools::files::hold_on_mount;
use daemontools::service::RemoteMounts;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Pid, getpid};
use std::collections::{HashMap, HashSet};
use std::fs::read_link;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// The directories, each opened only as a place in the file system (O_PATH).
#[derive(Debug, Default)]
pub struct RemovedDirectories {
    held: HashMap<Id, OwnedFd>,
    /// The services whose directory svscan has not found, because it had no descriptor, or the file system did not answer.
    /// svscan looks for it again.
    sought: HashSet<Id>,
}

impl RemovedDirectories {
    /// Looks for the directory of a service through these supervises of it.
    pub fn keep_open(&mut self, id: Id, supervises: impl Iterator<Item = (Part, Pid)>, mounts: &mut RemoteMounts) {
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

    /// Closes the directory of a service that has an entry again, or is forgotten.
    pub fn close(&mut self, id: Id) {
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
    if let Some(place) = place_here(id, part, pid) {
        return Some(place);
    }
    mounts.touch([path.clone()]).ok()?;
    // To hold a place asks no server of FUSE, however long it has been since the helper touched it.
    let place = open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let held = ResolveEntry { name: path_of(&place), are_numbers_kept: false };
    (mounts.look([path_of(&place)], &held) == Ok(EntryKind::Directory(id))).then_some(place)
}

/// The directory of the service, opened as a place, if it lies on the mount of the scan directory, under the path that
/// `/proc` tells; otherwise `None`.
fn place_here(id: Id, part: Part, pid: Pid) -> Option<OwnedFd> {
    let works = read_link(process_path(pid, "cwd")).ok()?;
    let path = match part {
        Part::Service => &works,
        Part::Logger => works.parent()?,
    };
    let place = hold_on_mount(path).ok()?;
    let is_it = identity::are_numbers_kept_here() && id_of(&fstat(&place).ok()?) == id;
    is_it.then_some(place)
}

/// A path to a directory that is held. It does not lead by way of `/proc/self`: a supervise that is being started closes
/// svscan's descriptors before it goes there.
fn path_of(place: &OwnedFd) -> PathBuf {
    process_path(getpid(), &format!("fd/{}", place.as_raw_fd()))
}
