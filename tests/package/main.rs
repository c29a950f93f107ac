//! The life of the package on a machine: the scripts of `package/`, run on a tree of stand-ins, so that
//! only the scripts are judged. Nothing outside a temporary directory is touched.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod architecture;
mod boot;
mod contract;
mod dependencies;
mod diagnostics;
mod house;
mod images;
mod programs;
mod pure;
mod readme;
mod scripts;
mod tree;
mod trial;
