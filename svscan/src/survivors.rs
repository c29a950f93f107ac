//! The supervises of earlier svscans that run when this svscan begins, and the directories that they serve.
//!
//! A supervise that is in charge of its service has written so on its page, and where the service lies. A supervise
//! that was started in the last moment of its svscan has not written anything yet. It will take charge of its service
//! in an instant, and start it. svscan tells which service that is from the arguments of the supervise and the
//! directory in which it works, and watches the supervise like one that it has started itself. Otherwise an svscan that
//! is told to stop would find nothing that runs, and end, and the service would start afterwards.
//!
//! A child of svscan is a copy of svscan until it executes `supervise`. For that long it keeps the lock of the scan
//! directory open, so that the next svscan waits for it (see [`launch`](crate::launch)). The kernel closes the lock
//! before it has filled in the arguments and the environment of the program: svscan waits until both can be read.

use crate::in_charge::is_running;
use crate::pages::ledger_of;
use crate::probe::Probe;
use crate::procfs::{SVSCAN, file_of_ours, is_of_our_account, process_path, variable_of};
use crate::table::{Id, Part};
use daemontools::service::ledger::{FROM, Ledger, SERVICE};
use daemontools::service::{Directory, Process, Record};
use daemontools::sys::process::process_table;
use nix::poll::{PollTimeout, poll};
use nix::unistd::{Pid, getpid};
use std::ffi::OsStr;
use std::fs::read_link;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long svscan waits, in all, for processes that are just becoming programs.
const PATIENCE: Duration = Duration::from_secs(1);

/// The supervises that earlier svscans have left.
#[derive(Debug, Default)]
pub struct Survivors(Vec<Survivor>);

#[derive(Debug)]
struct Survivor {
    process: Process,
    serves: Serves,
}

/// What tells which service a supervise serves.
#[derive(Debug, PartialEq, Eq)]
enum Serves {
    /// The supervise has written on its page that it serves this directory.
    Written(Directory),
    /// The supervise has written nothing on its page yet. It works in the directory `working`, which is the one that it
    /// serves, or it will change from there to the one that its argument names.
    Told { part: Part, working: PathBuf, argument: PathBuf },
}

/// The directory of a service or of its logger, by all that tells it from others.
#[derive(Debug)]
struct Here {
    part: Part,
    id: Id,
    /// The path to it without any link.
    path: PathBuf,
    /// The path to it in which only the last part may be a link.
    entry: PathBuf,
}

impl Survivors {
    /// Looks at every process. The service directories themselves are not touched: each may lie on a mount whose server
    /// is gone.
    pub fn find() -> Survivors {
        let until = Instant::now() + PATIENCE;
        let others = process_table().into_iter().filter(|found| !found.zombie && found.pid != getpid());
        Survivors(others.filter_map(|found| Survivor::of(found.pid, until)).collect())
    }

    /// The supervise that serves this part of a service in the directory `folder`, or is about to, whatever became of
    /// its files there.
    ///
    /// # Errors
    /// It cannot be told which directory this is, or whether the supervise still runs.
    pub fn serving(&self, part: Part, folder: &Path, probe: &mut Probe) -> nix::Result<Option<Process>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (id, (path, entry)) = probe.places(folder)?;
        let here = Here { part, id, path, entry };
        for survivor in self.0.iter().filter(|survivor| survivor.serves.is(&here)) {
            if is_running(&survivor.process)? {
                return Ok(Some(survivor.process));
            }
        }
        Ok(None)
    }
}

impl Survivor {
    fn of(pid: Pid, until: Instant) -> Option<Survivor> {
        // Of most processes the name or the account alone tells that they are none. Any process may have the name.
        if !matches!(file_of_ours(pid, "comm")?.as_slice(), SVSCAN | SUPERVISE) {
            return None;
        }
        let process = Process::of(pid);
        while is_being_executed(pid) && Instant::now() < until {
            let _ = poll(&mut [], PollTimeout::from(1u8));
        }
        if file_of_ours(pid, "comm")? != SUPERVISE || !is_of_our_account(pid) {
            return None;
        }
        let (ledger, page) = ledger_of(pid)?;
        let written = Ledger::resume(ledger, &[]).read(page).map(|text| Record::decode(&text));
        // What another supervise has written is about the same service, but the next one may be about to begin anew.
        let written = written.filter(|record| record.supervise.pid == pid);
        let process = written.as_ref().map_or(process, |record| record.supervise);
        let serves = match written.and_then(|record| record.directory) {
            Some(directory) => Serves::Written(directory),
            None => Serves::told(pid)?,
        };
        Some(Survivor { process, serves })
    }
}

impl Serves {
    fn told(pid: Pid) -> Option<Serves> {
        // Only the supervise of a logger is told what its service is called.
        let part = variable_of(pid, SERVICE).map_or(Part::Service, |_| Part::Logger);
        let argument = variable_of(pid, FROM).map_or_else(PathBuf::new, PathBuf::from).join(argument(pid)?);
        Some(Serves::Told { part, argument, working: read_link(process_path(pid, "cwd")).ok()? })
    }

    fn is(&self, here: &Here) -> bool {
        match self {
            Serves::Written(Directory::Inode { device, inode, born: _ }) => {
                here.id == Id { device: *device, inode: *inode }
            }
            Serves::Written(Directory::Path(path)) => here.path == Path::new(path),
            Serves::Told { part, working, argument } => {
                *part == here.part && (*working == here.path || working.join(argument) == here.entry)
            }
        }
    }
}

const SUPERVISE: &[u8] = b"supervise\n";

/// Whether this is a child of an svscan that is just becoming a supervise. In this moment the kernel shows neither
/// arguments nor an environment.
fn is_being_executed(pid: Pid) -> bool {
    let is_empty = |name| file_of_ours(pid, name).is_some_and(|text| text.is_empty());
    match file_of_ours(pid, "comm").as_deref() {
        Some(SVSCAN) => is_empty("cmdline"),
        Some(SUPERVISE) => is_empty("cmdline") || is_empty("environ"),
        Some(_) | None => false,
    }
}

/// The name of the service, as a supervise was told.
fn argument(pid: Pid) -> Option<PathBuf> {
    let arguments = file_of_ours(pid, "cmdline")?;
    let argument = arguments.split(|byte| *byte == 0).nth(1)?;
    Some(PathBuf::from(OsStr::from_bytes(argument)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity;
    use crate::look::places::places;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_supervise_is_known_by_what_it_has_written_or_by_where_it_works_or_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(scratch.path()).unwrap();
        fs::create_dir_all(root.join("real/log")).unwrap();
        fs::create_dir(root.join("scanned")).unwrap();
        symlink("../real", root.join("scanned/a")).unwrap();
        let (service, logger) = (root.join("scanned/a"), root.join("scanned/a/log"));
        let told = |part, working: &str, argument: &str| Serves::Told {
            part,
            working: root.join(working),
            argument: argument.into(),
        };
        let Id { device, inode } = identity::of(&service).unwrap();
        let table = [
            (Serves::Written(Directory::Inode { device, inode, born: 0 }), [true, false]),
            (Serves::Written(Directory::Inode { device: device + 1, inode, born: 0 }), [false, false]),
            (Serves::Written(Directory::Path(root.join("real/log").to_str().unwrap().into())), [false, true]),
            // Before it changes its directory, and afterwards.
            (told(Part::Service, "scanned", "a"), [true, false]),
            (told(Part::Service, "scanned", "./a"), [true, false]),
            (told(Part::Service, "real", "a"), [true, false]),
            (told(Part::Logger, "real", "log"), [false, true]),
            (told(Part::Logger, "real/log", "log"), [false, true]),
            (told(Part::Service, "scanned", "b"), [false, false]),
            (told(Part::Service, "", "a"), [false, false]),
        ];
        for (serves, expected) in table {
            let folders = [(Part::Service, &service), (Part::Logger, &logger)];
            let is = folders.map(|(part, folder)| {
                let (id, (path, entry)) = places(folder).unwrap();
                serves.is(&Here { part, id, path, entry })
            });
            assert_eq!(is, expected, "{serves:?}");
        }
    }

    #[test]
    fn this_process_is_no_survivor() {
        assert!(Survivor::of(getpid(), Instant::now()).is_none());
        assert!(
            Survivors::default()
                .serving(Part::Service, Path::new("/nowhere"), &mut Probe::default())
                .unwrap()
                .is_none()
        );
    }
}
