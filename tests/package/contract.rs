//! CONTRACT.md: every statement names a test, and every test that it names exists.

use crate::tree::workspace;
use std::fs;
use std::path::Path;

/// The tests of the workspace as `file::name`. For tests in a file `tests.rs` or `mod.rs`, the first part is the
/// folder's name.
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

/// A number without a unit counts milliseconds in a setting, and is refused on a command line. The manual must say so
/// at each setting.
#[test]
fn the_manual_tells_the_unit_of_each_setting_that_is_a_time() {
    let page = fs::read_to_string(workspace().join("man/supervise.8")).unwrap();
    for setting in ["timeout-kill", "timeout-finish", "timeout-up", "watchdog", "restart-delay", "restart-limit"] {
        let (_, rest) = page.split_once(&format!("\n.It Pa {setting}\n")).expect(setting);
        let item = rest.split("\n.It ").next().unwrap_or_default();
        let first_sentence = item.split(".\n").next().unwrap_or_default();
        let (before, _) = first_sentence.split_once("\nin milliseconds where ").expect(setting);
        let example = before.lines().find_map(|line| line.strip_prefix(".Li ")).expect(setting);
        assert!(example.trim_end_matches(" ;").ends_with(['s', 'm']), "{setting}: {example} has no unit");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    for command in crate::tree::commands() {
        assert!(workspace().join(format!("man/{command}.8")).is_file(), "{command}");
    }
}
