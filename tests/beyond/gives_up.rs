//! A service that gives up: supervise says so once, at that moment, and records it in `supervise/state`.

use tests::{Scratch, Service, wait_until};

/// Waits until the service has failed, and returns the one line of the message.
fn given_up(service: &Service, supervise: &tests::Daemon) -> String {
    wait_until("it has failed", || service.state("phase") == ["failed"]);
    let said = supervise.errors();
    assert_eq!(said.matches('\n').count(), 1, "{said}");
    said
}

#[test]
fn the_reason_is_said_at_that_moment_and_kept_until_it_is_started_again() {
    let often = "restart-limit 2 in 1m reached, last exited 1";
    for (run, file, content, failure, words) in [
        ("exit 1", "restart-limit", "2 in 1m", "restart-limit", often),
        ("exit 100", "unrelated", "", "run", "exited 100, which means not to restart it"),
        ("exit 0", "finish", "exit 125", "finish", "finish exited 125, which means not to restart it"),
        ("exit 0", "start", "exit 7", "start exit 7", "start failed: exited 7"),
        ("exit 0", "start", "kill -9 $$", "start signal 9", "start failed: killed by SIGKILL"),
    ] {
        let scratch = Scratch::new();
        let run = format!("[ ! -e mended ] || exec sleep 1000; {run}");
        let service = Service::new(&scratch, "web", &run).file("restart-delay", "10");
        let service = match file {
            "finish" | "start" => service.script(file, &format!("[ ! -e mended ] || exit 0; {content}")),
            _ => service.file(file, content),
        };
        let supervise = service.supervise();
        let line = format!("supervise: warning: web: gives up: {words}; svc -u starts it again\n");
        assert_eq!(given_up(&service, &supervise), line);
        assert_eq!(service.state("failure"), [failure]);
        // The next supervise reads it in the state, and writes no message.
        supervise.kill();
        let next = service.supervise();
        assert_eq!(service.state("failure"), [failure]);
        scratch.file("web/mended", "");
        service.svc("-u");
        service.up();
        wait_until("it is forgotten", || service.state("failure").is_empty());
        assert_eq!(next.errors(), "");
    }
}

#[test]
fn a_logger_that_gives_up_is_named_with_its_command() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").script("log", "exit 100");
    let supervise = service.supervise();
    wait_until("the logger has failed", || service.state("log-phase") == ["failed"]);
    let words = "exited 100, which means not to restart it; svc -Lu starts it again";
    assert_eq!(supervise.errors(), format!("supervise: warning: web/log: gives up: {words}\n"));
    assert_eq!(service.state("log-failure"), ["run"]);
}

#[test]
fn what_ended_as_it_should_or_was_told_to_gave_up_nothing() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exit 3").file("success-codes", "3");
    let supervise = service.supervise();
    wait_until("it has done its work", || service.state("want") == ["down"]);
    let other = Service::new(&scratch, "other", "trap 'exit 100' TERM; echo >ready; while :; do sleep 0.01; done");
    let mut second = other.supervise();
    other.lines("ready", 1);
    other.svc("-d");
    other.wait_down();
    // A user who told supervise to exit is not told how to start the service again.
    let third = Service::new(&scratch, "third", "echo >ready; until [ -e go ]; do sleep 0.01; done; exit 100");
    let mut leaving = third.supervise();
    third.lines("ready", 1);
    third.svc("-x");
    wait_until("it is told", || third.says("supervise/state").contains("leaving"));
    scratch.file("third/go", "");
    assert_eq!(leaving.wait(), 0);
    other.svc("-x");
    assert_eq!(second.wait(), 0);
    assert_eq!([supervise.errors(), second.errors(), leaving.errors()], ["", "", ""]);
}
