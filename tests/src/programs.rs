//! The programs that the tests judge.

use nix::unistd::geteuid;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::{env, fs};

/// Whether the judged programs are those of daemontools 0.76.
pub fn original() -> bool {
    env::var_os("IMPLEMENTATION").is_some_and(|name| name == "original")
}

/// Returns `ours`, or `originals` if the original is judged. The reason for the intended difference stands beside the
/// call.
pub fn differs<T>(ours: T, originals: T) -> T {
    if original() { originals } else { ours }
}

pub fn is_root() -> bool {
    geteuid().is_root()
}

/// The folder of the judged programs: `$BIN`, or else the folder in which ours are built, now if need be.
pub fn programs() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| match env::var_os("BIN") {
        Some(folder) => fs::canonicalize(&folder).expect("the folder that BIN names"),
        None => built(),
    });
    &FOLDER
}

/// Builds our programs, with the profile and in the folder of this very test. Cargo has released its lock when it runs
/// a test.
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

/// The folder of the other programs, if they are installed: those of the original when ours are judged, and ours when
/// the original is judged.
pub fn others() -> Option<PathBuf> {
    let folder = if original() { built() } else { env::var_os("ORIGINAL").unwrap_or_else(|| "/usr/bin".into()).into() };
    let there = ["supervise", "svscan", "svc", "svstat", "svok"].iter().all(|name| folder.join(name).is_file());
    if !there {
        skip("daemontools is not installed");
    }
    there.then_some(folder)
}

/// Skips a check that cannot be made on this machine. With `CI` set, the test fails, as everything should be installed.
/// Otherwise a message appears: the harness hides what a passing test prints, but not what is written to standard error
/// directly.
pub fn skip(reason: &str) {
    assert!(env::var_os("CI").is_none(), "cannot be skipped with CI set: {reason}");
    let test = std::thread::current().name().unwrap_or("a test").to_string();
    let line = format!("skipped: {reason} ({test})\n");
    // If standard error cannot be written to, there is nothing to do.
    let _ = nix::unistd::write(std::io::stderr(), line.as_bytes());
}

/// Compares a file of this workspace with what it should contain, or writes it with `UPDATE=1`. With `CI` set, no file
/// may be written.
pub fn golden(file: &Path, expected: &str, test: &str) {
    let command = format!("UPDATE=1 cargo test -p tests --test {test}");
    if env::var_os("UPDATE").is_some() {
        assert!(env::var_os("CI").is_none(), "with CI set no file is updated, not even by {command}");
        fs::write(file, expected).expect("write the file");
    }
    let found = fs::read_to_string(file).unwrap_or_default();
    assert_eq!(found, expected, "{} is not as it should be: {command}", file.display());
}

/// Whether a program of the system is installed. If not, the check is skipped.
pub fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let there = env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !there {
        skip(&format!("{program} is not installed"));
    }
    there
}

#[cfg(test)]
mod tests {
    // Tests report a failure by a panic.
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The variable that tells a test to act as the test that another test observes.
    const PART: &str = "PART_OF_A_TEST";

    /// Runs a test of this module in a process of its own. Returns whether it passes, and its visible output.
    fn look_at(test: &str, part: &Path, variables: &[&str]) -> (bool, String) {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", &format!("programs::tests::{test}")]).env(PART, part);
        command.env_remove("CI").env_remove("UPDATE").envs(variables.iter().map(|name| (name, "1")));
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    #[test]
    fn a_skipped_check_is_seen_and_fails_where_nothing_may_be_skipped() {
        if env::var_os(PART).is_some() {
            return skip("there is no moon");
        }
        let this = "a_skipped_check_is_seen_and_fails_where_nothing_may_be_skipped";
        let (passed, seen) = look_at(this, Path::new("skip"), &[]);
        assert!(passed && seen.contains(&format!("skipped: there is no moon (programs::tests::{this})\n")), "{seen}");
        let (passed, seen) = look_at(this, Path::new("skip"), &["CI"]);
        assert!(!passed && seen.contains("cannot be skipped with CI set: there is no moon"), "{seen}");
    }

    #[test]
    fn a_file_is_updated_where_nothing_is_judged() {
        if let Some(file) = env::var_os(PART) {
            return golden(Path::new(&file), "new\n", "package");
        }
        let this = "a_file_is_updated_where_nothing_is_judged";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let content = || fs::read_to_string(&file).unwrap();
        fs::write(&file, "old\n").unwrap();
        for (variables, said) in [(&[][..], "is not as it should be"), (&["CI", "UPDATE"], "with CI set no file")] {
            let (passed, seen) = look_at(this, &file, variables);
            assert!(!passed && seen.contains(said) && content() == "old\n", "{variables:?} {seen}");
        }
        assert!(look_at(this, &file, &["UPDATE"]).0 && content() == "new\n");
        assert!(look_at(this, &file, &[]).0 && look_at(this, &file, &["CI"]).0);
    }
}
