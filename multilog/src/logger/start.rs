//! Opens all that a script names, and finds what killed multilogs have left.

use super::journals::{make_way, rename};
use super::{Logger, close_all};
use crate::alarm::Alarm;
use crate::forward::{self, Forwarder};
use crate::journal::place::{self, LeftJournal};
use crate::journal::{File, Journal};
use crate::logdir::{Locked, LogDirectory};
use crate::retry::{Retry, Stop};
use crate::router::Router;
use crate::script::{Action, Script};
use crate::signals::Signals;
use crate::status_file::show;
use crate::steps::{MOST_DIRECTORIES, SideOutput};
use crate::without_journal::JournalRetry;
use daemontools::logdir::JOURNAL;
use daemontools::report::{PERMANENT, warning};
use daemontools::sys::{self, boot::Boot};
use daemontools::tai64::Moment;
use daemontools::{Attempt, Fatal};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::pipe2;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The largest pipe that an account without privileges may make.
const PIPE_SIZE: i32 = 1024 * 1024;

impl Logger {
    /// Opens all that the script names, and carries on what an earlier multilog left.
    ///
    /// # Errors
    /// A directory or status file cannot be opened, or is another's.
    pub fn open(script: Script) -> Result<Logger, Fatal> {
        umask(Mode::from_bits_truncate(0o022));
        let mut retry = Retry::new(Signals::new().unable_to("watch signals", "")?);
        if script.directories.len() > MOST_DIRECTORIES {
            return Err(Fatal::new(PERMANENT, &[b"too many directories: 63 are possible"]));
        }
        for complaint in &script.complaints {
            warning(&[b"ignoring ", complaint.action.as_bytes(), b": ", complaint.reason.as_bytes()]);
        }
        for action in &script.actions {
            if let Action::Status(file) = action {
                retry
                    .retry_at_start("create", file, || show(file, b""))
                    .map_err(|failure| failure.where_missing(file))?;
            }
        }
        let mut locked = Vec::new();
        for directory in &script.directories {
            let next = LogDirectory::lock(&directory.path, &locked, &mut retry)?;
            locked.push(next);
        }
        // If the boot were told with less because memory is short, a journal could be taken for that of another boot.
        let boot =
            retry.retry_until_done("tell", &[b"which boot it is"], Boot::current).map_err(|Stop| Fatal::silent(0))?;
        let mut left = find_journals(&script, &locked, &boot, &mut retry)?;
        let checkpoints: Vec<File> = left.iter().flat_map(|journal| journal.checkpoint().files.clone()).collect();
        let mut journal_retry = JournalRetry::default();
        let mut journal = match left.pop() {
            Some(newest) => newest,
            None => make_journal(&script, &locked, &boot, &mut journal_retry)?,
        };
        let mut directories = Vec::new();
        for (settings, locked) in script.directories.iter().zip(locked) {
            match LogDirectory::restart(settings.clone(), locked, &checkpoints, &mut retry) {
                Ok(directory) => directories.push(directory),
                Err(failure) => {
                    close_all(left.iter_mut().chain([&mut journal]));
                    return Err(failure.into());
                }
            }
        }
        retry.may_stop = journal.survives();
        let forwarder = Forwarder::new(&script);
        let router = Router::new(&script, &forward::identity()).with_memory(memory_limit());
        let is_pipe = daemontools::files::is_fifo(sys::stdin()).unwrap_or(false);
        if is_pipe {
            let _ = fcntl(sys::stdin(), FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        }
        // From a pipe of packets (O_DIRECT), a read gets one packet, not all bytes that wait.
        let packets = fcntl(sys::stdin(), FcntlArg::F_GETFL).is_ok_and(|flags| flags & OFlag::O_DIRECT.bits() != 0);
        let peek_pipe = (is_pipe && !packets).then(|| pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()).flatten();
        let alarm = match directories.iter().any(LogDirectory::needs_clock) {
            true => Some(retry.retry_at_start("watch", "the clock".as_ref(), Alarm::new)?),
            false => None,
        };
        let side = SideOutput::new(forwarder.targets());
        // All that was read is written before the end, and a slow disk may need long for each file that is filled.
        let most = directories.iter().map(|directory| usize::try_from(directory.limit).unwrap_or(usize::MAX)).min();
        let most = most.unwrap_or(usize::MAX).max(1);
        let mut logger = Logger {
            router,
            directories,
            side,
            forwarder,
            journal,
            left,
            boot,
            journal_retry,
            look_at: Duration::ZERO,
            unlooked: false,
            most,
            retry,
            peek_pipe,
            time: Moment::ZERO.label,
            alarm,
            ended: false,
        };
        let files = logger.files();
        logger.left.iter_mut().chain([&mut logger.journal]).for_each(|journal| journal.adopt(files.clone()));
        Ok(logger)
    }
}

/// The limit on multilog's memory.
fn memory_limit() -> u64 {
    let limit = |resource| getrlimit(resource).map_or(u64::MAX, |(limit, _)| limit);
    limit(Resource::RLIMIT_DATA).min(limit(Resource::RLIMIT_AS))
}

/// The journals that killed multilogs have left in these directories, the oldest first.
fn find_journals(script: &Script, locked: &[Locked], boot: &Boot, retry: &mut Retry) -> Result<Vec<Journal>, Fatal> {
    let mut found = Vec::new();
    for (directory, Locked { folder, .. }) in script.directories.iter().zip(locked) {
        let path = [directory.path.as_bytes(), b"/", JOURNAL.as_bytes()].concat();
        let journal = match retry.retry_at_start("open", OsStr::from_bytes(&path), || place::find(folder, boot))? {
            LeftJournal::None => continue,
            LeftJournal::Doubtful => {
                rename(
                    folder,
                    &path,
                    b"it cannot be told whether it is of this boot, and what is in it may be in the log",
                );
                continue;
            }
            LeftJournal::Usable(journal) => journal,
        };
        if !journal.is_outdated() {
            found.push(journal);
            continue;
        }
        if !journal.data().is_empty() {
            let log = directory.path.as_bytes();
            warning(&[b"removing ", &path, b": another multilog has written to ", log, b" since"]);
        }
        journal.remove();
    }
    found.sort_by_key(Journal::since);
    Ok(found)
}

/// Makes a journal in the first directory, or a buffer in memory where that is impossible.
fn make_journal(
    script: &Script,
    locked: &[Locked],
    boot: &Boot,
    journal_retry: &mut JournalRetry,
) -> Result<Journal, Fatal> {
    if let (Some(Locked { folder, .. }), Some(directory)) = (locked.first(), script.directories.first()) {
        make_way(folder, &directory.path);
        match place::make(folder, boot) {
            Ok(journal) => return Ok(journal),
            Err(errno) => journal_retry.failed(errno, Moment::now().uptime),
        }
    }
    Ok(Journal::in_memory().unable_to("make", "a buffer")?)
}
