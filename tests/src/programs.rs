//! Which programs are judged.

use nix::unistd::geteuid;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::{env, fs};

/// Are the programs daemontools 0.76's?
pub fn original() -> bool {
    env::var_os("IMPLEMENTATION").is_some_and(|name| name == "original")
}

/// `ours`, or where the difference is meant and its reason is given beside, the original's.
pub fn differs<T>(ours: T, originals: T) -> T {
    if original() { originals } else { ours }
}

pub fn is_root() -> bool {
    geteuid().is_root()
}

/// The folder of the programs that are judged: `$BIN`, or else where ours are built, now if need be.
pub fn programs() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| match env::var_os("BIN") {
        Some(folder) => fs::canonicalize(&folder).expect("the folder that BIN names"),
        None => built(),
    });
    &FOLDER
}

/// Builds ours, with the profile and in the folder of this very test. Cargo has let go of its lock when it runs a test.
fn built() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    let folder = test.ancestors().nth(2).expect("the folder of the profile");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--workspace", "--bins", "--profile", profile, "--target-dir"]);
    let status = cargo.arg(folder.parent().expect("the target directory")).status();
    assert!(status.expect("start cargo").success(), "the programs cannot be built");
    folder.to_path_buf()
}

/// The folder of the other programs, if they are there: the original's where ours are judged, ours where the
/// original's are.
pub fn others() -> Option<PathBuf> {
    let folder = if original() { built() } else { env::var_os("ORIGINAL").unwrap_or_else(|| "/usr/bin".into()).into() };
    let there = ["supervise", "svscan", "svc", "svstat", "svok"].iter().all(|name| folder.join(name).is_file());
    if !there {
        skip("daemontools is not installed");
    }
    there.then_some(folder)
}

/// A check that cannot be made here. It does not count as passed where everything is expected to be installed.
pub fn skip(reason: &str) {
    assert!(env::var_os("CI").is_none(), "cannot be skipped with CI set: {reason}");
    eprintln!("skipped: {reason}");
}

/// Is a program of the system installed? If not, the check is skipped.
pub fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let there = env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !there {
        skip(&format!("{program} is not installed"));
    }
    there
}
