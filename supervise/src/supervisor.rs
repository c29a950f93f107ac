//! A supervise in charge: the loop around the service and, where there is one, its logger.

use crate::charge::{Charge, Normally};
use crate::machine::Event;
use crate::pipe::Pipe;
use crate::publish::Publisher;
use crate::settings;
use crate::slot::{Common, Slot, Which};
use daemontools::service::{Command, Place, Process, Record, Role, STATE, Unread, Want};
use daemontools::sys::boot::Boot;
use daemontools::sys::process;
use daemontools::tai64::Moment;
use daemontools::{Attempt, Fatal, Unable, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{getpid, read};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::Duration;

/// A supervise in charge of a service.
pub struct Supervisor {
    service: Box<Slot>,
    logger: Option<Box<Slot>>,
    common: Common,
    signals: SignalFd,
    /// Whom the next command is meant for.
    meant: Which,
}

/// What happens first to the logger and to the service.
pub struct First {
    logger: (Event, Left),
    service: (Event, Left),
}

/// The process that a killed supervise left behind.
type Left = Option<(Role, Process)>;

impl Supervisor {
    /// Takes charge of a service: locks it, takes over what a killed supervise left, shows itself.
    ///
    /// # Errors
    /// The service cannot be taken charge of; nothing was changed for it.
    // Not inlined, and what it makes in the heap: in the stack both would take a page of memory for as long as
    // supervise runs.
    #[inline(never)]
    pub fn take_charge(name: OsString) -> Result<(Box<Supervisor>, First), Fatal> {
        let (mask, signals) = watch_children().unable_to("watch children for", &name)?;
        let (charge, normally) = Charge::take(name.clone())?;
        let record = read_record(&charge.place).unable_to("read", charge.object(STATE))?;
        let boot = Boot::current().unable_to("tell this boot from others", "")?;
        let left_as_told = record.leaving && record.process.is_none();
        // Where boots cannot be told apart, the process tells.
        let same_boot = record.boot.is_same(&boot).unwrap_or(record.process.is_some());
        let goes_on = same_boot && !left_as_told;
        let (service, service_first) = if goes_on {
            Slot::resume(Which::Service, &record, &charge.place)?
        } else {
            let want = if normally == Normally::Up { Want::Up } else { Want::Down };
            (Slot::new(Which::Service, want, &record), Event::Begun)
        };
        let left = record.process.filter(|_| goes_on);
        let logger_left = record.logger.as_ref().filter(|_| goes_on).and_then(|logger| logger.process);
        let (logger, logger_first) = match record.logger.filter(|_| goes_on) {
            Some(record) => Some(Slot::resume(Which::Logger, &record, &charge.place)?),
            None => {
                settings::has_logger().then(|| (Slot::new(Which::Logger, Want::Up, &Record::blank()), Event::Begun))
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
        let kept = Record { supervise: own, boot, pipe: inode, ..Record::blank() };
        let common = Common {
            pipe,
            publisher: Publisher::new(name, charge.place.clone(), kept),
            charge,
            mask,
            bystanders: Vec::new(),
        };
        let mut supervisor = Box::new(Supervisor { service, logger, common, signals, meant: Which::Service });
        supervisor.show()?;
        let logger_first = (logger_first.unwrap_or(Event::Begun), logger_left);
        Ok((supervisor, First { logger: logger_first, service: (service_first, left) }))
    }

    fn show(&mut self) -> Result<(), Fatal> {
        let Supervisor { service, logger, common, .. } = self;
        logger.iter().for_each(|logger| common.publisher.note(Which::Logger, logger.record()));
        common.publisher.note(Which::Service, service.record());
        // Not the state: what it says of a process that has ended is needed until that is dealt with.
        common.publisher.publish_status();
        common.charge.show()?;
        service.take_up(common);
        Ok(())
    }

    /// Begins, or goes on.
    pub fn begin(&mut self, first: First) {
        let Supervisor { service, logger, common, .. } = self;
        let slots = logger.iter_mut().zip([first.logger]).chain([(service, first.service)]);
        for (slot, (event, left)) in slots {
            if let (Event::Ended(exit), Some((role, process))) = (&event, left) {
                slot.notify(role, process.pid, Some(*exit), common);
            }
            slot.happen(event, common);
        }
    }

    /// Whether supervise has been told to leave, and may.
    pub fn is_done(&self) -> bool {
        self.service.done && self.logger.as_ref().is_none_or(|logger| logger.done)
    }

    /// Waits until something happens, and deals with it.
    ///
    /// # Errors
    /// The kernel does not let us wait: ENOMEM.
    pub fn wait_and_act(&mut self) -> Result<(), Fatal> {
        let told = self.wait()?;
        let Supervisor { service, logger, common, signals, .. } = self;
        while let Ok(Some(_)) = signals.read_signal() {}
        // Waited for only once its end is written down: until then a supervise after us would still find it.
        while let Ok(Some((pid, status))) = process::ended_child_status() {
            common.bystanders.retain(|bystander| *bystander != pid);
            for slot in logger.as_deref_mut().into_iter().chain([&mut **service]) {
                slot.child_ended(pid, status, common);
            }
            let _ = process::wait_for(pid);
        }
        common.publisher.try_again(Moment::now().uptime);
        for slot in logger.as_deref_mut().into_iter().chain([&mut **service]) {
            slot.look(common);
        }
        if told {
            self.read_control();
        }
        self.let_logger_go();
        Ok(())
    }

    /// Waits; true if there are commands to read.
    fn wait(&self) -> Result<bool, Fatal> {
        let mut fds = vec![
            PollFd::new(self.common.charge.control.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        for slot in self.logger.as_deref().into_iter().chain([&*self.service]) {
            slot.watch(&mut fds);
        }
        match poll(&mut fds, sys::timeout(self.patience())) {
            Ok(_) => Ok(fds.first().and_then(PollFd::any).unwrap_or(false)),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(Unable::new("wait", "", errno).into()),
        }
    }

    /// How long there is nothing to be done if nothing happens.
    fn patience(&self) -> Option<Duration> {
        let logger = self.logger.as_ref().and_then(|logger| logger.deadline());
        let deadlines = [self.service.deadline(), logger, self.common.publisher.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        deadline.map(|deadline| deadline.saturating_sub(Moment::now().uptime))
    }

    /// Whom commands are meant for is said anew once all have been read.
    fn read_control(&mut self) {
        let mut bytes = [0; 256];
        let length = read(&self.common.charge.control, &mut bytes).unwrap_or(0);
        let Supervisor { service, logger, common, meant, .. } = self;
        for command in bytes[..length].iter().filter_map(|byte| Command::from_byte(*byte)) {
            match (command, *meant, logger.as_mut()) {
                (Command::ForService, _, _) => *meant = Which::Service,
                (Command::ForLogger, _, _) => *meant = Which::Logger,
                (command, Which::Service, _) => service.happen(Event::Told(command), common),
                (command, Which::Logger, Some(logger)) => logger.happen(Event::Told(command), common),
                (_, Which::Logger, None) => {}
            }
        }
        if length < bytes.len() {
            *meant = Which::Service;
        }
    }

    /// Once the service is down for good, its logger may read to the end, and is then done too.
    fn let_logger_go(&mut self) {
        let Supervisor { service, logger, common, .. } = self;
        if let (true, Some(logger), Some(_)) = (service.done, logger, &common.pipe) {
            common.pipe = None;
            logger.happen(Event::Told(Command::Exit), common);
        }
    }
}

/// From here on the end of a child is told through a descriptor.
fn watch_children() -> nix::Result<(SigSet, SignalFd)> {
    process::default_action(Signal::SIGCHLD)?;
    let children = SigSet::from_iter([Signal::SIGCHLD]);
    let mut mask = children.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    mask.remove(Signal::SIGCHLD);
    Ok((mask, SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
}

/// What an earlier supervise left; where there was none, or only garbage, it says nothing.
///
/// # Errors
/// EMFILE, EIO …: not to be taken for nothing.
fn read_record(place: &Place) -> nix::Result<Record> {
    match Record::read(place) {
        Ok(record) => Ok(record),
        Err(Unread::System(errno)) if !matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Err(errno),
        Err(_) => Ok(Record::blank()),
    }
}
