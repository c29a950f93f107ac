//! Decides in which order the files of a log directory are read. At the end of a file, the next one is:
//!
//! 1. if the file now has a finished name: the next finished file, else the full file (`previous`), else `current`;
//! 2. if it is the full file: `current`;
//! 3. if it is gone, and its bytes are in another file (a processor or a compressor has copied them), either in one
//!    that was finished since this file was `current`, or in the full file: that file, from the position up to which
//!    this one was read;
//! 4. if it is gone, and so are its bytes (a processor has rewritten them, or multilog has removed the file as too
//!    old): all files that were finished since this file was `current`.
//!
//! A file that is full when `current` is begun gets its finished name later: then it was finished since, but is older.
//!
//! svlog identifies an open file by its inode, so that a rotation changes only the name.

use crate::folder::{Folder, Look};
use crate::log_file::{Id, LogFile, Place};
use daemontools::Unable;
use daemontools::logdir::{Finished, last_fall};
use daemontools::tai64::{self, Tai64N};
use std::collections::VecDeque;

/// The files of a directory, one after the other.
pub struct Files<'a> {
    folder: &'a Folder,
    /// Files that were finished before this moment are left out.
    since: Option<Tai64N>,
    /// The finished files that come next.
    queue: VecDeque<Finished>,
    /// The finished file taken last, readable or not.
    passed: Option<Tai64N>,
    /// The newest finished file at the moment when an unfinished file was taken.
    newest: Option<Tai64N>,
    /// The full file before `current`, if it had no finished name yet when `current` was taken.
    unnamed: Option<LogFile>,
    /// The result of [`last_fall`].
    fall: Option<Tai64N>,
    /// The file before the next one, until bytes of the next one have been read.
    pub before: Option<LogFile>,
    /// Whether a file could not be read.
    pub failed: bool,
}

/// The file that comes after another one.
pub struct Following {
    /// The next file; none: there is no next file yet.
    pub file: Option<LogFile>,
    /// The relation of the next file to the one before it.
    pub relation: Relation,
}

/// The relation of a file to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The file has other lines.
    Other,
    /// The file is a copy of the one before, which is gone, and its position is the one up to which that was read.
    Copy,
    /// The file before is gone, and its lines may be in the files that come.
    Gone,
}

impl<'a> Files<'a> {
    /// Takes all files, except those that were finished before `since`.
    pub fn new(folder: &'a Folder, since: Option<Tai64N>) -> Files<'a> {
        let queue = VecDeque::new();
        Files {
            folder,
            since,
            queue,
            passed: None,
            newest: None,
            unnamed: None,
            fall: None,
            before: None,
            failed: false,
        }
    }

    /// Takes only the files that come after this one, which was among those looked at.
    pub fn begin_after(&mut self, place: &Place, look: &Look) {
        self.newest = newest(&look.finished);
        self.fall = last_fall(&look.finished, tai64::now());
        match place {
            Place::Finished(own) => {
                self.passed = Some(own.label);
                self.queue = look.finished.iter().filter(|finished| finished.label > own.label).cloned().collect();
            }
            Place::Current => self.unnamed = look.full.as_ref().and_then(|full| full.at(full.length()).ok()),
            Place::Previous | Place::Processed => {}
        }
    }

    /// Takes only the files that were finished after this moment, and those that are not finished.
    pub fn begin_after_label(&mut self, label: Option<Tai64N>) {
        self.passed = label;
    }

    /// The newest finished file at the moment when an unfinished file was taken.
    pub fn newest(&self) -> Option<Tai64N> {
        self.newest
    }

    /// The file that comes after `own`, whose name may have changed. Without `own`, the first file.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn after(&mut self, mut own: Option<&mut LogFile>) -> Result<Following, Unable> {
        let mut relation = Relation::Other;
        loop {
            if let Some(file) = self.next_finished() {
                return Ok(Following { file: Some(file), relation });
            }
            let look = self.folder.look()?;
            self.fall = last_fall(&look.finished, tai64::now());
            let id = own.as_ref().map(|file| file.id);
            match own.as_deref_mut() {
                None => self.before = self.folder.last_before(&look.finished, self.since),
                Some(LogFile { place: Place::Finished(_), .. }) => {}
                Some(file) if look.full.as_ref().map(|full| full.id) == id => {
                    self.newest = newest(&look.finished);
                    self.unnamed = look.current.as_ref().and_then(|_| file.at(file.offset).ok());
                    return Ok(Following { file: look.current, relation });
                }
                Some(file) => match self.renamed(&look.finished, file.id) {
                    Some(renamed) => {
                        self.passed = Some(renamed.label);
                        file.place = Place::Finished(renamed);
                    }
                    None => {
                        self.pass_unnamed(&look.finished);
                        if let Some(copy) = self.take_copy(file, &look) {
                            return Ok(Following { file: Some(copy), relation: Relation::Copy });
                        }
                        relation = Relation::Gone;
                        self.passed = self.newest;
                    }
                },
            }
            let Look { finished, full, current } = look;
            let newest = newest(&finished);
            let (since, passed) = (self.since, self.passed);
            let is_next = |file: &Finished| {
                passed.is_none_or(|passed| file.label > passed) && since.is_none_or(|since| file.label >= since)
            };
            self.queue = finished.into_iter().filter(is_next).collect();
            if self.queue.is_empty() {
                (self.newest, self.unnamed) = (newest, None);
                return Ok(Following { file: full.or(current).filter(|file| Some(file.id) != id), relation });
            }
        }
    }

    /// Whether all lines after this finished file are later than its name. They are, unless names tell otherwise.
    pub fn rises_after(&self, finished: &Finished) -> bool {
        self.fall.is_none_or(|fall| finished.label > fall)
    }

    /// Skips the full file before `current` under its new finished name, as it was read before.
    fn pass_unnamed(&mut self, finished: &[Finished]) {
        let Some(unnamed) = self.unnamed.take() else { return };
        let Some(next) = self.later(finished).next() else { return };
        let is_named = self.folder.id_of(&next.name) == Some(unnamed.id) || self.copy_in(&unnamed, next).is_some();
        if is_named {
            self.newest = Some(next.label);
        }
    }

    /// Takes the file that contains the bytes that were read of `own`, from there on. Finished files before it are
    /// older than `own`, and are skipped.
    fn take_copy(&mut self, own: &LogFile, look: &Look) -> Option<LogFile> {
        let mut later = self.later(&look.finished);
        if let Some((label, copy)) = later.find_map(|finished| Some((finished.label, self.copy_in(own, finished)?))) {
            self.queue = later.cloned().collect();
            self.passed = Some(label);
            return Some(copy);
        }
        let copy = own.go_on_in(look.full.as_ref()?).unwrap_or(None)?;
        self.newest = newest(&look.finished);
        Some(copy)
    }

    /// The finished file, from the position up to which `own` was read, if it has the same bytes before that position.
    /// If the file cannot be read, svlog says so when this file is next.
    fn copy_in(&self, own: &LogFile, finished: &Finished) -> Option<LogFile> {
        own.go_on_in(&self.folder.finished_file(finished).ok()??).ok()?
    }

    fn next_finished(&mut self) -> Option<LogFile> {
        while let Some(finished) = self.queue.pop_front() {
            self.passed = Some(finished.label);
            match self.folder.finished_file(&finished) {
                Ok(Some(file)) => return Some(file),
                Ok(None) => {}
                Err(unable) => {
                    unable.warn();
                    self.failed = true;
                }
            }
        }
        None
    }

    /// The kind and name that a file has now which was opened before it was finished.
    fn renamed(&self, finished: &[Finished], own: Id) -> Option<Finished> {
        self.later(finished).find(|file| self.folder.id_of(&file.name) == Some(own)).cloned()
    }

    /// The files that were finished since an unfinished file was taken.
    fn later<'f>(&self, finished: &'f [Finished]) -> impl Iterator<Item = &'f Finished> + use<'f> {
        let newest = self.newest;
        finished.iter().filter(move |file| newest.is_none_or(|newest| file.label > newest))
    }
}

fn newest(finished: &[Finished]) -> Option<Tai64N> {
    finished.last().map(|finished| finished.label)
}

#[cfg(test)]
mod tests;
