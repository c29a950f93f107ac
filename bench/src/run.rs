//! One run of this program: the suites that are measured, the directory, the length, and the progress.

use crate::peers::Peers;
use anyhow::Result;
use std::cell::Cell;
use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

/// The length of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// The run is just long enough to show that the benchmark works.
    Quick,
    /// Each measurement takes less than two minutes.
    Default,
    /// Each measurement takes as long as it needs.
    Full,
}

impl Length {
    /// Picks one of three values by the length of the run.
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

    /// Makes a new empty directory.
    pub fn folder(&self) -> Result<PathBuf> {
        let number = self.folders.replace(self.folders.get() + 1);
        let folder = self.scratch.join(number.to_string());
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// Shows the present step in a line that the next step replaces.
    pub fn progress(&self, what: &str) {
        let mut stderr = stderr();
        let _ = match (stderr.is_terminal(), what) {
            (true, _) => write!(stderr, "\r\x1b[K{what}"),
            (false, "") => Ok(()),
            (false, _) => writeln!(stderr, "{what}"),
        };
    }
}
