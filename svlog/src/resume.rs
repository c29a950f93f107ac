//! Finds the position in a log again up to which another svlog has shown it. Since then the file may have another name,
//! may be compressed, rewritten by a processor, or removed.
//!
//! 1. A file with a finished name keeps its label, however it is compressed.
//! 2. Another file is known by its inode, if the bytes before the position are the same; or else by these bytes, in one
//!    of the files that were finished since.
//! 3. If there is no such file, all files follow that were finished since, from the stamp of the last line on.

use crate::folder::{Folder, Look};
use crate::log_file::LogFile;
use crate::mark::Mark;
use daemontools::hash::hash;
use daemontools::logdir::Finished;
use daemontools::tai64::Tai64N;
use std::io;

/// The file with the position, at that position.
pub fn find(folder: &Folder, look: &Look, mark: &Mark) -> Option<LogFile> {
    let opened = |finished: &Finished| folder.finished_file(finished).ok().flatten();
    if mark.label.is_some() {
        let finished = look.finished.iter().find(|finished| Some(finished.label) == mark.label)?;
        return opened(finished)?.moved_to(mark.offset).ok();
    }
    let is_same = |file: &&LogFile| file.id == mark.id;
    let unnamed = || look.current.iter().chain(&look.full).filter(is_same).find_map(|file| at_mark(file, mark));
    let is_later = |finished: &&Finished| mark.after.is_none_or(|after| finished.label > after);
    let later = || look.finished.iter().filter(is_later);
    let named = || {
        let mut renamed = later().filter(|finished| folder.id_of(&finished.name) == Some(mark.id)).filter_map(opened);
        renamed.find_map(|file| at_mark(&file, mark))
    };
    let copied = || later().filter_map(opened).find_map(|file| at_mark(&file, mark));
    let in_full = || look.full.iter().find_map(|file| at_mark(file, mark));
    unnamed().or_else(named).or_else(copied).or_else(in_full)
}

/// A file at the position, if the bytes before it are those that were read.
fn at_mark(file: &LogFile, mark: &Mark) -> Option<LogFile> {
    let bytes = file.before(mark.offset, mark.length).ok().filter(|bytes| bytes.len() as u64 == mark.length)?;
    if hash(&bytes) == mark.hash { file.moved_to(mark.offset).ok() } else { None }
}

/// The position of the next line in a file.
///
/// # Errors
/// The bytes before it cannot be read.
pub fn mark(file: &LogFile, offset: u64, after: Option<Tai64N>, last: Option<Tai64N>) -> io::Result<Mark> {
    let label = file.label();
    // The label alone tells a finished file from all others.
    let bytes = if label.is_some() { Vec::new() } else { file.before(offset, offset.min(TAIL))? };
    Ok(Mark { label, id: file.id, offset, after, length: bytes.len() as u64, hash: hash(&bytes), last })
}

/// How many bytes before a position are hashed: enough for a line of usual length and its stamp.
const TAIL: u64 = 256;
