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
//! If `log` is a program, as in daemontools-encore, svlog looks in the service directory itself instead of in `log`,
//! and reads `log` instead of `log/run`.
//!
//! svlog looks at the process only if it is proven to be the logger (see lib's [`Proof`]). It uses a path of the
//! process only if this path leads here to the very file that the process has open: in another mount namespace, or
//! below something that was mounted since, the same path is another log. A log that steps 2 to 4 find without this
//! proof may be another log, and svlog warns of that. If the logger is known to be in another namespace, svlog does not
//! use an absolute path in `log/run`.
//!
//! If `log/supervise/status` cannot be read, the logger may write anywhere, and svlog warns. If that file does not
//! exist or names no process, or if the process has no log open, svlog warns only if the script may give multilog
//! another directory than the one that was found.

use crate::script::{SCRIPT_AT_MOST, Script, is_denied, is_same, multilog_directories};
use daemontools::logdir::{CURRENT, Finished, LOCK, PREVIOUS};
use daemontools::report::{reason, warning};
use daemontools::service::{self, Exit, Illegible, Part, Place, Proof, Record, proof_at};
use daemontools::sys::process::proc_path;
use daemontools::{Attempt, Unable, files, interpreter, report};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, Pid, faccessat};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The files that a logger keeps open in its directory.
const OPEN: [&str; 2] = [CURRENT, LOCK];

/// The log directory of a service, or the directory itself if it is a log directory. svlog writes its doubts as a
/// warning.
///
/// # Errors
/// The directory does not exist, or svlog cannot find its log. The error is the reason in words.
pub fn log_directory(argument: &OsStr) -> Result<OsString, Vec<u8>> {
    let path = Path::new(argument);
    let entries = fs::read_dir(path).unable_to("open directory", argument).map_err(|unable| unable.to_bytes())?;
    let mut search = Search::default();
    let has_finished = |entry: fs::DirEntry| Finished::parse(entry.file_name().as_bytes()).is_some();
    if search.is_log(path) || entries.flatten().any(has_finished) {
        return Ok(argument.to_os_string());
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
        Some(found) => {
            search.say_doubt(argument, &found);
            Ok(found.into_os_string())
        }
        None if !has_log => Err(search.why_in_vain_without_log(argument)),
        None => Err(search.why_in_vain(argument)),
    }
}

/// A search for a log, with the reasons why it may find none, or another log.
#[derive(Default)]
struct Search {
    /// The places at which svlog may not look, in the order of the search.
    denied: Vec<Unable>,
    /// The files beside the log at which svlog may not look.
    less_likely: Vec<Unable>,
    doubt: Option<Doubt>,
    /// How the logger ended last, in words.
    last: Option<String>,
}

/// Why svlog does not know where the logger writes.
#[derive(Debug, PartialEq, Eq)]
enum Doubt {
    /// The logger has ended.
    Ended(Pid),
    /// The logger is in another pid namespace.
    Elsewhere(Pid),
    /// The process with that process id may be another one.
    Unproven(Pid),
    /// svlog may not see which files the process has open.
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

impl Doubt {
    fn words(&self) -> Vec<u8> {
        match self {
            Doubt::Ended(pid) => format!("its logger, process {pid}, has ended").into_bytes(),
            Doubt::Elsewhere(pid) => format!("its logger is process {pid} of another pid namespace").into_bytes(),
            Doubt::Unproven(pid) => format!("process {pid} is not proven to be its logger").into_bytes(),
            Doubt::Unseen(pid, errno) => {
                format!("what its logger, process {pid}, writes to cannot be seen: {}", reason(*errno)).into_bytes()
            }
            Doubt::Away(pid, path) => {
                let words = format!("its logger, process {pid}, writes to ");
                [words.as_bytes(), path.as_os_str().as_bytes(), b" of another mount namespace, or below a mount"]
                    .concat()
            }
            Doubt::NotRunning => b"its logger is not running".to_vec(),
            Doubt::Idle(pid) => format!("its logger, process {pid}, has no log open").into_bytes(),
            Doubt::Unsupervised(status) => not_known(&Unable::new("open", status, Errno::ENOENT).to_bytes()),
            Doubt::Unknown(why) => not_known(why),
        }
    }

    /// Whether the logger may be one that ends again and again, so that its last end explains the doubt.
    fn is_of_an_end(&self) -> bool {
        match self {
            Doubt::Ended(_) | Doubt::NotRunning | Doubt::Idle(_) => true,
            Doubt::Elsewhere(_) | Doubt::Unproven(_) | Doubt::Unseen(..) | Doubt::Away(..) => false,
            Doubt::Unsupervised(_) | Doubt::Unknown(_) => false,
        }
    }

    /// Whether the log that was found belongs to the service in spite of the doubt, or is the only possible one.
    fn is_dispelled_by(&self, found: &Path, script: &Script) -> bool {
        match self {
            // The supervise of daemontools 0.76 writes no state. If status and open file agree, that is proof enough.
            Doubt::Unproven(pid) => opened_by(*pid)
                .is_ok_and(|open| open.is_some_and(|open| is_same(fs::metadata(open), fs::metadata(found)))),
            Doubt::NotRunning | Doubt::Idle(_) | Doubt::Unsupervised(_) => !script.may_name_another(found),
            Doubt::Ended(_) | Doubt::Elsewhere(_) | Doubt::Unseen(..) | Doubt::Away(..) | Doubt::Unknown(_) => false,
        }
    }

    /// Whether the logger is known to be in another namespace, where paths may mean something else.
    fn is_away(&self) -> bool {
        match self {
            Doubt::Elsewhere(_) | Doubt::Away(..) => true,
            Doubt::Ended(_) | Doubt::Unproven(_) | Doubt::Unseen(..) | Doubt::NotRunning => false,
            Doubt::Idle(_) | Doubt::Unsupervised(_) | Doubt::Unknown(_) => false,
        }
    }

    /// The doubt about a logger that works in the directory `base` and whose status says nothing.
    fn of_illegible(base: &Path, illegible: Illegible) -> Doubt {
        let place = Place::of(base);
        let status = place.as_ref().map_or_else(|_| base.join(service::STATUS), |place| place.path(service::STATUS));
        // A supervise that has run here has left its directory, which then must contain the status too.
        let is_unused = place.is_ok_and(|place| fs::symlink_metadata(place.directory()).is_err());
        match illegible {
            Illegible::Closed(Errno::ENOENT) if is_unused => Doubt::Unsupervised(status),
            Illegible::Closed(errno) => Doubt::Unknown(Unable::new("open", status, errno).to_bytes()),
            Illegible::Unread(errno) => Doubt::Unknown(Unable::new("read", status, errno).to_bytes()),
            Illegible::TooShort => {
                Doubt::Unknown([b"unable to read ", status.as_os_str().as_bytes(), b": bad format"].concat())
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
    let exit = record.deaths.last()?.exit;
    let lack = match exit {
        Exit::Unstarted(errno) if record.is_unexecuted() => interpreter::lack(script, Errno::from_raw(errno)),
        Exit::Unstarted(_) | Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unknown => None,
    };
    let lack = lack.map(|lack| format!(": {}", String::from_utf8_lossy(&lack))).unwrap_or_default();
    Some(format!("last {}{lack}", exit.words()))
}

impl Search {
    /// Warns that the log that was found may not be that of the service.
    fn say_doubt(&self, service: &OsStr, found: &Path) {
        let Some(doubt) = &self.doubt else { return };
        let end: &[u8] = if matches!(doubt, Doubt::Ended(_)) { b"" } else { b", which may be another log" };
        let words = self.words_of(doubt);
        warning(&[service.as_bytes(), b": ", &words, b": showing ", found.as_os_str().as_bytes(), end]);
    }

    /// The doubt in words, with the last end of the logger if that may be the reason.
    fn words_of(&self, doubt: &Doubt) -> Vec<u8> {
        match &self.last {
            Some(last) if doubt.is_of_an_end() => [&doubt.words(), &b", "[..], last.as_bytes()].concat(),
            Some(_) | None => doubt.words(),
        }
    }

    /// The log of the logger that works in the directory `base` and is run by this script.
    fn of_logger(&mut self, base: &Path, logger: Result<Proof, Illegible>, script: &Path) -> Option<PathBuf> {
        let open = match logger {
            Ok(Proof::Proven(pid)) => {
                opened_by(pid).and_then(|open| open.map_or(Err(Doubt::Idle(pid)), |open| Ok(Some(open))))
            }
            Ok(Proof::Nothing) => Err(Doubt::NotRunning),
            Ok(Proof::Ended(pid)) => Err(Doubt::Ended(pid)),
            Ok(Proof::Elsewhere(pid)) => Err(Doubt::Elsewhere(pid)),
            Ok(Proof::Unproven(pid)) => Err(Doubt::Unproven(pid)),
            Err(illegible) => Err(Doubt::of_illegible(base, illegible)),
        };
        let open = open.unwrap_or_else(|doubt| {
            self.doubt = Some(doubt);
            None
        });
        let found = open.or_else(|| self.in_its_place(base, script));
        if let Err(Illegible::Closed(errno) | Illegible::Unread(errno)) = logger {
            self.deny_service(base, errno);
        }
        if let Some(found) = &found {
            let script = Script::read(script, base);
            self.doubt = self.doubt.take().filter(|doubt| !doubt.is_dispelled_by(found, &script));
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

    fn is_log(&mut self, path: &Path) -> bool {
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
        folders.into_iter().find(|path| self.is_log(path) && path.join(LOCK).exists())
    }

    fn named_in(&mut self, script: &Path, base: &Path) -> Option<PathBuf> {
        let is_away = self.doubt.as_ref().is_some_and(Doubt::is_away);
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

    /// Remembers that svlog may not enter a directory, or a directory above it.
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

    /// Remembers that svlog may learn nothing of the logger. If no log is found, that may be the reason.
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
        match (denied, &self.doubt) {
            (Some(denied), _) => denied.to_bytes(),
            (None, None | Some(Doubt::NotRunning)) => in_vain(service, why),
            (None, Some(doubt)) => in_vain(service, &self.words_of(doubt)),
        }
    }

    /// Why no log was found.
    fn why_in_vain(&self, service: &OsStr) -> Vec<u8> {
        match (self.denied.iter().chain(&self.less_likely).next(), &self.doubt) {
            (Some(denied), _) => denied.to_bytes(),
            (None, Some(doubt)) => in_vain(service, &self.words_of(doubt)),
            (None, None) => in_vain(service, b"no multilog wrote there"),
        }
    }
}

fn in_vain(service: &OsStr, why: &[u8]) -> Vec<u8> {
    [b"unable to find a log in ", service.as_bytes(), b": ", why].concat()
}

/// The first directory that the process has open. multilog opens its directories in the order of its script, and
/// usually most lines go to the first one.
fn opened_by(pid: Pid) -> Result<Option<PathBuf>, Doubt> {
    let folder = proc_path(pid, "fd");
    let entries = fs::read_dir(&folder).map_err(|error| Doubt::Unseen(pid, report::errno_of(&error)))?;
    let mut numbers: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    let mut away = None;
    for file in numbers.into_iter().map(|number| folder.join(number.to_string())) {
        let Ok(path) = fs::read_link(&file) else { continue };
        let (Some(name), Some(directory)) = (path.file_name().and_then(OsStr::to_str), path.parent()) else { continue };
        if !OPEN.contains(&name) {
            continue;
        }
        if !is_same(fs::metadata(&file), fs::symlink_metadata(&path)) {
            away = away.or_else(|| Some(directory.to_path_buf()));
        // multilog may be renaming `current` at this moment; then the lines are in `previous`.
        } else if [CURRENT, PREVIOUS].iter().any(|name| directory.join(name).is_file()) {
            return Ok(Some(directory.to_path_buf()));
        }
    }
    away.map_or(Ok(None), |path| Err(Doubt::Away(pid, path)))
}

/// The names of the logs: the last parts of their paths, or the paths as given if two logs had the same last part.
pub fn names(arguments: &[OsString]) -> Vec<Vec<u8>> {
    let short: Vec<Vec<u8>> = arguments.iter().map(|argument| last_part(argument)).collect();
    let mut sorted = short.clone();
    sorted.sort();
    let unique = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    if unique { short } else { arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect() }
}

fn last_part(argument: &OsStr) -> Vec<u8> {
    let real = || fs::canonicalize(argument).ok()?.file_name().map(OsStr::to_os_string);
    let part = Path::new(argument).file_name().map(OsStr::to_os_string).or_else(real);
    part.unwrap_or_else(|| argument.to_os_string()).into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_unless_they_would_be_the_same() {
        let of = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            names(&arguments).into_iter().map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of(&["/service/web/", "db"]), ["web", "db"]);
        assert_eq!(of(&["/service/web/log/main", "db/log/main"]), ["/service/web/log/main", "db/log/main"]);
        assert_eq!(of(&["/"]), ["/"]);
    }
}
