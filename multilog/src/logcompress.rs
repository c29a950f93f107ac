//! logcompress: compresses the old files of a log directory, after everything else.
//!
//! `logcompress zstd|gzip DIR`
//!
//! 1. Locks `compressing.lock` in the directory; while another logcompress has it, there is nothing to do.
//! 2. Takes the last place in the queues for the processor and the disk.
//! 3. For each old file, `@LABEL.s` or `@LABEL.u`, the oldest first: writes `compressing`, to the disk too, renames it
//!    to `@LABEL.s.zst` or `@LABEL.s.gz`, and removes the old file.
//! 4. Looks again, until there are no more.
//!
//! Killed at any moment it leaves the old file or the whole new one, between the last two steps both; the next
//! logcompress removes the old one if the new one unpacks to the same bytes. Whatever else has the new name stays,
//! and so does the old file.
//!
//! Exit codes: 0; 100, wrong usage, or DIR is no log directory; 111, a file cannot be compressed, it stays as it was. Only a full disk keeps it
//! from the others.

use crate::files;
use daemontools::files::open_directory;
use daemontools::logdir::{COMPRESSING, COMPRESSING_LOCK, CURRENT, Compression, PREVIOUS, is_old, plain_name};
use daemontools::report::{self, PERMANENT, TEMPORARY, errno_of};
use daemontools::service::LOG;
use daemontools::sys;
use daemontools::{Args, Attempt, Fatal, Help, Unable};
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{FileStat, Mode, fchmod, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// What the program answers when it is asked for help.
pub const HELP: Help = Help {
    usage: "logcompress: usage: logcompress zstd|gzip dir",
    text: "\
Compresses the old files of the log directory dir, after all that wants the processor or
the disk.

Exit codes: 0; 100, wrong usage, or dir is no log directory; 111, a file cannot be compressed
and stays as it was.
",
};

const BUFFER: usize = 64 * 1024;

/// The program, from its arguments to its exit code.
///
/// # Errors
/// Its exit codes say which: input, output or a directory cannot be used.
pub fn logcompress(mut args: Args) -> Result<i32, Fatal> {
    let format = args.next().and_then(|format| Compression::from_word(format.as_bytes()));
    let (Some(format), Some(path), None) = (format, args.next(), args.next()) else {
        return Err(Fatal::usage(HELP.usage));
    };
    if path == "." {
        // As multilog calls it, and each multilog of a machine.
        report::name_directory();
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let place = open_directory(AT_FDCWD, Path::new(&path)).unable_to("open directory", &path);
    let place = place.map_err(|unable| unable.where_missing(Path::new(&path)))?;
    let folder = openat(&place, ".", flags, Mode::empty()).unable_to("open directory", &path);
    let folder = folder.map_err(|unable| unable.where_denied(Path::new(&path)))?;
    if !is_log_directory(&folder).unable_to("read directory", &path)? {
        return Err(no_log_directory(Path::new(&path)));
    }
    let locked = match lock(&folder) {
        Err(Errno::EAGAIN) => return Ok(0),
        Err(Errno::ESTALE) => {
            let unable = Unable::new("lock directory", &path, Errno::EAGAIN);
            return Err(unable.because("its lock is replaced again and again").into());
        }
        locked => locked.unable_to("lock directory", &path).map_err(|unable| {
            let lock = Path::new(&path).join(COMPRESSING_LOCK);
            unable.where_missing(&lock)
        })?,
    };
    // A file that may not grow is a file that cannot be compressed.
    SigSet::from_iter([Signal::SIGXFSZ]).thread_block().unable_to("block signals", "")?;
    sys::scheduling::lower_priority();
    let directory = Directory { path, folder, format };
    let code = directory.compress_all();
    // The lock is removed while it is held: a logcompress that opens it meanwhile looks whether it is still there.
    let _ = files::remove_at(&directory.folder, COMPRESSING_LOCK);
    drop(locked);
    code
}

/// Whether a directory has a file that multilog writes to, or an old file.
fn is_log_directory(folder: &OwnedFd) -> nix::Result<bool> {
    if files::stat_at(folder, CURRENT)?.is_some() || files::stat_at(folder, PREVIOUS)?.is_some() {
        return Ok(true);
    }
    let mut entries = Dir::openat(folder, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(entries.iter().flatten().any(|entry| is_old(entry.file_name().to_bytes())))
}

/// `DIR is no log directory: …`, with the log directory of the service in whose directory DIR is, if it is where services
/// usually have it.
fn no_log_directory(path: &Path) -> Fatal {
    let usual = [path.join("main"), path.join(LOG).join("main")];
    let meant = usual.iter().find(|directory| directory.join(CURRENT).exists());
    let meant = meant.map(|directory| [b": did you mean ", directory.as_os_str().as_bytes(), b"?"].concat());
    let words = b" is no log directory: it has neither current nor old files";
    Fatal::new(PERMANENT, &[path.as_os_str().as_bytes(), words, &meant.unwrap_or_default()])
}

/// # Errors
/// EAGAIN: another one works there. ESTALE: each lock was replaced before it could be locked.
fn lock(folder: &OwnedFd) -> nix::Result<OwnedFd> {
    for _ in 0..files::TRIES {
        let (file, stat) = match files::open_lock(folder, COMPRESSING_LOCK) {
            // It may be the lock of another program, which logcompress must not take.
            Err(Errno::EMLINK) => {
                files::remove_at(folder, COMPRESSING_LOCK)?;
                continue;
            }
            opened => opened?,
        };
        let locked = sys::lock::lock_within(file, Duration::ZERO)?;
        if files::stat_at(folder, COMPRESSING_LOCK)?.is_some_and(|there| files::is_same(&there, &stat)) {
            return Ok(locked);
        }
    }
    Err(Errno::ESTALE)
}

/// A log directory.
struct Directory {
    path: OsString,
    folder: OwnedFd,
    format: Compression,
}

impl Directory {
    /// Compresses all that there is, and what comes meanwhile. A file that cannot be read stops no other file; a full
    /// disk stops all of them.
    fn compress_all(&self) -> Result<i32, Fatal> {
        let mut failed = Vec::new();
        loop {
            let mut names = self.plain_names()?;
            names.retain(|name| !failed.contains(name));
            let mut done = 0;
            for name in names {
                match self.compress(&name) {
                    Ok(compressed) => done += usize::from(compressed),
                    Err(unable) if matches!(unable.errno, Errno::ENOSPC | Errno::EDQUOT) => return Err(unable.into()),
                    Err(unable) => {
                        unable.warn();
                        failed.push(name);
                    }
                }
            }
            if done == 0 {
                return Ok(if failed.is_empty() { 0 } else { TEMPORARY });
            }
        }
    }

    /// The names of the old files that are not compressed, the oldest first.
    fn plain_names(&self) -> Result<Vec<Vec<u8>>, Fatal> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let mut entries =
            Dir::openat(self.folder.as_fd(), ".", flags, Mode::empty()).unable_to("read directory", &self.path)?;
        let names = entries.iter().flatten().map(|entry| entry.file_name().to_bytes().to_vec());
        let mut names: Vec<Vec<u8>> = names.filter(|name| is_old(name) && plain_name(name) == &name[..]).collect();
        names.sort();
        Ok(names)
    }

    /// Compresses one file. Returns false if there is no such file any more, or if it is no regular file.
    fn compress(&self, name: &[u8]) -> Result<bool, Unable> {
        let plain = OsStr::from_bytes(name);
        let path = self.path_of(name);
        let (from, stat) = match files::open_regular(&self.folder, plain, OFlag::O_RDONLY, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO | Errno::EISDIR) => return Ok(false),
            opened => opened.unable_to("open", &path)?,
        };
        if files::is_hole(&stat) {
            return Err(Unable::new("compress", &path, Errno::EFBIG));
        }
        // The copy could be read by the directory's owner or group, though the file itself may be another's.
        if files::may_be_anothers(&self.folder, &stat).unable_to("stat", &self.path)? {
            return Err(Unable::new("compress", &path, Errno::EMLINK));
        }
        let from = File::from(from);
        let compressed = match self.named_as_compressed(name) {
            Some(there) if self.unpacks_to(&there, &from).unable_to("compare", self.path_of(&there))? => there,
            // What has the name is no copy of this file, and may be another account's: it is not replaced.
            Some(there) => return Err(Unable::new("make", self.path_of(&there), Errno::EEXIST)),
            None => self.write_whole(from, &stat, name)?,
        };
        match unlinkat(&self.folder, plain, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            // Another program has removed the old file meanwhile, and wants neither of the two.
            Err(Errno::ENOENT) => {
                let _ = files::remove_at(&self.folder, OsStr::from_bytes(&compressed));
                Ok(true)
            }
            Err(errno) => Err(Unable::new("remove", &path, errno)),
        }
    }

    /// Makes the compressed file of this one, and returns its name.
    fn write_whole(&self, from: File, stat: &FileStat, name: &[u8]) -> Result<Vec<u8>, Unable> {
        let unfinished = self.path_of(COMPRESSING.as_bytes());
        if let Err(error) = self.write(from, stat) {
            let _ = files::remove_at(&self.folder, COMPRESSING);
            return Err(Unable::new("compress", self.path_of(name), errno_of(&error)));
        }
        let compressed = [name, self.format.suffix().as_bytes()].concat();
        renameat(&self.folder, COMPRESSING, &self.folder, OsStr::from_bytes(&compressed))
            .unable_to("rename", &unfinished)?;
        // The new name has to be on the disk before the old one is removed.
        sys::directory::sync(&self.folder).unable_to("write to disk directory", &self.path)?;
        Ok(compressed)
    }

    /// The name of its compressed file, if something has that already: what a logcompress has made that was killed
    /// before it could remove the old file, or whatever others have put there.
    fn named_as_compressed(&self, name: &[u8]) -> Option<Vec<u8>> {
        Compression::ALL
            .iter()
            .map(|how| [name, how.suffix().as_bytes()].concat())
            .find(|name| files::stat_at(&self.folder, OsStr::from_bytes(name)).is_ok_and(|found| found.is_some()))
    }

    /// Whether a compressed file has every byte of the old file, and no more: only then the old one may go.
    fn unpacks_to(&self, compressed: &[u8], plain: &File) -> io::Result<bool> {
        let name = OsStr::from_bytes(compressed);
        let file = match files::open_regular(&self.folder, name, OFlag::O_RDONLY, Mode::empty()) {
            Ok((file, _)) => File::from(file),
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO | Errno::EISDIR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        let unpacked: Box<dyn Read> = match Compression::of_name(compressed) {
            Some(Compression::Gzip) => Box::new(MultiGzDecoder::new(file)),
            Some(Compression::Zstd) | None => Box::new(zstd::Decoder::new(file)?),
        };
        Ok(is_same(unpacked, plain).unwrap_or(false))
    }

    /// Writes the compressed file, to the disk too; it looks as old as the other one.
    fn write(&self, mut from: File, stat: &FileStat) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(0o600);
        let to = File::from(files::replace_at(&self.folder, COMPRESSING, OFlag::O_WRONLY, mode)?);
        let to = match self.format {
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(to, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.include_checksum(true)?;
                // Less memory for small files, and their length for readers.
                encoder.set_pledged_src_size(u64::try_from(stat.st_size).ok())?;
                copy(&mut from, &mut encoder)?;
                encoder.finish()?
            }
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(to, flate2::Compression::default());
                copy(&mut from, &mut encoder)?;
                encoder.finish()?
            }
        };
        fchmod(&to, Mode::from_bits_truncate(stat.st_mode & 0o777))?;
        let modified = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
        futimens(&to, &modified, &modified)?;
        Ok(fsync(&to)?)
    }

    fn path_of(&self, name: &[u8]) -> OsString {
        report::joined(&self.path, OsStr::from_bytes(name))
    }
}

/// Whether the bytes that are read are those of a file, from its beginning to its end.
///
/// # Errors
/// What is read is no compressed file, or is cut short; a file cannot be read.
fn is_same(mut unpacked: impl Read, plain: &File) -> io::Result<bool> {
    let (mut ours, mut theirs, mut offset) = (vec![0; BUFFER], vec![0; BUFFER], 0);
    loop {
        let length = unpacked.read(&mut ours)?;
        if length == 0 {
            return Ok(plain.read_at(&mut theirs, offset)? == 0);
        }
        let theirs = &mut theirs[..length];
        match plain.read_exact_at(theirs, offset) {
            Ok(()) if *theirs == ours[..length] => offset += length as u64,
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn copy(from: &mut File, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
