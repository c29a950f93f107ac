//! The loop: input into the journal, from there to where the router sends it, and only then forgotten.

use crate::alarm::Alarm;
use crate::forward::{self, Forwarder};
use crate::journal::{self, File, Id, Journal, Left};
use crate::logdir::{Locked, LogDirectory, rename_away};
use crate::misgiving::Misgiving;
use crate::retry::{Retry, Stop};
use crate::router::{Input, Line, Output, Router};
use crate::script::{Action, Script};
use crate::signals::Signals;
use crate::status_file::show;
use crate::steps::{MOST_DIRECTORIES, SideOutput};
use daemontools::logdir::JOURNAL;
use daemontools::report::{self, PERMANENT, reason, warning};
use daemontools::sys::boot::Boot;
use daemontools::sys::{self, process};
use daemontools::tai64::{Moment, Tai64N};
use daemontools::{Attempt, Fatal, Unable};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{pipe2, read};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// A pipe as large as anyone may make one.
const PIPE_SIZE: i32 = 1024 * 1024;
/// Between two looks whether files are still where they were, while lines come.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is written to the directories at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// This many of the first bytes of the journal's data, to every directory: the script only writes.
    Verbatim(usize),
    /// What the router has put out for each directory.
    Routed,
}

/// multilog, at work.
pub struct Logger {
    router: Router,
    directories: Vec<LogDirectory>,
    outputs: Vec<Output>,
    side: SideOutput,
    forwarder: Forwarder,
    journal: Journal,
    /// Older ones, of several multilogs that were killed.
    left: Vec<Journal>,
    boot: Boot,
    /// Why there is no journal that outlives us, and when to try again to make one.
    misgiving: Misgiving,
    /// When to look whether files are still where they were.
    look_at: Duration,
    /// Something was read since that look.
    unlooked: bool,
    /// No more than that is read at a time.
    most: usize,
    retry: Retry,
    /// To look at the first bytes of the input without taking them; none if the input is no pipe.
    peek_pipe: Option<(OwnedFd, OwnedFd)>,
    /// The time of the lines that come next.
    time: Tai64N,
    /// Where a directory goes by the clock on the wall.
    alarm: Option<Alarm>,
    /// The input has ended.
    ended: bool,
}

impl Logger {
    /// Opens all that the script names, and carries on what an earlier multilog left.
    ///
    /// # Errors
    /// A directory or status file cannot be opened, or is another's.
    pub fn open(script: Script) -> Result<Logger, Fatal> {
        umask(Mode::from_bits_truncate(0o022));
        let mut retry = Retry::new(Signals::new().unable_to("watch signals", "")?);
        if script.directories.len() > MOST_DIRECTORIES {
            return Err(Fatal::new(PERMANENT, &[b"too many directories: 63 are possible"]));
        }
        for complaint in &script.complaints {
            warning(&[b"ignoring ", complaint.action.as_bytes(), b": ", complaint.reason.as_bytes()]);
        }
        for action in &script.actions {
            if let Action::Status(file) = action {
                retry
                    .retry_at_start("create", file, || show(file, b""))
                    .map_err(|trouble| trouble.where_missing(file))?;
            }
        }
        let mut locked = Vec::new();
        for directory in &script.directories {
            let next = LogDirectory::lock(&directory.path, &locked, &mut retry)?;
            locked.push(next);
        }
        // Boots that look alike for want of memory would cost lines.
        let boot =
            retry.retry_until_done("tell", &[b"which boot it is"], Boot::current).map_err(|Stop| Fatal::silent(0))?;
        let mut left = find_journals(&script, &locked, &boot, &mut retry)?;
        let checkpoints: Vec<File> = left.iter().flat_map(|journal| journal.checkpoint().files.clone()).collect();
        let mut misgiving = Misgiving::default();
        let mut journal = match left.pop() {
            Some(newest) => newest,
            None => make_journal(&script, &locked, &boot, &mut misgiving)?,
        };
        let mut directories = Vec::new();
        for (settings, locked) in script.directories.iter().zip(locked) {
            match LogDirectory::restart(settings.clone(), locked, &checkpoints, &mut retry) {
                Ok(directory) => directories.push(directory),
                Err(trouble) => {
                    close_all(left.iter_mut().chain([&mut journal]));
                    return Err(trouble.into());
                }
            }
        }
        retry.may_stop = journal.survives();
        let forwarder = Forwarder::new(&script);
        let router = Router::new(&script, &forward::identity()).with_memory(memory_limit());
        let is_pipe = daemontools::files::is_fifo(sys::stdin()).unwrap_or(false);
        if is_pipe {
            let _ = fcntl(sys::stdin(), FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        }
        // In a pipe of packets a read has only one of those that wait.
        let packets = fcntl(sys::stdin(), FcntlArg::F_GETFL).is_ok_and(|flags| flags & OFlag::O_DIRECT.bits() != 0);
        let peek_pipe = (is_pipe && !packets).then(|| pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()).flatten();
        let outputs = script.directories.iter().map(|_| Output::default()).collect();
        let alarm = match directories.iter().any(LogDirectory::needs_clock) {
            true => Some(retry.retry_at_start("watch", "the clock".as_ref(), Alarm::new)?),
            false => None,
        };
        let side = SideOutput::new(forwarder.targets());
        // What was read is written before the end, though each file that is filled takes a slow disk its time.
        let most = directories.iter().map(|directory| usize::try_from(directory.limit).unwrap_or(usize::MAX)).min();
        let most = most.unwrap_or(usize::MAX).max(1);
        let mut logger = Logger {
            router,
            directories,
            outputs,
            side,
            forwarder,
            journal,
            left,
            boot,
            misgiving,
            look_at: Duration::ZERO,
            unlooked: false,
            most,
            retry,
            peek_pipe,
            time: Moment::ZERO.label,
            alarm,
            ended: false,
        };
        let files = logger.files();
        logger.left.iter_mut().chain([&mut logger.journal]).for_each(|journal| journal.adopt(files.clone()));
        Ok(logger)
    }

    /// Works until the input has ended or TERM has come.
    pub fn run(&mut self) {
        if let Err(Stop) = self.work() {
            self.leave();
        }
    }

    /// Told to end in the middle of trouble: what was read and could not be written is left to the next one.
    fn leave(&mut self) {
        self.directories.iter().for_each(LogDirectory::say_gone);
        self.directories.iter_mut().for_each(LogDirectory::leave);
        let count = self.journal.data().len();
        let is_its = |directory: &&LogDirectory| self.journal.folder().is_some_and(|folder| directory.is(folder));
        let directory = self.directories.iter().find(is_its).or(self.directories.first());
        let Some(directory) = directory.filter(|_| count > 0) else {
            let _ = self.journal.close();
            return;
        };
        let path = [directory.path().as_bytes(), b"/", JOURNAL.as_bytes()].concat();
        if !self.journal.survives() || !self.journal.is_in_place() {
            warning(&[format!("losing {count} bytes that were read and cannot be written in ").as_bytes(), &path]);
            return;
        }
        warning(&[
            format!("leaving {count} bytes that cannot be written now to the next multilog, in ").as_bytes(),
            &path,
        ]);
        if let Err(errno) = self.journal.close() {
            Unable::new("write to disk", OsStr::from_bytes(&path), errno).warn();
        }
    }

    fn work(&mut self) -> Result<(), Stop> {
        self.go_on()?;
        self.look_at_clock()?;
        self.write_out(Input::Open)?;
        while !(self.ended || self.may_leave()) {
            if !self.journal.survives() {
                self.look_for_room()?;
            }
            let readable = self.wait();
            report::retry_lost();
            if readable {
                self.look_after_journal();
                self.read();
                self.unlooked = true;
            }
            if self.unlooked {
                self.look_around()?;
            }
            if readable || self.router.deadline().is_some() {
                self.look_at_clock()?;
                self.write_out(if self.ended { Input::Ended } else { Input::Open })?;
            }
            self.look_after_directories()?;
            if self.alarm.is_some() {
                self.look_at_clock()?;
            }
            self.tell_of_dropped()?;
        }
        self.end()
    }

    /// Takes up what was read and not written. Our input has the rest of its last line only if it is the input that
    /// the newest journal is of.
    fn go_on(&mut self) -> Result<(), Stop> {
        let mut left = std::mem::take(&mut self.left).into_iter();
        while let Some(older) = left.next() {
            let mut newest = std::mem::replace(&mut self.journal, older);
            if let Err(stop) = self.write_left() {
                close_all(left.as_mut_slice().iter_mut().chain([&mut newest]));
                return Err(stop);
            }
            std::mem::replace(&mut self.journal, newest).remove();
        }
        let input = input();
        if !self.journal.is_of(&input) {
            self.write_left()?;
        }
        self.journal.begin(input);
        self.router.resume(self.journal.checkpoint().line);
        Ok(())
    }

    /// Writes all that is in the journal, and ends its last line.
    fn write_left(&mut self) -> Result<(), Stop> {
        self.router.resume(self.journal.checkpoint().line);
        self.look_at_clock()?;
        self.write_out(Input::Ended)?;
        if !self.journal.data().is_empty() {
            return Err(Stop);
        }
        self.end_lines()
    }

    /// Ends the last line, and says what is still to be said, where a new file is due in that one.
    fn end_lines(&mut self) -> Result<(), Stop> {
        self.router.end_line(&mut self.outputs, &mut self.side);
        self.write_pending()?;
        self.rotate_by_time()?;
        self.router.end(&mut self.outputs, &mut self.side);
        self.write_pending()
    }

    fn write_pending(&mut self) -> Result<(), Stop> {
        if self.is_pending() {
            self.write(Batch::Routed)?;
        }
        self.commit(0);
        Ok(())
    }

    /// There is no journal that outlives us: tries again to make one. While there is no room for anything, nothing
    /// is taken from the pipe, where it is safe, so that we can be told to end.
    fn look_for_room(&mut self) -> Result<(), Stop> {
        loop {
            let now = Moment::now().uptime;
            if self.misgiving.is_due(now) {
                self.renew_journal(now);
            }
            let trouble = self.directories.iter().find_map(LogDirectory::trouble);
            match trouble.filter(|_| self.journal.data().is_empty() && !self.journal.survives()) {
                Some(trouble) if !self.may_leave() => self.retry.pause(trouble, reason(Errno::ENOSPC))?,
                Some(_) => return Ok(()),
                None => {
                    self.retry.go_on();
                    if let Some(directory) = self.directories.first().filter(|_| !self.journal.survives()) {
                        self.misgiving.say(directory.path(), now);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Makes a journal in the first directory, and moves to it what is in the one of now.
    fn renew_journal(&mut self, now: Duration) {
        let Some(directory) = self.directories.first() else { return };
        make_way(directory.folder(), directory.path());
        match journal::make(directory.folder(), &self.boot) {
            Ok(mut journal) => {
                journal.begin(input());
                self.journal.move_to(journal);
                self.misgiving.is_over(directory.path());
                self.commit(0);
            }
            Err(errno) => {
                self.journal.leave_place();
                self.misgiving.failed(errno, now);
            }
        }
        self.retry.may_stop = self.journal.survives();
    }

    /// Looks whether the files that are written to are still where their names are, at most once a second; and whether
    /// the journal can still be used.
    fn look_around(&mut self) -> Result<(), Stop> {
        self.look_after_journal();
        let now = Moment::now().uptime;
        if now < self.look_at {
            return Ok(());
        }
        self.look_now(now, 0).map(drop)
    }

    /// Looks around at once, when the first `taken` bytes of the journal have just been written; whether that is
    /// committed, as files have changed.
    fn look_now(&mut self, now: Duration, taken: usize) -> Result<bool, Stop> {
        (self.look_at, self.unlooked) = (now + LOOK_AGAIN, false);
        let mut changed = false;
        for directory in &mut self.directories {
            changed |= directory.look_around(&mut self.retry)?;
        }
        if changed {
            self.commit(taken);
        }
        let folder = self.journal.folder();
        let is_elsewhere = folder.is_some_and(|folder| !self.directories.iter().any(|directory| directory.is(folder)));
        if is_elsewhere || !self.journal.is_in_place() {
            self.renew_journal(now);
        }
        Ok(changed)
    }

    /// Where the journal has become unusable, the buffer is in memory from now on.
    fn look_after_journal(&mut self) {
        let Some(lost) = self.journal.look_after() else { return };
        let now = Moment::now().uptime;
        self.misgiving.broke(now);
        self.retry.may_stop = false;
        let Some(directory) = self.directories.first() else { return };
        if lost > 0 {
            let bytes =
                format!("/{JOURNAL} was destroyed by others, and with it {lost} bytes that were not yet written");
            warning(&[directory.path().as_bytes(), bytes.as_bytes()]);
        }
    }

    /// Whether multilog was told to end, is at the end of a line, and has written all that it has read.
    fn may_leave(&self) -> bool {
        self.retry.signals.leaving && self.router.line == Line::Fresh && self.journal.data().is_empty()
    }

    /// Gives the lines that follow the time of this moment.
    fn look_at_clock(&mut self) -> Result<(), Stop> {
        if self.router.needs_clock() || self.alarm.is_some() {
            let now = Moment::now();
            self.router.batch(now);
            self.time = now.label;
            self.rotate_by_time()?;
        }
        Ok(())
    }

    /// Waits for input, a signal, or the time at which something is to be done; true if there is input.
    fn wait(&mut self) -> bool {
        let patience = self.patience();
        let next = self.directories.iter().filter_map(|directory| directory.wall_deadline(self.router.line)).min();
        let watched = self.alarm.as_mut().map(|alarm| alarm.set(next)).map_or(2, |()| 3);
        let clock = self.alarm.as_ref().map_or(self.retry.signals.as_fd(), AsFd::as_fd);
        let mut fds = [sys::stdin(), self.retry.signals.as_fd(), clock]
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
        let polled = poll(&mut fds[..watched], patience);
        let [input, signals, time] = fds.map(|fd| fd.any().unwrap_or(false));
        if signals {
            self.retry.signals.drain();
        }
        if let (true, Some(alarm)) = (time, &mut self.alarm) {
            alarm.heard();
        }
        // A signal first: told to leave, nothing is read that need not be.
        polled.is_ok() && input && !self.may_leave()
    }

    /// Reads what there is; told to leave, only to the end of the line.
    fn read(&mut self) {
        let room = self.journal.room();
        let most = if self.retry.signals.leaving { room.min(1) } else { room.min(self.most) };
        let read_input = |place: &mut [u8]| read(sys::stdin(), place);
        let result = match (&self.peek_pipe, sys::unread(sys::stdin())) {
            (Some(peek_pipe), Ok(waiting @ 1..)) => {
                self.journal.read(waiting.min(most), |place| peek(peek_pipe, place), read_input)
            }
            // At its end, or no pipe.
            (Some(_), _) | (None, _) => self.journal.read_unlogged(most, read_input),
        };
        match result {
            Ok(0) => self.ended = true,
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => {
                Unable::new("read input", "", errno).warn();
                self.ended = true;
            }
        }
    }

    /// Writes all that can be written of what was read.
    fn write_out(&mut self, input: Input) -> Result<(), Stop> {
        loop {
            self.look_after_journal();
            let leaving = self.retry.signals.leaving;
            for (output, directory) in self.outputs.iter_mut().zip(&self.directories) {
                let limit = if directory.takes_all(leaving) { u64::MAX } else { directory.limit };
                (output.size, output.limit) = (directory.size, limit);
            }
            let batch = match self.router.plain_part(self.journal.data(), &self.outputs) {
                0 => Batch::Routed,
                plain => Batch::Verbatim(plain),
            };
            let taken = match batch {
                Batch::Verbatim(length) => length,
                Batch::Routed => self.router.take(self.journal.data(), input, &mut self.outputs, &mut self.side),
            };
            if taken > 0 || self.is_pending() {
                self.write(batch)?;
                // What is in a file that was removed is not written: the journal keeps it until it is in another one.
                if !self.directories.iter().any(LogDirectory::is_gone) || !self.look_now(Moment::now().uptime, taken)? {
                    self.commit(taken);
                }
            }
            let is_at_line_end = self.router.stops_at_line_end && self.router.line == Line::Fresh;
            let rotated_by_time = is_at_line_end && self.rotate_by_time()?;
            let rotated = self.rotate_full()? || rotated_by_time;
            if rotated {
                // A disk may take its time for each.
                self.retry.signals.drain();
            }
            if !rotated && taken == 0 {
                return Ok(());
            }
        }
    }

    /// Whether there was a full file to be rotated. Input waits for a processor that is still busy with the
    /// one before.
    fn rotate_full(&mut self) -> Result<bool, Stop> {
        let line = self.router.line;
        let full = |directory: &LogDirectory, leaving| directory.is_full(line) && !directory.takes_all(leaving);
        let waits = |directory: &LogDirectory, leaving| full(directory, leaving) && directory.is_processing();
        while self.directories.iter().any(|directory| waits(directory, self.retry.signals.leaving)) {
            self.wait_for_processor()?;
        }
        let mut rotated = false;
        let leaving = self.retry.signals.leaving;
        for directory in self.directories.iter_mut().filter(|directory| full(directory, leaving)) {
            directory.rotate(&mut self.retry)?;
            rotated = true;
        }
        if rotated {
            self.commit(0);
        }
        Ok(rotated)
    }

    fn wait_for_processor(&mut self) -> Result<(), Stop> {
        // SIGCHLD may have been read together with the input. Then no second signal comes, and none is waited for.
        if !self.retry.signals.child {
            let patience = self.patience();
            self.retry.signals.wait(patience);
        }
        self.look_after_directories()
    }

    /// How long nothing has to be done if nothing happens.
    fn patience(&self) -> PollTimeout {
        let next = self.directories.iter().filter_map(LogDirectory::deadline);
        let next = next.chain(self.router.deadline()).chain(self.unlooked.then_some(self.look_at)).min();
        sys::timeout(next.map(|at| at.saturating_sub(Moment::now().uptime)))
    }

    /// New files where the period of the old ones is over at the time that lines have now; at the end of a line, which is
    /// then the last one that is taken before. Whether there are new files.
    fn rotate_by_time(&mut self) -> Result<bool, Stop> {
        let (is_within, mut is_due, mut changed) = (self.router.line != Line::Fresh, false, false);
        for directory in &mut self.directories {
            if !directory.period_is_over(self.time) {
                continue;
            }
            is_due = true;
            if !is_within {
                directory.rotate(&mut self.retry)?;
                changed = true;
            }
        }
        self.router.stops_at_line_end = is_due && is_within;
        if changed {
            self.commit(0);
        }
        Ok(changed)
    }

    /// Writes a batch to the directories, and what the router put out to other places.
    fn write(&mut self, batch: Batch) -> Result<(), Stop> {
        let sizes = self.outputs.iter().map(|output| match batch {
            Batch::Verbatim(length) => length,
            Batch::Routed => output.pending.len(),
        });
        let files = self.directories.iter().zip(sizes).map(|(directory, size)| directory.file(size)).collect();
        self.journal.commit(0, self.journal.checkpoint().line, files);
        for (output, directory) in self.outputs.iter_mut().zip(&mut self.directories) {
            match batch {
                Batch::Verbatim(length) => directory.write(&self.journal.data()[..length], &mut self.retry)?,
                Batch::Routed => directory.write(&output.pending, &mut self.retry)?,
            }
            output.pending.clear();
        }
        let SideOutput { alerts, statuses, lines, messages } = &mut self.side;
        self.forwarder.print(lines, &mut self.retry)?;
        lines.clear();
        self.forwarder.send(messages);
        report::pass_on(alerts);
        alerts.clear();
        statuses.drain(..).for_each(|(file, content)| self.forwarder.show(file, &content));
        Ok(())
    }

    /// Whether the router put out anything.
    fn is_pending(&self) -> bool {
        !self.side.is_empty() || self.outputs.iter().any(|output| !output.pending.is_empty())
    }

    fn commit(&mut self, taken: usize) {
        self.journal.commit(taken, self.router.line, self.files());
    }

    fn files(&self) -> Vec<File> {
        self.directories.iter().map(|directory| directory.file(0)).collect()
    }

    /// Full files that were dealt with, new files on demand.
    fn look_after_directories(&mut self) -> Result<(), Stop> {
        self.retry.signals.child = false;
        while let Ok(Some((pid, status))) = process::reap() {
            for directory in &mut self.directories {
                directory.child_ended(pid, status, &mut self.retry)?;
            }
        }
        let asked = std::mem::take(&mut self.retry.signals.rotate);
        let mut changed = false;
        for directory in &mut self.directories {
            directory.tend(&mut self.retry)?;
            if asked && directory.size > 0 && !directory.is_processing() {
                directory.rotate(&mut self.retry)?;
                changed = true;
            }
        }
        if changed {
            self.commit(0);
        }
        Ok(())
    }

    /// Tells of lines that were dropped where there is room for them again.
    fn tell_of_dropped(&mut self) -> Result<(), Stop> {
        if self.directories.iter().any(|directory| directory.tell_at().is_some_and(|at| at <= Moment::now().uptime)) {
            self.write(Batch::Routed)?;
            self.commit(0);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        self.look_at_clock()?;
        self.end_lines()?;
        // What was written since the last look may have gone into a file that is not there any more.
        self.look_now(Moment::now().uptime, 0)?;
        self.forwarder.end();
        // A processor's work is waited for; but not told to leave, or once told so meanwhile.
        while self.directories.iter().any(LogDirectory::is_processing) && !self.retry.signals.leaving {
            self.wait_for_processor()?;
        }
        for directory in &mut self.directories {
            directory.end(&mut self.retry)?;
        }
        self.journal.remove();
        Ok(())
    }
}

/// What could not be written yet is left in order to the next one.
fn close_all<'a>(journals: impl Iterator<Item = &'a mut Journal>) {
    journals.for_each(|journal| {
        if let Err(errno) = journal.close() {
            Unable::new("write to disk", JOURNAL, errno).warn();
        }
    });
}

/// How much memory multilog may have.
fn memory_limit() -> u64 {
    let limit = |resource| getrlimit(resource).map_or(u64::MAX, |(limit, _)| limit);
    limit(Resource::RLIMIT_DATA).min(limit(Resource::RLIMIT_AS))
}

/// The input, as a journal knows it.
fn input() -> Id {
    Id::of(sys::stdin()).unwrap_or_default()
}

/// The journals that multilogs were killed with in these directories, the oldest first.
fn find_journals(script: &Script, locked: &[Locked], boot: &Boot, retry: &mut Retry) -> Result<Vec<Journal>, Fatal> {
    let mut found = Vec::new();
    for (directory, Locked { folder, .. }) in script.directories.iter().zip(locked) {
        let path = [directory.path.as_bytes(), b"/", JOURNAL.as_bytes()].concat();
        let journal = match retry.retry_at_start("open", OsStr::from_bytes(&path), || journal::find(folder, boot))? {
            Left::Nothing => continue,
            Left::Doubtful => {
                rename(
                    folder,
                    &path,
                    b"it cannot be told whether it is of this boot, and what is in it may be in the log",
                );
                continue;
            }
            Left::Journal(journal) => journal,
        };
        if !journal.is_outdated() {
            found.push(journal);
            continue;
        }
        if !journal.data().is_empty() {
            let log = directory.path.as_bytes();
            warning(&[b"removing ", &path, b": another multilog has written to ", log, b" since"]);
        }
        journal.remove();
    }
    found.sort_by_key(Journal::since);
    Ok(found)
}

/// One in the first directory. It is a help, not a condition.
fn make_journal(script: &Script, locked: &[Locked], boot: &Boot, misgiving: &mut Misgiving) -> Result<Journal, Fatal> {
    if let (Some(Locked { folder, .. }), Some(directory)) = (locked.first(), script.directories.first()) {
        make_way(folder, &directory.path);
        match journal::make(folder, boot) {
            Ok(journal) => return Ok(journal),
            Err(errno) => misgiving.failed(errno, Moment::now().uptime),
        }
    }
    Ok(Journal::in_memory().unable_to("make", "a buffer")?)
}

/// Renames what is called `journal` and is none of ours.
fn make_way(folder: &OwnedFd, path: &OsStr) {
    let path = [path.as_bytes(), b"/", JOURNAL.as_bytes()].concat();
    match journal::is_blocked(folder) {
        Ok(false) => {}
        Ok(true) => rename(folder, &path, b"it is not mine"),
        Err(errno) => Unable::new("open", OsStr::from_bytes(&path), errno).warn(),
    }
}

fn rename(folder: &OwnedFd, path: &[u8], why: &[u8]) {
    match rename_away(folder, JOURNAL) {
        Ok(name) => warning(&[b"renaming ", path, b" to ", name.as_bytes(), b": ", why]),
        Err(errno) => Unable::new("rename", OsStr::from_bytes(path), errno).warn(),
    }
}

/// Looks at the first bytes of standard input through a pipe of our own, without taking them.
fn peek((reader, writer): &(OwnedFd, OwnedFd), place: &mut [u8]) -> nix::Result<usize> {
    let shown = tee(sys::stdin(), writer.as_fd(), place.len(), SpliceFFlags::SPLICE_F_NONBLOCK)?;
    let mut seen = 0;
    // All of it: what is left there would be taken for what comes next.
    while seen < shown {
        match read(reader, &mut place[seen..shown]) {
            Err(Errno::EINTR) => {}
            Ok(0) => return Err(Errno::EIO),
            more => seen += more?,
        }
    }
    Ok(shown)
}
