//! Whether a supervise in charge has all its files in `supervise/`. An entry of a directory is not removed or replaced
//! without a change of the directory itself. So the files are looked at once, and again when their directory has changed:
//! there may be thousands of services, and each scan asks.

use crate::look::files::Stamp;
use crate::probe::Probe;
use crate::table::{Id, SuperviseId};
use std::collections::HashMap;
use std::path::Path;
use std::time::SystemTime;

/// The directories in which all files were there.
#[derive(Debug, Default)]
pub struct SuperviseFiles(HashMap<SuperviseId, Stamp>);

impl SuperviseFiles {
    /// Whether all files of this supervise were there at the last look, and `supervise/` of the service in `folder` is as it
    /// was then.
    pub fn is_unchanged(&self, which: SuperviseId, folder: &Path, probe: &mut Probe) -> bool {
        let known = self.0.get(&which);
        known.is_some() && probe.stamp(folder).ok().as_ref() == known
    }

    /// Whether a file is missing of this supervise, which is in charge of the service in `folder`.
    pub fn misses_files(&mut self, which: SuperviseId, folder: &Path, probe: &mut Probe) -> bool {
        self.0.remove(&which);
        let Ok(found) = probe.supervise_files(folder) else { return false };
        let stamp = found.stamp.filter(|stamp| found.all_are_there && stamp.is_old(SystemTime::now()));
        self.0.extend(stamp.map(|stamp| (which, stamp)));
        found.one_is_missing
    }

    /// Forgets what is kept for a service that is gone.
    pub fn forget(&mut self, id: Id) {
        self.0.retain(|which, _| which.id != id);
    }
}
