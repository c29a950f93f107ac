//! What an svscan that executes its file anew hands over to the next svscan in its process, as data and as text. No clock,
//! no I/O.
//!
//! ```text
//! lock FD
//! mask
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
//! `mask` tells an svscan of version 0.1.0 that it must not block any signal in what it starts. New pages are taken from the
//! first ledger. A page, or a pocket, belongs to the service's own supervise (0) or to its
//! logger's (1). For a delayed supervise, MILLISECONDS is the time after which it is to be started, and FAILURES says
//! how often in a row it could not serve.

use crate::table::{Delayed, Id, Part, SuperviseId};
use daemontools::service::{OrphanEnd, Process};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

/// Everything that the next svscan could not find out by itself. Descriptors are numbers here: they stay open across the
/// execution.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Handover {
    /// The lock of the scan directory.
    pub lock: Option<RawFd>,
    /// The limits of open files that svscan was started with, if it has raised its own.
    pub open_files: Option<(u64, u64)>,
    /// The ledgers; the first is the one from which svscan takes new pages.
    pub ledgers: Vec<RawFd>,
    /// The page of each supervise: its ledger, and its number there.
    pub pages: Vec<(SuperviseId, RawFd, u32)>,
    /// The pocket of each supervise that has one.
    pub pockets: Vec<(SuperviseId, RawFd)>,
    /// The pipes: reading and writing end.
    pub pipes: Vec<(Id, [RawFd; 2])>,
    /// The supervises that run.
    pub supervises: Vec<(SuperviseId, Pid)>,
    /// Services that have no entry any more, and their last names.
    pub absent: Vec<(Id, OsString)>,
    /// Absent services whose loggers read what is left.
    pub reading_on: Vec<Id>,
    /// Supervises that are to be started later.
    pub delayed: Vec<Delayed>,
    /// Ends of processes that no supervise has asked for yet.
    pub ends: Vec<OrphanEnd>,
    /// The child that forwards lines.
    pub forwarder: Option<Pid>,
}

impl Handover {
    /// The text of which [`decode`](Handover::decode) makes the same value again.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments| {
            // Writing to a String cannot fail.
            let _ = text.write_fmt(line);
            text.push('\n');
        };
        if let Some(lock) = self.lock {
            line(format_args!("lock {lock}"));
        }
        // Version 0.1.0 is told by this that it must not block any signal in what it starts.
        line(format_args!("mask"));
        if let Some((soft, hard)) = self.open_files {
            line(format_args!("files {soft} {hard}"));
        }
        for ledger in &self.ledgers {
            line(format_args!("ledger {ledger}"));
        }
        for (which, ledger, page) in &self.pages {
            line(format_args!("page {} {ledger} {page}", words(*which)));
        }
        for (which, pocket) in &self.pockets {
            line(format_args!("pocket {} {pocket}", words(*which)));
        }
        for (Id { device, inode }, [reader, writer]) in &self.pipes {
            line(format_args!("pipe {device} {inode} {reader} {writer}"));
        }
        for (SuperviseId { id: Id { device, inode }, part }, pid) in &self.supervises {
            let key = if *part == Part::Service { "service" } else { "logger" };
            line(format_args!("{key} {device} {inode} {pid}"));
        }
        for (Id { device, inode }, name) in &self.absent {
            let name: String = name.as_bytes().iter().map(|byte| format!(" {byte}")).collect();
            line(format_args!("absent {device} {inode}{name}"));
        }
        for Id { device, inode } in &self.reading_on {
            line(format_args!("reads-on {device} {inode}"));
        }
        for Delayed { which, wait, failures } in &self.delayed {
            line(format_args!("delayed {} {} {failures}", words(*which), wait.as_millis()));
        }
        for OrphanEnd { process: Process { pid, ticks, serial }, status } in &self.ends {
            line(format_args!("end {pid} {ticks} {status} {serial}"));
        }
        if let Some(pid) = self.forwarder {
            line(format_args!("forwarder {pid}"));
        }
        text
    }

    /// The value that a text describes. Lines that make no sense are left out.
    pub fn decode(text: &str) -> Handover {
        let mut handover = Handover::default();
        for line in text.lines() {
            let _ = handover.add(line);
        }
        handover
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let key = words.next()?;
        // Of all that is handed over, only the status of a process may be negative.
        let numbers: Vec<i128> = words.map_while(|word| word.parse().ok()).collect();
        match (key, numbers.as_slice()) {
            ("lock", [descriptor]) => self.lock = Some(number(*descriptor)?),
            ("files", [soft, hard]) => self.open_files = Some((number(*soft)?, number(*hard)?)),
            ("ledger", [descriptor]) => self.ledgers.push(number(*descriptor)?),
            ("page", [device, inode, part, ledger, page]) => {
                self.pages.push((supervise_id(*device, *inode, *part)?, number(*ledger)?, number(*page)?));
            }
            ("pocket", [device, inode, part, descriptor]) => {
                self.pockets.push((supervise_id(*device, *inode, *part)?, number(*descriptor)?));
            }
            ("pipe", [device, inode, reader, writer]) => {
                self.pipes.push((id(*device, *inode)?, [number(*reader)?, number(*writer)?]));
            }
            ("service", [device, inode, pid]) => {
                self.supervises.push((supervise_id(*device, *inode, 0)?, Pid::from_raw(number(*pid)?)));
            }
            ("logger", [device, inode, pid]) => {
                self.supervises.push((supervise_id(*device, *inode, 1)?, Pid::from_raw(number(*pid)?)));
            }
            ("absent", [device, inode, name @ ..]) => {
                let name: Vec<u8> = name.iter().filter_map(|byte| number(*byte)).collect();
                self.absent.push((id(*device, *inode)?, OsString::from_vec(name)));
            }
            ("reads-on", [device, inode]) => self.reading_on.push(id(*device, *inode)?),
            ("delayed", [device, inode, part, milliseconds, failures]) => self.delayed.push(Delayed {
                which: supervise_id(*device, *inode, *part)?,
                wait: Duration::from_millis(number(*milliseconds)?),
                failures: number(*failures)?,
            }),
            ("end", [pid, ticks, status, serial @ ..]) => {
                // Version 0.1.0 knew no serial numbers.
                let serial = serial.first().map_or(Some(0), |serial| number(*serial))?;
                let process = Process { pid: Pid::from_raw(number(*pid)?), ticks: number(*ticks)?, serial };
                self.ends.push(OrphanEnd { process, status: number(*status)? });
            }
            ("forwarder", [pid]) => self.forwarder = Some(Pid::from_raw(number(*pid)?)),
            _ => {}
        }
        Some(())
    }
}

fn words(SuperviseId { id: Id { device, inode }, part }: SuperviseId) -> String {
    format!("{device} {inode} {}", u8::from(part == Part::Logger))
}

fn number<T: TryFrom<i128>>(value: i128) -> Option<T> {
    T::try_from(value).ok()
}

fn id(device: i128, inode: i128) -> Option<Id> {
    Some(Id { device: number(device)?, inode: number(inode)? })
}

fn supervise_id(device: i128, inode: i128, part: i128) -> Option<SuperviseId> {
    let part = if part == 0 { Part::Service } else { Part::Logger };
    Some(SuperviseId { id: id(device, inode)?, part })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Handover {
        let (one, two) = (Id { device: 1, inode: u64::MAX }, Id { device: u64::MAX, inode: 2 });
        let [service, logger] = [Part::Service, Part::Logger].map(|part| SuperviseId { id: one, part });
        let end = |pid, status| OrphanEnd {
            process: Process { pid: Pid::from_raw(pid), ticks: 8, serial: u64::MAX },
            status,
        };
        Handover {
            lock: Some(3),
            open_files: Some((1024, u64::MAX)),
            ledgers: vec![4, 5],
            pages: vec![(service, 4, 0), (logger, 5, u32::MAX)],
            pockets: vec![(service, 6), (logger, 7)],
            pipes: vec![(one, [8, 9]), (two, [10, 11])],
            supervises: vec![(service, Pid::from_raw(100)), (logger, Pid::from_raw(i32::MAX))],
            absent: vec![(one, OsString::from_vec((0..=255).collect())), (two, "".into())],
            reading_on: vec![two, one],
            delayed: vec![
                Delayed { which: service, wait: Duration::from_millis(1), failures: 0 },
                Delayed { which: logger, wait: Duration::from_secs(80), failures: u32::MAX },
            ],
            ends: vec![end(7, 0), end(8, 9)],
            forwarder: Some(Pid::from_raw(12)),
        }
    }

    #[test]
    fn all_that_a_handover_can_hold_comes_back() {
        for handover in [full(), Handover::default()] {
            assert_eq!(Handover::decode(&handover.encode()), handover);
        }
    }

    #[test]
    fn the_text_of_a_handover_is_what_other_versions_read() {
        let text = full().encode();
        let keys: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        let expected = "lock mask files ledger ledger page page pocket pocket pipe pipe service logger absent absent \
                        reads-on reads-on delayed delayed end end forwarder";
        assert_eq!(keys.join(" "), expected);
        for line in [
            "page 1 18446744073709551615 1 5 4294967295",
            "end 8 8 9 18446744073709551615",
            "absent 18446744073709551615 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        assert_eq!(
            Handover::decode("end 7 8 9\n").ends,
            [OrphanEnd { process: Process { pid: Pid::from_raw(7), ticks: 8, serial: 0 }, status: 9 }]
        );
    }

    #[test]
    fn lines_of_a_handover_that_make_no_sense_are_left_out() {
        let text =
            "lock\nlock x\nfiles 1\npage 1 2 0 4\npipe 1 2 3\nend 99999999999 1 1\ndelayed 1 2 0 -1 0\nother 1\n\n";
        assert_eq!(Handover::decode(text), Handover::default());
    }
}
