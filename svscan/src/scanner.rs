//! Looks at the scan directory, carries out what the table decides, and tells it what happens.

use crate::attach::{self, Attached};
use crate::complete::Complete;
use crate::diagnostics::{Diagnostics, Subject};
use crate::forward::{FORWARD, Forward};
use crate::handover::Handover;
use crate::identity::{self, id_of};
use crate::incomplete::Incomplete;
use crate::inspect::{self, AFTER, After, Logger, MOST_NAMES, ON_REMOVE, STARTS_AT_A_TIME};
use crate::launch::Launcher;
use crate::link_recheck::LinkRecheck;
use crate::orphans::Orphans;
use crate::pages::Pages;
use crate::ready_watch::ReadyWatch;
use crate::remote_mounts::RemoteMounts;
use crate::removed::Removed;
use crate::stopping::Stopping;
use crate::table::{Action, Id, OnRemove, Part, Remark, SuperviseId, Table, label};

use daemontools::service::{Directory, Process, Record, Unread};
use daemontools::sys::events::for_each_event;
use daemontools::sys::inherited_descriptor;
use daemontools::{Attempt, Unable};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::stat::{lstat, stat};
use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two scans. Changes are known at once where the kernel tells; the scan is the safety net.
const INTERVAL: Duration = Duration::from_secs(5);
/// Where mounts come and go all the time, the directory is scanned for that no more often than so.
const MOUNTS: Duration = Duration::from_secs(1);
/// So many services are asked at each scan whether they have a logger by now: all ten thousand would take too long.
const ASKED: usize = 100;

/// A scan directory, which is the current one, and its supervises.
pub struct Scanner {
    pub(crate) table: Table,
    pub(crate) launcher: Launcher,
    pub(crate) stopping: Stopping,
    pub(crate) inotify: Option<(Inotify, WatchDescriptor)>,
    pub(crate) ready_watch: ReadyWatch,
    pub(crate) orphans: Orphans,
    pub(crate) mounts: RemoteMounts,
    pub(crate) removed: Removed,
    pub(crate) forward: Forward,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) complete: Complete,
    incomplete: Incomplete,
    link_recheck: LinkRecheck,
    /// Services without a logger, those first that were not asked for long.
    unlogged: VecDeque<Id>,
    pub(crate) attached: Attached,
    /// Supervises of earlier svscans that ran when this one began.
    pub(crate) survivors: Vec<(Directory, Process)>,
    /// The last one that was looked at whether it is reached.
    pub(crate) last_seen: Option<SuperviseId>,
    next_scan: Instant,
    last_scan: Option<Instant>,
}

/// What came in from the kernel's reports.
#[derive(Default)]
struct Reports {
    entries: HashSet<OsString>,
    /// However often something was reported of each.
    heeded: HashSet<Id>,
    overflow: bool,
}

impl Scanner {
    /// Nothing is known yet; the first scan is due.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub fn new(launcher: Launcher, survivors: Vec<(Directory, Process)>, now: Instant) -> nix::Result<Scanner> {
        let mut diagnostics = Diagnostics::default();
        let inotify = watch().map_err(|unable| diagnostics.warn_unable_once(Subject::Watch, &unable)).ok();
        Ok(Scanner {
            table: Table::default(),
            launcher,
            stopping: Stopping::default(),
            inotify,
            ready_watch: ReadyWatch::default(),
            diagnostics,
            complete: Complete::default(),
            orphans: Orphans::default(),
            mounts: RemoteMounts::default(),
            removed: Removed::default(),
            forward: Forward::default(),
            incomplete: Incomplete::default(),
            link_recheck: LinkRecheck::default(),
            unlogged: VecDeque::new(),
            attached: Attached::new()?,
            survivors,
            last_seen: None,
            next_scan: now,
            last_scan: None,
        })
    }

    /// What is readable when there is something to do.
    pub fn sources(&self) -> Vec<BorrowedFd<'_>> {
        let changes = self.inotify.as_ref().map(|(inotify, _)| inotify.as_fd());
        changes.into_iter().chain([self.attached.as_fd()]).chain(self.mounts.changes()).collect()
    }

    /// Until when nothing is to be done unless something happens.
    pub fn deadline(&self) -> Instant {
        let deadlines =
            [self.table.deadline(), self.incomplete.deadline(), self.ready_watch.deadline(), self.stopping.deadline()];
        deadlines.into_iter().chain([self.forward.deadline()]).flatten().fold(self.next_scan, Instant::min)
    }

    /// The whole directory is to be looked at now.
    pub fn scan_now(&mut self, now: Instant) {
        self.link_recheck.recheck_all();
        self.next_scan = now;
    }

    /// Looks at what has changed in the directory, and at all of it when that is due.
    pub fn look(&mut self, now: Instant) {
        if self.inotify.is_none() {
            self.link_recheck.recheck_all();
        }
        if self.mounts.refresh() {
            self.link_recheck.recheck_all();
            let earliest = self.last_scan.map_or(now, |last| now.max(last + MOUNTS));
            self.next_scan = self.next_scan.min(earliest);
        }
        if now >= self.next_scan {
            self.scan();
            self.look_for_loggers();
            self.see_reached();
            self.next_scan = now + INTERVAL;
            self.last_scan = Some(now);
        }
        // After the scan: how an entry came to be is known before it is started.
        let reports = self.read_reports(now);
        if reports.overflow {
            self.link_recheck.recheck_all();
            self.scan();
        }
        reports.entries.iter().for_each(|name| self.entry(name));
        while let Some(name) = self.incomplete.entry(now) {
            self.entry(&name);
        }
        let mut todo = Vec::new();
        let on_remove = self.on_remove();
        self.table.settle(on_remove, now, &mut todo);
        // Looked into twice, as two of its entries have changed, a service would begin anew while it runs.
        let mut new = HashSet::new();
        todo.retain(|action| !matches!(action, Action::Inspect(id) if !new.insert(*id)));
        self.perform(todo, now);
        self.incomplete.looked();
        while let Some(id) = self.incomplete.overdue(now) {
            self.end_draft(id);
            self.admit(id, now);
        }
        self.heed(reports.heeded, now);
    }

    fn read_reports(&mut self, now: Instant) -> Reports {
        let mut reports = Reports::default();
        let watch = self.inotify.take();
        if let Some(watch) = &watch {
            // What cannot be read is found by the next scan.
            let _ = for_each_event(&watch.0, |event| self.take_report(event, watch, &mut reports, now));
        }
        self.inotify = watch;
        reports
    }

    fn take_report(
        &mut self,
        event: InotifyEvent,
        (inotify, directory): &(Inotify, WatchDescriptor),
        reports: &mut Reports,
        now: Instant,
    ) {
        reports.overflow |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
        if event.wd != *directory {
            reports.heeded.extend(self.ready_watch.told(event.wd));
            self.incomplete.changed(&event, inotify, now);
        } else if event.mask.contains(AddWatchFlags::IN_MOVE_SELF) {
            self.diagnostics.warn_once(Subject::Directory, b"directory was moved, and is still served".to_vec());
        } else {
            // `now` may be long ago by now, which is no time to a link that is left alone for a moment.
            reports.entries.extend(self.incomplete.entry_changed(event, Instant::now()));
        }
    }

    fn scan(&mut self) {
        self.table.begin_scan();
        self.diagnostics.begin_scan();
        self.link_recheck.begin_scan(self.mounts.is_told_of_mounts());
        self.limit_starts();
        let (device, links) = stat(".").map_or((0, 1), |file| (file.st_dev, file.st_nlink));
        if links == 0 {
            self.diagnostics.warn_once(Subject::Directory, b"directory was removed".to_vec());
            return self.table.end_scan();
        }
        let read = fs::read_dir(".").and_then(|entries| {
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                // The listing alone tells that a directory is the one it was, unless another file system is mounted
                // over it, and a file a file; of a link, where it leads must be asked.
                match entry.file_type() {
                    Ok(kind) if kind.is_file() => self.file(&name),
                    Ok(kind) if kind.is_dir() => self.directory(&name, Id { device, inode: entry.ino() }),
                    Ok(kind) if kind.is_symlink() => self.link(&name, entry.ino()),
                    _ => self.entry(&name),
                }
            }
            Ok(())
        });
        match read.unable_to("read directory", "") {
            Ok(()) => {
                self.table.end_scan();
                self.diagnostics.end_scan();
            }
            // What was not read is not gone for that.
            Err(unable) => self.diagnostics.warn_unable_once(Subject::Directory, &unable),
        }
    }

    fn limit_starts(&mut self) {
        let subject = Subject::Setting(STARTS_AT_A_TIME);
        let reached = self.mounts.probe(Path::new(STARTS_AT_A_TIME)).map_err(Unread::System);
        match reached.and_then(|()| inspect::starts_at_a_time()) {
            Ok(most) => {
                self.diagnostics.clear(&subject);
                self.table.limit_starts(most);
            }
            Err(unread) => {
                self.diagnostics.warn_once(subject, unread_words(STARTS_AT_A_TIME.as_bytes(), unread));
            }
        }
    }

    /// What is done with services whose entry is removed; nothing, where that cannot be read, which is said.
    fn on_remove(&mut self) -> OnRemove {
        let subject = Subject::Setting(ON_REMOVE);
        let reached = self.mounts.probe(Path::new(ON_REMOVE)).map_err(Unread::System);
        match reached.and_then(|()| inspect::on_remove()) {
            Ok(on_remove) => {
                self.diagnostics.clear(&subject);
                on_remove
            }
            Err(unread) => {
                self.diagnostics.warn_once(subject, unread_words(ON_REMOVE.as_bytes(), unread));
                OnRemove::default()
            }
        }
    }

    /// One that is known is asked what is mounted over it when it is its turn.
    fn directory(&mut self, name: &OsStr, listed: Id) {
        if self.link_recheck.is_directory_due(listed.inode) || !self.table.confirm(name, listed) {
            self.entry(name);
        }
    }

    /// One that is as it was is asked where it leads when it is its turn.
    fn link(&mut self, name: &OsStr, inode: u64) {
        if self.link_recheck.is_due(inode) || !self.table.keep_link(name, inode) {
            self.entry(name);
            self.table.asked(name, inode);
        }
    }

    /// Looks at one entry of the directory, which may not exist.
    pub(crate) fn entry(&mut self, name: &OsStr) {
        if is_hidden(name) {
            return;
        }
        let path = Path::new(name);
        let refusal = match self.mounts.probe(path).and_then(|()| identity::of(path)) {
            Ok(id) => return self.table.seen(name, id),
            Err(Errno::ENOTDIR) if stat(name).is_ok() => return self.file(name),
            Err(errno @ (Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)) => Unable::new("stat", name, errno),
            Err(errno) => {
                self.table.keep(name);
                return self
                    .diagnostics
                    .warn_unable_once(Subject::Entry(name.into()), &Unable::new("stat", name, errno));
            }
        };
        self.table.gone(name);
        // Gone altogether is nothing to complain of; a link that leads nowhere is, unless it comes or goes just now.
        let link = || lstat(name).map(|file| id_of(&file));
        let before = link();
        if before.is_ok() && stat(name).is_err() && link() == before {
            self.diagnostics.warn_unable_once(Subject::Entry(name.into()), &refusal);
        }
    }

    /// An entry is no directory.
    fn file(&mut self, name: &OsStr) {
        if !is_hidden(name) {
            self.table.gone(name);
            self.diagnostics
                .warn_unable_once(Subject::Entry(name.into()), &Unable::new("supervise", name, Errno::ENOTDIR));
        }
    }

    /// Does what the table has decided.
    pub(crate) fn perform(&mut self, todo: Vec<Action>, now: Instant) {
        for action in todo {
            match action {
                Action::Inspect(id) => self.inspect(id, now),
                Action::End(which) => self.stopping.end(which, now),
                Action::Drain(id) => {
                    self.launcher.close_writer(id);
                    self.stopping.drain(id, self.launcher.unread(id), now);
                }
                Action::EndInput(id) => self.launcher.end_input(id),
                Action::Hold(id) => self.hold(id),
                Action::LetGo(id) => {
                    self.removed.let_go(id);
                    self.stopping.has_come_back(id);
                }
                Action::Forget(id) => self.forget(id),
                Action::WatchReady(id) => self.ready_watch.begin(id, now),
                Action::Say(id, remark) => self.say(id, remark),
            }
        }
    }

    /// A service is new: it is supervised from now on, unless it is still being made.
    fn inspect(&mut self, id: Id, now: Instant) {
        let Some(name) = self.table.name(id) else { return };
        let reached = self.mounts.probe_service(Path::new(name)).is_ok();
        let draft = self.inotify.as_ref().is_some_and(|(inotify, _)| {
            // What cannot be touched is complained of when it is admitted.
            reached && self.incomplete.take(id, name, inotify, now)
        });
        if !draft {
            self.admit(id, now);
        }
    }

    /// Looks for what there is to supervise.
    fn admit(&mut self, id: Id, now: Instant) {
        let Some(name) = self.table.name(id).map(OsStr::to_os_string) else { return };
        let service = Path::new(&name);
        let log = match self.mounts.probe_service(service).and_then(|()| inspect::logger(service)) {
            Ok(log) => log,
            Err(errno) => {
                let refusal = Unable::new("stat", label(Part::Logger, &name), errno);
                self.diagnostics.warn_unable_once(Subject::Service(id), &refusal);
                return self.table.not_inspected(id);
            }
        };
        if log == Logger::Unusable {
            let refusal = Unable::new("supervise", label(Part::Logger, &name), Errno::ENOTDIR);
            self.diagnostics.warn_unable_once(Subject::Service(id), &refusal);
        }
        if log != Logger::Directory {
            self.unlogged.push_back(id);
        }
        if log == Logger::None && self.mounts.probe(Path::new(FORWARD)).is_ok() && Forward::is_wanted() {
            self.forward.want(id);
        }
        if inspect::is_essential(service) {
            self.stopping.essential(id);
        }
        let mut todo = Vec::new();
        let main = SuperviseId { id, part: Part::Service };
        let after = self.after(id, service);
        let mut contents = inspect::contents(service, log, after, self.record(main).as_ref());
        contents.running |= self.attached.expects(main);
        self.table.inspected(id, &contents, now, &mut todo);
        self.perform(todo, now);
    }

    /// A logger that is there only now is not served: the service has its standard output already.
    fn look_for_loggers(&mut self) {
        for _ in 0..ASKED.min(self.unlogged.len()) {
            let Some(id) = self.unlogged.pop_front() else { return };
            let Some(name) = self.table.name(id).map(OsStr::to_os_string) else { continue };
            let service = Path::new(&name);
            let log = self.mounts.probe_service(service).and_then(|()| inspect::logger(service));
            if log == Ok(Logger::Directory) && inspect::still_there(&name, id).is_ok() {
                let words = b"/log came too late: to have it served, remove the entry, end the service, put it back";
                self.diagnostics.warn_once(Subject::Service(id), [name.as_bytes(), words].concat());
            } else {
                self.unlogged.push_back(id);
            }
        }
    }

    fn end_draft(&mut self, id: Id) {
        if let Some((inotify, _)) = &self.inotify {
            self.incomplete.forget(id, inotify);
        }
    }

    fn forget(&mut self, id: Id) {
        self.end_draft(id);
        self.removed.let_go(id);
        self.launcher.forget(id);
        self.diagnostics.forget(id);
        self.complete.forget(id);
        self.orphans.forget(id);
        self.stopping.forget(id);
        self.forward.forget(id);
        self.ready_watch.end(id, self.inotify.as_ref().map(|(inotify, _)| inotify));
    }

    fn say(&mut self, id: Id, remark: Remark) {
        let name = self.table.name(id).unwrap_or_default().to_os_string();
        let name = name.as_bytes();
        let (subject, words) = match remark {
            Remark::SameAs(other) => {
                (Subject::Names(id), [other.as_bytes(), b" is the same directory as ", name].concat())
            }
            Remark::UnknownAfter(others) => return self.say_after(id, others, b": no such service"),
            Remark::CyclicAfter(others) => return self.say_after(id, others, b": goes in a circle"),
            Remark::ProperAfter(other) => return self.diagnostics.clear(&Subject::After(id, other)),
            Remark::Replaces => {
                (Subject::Service(id), [name, b" is another directory now: stopping the one before"].concat())
            }
            Remark::Stopping => return self.say_stopping(id),
            Remark::Down(name) => return self.say_down(id, &name),
        };
        self.diagnostics.warn_once(subject, words);
    }

    fn say_after(&mut self, id: Id, others: Vec<OsString>, what: &[u8]) {
        let name = self.table.name(id).unwrap_or_default().as_bytes();
        let words = |others: &[u8]| [name, b": after ", others, what].concat();
        self.diagnostics.warn_once_of_names(others, |other| Subject::After(id, other), words);
    }

    /// The names that a service comes after; none, where that cannot be read. Says so, and that there are too many.
    fn after(&mut self, id: Id, service: &Path) -> Vec<OsString> {
        let name = service.as_os_str().as_bytes();
        match inspect::after(service) {
            Ok(After { names, surplus: 0 }) => names,
            Ok(After { names, surplus }) => {
                let words = format!("/{AFTER}: {} names: only the first {MOST_NAMES} count", names.len() + surplus);
                self.diagnostics.warn_once(Subject::Order(id), [name, words.as_bytes()].concat());
                names
            }
            Err(unread) => {
                let file = [name, b"/", AFTER.as_bytes()].concat();
                self.diagnostics.warn_once(Subject::Order(id), unread_words(&file, unread));
                Vec::new()
            }
        }
    }

    /// What the last supervise of a part has written: on its page, or into `supervise/state`, which others may have
    /// written as well.
    pub(crate) fn record(&mut self, which: SuperviseId) -> Option<Record> {
        self.launcher.record(which).or_else(|| attach::record(&self.folder(which)?))
    }

    /// The same, if nobody else could have written it.
    pub(crate) fn trusted_record(&mut self, which: SuperviseId) -> Option<Record> {
        self.launcher.record(which).or_else(|| attach::trusted_record(&self.folder(which)?))
    }

    /// Where the service, or its logger, is to be found; `None` if that cannot be touched.
    pub(crate) fn folder(&mut self, which: SuperviseId) -> Option<PathBuf> {
        let folder = PathBuf::from(label(which.part, &self.place(which)?));
        self.mounts.probe_service(&folder).ok().map(|()| folder)
    }

    /// The directory of a service: its entry, and where that is gone, for its logger, what is held of it.
    pub(crate) fn place(&self, which: SuperviseId) -> Option<OsString> {
        let is_left = which.part == Part::Logger && !self.table.is_present(which.id);
        let held = self.removed.path(which.id).filter(|_| is_left).map(PathBuf::into_os_string);
        held.or_else(|| self.table.name(which.id).map(OsStr::to_os_string))
    }

    /// Finds out where a service lies that has no entry any more.
    pub(crate) fn hold(&mut self, id: Id) {
        let table = &self.table;
        let supervises = [Part::Service, Part::Logger]
            .into_iter()
            .filter_map(|part| Some((part, table.pid(SuperviseId { id, part })?)));
        self.removed.hold(id, supervises, &mut self.mounts);
    }

    /// What the next svscan in this process needs to know, but for the lock of the directory.
    pub fn handover(&self) -> Handover {
        let now = Instant::now();
        let pages = &self.launcher.pages;
        let pipe = |(id, reader, writer): (Id, &OwnedFd, &OwnedFd)| (id, [reader.as_raw_fd(), writer.as_raw_fd()]);
        Handover {
            lock: None,
            open_files: self.launcher.open_files(),
            ledgers: pages.iter().flat_map(Pages::ledgers).map(|ledger| ledger.as_raw_fd()).collect(),
            pages: pages.iter().flat_map(Pages::pages).collect(),
            pockets: self.launcher.pockets.all().map(|(which, pocket)| (which, pocket.as_raw_fd())).collect(),
            pipes: self.launcher.pipes().map(pipe).collect(),
            // Those that are just starting could not be found by what they write.
            supervises: self.table.running().map(|(pid, which)| (which, pid)).collect(),
            absent: self.table.absent().map(|(id, name)| (id, name.to_os_string())).collect(),
            reading_on: self.table.reading_on().collect(),
            delayed: self.table.delayed(now).collect(),
            ends: self.orphans.unasked().copied().collect(),
            forwarder: self.forward.helper(),
        }
    }

    /// The descriptors that are handed over.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let pipes = self.launcher.pipes().flat_map(|(_, reader, writer)| [reader.as_fd(), writer.as_fd()]);
        let ledgers = self.launcher.pages.iter().flat_map(Pages::ledgers);
        pipes.chain(ledgers).chain(self.launcher.pockets.all().map(|(_, pocket)| pocket)).collect()
    }

    /// Goes on where an earlier svscan in this process has stopped.
    pub fn take_over(&mut self, handover: Handover, now: Instant) {
        let ledgers = handover.ledgers.into_iter().filter_map(|ledger| inherited_descriptor(ledger).ok()).collect();
        self.launcher.pages = Pages::resume(ledgers, &handover.pages).or_else(|_| Pages::new()).ok();
        for (which, pocket) in handover.pockets {
            let pocket = inherited_descriptor(pocket).ok();
            pocket.into_iter().for_each(|pocket| self.launcher.pockets.resume(which, pocket));
        }
        for (id, [reader, writer]) in handover.pipes {
            if let (Ok(reader), Ok(writer)) = (inherited_descriptor(reader), inherited_descriptor(writer)) {
                self.launcher.put_pipe(id, (reader, writer));
            }
        }
        handover.supervises.into_iter().for_each(|(which, pid)| self.attached.expect(which, pid));
        handover.delayed.iter().for_each(|delayed| self.table.expect_delayed(delayed, now));
        handover.absent.iter().for_each(|(id, name)| self.inherit(*id, name));
        handover.reading_on.into_iter().for_each(|id| self.table.inherit_reading_on(id));
        for end in handover.ends {
            let _ = self.orphans.ended(end);
        }
        handover.forwarder.into_iter().for_each(|pid| self.forward.inherit(pid, now));
    }

    /// Nothing in the directory will lead to this service, but it is up.
    fn inherit(&mut self, id: Id, name: &OsStr) {
        let supervises =
            [Part::Service, Part::Logger].map(|part| self.attached.expected_unseen(SuperviseId { id, part }));
        if supervises == [None, None] {
            return self.launcher.forget(id);
        }
        self.table.inherit(id, name, supervises);
        self.hold(id);
        if !self.table.has_logger(id) && self.launcher.has_pipe(id) {
            self.forward.want(id);
            self.forward.begin(id);
        }
    }
}

/// That a setting could not be read.
fn unread_words(setting: &[u8], unread: Unread) -> Vec<u8> {
    [b"unable to read ", setting, b": ", unread.reason().as_bytes()].concat()
}

/// Watches the current directory.
fn watch() -> Result<(Inotify, WatchDescriptor), Unable> {
    let changes = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unable_to("watch directory", "")?;
    let directory = inotify.add_watch(".", changes).unable_to("watch directory", "")?;
    Ok((inotify, directory))
}

/// No service, and nothing to complain of.
fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}
