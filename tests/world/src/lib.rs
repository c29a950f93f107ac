//! A simulated world: the programs' own machines, a kernel of plain values, and an adversary who chooses what happens
//! next.
//!
//! The drills kill one program of ours at each of its system calls. What they do not reach lies between: two kills, a
//! number of a process that is used again, a call that fails just then. Here a *schedule* is a list of moves
//! ([`world::Move`]), each of them one system call of one program, or one deed of the adversary: a kill, a call that the
//! system refuses, a command, a disk that takes no writes, time that passes. After every move it is checked that the
//! promises hold ([`promises`]); then the adversary rests, all that is left to be done is done, and what must hold then
//! is checked.
//!
//! What runs here unchanged is what decides in the programs: supervise's machine and its choice of a record, svscan's
//! table and its orphans. What performs their actions ([`supervise`], [`svscan`] here) is written once more, as a queue
//! of calls between which anything may happen. That copy can be wrong where the programs are right, and the other way
//! round; the drills of the real programs are for that.
//!
//! There are two searches. [`random`] plays many long schedules, each from a seed that plays it again. [`exhaustive`]
//! plays all schedules of a small adversary, until no state is new.

pub mod exhaustive;
pub mod kernel;
pub mod promises;
pub mod random;
pub mod supervise;
pub mod svscan;
pub mod world;
