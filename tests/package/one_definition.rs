//! Each contract on disk has one home: the names of the files in a log directory and in `supervise/` are written in one
//! place. Some questions to the system are asked in one place too. And each program is in the library of its crate.
//!
//! The test examines only the code of the programs and of lib, without comments and without the tests beside the code.
//! `tests/`, `bench/` and `fuzz/` judge the contract from outside, so they repeat it in their own words.

use crate::architecture::all_sources;
use std::collections::BTreeMap;

/// A source file without its comments and tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Code {
    /// The code without comments. Each literal is replaced by `""`.
    text: String,
    /// The contents of its string literals, except the verbs of messages.
    literals: Vec<String>,
}

/// Cuts off the tests at the end of a file.
fn without_tests(source: &str) -> &str {
    source.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(source)
}

/// The functions whose first argument is a verb: what the system refuses to do. `run` and `control` are such verbs too.
const COMPLAINTS: [&str; 4] = ["Unable::new(", "Unable::execute(", "Unable::execute_own(", "unable_to("];

fn code_of(source: &str) -> Code {
    let mut code = Code::default();
    let mut rest = without_tests(source);
    while let Some(next) = rest.chars().next() {
        let skipped = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => {
                let end = end_of_literal(&rest[1..]);
                if !COMPLAINTS.iter().any(|complaint| code.text.trim_end().ends_with(complaint)) {
                    code.literals.push(rest[1..1 + end].to_string());
                }
                code.text.push_str("\"\"");
                end + 2
            }
            'r' if !code.text.ends_with(|before: char| before.is_alphanumeric() && before != 'b') => {
                let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
                let start = hashes + 2;
                if rest[1 + hashes..].starts_with('"') {
                    let close = format!("\"{}", "#".repeat(hashes));
                    let end = rest[start..].find(&close).unwrap();
                    code.literals.push(rest[start..start + end].to_string());
                    code.text.push_str("\"\"");
                    start + end + close.len()
                } else {
                    code.text.push('r');
                    1
                }
            }
            // This is a character literal. Otherwise the quote begins a lifetime.
            '\'' if rest.starts_with("'\\") => rest[3..].find('\'').unwrap() + 4,
            '\'' if rest[1..].chars().nth(1) == Some('\'') => 2 + rest[1..].chars().next().unwrap().len_utf8(),
            other => {
                code.text.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[skipped..];
    }
    code
}

/// The length of a string literal whose opening quote comes before `text`.
fn end_of_literal(text: &str) -> usize {
    let mut escaped = false;
    let is_end = |byte: u8| {
        let is_end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    };
    text.bytes().position(is_end).unwrap()
}

/// The code of the programs and of lib, by path.
fn programs() -> BTreeMap<String, Code> {
    let judges = ["tests/", "bench/", "fuzz/"];
    let is_code = |path: &str| !judges.iter().any(|judge| path.starts_with(judge)) && !path.ends_with("/tests.rs");
    all_sources().into_iter().filter(|(path, _)| is_code(path)).map(|(path, text)| (path, code_of(&text))).collect()
}

/// The literals that name one of these files: the whole literal, or a part between a slash and the next character that
/// cannot be in a name.
fn that_name<'a>(code: &'a Code, names: &[&str]) -> Vec<&'a str> {
    let is_named = |literal: &str| {
        let end =
            |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c)).unwrap_or(text.len());
        let mut behind = literal.split('/').skip(1).map(|text| &text[..end(text)]);
        names.contains(&literal) || behind.any(|name| names.contains(&name))
    };
    code.literals.iter().map(String::as_str).filter(|literal| is_named(literal)).collect()
}

/// The files of a log directory whose names mean nothing else.
const LOG_FILES: [&str; 6] = ["current", "previous", "processed", "newstate", "compressing", "compressing.lock"];
/// The files whose names other contracts use too: svscan has a lock, supervise has a state.
const COMMON: [&str; 3] = ["lock", "state", "journal"];
const SUFFIXES: [&str; 4] = [".zst", ".gz", "zst", "gz"];

#[test]
fn only_lib_logdir_names_its_files_and_modes() {
    let mut faults = Vec::new();
    for (path, code) in programs().iter().filter(|(path, _)| !path.starts_with("lib/src/logdir/")) {
        let mut fault = |what: &str| faults.push(format!("{path}: {what}"));
        that_name(code, &LOG_FILES).into_iter().for_each(&mut fault);
        if code.text.contains("0o744") {
            fault("0o744");
        }
        if path.starts_with("multilog/") || path.starts_with("svlog/") {
            that_name(code, &COMMON).into_iter().for_each(&mut fault);
            code.literals
                .iter()
                .filter(|literal| SUFFIXES.contains(&literal.as_str()))
                .for_each(|suffix| fault(suffix));
            ["0o644", "0o100"].into_iter().filter(|mode| code.text.contains(mode)).for_each(&mut fault);
        }
    }
    assert_eq!(faults, [""; 0], "lib/src/logdir has these names");
}

/// The files of `supervise/` that a program could name without their directory.
const SERVICE_FILES: [&str; 3] = ["status.new", "state.new", "orphan.new"];

#[test]
fn only_lib_service_names_what_lies_in_supervise() {
    let mut faults = Vec::new();
    for (path, code) in programs().iter().filter(|(path, _)| !path.starts_with("lib/src/service/")) {
        let names = |literal: &&String| literal.contains("supervise/") || SERVICE_FILES.contains(&literal.as_str());
        faults.extend(code.literals.iter().filter(names).map(|literal| format!("{path}: {literal}")));
    }
    assert_eq!(faults, [""; 0], "lib/src/service has these names");
}

/// Questions to the system that one file asks for all programs.
const ASKED_ONCE: [(&str, &str); 2] =
    [("S_IFMT", "lib/src/sys/kind.rs"), ("setrlimit(Resource::RLIMIT_NOFILE", "lib/src/sys/open_files.rs")];

#[test]
fn what_kind_a_file_is_and_how_the_limit_of_open_files_is_raised_stands_in_one_place_each() {
    for (question, place) in ASKED_ONCE {
        let programs = programs();
        let asking = programs.iter().filter(|(_, code)| code.text.contains(question)).map(|(path, _)| path.as_str());
        assert_eq!(asking.collect::<Vec<_>>(), [place], "{question}");
    }
}

/// The names in a service directory that several programs use, and that mean nothing else in a path.
const SERVICE_NAMES: [&str; 4] = ["log", "run", "control", "timeout-kill"];
/// The files in which such a name means something else: a word that users type, and a directory of the machine.
const NO_SERVICE: [(&str, &str); 6] = [
    ("lib/src/suggest.rs", "log"),
    ("svctl/src/log.rs", "run"),
    ("svctl/src/verbs.rs", "log"),
    ("svlog/src/arguments.rs", "run"),
    ("svlog/src/arguments/contradictions.rs", "run"),
    ("svscanboot/src/errors.rs", "/run"),
];

/// The literals that are a path with one of these names.
fn that_lead_to<'a>(code: &'a Code, names: &[&str]) -> Vec<&'a str> {
    let is_path = |literal: &&str| !literal.contains(char::is_whitespace);
    let leads = |literal: &&str| is_path(literal) && literal.split('/').any(|step| names.contains(&step));
    code.literals.iter().map(String::as_str).filter(leads).collect()
}

#[test]
fn only_lib_service_says_what_run_and_log_are_called() {
    let mut faults = Vec::new();
    for (path, code) in programs().iter().filter(|(path, _)| !path.starts_with("lib/src/service/")) {
        let is_fault = |literal: &&str| !NO_SERVICE.contains(&(path.as_str(), *literal));
        let found = that_lead_to(code, &SERVICE_NAMES).into_iter().filter(is_fault);
        faults.extend(found.map(|literal| format!("{path}: {literal}")));
    }
    assert_eq!(faults, [""; 0], "lib/src/service has these names");
}

#[test]
fn a_path_to_run_is_found_and_a_verb_or_a_sentence_is_not() {
    let names = |source: &str| that_lead_to(&code_of(source), &SERVICE_NAMES).len();
    for found in
        ["f(\"run\")", "f(c\"log\")", "f(\"../run\")", "f(b\"/log\")", "f(\"log/supervise\")", "x == \"control\""]
    {
        assert_eq!(names(found), 1, "{found}");
    }
    for passed in [
        "Unable::new(\"run\", name, errno)",
        "Unable::execute(\n    \"run\", name)",
        "f().unable_to(\"control\", name)",
        "f(\"run it in the foreground\")",
        "f(\"logs\", \"rundown\")",
        "// f(\"run\")",
    ] {
        assert_eq!(names(passed), 0, "{passed}");
    }
}

#[test]
fn a_name_in_code_is_found_and_one_in_a_comment_or_a_sentence_is_not() {
    let names = |source: &str| that_name(&code_of(source), &LOG_FILES).len();
    for found in
        ["f(\"current\")", "f(b\"/current to disk\")", "r#\"main/current\"#", "f('\"', \"\\\"\", \"processed\")"]
    {
        assert_eq!(names(found), 1, "{found}");
    }
    for passed in [
        "// f(\"current\")",
        "/* \"current\" */ let r = 1;",
        "f(\"rename current to previous in directory\")",
        "f(\"currently\", '\"', \"x\")",
        "fn a<'a>() {}\n#[cfg(test)]\nmod tests { f(\"current\") }",
    ] {
        assert_eq!(names(passed), 0, "{passed}");
    }
    assert_eq!(code_of("a(\"b\") // c\n").text, "a(\"\") \n");
}

/// The crates whose programs are in their library.
const IN_LIBRARY: [&str; 5] = ["multilog", "supervise", "svctl", "svlog", "svscan"];

#[test]
fn the_file_of_a_program_only_names_the_function_that_is_the_program() {
    let sources = all_sources();
    for program in IN_LIBRARY {
        let is_main = |path: &str| {
            let rest = path.strip_prefix(program).and_then(|path| path.strip_prefix("/src/"));
            rest.is_some_and(|path| path == "main.rs" || path.starts_with("bin/"))
        };
        let mains: Vec<(&String, &String)> = sources.iter().filter(|(path, _)| is_main(path)).collect();
        assert!(!mains.is_empty(), "{program}");
        for (path, source) in mains {
            let code = code_of(source).text;
            let starts = ["daemontools::main!(", "daemontools::main_by_name!("];
            assert_eq!(starts.map(|start| code.matches(start).count()).iter().sum::<usize>(), 1, "{path}");
            assert!(!code.contains("fn ") && !code.contains("mod "), "{path} contains code");
        }
    }
}
