//! multilog: reads lines, selects them, stamps them, and writes them to log directories. The library of this name is
//! the program.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::sys;

/// What was read is in the journal then.
#[global_allocator]
static MEMORY: sys::memory::OrExit = sys::memory::OrExit("multilog: fatal: out of memory\n");

daemontools::main!(multilog::multilog, multilog::HELP);
