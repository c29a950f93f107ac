//! Whose code is in what we build, under which licences: DEPENDENCIES.md says so, and this that it is true.

use crate::tree::workspace;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Of a choice one must be among these; none asks more of whoever passes a program on than to name its authors.
const ALLOWED: [&str; 7] = ["0BSD", "Apache-2.0", "BSD-3-Clause", "MIT", "Unicode-3.0", "Unlicense", "Zlib"];

/// Members of the workspace that nobody installs.
const NOT_INSTALLED: [&str; 3] = ["bench", "properties", "tests"];

struct Package {
    name: String,
    licence: String,
    /// None of the workspace's own.
    source: Option<String>,
}

struct Metadata {
    packages: BTreeMap<String, Package>,
    /// What each is built from: another package, and whether that ends up in it.
    edges: BTreeMap<String, Vec<(String, bool)>>,
}

impl Metadata {
    /// As cargo tells it, for the platform that programs are built for.
    fn read() -> Metadata {
        let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        command.args(["metadata", "--quiet", "--format-version=1", "--locked"]);
        command.args(["--filter-platform", "x86_64-unknown-linux-gnu"]).current_dir(workspace());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().map(String::from);
        let package = |value: &Value| Package {
            name: text(&value["name"]).unwrap(),
            licence: text(&value["license"]).unwrap_or_default(),
            source: text(&value["source"]),
        };
        let edge = |value: &Value| {
            let kinds = list(&value["dep_kinds"]);
            (text(&value["pkg"]).unwrap(), kinds.iter().any(|kind| kind["kind"].is_null()))
        };
        let edges = |value: &Value| (text(&value["id"]).unwrap(), list(&value["deps"]).iter().map(edge).collect());
        Metadata {
            packages: list(&json["packages"]).iter().map(|p| (text(&p["id"]).unwrap(), package(p))).collect(),
            edges: list(&json["resolve"]["nodes"]).iter().map(edges).collect(),
        }
    }

    /// Crates that end up in installed programs.
    fn installed(&self) -> BTreeSet<&str> {
        let is_program = |p: &Package| p.source.is_none() && !NOT_INSTALLED.contains(&p.name.as_str());
        let programs = self.packages.iter().filter(|(_, package)| is_program(package)).map(|(id, _)| id.as_str());
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = programs.collect();
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(self.edges[id].iter().filter(|(_, stays)| *stays).map(|(id, _)| id.as_str()));
            }
        }
        found
    }

    /// Others' crates, a line each, of those that `wanted` says.
    fn table(&self, wanted: impl Fn(&str) -> bool) -> String {
        let others = self.packages.iter().filter(|(id, package)| package.source.is_some() && wanted(id));
        let lines: BTreeSet<String> =
            others.map(|(_, p)| format!("| {} | {} |\n", p.name, p.licence.replace('/', " OR "))).collect();
        lines.into_iter().collect()
    }
}

/// Each of several licences, or one of a choice, is allowed.
fn is_allowed(licence: &str) -> bool {
    let one =
        |choice: &str| choice.split(" OR ").flat_map(|choice| choice.split('/')).any(|name| ALLOWED.contains(&name));
    licence.split(" AND ").all(|choice| one(choice.trim_start_matches('(').trim_end_matches(')')))
}

#[test]
fn a_licence_is_allowed_or_not() {
    for allowed in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in
        ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND MPL-2.0", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(!is_allowed(refused), "{refused}");
    }
}

#[test]
fn crates_are_from_the_registry_and_under_licences_that_allow_everything() {
    let metadata = Metadata::read();
    assert!(metadata.packages.len() > 20);
    for Package { name, licence, source } in metadata.packages.values() {
        assert!(is_allowed(licence), "{name}: {licence}");
        let known = source.as_ref().is_none_or(|source| source.contains("crates.io-index"));
        assert!(known, "{name}: {source:?}");
    }
}

/// A crate that is added or leaves: `UPDATE=1 cargo test -p tests --test package dependencies`.
#[test]
fn dependencies_are_those_that_are_listed() {
    let metadata = Metadata::read();
    let installed = metadata.installed();
    let expected = format!(
        "# Others' crates\n\n\
        Which versions, says `Cargo.lock`. A test keeps this list true; it is written by\n\
        `UPDATE=1 cargo test -p tests --test package dependencies`. Allowed licences: {}.\n\n\
        ## In the programs\n\n| crate | licence |\n|---|---|\n{}\n\
        ## In what builds and tests them\n\n| crate | licence |\n|---|---|\n{}",
        ALLOWED.join(", "),
        metadata.table(|id| installed.contains(id)),
        metadata.table(|id| !installed.contains(id)),
    );
    let file = workspace().join("DEPENDENCIES.md");
    tests::golden(&file, &expected, "package dependencies");
}
