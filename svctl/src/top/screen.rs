//! What the live screen shows, as a value: the services, the row that is selected, the order, the filter. Keys and news of
//! services change it. No clock, no I/O.
//!
//! | where | key | what happens |
//! |---|---|---|
//! | table | `q` | the program ends |
//! | table | up, down, `k`, `j`, page up and down, home, end, `g`, `G` | another service is selected |
//! | table | Enter | everything about the selected service is shown |
//! | table | `s` | the next order |
//! | table | `/` | a filter is typed |
//! | table | Escape | all services are shown again |
//! | filter | a character, Backspace, ^U | the filter changes, and the table with it |
//! | filter | Enter | the filter stays |
//! | filter | Escape | the filter is as it was before |
//! | status | `q`, Escape, Enter, Backspace | back to the table |
//! | status | the keys that select | other lines are shown |
//! | everywhere | ^L | everything is drawn anew |
//!
//! The selected service stays selected when the order changes. As long as none was selected, it is the first row, whichever
//! service that is.

use crate::paint::Mark;
use crate::top::keys::Key;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

/// What is known of one service. The texts have nothing in them that commands a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The symbol for its state.
    pub mark: Mark,
    /// The word for its state.
    pub state: &'static str,
    /// Whether it is as it is wanted.
    pub is_as_wanted: bool,
    /// Whether it is a logger, which has a row only if something is wrong with it.
    pub is_logger: bool,
    /// Its process.
    pub pid: Option<i32>,
    /// The time since the start of the machine when it came into its state.
    pub since: Option<Duration>,
    /// How often it was started.
    pub starts: Option<u64>,
    /// How often it has ended without being told to.
    pub deaths: Option<u64>,
    /// Why it is in its state.
    pub reason: Option<String>,
    /// What is measured from time to time.
    pub figures: Figures,
}

/// What is measured of a service from time to time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The share of one processor that its processes have used lately, in thousandths.
    pub cpu: Option<u64>,
    /// Its resident memory in bytes.
    pub memory: Option<u64>,
    /// The last line that it has logged.
    pub last_line: Option<String>,
}

/// The size of the terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// How many lines it has.
    pub rows: usize,
    /// How many columns it has.
    pub columns: usize,
}

impl Size {
    /// Whether there is room for a title, for the names of the columns, and for a line of help.
    pub fn frame(self) -> (bool, bool, bool) {
        (self.rows >= 3, self.rows >= 2, self.rows >= 4)
    }

    /// How many lines are left for services.
    pub fn body(self) -> usize {
        let (title, names, help) = self.frame();
        self.rows - usize::from(title) - usize::from(names) - usize::from(help)
    }
}

/// The order of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Those that have failed first, then those that are not as they are wanted.
    State,
    /// By name.
    Name,
    /// Those that use the processor most first.
    Cpu,
    /// Those that use most memory first.
    Memory,
    /// Those that have ended most often first.
    Deaths,
    /// Those that have changed last first.
    Change,
}

impl Order {
    /// All orders, in the order in which they follow each other.
    pub const ALL: [Order; 6] = [Order::State, Order::Name, Order::Cpu, Order::Memory, Order::Deaths, Order::Change];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Order::State => "state",
            Order::Name => "name",
            Order::Cpu => "CPU",
            Order::Memory => "memory",
            Order::Deaths => "deaths",
            Order::Change => "change",
        }
    }

    fn next(self) -> Order {
        let place = Order::ALL.iter().position(|order| *order == self).unwrap_or(0);
        Order::ALL[(place + 1) % Order::ALL.len()]
    }
}

/// What the screen shows, and what keys are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The table.
    Table,
    /// The table, while a filter is typed. The filter before is kept.
    Filter(String),
    /// Everything about this service, from a line on.
    Status(OsString, Vec<String>, usize),
}

/// What is to be done for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Nothing else.
    Nothing,
    /// The program ends.
    Quit,
    /// The screen is drawn as if nothing were on it.
    Redraw,
    /// Everything about this service is found out, and [`Screen::show_status`] is called with it.
    Status(OsString),
}

/// The screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// Where the services are, in words.
    pub title: String,
    /// The size of the terminal.
    pub size: Size,
    /// What is shown.
    pub mode: Mode,
    /// The order.
    pub order: Order,
    /// Only services with this text in their names are shown.
    pub filter: String,
    entries: BTreeMap<OsString, Entry>,
    selected: Option<OsString>,
    /// The first row that is shown.
    first: usize,
}

impl Screen {
    /// A screen without services.
    pub fn new(title: String, size: Size) -> Screen {
        Screen {
            title,
            size,
            mode: Mode::Table,
            order: Order::State,
            filter: String::new(),
            entries: BTreeMap::new(),
            selected: None,
            first: 0,
        }
    }

    /// Takes in what is known of a service now. What was measured of it is kept as long as it has the same process.
    pub fn put(&mut self, name: OsString, entry: Entry) {
        let figures =
            self.entries.get(&name).filter(|before| before.pid == entry.pid).map(|entry| entry.figures.clone());
        let figures = figures.unwrap_or_else(|| entry.figures.clone());
        self.entries.insert(name, Entry { figures, ..entry });
    }

    /// Takes a service away. Its status stays on the screen until a key is pressed.
    pub fn remove(&mut self, name: &OsStr) {
        self.entries.remove(name);
    }

    /// Takes in what was measured of a service.
    pub fn measure(&mut self, name: &OsStr, figures: Figures) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.figures = figures;
        }
    }

    /// Takes in the size of the terminal.
    pub fn resize(&mut self, size: Size) {
        self.size = size;
    }

    /// Shows everything about a service. If it is shown already, the same lines of it are.
    pub fn show_status(&mut self, name: OsString, lines: Vec<String>) {
        let from = match &self.mode {
            Mode::Status(shown, _, from) if *shown == name => *from,
            Mode::Status(..) | Mode::Table | Mode::Filter(_) => 0,
        };
        let from = from.min(lines.len().saturating_sub(self.status_height()));
        self.mode = Mode::Status(name, lines, from);
    }

    /// The service about which everything is shown.
    pub fn status(&self) -> Option<&OsStr> {
        match &self.mode {
            Mode::Status(name, _, _) => Some(name),
            Mode::Table | Mode::Filter(_) => None,
        }
    }

    /// All services, whether they are shown or not.
    pub fn all(&self) -> impl Iterator<Item = (&OsStr, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_os_str(), entry))
    }

    /// The services that the filter lets through, in the order that was chosen.
    pub fn rows(&self) -> Vec<(&OsStr, &Entry)> {
        let wanted = self.filter.to_lowercase();
        let is_wanted = |entry: &Entry| wanted.is_empty() || entry.name.to_lowercase().contains(&wanted);
        let mut rows: Vec<(&OsStr, &Entry)> = self.all().filter(|(_, entry)| is_wanted(entry)).collect();
        // They are in the order of their names, and a sort leaves that where it sees no difference.
        match self.order {
            Order::State => rows.sort_by_key(|(_, entry)| rank(entry)),
            Order::Name => {}
            Order::Cpu => rows.sort_by_key(|(_, entry)| Reverse(entry.figures.cpu)),
            Order::Memory => rows.sort_by_key(|(_, entry)| Reverse(entry.figures.memory)),
            Order::Deaths => rows.sort_by_key(|(_, entry)| Reverse(entry.deaths)),
            Order::Change => rows.sort_by_key(|(_, entry)| Reverse(entry.since)),
        }
        rows
    }

    /// Which of these rows is selected, and which is the first that is shown.
    pub fn window(&self, rows: &[(&OsStr, &Entry)]) -> (usize, usize) {
        let selected = self.index_of_selected(rows);
        let height = self.size.body();
        let first = self.first.min(rows.len().saturating_sub(height));
        let first = first.min(selected).max((selected + 1).saturating_sub(height));
        (selected, first)
    }

    fn index_of_selected(&self, rows: &[(&OsStr, &Entry)]) -> usize {
        let is_selected = |(name, _): &(&OsStr, &Entry)| self.selected.as_deref() == Some(*name);
        rows.iter().position(is_selected).unwrap_or(0)
    }

    fn status_height(&self) -> usize {
        // It has no names of columns.
        self.size.body() + usize::from(self.size.frame().1)
    }

    /// Takes in a key, and returns what is to be done for it.
    pub fn press(&mut self, key: Key) -> Wish {
        if key == Key::Redraw {
            return Wish::Redraw;
        }
        match std::mem::replace(&mut self.mode, Mode::Table) {
            Mode::Table => self.press_in_table(key),
            Mode::Filter(before) => self.press_in_filter(key, before),
            Mode::Status(name, lines, from) => self.press_in_status(key, (name, lines, from)),
        }
    }

    fn press_in_table(&mut self, key: Key) -> Wish {
        let rows = self.rows();
        let (selected, first) = self.window(&rows);
        let page = self.size.body().max(1);
        let last = rows.len().saturating_sub(1);
        let to = match key {
            Key::Char('q') => return Wish::Quit,
            Key::Enter => return rows.get(selected).map_or(Wish::Nothing, |(name, _)| Wish::Status((*name).into())),
            Key::Char('/') => {
                self.mode = Mode::Filter(self.filter.clone());
                return Wish::Nothing;
            }
            Key::Char('s') => {
                self.order = self.order.next();
                // One looks at the other end of the table next, where none was selected.
                self.first = 0;
                return Wish::Nothing;
            }
            Key::Escape => {
                self.filter.clear();
                return Wish::Nothing;
            }
            key => moved(key, selected, page, last),
        };
        if let Some(to) = to {
            self.selected = rows.get(to).map(|(name, _)| OsString::from(name));
            self.first = first;
            self.first = self.window(&self.rows()).1;
        }
        Wish::Nothing
    }

    fn press_in_filter(&mut self, key: Key, before: String) -> Wish {
        match key {
            Key::Enter => return Wish::Nothing,
            Key::Escape => {
                self.filter = before;
                return Wish::Nothing;
            }
            Key::Char(character) => self.filter.push(character),
            Key::Backspace => _ = self.filter.pop(),
            Key::Clear => self.filter.clear(),
            Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Home | Key::End | Key::Redraw => {}
        }
        self.mode = Mode::Filter(before);
        Wish::Nothing
    }

    fn press_in_status(&mut self, key: Key, (name, lines, from): (OsString, Vec<String>, usize)) -> Wish {
        let height = self.status_height().max(1);
        let last = lines.len().saturating_sub(height);
        match key {
            Key::Char('q') | Key::Escape | Key::Enter | Key::Backspace => {}
            key => {
                let from = moved(key, from, height, last).unwrap_or(from);
                self.mode = Mode::Status(name, lines, from);
            }
        }
        Wish::Nothing
    }
}

/// Where a key leads from a place between 0 and the last one; `None` if it leads nowhere.
fn moved(key: Key, from: usize, page: usize, last: usize) -> Option<usize> {
    let to = match key {
        Key::Up | Key::Char('k') => from.saturating_sub(1),
        Key::Down | Key::Char('j') => from + 1,
        Key::PageUp => from.saturating_sub(page),
        Key::PageDown | Key::Char(' ') => from + page,
        Key::Home | Key::Char('g') => 0,
        Key::End | Key::Char('G') => last,
        Key::Char(_) | Key::Enter | Key::Escape | Key::Backspace | Key::Redraw | Key::Clear => return None,
    };
    Some(to.min(last))
}

/// How much a service needs to be looked at; the smallest value most.
fn rank(entry: &Entry) -> (u8, bool) {
    (entry.mark.urgency(), entry.is_as_wanted)
}

#[cfg(test)]
pub(crate) mod tests;
