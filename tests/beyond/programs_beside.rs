//! The programs that run beside `run`: post-start, pre-stop and reload.

use nix::sys::signal::Signal::SIGKILL;
use std::fs;
use tests::{Scratch, Service, wait_until};

/// A service that writes down what runs, and on which a program beside `run` waits until the file of its name with `-go` is
/// there.
fn service<'a>(scratch: &'a Scratch, programs: &[&str]) -> Service<'a> {
    let run = "trap 'echo hangup >>order' HUP\ntrap 'exit 7' TERM\necho $$ >>starts\necho run >>order\n\
               while :; do sleep 0.02; done";
    let service = Service::new(scratch, "web", run)
        .script("finish", "echo finish $1 $ENDED $TOLD $PRE_STOP >>order")
        .file("restart-delay", "10");
    programs.iter().fold(service, |service, program| {
        let waits =
            format!("echo $$ >>beside\necho {program} >>order\nwhile ! test -e {program}-go; do sleep 0.02; done");
        service.script(program, &waits)
    })
}

fn order(service: &Service) -> Vec<String> {
    service.says("order").lines().map(str::to_string).collect()
}

/// Waits until this program runs beside `run`, as the record says.
fn wait_for(service: &Service, program: &str) {
    let pid_of = |beside: &String| beside.strip_prefix(program)?.split_whitespace().next()?.parse::<i32>().ok();
    let runs =
        || service.state("beside").first().and_then(pid_of).is_some_and(|pid| service.alive("beside").contains(&pid));
    wait_until(&format!("{program} runs"), runs);
}

fn let_go(service: &Service, program: &str) {
    fs::write(service.path(&format!("{program}-go")), "").unwrap();
}

fn wait_for_phase(service: &Service, phase: &str) {
    wait_until(&format!("it is {phase}"), || service.state("phase") == [phase]);
}

fn ready(scratch: &Scratch) -> bool {
    scratch.run("svwait -T 0 ready web").code == 0
}

#[test]
fn a_service_is_ready_when_its_post_start_has_ended() {
    let scratch = Scratch::new();
    let service = service(&scratch, &["post-start"]);
    let _supervise = service.supervise();
    wait_for(&service, "post-start");
    assert!(!ready(&scratch));
    let long = scratch.run("svstat -l web").stdout;
    assert!(long.contains("runs       post-start (pid "), "{long}");
    let_go(&service, "post-start");
    wait_until("it is ready", || ready(&scratch));
    assert_eq!(order(&service).len(), 2, "{:?}", order(&service));
}

#[test]
fn exit_125_of_post_start_fails_the_service() {
    let scratch = Scratch::new();
    let service = service(&scratch, &[]).script("post-start", "while ! test -s starts; do sleep 0.02; done; exit 125");
    let _supervise = service.supervise();
    wait_for_phase(&service, "failed");
    assert_eq!(service.state("failure"), ["post-start"]);
    assert_eq!(order(&service).last().unwrap(), "finish 7 run 0 0");
}

#[test]
fn pre_stop_comes_before_the_signal_and_up_cancels_the_stop() {
    let scratch = Scratch::new();
    let service = service(&scratch, &["pre-stop"]);
    let _supervise = service.supervise();
    let pid = service.up();
    service.lines("order", 1);
    service.svc("-d");
    wait_for(&service, "pre-stop");
    assert_eq!((service.status().pid, service.status().want, service.status().phase), (pid, b'd', Some(4)));
    service.svc("-u");
    let_go(&service, "pre-stop");
    wait_until("the stop is cancelled", || service.state("phase") == ["running"] && service.state("beside").is_empty());
    assert_eq!((service.status().pid, order(&service)), (pid, vec!["run".to_string(), "pre-stop".into()]));
    service.svc("-d");
    wait_for_phase(&service, "stopped");
    assert_eq!(order(&service)[2..], ["pre-stop", "finish 7 run 1 1"]);
}

#[test]
fn a_restart_runs_pre_stop_and_is_one() {
    let scratch = Scratch::new();
    let service = service(&scratch, &["pre-stop"]);
    let_go(&service, "pre-stop");
    let _supervise = service.supervise();
    service.lines("order", 1);
    let restarted = scratch.run("svc -du -W restarted web");
    assert_eq!(restarted.code, 0, "{}", restarted.stderr);
    service.lines("starts", 2);
    assert_eq!(order(&service), ["run", "pre-stop", "finish 7 run 1 1", "run"]);
}

#[test]
fn a_pre_stop_that_hangs_is_ended_by_a_second_down_and_the_stop_goes_on() {
    let scratch = Scratch::new();
    let service = service(&scratch, &["pre-stop"]);
    let _supervise = service.supervise();
    service.lines("order", 1);
    service.svc("-d");
    wait_for(&service, "pre-stop");
    service.svc("-d");
    wait_for_phase(&service, "stopped");
    assert_eq!(order(&service), ["run", "pre-stop", "finish 7 run 1 1"]);
    assert_eq!(service.alive("beside"), []);
}

#[test]
fn a_program_beside_run_that_takes_longer_than_its_limit_is_killed_and_that_is_said() {
    let scratch = Scratch::new();
    let service = service(&scratch, &["pre-stop"]).file("timeout-pre-stop", "50ms");
    let supervise = service.supervise();
    service.lines("order", 1);
    service.svc("-d");
    wait_for_phase(&service, "stopped");
    let expected = "web: pre-stop still runs after 50ms: killed; the limit is in web/timeout-pre-stop";
    assert!(supervise.errors().contains(expected), "{}", supervise.errors());
}

#[test]
fn finish_waits_for_a_program_that_outlives_run() {
    let scratch = Scratch::new();
    let service = service(&scratch, &["post-start"]);
    let _supervise = service.supervise();
    wait_for(&service, "post-start");
    service.svc("-k");
    // The post-start is killed too: it is started again with the next run.
    service.lines("starts", 2);
    wait_for(&service, "post-start");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(service.status().pid), SIGKILL).unwrap();
    wait_until("run has ended", || service.state("pid").is_empty());
    assert_eq!(service.alive("beside").len(), 1);
    assert_eq!((service.state("phase"), service.status().pid), (vec!["stopping".to_string()], 0));
    let finished = scratch.run("svwait -T 0 finished web").code;
    assert_ne!(finished, 0, "finish is still to come");
    let_go(&service, "post-start");
    service.lines("starts", 3);
    assert_eq!(order(&service).iter().filter(|line| *line == "finish 256 run 0 0").count(), 2, "{:?}", order(&service));
}

#[test]
fn a_reload_runs_reload_or_sends_hup_where_there_is_none() {
    let scratch = Scratch::new();
    let service = service(&scratch, &["reload"]);
    let_go(&service, "reload");
    let _supervise = service.supervise();
    service.lines("order", 1);
    service.svc("-R");
    service.lines("order", 2);
    assert_eq!(order(&service), ["run", "reload"]);
    wait_until("reload has ended", || service.state("beside").is_empty());
    // The settings are read at a start.
    fs::remove_file(service.path("reload")).unwrap();
    service.svc("-k");
    service.lines("order", 4);
    service.svc("-R");
    service.lines("order", 5);
    assert_eq!(order(&service)[2..], ["finish 256 run 0 0", "run", "hangup"]);
}

#[test]
fn what_runs_beside_run_is_taken_over_when_supervise_is_killed() {
    for program in ["post-start", "pre-stop"] {
        let scratch = Scratch::new();
        let service = service(&scratch, &[program]);
        let supervise = service.supervise();
        service.lines("order", 1);
        if program == "pre-stop" {
            service.svc("-d");
        }
        wait_for(&service, program);
        let beside = service.alive("beside");
        supervise.kill();
        let _next = service.supervise();
        assert_eq!((service.alive("beside"), service.alive("starts").len()), (beside, 1), "{program}");
        let_go(&service, program);
        match program {
            "post-start" => wait_until("it is ready", || ready(&scratch)),
            _ => wait_for_phase(&service, "stopped"),
        }
        assert_eq!(order(&service).iter().filter(|line| *line == program).count(), 1, "{:?}", order(&service));
        assert_eq!(order(&service).iter().filter(|line| *line == "run").count(), 1, "{:?}", order(&service));
    }
}
