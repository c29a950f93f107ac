//! Looking at the scan directory: at all its entries, and at one of them. What is seen is told to the table.

use crate::diagnostics::{Diagnostics, Subject};
use crate::link_recheck::LinkRecheck;
use crate::probe::{Entry, Probe};
use crate::table::{Id, Table};
use daemontools::{Attempt, Unable};
use nix::errno::Errno;
use nix::sys::stat::stat;
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::time::{Duration, Instant};

/// The time between two scans. Changes are known at once where the kernel tells; the scan is the safety net.
const INTERVAL: Duration = Duration::from_secs(5);
/// Where mounts come and go all the time, the directory is scanned for that no more often than this.
const MOUNTS: Duration = Duration::from_secs(1);

/// When the directory is scanned, and which of its entries are looked at then.
#[derive(Debug)]
pub struct Scan {
    link_recheck: LinkRecheck,
    next: Instant,
    last: Option<Instant>,
}

impl Scan {
    /// The first scan is due.
    pub fn new(now: Instant) -> Scan {
        Scan { link_recheck: LinkRecheck::default(), next: now, last: None }
    }

    /// When the next scan is due.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// The next scan looks at every entry.
    pub fn recheck_all(&mut self) {
        self.link_recheck.recheck_all();
    }

    /// The whole directory is to be looked at now.
    pub fn request(&mut self, now: Instant) {
        self.recheck_all();
        self.next = now;
    }

    /// Something was mounted or unmounted.
    pub fn mounts_changed(&mut self, now: Instant) {
        self.recheck_all();
        let earliest = self.last.map_or(now, |last| now.max(last + MOUNTS));
        self.next = self.next.min(earliest);
    }

    /// Whether a scan is due; if so, the next one is due some time later.
    pub fn begin(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next;
        if is_due {
            (self.next, self.last) = (now + INTERVAL, Some(now));
        }
        is_due
    }

    /// Looks at the whole directory.
    pub fn all(&mut self, table: &mut Table, probe: &mut Probe, diagnostics: &mut Diagnostics) {
        table.begin_scan();
        diagnostics.begin_scan();
        self.link_recheck.begin_scan(probe.is_told_of_mounts());
        let (device, links) = stat(".").map_or((0, 1), |file| (file.st_dev, file.st_nlink));
        if links == 0 {
            diagnostics.warn_once(Subject::Directory, b"directory was removed".to_vec());
            return table.end_scan();
        }
        let read = fs::read_dir(".").and_then(|entries| {
            for entry in entries {
                self.listed(&entry?, device, table, probe, diagnostics);
            }
            Ok(())
        });
        match read.unable_to("read directory", "") {
            Ok(()) => {
                table.end_scan();
                diagnostics.end_scan();
            }
            // What was not read is not gone for that.
            Err(unable) => diagnostics.warn_unable_once(Subject::Directory, &unable),
        }
    }

    /// An entry as the listing has it. The listing alone tells that a file is a file, and that a directory is the one it was,
    /// unless another file system is mounted over it. Where a link leads must be asked.
    fn listed(
        &mut self,
        entry: &DirEntry,
        device: u64,
        table: &mut Table,
        probe: &mut Probe,
        diagnostics: &mut Diagnostics,
    ) {
        let (name, inode) = (entry.file_name(), entry.ino());
        match entry.file_type() {
            Ok(kind) if kind.is_file() => file(&name, table, diagnostics),
            Ok(kind) if kind.is_dir() => {
                let is_due = self.link_recheck.is_directory_due(inode);
                if is_due || !table.confirm(&name, Id { device, inode }) {
                    look_at(&name, table, probe, diagnostics);
                }
            }
            Ok(kind) if kind.is_symlink() => {
                if self.link_recheck.is_due(inode) || !table.keep_link(&name, inode) {
                    look_at(&name, table, probe, diagnostics);
                    table.asked(&name, inode);
                }
            }
            Ok(_) | Err(_) => look_at(&name, table, probe, diagnostics),
        }
    }
}

/// Looks at one entry of the directory, which may not exist.
pub fn look_at(name: &OsStr, table: &mut Table, probe: &mut Probe, diagnostics: &mut Diagnostics) {
    if is_hidden(name) {
        return;
    }
    let subject = || Subject::Entry(name.into());
    match probe.entry(name) {
        Entry::Directory(id) => table.seen(name, id),
        Entry::File => file(name, table, diagnostics),
        Entry::Gone => table.gone(name),
        Entry::Dangling(unable) => {
            table.gone(name);
            diagnostics.warn_unable_once(subject(), &unable);
        }
        Entry::Unknown(unable) => {
            table.keep(name);
            diagnostics.warn_unable_once(subject(), &unable);
        }
    }
}

/// An entry is no directory.
fn file(name: &OsStr, table: &mut Table, diagnostics: &mut Diagnostics) {
    if !is_hidden(name) {
        table.gone(name);
        diagnostics.warn_unable_once(Subject::Entry(name.into()), &Unable::new("supervise", name, Errno::ENOTDIR));
    }
}

/// Whether an entry is no service, and nothing to complain of.
fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}
