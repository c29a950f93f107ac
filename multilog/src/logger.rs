//! The loop: input into the journal, from there to where the router sends it, and only then forgotten.

use crate::alarm::Alarm;
use crate::forward::{self, Forwarder};
use crate::hold::{Hold, Stop};
use crate::journal::{self, File, JOURNAL, Journal};
use crate::logdir::{LogDirectory, put_aside, show};
use crate::router::{Input, Line, Output, Router};
use crate::script::{Action, Script};
use crate::steps::{Aside, MOST_DIRECTORIES};
use daemontools::report::{self, PERMANENT, warning};
use daemontools::sys::{self, process};
use daemontools::tai64::{Moment, Tai64N};
use daemontools::{Attempt, Fatal, Unable, service};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{pipe2, read};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// A pipe as large as anyone may make one.
const PIPE_SIZE: i32 = 1024 * 1024;

/// A log directory and its lock.
type Locked = (OwnedFd, OwnedFd);

/// multilog, at work.
pub struct Logger {
    router: Router,
    directories: Vec<LogDirectory>,
    outputs: Vec<Output>,
    aside: Aside,
    forwarder: Forwarder,
    journal: Journal,
    /// Older ones, of several multilogs that were killed.
    left: Vec<Journal>,
    hold: Hold,
    /// To look at the first bytes of the input without taking them; none if the input is no pipe.
    glass: Option<(OwnedFd, OwnedFd)>,
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
        let mut hold = Hold::new().unable_to("watch signals", "")?;
        if script.directories.len() > MOST_DIRECTORIES {
            return Err(Fatal::new(PERMANENT, &[b"too many directories: 63 are possible"]));
        }
        for complaint in &script.complaints {
            warning(&[b"ignoring ", complaint.action.as_bytes(), b": ", complaint.reason.as_bytes()]);
        }
        for action in &script.actions {
            if let Action::Status(file) = action {
                hold.begin("create", file, || show(file, b""))?;
            }
        }
        let mut locked = Vec::new();
        for directory in &script.directories {
            locked.push(LogDirectory::lock(&directory.path, &mut hold)?);
        }
        let mut left = find_journals(&script, &locked, &mut hold)?;
        let notes: Vec<File> = left.iter().flat_map(|journal| journal.note().files.clone()).collect();
        let journal = match left.pop() {
            Some(newest) => newest,
            None => make_journal(&script, &locked, &mut hold)?,
        };
        let mut directories = Vec::new();
        for (settings, locked) in script.directories.iter().zip(locked) {
            directories.push(LogDirectory::restart(settings.clone(), locked, &notes, &mut hold)?);
        }
        hold.may_stop = journal.survives();
        let forwarder = Forwarder::new(&script);
        let router = Router::new(&script, &forward::identity());
        let is_pipe = service::is_fifo(sys::stdin()).unwrap_or(false);
        if is_pipe {
            let _ = fcntl(sys::stdin(), FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        }
        // In a pipe of packets a read has only one of those that wait.
        let packets = fcntl(sys::stdin(), FcntlArg::F_GETFL).is_ok_and(|flags| flags & OFlag::O_DIRECT.bits() != 0);
        let glass = (is_pipe && !packets).then(|| pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()).flatten();
        let outputs = script.directories.iter().map(|_| Output::default()).collect();
        let alarm = match directories.iter().any(LogDirectory::needs_clock) {
            true => Some(hold.begin("watch", "the clock".as_ref(), Alarm::new)?),
            false => None,
        };
        let aside = Aside::new(forwarder.targets());
        let mut logger =
            Logger { router, directories, outputs, aside, forwarder, journal, left, hold, glass, alarm, ended: false };
        let files = logger.files();
        logger.left.iter_mut().chain([&mut logger.journal]).for_each(|journal| journal.adopt(files.clone()));
        Ok(logger)
    }

    /// Works until the input has ended or TERM has come.
    ///
    /// # Errors
    /// [`Stop`]: told to end in the middle of trouble; the next multilog goes on.
    pub fn run(&mut self) -> Result<(), Stop> {
        let done = self.work();
        if done.is_err() {
            self.directories.iter_mut().for_each(LogDirectory::give_up_telling);
        }
        done
    }

    fn work(&mut self) -> Result<(), Stop> {
        self.go_on()?;
        self.look_at_clock()?;
        self.write_out(Input::Open)?;
        while !(self.ended || self.may_leave()) {
            if !self.journal.survives() && self.journal.data().is_empty() {
                self.look_for_room()?;
            }
            let readable = self.wait();
            report::retry_lost();
            if readable {
                self.read();
            }
            if readable || self.router.deadline().is_some() {
                self.look_at_clock()?;
                self.write_out(if self.ended { Input::Ended } else { Input::Open })?;
            }
            self.look_after_directories()?;
        }
        self.end()
    }

    /// Takes up what was read and not written. Our input has the rest of its last line only if it is the input that
    /// the newest journal is of.
    fn go_on(&mut self) -> Result<(), Stop> {
        for older in std::mem::take(&mut self.left) {
            let newest = std::mem::replace(&mut self.journal, older);
            self.write_left()?;
            std::mem::replace(&mut self.journal, newest).remove();
        }
        let input = journal::id(sys::stdin()).unwrap_or(0);
        if !self.journal.is_of(input) {
            self.write_left()?;
        }
        self.journal.begin(input);
        self.router.resume(self.journal.note().line);
        Ok(())
    }

    /// Writes all that is in the journal, and ends its last line.
    fn write_left(&mut self) -> Result<(), Stop> {
        self.router.resume(self.journal.note().line);
        self.look_at_clock()?;
        self.write_out(Input::Ended)?;
        if !self.journal.data().is_empty() {
            return Err(Stop);
        }
        self.router.end(&mut self.outputs, &mut self.aside);
        self.write(0)?;
        self.commit(0);
        Ok(())
    }

    /// There was no room for a journal that outlives us: tries again for one. While there is no room for anything, nothing
    /// is taken from the pipe, where it is safe, so that we can be told to end.
    fn look_for_room(&mut self) -> Result<(), Stop> {
        loop {
            if let Some(Ok(journal)) = self.directories.first().map(LogDirectory::make_journal) {
                self.journal = journal;
                self.journal.begin(journal::id(sys::stdin()).unwrap_or(0));
                self.commit(0);
                self.hold.may_stop = true;
                return Ok(());
            }
            match self.directories.iter().find_map(LogDirectory::trouble) {
                Some(trouble) if !self.may_leave() => self.hold.pause(trouble)?,
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Told to, and at the end of a line. Whole lines that a pipe had may be left to the next multilog, as those that
    /// it still has are.
    fn may_leave(&self) -> bool {
        let data = self.journal.data();
        let leaves_lines = || self.hold.may_stop && self.glass.is_some() && data.contains(&b'\n');
        self.hold.leaving && self.router.line == Line::Fresh && (data.is_empty() || leaves_lines())
    }

    /// What is written next is of now.
    fn look_at_clock(&mut self) -> Result<(), Stop> {
        if self.router.needs_clock() || self.alarm.is_some() {
            let now = Moment::now();
            self.router.batch(now);
            self.rotate_by_time(now.label)?;
        }
        Ok(())
    }

    /// Waits for input, a signal, or the time at which something is to be done; true if there is input.
    fn wait(&mut self) -> bool {
        let patience = self.patience();
        let next = self.directories.iter().filter_map(|directory| directory.wall_deadline(self.router.line)).min();
        let watched = self.alarm.as_mut().map(|alarm| alarm.set(next)).map_or(2, |()| 3);
        let clock = self.alarm.as_ref().map_or(self.hold.as_fd(), AsFd::as_fd);
        let mut fds =
            [sys::stdin(), self.hold.as_fd(), clock].map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
        let polled = poll(&mut fds[..watched], patience);
        let [input, signals, time] = fds.map(|fd| fd.any().unwrap_or(false));
        if signals {
            self.hold.hear();
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
        let most = if self.hold.leaving { room.min(1) } else { room };
        let read_input = |place: &mut [u8]| read(sys::stdin(), place);
        let result = match (&self.glass, sys::unread(sys::stdin())) {
            (Some(glass), Ok(waiting @ 1..)) => {
                self.journal.read(waiting.min(most), |place| peek(glass, place), read_input)
            }
            // At its end, or no pipe.
            (Some(_), _) | (None, _) => self.journal.read_unproven(most, read_input),
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

    /// Writes all that can be written of what was read; told to leave, no more than to the end of a file.
    fn write_out(&mut self, input: Input) -> Result<(), Stop> {
        loop {
            for (output, directory) in self.outputs.iter_mut().zip(&self.directories) {
                (output.size, output.limit) = (directory.size, directory.limit);
            }
            let plain = self.router.plain_part(self.journal.data(), &self.outputs);
            let taken = match plain {
                0 => self.router.take(self.journal.data(), input, &mut self.outputs, &mut self.aside),
                plain => plain,
            };
            if taken > 0 || self.is_pending() {
                self.write(plain)?;
                self.commit(taken);
            }
            let rotated = self.rotate_full()?;
            if rotated {
                // A disk may take its time for each.
                self.hold.hear();
            }
            if !rotated && taken == 0 || !self.ended && self.may_leave() {
                return Ok(());
            }
        }
    }

    /// Whether there was a full file to be rotated. Input waits for a processor that is still busy with the
    /// one before.
    fn rotate_full(&mut self) -> Result<bool, Stop> {
        let line = self.router.line;
        let full = |directory: &LogDirectory| directory.is_full(line);
        while self.directories.iter().any(|directory| full(directory) && directory.is_processing()) {
            self.wait_for_processor()?;
        }
        let mut rotated = false;
        for directory in self.directories.iter_mut().filter(|directory| full(directory)) {
            directory.rotate(&mut self.hold)?;
            rotated = true;
        }
        if rotated {
            self.commit(0);
        }
        Ok(rotated)
    }

    fn wait_for_processor(&mut self) -> Result<(), Stop> {
        if self.hold.leaving && self.hold.may_stop {
            return Err(Stop);
        }
        // Heard of together with input, its end is not told a second time.
        if !self.hold.child {
            let patience = self.patience();
            self.hold.wait(patience);
        }
        self.look_after_directories()
    }

    /// How long nothing has to be done if nothing happens.
    fn patience(&self) -> PollTimeout {
        let next = self.directories.iter().filter_map(LogDirectory::deadline);
        let next = next.chain(self.router.deadline()).min();
        sys::timeout(next.map(|at| at.saturating_sub(Moment::now().uptime)))
    }

    /// New files where it is time, at the end of a line.
    fn rotate_by_time(&mut self, now: Tai64N) -> Result<(), Stop> {
        if self.router.line != Line::Fresh {
            return Ok(());
        }
        let mut changed = false;
        for directory in &mut self.directories {
            if directory.turn_is_over(now) {
                directory.rotate(&mut self.hold)?;
                changed = true;
            }
        }
        if changed {
            self.commit(0);
        }
        Ok(())
    }

    /// Writes the first `plain` bytes of the data to every directory, or, if that is 0, what the router put out.
    fn write(&mut self, plain: usize) -> Result<(), Stop> {
        let sizes = self.outputs.iter().map(|output| if plain > 0 { plain } else { output.pending.len() });
        let files = self.directories.iter().zip(sizes).map(|(directory, size)| directory.file(size)).collect();
        self.journal.commit(0, self.journal.note().line, files);
        for (output, directory) in self.outputs.iter_mut().zip(&mut self.directories) {
            match plain {
                0 => directory.write(&output.pending, &mut self.hold)?,
                plain => directory.write(&self.journal.data()[..plain], &mut self.hold)?,
            }
            output.pending.clear();
        }
        let Aside { alerts, statuses, lines, messages } = &mut self.aside;
        self.forwarder.print(lines, &mut self.hold)?;
        lines.clear();
        self.forwarder.send(messages);
        report::pass_on(alerts);
        alerts.clear();
        statuses.drain(..).for_each(|(file, content)| self.forwarder.show(file, &content));
        Ok(())
    }

    /// Whether the router put out anything.
    fn is_pending(&self) -> bool {
        !self.aside.is_empty() || self.outputs.iter().any(|output| !output.pending.is_empty())
    }

    fn commit(&mut self, taken: usize) {
        self.journal.commit(taken, self.router.line, self.files());
    }

    fn files(&self) -> Vec<File> {
        self.directories.iter().map(|directory| directory.file(0)).collect()
    }

    /// Full files that were dealt with, new files on demand.
    fn look_after_directories(&mut self) -> Result<(), Stop> {
        self.hold.child = false;
        while let Ok(Some((pid, status))) = process::reap() {
            for directory in &mut self.directories {
                directory.child_ended(pid, status, &mut self.hold)?;
            }
        }
        let asked = std::mem::take(&mut self.hold.rotate);
        let mut changed = false;
        for directory in &mut self.directories {
            directory.tend(&mut self.hold)?;
            if asked && directory.size > 0 && !directory.is_processing() {
                directory.rotate(&mut self.hold)?;
                changed = true;
            }
        }
        if changed {
            self.commit(0);
        }
        if self.alarm.is_some() {
            self.rotate_by_time(Moment::now().label)?;
        }
        if self.directories.iter().any(|directory| directory.tell_at().is_some_and(|at| at <= Moment::now().uptime)) {
            self.write(0)?;
            self.commit(0);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        self.look_at_clock()?;
        self.router.end(&mut self.outputs, &mut self.aside);
        if self.is_pending() {
            self.write(0)?;
            self.commit(0);
        }
        self.forwarder.end();
        // A processor's work is waited for; but not told to leave, or once told so meanwhile.
        while self.directories.iter().any(LogDirectory::is_processing) && !(self.hold.leaving && self.hold.may_stop) {
            self.wait_for_processor()?;
        }
        let processing = self.directories.iter().any(LogDirectory::is_processing);
        for directory in &mut self.directories {
            directory.end(&mut self.hold)?;
        }
        // It also vouches for a full file that waits for its processor.
        if processing || !self.journal.data().is_empty() {
            self.commit(0);
        } else {
            self.journal.remove();
        }
        Ok(())
    }
}

/// The journals that multilogs were killed with in these directories, the oldest first.
fn find_journals(script: &Script, locked: &[Locked], hold: &mut Hold) -> Result<Vec<Journal>, Fatal> {
    let mut found = Vec::new();
    for (directory, (folder, _)) in script.directories.iter().zip(locked) {
        let path = [directory.path.as_bytes(), b"/", JOURNAL.as_bytes()].concat();
        let Some(journal) = hold.begin("open", OsStr::from_bytes(&path), || Journal::find(folder))? else { continue };
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

/// One in the first directory.
fn make_journal(script: &Script, locked: &[Locked], hold: &mut Hold) -> Result<Journal, Fatal> {
    let first = locked.first().map(|(folder, _)| folder);
    if let (Some(folder), Some(directory)) = (first, script.directories.first()) {
        make_way(folder, &directory.path);
    }
    hold.begin("make", "a buffer".as_ref(), || Journal::open(first))
}

/// What has the journal's name and is none keeps all that is in it, by another name.
fn make_way(folder: &OwnedFd, path: &OsStr) {
    let path = [path.as_bytes(), b"/", JOURNAL.as_bytes()].concat();
    match journal::is_blocked(folder).and_then(|blocked| blocked.then(|| put_aside(folder, JOURNAL)).transpose()) {
        Ok(None) => {}
        Ok(Some(name)) => warning(&[b"renaming ", &path, b" to ", name.as_bytes(), b": it is not mine"]),
        Err(errno) => Unable::new("rename", OsStr::from_bytes(&path), errno).warn(),
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
