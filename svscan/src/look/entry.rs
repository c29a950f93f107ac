//! What an entry of the scan directory leads to.

use crate::identity::{self, id_of};
use crate::table::Id;
use daemontools::encoding::Encode;
use nix::errno::Errno;
use nix::sys::stat::{lstat, stat};
use nix::unistd::{AccessFlags, access};
use std::path::Path;

/// What an entry of the scan directory leads to, with the reason where that is not known or leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory(Id),
    /// Something that is no directory.
    File,
    /// Nothing: the entry is gone, or changes just now.
    Gone,
    /// Nothing, though the entry is there.
    Dangling(Errno),
    /// The system does not tell.
    Unknown(Errno),
}

impl Encode for EntryKind {
    fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            EntryKind::Directory(id) => (0u8, *id).encode(bytes),
            EntryKind::File => 1u8.encode(bytes),
            EntryKind::Gone => 2u8.encode(bytes),
            EntryKind::Dangling(errno) => (3u8, *errno).encode(bytes),
            EntryKind::Unknown(errno) => (4u8, *errno).encode(bytes),
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<EntryKind> {
        match u8::decode(bytes)? {
            0 => Id::decode(bytes).map(EntryKind::Directory),
            1 => Some(EntryKind::File),
            2 => Some(EntryKind::Gone),
            3 => Errno::decode(bytes).map(EntryKind::Dangling),
            4 => Errno::decode(bytes).map(EntryKind::Unknown),
            _ => None,
        }
    }
}

/// Where an entry of the scan directory leads, which can be touched.
pub fn resolve(name: &Path) -> EntryKind {
    let refusal = match identity::of(name) {
        Ok(id) => return EntryKind::Directory(id),
        Err(Errno::ENOTDIR) if stat(name).is_ok() => return EntryKind::File,
        Err(errno @ (Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)) => errno,
        Err(errno) => return EntryKind::Unknown(errno),
    };
    // If a link is created or removed just now, the second look finds another link.
    let link = || lstat(name).map(|file| id_of(&file));
    let before = link();
    let dangles = before.is_ok() && stat(name).is_err() && link() == before;
    if dangles { EntryKind::Dangling(refusal) } else { EntryKind::Gone }
}

/// Where an entry of the scan directory leads, if that is on the same mount, on which the numbers of files are kept.
pub fn resolve_here(name: &Path) -> Option<EntryKind> {
    Some(match identity::of_on_mount(name)? {
        Ok(id) => EntryKind::Directory(id),
        Err(_) => EntryKind::File,
    })
}

/// Whether `name` still leads to the service, and may be entered. The caller has made sure that it can be touched.
///
/// # Errors
/// It does not (ENOENT), or may not be entered.
pub fn still_there(name: &Path, id: Id) -> nix::Result<()> {
    match identity::of(name) {
        Ok(found) if found == id => access(name, AccessFlags::X_OK),
        Ok(_) | Err(Errno::ENOTDIR) => Err(Errno::ENOENT),
        Err(errno) => Err(errno),
    }
}
