//! The journal's file: how it is found, made, and told from what is none.

use super::{
    ACTIVE, ANY, BOOT, CLOSED, Checkpoint, INPUT, Id, Journal, KIND, Memory, OURS, READING, ROOM, SINCE, SIZE, START,
    before, read_checkpoint, write_checkpoint_to,
};
use crate::files;
use daemontools::logdir::JOURNAL;
use daemontools::report::errno_of;
use daemontools::sys::boot::Boot;
use daemontools::sys::mapping::Mapping;
use daemontools::sys::process::boot_id;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::stat::{FileStat, Mode};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::geteuid;
use std::os::fd::{AsFd, OwnedFd};

/// What a multilog has left in a directory.
pub enum Left {
    /// Nothing, or what was of another boot, and is of no use to anyone.
    Nothing,
    /// The journal of a multilog that was killed.
    Journal(Journal),
    /// A journal with input in it of which it cannot be told whether it is of this boot. After a crash the lines in it
    /// may be in the directories too, or be no lines.
    Doubtful,
}

/// Looks for a journal that was left in a log directory, whose lock is held.
///
/// # Errors
/// There may be one, and it cannot be read now.
pub fn find(directory: &OwnedFd, boot: &Boot) -> nix::Result<Left> {
    let (file, stat) = match files::open_regular(directory, JOURNAL, OFlag::O_RDWR, Mode::empty()) {
        Ok(opened) => opened,
        // There is none, or it is not ours to write.
        Err(Errno::ENOENT | Errno::ELOOP | Errno::EISDIR | Errno::ENXIO | Errno::ENODEV) => return Ok(Left::Nothing),
        Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) => return Ok(Left::Nothing),
        Err(errno) => return Err(errno),
    };
    if !is_ours(&stat) || stat.st_size != SIZE as i64 {
        return Ok(Left::Nothing);
    }
    let mut kind = [0; 8];
    let version = match pread(&file, &mut kind, 0) {
        Ok(8) => u64::from_ne_bytes(kind),
        _ => 0,
    };
    if version != OURS && version != before::OURS {
        return Ok(Left::Nothing);
    }
    let map = match Mapping::new(file, SIZE) {
        Ok(map) => map,
        Err(Errno::EMFILE) => return Err(Errno::EMFILE),
        // What made it could map it, and we cannot.
        Err(_) => return Ok(Left::Doubtful),
    };
    recover(directory, map, version, boot)
}

fn recover(directory: &OwnedFd, mut map: Mapping, version: u64, boot: &Boot) -> nix::Result<Left> {
    let is_before = version == before::OURS;
    let (mut checkpoint, place) = if is_before { before::checkpoint(&map) } else { (read_checkpoint(&map), 0) };
    if checkpoint.done > checkpoint.filled || checkpoint.filled > ROOM {
        checkpoint = Checkpoint::blank();
    }
    let is_same = match is_before {
        true => before::is_of_boot(&map, &boot_id()),
        false => boot_of(&map).is_same_kernel(boot),
    };
    let is_closed = !is_before && map.load(CLOSED) == 1;
    let (input, since) = match is_before {
        true => before::input(&map),
        false => (Id { device: map.load(INPUT), inode: map.load(INPUT + 1) }, map.load(SINCE)),
    };
    if is_same != Some(true) && !is_closed {
        if is_same.is_none() && checkpoint.done < checkpoint.filled {
            return Ok(Left::Doubtful);
        }
        let _ = files::remove_at(directory, JOURNAL);
        return Ok(Left::Nothing);
    }
    if is_same != Some(true) {
        checkpoint.files.iter_mut().for_each(|file| file.folder.device = ANY);
    }
    if is_before {
        // Whenever we are killed in this it is a whole one, of one format or of the other.
        let other = before::other_place(place);
        write_checkpoint_to(&mut map, &checkpoint, other);
        map.store(ACTIVE, other as u64);
        store_input(&mut map, input, since);
        store_boot(&mut map, boot);
        map.store(CLOSED, 0);
        map.store(READING, 0);
        map.store(KIND, OURS);
    }
    let folder = Some(dup(directory)?);
    let (input, since) = if is_same == Some(true) { (Some(input), since) } else { (None, 0) };
    let mut journal = Journal { memory: Memory::Mapped(map), checkpoint, folder, lost: None, input, since };
    journal.write_checkpoint();
    journal.store(READING, 0);
    if let (Memory::Mapped(map), true) = (&mut journal.memory, is_closed) {
        store_boot(map, boot);
    }
    Ok(Left::Journal(journal))
}

fn store_input(map: &mut Mapping, input: Id, since: u64) {
    map.store(INPUT, input.device);
    map.store(INPUT + 1, input.inode);
    map.store(SINCE, since);
}

fn store_boot(map: &mut Mapping, boot: &Boot) {
    let mut text = boot.to_string().into_bytes();
    text.resize(8 * BOOT.len(), 0);
    let words = text.chunks_exact(8).map(|chunk| u64::from_ne_bytes(super::eight(chunk)));
    BOOT.zip(words).for_each(|(word, value)| map.store(word, value));
}

fn boot_of(map: &Mapping) -> Boot {
    let text: Vec<u8> = BOOT.flat_map(|word| map.load(word).to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    Boot::from_words(&String::from_utf8_lossy(&text))
}

/// Whether a file is one that a multilog of this account made, and under no other name: what is in it is believed, for
/// example where to cut other directories' files.
fn is_ours(stat: &FileStat) -> bool {
    stat.st_uid == geteuid().as_raw() && stat.st_nlink == 1
}

fn dup(directory: &OwnedFd) -> nix::Result<OwnedFd> {
    directory.try_clone().map_err(|error| errno_of(&error))
}

/// Whether something that is no journal of ours has its name in this directory. Half made ones have nothing but zeros.
///
/// # Errors
/// It cannot be told.
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
    let kind = u64::from_ne_bytes(super::eight(&start[..8]));
    let is_journal = kind == OURS || kind == before::OURS;
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
    let mut journal = Journal {
        memory: Memory::Mapped(map),
        checkpoint: Checkpoint::blank(),
        folder,
        lost: None,
        input: None,
        since: 0,
    };
    journal.write_checkpoint();
    if let Memory::Mapped(map) = &mut journal.memory {
        store_boot(map, boot);
        // The last: from here on it counts.
        map.store(KIND, OURS);
    }
    Ok(journal)
}

/// Every byte gets its place on the disk now: later it would be too late to hear that there is none.
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
