//! readproctitle: what `ps` shows.

use std::fs;
use std::io::Write;
use std::process::{ChildStdin, Stdio};
use tests::{Running, Scratch, wait_until};

/// A readproctitle that reads what the test writes.
struct Title {
    running: Running,
    input: ChildStdin,
    scratch: Scratch,
}

impl Title {
    fn start(args: &[&str]) -> Title {
        let scratch = Scratch::new();
        let mut running = Running(scratch.command("readproctitle").args(args).stdin(Stdio::piped()).spawn().unwrap());
        let input = running.0.stdin.take().unwrap();
        Title { running, input, scratch }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).unwrap();
    }

    /// The arguments as the system shows them, without the program's name.
    fn shown(&self) -> String {
        let line = fs::read(format!("/proc/{}/cmdline", self.running.0.id())).unwrap();
        let args: Vec<String> = line.split(|byte| *byte == 0).map(|arg| arg.escape_ascii().to_string()).collect();
        match args.as_slice() {
            [_name, shown @ .., last] if last.is_empty() => shown.join(" "),
            // The system has not set the arguments yet.
            _ => String::new(),
        }
    }

    fn wait_for(&self, shown: &str) {
        wait_until(&format!("{shown:?} is shown"), || self.shown() == shown);
    }

    fn end(self) -> i32 {
        drop(self.input);
        self.running.wait().code().unwrap()
    }
}

#[test]
fn the_last_argument_becomes_dots_and_then_what_was_read() {
    let mut title = Title::start(&["service", "errors:", "anything at all"]);
    title.wait_for("service errors: ...............");
    title.write(b"one");
    title.wait_for("service errors: ............one");
    title.write(b" two\n");
    title.wait_for(r"service errors: .......one two\n");
    title.write(b"three");
    title.wait_for(r"service errors: ...ne two\nthree");
    assert_eq!(title.end(), 0);
}

#[test]
fn three_dots_stay_however_much_is_read() {
    for length in [5, 6, 8, 400] {
        let mut title = Title::start(&["x", &".".repeat(length)]);
        title.write("0123456789".repeat(1000).as_bytes());
        let last: String = "0123456789".repeat(40)[400 + 3 - length..].into();
        title.wait_for(&format!("x ...{last}"));
        assert_eq!(title.end(), 0, "{length}");
    }
}

#[test]
fn bytes_are_shown_as_they_are_but_for_nul() {
    let mut title = Title::start(&[".............."]);
    title.write(b"a\0b\0\0c\n\r\t\x80\xff");
    title.wait_for(r"......abc\n\r\t\x80\xff");
    title.write(b"\0");
    title.write(b"d");
    title.wait_for(r".....abc\n\r\t\x80\xffd");
    assert_eq!(title.end(), 0);
}

#[test]
fn ps_shows_it() {
    let mut title = Title::start(&["service", "errors:", "...................."]);
    title.write(b"fatal: it broke");
    title.wait_for("service errors: .....fatal: it broke");
    let ps = title.scratch.run(&format!("ps -ww -o args= -p {}", title.running.0.id()));
    assert!(ps.stdout.trim_end().ends_with("readproctitle service errors: .....fatal: it broke"), "{ps:?}");
}

#[test]
fn being_stopped_for_a_while_loses_nothing() {
    let mut title = Title::start(&["x", "............"]);
    for signal in ["STOP", "CONT"] {
        assert_eq!(title.scratch.run(&format!("kill -{signal} {}", title.running.0.id())).code, 0);
        title.write(b"ab");
    }
    title.wait_for("x ........abab");
    assert_eq!(title.end(), 0);
}

#[test]
fn misuse_and_unreadable_input_are_silent() {
    let scratch = Scratch::new();
    for (args, code) in [
        ("", 100),
        (" ''", 100),
        (" 1234", 100),
        (" x 1234", 100),
        (" 12345 x", 100),
        (" 12345", 0),
        (" x 12345 <&-", 111),
        (" x 12345 </", 111),
    ] {
        let outcome = scratch.shell(&format!("readproctitle{args}"));
        assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (code, "", ""), "{args}");
    }
}

#[test]
fn reading_much_takes_no_more_memory() {
    let mut title = Title::start(&["x", &".".repeat(400)]);
    let resident = |title: &Title| {
        let statm = fs::read_to_string(format!("/proc/{}/statm", title.running.0.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    title.write(b"first\n");
    title.wait_for(&format!(r"x {}first\n", ".".repeat(394)));
    let before = resident(&title);
    title.write(&b"another line\n".repeat(20_000));
    title.write(b"the last");
    wait_until("all is read", || title.shown().ends_with("the last"));
    assert_eq!(resident(&title), before, "pages");
    assert_eq!(title.end(), 0);
}
