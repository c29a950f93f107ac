//! README's picture of a terminal is what svctl shows.
//!
//! The picture comes from a real run. Without `UPDATE=1`, the test compares the words of the picture with those of another
//! run, but for numbers.

use crate::tree::workspace;
use std::fmt::Write;
use std::fs;
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Scratch, Service, wait_until};

/// Width and height of a character cell, and the margin around all.
const CELL: f64 = 8.4;
const LINE: usize = 19;
const MARGIN: usize = 14;

/// The commands in the picture.
const COMMANDS: [&str; 2] = ["svctl", "svctl status mailer"];

fn service<'a>(scratch: &'a Scratch, name: &str, run: &str) -> Service<'a> {
    let service = Service::new(scratch, &format!("service/{name}"), run);
    scratch.dir(format!("service/{name}/log"));
    service.script("log/run", "exec multilog t ./main")
}

/// What the commands print, in colour, each after its line at the prompt.
fn run() -> String {
    let scratch = Scratch::new();
    scratch.dir("service");
    let _ =
        service(&scratch, "web", "echo listening on port 80\necho >&3\nexec sleep 1000").file("notification-fd", "3");
    let _ = service(&scratch, "db", "echo ready to accept connections\nexec sleep 1000");
    let _ = service(&scratch, "backup", "exec sleep 1000").down();
    let mailer = "exec 2>&1\necho mailer 2.1 starts\nsleep 0.3\necho 'fatal: cannot connect to db:5432: connection refused'\nexit 1";
    let _ = service(&scratch, "mailer", mailer).file("restart-limit", "3 in 1m").file("restart-delay", "10ms");
    let _svscan = Daemon::start(scratch.command("svscan").arg("service"), &scratch);
    let shell = |command: &str| scratch.shell(&format!("export LC_ALL=C.UTF-8 SVDIR=service; exec {command}"));
    let are_settled = || {
        let states = shell("svctl -j").stdout;
        let count = |state: &str| states.matches(&format!(r#""state":"{state}""#)).count();
        (count("up"), count("failed"), count("down")) == (2, 1, 1)
    };
    wait_until("all services are as they stay", are_settled);
    let has_logged = || shell("svlog -n 20 service/mailer").stdout.matches("fatal").count() == 3;
    wait_until("the logger has written the last line", has_logged);
    if is_updated() {
        // Times of more than a moment are easier to read.
        sleep(Duration::from_secs(7));
    }
    COMMANDS.iter().fold(String::new(), |text, command| {
        let shown = shell(&command.replacen("svctl", "svctl --color always", 1)).stdout;
        text + "$ " + command + "\n" + &shown + "\n"
    })
}

/// The colour of text after an escape sequence.
fn color(code: &str) -> &'static str {
    match code {
        "32" => "#3fb950",
        "33" => "#d29922",
        "31" => "#f85149",
        "2" => "#8b949e",
        _ => "#e6edf3",
    }
}

/// Terminal output as a picture.
fn svg(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let mut content = String::new();
    let mut widest = 0;
    for (number, line) in lines.iter().enumerate() {
        let mut column = 0;
        for (index, piece) in line.split("\x1b[").enumerate() {
            let (code, words) = if index == 0 { ("", piece) } else { piece.split_once('m').unwrap_or(("", piece)) };
            let (width, blanks) = (words.chars().count(), words.len() - words.trim_start().len());
            let shown = words.trim();
            if !shown.is_empty() {
                let x = MARGIN as f64 + CELL * (column + blanks) as f64;
                let y = MARGIN + LINE * (number + 1) - 5;
                let length = CELL * shown.chars().count() as f64;
                let shown = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                let color = color(code);
                writeln!(content, r#"<text x="{x:.1}" y="{y}" textLength="{length:.1}" fill="{color}">{shown}</text>"#)
                    .unwrap();
            }
            column += width;
        }
        widest = widest.max(column);
    }
    let (width, height) = (CELL * widest as f64 + 2.0 * MARGIN as f64, LINE * lines.len() + 2 * MARGIN);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height}\" width=\"{width:.0}\" \
         font-family=\"ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace\" font-size=\"14\" xml:space=\"preserve\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n{content}</svg>\n"
    )
}

/// Whether the picture is to be made.
fn is_updated() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// The words of a picture, with N for each number, and without units of memory.
fn words(svg: &str) -> Vec<String> {
    let shown = svg.lines().filter(|line| line.starts_with("<text")).filter_map(|line| line.split(['<', '>']).nth(2));
    let word = |word: &str| {
        let pieces =
            word.split(|letter: char| letter.is_ascii_digit() || letter == '.').filter(|piece| !piece.is_empty());
        pieces.collect::<Vec<_>>().join("N")
    };
    let is_unit = |word: &&str| matches!(*word, "k" | "M" | "G");
    shown.flat_map(|text| text.split_whitespace().filter(|word| !is_unit(word)).map(word)).collect()
}

#[test]
fn the_picture_in_readme_is_what_svctl_shows() {
    let file = workspace().join("bench/figures/svctl.svg");
    let picture = svg(&run());
    if is_updated() {
        tests::golden(&file, &picture, "package");
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(words(&found), words(&picture), "UPDATE=1 cargo test -p tests --test package picture");
}
