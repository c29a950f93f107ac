//! The section DIAGNOSTICS of the manuals: every message that a daemon's source can write is listed there, with its
//! meaning.

use crate::architecture::sources;
use crate::tree::workspace;
use std::collections::BTreeMap;
use std::fs;

/// A program with its manual, and those of its files whose texts need not be listed, each for a reason.
const MANUALS: [(&str, &[&str]); 3] = [
    ("svscan", &["svscan/src/handover.rs"]),
    // The manual writes REASON for what is wrong with the text of a setting.
    ("supervise", &["supervise/src/settings.rs"]),
    (
        "multilog",
        &[
            // These files contain what --check prints, and what is wrong with an action, for which the manual writes
            // REASON.
            "multilog/src/check.rs",
            "multilog/src/meaning.rs",
            "multilog/src/lint.rs",
            "multilog/src/limit.rs",
            "multilog/src/pattern.rs",
            "multilog/src/schedule.rs",
            "multilog/src/script.rs",
            "multilog/src/settings.rs",
            "multilog/src/syslog.rs",
            // These are programs with manuals of their own.
            "multilog/src/logcompress.rs",
            "multilog/src/tai64n.rs",
            "multilog/src/tai64nlocal.rs",
        ],
    ),
];

/// The string literals of a source file, without its tests and comments.
fn texts(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n").replace("'\"'", "").replace("b'\"'", "");
    let (mut found, mut text, mut is_text, mut letters) = (Vec::new(), String::new(), false, code.chars());
    while let Some(letter) = letters.next() {
        match (is_text, letter) {
            (true, '"') => found.push(std::mem::take(&mut text)),
            (true, '\\') => match letters.next() {
                // The literal continues in the next line.
                Some('\n') => letters = letters.as_str().trim_start().chars(),
                Some('n') => text.push('\n'),
                escaped => text.extend(escaped),
            },
            (true, letter) => text.push(letter),
            (false, _) => {}
        }
        is_text ^= letter == '"';
    }
    found
}

/// The parts of a message between its placeholders, if they have at least two words.
fn phrases(text: &str) -> Vec<String> {
    let is_help = text.contains("usage: ") || text.trim().contains('\n');
    let parts = text.split('{').map(|part| part.rsplit('}').next().unwrap_or_default());
    let parts = parts.map(|part| part.trim_matches([' ', ',', ';', ':', '(', ')', '"', '\n']).to_string());
    let is_word = |word: &&str| word.len() > 1 && word.chars().all(|letter| letter.is_ascii_lowercase());
    parts.filter(|part| !is_help && part.split([' ', ',', ':', ';']).filter(is_word).count() > 1).collect()
}

/// The section DIAGNOSTICS as plain text.
fn diagnostics(program: &str) -> String {
    let page = fs::read_to_string(workspace().join(format!("man/{program}.8"))).expect("a manual");
    let (_, section) = page.split_once("\n.Sh DIAGNOSTICS\n").expect("a section");
    let section = section.split("\n.Sh ").next().unwrap_or_default();
    let lines = section.lines().map(|line| match line.strip_prefix('.') {
        Some("Nm") => program,
        Some(request) => request.split_once(' ').map_or("", |(_, words)| words),
        None => line,
    });
    lines.collect::<Vec<_>>().join(" ").replace(r"\(dq", "\"").replace(r"\&", "").replace(r"\e", r"\")
}

#[test]
fn every_message_of_a_daemon_is_in_its_manual() {
    let mut files = BTreeMap::new();
    sources(workspace(), &mut files);
    for (program, left_out) in MANUALS {
        let page = diagnostics(program);
        let of_it = files.iter().filter(|(file, _)| file.starts_with(&format!("{program}/src/")));
        let read = of_it.filter(|(file, _)| !file.contains("tests") && !left_out.contains(&file.as_str()));
        let phrases: Vec<(&String, String)> = read
            .flat_map(|(file, text)| texts(text).into_iter().map(move |text| (file, text)))
            .flat_map(|(file, text)| phrases(&text).into_iter().map(move |words| (file, words)))
            .collect();
        assert!(phrases.len() > 25, "{program}: {phrases:?}");
        let missing: Vec<String> = phrases
            .iter()
            .filter(|(_, words)| !page.contains(words))
            .map(|(file, words)| format!("{file}: {words}"))
            .collect();
        assert!(missing.is_empty(), "man/{program}.8 lacks\n{}", missing.join("\n"));
    }
}

#[test]
fn texts_and_their_phrases_are_found() {
    let source = "warn(b\"unable to fork for {name}, now\"); // \"no\"\n// \"nor this\"\nf(\"a \\\n   long one\", '\"');\n\
                  #[cfg(test)]\nx(\"in a test\")";
    assert_eq!(texts(source), ["unable to fork for {name}, now", "no", "a long one"]);
    let table: [(&str, &[&str]); 5] = [
        ("unable to fork for {name}, right now", &["unable to fork for", "right now"]),
        (" is down", &["is down"]),
        ("{pid} {ticks}", &[]),
        ("supervise: usage: supervise dir", &[]),
        ("down", &[]),
    ];
    for (text, expected) in table {
        assert_eq!(phrases(text), expected, "{text}");
    }
}
