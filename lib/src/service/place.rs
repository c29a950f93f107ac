//! Where the files of `supervise/` lie: in the service directory, or where `$SUPERVISEDIR` says.
//!
//! Source: the manual of daemontools-encore. A relative `$SUPERVISEDIR` is another name for `supervise`. An absolute
//! one is a directory that contains those of all services, for services on a read-only disk. Each is named by the path
//! of the service directory, with colons in place of the slashes inside it. In encore two paths such as `/a/b` and
//! `/a:b` get the same name. Here a colon or backslash in a path gets a backslash in front, so that the names differ.

use super::SUPERVISE;
use crate::files::is_only_ours;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The environment variable that moves `supervise/`. An empty value counts as unset.
const VARIABLE: &str = "SUPERVISEDIR";

/// The directory that serves as a service's `supervise/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(PathBuf);

impl Place {
    /// The place of the service in the current directory.
    ///
    /// # Errors
    /// The errors of `getcwd(3)`, if the path is needed.
    pub fn here() -> nix::Result<Place> {
        Place::of(Path::new(""))
    }

    /// The place of the service in this directory.
    ///
    /// # Errors
    /// The directory's path is needed and cannot be found.
    pub fn of(service: &Path) -> nix::Result<Place> {
        let name = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
        let name = PathBuf::from(name.unwrap_or_else(|| SUPERVISE.into()));
        if name.is_relative() {
            return Ok(Place(service.join(name)));
        }
        let resolved = std::fs::canonicalize(if service == Path::new("") { Path::new(".") } else { service });
        let resolved = resolved.map_err(|error| error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw))?;
        Ok(Place(name.join(flat(&resolved))))
    }

    /// The directory in which the places of all services lie, if `$SUPERVISEDIR` names one.
    pub fn moved() -> Option<PathBuf> {
        std::env::var_os(VARIABLE).map(PathBuf::from).filter(|directory| directory.is_absolute())
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// Whether only root and the account that runs us can put files there.
    ///
    /// # Errors
    /// The directory cannot be examined.
    pub fn is_only_ours(&self) -> nix::Result<bool> {
        Ok(is_only_ours(&nix::sys::stat::stat(&self.0)?))
    }

    /// The path of a file of `supervise/`. `file` is its name in a plain service directory.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(Path::new(file).strip_prefix(SUPERVISE).unwrap_or(Path::new(file)))
    }

    /// The path of a file of `supervise/`, in the form that messages about the service `name` show.
    pub fn name(&self, service: &OsStr, file: &str) -> Vec<u8> {
        let path = self.path(file);
        let path = path.as_os_str().as_bytes();
        if path.starts_with(b"/") { path.to_vec() } else { [service.as_bytes(), b"/", path].concat() }
    }
}

/// Turns an absolute path into a name that no other path gets: colons and backslashes that the path contains get a
/// backslash in front.
fn flat(path: &Path) -> PathBuf {
    let mut name = Vec::new();
    for byte in path.as_os_str().as_bytes().iter().skip(1) {
        match byte {
            b'/' => name.push(b':'),
            b':' | b'\\' => name.extend([b'\\', *byte]),
            _ => name.push(*byte),
        }
    }
    PathBuf::from(OsStr::from_bytes(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{CONTROL, STATUS_NEW};

    #[test]
    fn a_path_becomes_one_name() {
        for (path, name) in [
            ("/etc/service/web", "etc:service:web"),
            ("/web", "web"),
            ("/", ""),
            ("/a/b:c", r"a:b\:c"),
            (r"/a\b", r"a\\b"),
        ] {
            assert_eq!(flat(Path::new(path)), Path::new(name));
        }
    }

    #[test]
    fn files_lie_in_the_directory_and_are_named_by_where_they_lie() {
        let table = [
            ("supervise", "supervise/control", "web/supervise/control"),
            (".state", ".state/control", "web/.state/control"),
            ("/run/sv/etc:web", "/run/sv/etc:web/control", "/run/sv/etc:web/control"),
        ];
        for (directory, path, name) in table {
            let place = Place(directory.into());
            assert_eq!(place.path(CONTROL), Path::new(path));
            assert_eq!(place.name("web".as_ref(), CONTROL), name.as_bytes());
        }
        assert_eq!(Place("a/supervise".into()).path(STATUS_NEW), Path::new("a/supervise/status.new"));
    }
}
