//! The program svscan: see the library.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

daemontools::main!(svscan::svscan, svscan::HELP);
