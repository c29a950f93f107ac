//! One service as a row of the table.

use crate::memory;
use crate::paint::Mark;
use crate::services::{Reach, Service};
use daemontools::duration::brief;
use daemontools::service::view::transition::Condition;
use daemontools::service::view::{State, View, document};
use daemontools::service::{SILENT, Want, has_supervise_at};
use daemontools::terminal::{visible, visible_json};
use nix::unistd::Pid;
use std::os::unix::ffi::OsStrExt;

/// What is known of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Its supervise tells.
    Told(Box<View>),
    /// No supervise is in charge of it; why that is known, in words.
    Unsupervised(String),
    /// It cannot be told, and why.
    Unknown(String),
}

impl Known {
    /// Looks at a service. The current directory may be another one afterwards.
    pub fn of(service: &Service) -> Known {
        if service.reach == Reach::Hangs {
            return Known::Unknown(SILENT.into());
        }
        match View::of(service.path.as_os_str()) {
            Ok(view) => Known::Told(Box::new(view)),
            Err(why) if why == SILENT => Known::Unknown(why),
            Err(why) if has_supervise_at(&service.path) == Ok(false) => Known::Unsupervised(why),
            Err(why) => Known::Unknown(why),
        }
    }

    /// Looks at the service in the current directory.
    pub fn here() -> Known {
        Known::of(&Service { name: ".".into(), path: ".".into(), reach: Reach::Answers })
    }

    /// What its supervise tells, if it does.
    pub fn view(&self) -> Option<&View> {
        match self {
            Known::Told(view) => Some(view),
            Known::Unsupervised(_) | Known::Unknown(_) => None,
        }
    }

    /// The logger that the same supervise runs, if it runs one.
    pub fn logger(&self) -> Option<Known> {
        self.view()?.logger().map(|logger| Known::Told(Box::new(logger)))
    }

    /// How it is.
    pub fn condition(&self) -> Condition {
        match self {
            Known::Told(view) => Condition::Told(view.state()),
            Known::Unsupervised(_) => Condition::Unsupervised,
            Known::Unknown(_) => Condition::Unknown,
        }
    }

    /// The word for its state.
    pub fn word(&self) -> &'static str {
        self.condition().word()
    }

    /// The symbol for its state.
    pub fn mark(&self) -> Mark {
        Mark::of(self.condition())
    }

    /// Why it is in that state.
    pub fn reason(&self) -> Option<String> {
        match self {
            Known::Told(view) => view.reason(),
            Known::Unsupervised(why) | Known::Unknown(why) => Some(why.clone()),
        }
    }

    /// Whether it is up. One that is paused does nothing.
    pub fn is_up(&self) -> bool {
        matches!(self, Known::Told(view) if view.state() == State::Up)
    }

    /// Whether it is as it is wanted: up, or down and not wanted up.
    pub fn is_as_wanted(&self) -> bool {
        match self {
            Known::Told(view) if view.state() == State::Down => view.seen.status.want != Want::Up,
            Known::Told(_) => self.is_up() && self.ready() != Some(false),
            Known::Unsupervised(_) | Known::Unknown(_) => false,
        }
    }

    /// Whether it is ready, where that is told.
    pub fn ready(&self) -> Option<bool> {
        self.view().and_then(View::ready)
    }

    /// The JSON document of the service, as of svstat, on a line of its own.
    pub fn document(&self, service: &Service) -> String {
        let document = match self {
            Known::Told(view) => document::of(&service.name, view),
            Known::Unsupervised(why) | Known::Unknown(why) => document::without_answer(&service.name, why),
        };
        format!("{}\n", visible_json(&document))
    }

    /// The process that runs, if one does.
    pub fn pid(&self) -> Option<Pid> {
        self.view().and_then(|view| view.seen.status.pid)
    }
}

/// What the columns are called. The first one, the symbol, has no name.
pub const COLUMNS: [&str; 8] = ["SERVICE", "STATE", "PID", "FOR", "READY", "STARTS", "MEMORY", "LAST END"];

/// One row: the symbol, and the texts of the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The symbol.
    pub mark: Mark,
    /// It is the row of a logger, which the table has only if something is wrong with it.
    pub is_logger: bool,
    /// The texts, which have nothing in them that commands a terminal.
    pub cells: [String; 8],
}

impl Row {
    /// The row of a service.
    pub fn of(service: &Service, known: &Known) -> Row {
        let dash = || "-".to_string();
        let view = known.view();
        let yes_or_no = |is: bool| if is { "yes" } else { "no" }.to_string();
        let cells = [
            shown(service.name.as_bytes()),
            known.word().into(),
            known.pid().map_or_else(dash, |pid| pid.to_string()),
            view.map_or_else(dash, |view| brief(view.lasting())),
            known.ready().map_or_else(dash, yes_or_no),
            view.and_then(|view| view.seen.starts()).map_or_else(dash, |starts| starts.to_string()),
            view.and_then(|view| memory::of_service(&service.path, &view.seen)).map_or_else(dash, memory::in_words),
            known.reason().map_or_else(dash, |reason| shown(reason.as_bytes())),
        ];
        Row { mark: known.mark(), is_logger: false, cells }
    }
}

/// A word as a shell reads it, to be typed again.
pub fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "_@%+:,./-".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Text from outside, as a terminal may have it.
pub fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(&visible(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_can_be_typed_again() {
        for (word, typed) in [
            ("web", "web"),
            ("/etc/a-b.c", "/etc/a-b.c"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("*", "'*'"),
        ] {
            assert_eq!(quoted(word), typed);
        }
    }
}
