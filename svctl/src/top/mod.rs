//! The table as a live screen.
//!
//! 1. [`terminal`] takes over the terminal, and gives it back in every case.
//! 2. [`crate::watch`] tells what changes, as for `events`, and sleeps meanwhile.
//! 3. [`screen`] is what is shown, as a value that keys and news change; [`draw`] makes lines of it; [`keys`] makes keys of
//!    bytes. These three only compute.
//! 4. [`measure`] finds out what the services that are shown use, and [`last_line`] what they have said, every two seconds,
//!    and only if there is room for it.
//!
//! Exit codes: 0, `q` was pressed or the terminal is gone; 100, standard input or output is no terminal. A signal that ends
//! svctl ends it as any program, once the terminal is as it was.

pub mod draw;
pub mod keys;
pub mod last_line;
pub mod measure;
pub mod screen;
pub mod terminal;

use crate::Context;
use crate::answer::Answer;
use crate::detail::detail;
use crate::list::was_supervised;
use crate::paint::Paint;
use crate::services::Service;
use crate::text::shown;
use crate::watch::{Change, Watch};
use daemontools::report::PERMANENT;
use daemontools::service::view::View;
use daemontools::service::{EndReason, LOG};
use daemontools::tai64::Moment;
use daemontools::{Fatal, sys};
use draw::{Drawing, INTERVAL, draw};
use keys::Decoder;
use measure::Measure;
use nix::poll::{PollFd, poll};
use screen::{Entry, Figures, Order, Screen, Wish};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::{Duration, Instant};
use terminal::{News, Terminal};

/// Changes are drawn no more often than this. A service that ends all the time must not keep a processor busy here.
const PACE: Duration = Duration::from_millis(100);
/// A lone ESC byte is the key Escape if nothing follows it within this time.
const ESCAPE: Duration = Duration::from_millis(50);
/// How often services that do not answer are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Shows the table until `q` is pressed, or a signal ends svctl.
///
/// # Errors
/// There is no terminal; a word means no service; the scan directory cannot be read.
pub fn top(context: Context, names: &[OsString]) -> Result<i32, Fatal> {
    if !Terminal::is_there() {
        let words = "top needs a terminal for its input and output: svctl shows the same table once, and svctl events \
                     tells each change";
        return Err(Fatal::new(PERMANENT, &[words.as_bytes()]));
    }
    if Terminal::is_dumb() {
        let words = "top needs a terminal whose cursor it can move, and $TERM is not set, or dumb";
        return Err(Fatal::new(PERMANENT, &[words.as_bytes()]));
    }
    let paint = context.paint;
    let context = Context { paint: Paint { is_colored: false, ..paint }, ..context };
    let (_, missing) = context.services.choose(names)?;
    if !missing.is_empty() {
        return Err(Fatal::new(PERMANENT, &[&missing.join(&b"; "[..])]));
    }
    let watch = Watch::new(&context.services, names)?;
    let terminal = Terminal::enter()?;
    let title = shown(context.services.directory().as_os_str().as_encoded_bytes());
    let top = Top {
        // The lines of a status are cut to the terminal, and so have no colours.
        plain: &context,
        paint,
        names,
        watch,
        screen: Screen::new(title, terminal.size()),
        answer: BTreeMap::new(),
        measure: Measure::default(),
        status_is_old: false,
    };
    top.run(terminal)
}

/// The screen, and what it is made from.
struct Top<'a> {
    /// Without colours.
    plain: &'a Context,
    paint: Paint,
    /// The words by which services were chosen.
    names: &'a [OsString],
    watch: Watch<'a>,
    screen: Screen,
    answer: BTreeMap<OsString, (Service, Answer)>,
    measure: Measure,
    /// Whether more may be known of the service about which everything is shown.
    status_is_old: bool,
}

impl Top<'_> {
    fn run(mut self, mut terminal: Terminal) -> Result<i32, Fatal> {
        let mut decoder = Decoder::default();
        let mut measured_at: Option<Instant> = None;
        loop {
            let looked_at = Instant::now();
            self.take_in_changes()?;
            let is_due = measured_at.is_none_or(|time| time + INTERVAL <= looked_at);
            if is_due {
                measured_at = Some(looked_at);
                self.status_is_old = true;
            }
            let drawing = self.drawing(is_due);
            terminal.show(&drawing.lines)?;
            let mut due = drawing.lasts.map(|time| looked_at + time);
            if drawing.lasts == Some(INTERVAL) {
                due = measured_at.map(|time| time + INTERVAL);
            }
            if !self.watch.hanging().is_empty() {
                due = due.into_iter().chain([looked_at + ASK_AGAIN]).min();
            }
            if decoder.is_undecided() {
                due = due.into_iter().chain([looked_at + ESCAPE]).min();
            }
            let news = self.wait(&mut terminal, looked_at + PACE, due)?;
            let mut keys = Vec::new();
            match news {
                News::Nothing if decoder.is_undecided() => keys.extend(decoder.finish()),
                News::Nothing => {}
                News::Gone => return Ok(0),
                News::Bytes(bytes) => keys = decoder.push(&bytes),
                News::Resized => self.screen.resize(terminal.size()),
            }
            for key in keys {
                match self.screen.press(key) {
                    Wish::Nothing => {}
                    Wish::Quit => return Ok(0),
                    Wish::Redraw => terminal.forget(),
                    Wish::Status(name) => self.show_status(name),
                }
            }
        }
    }

    /// Waits until something may have changed or a key was pressed, and until `due` at the latest. What has changed before
    /// `pace` waits until then, while a key or a signal does not.
    fn wait(&mut self, terminal: &mut Terminal, pace: Instant, due: Option<Instant>) -> Result<News, Fatal> {
        let left = pace.min(due.unwrap_or(pace)).saturating_duration_since(Instant::now());
        let mut own: Vec<PollFd> = terminal.fds().iter().map(|(fd, flags)| PollFd::new(*fd, *flags)).collect();
        let is_ready = poll(&mut own, sys::timeout(Some(left))).is_ok_and(|ready| ready > 0);
        if !is_ready {
            self.watch.wait_beside(due, &terminal.fds())?;
        }
        Ok(terminal.news()?)
    }

    fn take_in_changes(&mut self) -> Result<(), Fatal> {
        // Those that do not answer are not watched, so they are asked again.
        let mut hung: BTreeSet<OsString> = self.watch.hanging().iter().map(|service| service.name.clone()).collect();
        if !hung.is_empty() {
            self.watch.look_for_services();
        }
        for change in self.watch.changes()? {
            match change {
                Change::Gone(service) => self.forget(&service.name),
                Change::Seen(service, answer) => {
                    hung.remove(&service.name);
                    self.put(service, answer);
                }
            }
        }
        for service in self.watch.hanging().to_vec() {
            hung.remove(&service.name);
            let answer = Answer::of(&service);
            self.put(service, answer);
        }
        hung.iter().for_each(|name| self.forget(name));
        Ok(())
    }

    fn put(&mut self, service: Service, answer: Answer) {
        self.status_is_old |= self.screen.status() == Some(&service.name);
        let is_named = self.names.contains(&service.name);
        let is_logger = is_name_of_logger(&service.name) && !is_named;
        if is_logger && (answer.is_as_wanted() || answer.is_up() || !was_supervised(&service)) {
            return self.forget(&service.name);
        }
        self.screen.put(service.name.clone(), entry(&service, &answer, is_logger));
        self.answer.insert(service.name.clone(), (service, answer));
    }

    fn forget(&mut self, name: &OsStr) {
        self.screen.remove(name);
        self.answer.remove(name);
        self.measure.forget(name);
    }

    /// The lines to show. What is measured is measured again if that is due, and otherwise only of services that have come
    /// into sight.
    fn drawing(&mut self, is_due: bool) -> Drawing {
        if let Some(name) = self.screen.status().map(OsStr::to_os_string).filter(|_| self.status_is_old) {
            self.show_status(name);
        }
        let drawing = self.draw();
        let is_ordered_by_figures = matches!(self.screen.order, Order::Cpu | Order::Memory);
        let names = match (drawing.has_figures, is_ordered_by_figures) {
            (false, _) => return drawing,
            (true, true) => self.answer.keys().cloned().collect(),
            (true, false) => drawing.shown.clone(),
        };
        let mut is_changed = false;
        for name in names {
            let Some((service, answer)) = self.answer.get(&name) else { continue };
            if is_due || !self.measure.has(&name, answer) {
                let figures: Figures = self.measure.measure(&self.plain.services, service, answer);
                self.screen.measure(&name, figures);
                is_changed = true;
            }
        }
        if is_changed { self.draw() } else { drawing }
    }

    fn draw(&self) -> Drawing {
        draw(&self.screen, Moment::now().uptime, self.paint)
    }

    fn show_status(&mut self, name: OsString) {
        self.status_is_old = false;
        let Some((service, _)) = self.answer.get(&name) else { return };
        let service = Service { reach: self.plain.services.reach(&service.path), ..service.clone() };
        let text = detail(self.plain, &service, &Answer::of(&service));
        self.screen.show_status(name, text.lines().map(str::to_string).collect());
    }
}

/// Whether a service is the logger of another one: `web/log`.
fn is_name_of_logger(name: &OsStr) -> bool {
    let name = Path::new(name);
    name.ends_with(LOG) && name.components().count() > 1
}

fn entry(service: &Service, answer: &Answer, is_logger: bool) -> Entry {
    let view = answer.view();
    let record = view.and_then(|view| view.seen.record.as_ref());
    let is_unwanted = |reason: &EndReason| *reason != EndReason::Told;
    Entry {
        name: shown(service.name.as_encoded_bytes()),
        mark: answer.mark(),
        state: answer.word(),
        is_as_wanted: answer.is_as_wanted(),
        is_logger,
        pid: answer.pid().map(nix::unistd::Pid::as_raw),
        since: view.map(|view: &View| view.now.uptime.saturating_sub(view.lasting())),
        starts: view.and_then(|view| view.seen.starts()),
        deaths: record
            .map(|record| record.ends.all().filter(|(reason, _)| is_unwanted(reason)).map(|(_, times)| times).sum()),
        reason: answer.reason().map(|reason| shown(reason.as_bytes())),
        figures: Figures::default(),
    }
}
