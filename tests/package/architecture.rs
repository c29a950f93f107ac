//! ARCHITECTURE.md, CONTRIBUTING.md and RELEASING.md: every name in backquotes exists in the tree. DEPENDENCIES.md: every
//! path of a Rust file does.

use crate::tree::workspace;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The Rust files of the workspace, by their path in it.
pub fn sources(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
        if path.is_dir() && !is_hidden && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(workspace()).unwrap().to_str().unwrap().to_string();
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// What a word in backquotes names.
#[derive(Debug, PartialEq, Eq)]
enum Named<'a> {
    /// A file or folder of the tree.
    Path(&'a str),
    /// A function, with its type if it has one.
    Function(Option<&'a str>, &'a str),
    /// A type or constant, perhaps with one of its variants or constants.
    Item(&'a str, Option<&'a str>),
    Other,
}

const EXTENSIONS: [&str; 7] = [".rs", ".md", ".toml", ".txt", ".8", ".yml", ".editorconfig"];

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn named(word: &str) -> Named<'_> {
    if let Some(path) = word.strip_suffix("()") {
        return match path.rsplit_once("::") {
            Some((of, function)) if is_word(of) && is_word(function) => Named::Function(Some(of), function),
            None if is_word(path) => Named::Function(None, path),
            Some(_) | None => Named::Other,
        };
    }
    let is_path = word.starts_with(".ci/") || EXTENSIONS.iter().any(|end| word.ends_with(end)) || word.ends_with('/');
    if is_path && !word.contains(char::is_whitespace) {
        return Named::Path(word);
    }
    let is_item = |text: &str| is_word(text) && text.starts_with(|letter: char| letter.is_ascii_uppercase());
    match word.split_once("::") {
        Some((of, item)) if is_item(of) && is_item(item) => Named::Item(of, Some(item)),
        // A single word in capitals may be a signal or an environment variable.
        None if is_item(word) && word.len() > 2 && word.contains(|letter: char| letter.is_ascii_lowercase()) => {
            Named::Item(word, None)
        }
        Some(_) | None => Named::Other,
    }
}

/// Whether a text contains one of these keywords in front of this whole word.
fn defines(text: &str, keywords: &[&str], word: &str) -> bool {
    keywords.iter().any(|keyword| {
        let start = format!("{keyword} {word}");
        text.match_indices(&start).any(|(at, _)| {
            let is_free = |letter: Option<char>| letter.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_');
            is_free(text[..at].chars().next_back()) && is_free(text[at + start.len()..].chars().next())
        })
    })
}

/// Whether one file contains a function of this name, and of this type if one is given.
fn has_function(text: &str, of: Option<&str>, name: &str) -> bool {
    defines(text, &["fn"], name) && of.is_none_or(|of| defines(text, &["impl", "for", "impl<'_>", "impl<'a>"], of))
}

/// Types of the standard library.
const STANDARD: [&str; 2] = ["Duration", "Result"];
const ITEMS: [&str; 6] = ["struct", "enum", "trait", "type", "const", "static"];

/// The names in a document that are wrong. If a file is named before a function in the same list item, table row or
/// paragraph, the function must be in that file.
fn faults(document: &str, sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fenced = false;
    let mut file = None;
    let lines = document.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced
    });
    for line in lines {
        let is_new =
            line.is_empty() || line.starts_with(['|', '-', '#']) || line.starts_with(|c: char| c.is_ascii_digit());
        if is_new {
            file = None;
        }
        for word in line.split('`').skip(1).step_by(2) {
            let is_there = match named(word) {
                Named::Path(path) => {
                    file = sources.get_key_value(path).map(|(_, text)| text);
                    workspace().join(path).exists()
                }
                Named::Function(of, name) => match file {
                    Some(text) => has_function(text, of, name),
                    None => sources.values().any(|text| has_function(text, of, name)),
                },
                Named::Item(of, None) if STANDARD.contains(&of) => true,
                Named::Item(of, item) => sources.values().any(|text| {
                    defines(text, &ITEMS, of) && item.is_none_or(|item| defines(text, &["   ", "const"], item))
                }),
                Named::Other => true,
            };
            if !is_there {
                faults.push(format!("{word}: {line}"));
            }
        }
    }
    faults
}

pub fn all_sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    sources(workspace(), &mut found);
    found
}

/// That page names what other crates define too.
#[test]
fn every_path_in_the_page_of_dependencies_is_in_the_tree() {
    let text = fs::read_to_string(workspace().join("DEPENDENCIES.md")).unwrap();
    let words = text.split('`').skip(1).step_by(2);
    let paths: Vec<&str> = words.filter(|word| word.contains('/') && word.ends_with(".rs")).collect();
    assert!(paths.len() > 3, "{paths:?}");
    let absent: Vec<&&str> = paths.iter().filter(|path| !workspace().join(path).exists()).collect();
    assert!(absent.is_empty(), "{absent:?}");
}

#[test]
fn every_name_in_the_documents_for_maintainers_is_in_the_tree() {
    let sources = all_sources();
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "RELEASING.md"] {
        let text = fs::read_to_string(workspace().join(document)).unwrap();
        assert_eq!(faults(&text, &sources), [""; 0], "{document}");
    }
}

#[test]
fn a_name_that_is_not_in_the_tree_is_found() {
    let sources = all_sources();
    for right in [
        "`lib/src/tai64.rs`: `parse()`",
        "`Machine::step()` decides",
        "`Event::Ended`, and `Command::ALL`",
        "`man/svc.8` says `SIGTERM`, `svc -d`",
        "- `svc/src/main.rs`\n- `Machine::step()`",
        "```\n`Machine::fly()`\n```",
    ] {
        assert_eq!(faults(right, &sources), [""; 0], "{right}");
    }
    for wrong in [
        "`lib/src/tai65.rs`",
        "`svlag/`",
        "`lib/src/tai64.rs`: `parse_backwards()`",
        "`lib/src/tai64.rs`: `step()`",
        "`svc/src/main.rs`: `Machine::step()`",
        "`Machine::fly()`",
        "`Engine::step()`",
        "`Event::Exploded`",
        "the `Enginery`",
        "- `svc/src/main.rs`,\n  `pars()`",
    ] {
        assert_eq!(faults(wrong, &sources).len(), 1, "{wrong}");
    }
}
