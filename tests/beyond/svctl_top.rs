//! `svctl top`, on a pseudo-terminal. What it writes is shown by a small terminal that knows only what svctl needs, and
//! fails at everything else: so nothing that comes from a service can command it.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{FlowArg, LocalFlags, Termios, tcflow, tcgetattr};
use nix::unistd::{Pid, read, ttyname, write};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use tests::{Daemon, Running, Scratch, Service, has, wait_until};

/// What a terminal of this size shows.
struct Screen {
    rows: usize,
    columns: usize,
    lines: Vec<String>,
    row: usize,
    pending: Vec<u8>,
    is_alternate: bool,
    has_cursor: bool,
    wraps: bool,
    /// How often it was erased as a whole.
    erasures: usize,
    /// It has another size, and what comes may still be for the size before, until it is erased.
    is_settling: bool,
}

impl Screen {
    fn new(rows: usize, columns: usize) -> Screen {
        let lines = vec![String::new(); rows];
        Screen {
            rows,
            columns,
            lines,
            row: 0,
            pending: Vec::new(),
            is_alternate: false,
            has_cursor: true,
            wraps: true,
            erasures: 0,
            is_settling: false,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        while let Some(length) = self.one() {
            self.pending.drain(..length);
        }
    }

    /// Takes the first sequence or character, and returns its length; `None` if it is not whole yet.
    fn one(&mut self) -> Option<usize> {
        let pending = self.pending.clone();
        let first = *pending.first()?;
        if first == 0x1b {
            let end = pending.iter().position(|byte| byte.is_ascii_alphabetic())?;
            self.sequence(std::str::from_utf8(&pending[1..=end]).unwrap());
            return Some(end + 1);
        }
        if first < b' ' || first == 0x7f {
            // The shell writes these, and the terminal's line discipline.
            assert!(
                !self.is_alternate && b"\r\n\t\x07\x08".contains(&first),
                "the byte {first:#x} in {:?}",
                self.text()
            );
            if first == b'\n' {
                self.row = (self.row + 1).min(self.rows - 1);
            }
            return Some(1);
        }
        let length = match first {
            ..0x80 => 1,
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            _ => 4,
        };
        let character = std::str::from_utf8(pending.get(..length)?).expect("UTF-8").chars().next().unwrap();
        assert!(!character.is_control() && character != '\u{202e}', "{character:?} in {:?}", self.text());
        if self.is_settling {
            return Some(length);
        }
        self.lines[self.row].push(character);
        assert!(!self.is_alternate || self.lines[self.row].chars().count() <= self.columns, "{:?}", self.text());
        Some(length)
    }

    fn sequence(&mut self, sequence: &str) {
        match sequence {
            "[?1049h" => self.is_alternate = true,
            "[?1049l" => self.is_alternate = false,
            "[?25h" => self.has_cursor = true,
            "[?25l" => self.has_cursor = false,
            "[?7h" => self.wraps = true,
            "[?7l" => self.wraps = false,
            "[2J" => {
                self.lines = vec![String::new(); self.rows];
                self.erasures += 1;
                self.is_settling = false;
            }
            _ if self.is_settling => {}
            "[2K" => self.lines[self.row].clear(),
            "[0m" | "[7m" | "[2m" | "[31m" | "[32m" | "[33m" => {}
            // A shell asks for pasted text to be marked.
            "[?2004h" | "[?2004l" if !self.is_alternate => {}
            other => {
                let place = other.strip_prefix('[').and_then(|rest| rest.strip_suffix(";1H"));
                let row: usize = place.and_then(|row| row.parse().ok()).unwrap_or_else(|| panic!("{other:?}"));
                assert!((1..=self.rows).contains(&row), "row {row} of {}", self.rows);
                self.row = row - 1;
            }
        }
    }

    fn text(&self) -> String {
        self.lines.join("\n")
    }
}

/// A program on a pseudo-terminal, which is its controlling terminal.
struct OnTerminal {
    child: Running,
    master: OwnedFd,
    /// Held open, so that the terminal stays when the program ends.
    slave: OwnedFd,
    before: Termios,
    screen: Screen,
}

impl OnTerminal {
    /// Starts `svctl top` with these words.
    fn top(scratch: &Scratch, (rows, columns): (u16, u16), words: &[&str]) -> OnTerminal {
        let all = [&["svctl", "-d", "sv", "--color=never", "top"], words].concat();
        OnTerminal::start(scratch, (rows, columns), &all)
    }

    fn start(scratch: &Scratch, size: (u16, u16), words: &[&str]) -> OnTerminal {
        OnTerminal::start_on(scratch, size, words, |_| {})
    }

    /// Starts a program on a terminal that `prepare` has prepared.
    fn start_on(
        scratch: &Scratch,
        (rows, columns): (u16, u16),
        words: &[&str],
        prepare: impl FnOnce(&OwnedFd),
    ) -> OnTerminal {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).unwrap();
        for fd in [&terminal.master, &terminal.slave] {
            fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).unwrap();
        }
        fcntl(&terminal.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let before = tcgetattr(&terminal.slave).unwrap();
        prepare(&terminal.slave);
        let child = OnTerminal::child(scratch, &terminal.slave, words);
        let screen = Screen::new(rows.into(), columns.into());
        OnTerminal { child: Running(child), master: terminal.master, slave: terminal.slave, before, screen }
    }

    fn child(scratch: &Scratch, slave: &OwnedFd, words: &[&str]) -> Child {
        let mut command = scratch.command("setsid");
        let file = || Stdio::from(slave.try_clone().unwrap());
        command.arg("--ctty").args(words).env("TERM", "xterm").env("LANG", "C.UTF-8").env("PS1", "$ ");
        command.stdin(file()).stdout(file()).stderr(file()).spawn().unwrap()
    }

    /// Takes in what has been written until now.
    fn read(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = read(&self.master, &mut bytes) {
            self.screen.take(&bytes[..length]);
        }
    }

    /// Waits until the screen is so.
    fn wait_for(&mut self, what: &str, is_so: impl Fn(&Screen) -> bool) {
        wait_until(what, || {
            self.read();
            is_so(&self.screen)
        });
    }

    /// Waits until a line of the screen has all these parts.
    fn shows(&mut self, parts: &[&str]) {
        self.wait_for(&format!("{parts:?} is shown"), |screen| {
            screen.lines.iter().any(|line| parts.iter().all(|part| line.contains(part)))
        });
    }

    fn keys(&self, keys: &str) {
        assert_eq!(write(&self.master, keys.as_bytes()), Ok(keys.len()));
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.0.id()).unwrap())
    }

    /// Gives the terminal another size. stty(1) changes rows and columns one after the other, and the program may draw in
    /// between.
    fn resize(&mut self, scratch: &Scratch, rows: usize, columns: usize) {
        let columns_before = self.screen.columns;
        self.change_size(scratch, &format!("rows {rows}"), (rows, columns_before));
        self.change_size(scratch, &format!("columns {columns}"), (rows, columns));
    }

    /// Changes one side of the terminal, and waits until the program has drawn all anew.
    fn change_size(&mut self, scratch: &Scratch, words: &str, (rows, columns): (usize, usize)) {
        self.read();
        let pending = std::mem::take(&mut self.screen.pending);
        let screen =
            Screen { pending, is_alternate: true, has_cursor: false, wraps: false, ..Screen::new(rows, columns) };
        self.screen = Screen { is_settling: true, ..screen };
        let line = format!("stty -F {} {words}", self.path().display());
        assert_eq!(scratch.shell(&line).code, 0, "{line}");
        self.wait_for("it is drawn in the new size", |screen| screen.erasures > 0);
    }

    fn path(&self) -> PathBuf {
        ttyname(&self.slave).unwrap()
    }

    /// Waits for the end, and returns the code or 128 and the signal.
    fn code(&mut self) -> i32 {
        let mut status = None;
        wait_until("the program ends", || {
            self.read();
            status = self.child.0.try_wait().unwrap();
            status.is_some()
        });
        self.read();
        let status = status.unwrap();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }

    /// As [`code`](OnTerminal::code). The terminal must be as it was.
    fn ends(mut self) -> i32 {
        let code = self.code();
        self.is_as_it_was();
        code
    }

    fn is_as_it_was(&self) {
        assert_eq!(tcgetattr(&self.slave).unwrap(), self.before);
        let Screen { is_alternate, has_cursor, wraps, .. } = self.screen;
        assert_eq!((is_alternate, has_cursor, wraps), (false, true, true));
    }
}

impl Drop for OnTerminal {
    /// Shows what a test that has failed has seen.
    #[allow(clippy::print_stderr)]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.screen.text());
        }
    }
}

fn svscan(scratch: &Scratch) -> Daemon {
    scratch.dir("sv");
    Daemon::start(scratch.command("svscan").arg("sv"), scratch)
}

#[test]
fn the_table_is_there_at_once_and_changes_with_the_services() {
    if !has("setsid") {
        return;
    }
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "sv/web", "exec 2>&1; echo listening; exec sleep 1000");
    scratch.script("sv/web/log/run", "#!/bin/sh\nexec multilog t ./main\n");
    Service::new(&scratch, "sv/gaveup", "exit 100");
    Service::new(&scratch, "sv/off", "exec sleep 1000").down();
    let _svscan = svscan(&scratch);
    let pid = web.up().to_string();
    let mut top = OnTerminal::top(&scratch, (12, 120), &[]);
    top.shows(&["web", "up", &pid, "listening"]);
    top.shows(&["3 services: 1 failed", "by state"]);
    top.shows(&["off", "down", "normally down"]);
    top.wait_for("what failed comes first", |screen| {
        screen.lines[2].contains("gaveup") && screen.lines[2].contains("exited 100")
    });
    // Its memory is there at once, and its share of the processor after the second measurement.
    top.shows(&["web", " M ", " 0.0 "]);
    assert_eq!(scratch.run("svctl -d sv stop web").code, 0);
    top.shows(&["web", "down", " - "]);
    let new = Service::new(&scratch, "new", "exec sleep 1000");
    fs::rename(new.path(""), scratch.path().join("sv/new")).unwrap();
    top.shows(&["new", "up"]);
    fs::rename(scratch.path().join("sv/new"), scratch.path().join("gone")).unwrap();
    top.wait_for("it is gone", |screen| !screen.text().contains("new "));
    top.keys("q");
    assert_eq!(top.ends(), 0);
}

#[test]
fn keys_select_filter_sort_and_show_a_status() {
    if !has("setsid") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "sv/web", "exec sleep 1000");
    Service::new(&scratch, "sv/worker", "exec sleep 1000").down();
    let _svscan = svscan(&scratch);
    let pid = service.up().to_string();
    let mut top = OnTerminal::top(&scratch, (12, 90), &[]);
    top.shows(&["web", "up", &pid]);
    top.shows(&["worker", "down"]);
    top.keys("j\r");
    top.shows(&["svctl status worker"]);
    top.shows(&["worker — down: normally down"]);
    // What is shown changes with the service.
    assert_eq!(scratch.run("svctl -d sv start worker").code, 0);
    top.shows(&["worker — up"]);
    top.keys("q");
    top.shows(&["2 services", "by state"]);
    top.keys("s");
    top.shows(&["by name"]);
    top.keys("/WO");
    top.shows(&["/WO: 1 shown"]);
    top.wait_for("the others are not shown", |screen| !screen.text().contains("web"));
    top.keys("\r\x1b");
    top.shows(&["web"]);
    // The key Escape is a byte with which others begin: it counts after a moment.
    top.keys("\x1b");
    top.keys("\x1b[B\x1b[A\r");
    top.shows(&["svctl status web"]);
    top.keys("\x1b");
    top.shows(&["by name"]);
    top.keys("q");
    assert_eq!(top.ends(), 0);
}

#[test]
fn it_fits_into_a_terminal_of_another_size() {
    if !has("setsid") {
        return;
    }
    let scratch = Scratch::new();
    for number in 10..40 {
        Service::new(&scratch, &format!("sv/worker{number}"), "exec sleep 1000").down();
    }
    let _svscan = svscan(&scratch);
    let mut top = OnTerminal::top(&scratch, (24, 100), &[]);
    top.shows(&["30 services  by state"]);
    top.shows(&["worker30", "normally down"]);
    top.resize(&scratch, 6, 24);
    // The screen fails at a line that is too long or too far below.
    top.shows(&["worker12", "down"]);
    top.keys("G");
    top.shows(&["worker39", "down"]);
    top.wait_for("there is room for three", |screen| !screen.text().contains("worker36"));
    top.resize(&scratch, 1, 3);
    top.wait_for("something is shown", |screen| !screen.text().is_empty());
    top.resize(&scratch, 40, 200);
    top.shows(&["worker10", "normally down"]);
    top.shows(&["q quit"]);
    // What another program has written onto the screen is gone with ^L.
    top.keys("\x0c");
    top.wait_for("it is drawn anew", |screen| screen.erasures > 1 && screen.text().contains("worker39"));
    top.keys("q");
    assert_eq!(top.ends(), 0);
}

#[test]
fn the_terminal_is_as_it_was_after_each_signal() {
    if !has("setsid") {
        return;
    }
    let scratch = Scratch::new();
    scratch.dir("sv/web");
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        let mut top = OnTerminal::top(&scratch, (12, 90), &[]);
        top.shows(&["web", "unsupervised"]);
        assert!(top.screen.is_alternate && !top.screen.has_cursor && !top.screen.wraps);
        assert!(!tcgetattr(&top.slave).unwrap().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO));
        kill(top.pid(), signal).unwrap();
        assert_eq!(top.ends(), 128 + signal as i32, "{signal}");
    }
    let mut top = OnTerminal::top(&scratch, (12, 90), &[]);
    top.shows(&["web", "unsupervised"]);
    top.keys("\x03");
    assert_eq!(top.ends(), 130);
}

#[test]
fn it_stops_and_goes_on() {
    if !has("setsid") {
        return;
    }
    let scratch = Scratch::new();
    scratch.dir("sv/web");
    let mut shell = OnTerminal::start(&scratch, (12, 90), &["/bin/sh", "-i"]);
    shell.keys("svctl -d sv top\n");
    shell.shows(&["web", "unsupervised"]);
    shell.keys("\x1a");
    shell.wait_for("the shell has its screen", |screen| !screen.is_alternate && screen.has_cursor && screen.wraps);
    shell.keys("stty -a | grep -o ' icanon'; echo then\n");
    shell.shows(&[" icanon"]);
    // A service that comes meanwhile is there later.
    scratch.dir("sv/later");
    shell.keys("fg\n");
    shell.wait_for("it is back", |screen| screen.is_alternate && !screen.has_cursor && !screen.wraps);
    shell.shows(&["later", "unsupervised"]);
    shell.keys("j\r");
    shell.shows(&["svctl status web"]);
    shell.keys("q");
    shell.shows(&["2 services"]);
    shell.keys("q");
    shell.wait_for("the shell has its screen", |screen| !screen.is_alternate);
    shell.keys("exit 7\n");
    assert_eq!(shell.code(), 7);
}

#[test]
fn nothing_that_comes_from_a_service_commands_the_terminal() {
    if !has("setsid") {
        return;
    }
    let scratch = Scratch::new();
    let evil = "\x1b[2J\x1b]0;title\x07\x1b[6n\u{9b}2J\u{85}\x08\x7f\t\u{202e}gr\u{fc}n";
    let name = format!("sv/w{evil}\nfake");
    let service = Service::new(&scratch, &name, "exec 2>&1; cat words; exec sleep 1000");
    scratch.file(format!("{name}/words"), [evil.as_bytes(), b" \x9b2J\xff\n"].concat());
    scratch.script(format!("{name}/log/run"), "#!/bin/sh\nexec multilog t ./main\n");
    let _svscan = svscan(&scratch);
    service.up();
    let spelled = "\\x1b[2J\\x1b]0;title\\x07\\x1b[6n\\u009b2J\\u0085\\x08\\x7f \\u202egrün";
    wait_until("it has logged", || service.says("log/main/current").contains("title"));
    // This is the text that a service reports about itself.
    let state = service.says("supervise/state");
    scratch.file(format!("{name}/supervise/state"), format!("{state}status-text a \u{202e}b\u{9b}c\n"));
    let mut top = OnTerminal::top(&scratch, (30, 250), &[]);
    top.shows(&[&format!("w{spelled}\\x0afake")[..20], "up", &format!("{spelled} \\x9b2J\\xff")]);
    top.keys("\r");
    top.shows(&[&format!("w{spelled}\\x0afake — up")]);
    top.shows(&["says", "a \\u202eb\\u009bc"]);
    top.shows(&[&format!("{spelled} \\x9b2J\\xff")]);
    top.keys("\x1b");
    // What is typed is shown as well.
    top.keys("/\u{9b}\x1b[6n");
    top.shows(&["Enter keeps it"]);
    top.keys("\rq");
    assert_eq!(top.ends(), 0);
}

#[test]
fn it_needs_a_terminal_and_says_what_does_not() {
    let scratch = Scratch::new();
    scratch.dir("sv/web");
    let refusal = "svctl: fatal: top needs a terminal for its input and output: svctl shows the same table once, and \
                   svctl events tells each change\n";
    assert_eq!(scratch.run("svctl -d sv top"), tests::fails(100, refusal));
    if !has("setsid") {
        return;
    }
    for line in [
        "svctl -d sv top </dev/null",
        "svctl -d sv top | cat",
        "TERM=dumb svctl -d sv top",
        "env -u TERM svctl -d sv top",
    ] {
        let mut top = OnTerminal::start(&scratch, (12, 200), &["/bin/sh", "-c", line]);
        let is_about_term = line.contains("TERM");
        top.shows(&[if is_about_term {
            "and $TERM is not set, or dumb"
        } else {
            "top needs a terminal for its input"
        }]);
        assert_eq!(top.ends(), if line.ends_with("cat") { 0 } else { 100 }, "{line}");
    }
    let mut top = OnTerminal::top(&scratch, (12, 90), &["wbe"]);
    top.shows(&["no service wbe", "did you mean web?"]);
    assert_eq!((top.screen.erasures, top.ends()), (0, 100));
}

#[test]
fn it_sleeps_while_nothing_that_it_shows_changes() {
    if !has("setsid") {
        return;
    }
    let scratch = Scratch::new();
    let _svscan = svscan(&scratch);
    Service::new(&scratch, "sv/web", "exec sleep 1000").up();
    let crash = Service::new(&scratch, "sv/crash", "echo >>starts; exit 3");
    // There is no room for times and figures.
    let mut top = OnTerminal::top(&scratch, (6, 20), &["web"]);
    top.shows(&["web", "up"]);
    let status = format!("/proc/{}/status", top.pid());
    let wakes = || {
        let text = fs::read_to_string(&status).unwrap();
        text.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap().to_string()
    };
    // It draws no more often than ten times a second, so it wakes once more after it has drawn.
    let mut before = wakes();
    let mut starts = crash.lines("starts", 1).len();
    wait_until("it sleeps", || {
        starts = crash.lines("starts", starts + 1).len();
        std::mem::replace(&mut before, wakes()) == before
    });
    crash.lines("starts", starts + 3);
    assert_eq!(wakes(), before);
    assert_eq!(scratch.run("svctl -d sv stop web").code, 0);
    top.shows(&["web", "down"]);
    top.keys("q");
    assert_eq!(top.ends(), 0);
}

#[test]
fn a_terminal_that_takes_nothing_keeps_no_signal_from_ending_it() {
    if !has("setsid") {
        return;
    }
    let scratch = Scratch::new();
    scratch.dir("sv/web");
    let words = ["svctl", "-d", "sv", "top"];
    let stop = |slave: &OwnedFd| tcflow(slave, FlowArg::TCOOFF).unwrap();
    let mut top = OnTerminal::start_on(&scratch, (12, 90), &words, stop);
    // It is set up before anything is written to it.
    wait_until("the terminal is taken over", || {
        !tcgetattr(&top.slave).unwrap().local_flags.intersects(LocalFlags::ICANON)
    });
    kill(top.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(top.code(), 128 + Signal::SIGTERM as i32);
    assert_eq!(tcgetattr(&top.slave).unwrap(), top.before);
}
