//! Runs a command on full files.

use super::LogDirectory;
use crate::files;
use crate::retry::{ChildStart, Retry, Stop};
use daemontools::logdir::{COMPLETE, INCOMPLETE, NEW_STATE, PREVIOUS, PROCESSED, STATE};
use daemontools::service::Exit;
use daemontools::sys::exec;
use daemontools::sys::process::{self, duplicate_above, duplicate_to};
use daemontools::tai64::Moment;
use daemontools::{Fatal, Unable, duration, report};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, renameat};
use nix::sys::stat::{FileStat, fchmod};
use nix::unistd::{Pid, fchdir, fsync};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The time until a processor that has failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What happens to `previous`.
pub enum Processing {
    Running(Pid),
    FailedUntil(Duration),
}

impl LogDirectory {
    /// Gives a full file to the processor, or its final name if there is no processor.
    pub(super) fn process(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        let Some(command) = self.settings.processor.clone() else {
            return self.finish(PREVIOUS, &self.settings.code.clone(), retry);
        };
        // With a directory or a link, the processor would fail each time, and it must not read another account's file.
        // Without a file there is nothing to be done.
        for name in [PREVIOUS, PROCESSED, NEW_STATE, STATE] {
            if files::stat_at(&self.folder, name).is_ok_and(|found| found.is_some_and(|stat| self.is_strange(&stat))) {
                self.make_way(name);
            }
        }
        if files::stat_at(&self.folder, PREVIOUS) == Ok(None) {
            self.processing = None;
            return Ok(());
        }
        let path = self.settings.path.as_bytes();
        let start = retry.child_start();
        let pid = retry
            .retry_until_done("fork for processor in", &[path], || process::fork(|| self.run(&command, &start)))?;
        self.processing = Some(Processing::Running(pid));
        Ok(())
    }

    /// Whether neither multilog nor the processor can have made this file.
    fn is_strange(&self, stat: &FileStat) -> bool {
        !files::is_regular(stat) || files::is_hole(stat) || files::may_be_anothers(&self.folder, stat) != Ok(false)
    }

    /// Runs the command, in the child: `previous` is standard input, `processed` standard output, `state` is open for
    /// reading as 4, and `newstate` for writing as 5.
    fn run(&self, command: &OsStr, start: &ChildStart) -> i32 {
        start.begin();
        let old = |name, flags| match files::open_regular(&self.folder, name, flags, INCOMPLETE)? {
            // Another program has put it there since multilog checked. It is renamed at the next try.
            (_, stat) if self.is_strange(&stat) => Err(Errno::EMLINK),
            (file, _) => Ok(file),
        };
        let files = [
            (PREVIOUS, old(PREVIOUS, OFlag::O_RDONLY), 0),
            (PROCESSED, self.create(PROCESSED), 1),
            (STATE, old(STATE, OFlag::O_RDONLY | OFlag::O_CREAT), 4),
            (NEW_STATE, self.create(NEW_STATE), 5),
        ];
        // A descriptor that gets its number may replace the folder's. So all files are opened above these numbers
        // first, and the folder is entered.
        let above =
            |file: OwnedFd| fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).and_then(|_| duplicate_above(&file, 6));
        let opened = files.map(|(name, file, number)| (name, number, file.and_then(above)));
        if let Err(errno) = fchdir(&self.folder) {
            return Fatal::from(Unable::new("switch to", &self.settings.path, errno)).print();
        }
        for (name, number, file) in opened {
            if let Err(errno) = file.and_then(|file| duplicate_to(&file, number)) {
                return Fatal::from(Unable::new("open", self.path_of(name), errno)).print();
            }
        }
        let argv = ["/bin/sh".into(), "-c".into(), command.to_os_string()];
        Fatal::from(Unable::new("run", "/bin/sh", exec::exec(&argv, &[]))).print()
    }

    /// Takes in that the processor has ended, if it was this process.
    pub(super) fn processor_ended(&mut self, pid: Pid, status: i32, retry: &mut Retry) -> Result<(), Stop> {
        match self.processing {
            Some(Processing::Running(processor)) if processor == pid => {}
            Some(Processing::Running(_) | Processing::FailedUntil(_)) | None => return Ok(()),
        }
        if status == 0 {
            self.say_it_works();
            return self.take_result(retry);
        }
        let how: &[u8] = match Exit::from_wait_status(status) {
            Exit::Code(_) => b"processor failed in ",
            Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) | Exit::Unknown => b"processor crashed in ",
        };
        report::warning(&[how, self.settings.path.as_bytes(), b", pausing"]);
        let now = Moment::now().uptime;
        self.failing_since.get_or_insert(now);
        self.processing = Some(Processing::FailedUntil(now + RETRY));
        Ok(())
    }

    /// Says that the processor works again, if it had failed.
    fn say_it_works(&mut self) {
        if let Some(since) = self.failing_since.take() {
            let length = duration::in_seconds(Moment::now().uptime.saturating_sub(since));
            let path = self.settings.path.as_bytes();
            report::notice(&[b"processor works in ", path, b" again after ", length.as_bytes(), b": going on"]);
        }
    }

    /// When the processor is to be tried again.
    pub fn retry_at(&self) -> Option<Duration> {
        match self.processing {
            Some(Processing::FailedUntil(at)) => Some(at),
            Some(Processing::Running(_)) | None => None,
        }
    }

    /// Tries the processor again if it is time.
    ///
    /// # Errors
    /// [`Stop`]: the next multilog tries.
    pub fn retry(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        if self.retry_at().is_some_and(|at| at <= Moment::now().uptime) { self.process(retry) } else { Ok(()) }
    }

    /// Whether a full file is being dealt with.
    pub fn is_processing(&self) -> bool {
        self.processing.is_some()
    }

    fn take_result(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        let path = self.settings.path.clone();
        let (path, folder) = (path.as_bytes(), &self.folder);
        for (name, mode) in [(NEW_STATE, INCOMPLETE), (PROCESSED, COMPLETE)] {
            let object: [&[u8]; 4] = [path, b"/", name.as_bytes(), b" to disk"];
            retry.retry_until_done("write", &object, || {
                let open = || files::open_regular(folder, name, OFlag::O_WRONLY | OFlag::O_CREAT, INCOMPLETE);
                let (file, stat) = match open() {
                    Err(Errno::ELOOP | Errno::EISDIR | Errno::ENXIO) => {
                        self.make_way(name);
                        open()?
                    }
                    // A file that may be another account's keeps its mode.
                    Ok((_, stat)) if self.is_strange(&stat) => {
                        self.make_way(name);
                        open()?
                    }
                    opened => opened?,
                };
                if self.is_strange(&stat) {
                    return Err(Errno::EMLINK);
                }
                fsync(&file)?;
                fchmod(&file, mode)
            })?;
        }
        // If it stayed, the next multilog would process it again, and its lines would be in the log twice.
        retry.retry_until_done("remove", &[path, b"/", PREVIOUS.as_bytes()], || files::remove_at(folder, PREVIOUS))?;
        self.keep_state(retry)?;
        self.processing = None;
        self.finish(PROCESSED, &self.settings.code.clone(), retry)
    }

    /// Makes what the processor wrote together with the result its state for the next file.
    pub(super) fn keep_state(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        let (path, folder) = (self.settings.path.as_bytes(), &self.folder);
        retry.retry_until_done("rename newstate to state in directory", &[path], || {
            match renameat(folder, NEW_STATE, folder, STATE) {
                Err(Errno::EISDIR | Errno::ENOTEMPTY) => {
                    self.make_way(STATE);
                    renameat(folder, NEW_STATE, folder, STATE)
                }
                // There is no `newstate`, or another program has just removed it.
                Err(Errno::ENOENT) => Ok(()),
                renamed => renamed,
            }
        })
    }
}
