//! What svctl sees of one service: what its supervise tells, or why it tells nothing.

use crate::paint::Mark;
use crate::services::{Reach, Service};
use daemontools::report::reason;
use daemontools::service::view::transition::Condition;
use daemontools::service::view::{State, View, document};
use daemontools::service::{OK, SILENT, Want, has_supervise_at};
use daemontools::terminal::visible_json;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::OsStr;

/// What people are told of a service that no supervise has ever been in charge of.
const NEVER: &str = "never supervised";

/// What programs are told of it, by svstat too.
fn not_there() -> String {
    format!("unable to open {OK}: {}", reason(Errno::ENOENT))
}

/// What was seen of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its supervise tells.
    Told(Box<View>),
    /// No supervise is in charge of it; why that is known, in words.
    Unsupervised(String),
    /// It cannot be told, and why.
    Unknown(String),
}

impl Answer {
    /// Looks at a service. The current directory may be another one afterwards.
    pub fn of(service: &Service) -> Answer {
        Answer::from(service, View::of)
    }

    /// As [`Answer::of`], of a service that was found to answer just now.
    pub fn of_answering(service: &Service) -> Answer {
        Answer::from(service, View::of_answering)
    }

    fn from(service: &Service, look: fn(&OsStr) -> Result<View, String>) -> Answer {
        if service.reach == Reach::Hangs {
            return Answer::Unknown(SILENT.into());
        }
        match look(service.path.as_os_str()) {
            Ok(view) => Answer::Told(Box::new(view)),
            Err(why) if why == SILENT => Answer::Unknown(why),
            Err(why) if has_supervise_at(&service.path) == Ok(false) => Answer::Unsupervised(why),
            Err(why) => Answer::Unknown(why),
        }
    }

    /// Looks at the service in the current directory.
    pub fn here() -> Answer {
        Answer::of(&Service { name: ".".into(), path: ".".into(), reach: Reach::Answers })
    }

    /// What its supervise tells, if it does.
    pub fn view(&self) -> Option<&View> {
        match self {
            Answer::Told(view) => Some(view),
            Answer::Unsupervised(_) | Answer::Unknown(_) => None,
        }
    }

    /// The logger that the same supervise runs, if it runs one.
    pub fn logger(&self) -> Option<Answer> {
        self.view()?.logger().map(|logger| Answer::Told(Box::new(logger)))
    }

    /// How it is.
    pub fn condition(&self) -> Condition {
        match self {
            Answer::Told(view) => Condition::Told(view.state()),
            Answer::Unsupervised(_) => Condition::Unsupervised,
            Answer::Unknown(_) => Condition::Unknown,
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
            Answer::Told(view) => view.reason(),
            Answer::Unsupervised(why) if *why == not_there() => Some(NEVER.into()),
            Answer::Unsupervised(why) | Answer::Unknown(why) => Some(why.clone()),
        }
    }

    /// Whether it is up. One that is paused does nothing.
    pub fn is_up(&self) -> bool {
        matches!(self, Answer::Told(view) if view.state() == State::Up)
    }

    /// Whether it is as it is wanted: up, or down and not wanted up.
    pub fn is_as_wanted(&self) -> bool {
        match self {
            Answer::Told(view) if view.state() == State::Down => view.seen.status.want != Want::Up,
            Answer::Told(_) => self.is_up() && self.ready() != Some(false),
            Answer::Unsupervised(_) | Answer::Unknown(_) => false,
        }
    }

    /// Whether it is ready, where that is told.
    pub fn ready(&self) -> Option<bool> {
        self.view().and_then(View::ready)
    }

    /// The JSON document of the service, as of svstat, on a line of its own.
    pub fn document(&self, service: &Service) -> String {
        let document = match self {
            Answer::Told(view) => document::of(&service.name, view),
            Answer::Unsupervised(why) | Answer::Unknown(why) => document::without_answer(&service.name, why),
        };
        format!("{}\n", visible_json(&document))
    }

    /// The process that runs, if one does.
    pub fn pid(&self) -> Option<Pid> {
        self.view().and_then(|view| view.seen.status.pid)
    }
}
