//! Puts in order what an earlier multilog left in a log directory. `recovery` decides what is done.

use super::old::Compressor;
use super::writing::Space;
use super::{Locked, LogDirectory, watch};
use crate::files;
use crate::journal::{CurrentFile, File, Id};
use crate::recovery::{self, FileState, Noted, Step};
use crate::retry::{Retry, RetryFailure};
use crate::router::Output;
use crate::settings::Directory;
use daemontools::logdir::{self, CURRENT, PREVIOUS, PROCESSED, STATE, UNSAFE};
use daemontools::{Attempt, report};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::FileStat;
use nix::unistd::ftruncate;

impl LogDirectory {
    /// Puts in order what an earlier multilog left. `checkpoints` are what journals say of directories' files, the
    /// newest last.
    ///
    /// # Errors
    /// A file cannot be opened, renamed or removed, and the trouble will not end by itself.
    pub fn restart(
        settings: Directory,
        Locked { folder, lock }: Locked,
        checkpoints: &[File],
        retry: &mut Retry,
    ) -> Result<LogDirectory, RetryFailure> {
        let id = Id::of(&folder).unable_to("stat", &settings.path)?;
        let look = |name: &str| files::stat_at(&folder, name).unable_to("stat", report::joined(&settings.path, name));
        let (current, previous, processed) = (look(CURRENT)?, look(PREVIOUS)?, look(PROCESSED)?);
        let there = current.as_ref().map(CurrentFile::from);
        let noted = Noted::of(&id, there, checkpoints);
        let found = |stat: Option<FileStat>| match stat {
            None => FileState::Missing,
            // A link is refused when `current` is opened.
            Some(stat) if files::is_link(&stat) => FileState::Missing,
            Some(stat) if logdir::is_complete(&stat) => FileState::Complete,
            Some(_) => FileState::Incomplete,
        };
        let files = recovery::Directory {
            current: if noted.may_be_anothers(there) { FileState::Incomplete } else { found(current) },
            previous: found(previous),
            processed: found(processed),
            has_journal: noted.vouches_for(there),
        };
        let has_numbers = watch::has_numbers(&folder);
        let mut directory = LogDirectory {
            current: retry.retry_at_start("open directory", &settings.path, || {
                folder.try_clone().map_err(|error| report::errno_of(&error))
            })?,
            limit: settings.full_at().min(longest_file()),
            space: Space::new(&settings),
            settings,
            folder,
            id,
            lock,
            size: 0,
            inode: 0,
            seen: 0,
            said: None,
            is_stuck: false,
            has_numbers,
            output: Output::default(),
            period: None,
            zone_changes: 0,
            time: None,
            synced: 0,
            sync_at: None,
            processing: None,
            failing_since: None,
            compressor: Compressor::Idle,
            newest: None,
            expiry: None,
        };
        for step in recovery::plan(files) {
            directory.recover(step, retry)?;
        }
        // The words are the original's. Most of this trouble only the administrator can end.
        let verb = if files.current == FileState::Complete { "append to" } else { "write to" };
        let object = directory.path_of(CURRENT);
        let current =
            retry.retry_at_start(verb, &object, || directory.open_current(|now| noted.is_of(now.st_ino, there)))?;
        directory.take_current(current, retry)?;
        if let Some(size) = noted.cut(directory.inode, directory.size) {
            directory.cut_to(size, retry)?;
        }
        if let Some(begun) = noted.begun(directory.inode) {
            directory.begin_period(begun);
        }
        directory.tend_old_files(retry)?;
        Ok(directory)
    }

    fn recover(&mut self, step: Step, retry: &mut Retry) -> Result<(), RetryFailure> {
        match step {
            Step::Remove(name) => {
                if files::remove_at(&self.folder, name) == Err(Errno::EISDIR) {
                    self.make_way(name);
                }
            }
            Step::FinishSafe(name) => self.finish(name, &self.settings.code.clone(), retry)?,
            Step::FinishUnsafe(name) => self.finish(name, UNSAFE, retry)?,
            Step::EmptyState => {
                let object = self.path_of(STATE);
                retry.retry_at_start("write to", &object, || match self.create(STATE) {
                    Err(Errno::EISDIR) => {
                        self.make_way(STATE);
                        self.create(STATE)
                    }
                    made => made,
                })?;
            }
            Step::KeepState => self.keep_state(retry)?,
            Step::Process => self.process(retry)?,
        }
        Ok(())
    }

    /// Cuts off what was being written when the multilog before was killed.
    fn cut_to(&mut self, size: u64, retry: &mut Retry) -> Result<(), RetryFailure> {
        if self.size > size {
            retry.retry_at_start("write to", &self.path_of(CURRENT), || ftruncate(&self.current, size as i64))?;
            self.size = size;
        }
        Ok(())
    }
}

/// The limit on the length of files (`ulimit -f`).
fn longest_file() -> u64 {
    getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(limit, _)| limit)
}
