//! The life of the package on a machine. The scripts of `package/` run on a tree with stand-ins for the programs, so
//! that only the scripts are judged. Nothing outside a temporary directory is changed.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod architecture;
mod boot;
mod circles;
mod contract;
mod dependencies;
mod diagnostics;
mod images;
mod one_definition;
mod picture;
mod programs;
mod pure;
mod readme;
mod scripts;
mod tree;
mod trial;
