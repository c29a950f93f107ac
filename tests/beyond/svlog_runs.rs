//! What a service has said in one of its runs, by the times that its supervise has written down.

use tests::{Daemon, Outcome, Scratch, Service, fails, prints, wait_until};

/// A service that says in each run which one it is, waits until its logger has written that, and exits with the run's
/// number. The third run stays.
const COUNTS: &str = "n=$(cat n || echo 0); n=$((n + 1)); echo $n >n; echo \"line $n\"
until grep -q \"line $n\" main/current; do sleep 0.05; done
[ $n -lt 3 ] || exec sleep 1000; exit $n";

fn counts(scratch: &Scratch) -> (Service<'_>, Daemon) {
    let service = Service::new(scratch, "web", COUNTS).script("log", "exec multilog t ./main");
    let supervise = service.supervise();
    wait_until("the third run has spoken", || service.says("main/current").contains("line 3"));
    (service, supervise)
}

/// svlog's lines. How long a run took is left out of them.
fn svlog(scratch: &Scratch, line: &str) -> Outcome {
    let outcome = scratch.shell(&format!("svlog -o cat {line}"));
    let lines = outcome.stdout.lines().map(|line| match line.split_once(" after ") {
        Some((before, after)) if after.ends_with(" \u{2500}\u{2500}") => before,
        Some(_) | None => line,
    });
    Outcome { stdout: lines.map(|line| format!("{line}\n")).collect(), ..outcome }
}

#[test]
fn each_run_has_its_own_lines() {
    let scratch = Scratch::new();
    let (service, supervise) = counts(&scratch);
    let all = "line 1\n\u{2500}\u{2500} web: exited 1\nline 2\n\u{2500}\u{2500} web: exited 2\nline 3\n";
    for (line, expected) in [
        ("--run 0 web", "line 3\n"),
        ("--run -1 web", "line 2\n"),
        ("--run -2 web", "line 1\n"),
        ("--run -1 --grep line -n 5 web", "line 2\n"),
        ("--run -1 --grep nothing web", ""),
        ("--run -2 -r web", "line 1\n"),
        ("--run all web", all),
        ("--run all --head 2 web", "line 1\n\u{2500}\u{2500} web: exited 1\nline 2\n"),
    ] {
        assert_eq!(svlog(&scratch, line), prints(expected), "{line}");
    }
    for (line, expected) in [("svlog --run -1 --count web", "1\n"), ("svlog --run all --count web", "3\n")] {
        assert_eq!(scratch.shell(line), prints(expected), "{line}");
    }
    // The end of a service that was told to end says so.
    service.svc("-d");
    let end = "\u{2500}\u{2500} web: told to end, killed by SIGTERM\n";
    let expected = prints(&format!("{all}{end}"));
    wait_until("its end is shown", || svlog(&scratch, "--run all web") == expected);
    assert_eq!(svlog(&scratch, "--run -1 web"), prints("line 3\n"));
    let refusal = "svlog: fatal: web does not run now: --run -1 shows the run that has ended last\n";
    assert_eq!(svlog(&scratch, "--run 0 web"), fails(111, refusal));
    drop(supervise);
}

#[test]
fn what_cannot_be_told_is_refused() {
    let scratch = Scratch::new();
    let (_service, _supervise) = counts(&scratch);
    for (line, code, words) in [
        (
            "--run 1 web",
            100,
            "not a run: 0 is the run now, -1 the run that has ended last, -2 the run before, or all: 1",
        ),
        ("--run -3 web", 111, "web has only 2 runs that have ended, as far as supervise remembers"),
        ("--run 0 -f web", 100, "--run contradicts -f: the lines that come later may be of the next run"),
        ("--run all -r web", 100, "--run all contradicts -r: the end of a run would stand before its lines"),
        (
            "--run 0 web/main",
            111,
            "unable to tell the runs of web/main: unable to read web/main/supervise/state: file does not exist",
        ),
    ] {
        assert_eq!(svlog(&scratch, line), fails(code, &format!("svlog: fatal: {words}\n")), "{line}");
    }
}
