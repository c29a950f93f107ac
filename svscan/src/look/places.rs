//! Where a service directory lies, once its links are followed. The caller has made sure that the directory can be touched.

use crate::identity;
use crate::table::Id;
use daemontools::report;
use std::fs;
use std::path::{Path, PathBuf};

/// What a directory is, and its path: without any link, and with a link only in the last part.
///
/// # Errors
/// That cannot be told now.
pub fn places(folder: &Path) -> nix::Result<(Id, (PathBuf, PathBuf))> {
    let resolved = |path: &Path| fs::canonicalize(path).map_err(|error| report::errno_of(&error));
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entry = resolved(parent)?.join(folder.file_name().unwrap_or_default());
    Ok((identity::of(folder)?, (resolved(folder)?, entry)))
}
