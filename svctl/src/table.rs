//! Rows as lines of text, aligned. No I/O.

use crate::paint::{Mark, Paint};
use crate::row::{COLUMNS, Row};
use crate::text::quoted;
use unicode_width::UnicodeWidthStr;

/// The columns that are aligned at their right side: numbers.
const RIGHT: [bool; 8] = [false, false, true, true, false, true, true, false];
/// The column of the name.
const NAME: usize = 0;
/// The column of the state, which has the colour of the symbol.
const STATE: usize = 1;
const PID: usize = 2;
const FOR: usize = 3;
const READY: usize = 4;
const STARTS: usize = 5;
const MEMORY: usize = 6;
/// The column of the reason.
const LAST_END: usize = 7;

/// How a table becomes narrower.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// The texts of this column are cut, to no less than this width.
    Cut(usize, usize),
    /// This column is left out.
    Drop(usize),
}

/// What a table that is too wide loses, in this order. A name keeps its beginning and its end, and the state stays.
const STEPS: [Step; 9] = [
    Step::Cut(LAST_END, 48),
    Step::Drop(MEMORY),
    Step::Drop(STARTS),
    Step::Drop(READY),
    Step::Drop(FOR),
    Step::Cut(LAST_END, 8),
    Step::Drop(PID),
    Step::Cut(NAME, 12),
    Step::Drop(LAST_END),
];

/// The table, with a line for the names of the columns, no wider than `room` columns of the terminal if that can be.
pub fn table(rows: &[Row], paint: Paint, room: Option<usize>) -> String {
    let mut widths = COLUMNS.map(UnicodeWidthStr::width);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cell.width());
        }
    }
    let widths = room.map_or(widths, |room| fitted(widths, room, &STEPS, LAST_END));
    let mut text = line(" ", COLUMNS.map(|name| paint.dimmed(name)), COLUMNS, (&widths, &RIGHT));
    for row in rows {
        let mut cut = row.cells.clone();
        cut[NAME] = without_middle(&row.cells[NAME], widths[NAME], paint);
        cut[LAST_END] = without_end(&row.cells[LAST_END], widths[LAST_END], paint);
        let plain = cut.each_ref().map(String::as_str);
        let mut cells = plain.map(str::to_string);
        cells[STATE] = paint.in_color_of(row.mark, plain[STATE]);
        text.push_str(&line(&paint.in_color_of(row.mark, paint.symbol(row.mark)), cells, plain, (&widths, &RIGHT)));
    }
    text
}

/// The widths of the columns in a table that has this room, which it fits into by these steps. A column without a width is
/// left out. The column `rest` takes the room that is left.
pub fn fitted<const N: usize>(natural: [usize; N], room: usize, steps: &[Step], rest: usize) -> [usize; N] {
    let mut widths = natural;
    for step in steps {
        let excess = total(&widths).saturating_sub(room);
        if excess == 0 {
            break;
        }
        match *step {
            Step::Cut(column, least) => {
                widths[column] = widths[column].saturating_sub(excess).max(least.min(widths[column]));
            }
            Step::Drop(column) => widths[column] = 0,
        }
    }
    // What was left out has made room for the reason again.
    if widths[rest] > 0 {
        widths[rest] = (widths[rest] + room.saturating_sub(total(&widths))).min(natural[rest]);
    }
    widths
}

/// The width of a line: the symbol, one blank, and two between the columns.
fn total(widths: &[usize]) -> usize {
    let shown = widths.iter().filter(|width| **width > 0);
    shown.map(|width| width + 2).sum()
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

/// One line: each cell as it is written, which may have colours, beside the cell as it is seen, which tells its width. The
/// form is the width of each column, and whether it is aligned at its right side.
pub fn line<const N: usize>(
    symbol: &str,
    cells: [String; N],
    plain: [&str; N],
    (widths, right): (&[usize; N], &[bool; N]),
) -> String {
    let mut line = symbol.to_string();
    let last = widths.iter().rposition(|width| *width > 0);
    for (number, cell) in cells.iter().enumerate().filter(|(number, _)| widths[*number] > 0) {
        let room = " ".repeat(widths[number].saturating_sub(plain[number].width()));
        let between = if number == 0 { " " } else { "  " };
        match (right[number], last == Some(number)) {
            (true, _) => line.extend([between, &room, cell]),
            (false, true) => line.extend([between, cell]),
            (false, false) => line.extend([between, cell, &room]),
        }
    }
    line.push('\n');
    line
}

/// So many services are named below the table.
const NAMED: usize = 5;

/// What stands below the table: how many there are, and which need to be looked at, by this command.
pub fn summary(rows: &[Row], look: &str) -> String {
    let services = |rows: &[Row]| match rows.iter().filter(|row| !row.is_logger).count() {
        1 => "1 service".to_string(),
        count => format!("{count} services"),
    };
    let mut counts: Vec<(String, usize)> = Vec::new();
    let mut doubtful: Vec<&Row> = rows.iter().filter(|row| !matches!(row.mark, Mark::Up | Mark::Down)).collect();
    doubtful.sort_by_key(|row| row.mark.urgency());
    for row in &doubtful {
        let state = if row.is_logger { format!("logger {}", row.cells[STATE]) } else { row.cells[STATE].clone() };
        match counts.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => counts.push((state, 1)),
        }
    }
    let words: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let names: Vec<String> = doubtful.iter().map(|row| quoted(&row.cells[0])).take(NAMED).collect();
    if names.is_empty() {
        return format!("{}\n", services(rows));
    }
    format!("{}: {}; see: {look} {}\n", services(rows), words.join(", "), names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mark: Mark, cells: [&str; 8]) -> Row {
        Row { mark, is_logger: cells[0].ends_with("/log"), cells: cells.map(str::to_string) }
    }

    fn rows() -> Vec<Row> {
        vec![
            row(Mark::Up, ["web", "up", "4711", "3d 4h", "yes", "1", "12.3 M", "-"]),
            row(Mark::Moving, ["crash", "restarting", "-", "0.2s", "-", "917", "-", "exited 3, again in 0.8s"]),
            row(Mark::Failed, ["日本", "failed", "-", "31m", "-", "1", "-", "start failed: exited 1"]),
            row(Mark::Down, ["off", "down", "-", "2d 1h", "-", "0", "-", "normally down"]),
        ]
    }

    const PLAIN: Paint = Paint { is_unicode: true, is_colored: false };

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let expected = "  SERVICE  STATE        PID    FOR  READY  STARTS  MEMORY  LAST END
● web      up          4711  3d 4h  yes         1  12.3 M  -
↻ crash    restarting     -   0.2s  -         917       -  exited 3, again in 0.8s
✗ 日本     failed         -    31m  -           1       -  start failed: exited 1
○ off      down           -  2d 1h  -           0       -  normally down
";
        assert_eq!(table(&rows(), PLAIN, None), expected);
    }

    #[test]
    fn colours_change_no_column() {
        let coloured = table(&rows(), Paint { is_colored: true, ..PLAIN }, None);
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            plain.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_eq!(plain, table(&rows(), PLAIN, None));
    }

    #[test]
    fn a_narrow_table_loses_what_matters_least_first() {
        let mut rows = rows();
        rows[1].cells[0] = "a-service-with-a-long-name-1".into();
        let at = |room| table(&rows, PLAIN, Some(room));
        let row = |room| at(room).lines().nth(2).unwrap_or_default().to_string();
        assert_eq!(at(200), table(&rows, PLAIN, None));
        for (room, expected) in [
            (95, "↻ a-service-with-a-long-name-1  restarting     -   0.2s  -         917  exited 3, again in 0.8s"),
            (85, "↻ a-service-with-a-long-name-1  restarting     -   0.2s  exited 3, again in 0.8s"),
            (70, "↻ a-service-with-a-long-name-1  restarting     -  exited 3, again in …"),
            (52, "↻ a-service-with-a-long-name-1  restarting  exited …"),
            (36, "↻ a-serv…ame-1  restarting  exited …"),
        ] {
            assert_eq!(row(room), expected, "{room}");
        }
        for room in 26..120 {
            let widest = at(room).lines().map(UnicodeWidthStr::width).max();
            assert!(widest <= Some(room), "{room}: {}", at(room));
        }
    }

    #[test]
    fn a_reason_is_read_whole_before_columns_of_less_use_are() {
        let reason = "unable to open supervise/ok: access denied";
        let rows = [row(Mark::Unknown, ["web", "unknown", "4711", "3d 4h", "yes", "917", "12.3 M", reason])];
        let line = |room| table(&rows, PLAIN, Some(room)).lines().nth(1).unwrap_or_default().to_string();
        for (room, before) in
            [(90, "4711  3d 4h  yes       917  "), (82, "4711  3d 4h  yes    "), (80, "4711  3d 4h  "), (70, "4711  ")]
        {
            assert_eq!(line(room), format!("? web      unknown  {before}{reason}"), "{room}");
        }
    }

    #[test]
    fn the_summary_names_what_needs_a_look() {
        let look = "svctl status";
        assert_eq!(summary(&rows(), look), "4 services: 1 failed, 1 restarting; see: svctl status 日本 crash\n");
        assert_eq!(summary(&rows()[..1], look), "1 service\n");
        assert_eq!(summary(&[], look), "0 services\n");
        let logger = row(Mark::Moving, ["web/log", "restarting", "-", "0.2s", "-", "9", "-", "exited 111"]);
        let with_logger = [rows().remove(0), logger];
        assert_eq!(summary(&with_logger, look), "1 service: 1 logger restarting; see: svctl status web/log\n");
        let paused = row(Mark::Paused, ["a b", "paused", "7", "1m", "yes", "1", "1.0 M", "told to pause"]);
        assert_eq!(summary(&[paused], look), "1 service: 1 paused; see: svctl status 'a b'\n");
    }
}
