//! svctl: the one command of people for all services, and `sv` under that name. The library of this name contains both.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

daemontools::main_by_name!(svctl::start);
