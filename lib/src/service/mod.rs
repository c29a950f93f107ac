//! The service directory: its file names, the bytes of `supervise/status` and `supervise/control`,
//! and the protocol of the FIFO `supervise/ok`. The only place that knows them.
//!
//! The names are relative. A program changes into the service directory and uses them there, so that a directory that is
//! renamed meanwhile is still the same service; [`Place`] says where they lie in another directory, or where `$SUPERVISEDIR`
//! says otherwise.

mod command;
mod control;
mod directory;
mod exit;
pub mod goal;
pub mod ledger;
mod mark;
mod observation;
pub mod observe;
mod orphan;
mod part;
mod place;
mod process;
mod proof;
mod record;
pub mod setting;
mod snapshot;
mod status;
mod toucher;
pub mod view;

// What lies in a service directory is opened by these.
pub use crate::files::{
    Replaced, Unread, is_fifo, make_at, open_fifo, open_fifo_at, open_fifo_of, open_file_itself_at, open_lock_at,
    open_pipe_of, put_file, put_file_first, read_file, read_file_itself,
};
pub use command::{Command, Commands};
pub use control::{
    has_supervise_at, hold_ok, hold_ok_at, is_control, is_supervised, is_supervised_at, open_control, send_commands,
};
pub use directory::Directory;
pub use exit::{Exit, signal_name};
pub use mark::{MARK, has_mark, is_proven_by_mark, mark_of, mark_of_logger};
pub use observation::{Next, Observation, Presence, Stage};
pub use orphan::{OrphanEnd, orphan_exit};
pub use part::Part;
pub use place::Place;
pub use process::{Identity, Process, is_without_pidfd};
pub use proof::{Proof, proof_at};
pub use record::{Death, Ending, Failure, Record, Role, SOON, Shown, Verdict};
pub use snapshot::{Illegible, Snapshot, read_status, read_status_at};
pub use status::{Phase, Running, Status, TooShort, Want};
pub use toucher::Toucher;

/// The program that supervise runs.
pub const RUN: &str = "run";
/// Its presence keeps a service from being started.
pub const DOWN: &str = "down";
/// The logger's service directory.
pub const LOG: &str = "log";
/// The logger's [`RUN`].
pub const LOG_RUN: &str = "log/run";
/// The logger's [`SUPERVISE`].
pub const LOG_SUPERVISE: &str = "log/supervise";
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
/// How processes ended whose supervise had been killed ([`OrphanEnd`]).
pub const ORPHAN: &str = "supervise/orphan";
/// Where a new orphan's end is written before it is renamed to [`ORPHAN`].
pub const ORPHAN_NEW: &str = "supervise/orphan.new";

/// FIFOs of those who listen for transitions, one letter each, as s6's fifodirs.
pub const EVENT: &str = "supervise/event";

/// FIFO: a service with a `notification-fd` writes a newline into it when it is ready.
pub const NOTIFICATION: &str = "supervise/notification";

/// Settings: with either of them a service finds NOTIFY_SOCKET in its environment.
pub const SPEAKS: [&str; 2] = ["notify-socket", "watchdog"];
/// Socket: what a service whose `notify-socket` says `path` finds as NOTIFY_SOCKET.
pub const SOCKET: &str = "supervise/notify-socket";
/// What the names of notify sockets begin with that are no files.
pub const SOCKET_NAMES: &str = "supervise/notify";
