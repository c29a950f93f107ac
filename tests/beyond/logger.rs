//! A program `log` in the service directory, which the supervise of `run` also keeps running.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Scratch, Service, is_alive, state_of, wait_until};

fn logged<'a>(scratch: &'a Scratch, run: &str) -> Service<'a> {
    Service::new(scratch, "web", run)
        .script("log", "echo $$ >>loggers; while read -r line; do echo \"$line\" >>out; done; echo end >>out")
}

#[test]
fn it_reads_what_the_service_writes() {
    let scratch = Scratch::new();
    let service = logged(&scratch, "echo hello; exec sleep 1000");
    let mut supervise = service.supervise();
    assert_eq!(service.lines("out", 1), ["hello"]);
    let logger = service.says("loggers");
    // When the service dies, the logger does not see the end of its input.
    service.svc("-k");
    service.lines("out", 2);
    assert_eq!((service.says("out").as_str(), service.says("loggers")), ("hello\nhello\n", logger));
    // When supervise exits, the logger sees the end.
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    assert_eq!(service.says("out"), "hello\nhello\nend\n");
}

#[test]
fn capital_l_commands_it() {
    let scratch = Scratch::new();
    let service = logged(&scratch, "echo hello; exec sleep 1000");
    let _supervise = service.supervise();
    service.lines("out", 1);
    let (pid, logger) = (service.up(), service.lines("loggers", 1)[0].clone());
    service.svc("-Lt");
    assert_ne!(service.lines("loggers", 2)[1], logger);
    assert_eq!(service.status().pid, pid);
    service.svc("-lk");
    service.another(pid);
    service.lines("out", 2);
    assert_eq!(service.says("loggers").lines().count(), 2);
    // While the logger is down, the lines wait for it in the pipe.
    service.svc("-Ld");
    wait_until("it is down", || service.state("log-pid").is_empty());
    service.svc("-k");
    service.svc("-Lu");
    service.lines("out", 3);
}

#[test]
fn both_and_their_pipe_are_taken_over() {
    let scratch = Scratch::new();
    let service = logged(&scratch, "count=0; while :; do count=$((count + 1)); echo $count; sleep 0.01; done");
    let mut supervise = service.supervise();
    let mut seen = 0;
    for _ in 0..3 {
        service.lines("out", seen + 20);
        let (pid, logger) = (service.up(), service.says("loggers"));
        supervise.kill();
        supervise = service.supervise();
        seen = service.says("out").lines().count();
        assert_eq!((service.up(), service.says("loggers")), (pid, logger));
    }
    // A logger that is killed loses at most the lines that it has read. The pipe stays the same.
    let logger: i32 = service.says("loggers").trim().parse().unwrap();
    service.svc("-Lt");
    service.lines("loggers", 2);
    assert!(!is_alive(logger));
    service.lines("out", seen + 100);
    let numbers: Vec<usize> = service.says("out").lines().map(|line| line.parse().unwrap()).collect();
    let lost = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    // If the logger was killed within a line, the rest of the line looks like another number.
    assert!(lost <= 2, "{numbers:?}");
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
}

#[test]
fn with_both_of_ours_dead_the_service_writes_on() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "web", "i=0; while sleep 0.002; do echo $i; i=$((i+1)); echo $i >>written; done")
            .script("log", "echo $$ >>loggers; exec multilog ./main");
    let supervise = service.supervise();
    let (pid, before) = (service.up(), service.lines("main/current", 10).len());
    let logger: i32 = service.lines("loggers", 1)[0].parse().unwrap();
    supervise.kill();
    kill(Pid::from_raw(logger), Signal::SIGKILL).unwrap();
    let alone = service.lines("written", before).len();
    service.lines("written", alone + 20);
    let _supervise = service.supervise();
    let lines = service.lines("main/current", alone + 50);
    let expected: Vec<String> = (0..lines.len()).map(|number| number.to_string()).collect();
    assert_eq!((service.up(), lines), (pid, expected));
}

#[test]
fn paused_or_down_it_stays_so_under_the_next_supervise() {
    let scratch = Scratch::new();
    let service = logged(&scratch, "while sleep 0.01; do echo line; done");
    let mut supervise = service.supervise();
    service.lines("out", 1);
    let logger: i32 = service.lines("loggers", 1)[0].parse().unwrap();
    service.svc("-Lp");
    wait_until("it is paused", || service.state("log-paused") == [""] || state_of(logger) == Some('T'));
    supervise.kill();
    supervise = service.supervise();
    assert_eq!((state_of(logger), service.status().paused), (Some('T'), 0));
    service.svc("-Lc");
    wait_until("it goes on", || state_of(logger) != Some('T'));
    service.svc("-Ld");
    wait_until("it is down", || !is_alive(logger) && service.state("log-pid").is_empty());
    supervise.kill();
    supervise = service.supervise();
    assert_eq!(service.state("log-want"), ["down"]);
    assert_eq!(service.says("loggers").lines().count(), 1);
    service.svc("-Lu");
    service.lines("loggers", 2);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
}

/// A daemon that the service has left keeps the pipe open. It may write to it or not.
#[test]
fn what_keeps_the_pipe_of_its_logger_keeps_no_supervise_from_leaving() {
    for left in ["exec sleep 1000", "while :; do echo 0123456789012345678901234567890123456789; done"] {
        let scratch = Scratch::new();
        let run = format!("setsid sh -c \"trap '' TERM; echo \\$\\$ >left; {left}\" & exec sleep 1000");
        let service = Service::new(&scratch, "web", &run).script("log", "exec multilog ./main");
        let mut supervise = service.supervise();
        service.up();
        let left: i32 = service.lines("left", 1)[0].parse().unwrap();
        service.svc("-dx");
        assert_eq!(supervise.wait(), 0);
        kill(Pid::from_raw(left), Signal::SIGKILL).expect("it runs on");
    }
}
