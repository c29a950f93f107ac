//! Starting supervises, and the pipe between each service and its logger.

use crate::identity::id_of;
use crate::pages::Pages;
use crate::pockets::Speech;
use crate::pockets::{self, Pockets};
use crate::stopping::Pipes;
use crate::table::{Id, Part, SuperviseId, label};
use daemontools::Unable;
use daemontools::service::{LOG, Record, ledger};
use daemontools::sys::exec::{c_string, candidates, environment};
use daemontools::sys::lock::claim;
use daemontools::sys::process::{COMMANDS, duplicate_above, signal_set};
use daemontools::sys::spawn::{Refused, Spawn, spawn};
use daemontools::sys::{self, open_files};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use nix::sys::stat::fstat;
use nix::unistd::{Pid, dup3, pipe2};
use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The pipe between a service and its logger. svscan keeps both ends open for as long as it knows the service: a logger
/// that is started again finds what the logger before it has left, and a service that is started again writes on
/// without the logger seeing an end.
struct Pipe {
    reader: OwnedFd,
    /// The writing end, which also reads, as the service's standard output does for that reason: with all other processes
    /// dead, the service writes on without an error, and nothing of it is lost. Closed only when the service has been
    /// stopped, or is gone, and the logger is to see the end.
    writer: Option<OwnedFd>,
}

/// A supervise that is to be started.
#[derive(Debug, Clone, Copy)]
pub struct NewSupervise<'a> {
    pub which: SuperviseId,
    /// The name of its service.
    pub name: &'a OsStr,
    /// Where the service lies.
    pub place: &'a OsStr,
    /// That is on the mount of the scan directory.
    pub is_here: bool,
    /// Whether there is a pipe between the service and its logger.
    pub logged: bool,
    /// The service is being stopped: the supervise ends what the supervise before it has left, and starts nothing.
    pub stops: bool,
    /// Whether the service may speak to its supervise.
    pub speech: Speech,
}

/// How many descriptors svscan does not use for pipes, so that it can still command what runs.
const SPARE: u64 = 8;

/// What every supervise is started with.
pub struct Launcher {
    /// The supervise that lies beside svscan, if there was one when svscan was started.
    beside: Option<CString>,
    /// The supervises in PATH, which are tried where the one beside svscan cannot be executed. They may be of another make
    /// and let their service inherit what they are given, so they get no page, and no signal is blocked in them.
    others: Vec<CString>,
    environment: Vec<CString>,
    /// The pages of the supervises, where the system has such files.
    pub pages: Option<Pages>,
    /// The pockets, which keep the sockets that services speak through.
    pub pockets: Pockets,
    /// The limits of open files that svscan was started with, if it has raised its own.
    open_files: Option<(u64, u64)>,
    pipes: HashMap<Id, Pipe>,
    /// A low descriptor through which a child gets its end of a pipe, so that the child's table of descriptors need not reach
    /// up to a high one. While no child is being started, it is `null`.
    low_fd: OwnedFd,
    null: OwnedFd,
    /// The lock of the scan directory. A child keeps it open until it has become a supervise, which the next svscan can
    /// find: if svscan is killed before that, the next svscan waits for the lock.
    lock: Option<OwnedFd>,
}

impl Launcher {
    /// Makes a launcher of this `supervise`, whose children do not get the environment variable `kept`. Raises svscan's
    /// own limit of open files. Children get the limit that svscan was started with, or `before`, with which an earlier
    /// svscan in this process was started.
    ///
    /// # Errors
    /// No descriptor to be had, or the environment does not fit.
    pub fn new(
        supervise: &Path,
        kept: &str,
        before: Option<(u64, u64)>,
        lock: Option<&OwnedFd>,
    ) -> nix::Result<Launcher> {
        let null = open_null()?;
        let low_fd = duplicate_above(&null, 3)?;
        let beside = c_string(supervise.as_os_str())?;
        let beside = Some(beside).filter(|path| path.as_bytes().contains(&b'/'));
        Ok(Launcher {
            beside,
            others: candidates(c"supervise"),
            environment: environment(&[(kept.into(), None)])?,
            pages: None,
            pockets: Pockets::new(&null)?,
            // Each service with a logger needs two descriptors.
            open_files: open_files::raise().or(before),
            pipes: HashMap::new(),
            low_fd,
            null,
            lock: lock.map(|lock| duplicate_above(lock, 3)).transpose()?,
        })
    }

    /// Starts a supervise.
    ///
    /// # Errors
    /// The system refused, in the original's words.
    pub fn start(&mut self, new: &NewSupervise) -> Result<Pid, Unable> {
        let NewSupervise { which, name, logged, .. } = *new;
        let label = label(which.part, name);
        let refused = |refused| match refused {
            Refused::Process(errno) => Unable::new("fork for", &label, errno),
            Refused::Descriptors(errno) => Unable::new("set up descriptors for", &label, errno),
            Refused::Directory(errno) => Unable::new("switch to", name, errno),
            Refused::Program(errno) => Unable::new("start supervise", &label, errno),
        };
        if logged {
            self.make_pipe(which.id).map_err(|errno| Unable::new("create pipe for", name, errno))?;
            self.load_low_fd(which).map_err(|errno| refused(Refused::Descriptors(errno)))?;
        }
        let started = self.spawn(new).map_err(refused);
        if logged {
            // If an end were kept here, the process at the other end would never see the pipe closed.
            let _ = dup3(&self.null, &mut self.low_fd, OFlag::O_CLOEXEC);
        }
        started
    }

    fn spawn(&mut self, new: &NewSupervise) -> Result<Pid, Refused> {
        let NewSupervise { which, name, place, is_here, logged, stops, speech } = *new;
        let argument = argument(place);
        let place = c_string(place).map_err(Refused::Directory)?;
        let (argument, directory, its) = match which.part {
            Part::Service => (c_string(&argument).map_err(Refused::Directory)?, None, 1),
            Part::Logger => (c_string(OsStr::new(LOG)).map_err(Refused::Directory)?, Some(place), 0),
        };
        // A supervise without a page writes into its directory only.
        let pages = self.pages.as_mut().filter(|_| self.beside.is_some());
        let loan = pages.and_then(|pages| pages.lend(which).ok());
        let variable = loan.as_ref().map(|loan| format!("{}={}", ledger::VARIABLE, loan.variable));
        let variable = variable.and_then(|variable| c_string(variable.as_ref()).ok());
        let lent = if self.beside.is_some() { self.pockets.lend(which, speech) } else { None };
        let pocket = lent.and_then(|lent| c_string(pockets::variable(lent).as_ref()).ok());
        // A logger is told the name of its service, because its own name is always `log`.
        let service = directory.as_ref().map(|_| [ledger::SERVICE.as_bytes(), b"=", name.as_bytes()].concat());
        let service = service.and_then(|service| c_string(OsStr::from_bytes(&service)).ok());
        // svscan waits until the supervise is executed, but not until a server has let it change its directory.
        let (directory, from) = directory.map_or((None, None), |place| match is_here {
            true => (Some(place), None),
            false => (None, Some(place)),
        });
        let from_variable = from.as_ref().map(|from| [ledger::FROM.as_bytes(), b"=", from.as_bytes()].concat());
        let from_variable = from_variable.and_then(|variable| c_string(OsStr::from_bytes(&variable)).ok());
        let variables = self.environment.len();
        let stops = stops.then(|| c_string([ledger::STOPS, "=1"].concat().as_ref()).ok()).flatten();
        self.environment.extend(variable.into_iter().chain(pocket).chain(service).chain(stops).chain(from_variable));
        let pipe = logged.then(|| (self.low_fd.as_fd(), its));
        let given = loan.map(|loan| loan.ledger).into_iter().chain(lent).map(|given| (given, given.as_raw_fd()));
        let descriptors: Vec<(BorrowedFd, i32)> = pipe.into_iter().chain(given).collect();
        let ours = Spawn {
            candidates: self.beside.as_slice(),
            argv: &[c"supervise".into(), argument],
            environment: &self.environment,
            directory: directory.as_ref(),
            descriptors: &descriptors,
            kept_until_exec: self.lock.as_ref().map(AsFd::as_fd),
            // The signal that brings commands must not kill a supervise that does not read commands yet.
            mask: &signal_set(&[COMMANDS]),
            open_files: self.open_files,
        };
        let other = Spawn {
            candidates: &self.others,
            environment: self.environment.get(..variables).unwrap_or_default(),
            directory: directory.as_ref().or(from.as_ref()),
            descriptors: pipe.as_slice(),
            mask: &SigSet::empty(),
            ..ours
        };
        let started = spawn(&ours).or_else(|refused| match refused {
            Refused::Program(errno @ (Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::EISDIR)) => {
                spawn(&other).map_err(|refused| more_telling(errno, refused))
            }
            refused => Err(refused),
        });
        self.environment.truncate(variables);
        self.pockets.take_back(&self.null);
        started
    }

    fn make_pipe(&mut self, id: Id) -> nix::Result<()> {
        if !self.has_pipe(id) {
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
            let pipe = (reader, sys::reopen_read_write(writer));
            let highest = u64::try_from(pipe.0.as_raw_fd().max(pipe.1.as_raw_fd())).unwrap_or(0);
            if highest + SPARE > open_files::limit()? {
                return Err(Errno::EMFILE);
            }
            self.put_pipe(id, pipe);
        }
        Ok(())
    }

    fn load_low_fd(&mut self, which: SuperviseId) -> nix::Result<()> {
        let pipe = self.pipes.get_mut(&which.id).ok_or(Errno::EBADF)?;
        let end = match (which.part, &mut pipe.writer) {
            (Part::Service, Some(writer)) => writer,
            // The service has come back.
            (Part::Service, closed) => closed.insert(sys::both_ends(&pipe.reader)?),
            (Part::Logger, _) => &mut pipe.reader,
        };
        dup3(end, &mut self.low_fd, OFlag::O_CLOEXEC)
    }

    /// All pipes that are whole: reading and writing end.
    pub fn pipes(&self) -> impl Iterator<Item = (Id, &OwnedFd, &OwnedFd)> {
        self.pipes.iter().filter_map(|(id, pipe)| Some((*id, &pipe.reader, pipe.writer.as_ref()?)))
    }

    /// The limits of open files that children have, if these are not svscan's own.
    pub fn open_files(&self) -> Option<(u64, u64)> {
        self.open_files
    }

    /// Whether the service has its pipe.
    pub fn has_pipe(&self, id: Id) -> bool {
        self.pipes.contains_key(&id)
    }

    /// Whether the service has a pipe, and `file` is another one.
    pub fn is_other_pipe(&self, id: Id, file: Id) -> bool {
        let Some(pipe) = self.pipes.get(&id) else { return false };
        let Ok(ours) = fstat(&pipe.reader) else { return false };
        file != id_of(&ours)
    }

    /// Gives the service this pipe: its reading and its writing end. The supervise of the service does not exit before its
    /// pipe is claimed or empty, so that its lines outlive it. The claim holds as long as svscan or a process of the logger
    /// has the reading end.
    pub fn put_pipe(&mut self, id: Id, (reader, writer): (OwnedFd, OwnedFd)) {
        // Without the claim a supervise that exits while there are lines to read does so later.
        let _ = claim(&reader);
        self.pipes.insert(id, Pipe { reader, writer: Some(writer) });
    }

    /// Closes svscan's writing end: the logger sees the end of its input once all other processes have closed theirs.
    pub fn close_writer(&mut self, id: Id) {
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.writer = None;
        }
    }

    /// Closes svscan's writing end of the pipe of a service that may come back: only if the end can be opened again, for
    /// which there must be a `/proc`.
    pub fn end_input(&mut self, id: Id) {
        if let Some(pipe) = self.pipes.get_mut(&id)
            && sys::both_ends(&pipe.reader).is_ok()
        {
            pipe.writer = None;
        }
    }

    /// How many bytes the logger has not read.
    pub fn unread(&self, id: Id) -> usize {
        self.pipes.get(&id).map_or(0, |pipe| sys::unread(&pipe.reader).unwrap_or(0))
    }

    /// Closes the pipe of a service.
    pub fn close_pipe(&mut self, id: Id) {
        self.pipes.remove(&id);
    }

    /// Forgets a service that is gone, its pipe, and the pages and pockets of its supervises.
    pub fn forget(&mut self, id: Id) {
        self.close_pipe(id);
        self.pockets.forget(id);
        if let Some(pages) = &mut self.pages {
            pages.forget(id);
        }
    }

    /// What the last supervise of a part has written on its page.
    pub fn record(&self, which: SuperviseId) -> Option<Record> {
        self.pages.as_ref()?.record(which)
    }

    /// Starts a program in the scan directory, as supervises are started.
    ///
    /// # Errors
    /// Which step the system refused.
    pub fn start_program(&self, file: &Path, argument: &str) -> Result<Pid, Refused> {
        let program = c_string(file.as_os_str()).map_err(Refused::Program)?;
        let argument = c_string(argument.as_ref()).map_err(Refused::Program)?;
        spawn(&Spawn {
            candidates: std::slice::from_ref(&program),
            argv: &[program.clone(), argument],
            environment: &self.environment,
            directory: None,
            descriptors: &[],
            kept_until_exec: None,
            mask: &SigSet::empty(),
            open_files: self.open_files,
        })
    }
}

impl Pipes for Launcher {
    fn has_pipe(&self, id: Id) -> bool {
        Launcher::has_pipe(self, id)
    }

    fn unread(&self, id: Id) -> usize {
        Launcher::unread(self, id)
    }
}

/// Why neither the supervise beside svscan could be executed nor another one. That the first may not be executed says more
/// than that there is no other.
fn more_telling(ours: Errno, other: Refused) -> Refused {
    if other == Refused::Program(Errno::ENOENT) { Refused::Program(ours) } else { other }
}

/// The argument of supervise for a service. A name that supervise would take for an option is given as a path.
fn argument(name: &OsStr) -> OsString {
    match name.as_bytes() {
        question @ (b"--help" | b"--version") => OsStr::from_bytes(&[b"./", question].concat()).to_os_string(),
        _ => name.to_os_string(),
    }
}

/// Opens `/dev/null`. If it is missing, says so, and takes another file that has nothing to read.
fn open_null() -> nix::Result<OwnedFd> {
    sys::null_device().or_else(|errno| {
        Unable::new("open", "/dev/null", errno).warn();
        sys::null()
    })
}
