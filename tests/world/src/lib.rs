//! Simulated worlds: the code that decides in our programs, a kernel that consists of plain values, and an adversary that
//! chooses what happens next.
//!
//! The drills kill one of our programs at each of its system calls. They do not reach what needs a combination: two
//! kills, the reuse of a process number, a call that fails at that moment, a power cut. Here a *schedule* is a list of
//! transitions. Each transition is one system call of one program, or one action of the adversary: a kill, a call that
//! the system refuses, a command, a disk that refuses writes, time that passes. The world checks that the promises hold
//! ([`promises`], [`broken`]). It checks those that can be judged at any moment after every transition, and the others at the end,
//! when the adversary rests and the programs have finished their work.
//!
//! There are two worlds. Each of them is a [`simulated::Simulated`].
//!
//! - [`world`] has svscan, supervises, and one service, a service with a logger, or two services of which one comes after
//!   the other. Its [`kernel`] has processes, service directories, the files of each supervise, and pipes.
//! - [`logs`] has one multilog, which reads from a pipe and writes to a [`disk`]. The disk knows what was written, and what
//!   of that survives a power cut. svscan holds the pipe, so that its content outlives multilog.
//!
//! The code that decides in the programs runs here unchanged: supervise's machine and its choice of a record, svscan's
//! table, its orphans and its stop, multilog's journal, router, rotation and recovery. The code that performs their actions
//! ([`supervise`], [`svscan`], [`multilog`] here) is written a second time, as a queue of system calls between which
//! anything may happen. That copy can be wrong where the programs are right, and the reverse. The drills of the real
//! programs cover that.
//!
//! There are two kinds of search. [`random`] runs many long schedules, each from a seed that repeats it.
//! [`exhaustive`] runs all schedules of a small adversary, until no new state is found.

pub mod broken;
pub mod disk;
pub mod exhaustive;
pub mod kernel;
pub mod logs;
pub mod multilog;
pub mod promises;
pub mod random;
pub mod real;
pub mod simulated;
pub mod supervise;
pub mod svscan;
pub mod world;
