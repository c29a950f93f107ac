//! Begins new files where the old ones are full, where their period is over, and on demand. `rotation` decides which.

use super::Logger;
use crate::logdir::LogDirectory;
use crate::retry::Stop;
use crate::rotation::RotationDecision;
use crate::router::Line;
use daemontools::sys::process;

impl Logger {
    /// Rotates full files, and returns whether there was one. Input waits for a processor that is still busy with the
    /// file before.
    pub(super) fn rotate_full(&mut self) -> Result<bool, Stop> {
        let line = self.router.line;
        let turn = |directory: &LogDirectory, leaving| directory.standing().when_full(line, leaving);
        while self
            .directories
            .iter()
            .any(|directory| turn(directory, self.retry.signals.leaving) == RotationDecision::Wait)
        {
            self.wait_for_processor()?;
        }
        let mut rotated = false;
        let leaving = self.retry.signals.leaving;
        for directory in
            self.directories.iter_mut().filter(|directory| turn(directory, leaving) != RotationDecision::Stay)
        {
            directory.rotate(&mut self.retry)?;
            rotated = true;
        }
        if rotated {
            self.commit(0)?;
        }
        Ok(rotated)
    }

    /// Rotates files whose period is over at the time that lines have now, and returns whether there was one. In the
    /// middle of a line, that waits for the end of the line, which is then the last one of its file.
    pub(super) fn rotate_by_time(&mut self) -> Result<bool, Stop> {
        let (is_within, mut is_due, mut changed) = (self.router.line != Line::Fresh, false, false);
        for directory in &mut self.directories {
            if !directory.period_is_over(self.time) {
                continue;
            }
            is_due = true;
            if !is_within {
                directory.rotate(&mut self.retry)?;
                changed = true;
            }
        }
        self.router.stops_at_line_end = is_due && is_within;
        if changed {
            self.commit(0)?;
        }
        Ok(changed)
    }

    pub(super) fn wait_for_processor(&mut self) -> Result<(), Stop> {
        // If SIGCHLD was read together with the input, no second signal comes, and multilog must not wait for one.
        if !self.retry.signals.child {
            let patience = self.patience();
            self.retry.signals.wait(patience);
        }
        self.tend_directories()
    }

    /// Takes in which processors and compressors have ended, does what is due in the directories, and begins new files
    /// on demand.
    pub(super) fn tend_directories(&mut self) -> Result<(), Stop> {
        self.retry.signals.child = false;
        while let Ok(Some((pid, status))) = process::reap() {
            for directory in &mut self.directories {
                directory.child_ended(pid, status, &mut self.retry)?;
            }
        }
        let asked = std::mem::take(&mut self.retry.signals.rotate);
        let mut changed = false;
        for directory in &mut self.directories {
            directory.tend(&mut self.retry)?;
            if asked && directory.standing().on_demand() == RotationDecision::Rotate {
                directory.rotate(&mut self.retry)?;
                changed = true;
            }
        }
        if changed {
            self.commit(0)?;
        }
        Ok(())
    }
}
