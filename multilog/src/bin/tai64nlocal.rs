//! tai64nlocal: shows TAI64N labels as local time. The library's module of this name is the program.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

daemontools::main!(multilog::tai64nlocal::tai64nlocal, multilog::tai64nlocal::HELP);
