//! What a test shows when it has waited in vain: the processes of its scratch directories, what the services there say of
//! themselves, and what the daemons have complained of. Who finds a failure in a log of yesterday has nothing else.

use crate::processes::{parent_of, processes_in, state_of};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

/// Longer files than this one, in bytes, are shown by their ends.
const LONGEST: usize = 4000;

thread_local! {
    /// The scratch directories of this test, which has a thread of its own.
    static DIRECTORIES: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn begin(directory: &Path) {
    DIRECTORIES.with_borrow_mut(|directories| directories.push(directory.into()));
}

pub(crate) fn end(directory: &Path) {
    DIRECTORIES.with_borrow_mut(|directories| directories.retain(|one| one != directory));
}

/// The scene of each scratch directory of this test.
pub(crate) fn show() -> String {
    DIRECTORIES.with_borrow(|directories| directories.iter().map(|directory| scene(directory)).collect())
}

fn scene(directory: &Path) -> String {
    let mut shown = format!("\n== {}\n", directory.display());
    for pid in processes_in(directory) {
        let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let (parent, state) = (parent_of(pid).unwrap_or(0), state_of(pid).unwrap_or('?'));
        let command = file("cmdline").replace('\0', " ");
        shown += &format!("{pid} {parent} {state} {:20} {}\n", file("wchan"), command.escape_debug());
    }
    let mut found = Vec::new();
    find(directory, 0, &mut found);
    found.sort();
    for path in found {
        let bytes = fs::read(&path).unwrap_or_default();
        let content = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LONGEST)..]).replace('\0', "\\0");
        if !content.is_empty() {
            shown += &format!("-- {}\n{}\n", path.display(), content.trim_end());
        }
    }
    shown
}

/// Finds the states of services and the standard errors of daemons. No link is followed, and no file but a regular one read.
fn find(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        let is_told = name == "state" || name.to_string_lossy().starts_with(".errors.");
        if kind.is_file() && is_told {
            found.push(path);
        } else if kind.is_dir() && depth < 6 && !is_mount(&path) {
            find(&path, depth + 1, found);
        }
    }
}

/// Whether another file system begins here. Its server may be silent.
fn is_mount(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|mount| Path::new(mount) == path))
}
