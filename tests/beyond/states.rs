//! States: services that are up without a process.

use std::fs;
use tests::{Daemon, Scratch, Service, wait_until};

/// A service that is a state, whose programs write down that they run.
fn state<'a>(scratch: &'a Scratch, name: &str, programs: &[&str]) -> Service<'a> {
    scratch.dir(name);
    let service = Service::at(scratch, name).file("abstract", "").file("restart-delay", "10");
    let ended = |program: &&&str| if **program == "finish" { " $1 $2 $ENDED $TOLD $PRE_STOP $4" } else { "" };
    programs.iter().fold(service, |service, program| {
        service.script(program, &format!("echo {program}{} >>order", ended(&program)))
    })
}

fn order(service: &Service) -> Vec<String> {
    service.says("order").lines().map(str::to_string).collect()
}

fn wait_for_phase(service: &Service, phase: &str) {
    wait_until(&format!("it is {phase}"), || service.state("phase") == [phase]);
}

fn is_active(service: &Service) -> bool {
    service.says("supervise/state").lines().any(|line| line == "active")
}

fn wait_until_active(service: &Service) {
    wait_until("it is active", || is_active(service) && !service.state("ready").is_empty());
}

#[test]
fn all_its_programs_run_but_run() {
    let scratch = Scratch::new();
    let programs = ["start", "pre-start", "post-start", "pre-stop", "reload", "finish", "stop"];
    let service = state(&scratch, "net", &programs);
    let supervise = service.supervise();
    wait_until_active(&service);
    assert_eq!(order(&service), ["start", "pre-start", "post-start"]);
    service.svc("-R");
    service.lines("order", 4);
    service.svc("-d");
    service.lines("order", 7);
    assert_eq!(order(&service)[3..], ["reload", "pre-stop", "finish 0 0 run 1 1 0", "stop"]);
    wait_for_phase(&service, "stopped");
    assert_eq!(supervise.errors(), "");
}

#[test]
fn every_reader_takes_it_for_up() {
    let scratch = Scratch::new();
    let service = state(&scratch, "net", &[]);
    let _supervise = service.supervise();
    wait_until_active(&service);
    // supervise writes the status after the state.
    let status = service.wait_for("is up", |status| status.phase == Some(3));
    assert_eq!((status.pid, status.want, status.bytes[19]), (0, b'u', 1));
    assert_eq!(service.svstat(), "down N seconds, normally up, want up");
    let code = |line: &str| scratch.run(line).code;
    for line in ["svup net", "svok net", "svwait -T 0 up net", "svwait -T 0 ready net", "svc -W ready net"] {
        assert_eq!(code(line), 0, "{line}");
    }
    for line in ["svwait -T 0 down net", "svwait -T 0 finished net"] {
        assert_ne!(code(line), 0, "{line}");
    }
    let long = scratch.run("svstat -l net").stdout;
    assert!(long.contains("\n    phase      active\n") && long.contains("\n    ready      "), "{long}");
    let json = scratch.run("svstat -j net").stdout;
    for part in [r#""up":true,"pid":null"#, r#""state":"up""#, r#""program":null"#, r#""ready":true"#] {
        assert!(json.contains(part), "{part}: {json}");
    }
    let restarted = scratch.run("svc -du -W restarted net");
    assert_eq!((restarted.code, service.state("starts")), (0, vec!["2".to_string()]), "{}", restarted.stderr);
    assert_eq!(code("svc -d -W finished net"), 0);
    assert_eq!(code("svup net"), 100);
    service.wait_for("is down", |status| (status.bytes[19], status.want) == (0, b'd'));
    assert_eq!(code("svc -u -W ready net"), 0);
}

#[test]
fn svctl_counts_it_among_those_that_are_up() {
    let scratch = Scratch::new();
    let service = state(&scratch, "sv/net", &[]);
    scratch.dir("etc/other");
    scratch.file("etc/other/abstract", "");
    let _svscan = Daemon::start(scratch.command("svscan").arg("sv"), &scratch);
    wait_until_active(&service);
    let svctl = |words: &str| scratch.shell(&format!("LC_ALL=C.UTF-8 exec svctl -d sv {words}"));
    let status = svctl("status net").stdout;
    assert!(status.contains("up") && status.contains("a state, without a process"), "{status}");
    assert!(svctl("metrics").stdout.contains("daemontools_service_up{service=\"net\"} 1\n"));
    assert_eq!(svctl("check").stdout.matches("run").count(), 0, "{}", svctl("check").stdout);
    let added = svctl("add etc/other");
    assert_eq!(added.code, 0, "{}", added.stderr);
    assert_eq!(svctl("restart net").code, 0);
    assert_eq!(svctl("stop net").code, 0);
    assert!(!is_active(&service));
}

#[test]
fn a_service_waits_for_it_and_a_stop_ends_it() {
    let scratch = Scratch::new();
    let net = state(&scratch, "sv/net", &["finish"]).script("pre-start", "while ! test -e go; do sleep 0.02; done");
    let web = Service::new(&scratch, "sv/web", "exec sleep 1000").file("after", "net");
    let mut svscan = Daemon::start(scratch.command("svscan").arg("sv"), &scratch);
    wait_for_phase(&net, "starting");
    assert!(!web.is_supervised());
    fs::write(net.path("go"), "").unwrap();
    web.up();
    assert!(is_active(&net));
    svscan.signal(nix::sys::signal::Signal::SIGTERM);
    svscan.wait();
    assert_eq!(order(&net), ["finish 0 0 run 1 0 0"]);
}

#[test]
fn the_next_supervise_finds_it_active_and_runs_nothing_again() {
    let scratch = Scratch::new();
    let service = state(&scratch, "net", &["pre-start", "post-start", "pre-stop", "finish"]);
    let supervise = service.supervise();
    wait_until_active(&service);
    let since = service.state("since");
    supervise.kill();
    let _next = service.supervise();
    wait_until_active(&service);
    assert_eq!((service.state("since"), service.state("starts")), (since, vec!["1".to_string()]));
    service.svc("-d");
    wait_for_phase(&service, "stopped");
    assert_eq!(order(&service), ["pre-start", "post-start", "pre-stop", "finish 0 0 run 1 1 0"]);
}

#[test]
fn a_run_counts_and_so_does_its_absence() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $$ >>starts\nexec sleep 1000").file("abstract", "");
    let supervise = service.supervise();
    service.lines("starts", 1);
    assert!(!is_active(&service));
    fs::remove_file(service.path("run")).unwrap();
    service.svc("-du");
    wait_until_active(&service);
    assert_eq!(supervise.errors(), "");
    // Without the mark a missing run is a fault.
    fs::remove_file(service.path("abstract")).unwrap();
    service.svc("-du");
    wait_until("it is said", || supervise.errors().contains("unable to start web/run: file does not exist"));
    assert!(!is_active(&service));
}
