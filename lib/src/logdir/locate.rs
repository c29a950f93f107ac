//! Finds the log of a service.
//!
//! A directory that contains `current` or finished files is a log directory itself. For a service directory, the log is
//! the first log directory among these:
//!
//! 1. the directory that the running logger has open: that of the first `…/current` or `…/lock` of the process that
//!    `log/supervise/status` names (this file lies elsewhere if `$SUPERVISEDIR` says so);
//! 2. `log/main`; `log`;
//! 3. the first directory in `log`, by name, that has `current` and `lock`;
//! 4. the first directory that `log/run` gives to multilog.
//!
//! If `log` is a program, as in daemontools-encore, the search is in the service directory itself instead of in `log`,
//! and `log` is read instead of `log/run`.
//!
//! The process counts only if it is proven to be the logger (see [`Proof`]). A path of the process counts only if it
//! leads here to the very file that the process has open: in another mount namespace, or below something that was
//! mounted since, the same path is another log. A log that steps 2 to 4 find without this proof may be another log, and
//! is found with a doubt. If the logger is known to be in another namespace, an absolute path in `log/run` is not used.
//!
//! If `log/supervise/status` cannot be read, the logger may write anywhere, and there is a doubt. If that file does not
//! exist or names no process, or if the process has no log open, there is a doubt only if the script may give multilog
//! another directory than the one that was found.

use super::script::{SCRIPT_AT_MOST, Script, is_denied, is_same, multilog_directories};
use super::{CURRENT, Finished, LOCK, PREVIOUS};
use crate::encoding::Encode;
use crate::report::reason;
use crate::service::{
    self, Exit, Part, Place, Proof, Record, StatusError, Witness, answers, open_directory, proof_at, service_answers,
};
use crate::sys::kind;
use crate::sys::process::proc_path;
use crate::{Attempt, Unable, files, interpreter, report};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::SFlag;
use nix::unistd::{AccessFlags, Pid, faccessat};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files that a logger keeps open in its directory.
const OPEN: [&str; 2] = [CURRENT, LOCK];

/// A log directory that was found.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundLog {
    /// Its path.
    pub path: PathBuf,
    /// Why it may not be the log of the service, in words for a warning: what is shown, and that it may be another log.
    pub doubt: Option<Vec<u8>>,
}

/// The log directory of a service, or the directory itself if it is a log directory.
///
/// # Errors
/// The directory does not exist, or no log is found in it. The error is the reason in words.
pub fn log_directory(argument: &OsStr) -> Result<FoundLog, Vec<u8>> {
    let path = Path::new(argument);
    if !service_answers(path, &[service::LOG, service::SUPERVISE, service::LOG_SUPERVISE]) {
        return Err(silent(path));
    }
    let entries = fs::read_dir(path).unable_to("open directory", argument).map_err(|unable| unable.to_bytes())?;
    let mut search = Search::default();
    let has_finished = |entry: fs::DirEntry| Finished::parse(entry.file_name().as_bytes()).is_some();
    if search.is_log(path) || entries.flatten().any(has_finished) {
        return Ok(FoundLog { path: path.to_path_buf(), doubt: None });
    }
    let log = path.join(service::LOG);
    let has_log = !fs::symlink_metadata(&log).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let found = if log.is_dir() {
        let script = log.join(service::RUN);
        search.last = last_end(&log, Part::Service, &script);
        search.of_logger(&log, proof_at(&log).map(|(logger, _)| logger), &script)
    } else {
        search.last = last_end(path, Part::Logger, &log);
        let beside = proof_at(path).map(|(_, beside)| beside.unwrap_or(Proof::Nothing));
        search.of_logger(path, if has_log { beside } else { beside.or(Ok(Proof::Nothing)) }, &log)
    };
    match found {
        Some(found) => Ok(FoundLog { doubt: search.doubt_of(argument, &found), path: found }),
        None if search.silent.is_some() => Err(search.silent.map(|path| silent(&path)).unwrap_or_default()),
        None if !has_log => Err(search.why_in_vain_without_log(argument)),
        None => Err(search.why_in_vain(argument)),
    }
}

/// The directory itself, open, if it is a log directory with a file `current`, and nothing has to be asked for that which
/// may not answer. `None`: [`log_directory`] finds out.
pub fn open_itself(path: &Path) -> Option<OwnedFd> {
    let directory = open_directory(path, &[CURRENT])?;
    let current = files::stat_at(&directory, CURRENT).ok()??;
    (kind::of(&current) == SFlag::S_IFREG).then_some(directory)
}

/// A search for a log, with the reasons why it may find none, or another log.
#[derive(Default)]
struct Search {
    /// The places at which we may not look, in the order of the search.
    denied: Vec<Unable>,
    /// The files beside the log at which we may not look.
    less_likely: Vec<Unable>,
    uncertainty: Option<Uncertainty>,
    /// How the logger ended last, in words.
    last: Option<String>,
    /// A place that does not answer.
    silent: Option<PathBuf>,
}

fn silent(path: &Path) -> Vec<u8> {
    [path.as_os_str().as_bytes(), b": ", service::SILENT.as_bytes()].concat()
}

/// Why it is not known where the logger writes.
#[derive(Debug, PartialEq, Eq)]
enum Uncertainty {
    /// The logger has ended.
    Ended(Pid),
    /// The logger is in another pid namespace.
    Elsewhere(Pid),
    /// The process with that process id may be another one.
    Unproven(Pid),
    /// We may not see which files the process has open.
    Unseen(Pid, Errno),
    /// The logger has another file open than the one to which its path leads here.
    Away(Pid, PathBuf),
    /// The status names no process.
    NotRunning,
    /// The logger has no log open.
    Idle(Pid),
    /// There is no status: the logger has never run under a supervise, or ran under one with another `$SUPERVISEDIR`.
    Unsupervised(PathBuf),
    /// The status cannot be read. The text is the reason.
    Unknown(Vec<u8>),
}

impl Uncertainty {
    fn words(&self) -> Vec<u8> {
        match self {
            Uncertainty::Ended(pid) => format!("its logger, process {pid}, has ended").into_bytes(),
            Uncertainty::Elsewhere(pid) => format!("its logger is process {pid} of another pid namespace").into_bytes(),
            Uncertainty::Unproven(pid) => format!("process {pid} is not proven to be its logger").into_bytes(),
            Uncertainty::Unseen(pid, errno) => {
                format!("what its logger, process {pid}, writes to cannot be seen: {}", reason(*errno)).into_bytes()
            }
            Uncertainty::Away(pid, path) => {
                let words = format!("its logger, process {pid}, writes to ");
                [words.as_bytes(), path.as_os_str().as_bytes(), b" of another mount namespace, or below a mount"]
                    .concat()
            }
            Uncertainty::NotRunning => b"its logger is not running".to_vec(),
            Uncertainty::Idle(pid) => format!("its logger, process {pid}, has no log open").into_bytes(),
            Uncertainty::Unsupervised(status) => not_known(&Unable::new("open", status, Errno::ENOENT).to_bytes()),
            Uncertainty::Unknown(why) => not_known(why),
        }
    }

    /// Whether the logger may be one that ends again and again, so that its last end explains the uncertainty.
    fn is_of_an_end(&self) -> bool {
        match self {
            Uncertainty::Ended(_) | Uncertainty::NotRunning | Uncertainty::Idle(_) => true,
            Uncertainty::Elsewhere(_) | Uncertainty::Unproven(_) | Uncertainty::Unseen(..) | Uncertainty::Away(..) => {
                false
            }
            Uncertainty::Unsupervised(_) | Uncertainty::Unknown(_) => false,
        }
    }

    /// Whether the log that was found belongs to the service in spite of the uncertainty, or is the only possible one.
    fn is_dispelled_by(&self, found: &Path, script: &Script) -> bool {
        match self {
            // The supervise of daemontools 0.76 writes no state. If status and open file agree, that is proof enough.
            Uncertainty::Unproven(pid) => opened_by(*pid, answers)
                .is_ok_and(|open| open.is_some_and(|open| is_same(fs::metadata(open), fs::metadata(found)))),
            Uncertainty::NotRunning | Uncertainty::Idle(_) | Uncertainty::Unsupervised(_) => {
                !script.may_name_another(found)
            }
            Uncertainty::Ended(_)
            | Uncertainty::Elsewhere(_)
            | Uncertainty::Unseen(..)
            | Uncertainty::Away(..)
            | Uncertainty::Unknown(_) => false,
        }
    }

    /// Whether the logger is known to be in another namespace, where paths may mean something else.
    fn is_away(&self) -> bool {
        match self {
            Uncertainty::Elsewhere(_) | Uncertainty::Away(..) => true,
            Uncertainty::Ended(_) | Uncertainty::Unproven(_) | Uncertainty::Unseen(..) | Uncertainty::NotRunning => {
                false
            }
            Uncertainty::Idle(_) | Uncertainty::Unsupervised(_) | Uncertainty::Unknown(_) => false,
        }
    }

    /// The uncertainty about a logger that works in the directory `base` and whose status says nothing.
    fn of_illegible(base: &Path, illegible: StatusError) -> Uncertainty {
        let place = Place::of(base);
        let status = place.as_ref().map_or_else(|_| base.join(service::STATUS), |place| place.path(service::STATUS));
        // A supervise that has run here has left its directory, which then must contain the status too.
        let is_unused = place.is_ok_and(|place| fs::symlink_metadata(place.directory()).is_err());
        match illegible {
            StatusError::Closed(Errno::ENOENT) if is_unused => Uncertainty::Unsupervised(status),
            StatusError::Closed(errno) => Uncertainty::Unknown(Unable::new("open", status, errno).to_bytes()),
            StatusError::Unread(errno) => Uncertainty::Unknown(Unable::new("read", status, errno).to_bytes()),
            StatusError::TooShort => {
                Uncertainty::Unknown([b"unable to read ", status.as_os_str().as_bytes(), b": bad format"].concat())
            }
        }
    }
}

fn not_known(why: &[u8]) -> Vec<u8> {
    [b"nothing is known of its logger: ", why].concat()
}

/// How the `run` of a logger ended last, as its supervise, which works in `base`, has written down. The text is in the
/// words of svstat. If the script could not be executed, the text says what is wrong with it.
fn last_end(base: &Path, part: Part, script: &Path) -> Option<String> {
    let record = Record::read(&Place::of(base).ok()?).ok()?;
    let record = match part {
        Part::Service => record,
        Part::Logger => *record.logger?,
    };
    if let Some(why) = record.failure_words() {
        return Some(format!("gave up: {why}"));
    }
    let last = record.deaths.last()?;
    let exit = last.exit;
    let lack = match exit {
        // What the program has said of its end says more than its file.
        Exit::Unstarted(_) if record.refusal.is_some() => None,
        Exit::Unstarted(errno) if record.is_unexecuted() && interpreter::answers(script) => {
            interpreter::diagnosis(script, Errno::from_raw(errno))
        }
        Exit::Unstarted(_) | Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unknown => None,
    };
    let lack = lack.map(|lack| format!(": {}", String::from_utf8_lossy(&lack))).unwrap_or_default();
    let where_said = match exit {
        Exit::Code(code) if code != 0 => "; what it said is among the messages of svscan",
        Exit::Unstarted(_) | Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unknown => "",
    };
    Some(format!("last {}{lack}{where_said}", record.words_of(last)))
}

impl Search {
    /// Why the log that was found may not be that of the service.
    fn doubt_of(&self, service: &OsStr, found: &Path) -> Option<Vec<u8>> {
        let uncertainty = self.uncertainty.as_ref()?;
        let end: &[u8] = if matches!(uncertainty, Uncertainty::Ended(_)) { b"" } else { b", which may be another log" };
        let words = self.words_of(uncertainty);
        Some([service.as_bytes(), b": ", &words, b": showing ", found.as_os_str().as_bytes(), end].concat())
    }

    /// The uncertainty in words, with the last end of the logger if that may be the reason.
    fn words_of(&self, uncertainty: &Uncertainty) -> Vec<u8> {
        match &self.last {
            Some(last) if uncertainty.is_of_an_end() => [&uncertainty.words(), &b", "[..], last.as_bytes()].concat(),
            Some(_) | None => uncertainty.words(),
        }
    }

    /// The log of the logger that works in the directory `base` and is run by this script.
    fn of_logger(&mut self, base: &Path, logger: Result<Proof, StatusError>, script: &Path) -> Option<PathBuf> {
        let open = match logger {
            Ok(Proof::Proven(pid)) => opened_by(pid, |path| self.answers(path))
                .and_then(|open| open.map_or(Err(Uncertainty::Idle(pid)), |open| Ok(Some(open)))),
            Ok(Proof::Nothing) => Err(Uncertainty::NotRunning),
            Ok(Proof::Ended(pid)) => Err(Uncertainty::Ended(pid)),
            Ok(Proof::Elsewhere(pid)) => Err(Uncertainty::Elsewhere(pid)),
            Ok(Proof::Unproven(pid)) => Err(Uncertainty::Unproven(pid)),
            Err(illegible) => Err(Uncertainty::of_illegible(base, illegible)),
        };
        let open = open.unwrap_or_else(|uncertainty| {
            self.uncertainty = Some(uncertainty);
            None
        });
        if self.silent.is_some() {
            // What lies in the usual places is another log.
            return None;
        }
        let found = open.or_else(|| self.in_its_place(base, script));
        if let Err(StatusError::Closed(errno) | StatusError::Unread(errno)) = logger {
            self.deny_service(base, errno);
        }
        if let Some(found) = &found {
            let script = Script::read(script, base);
            self.uncertainty =
                self.uncertainty.take().filter(|uncertainty| !uncertainty.is_dispelled_by(found, &script));
        }
        found
    }

    /// The directories into which loggers usually write.
    fn in_its_place(&mut self, base: &Path, script: &Path) -> Option<PathBuf> {
        let usual = [base.join("main"), base.to_path_buf()].into_iter().find(|path| self.is_log(path));
        let known = self.denied.len();
        let found = usual.or_else(|| self.first_in(base));
        self.less_likely = self.denied.split_off(known);
        found.or_else(|| self.named_in(script, base))
    }

    /// Whether a place can be touched.
    fn answers(&mut self, path: &Path) -> bool {
        let answers = answers(path);
        if !answers && self.silent.is_none() {
            self.silent = Some(path.to_path_buf());
        }
        answers
    }

    fn is_log(&mut self, path: &Path) -> bool {
        if !self.answers(path) || !self.answers(&path.join(CURRENT)) {
            return false;
        }
        let current = fs::metadata(path.join(CURRENT));
        self.deny(path, &current);
        current.is_ok_and(|current| current.is_file())
    }

    fn first_in(&mut self, base: &Path) -> Option<PathBuf> {
        let entries = fs::read_dir(base);
        self.deny(base, &entries);
        let place = Place::of(base).ok();
        let is_its = |path: &PathBuf| place.as_ref().is_some_and(|place| place.directory() == path);
        let mut folders: Vec<PathBuf> = entries.ok()?.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        folders.retain(|path| !is_its(path));
        folders.into_iter().find(|path| self.is_log(path) && answers(&path.join(LOCK)) && path.join(LOCK).exists())
    }

    fn named_in(&mut self, script: &Path, base: &Path) -> Option<PathBuf> {
        let is_away = self.uncertainty.as_ref().is_some_and(Uncertainty::is_away);
        if !self.answers(script) {
            return None;
        }
        let text = match files::read_beginning(script, SCRIPT_AT_MOST) {
            Ok(text) => text,
            Err(unread) => {
                let errno = Errno::from(unread);
                self.denied.extend(is_denied(errno).then(|| Unable::new("open", script, errno)));
                return None;
            }
        };
        let names = multilog_directories(&text).into_iter().map(PathBuf::from);
        let mut paths = names.filter(|name| name.is_relative() || !is_away).map(|name| base.join(name));
        paths.find(|path| self.is_log(path))
    }

    /// Remembers that we may not enter a directory, or a directory above it.
    fn deny<T>(&mut self, path: &Path, seen: &io::Result<T>) {
        let Some(errno) = seen.as_ref().err().map(report::errno_of).filter(|errno| is_denied(*errno)) else { return };
        let may_enter =
            |folder: &Path| faccessat(AT_FDCWD, folder, AccessFlags::X_OK, AtFlags::AT_EACCESS) != Err(Errno::EACCES);
        let mut above: Vec<&Path> = path.ancestors().filter(|folder| *folder != Path::new("")).collect();
        above.reverse();
        let closed = above.into_iter().find(|folder| !may_enter(folder)).unwrap_or(path);
        let unable = Unable::new("open directory", closed, errno);
        if !self.denied.contains(&unable) {
            self.denied.push(unable);
        }
    }

    /// Remembers that we may learn nothing of the logger. If no log is found, that may be the reason.
    fn deny_service(&mut self, base: &Path, errno: Errno) {
        if let Some(place) = Place::of(base).ok().filter(|_| is_denied(errno)) {
            self.denied.push(Unable::new("open", place.path(service::STATUS), errno));
        }
    }

    /// Why no log was found in a directory without `log`. If this is not a service, it may be an empty log directory.
    fn why_in_vain_without_log(&self, service: &OsStr) -> Vec<u8> {
        let is_service = Path::new(service).join(service::RUN).exists();
        let why: &[u8] = if is_service { b"it has no logger" } else { b"no multilog wrote there" };
        let denied = if is_service { self.denied.first() } else { self.denied.iter().chain(&self.less_likely).next() };
        match (denied, &self.uncertainty) {
            (Some(denied), _) => denied.to_bytes(),
            (None, None | Some(Uncertainty::NotRunning)) => in_vain(service, why),
            (None, Some(uncertainty)) => in_vain(service, &self.words_of(uncertainty)),
        }
    }

    /// Why no log was found.
    fn why_in_vain(&self, service: &OsStr) -> Vec<u8> {
        match (self.denied.iter().chain(&self.less_likely).next(), &self.uncertainty) {
            (Some(denied), _) => denied.to_bytes(),
            (None, Some(uncertainty)) => in_vain(service, &self.words_of(uncertainty)),
            (None, None) => in_vain(service, b"no multilog wrote there"),
        }
    }
}

fn in_vain(service: &OsStr, why: &[u8]) -> Vec<u8> {
    [b"unable to find a log in ", service.as_bytes(), b": ", why].concat()
}

/// The first directory that the process has open. multilog opens its directories in the order of its script, and
/// usually most lines go to the first one.
fn opened_by(pid: Pid, mut answers: impl FnMut(&Path) -> bool) -> Result<Option<PathBuf>, Uncertainty> {
    let mut away = None;
    for (path, id) in open_logs_of(pid).map_err(|errno| Uncertainty::Unseen(pid, errno))? {
        let Some(directory) = path.parent() else { continue };
        if !answers(&path) || !answers(directory) {
            return Ok(None);
        }
        let here = fs::symlink_metadata(&path).ok().map(|file| (file.dev(), file.ino()));
        if id.is_none() || here != id {
            away = away.or_else(|| Some(directory.to_path_buf()));
        // multilog may be renaming `current` at this moment; then the lines are in `previous`.
        } else if [CURRENT, PREVIOUS].iter().any(|name| directory.join(name).is_file()) {
            return Ok(Some(directory.to_path_buf()));
        }
    }
    away.map_or(Ok(None), |path| Err(Uncertainty::Away(pid, path)))
}

/// A file that a process has open: its path, and its device and inode, unless the file cannot be asked about.
type OpenLog = (PathBuf, Option<(u64, u64)>);

/// The files of log directories that a process has open, in the order of its descriptors.
fn open_logs_of(pid: Pid) -> nix::Result<Vec<OpenLog>> {
    thread_local! {
        static WITNESS: RefCell<Witness> = RefCell::new(Witness::new(|request| {
            let pid = Pid::from_raw(i32::decode(&mut &*request)?);
            let mut answer = Vec::new();
            open_logs(pid).encode(&mut answer);
            Some(answer)
        }));
    }
    let answer = WITNESS.with_borrow_mut(|witness| witness.ask(pid, &pid.as_raw().to_ne_bytes()))?;
    Result::decode(&mut &answer[..]).unwrap_or(Err(Errno::EPROTO))
}

/// What [`open_logs_of`] returns. To find it out may take for ever.
fn open_logs(pid: Pid) -> nix::Result<Vec<OpenLog>> {
    let folder = proc_path(pid, "fd");
    let entries = fs::read_dir(&folder).map_err(|error| report::errno_of(&error))?;
    let mut numbers: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    let log = |number: u32| {
        let file = folder.join(number.to_string());
        let path = fs::read_link(&file).ok()?;
        let is_one = OPEN.contains(&path.file_name()?.to_str()?);
        is_one.then(|| (path, fs::metadata(&file).ok().map(|file| (file.dev(), file.ino()))))
    };
    Ok(numbers.into_iter().filter_map(log).collect())
}
