//! supervise: the program that lib.rs describes and holds.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

daemontools::main!(supervise::supervise, supervise::HELP);
