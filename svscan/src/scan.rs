//! Looking at the scan directory: at what has changed there, and at all its entries from time to time. What is seen is told to
//! the table.

use crate::changes::Changes;
use crate::diagnostics::{Diagnostics, Subject};
use crate::late_loggers::LateLoggers;
use crate::link_recheck::LinkRecheck;
use crate::probe::{Entry, Probe};
use crate::settings;
use crate::table::{Id, Table};
use daemontools::{Attempt, Unable};
use nix::errno::Errno;
use nix::sys::stat::stat;
use std::collections::HashSet;
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
    /// Services without a logger.
    pub late_loggers: LateLoggers,
    link_recheck: LinkRecheck,
    next: Instant,
    last: Option<Instant>,
}

/// What a look at the directory asks, and tells what it has seen.
pub struct Known<'a> {
    pub table: &'a mut Table,
    pub probe: &'a mut Probe,
    pub diagnostics: &'a mut Diagnostics,
}

/// What else a look at the directory has brought to light.
#[derive(Debug)]
pub struct Seen {
    /// Watched services of which there is a new state.
    pub states: HashSet<Id>,
    /// All entries were looked at.
    pub all: bool,
}

impl Scan {
    /// The first scan is due.
    pub fn new(now: Instant) -> Scan {
        Scan { late_loggers: LateLoggers::default(), link_recheck: LinkRecheck::default(), next: now, last: None }
    }

    /// When the next scan is due.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// The whole directory is to be looked at now.
    pub fn request(&mut self, now: Instant) {
        self.link_recheck.recheck_all();
        self.next = now;
    }

    /// Looks at what has changed in the directory, and at all of it when that is due.
    pub fn look(&mut self, changes: &mut Changes, known: &mut Known, now: Instant) -> Seen {
        if !changes.are_reported() {
            self.link_recheck.recheck_all();
        }
        if known.probe.refresh() {
            self.link_recheck.recheck_all();
            let earliest = self.last.map_or(now, |last| now.max(last + MOUNTS));
            self.next = self.next.min(earliest);
        }
        let is_due = now >= self.next;
        if is_due {
            self.all(known);
            self.late_loggers.look(known.table, known.probe, known.diagnostics);
            (self.next, self.last) = (now + INTERVAL, Some(now));
        }
        // After the scan: how an entry came to be is known before it is started.
        let reports = changes.read(known.probe, now);
        if reports.is_moved {
            let words = b"directory was moved, and is still served";
            known.diagnostics.warn_once(Subject::Directory, words.to_vec());
        }
        if reports.some_were_lost {
            self.link_recheck.recheck_all();
            self.all(known);
        }
        reports.entries.iter().for_each(|name| known.look_at(name));
        Seen { states: reports.states, all: is_due }
    }

    /// Looks at the whole directory.
    fn all(&mut self, known: &mut Known) {
        if let Some(most) = settings::starts_at_a_time(known.probe, known.diagnostics) {
            known.table.limit_starts(most);
        }
        known.table.begin_scan();
        known.diagnostics.begin_scan();
        self.link_recheck.begin_scan(known.probe.is_told_of_mounts());
        let (device, links) = stat(".").map_or((0, 1), |file| (file.st_dev, file.st_nlink));
        if links == 0 {
            known.diagnostics.warn_once(Subject::Directory, b"directory was removed".to_vec());
            return known.table.end_scan();
        }
        let read = fs::read_dir(".").and_then(|entries| {
            for entry in entries {
                self.listed(&entry?, device, known);
            }
            Ok(())
        });
        match read.unable_to("read directory", "") {
            Ok(()) => {
                known.table.end_scan();
                known.diagnostics.end_scan();
            }
            // What was not read is not gone for that.
            Err(unable) => known.diagnostics.warn_unable_once(Subject::Directory, &unable),
        }
    }

    /// An entry as the listing has it. The listing alone tells that a file is a file, and that a directory is the one it was,
    /// unless another file system is mounted over it. Where a link leads must be asked.
    fn listed(&mut self, entry: &DirEntry, device: u64, known: &mut Known) {
        let (name, inode) = (entry.file_name(), entry.ino());
        match entry.file_type() {
            Ok(kind) if kind.is_file() => known.file(&name),
            Ok(kind) if kind.is_dir() => {
                let is_due = self.link_recheck.is_directory_due(inode);
                if is_due || !known.table.confirm(&name, Id { device, inode }) {
                    known.look_at(&name);
                }
            }
            Ok(kind) if kind.is_symlink() => {
                if self.link_recheck.is_due(inode) || !known.table.keep_link(&name, inode) {
                    known.look_at(&name);
                    known.table.asked(&name, inode);
                }
            }
            Ok(_) | Err(_) => known.look_at(&name),
        }
    }
}

impl Known<'_> {
    /// Looks at one entry of the directory, which may not exist.
    pub fn look_at(&mut self, name: &OsStr) {
        if is_hidden(name) {
            return;
        }
        let subject = || Subject::Entry(name.into());
        match self.probe.entry(name) {
            Entry::Directory(id) => self.table.seen(name, id),
            Entry::File => self.file(name),
            Entry::Gone => self.table.gone(name),
            Entry::Dangling(unable) => {
                self.table.gone(name);
                self.diagnostics.warn_unable_once(subject(), &unable);
            }
            Entry::Unknown(unable) => {
                self.table.keep(name);
                self.diagnostics.warn_unable_once(subject(), &unable);
            }
        }
    }

    /// The entry is no directory.
    fn file(&mut self, name: &OsStr) {
        if !is_hidden(name) {
            self.table.gone(name);
            let unable = Unable::new("supervise", name, Errno::ENOTDIR);
            self.diagnostics.warn_unable_once(Subject::Entry(name.into()), &unable);
        }
    }
}

/// Whether an entry is no service, and nothing to complain of.
fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}
