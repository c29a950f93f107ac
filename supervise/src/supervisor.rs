//! The loop around the service and, where there is one, its logger.

use crate::choice::Past;
use crate::control_files::{ControlFiles, Normally};
use crate::frozen;
use crate::label;
use crate::last_lines::{Facts, LastLines, Step, Writer};
use crate::logged_service::{BeforeChdir, LoggedService};
use crate::machine::Event;
use crate::past::Here;
use crate::pipe::Pipe;
use crate::publish::Publisher;
use crate::runner::Runner;
use crate::settings;
use crate::shared::Shared;
use crate::tree;
use daemontools::service::ledger::Page;
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
use nix::unistd::{Pid, getpid, read};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

/// A supervise that holds the lock of a service.
pub struct Supervisor {
    service: Box<Runner>,
    logger: Option<Box<Runner>>,
    shared: Shared,
    signals: SignalFd,
    /// Which part of the service the next command is for.
    target: Part,
    /// If the service of this supervise is a logger: the service whose last lines it is to read. It is `None` once they
    /// are read, or once svscan has told this supervise to exit, which knows what is left in its pipes.
    logged_service: Option<LoggedService>,
    /// How far reading these last lines has come.
    last_lines: Option<LastLines>,
    /// How far the logger that this supervise runs beside the service has come with reading the last lines.
    logger_lines: Option<LastLines>,
}

/// The first event for the logger and for the service.
pub struct First {
    logger: (Event, Left),
    service: (Event, Left),
}

/// The process that a killed supervise left behind.
type Left = Option<(Role, Process)>;

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
        let before = BeforeChdir::of(&given);
        let (control_files, normally) = ControlFiles::acquire(given, name.clone())?;
        let logged_service = before.map(BeforeChdir::entered);
        let (page, pocket) = (Page::from_environment(), Pocket::from_environment());
        let boot = Boot::current().unable_to("tell this boot from others", "")?;
        let directory = match Directory::at(Path::new("")) {
            Err(errno) if sys::is_passing(errno) => {
                return Err(Unable::new("identify", &control_files.name, errno).into());
            }
            // The file system does not tell: then the record is not refused as one of another directory.
            directory => directory.ok(),
        };
        let here = Here { name: &name, place: &control_files.place, boot: &boot, directory: directory.as_ref() };
        let Past { record, resumes, .. } = here.past(page.as_ref()).unable_to("read", control_files.object(STATE))?;
        let (service, service_first) = if resumes {
            Runner::resume(Part::Service, &record, &control_files.place)?
        } else {
            let want = if normally == Normally::Up { Want::Up } else { Want::Down };
            (Runner::new(Part::Service, want, &record), Event::Begun)
        };
        let left = record.process.filter(|_| resumes);
        let logger_left = record.logger.as_ref().filter(|_| resumes).and_then(|logger| logger.process);
        let (logger, logger_first) = match record.logger.filter(|_| resumes) {
            Some(record) => Some(Runner::resume(Part::Logger, &record, &control_files.place)?),
            None => {
                settings::has_logger().then(|| (Runner::new(Part::Logger, Want::Up, &Record::blank()), Event::Begun))
            }
        }
        .unzip();
        let found = record.pipe.and_then(|inode| {
            Pipe::recover(inode, logger.as_ref().and_then(|logger| logger.process()), service.process())
        });
        let pipe = logger.as_ref().map(|_| found.map_or_else(Pipe::new, Ok)).transpose();
        let pipe = pipe.unable_to("create pipe for", &name)?;
        let inode = pipe.as_ref().and_then(|pipe| pipe.inode().ok());
        let own = Process::of(getpid());
        let kept = Record { supervise: own, boot, directory, pipe: inode, ..Record::blank() };
        let shared = Shared {
            logger: logger.as_ref().and_then(|logger| logger.process()).map(|process| process.pid),
            pipe,
            publisher: Publisher::new(name, control_files.place.clone(), page, kept),
            tags_processes: control_files.is_others(),
            pocket,
            control_files,
            helpers: Vec::new(),
        };
        let mut supervisor = Box::new(Supervisor {
            service,
            logger,
            shared,
            signals,
            target: Part::Service,
            logged_service,
            last_lines: None,
            logger_lines: None,
        });
        supervisor.note();
        if !resumes {
            // A program that finds the service supervised finds its state too: without that, it could not tell a job
            // that is over by then from another one.
            supervisor.shared.publisher.write_state();
        }
        supervisor.show()?;
        let logger_first = (logger_first.unwrap_or(Event::Begun), logger_left);
        Ok((supervisor, First { logger: logger_first, service: (service_first, left) }))
    }

    /// Notes how the service and its logger are now, without writing it.
    fn note(&mut self) {
        let Supervisor { service, logger, shared, .. } = self;
        logger.iter().for_each(|logger| shared.publisher.note(Part::Logger, logger.record()));
        shared.publisher.note(Part::Service, service.record());
    }

    /// Writes the status, and shows that the service is supervised.
    fn show(&mut self) -> Result<(), Fatal> {
        let Supervisor { service, shared, .. } = self;
        // The state is not written yet: where this supervise goes on after another one, what the state says of a
        // process that has ended is needed until the machine was told of that.
        shared.publisher.publish_status();
        shared.control_files.open_ok()?;
        service.reattach(shared);
        Ok(())
    }

    /// Tells the machines of their first events.
    pub fn begin(&mut self, first: First) {
        let Supervisor { service, logger, shared, .. } = self;
        let runners = logger.iter_mut().zip([first.logger]).chain([(service, first.service)]);
        for (runner, (event, left)) in runners {
            if let (Event::Ended(exit), Some((role, process))) = (&event, left) {
                runner.notify(role, process.pid, Some(*exit), shared);
            }
            runner.handle(event, shared);
        }
    }

    /// Whether supervise was told to exit, and can.
    pub fn is_done(&self) -> bool {
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
        if logged_service.is_some() && service.is_due() && sys::is_abandoned(sys::stdin()) {
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
            self.obey(&commands, Part::Service);
        }
        self.see_last_lines();
        self.let_logger_go();
        if self.release_ended() {
            self.reap();
        }
        self.shared.mend();
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
        let children = tree::own_children();
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
        let slept = Moment::now().uptime.saturating_sub(before);
        if let Some(lost) = patience.and_then(|patience| frozen::time_lost(patience, slept)) {
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
        let deadlines = [self.service.deadline(), logger, self.shared.publisher.deadline(), last_lines, logger_lines];
        let deadline = deadlines.into_iter().flatten().min();
        let left = deadline.map(|deadline| deadline.saturating_sub(now));
        let is_timing = self.service.is_timing() || self.logger.as_ref().is_some_and(|logger| logger.is_timing());
        if is_timing { left.map(frozen::at_most) } else { left }
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
                self.target = Part::Service;
            }
        }
    }

    /// Obeys commands, the first of which is for `target`. Returns which part the next command is for. What comes after
    /// supervise was told to exit, and can, is for no supervise: it would start a service that no command ends any more.
    fn obey(&mut self, commands: &[u8], mut target: Part) -> Part {
        for command in commands.iter().filter_map(|byte| Command::from_byte(*byte)) {
            if self.is_done() {
                break;
            }
            let Supervisor { service, logger, shared, .. } = &mut *self;
            match (command, target, logger.as_mut()) {
                (Command::ForService, _, _) => target = Part::Service,
                (Command::ForLogger, _, _) => target = Part::Logger,
                (command, Part::Service, _) => service.handle(Event::Told(command), shared),
                (command, Part::Logger, Some(logger)) => logger.handle(Event::Told(command), shared),
                (_, Part::Logger, None) => {}
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

/// From here on a descriptor tells of the end of a child and of the commands that svscan sends by signal. A write that
/// fails returns an error and does not kill supervise, be it that a listener of `supervise/event` has gone, or that the
/// size of files is limited.
fn watch_signals() -> nix::Result<SignalFd> {
    process::default_action(Signal::SIGCHLD)?;
    let told = process::signal_set(&[Signal::SIGCHLD as i32, process::COMMANDS]);
    told.thread_block()?;
    SigSet::from_iter([Signal::SIGPIPE, Signal::SIGXFSZ]).thread_block()?;
    SignalFd::with_flags(&told, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
