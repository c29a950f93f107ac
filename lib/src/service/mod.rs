//! The service directory: its file names, the bytes of `supervise/status` and `supervise/control`,
//! and the protocol of the FIFO `supervise/ok`. The only place that knows them.
//!
//! All paths are relative: whoever uses them has changed into the service directory before, so
//! that a directory renamed meanwhile is still the same service.

mod batch;
mod directory;
mod files;
pub mod ledger;
mod mark;
mod place;
mod process;
mod proof;
mod record;
mod snapshot;
mod status;

pub use batch::batch;
pub use directory::{Directory, keeps_numbers};
pub use files::{
    Unread, is_only_ours, open_fifo, open_fifo_at, open_file_at, open_file_itself_at, open_pipe_of, put_file,
    read_beginning, read_file, read_file_itself,
};
pub use mark::{MARK, has_mark, is_proven_by_mark, mark_of, mark_of_logger};
pub use place::Place;
pub use process::{Identity, Process, is_without_pidfd};
pub use proof::{Proof, proof_at};
pub use record::{Death, Ending, Exit, Failure, Record, Role, Shown, Verdict, signal_name};
pub use snapshot::{Illegible, Snapshot, read_status, read_status_at};
pub use status::{Phase, Running, Status, TooShort, Want};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The program that supervise runs.
pub const RUN: &str = "run";
/// Its presence keeps a service from being started.
pub const DOWN: &str = "down";
/// The logger's service directory.
pub const LOG: &str = "log";
/// Everything supervise keeps about a service, in a plain service directory; see [`Place`], which all names
/// below this one go through.
pub const SUPERVISE: &str = "supervise";
/// Locked with flock(2) for as long as the service is supervised.
pub const LOCK: &str = "supervise/lock";
/// FIFO: command bytes go in.
pub const CONTROL: &str = "supervise/control";
/// FIFO: has a reader exactly while the service is supervised and its status is written.
pub const OK: &str = "supervise/ok";
/// The status bytes ([`Status`]).
pub const STATUS: &str = "supervise/status";
/// Where a new status is written before it is renamed to [`STATUS`].
pub const STATUS_NEW: &str = "supervise/status.new";
/// What does not fit into the status: text ([`Record`]).
pub const STATE: &str = "supervise/state";
/// Where a new state is written before it is renamed to [`STATE`].
pub const STATE_NEW: &str = "supervise/state.new";
/// How a process ended whose supervise had been killed: written by svscan, which inherits such
/// processes, before it reaps them. `PID TICKS WSTATUS`, ended by a newline.
pub const ORPHAN: &str = "supervise/orphan";
/// Where a new orphan's end is written before it is renamed to [`ORPHAN`].
pub const ORPHAN_NEW: &str = "supervise/orphan.new";

/// FIFOs of those who listen for transitions, one letter each, as s6's fifodirs.
pub const EVENT: &str = "supervise/event";

/// FIFO: a service with a `notification-fd` writes a newline into it when it is ready.
pub const NOTIFICATION: &str = "supervise/notification";

/// Socket: what a service whose `notify-socket` says `path` finds as NOTIFY_SOCKET.
pub const SOCKET: &str = "supervise/notify-socket";

/// A command, by its byte in `supervise/control`.
///
/// Source: daemontools 0.76; `q 1 2 w + = l L` are daemontools-encore's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Start it, and restart it whenever it ends.
    Up = b'u',
    /// Stop it (TERM, then CONT) and do not restart it.
    Down = b'd',
    /// Start it if it is not running; do not restart it.
    Once = b'o',
    /// supervise exits as soon as the service is down.
    Exit = b'x',
    /// STOP.
    Pause = b'p',
    /// CONT.
    Continue = b'c',
    /// HUP.
    Hangup = b'h',
    /// ALRM.
    Alarm = b'a',
    /// INT.
    Interrupt = b'i',
    /// TERM.
    Terminate = b't',
    /// KILL.
    Kill = b'k',
    /// QUIT.
    Quit = b'q',
    /// USR1.
    User1 = b'1',
    /// USR2.
    User2 = b'2',
    /// WINCH.
    Window = b'w',
    /// Signals go to the service's process group from now on.
    ToGroup = b'+',
    /// Signals go to the service's process alone from now on, as they do in the beginning.
    ToProcess = b'=',
    /// What follows is meant for the service, as it is in the beginning.
    ForService = b'l',
    /// What follows is meant for the logger that the same supervise runs.
    ForLogger = b'L',
}

impl Command {
    /// Every command, in the order `svc` lists them.
    pub const ALL: [Command; 19] = [
        Command::Up,
        Command::Down,
        Command::Once,
        Command::Exit,
        Command::Pause,
        Command::Continue,
        Command::Hangup,
        Command::Alarm,
        Command::Interrupt,
        Command::Terminate,
        Command::Kill,
        Command::Quit,
        Command::User1,
        Command::User2,
        Command::Window,
        Command::ToGroup,
        Command::ToProcess,
        Command::ForService,
        Command::ForLogger,
    ];

    /// The byte in the FIFO, which is also the letter of `svc`'s option.
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// The command of a byte; bytes that mean nothing to us are none, and are to be ignored.
    pub fn from_byte(byte: u8) -> Option<Command> {
        Command::ALL.into_iter().find(|command| command.byte() == byte)
    }
}

/// Opens `supervise/control` for writing commands; dropped, it is closed. Writing to it never waits.
///
/// # Errors
/// ENXIO: supervise is not running. ENOENT: it never ran here.
pub fn open_control() -> nix::Result<OwnedFd> {
    open_if_read(&Place::here()?.path(CONTROL))
}

/// Whether a supervise is in charge of the current directory and has written its status.
///
/// # Errors
/// ENOENT: none ever was. EACCES: not ours to know.
pub fn is_supervised() -> nix::Result<bool> {
    is_supervised_at(Path::new(""))
}

/// The same of another directory.
///
/// # Errors
/// As for [`is_supervised`].
pub fn is_supervised_at(service: &Path) -> nix::Result<bool> {
    match open_if_read(&Place::of(service)?.path(OK)) {
        Ok(_) => Ok(true),
        Err(Errno::ENXIO) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Takes hold of `supervise/ok` of the current directory: in `poll(2)`, the descriptor has an error as
/// soon as the supervise in charge is gone.
///
/// # Errors
/// ENXIO: no supervise is in charge. Otherwise as for [`is_supervised`].
pub fn hold_ok() -> nix::Result<OwnedFd> {
    hold_ok_at(Path::new(""))
}

/// The same of another directory.
///
/// # Errors
/// As for [`hold_ok`].
pub fn hold_ok_at(service: &Path) -> nix::Result<OwnedFd> {
    open_if_read(&Place::of(service)?.path(OK))
}

/// Writes commands to a service's `supervise/control` without ever waiting.
///
/// # Errors
/// ENXIO: supervise is not running, or has not come that far. ENOENT: it never ran here, or its
/// directory is gone. EAGAIN: the FIFO is full.
pub fn send_commands(control: &Path, commands: &[u8]) -> nix::Result<()> {
    nix::unistd::write(open_if_read(control)?, commands).map(drop)
}

/// Opening a FIFO for writing without waiting fails with ENXIO unless somebody reads it. What is
/// not a FIFO has no reader either.
fn open_if_read(fifo: &Path) -> nix::Result<OwnedFd> {
    open_fifo(fifo, OFlag::O_WRONLY).map_err(|unread| match unread {
        Unread::System(errno) => errno,
        Unread::WrongKind | Unread::TooLong => Errno::ENXIO,
    })
}

/// Whether `fd` is a FIFO or a pipe.
///
/// # Errors
/// Those of `fstat(2)`.
pub fn is_fifo(fd: impl AsFd) -> nix::Result<bool> {
    let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
    Ok(kind == SFlag::S_IFIFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_own_byte() {
        for command in Command::ALL {
            assert_eq!(Command::from_byte(command.byte()), Some(command));
        }
        assert_eq!(Command::from_byte(b'z'), None);
    }
}
