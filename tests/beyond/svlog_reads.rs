//! svlog: how many bytes of a log it reads. This is the time that it takes, without a clock.

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::fs;
use std::process::Stdio;
use tests::{Running, Scratch, prints};

const SECOND: u64 = 1_795_243_987;
const FILES: u64 = 16;
const LINES: u64 = 3000;

fn label(second: u64) -> String {
    format!("@{:016x}{:08x}", (1 << 62) + 10 + second, 0)
}

/// A log of many files, with the word `rare` in one line of two of them.
fn write_log(scratch: &Scratch) {
    scratch.file("web/lock", "");
    for file in 0..FILES {
        let lines = (0..LINES).map(|line| {
            let second = SECOND + file * LINES + line;
            let word = if [3, 12].contains(&file) && line == 1000 { "rare" } else { "usual" };
            // Numbers that do not repeat, so that the compressed file is not much shorter.
            format!("{} {word} {second} {}\n", label(second), second.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        });
        let name =
            if file == FILES - 1 { "current".into() } else { format!("{}.s", label(SECOND + (file + 1) * LINES - 1)) };
        scratch.file(format!("web/{name}"), lines.collect::<String>());
    }
}

fn size_of_log(scratch: &Scratch) -> u64 {
    let files = fs::read_dir(scratch.path().join("web")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// How many bytes svlog reads until it ends.
fn read_by(scratch: &Scratch, line: &str) -> u64 {
    let mut svlog = scratch.command("svlog");
    let svlog = Running(svlog.args(line.split(' ')).stdout(Stdio::null()).spawn().unwrap());
    let pid = svlog.0.id();
    waitid(Id::Pid(Pid::from_raw(pid.cast_signed())), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    assert!(svlog.wait().success(), "svlog {line}");
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
fn a_search_from_the_end_reads_no_more_than_one_from_the_beginning() {
    for compress in [false, true] {
        let scratch = Scratch::new();
        write_log(&scratch);
        if compress {
            assert_eq!(scratch.run("logcompress zstd web"), prints(""));
        }
        let forward = read_by(&scratch, "-n all --grep rare web");
        assert!(forward >= size_of_log(&scratch), "{forward}");
        for line in [
            "-n 20 --grep rare web",
            "-n 3 --grep nothing web",
            "-n 1 --grep nothing --until 2100-01-01 web",
            "-n 5 --grep nothing --since 2000-01-01 web",
            "-n 5 --since 2000-01-01 --until 2026-11-21T06:53:00Z web",
        ] {
            let read = read_by(&scratch, line);
            // The ends and beginnings of files are looked at, and the program itself is loaded.
            assert!(read <= forward + forward / 10 + 100_000, "svlog {line} reads {read} bytes, not {forward}");
        }
        // The newer of both lines is found without the older files.
        let read = read_by(&scratch, "-n 1 --grep rare web");
        assert!(read < forward / 2, "{read} of {forward}");
        assert!(read_by(&scratch, "-n 20 web") < 200_000 + forward / FILES);
    }
}
