//! tai64n: puts a TAI64N label in front of each line. The library's module of this name is the program.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

daemontools::main!(multilog::tai64n::tai64n, multilog::tai64n::HELP);
