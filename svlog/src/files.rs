//! Which file of a log directory is read after which. At the end of one the next is found thus:
//!
//! 1. the file now has a finished name: the next finished one, else what is full (`previous`), else `current`;
//! 2. it is what is full: `current`;
//! 3. it is gone (a processor made another of it, it was compressed, or removed as too old): all that was finished
//!    since it was `current`.
//!
//! A file is known by its inode while it is open, so a rotation changes only its name.

use crate::folder::{Finished, Folder, Id, LogFile, Look, Place, last_fall};
use daemontools::Unable;
use daemontools::tai64::{self, Tai64N};
use std::collections::VecDeque;

/// The files of a directory, one after the other.
pub struct Files<'a> {
    folder: &'a Folder,
    /// What was finished before this is left out.
    since: Option<Tai64N>,
    /// Finished files that come next.
    queue: VecDeque<Finished>,
    /// The finished file taken last, readable or not.
    passed: Option<Tai64N>,
    /// The newest finished file when one that is not finished was taken.
    newest: Option<Tai64N>,
    /// See [`last_fall`].
    fall: Option<Tai64N>,
    /// The one before the next, as long as there was nothing to be read.
    pub before: Option<LogFile>,
    /// Whether one could not be read.
    pub failed: bool,
}

/// What comes after a file.
pub struct Following {
    /// None: nothing yet.
    pub file: Option<LogFile>,
    /// The one before is gone: what comes begins with lines that were in it.
    pub gone: bool,
}

impl<'a> Files<'a> {
    /// All, but for those that were finished before `since`.
    pub fn new(folder: &'a Folder, since: Option<Tai64N>) -> Files<'a> {
        let queue = VecDeque::new();
        Files { folder, since, queue, passed: None, newest: None, fall: None, before: None, failed: false }
    }

    /// Only those that come after this one, which was among those looked at.
    pub fn begin_after(&mut self, place: &Place, look: &Look) {
        self.newest = newest(&look.finished);
        self.fall = last_fall(&look.finished, tai64::now());
        if let Place::Finished(own) = place {
            self.passed = Some(own.label);
            self.queue = look.finished.iter().filter(|finished| finished.label > own.label).cloned().collect();
        }
    }

    /// What comes after `own`, whose name may have changed; after none, the first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn after(&mut self, mut own: Option<&mut LogFile>) -> Result<Following, Unable> {
        let mut gone = false;
        loop {
            if let Some(file) = self.next_finished() {
                return Ok(Following { file: Some(file), gone });
            }
            let Look { finished, full, current } = self.folder.look()?;
            self.fall = last_fall(&finished, tai64::now());
            let id = own.as_ref().map(|file| file.id);
            match own.as_deref_mut() {
                None => self.before = self.folder.last_before(&finished, self.since),
                Some(LogFile { place: Place::Finished(_), .. }) => {}
                Some(_) if full.as_ref().map(|file| file.id) == id => {
                    self.newest = newest(&finished);
                    return Ok(Following { file: current, gone });
                }
                Some(file) => match self.renamed(&finished, file.id) {
                    Some(renamed) => {
                        self.passed = Some(renamed.label);
                        file.place = Place::Finished(renamed);
                    }
                    None => {
                        gone = true;
                        self.passed = self.newest;
                    }
                },
            }
            let newest = newest(&finished);
            let (since, passed) = (self.since, self.passed);
            let is_next = |file: &Finished| {
                passed.is_none_or(|passed| file.label > passed) && since.is_none_or(|since| file.label >= since)
            };
            self.queue = finished.into_iter().filter(is_next).collect();
            if self.queue.is_empty() {
                self.newest = newest;
                return Ok(Following { file: full.or(current).filter(|file| Some(file.id) != id), gone });
            }
        }
    }

    /// Whether what comes after this finished file is all later than its name: no name tells otherwise.
    pub fn rises_after(&self, finished: &Finished) -> bool {
        self.fall.is_none_or(|fall| finished.label > fall)
    }

    /// Of the finished files that come next, the one that has the bytes that were read of `own`, from there on; those
    /// before it are older than `own`, and passed.
    pub fn take_same(&mut self, own: &LogFile) -> Option<LogFile> {
        let same = |finished| own.go_on_in(&self.folder.finished_file(finished).ok()??).ok()?;
        let found = self.queue.iter().enumerate().find_map(|(number, finished)| Some((number, same(finished)?)));
        let (number, file) = found?;
        self.passed = self.queue.drain(..=number).next_back().map(|finished| finished.label);
        Some(file)
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

    /// What the file is now that was opened before it was finished.
    fn renamed(&self, finished: &[Finished], own: Id) -> Option<Finished> {
        let mut later = finished.iter().filter(|file| self.newest.is_none_or(|newest| file.label > newest));
        later.find(|file| self.folder.id_of(&file.name) == Some(own)).cloned()
    }
}

fn newest(finished: &[Finished]) -> Option<Tai64N> {
    finished.last().map(|finished| finished.label)
}
