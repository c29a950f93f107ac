//! Reading a service directory's settings.

use crate::policy::{self, MARKS, PROGRAMS, Policy, SETTINGS};
use daemontools::report::reason;
use daemontools::service::setting::{self, LONGEST};
use daemontools::service::{LOG, Part, Record, Toucher, Unread, Want, read_file};
use daemontools::sys::directory::for_each_name;
use daemontools::sys::{is_passing, kind, open_files};
use nix::errno::Errno;
use nix::sys::stat::{lstat, stat};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is wrong with a file of the service directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Complaint {
    /// A setting that cannot be understood or read.
    Refused {
        file: &'static str,
        why: &'static str,
        /// What the file said before counts still.
        is_kept: bool,
    },
    /// A file that is no setting, by its name, and the setting that was probably meant.
    Misspelt(Vec<u8>, &'static str),
}

/// Why it is not known what a file says.
enum Refusal {
    /// The file cannot be read now.
    Passing(Errno),
    /// The file cannot be read or understood, for this reason.
    Lasting(&'static str),
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Refusal {
        match unread {
            Unread::System(errno) if errno == Errno::ETIMEDOUT || is_passing(errno) => Refusal::Passing(errno),
            Unread::System(_) | Unread::WrongKind | Unread::TooLong => Refusal::Lasting(unread.reason()),
        }
    }
}

/// The settings in force, and what they ask for.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub policy: Policy,
    /// File and first line of each, as they are written down for the next supervise.
    pub files: Vec<(String, String)>,
}

impl Settings {
    /// The settings that an earlier life had, or an earlier supervise wrote down.
    pub fn recall(files: &[(String, String)]) -> Settings {
        Settings { policy: Policy::of(files), files: files.to_vec() }
    }

    /// What a file said before counts still. Returns whether it said anything that can be taken.
    fn keep(&mut self, file: &'static str, before: &[(String, String)]) -> bool {
        let known = before.iter().find(|(known, _)| known == file);
        known.is_some_and(|(_, text)| self.take(file, text).is_ok())
    }

    fn take(&mut self, file: &'static str, text: &str) -> Result<(), &'static str> {
        let mut policy = self.policy.clone();
        policy.set(file, text)?;
        if policy.notification_fd.and_then(|number| u64::try_from(number).ok()) >= Some(open_files()) {
            return Err("beyond the limit of open files");
        }
        self.policy = policy;
        self.files.push((file.into(), setting::value(text).into()));
        Ok(())
    }
}

/// The settings of one part of a service: those that count for its process, and how they are read anew for the next
/// one.
pub struct Configuration {
    part: Part,
    settings: Settings,
    links: Links,
    /// What is wrong with settings that were read just now, for the first start.
    first_complaints: Option<Vec<Complaint>>,
}

impl Configuration {
    /// What the files say, for a service that begins.
    pub fn read(part: Part, want: Want) -> Configuration {
        let mut links = Links::default();
        let Reading { settings, complaints, is_whole } = read_part(part, &[], &mut links);
        // Wanted down, the service may be started long after this. What could not be read is read again before the start.
        let first_complaints = (want == Want::Up && is_whole).then_some(complaints);
        Configuration { part, settings, links, first_complaints }
    }

    /// What counts for the process in a record: the settings with which it was started. Without a process, what the
    /// files say.
    pub fn of_record(part: Part, record: &Record) -> Configuration {
        let settings = match record.process {
            Some(_) => Settings::recall(&record.settings),
            None => read_part(part, &record.settings, &mut Links::default()).settings,
        };
        Configuration { part, settings, links: Links::default(), first_complaints: None }
    }

    /// Reads the files for the next process, unless they were read just now; what is wrong with them.
    pub fn renew(&mut self) -> Vec<Complaint> {
        self.first_complaints.take().unwrap_or_else(|| {
            let read = read_part(self.part, &self.settings.files, &mut self.links);
            self.settings = read.settings;
            read.complaints
        })
    }

    /// What the settings ask for.
    pub fn policy(&self) -> &Policy {
        &self.settings.policy
    }

    /// File and first line of each setting.
    pub fn files(&self) -> &[(String, String)] {
        &self.settings.files
    }
}

/// The settings are the service's; of them its logger has only `notify`. `before` are those that have counted so far.
fn read_part(part: Part, before: &[(String, String)], links: &mut Links) -> Reading {
    let read = read(before, links);
    match part {
        Part::Service => read,
        Part::Logger => {
            let notify = read.settings.files.into_iter().filter(|(file, _)| file == "notify").collect::<Vec<_>>();
            Reading { settings: Settings::recall(&notify), complaints: Vec::new(), ..read }
        }
    }
}

/// The limit below which the numbers of descriptors lie, those of supervise and of the service.
fn open_files() -> u64 {
    open_files::limit().unwrap_or(u64::MAX)
}

/// What was read of the files.
pub struct Reading {
    pub settings: Settings,
    complaints: Vec<Complaint>,
    /// There was no file that could not be read just now.
    is_whole: bool,
}

/// What the files of the current directory say. A file that cannot be understood is ignored. For a file that cannot be
/// read now, as supervise has no descriptors left, or as it is a link to a mount whose server does not answer, what it said
/// `before` counts still.
pub fn read(before: &[(String, String)], links: &mut Links) -> Reading {
    let there = Names::list();
    let mut settings = Settings::default();
    let all = || PROGRAMS.into_iter().chain(MARKS).chain(SETTINGS).filter(|name| there.may_have(name));
    let silent = links.silent(all());
    let (mut complaints, mut is_whole): (Vec<Complaint>, bool) = (there.misspelt().collect(), true);
    for file in all() {
        let said = if silent.contains(&file) { Err(Refusal::Passing(Errno::ETIMEDOUT)) } else { text_of(file) };
        let taken =
            said.and_then(|text| text.map_or(Ok(()), |text| settings.take(file, &text).map_err(Refusal::Lasting)));
        match taken {
            Ok(()) => {}
            Err(Refusal::Lasting(why)) => complaints.push(Complaint::Refused { file, why, is_kept: false }),
            Err(Refusal::Passing(errno)) => {
                is_whole = false;
                let is_kept = settings.keep(file, before);
                complaints.push(Complaint::Refused { file, why: reason(errno), is_kept });
            }
        }
    }
    Reading { settings, complaints, is_whole }
}

/// What a file of this name says, if there is such a file. Only that it is there counts for a program, and for a mark of
/// which the text cannot be read.
fn text_of(file: &'static str) -> Result<Option<String>, Refusal> {
    if PROGRAMS.contains(&file) {
        return Ok(is_executable(file).map_err(Refusal::Passing)?.then(String::new));
    }
    if !MARKS.contains(&file) {
        return text(file);
    }
    match stat(file) {
        Ok(_) => {}
        Err(errno) if is_passing(errno) => return Err(Refusal::Passing(errno)),
        Err(_) => return Ok(None),
    }
    match text(file) {
        Ok(said) => Ok(Some(said.unwrap_or_default())),
        Err(Refusal::Lasting(_)) => Ok(Some(String::new())),
        Err(Refusal::Passing(errno)) => Err(Refusal::Passing(errno)),
    }
}

/// Files of the current directory that are links. A link may lead to a mount whose server is gone, where supervise
/// would wait and obey no command. So a child touches what they lead to.
#[derive(Default)]
pub struct Links {
    /// The children that have not come back, and the links that they have followed.
    waiting: Vec<(&'static str, Toucher)>,
}

/// How long supervise waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

impl Links {
    /// Those of these files that are links to a mount whose server does not answer.
    pub fn silent(&mut self, files: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
        self.waiting.retain(|(_, child)| !child.has_ended(Duration::ZERO));
        let is_asked = |name: &&str| !self.waiting.iter().any(|(waiting, _)| waiting == name);
        let (asked, mut silent): (Vec<&str>, Vec<&str>) = files.filter(|name| is_link(name)).partition(is_asked);
        if !asked.is_empty() && !answer(&asked) {
            let until = Instant::now() + PATIENCE;
            let children = asked.into_iter().map(|name| (name, Toucher::start([Path::new(name)])));
            for (name, child) in children.collect::<Vec<_>>() {
                match child {
                    Ok(child) if !child.has_ended(until.saturating_duration_since(Instant::now())) => {
                        self.waiting.push((name, child));
                        silent.push(name);
                    }
                    Ok(child) => silent.extend((child.has_answer() != Ok(true)).then_some(name)),
                    Err(_) => silent.push(name),
                }
            }
        }
        silent
    }
}

/// Whether the servers of all these links answer, as they nearly always do. One child asks for all.
fn answer(links: &[&'static str]) -> bool {
    let child = Toucher::start(links.iter().map(Path::new));
    child.is_ok_and(|child| child.has_ended(PATIENCE) && child.has_answer() == Ok(true))
}

/// Whether a file is a link. No link is followed for this.
fn is_link(name: &str) -> bool {
    lstat(name).is_ok_and(|file| kind::is_link(&file))
}

/// Whether this is a file, or a link. No link is followed for this.
fn is_file(name: &[u8]) -> bool {
    lstat(name).is_ok_and(|file| kind::is_regular(&file) || kind::is_link(&file))
}

/// The names in the current directory. They are listed at once, so that supervise need not ask for two dozen files one
/// by one at each restart.
struct Names(Option<Vec<Vec<u8>>>);

/// A directory of more names than this is not listed.
const MOST_NAMES: usize = 64;

impl Names {
    fn list() -> Names {
        let mut names = Vec::new();
        let listed = for_each_name(".", |name| {
            names.push(name.to_vec());
            if names.len() > MOST_NAMES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        Names((listed.is_ok() && names.len() <= MOST_NAMES).then_some(names))
    }

    /// Whether there is a file of this name, or may be.
    fn may_have(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.iter().any(|known| known == name.as_bytes()))
    }

    /// Files that were probably meant for settings that are not there.
    fn misspelt(&self) -> impl Iterator<Item = Complaint> {
        let names = self.0.iter().flatten();
        let meant = names.filter_map(|name| policy::meant_by(name).map(|meant| (name.clone(), meant)));
        let meant = meant.filter(|(name, meant)| !self.may_have(meant) && is_file(name));
        meant.map(|(name, meant)| Complaint::Misspelt(name, meant))
    }
}

/// Whether a file can be executed. `start`, `stop` and the like are run only then.
///
/// Source: daemontools-encore.
///
/// # Errors
/// EIO, ENOMEM …: that cannot be told now.
fn is_executable(program: &str) -> nix::Result<bool> {
    match stat(program) {
        Ok(file) => Ok(kind::is_regular(&file) && file.st_mode & 0o111 != 0),
        Err(errno) if is_passing(errno) => Err(errno),
        Err(_) => Ok(false),
    }
}

/// Whether there is a `log` for this supervise to run: an executable file. The original knows only directories of that
/// name.
pub fn has_logger() -> bool {
    Links::default().silent([LOG].into_iter()).is_empty() && is_executable(LOG) == Ok(true)
}

/// The text of a setting, if there is such a file.
fn text(setting: &str) -> Result<Option<String>, Refusal> {
    match read_file(Path::new(setting), LONGEST) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| Refusal::Lasting("not text")),
        Err(unread) if unread.is_missing() => Ok(None),
        Err(unread) => Err(unread.into()),
    }
}
