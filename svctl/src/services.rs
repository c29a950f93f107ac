//! Which services there are, and which of them a word means.

use crate::missing;
use crate::text::{quoted, shown};
use daemontools::report::{PERMANENT, TEMPORARY, errno_of};
use daemontools::service::{
    DOWN, Directory, LOG_SUPERVISE, SUPERVISE, look_for_mounts, may_be_service, service_answers,
};
use daemontools::sys::fnmatch::fnmatch;
use daemontools::{Attempt, Fatal, sys};
use nix::errno::Errno;
use std::env;
use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The variable that says where the services are, as for runit's sv.
const VARIABLE: &str = "SVDIR";
/// Where they are otherwise: the first that exists.
const USUAL: [&str; 3] = ["/service", "/etc/service", "/var/service"];

/// What svscan makes in the directory that it serves.
const SVSCAN: &str = ".svscan";

/// One service: the name that it is shown by, and its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name.
    pub name: OsString,
    /// The path, which begins with a slash.
    pub path: PathBuf,
    /// Whether it may be touched.
    pub reach: Reach,
}

/// Whether a service directory may be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It may.
    Answers,
    /// It lies on a mount whose server does not answer, or something in it does: a process that touches it waits, perhaps
    /// for ever.
    Hangs,
}

impl Service {
    /// The service in the directory at this path, which is its name too; `None` if there is no such directory.
    ///
    /// # Errors
    /// The current directory, in which a relative path begins, has no path.
    pub fn at_path(path: &OsStr) -> Result<Option<Service>, Fatal> {
        let (name, path) = (path.into(), std::path::absolute(path).unable_to("find", path)?);
        let service = Service { name, reach: reach(&path), path };
        Ok(Some(service).filter(Service::is_there))
    }

    /// Whether there is such a directory. One that does not answer counts as there.
    fn is_there(&self) -> bool {
        self.reach == Reach::Hangs || self.path.is_dir()
    }
}

/// Whether a directory was supervised as a service, and is not served by an svscan.
fn is_service(directory: &Path) -> bool {
    let has = |name: &str| directory.join(name).symlink_metadata().is_ok();
    may_be_service(directory) && has(SUPERVISE) && !has(SVSCAN)
}

/// Whether a service directory may be touched, and what svctl looks at in it: any of that may be a link to elsewhere. The way
/// to `log/supervise` leads through `log`.
fn reach(path: &Path) -> Reach {
    if service_answers(path, &[DOWN, SUPERVISE, LOG_SUPERVISE]) { Reach::Answers } else { Reach::Hangs }
}

/// Whether a word is a path to a service, and not its name.
pub fn is_path(word: &OsStr) -> bool {
    word.as_bytes().starts_with(b"/") || word.as_bytes().starts_with(b".")
}

/// The scan directory.
#[derive(Debug)]
pub struct Services {
    directory: PathBuf,
    /// The directory as it was said with `-d`.
    said: Option<OsString>,
}

impl Services {
    /// Finds the scan directory.
    ///
    /// # Errors
    /// There is none.
    pub fn find(said: Option<&OsStr>) -> Result<Services, Fatal> {
        let option = said.map(OsStr::to_os_string);
        let said = said
            .map(PathBuf::from)
            .or_else(|| env::var_os(VARIABLE).filter(|directory| !directory.is_empty()).map(PathBuf::from));
        let is_there = |directory: &PathBuf| reach(directory) == Reach::Hangs || directory.is_dir();
        let usual = || USUAL.into_iter().map(PathBuf::from).find(is_there);
        let directory = said.or_else(usual).ok_or_else(|| {
            let places = USUAL.join(", ");
            let words = format!("none of {places} exists: say with -d DIR or $SVDIR where the services are");
            Fatal::new(PERMANENT, &[words.as_bytes()])
        })?;
        let directory = std::path::absolute(&directory).unable_to("find", &directory)?;
        if reach(&directory) == Reach::Hangs {
            return Err(Fatal::new(TEMPORARY, &[directory.as_os_str().as_bytes(), HANGS.as_bytes()]));
        }
        if !directory.is_dir() {
            let words = [b"no directory ", directory.as_os_str().as_bytes()].concat();
            return Err(Fatal::new(PERMANENT, &[&words]));
        }
        if is_service(&directory) {
            let name = directory.as_os_str().as_bytes();
            return Err(Fatal::new(PERMANENT, &[name, b" is a service: name the directory that it is in"]));
        }
        Ok(Services { directory, said: option })
    }

    /// Looks for mounts that are new or gone.
    pub fn refresh(&self) {
        look_for_mounts();
    }

    /// Whether a service directory may be touched now.
    pub fn reach(&self, path: &Path) -> Reach {
        reach(path)
    }

    /// Whether it may be meant to be served by an svscan: one has served it, or it is where services are unless another
    /// directory is named.
    pub fn is_meant_for_svscan(&self) -> bool {
        let usual = || USUAL.into_iter().map(PathBuf::from).chain(env::var_os(VARIABLE).map(PathBuf::from));
        let is_usual = || usual().any(|usual| std::path::absolute(usual).is_ok_and(|usual| usual == self.directory));
        self.directory.join(SVSCAN).symlink_metadata().is_ok() || is_usual()
    }

    /// The scan directory's path.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The command of svctl that these words are, for a user to type in the same shell: `svctl -d DIR status`.
    pub fn command(&self, words: &str) -> String {
        match &self.said {
            Some(directory) => format!("svctl -d {} {words}", quoted(&shown(directory.as_bytes()))),
            None => format!("svctl {words}"),
        }
    }

    /// The services that these words mean, in their order; all of them, by name, if there is no word. What means none is
    /// in the second list, in words.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn choose(&self, words: &[OsString]) -> Result<(Vec<Service>, Vec<Vec<u8>>), Fatal> {
        if words.is_empty() {
            return Ok((self.all()?, Vec::new()));
        }
        let (mut chosen, mut missing) = (Vec::new(), Vec::new());
        for word in words {
            let found = self.meant(word)?;
            if found.is_empty() {
                missing.push(self.why_none(words, word)?);
            }
            // A service that two words mean is meant once.
            for service in found {
                if !chosen.iter().any(|other: &Service| other.path == service.path) {
                    chosen.push(service);
                }
            }
        }
        Ok((chosen, missing))
    }

    /// As [`choose`](Services::choose), where a word that means no service is a mistake.
    ///
    /// # Errors
    /// A word means no service: exit 100. The directory cannot be read, or a service does not answer.
    pub fn choose_existing(&self, words: &[OsString]) -> Result<Vec<Service>, Fatal> {
        match self.choose(words)? {
            (chosen, missing) if missing.is_empty() => all_answer(&chosen).map(|()| chosen),
            (_, missing) => Err(Fatal::new(PERMANENT, &[&missing.join(&b"; "[..])])),
        }
    }

    /// The service that an entry of this name is, whether there is one or not.
    pub fn named(&self, name: &OsStr) -> Service {
        self.service(name.as_bytes().to_vec())
    }

    /// The directories to which the entries lead.
    ///
    /// # Errors
    /// The scan directory cannot be read.
    pub fn directories(&self) -> Result<Directories, Fatal> {
        let directory = |service: Service| Some((service.name, Directory::at(&service.path).ok()?));
        let answering = self.all()?.into_iter().filter(|service| service.reach == Reach::Answers);
        Ok(Directories(answering.filter_map(directory).collect()))
    }

    /// As [`choose_existing`](Services::choose_existing), and beside the services the entries that are links to nothing.
    ///
    /// # Errors
    /// As for [`choose_existing`](Services::choose_existing).
    pub fn choose_with_dangling(&self, words: &[OsString]) -> Result<(Vec<Service>, Vec<Service>), Fatal> {
        let (mut chosen, mut dangling): (Vec<Service>, Vec<Service>) = (Vec::new(), Vec::new());
        for word in words {
            let (found, missing) = self.choose(std::slice::from_ref(word))?;
            let links: Vec<Service> = self.entries()?.into_iter().filter(|entry| is_dangling(entry, word)).collect();
            if !missing.is_empty() && links.is_empty() {
                return Err(Fatal::new(PERMANENT, &[&missing.join(&b"; "[..])]));
            }
            let is_new = |service: &Service, known: &[Service]| known.iter().all(|other| other.path != service.path);
            chosen.extend(found.into_iter().filter(|service| is_new(service, &chosen)).collect::<Vec<_>>());
            dangling.extend(links.into_iter().filter(|service| is_new(service, &dangling)).collect::<Vec<_>>());
        }
        all_answer(&chosen).map(|()| (chosen, dangling))
    }

    fn meant(&self, word: &OsStr) -> Result<Vec<Service>, Fatal> {
        let bytes = word.as_bytes();
        if is_path(word) {
            return Ok(Vec::from_iter(Service::at_path(word)?));
        }
        if is_pattern(bytes) {
            return Ok(self.all()?.into_iter().filter(|service| fnmatch(bytes, service.name.as_bytes())).collect());
        }
        let service = self.service(trimmed(bytes).to_vec());
        Ok(Vec::from_iter(Some(service).filter(|service| !bytes.is_empty() && service.is_there())))
    }

    /// The services in the directory, by name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn all(&self) -> Result<Vec<Service>, Fatal> {
        Ok(self.entries()?.into_iter().filter(Service::is_there).collect())
    }

    /// The entries of the directory, by name: svscan leaves out names that begin with a dot too.
    fn entries(&self) -> Result<Vec<Service>, Fatal> {
        let mut names = Vec::new();
        let visit = |name: &[u8]| {
            if !name.starts_with(b".") {
                names.push(name.to_vec());
            }
            ControlFlow::Continue(())
        };
        sys::directory::for_each_name(&self.directory, visit).unable_to("read directory", &self.directory)?;
        names.sort();
        Ok(names.into_iter().map(|name| self.service(name)).collect())
    }

    fn service(&self, name: Vec<u8>) -> Service {
        let name = OsString::from_vec(name);
        let path = self.directory.join(&name);
        Service { name, reach: reach(&path), path }
    }

    /// Why one of these words means no service: `no service wbe in /service: did you mean web?`.
    fn why_none(&self, words: &[OsString], word: &OsStr) -> Result<Vec<u8>, Fatal> {
        let no_service = [b"no service ", word.as_bytes(), b" in ", self.directory.as_os_str().as_bytes()].concat();
        let names: Vec<OsString> = self.all()?.into_iter().map(|service| service.name).collect();
        let path = self.directory.join(OsStr::from_bytes(trimmed(word.as_bytes())));
        let what = if word.is_empty() { None } else { what_it_is(&path) };
        let more = what.or_else(|| missing::meant(words, word, &names));
        Ok([no_service, more.map(|more| format!(": {more}").into_bytes()).unwrap_or_default()].concat())
    }
}

/// What lies at a path where no service is. A path that hangs is a service.
fn what_it_is(path: &Path) -> Option<String> {
    if let Ok(target) = std::fs::read_link(path) {
        let target = shown(target.as_os_str().as_bytes());
        let leads_nowhere = std::fs::metadata(path).is_err();
        return Some(if leads_nowhere {
            format!("it is a link to {target}, where nothing is")
        } else {
            format!("it is a link to {target}, which is no directory")
        });
    }
    path.symlink_metadata().is_ok().then(|| "it is no directory".into())
}

/// What is said of a directory that hangs, behind its name.
const HANGS: &str = " does not answer: the server of its file system may be gone";

/// Refuses services that hang.
fn all_answer(chosen: &[Service]) -> Result<(), Fatal> {
    match chosen.iter().find(|service| service.reach == Reach::Hangs) {
        Some(service) => Err(Fatal::new(TEMPORARY, &[service.name.as_bytes(), HANGS.as_bytes()])),
        None => Ok(()),
    }
}

/// The directories to which the entries of a scan directory lead, by the names of the entries.
pub struct Directories(Vec<(OsString, Directory)>);

impl Directories {
    /// The names of the entries that lead to this directory. svscan serves a directory only once, and as long as one entry
    /// leads to it.
    ///
    /// # Errors
    /// The directory cannot be examined.
    pub fn leading_to(&self, directory: &Path) -> Result<impl Iterator<Item = &OsStr>, Fatal> {
        let there = Directory::at(directory).unable_to("examine", directory)?;
        let is_same = move |(_, its): &&(OsString, Directory)| its.is_same_as(&there);
        Ok(self.0.iter().filter(is_same).map(|(name, _)| name.as_os_str()))
    }
}

fn is_pattern(word: &[u8]) -> bool {
    word.iter().any(|byte| b"*?[".contains(byte))
}

/// Whether a word means an entry that is a link to nothing.
fn is_dangling(entry: &Service, word: &OsStr) -> bool {
    let (name, word) = (entry.name.as_bytes(), word.as_bytes());
    let is_meant = if is_pattern(word) { fnmatch(word, name) } else { trimmed(word) == name };
    let leads_nowhere = || std::fs::metadata(&entry.path).is_err_and(|error| NOWHERE.contains(&errno_of(&error)));
    is_meant && entry.reach == Reach::Answers && entry.path.is_symlink() && leads_nowhere()
}

/// Why a link has no end: what it names is not there, or it leads to itself.
const NOWHERE: [Errno; 3] = [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP];

/// A name without the slashes that completion puts behind it.
fn trimmed(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    name.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services() -> (tempfile::TempDir, Services) {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["web", "web/log", "worker-1", "worker-2", ".hidden"] {
            std::fs::create_dir(scratch.path().join(name)).unwrap();
        }
        std::fs::write(scratch.path().join("README"), "no service").unwrap();
        let services = Services::find(Some(scratch.path().as_os_str())).unwrap();
        (scratch, services)
    }

    fn chosen(services: &Services, words: &str) -> (Vec<String>, usize) {
        let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        let (chosen, missing) = services.choose(&words).unwrap();
        (chosen.into_iter().map(|service| service.name.into_string().unwrap()).collect(), missing.len())
    }

    #[test]
    fn words_are_names_patterns_or_paths() {
        let (scratch, services) = services();
        let path = scratch.path().join("web").into_os_string().into_string().unwrap();
        for (words, names, missing) in [
            ("", vec!["web", "worker-1", "worker-2"], 0),
            ("web", vec!["web"], 0),
            ("web/", vec!["web"], 0),
            ("web/log", vec!["web/log"], 0),
            ("worker-* web", vec!["worker-1", "worker-2", "web"], 0),
            ("worker-[2-9]", vec!["worker-2"], 0),
            ("README", vec![], 1),
            ("wbe nothing-*", vec![], 2),
            (&path, vec![&path], 0),
        ] {
            assert_eq!(chosen(&services, words), (names.into_iter().map(str::to_string).collect(), missing), "{words}");
        }
    }

    #[test]
    fn what_is_not_there_may_be_misspelt() {
        let (scratch, services) = services();
        let directory = scratch.path().to_str().unwrap();
        for (word, expected) in [
            ("wbe", format!("no service wbe in {directory}: did you mean web?")),
            ("strat", format!("no service strat in {directory}: did you mean start?")),
            ("nothing", format!("no service nothing in {directory}")),
        ] {
            assert_eq!(
                String::from_utf8(services.why_none(&[word.into()], OsStr::new(word)).unwrap()).unwrap(),
                expected
            );
        }
    }
}
