//! Opening, reading and writing what lies in a service directory or a log directory, all of which may belong to another
//! account than the one that runs us.
//!
//! The owner of a directory can put anything there: a FIFO that lets a reader wait for ever, a device that does
//! something as soon as it is opened, a link to a file of root's, a file without end. So nothing is opened before it is
//! known what it is, nothing is read beyond a limit, nothing is opened in a way that waits, and nothing is written but
//! new files, which are then put in place.
//!
//! Readers follow links, as a service may be made of links; writers and those who open FIFOs follow none at the last
//! step of the path.

mod fifo;
mod links;
mod lock;
mod open;
mod read;
mod write;

pub use crate::sys::kind::{is_directory, is_link, is_regular};
pub use fifo::{is_fifo, open_fifo, open_fifo_at, open_fifo_of, open_pipe_of};
pub use links::open_directory;
pub use lock::{may_be_anothers, open_lock_at};
pub use open::{
    TRIES, Unread, is_only_ours, is_same, make_at, open_existing_at, open_file_at, open_file_itself_at,
    open_or_make_at, remove_at, replace_at, stat_at,
};
pub use read::{read_beginning, read_file, read_file_itself};
pub use write::{Replaced, put_file, put_file_first};
