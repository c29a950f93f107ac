//! One service as a row of the table.

use crate::answer::Answer;
use crate::memory;
use crate::paint::Mark;
use crate::services::Service;
use crate::text::shown;
use daemontools::duration::brief;
use std::os::unix::ffi::OsStrExt;

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
    pub fn of(service: &Service, answer: &Answer) -> Row {
        let dash = || "-".to_string();
        let view = answer.view();
        let yes_or_no = |is: bool| if is { "yes" } else { "no" }.to_string();
        let cells = [
            shown(service.name.as_bytes()),
            answer.word().into(),
            answer.pid().map_or_else(dash, |pid| pid.to_string()),
            view.map_or_else(dash, |view| brief(view.lasting())),
            answer.ready().map_or_else(dash, yes_or_no),
            view.and_then(|view| view.seen.starts()).map_or_else(dash, |starts| starts.to_string()),
            view.and_then(|view| memory::of_service(&service.path, view)).map_or_else(dash, memory::in_words),
            answer.reason().map_or_else(dash, |reason| shown(reason.as_bytes())),
        ];
        Row { mark: answer.mark(), is_logger: false, cells }
    }
}
