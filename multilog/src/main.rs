//! multilog: reads lines, selects them, stamps them, and writes them to log directories. The library of this name is
//! the program.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::sys;

/// The allocator of the program. If there is no memory, multilog ends, and what it has read is in the journal for the
/// next one.
#[global_allocator]
static MEMORY: sys::memory::OrExit = sys::memory::OrExit("multilog: fatal: out of memory\n");

daemontools::main!(multilog::multilog, multilog::HELP);
