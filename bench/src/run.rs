//! One run of this program: who is measured, where, how long, and how far it is.

use crate::peers::Peers;
use anyhow::Result;
use std::cell::Cell;
use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Enough to see that it works.
    Quick,
    /// Each measurement under two minutes.
    Default,
    /// As long as it takes.
    Full,
}

impl Length {
    /// One of three values.
    pub fn pick<T>(self, quick: T, default: T, full: T) -> T {
        match self {
            Length::Quick => quick,
            Length::Default => default,
            Length::Full => full,
        }
    }
}

#[derive(Debug)]
pub struct Run {
    pub peers: Peers,
    pub length: Length,
    scratch: PathBuf,
    folders: Cell<usize>,
}

impl Run {
    pub fn new(scratch: PathBuf, length: Length) -> Result<Run> {
        let peers = Peers::find()?;
        let missing = peers.missing().join(" ");
        if !missing.is_empty() {
            writeln!(stderr(), "bench: measured without {missing}; to have them: apt-get install {missing}")?;
        }
        Ok(Run { peers, length, scratch, folders: Cell::new(0) })
    }

    /// A new empty directory.
    pub fn folder(&self) -> Result<PathBuf> {
        let number = self.folders.replace(self.folders.get() + 1);
        let folder = self.scratch.join(number.to_string());
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// What is done now, in a line that the next one replaces.
    pub fn progress(&self, what: &str) {
        let mut stderr = stderr();
        let _ = match (stderr.is_terminal(), what) {
            (true, _) => write!(stderr, "\r\x1b[K{what}"),
            (false, "") => Ok(()),
            (false, _) => writeln!(stderr, "{what}"),
        };
    }
}
