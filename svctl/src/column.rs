//! The columns of a table, and what a table does to fit into a terminal. No I/O.

use crate::paint::Paint;
use unicode_width::UnicodeWidthStr;

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The name of the service.
    Name,
    /// The word for its state, in the colour of the symbol.
    State,
    /// The number of the process.
    Pid,
    /// How long the service has been in its state.
    Time,
    /// Whether the service is ready.
    Ready,
    /// The share of one processor that its processes use.
    Cpu,
    /// The memory that its processes use.
    Memory,
    /// How often it was started.
    Starts,
    /// How often it has ended.
    Deaths,
    /// The reason for its state.
    Reason,
}

/// At which side the texts of a column are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// One column of a table: all that the table knows of it. `Make` is a function that makes the text of a cell.
#[derive(Debug, Clone, Copy)]
pub struct Column<Make> {
    /// What the column shows.
    pub field: Field,
    /// What the first line of the table calls the column.
    pub name: &'static str,
    /// At which side its texts are aligned.
    pub side: Side,
    /// The least width of the column in a wide terminal, in columns of the terminal.
    pub least: usize,
    /// Makes the text of a cell, which has nothing in it that commands a terminal.
    pub cell: Make,
}

/// How a table becomes narrower.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// The texts of this column are cut, to no less than this width.
    Cut(Field, usize),
    /// This column is left out.
    Drop(Field),
}

/// Where a column stands in the table.
///
/// # Panics
/// The table has no such column. A test draws each table.
pub fn position<Make>(columns: &[Column<Make>], field: Field) -> usize {
    columns.iter().position(|column| column.field == field).unwrap_or_else(|| unreachable!("{field:?}"))
}

/// The widths of the columns before the table is fitted into a terminal: the width of the name or of the widest of the
/// cells, and no less than the least width.
pub fn natural<Make, const N: usize>(columns: &[Column<Make>; N], rows: &[[String; N]]) -> [usize; N] {
    let mut widths = columns.each_ref().map(|column| column.least.max(column.name.width()));
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    widths
}

/// The widths of the columns in a table that has this room, which it fits into by these steps. A column without a width is
/// left out. The reason takes the room that is left.
pub fn fitted<Make, const N: usize>(
    columns: &[Column<Make>; N],
    natural: [usize; N],
    room: usize,
    steps: &[Step],
) -> [usize; N] {
    let mut widths = natural;
    for step in steps {
        let excess = total(&widths).saturating_sub(room);
        if excess == 0 {
            break;
        }
        match *step {
            Step::Cut(field, least) => {
                let width = &mut widths[position(columns, field)];
                *width = width.saturating_sub(excess).max(least.min(*width));
            }
            Step::Drop(field) => widths[position(columns, field)] = 0,
        }
    }
    // What was left out has made room for the reason again.
    let reason = position(columns, Field::Reason);
    if widths[reason] > 0 {
        widths[reason] = (widths[reason] + room.saturating_sub(total(&widths))).min(natural[reason]);
    }
    widths
}

/// The width of a line: the symbol, one blank, and two between the columns.
fn total(widths: &[usize]) -> usize {
    let shown = widths.iter().filter(|width| **width > 0);
    shown.map(|width| width + 2).sum()
}

/// One line: each cell as it is written, which may have colours, beside the cell as it is seen, which tells its width.
pub fn line<Make, const N: usize>(
    columns: &[Column<Make>; N],
    symbol: &str,
    cells: [String; N],
    plain: [&str; N],
    widths: &[usize; N],
) -> String {
    let mut line = symbol.to_string();
    let last = widths.iter().rposition(|width| *width > 0);
    for (number, cell) in cells.iter().enumerate().filter(|(number, _)| widths[*number] > 0) {
        let room = " ".repeat(widths[number].saturating_sub(plain[number].width()));
        let between = if number == 0 { " " } else { "  " };
        match (columns[number].side, last == Some(number)) {
            (Side::Right, _) => line.extend([between, &room, cell]),
            (Side::Left, true) => line.extend([between, cell]),
            (Side::Left, false) => line.extend([between, cell, &room]),
        }
    }
    line.push('\n');
    line
}

/// The line with the names of the columns.
pub fn names<Make, const N: usize>(columns: &[Column<Make>; N], paint: Paint, widths: &[usize; N]) -> String {
    let names = columns.each_ref().map(|column| column.name);
    line(columns, " ", names.map(|name| paint.dimmed(name)), names, widths)
}

/// The text, cut at its end to this width.
pub fn without_end(text: &str, width: usize, paint: Paint) -> String {
    if text.width() <= width {
        return text.into();
    }
    beginning(text, width.saturating_sub(1)) + paint.ellipsis()
}

/// The text, cut in its middle to this width. Names often differ at their ends.
pub fn without_middle(text: &str, width: usize, paint: Paint) -> String {
    if text.width() <= width {
        return text.into();
    }
    let behind = width.saturating_sub(1) / 2;
    let reversed: String = text.chars().rev().collect();
    let end: String = beginning(&reversed, behind).chars().rev().collect();
    beginning(text, width.saturating_sub(1 + end.width())) + paint.ellipsis() + &end
}

/// As many of the first characters as fit into this width.
fn beginning(text: &str, width: usize) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        shown.push(character);
        if shown.width() > width {
            shown.pop();
            break;
        }
    }
    shown
}
