//! An upgrade: svscan executes its file anew in its own process. Children stay children; supervises that are
//! none are found as after a kill. What could not be found again is handed on in a file in memory, whose
//! number is in the environment:
//!
//! ```text
//! lock FD
//! files SOFT HARD
//! ledger FD
//! page DEVICE INODE 0|1 LEDGER-FD PAGE
//! pocket DEVICE INODE 0|1 FD
//! pipe DEVICE INODE READER WRITER
//! service DEVICE INODE SUPERVISE-PID
//! logger DEVICE INODE SUPERVISE-PID
//! absent DEVICE INODE NAME'S-BYTE ...
//! reads-on DEVICE INODE
//! delayed DEVICE INODE 0|1 MILLISECONDS FAILURES
//! end PID TICKS STATUS SERIAL
//! forwarder PID
//! ```
//!
//! The first ledger is the one of which new pages are taken; a page, or a pocket, is that of the service's own supervise (0)
//! or of its logger's (1). A supervise that is delayed is to be started when so much time has passed; it could not serve so
//! many times in a row.

use crate::orphans::End;
use crate::pages::Pages;
use crate::scanner::Scanner;
use crate::table::{Delayed, Id, Part, SuperviseId};
use daemontools::service::{Directory, Process};
use daemontools::sys::exec::exec;
use daemontools::sys::inherited_descriptor;
use daemontools::{Unable, report};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// The environment variable.
pub const VARIABLE: &str = "SVSCAN_HERITAGE";

/// What an earlier svscan in this process handed on; nothing if there was none.
#[derive(Debug, Default)]
pub struct Handover {
    /// There was an earlier svscan in this process.
    pub follows: bool,
    pub lock: Option<OwnedFd>,
    pub open_files: Option<(u64, u64)>,
    ledgers: Vec<OwnedFd>,
    pages: Vec<(SuperviseId, RawFd, u32)>,
    pockets: Vec<(SuperviseId, OwnedFd)>,
    pipes: Vec<(Id, (OwnedFd, OwnedFd))>,
    supervises: Vec<(SuperviseId, Pid)>,
    /// Services that have no entry any more, and their last names.
    absent: Vec<(Id, OsString)>,
    /// Those whose loggers read on.
    reading_on: Vec<Id>,
    delayed: Vec<Delayed>,
    ends: Vec<End>,
    /// Supervises of svscans in other processes, which are found and not handed on.
    pub survivors: Vec<(Directory, Process)>,
    /// The child that forwards lines.
    forwarder: Option<Pid>,
}

impl Handover {
    /// Reads it. What makes no sense is left out.
    pub fn read() -> Handover {
        let mut handover = Handover::default();
        let number = std::env::var(VARIABLE).ok().and_then(|number| number.parse().ok());
        let Some(Ok(file)) = number.map(inherited_descriptor) else { return handover };
        handover.follows = true;
        let (mut file, mut text) = (File::from(file), String::new());
        if file.rewind().is_ok() && file.read_to_string(&mut text).is_ok() {
            for line in text.lines() {
                let _ = handover.take(line);
            }
        }
        handover
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let key = words.next()?;
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let descriptor = |number: u64| inherited_descriptor(i32::try_from(number).ok()?).ok();
        match (key, numbers.as_slice()) {
            ("lock", [number]) => self.lock = descriptor(*number),
            ("files", [soft, hard]) => self.open_files = Some((*soft, *hard)),
            ("pipe", [device, inode, reader, writer]) => {
                let id = Id { device: *device, inode: *inode };
                self.pipes.push((id, (descriptor(*reader)?, descriptor(*writer)?)));
            }
            ("ledger", [number]) => self.ledgers.push(descriptor(*number)?),
            ("page", [device, inode, part, ledger, page]) => {
                let which = supervise_id(*device, *inode, *part);
                self.pages.push((which, RawFd::try_from(*ledger).ok()?, u32::try_from(*page).ok()?));
            }
            ("pocket", [device, inode, part, number]) => {
                self.pockets.push((supervise_id(*device, *inode, *part), descriptor(*number)?));
            }
            ("service", [device, inode, pid]) => self.add_supervise(Part::Service, *device, *inode, *pid)?,
            ("logger", [device, inode, pid]) => self.add_supervise(Part::Logger, *device, *inode, *pid)?,
            ("absent", [device, inode, name @ ..]) => {
                let name: Vec<u8> = name.iter().filter_map(|byte| u8::try_from(*byte).ok()).collect();
                self.absent.push((Id { device: *device, inode: *inode }, OsString::from_vec(name)));
            }
            ("reads-on", [device, inode]) => self.reading_on.push(Id { device: *device, inode: *inode }),
            ("delayed", [device, inode, part, milliseconds, failures]) => self.delayed.push(Delayed {
                which: supervise_id(*device, *inode, *part),
                wait: Duration::from_millis(*milliseconds),
                failures: u32::try_from(*failures).ok()?,
            }),
            ("end", [pid, ticks, status, serial @ ..]) => {
                let pid = Pid::from_raw(i32::try_from(*pid).ok()?);
                let status = i32::try_from(*status).ok()?;
                let serial = serial.first().copied().unwrap_or(0);
                self.ends.push(End { process: Process { pid, ticks: *ticks, serial }, status });
            }
            ("forwarder", [pid]) => self.forwarder = Some(Pid::from_raw(i32::try_from(*pid).ok()?)),
            _ => {}
        }
        Some(())
    }

    fn add_supervise(&mut self, part: Part, device: u64, inode: u64, pid: u64) -> Option<()> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?);
        self.supervises.push((SuperviseId { id: Id { device, inode }, part }, pid));
        Some(())
    }

    /// Gives it to the new svscan.
    pub fn hand_to(self, scanner: &mut Scanner) {
        scanner.survivors = self.survivors;
        scanner.launcher.pages = Pages::resume(self.ledgers, &self.pages).or_else(|_| Pages::new()).ok();
        self.pockets.into_iter().for_each(|(which, socket)| scanner.launcher.pockets.resume(which, socket));
        self.pipes.into_iter().for_each(|(id, pipe)| scanner.launcher.put_pipe(id, pipe));
        self.supervises.into_iter().for_each(|(which, pid)| scanner.attached.expect(which, pid));
        let now = Instant::now();
        self.delayed.iter().for_each(|delayed| scanner.table.expect_delayed(delayed, now));
        for (id, name) in self.absent {
            scanner.inherit(id, &name);
        }
        self.reading_on.into_iter().for_each(|id| scanner.table.inherit_reading_on(id));
        for end in self.ends {
            let _ = scanner.orphans.ended(end);
        }
        self.forwarder.into_iter().for_each(|pid| scanner.forward.inherit(pid, Instant::now()));
    }
}

fn supervise_id(device: u64, inode: u64, part: u64) -> SuperviseId {
    let part = if part == 0 { Part::Service } else { Part::Logger };
    SuperviseId { id: Id { device, inode }, part }
}

impl Scanner {
    /// Nothing in the directory will lead to this service, but it is up.
    fn inherit(&mut self, id: Id, name: &OsStr) {
        let supervises =
            [Part::Service, Part::Logger].map(|part| self.attached.expected_unseen(SuperviseId { id, part }));
        if supervises == [None, None] {
            return self.launcher.forget(id);
        }
        self.table.inherit(id, name, supervises);
        self.hold(id);
        if !self.table.has_logger(id) && self.launcher.has_pipe(id) {
            self.forward.want(id);
            self.forward.begin(id);
        }
    }
}

/// Says that what USR2 asks for is done, and what runs now.
pub fn say_done(file: &Path) {
    let file = file.as_os_str().as_bytes();
    report::notice(&[b"executed anew: version ", env!("CARGO_PKG_VERSION").as_bytes(), b" runs, from ", file]);
}

/// Executes `file` in our place; returns only if that fails.
pub fn reexec(file: &Path, scanner: &Scanner, lock: Option<&OwnedFd>) -> Unable {
    let refused = |errno| Unable::new("execute", file, errno);
    let handover = match write(scanner, lock) {
        Ok(handover) => handover,
        Err(error) => return refused(report::errno_of(&error)),
    };
    let kept = || {
        let pipes = scanner.launcher.pipes().flat_map(|(_, reader, writer)| [reader.as_fd(), writer.as_fd()]);
        let ledgers = scanner.launcher.pages.iter().flat_map(Pages::ledgers);
        let pockets = scanner.launcher.pockets.all().map(|(_, pocket)| pocket);
        pipes.chain(ledgers).chain(pockets).chain(lock.map(AsFd::as_fd))
    };
    let set = |fd: BorrowedFd, flag| {
        let _ = fcntl(fd, FcntlArg::F_SETFD(flag));
    };
    kept().for_each(|fd| set(fd, FdFlag::empty()));
    // Our signals stay blocked: what comes meanwhile is for the new svscan.
    let number = handover.as_raw_fd().to_string();
    let errno = exec(&[file.into(), ".".into()], &[(VARIABLE.into(), Some(number.into()))]);
    kept().for_each(|fd| set(fd, FdFlag::FD_CLOEXEC));
    refused(errno)
}

/// Survives the execution, alone among the files that we open.
fn write(scanner: &Scanner, lock: Option<&OwnedFd>) -> std::io::Result<File> {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = lock.map(|lock| writeln!(text, "lock {}", lock.as_raw_fd()));
    // No signal is to be blocked in what svscan starts, which version 0.1.0 must be told.
    let _ = writeln!(text, "mask");
    let _ = scanner.launcher.open_files().map(|(soft, hard)| writeln!(text, "files {soft} {hard}"));
    for ledger in scanner.launcher.pages.iter().flat_map(Pages::ledgers) {
        let _ = writeln!(text, "ledger {}", ledger.as_raw_fd());
    }
    for (SuperviseId { id, part }, ledger, page) in scanner.launcher.pages.iter().flat_map(Pages::pages) {
        let part = u8::from(part == Part::Logger);
        let _ = writeln!(text, "page {} {} {part} {ledger} {page}", id.device, id.inode);
    }
    for (SuperviseId { id, part }, pocket) in scanner.launcher.pockets.all() {
        let part = u8::from(part == Part::Logger);
        let _ = writeln!(text, "pocket {} {} {part} {}", id.device, id.inode, pocket.as_raw_fd());
    }
    for (id, reader, writer) in scanner.launcher.pipes() {
        let _ = writeln!(text, "pipe {} {} {} {}", id.device, id.inode, reader.as_raw_fd(), writer.as_raw_fd());
    }
    // Those that are just starting could not be found by what they write.
    for (pid, SuperviseId { id, part }) in scanner.table.running() {
        let key = if part == Part::Service { "service" } else { "logger" };
        let _ = writeln!(text, "{key} {} {} {pid}", id.device, id.inode);
    }
    for (id, name) in scanner.table.absent() {
        let name: String = name.as_bytes().iter().map(|byte| format!(" {byte}")).collect();
        let _ = writeln!(text, "absent {} {}{name}", id.device, id.inode);
    }
    for Id { device, inode } in scanner.table.reading_on() {
        let _ = writeln!(text, "reads-on {device} {inode}");
    }
    for Delayed { which: SuperviseId { id, part }, wait, failures } in scanner.table.delayed(Instant::now()) {
        let (part, milliseconds) = (u8::from(part == Part::Logger), wait.as_millis());
        let _ = writeln!(text, "delayed {} {} {part} {milliseconds} {failures}", id.device, id.inode);
    }
    for end in scanner.orphans.unasked() {
        let Process { pid, ticks, serial } = end.process;
        let _ = writeln!(text, "end {pid} {ticks} {} {serial}", end.status);
    }
    let _ = scanner.forward.helper().map(|pid| writeln!(text, "forwarder {pid}"));
    let mut file = File::from(memfd_create("svscan", MFdFlags::empty())?);
    file.write_all(text.as_bytes())?;
    Ok(file)
}
