//! multilog in the world: its journal, its router and its plan of recovery, unchanged, and the code that performs what
//! they decide, one system call or one store into the journal at a time. It has one log directory and no processor.
//!
//! The journal is a mapped file. What multilog has stored there stays when multilog is killed, so each store is a step
//! of its own. The journal's code makes its stores in a copy ([`Recorder`]), and the steps repeat them in the file, one
//! by one.

use crate::disk::{Content, Disk, ROOM};
use daemontools::logdir::{CURRENT, JOURNAL, NEW_STATE, PREVIOUS, PROCESSED, SAFE, STATE, UNSAFE, finished_name};
use daemontools::tai64::{Tai64, Tai64N, next_nanosecond};
use multilog::journal::buffer::Buffer;
use multilog::journal::checkpoint::{Checkpoint, CurrentFile, File, Id};
use multilog::journal::layout::{self, Words, is_closed, is_journal, read_checkpoint};
use multilog::journal::verdict::{JournalState, Verdict, is_outdated, verdict};
use multilog::recovery::{self, FileState, Noted, Step};
use multilog::retention::{self, Limits};
use multilog::rotation::{self, RotationDecision, RotationState};
use multilog::router::{Input, Line, Output, Router};
use multilog::script::Script;
use multilog::steps::SideOutput;
use multilog::syslog::Identity;
use nix::errno::Errno;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::time::Duration;

/// The identity of the log directory, which a journal records.
const FOLDER: Id = Id { device: 1, inode: 1 };
/// Bytes that occur in no line, which multilog puts into the journal as a sentinel before it reads.
const UNLIKELY: [u8; layout::SAFE] = [0xa5; layout::SAFE];
/// The index of the first word that belongs to a checkpoint. These words do not count until another word says so.
const FIRST_CHECKPOINT: usize = layout::CHECKPOINTS[0];
/// The TAI64 label of second 0 of the wall clock.
const CLOCK: u64 = 0x4000_0000_6a00_0000;

/// The settings of multilog's script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `current` is full at this number of bytes, or at the end of a line 2000 bytes before that.
    pub limit: u64,
    /// multilog keeps fewer old files than this.
    pub count: usize,
    /// Whether multilog syncs what it has written before it reads more.
    pub is_synced_by_line: bool,
    /// Whether the script has a pattern, so that the router looks at each line.
    pub has_pattern: bool,
}

/// The pipe from which multilog reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pipe {
    /// The number of the pipe, which no other pipe has.
    pub number: u64,
    /// The bytes that were written to the pipe and not read yet.
    pub bytes: VecDeque<u8>,
    /// Whether no process will write to the pipe any more.
    pub is_closed: bool,
}

/// The part of the world that outlives multilog.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The log directory.
    pub disk: Disk,
    /// Standard input.
    pub pipe: Pipe,
    /// The number of times the machine was booted.
    pub boot: u64,
    /// The time of the wall clock, in seconds.
    pub clock: u64,
    /// Whether everything stored into the journal is lost. A test uses this to check that the world finds such a fault.
    pub forgets: bool,
}

/// A copy of a journal, and the stores into it.
#[derive(Debug, Clone)]
pub struct Recorder {
    content: Content,
    seen: Vec<u8>,
    stored: Vec<Store>,
}

/// One store into a journal: a word at an index, or bytes at an offset into the room for input.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Store {
    Word(usize, u64),
    Bytes(usize, Vec<u8>),
}

impl Recorder {
    fn new(content: Content) -> Recorder {
        Recorder { seen: content.bytes.clone(), content, stored: Vec::new() }
    }

    /// Notes the bytes that have changed since the last call.
    fn look(&mut self) {
        let (now, seen) = (&self.content.bytes, &self.seen);
        let differ = |at: &usize| now.get(*at) != seen.get(*at);
        if let (Some(first), Some(last)) = ((0..now.len()).find(differ), (0..now.len()).rev().find(differ)) {
            self.stored.push(Store::Bytes(first, now.get(first..=last).unwrap_or_default().to_vec()));
            self.seen.clone_from(now);
        }
    }

    fn take(&mut self) -> Vec<Store> {
        self.look();
        std::mem::take(&mut self.stored)
    }
}

impl Words for Recorder {
    fn load(&self, index: usize) -> u64 {
        self.content.load(index)
    }

    fn store(&mut self, index: usize, value: u64) {
        self.look();
        self.content.store(index, value);
        self.stored.push(Store::Word(index, value));
    }

    fn room(&self) -> &[u8] {
        self.content.room()
    }

    fn room_mut(&mut self) -> &mut [u8] {
        self.content.room_mut()
    }

    fn mend(&mut self) {}
}

/// A system call that multilog is about to make, with the decisions before it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    FindJournal,
    RemoveJournal,
    MakeJournal,
    RenewJournal,
    /// Marks that the stores before it have put everything that was in memory into the journal that was made again.
    Renewed,
    Store(Vec<Store>),
    LookAtFiles,
    TryToRemove(&'static str),
    Finish(&'static str, &'static [u8]),
    Label(&'static str, &'static [u8]),
    Tidy,
    RemoveOld(String),
    OpenCurrent,
    SetComplete(bool),
    SyncCurrent,
    SyncNames,
    TakeCurrent,
    Cut,
    Adopt,
    GoOn,
    Begin,
    SyncJournal,
    WriteOut(Input),
    Write(Vec<u8>),
    Commit(usize),
    RotateIfFull,
    RenameToPrevious,
    EndLines,
    Wait,
    Read,
    TakeInput(usize, usize, Vec<u8>),
    TryToSyncCurrent,
    CloseJournal,
    SayClosed,
    Exit(i32),
}

/// A multilog.
#[derive(Debug, Clone)]
pub struct Multilog {
    settings: Settings,
    calls: VecDeque<Call>,
    buffer: Buffer<Recorder>,
    /// The inode of the journal's file; `None` while the journal is only in memory.
    journal: Option<u64>,
    /// The files in the checkpoint of the journal that was found.
    checkpoints: Vec<File>,
    /// The part of that checkpoint that belongs to `current`, once multilog has looked at that file.
    noted: Option<Noted>,
    current: u64,
    size: u64,
    newest: Option<Tai64N>,
    line: Line,
    pending: Vec<u8>,
    is_starting: bool,
    has_ended: bool,
    is_leaving: bool,
    /// Whether each word of a checkpoint is stored in a step of its own. Otherwise all words that do not count yet are
    /// stored in one step.
    is_fine: bool,
    /// Whether a TERM is pending.
    pub is_told: bool,
    /// The exit code of multilog, once it has ended.
    pub exited: Option<i32>,
}

impl Multilog {
    /// Makes a multilog that has just been started, and has locked its directory.
    pub fn new(settings: Settings, is_fine: bool) -> Multilog {
        Multilog {
            settings,
            calls: [Call::FindJournal].into(),
            buffer: in_memory(),
            journal: None,
            checkpoints: Vec::new(),
            noted: None,
            current: 0,
            size: 0,
            newest: None,
            line: Line::Fresh,
            pending: Vec::new(),
            is_starting: true,
            has_ended: false,
            is_leaving: false,
            is_fine,
            is_told: false,
            exited: None,
        }
    }

    /// Whether this multilog has something to do.
    pub fn is_ready(&self, machine: &Machine) -> bool {
        self.calls.front() != Some(&Call::Wait)
            || self.is_told
            || !machine.pipe.bytes.is_empty()
            || machine.pipe.is_closed
    }

    /// Whether the system may refuse the next call, in a way that multilog must handle.
    pub fn may_fail(&self) -> bool {
        match self.calls.front() {
            Some(
                Call::FindJournal
                | Call::RemoveJournal
                | Call::MakeJournal
                | Call::RenewJournal
                | Call::TryToRemove(_)
                | Call::Label(..)
                | Call::RemoveOld(_)
                | Call::OpenCurrent
                | Call::SetComplete(_)
                | Call::SyncCurrent
                | Call::SyncNames
                | Call::Cut
                | Call::Write(_)
                | Call::RenameToPrevious
                | Call::TryToSyncCurrent
                | Call::SyncJournal
                | Call::CloseJournal
                | Call::SayClosed,
            ) => true,
            Some(
                Call::Renewed
                | Call::Store(_)
                | Call::LookAtFiles
                | Call::Finish(..)
                | Call::Tidy
                | Call::TakeCurrent
                | Call::Adopt
                | Call::GoOn
                | Call::Begin
                | Call::WriteOut(_)
                | Call::Commit(_)
                | Call::RotateIfFull
                | Call::EndLines
                | Call::Wait
                | Call::Read
                | Call::TakeInput(..)
                | Call::Exit(_),
            )
            | None => false,
        }
    }

    /// Whether the next call writes lines.
    pub fn is_about_to_write(&self) -> bool {
        matches!(self.calls.front(), Some(Call::Write(_)))
    }

    /// Whether the next call is a write of which the system may take only a part.
    pub fn may_be_short(&self) -> bool {
        matches!(self.calls.front(), Some(Call::Write(bytes)) if bytes.len() > 1)
    }

    /// The inodes of the files that this multilog has open.
    pub fn open(&self) -> Vec<u64> {
        self.journal.into_iter().chain([self.current]).collect()
    }

    /// Whether the lines that it has read are lost if it is killed: it has no journal, and has said so.
    pub fn is_at_risk(&self) -> bool {
        let is_in_memory = self.journal.is_none() || self.calls.contains(&Call::Renewed);
        is_in_memory && !self.buffer.data().is_empty()
    }

    /// Describes the next call in words.
    pub fn next(&self) -> String {
        match self.calls.front() {
            Some(Call::Write(bytes)) => format!("writes {} to current", shown(bytes)),
            Some(Call::TakeInput(_, at, bytes)) => format!("reads {} to byte {at} of the journal", shown(bytes)),
            Some(Call::Store(stores)) => {
                let words = stores.iter().map(|store| match store {
                    Store::Word(word, value) => format!("word {word} = {value}"),
                    Store::Bytes(at, bytes) => format!("byte {at} = {}", shown(bytes)),
                });
                format!("stores into the journal {}", words.collect::<Vec<_>>().join(", "))
            }
            Some(Call::Label(name, code)) => format!("gives {name} its final name, with {}", shown(code)),
            Some(Call::RemoveOld(name)) => format!("removes {name}"),
            Some(Call::TryToRemove(name)) => format!("removes {name}, if it is there"),
            Some(Call::Wait) => "waits".into(),
            Some(call) => format!("{call:?}"),
            None => "is at its end".into(),
        }
    }

    /// Makes the next call. With a `fault`, the system refuses it. If `is_short`, a write takes only half of its bytes.
    pub fn step(&mut self, machine: &mut Machine, fault: Option<Errno>, is_short: bool) {
        let Some(call) = self.calls.pop_front() else { return };
        if let Err(errno) = self.make(machine, call.clone(), fault, is_short) {
            self.failed(call, errno);
        }
        if self.calls.is_empty() && self.exited.is_none() {
            self.calls.push_back(Call::Wait);
        }
    }

    /// Handles a call that the system has refused. multilog tries again after a pause, unless a TERM has come
    /// meanwhile. At its start it tries again only if the error may pass by itself.
    fn failed(&mut self, call: Call, errno: Errno) {
        self.is_leaving |= std::mem::take(&mut self.is_told);
        let is_hopeless = self.is_starting
            && !matches!(errno, Errno::ENOSPC | Errno::EROFS)
            && matches!(call, Call::FindJournal | Call::OpenCurrent | Call::SetComplete(_) | Call::Cut);
        let may_stop = self.is_starting || self.journal.is_some();
        match (is_hopeless, self.is_leaving && may_stop) {
            (true, _) => self.calls = [Call::CloseJournal, Call::Exit(111)].into(),
            (false, true) if self.is_starting => self.calls = [Call::CloseJournal, Call::Exit(0)].into(),
            (false, true) => self.calls = [Call::TryToSyncCurrent, Call::CloseJournal, Call::Exit(0)].into(),
            (false, false) => self.calls.push_front(call),
        }
    }

    fn push_front(&mut self, calls: impl IntoIterator<Item = Call>) {
        let calls: Vec<Call> = calls.into_iter().collect();
        calls.into_iter().rev().for_each(|call| self.calls.push_front(call));
    }

    /// Puts these calls in front of all others, and in front of them the stores that the journal's code has just made.
    fn push_stores(&mut self, then: impl IntoIterator<Item = Call>) {
        let stores = self.buffer.words.take();
        let stores = if self.journal.is_some() { grouped(stores, self.is_fine) } else { Vec::new() };
        self.push_front(stores.into_iter().map(Call::Store).chain(then));
    }

    fn make(&mut self, machine: &mut Machine, call: Call, fault: Option<Errno>, is_short: bool) -> nix::Result<()> {
        let refused = fault.map_or(Ok(()), Err);
        let disk = &mut machine.disk;
        match call {
            Call::FindJournal => {
                refused?;
                self.find_journal(machine);
            }
            Call::RemoveJournal => {
                let _ = refused.and_then(|()| disk.remove(JOURNAL));
            }
            Call::MakeJournal => {
                let made = refused.and_then(|()| disk.replace(JOURNAL, vec![0; ROOM]));
                self.journal = made.ok();
                self.buffer = match self.journal {
                    Some(_) => Buffer::make(Recorder::new(empty()), &machine.boot.to_string()),
                    None => in_memory(),
                };
                self.push_stores([]);
            }
            Call::RenewJournal => {
                if let Ok(journal) = refused.and_then(|()| disk.replace(JOURNAL, vec![0; ROOM])) {
                    let before = std::mem::replace(
                        &mut self.buffer,
                        Buffer::make(Recorder::new(empty()), &machine.boot.to_string()),
                    );
                    self.journal = Some(journal);
                    self.buffer.begin(input_of(machine), 0);
                    self.buffer.take_over(&before);
                    self.buffer.commit(0, self.line, vec![self.file(0)]);
                    self.push_stores([Call::Renewed]);
                }
            }
            Call::Renewed => {}
            Call::Store(stores) => {
                if let Some(journal) = self.journal.filter(|_| !machine.forgets) {
                    disk.store(journal, |content| stores.iter().for_each(|store| apply(content, store)));
                }
            }
            Call::LookAtFiles => self.look_at_files(disk),
            Call::TryToRemove(name) => {
                let _ = refused.and_then(|()| disk.remove(name));
            }
            Call::Finish(name, code) => {
                if disk.lookup(name).is_some() {
                    self.push_front([Call::Label(name, code), Call::Tidy]);
                }
            }
            Call::Label(name, code) => {
                refused?;
                let newest = self.newest.unwrap_or_else(|| retention::newest(&disk.old_files()));
                let label = Tai64N(Tai64(CLOCK + machine.clock), 0).max(next_nanosecond(newest));
                disk.rename(name, &String::from_utf8_lossy(&finished_name(label, code)))?;
            }
            Call::Tidy => {
                let files = disk.old_files();
                self.newest = Some(retention::newest(&files));
                let limits = Limits { count: self.settings.count, bytes: None, age: None };
                let surplus = retention::surplus(files, &limits, Duration::ZERO);
                self.push_front(surplus.iter().map(|name| Call::RemoveOld(String::from_utf8_lossy(name).into_owned())));
            }
            Call::RemoveOld(name) => {
                refused?;
                disk.remove(&name)?;
            }
            Call::OpenCurrent => {
                refused?;
                self.current = disk.open(CURRENT)?;
            }
            Call::SetComplete(is_complete) => {
                refused?;
                disk.set_complete(self.current, is_complete)?;
            }
            Call::SyncCurrent => {
                refused?;
                disk.sync(self.current);
            }
            Call::SyncNames => {
                refused?;
                disk.sync_names();
            }
            Call::TakeCurrent => self.size = disk.inode(self.current).map_or(0, |inode| inode.now.bytes.len() as u64),
            Call::Cut => {
                let end = self.noted.and_then(|noted| noted.cut(self.current, self.size));
                if let Some(end) = end.filter(|end| self.size > *end) {
                    refused?;
                    disk.truncate(self.current, end)?;
                    self.size = end;
                }
            }
            Call::Adopt => {
                self.buffer.adopt(vec![self.file(0)]);
                self.push_stores([]);
            }
            Call::GoOn => {
                self.is_starting = false;
                self.line = self.buffer.checkpoint().line;
                let rest = match self.buffer.is_of(&input_of(machine)) {
                    true => vec![Call::WriteOut(Input::Open)],
                    false => vec![Call::WriteOut(Input::Ended), Call::EndLines],
                };
                let synced = [Call::SyncCurrent, Call::SyncNames].into_iter().filter(|_| self.is_closed());
                let calls: Vec<Call> = synced.chain(rest).chain([Call::Begin, Call::WriteOut(Input::Open)]).collect();
                self.push_front(calls);
            }
            Call::Begin => {
                let was_closed = self.buffer.begin(input_of(machine), 0);
                self.line = self.buffer.checkpoint().line;
                self.push_stores(was_closed.then_some(Call::SyncJournal));
            }
            Call::SyncJournal => {
                if let (Ok(()), Some(journal)) = (refused, self.journal) {
                    disk.sync(journal);
                }
            }
            Call::WriteOut(input) => self.write_out(input),
            Call::Write(bytes) => {
                refused?;
                let length = if is_short { bytes.len() / 2 } else { bytes.len() };
                let (written, left) = bytes.split_at(length);
                disk.append(self.current, written)?;
                self.size += written.len() as u64;
                match (left.is_empty(), self.settings.is_synced_by_line || self.is_closed()) {
                    (false, _) => self.push_front([Call::Write(left.to_vec())]),
                    (true, true) => self.push_front([Call::SyncCurrent]),
                    (true, false) => {}
                }
            }
            Call::Commit(taken) => {
                self.buffer.commit(taken, self.line, vec![self.file(0)]);
                self.push_stores([]);
            }
            Call::RotateIfFull => {
                if self.when_full() == RotationDecision::Rotate {
                    let steps: Vec<Call> = rotation::STEPS.into_iter().flat_map(|step| self.rotating(step)).collect();
                    let names = self.is_closed().then_some(Call::SyncNames);
                    self.push_front(steps.into_iter().chain(names).chain([Call::Commit(0)]));
                }
            }
            Call::RenameToPrevious => {
                refused?;
                disk.rename(CURRENT, PREVIOUS)?;
            }
            Call::EndLines => {
                self.route(b"", None);
                if self.pending.is_empty() { self.push_front([Call::Commit(0)]) } else { self.write_pending(0) }
            }
            Call::Wait => self.wake(),
            Call::Read => self.read(machine, refused),
            Call::TakeInput(length, at, bytes) => {
                machine.pipe.bytes.drain(..length);
                if let Some(journal) = self.journal.filter(|_| !machine.forgets) {
                    disk.store(journal, |content| apply(content, &Store::Bytes(at, bytes)));
                }
            }
            Call::TryToSyncCurrent => {
                if refused.is_ok() {
                    disk.sync(self.current);
                }
            }
            Call::CloseJournal => {
                if let (Ok(()), Some(journal)) = (refused, self.journal) {
                    disk.sync(journal);
                    layout::set_closed(&mut self.buffer.words, true);
                    self.push_stores([Call::SayClosed]);
                }
            }
            Call::SayClosed => {
                if let (Ok(()), Some(journal)) = (refused, self.journal) {
                    disk.sync(journal);
                    disk.sync_names();
                }
            }
            Call::Exit(code) => {
                self.calls.clear();
                self.exited = Some(code);
            }
        }
        Ok(())
    }

    fn find_journal(&mut self, machine: &Machine) {
        let start = [Call::LookAtFiles, Call::OpenCurrent, Call::SetComplete(false), Call::TakeCurrent]
            .into_iter()
            .chain(self.syncing())
            .chain([Call::Cut, Call::Adopt, Call::GoOn]);
        self.calls.extend(start);
        let found = machine.disk.file(JOURNAL).filter(|inode| is_journal(&inode.now));
        let Some(inode) = found else { return self.push_front([Call::MakeJournal]) };
        let mut checkpoint = Some(read_checkpoint(&inode.now)).filter(|read| read.is_possible(ROOM));
        let checkpoint = checkpoint.get_or_insert_with(Checkpoint::blank);
        let is_of_this_boot = layout::boot(&inode.now) == machine.boot.to_string();
        let (was_closed, has_input) = (is_closed(&inode.now), checkpoint.has_input());
        let known =
            match verdict(JournalState { is_of_this_boot: Some(is_of_this_boot), is_closed: was_closed, has_input }) {
                Verdict::CarryOn => Some(layout::input(&inode.now)),
                Verdict::CarryOnAfterBoot => {
                    checkpoint.forget_devices();
                    None
                }
                Verdict::Discard | Verdict::Doubt => return self.push_front([Call::RemoveJournal, Call::MakeJournal]),
            };
        self.journal = Some(inode.number);
        let noted = checkpoint.file_in(&FOLDER).copied();
        let files = checkpoint.files.clone();
        self.buffer = Buffer::carry_on(Recorder::new(inode.now.clone()), checkpoint.clone(), known);
        if was_closed {
            layout::set_boot(&mut self.buffer.words, &machine.boot.to_string());
        }
        if is_outdated(noted.as_ref(), current_file(&machine.disk)) {
            self.push_stores([Call::RemoveJournal, Call::MakeJournal]);
        } else {
            self.checkpoints = files;
            self.push_stores([]);
        }
    }

    fn look_at_files(&mut self, disk: &Disk) {
        let found = |name| match disk.file(name) {
            None => FileState::Missing,
            Some(inode) if inode.now.is_complete => FileState::Complete,
            Some(_) => FileState::Incomplete,
        };
        let current = current_file(disk);
        let noted = Noted::of(&FOLDER, current, &self.checkpoints);
        self.noted = Some(noted);
        let files = recovery::Directory {
            current: found(CURRENT),
            previous: found(PREVIOUS),
            processed: found(PROCESSED),
            has_journal: noted.vouches_for(current),
        };
        let steps = recovery::plan(files).into_iter().filter_map(|step| match step {
            // Without a processor there are no files of a processor.
            Step::Remove(STATE | NEW_STATE | PROCESSED) | Step::EmptyState | Step::KeepState => None,
            Step::Remove(name) => Some(Call::TryToRemove(name)),
            Step::FinishSafe(name) => Some(Call::Finish(name, SAFE)),
            Step::FinishUnsafe(name) => Some(Call::Finish(name, UNSAFE)),
            Step::Process => Some(Call::Finish(PREVIOUS, SAFE)),
        });
        let steps: Vec<Call> = steps.collect();
        self.push_front(steps);
    }

    /// Opens `current`, and makes it if it is missing.
    fn appending(&self) -> impl Iterator<Item = Call> + use<> {
        [Call::OpenCurrent, Call::SetComplete(false), Call::TakeCurrent].into_iter().chain(self.syncing())
    }

    fn when_full(&self) -> RotationDecision {
        let standing = RotationState { size: self.size, limit: self.settings.limit, is_processing: false };
        standing.when_full(self.line, self.is_leaving)
    }

    /// Whether the next boot would believe the journal. Then the lines must be on the disk before the journal is
    /// removed.
    fn is_closed(&self) -> bool {
        self.journal.is_some() && is_closed(&self.buffer.words)
    }

    /// Returns the calls that perform a step of the rotation.
    fn rotating(&self, step: rotation::Step) -> Vec<Call> {
        match step {
            rotation::Step::Sync => vec![Call::SyncCurrent],
            rotation::Step::Complete => vec![Call::SetComplete(true)],
            rotation::Step::Rename => vec![Call::RenameToPrevious],
            rotation::Step::Begin => self.appending().collect(),
            rotation::Step::Process => vec![Call::Finish(PREVIOUS, SAFE)],
        }
    }

    fn syncing(&self) -> impl Iterator<Item = Call> + use<> {
        let is_synced = self.settings.is_synced_by_line;
        [Call::SyncCurrent, Call::SyncNames].into_iter().filter(move |_| is_synced)
    }

    fn file(&self, underway: usize) -> File {
        File { folder: FOLDER, inode: self.current, size: self.size, underway: underway as u64, ..File::default() }
    }

    /// Makes the router take lines from `input`, or end the last line if there is no input. Returns the number of bytes
    /// that it took.
    fn route(&mut self, data: &[u8], input: Option<Input>) -> usize {
        let script: &[&str] = if self.settings.has_pattern { &["-*x*", "./log"] } else { &["./log"] };
        let mut router = Router::new(&Script::parse(script.iter().map(OsString::from)), &Identity::default());
        router.line = self.line;
        let mut outputs = [Output { pending: Vec::new(), size: self.size, limit: self.settings.limit }];
        let mut side = SideOutput::new(0);
        let taken = match input.map(|input| (router.plain_part(data, &outputs), input)) {
            None => {
                router.end_line(&mut outputs, &mut side);
                0
            }
            Some((None, input)) => router.take(data, input, &mut outputs, &mut side),
            Some((Some(plain), _)) => {
                outputs.iter_mut().for_each(|output| output.pending.extend(data.get(..plain).unwrap_or_default()));
                plain
            }
        };
        self.line = router.line;
        let [Output { pending, .. }] = outputs;
        self.pending = pending;
        taken
    }

    fn write_out(&mut self, input: Input) {
        let data = self.buffer.data().to_vec();
        let taken = self.route(&data, Some(input));
        if taken > 0 || self.when_full() == RotationDecision::Rotate {
            self.push_front([Call::RotateIfFull, Call::WriteOut(input)]);
            if taken > 0 {
                self.write_pending(taken);
            }
        }
    }

    /// Writes what was routed, and commits that. Until then the journal has where in a line the input stood before.
    fn write_pending(&mut self, taken: usize) {
        let bytes = std::mem::take(&mut self.pending);
        self.buffer.commit(0, self.buffer.checkpoint().line, vec![self.file(bytes.len())]);
        let write = (!bytes.is_empty()).then_some(Call::Write(bytes));
        let sync = self.is_closed().then_some(Call::SyncJournal);
        self.push_stores(sync.into_iter().chain(write).chain([Call::Commit(taken)]));
    }

    fn may_leave(&self) -> bool {
        self.is_leaving && self.line == Line::Fresh && self.buffer.data().is_empty()
    }

    fn wake(&mut self) {
        self.is_leaving |= std::mem::take(&mut self.is_told);
        if self.has_ended || self.may_leave() {
            self.push_front([
                Call::EndLines,
                Call::SyncCurrent,
                Call::SetComplete(true),
                Call::RemoveJournal,
                Call::Exit(0),
            ]);
        } else {
            let renewal = self.journal.is_none().then_some(Call::RenewJournal);
            self.push_front(renewal.into_iter().chain([Call::Read]));
        }
    }

    fn read(&mut self, machine: &Machine, refused: nix::Result<()>) {
        let room = self.buffer.room();
        self.push_stores([]);
        let most = if self.is_leaving { room.min(1) } else { room };
        let waiting: Vec<u8> = machine.pipe.bytes.iter().copied().take(most).collect();
        if waiting.is_empty() || refused.is_err() {
            self.has_ended = machine.pipe.is_closed || refused.is_err();
            let input = if self.has_ended { Input::Ended } else { Input::Open };
            self.calls.push_back(Call::WriteOut(input));
            return;
        }
        let at = self.buffer.checkpoint().filled;
        let copy = |place: &mut [u8]| {
            let length = place.len().min(waiting.len());
            place[..length].copy_from_slice(&waiting[..length]);
            Ok(length)
        };
        let _ = match self.journal {
            Some(_) => self.buffer.read(waiting.len(), || UNLIKELY, copy, copy),
            None => self.buffer.read_unlogged(waiting.len(), copy),
        };
        // The bytes that were read come after the words that say that a read is under way.
        let mut stores = self.buffer.words.take();
        let words = stores.iter().position(|store| matches!(store, Store::Word(..))).unwrap_or(0);
        let read = stores.iter().skip(words).position(|store| matches!(store, Store::Bytes(..)));
        let after = stores.split_off((words + read.unwrap_or(0)).min(stores.len()));
        let is_kept = self.journal.is_some();
        let calls = |stores: Vec<Store>| grouped(stores, self.is_fine).into_iter().map(Call::Store).filter(|_| is_kept);
        let take = Call::TakeInput(waiting.len(), at, waiting);
        let calls: Vec<Call> = calls(stores).chain([take]).chain(calls(after.into_iter().skip(1).collect())).collect();
        self.calls.extend(calls);
        self.calls.push_back(Call::WriteOut(Input::Open));
    }
}

/// Stores that are steps of their own. Of a checkpoint that does not count yet all words may be one step: killed in
/// between, they count as little as before.
fn grouped(stores: Vec<Store>, is_fine: bool) -> Vec<Vec<Store>> {
    let counts = |store: &Store| !matches!(store, Store::Word(FIRST_CHECKPOINT.., _));
    let mut groups: Vec<Vec<Store>> = Vec::new();
    for store in stores {
        match groups.last_mut().filter(|group| !is_fine && !counts(&store) && !group.iter().any(counts)) {
            Some(group) => group.push(store),
            None => groups.push(vec![store]),
        }
    }
    groups
}

fn apply(content: &mut Content, store: &Store) {
    match store {
        Store::Word(word, value) => content.store(*word, *value),
        Store::Bytes(at, bytes) => {
            if let Some(place) = content.bytes.get_mut(*at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
    }
}

fn current_file(disk: &Disk) -> Option<CurrentFile> {
    disk.file(CURRENT).map(|inode| CurrentFile {
        inode: inode.number,
        size: inode.now.bytes.len() as u64,
        is_complete: inode.now.is_complete,
        has_other_names: false,
    })
}

fn empty() -> Content {
    Content { bytes: vec![0; ROOM], ..Content::default() }
}

fn in_memory() -> Buffer<Recorder> {
    Buffer::new(Recorder::new(empty()))
}

fn input_of(machine: &Machine) -> Id {
    Id { device: 2, inode: machine.pipe.number }
}

fn shown(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// The bytes that a journal has for the next multilog, if it was closed in order.
pub fn kept_by(journal: &Content) -> &[u8] {
    let checkpoint = read_checkpoint(journal);
    let is_kept = is_journal(journal) && is_closed(journal);
    journal.bytes.get(checkpoint.done..checkpoint.filled).filter(|_| is_kept).unwrap_or_default()
}
