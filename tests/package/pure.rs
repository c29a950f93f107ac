//! A file whose first lines say that it does neither input nor output opens nothing and reads no clock.

use crate::architecture::sources;
use crate::tree::workspace;
use std::collections::BTreeMap;

/// What such a file must not name. Types of `nix` and functions of the C library that only compute are allowed.
const FORBIDDEN: [&str; 22] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "UnixDatagram",
    "Instant::now",
    "SystemTime",
    "Moment::now",
    "Tai64N::now",
    "nix::fcntl",
    "nix::poll",
    "nix::sys::stat",
    "nix::sys::socket",
    "read_file",
    "put_file",
    "getpid",
];

/// The parts of lib's `sys` that only compute: whether a pattern matches, which day and hour a second is, and which
/// errors may pass.
const COMPUTES: [&str; 3] = ["fnmatch", "localtime", "is_shortage"];

/// The lines of code of a file that says "No I/O", without its comments and tests.
fn code(text: &str) -> Option<Vec<&str>> {
    let head: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    head.join(" ").to_lowercase().contains("no i/o").then(|| {
        // If the tests are in a file of their own, only one line names them here.
        let ends = |(line, next): &(&str, &str)| *line == "#[cfg(test)]" && !next.ends_with(';');
        let code = text.lines().zip(text.lines().skip(1).chain([""])).take_while(|pair| !ends(pair));
        code.map(|(line, _)| line).filter(|line| !line.trim_start().starts_with("//")).collect()
    })
}

/// The words in a line of code that do I/O or read a clock.
fn forbidden(line: &str) -> Vec<&str> {
    let named = FORBIDDEN.iter().copied().filter(|word| line.contains(word));
    let systems = line.match_indices("sys::").filter_map(|(at, word)| {
        let module = line[at + word.len()..].split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        let is_of_lib = ["daemontools::", "crate::"].iter().any(|path| line[..at].ends_with(path));
        (is_of_lib && !COMPUTES.contains(&module)).then_some(line)
    });
    let whole = line.starts_with("use ") && line.contains("daemontools::{") && line.contains("sys");
    named.chain(systems).chain(whole.then_some(line)).collect()
}

#[test]
fn what_says_that_it_does_no_io_does_none() {
    let mut files = BTreeMap::new();
    sources(workspace(), &mut files);
    let pure: Vec<_> = files.iter().filter_map(|(name, text)| code(text).map(|code| (name, code))).collect();
    let names: Vec<&str> = pure.iter().map(|(name, _)| name.as_str()).collect();
    for largest in ["supervise/src/machine.rs", "svscan/src/table/mod.rs", "lib/src/service/goal.rs"] {
        assert!(names.contains(&largest), "{largest} does not say that it does no I/O: {names:?}");
    }
    let found: Vec<String> = pure
        .iter()
        .flat_map(|(name, code)| code.iter().map(move |line| (name, forbidden(line))))
        .filter(|(_, words)| !words.is_empty())
        .map(|(name, words)| format!("{name}: {}", words.join(", ")))
        .collect();
    assert!(found.is_empty(), "they say that they do no I/O:\n{}", found.join("\n"));
}

#[test]
fn io_is_found_however_it_is_imported() {
    for line in [
        "use std::fs::File;",
        "    let now = Moment::now().uptime;",
        "use daemontools::sys::process;",
        "use daemontools::{Unable, report, sys};",
        "use crate::sys::{self, boot};",
    ] {
        assert!(!forbidden(line).is_empty(), "{line}");
    }
    for line in [
        "use nix::sys::signal::Signal;",
        "use daemontools::sys::localtime::{self, Calendar};",
        "use daemontools::tai64::Moment;",
        "use daemontools::{duration, report};",
    ] {
        assert_eq!(forbidden(line), Vec::<&str>::new(), "{line}");
    }
    assert_eq!(code("//! A table. No\n//! I/O.\nuse std::fs;"), Some(vec!["use std::fs;"]));
    assert_eq!(code("//! A file.\n// No I/O.\nuse std::fs;"), None);
    assert_eq!(
        code("//! A table: no I/O.\n\n// std::fs\nlet a;\n#[cfg(test)]\nmod tests {\nuse std::fs;"),
        Some(vec!["", "let a;"])
    );
    let apart = "//! A table: no I/O.\n#[cfg(test)]\nmod tests;\nuse std::fs;";
    assert_eq!(code(apart), Some(vec!["#[cfg(test)]", "mod tests;", "use std::fs;"]));
}
