//! A service gets its entry in the scan directory, and is waited for.

use crate::Context;
use crate::act::{conclude, show};
use crate::arguments::Then;
use crate::code::{FAILED, TIMED_OUT};
use crate::keeper::{Keeper, keeper};
use crate::services::Services;
use crate::text::shown;
use crate::unsupervised::{self, no_svscan};
use daemontools::report::PERMANENT;
use daemontools::service::goal::{Goal, Sent};
use daemontools::service::observe::Observer;
use daemontools::service::policy::ABSTRACT;
use daemontools::service::trial::Test;
use daemontools::service::waiting::{AwaitedOutcome, Quorum, Waiting};
use daemontools::service::{DOWN, Part, Presence, RUN};
use daemontools::tai64::Moment;
use daemontools::{Attempt, Fatal, report};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// How often svctl looks whether an svscan has come.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

fn refusal(words: &[&[u8]]) -> Fatal {
    Fatal::new(PERMANENT, words)
}

/// Makes a link to the service directory in the scan directory. It then waits, if that is wanted, until the service is
/// supervised and, unless a file `down` says otherwise, ready.
///
/// # Errors
/// There is no such service directory, the name is taken or is none for a service, or the system refuses the link.
pub fn add(context: &Context, path: &OsStr, name: Option<&OsStr>, then: Then) -> Result<i32, Fatal> {
    let services = &context.services;
    let target = directory_at(path)?;
    let name = name.or_else(|| target.file_name()).unwrap_or_default();
    let service = services.named(name);
    refuse_bad_name(name)?;
    if let Some(twin) = services.directories()?.leading_to(&target)?.next() {
        return Err(refusal(&[path.as_bytes(), b" is in the scan directory already, as ", twin.as_bytes()]));
    }
    if service.path.symlink_metadata().is_ok() {
        return Err(refusal(&[service.path.as_os_str().as_bytes(), b" is there already: give another name"]));
    }
    let told_at = Moment::now().label;
    symlink(&target, &service.path).unable_to("make the link", &service.path)?;
    if then == Then::Return {
        return Ok(0);
    }
    let deadline = Instant::now().checked_add(context.shape.patience());
    let mut observer = Observer::new(Part::Service);
    observer.add(service.path.clone().into_os_string())?;
    let unsupervised = |why: &str, code| {
        report::warning(&[service.name.as_bytes(), b" is linked, but not supervised yet: ", why.as_bytes()]);
        Ok(code)
    };
    match until_supervised(&mut observer, services, &target, deadline) {
        Ok(Coming::Supervised) => {}
        Ok(Coming::Elsewhere(pid)) => {
            let here = shown(services.directory().as_os_str().as_bytes());
            let none = no_svscan(services).map(|_| format!("; no svscan runs in {here}")).unwrap_or_default();
            let words = format!(" is linked, but another svscan (pid {pid}) has its service{none}");
            report::warning(&[service.name.as_bytes(), words.as_bytes()]);
            return Ok(FAILED);
        }
        Ok(Coming::TimeOver) => return unsupervised(&unsupervised::why(services, &service), TIMED_OUT),
        Err(fatal) => match unsupervised::obstacle(&service.path) {
            Some(why) => return unsupervised(&why, FAILED),
            None => return Err(fatal),
        },
    }
    if service.path.join(DOWN).symlink_metadata().is_ok() {
        return show(context, &[service]).map(|()| 0);
    }
    let mut waiting = Waiting::new(Part::Service);
    waiting.add_since(service.path.clone().into_os_string(), told_at)?;
    let sent = Sent { to_start: true, ..Sent::default() };
    let order = AwaitedOutcome { goal: Goal::Ready, test: Test::Stays, quorum: Quorum::Each, sent, deadline };
    let code = waiting.watch(&order)?;
    conclude(context, &[service], (&waiting, &order, told_at))?;
    Ok(code)
}

/// What came of waiting for a supervise.
enum Coming {
    /// A supervise is in charge, and an svscan serves the scan directory.
    Supervised,
    /// A supervise is in charge, and its service is in the directory of another svscan, with this number.
    Elsewhere(Pid),
    /// The time is over.
    TimeOver,
}

/// Waits until a supervise is in charge. The entry is new, so a supervise may come as late as its user is ready to wait:
/// svscan may not have been started yet. A supervise that an svscan has left which was killed is in charge only once
/// another svscan has come.
fn until_supervised(
    observer: &mut Observer,
    services: &Services,
    target: &Path,
    deadline: Option<Instant>,
) -> Result<Coming, Fatal> {
    let mut is_elsewhere = None;
    loop {
        let is_here = observer.look(0)?.presence == Presence::Here;
        if is_here {
            if let Keeper::Other(pid) = *is_elsewhere.get_or_insert_with(|| keeper(services, target)) {
                return Ok(Coming::Elsewhere(pid));
            }
            if no_svscan(services).is_none() {
                return Ok(Coming::Supervised);
            }
            // The start of an svscan is not reported.
            observer.look_again_within(0, LOOK_AGAIN);
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(Coming::TimeOver);
        }
        observer.wait(deadline)?;
    }
}

/// The absolute path of a service directory, as the link is to name it. A path with `..` is resolved, as its steps may be
/// links.
fn directory_at(path: &OsStr) -> Result<PathBuf, Fatal> {
    let absolute = std::path::absolute(path).unable_to("find", path)?;
    if !absolute.is_dir() {
        return Err(refusal(&[b"no directory ", path.as_bytes()]));
    }
    if [RUN, ABSTRACT].iter().all(|file| absolute.join(file).symlink_metadata().is_err()) {
        return Err(refusal(&[path.as_bytes(), b" is no service: it contains no run"]));
    }
    let is_plain = absolute.components().all(|step| matches!(step, Component::RootDir | Component::Normal(_)));
    if !is_plain {
        return Ok(std::fs::canonicalize(&absolute).unable_to("find", path)?);
    }
    // Rebuilt of its steps, it has no slash at its end.
    Ok(absolute.components().collect())
}

/// Refuses a name that svscan would ignore, or that leads elsewhere.
fn refuse_bad_name(name: &OsStr) -> Result<(), Fatal> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.starts_with(b".") || bytes.contains(&b'/') {
        return Err(refusal(&[
            b"\"",
            bytes,
            b"\" is no name for a service: it is empty, begins with a dot or has a slash",
        ]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_the_directory_without_steps_back() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("etc/web")).unwrap();
        std::fs::write(root.join("etc/web/run"), "").unwrap();
        for path in ["etc/web", "etc/web/", "etc/../etc/web", "etc/./web"] {
            assert_eq!(directory_at(root.join(path).as_os_str()).unwrap().as_os_str(), root.join("etc/web"), "{path}");
        }
        for path in ["etc", "etc/nothing", "etc/web/run"] {
            assert!(directory_at(root.join(path).as_os_str()).is_err(), "{path}");
        }
    }

    #[test]
    fn names_that_svscan_ignores_are_refused() {
        for (name, is_right) in [("web", true), ("a b", true), ("", false), (".web", false), ("web/log", false)] {
            assert_eq!(refuse_bad_name(OsStr::new(name)).is_ok(), is_right, "{name}");
        }
    }
}
