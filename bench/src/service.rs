//! Services that report when something happens to them, and their supervisors.

use crate::event::{Event, What};
use crate::peers::{ServiceCommand, Suite};
use crate::run::Run;
use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A time limit that no working program exceeds.
const LIMIT: Duration = Duration::from_secs(30);

/// The reports of the services in a folder.
#[derive(Debug)]
pub struct Events(File);

impl Events {
    /// Opens the reports of the services in this folder.
    pub fn of(folder: &Path) -> Result<Events> {
        let fifo = folder.join("events");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600))?;
        // The FIFO is open for writing too, so that it never reaches its end.
        let nonblocking = nix::libc::O_NONBLOCK;
        Ok(Events(OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(fifo)?))
    }

    /// The next report, if there is one.
    pub fn next(&mut self) -> Result<Option<Event>> {
        let mut bytes = [0; 16];
        match self.0.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(Event::from_bytes(bytes))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the next report of this kind, and drops those before it.
    pub fn wait(&mut self, what: What) -> Result<Event> {
        let limit = Instant::now() + LIMIT;
        loop {
            match self.next()? {
                Some(event) if event.what == what => return Ok(event),
                Some(_) => {}
                None if Instant::now() > limit => bail!("no service has {what:?} for {LIMIT:?}"),
                None => {
                    poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], PollTimeout::from(1000_u16))?;
                }
            }
        }
    }
}

/// Makes a service directory whose `run` is the probe. `events` is the path of the FIFO for its reports, seen from
/// there.
pub fn make(run: &Run, directory: &Path, events: &str) -> Result<()> {
    fs::create_dir(directory)?;
    run_probe(run, directory, events)
}

/// Makes the `run` of a directory: the probe, with a word.
pub fn run_probe(run: &Run, directory: &Path, word: &str) -> Result<()> {
    script(&directory.join("run"), &format!("#!{} {word}\n", run.peers.probe.display()))
}

/// Writes a program.
pub fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// A supervised service.
#[derive(Debug)]
pub struct Supervised {
    pub suite: Suite,
    pub directory: PathBuf,
    pub events: Events,
    /// The latest pid of the service.
    pub pid: u32,
    /// The time of its latest start.
    pub since: Instant,
}

impl Supervised {
    pub fn start(run: &Run, suite: Suite) -> Result<Supervised> {
        let folder = run.folder()?;
        let directory = folder.join("service");
        make(run, &directory, "../events")?;
        let mut events = Events::of(&folder)?;
        let mut command = run.peers.supervisor(suite, &directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let pid = events.wait(What::Started).with_context(|| format!("start {}", suite.name()))?.pid;
        Ok(Supervised { suite, directory, events, pid, since: Instant::now() })
    }

    /// Sends an order to the service by its suite's program.
    pub fn tell(&self, run: &Run, order: ServiceCommand) -> Result<()> {
        crate::peers::succeed(
            run.peers.order(self.suite, order).arg(&self.directory).stdout(Stdio::null()),
            &format!("{} {order:?}", self.suite.name()),
        )
    }

    /// Waits for the next start of the service.
    pub fn restarted(&mut self) -> Result<Event> {
        let event = self.events.wait(What::Started)?;
        (self.pid, self.since) = (event.pid, Instant::now());
        Ok(event)
    }
}
