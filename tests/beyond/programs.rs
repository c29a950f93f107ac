//! The programs of a service, in their order: what comes before `run`, and what follows when one of them fails, hangs or is
//! cancelled.

use tests::{Scratch, Service, wait_until};

/// A service whose `run` and `finish` write down that they came, and what `finish` was told.
fn service<'a>(scratch: &'a Scratch, pre_start: &str) -> Service<'a> {
    Service::new(scratch, "web", "echo run >>order; echo $$ >>starts; exec sleep 1000")
        .script("pre-start", &format!("echo pre-start >>order\n{pre_start}"))
        .script("finish", "echo finish $1 $2 $4 $ENDED $TOLD >>order")
        .file("restart-delay", "10")
}

fn order(service: &Service) -> Vec<String> {
    service.says("order").lines().map(str::to_string).collect()
}

/// The process of the run that is started as the last of so many.
fn pid_of_run(service: &Service, starts: usize) -> i32 {
    service.lines("starts", starts).last().unwrap().parse().unwrap()
}

fn wait_for_phase(service: &Service, phase: &str) {
    wait_until(&format!("it is {phase}"), || service.state("phase") == [phase]);
}

#[test]
fn pre_start_comes_before_each_run_and_finish_after_each() {
    let scratch = Scratch::new();
    let service = service(&scratch, "").script("start", "echo start >>order").script("stop", "echo stop >>order");
    let _supervise = service.supervise();
    let first = pid_of_run(&service, 1);
    service.svc("-k");
    let second = pid_of_run(&service, 2);
    service.svc("-d");
    wait_for_phase(&service, "stopped");
    let killed = format!("finish 256 9 {first} run 0");
    let told = format!("finish 256 15 {second} run 1");
    assert_eq!(order(&service), ["start", "pre-start", "run", &killed, "pre-start", "run", &told, "stop"]);
}

#[test]
fn a_pre_start_that_fails_fails_the_service_and_run_does_not_start() {
    let scratch = Scratch::new();
    let service = service(&scratch, "test -e ready-now || exit 3");
    let _supervise = service.supervise();
    wait_for_phase(&service, "failed");
    assert_eq!(order(&service), ["pre-start", "finish 3 0 0 pre-start 0"]);
    assert_eq!(service.state("failure"), ["pre-start exit 3"]);
    let long = scratch.run("svstat -l web").stdout;
    assert!(long.contains("pre-start failed: exited 3"), "{long}");
    std::fs::write(service.path("ready-now"), "").unwrap();
    service.svc("-u");
    pid_of_run(&service, 1);
    assert_eq!(order(&service)[2..], ["pre-start", "run"]);
}

#[test]
fn a_pre_start_that_cannot_be_executed_has_failed_and_that_is_said() {
    let scratch = Scratch::new();
    let service = service(&scratch, "");
    std::fs::write(service.path("pre-start"), "#!/no/such/interpreter\n").unwrap();
    let supervise = service.supervise();
    wait_for_phase(&service, "failed");
    assert_eq!(order(&service), ["finish 111 0 0 pre-start 0"]);
    let expected = "supervise: fatal: unable to start web/pre-start: interpreter /no/such/interpreter does not exist";
    assert!(supervise.errors().contains(expected), "{}", supervise.errors());
}

#[test]
fn down_does_not_signal_pre_start_but_cancels_the_start() {
    let scratch = Scratch::new();
    let service =
        service(&scratch, "trap 'echo signalled >>order' TERM HUP INT\nwhile ! test -e go-on; do sleep 0.02; done");
    let _supervise = service.supervise();
    service.lines("order", 1);
    service.svc("-thid");
    // The state is written after the signals were sent, or not.
    wait_until("it is wanted down", || service.state("want") == ["down"]);
    assert_eq!(service.state("role"), ["pre-start"]);
    std::fs::write(service.path("go-on"), "").unwrap();
    wait_for_phase(&service, "stopped");
    assert_eq!(order(&service), ["pre-start", "finish 0 0 0 pre-start 1"]);
}

#[test]
fn a_pre_start_that_hangs_is_ended_by_a_second_down() {
    let scratch = Scratch::new();
    let service = service(&scratch, "exec sleep 1000");
    let _supervise = service.supervise();
    service.lines("order", 1);
    service.svc("-d");
    wait_until("it is wanted down", || service.state("want") == ["down"]);
    assert_eq!(service.state("role"), ["pre-start"]);
    // What svscan says to all services when it stops is no second one.
    service.control(b"dx");
    wait_until("it is to leave", || service.says("supervise/state").contains("\nleaving\n"));
    assert_eq!(service.state("role"), ["pre-start"]);
    assert!(service.state("ending").is_empty());
    service.svc("-d");
    wait_until("finish was told", || order(&service).len() == 2);
    assert_eq!(order(&service), ["pre-start", "finish 256 15 0 pre-start 1"]);
}

#[test]
fn a_program_that_takes_longer_than_its_limit_is_killed_and_that_is_said() {
    let scratch = Scratch::new();
    let service = service(&scratch, "exec sleep 1000").file("timeout-pre-start", "50ms");
    let supervise = service.supervise();
    wait_for_phase(&service, "failed");
    assert_eq!(order(&service), ["pre-start", "finish 256 9 0 pre-start 0"]);
    let expected = "web: pre-start still runs after 50ms: killed; the limit is in web/timeout-pre-start";
    assert!(supervise.errors().contains(expected), "{}", supervise.errors());

    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000")
        .script("start", "exec sleep 1000")
        .file("timeout-start", "50ms");
    let _supervise = service.supervise();
    wait_for_phase(&service, "failed");
    assert_eq!(service.state("failure"), ["start signal 9"]);
}

#[test]
fn a_pre_start_is_taken_over_when_supervise_is_killed() {
    let scratch = Scratch::new();
    let service = service(&scratch, "echo $$ >>pre-starts\nwhile ! test -e go-on; do sleep 0.02; done");
    let supervise = service.supervise();
    wait_until("pre-start runs", || service.alive("pre-starts").len() == 1 && service.state("role") == ["pre-start"]);
    supervise.kill();
    let _next = service.supervise();
    assert_eq!(service.alive("pre-starts").len(), 1);
    std::fs::write(service.path("go-on"), "").unwrap();
    pid_of_run(&service, 1);
    // Whether a pre-start ended well is known only if the kernel or svscan tells. If not, it runs once more.
    let starts = order(&service).iter().filter(|line| *line == "run").count();
    assert_eq!(starts, 1, "{:?}", order(&service));
    assert_eq!(service.alive("starts").len(), 1);
}
