//! The file in which svlog keeps how far it has shown logs, so that the next svlog goes on there.
//!
//! A line is written to the output first, and the file after it, before the next line. So if svlog is killed in between,
//! the next one shows one line twice, and none is lost.
//!
//! svlog finds the directory of the file once, and follows no link there that another account has made or can move.

use crate::folder::Folder;
use crate::mark::{Mark, Marks};
use daemontools::files::{distrusted_link, open_directory, put_file, read_file_itself};
use daemontools::sys::process::has_proc;
use daemontools::{Fatal, Unable, report};
use nix::fcntl::AT_FDCWD;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A file of this size has the positions in thousands of logs.
const MOST: usize = 4 << 20;

/// The file, and the positions in it.
pub struct CursorFile {
    /// The path for messages.
    shown: OsString,
    /// The directory, by which the paths lead.
    _folder: OwnedFd,
    path: PathBuf,
    new: PathBuf,
    /// The names of the logs that are read, in their order.
    names: Vec<String>,
    marks: Marks,
    written: String,
}

impl CursorFile {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or is none of svlog's.
    pub fn open(path: &OsStr, folders: &[Folder]) -> Result<CursorFile, Fatal> {
        let (folder, file) = place(Path::new(path))?;
        let marks = match read_file_itself(&file, MOST) {
            Ok((bytes, _)) => {
                Marks::parse(&bytes).ok_or_else(|| refused(path, "it is damaged, or no cursor of svlog's"))?
            }
            Err(unread) if unread.is_missing() => Marks::default(),
            Err(unread) => return Err(refused(path, unread.reason())),
        };
        let name = |folder: &Folder| {
            let path = std::fs::canonicalize(folder.path()).unwrap_or_else(|_| PathBuf::from(folder.path()));
            Marks::name(path.as_os_str().as_bytes())
        };
        let mut new = file.clone().into_os_string();
        new.push(".new");
        let names = folders.iter().map(name).collect();
        Ok(CursorFile {
            shown: path.into(),
            _folder: folder,
            path: file,
            new: new.into(),
            names,
            marks,
            written: String::new(),
        })
    }

    /// The position in the log of this number, if it was read before.
    pub fn mark(&self, log: usize) -> Option<&Mark> {
        self.marks.0.get(self.names.get(log)?)
    }

    /// Takes in a position.
    pub fn set(&mut self, log: usize, mark: Mark) {
        if let Some(name) = self.names.get(log) {
            self.marks.0.insert(name.clone(), mark);
        }
    }

    /// Writes the file, if a position has changed.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&mut self) -> Result<(), Fatal> {
        let text = self.marks.to_text();
        if text != self.written {
            put_file(&self.new, &self.path, text.as_bytes())
                .map_err(|(verb, errno)| Fatal::from(Unable::new(verb, &self.shown, errno)))?;
            self.written = text;
        }
        Ok(())
    }
}

/// The directory of a file, and a path that leads there by that directory, whatever becomes of the links on the way.
fn place(path: &Path) -> Result<(OwnedFd, PathBuf), Fatal> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = open_directory(AT_FDCWD, parent).map_err(|errno| match distrusted_link(parent) {
        Some(why) => Unable::new("open directory", parent, errno).because(why),
        None => Unable::new("open directory", parent, errno),
    })?;
    let by_folder = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    // Without /proc, only the path is left.
    let folder_path = if has_proc() { by_folder } else { parent.to_path_buf() };
    let name = path.file_name().unwrap_or_default();
    Ok((folder, folder_path.join(name)))
}

fn refused(path: &OsStr, why: &str) -> Fatal {
    let words = b": remove the file to begin with the first line";
    Fatal::new(report::TEMPORARY, &[b"unable to use the cursor file ", path.as_bytes(), b": ", why.as_bytes(), words])
}
