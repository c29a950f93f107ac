//! The lines that a killed multilog had read, where the next multilog has another script or the directory has changed.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use tests::{Log, Running, Scratch, fails, prints, state_of, wait_until};

/// A pipe that outlives the programs that read it.
struct Input(PipeReader, PipeWriter);

impl Input {
    fn new() -> Input {
        let (reader, writer) = pipe().unwrap();
        Input(reader, writer)
    }

    fn says(&mut self, text: &str) {
        self.1.write_all(text.as_bytes()).unwrap();
    }

    fn read_by(&self, scratch: &Scratch, script: &str) -> Running {
        let mut command = scratch.command("multilog");
        Running(command.args(script.split(' ')).stdin(self.0.try_clone().unwrap()).spawn().unwrap())
    }

    /// Feeds a text to a multilog, and kills it when the log in `directory` has this content.
    fn is_killed(&mut self, scratch: &Scratch, script: &str, text: &str, directory: &str, logged_then: &str) {
        let multilog = self.read_by(scratch, script);
        self.says(text);
        wait_until("it has read", || logged(scratch, directory) == logged_then);
        wait_until("it has noted that", || state_of(multilog.0.id() as i32) == Some('S'));
        end(multilog, Signal::SIGKILL);
    }

    /// Feeds a text to a multilog, and tells it to end when the log in `directory` has this content.
    fn is_logged(&mut self, scratch: &Scratch, script: &str, text: &str, directory: &str, logged_then: &str) {
        let multilog = self.read_by(scratch, script);
        self.says(text);
        let what = format!("{directory} has {logged_then:?}, not {:?}", logged(scratch, directory));
        wait_until(&what, || logged(scratch, directory) == logged_then);
        end(multilog, Signal::SIGTERM);
    }
}

fn end(multilog: Running, signal: Signal) {
    kill(Pid::from_raw(multilog.0.id() as i32), signal).unwrap();
    multilog.wait();
}

/// The content of a log directory, without stamps.
fn logged(scratch: &Scratch, name: &str) -> String {
    let all = String::from_utf8(Log::of(scratch, name).all()).unwrap();
    all.split_inclusive('\n').map(|line| line.strip_prefix('@').map_or(line, |rest| &rest[25..])).collect()
}

fn has_journal(scratch: &Scratch, name: &str) -> bool {
    scratch.path().join(name).join("journal").exists()
}

#[test]
fn another_script_goes_on_in_the_line() {
    let scratch = Scratch::new();
    let mut input = Input::new();
    input.is_killed(&scratch, "t ./main", "one\ntwo-begins ", "main", "one\n");
    let all = "two-begins and-ends\nthree\n";
    input.is_logged(&scratch, "t ./all ./main", "and-ends\nthree\n", "main", &format!("one\n{all}"));
    input.is_logged(&scratch, "t ./main", "four\n", "main", &format!("one\n{all}four\n"));
    assert_eq!(logged(&scratch, "all"), all);
    assert_eq!(Log::of(&scratch, "main").old(), [""; 0], "the file is continued");
    assert!(!has_journal(&scratch, "main") && !has_journal(&scratch, "all"));
}

/// multilog recognizes the directory by its name, not by its position in the script.
#[test]
fn the_rest_of_a_long_line_goes_where_its_beginning_is() {
    let long = "x".repeat(3000);
    for (script, new, two) in [
        ("./new ./two ./one", "", format!("{long}rest\n")),
        // If no directory of the new script has the beginning of the line, its rest is logged by itself, which is
        // better than nothing.
        ("./new ./one", "rest\n", long.clone()),
    ] {
        let scratch = Scratch::new();
        let mut input = Input::new();
        input.is_killed(&scratch, "-x* ./one -* +x* ./two", &format!("one\n{long}"), "two", &long);
        input.is_logged(&scratch, script, "rest\nlast\n", "new", &format!("{new}last\n"));
        let last = if script.contains("two") { "last\n" } else { "" };
        assert_eq!(logged(&scratch, "two"), two + last);
        assert_eq!(logged(&scratch, "one"), format!("one\n{new}last\n"));
    }
}

#[test]
fn another_input_begins_a_line_of_its_own() {
    let scratch = Scratch::new();
    Input::new().is_killed(&scratch, "./log", "one\ntwo-begins", "log", "one\n");
    Input::new().is_logged(&scratch, "./log", "three\n", "log", "one\ntwo-begins\nthree\n");
    let long = "x".repeat(3000);
    let before = format!("one\ntwo-begins\nthree\n{long}");
    Input::new().is_killed(&scratch, "./log", &long, "log", &before);
    Input::new().is_logged(&scratch, "./log", "four\n", "log", &format!("{before}\nfour\n"));
}

#[test]
fn of_several_that_were_killed_nothing_is_lost() {
    let scratch = Scratch::new();
    let mut input = Input::new();
    input.is_killed(&scratch, "./two", "2\ntwo-begins", "two", "2\n");
    input.is_killed(&scratch, "./one", "1\none-begins", "one", "1\n");
    let both = "two-begins\none-begins ends\n";
    input.is_logged(&scratch, "./one ./two", " ends\n", "two", &format!("2\n{both}"));
    assert_eq!(logged(&scratch, "one"), format!("1\n{both}"));
    assert!(!has_journal(&scratch, "one") && !has_journal(&scratch, "two"));
}

/// Another multilog, such as the original's, has written to the directory since, and ignores journals.
#[test]
fn what_is_older_than_the_log_is_not_read_again() {
    let scratch = Scratch::new();
    let mut input = Input::new();
    input.is_killed(&scratch, "./log", "one\ntwo-begins ", "log", "one\n");
    let journal = scratch.path().join("log/journal");
    fs::rename(&journal, scratch.path().join("kept")).unwrap();
    input.is_logged(&scratch, "./log", "two-ends\n", "log", "one\ntwo-ends\n");
    fs::rename(scratch.path().join("kept"), &journal).unwrap();
    let words = "multilog: warning: removing ./log/journal: another multilog has written to ./log since\n";
    assert_eq!(scratch.shell("echo three | multilog ./log"), fails(0, words));
    assert_eq!(logged(&scratch, "log"), "one\ntwo-ends\nthree\n");
    assert_eq!(scratch.shell("echo four | multilog ./log"), prints(""));
}

#[test]
fn a_file_that_is_no_journal_is_kept() {
    let scratch = Scratch::new();
    for (number, text) in ["precious\n", "precious too\n"].iter().enumerate() {
        scratch.file("log/journal", text);
        let name = format!("journal.{}", number + 1);
        let words = format!("multilog: warning: renaming ./log/journal to {name}: it is not mine\n");
        assert_eq!(scratch.shell("echo line | multilog ./log"), fails(0, &words));
        assert_eq!(fs::read_to_string(scratch.path().join("log").join(name)).unwrap(), *text);
    }
    scratch.dir("log/journal");
    assert_eq!(scratch.shell("echo line | multilog ./log").code, 0);
    assert!(scratch.path().join("log/journal.3").is_dir());
    // A multilog that is killed while it makes the journal may leave a file of any of these lengths.
    for half in [0, 9, 5000] {
        scratch.file("log/journal", vec![0; half]);
        assert_eq!(scratch.shell("echo line | multilog ./log"), prints(""));
    }
    assert_eq!(logged(&scratch, "log"), "line\n".repeat(6));
    assert!(!has_journal(&scratch, "log"));
}
