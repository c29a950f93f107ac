//! A source tree with stand-ins for the programs, and ways to examine any tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tests::{Scratch, is_root, skip};

/// The workspace that is tested.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The names in `package/commands`.
pub fn commands() -> Vec<String> {
    let list = fs::read_to_string(workspace().join("package/commands")).unwrap();
    list.lines().map(String::from).collect()
}

/// A directory with a source tree in `source`, and room for machines beside it.
pub struct Workshop(Scratch);

impl Workshop {
    /// Makes a source tree with the scripts of this workspace, version 1.2.3, and a stand-in for each program.
    pub fn new() -> Workshop {
        let workshop = Workshop(Scratch::new());
        workshop.source("source", "1.2.3");
        workshop
    }

    /// Makes one more source tree.
    pub fn source(&self, name: &str, version: &str) -> PathBuf {
        let source = self.path(name);
        for folder in ["package", "command", "completions", "man"] {
            fs::create_dir_all(source.join(folder)).unwrap();
        }
        for entry in fs::read_dir(workspace().join("package")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), source.join("package").join(entry.file_name())).unwrap();
        }
        for command in commands() {
            write_program(&source.join("command").join(&command), &format!("#!/bin/sh\nexit 100 # {version}\n"));
        }
        for page in ["svc.8", "sv.8"] {
            fs::write(source.join("man").join(page), "manual\n").unwrap();
        }
        for completion in ["svctl", "_svctl", "svctl.fish"] {
            fs::write(source.join("completions").join(completion), format!("# {version}\n")).unwrap();
        }
        fs::write(source.join("README.md"), "read me\n").unwrap();
        fs::write(source.join("LICENSE-MIT"), "licence\n").unwrap();
        let manifest = format!("[workspace]\nmembers = []\n\n[workspace.package]\nversion = \"{version}\"\n");
        fs::write(source.join("Cargo.toml"), manifest).unwrap();
        source
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes an empty image to install into.
    pub fn image(&self) -> PathBuf {
        let image = self.path("an image");
        fs::create_dir_all(image.join("etc")).unwrap();
        image
    }

    /// A command that runs a script of the source tree on an image.
    pub fn script(&self, name: &str) -> Command {
        let mut command = Command::new(self.path("source/package").join(name));
        command.env("DESTDIR", self.path("an image")).env_remove("PREFIX");
        command
    }

    /// Runs `package/upgrade` and `package/run`: all of `package/install` except building.
    pub fn install(&self) -> String {
        succeed(&mut self.script("upgrade")) + &succeed(&mut self.script("run"))
    }

    pub fn remove(&self) -> String {
        succeed(&mut self.script("remove"))
    }
}

/// A command `unshare` that gives a program namespaces of its own, in which it is root.
pub fn unshare(namespaces: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.args(namespaces).stdin(Stdio::null());
    command
}

/// Whether such namespaces are available here. If they are not, the check is skipped with a message.
pub fn can_unshare(namespaces: &[&str]) -> bool {
    let can = unshare(namespaces).arg("true").output().is_ok_and(|output| output.status.success());
    if !can {
        skip("no namespaces here");
    }
    can
}

pub fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a command that must succeed, and returns its output.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", words(&output));
    words(&output)
}

/// Runs a command that must fail with this code, and returns its output.
pub fn refuse(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {}", words(&output));
    words(&output)
}

fn words(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].concat().iter().map(|byte| char::from(*byte)).collect()
}

/// Everything that can be observed of a tree, by relative path.
pub type Snapshot = BTreeMap<PathBuf, String>;

/// The names, types, modes and contents of a tree.
pub fn contents(root: &Path) -> Snapshot {
    snapshot(root, |path, metadata| {
        let what = if metadata.is_symlink() {
            format!("-> {}", fs::read_link(path).unwrap().display())
        } else if metadata.is_file() {
            String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
        } else {
            "other".into()
        };
        format!("{:o} {what}", metadata.mode())
    })
}

/// [`contents`] with the inode and the time of the last change, which change whenever a file is rewritten.
pub fn identities(root: &Path) -> Snapshot {
    snapshot(root, |_, metadata| {
        format!("{:o} {} {}.{}", metadata.mode(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
    })
}

fn snapshot(root: &Path, describe: impl Fn(&Path, &fs::Metadata) -> String) -> Snapshot {
    let mut found = Snapshot::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            found.insert(path.strip_prefix(root).unwrap().into(), describe(&path, &metadata));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}
