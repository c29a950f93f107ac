//! Starts and ends that another program holds back, by the FIFO `supervise/hold`.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use tests::{Daemon, Scratch, Service, fifo, wait_until};

/// A service that says what runs.
fn service(scratch: &Scratch) -> Service<'_> {
    let run = "trap 'exit 7' TERM\necho run >>order\nwhile ! test -e end; do sleep 0.02; done";
    Service::new(scratch, "web", run).script("finish", "echo finish >>order").file("restart-delay", "10")
}

/// Holds what comes, until it is dropped.
fn holder(service: &Service) -> File {
    let mut open = OpenOptions::new();
    open.read(true).custom_flags(nix::libc::O_NONBLOCK).open(service.path("supervise/hold")).unwrap()
}

fn wait_for_held(service: &Service, what: &str) {
    wait_until(&format!("it is held {what}"), || service.state("held") == [what]);
}

fn order(service: &Service) -> String {
    service.says("order").replace('\n', " ")
}

#[test]
fn a_start_and_an_end_wait_until_they_are_let_go() {
    let scratch = Scratch::new();
    let service = service(&scratch).hold();
    let mut held = holder(&service);
    let _supervise = service.supervise();
    wait_for_held(&service, "starting");
    assert_eq!(order(&service), "");
    let long = scratch.run("svstat -l web").stdout;
    assert!(long.contains("held       starting; svc -g lets it go"), "{long}");
    assert!(scratch.run("svstat -j web").stdout.contains(r#""held":"starting""#));
    // A supervise that holds is seen by its writing end.
    assert_eq!(held.read(&mut [0]).unwrap_err().raw_os_error(), Some(nix::libc::EAGAIN));
    service.svc("-g");
    service.lines("order", 1);
    wait_until("supervise does not hold it open", || held.read(&mut [0]).is_ok_and(|count| count == 0));
    service.svc("-d");
    wait_for_held(&service, "stopping");
    assert_ne!(service.status().pid, 0);
    assert_eq!(scratch.run("svwait -T 0 down web").code, 99);
    service.svc("-g");
    wait_until("it is down", || service.state("phase") == ["stopped"]);
    // By itself.
    service.svc("-ug");
    service.lines("order", 3);
    fs::write(service.path("end"), "").unwrap();
    wait_for_held(&service, "stopping");
    assert_eq!((service.status().pid, order(&service)), (0, "run finish run ".to_string()));
    service.svc("-dd");
    wait_for_held(&service, "stopping");
    service.svc("-d");
    wait_until("it is down", || service.state("phase") == ["stopped"]);
    assert_eq!(order(&service), "run finish run finish ");
}

/// Its first process ends while the stop is held; or its process is looked for when the stop comes.
#[test]
fn what_goes_into_the_background_is_not_told_to_end_while_that_is_held() {
    for (setting, text, first) in
        [("expect", "fork", "while ! test -e forked; do sleep 0.02; done"), ("pidfile", "pid", "")]
    {
        let scratch = Scratch::new();
        let daemon = "trap 'echo told >>order; exit' TERM; echo daemon >>order; while :; do sleep 0.02; done";
        let run = format!("({daemon}) </dev/null >/dev/null 2>&1 &\n{first}\nexit 0");
        let service = Service::new(&scratch, "web", &run).file(setting, text).hold();
        let _supervise = service.supervise();
        service.lines("order", 1);
        if first.is_empty() {
            wait_until("its process is looked for", || !service.state("search").is_empty());
        }
        let held = holder(&service);
        service.svc("-d");
        wait_for_held(&service, "stopping");
        fs::write(service.path("forked"), "").unwrap();
        wait_until("the first process is over", || {
            service.state("search").len() == 1 || service.state("taken").len() == 1
        });
        assert_eq!((order(&service).as_str(), service.state("held")), ("daemon ", vec!["stopping".to_string()]));
        service.svc("-g");
        wait_until("it is down", || service.state("phase") == ["stopped"]);
        assert_eq!(order(&service), "daemon told ");
        drop(held);
    }
}

#[test]
fn each_listener_is_told_that_it_is_held() {
    let scratch = Scratch::new();
    let service = service(&scratch).down();
    let _supervise = service.supervise();
    let service = service.hold();
    let _held = holder(&service);
    let listened = service.path("supervise/event/ftrig1:test");
    fifo(&listened).unwrap();
    let mut listener =
        OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(listened).unwrap();
    service.svc("-u");
    wait_for_held(&service, "starting");
    // supervise may tell first that it has begun.
    let mut told = Vec::new();
    wait_until("it is told", || {
        let mut letters = [0; 16];
        let count = listener.read(&mut letters).unwrap_or(0);
        told.extend_from_slice(&letters[..count]);
        told.last() == Some(&b'h')
    });
}

#[test]
fn the_next_supervise_finds_the_hold_and_goes_on_when_the_holder_is_gone() {
    let scratch = Scratch::new();
    let service = service(&scratch).hold();
    let held = holder(&service);
    let supervise = service.supervise();
    wait_for_held(&service, "starting");
    supervise.kill();
    let supervise = service.supervise();
    wait_for_held(&service, "starting");
    service.svc("-g");
    service.lines("order", 1);
    service.svc("-d");
    wait_for_held(&service, "stopping");
    let pid = service.status().pid;
    supervise.kill();
    let _supervise = service.supervise();
    wait_for_held(&service, "stopping");
    assert_eq!(service.status().pid, pid);
    drop(held);
    wait_until("it is down, after ten seconds", || service.state("phase") == ["stopped"]);
    assert_eq!(order(&service), "run finish ");
}

#[test]
fn neither_k_nor_the_stop_of_svscan_waits() {
    let scratch = Scratch::new();
    let made = service(&scratch).hold();
    scratch.dir("sv");
    symlink("../web", scratch.path().join("sv/web")).unwrap();
    let _held = holder(&made);
    let mut svscan = Daemon::start(scratch.command("svscan").arg("sv"), &scratch);
    wait_for_held(&made, "starting");
    made.svc("-g");
    made.lines("order", 1);
    made.svc("-d");
    wait_for_held(&made, "stopping");
    made.svc("-k");
    wait_until("it is down", || made.state("phase") == ["stopped"]);
    made.svc("-ug");
    made.lines("order", 3);
    svscan.signal(nix::sys::signal::Signal::SIGTERM);
    svscan.wait();
    assert_eq!(order(&made), "run finish run finish ");
}

#[test]
fn what_is_no_fifo_holds_nothing_and_that_is_said_once() {
    let scratch = Scratch::new();
    for (name, make) in [
        ("file", &(|hold: &std::path::Path| fs::write(hold, "x").unwrap()) as &dyn Fn(&std::path::Path)),
        ("huge", &|hold| File::create(hold).unwrap().set_len(1 << 40).unwrap()),
        ("directory", &|hold| fs::create_dir(hold).unwrap()),
        ("link", &|hold| symlink("control", hold).unwrap()),
        ("device", &|hold| symlink("/dev/zero", hold).unwrap()),
    ] {
        let service = Service::new(&scratch, name, "echo >>starts").file("restart-delay", "10");
        fs::create_dir_all(service.path("supervise")).unwrap();
        make(&service.path("supervise/hold"));
        let supervise = service.supervise();
        service.lines("starts", 3);
        let why = if name == "directory" { "is a directory" } else { "not a FIFO of its own" };
        let expected = format!("supervise: warning: {name}/supervise/hold: {why}; ignored\n");
        assert_eq!(supervise.errors(), expected);
    }
}
