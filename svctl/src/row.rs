//! One service as a row of the table.

use crate::answer::Answer;
use crate::column::{Column, Field, Side, position};
use crate::memory;
use crate::paint::Mark;
use crate::services::Service;
use crate::text::shown;
use daemontools::duration::brief;
use std::os::unix::ffi::OsStrExt;

/// What a row shows.
type Subject<'a> = (&'a Service, &'a Answer);
/// Makes the text of a cell.
type Make = fn(&Subject) -> String;

/// The columns of the table, from the left. Before the first one, each line has a symbol.
pub const COLUMNS: [Column<Make>; 8] = [
    Column {
        field: Field::Name,
        name: "SERVICE",
        side: Side::Left,
        least: 0,
        cell: |(service, _)| shown(service.name.as_bytes()),
    },
    Column { field: Field::State, name: "STATE", side: Side::Left, least: 0, cell: |(_, answer)| answer.word().into() },
    Column {
        field: Field::Pid,
        name: "PID",
        side: Side::Right,
        least: 0,
        cell: |(_, answer)| or_dash(answer.pid(), |pid| pid.to_string()),
    },
    Column {
        field: Field::Time,
        name: "FOR",
        side: Side::Right,
        least: 0,
        cell: |(_, answer)| or_dash(answer.view(), |view| brief(view.lasting())),
    },
    Column {
        field: Field::Ready,
        name: "READY",
        side: Side::Left,
        least: 0,
        cell: |(_, answer)| or_dash(answer.ready(), |is| if is { "yes" } else { "no" }.to_string()),
    },
    Column {
        field: Field::Starts,
        name: "STARTS",
        side: Side::Right,
        least: 0,
        cell: |(_, answer)| or_dash(answer.view().and_then(|view| view.seen.starts()), |starts| starts.to_string()),
    },
    Column {
        field: Field::Memory,
        name: "MEMORY",
        side: Side::Right,
        least: 0,
        cell: |(service, answer)| {
            let memory = answer.view().and_then(|view| memory::of_service(&service.path, view));
            or_dash(memory, memory::in_words)
        },
    },
    Column {
        field: Field::Reason,
        name: "LAST END",
        side: Side::Left,
        least: 0,
        cell: |(_, answer)| or_dash(answer.reason(), |reason| shown(reason.as_bytes())),
    },
];

/// A value in words, or a dash where there is none.
pub fn or_dash<T>(value: Option<T>, in_words: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".into(), in_words)
}

/// One row: the symbol, and the texts of the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The symbol.
    pub mark: Mark,
    /// It is the row of a logger, which the table has only if something is wrong with it.
    pub is_logger: bool,
    /// The texts, which have nothing in them that commands a terminal.
    pub cells: [String; COLUMNS.len()],
}

impl Row {
    /// The row of a service.
    pub fn of(service: &Service, answer: &Answer) -> Row {
        let cells = COLUMNS.map(|column| (column.cell)(&(service, answer)));
        Row { mark: answer.mark(), is_logger: false, cells }
    }
    /// The text of a column.
    pub fn cell(&self, field: Field) -> &str {
        &self.cells[position(&COLUMNS, field)]
    }
}
