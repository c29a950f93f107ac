//! An upgrade: svscan executes its file anew in its own process. Children stay children; supervises that are none are
//! found as after a kill. What could not be found again is handed over in a file in memory, whose number is in the
//! environment (see [`handover`](crate::handover)).

use crate::handover::Handover;
use daemontools::sys::exec::exec;
use daemontools::sys::inherited_descriptor;
use daemontools::{Unable, report};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The environment variable that has the number of the file in memory.
pub const VARIABLE: &str = "SVSCAN_HERITAGE";

/// What an earlier svscan in this process has handed over; `None` if there was none.
pub fn inherited() -> Option<Handover> {
    let number = std::env::var(VARIABLE).ok().and_then(|number| number.parse().ok())?;
    let mut file = File::from(inherited_descriptor(number).ok()?);
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    Some(read.map_or_else(|_| Handover::default(), |_| Handover::decode(&text)))
}

/// Says that what USR2 asks for is done, and what runs now.
pub fn say_done(file: &Path) {
    let file = file.as_os_str().as_bytes();
    report::notice(&[b"executed anew: version ", env!("CARGO_PKG_VERSION").as_bytes(), b" runs, from ", file]);
}

/// Executes `file` in svscan's place, with what is handed over and these descriptors of it; returns only if that fails.
pub fn reexec(file: &Path, handover: &Handover, descriptors: &[BorrowedFd]) -> Unable {
    let refused = |errno| Unable::new("execute", file, errno);
    let memory = match write(handover) {
        Ok(memory) => memory,
        Err(error) => return refused(report::errno_of(&error)),
    };
    let set_all = |flag: FdFlag| {
        for descriptor in descriptors {
            let _ = fcntl(descriptor, FcntlArg::F_SETFD(flag));
        }
    };
    set_all(FdFlag::empty());
    // svscan's signals stay blocked: what comes meanwhile is for the next svscan.
    let number = memory.as_raw_fd().to_string();
    let errno = exec(&[file.into(), ".".into()], &[(VARIABLE.into(), Some(number.into()))]);
    set_all(FdFlag::FD_CLOEXEC);
    refused(errno)
}

/// Writes into a file that survives the execution, alone among the files that svscan opens.
fn write(handover: &Handover) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("svscan", MFdFlags::empty())?);
    file.write_all(handover.encode().as_bytes())?;
    Ok(file)
}
