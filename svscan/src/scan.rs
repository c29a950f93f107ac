//! Looking at the scan directory: at the entries that have changed, and from time to time at all entries. svscan tells the
//! table what it sees.

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

/// The time between two scans. The kernel reports most changes at once; the scan finds those that it does not report.
const INTERVAL: Duration = Duration::from_secs(5);
/// A change of the mounts causes a scan, but not sooner after the last one than this: on some machines mounts come and go
/// all the time.
const MOUNTS: Duration = Duration::from_secs(1);

/// When svscan scans the directory, and which of its entries it looks at then.
#[derive(Debug)]
pub struct Scan {
    /// Services without a logger, of which some are asked at each scan whether they have one now.
    pub late_loggers: LateLoggers,
    link_recheck: LinkRecheck,
    /// When the next scan is due.
    next: Instant,
    /// When the last scan was.
    last: Option<Instant>,
}

/// What svscan needs to look up an entry: what it asks about the entry, and what it tells about it.
pub struct EntryLookup<'a> {
    pub table: &'a mut Table,
    pub probe: &'a mut Probe,
    pub diagnostics: &'a mut Diagnostics,
}

/// What a look at the directory has found besides entries, which the table is told.
#[derive(Debug)]
pub struct ScanOutcome {
    /// Watched services whose supervise has written a new state.
    pub new_states: HashSet<Id>,
    /// svscan has looked at all entries.
    pub was_full: bool,
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

    /// Makes a scan due now, which checks every link.
    pub fn request(&mut self, now: Instant) {
        self.link_recheck.recheck_all();
        self.next = now;
    }

    /// Looks at the entries that have changed, and at all entries when a scan is due.
    pub fn look(&mut self, changes: &mut Changes, lookup: &mut EntryLookup, now: Instant) -> ScanOutcome {
        if !changes.are_reported() {
            self.link_recheck.recheck_all();
        }
        if lookup.probe.refresh() {
            self.link_recheck.recheck_all();
            let earliest = self.last.map_or(now, |last| now.max(last + MOUNTS));
            self.next = self.next.min(earliest);
        }
        let is_due = now >= self.next;
        if is_due {
            self.scan_all(lookup);
            self.late_loggers.look(lookup.table, lookup.probe, lookup.diagnostics);
            (self.next, self.last) = (now + INTERVAL, Some(now));
        }
        // svscan reads the reports after the scan: it then knows how each entry that the scan has found was made, before it
        // starts the service.
        let reports = changes.read(lookup.probe, now);
        if reports.is_moved {
            let words = b"directory was moved, and is still served";
            lookup.diagnostics.warn_once(Subject::Directory, words.to_vec());
        }
        if reports.some_were_lost {
            self.link_recheck.recheck_all();
            self.scan_all(lookup);
        }
        reports.entries.iter().for_each(|name| lookup.look_up(name));
        ScanOutcome { new_states: reports.states, was_full: is_due }
    }

    /// Looks at all entries of the directory.
    fn scan_all(&mut self, lookup: &mut EntryLookup) {
        if let Some(most) = settings::starts_at_a_time(lookup.probe, lookup.diagnostics) {
            lookup.table.limit_starts(most);
        }
        lookup.table.begin_scan();
        lookup.diagnostics.begin_scan();
        self.link_recheck.begin_scan(lookup.probe.is_told_of_mounts());
        let (device, links) = stat(".").map_or((0, 1), |file| (file.st_dev, file.st_nlink));
        if links == 0 {
            lookup.diagnostics.warn_once(Subject::Directory, b"directory was removed".to_vec());
            return lookup.table.end_scan();
        }
        let read = fs::read_dir(".").and_then(|entries| {
            for entry in entries {
                self.listed(&entry?, device, lookup);
            }
            Ok(())
        });
        match read.unable_to("read directory", "") {
            Ok(()) => {
                lookup.table.end_scan();
                lookup.diagnostics.end_scan();
            }
            // The scan is not complete: an entry that it has not read need not be gone.
            Err(unable) => lookup.diagnostics.warn_unable_once(Subject::Directory, &unable),
        }
    }

    /// Takes in an entry of the listing. From the listing alone svscan knows that a file is a file, and that a directory is the
    /// one that it was, unless another file system is mounted over it. svscan has to ask where a link leads.
    fn listed(&mut self, entry: &DirEntry, device: u64, lookup: &mut EntryLookup) {
        let (name, inode) = (entry.file_name(), entry.ino());
        match entry.file_type() {
            Ok(kind) if kind.is_file() => lookup.refuse_file(&name),
            Ok(kind) if kind.is_dir() => {
                let is_due = self.link_recheck.is_directory_due(inode);
                if is_due || !lookup.table.confirm_entry(&name, Id { device, inode }) {
                    lookup.look_up(&name);
                }
            }
            Ok(kind) if kind.is_symlink() => {
                if self.link_recheck.is_due(inode) || !lookup.table.keep_link(&name, inode) {
                    lookup.look_up(&name);
                    lookup.table.link_resolved(&name, inode);
                }
            }
            Ok(_) | Err(_) => lookup.look_up(&name),
        }
    }
}

impl EntryLookup<'_> {
    /// Looks at the entry of this name, which may not exist.
    pub fn look_up(&mut self, name: &OsStr) {
        if is_hidden(name) {
            return;
        }
        let subject = || Subject::Entry(name.into());
        match self.probe.resolve_entry(name) {
            Entry::Directory(id) => self.table.entry_seen(name, id),
            Entry::File => self.refuse_file(name),
            Entry::Gone => self.table.entry_gone(name),
            Entry::Dangling(unable) => {
                self.table.entry_gone(name);
                self.diagnostics.warn_unable_once(subject(), &unable);
            }
            Entry::Unknown(unable) => {
                self.table.keep_entry(name);
                self.diagnostics.warn_unable_once(subject(), &unable);
            }
        }
    }

    /// The entry of this name is no directory: svscan says so.
    fn refuse_file(&mut self, name: &OsStr) {
        if !is_hidden(name) {
            self.table.entry_gone(name);
            let unable = Unable::new("supervise", name, Errno::ENOTDIR);
            self.diagnostics.warn_unable_once(Subject::Entry(name.into()), &unable);
        }
    }
}

/// Whether svscan ignores an entry: its name begins with a dot.
fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}
