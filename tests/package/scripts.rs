//! The scripts as text files.

use crate::tree::{commands, succeed, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::skip;

/// Every shell script of the package, of the examples, and of the checks.
fn scripts() -> Vec<PathBuf> {
    let mut scripts = Vec::new();
    let mut folders = ["package", "examples", ".ci"].map(|folder| workspace().join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if ["#!/bin/sh\n", "#!/bin/bash\n"].iter().any(|first| starts_with(&path, first)) {
                scripts.push(path);
            }
        }
    }
    scripts
}

fn starts_with(path: &Path, first: &str) -> bool {
    fs::read(path).unwrap().starts_with(first.as_bytes())
}

#[test]
fn shellcheck_has_nothing_to_say() {
    if Command::new("shellcheck").arg("--version").output().is_err() {
        return skip("shellcheck is not installed");
    }
    let scripts = scripts();
    assert!(scripts.len() >= 16, "{scripts:?}");
    assert_eq!(succeed(Command::new("shellcheck").arg("-x").args(scripts)), "");
}

#[test]
fn the_list_of_programs_is_sorted_and_has_all_that_the_original_has() {
    let commands = commands();
    assert!(commands.is_sorted());
    for original in [
        "envdir",
        "envuidgid",
        "fghack",
        "multilog",
        "pgrphack",
        "readproctitle",
        "setlock",
        "setuidgid",
        "softlimit",
        "supervise",
        "svc",
        "svok",
        "svscan",
        "svscanboot",
        "svstat",
        "tai64n",
        "tai64nlocal",
    ] {
        assert!(commands.iter().any(|command| command == original), "{original}");
    }
}

/// What keeps an installation from succeeding is said before the programs are built.
#[test]
fn the_installation_says_first_how_it_is_used_and_who_can_do_it() {
    // A tree whose other scripts do nothing, in which the account seems to be another one than root's.
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    fs::create_dir(at("package")).unwrap();
    for name in ["install", "common", "commands", "compat"] {
        fs::copy(workspace().join("package").join(name), at("package").join(name)).unwrap();
    }
    for (name, does) in
        [("id", "echo 1000"), ("package/compile", "exit 7"), ("package/upgrade", ""), ("package/run", "")]
    {
        fs::write(at(name), format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", scratch.path().display(), std::env::var("PATH").unwrap());
    let install = |words: &[&str]| {
        let mut command = Command::new(at("package/install"));
        let output =
            command.args(words).env("PATH", &path).env_remove("DESTDIR").env_remove("PREFIX").output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), stdout, stderr)
    };
    let usage = "usage: package/install [ --compat ] [ --link-dir DIR ]...\n";
    assert_eq!(install(&["--help"]), (Some(0), usage.into(), String::new()));
    assert_eq!(install(&["--frob"]), (Some(100), String::new(), format!("package/install: {usage}")));
    let refused = "package/install: only root can install (DESTDIR makes an image)\n";
    assert_eq!(install(&[]), (Some(111), String::new(), refused.into()));
}

#[test]
fn manual_pages_are_well_formed() {
    if Command::new("mandoc").arg("/dev/null").output().is_err() {
        return skip("mandoc is not installed");
    }
    for page in fs::read_dir(workspace().join("man")).unwrap() {
        let page = page.unwrap().path();
        let output = Command::new("mandoc").args(["-T", "lint"]).arg(&page).output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        // mandoc searches this machine's manuals, where ours are not installed.
        let complaints: Vec<_> = words.lines().filter(|line| !line.contains("referenced manual not found")).collect();
        assert_eq!(complaints, [""; 0]);
    }
}
