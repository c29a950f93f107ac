//! Reading a service directory's settings.

use crate::policy::{Policy, SETTINGS};
use daemontools::report;
use daemontools::sys::directory::for_each_name;
use nix::fcntl::OFlag;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};

/// More than any setting needs; what is longer is refused.
const LONGEST: u64 = 4096;

/// A setting that cannot be understood, and why.
pub type Complaint = (&'static str, &'static str);

/// What the files of the current directory say. What cannot be understood counts as not said.
pub fn read() -> (Policy, Vec<Complaint>) {
    let there = Names::list();
    let is_program = |name| there.may_have(name) && is_executable(name);
    let is_there = |name| there.may_have(name) && std::fs::metadata(name).is_ok();
    let mut complaints = Vec::new();
    let mut policy = Policy {
        has_start: is_program("start"),
        has_finish: is_program("finish"),
        has_stop: is_program("stop"),
        has_check: is_program("check"),
        has_notify: is_program("notify"),
        notify_socket: is_there("notify-socket"),
        ..Policy::default()
    };
    for setting in SETTINGS.into_iter().filter(|setting| there.may_have(setting)) {
        let taken = text(setting).and_then(|text| text.map_or(Ok(()), |text| policy.set(setting, &text)));
        if let Err(why) = taken {
            complaints.push((setting, why));
        }
    }
    policy.own_session = is_there("setsid") || policy.scope == crate::policy::Scope::Group;
    policy.own_session &= !is_there("no-setsid");
    (policy, complaints)
}

/// The names in the current directory, so that two dozen need not be asked for one by one at each restart.
struct Names(Option<Vec<Vec<u8>>>);

/// A directory of more names than any service has is not gone through.
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

    /// Whether this is one of them, or may be.
    fn may_have(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.iter().any(|known| known == name.as_bytes()))
    }
}

/// encore runs `start`, `stop` and the like only where they are executable files.
fn is_executable(program: &str) -> bool {
    std::fs::metadata(program).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Whether there is a `log` for this supervise to run: a file, where the original knows only directories.
pub fn has_logger() -> bool {
    is_executable("log")
}

/// The text of a setting, if there is such a file.
fn text(setting: &str) -> Result<Option<String>, &'static str> {
    let opened = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(setting);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(report::reason(report::errno_of(&error))),
    };
    match file.metadata() {
        Ok(metadata) if !metadata.is_file() => return Err("not a file"),
        Ok(metadata) if metadata.size() > LONGEST => return Err("too long"),
        Ok(_) => {}
        Err(error) => return Err(report::reason(report::errno_of(&error))),
    }
    let mut bytes = Vec::new();
    match file.take(LONGEST).read_to_end(&mut bytes) {
        Ok(_) => String::from_utf8(bytes).map(Some).map_err(|_| "not text"),
        Err(error) => Err(report::reason(report::errno_of(&error))),
    }
}
