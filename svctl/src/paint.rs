//! Symbols and colours, as the terminal can show them. The environment is asked once.

use daemontools::service::view::State;
use daemontools::service::view::transition::Condition;
use daemontools::sys;
use std::env;
use std::io::IsTerminal;

/// What a row's symbol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is up.
    Up,
    /// It is between two states.
    Moving,
    /// It was told to pause.
    Paused,
    /// It has failed.
    Failed,
    /// It is down.
    Down,
    /// Its state is not known.
    Unknown,
}

impl Mark {
    /// How much a service needs to be looked at; the smallest number most.
    pub fn urgency(self) -> u8 {
        match self {
            Mark::Failed => 0,
            Mark::Unknown => 1,
            Mark::Moving => 2,
            Mark::Paused => 3,
            Mark::Up => 4,
            Mark::Down => 5,
        }
    }

    /// The symbol's meaning for a service that is so.
    pub fn of(condition: Condition) -> Mark {
        match condition {
            Condition::Told(State::Up) => Mark::Up,
            Condition::Told(State::Paused) => Mark::Paused,
            Condition::Told(State::Starting | State::Restarting | State::Waiting | State::Stopping) => Mark::Moving,
            Condition::Told(State::Failed) => Mark::Failed,
            Condition::Told(State::Down) | Condition::Removed => Mark::Down,
            Condition::Unsupervised | Condition::Unknown => Mark::Unknown,
        }
    }
}

/// How text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    /// Symbols beyond ASCII can be shown.
    pub is_unicode: bool,
    /// Colours are wanted.
    pub is_colored: bool,
}

impl Paint {
    /// As standard output can show it, unless colours are demanded or forbidden.
    pub fn of_output(color: Option<bool>) -> Paint {
        let said = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let locale = said("LC_ALL").or_else(|| said("LC_CTYPE")).or_else(|| said("LANG")).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        let dumb = said("TERM").is_some_and(|terminal| terminal == "dumb");
        let usual = || sys::stdout().is_terminal() && said("NO_COLOR").is_none() && !dumb;
        Paint {
            is_unicode: locale.contains("utf-8") || locale.contains("utf8"),
            is_colored: color.unwrap_or_else(usual),
        }
    }

    /// The symbol, one column wide.
    pub fn symbol(self, mark: Mark) -> &'static str {
        match (self.is_unicode, mark) {
            (true, Mark::Up) => "●",
            (true, Mark::Moving) => "↻",
            (true, Mark::Paused) => "‖",
            (true, Mark::Failed) => "✗",
            (true, Mark::Down) => "○",
            (false, Mark::Up) => "*",
            (false, Mark::Moving) => "~",
            (false, Mark::Paused) => "=",
            (false, Mark::Failed) => "x",
            (false, Mark::Down) => "-",
            (_, Mark::Unknown) => "?",
        }
    }

    /// What stands for a part of a text that is left out, one column wide.
    pub fn ellipsis(self) -> &'static str {
        if self.is_unicode { "…" } else { "~" }
    }

    /// The text in the colour of a mark.
    pub fn in_color_of(self, mark: Mark, text: &str) -> String {
        let code = match mark {
            Mark::Up => "32",
            Mark::Moving | Mark::Paused => "33",
            Mark::Failed | Mark::Unknown => "31",
            Mark::Down => "2",
        };
        if self.is_colored { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }

    /// What is only there to be looked over.
    pub fn dimmed(self, text: &str) -> String {
        self.in_color_of(Mark::Down, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_text_is_as_it_is() {
        let paint = |is_colored| Paint { is_unicode: true, is_colored };
        assert_eq!(paint(false).in_color_of(Mark::Failed, "failed"), "failed");
        assert_eq!(paint(true).in_color_of(Mark::Failed, "failed"), "\x1b[31mfailed\x1b[0m");
    }

    #[test]
    fn no_symbol_needs_more_than_its_terminal_has() {
        let marks = [Mark::Up, Mark::Moving, Mark::Paused, Mark::Failed, Mark::Down, Mark::Unknown];
        for mark in marks {
            assert!(Paint { is_unicode: false, is_colored: false }.symbol(mark).is_ascii());
            assert_eq!(Paint { is_unicode: true, is_colored: false }.symbol(mark).chars().count(), 1);
        }
    }
}
