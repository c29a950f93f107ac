//! How a service says that it is ready and alive.

use std::fs;
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Scratch, Service, has, is_root, prints, skip, wait_until};

/// Sends a datagram with each of these texts to $NOTIFY_SOCKET when a file of that number appears.
fn speaker(texts: &[&str]) -> String {
    format!(
        "exec python3 -c '\nimport os, socket, sys, time\nname = os.environ[\"NOTIFY_SOCKET\"].replace(\"@\", chr(0), 1)\n\
         speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nopen(\"starts\", \"a\").write(str(os.getpid()) + chr(10))\n\
         for number, text in enumerate(sys.argv[1:]):\n    while not os.path.exists(\"go\" + str(number)): time.sleep(0.01)\n    \
         speak.sendto(text.encode(), name)\nwhile True: time.sleep(1000)\n' {}",
        texts.iter().map(|text| format!("'{text}'")).collect::<Vec<_>>().join(" ")
    )
}

fn go(service: &Service, number: usize) {
    fs::write(service.path(&format!("go{number}")), "").unwrap();
}

fn is_ready(service: &Service) -> bool {
    service.status().phase == Some(3) && !service.state("ready").is_empty()
}

#[test]
fn without_a_setting_to_run_is_to_be_ready() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let _supervise = service.supervise();
    wait_until("it is ready", || is_ready(&service));
}

#[test]
fn a_newline_on_the_descriptor() {
    let scratch = Scratch::new();
    let run = "echo >>starts; printf starting >&3; while [ ! -e go0 ]; do sleep 0.01; done; echo >&3; exec sleep 1000";
    let service = Service::new(&scratch, "web", run).file("notification-fd", "3");
    let supervise = service.supervise();
    service.lines("starts", 1);
    assert!(service.state("ready").is_empty());
    // What it said is heard by the next supervise, too.
    supervise.kill();
    go(&service, 0);
    let _next = service.supervise();
    wait_until("it is ready", || is_ready(&service));
    // Each `run` anew.
    fs::remove_file(service.path("go0")).unwrap();
    service.svc("-k");
    service.lines("starts", 2);
    assert!(service.state("ready").is_empty());
    go(&service, 0);
    wait_until("it is ready", || is_ready(&service));
}

#[test]
fn a_datagram_to_the_socket() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let texts = ["READY=0", "READY=1\nSTATUS=at your service", "STATUS=tired\nSTOPPING=1"];
    let service = Service::new(&scratch, "web", &speaker(&texts)).file("notify-socket", "");
    let supervise = service.supervise();
    service.lines("starts", 1);
    go(&service, 0);
    assert!(service.state("ready").is_empty());
    go(&service, 1);
    wait_until("it is ready", || is_ready(&service) && service.state("status-text") == ["at your service"]);
    // The next supervise is heard under the same name.
    supervise.kill();
    let _next = service.supervise();
    assert_eq!(service.state("status-text"), ["at your service"]);
    go(&service, 2);
    wait_until("it is stopping", || {
        service.state("status-text") == ["tired"] && service.state("phase") == ["stopping"]
    });
}

/// Root could make it say so anyway; nobody could not.
#[test]
fn strangers_are_not_believed() {
    if !has("python3") {
        return;
    }
    if !is_root() {
        return skip("needs root");
    }
    let scratch = Scratch::new();
    let run = "echo $NOTIFY_SOCKET >socket; exec sleep 1000";
    let service = Service::new(&scratch, "web", run).file("notify-socket", "");
    let _supervise = service.supervise();
    let name = service.lines("socket", 1)[0].clone();
    let stranger = "import os, socket, sys; os.setuid(int(sys.argv[2])); \
                    speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); \
                    speak.sendto(b'READY=1', sys.argv[1].replace('@', chr(0), 1))";
    let say = |user: &str| scratch.outcome_of(scratch.command("python3").args(["-c", stranger, &name, user]));
    assert_eq!(say("65534"), prints(""));
    sleep(Duration::from_millis(200));
    assert!(service.state("ready").is_empty());
    assert_eq!(say("0"), prints(""));
    wait_until("it is ready", || is_ready(&service));
}

#[test]
fn a_check_that_succeeds() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "web", "echo >>starts; exec sleep 1000").script("check", "echo >>checks; test -e go0");
    let supervise = service.supervise();
    service.lines("checks", 3);
    assert!(service.state("ready").is_empty());
    supervise.kill();
    let _next = service.supervise();
    let before = service.says("checks").lines().count();
    service.lines("checks", before + 1);
    go(&service, 0);
    wait_until("it is ready", || is_ready(&service));
    assert_eq!(service.says("starts").lines().count(), 1);
}

#[test]
fn not_ready_in_time_it_is_started_again() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000")
        .file("notification-fd", "5")
        .file("timeout-up", "100")
        .file("restart-delay", "10");
    let _supervise = service.supervise();
    service.lines("starts", 3);
    assert!(service.state("death")[0].ends_with("signal 15"), "{:?}", service.state("death"));
}

#[test]
fn not_a_sign_of_life_and_it_is_started_again() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $WATCHDOG_USEC >>starts; ulimit -c 0; exec sleep 1000")
        .file("watchdog", "100ms")
        .file("restart-delay", "10");
    let _supervise = service.supervise();
    assert_eq!(service.lines("starts", 2)[0], "100000");
    let deaths = service.state("death");
    assert!(deaths[0].ends_with(" 6"), "{deaths:?}");
}

#[test]
fn signs_of_life_keep_it_alive() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let run = "exec python3 -c '\nimport os, socket, time\nname = os.environ[\"NOTIFY_SOCKET\"].replace(\"@\", chr(0), 1)\n\
               speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nopen(\"starts\", \"a\").write(chr(10))\n\
               for count in range(150):\n    speak.sendto(b\"WATCHDOG=1\", name); time.sleep(0.02)\n\
               open(\"done\", \"a\").write(chr(10))\nwhile True: time.sleep(1000)\n'";
    let service = Service::new(&scratch, "web", run).file("watchdog", "2s").file("down-signal", "KILL");
    let _supervise = service.supervise();
    service.lines("done", 1);
    assert_eq!(service.says("starts").lines().count(), 1);
    // Then it falls silent.
    service.lines("starts", 2);
}

/// Whoever has the name that a killed supervise listened under hears what is meant for the next; that is no reason to
/// kill the service again and again.
#[test]
fn a_socket_that_somebody_else_has_kills_nobody() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let run = "echo $NOTIFY_SOCKET >>starts; ulimit -c 0; exec sleep 1000";
    let service = Service::new(&scratch, "web", run).file("watchdog", "2s").file("timeout-up", "2s");
    let supervise = service.supervise();
    let name = service.lines("starts", 1)[0].clone();
    supervise.kill();
    let squat = "import socket, sys, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); \
                 s.bind(sys.argv[1].replace('@', chr(0), 1)); open('squatted', 'w'); time.sleep(1000)";
    let _squatter = Daemon::start(scratch.command("python3").args(["-c", squat, &name]), &scratch);
    wait_until("it has the name", || scratch.path().join("squatted").exists());
    let next = service.supervise();
    sleep(Duration::from_secs(3));
    assert_eq!(service.says("starts").lines().count(), 1);
    assert_eq!(next.errors(), "supervise: warning: unable to listen for web/notify-socket: address already used\n");
    // The next run speaks to a name that nobody could foretell.
    service.svc("-k");
    assert_ne!(service.lines("starts", 2)[1], name);
}

/// Nor is it left behind by a supervise that was killed.
#[test]
fn a_check_that_hangs_is_killed_and_tried_again() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000")
        .script("check", "echo $$ >>checks; test -e go0 || exec sleep 1000");
    let supervise = service.supervise();
    let first = service.lines("checks", 1)[0].parse().unwrap();
    supervise.kill();
    wait_until("it ended with its supervise", || !tests::is_alive(first));
    let _next = service.supervise();
    let second = service.lines("checks", 2)[1].parse().unwrap();
    go(&service, 0);
    wait_until("it is ready by another", || is_ready(&service));
    assert!(!tests::is_alive(second));
}

#[test]
fn another_process_of_the_service_may_become_it() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let run = "exec python3 -c '\nimport os, socket, time\nname = os.environ[\"NOTIFY_SOCKET\"].replace(\"@\", chr(0), 1)\n\
               speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nopen(\"starts\", \"a\").write(chr(10))\n\
               child = os.fork()\nif child == 0:\n    time.sleep(1000)\n\
               open(\"child\", \"w\").write(str(child) + chr(10))\nspeak.sendto(b\"MAINPID=%d\" % child, name)\n\
               while not os.path.exists(\"go0\"): time.sleep(0.01)\n'";
    let service = Service::new(&scratch, "web", run).file("notify-socket", "");
    let _supervise = service.supervise();
    let child: i32 = service.lines("child", 1)[0].parse().unwrap();
    service.wait_for("is the other process", |status| status.pid == child);
    // Its first process ends, which is nobody's business now.
    go(&service, 0);
    sleep(Duration::from_millis(1300));
    assert_eq!((service.status().pid, service.says("starts").lines().count()), (child, 1));
    service.svc("-t");
    service.lines("starts", 2);
    assert!(!tests::is_alive(child));
}

/// Whatever number supervise's own descriptors have.
#[test]
fn any_number_will_do() {
    for number in 3..=14 {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", &format!("echo >/proc/self/fd/{number}; exec sleep 1000"))
            .file("notification-fd", &number.to_string())
            .file("restart-delay", "10");
        let mut supervise = service.supervise();
        wait_until(&format!("it is ready by {number}"), || is_ready(&service));
        // What cannot be executed is told on another descriptor of the same process.
        let _service = Service::at(&scratch, "web").script("run", "").file("run", "#!/no/such/shell\n");
        service.svc("-k");
        wait_until(&format!("it is not executed with {number}"), || {
            service.state("death").last().is_some_and(|death| death.ends_with(" unstarted 79"))
        });
        service.svc("-dx");
        assert_eq!(supervise.wait(), 0);
    }
}
