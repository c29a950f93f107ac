//! CONTRACT.md: every statement names a test, and every test it names is there.

use crate::tree::workspace;
use std::fs;
use std::path::Path;

/// The tests of the workspace as `file::name`, and `folder::name` for those in a file `tests.rs` or `mod.rs`.
fn tests_of(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            tests_of(&path, found);
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let module = if ["tests", "mod"].contains(&stem) { folder } else { stem };
        for (_, after) in text.match_indices("#[test]").map(|(at, _)| text.split_at(at)) {
            let name = after.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
            found.extend(name.map(|(name, _)| format!("{module}::{name}")));
        }
    }
}

#[test]
fn every_statement_names_tests_that_exist() {
    let mut tests = Vec::new();
    tests_of(workspace(), &mut tests);
    let text = fs::read_to_string(workspace().join("CONTRACT.md")).unwrap();
    let lists = text.split("\n\n").filter_map(|part| part.strip_prefix("- "));
    let mut count = 0;
    for statement in lists.flat_map(|list| list.split("\n- ")) {
        count += 1;
        let named: Vec<&str> = statement.split('`').filter(|word| word.contains("::")).collect();
        assert!(!named.is_empty(), "no test for: {statement}");
        for name in named {
            assert!(tests.iter().any(|test| test == name), "there is no test {name}");
        }
    }
    assert!(count >= 25, "{count} statements found");
}

#[test]
fn every_command_has_a_manual_page() {
    for command in crate::tree::commands() {
        assert!(workspace().join(format!("man/{command}.8")).is_file(), "{command}");
    }
}
