//! svscan's orderly stop, essential services, and the duties of a first process.

use crate::svscan::{COUNT, SCANNED, service, supervise_of, svscan};
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use tests::{Daemon, Scratch, Service, children_of, fifo, has, is_alive, is_root, processes_in, skip, wait_until};

/// A service that writes to a shared file when it starts and when it ends.
fn telling(name: &str, last_words: &str) -> String {
    let end = format!("{last_words} echo {name} ends >>../story; exit");
    format!("trap '{end}' TERM; echo {name} starts >>../story; while :; do sleep 0.005; done")
}

fn story(scratch: &Scratch) -> Vec<String> {
    let story = fs::read_to_string(scratch.path().join(SCANNED).join("story")).unwrap_or_default();
    story.lines().map(str::to_string).collect()
}

#[test]
fn services_start_when_those_they_come_after_are_ready_and_stop_before_them() {
    let scratch = Scratch::new();
    // The service that is first in the directory's order becomes ready last, whatever that order is.
    let ready = format!("sleep 0.1; echo base ready >>../story; echo >&3; {}", telling("base", "sleep 0.1;"));
    let base = service(&scratch, "base", &ready).file("notification-fd", "3\n");
    service(&scratch, "a", &telling("a", "")).file("after", "z\n");
    let z =
        service(&scratch, "z", &telling("z", "sleep 0.1;").replace("starts >>../story", "starts >>../story; echo >&3"));
    let z = z.file("after", "base\n").file("notification-fd", "3\n");
    let mut svscan = svscan(&scratch);
    wait_until("all run", || story(&scratch).contains(&"a starts".to_string()));
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    let expected = ["base ready", "base starts", "z starts", "a starts", "a ends", "z ends", "base ends"];
    assert_eq!(story(&scratch), expected);
    assert!(!base.is_supervised() && !z.is_supervised());
}

#[test]
fn a_service_that_comes_after_one_that_is_ready_long_since_starts() {
    let scratch = Scratch::new();
    let base = service(&scratch, "base", "exec sleep 1000").file("essential", "");
    let _svscan = svscan(&scratch);
    base.up();
    let late = service(&scratch, "../late", "exec sleep 1000").file("after", "base\n");
    let name = scratch.path().join(SCANNED).join("late");
    fs::rename(late.path(""), name).expect("move one in");
    tests::Service::at(&scratch, &format!("{SCANNED}/late")).up();
}

/// ^C at a terminal, or a signal from an init to the group of the process that it has started, reaches only svscan.
#[test]
fn a_signal_to_the_group_of_svscan_reaches_no_service_no_logger_and_no_script() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let scratch = Scratch::new();
        let told = "for s in HUP INT QUIT TERM; do trap \"echo $s >>told; [ $s = TERM ] && exit\" $s; done";
        let web = service(&scratch, "web", &format!("{told}; echo >ready; while :; do sleep 0.005; done"));
        scratch
            .script(format!("{SCANNED}/web/log/run"), &format!("#!/bin/sh\n{told}\nwhile read -r line; do :; done\n"));
        let script = format!("#!/bin/sh\n{told}\n echo >script; sleep 0.2; echo survived >script\n");
        scratch.script(format!("{SCANNED}/.svscan/SIGHUP"), &script);
        let mut command = scratch.command("env");
        command.args(["--default-signal=INT", "svscan", SCANNED]).process_group(0);
        let mut svscan = Daemon::start(&mut command, &scratch);
        web.lines("ready", 1);
        svscan.signal(Signal::SIGHUP);
        let says = || fs::read_to_string(scratch.path().join(SCANNED).join("script")).unwrap_or_default();
        wait_until("the script runs", || !says().is_empty());
        killpg(Pid::from_raw(svscan.pid()), signal).expect("send a signal to its group");
        assert_eq!(svscan.wait(), 0);
        wait_until("the script ends", || says() == "survived\n");
        assert_eq!([web.says("told"), web.says("log/told")], ["TERM\n", ""], "{signal}");
    }
}

type Make = fn(&Path) -> io::Result<()>;

#[test]
fn a_supervise_that_was_stopped_by_a_signal_stops_its_service() {
    let scratch = Scratch::new();
    let web = service(&scratch, "web", "exec sleep 1000");
    let mut svscan = svscan(&scratch);
    web.up();
    kill(Pid::from_raw(supervise_of(&web)), Signal::SIGSTOP).expect("stop its supervise");
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

/// svscan knows its supervises and needs no file to reach them.
#[test]
fn a_service_is_stopped_though_its_control_was_removed_or_replaced() {
    let scratch = Scratch::new();
    let replace: [(&str, Make); 6] = [
        ("removed", |_| Ok(())),
        ("unread", |control| tests::fifo(control)),
        ("file", |control| fs::write(control, "")),
        ("device", |control| symlink("/dev/null", control)),
        ("full", |control| {
            tests::fifo(control)?;
            let mut open = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(control)?;
            while open.write(&[b'?'; 512]).is_ok() {}
            // The FIFO has a reader, which reads nothing, for the rest of the test.
            std::mem::forget(open);
            Ok(())
        }),
        ("all", |control| fs::remove_dir_all(control.parent().expect("supervise"))),
    ];
    let services = replace.map(|(name, _)| service(&scratch, name, "exec sleep 1000"));
    let mut svscan = svscan(&scratch);
    for service in &services {
        service.up();
    }
    for (service, (_, replace)) in services.iter().zip(replace) {
        let control = service.path("supervise/control");
        // supervise makes the file again, so replacing it may take several attempts.
        wait_until("it is replaced", || {
            let _ = fs::remove_file(&control);
            replace(&control).is_ok()
        });
    }
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

/// An init that ends everything sends a signal to all processes, as sysvinit's killall5 or busybox's poweroff do.
/// Supervises and loggers end because of it, while services still have lines to write.
#[test]
fn a_signal_to_all_processes_at_once_loses_no_last_words() {
    if !has("unshare") || !is_root() {
        return skip("needs root and unshare");
    }
    let scratch = Scratch::new();
    let last = "i=0; while [ $i -lt 30 ]; do echo last $i; i=$((i+1)); sleep 0.02; done; echo end; exit";
    let run = format!("trap '{last}' TERM; echo >ready; while :; do sleep 0.01; done");
    let services: Vec<Service> = (0..5)
        .map(|number| {
            scratch.dir(format!("{SCANNED}/web{number}/log"));
            let service = service(&scratch, &format!("web{number}"), &run);
            service.script("log/run", "exec multilog ./main")
        })
        .collect();
    let init = "svscan services & until [ -e all-are-ready ]; do sleep 0.01; done; kill -TERM -1; wait $!";
    let mut command = scratch.command("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", init]);
    let mut init = Daemon::start(&mut command, &scratch);
    services.iter().for_each(|service| drop(service.lines("ready", 1)));
    for service in &services {
        wait_until("its logger is ready", || service.path("log/main/current").exists());
    }
    scratch.file("all-are-ready", "");
    assert_eq!(init.wait(), 0, "{}", init.errors());
    let expected: Vec<String> = (0..30).map(|number| format!("last {number}")).chain(["end".into()]).collect();
    for service in &services {
        // If the service is told to end once more while it writes its last lines, it may begin them again.
        let lines = service.lines("log/main/current", 31);
        assert!(lines.ends_with(&expected), "{}: {lines:?}", service.name());
    }
}

#[test]
fn a_service_outlives_the_loggers_of_those_that_need_it() {
    let scratch = Scratch::new();
    let web = service(&scratch, "web", &telling("web", "echo last;")).file("after", "ship\n");
    scratch.dir(format!("{SCANNED}/web/log"));
    let slow = "while read line; do sleep 0.2; echo $line >>lines; done; echo logger ends >>../../story";
    scratch.script(format!("{SCANNED}/web/log/run"), &format!("#!/bin/sh\n{slow}\n"));
    service(&scratch, "ship", &telling("ship", ""));
    let mut svscan = svscan(&scratch);
    wait_until("all run", || story(&scratch).len() == 2);
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    assert_eq!(story(&scratch)[2..], ["web ends", "logger ends", "ship ends"]);
    assert_eq!(web.says("log/lines"), "last\n");
}

/// `after` is read when everything stops. It then names services that were installed anew or added later, and it may
/// itself have been written later.
#[test]
fn the_order_of_stopping_is_that_of_the_moment() {
    let scratch = Scratch::new();
    service(&scratch, "web", &telling("web", "sleep 0.1;")).file("after", "ship\nlate\n");
    let ship = service(&scratch, "ship", &telling("ship", "sleep 0.1;"));
    let edited = service(&scratch, "edited", &telling("edited", "sleep 0.1;"));
    let mut svscan = svscan(&scratch);
    let pid = ship.up();
    wait_until("a name is unknown", || svscan.errors().contains("web: after late: no such service"));
    service(&scratch, "../late", &telling("late", ""));
    service(&scratch, "../new", &telling("new ship", ""));
    let services = scratch.path().join(SCANNED);
    fs::rename(services.join("ship"), services.join(".old")).expect("move the old one away");
    fs::rename(scratch.path().join("new"), services.join("ship")).expect("move the new one in");
    fs::rename(scratch.path().join("late"), services.join("late")).expect("move one in");
    ship.another(pid);
    let edited = edited.file("after", "web\n");
    edited.up();
    let begun = ["web", "ship", "edited", "late", "new ship"].map(|name| format!("{name} starts"));
    wait_until("all run", || begun.iter().all(|words| story(&scratch).contains(words)));
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    let story = story(&scratch);
    let at = |words: &str| story.iter().position(|line| line == words).expect("a line");
    assert!(at("edited ends") < at("web ends"), "{story:?}");
    assert!(at("web ends") < at("new ship ends") && at("web ends") < at("late ends"), "{story:?}");
    assert_eq!(svscan.errors().matches("no such service").count(), 1, "{}", svscan.errors());
}

/// A machine is being shut down. A web server writes a log file. A shipper such as filebeat reads the file, sends its
/// lines slowly, and records in a registry what has arrived; when it is told to end, it ends at once. So its `run`
/// tells it only when the registry has not changed for a while. The service that receives the lines must outlive the
/// shipper.
#[test]
fn a_shipper_stops_when_it_has_sent_everything() {
    let scratch = Scratch::new();
    scratch.dir(SCANNED);
    scratch.file("access.log", "");
    tests::fifo(&scratch.path().join("wire")).expect("make a FIFO");
    let beat = "sent=0; while :; do
            line=$(sed -n $((sent+1))p access.log)
            [ -n \"$line\" ] || { sleep 0.01; continue; }
            echo \"$line\"; sent=$((sent+1)); sleep 0.002
        done >wire";
    scratch.script("beat", &format!("#!/bin/sh\n{beat}\n"));
    let collector = "exec 4<>../../wire; trap 'echo collector ends >>story; exit' TERM
        cd ../..; got=0; while read -r line <&4; do
            echo $line >>sent; got=$((got+1)); echo $got >registry.new; mv registry.new registry
        done";
    let collector = service(&scratch, "collector", collector);
    let ship = "cd ../..; ./beat & beat=$!
        drain() {
            quiet=0; seen=
            while [ $quiet -lt 100 ]; do
                sleep 0.01; now=$(cat registry)
                if [ \"$now\" = \"$seen\" ]; then quiet=$((quiet+1)); else quiet=0 seen=$now; fi
            done
            kill $beat; wait $beat; echo shipper ends >>story; exit
        }
        trap drain TERM; wait";
    let shipper = service(&scratch, "shipper", ship).file("after", "collector\n").file("timeout-kill", "1h\n");
    let web = "trap 'echo last >>../../access.log; echo web ends >>../../story; exit' TERM
        i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done >>../../access.log
        while :; do sleep 0.005; done";
    let web = service(&scratch, "web", web).file("after", "shipper\n");
    let mut svscan = svscan(&scratch);
    let read = |name: &str| fs::read_to_string(scratch.path().join(name)).unwrap_or_default();
    wait_until("it ships, and the web server has work done", || {
        !read("registry").is_empty() && read("access.log").contains("line 299\n")
    });
    let (shipper, collector) = (shipper.up(), collector.up());
    svscan.signal(Signal::SIGTERM);
    web.wait_down();
    // The shipper has just begun, and a second signal neither kills it nor makes it hurry.
    assert!(is_alive(shipper) && is_alive(collector));
    svscan.signal(Signal::SIGTERM);
    wait_until("it is said who is waited for", || svscan.errors().contains("web is down, waiting for "));
    assert_eq!(svscan.wait(), 0);
    assert!(read("access.log").ends_with("last\n"));
    assert_eq!(read("sent"), read("access.log"));
    assert_eq!(read("story"), "web ends\nshipper ends\ncollector ends\n");
    let said = svscan.errors();
    for words in ["stopping web\n", "stopping shipper (killed in 1h)\n", "shipper is down, waiting for collector\n"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// A service that ignores TERM, and a logger that does not end, are named with what ends them.
#[test]
fn a_stop_that_takes_long_says_for_what_it_waits_and_what_ends_it() {
    let scratch = Scratch::new();
    let stubborn = service(&scratch, "stubborn", "trap '' TERM; echo >ready; while :; do sleep 0.01; done");
    let logged = service(&scratch, "logged", "exec sleep 1000")
        .script("log/run", "trap '' TERM; echo >../logs; while :; do sleep 0.01; done");
    let quick = service(&scratch, "quick", "exec sleep 1000");
    let mut svscan = svscan(&scratch);
    stubborn.lines("ready", 1);
    logged.lines("logs", 1);
    logged.up();
    quick.up();
    svscan.signal(Signal::SIGTERM);
    let cure = "; svc -k kills a service that does not end; a logger may need room on its disk, \
                and svc -k loses what it has not written\n";
    let said = |names: &str| svscan.errors().contains(&format!("svscan: warning: still waiting for {names}{cure}"));
    wait_until("it is said", || said("logged/log, stubborn") || said("stubborn, logged/log"));
    // What was said helps.
    stubborn.svc("-k");
    assert_eq!(scratch.run(&format!("svc -k {SCANNED}/logged/log")).code, 0);
    assert_eq!(svscan.wait(), 0);
    assert_eq!(svscan.errors().matches("still waiting").count(), 1);
}

/// One service takes long, one waits for it, and one is down already. svscan reports all three.
#[test]
fn it_is_said_what_is_waited_for_and_how_long_it_has() {
    let scratch = Scratch::new();
    let patient = "trap 'until [ -e go ]; do sleep 0.01; done; exit' TERM; echo >ready; while :; do sleep 0.01; done";
    let slow = service(&scratch, "slow", patient).file("timeout-kill", "2h\n");
    let quick = service(&scratch, "quick", "exec sleep 1000");
    let last = service(&scratch, "last", "exec sleep 1000");
    let slow = slow.file("after", "last\n");
    let mut svscan = svscan(&scratch);
    slow.lines("ready", 1);
    quick.up();
    last.up();
    // This makes sure that the one is told before the other is down.
    quick.svc("-d");
    quick.wait_down();
    slow.svc("-d");
    wait_until("it has a time", || !slow.state("kill-at").is_empty());
    svscan.signal(Signal::SIGTERM);
    wait_until("it is said", || svscan.errors().contains("quick is down"));
    let said = svscan.errors();
    let line = said.lines().find(|line| line.contains("quick is down")).expect("the line");
    let expected = ["slow (killed in 1h 59m ", "slow (killed in 2h)"];
    assert!(expected.iter().any(|words| line.contains(words)) && line.ends_with(", last"), "{line}");
    scratch.file(format!("{SCANNED}/slow/go"), "");
    assert_eq!(svscan.wait(), 0);
    assert!(svscan.errors().contains("svscan: slow is down, waiting for last\n"), "{}", svscan.errors());
}

#[test]
fn a_logger_ends_after_its_services_last_line() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", COUNT);
    scratch.dir(format!("{SCANNED}/a/log"));
    // This logger is slow, and must not be told to end before it has read everything.
    scratch.script(
        format!("{SCANNED}/a/log/run"),
        "#!/bin/sh\nwhile read line; do echo $line >>lines; sleep 0.004; done\n",
    );
    let mut svscan = svscan(&scratch);
    a.lines("log/lines", 30);
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    let lines = a.says("log/lines");
    let numbers = lines.lines().count() - 1;
    let expected: String = (0..numbers).map(|number| format!("{number}\n")).collect();
    assert_eq!(lines, expected + "end\n");
}

/// Interrupts svscan, which then tells the service to stop. Returns the number of the service's process, which ignores TERM.
fn does_not_stop(a: &Service, svscan: &Daemon) -> i32 {
    a.lines("ready", 1);
    svscan.signal(Signal::SIGINT);
    a.wait_for("is told to stop", |status| status.want == b'd');
    a.up()
}

#[test]
fn a_second_interrupt_kills_what_does_not_stop() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "trap '' TERM; echo >ready; while :; do sleep 0.01; done");
    let mut svscan = svscan(&scratch);
    let pid = does_not_stop(&a, &svscan);
    svscan.signal(Signal::SIGTERM);
    svscan.signal(Signal::SIGINT);
    assert_eq!(svscan.wait(), 0);
    assert!(!is_alive(pid));
}

/// The supervise is killed just before the second interrupt. The supervise that takes its place is told too.
#[test]
fn a_second_interrupt_is_also_for_a_supervise_that_is_started_then() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "trap '' TERM; echo >ready; while :; do sleep 0.01; done");
    let mut svscan = svscan(&scratch);
    let pid = does_not_stop(&a, &svscan);
    // svscan learns of both at the same time.
    svscan.signal(Signal::SIGSTOP);
    svscan.signal(Signal::SIGINT);
    kill(Pid::from_raw(supervise_of(&a)), Signal::SIGKILL).expect("kill it");
    svscan.signal(Signal::SIGCONT);
    assert_eq!(svscan.wait(), 0);
    assert!(!is_alive(pid));
}

#[test]
fn a_supervise_killed_while_everything_stops_is_no_way_out() {
    let scratch = Scratch::new();
    let a = service(
        &scratch,
        "a",
        "trap 'while [ ! -e go ]; do sleep 0.01; done; exit' TERM; echo >ready; while :; do sleep 0.01; done",
    );
    let mut svscan = svscan(&scratch);
    a.lines("ready", 1);
    let pid = a.up();
    svscan.signal(Signal::SIGTERM);
    a.wait_for("is told to stop", |status| status.want == b'd');
    let supervise = a.state("supervise")[0].split(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervise), Signal::SIGKILL).expect("kill it");
    wait_until("there is another", || {
        a.state("supervise")[0].split(' ').next() != Some(supervise.to_string().as_str())
    });
    assert!(is_alive(pid));
    scratch.file(format!("{SCANNED}/a/go"), "");
    assert_eq!(svscan.wait(), 0);
    assert!(!is_alive(pid));
}

/// A service that counts how often it is told to end, and ends when the test lets it.
const COUNTING: &str = "trap 'echo told >>told' TERM; echo >ready; while [ ! -e go ]; do sleep 0.01; done";

fn told(service: &Service) -> usize {
    service.says("told").lines().count()
}

/// Starts svscan on a link to the service, and removes the link once the service is ready. Returns svscan, and the numbers
/// of the service's process and of its supervise.
fn started_and_removed(scratch: &Scratch, a: &Service) -> (Daemon, i32, i32) {
    let entry = scratch.path().join(SCANNED).join("a");
    symlink("../etc/a", &entry).expect("link it");
    let svscan = svscan(scratch);
    a.lines("ready", 1);
    let (pid, supervise) = (a.up(), supervise_of(a));
    fs::remove_file(&entry).expect("remove the entry");
    (svscan, pid, supervise)
}

/// svscan cannot start another supervise, because the entry is gone. It tells the process itself to end, and waits for
/// it.
#[test]
fn a_removed_service_whose_supervise_is_killed_at_the_stop_is_ended() {
    for stops_removed in [true, false] {
        let scratch = Scratch::new();
        let a = Service::new(&scratch, "etc/a", COUNTING).script("finish", "echo >finished");
        scratch.dir(format!("{SCANNED}/.svscan"));
        if stops_removed {
            scratch.file(format!("{SCANNED}/.svscan/on-remove"), "stop\n");
        }
        let (mut svscan, pid, supervise) = started_and_removed(&scratch, &a);
        if !stops_removed {
            svscan.signal(Signal::SIGTERM);
        }
        wait_until("it is told to end", || told(&a) == 1);
        kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill its supervise");
        wait_until("svscan tells it to end", || told(&a) == 2);
        let warning = "svscan: warning: unable to supervise a: file does not exist\n";
        wait_until("it is said why", || svscan.errors().contains(warning));
        // svscan must not tell the process again with each attempt to start a supervise.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        assert_eq!((told(&a), is_alive(pid), svscan.errors().contains("a is down")), (2, true, false));
        scratch.file("etc/a/go", "");
        wait_until("it is said that it is down", || svscan.errors().contains("svscan: a is down\n"));
        assert!(!is_alive(pid));
        if stops_removed {
            svscan.signal(Signal::SIGTERM);
        }
        assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
        assert!(!a.path("finished").exists());
    }
}

/// The process does not end, so the second interrupt kills it.
#[test]
fn a_second_interrupt_kills_what_has_no_supervise_any_more() {
    let scratch = Scratch::new();
    let a = Service::new(&scratch, "etc/a", COUNTING);
    scratch.dir(SCANNED);
    let (mut svscan, pid, supervise) = started_and_removed(&scratch, &a);
    svscan.signal(Signal::SIGINT);
    wait_until("it is told to end", || told(&a) == 1);
    kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill its supervise");
    wait_until("svscan tells it to end", || told(&a) == 2);
    svscan.signal(Signal::SIGINT);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert!(!is_alive(pid));
}

/// svscan has no descriptor left to look at the service, and does not take it for gone. But it needs no descriptor to
/// know what its supervises have reported.
#[test]
fn a_stop_without_descriptors_ends_when_all_are_down_and_not_before() {
    if !has("prlimit") {
        return skip("needs prlimit");
    }
    for killed in [false, true] {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", COUNTING);
        let mut svscan = svscan(&scratch);
        a.lines("ready", 1);
        let (pid, supervise) = (a.up(), supervise_of(&a));
        let limit = |most: &str| {
            let of_svscan = ["--pid", &svscan.pid().to_string(), most].map(str::to_string);
            let done = scratch.outcome_of(scratch.command("prlimit").args(of_svscan));
            assert_eq!(done.code, 0, "{done:?}");
        };
        // The limit equals the next number that svscan would get. A limit below the numbers that svscan polls would end
        // it.
        let free = (0..).find(|number| !Path::new(&format!("/proc/{}/fd/{number}", svscan.pid())).exists());
        limit(&format!("--nofile={}:", free.expect("a number")));
        svscan.signal(Signal::SIGTERM);
        wait_until("it is told to end", || told(&a) == 1);
        if killed {
            kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill its supervise");
            wait_until("it is told again, or svscan cannot", || told(&a) == 2 || svscan.errors().contains("unable to"));
            assert!(is_alive(pid) && !svscan.errors().contains("a is down"), "{}", svscan.errors());
            limit("--nofile=1024:");
            wait_until("it is told again", || told(&a) == 2);
        }
        scratch.file(format!("{SCANNED}/a/go"), "");
        assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
        assert!(!is_alive(pid));
    }
}

/// svscan may not enter the directory any more, so it can start neither the service nor its logger again. It ends the
/// process that is left, and after a while gives up what the logger might still have written.
#[test]
fn a_stop_ends_though_no_supervise_can_be_started() {
    let scratch = Scratch::new();
    let here = scratch.path().display();
    scratch.file("told", "");
    scratch.mode("told", 0o666);
    let run =
        format!("trap 'echo told >>{here}/told' TERM; echo >ready; while [ ! -e {here}/go ]; do sleep 0.01; done");
    let a = service(&scratch, "a", &run);
    scratch.dir(format!("{SCANNED}/a/log"));
    scratch.script(format!("{SCANNED}/a/log/run"), "#!/bin/sh\nexec cat >/dev/null\n");
    for folder in [SCANNED, "services/a", "services/a/log"] {
        scratch.mode(folder, 0o777);
    }
    scratch.as_nobody("supervise");
    let mut svscan = Daemon::start(scratch.as_nobody("svscan").arg(SCANNED), &scratch);
    a.lines("ready", 1);
    let log = Service::at(&scratch, "services/a/log");
    // Its supervise has written its state once it is up.
    let (pid, reader) = (a.up(), log.up());
    let (supervise, logger) = (supervise_of(&a), [supervise_of(&log), reader]);
    svscan.signal(Signal::SIGTERM);
    let told = || fs::read_to_string(scratch.path().join("told")).unwrap_or_default().lines().count();
    wait_until("it is told to end", || told() == 1);
    scratch.mode(a.path(""), 0);
    for pid in logger.into_iter().chain([supervise]) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill it");
    }
    wait_until("svscan tells it to end", || told() == 2);
    assert!(is_alive(pid) && !svscan.has_ended());
    scratch.file("go", "");
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert!(!is_alive(pid));
    let said = svscan.errors();
    assert_eq!(said.matches("svscan: warning: unable to supervise a: access denied\n").count(), 1, "{said}");
    scratch.mode(a.path(""), 0o777);
}

#[test]
fn everything_stops_with_an_essential_service_and_its_code_is_svscans() {
    for (end, code) in [("exit 100", 100), ("kill -9 $$", 137)] {
        let scratch = Scratch::new();
        let other = service(&scratch, "other", &telling("other", ""));
        let run = format!("until [ -e ../story ]; do sleep 0.01; done; {end}");
        // Without the stop, svscan would restart the service that is killed here.
        service(&scratch, "main", &run)
            .file("essential", "")
            .file("max-death-tally", "1")
            .file("restart-limit", "1 in 1m");
        let mut svscan = svscan(&scratch);
        assert_eq!(svscan.wait(), code, "{end}: {}", svscan.errors());
        assert_eq!(story(&scratch).last().map(String::as_str), Some("other ends"));
        assert!(!other.is_supervised());
    }
}

#[test]
fn an_essential_service_that_gives_up_before_it_runs_stops_everything() {
    let scratch = Scratch::new();
    service(&scratch, "other", "exec sleep 1000");
    service(&scratch, "main", "exec sleep 1000").file("essential", "").script("start", "exit 5");
    let mut svscan = svscan(&scratch);
    assert_eq!(svscan.wait(), 111, "{}", svscan.errors());
}

#[test]
fn an_essential_service_has_not_ended_because_it_had_once() {
    let scratch = Scratch::new();
    let main = service(&scratch, "main", "exit $(cat code)").file("code", "9\n").down();
    let mut first = svscan(&scratch);
    main.svc_when_supervised("-o");
    wait_until("it has ended", || main.state("death").len() == 1);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait(), 0);
    let main = main.file("essential", "").file("code", "7\n");
    let mut second = svscan(&scratch);
    main.svc_when_supervised("-o");
    assert_eq!(second.wait(), 7, "{}", second.errors());
}

/// In a container that is started again, all processes have the numbers that they had before, and the directories of the services
/// are as they were left.
#[test]
fn a_container_that_is_started_again_runs_its_essential_service_again_and_waits_until_it_is_ready() {
    if !is_root() || !has("unshare") {
        return skip("only root has namespaces of its own");
    }
    let scratch = Scratch::new();
    let ready = "echo main ready >>../story; echo >&3; ";
    let run = format!("sleep 0.3; {ready}until [ -e ../go ]; do sleep 0.01; done; rm ../go; exit 7");
    service(&scratch, "main", &run).file("essential", "").file("success-codes", "7\n").file("notification-fd", "3\n");
    service(&scratch, "web", "echo web starts >>../story; exec sleep 1000").file("after", "main\n");
    // As many as it takes to see a record of the time before read too soon.
    for times in 1..=4 {
        let mut unshare = scratch.command("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child", "svscan", SCANNED]);
        let mut container = Daemon::start(&mut unshare, &scratch);
        wait_until("all run, or it has ended", || story(&scratch).len() == 2 * times || container.has_ended());
        fs::write(scratch.path().join(SCANNED).join("go"), "").expect("say go");
        assert_eq!(container.wait(), 7, "{times}: {}", container.errors());
        assert_eq!(story(&scratch), ["main ready", "web starts"].repeat(times), "{}", container.errors());
    }
}

#[test]
fn scripts_take_the_place_of_what_signals_mean_and_of_the_end() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    let directory = format!("{SCANNED}/.svscan");
    scratch.script(format!("{directory}/SIGTERM"), "#!/bin/sh\necho $0 $1 >>.svscan/said\n");
    scratch.script(format!("{directory}/SIGUSR1"), "#!/bin/sh\necho $1 >>.svscan/said\n");
    scratch.script(format!("{directory}/finish"), "#!/bin/sh\necho finish $1 >>.svscan/said; exit 7\n");
    let said = || fs::read_to_string(scratch.path().join(&directory).join("said")).unwrap_or_default();
    let mut svscan = svscan(&scratch);
    let pid = a.up();
    svscan.signal(Signal::SIGTERM);
    wait_until("the script has run", || said() == ".svscan/SIGTERM SIGTERM\n");
    svscan.signal(Signal::SIGUSR1);
    wait_until("the other has run", || said().ends_with("SIGUSR1\n"));
    assert!(is_alive(pid) && !svscan.has_ended());
    svscan.signal(Signal::SIGINT);
    assert_eq!(svscan.wait(), 7);
    assert!(said().ends_with("finish 0\n"));
}

/// A process that has left its service keeps writing, whatever happens.
#[test]
fn what_writes_to_a_logger_without_end_does_not_keep_svscan_from_stopping() {
    let scratch = Scratch::new();
    let writes = "trap '' TERM; echo $$ >../writer; while :; do echo 0123456789012345678901234567890123456789; done";
    let web = service(
        &scratch,
        "web",
        &format!("setsid sh -c \"{writes}\" & exec sleep 1000", writes = writes.replace('$', "\\$")),
    )
    .file("log/run", "#!/bin/sh\nexec multilog ./main\n");
    scratch.shell(&format!("chmod +x {}", web.path("log/run").display()));
    let mut svscan = svscan(&scratch);
    let writer = scratch.path().join(SCANNED).join("writer");
    wait_until("it writes", || fs::read_to_string(&writer).is_ok_and(|pid| pid.ends_with('\n')));
    web.up();
    let pid: i32 = fs::read_to_string(&writer).unwrap().trim().parse().unwrap();
    svscan.signal(Signal::SIGTERM);
    let code = svscan.wait();
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is alive");
    assert_eq!(code, 0, "{}", svscan.errors());
}

/// The service is stopped with all others, or is removed, or ends by itself after its removal.
#[test]
fn what_a_logger_does_not_read_is_counted() {
    for how in ["all", "removed", "told"] {
        let scratch = Scratch::new();
        let web = service(&scratch, "web", "echo unread; echo >ready; exec sleep 1000");
        scratch.dir(format!("{SCANNED}/web/log"));
        let web = web.script("log/run", "exec sleep 1000");
        scratch.dir(format!("{SCANNED}/.svscan"));
        if how == "removed" {
            scratch.file(format!("{SCANNED}/.svscan/on-remove"), "stop\n");
        }
        let mut svscan = svscan(&scratch);
        web.lines("ready", 1);
        Service::at(&scratch, "services/web/log").up();
        let said = "svscan: warning: web/log: dropped 7 bytes of its service's lines: it did not read them\n";
        if how == "told" {
            fs::rename(web.path(""), scratch.path().join("old")).expect("move it away");
            assert_eq!(scratch.shell("svc -dx old old/log"), tests::prints(""));
        }
        if how == "removed" {
            fs::rename(web.path(""), scratch.path().join("old")).expect("move it away");
        }
        if how != "all" {
            wait_until("it is said", || svscan.errors().contains(said));
        }
        svscan.signal(Signal::SIGTERM);
        assert_eq!(svscan.wait(), 0);
        assert_eq!(svscan.errors().matches(said).count(), 1, "{how}: {}", svscan.errors());
    }
}

/// A `log` that cannot run looks like one that is still being made. But a service that runs is no service that is still
/// being made.
#[test]
fn the_next_svscan_stops_also_what_could_not_be_started_now() {
    let scratch = Scratch::new();
    let web = service(&scratch, "web", "exec sleep 1000").file("log/run", "#!/bin/sh\n");
    let db = service(&scratch, "db", "exec sleep 1000");
    let mut first = svscan(&scratch);
    web.up();
    db.up();
    fs::remove_file(db.path("run")).expect("remove it");
    first.signal(Signal::SIGKILL);
    first.wait();
    let late = service(&scratch, "late", "exec sleep 1000");
    let mut second = svscan(&scratch);
    late.up();
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait(), 0, "{}", second.errors());
    assert!(!web.is_supervised() && !db.is_supervised(), "{}", second.errors());
    assert!(processes_in(&scratch.path().join(SCANNED)).is_empty());
}

/// Any process of the account may use up the number of signals that can be queued, and a filter may forbid signals with
/// a value.
#[test]
fn a_stop_ends_though_no_signal_that_brings_commands_can_be_sent() {
    if !has("prlimit") {
        return skip("needs prlimit");
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", COUNTING).script("log/run", "exec cat >>lines");
    let svscan = [scratch.programs().join("svscan").display().to_string(), SCANNED.into()];
    let mut svscan = Daemon::start(scratch.command("prlimit").arg("--sigpending=0:0").args(svscan), &scratch);
    a.lines("ready", 1);
    svscan.signal(Signal::SIGTERM);
    wait_until("it is told to end", || told(&a) == 1);
    scratch.file(format!("{SCANNED}/a/go"), "");
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

/// The owner of `supervise/` can lock a file there and read `ok`, as a supervise does.
#[test]
fn a_stop_ends_a_service_whose_supervise_was_killed_though_another_process_seems_to_be_in_charge() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", COUNTING);
    let mut svscan = svscan(&scratch);
    a.lines("ready", 1);
    let (pid, supervise) = (a.up(), Pid::from_raw(supervise_of(&a)));
    kill(supervise, Signal::SIGSTOP).expect("stop its supervise");
    let at = |file: &str| a.path(&format!("supervise/{file}"));
    for file in ["lock", "ok"] {
        fs::remove_file(at(file)).expect("remove it");
    }
    fifo(&at("ok")).expect("make a FIFO");
    let _ok = fs::File::options().read(true).write(true).open(at("ok")).expect("open it");
    let lock = fs::File::create(at("lock")).expect("make a file");
    let _lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).expect("lock it");
    kill(supervise, Signal::SIGKILL).expect("kill its supervise");
    wait_until("svscan cannot tell", || svscan.errors().contains("unable to find supervise of a: "));
    svscan.signal(Signal::SIGTERM);
    wait_until("it is told to end", || told(&a) == 1);
    assert!(is_alive(pid) && !svscan.has_ended(), "{}", svscan.errors());
    scratch.file(format!("{SCANNED}/a/go"), "");
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert_eq!((is_alive(pid), told(&a)), (false, 1));
}

/// svscan under strace, which holds each supervise that svscan starts at this system call, until strace is killed.
fn svscan_under_strace(scratch: &Scratch, call: &str, at: &str, path: &Path) -> Daemon {
    let mut command = scratch.command("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-P"]).arg(path);
    command.args(["-e", &format!("inject={call}:{at}=100000000:when=1"), "svscan", SCANNED]);
    Daemon::start(&mut command, scratch)
}

fn kill_traced_svscan(strace: &Daemon) {
    let svscan = children_of(strace.pid());
    svscan.iter().for_each(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).expect("kill svscan"));
    wait_until("svscan is gone", || !svscan.iter().any(|pid| is_alive(*pid)));
}

/// The processes of this name that work in the scratch directory.
fn named(scratch: &Scratch, name: &str) -> Vec<Pid> {
    let is_named =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name);
    processes_in(scratch.path()).into_iter().filter(is_named).map(Pid::from_raw).collect()
}

/// Whether svscan has taken in the TERM that it was sent: svscan blocks the signal, and it does not wait any more.
pub fn has_taken_in_term(svscan: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{svscan}/status")).unwrap_or_default();
    let has_term = |key: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
        u64::from_str_radix(mask.trim(), 16).expect("a mask") & 1 << (Signal::SIGTERM as u32 - 1) != 0
    };
    has_term("SigBlk:") && !has_term("ShdPnd:")
}

/// Each of these supervises was started in the last moment of its svscan, and goes on once the next svscan was told to stop
/// everything, and finds nothing that runs.
#[test]
fn a_supervise_that_was_just_started_by_a_killed_svscan_is_stopped_too() {
    if !has("strace") {
        return skip("there is no strace");
    }
    let program = tests::programs().join("supervise");
    for (call, at, path, is_logged) in [
        // It has just become a supervise.
        ("execve", "delay_exit", program.as_path(), false),
        ("execve", "delay_exit", program.as_path(), true),
        // It is about to enter its directory.
        ("chdir", "delay_enter", Path::new("a"), false),
        ("chdir", "delay_enter", Path::new("log"), true),
        // It has entered its directory.
        ("chdir", "delay_exit", Path::new("a"), false),
    ] {
        let scratch = Scratch::new();
        let a = Service::new(&scratch, &format!("{SCANNED}/a"), "echo start >>starts; exec sleep 1000");
        let _logger = is_logged.then(|| Service::new(&scratch, &format!("{SCANNED}/a/log"), "exec cat >read"));
        let traced = svscan_under_strace(&scratch, call, at, path);
        let is_held = |pid: &Pid| tests::state_of(pid.as_raw()) == Some('t');
        wait_until("a supervise is held", || named(&scratch, "supervise").iter().any(is_held));
        kill_traced_svscan(&traced);
        let mut next = svscan(&scratch);
        wait_until("it listens", || has_taken_in_term(next.pid()));
        next.signal(Signal::SIGTERM);
        wait_until("it is told", || next.has_ended() || has_taken_in_term(next.pid()));
        traced.kill();
        assert_eq!(next.wait(), 0, "{call} {at} {path:?}: {}", next.errors());
        assert_eq!(named(&scratch, "supervise"), [], "{call} {at} {path:?}: {}", next.errors());
        assert_eq!(processes_in(&a.path("")), [0; 0], "{call} {at} {path:?}: {}", next.errors());
        assert!(!next.errors().contains("supervise: fatal"), "{call} {at} {path:?}: {}", next.errors());
    }
}

/// A child of svscan that has not executed `supervise` yet keeps the scan directory locked. The next svscan may be told to stop
/// everything when it does not know yet that the lock is free.
#[test]
fn the_next_svscan_waits_for_a_child_that_is_still_to_become_a_supervise() {
    if !has("strace") {
        return skip("there is no strace");
    }
    let scratch = Scratch::new();
    let a = Service::new(&scratch, &format!("{SCANNED}/a"), "echo start >>starts; exec sleep 1000");
    let program = tests::programs().join("supervise");
    let traced = svscan_under_strace(&scratch, "execve", "delay_enter", &program);
    wait_until("there is a child", || named(&scratch, "svscan").len() == 2);
    kill_traced_svscan(&traced);
    let mut next = svscan(&scratch);
    wait_until("it waits", || next.errors().contains("another svscan serves this directory"));
    traced.kill();
    a.lines("starts", 1);
    next.signal(Signal::SIGTERM);
    assert_eq!(next.wait(), 0, "{}", next.errors());
    assert_eq!(named(&scratch, "supervise"), [], "{}", next.errors());
    assert_eq!(a.lines("starts", 1).len(), 1, "{}", next.errors());
    assert!(!next.errors().contains("supervise: fatal"), "{}", next.errors());
}

/// svscan starts the supervise for the sake of the process that the supervise before it has left. That process ends before the
/// supervise finds it, or before svscan can tell the supervise anything.
#[test]
fn a_supervise_that_is_started_during_a_stop_starts_no_run() {
    if !has("strace") {
        return skip("there is no strace");
    }
    for is_dead_before in [true, false] {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", "echo start >>starts; exec sleep 1000").file("restart-delay", "0\n");
        let mut svscan = svscan(&scratch);
        let (first, pid) = (svscan.pid(), a.up());
        wait_until("it has executed sleep", || named(&scratch, "sleep").contains(&Pid::from_raw(pid)));
        let mut strace = scratch.command("strace");
        let said = scratch.path().join("strace");
        strace.args(["-f", "-qq", "-o", said.to_str().expect("a path"), "-e", "trace=chdir", "-P", "a"]);
        strace.args(["-e", "inject=chdir:delay_enter=100000000:when=1", "-p", &first.to_string()]);
        let strace = Daemon::start(&mut strace, &scratch);
        let is_traced = || {
            fs::read_to_string(format!("/proc/{first}/status"))
                .is_ok_and(|status| status.contains(&format!("TracerPid:\t{}\n", strace.pid())))
        };
        wait_until("svscan is traced", is_traced);
        let before = Pid::from_raw(supervise_of(&a));
        svscan.signal(Signal::SIGSTOP);
        svscan.signal(Signal::SIGTERM);
        kill(before, Signal::SIGKILL).expect("kill supervise");
        svscan.signal(Signal::SIGCONT);
        let next = || named(&scratch, "supervise").into_iter().find(|supervise| *supervise != before);
        wait_until("the next supervise is held", || {
            next().is_some_and(|next| tests::state_of(next.as_raw()) == Some('t'))
        });
        let next = next().expect("it is held");
        let end_service = || {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill the service");
            wait_until("it is dead", || !is_alive(pid));
        };
        if is_dead_before {
            end_service();
            wait_until("svscan has waited for it", || !Path::new(&format!("/proc/{pid}")).exists());
        }
        // A signal that strace has in its hands when it is killed may be lost.
        let stops =
            || fs::read_to_string(&said).expect("what strace says").matches("--- stopped by SIGSTOP ---").count();
        let before = stops();
        svscan.signal(Signal::SIGSTOP);
        wait_until("svscan is stopped", || stops() > before);
        strace.kill();
        if !is_dead_before {
            wait_until("it is in charge", || a.is_supervised());
            end_service();
        }
        let starts = || fs::read_to_string(a.path("starts")).expect("its starts").lines().count();
        wait_until("supervise has gone, or starts it", || !is_alive(next.as_raw()) || starts() > 1);
        svscan.signal(Signal::SIGCONT);
        assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
        assert_eq!(starts(), 1, "{is_dead_before}");
        assert_eq!(processes_in(&a.path("")), [0; 0]);
    }
}

#[test]
fn svscan_starts_nothing_if_it_is_told_to_stop_before() {
    if !has("strace") {
        return skip("there is no strace");
    }
    let scratch = Scratch::new();
    let a = Service::new(&scratch, &format!("{SCANNED}/a"), "echo start >>starts; exec sleep 1000");
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "inject=signalfd4:delay_exit=100000000:when=1", "svscan", SCANNED]);
    let strace = Daemon::start(&mut command, &scratch);
    let svscan = || children_of(strace.pid()).into_iter().find(|pid| has_taken_in_term(*pid));
    wait_until("it takes signals in", || svscan().is_some());
    let svscan = svscan().expect("it is held there");
    kill(Pid::from_raw(svscan), Signal::SIGTERM).expect("tell svscan");
    strace.kill();
    wait_until("it ends", || !is_alive(svscan));
    assert!(!a.path("supervise").exists() && !a.path("starts").exists());
}
