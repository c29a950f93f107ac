//! svlog: shows the lines that multilog wrote. The library of this name contains the program.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

daemontools::main!(svlog::svlog, svlog::HELP);
