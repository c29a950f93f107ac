//! `svctl enable` and `svctl disable`: whether a service is started by itself.

use tests::{Daemon, Outcome, Scratch, Service, fails, prints, wait_until};

fn svctl(scratch: &Scratch, words: &str) -> Outcome {
    scratch.shell(&format!("exec svctl -d sv {words}"))
}

fn svscan(scratch: &Scratch) -> Daemon {
    Daemon::start(scratch.command("svscan").arg("sv"), scratch)
}

#[test]
fn what_runs_runs_on_and_is_not_started_by_the_next_supervise() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "sv/web", "exec sleep 1000");
    let mut first = svscan(&scratch);
    wait_until("it is up", || svctl(&scratch, "status web").code == 0);
    let pid = service.up();
    let disabled = prints("web is disabled: it is up, and goes on until svctl -d sv stop web\n");
    assert_eq!(svctl(&scratch, "disable web"), disabled);
    assert_eq!((service.says("down").as_str(), service.up()), ("", pid));
    assert!(service.path("down").is_file());
    assert_eq!(svctl(&scratch, "stop web").code, 0);
    assert_eq!(svctl(&scratch, "disable web"), prints("web is already disabled: it is down\n"));
    first.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(first.wait(), 0);
    assert_eq!(svctl(&scratch, "enable web"), prints("web is enabled: it is unsupervised\n"));
    assert!(!service.path("down").exists());
    let _second = svscan(&scratch);
    wait_until("it is up", || svctl(&scratch, "status web").code == 0);
    assert_eq!(svctl(&scratch, "enable web"), prints("web is already enabled: it is up\n"));
}

#[test]
fn what_is_down_stays_down_until_it_is_started() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "sv/web", "exec sleep 1000").down();
    let _svscan = svscan(&scratch);
    wait_until("it is supervised", || service.is_supervised());
    let words = "it is down, and stays so until svctl -d sv start web";
    assert_eq!(svctl(&scratch, "enable 'w*'"), prints(&format!("web is enabled: {words}\n")));
    assert_eq!(svctl(&scratch, "enable web"), prints(&format!("web is already enabled: {words}\n")));
    assert_eq!(svctl(&scratch, "start web").code, 0);
}

#[test]
fn what_cannot_be_changed_is_told() {
    let scratch = Scratch::new();
    scratch.dir("sv/web/down");
    let here = scratch.path().join("sv").display().to_string();
    let refused = format!("svctl: fatal: unable to remove {here}/web/down: is a directory\n");
    assert_eq!(svctl(&scratch, "enable web"), fails(111, &refused));
    let missing = format!("svctl: fatal: no service wbe in {here}: did you mean web?\n");
    assert_eq!(svctl(&scratch, "disable wbe"), fails(100, &missing));
}

#[test]
fn names_are_listed_for_other_programs() {
    let scratch = Scratch::new();
    for name in ["web", "a b", ".svscan", "c\x1b[2J"] {
        scratch.dir(format!("sv/{name}"));
    }
    scratch.file("sv/README", "no service");
    assert_eq!(svctl(&scratch, "list --names"), prints("a b\nc\\x1b[2J\nweb\n"));
}
