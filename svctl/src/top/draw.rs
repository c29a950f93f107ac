//! The live screen as lines of text. No clock, no I/O.
//!
//! No line is wider than the terminal. Whatever a text contains, nothing in it reaches the terminal as a command: each line
//! is made safe here once more, before the colours are added.

use crate::column::{Column, Field, Side, Step, fitted, line, names, natural, position, without_end, without_middle};
use crate::memory;
use crate::paint::{Mark, Paint};
use crate::row::or_dash;
use crate::top::screen::{Entry, Mode, Screen};
use daemontools::duration::brief;
use daemontools::terminal::visible;
use std::ffi::{OsStr, OsString};
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// What a row shows: a service, the time since the start of the machine, and how text is shown.
type Subject<'a> = (&'a Entry, Duration, Paint);
/// Makes the text of a cell.
type Make = fn(&Subject) -> String;

/// The columns, from the left. No column is narrower than its least width, so that the table does not move when a number
/// gets longer.
const COLUMNS: [Column<Make>; 9] = [
    Column { field: Field::Name, name: "SERVICE", side: Side::Left, least: 12, cell: |(entry, ..)| plain(&entry.name) },
    Column { field: Field::State, name: "STATE", side: Side::Left, least: 10, cell: |(entry, ..)| entry.state.into() },
    Column {
        field: Field::Pid,
        name: "PID",
        side: Side::Right,
        least: 7,
        cell: |(entry, ..)| or_dash(entry.pid, |pid| pid.to_string()),
    },
    Column {
        field: Field::Time,
        name: "FOR",
        side: Side::Right,
        least: 6,
        cell: |(entry, uptime, _)| or_dash(entry.since, |since| brief(uptime.saturating_sub(since))),
    },
    Column {
        field: Field::Cpu,
        name: "CPU%",
        side: Side::Right,
        least: 5,
        cell: |(entry, ..)| or_dash(entry.figures.cpu, |share| format!("{}.{}", share / 10, share % 10)),
    },
    Column {
        field: Field::Memory,
        name: "MEMORY",
        side: Side::Right,
        least: 8,
        cell: |(entry, ..)| or_dash(entry.figures.memory, memory::in_words),
    },
    Column {
        field: Field::Starts,
        name: "STARTS",
        side: Side::Right,
        least: 6,
        cell: |(entry, ..)| or_dash(entry.starts, |starts| starts.to_string()),
    },
    Column {
        field: Field::Deaths,
        name: "DIED",
        side: Side::Right,
        least: 4,
        cell: |(entry, ..)| or_dash(entry.deaths, |deaths| deaths.to_string()),
    },
    Column {
        field: Field::Reason,
        name: "LAST END, LAST LINE",
        side: Side::Left,
        least: 0,
        cell: |(entry, _, paint)| last(entry, *paint),
    },
];

/// The texts of a row.
type Cells = [String; COLUMNS.len()];
/// The widths of the columns, in columns of the terminal. A column without a width is left out.
type Widths = [usize; COLUMNS.len()];

/// What a table that is too wide loses, in this order.
const STEPS: [Step; 13] = [
    Step::Cut(Field::Name, 32),
    Step::Cut(Field::Reason, 16),
    Step::Drop(Field::Starts),
    Step::Drop(Field::Deaths),
    Step::Cut(Field::Name, 20),
    Step::Drop(Field::Memory),
    Step::Drop(Field::Cpu),
    Step::Drop(Field::Time),
    Step::Cut(Field::Reason, 8),
    Step::Drop(Field::Pid),
    Step::Cut(Field::Name, 12),
    Step::Drop(Field::Reason),
    Step::Cut(Field::Name, 1),
];

/// How often what is measured is measured again.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// How often times that are told in minutes are told again.
const MINUTE: Duration = Duration::from_secs(60);

/// The screen as it is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    /// The lines, from the top of the terminal on.
    pub lines: Vec<String>,
    /// The services that have a line.
    pub shown: Vec<OsString>,
    /// Whether something that is measured from time to time is shown of them.
    pub has_figures: bool,
    /// After what time it is drawn again although nothing is told; `None`: it is true until something is told.
    pub lasts: Option<Duration>,
}

/// Draws the screen. `uptime` is the time since the start of the machine.
pub fn draw(screen: &Screen, uptime: Duration, paint: Paint) -> Drawing {
    let mut drawing = match &screen.mode {
        Mode::Table | Mode::Filter(_) => draw_table(screen, uptime, paint),
        Mode::Status(name, lines, from) => draw_status(screen, (name, lines, *from), paint),
    };
    drawing.lines.truncate(screen.size.rows);
    drawing
}

fn draw_table(screen: &Screen, uptime: Duration, paint: Paint) -> Drawing {
    let room = screen.size.columns;
    let (has_title, has_names, has_help) = screen.size.frame();
    let rows = screen.rows();
    let (selected, first) = screen.window(&rows);
    let shown: Vec<&(&OsStr, &Entry)> = rows.iter().skip(first).take(screen.size.body()).collect();
    let cells: Vec<Cells> =
        shown.iter().map(|(_, entry)| COLUMNS.map(|column| (column.cell)(&(entry, uptime, paint)))).collect();
    let [name, reason] = [Field::Name, Field::Reason].map(|field| position(&COLUMNS, field));
    let mut widths = natural(&COLUMNS, &cells);
    // A row that is selected later must not move the table, so the names of all count.
    let longest = rows.iter().map(|(_, entry)| plain(&entry.name).width()).max();
    widths[name] = widths[name].max(longest.unwrap_or(0));
    let widths = fitted(&COLUMNS, widths, room, &STEPS);
    let is_shown = |field| widths[position(&COLUMNS, field)] > 0;
    let mut lines = Vec::new();
    if has_title {
        lines.push(title(screen, rows.len(), paint));
    }
    if has_names {
        let names = names(&COLUMNS, Paint { is_colored: false, ..paint }, &widths);
        lines.push(paint.dimmed(&without_end(names.trim_end_matches('\n'), room, paint)));
    }
    for (number, ((_, entry), mut row)) in shown.iter().zip(cells).enumerate() {
        row[name] = without_middle(&row[name], widths[name], paint);
        row[reason] = without_end(&row[reason], widths[reason], paint);
        lines.push(row_line(entry.mark, &row, (&widths, room, first + number == selected), paint));
    }
    if has_help {
        lines.resize(screen.size.rows.saturating_sub(1), String::new());
        lines.push(help(screen, paint));
    }
    let has_figures = [Field::Cpu, Field::Memory, Field::Reason].into_iter().any(is_shown);
    let runs = has_figures && shown.iter().any(|(_, entry)| entry.pid.is_some());
    let youngest = shown.iter().filter(|_| is_shown(Field::Time)).filter_map(|(_, entry)| entry.since).max();
    let lasts = match youngest.map(|since| uptime.saturating_sub(since)) {
        _ if runs => Some(INTERVAL),
        Some(age) if age < MINUTE => Some(INTERVAL),
        Some(_) => Some(MINUTE),
        None => None,
    };
    let shown = shown.into_iter().map(|(name, _)| OsString::from(name)).collect();
    Drawing { lines, shown, has_figures, lasts }
}

fn table_line(symbol: &str, cells: Cells, plain: [&str; COLUMNS.len()], widths: &Widths) -> String {
    let line = line(&COLUMNS, symbol, cells, plain, widths);
    line.trim_end_matches('\n').into()
}

/// The line of a service, within this room. That of the selected one is reversed as a whole.
fn row_line(mark: Mark, row: &Cells, form: (&Widths, usize, bool), paint: Paint) -> String {
    let (widths, room, is_selected) = form;
    let texts = row.each_ref().map(String::as_str);
    let bare = table_line(paint.symbol(mark), row.clone(), texts, widths);
    let is_too_wide = bare.width() > room;
    match (is_selected, is_too_wide) {
        (true, _) => {
            let text = without_end(&bare, room, paint);
            let blank = " ".repeat(room.saturating_sub(text.width()));
            format!("\x1b[7m{text}{blank}\x1b[0m")
        }
        (false, true) => without_end(&bare, room, paint),
        (false, false) => {
            let mut cells = row.clone();
            let state = position(&COLUMNS, Field::State);
            cells[state] = paint.in_color_of(mark, texts[state]);
            table_line(&paint.in_color_of(mark, paint.symbol(mark)), cells, texts, widths)
        }
    }
}

/// Why a service is not up, and what it has said. Of one that is up, how it ended before is past.
fn last(entry: &Entry, paint: Paint) -> String {
    let between = if paint.is_unicode { " · " } else { " | " };
    let reason = entry.reason.as_ref().filter(|_| entry.mark != Mark::Up || !entry.is_as_wanted);
    let parts: Vec<String> = reason.into_iter().chain(&entry.figures.last_line).map(|text| plain(text)).collect();
    if parts.is_empty() { "-".into() } else { parts.join(between) }
}

/// `/service  5 services: 1 failed, 1 restarting  sorted by state`
fn title(screen: &Screen, count: usize, paint: Paint) -> String {
    let services = screen.all().filter(|(_, entry)| !entry.is_logger).count();
    let mut states: Vec<(String, usize)> = Vec::new();
    for (_, entry) in screen.all().filter(|(_, entry)| !matches!(entry.mark, Mark::Up | Mark::Down)) {
        let state = if entry.is_logger { format!("logger {}", entry.state) } else { entry.state.into() };
        match states.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => states.push((state, 1)),
        }
    }
    let plural = if services == 1 { "" } else { "s" };
    let mut words = format!("{}  {services} service{plural}", plain(&screen.title));
    if !states.is_empty() {
        let states: Vec<String> = states.into_iter().map(|(state, count)| format!("{count} {state}")).collect();
        words.push_str(&format!(": {}", states.join(", ")));
    }
    if !screen.filter.is_empty() {
        words.push_str(&format!("  /{}: {count} shown", plain(&screen.filter)));
    }
    words.push_str(&format!("  by {}", screen.order.word()));
    without_end(&words, screen.size.columns, paint)
}

fn help(screen: &Screen, paint: Paint) -> String {
    let words = match &screen.mode {
        Mode::Filter(_) => format!("/{}_  Enter keeps it, Escape does not", plain(&screen.filter)),
        Mode::Table if paint.is_unicode => "q quit  ↑↓ select  Enter status  / filter  s sort".into(),
        Mode::Table => "q quit  j k select  Enter status  / filter  s sort".into(),
        Mode::Status(..) if paint.is_unicode => "q back  ↑↓ scroll".into(),
        Mode::Status(..) => "q back  j k scroll".into(),
    };
    paint.dimmed(&without_end(&words, screen.size.columns, paint))
}

fn draw_status(screen: &Screen, (name, status, from): (&OsStr, &[String], usize), paint: Paint) -> Drawing {
    let (has_title, _, has_help) = screen.size.frame();
    let room = screen.size.columns;
    let mut lines = Vec::new();
    if has_title {
        let gone = if screen.all().any(|(known, _)| known == name) { "" } else { ": no longer there" };
        let name = plain(&name.to_string_lossy());
        lines.push(paint.dimmed(&without_end(&format!("svctl status {name}{gone}"), room, paint)));
    }
    let height = screen.size.rows.saturating_sub(lines.len() + usize::from(has_help));
    lines.extend(status.iter().skip(from).take(height).map(|line| without_end(&plain(line), room, paint)));
    if has_help {
        lines.resize(screen.size.rows.saturating_sub(1), String::new());
        lines.push(help(screen, paint));
    }
    Drawing { lines, shown: Vec::new(), has_figures: false, lasts: Some(INTERVAL) }
}

/// A text in which nothing moves the cursor.
fn plain(text: &str) -> String {
    String::from_utf8_lossy(&visible(text.as_bytes())).replace('\t', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::keys::Key;
    use crate::top::screen::tests::{entry, screen};
    use crate::top::screen::{Figures, Size};

    const PLAIN: Paint = Paint { is_unicode: true, is_colored: false };
    const NOW: Duration = Duration::from_secs(142);

    fn lines(screen: &Screen) -> Vec<String> {
        draw(screen, NOW, PLAIN).lines
    }

    /// The lines without what reverses the selected one.
    fn bare(screen: &Screen) -> String {
        let lines = lines(screen);
        let lines: Vec<String> =
            lines.iter().map(|line| line.replace("\x1b[7m", "").replace("\x1b[0m", "").trim_end().into()).collect();
        lines.join("\n")
    }

    fn busy(rows: usize, columns: usize) -> Screen {
        let mut screen = screen(rows, columns);
        let figures = Figures { cpu: Some(123), memory: Some(12_900_000), last_line: Some("GET /\tindex 200".into()) };
        screen.measure(OsStr::new("web"), figures);
        let words = Some("exited 3, again in 0.8s".to_string());
        let crash = Entry { reason: words, starts: Some(917), deaths: Some(916), ..entry("crash", Mark::Moving) };
        screen.put("crash".into(), crash);
        let figures = Figures { last_line: Some("fatal: no configuration".into()), ..Figures::default() };
        screen.measure(OsStr::new("crash"), figures);
        let words = Some("exited 100: not restarted".to_string());
        screen.put("gaveup".into(), Entry { reason: words, ..entry("gaveup", Mark::Failed) });
        screen
    }

    #[test]
    fn a_wide_terminal_has_everything() {
        let expected = "\
/service  5 services: 1 restarting, 1 failed  by state
  SERVICE       STATE           PID     FOR   CPU%    MEMORY  STARTS  DIED  LAST END, LAST LINE
✗ gaveup        failed            -     42s      -         -       1     0  exited 100: not restarted
↻ crash         restarting        -     42s      -         -     917   916  exited 3, again in 0.8s · fatal: no configuration
● db            up             4711     42s      -         -       1     0  -
● web           up             4711     42s   12.3    12.3 M       1     0  GET / index 200
○ off           down              -     42s      -         -       1     0  -

q quit  ↑↓ select  Enter status  / filter  s sort";
        assert_eq!(bare(&busy(9, 130)), expected);
    }

    #[test]
    fn a_narrow_terminal_loses_what_matters_least_first() {
        for (columns, expected) in [
            (
                100,
                "↻ crash         restarting        -     42s      -         -     917   916  exited 3, again in 0.8s…",
            ),
            (80, "↻ crash         restarting        -     42s      -         -  exited 3, again i…"),
            (70, "↻ crash         restarting        -     42s      -  exited 3, again i…"),
            (60, "↻ crash         restarting        -  exited 3, again in 0.8…"),
            (50, "↻ crash         restarting        -  exited 3, ag…"),
            (40, "↻ crash         restarting  exited 3, a…"),
            (30, "↻ crash         restarting"),
            (20, "↻ crash   restarting"),
            (10, "↻ …  rest…"),
        ] {
            let shown = bare(&busy(9, columns));
            assert_eq!(shown.lines().nth(3), Some(expected), "{columns}");
        }
    }

    #[test]
    fn every_line_fits() {
        let hostile = "a\x1b[2J\u{9b}31m\u{202e}日本語\t\u{301}\r\n".repeat(9);
        for colored in [false, true] {
            let paint = Paint { is_unicode: colored, is_colored: colored };
            for rows in [0, 1, 2, 3, 4, 5, 12] {
                for columns in (1..140).step_by(if rows == 5 { 1 } else { 9 }) {
                    let mut screen = busy(rows, columns);
                    let figures = Figures { last_line: Some(hostile.clone()), ..Figures::default() };
                    screen.put(
                        hostile.clone().into(),
                        Entry { reason: Some(hostile.clone()), ..entry(&hostile, Mark::Failed) },
                    );
                    screen.measure(OsStr::new(&hostile), figures);
                    screen.title = hostile.clone();
                    let table = draw(&screen, NOW, paint);
                    screen.press(Key::Char('/'));
                    screen.press(Key::Char('日'));
                    let filter = draw(&screen, NOW, paint);
                    screen.show_status(hostile.clone().into(), vec![hostile.clone(); 30]);
                    for drawing in [table, filter, draw(&screen, NOW, paint)] {
                        assert!(drawing.lines.len() <= rows, "{rows}: {:?}", drawing.lines);
                        for line in drawing.lines {
                            let mut seen = line.clone();
                            for code in ["\x1b[7m", "\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"] {
                                seen = seen.replace(code, "");
                            }
                            assert!(seen.width() <= columns, "{columns}: {seen:?}");
                            let is_harmless = |letter: char| !letter.is_control() && letter != '\u{202e}';
                            assert!(seen.chars().all(is_harmless), "{seen:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_selected_service_is_the_reversed_line() {
        let mut screen = busy(9, 60);
        screen.press(Key::Down);
        let lines = lines(&screen);
        let reversed: Vec<usize> =
            lines.iter().enumerate().filter(|(_, line)| line.starts_with("\x1b[7m")).map(|(at, _)| at).collect();
        assert_eq!(reversed, [3], "{lines:?}");
        let selected = lines[3].replace("\x1b[7m", "").replace("\x1b[0m", "");
        assert!(selected.starts_with("↻ crash ") && selected.width() == 60, "{selected:?}");
        // Its colours would end the reversal.
        let colored = draw(&screen, NOW, Paint { is_colored: true, ..PLAIN }).lines;
        assert_eq!(colored[3].matches('\x1b').count(), 2, "{colored:?}");
        assert!(colored[2].contains("\x1b[31mfailed\x1b[0m"), "{colored:?}");
    }

    #[test]
    fn a_filter_is_seen_while_it_is_typed_and_later() {
        let mut screen = busy(9, 80);
        [Key::Char('/'), Key::Char('b')].into_iter().for_each(|key| _ = screen.press(key));
        let shown = bare(&screen);
        assert!(shown.starts_with("/service  5 services: 1 restarting, 1 failed  /b: 2 shown  by state\n"), "{shown}");
        assert!(shown.ends_with("\n/b_  Enter keeps it, Escape does not") && !shown.contains("crash "), "{shown}");
        screen.press(Key::Enter);
        assert!(bare(&screen).ends_with("\nq quit  ↑↓ select  Enter status  / filter  s sort"));
    }

    #[test]
    fn a_status_has_a_title_and_its_lines() {
        let mut screen = busy(5, 30);
        screen.show_status("web".into(), (0..9).map(|line| format!("line {line} of what is told of it")).collect());
        screen.press(Key::Down);
        let expected = "svctl status web
line 1 of what is told of it
line 2 of what is told of it
line 3 of what is told of it
q back  ↑↓ scroll";
        assert_eq!(bare(&screen), expected);
        screen.remove(OsStr::new("web"));
        assert!(bare(&screen).starts_with("svctl status web: no longer t…"), "{}", bare(&screen));
    }

    #[test]
    fn a_logger_is_no_service() {
        let mut screen = busy(9, 80);
        screen.put("web/log".into(), Entry { is_logger: true, ..entry("web/log", Mark::Moving) });
        let shown = bare(&screen);
        assert!(shown.starts_with("/service  5 services: 1 restarting, 1 failed, 1 logger restarting  by"), "{shown}");
    }

    #[test]
    fn it_is_drawn_again_when_a_number_is_no_longer_true() {
        let lasts = |screen: &Screen, now: u64| draw(screen, Duration::from_secs(now), PLAIN).lasts;
        let only = |name: &str, rows, columns| {
            let mut screen = screen(rows, columns);
            name.chars().fold(screen.press(Key::Char('/')), |_, letter| screen.press(Key::Char(letter)));
            screen
        };
        for (screen, now, expected) in [
            (screen(9, 100), 5000, Some(INTERVAL)),
            // The row that is shown has no process, and its time is told in minutes.
            (only("off", 9, 100), 5000, Some(MINUTE)),
            (only("off", 9, 100), 142, Some(INTERVAL)),
            // Neither times nor figures are shown.
            (only("off", 9, 20), 142, None),
            (only("web", 9, 20), 142, None),
            (only("nothing", 9, 100), 142, None),
        ] {
            assert_eq!(lasts(&screen, now), expected, "{} {:?}", screen.filter, screen.size);
        }
        let shown = draw(&screen(5, 100), NOW, PLAIN).shown;
        assert_eq!(shown, ["gaveup", "crash"]);
        assert!(!draw(&screen(5, 20), NOW, PLAIN).has_figures && draw(&screen(5, 100), NOW, PLAIN).has_figures);
        let mut resized = screen(5, 100);
        resized.resize(Size { rows: 2, columns: 100 });
        assert_eq!(draw(&resized, NOW, PLAIN).lines.len(), 2);
    }
}
