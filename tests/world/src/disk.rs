//! A log directory on a disk, as plain values: what processes see of it, and what a power cut may leave.
//!
//! Each file has two contents: the one that processes see, and the one that is surely on the disk because it was
//! synced. The names of the directory are kept twice in the same way. A power cut leaves either content, or the synced
//! one and half of what was appended since. Inode numbers are reused soon: a new file gets the lowest free one.

use daemontools::logdir::{CURRENT, JOURNAL, Old, PREVIOUS, is_old};
use multilog::journal::layout::Words;
use nix::errno::Errno;
use std::collections::BTreeMap;

/// The number of bytes for input in a journal of this world.
pub const ROOM: usize = 32;

/// The content of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The bytes of a log file, or the room for input in a journal.
    pub bytes: Vec<u8>,
    /// The words at the beginning of a journal. They lie in one page, which a power cut never tears.
    pub words: BTreeMap<usize, u64>,
    /// Whether the mode is 0744: the writer of the file has ended it in order.
    pub is_complete: bool,
}

impl Words for Content {
    fn load(&self, index: usize) -> u64 {
        self.words.get(&index).copied().unwrap_or(0)
    }

    fn store(&mut self, index: usize, value: u64) {
        self.words.insert(index, value);
    }

    fn room(&self) -> &[u8] {
        &self.bytes
    }

    fn room_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn mend(&mut self) {}
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// The inode number.
    pub number: u64,
    /// The content that processes see.
    pub now: Content,
    /// The content that is surely on the disk.
    pub synced: Content,
}

/// The part of what was not synced that a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing of it is left.
    Nothing,
    /// Half of the appended bytes are left, and no changes in place.
    Half,
    /// All appended bytes are left, and no changes in place.
    Files,
    /// All changes in place are left, and no appended bytes.
    Journal,
    /// All of it is left.
    All,
}

/// A log directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    inodes: Vec<Inode>,
    /// Whether the disk refuses writes.
    pub is_read_only: bool,
    /// The bytes of the old files that were removed, in their order.
    pub removed: Vec<u8>,
}

impl Disk {
    /// Returns the inode number of the file that has this name.
    pub fn lookup(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    /// Returns the file that has this inode number.
    pub fn inode(&self, number: u64) -> Option<&Inode> {
        self.inodes.iter().find(|inode| inode.number == number)
    }

    fn inode_mut(&mut self, number: u64) -> nix::Result<&mut Content> {
        if self.is_read_only {
            return Err(Errno::EROFS);
        }
        self.inodes.iter_mut().find(|inode| inode.number == number).map(|inode| &mut inode.now).ok_or(Errno::EBADF)
    }

    /// Returns the file that has this name.
    pub fn file(&self, name: &str) -> Option<&Inode> {
        self.lookup(name).and_then(|number| self.inode(number))
    }

    /// Makes a new file of these bytes. It replaces a file that has its name.
    ///
    /// # Errors
    /// EROFS.
    pub fn replace(&mut self, name: &str, bytes: Vec<u8>) -> nix::Result<u64> {
        self.remove(name).or_else(|errno| if errno == Errno::ENOENT { Ok(()) } else { Err(errno) })?;
        if self.is_read_only {
            return Err(Errno::EROFS);
        }
        let number = (1..).find(|number| self.inode(*number).is_none()).unwrap_or(0);
        let now = Content { bytes, ..Content::default() };
        self.inodes.push(Inode { number, now, synced: Content::default() });
        self.names.insert(name.into(), number);
        Ok(number)
    }

    /// Opens the file of this name for appending, and makes it if it is missing. Returns its inode number.
    ///
    /// # Errors
    /// EROFS.
    pub fn open(&mut self, name: &str) -> nix::Result<u64> {
        match self.lookup(name) {
            _ if self.is_read_only => Err(Errno::EROFS),
            Some(number) => Ok(number),
            None => self.replace(name, Vec::new()),
        }
    }

    /// Removes a name.
    ///
    /// # Errors
    /// EROFS, ENOENT.
    pub fn remove(&mut self, name: &str) -> nix::Result<()> {
        if self.is_read_only {
            return Err(Errno::EROFS);
        }
        let number = self.names.remove(name).ok_or(Errno::ENOENT)?;
        if is_old(name.as_bytes())
            && let Some(inode) = self.inodes.iter().find(|inode| inode.number == number)
        {
            self.removed.extend(&inode.now.bytes);
        }
        Ok(())
    }

    /// Renames a file. It replaces a file that has the new name.
    ///
    /// # Errors
    /// EROFS, ENOENT.
    pub fn rename(&mut self, from: &str, to: &str) -> nix::Result<()> {
        if self.is_read_only {
            return Err(Errno::EROFS);
        }
        let number = self.names.remove(from).ok_or(Errno::ENOENT)?;
        self.names.insert(to.into(), number);
        Ok(())
    }

    /// Appends bytes to a file.
    ///
    /// # Errors
    /// EROFS.
    pub fn append(&mut self, number: u64, bytes: &[u8]) -> nix::Result<()> {
        self.inode_mut(number).map(|content| content.bytes.extend(bytes))
    }

    /// Cuts a file to this length.
    ///
    /// # Errors
    /// EROFS.
    pub fn truncate(&mut self, number: u64, size: u64) -> nix::Result<()> {
        self.inode_mut(number).map(|content| content.bytes.truncate(usize::try_from(size).unwrap_or(usize::MAX)))
    }

    /// Sets the mode of a file.
    ///
    /// # Errors
    /// EROFS.
    pub fn set_complete(&mut self, number: u64, is_complete: bool) -> nix::Result<()> {
        self.inode_mut(number).map(|content| content.is_complete = is_complete)
    }

    /// Changes a file through its mapping in memory, which works also while the disk refuses writes.
    pub fn store(&mut self, number: u64, change: impl FnOnce(&mut Content)) {
        if let Some(inode) = self.inodes.iter_mut().find(|inode| inode.number == number) {
            change(&mut inode.now);
        }
    }

    /// Syncs a file: all of it is on the disk afterwards.
    pub fn sync(&mut self, number: u64) {
        if let Some(inode) = self.inodes.iter_mut().find(|inode| inode.number == number) {
            inode.synced = inode.now.clone();
        }
    }

    /// Syncs the directory: all names are on the disk afterwards.
    pub fn sync_names(&mut self) {
        self.synced_names = self.names.clone();
    }

    /// Writes to the disk everything that is only in memory, as the kernel does at some time.
    pub fn sync_all(&mut self) {
        self.inodes.iter_mut().for_each(|inode| inode.synced = inode.now.clone());
        self.sync_names();
    }

    /// Cuts the power. If `names`, the disk has kept the changes of names that were not synced.
    pub fn cut(&mut self, names: bool, left: Left) {
        if !names {
            self.names = self.synced_names.clone();
        }
        for inode in &mut self.inodes {
            let is_journal = !inode.now.words.is_empty();
            let appended = inode.now.bytes.strip_prefix(&inode.synced.bytes[..]).filter(|_| !is_journal);
            let half = match (left, appended) {
                (Left::All, _) => continue,
                (Left::Files, _) if !is_journal => continue,
                (Left::Journal, _) if is_journal => continue,
                (Left::Half, Some(appended)) => appended.iter().take(appended.len() / 2).copied().collect(),
                (Left::Half, None) | (Left::Nothing | Left::Files | Left::Journal, _) => Vec::new(),
            };
            inode.synced.bytes.extend(half);
            inode.now = inode.synced.clone();
        }
        self.sync_all();
        self.forget(&[]);
    }

    /// Removes the files that have no name and that no process has open.
    pub fn forget(&mut self, open: &[u64]) {
        let Disk { names, synced_names, inodes, .. } = self;
        let is_named = |number: &u64| names.values().chain(synced_names.values()).any(|named| named == number);
        inodes.retain(|inode| is_named(&inode.number) || open.contains(&inode.number));
    }

    /// Returns the old files.
    pub fn old_files(&self) -> Vec<Old> {
        let size = |number: &u64| self.inode(*number).map_or(0, |inode| inode.now.bytes.len() as u64);
        let old = self.names.iter().filter(|(name, _)| is_old(name.as_bytes()));
        old.map(|(name, number)| Old { name: name.clone().into_bytes(), size: size(number) }).collect()
    }

    /// Returns the log files in the order of their lines.
    pub fn log(&self) -> impl Iterator<Item = &Inode> {
        let old = self.names.iter().filter(|(name, _)| is_old(name.as_bytes())).map(|(name, _)| &name[..]);
        old.chain([PREVIOUS, CURRENT]).filter_map(|name| self.file(name))
    }

    /// Returns the log files and the journal as they were synced last, which a power cut leaves at least.
    pub fn certain(&self) -> (Vec<&Content>, Option<&Content>) {
        let is_certain = |number: &u64| self.synced_names.values().any(|named| named == number);
        let synced = |number: &u64| self.inode(*number).map(|inode| &inode.synced);
        let log = self.names.iter().filter(|(name, number)| *name != JOURNAL && is_certain(number));
        let journal = self.names.get(JOURNAL).filter(|number| self.synced_names.get(JOURNAL) == Some(number));
        (log.filter_map(|(_, number)| synced(number)).collect(), journal.and_then(synced))
    }
}
