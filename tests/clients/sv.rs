//! Debian's `sv`, from package runit: its words and exit codes, with our supervise and with runit's own. Our `sv` must say about our
//! services what Debian's says about runit's.

use crate::driver::without_numbers;
use crate::machine::{LISTENS, Machine, linked, started, with_each_sv};
use std::time::{SystemTime, UNIX_EPOCH};
use tests::{Scratch, Service, wait_until};

fn prepare(scratch: &Scratch) {
    linked(scratch, "web", LISTENS);
    linked(scratch, "log", LISTENS).script("log/run", "exec cat >/dev/null");
    linked(scratch, "idle", LISTENS).down();
    linked(scratch, "stubborn", "trap '' TERM\necho $$ >>started; while :; do sleep 0.05; done");
    linked(scratch, "ending", "exit 0")
        .script("finish", "echo $$ >>finishing; while [ ! -e ended ]; do sleep 0.05; done");
    Service::new(scratch, "root/var/lib/service/unlinked", LISTENS);
}

/// The exit code of sv and its output on both streams, with N for every number.
fn sv(machine: &Machine, words: &str) -> (i32, String) {
    let said = machine.run(&format!("sv {words}"));
    (said.code, without_numbers(&(said.stdout + &said.stderr)))
}

fn said(code: i32, words: &str) -> (i32, String) {
    (code, words.into())
}

/// sv reads byte 18 of the status as "got TERM". In daemontools-encore the byte is the phase, and our supervise never
/// writes a zero there while a service runs.
fn up(machine: &Machine, words: &str) -> String {
    format!("{words}{}", machine.differs(", got TERM", ""))
}

#[test]
fn status_tells_each_state() {
    with_each_sv(prepare, |machine| {
        for name in ["web", "log", "stubborn"] {
            started(&machine.service(name), 1);
        }
        machine.service("log/log").up();
        wait_until("it is supervised", || machine.service("idle").is_supervised());
        let run = up(machine, "run: /service/web: (pid N) Ns");
        assert_eq!(sv(machine, "status /service/web"), said(0, &run));
        let log = up(machine, "run: log: (pid N) Ns");
        let both = format!("{}; {log}", up(machine, "run: /service/log: (pid N) Ns"));
        assert_eq!(sv(machine, "status /service/log"), said(0, &both));
        assert_eq!(sv(machine, "status /service/idle"), said(0, "down: /service/idle: Ns"));
        assert_eq!(sv(machine, "stop /service/web"), said(0, "ok: down: /service/web: Ns, normally up"));
        assert_eq!(sv(machine, "status /service/web"), said(0, "down: /service/web: Ns, normally up"));
        assert_eq!(
            sv(machine, "start /service/idle"),
            said(0, &format!("ok: {}", up(machine, "run: /service/idle: (pid N) Ns, normally down")))
        );
        assert_eq!(sv(machine, "pause /service/idle"), said(0, ""));
        let paused = up(machine, "run: /service/idle: (pid N) Ns, normally down, paused");
        wait_until("it is paused", || sv(machine, "status /service/idle") == said(0, &paused));
        // A relative name is a name in $SVDIR.
        let mut relative = machine.command(&["sv", "status", "web"]);
        let outcome = machine.scratch().outcome_of(relative.env("SVDIR", "/service"));
        assert_eq!((outcome.code, without_numbers(&outcome.stdout)), said(0, "down: web: Ns, normally up"));
    });
}

#[test]
fn start_and_stop_wait_and_say_that_it_is_done() {
    with_each_sv(prepare, |machine| {
        let service = machine.service("web");
        let pid = service.lines("started", 1);
        let running = format!("ok: {}", up(machine, "run: /service/web: (pid N) Ns"));
        assert_eq!(sv(machine, "start /service/web"), said(0, &running));
        assert_eq!(service.lines("started", 1), pid);
        for _ in 0..2 {
            assert_eq!(sv(machine, "stop /service/web"), said(0, "ok: down: /service/web: Ns, normally up"));
        }
        assert_eq!(sv(machine, "start /service/web"), said(0, &running));
        started(&service, 2);
        assert_eq!(sv(machine, "reload /service/web"), said(0, &running));
        assert_eq!(service.lines("heard", 1), ["HUP"]);
        assert_eq!(sv(machine, "1 /service/web"), said(0, ""));
        assert_eq!(service.lines("heard", 2), ["HUP", "USR1"]);
        assert_eq!(sv(machine, "check /service/web"), said(0, &running));
        assert_eq!(sv(machine, "force-stop /service/web"), said(0, "ok: down: /service/web: Ns, normally up"));
    });
}

#[test]
fn a_limit_of_time_is_kept_and_a_service_that_ignores_term_is_killed_when_that_is_asked() {
    with_each_sv(prepare, |machine| {
        let service = machine.service("stubborn");
        started(&service, 1);
        let (code, words) = sv(machine, "-w 1 stop /service/stubborn");
        assert_eq!((code, &*words), (1, "timeout: run: /service/stubborn: (pid N) Ns, want down, got TERM"));
        let (code, words) = sv(machine, "-w 1 force-stop /service/stubborn");
        assert_eq!((code, &*words), (1, "kill: run: /service/stubborn: (pid N) Ns, want down, got TERM"));
        service.wait_down();
        assert_eq!(
            sv(machine, "-w 1 -v down /service/stubborn"),
            said(0, "ok: down: /service/stubborn: Ns, normally up")
        );
    });
}

/// The current time in seconds.
fn seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// sv waits until byte 18 is 0. encore's phase is never 0 while a service runs.
#[test]
fn restart_restarts_but_with_ours_waits_in_vain_for_byte_18() {
    with_each_sv(prepare, |machine| {
        let service = machine.service("web");
        started(&service, 1);
        let pid = service.up();
        // The status counts whole seconds, so the test waits for the next one.
        let begun = service.status().unix_seconds();
        wait_until("another second has begun", || seconds() > begun);
        let limit = machine.differs("-w 2 ", "");
        let outcome = sv(machine, &format!("{limit}restart /service/web"));
        let (code, word) = machine.differs((1, "timeout"), (0, "ok"));
        assert_eq!(outcome, said(code, &format!("{word}: {}", up(machine, "run: /service/web: (pid N) Ns"))));
        assert_ne!(service.up(), pid);
        started(&service, 2);
    });
}

/// runit's `x` first stops the service. The `x` of daemontools, and so ours, takes effect when the service is down.
#[test]
fn exit_ends_what_is_down_and_with_runits_takes_it_down_first() {
    with_each_sv(prepare, |machine| {
        let service = machine.service("web");
        started(&service, 1);
        let pid = service.up();
        // Otherwise svscan would start another supervise at once.
        std::fs::remove_file(machine.path("service/web")).unwrap();
        assert_eq!(sv(machine, "exit /var/lib/service/web"), said(0, ""));
        if machine.differs(true, false) {
            assert_eq!(sv(machine, "hup /var/lib/service/web"), said(0, ""));
            assert_eq!(service.lines("heard", 1), ["HUP"]);
            assert_eq!(service.up(), pid);
            assert_eq!(sv(machine, "down /var/lib/service/web"), said(0, ""));
        }
        wait_until("supervise has ended", || !service.is_supervised());
        let gone = said(1, "fail: /var/lib/service/web: runsv not running");
        assert_eq!(sv(machine, "status /var/lib/service/web").1, gone.1);
        assert_eq!(sv(machine, "start /var/lib/service/web"), gone);
    });
}

#[test]
fn once_runs_a_service_that_is_not_started_again() {
    with_each_sv(prepare, |machine| {
        let service = machine.service("idle");
        wait_until("it is supervised", || service.is_supervised());
        assert_eq!(sv(machine, "once /service/idle"), said(0, ""));
        started(&service, 1);
        let words = machine.differs(
            "run: /service/idle: (pid N) Ns, normally down, got TERM",
            "run: /service/idle: (pid N) Ns, normally down, want down",
        );
        assert_eq!(sv(machine, "status /service/idle"), said(0, words));
        assert_eq!(sv(machine, "term /service/idle"), said(0, ""));
        service.wait_down();
        assert_eq!(sv(machine, "status /service/idle"), said(0, "down: /service/idle: Ns"));
    });
}

#[test]
fn a_service_that_finishes_is_neither_up_nor_down() {
    with_each_sv(prepare, |machine| {
        machine.service("ending").lines("finishing", 1);
        let words = sv(machine, "status /service/ending").1;
        assert!(words.starts_with("finish: /service/ending: "), "{words}");
    });
}

#[test]
fn what_is_not_there_or_not_supervised_is_an_error() {
    with_each_sv(prepare, |machine| {
        started(&machine.service("web"), 1);
        for command in ["status", "start", "stop", "restart"] {
            assert_eq!(
                sv(machine, &format!("{command} /service/nothing")),
                said(1, "fail: /service/nothing: unable to change to service directory: file does not exist")
            );
            let unlinked = "warning: /var/lib/service/unlinked: unable to open supervise/ok: file does not exist";
            assert_eq!(sv(machine, &format!("{command} /var/lib/service/unlinked")), said(1, unlinked));
        }
    });
}
