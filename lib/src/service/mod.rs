//! The service directory: its file names, the bytes of `supervise/status` and `supervise/control`, and the protocol of
//! the FIFO `supervise/ok`. Only this module knows them.
//!
//! The names are relative. A program changes into the service directory and uses them there, so that a directory that
//! is renamed meanwhile is still the same service. [`Place`] gives the paths in another directory, and where
//! `$SUPERVISEDIR` moves them.

mod after;
mod command;
mod control;
mod directory;
mod ends;
mod exit;
mod given;
pub mod goal;
mod helper;
mod inquiry;
pub mod ledger;
mod mark;
mod mount_points;
mod observation;
pub mod observe;
mod orphan;
mod part;
mod patience;
mod place;
pub mod policy;
mod process;
mod proof;
mod record;
pub mod refusal;
mod remote_mounts;
pub mod setting;
mod silence;
mod snapshot;
mod status;
mod tell;
pub mod trial;
pub mod view;
pub mod waiting;
mod witness;

// These functions open what lies in a service directory.
pub use crate::files::{
    Replaced, Unread, is_fifo, make_at, open_fifo, open_fifo_at, open_fifo_of, open_file_itself_at, open_lock_at,
    open_pipe_of, put_file, put_file_first, read_file, read_file_itself, read_made_up,
};
pub use after::{AFTER, After, MOST_NAMES};
pub use command::{Command, Commands};
pub use control::{
    Delivery, SendError, has_supervise_at, hold_ok, hold_ok_at, is_control, is_supervised, is_supervised_at,
    open_control, send_commands, send_commands_in_time,
};
pub use directory::{Directory, may_be_service};
pub use ends::{EndReason, Ends};
pub use exit::{Exit, signal_name};
pub use given::{Given, LONGEST_GIVEN};
pub use helper::{Helper, Leaving};
pub use inquiry::{Inquiry, ask};
pub use mark::{MARK, are_proven_by_mark, is_proven_by_mark, mark_of, mark_of_logger};
pub use observation::{Next, Observation, Presence, Stage};
pub use orphan::{OrphanEnd, orphan_exit};
pub use part::Part;
pub use place::Place;
pub use process::{Identity, Liveness, Process, has_ended, is_without_pidfd};
pub use proof::{Proof, Unwritten, proof_at, proof_of, take_written};
pub use record::{
    BackgroundFailure, Beside, Death, Ending, Failure, Held, InBackground, LifeEnd, LifeProgress, Record, Role, SOON,
    Search, SearchGoal, Shown, Verdict,
};
pub use remote_mounts::{Answerer, Look, RemoteMounts};
pub use silence::{SILENT, answers, look_for_mounts, open_directory, service_answers};
pub use snapshot::{Snapshot, StatusError, read_status, read_status_at};
pub use status::{Phase, RunitState, Status, TooShort, Want};
pub use tell::tell_supervise;
pub use witness::{Witness, open_pipe_in_time};

/// The program that supervise runs.
pub const RUN: &str = "run";
/// A file of this name keeps the service from being started.
pub const DOWN: &str = "down";
/// The logger's service directory.
pub const LOG: &str = "log";
/// The logger's [`RUN`].
pub const LOG_RUN: &str = "log/run";
/// The logger's [`SUPERVISE`].
pub const LOG_SUPERVISE: &str = "log/supervise";
/// The directory in which supervise keeps everything about a service. All names below this one go through [`Place`].
pub const SUPERVISE: &str = "supervise";
/// The lock file. A supervise holds it with flock(2) as long as it supervises the service.
pub const LOCK: &str = "supervise/lock";
/// The FIFO into which command bytes are written.
pub const CONTROL: &str = "supervise/control";
/// The FIFO that has a reader exactly while the service is supervised and its status is written.
pub const OK: &str = "supervise/ok";
/// The status bytes ([`Status`]).
pub const STATUS: &str = "supervise/status";
/// The name under which a new status is written before it is renamed to [`STATUS`].
pub const STATUS_NEW: &str = "supervise/status.new";
/// What does not fit into the status, as text ([`Record`]).
pub const STATE: &str = "supervise/state";
/// The name under which a new state is written before it is renamed to [`STATE`].
pub const STATE_NEW: &str = "supervise/state.new";
/// How processes ended after their supervise had been killed ([`OrphanEnd`]).
pub const ORPHAN: &str = "supervise/orphan";
/// The name under which a new orphan's end is written before it is renamed to [`ORPHAN`].
pub const ORPHAN_NEW: &str = "supervise/orphan.new";

/// A FIFO that another program holds open for reading, to hold back starts and ends of the service.
pub const HOLD: &str = "supervise/hold";

/// What the programs of a life are given ([`Given`]).
pub const GIVEN: &str = "supervise/given";
/// What the programs that run at the end of a life are given besides.
pub const GIVEN_STOP: &str = "supervise/given-stop";

/// A directory like s6's fifodirs. It holds the FIFOs of programs that listen for transitions, and supervise writes one
/// letter for each transition.
pub const EVENT: &str = "supervise/event";

/// The FIFO into which a service with a `notification-fd` writes a newline when it is ready.
pub const NOTIFICATION: &str = "supervise/notification";

/// The settings of which each gives a service a NOTIFY_SOCKET in its environment.
pub const SPEAKS: [&str; 2] = ["notify-socket", "watchdog"];
/// The socket to which NOTIFY_SOCKET leads if the service's `notify-socket` says `path`.
pub const SOCKET: &str = "supervise/notify-socket";
/// The beginning of the names of notify sockets that are no files.
pub const SOCKET_NAMES: &str = "supervise/notify";
