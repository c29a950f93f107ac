//! What only ours has, judged by what its users see.

// Tests say what went wrong by panicking.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod adoption;
mod closed;
mod command_line;
mod drifting;
mod gives_up;
mod hostile;
mod log_check;
mod log_compress;
mod log_durability;
mod log_forward;
mod log_full;
mod log_hostile;
mod log_journal;
mod log_killed;
mod log_limits;
mod log_lines;
mod log_removed;
mod log_time;
mod log_trouble;
mod log_words;
mod logger;
mod lost_files;
mod place;
mod readiness;
mod refused;
mod removal;
mod scope;
mod stderr;
mod supervise;
mod supervise_background;
mod supervise_bad;
mod supervise_flap;
mod svc_wait;
mod svlog;
mod svlog_finds;
mod svscan;
mod svscan_bad;
mod svscan_bare;
mod svscan_drafts;
mod svscan_exit;
mod svscan_first;
mod svscan_forward;
mod svscan_hostile;
mod svscan_mounted;
mod svscan_mounts;
mod svscan_pipes;
mod svscan_shortage;
mod svscan_starts;
mod svscan_stop;
mod svscan_unstable;
mod svscanboot;
mod svstat_long;
mod svwait;
mod terminal;
mod time_zones;
