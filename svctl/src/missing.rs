//! What a word that means no service was probably meant to be. No I/O.

use crate::foreign::{Foreign, meaning};
use crate::text::{quoted, shown};
use crate::verbs::{VERBS, verb};
use daemontools::spelling::is_one_edit_away;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What systemd's units are called behind their names.
const UNIT: &[u8] = b".service";
/// What other tools call all services.
const ALL: &str = "all";

/// What was probably meant by one of these words, which means none of these services: `did you mean web?`.
pub fn meant(words: &[OsString], word: &OsStr, services: &[OsString]) -> Option<String> {
    let mean = |name: &str| format!("did you mean {name}?");
    if words.first().is_some_and(|first| first != word) && is_command(word) {
        let others = words.iter().filter(|other| *other != word).map(|other| quoted(&shown(other.as_bytes())));
        let others: Vec<String> = others.collect();
        return Some(format!("the command comes first: svctl {} {}", shown(word.as_bytes()), others.join(" ")));
    }
    if let Some(service) = services.iter().find(|service| is_near(word.as_bytes(), service.as_bytes())) {
        return Some(mean(&shown(service.as_bytes())));
    }
    if word == ALL {
        return Some("'*' means all services".into());
    }
    let names = || VERBS.iter().map(|form| form.word);
    let is_begun = |name: &&str| word.len() > 1 && word != *name && name.as_bytes().starts_with(word.as_bytes());
    let begun: Vec<&str> = names().filter(is_begun).collect();
    let near = || names().filter(|name| is_one_edit_away(word.as_bytes(), name.as_bytes())).collect();
    // The beginning of a command means this one, whatever others differ in one letter from it.
    let commands: Vec<&str> = if begun.is_empty() { near() } else { begun };
    (!word.is_empty() && commands.len() <= MOST && !commands.is_empty()).then(|| mean(&commands.join(" or ")))
}

/// If more commands than this begin with a word, or differ from it in one letter, none of them was meant.
const MOST: usize = 3;

fn is_command(word: &OsStr) -> bool {
    verb(word).is_some() || matches!(meaning(word), Some(Foreign::Same(_)))
}

fn is_near(word: &[u8], service: &[u8]) -> bool {
    is_one_edit_away(word, service)
        || word.eq_ignore_ascii_case(service)
        || word.strip_suffix(UNIT).is_some_and(|name| name == service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_guessed_with_care() {
        let services = ["web", "app.service"].map(OsString::from);
        for (words, word, expected) in [
            ("wbe", "wbe", Some("did you mean web?")),
            ("WEB", "WEB", Some("did you mean web?")),
            ("web.service", "web.service", Some("did you mean web?")),
            ("nothing.service", "nothing.service", None),
            ("stat web", "stat", Some("did you mean status?")),
            ("statu", "statu", Some("did you mean status?")),
            ("sto web", "sto", Some("did you mean stop?")),
            ("sta", "sta", Some("did you mean status or start?")),
            ("s", "s", None),
            ("strat", "strat", Some("did you mean start?")),
            ("sop", "sop", Some("did you mean stop or top?")),
            ("web restart", "restart", Some("the command comes first: svctl restart web")),
            ("web 'a up", "up", Some("the command comes first: svctl up web ''\\''a'")),
            ("restart", "restart", None),
            ("web tail", "tail", None),
            ("all", "all", Some("'*' means all services")),
            ("nothing", "nothing", None),
            ("", "", None),
        ] {
            let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            assert_eq!(meant(&words, OsStr::new(word), &services).as_deref(), expected, "{word}");
        }
        // A service is what is meant most often.
        let service = meant(&["stat".into()], OsStr::new("stat"), &["statd".into()]);
        assert_eq!(service.as_deref(), Some("did you mean statd?"));
    }
}
