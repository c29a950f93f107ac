//! Rows as lines of text, aligned. No I/O.

use crate::column::{Field, Step, fitted, line, names, natural, position, without_end, without_middle};
use crate::paint::{Mark, Paint};
use crate::row::{COLUMNS, Row};
use crate::text::quoted;

/// What a table that is too wide loses, in this order. A name keeps its beginning and its end, and the state stays.
const STEPS: [Step; 9] = [
    Step::Cut(Field::Reason, 48),
    Step::Drop(Field::Memory),
    Step::Drop(Field::Starts),
    Step::Drop(Field::Ready),
    Step::Drop(Field::Time),
    Step::Cut(Field::Reason, 8),
    Step::Drop(Field::Pid),
    Step::Cut(Field::Name, 12),
    Step::Drop(Field::Reason),
];

/// The table, with a line for the names of the columns, no wider than `room` columns of the terminal if that can be.
pub fn table(rows: &[Row], paint: Paint, room: Option<usize>) -> String {
    let [name, state, reason] = [Field::Name, Field::State, Field::Reason].map(|field| position(&COLUMNS, field));
    let cells: Vec<_> = rows.iter().map(|row| row.cells.clone()).collect();
    let widths = natural(&COLUMNS, &cells);
    let widths = room.map_or(widths, |room| fitted(&COLUMNS, widths, room, &STEPS));
    let mut text = names(&COLUMNS, paint, &widths);
    for (row, mut cut) in rows.iter().zip(cells) {
        cut[name] = without_middle(&cut[name], widths[name], paint);
        cut[reason] = without_end(&cut[reason], widths[reason], paint);
        let plain = cut.each_ref().map(String::as_str);
        let mut cells = plain.map(str::to_string);
        cells[state] = paint.in_color_of(row.mark, plain[state]);
        text.push_str(&line(&COLUMNS, &paint.in_color_of(row.mark, paint.symbol(row.mark)), cells, plain, &widths));
    }
    text
}

/// No more services than these are named below the table.
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
        let state =
            if row.is_logger { format!("logger {}", row.cell(Field::State)) } else { row.cell(Field::State).into() };
        match counts.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => counts.push((state, 1)),
        }
    }
    let words = counts.iter().map(|(state, count)| match state.strip_prefix("logger ") {
        Some(state) if *count > 1 => format!("{count} loggers {state}"),
        Some(_) | None => format!("{count} {state}"),
    });
    let words: Vec<String> = words.collect();
    let mut names: Vec<String> = doubtful.iter().map(|row| quoted(row.cell(Field::Name))).take(NAMED).collect();
    names.extend((doubtful.len() > NAMED).then(|| "…".into()));
    if names.is_empty() {
        return format!("{}\n", services(rows));
    }
    format!("{}: {}; see: {look} {}\n", services(rows), words.join(", "), names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

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
        let loggers =
            ["a/log", "b/log"].map(|name| row(Mark::Moving, [name, "restarting", "-", "0s", "-", "9", "-", "-"]));
        assert_eq!(summary(&loggers, look), "0 services: 2 loggers restarting; see: svctl status a/log b/log\n");
        let many = ["a", "b", "c", "d", "e", "f"]
            .map(|name| row(Mark::Failed, [name, "failed", "-", "1m", "-", "1", "-", "-"]));
        assert_eq!(summary(&many, look), "6 services: 6 failed; see: svctl status a b c d e …\n");
        let paused = row(Mark::Paused, ["a b", "paused", "7", "1m", "yes", "1", "1.0 M", "told to pause"]);
        assert_eq!(summary(&[paused], look), "1 service: 1 paused; see: svctl status 'a b'\n");
    }
}
