//! Looking at files of the service directory that may lead elsewhere. Such a file may be a link to a mount whose server is
//! gone, or its owner may have mounted a file system over it. supervise would wait there for ever and obey no command.
//!
//! So supervise looks itself only at what lies on the mount of the service directory, and never leaves that mount for it,
//! even if the file is exchanged meanwhile. At everything else a helper process looks, and sends what it has found. A
//! helper that has not answered is remembered, and nothing more is asked about its file until it has.

use daemontools::encoding::Encode;
use daemontools::files::{read_file, read_file_on_mount, stat_on_mount};
use daemontools::service::policy::{Kind, kind_of};
use daemontools::service::setting::LONGEST;
use daemontools::service::{DOWN, Helper, LOG, Unread};
use daemontools::sys::{is_passing, kind};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, stat};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long supervise waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a file says; `None` if there is no such file. A program says nothing, and is there if it can be executed.
pub type Said = Result<Option<Vec<u8>>, Unread>;

/// Files that lead elsewhere.
#[derive(Default)]
pub struct Elsewhere {
    /// The helpers that have not answered, and the files that they look at.
    waiting: Vec<(&'static str, Helper)>,
}

impl Elsewhere {
    /// What these files say. ETIMEDOUT: the file leads to a mount whose server does not answer.
    pub fn look(&mut self, files: impl Iterator<Item = &'static str>) -> Vec<(&'static str, Said)> {
        let (mut found, mut asked) = (Vec::new(), Vec::new());
        for file in files {
            match said(file, Files::OnMount) {
                Err(Unread::System(errno)) if errno == Errno::EXDEV || is_untold(errno) => asked.push(file),
                said => found.push((file, said)),
            }
        }
        self.waiting.retain(|(_, helper)| helper.is_waiting());
        let is_waiting = |file: &&'static str| self.waiting.iter().any(|(waiting, _)| waiting == file);
        let (silent, asked): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_waiting);
        found.extend(silent.into_iter().map(|file| (file, Err(Unread::System(Errno::ETIMEDOUT)))));
        if !asked.is_empty() {
            self.ask(&asked, &mut found);
        }
        found
    }

    /// Asks one helper about all files, as their servers nearly always answer. If it does not answer in time, it gets more
    /// time for its file, while each of the other files has a helper of its own.
    fn ask(&mut self, files: &[&'static str], found: &mut Vec<(&'static str, Said)>) {
        let deadline = Instant::now() + PATIENCE;
        let mut helper = start();
        let mut rest = files.iter().copied();
        let late = rest.by_ref().find(|file| {
            let answer = helper.as_mut().map_err(|errno| *errno).and_then(|helper| {
                helper.request(file.as_bytes(), deadline)?;
                helper.answer(deadline)
            });
            let is_late = answer == Err(Errno::ETIMEDOUT);
            if !is_late {
                found.push((file, decoded(answer)));
            }
            is_late
        });
        let (Some(late), Ok(helper)) = (late, helper) else { return };
        let deadline = Instant::now() + PATIENCE;
        let others = rest.map(|file| {
            let asked = start().and_then(|mut helper| helper.request(file.as_bytes(), deadline).map(|()| helper));
            (file, asked)
        });
        for (file, helper) in [(late, Ok(helper))].into_iter().chain(others).collect::<Vec<_>>() {
            let (answer, helper) = match helper {
                Ok(mut helper) => (helper.answer(deadline), Some(helper)),
                Err(errno) => (Err(errno), None),
            };
            self.waiting.extend(helper.filter(Helper::is_waiting).map(|helper| (file, helper)));
            found.push((file, decoded(answer)));
        }
    }
}

/// Whether the error means that the kernel does not tell which mount a path leads to, or that a filter forbids the question.
pub fn is_untold(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSYS | Errno::EPERM)
}

fn start() -> nix::Result<Helper> {
    Helper::start(|file| {
        let mut answer = Vec::new();
        said(std::str::from_utf8(file).ok()?, Files::Anywhere).encode(&mut answer);
        Some(answer)
    })
}

/// A helper that was killed has not answered.
fn decoded(answer: nix::Result<Vec<u8>>) -> Said {
    match answer {
        Ok(answer) => Said::decode(&mut answer.as_slice()).unwrap_or(Err(Unread::System(Errno::EIO))),
        Err(Errno::EPIPE | Errno::ECONNRESET) => Err(Unread::System(Errno::ETIMEDOUT)),
        Err(errno) => Err(Unread::System(errno)),
    }
}

/// Where files are looked for.
#[derive(Clone, Copy)]
enum Files {
    /// On the mount of the service directory.
    OnMount,
    /// Wherever they lead to.
    Anywhere,
}

impl Files {
    fn stat(self, file: &str) -> nix::Result<FileStat> {
        match self {
            Files::OnMount => stat_on_mount(file),
            Files::Anywhere => stat(file),
        }
    }

    fn read(self, file: &str) -> Result<Vec<u8>, Unread> {
        match self {
            Files::OnMount => read_file_on_mount(Path::new(file), LONGEST),
            Files::Anywhere => read_file(Path::new(file), LONGEST),
        }
    }

    /// Whether the error says nothing of the file itself.
    fn is_no_answer(self, errno: Errno) -> bool {
        let is_elsewhere = match self {
            Files::OnMount => errno == Errno::EXDEV || is_untold(errno),
            Files::Anywhere => false,
        };
        is_elsewhere || is_passing(errno)
    }
}

/// What a file says.
fn said(file: &str, files: Files) -> Said {
    if file == DOWN {
        return match files.stat(file) {
            Ok(_) => Ok(Some(Vec::new())),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        };
    }
    if file == LOG || kind_of(file) == Some(Kind::Program) {
        return Ok(is_executable(file, files)?.then(Vec::new));
    }
    if kind_of(file) == Some(Kind::Mark) {
        match files.stat(file) {
            Ok(_) => {}
            Err(errno) if files.is_no_answer(errno) => return Err(errno.into()),
            Err(_) => return Ok(None),
        }
        // It is there, also if it was removed just now.
        return files.read(file).map_or_else(
            |unread| if unread.is_missing() { Ok(Some(Vec::new())) } else { Err(unread) },
            |text| Ok(Some(text)),
        );
    }
    Unread::unless_missing(files.read(file))
}

/// Whether a file can be executed. `start`, `stop` and the like are run only then.
///
/// Source: daemontools-encore.
///
/// # Errors
/// EIO, ENOMEM …: that cannot be told now.
fn is_executable(program: &str, files: Files) -> nix::Result<bool> {
    match files.stat(program) {
        Ok(file) => Ok(kind::is_regular(&file) && file.st_mode & 0o111 != 0),
        Err(errno) if files.is_no_answer(errno) => Err(errno),
        Err(_) => Ok(false),
    }
}
