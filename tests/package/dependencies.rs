//! DEPENDENCIES.md says of each crate that we name why it is there. cargo-deny checks licences and sources (deny.toml).

use crate::tree::workspace;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The members of the workspace that are not installed.
const NOT_INSTALLED: [&str; 5] = ["bench", "fuzz", "properties", "tests", "world"];

/// A crate that is named by one of our `Cargo.toml` files.
#[derive(Debug)]
struct Dependency {
    name: String,
    /// The folder of the crate that names it.
    folder: PathBuf,
    /// Whether it becomes a part of programs that are installed.
    is_installed: bool,
}

/// The crates that the members of this workspace name, except each other. `manifest` is the workspace's `Cargo.toml`.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(["metadata", "--quiet", "--format-version=1", "--locked", "--no-deps", "--manifest-path", manifest]);
    let output = command.current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = Vec::new();
    for package in json["packages"].as_array().unwrap() {
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
        let is_program = !NOT_INSTALLED.contains(&package["name"].as_str().unwrap());
        // A crate with a path is our own.
        let others = package["dependencies"].as_array().unwrap().iter().filter(|named| named["path"].is_null());
        found.extend(others.map(|named| Dependency {
            name: named["name"].as_str().unwrap().to_string(),
            folder: folder.to_path_buf(),
            is_installed: is_program && named["kind"].is_null(),
        }));
    }
    found
}

fn all_dependencies() -> Vec<Dependency> {
    let mut all = dependencies("Cargo.toml");
    all.extend(dependencies("fuzz/Cargo.toml").into_iter().filter(|named| named.folder.ends_with("fuzz")));
    assert!(all.len() > 20, "{all:?}");
    all
}

/// The first word of each row of a table.
fn listed(document: &str, heading: &str) -> Vec<String> {
    let (_, after) = document.split_once(heading).unwrap();
    let table = after.split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    rows.map(|row| row.split(' ').next().unwrap().to_string()).collect()
}

#[test]
fn each_crate_that_is_named_is_explained_and_no_other() {
    let document = fs::read_to_string(workspace().join("DEPENDENCIES.md")).unwrap();
    let all = all_dependencies();
    let of_programs: BTreeSet<String> =
        all.iter().filter(|named| named.is_installed).map(|named| named.name.clone()).collect();
    let others: BTreeSet<String> =
        all.into_iter().map(|named| named.name).filter(|name| !of_programs.contains(name)).collect();
    let sorted = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>();
    assert_eq!(listed(&document, "## In the programs\n"), sorted(of_programs));
    assert_eq!(listed(&document, "## In what builds and tests them\n"), sorted(others));
}

/// Whether a Rust file below this folder uses the word as the path of a crate.
fn is_said(folder: &Path, word: &str) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            // The folder fuzz/ contains a crate of its own.
            return !path.ends_with("target") && !path.ends_with("properties") && is_said(&path, word);
        }
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        is_rust && fs::read_to_string(&path).unwrap().contains(&format!("{word}::"))
    })
}

#[test]
fn each_crate_that_is_named_is_used_by_the_crate_that_names_it() {
    for Dependency { name, folder, .. } in all_dependencies() {
        assert!(is_said(&folder, &name.replace('-', "_")), "{} names {name}, and does not use it", folder.display());
    }
}
