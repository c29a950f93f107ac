//! The loop around the service and, where there is one, its logger.

use crate::choose_record::Predecessor;
use crate::commands::{Batch, Target};
use crate::control_files::{ControlFiles, enter_origin};
use crate::kept_lines::{self, KeptLines};
use crate::label;
use crate::last_lines::{Facts, LastLines, Step, Writer};
use crate::logged_service::{BeforeChdir, LoggedService};
use crate::machine::Event;
use crate::messages;
use crate::pipe::Pipe;
use crate::predecessor::ServiceContext;
use crate::publish::Publisher;
use crate::runner::{FirstEvents, Runner};
use crate::settings;
use crate::shared::Shared;
use crate::suspend_credit;
use crate::svscan_pipe::lines_kept_only_here;
use crate::tree;
use daemontools::service::ledger::{self, Page};
use daemontools::service::{Command, Directory, Part, Process, Record, Role, STATE, Want};
use daemontools::sys::boot::Boot;
use daemontools::sys::pocket::Pocket;
use daemontools::sys::process;
use daemontools::tai64::Moment;
use daemontools::{Attempt, Fatal, Unable, report, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, read};
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;

/// A supervise that holds the lock of a service.
pub struct Supervisor {
    service: Box<Runner>,
    logger: Option<Box<Runner>>,
    shared: Shared,
    signals: SignalFd,
    /// Which part of the service the next command is for.
    target: Target,
    /// If the service of this supervise is a logger: the service whose last lines it is to read. It is `None` once they
    /// are read, or once svscan, which knows what is left in its pipes, has told this supervise to exit.
    logged_service: Option<LoggedService>,
    /// How far reading these last lines has come.
    last_lines: Option<LastLines>,
    /// How far the logger that this supervise runs beside the service has come with reading the last lines.
    logger_lines: Option<LastLines>,
    /// How long this supervise, which could exit otherwise, has kept lines that no logger has read. It is `None` once it may
    /// exit.
    kept_lines: Option<KeptLines>,
}

/// The first events for the logger and for the service.
pub struct First {
    logger: (FirstEvents, LeftBehind),
    service: (FirstEvents, LeftBehind),
    reason: StartReason,
}

/// What svscan, or the person who called supervise, has started it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StartReason {
    /// To run the service.
    Run,
    /// To end what the supervise before it has left, as svscan stops the service.
    Stop,
}

impl StartReason {
    fn from_environment() -> StartReason {
        if std::env::var_os(ledger::STOPS).is_some() { StartReason::Stop } else { StartReason::Run }
    }
}

/// The process that a killed supervise left behind.
type LeftBehind = Option<(Role, Process)>;

impl Supervisor {
    /// Takes charge of a service: locks it, takes over what a killed supervise left, and shows that the service is
    /// supervised.
    ///
    /// # Errors
    /// The service directory cannot be used, or has another supervise.
    // It is not inlined, and what it makes lies in the heap: on the stack both would take a page of memory for as long
    // as supervise runs.
    #[inline(never)]
    pub fn take_charge(given: OsString) -> Result<(Box<Supervisor>, First), Fatal> {
        let name = label::of(&given);
        let signals = watch_signals().unable_to("watch children for", &name)?;
        // Whether `/proc` is away for a moment is told by whether it was there now.
        tree::had_proc();
        enter_origin()?;
        let before = BeforeChdir::of(&given);
        let (control_files, want) = ControlFiles::acquire(given, name.clone())?;
        let logged_service = before.map(BeforeChdir::entered);
        let (page, pocket) = (Page::from_environment(), Pocket::from_environment());
        let boot = Boot::current().unable_to("tell this boot from others", "")?;
        let directory = match Directory::lasting_at(Path::new("")) {
            Err(errno) if sys::is_passing(errno) => {
                return Err(Unable::new("identify", &control_files.name, errno).into());
            }
            // The file system does not tell: then the record is not refused as one of another directory.
            directory => directory.ok(),
        };
        let context =
            ServiceContext { name: &name, place: &control_files.place, boot: &boot, directory: directory.as_ref() };
        let Predecessor { record, resumes, .. } =
            context.predecessor(page.as_ref()).unable_to("read", control_files.object(STATE))?;
        let change = record.change;
        let (service, service_first) = if resumes {
            Runner::resume(Part::Service, &record, &control_files.place)?
        } else {
            (Runner::new(Part::Service, want, &record), FirstEvents::BEGUN)
        };
        let left = record.process.filter(|_| resumes);
        let logger_left = record.logger.as_ref().filter(|_| resumes).and_then(|logger| logger.process);
        let (logger, logger_first) = match record.logger.filter(|_| resumes) {
            Some(record) => Some(Runner::resume(Part::Logger, &record, &control_files.place)?),
            None => settings::has_logger()
                .then(|| (Runner::new(Part::Logger, Want::Up, &Record::blank()), FirstEvents::BEGUN)),
        }
        .unzip();
        let found = record.pipe.and_then(|inode| {
            Pipe::recover(inode, logger.as_ref().and_then(|logger| logger.process()), service.process())
        });
        let pipe = logger.as_ref().map(|_| found.map_or_else(Pipe::new, Ok)).transpose();
        let pipe = pipe.unable_to("create pipe for", &name)?;
        let inode = pipe.as_ref().and_then(|pipe| pipe.inode().ok());
        let own = Process::itself();
        let kept = Record { supervise: own, boot, directory, change, pipe: inode, ..Record::blank() };
        let shared = Shared {
            logger: logger.as_ref().and_then(|logger| logger.process()).map(|process| process.pid),
            pipe,
            publisher: Publisher::new(name, control_files.place.clone(), page, kept),
            tags_processes: control_files.is_others(),
            pocket,
            control_files,
            helpers: Vec::new(),
            sessions: Vec::new(),
        };
        // A logger has no pipe to a logger of its own.
        let kept_lines = logged_service.is_none().then(KeptLines::default);
        let mut supervisor = Box::new(Supervisor {
            service,
            logger,
            shared,
            signals,
            target: Target::SERVICE,
            logged_service,
            last_lines: None,
            logger_lines: None,
            kept_lines,
        });
        supervisor.note();
        if !resumes {
            // A program that finds the service supervised finds its state too: without that, it could not tell a job
            // that is over by then from another one.
            supervisor.shared.publisher.write_state();
        }
        supervisor.show()?;
        let logger_first = (logger_first.unwrap_or(FirstEvents::BEGUN), logger_left);
        let reason = StartReason::from_environment();
        Ok((supervisor, First { logger: logger_first, service: (service_first, left), reason }))
    }

    /// Notes how the service and its logger are now, without writing it.
    fn note(&mut self) {
        let Supervisor { service, logger, shared, .. } = self;
        logger.iter().for_each(|logger| shared.publisher.note(Part::Logger, logger.record()));
        shared.publisher.note(Part::Service, service.record());
    }

    /// Writes the status, and shows that the service is supervised.
    fn show(&mut self) -> Result<(), Fatal> {
        let Supervisor { service, logger, shared, .. } = self;
        // The state is not written yet: where this supervise goes on after another one, what the state says of a
        // process that has ended is needed until the machine was told of that.
        shared.publisher.publish_status();
        shared.control_files.open_ok()?;
        for runner in logger.as_deref_mut().into_iter().chain([&mut **service]) {
            runner.reattach(shared);
        }
        Ok(())
    }

    /// Tells the machines of their first events.
    pub fn begin(&mut self, first: First) {
        let Supervisor { service, logger, shared, .. } = self;
        if first.reason == StartReason::Stop {
            service.handle(Event::StartNothing, shared);
        }
        let runners = logger.iter_mut().zip([first.logger]).chain([(service, first.service)]);
        for (runner, (FirstEvents { main, beside }, left)) in runners {
            let main = runner.first_event(main, left, shared);
            if let (Event::Ended(exit), Some((role, process))) = (&main, left) {
                runner.notify(role.into(), process.pid, Some(*exit));
            }
            [Some(main), beside].into_iter().flatten().for_each(|event| runner.handle(event, shared));
        }
        // The service may be down for good already.
        self.let_logger_go();
        self.see_kept_lines();
    }

    /// Whether supervise was told to exit, and does.
    pub fn is_done(&self) -> bool {
        self.can_exit() && self.kept_lines.is_none()
    }

    /// Whether supervise was told to exit, and can, except that it may have to keep lines.
    fn can_exit(&self) -> bool {
        let logger_is_done = self.logger.as_ref().is_none_or(|logger| logger.done && self.shared.pipe.is_none());
        self.service.done && self.logged_service.is_none() && logger_is_done
    }

    /// Waits until something happens, and deals with it.
    ///
    /// # Errors
    /// ENOMEM: the kernel does not let supervise wait.
    pub fn wait_and_act(&mut self) -> Result<(), Fatal> {
        let has_commands = self.wait()?;
        report::retry_lost();
        let mut commands = Vec::new();
        while let Ok(Some(signal)) = self.signals.read_signal() {
            commands.extend(process::commands_of(&signal));
        }
        self.reap();
        let Supervisor { service, logger, shared, logged_service, .. } = self;
        shared.publisher.try_again(Moment::now().uptime);
        if logged_service.is_some() && service.is_due() && sys::is_at_end(sys::stdin()) {
            service.starve(shared);
        }
        for runner in logger.as_deref_mut().into_iter().chain([&mut **service]) {
            runner.poll(shared);
        }
        if has_commands {
            self.read_control();
        }
        // svscan knows nothing of the two parts: its commands are for the service.
        if !commands.is_empty() {
            if commands.contains(&Command::Exit.byte()) {
                // svscan sees to what is left in its pipes.
                self.logged_service = None;
            }
            self.obey(&commands, Target::SERVICE);
        }
        self.see_last_lines();
        self.let_logger_go();
        if self.release_ended() {
            self.reap();
        }
        self.shared.mend();
        self.see_kept_lines();
        Ok(())
    }

    /// Takes in all children that have ended. Each is waited for only once its end is written down: if this supervise
    /// is killed before, the next one still finds how it ended.
    fn reap(&mut self) {
        while let Some((pid, status)) = self.ended_child() {
            let Supervisor { service, logger, shared, .. } = self;
            for runner in logger.as_deref_mut().into_iter().chain([&mut **service]) {
                runner.child_ended(pid, status, shared);
            }
            if !self.runners().any(|runner| runner.ended() == Some(pid)) {
                self.wait_for(pid);
            }
            self.release_ended();
        }
    }

    /// A child that has ended and was not taken in yet. As long as there is one that is to be waited for later, the
    /// kernel would name that one again and again. Then supervise asks for all others one by one: those that it has
    /// made, and, as far as `/proc` tells, descendants that have become its children.
    fn ended_child(&self) -> Option<(Pid, i32)> {
        let kept: Vec<Pid> = self.runners().filter_map(Runner::ended).collect();
        if kept.is_empty() {
            return process::ended_child_status(None).ok().flatten();
        }
        let known = self.runners().flat_map(Runner::children).chain(self.shared.helpers.iter().copied());
        let children = tree::own_children().unwrap_or_default();
        let mut others = known.chain(children).filter(|child| !kept.contains(child));
        others.find_map(|child| process::ended_child_status(Some(child)).ok().flatten())
    }

    /// Waits for the children whose number `supervise/status` does not show any more. Returns whether there were any:
    /// then it is time for those that ended after them.
    fn release_ended(&mut self) -> bool {
        let Supervisor { service, logger, .. } = self;
        let runners = logger.as_deref_mut().into_iter().chain([&mut **service]);
        let released: Vec<Pid> = runners.filter_map(Runner::release_ended).collect();
        released.iter().for_each(|pid| self.wait_for(*pid));
        !released.is_empty()
    }

    fn wait_for(&mut self, pid: Pid) {
        self.shared.helpers.retain(|bystander| *bystander != pid);
        let _ = process::wait_for(pid);
    }

    fn runners(&self) -> impl Iterator<Item = &Runner> {
        self.logger.as_deref().into_iter().chain([&*self.service])
    }

    /// Waits until something happens; true if there are commands to read. Tells the machines if nothing could run for a
    /// time.
    fn wait(&mut self) -> Result<bool, Fatal> {
        let before = Moment::now().uptime;
        let patience = self.patience(before);
        let mut fds: Vec<PollFd> =
            self.shared.control_files.controls().map(|control| PollFd::new(control, PollFlags::POLLIN)).collect();
        let controls = fds.len();
        fds.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        for runner in self.logger.as_deref().into_iter().chain([&*self.service]) {
            runner.watch(&mut fds);
        }
        let told = match poll(&mut fds, sys::timeout(patience)) {
            Ok(_) => fds.iter().take(controls).any(|control| control.any() == Some(true)),
            Err(Errno::EINTR) => false,
            Err(errno) => return Err(Unable::new("wait", "", errno).into()),
        };
        let readable: Vec<RawFd> =
            fds.iter().filter(|fd| fd.any() == Some(true)).map(|fd| fd.as_fd().as_raw_fd()).collect();
        let Supervisor { service, logger, .. } = self;
        for runner in logger.as_deref_mut().into_iter().chain([&mut **service]) {
            runner.note_readable(&readable);
        }
        let slept = Moment::now().uptime.saturating_sub(before);
        if let Some(lost) = patience.and_then(|patience| suspend_credit::time_lost(patience, slept)) {
            let Supervisor { service, logger, shared, .. } = self;
            for runner in logger.as_deref_mut().into_iter().chain([&mut **service]) {
                runner.handle(Event::Frozen(lost), shared);
            }
        }
        Ok(told)
    }

    /// How long to wait at most; `None` if there is nothing to be done until something happens.
    fn patience(&self, now: Duration) -> Option<Duration> {
        let logger = self.logger.as_ref().and_then(|logger| logger.deadline());
        let last_lines = match &self.last_lines {
            Some(last_lines) => last_lines.deadline(),
            None => (self.service.done && self.logged_service.is_some()).then_some(now),
        };
        let logger_lines = self.logger_lines.as_ref().and_then(LastLines::deadline);
        let kept_lines = self.kept_lines.as_ref().and_then(KeptLines::deadline);
        let publisher = self.shared.publisher.deadline();
        let deadlines = [self.service.deadline(), logger, publisher, last_lines, logger_lines, kept_lines];
        let deadline = deadlines.into_iter().flatten().min();
        let left = deadline.map(|deadline| deadline.saturating_sub(now));
        let is_timing = self.service.is_timing() || self.logger.as_ref().is_some_and(|logger| logger.is_timing());
        if is_timing { left.map(suspend_credit::longest_sleep) } else { left }
    }

    /// Reads commands and obeys them. After a short read the target is the service again.
    fn read_control(&mut self) {
        let read_some = |control: BorrowedFd| {
            let mut bytes = vec![0; 256];
            let length = read(control, &mut bytes).unwrap_or(0);
            let is_short = length < bytes.len();
            bytes.truncate(length);
            (bytes, is_short)
        };
        let told: Vec<(Vec<u8>, bool)> = self.shared.control_files.controls().map(read_some).collect();
        for (commands, is_short) in told {
            self.target = self.obey(&commands, self.target);
            if is_short {
                self.target = Target::SERVICE;
            }
        }
    }

    /// Obeys commands, the first of which is for `target`. Returns which part the next command is for.
    fn obey(&mut self, commands: &[u8], mut target: Target) -> Target {
        let mut batch = Batch::of(commands);
        for (index, byte) in commands.iter().enumerate() {
            let Some((part, command)) = target.take(*byte, self.can_exit()) else { continue };
            let Supervisor { service, logger, shared, .. } = &mut *self;
            match part {
                Part::Service => {
                    let next = commands.get(index + 1).copied();
                    let meaning = batch.take(command, next, service.would_end_a_program());
                    meaning.events(command).for_each(|event| service.handle(event, shared));
                }
                Part::Logger => logger.iter_mut().for_each(|logger| logger.handle(Event::Told(command), shared)),
            }
        }
        target
    }

    /// Has a logger that is down, and whose supervise was told to exit, read the last lines of its service.
    fn see_last_lines(&mut self) {
        let Supervisor { service, shared, logged_service: Some(logged_service), last_lines, .. } = self else { return };
        if last_lines.is_none() && !service.done {
            return;
        }
        let now = Moment::now().uptime;
        let facts = logged_service.facts(&service.record());
        match last_lines.get_or_insert_with(|| LastLines::of(now)).step(now, facts) {
            Step::Wait => {}
            Step::Tell(command) => service.handle(Event::Told(command), shared),
            Step::Leave => (self.logged_service, self.last_lines) = (None, None),
        }
    }

    /// Stays, although it can exit, as long as only this supervise keeps lines that no logger has read.
    fn see_kept_lines(&mut self) {
        if !self.can_exit() {
            return;
        }
        let Supervisor { shared, kept_lines: Some(kept), .. } = self else { return };
        let unread = lines_kept_only_here();
        match kept.step(Moment::now().uptime, unread) {
            kept_lines::Step::Stay => return,
            kept_lines::Step::Exit => {}
            kept_lines::Step::GiveUp => messages::lines_lost(shared.control_files.name(), unread),
        }
        self.kept_lines = None;
    }

    /// Once the service is down for good, lets its logger read to the end of the pipe. Then the logger is done too.
    fn let_logger_go(&mut self) {
        let Supervisor { service, logger: Some(logger), shared, logger_lines, .. } = self else { return };
        let Some(pipe) = shared.pipe.as_mut().filter(|_| service.done) else { return };
        pipe.end_input();
        let unread = pipe.unread();
        let now = Moment::now().uptime;
        let last_lines = logger_lines.get_or_insert_with(|| {
            logger.handle(Event::Told(Command::Exit), shared);
            LastLines::that_tells(now)
        });
        let facts = Facts::of(&logger.record(), Writer::Gone, unread);
        match last_lines.step(now, facts) {
            Step::Wait => {}
            Step::Tell(command) => logger.handle(Event::Told(command), shared),
            Step::Leave => shared.pipe = None,
        }
    }
}

/// After this call, a descriptor tells of children that have ended and of commands that svscan sends by signal. A write
/// that fails, because a listener of `supervise/event` has gone or the size of files is limited, returns an error and
/// does not kill supervise.
fn watch_signals() -> nix::Result<SignalFd> {
    process::default_action(Signal::SIGCHLD)?;
    let told = process::signal_set(&[Signal::SIGCHLD as i32, process::COMMANDS]);
    told.thread_block()?;
    SigSet::from_iter([Signal::SIGPIPE, Signal::SIGXFSZ]).thread_block()?;
    SignalFd::with_flags(&told, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
