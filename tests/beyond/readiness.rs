//! How a service says that it is ready and alive.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::thread::sleep;
use std::time::{Duration, Instant};
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

/// How many descriptors a process has open.
fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
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

/// Clients attach them with FDSTORE=1, or by mistake.
#[test]
fn a_datagram_with_descriptors_is_obeyed_and_they_are_closed() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let run = "exec python3 -c '\nimport array, os, socket, time\nname = os.environ[\"NOTIFY_SOCKET\"].replace(\"@\", chr(0), 1)\n\
               speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nreader, writer = os.pipe()\n\
               def say(text, count):\n    rights = array.array(\"i\", [writer] * count)\n    \
               speak.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], 0, name)\n\
               for count in 1, 2, 253: say(b\"FDSTORE=1\\nSTATUS=%d\" % count, count)\n\
               say(b\"FDSTORE=1\\nREADY=1\", 1)\nos.close(writer)\nos.read(reader, 1)\n\
               open(\"closed\", \"w\").write(chr(10))\ntime.sleep(1000)\n'";
    let service = Service::new(&scratch, "web", run).file("notify-socket", "");
    let supervise = service.supervise();
    wait_until("it is ready", || is_ready(&service));
    assert_eq!(service.state("status-text"), ["253"]);
    service.lines("closed", 1);
    assert_eq!(supervise.errors(), "");
}

/// Such a connection is closed only when its other end has read all, or after a minute.
#[test]
fn a_descriptor_that_takes_long_to_be_closed_does_not_hold_supervise_up() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let run = "exec python3 -c '\nimport array, os, socket, struct, time\nname = os.environ[\"NOTIFY_SOCKET\"].replace(\"@\", chr(0), 1)\n\
               speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nlisten = socket.socket()\n\
               listen.bind((\"127.0.0.1\", 0))\nlisten.listen()\nends = []\n\
               def say(text):\n    full = socket.create_connection(listen.getsockname())\n    ends.append(listen.accept())\n    \
               full.setblocking(False)\n    \
               try:\n        while True: full.send(bytes(65536))\n    except BlockingIOError: pass\n    \
               full.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(\"ii\", 1, 60))\n    \
               while not os.path.exists(\"go0\"): time.sleep(0.01)\n    \
               rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array(\"i\", [full.fileno()]))]\n    \
               speak.sendmsg([text], rights, 0, name)\n    os.close(full.detach())\n\
               for count in range(5): say(b\"STATUS=%d\" % count)\nsay(b\"READY=1\")\nopen(\"said\", \"w\").write(chr(10))\ntime.sleep(1000)\n'";
    let service = Service::new(&scratch, "web", run).file("notify-socket", "").file("down-signal", "KILL");
    let mut supervise = service.supervise();
    service.up();
    let before = descriptors(supervise.pid());
    let began = Instant::now();
    // So that supervise is the last one to close them.
    kill(Pid::from_raw(supervise.pid()), Signal::SIGSTOP).unwrap();
    go(&service, 0);
    service.lines("said", 1);
    kill(Pid::from_raw(supervise.pid()), Signal::SIGCONT).unwrap();
    wait_until("it is ready", || is_ready(&service));
    assert_eq!(service.state("status-text"), ["4"]);
    wait_until("no descriptor is kept", || descriptors(supervise.pid()) <= before);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// They are not believed, and shall not cost much either.
#[test]
fn a_flood_of_strangers_costs_little_and_leaves_room_for_the_service() {
    if !has("python3") {
        return;
    }
    if !is_root() {
        return skip("needs root");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &speaker(&["READY=1", "STATUS=heard"])).file("notify-socket", "");
    let run = fs::read_to_string(service.path("run")).unwrap();
    let _service = Service::at(&scratch, "web").script("run", &format!("echo $NOTIFY_SOCKET >socket\n{run}"));
    let _supervise = service.supervise();
    let name = service.lines("socket", 1)[0].clone();
    let flood = "import os, socket, sys\nname = sys.argv[1].replace('@', chr(0), 1)\nfile = open('flood', 'w')\n\
                 os.setuid(65534)\nspeak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nwhile True:\n    \
                 for _ in range(1000): speak.sendto(b'READY=1', name)\n    file.write(chr(10))\n    file.flush()";
    let _flood = Daemon::start(scratch.command("python3").args(["-c", flood, &name]), &scratch);
    let floods = || fs::read_to_string(scratch.path().join("flood")).unwrap_or_default().lines().count();
    wait_until("it has begun", || floods() > 0);
    let (before, began) = (floods(), Instant::now());
    wait_until("it goes on", || floods() > before);
    // As fast as they are read, they would cost supervise a processor.
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(service.state("ready").is_empty());
    for (number, is_heard) in
        [is_ready, |service: &Service| service.state("status-text") == ["heard"]].iter().enumerate()
    {
        go(&service, number);
        wait_until("the service is heard", || is_heard(&service));
    }
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
    let supervise = service.supervise();
    service.lines("starts", 3);
    assert!(service.state("death")[0].ends_with("signal 15"), "{:?}", service.state("death"));
    // However often it happens, it is said once, with what is to be changed.
    let late = |within: &str| {
        format!("supervise: warning: web: not ready within {within}: told to end; the limit is in web/timeout-up\n")
    };
    assert_eq!(supervise.errors(), late("100ms"));
    // Another limit is news.
    fs::write(service.path("timeout-up"), "150").unwrap();
    let said = late("100ms") + &late("150ms");
    wait_until("that is said", || supervise.errors() == said);
    service.lines("starts", service.says("starts").lines().count() + 2);
    assert_eq!(supervise.errors(), said);
    // Whoever starts it is told.
    service.svc("-u");
    let said = said + &late("150ms");
    wait_until("it is said again", || supervise.errors() == said);
}

#[test]
fn not_a_sign_of_life_and_it_is_started_again() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $WATCHDOG_USEC >>starts; ulimit -c 0; exec sleep 1000")
        .file("watchdog", "100ms")
        .file("restart-delay", "10");
    let supervise = service.supervise();
    assert_eq!(service.lines("starts", 3)[0], "100000");
    let deaths = service.state("death");
    assert!(deaths[0].ends_with(" 6"), "{deaths:?}");
    let words = "supervise: warning: web: no sign of life for 100ms: told to end; the limit is in web/watchdog\n";
    assert_eq!(supervise.errors(), words);
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

/// Somebody who takes a name as soon as it is free.
fn squatter(scratch: &Scratch, name: &str) -> Daemon {
    let squat = "import socket, sys, time\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nwhile True:\n    \
                 try: s.bind(sys.argv[1].replace('@', chr(0), 1)); break\n    \
                 except OSError: open('tried', 'w')\nopen('squatted', 'w'); time.sleep(1000)";
    let squatter = Daemon::start(scratch.command("python3").args(["-c", squat, name]), scratch);
    let tried = || ["tried", "squatted"].iter().any(|file| scratch.path().join(file).exists());
    wait_until("it tries to have the name", tried);
    squatter
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
    let _squatter = squatter(&scratch, &name);
    wait_until("it has the name", || scratch.path().join("squatted").exists());
    let next = service.supervise();
    sleep(Duration::from_secs(3));
    assert_eq!(service.says("starts").lines().count(), 1);
    assert_eq!(next.errors(), "supervise: warning: unable to listen for web/notify-socket: address already used\n");
    // The next run speaks to a name that nobody could foretell.
    service.svc("-k");
    assert_ne!(service.lines("starts", 2)[1], name);
}

/// Says WATCHDOG=1 every fiftieth of a second, and notes each time that it could not.
const LIVELY: &str = "echo $NOTIFY_SOCKET >>starts; ulimit -c 0; exec python3 -c '\nimport os, socket, time\n\
                      name = os.environ[\"NOTIFY_SOCKET\"].replace(\"@\", chr(0), 1)\n\
                      speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nwhile True:\n    \
                      try: speak.sendto(b\"WATCHDOG=1\\nSTATUS=\" + open(\"says\", \"rb\").read(), name)\n    \
                      except OSError: open(\"missed\", \"a\").write(chr(10))\n    time.sleep(0.02)\n'";

fn hears(service: &Service, words: &str) {
    fs::write(service.path("says"), words).unwrap();
    wait_until(&format!("it hears {words}"), || service.state("status-text") == [words]);
}

/// What a service has said while it could not be heard does not count against it.
#[test]
fn a_socket_that_is_removed_or_moved_is_made_again_and_kills_nobody() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", LIVELY).file("notify-socket", "path").file("watchdog", "2s");
    let supervise = service.supervise();
    hears(&service, "begun");
    fs::remove_file(service.path("supervise/notify-socket")).unwrap();
    hears(&service, "made again");
    // At once, as supervise goes on writing there.
    fs::rename(service.path("supervise"), scratch.path().join("removed")).unwrap();
    hears(&service, "all made again");
    assert_eq!(supervise.errors(), "supervise: warning: web/supervise/ was removed: made again\n");
    // Longer than the watchdog waits.
    fs::rename(service.path(""), scratch.path().join("elsewhere")).unwrap();
    sleep(Duration::from_secs(3));
    // Something else lies there now, which is none of ours.
    scratch.file("web/supervise/notify-socket", "another's");
    sleep(Duration::from_millis(1500));
    assert_eq!(fs::read_to_string(scratch.path().join("web/supervise/notify-socket")).unwrap(), "another's");
    fs::remove_dir_all(scratch.path().join("web")).unwrap();
    fs::rename(scratch.path().join("elsewhere"), scratch.path().join("web")).unwrap();
    hears(&service, "back");
    let words = "supervise: warning: unable to listen for web/supervise/notify-socket: file does not exist\n";
    assert_eq!(supervise.errors().matches(words).count(), 1, "{}", supervise.errors());
    assert_eq!(service.says("starts").lines().count(), 1);
    assert!(!service.says("missed").is_empty());
    // It is watched again.
    let pid = service.up();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    service.lines("starts", 2);
}

/// The next supervise knows which path its service was told, and not only which one it would be told now.
#[test]
fn a_socket_whose_path_does_not_lead_to_it_any_more_kills_nobody_after_a_kill_either() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", LIVELY).file("notify-socket", "path").file("watchdog", "2s");
    let supervise = service.supervise();
    hears(&service, "begun");
    supervise.kill();
    fs::rename(service.path(""), scratch.path().join("moved")).unwrap();
    let moved = Service::at(&scratch, "moved");
    let next = moved.supervise();
    sleep(Duration::from_secs(4));
    assert_eq!(moved.says("starts").lines().count(), 1);
    let words = "supervise: warning: unable to listen for moved/supervise/notify-socket: file does not exist\n";
    assert_eq!(next.errors(), words);
}

/// Nothing is lost for good by somebody who has the name for a while.
#[test]
fn a_name_that_somebody_else_had_is_taken_back() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", LIVELY).file("watchdog", "2s");
    let supervise = service.supervise();
    hears(&service, "begun");
    let name = service.lines("starts", 1)[0].clone();
    supervise.kill();
    let squatter = squatter(&scratch, &name);
    wait_until("it has the name", || scratch.path().join("squatted").exists());
    let next = service.supervise();
    wait_until("it is said", || next.errors().contains("address already used"));
    squatter.kill();
    hears(&service, "taken back");
    assert_eq!(service.says("starts").lines().count(), 1);
    // It is watched again.
    let pid = service.up();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    service.lines("starts", 2);
}

/// svscan keeps the socket, also across an upgrade and for the svscan after it, so that the name is never free.
#[test]
fn nobody_takes_a_name_when_supervise_is_killed_under_svscan() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "scan/web", LIVELY).file("watchdog", "2s");
    let mut svscan = Daemon::start(scratch.command("svscan").arg("scan"), &scratch);
    hears(&service, "begun");
    let name = service.lines("starts", 1)[0].clone();
    let _squatter = squatter(&scratch, &name);
    let kill_supervise = |words: &str| {
        let supervise = supervise_of(&service);
        kill(supervise, Signal::SIGKILL).unwrap();
        wait_until("there is another", || service.is_supervised() && supervise_of(&service) != supervise);
        hears(&service, words);
    };
    kill_supervise("after a kill");
    kill_supervise("after another");
    svscan.signal(Signal::SIGUSR2);
    wait_until("it is executed anew", || svscan.errors().contains("executed anew"));
    kill_supervise("after an upgrade");
    svscan.kill();
    svscan = Daemon::start(scratch.command("svscan").arg("scan"), &scratch);
    wait_until("svscan has found it", || svscan_has_pocket(svscan.pid()));
    kill_supervise("under the next svscan");
    assert!(!scratch.path().join("squatted").exists());
    assert_eq!(service.says("starts").lines().count(), 1);
    assert_eq!(svscan.errors(), "");
    // The next run speaks to another name, and the one before is free.
    service.svc("-k");
    assert_ne!(service.lines("starts", 2)[1], name);
    wait_until("the name is free", || scratch.path().join("squatted").exists());
}

fn supervise_of(service: &Service) -> Pid {
    let pid = service.state("supervise").first().and_then(|line| line.split(' ').next()?.parse().ok());
    Pid::from_raw(pid.unwrap_or(0))
}

/// What svscan keeps for a supervise is the only socket that it has.
fn svscan_has_pocket(pid: i32) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|to| to.to_string_lossy().starts_with("socket:"))
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

/// A service that has given up root's rights cannot have root's supervise take anything else for the service: its supervise
/// least of all, nor what else that runs, nor what those have left behind.
#[test]
fn no_process_of_anything_else_becomes_the_service() {
    if !has("python3") {
        return;
    }
    if !is_root() {
        return skip("whoever is no other can signal them anyway");
    }
    let scratch = Scratch::new();
    // Says what is in the files said0, said1 …; has left a process behind that went into the background.
    let run = "exec python3 -c '\nimport os, socket, time\nname = os.environ[\"NOTIFY_SOCKET\"].replace(\"@\", chr(0), 1)\n\
               child = os.fork()\nif child == 0:\n    if os.fork(): os._exit(0)\n    \
               open(\"daemon\", \"w\").write(\"%d\\n\" % os.getpid())\n    os.setuid(65534)\n    time.sleep(1000)\n\
               os.waitpid(child, 0)\nos.setuid(65534)\n\
               speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nnumber = 0\nwhile True:\n    \
               try: text = open(\"said%d\" % number).read()\n    except OSError: time.sleep(0.01); continue\n    \
               speak.sendto(text.encode(), name); number += 1\n'";
    let leaves = |what: &str| format!("echo $$ >{what}.pid; sleep 1000 & echo $! >{what}.child; wait");
    let service = Service::new(&scratch, "web", run)
        .file("notify-socket", "")
        .script("check", &leaves("check"))
        .script("log", &leaves("log"))
        .script(
            "notify",
            "[ \"$1\" = run ] && (setsid sleep 1000 & echo $! >orphan) && echo $$ >note && exec sleep 1000",
        );
    let supervise = service.supervise();
    let number = |file: &str| service.lines(file, 1)[0].parse::<i32>().unwrap();
    let strangers = ["check.pid", "check.child", "log.pid", "log.child", "note", "orphan"].map(&number);
    let daemon = number("daemon");
    let pid = service.up();
    let mut said = 0;
    let mut becomes = |pid: i32| {
        let text = format!("MAINPID={pid}\nSTATUS=heard {said}");
        scratch.file("web/said.new", text);
        fs::rename(service.path("said.new"), service.path(&format!("said{said}"))).unwrap();
        wait_until("it is heard", || service.state("status-text") == [format!("heard {said}")]);
        said += 1;
        service.status().pid
    };
    for stranger in [supervise.pid(), 1, std::process::id() as i32].into_iter().chain(strangers) {
        assert_eq!(becomes(stranger), pid, "MAINPID={stranger}");
    }
    assert_eq!(becomes(daemon), daemon);
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

/// Names in the kernel's own space are not seen from there.
#[test]
fn a_service_in_another_network_namespace_is_heard_by_a_path_and_told_of_it_otherwise() {
    if !has("python3") || !has("unshare") {
        return;
    }
    if !is_root() {
        return skip("only root makes network namespaces");
    }
    let scratch = Scratch::new();
    let run = speaker(&["READY=1"]).replacen("exec ", "exec unshare --net ", 1);
    let web = Service::new(&scratch, "web", &run).file("notify-socket", "");
    let supervise = web.supervise();
    let words = "supervise: warning: web: is in another network namespace, where its NOTIFY_SOCKET cannot be reached: \
                 write \"path\" into web/notify-socket\n";
    wait_until("it is said", || supervise.errors() == words);
    // Once, and not by one that can be reached.
    web.svc("-k");
    web.lines("starts", 2);
    let near = Service::new(&scratch, "near", &speaker(&["READY=1"])).file("notify-socket", "");
    let second = near.supervise();
    near.lines("starts", 1);
    fs::write(web.path("notify-socket"), "path\n").unwrap();
    web.svc("-k");
    web.lines("starts", 3);
    go(&web, 0);
    wait_until("it is ready", || is_ready(&web));
    sleep(Duration::from_millis(1200));
    assert_eq!(supervise.errors(), words);
    assert_eq!(second.errors(), "");
    go(&near, 0);
    wait_until("the other one is ready", || is_ready(&near));
}

#[test]
fn a_socket_with_a_path_is_taken_over_by_the_next_supervise_and_its_directory_says_who_reaches_it() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", &speaker(&["READY=1", "STATUS=still heard"])).file("notify-socket", "path");
    let supervise = web.supervise();
    web.lines("starts", 1);
    supervise.kill();
    let next = web.supervise();
    go(&web, 0);
    wait_until("it is ready", || is_ready(&web));
    go(&web, 1);
    wait_until("it is heard", || web.state("status-text") == ["still heard"]);
    assert_eq!(next.errors(), "");
    if !is_root() {
        return skip("needs root");
    }
    let stranger = "import os, socket, sys; os.setuid(65534); \
                    speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); speak.sendto(b'STATUS=x', sys.argv[1])";
    let socket = web.path("supervise/notify-socket");
    let say = || scratch.outcome_of(scratch.command("python3").args(["-c", stranger]).arg(&socket)).code;
    assert_ne!(say(), 0, "supervise/ is its owner's alone");
    scratch.mode("web/supervise", 0o711);
    assert_eq!(say(), 0, "whoever may search supervise/ reaches it");
    // He is no process of the service and not of its account, so he is not believed.
    go(&web, 1);
    sleep(Duration::from_millis(200));
    assert_eq!(web.state("status-text"), ["still heard"]);
}

/// Or it would be killed again and again without a word.
#[test]
fn a_watchdog_that_cannot_be_reached_is_said() {
    if !has("unshare") {
        return;
    }
    if !is_root() {
        return skip("only root makes network namespaces");
    }
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", "exec unshare --net sleep 1000").file("watchdog", "2s");
    let supervise = web.supervise();
    wait_until("it is said", || supervise.errors().contains("is in another network namespace"));
}

/// Where there can be none it is said, once, and the service is heard by a name.
#[test]
fn a_socket_that_cannot_have_a_path_has_a_name() {
    if !has("python3") {
        return;
    }
    let long = format!("{}/web", "x".repeat(100));
    for (name, spoilt, reason) in [(long.as_str(), false, "file name too long"), ("web", true, "address already used")]
    {
        let scratch = Scratch::new();
        let web = Service::new(&scratch, name, &speaker(&["READY=1"])).file("notify-socket", "path");
        if spoilt {
            scratch.file(format!("{name}/supervise/notify-socket/in/the/way"), "");
        }
        let supervise = web.supervise();
        web.lines("starts", 1);
        web.svc("-k");
        web.lines("starts", 2);
        go(&web, 0);
        wait_until("it is ready", || is_ready(&web));
        let words = format!("supervise: warning: unable to listen for {name}/supervise/notify-socket: {reason}\n");
        assert_eq!(supervise.errors(), words);
    }
}

/// It is where `$SUPERVISEDIR` says, and that may be on another disk than the service.
#[test]
fn a_socket_with_a_path_lies_where_supervise_does() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", &speaker(&["READY=1"])).file("notify-socket", "path");
    let place = scratch.path().join("place");
    let _supervise = Daemon::start(scratch.command("supervise").arg("web").env("SUPERVISEDIR", &place), &scratch);
    web.lines("starts", 1);
    go(&web, 0);
    let state = || {
        let folders = fs::read_dir(&place).into_iter().flatten().flatten();
        folders.filter_map(|folder| fs::read_to_string(folder.path().join("state")).ok()).collect::<String>()
    };
    wait_until("it is ready", || state().contains("\nready "));
    let folder = fs::read_dir(&place).unwrap().next().unwrap().unwrap().path();
    assert!(fs::symlink_metadata(folder.join("notify-socket")).unwrap().file_type().is_socket());
    assert!(!web.path("supervise").exists());
}
