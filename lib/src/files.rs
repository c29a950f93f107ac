//! Opening, reading and writing the files of a service directory or a log directory. These may belong to another
//! account than the one that runs the program.
//!
//! The owner of a directory can put anything there: a FIFO that makes a reader wait for ever, a device that acts as
//! soon as it is opened, a link to a file of root's, a file without end. So the functions here look at what a file is
//! before they open it, read no more than a limit, and never open in a way that waits. They write only new files, which
//! they then put in place.
//!
//! Readers follow links, because a service may consist of links. Functions that write, and those that open FIFOs,
//! follow no link at the last step of the path.

mod fifo;
mod links;
mod lock;
mod open;
mod read;
mod write;

pub use crate::sys::kind::{is_directory, is_link, is_regular};
pub use fifo::{is_fifo, open_fifo, open_fifo_at, open_fifo_of, open_pipe_of};
pub use links::{PathWalk, distrusted_link, is_way_only_ours, open_directory};
pub use lock::{may_be_anothers, open_lock_at};
pub use open::{
    TRIES, Unread, hold_on_mount, is_only_ours, is_same, lstat_on_mount, make_at, open_directory_on_mount_at,
    open_existing_at, open_existing_in_ours, open_file_at, open_file_itself_at, open_or_make_at, remove_at, replace_at,
    stat_at, stat_on_mount, stays_on_mount, stays_on_mount_at,
};
pub use read::{read_beginning, read_file, read_file_itself, read_file_on_mount, read_made_up};
pub use write::{Replaced, put_file, put_file_first};
