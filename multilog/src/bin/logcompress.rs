//! logcompress: compresses the old files of a log directory, after everything else. The library's module of this name
//! is the program.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

daemontools::main!(multilog::logcompress::logcompress, multilog::logcompress::HELP);
