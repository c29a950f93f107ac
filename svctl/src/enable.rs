//! Whether services are started by themselves: the file `down`.

use crate::access::closed_to;
use crate::answer::Answer;
use crate::services::{Service, Services};
use crate::text::{quoted, shown};
use crate::verbs::Change;
use crate::write;
use daemontools::report::{Whose, whose};
use daemontools::service::view::State;
use daemontools::service::{DOWN, make_at};
use daemontools::{Attempt, Fatal, Unable};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::unlink;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Removes or makes the file `down` of each service. What runs runs on, and what is down stays down: the words say so.
///
/// # Errors
/// A word means no service; the system refuses the change.
pub fn change(services: &Services, names: &[OsString], change: Change) -> Result<i32, Fatal> {
    for service in services.choose_existing(names)? {
        let file = service.path.join(DOWN);
        let changed = match change {
            Change::Enable => unlink(&file),
            Change::Disable => make(&file),
        };
        let verb = match change {
            Change::Enable => "remove",
            Change::Disable => "make",
        };
        let has_changed = match (change, changed) {
            (Change::Enable, Err(Errno::ENOENT)) | (Change::Disable, Err(Errno::EEXIST)) => false,
            (_, changed) => changed.unable_to(verb, &file).map_err(|unable| denied(unable, &file)).map(|()| true)?,
        };
        let (answer, done) = (Answer::of(&service), Done { change, has_changed });
        write(words(&service, &answer, done, |verb| services.command(verb)).as_bytes())?;
    }
    Ok(0)
}

/// Whose the directory is that this account may not change.
fn denied(unable: Unable, file: &Path) -> Unable {
    match whose(file.parent().unwrap_or(file)).filter(|_| unable.errno == Errno::EACCES) {
        Some(Whose { owner, own, .. }) => {
            unable.because(&format!("its directory belongs to {owner}, and this is {own}: run it as {owner}"))
        }
        None => unable,
    }
}

/// What was done to a service.
#[derive(Clone, Copy)]
struct Done {
    change: Change,
    /// It was not so before.
    has_changed: bool,
}

fn make(file: &Path) -> nix::Result<()> {
    make_at(AT_FDCWD, file, OFlag::O_WRONLY, Mode::from_bits_truncate(0o644)).map(drop)
}

/// `web is disabled: it is up, and goes on until svctl stop web`
fn words(service: &Service, answer: &Answer, done: Done, command: impl Fn(&str) -> String) -> String {
    let name = shown(service.name.as_bytes());
    let typed = quoted(&name);
    let already = if done.has_changed { "" } else { "already " };
    let rests = answer.view().map(|view| matches!(view.state(), State::Down | State::Failed));
    let (done, next) = match (done.change, rests) {
        (Change::Enable, Some(true)) => ("enabled", format!(", and stays so until {} {typed}", command("start"))),
        (Change::Enable, Some(false) | None) => ("enabled", String::new()),
        (Change::Disable, Some(false)) => ("disabled", format!(", and goes on until {} {typed}", command("stop"))),
        (Change::Disable, Some(true) | None) => ("disabled", String::new()),
    };
    let unknown = matches!(answer, Answer::Unknown(_)).then(|| answer.reason()).flatten();
    let why = unknown.map(|why| format!(": {}", shown(why.as_bytes()))).unwrap_or_default();
    let cause = closed_to(service, answer)
        .map(|Whose { owner, own, .. }| format!(": it belongs to {owner}, and this is {own}: run it as {owner}"));
    format!("{name} is {already}{done}: it is {}{why}{}{next}\n", answer.word(), cause.unwrap_or_default())
}
