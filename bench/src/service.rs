//! Services that say when something happens to them, and whoever supervises them.

use crate::event::{Event, What};
use crate::peers::{Order, Suite};
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

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(30);

/// What the services of a folder tell.
#[derive(Debug)]
pub struct Events(File);

impl Events {
    /// Of the services that lie in this folder.
    pub fn of(folder: &Path) -> Result<Events> {
        let fifo = folder.join("events");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600))?;
        // For writing too, so that it never ends.
        let nonblocking = nix::libc::O_NONBLOCK;
        Ok(Events(OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(fifo)?))
    }

    /// The next one, if it is there.
    pub fn next(&mut self) -> Result<Option<Event>> {
        let mut bytes = [0; 16];
        match self.0.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(Event::from_bytes(bytes))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The next one that is such, without all before it.
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

/// Makes a service directory whose `run` is the probe; `events` is the FIFO for what it tells, seen from there.
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

/// One service, supervised.
#[derive(Debug)]
pub struct Supervised {
    pub suite: Suite,
    pub directory: PathBuf,
    pub events: Events,
    /// Of the service, at last.
    pub pid: u32,
    /// When it started at last.
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

    /// Tells it something by its suite's program.
    pub fn tell(&self, run: &Run, order: Order) -> Result<()> {
        crate::peers::succeed(
            run.peers.order(self.suite, order).arg(&self.directory).stdout(Stdio::null()),
            &format!("{} {order:?}", self.suite.name()),
        )
    }

    /// The next start.
    pub fn restarted(&mut self) -> Result<Event> {
        let event = self.events.wait(What::Started)?;
        (self.pid, self.since) = (event.pid, Instant::now());
        Ok(event)
    }
}
