//! Looking at service directories.

use crate::identity::{self, is_directory};
use crate::table::{Contents, Id, OnRemove};
use daemontools::duration;
use daemontools::report;
use daemontools::service::{self, Death, Exit, Phase, Place, Process, Record, Role, Status, Unread, Want, read_file};
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::sys::stat::stat;
use nix::unistd::{AccessFlags, Pid, SysconfVar, access, sysconf};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Services that are to be ready before this one starts, and down after it: one name a line.
pub const AFTER: &str = "after";
/// Its presence makes everything stop when this service ends for good.
pub const ESSENTIAL: &str = "essential";

/// No setting is longer.
const LONGEST_SETTING: usize = 4096;
/// Nor is a list of names.
const LONGEST_LIST: usize = 1 << 20;
/// So many names of a list count: more would cost every service the time of svscan.
pub const MOST_NAMES: usize = 1000;

/// How long the service may take to stop, if it is killed after that.
pub fn time_to_stop(service: &Path) -> Option<Duration> {
    let text = String::from_utf8(read_file(&service.join(TIMEOUT_KILL), LONGEST_SETTING).ok()?).ok()?;
    duration::parse(text.lines().next()?.trim()).ok().filter(|time| !time.is_zero())
}

/// How long it still has, when it is being stopped.
pub fn time_left(record: Option<Record>) -> Option<Duration> {
    let kill_at = record?.kill_at?;
    Some(kill_at.uptime.saturating_sub(Moment::now().uptime))
}

/// A setting of supervise: when a service that is told to end is killed.
pub const TIMEOUT_KILL: &str = "timeout-kill";
/// What is done when an entry is removed.
pub const ON_REMOVE: &str = ".svscan/on-remove";
/// How many services may start at a time.
pub const STARTS_AT_A_TIME: &str = ".svscan/starts-at-a-time";

/// What a service's `log` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logger {
    /// None, or a program that the service's own supervise runs.
    None,
    Directory,
    /// A file that cannot be executed.
    Unusable,
}

/// Looks for a logger.
///
/// # Errors
/// It cannot be told.
pub fn logger(service: &Path) -> nix::Result<Logger> {
    let log = service.join(service::LOG);
    match stat(&log) {
        Ok(file) if is_directory(&file) => Ok(Logger::Directory),
        Ok(_) if access(&log, AccessFlags::X_OK).is_ok() => Ok(Logger::None),
        Ok(_) => Ok(Logger::Unusable),
        Err(Errno::ENOENT) => Ok(Logger::None),
        Err(errno) => Err(errno),
    }
}

/// What else matters before the service is started, which comes `after` these; `record` is what its last supervise has
/// written. One that runs already, be its supervise dead, need not wait for others.
pub fn contents(service: &Path, logger: Logger, after: Vec<OsString>, record: Option<&Record>) -> Contents {
    let is_left = || record.into_iter().flat_map(processes).any(|process| process.is_there());
    let running = !after.is_empty() && (service::is_supervised_at(service) == Ok(true) || is_left());
    Contents { logger: logger == Logger::Directory, after, running }
}

/// The processes of a service that its supervise wrote down.
pub fn processes(record: &Record) -> impl Iterator<Item = Process> {
    let logger = record.logger.as_ref().and_then(|logger| logger.process);
    [record.process, logger].into_iter().flatten().map(|(_, process)| process)
}

/// The services that are to be ready before another one starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct After {
    /// Their names, each once, as many as count.
    pub names: Vec<OsString>,
    /// So many names more are in the file.
    pub surplus: usize,
}

/// The names of the services that are to be ready before this one starts.
///
/// # Errors
/// The file cannot be read.
pub fn after(service: &Path) -> Result<After, Unread> {
    let after = match read_file(&service.join(AFTER), LONGEST_LIST) {
        Err(unread) if unread.is_missing() => Vec::new(),
        read => read?,
    };
    Ok(names_of(&after))
}

fn names_of(text: &[u8]) -> After {
    let names = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    let mut known = HashSet::new();
    let mut names = names.filter(|name| known.insert(*name));
    let counted = names.by_ref().take(MOST_NAMES).map(|name| OsStr::from_bytes(name).to_os_string()).collect();
    After { names: counted, surplus: names.count() }
}

/// Whether everything is to stop when this service ends for good.
pub fn is_essential(service: &Path) -> bool {
    access(&service.join(ESSENTIAL), AccessFlags::F_OK).is_ok()
}

/// Whether `name` still leads to the service, and may be entered.
///
/// # Errors
/// It does not, or may not.
pub fn still_there(name: &OsStr, id: Id) -> nix::Result<()> {
    match identity::of(Path::new(name)) {
        Ok(found) if found == id => access(name, AccessFlags::X_OK),
        Ok(_) | Err(Errno::ENOTDIR) => Err(Errno::ENOENT),
        Err(errno) => Err(errno),
    }
}

/// Whether the service whose supervise is `pid` is ready: as its supervise says in `record`, or running where the
/// supervise is one that does not say.
pub fn is_ready(status: Option<&Status>, record: Option<&Record>, pid: Pid) -> bool {
    match record {
        Some(record) => record.supervise.pid == pid && record.ready.is_some(),
        None => status.is_some_and(|status| status.pid.is_some()),
    }
}

/// Whether the service whose supervise is `pid` is about to be ready: not where it is down, or has ended and
/// is to be started again later.
pub fn is_starting(status: Option<&Status>, record: Option<&Record>, pid: Pid) -> bool {
    let Some(record) = record else {
        return !status.is_some_and(|status| status.pid.is_some() || status.want == Want::Down);
    };
    let mine = record.supervise.pid == pid;
    let expected = match record.process {
        Some((role, _)) => matches!(role, Role::Start | Role::Run),
        None => record.next_start.is_none() && record.phase != Phase::Failed,
    };
    !mine || (expected && record.want != Want::Down && record.ready.is_none())
}

/// How many services may start at a time, if there is a limit.
///
/// # Errors
/// The file cannot be read, or does not say (EINVAL).
pub fn starts_at_a_time() -> Result<Option<usize>, Unread> {
    match read_file(Path::new(STARTS_AT_A_TIME), LONGEST_SETTING) {
        Ok(text) => {
            let number: Option<NonZeroUsize> =
                std::str::from_utf8(text.trim_ascii()).ok().and_then(|text| text.parse().ok());
            number.map(|number| Some(number.get())).ok_or(Unread::System(Errno::EINVAL))
        }
        Err(unread) if unread.is_missing() => Ok(None),
        Err(unread) => Err(unread),
    }
}

/// What is done when an entry is removed: `stop`, or nothing.
///
/// # Errors
/// The file cannot be read, or does not say (EINVAL).
pub fn on_remove() -> Result<OnRemove, Unread> {
    match read_file(Path::new(ON_REMOVE), LONGEST_SETTING) {
        Ok(text) => match text.trim_ascii() {
            b"stop" => Ok(OnRemove::Stop),
            b"" => Ok(OnRemove::Leave),
            _ => Err(Unread::System(Errno::EINVAL)),
        },
        Err(unread) if unread.is_missing() => Ok(OnRemove::Leave),
        Err(unread) => Err(unread),
    }
}

/// With what code the service whose supervise is `pid` has ended for good, as that says in `record`; `None` if it has not.
pub fn final_exit(record: Option<&Record>, pid: Pid) -> Option<i32> {
    let record = record.filter(|record| record.supervise.pid == pid)?;
    let ended = matches!(record.phase, Phase::Stopped | Phase::Failed) && record.next_start.is_none();
    if !ended || record.process.is_some() {
        return None;
    }
    match record.deaths.last().filter(|death| was_seen(death, &record.supervise, Moment::now())) {
        Some(Death { exit: Exit::Code(code), .. }) => Some(*code),
        Some(Death { exit: Exit::Signal(signal) | Exit::Core(signal), .. }) => Some(128 + signal),
        Some(Death { exit: Exit::Unstarted(_) | Exit::Unknown, .. }) => Some(report::TEMPORARY),
        // Given up before `run`, as when `start` fails. Otherwise it has not been up yet.
        None => (record.phase == Phase::Failed).then_some(report::TEMPORARY),
    }
}

/// Whether a death came after this supervise: what it remembers of the time before says nothing of its service.
fn was_seen(death: &Death, supervise: &Process, now: Moment) -> bool {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
    let Some(per_second) = per_second.filter(|ticks| *ticks > 0 && supervise.ticks > 0) else { return true };
    let started = Duration::from_millis(supervise.ticks.saturating_mul(1000) / per_second);
    // Of the wall clock only how long ago it was: one that was set has no effect on that for long.
    let ago = now.label.duration_since(&death.ended);
    ago.is_ok_and(|ago| ago <= now.uptime.saturating_sub(started))
}

/// What `supervise/status` says. A supervise of ours writes it after its record: asked for before that, it does not say
/// more than the record.
pub fn status(service: &Path) -> Option<Status> {
    Status::read(&Place::of(service).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_counts_once_and_too_many_do_not() {
        let After { names, surplus } = names_of(b" b \n\na\nb\n\ta");
        assert_eq!((names, surplus), (vec!["b".into(), "a".into()], 0));
        let text: String = (0..MOST_NAMES + 7).map(|number| format!("{number}\n{number}\n")).collect();
        let After { names, surplus } = names_of(text.as_bytes());
        assert_eq!((names.len(), surplus), (MOST_NAMES, 7));
        assert_eq!(names.last(), Some(&OsString::from((MOST_NAMES - 1).to_string())));
    }
}
