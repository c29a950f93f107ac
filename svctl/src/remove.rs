//! A service is done away with for good, and no line that it has written is lost.
//!
//! 1. Nothing is done unless all that is asked for can be done.
//! 2. The entry is taken out of the scan directory, so that svscan does not start another supervise. An entry that has changed
//!    meanwhile stays, and its service goes on.
//! 3. Unless another svscan has it, the service is told `dx`: it ends, and its supervise exits.
//! 4. When that supervise is gone, the logger sees the end of its input. Its supervise is told `x`, and exits when the logger
//!    has read everything.
//!
//! The service directory and its log stay.

use crate::code::{FAILED, TIMED_OUT};
use crate::entry::{Entry, restore};
use crate::keeper::{Keeper, keeper};
use crate::services::{Service, Services, is_path};
use crate::starting::is_starting;
use crate::{Context, text::shown, write};
use daemontools::logdir::locate::log_directory;
use daemontools::report::PERMANENT;
use daemontools::service::observe::Observer;
use daemontools::service::{
    Command, Commands, Delivery, LOG, Observation, Part, Presence, SendError, send_commands_in_time,
};
use daemontools::{Attempt, Fatal, report};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// How often svctl looks again at a supervise that is starting: its end is not reported.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What is said of a supervise that has not come out of its start.
const STARTING: &str = "its supervise is starting: when it has, svc -dx ends it";

/// A service that is removed, by its entry and by the directory that the entry leads to.
struct Doomed {
    service: Service,
    entry: Entry,
    directory: PathBuf,
    /// Where it has logged, as was found while its logger ran.
    log: Option<PathBuf>,
}

/// Removes the services.
///
/// # Errors
/// A word means no entry, an entry is no link, or svscan would still have another entry for it: then nothing was done. A
/// service cannot be watched.
pub fn remove(context: &Context, names: &[OsString]) -> Result<i32, Fatal> {
    let services = &context.services;
    restore_all(services, names);
    let (chosen, dangling) = services.choose_with_dangling(names)?;
    let mut doomed = doomed(services, chosen)?;
    let dangling =
        dangling.into_iter().filter_map(|service| Entry::at(&service.path).ok().map(|entry| (service, entry)));
    let dangling: Vec<(Service, Entry)> = dangling.collect();
    let are_links_removed = dangling.iter().map(remove_dangling).collect::<Result<Vec<bool>, Fatal>>()?;
    // A supervise that ends while it is told something is worth a message, not our end.
    SigSet::from_iter([Signal::SIGPIPE]).thread_block().unable_to("block signals", "")?;
    let deadline = Instant::now().checked_add(context.shape.patience());
    // An entry that has changed meanwhile, or cannot be removed, keeps its service; those that went are ended.
    let count = doomed.len();
    doomed.retain(|Doomed { service, entry, .. }| is_removed(service, entry));
    let are_all_removed = doomed.len() == count && !are_links_removed.contains(&false);
    let keepers = doomed.into_iter().map(|doomed| (keeper(services, &doomed.directory), doomed));
    let (ended, kept): (Vec<_>, Vec<_>) = keepers.partition(|(keeper, _)| *keeper == Keeper::NoOther);
    let doomed: Vec<Doomed> = ended.into_iter().map(|(_, doomed)| doomed).collect();
    let are_all_known = kept.iter().all(|(keeper, _)| *keeper != Keeper::Unknown);
    for (keeper, kept) in &kept {
        say_kept(*keeper, kept)?;
    }
    // All of them end at the same time.
    let ending = Commands::from(&[Command::Down, Command::Exit][..]);
    let mut code = tell_and_wait(doomed.iter().map(|doomed| doomed.directory.clone()).collect(), &ending, deadline)?;
    if code == 0 {
        let loggers = doomed.iter().map(|doomed| doomed.directory.join(LOG)).filter(|log| log.is_dir());
        code = tell_and_wait(loggers.collect(), &Command::Exit.into(), deadline)?;
    } else {
        say_what_is_left(&doomed);
    }
    for doomed in &doomed {
        let done = if code == 0 { REMOVED } else { NO_ENTRY };
        write(format!("{}\n", told(doomed, done)).as_bytes())?;
    }
    Ok(if code == 0 && !(are_all_removed && are_all_known) { FAILED } else { code })
}

/// Puts the entries back that an svctl has left aside which was killed while it removed them.
fn restore_all(services: &Services, names: &[OsString]) {
    for word in names.iter().filter(|word| !is_path(word)) {
        // Completion may have put a slash behind the name.
        let mut steps = Path::new(word).components();
        let (Some(Component::Normal(name)), None) = (steps.next(), steps.next()) else { continue };
        let path = services.directory().join(name);
        match restore(&path) {
            Ok(true) => {
                report::warning(&[name.as_bytes(), b": an svctl remove was interrupted: its entry is put back first"])
            }
            Ok(false) => {}
            Err(unable) => unable.warn(),
        }
    }
}

/// What is to be removed, once it is clear that all of it can be.
fn doomed(services: &Services, mut chosen: Vec<Service>) -> Result<Vec<Doomed>, Fatal> {
    chosen.sort_by(|one, other| one.name.cmp(&other.name));
    let entries: Vec<&OsStr> = chosen.iter().map(|service| service.name.as_os_str()).collect();
    let directories = services.directories()?;
    let mut doomed = Vec::new();
    for service in &chosen {
        let name = service.name.as_bytes();
        if services.named(&service.name).path != service.path || name.contains(&b'/') {
            let words: [&[u8]; 2] = [name, b" is no name in the scan directory: name its entry there"];
            return Err(Fatal::new(PERMANENT, &words));
        }
        if !service.path.is_symlink() {
            return Err(Fatal::new(PERMANENT, &[&no_link(service)]));
        }
        let entry = Entry::at(&service.path).unable_to("find", &service.path)?;
        let directory = std::fs::canonicalize(&service.path).unable_to("find", &service.path)?;
        if let Some(twin) = directories.leading_to(&directory)?.find(|twin| !entries.contains(twin)) {
            let words: [&[u8]; 4] =
                [name, b" is the same directory as ", twin.as_bytes(), b", which stays: remove both, or only the link"];
            return Err(Fatal::new(PERMANENT, &words));
        }
        let log = log_directory(directory.as_os_str()).ok().map(|found| found.path);
        doomed.push(Doomed { service: service.clone(), entry, directory, log });
    }
    Ok(doomed)
}

/// Removes an entry that is a link to nothing. Returns whether that was possible.
fn remove_dangling((service, entry): &(Service, Entry)) -> Result<bool, Fatal> {
    let target = std::fs::read_link(&service.path).unwrap_or_default();
    if !is_removed(service, entry) {
        return Ok(false);
    }
    let (name, target) = (shown(service.name.as_bytes()), shown(target.as_os_str().as_bytes()));
    write(format!("{name} is removed: it was a link to nothing: {target}\n").as_bytes()).map(|()| true)
}

/// Removes an entry from the scan directory. Returns false if it has changed meanwhile, or cannot be removed.
fn is_removed(service: &Service, entry: &Entry) -> bool {
    match entry.remove_from(&service.path) {
        Ok(true) => true,
        Ok(false) => {
            report::warning(&[service.name.as_bytes(), b" has changed meanwhile: it stays, and its service goes on"]);
            false
        }
        Err(unable) => {
            unable.warn();
            false
        }
    }
}

/// Says of a service that is not ended, as another svscan has it, or may have it, that only its entry was removed.
fn say_kept(keeper: Keeper, kept: &Doomed) -> Result<(), Fatal> {
    let directory = kept.directory.as_os_str().as_bytes();
    let more = match keeper {
        Keeper::Other(pid) => format!("; it runs on: another svscan (pid {pid}) has it"),
        Keeper::NoOther | Keeper::Unknown => {
            let words = b" was not told to end: whether another svscan has it is not known: if none has, svc -dx ";
            report::warning(&[kept.service.name.as_bytes(), words, directory]);
            String::new()
        }
    };
    write(format!("{}{more}\n", told(kept, NO_ENTRY)).as_bytes())
}

/// A directory in the scan directory would have to be moved, and only its owner knows where to.
fn no_link(service: &Service) -> Vec<u8> {
    let path = service.path.as_os_str().as_bytes();
    let logger: &[u8] = if service.path.join(LOG).is_dir() { b"; svc -x log" } else { b"" };
    let name = service.name.as_bytes();
    let words = b" is a directory, not a link: move it out yourself, and end it there: cd ";
    [name, words, path, b"; mv ", path, b" ELSEWHERE; svc -dx .", logger].concat()
}

/// How far one supervise is on its way out.
struct Leaving {
    is_told: bool,
    is_gone: bool,
    /// What a supervise that is killed has not read is kept for the next one.
    delivery: Option<Delivery>,
}

/// Tells the supervises of these directories, and waits until they are gone. Returns the exit code. One that was killed is
/// replaced by svscan, and its successor is told again.
fn tell_and_wait(directories: Vec<PathBuf>, commands: &Commands, deadline: Option<Instant>) -> Result<i32, Fatal> {
    let mut observer = Observer::new(Part::Service);
    let mut all = Vec::new();
    let mut code = 0;
    for directory in directories {
        observer.add(directory.into_os_string())?;
        all.push(Leaving { is_told: false, is_gone: false, delivery: None });
    }
    loop {
        for number in observer.changed() {
            let seen = observer.look(number)?;
            let Some(one) = all.get_mut(number) else { continue };
            let ended = match seen.presence {
                Presence::Here if one.is_told => None,
                Presence::Here => match send_commands_in_time(commands) {
                    Ok(delivery) => {
                        one.is_told = true;
                        one.delivery = Some(delivery).filter(|delivery| !delivery.is_read());
                        None
                    }
                    // It has gone just now.
                    Err(SendError::Closed(Errno::ENXIO | Errno::ENOENT)) => None,
                    Err(unsent) => Some(Err(unsent.words(observer.name(number)))),
                },
                Presence::Away if has_left(&seen) && is_starting(Path::new(observer.name(number))) => {
                    observer.look_again_within(number, LOOK_AGAIN);
                    None
                }
                Presence::Away if has_left(&seen) => Some(Ok(())),
                Presence::Away => {
                    one.is_told = false;
                    None
                }
                Presence::Gone => Some(match pid_of(&seen) {
                    None => Ok(()),
                    Some(pid) => Err(left_alone(observer.name(number), pid)),
                }),
            };
            if let Some(ended) = ended {
                one.is_gone = true;
                observer.dismiss(number);
                if let Err(words) = ended {
                    report::warning(&[&words]);
                    code = FAILED;
                }
            }
        }
        if all.iter().all(|one| one.is_gone) {
            return Ok(code);
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            for (number, _) in all.iter().enumerate().filter(|(_, one)| !one.is_gone) {
                let seen = observer.look(number)?;
                let name = observer.name(number);
                let is_starting = seen.presence == Presence::Away && is_starting(Path::new(name));
                let words = if is_starting { STARTING.into() } else { seen.words() };
                report::warning(&[name.as_bytes(), b" has not ended: the time is over: ", words.as_bytes()]);
            }
            return Ok(TIMED_OUT);
        }
        observer.wait(deadline)?;
    }
}

/// Whether there is no supervise, and none is expected: it has exited because it was told to, or there never was one.
fn has_left(seen: &Observation) -> bool {
    let Some(snapshot) = &seen.seen else { return true };
    match &snapshot.record {
        Some(record) => record.has_left(),
        None => snapshot.status.pid.is_none(),
    }
}

fn pid_of(seen: &Observation) -> Option<Pid> {
    seen.seen.as_ref()?.status.pid
}

fn left_alone(name: &OsStr, pid: Pid) -> Vec<u8> {
    let words = format!(": its supervise is gone, and was not replaced; its process {pid} may run on");
    [name.as_bytes(), words.as_bytes()].concat()
}

/// What the loggers were not told, as their services have not ended.
fn say_what_is_left(doomed: &[Doomed]) {
    for Doomed { directory, .. } in doomed.iter().filter(|doomed| doomed.directory.join(LOG).is_dir()) {
        let log = directory.join(LOG);
        let log = log.as_os_str().as_bytes();
        report::warning(&[log, b" was not told to exit: when the service has ended, svc -x ", log]);
    }
}

/// What has become of a service: all is done, or only its entry is gone.
const REMOVED: &str = "is removed";
const NO_ENTRY: &str = "has no entry any more";

/// `web is removed: its directory is /etc/web, its log /etc/web/log/main`
fn told(doomed: &Doomed, done: &str) -> String {
    let name = shown(doomed.service.name.as_bytes());
    let directory = shown(doomed.directory.as_os_str().as_bytes());
    let log = doomed.log.as_ref().map(|log| format!(", its log {}", shown(log.as_os_str().as_bytes())));
    format!("{name} {done}: its directory is {directory}{}", log.unwrap_or_default())
}
