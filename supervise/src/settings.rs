//! Reading a service directory's settings.

use crate::elsewhere::{self, Elsewhere};
use daemontools::files::lstat_on_mount;
use daemontools::report::reason;
use daemontools::service::policy::{ABSTRACT, Kind, Policy, SETTINGS, kind_of, meant_by};
use daemontools::service::setting;
use daemontools::service::{DOWN, Held, LOG, Part, RUN, Record, Unread, Want};
use daemontools::sys::directory::for_each_name;
use daemontools::sys::{kind, open_files};
use nix::errno::Errno;
use nix::sys::stat::lstat;
use std::ops::ControlFlow;

/// What is wrong with a file of the service directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Complaint {
    /// A setting that cannot be understood or read.
    Refused {
        file: &'static str,
        why: &'static str,
        /// What the file said before still counts.
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
            Unread::System(errno) if !is_about_the_file(errno) => Refusal::Passing(errno),
            Unread::System(_) | Unread::WrongKind | Unread::TooLong => Refusal::Lasting(unread.reason()),
        }
    }
}

/// Whether this error says what is wrong with the file. Any other one may pass.
fn is_about_the_file(errno: Errno) -> bool {
    use Errno::{EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENODEV, ENOENT, ENOTDIR, ENXIO, EPERM};
    matches!(errno, EACCES | EISDIR | ELOOP | ENAMETOOLONG | ENODEV | ENOENT | ENOTDIR | ENXIO | EPERM)
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

    /// Keeps what a file said `before`. Returns whether that was a setting that can be accepted.
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
    elsewhere: Elsewhere,
    /// What is wrong with the settings that were read just now, if they are those for the first start.
    first_complaints: Option<Vec<Complaint>>,
}

impl Configuration {
    /// What the files say, for a service that begins.
    pub fn read(part: Part, want: Want) -> Configuration {
        let mut elsewhere = Elsewhere::default();
        let Reading { settings, complaints, is_whole } = read_part(part, &[], &mut elsewhere);
        // Wanted down, the service may be started long after this. What could not be read is read again before the start.
        let first_complaints = (want == Want::Up && is_whole).then_some(complaints);
        Configuration { part, settings, elsewhere, first_complaints }
    }

    /// What counts for the life in a record: the settings with which it was started. Without one, what the files say.
    pub fn of_record(part: Part, record: &Record) -> Configuration {
        let is_alive = record.has_any() || record.active || record.held == Some(Held::Stopping);
        let settings = if is_alive {
            Settings::recall(&record.settings)
        } else {
            read_part(part, &record.settings, &mut Elsewhere::default()).settings
        };
        Configuration { part, settings, elsewhere: Elsewhere::default(), first_complaints: None }
    }

    /// Reads the files for the next process, unless they were read just now; what is wrong with them.
    pub fn renew(&mut self) -> Vec<Complaint> {
        self.first_complaints.take().unwrap_or_else(|| {
            let read = read_part(self.part, &self.settings.files, &mut self.elsewhere);
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
fn read_part(part: Part, before: &[(String, String)], elsewhere: &mut Elsewhere) -> Reading {
    let read = read(before, elsewhere);
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
/// read now, as supervise has no descriptors left, or as it leads to a mount whose server does not answer, what it said
/// `before` still counts.
pub fn read(before: &[(String, String)], elsewhere: &mut Elsewhere) -> Reading {
    let there = Names::list();
    let mut settings = Settings::default();
    let counts = |name: &&str| *name != ABSTRACT || !there.has_run();
    let all = || {
        let names = SETTINGS.into_iter().map(|setting| setting.file);
        names.filter(|name| there.may_have(name)).filter(counts)
    };
    let mut said = elsewhere.look(all());
    let (mut complaints, mut is_whole): (Vec<Complaint>, bool) = (there.misspelt().collect(), true);
    for file in all() {
        let found = said.iter().position(|(known, _)| *known == file).map(|index| said.swap_remove(index).1);
        let text = found.map_or(Ok(None), |said| text_of(file, said));
        let taken =
            text.and_then(|text| text.map_or(Ok(()), |text| settings.take(file, &text).map_err(Refusal::Lasting)));
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

/// What a file of this name says, if there is such a file. Only that it is there counts for a mark of which the text
/// cannot be read.
fn text_of(file: &str, said: elsewhere::Said) -> Result<Option<String>, Refusal> {
    let text = match said {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => String::from_utf8(bytes).map_err(|_| Refusal::Lasting("not text")),
        Err(unread) => Err(unread.into()),
    };
    match text {
        Err(Refusal::Lasting(_)) if kind_of(file) == Some(Kind::Mark) => Ok(Some(String::new())),
        text => text.map(Some),
    }
}

/// Whether this is a file, or a link. No link is followed for this. What is mounted over a file is no file.
fn is_file(name: &[u8]) -> bool {
    let file = match lstat_on_mount(name) {
        Err(errno) if elsewhere::is_untold(errno) => lstat(name),
        file => file,
    };
    file.is_ok_and(|file| kind::is_regular(&file) || kind::is_link(&file))
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

    /// Whether there is, or may be, a file of this name.
    fn may_have(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.iter().any(|known| known == name.as_bytes()))
    }

    /// Whether there is a `run`, so that the service is no state.
    fn has_run(&self) -> bool {
        if self.0.is_some() { self.may_have(RUN) } else { lstat(RUN) != Err(Errno::ENOENT) }
    }

    /// Files that were probably meant for settings that are not there.
    fn misspelt(&self) -> impl Iterator<Item = Complaint> {
        let names = self.0.iter().flatten();
        let meant = names.filter_map(|name| meant_by(name).map(|meant| (name.clone(), meant)));
        let meant = meant.filter(|(name, meant)| !self.may_have(meant) && is_file(name));
        meant.map(|(name, meant)| Complaint::Misspelt(name, meant))
    }
}

/// Whether there is a `log` for this supervise to run: an executable file. The original knows only directories of that
/// name.
pub fn has_logger() -> bool {
    matches!(only(LOG), Ok(Some(_)))
}

/// Whether there is a file `down`.
///
/// # Errors
/// ETIMEDOUT: it leads to a mount whose server does not answer. EACCES and others: that cannot be told.
pub fn is_normally_down() -> nix::Result<bool> {
    Ok(only(DOWN)?.is_some())
}

fn only(file: &'static str) -> elsewhere::Said {
    let said = Elsewhere::default().look([file].into_iter());
    said.into_iter().next().map_or(Ok(None), |(_, said)| said)
}
