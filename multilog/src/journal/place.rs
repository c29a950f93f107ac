//! Finds and makes the journal's file, and distinguishes it from other files of its name.

use super::buffer::Buffer;
use super::checkpoint::Checkpoint;
use super::layout::{self, OURS, ROOM, SIZE, START, eight};
use super::verdict::{JournalState, Verdict, verdict};
use super::{Journal, Memory, first_format};
use crate::files;
use daemontools::logdir::JOURNAL;
use daemontools::report::errno_of;
use daemontools::sys::boot::Boot;
use daemontools::sys::mapping::Mapping;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::stat::{FileStat, Mode};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::geteuid;
use std::os::fd::{AsFd, OwnedFd};

/// What a multilog has left in a directory.
pub enum LeftJournal {
    /// There is no journal, or it was of another boot and was removed.
    None,
    /// The journal of a multilog that was killed.
    Usable(Journal),
    /// There is a journal with input in it, and it is not known whether it is of this boot. After a crash of the
    /// machine the lines in it may be in the directories as well, or be damaged.
    Doubtful,
}

/// Looks for a journal that was left in a log directory, whose lock is held.
///
/// # Errors
/// There may be one, and it cannot be read now.
pub fn find(directory: &OwnedFd, boot: &Boot) -> nix::Result<LeftJournal> {
    let (file, stat) = match files::open_regular(directory, JOURNAL, OFlag::O_RDWR, Mode::empty()) {
        Ok(opened) => opened,
        // There is no journal, or what has its name is no file of multilog's.
        Err(Errno::ENOENT | Errno::ELOOP | Errno::EISDIR | Errno::ENXIO | Errno::ENODEV) => {
            return Ok(LeftJournal::None);
        }
        Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) => return Ok(LeftJournal::None),
        Err(errno) => return Err(errno),
    };
    if !is_ours(&stat) || stat.st_size != SIZE as i64 {
        return Ok(LeftJournal::None);
    }
    let mut kind = [0; 8];
    let version = match pread(&file, &mut kind, 0) {
        Ok(8) => u64::from_ne_bytes(kind),
        _ => 0,
    };
    if version != OURS && version != first_format::OURS {
        return Ok(LeftJournal::None);
    }
    let map = match Mapping::new(file, SIZE) {
        Ok(map) => map,
        Err(Errno::EMFILE) => return Err(Errno::EMFILE),
        // The multilog that made the file could map it, and this one cannot.
        Err(_) => return Ok(LeftJournal::Doubtful),
    };
    recover(directory, map, version, boot)
}

fn recover(directory: &OwnedFd, map: Mapping, version: u64, boot: &Boot) -> nix::Result<LeftJournal> {
    let is_first_format = version == first_format::OURS;
    let mut words = Memory::Mapped(map);
    let read = if is_first_format { first_format::read_checkpoint(&words) } else { layout::read_checkpoint(&words) };
    let mut checkpoint = if read.is_possible(ROOM) { read } else { Checkpoint::blank() };
    // A multilog of the first format closed no journal.
    let is_closed = !is_first_format && layout::is_closed(&words);
    let state = JournalState {
        is_of_this_boot: if is_first_format {
            first_format::is_of_boot(&words, boot.kernel_id().unwrap_or_default())
        } else {
            Boot::from_words(&layout::boot(&words)).is_same_kernel(boot)
        },
        is_closed,
        has_input: checkpoint.has_input(),
    };
    let input = if is_first_format { first_format::input(&words) } else { layout::input(&words) };
    let known_input = match verdict(state) {
        Verdict::CarryOn => Some(input),
        Verdict::CarryOnAfterBoot => {
            checkpoint.forget_devices();
            None
        }
        Verdict::Doubt => return Ok(LeftJournal::Doubtful),
        Verdict::Discard => {
            let _ = files::remove_at(directory, JOURNAL);
            return Ok(LeftJournal::None);
        }
    };
    if is_first_format {
        first_format::change_to_todays_format(&mut words, &checkpoint, input, &boot.to_string());
    }
    let folder = Some(dup(directory)?);
    let mut buffer = Buffer::carry_on(words, checkpoint, known_input);
    if is_closed {
        layout::set_boot(&mut buffer.words, &boot.to_string());
    }
    Ok(LeftJournal::Usable(Journal { buffer, folder, lost: None }))
}

/// Whether a file is one that a multilog of this account made, and under no other name: what is in it is believed, for
/// example where to cut other directories' files.
fn is_ours(stat: &FileStat) -> bool {
    stat.st_uid == geteuid().as_raw() && stat.st_nlink == 1
}

fn dup(directory: &OwnedFd) -> nix::Result<OwnedFd> {
    directory.try_clone().map_err(|error| errno_of(&error))
}

/// Whether something other than a journal of multilog's has its name in this directory. A journal that was made only in
/// part has nothing but zeros.
///
/// # Errors
/// The errors of opening and reading what is there.
pub fn is_blocked(directory: &OwnedFd) -> nix::Result<bool> {
    let (file, stat) = match files::open_regular(directory, JOURNAL, OFlag::O_RDONLY, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::ENOENT) => return Ok(false),
        // A link, a directory, a file of another account, a socket.
        Err(Errno::ELOOP | Errno::EISDIR | Errno::EACCES | Errno::ENXIO) => return Ok(true),
        Err(errno) => return Err(errno),
    };
    let mut start = [0; START];
    let read = pread(&file, &mut start, 0)?;
    let kind = u64::from_ne_bytes(eight(&start[..8]));
    let is_journal = kind == OURS || kind == first_format::OURS;
    Ok(!is_ours(&stat) || !is_journal && start[..read].iter().any(|byte| *byte != 0))
}

/// Makes a new journal in a log directory whose lock is held. An older journal, which is of no use any more, is
/// removed.
///
/// # Errors
/// EEXIST: something else has its name. ENOSPC, EDQUOT: no room for it. EFBIG: files may not be so large. ENODEV,
/// EINVAL, EOPNOTSUPP: files cannot be mapped there. Whatever else the file system says.
pub fn make(directory: &OwnedFd, boot: &Boot) -> nix::Result<Journal> {
    if is_blocked(directory)? {
        return Err(Errno::EEXIST);
    }
    let folder = Some(dup(directory)?);
    let file = files::replace_at(directory, JOURNAL, OFlag::O_RDWR, Mode::from_bits_truncate(0o600))?;
    let map = match fill(&file).and_then(|()| Mapping::new(file, SIZE)) {
        Ok(map) => map,
        Err(errno) => {
            let _ = files::remove_at(directory, JOURNAL);
            return Err(errno);
        }
    };
    let buffer = Buffer::make(Memory::Mapped(map), &boot.to_string());
    Ok(Journal { buffer, folder, lost: None })
}

/// Gives every byte its place on the disk. Later, a store to the mapped file could not report that there is no room.
fn fill(file: impl AsFd) -> nix::Result<()> {
    match fallocate(&file, FallocateFlags::empty(), 0, SIZE as i64) {
        Ok(()) => Ok(()),
        Err(errno @ (Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG | Errno::EIO | Errno::EROFS)) => Err(errno),
        // Where the file system cannot do that, or a filter forbids it, the bytes are written.
        Err(_) => write_zeros(file),
    }
}

fn write_zeros(file: impl AsFd) -> nix::Result<()> {
    let zeros = [0; 8192];
    let mut at = 0;
    while at < SIZE {
        match pwrite(&file, &zeros[..zeros.len().min(SIZE - at)], at as i64) {
            Ok(0) => return Err(Errno::ENOSPC),
            Ok(written) => at += written,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
