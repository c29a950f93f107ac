//! How a service reports that it is ready and alive.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::{Daemon, Scratch, Service, has, is_root, prints, skip, wait_until};

/// A program that sends a datagram with each of these texts to $NOTIFY_SOCKET when a file of that number appears.
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

/// The number of open descriptors of a process.
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
    // The next supervise receives what the service sends.
    supervise.kill();
    go(&service, 0);
    let _next = service.supervise();
    wait_until("it is ready", || is_ready(&service));
    // Each `run` must report its readiness anew.
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
    // The next supervise receives datagrams under the same name.
    supervise.kill();
    let _next = service.supervise();
    assert_eq!(service.state("status-text"), ["at your service"]);
    go(&service, 2);
    wait_until("it is stopping", || {
        service.state("status-text") == ["tired"] && service.state("phase") == ["stopping"]
    });
}

/// Clients attach descriptors with FDSTORE=1, or by mistake.
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

/// Such a connection is closed only when its other end has read everything, or after a minute.
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
    // supervise then holds the last descriptors, and its closing of them takes long.
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

/// Datagrams of strangers are not believed. They must not cost much time either.
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
    // If supervise read them as fast as they come, it would use a whole processor.
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(service.state("ready").is_empty());
    for (number, is_heard) in
        [is_ready, |service: &Service| service.state("status-text") == ["heard"]].iter().enumerate()
    {
        go(&service, number);
        wait_until("the service is heard", || is_heard(&service));
    }
}

/// Root could make supervise believe anything by other means, but the account nobody could not.
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

/// Any account can make a set-uid program of root's repeat its words, on a standard error that is connected to supervise.
#[test]
fn what_another_account_makes_a_set_uid_program_say_is_not_believed() {
    if !has("python3") || !has("setpriv") {
        return;
    }
    if !is_root() {
        return skip("needs root");
    }
    // The program ends only after supervise has looked for it. The service of the account 1 does not believe root at all.
    for run in ["exec sleep 1000", "exec setpriv --reuid=1 --regid=1 --clear-groups sleep 1000"] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", &format!("echo $NOTIFY_SOCKET >socket; {run}"));
        let service = service.file("notify-socket", "");
        let _supervise = service.supervise();
        let name = service.lines("socket", 1)[0].clone();
        let python = fs::canonicalize("/usr/bin/python3").unwrap_or_default();
        if !python.is_file() {
            return skip("python3 is elsewhere");
        }
        scratch.copy_program(python, "set-uid");
        scratch.mode("set-uid", 0o4755);
        let program = "import os, time; os.setuid(0); os.write(2, b'STATUS=of another account'); \
                       open('said', 'w'); time.sleep(1000)";
        let stranger = "import os, socket, sys; os.setgid(65534); os.setuid(65534); \
                        speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); \
                        speak.connect(sys.argv[1].replace('@', chr(0), 1)); os.dup2(speak.fileno(), 2); \
                        os.execv('set-uid', ['set-uid', '-E', '-S', '-c', sys.argv[2]])";
        let mut stranger = Daemon::start(scratch.command("python3").args(["-c", stranger, &name, program]), &scratch);
        let has_said = || scratch.path().join("said").exists();
        wait_until("it has said so, or cannot", || has_said() || stranger.has_ended());
        if !has_said() {
            return skip("no set-uid program runs here");
        }
        // What is said last is read last.
        let last = "import socket, sys; speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); \
                    speak.sendto(b'STATUS=of the service', sys.argv[1].replace('@', chr(0), 1))";
        let account = if run.contains("setpriv") { "1" } else { "0" };
        let mut say = scratch.command("setpriv");
        say.args(["--reuid", account, "--regid", account, "--clear-groups", "python3", "-c", last, &name]);
        let before = service.state("status-text");
        assert_eq!(scratch.outcome_of(&mut say), prints(""));
        wait_until("the service's account is heard", || service.state("status-text") == ["of the service"]);
        assert!(before.is_empty(), "{run}: {before:?}");
    }
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
    assert!(service.state("death")[0].contains("signal 15"), "{:?}", service.state("death"));
    // supervise writes one message with the setting to change, however often this happens.
    let late = |within: &str| {
        format!("supervise: warning: web: not ready within {within}: told to end; the limit is in web/timeout-up\n")
    };
    assert_eq!(supervise.errors(), late("100ms"));
    // A new limit is worth a new message.
    fs::write(service.path("timeout-up"), "150").unwrap();
    let said = late("100ms") + &late("150ms");
    wait_until("that is said", || supervise.errors() == said);
    service.lines("starts", service.says("starts").lines().count() + 2);
    assert_eq!(supervise.errors(), said);
    // A user who starts the service gets the message again.
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
    // After that, the service sends nothing more.
    service.lines("starts", 2);
}

/// A program of another account that takes a name as soon as it is free.
fn squatter(scratch: &Scratch, name: &str) -> Daemon {
    let squat = "import socket, sys, time\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nwhile True:\n    \
                 try: s.bind(sys.argv[1].replace('@', chr(0), 1)); break\n    \
                 except OSError: open('tried', 'w')\nopen('squatted', 'w'); time.sleep(1000)";
    let squatter = Daemon::start(scratch.command("python3").args(["-c", squat, name]), scratch);
    let tried = || ["tried", "squatted"].iter().any(|file| scratch.path().join(file).exists());
    wait_until("it tries to have the name", tried);
    squatter
}

/// A program that takes the name of a killed supervise's socket receives the datagrams for the next supervise. That is
/// no reason to kill the service again and again.
#[test]
fn a_socket_that_another_process_has_kills_no_service() {
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
    // The next `run` sends to a name that no other program could predict.
    service.svc("-k");
    assert_ne!(service.lines("starts", 2)[1], name);
}

/// A service that sends WATCHDOG=1 every fiftieth of a second, and counts each time that this failed.
const LIVELY: &str = "echo $NOTIFY_SOCKET >>starts; ulimit -c 0; exec python3 -c '\nimport os, socket, time\n\
                      name = os.environ[\"NOTIFY_SOCKET\"].replace(\"@\", chr(0), 1)\n\
                      speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nwhile True:\n    \
                      try: speak.sendto(b\"WATCHDOG=1\\nSTATUS=\" + open(\"says\", \"rb\").read(), name)\n    \
                      except OSError: open(\"missed\", \"a\").write(chr(10))\n    time.sleep(0.02)\n'";

fn hears(service: &Service, words: &str) {
    fs::write(service.path("says"), words).unwrap();
    wait_until(&format!("it hears {words}"), || service.state("status-text") == [words]);
}

/// A lively service that is killed if supervise does not hear from it for two seconds.
fn lively<'a>(scratch: &'a Scratch, name: &str) -> Service<'a> {
    Service::new(scratch, name, LIVELY).file("watchdog", "2s")
}

/// Starts the supervise of a lively service, and waits until it hears from the service.
fn begun(service: &Service) -> Daemon {
    let supervise = service.supervise();
    hears(service, "begun");
    supervise
}

/// Checks that supervise restarts a lively service which falls silent, for the first time.
fn is_watched(service: &Service) {
    let pid = service.up();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    service.lines("starts", 2);
}

/// While a service cannot reach supervise, the watchdog does not count against it.
#[test]
fn a_socket_that_is_removed_or_moved_is_made_again_and_kills_no_service() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let service = lively(&scratch, "web").file("notify-socket", "path");
    let supervise = begun(&service);
    fs::remove_file(service.path("supervise/notify-socket")).unwrap();
    hears(&service, "made again");
    // The directory is taken away in one step. While it were removed file by file, supervise would write new ones.
    fs::rename(service.path("supervise"), scratch.path().join("removed")).unwrap();
    hears(&service, "all made again");
    assert_eq!(supervise.errors(), "supervise: warning: web/supervise/ was removed: made again\n");
    // The socket is away for longer than the watchdog waits.
    fs::rename(service.path(""), scratch.path().join("elsewhere")).unwrap();
    sleep(Duration::from_secs(3));
    // Now a file of another program has the name, and supervise leaves it alone.
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
    is_watched(&service);
}

/// The next supervise knows which path its service uses, not only the path that it would choose now.
#[test]
fn a_socket_whose_path_does_not_lead_to_it_any_more_kills_no_service_after_a_kill_either() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let service = lively(&scratch, "web").file("notify-socket", "path");
    let supervise = begun(&service);
    supervise.kill();
    fs::rename(service.path(""), scratch.path().join("moved")).unwrap();
    let moved = Service::at(&scratch, "moved");
    let next = moved.supervise();
    sleep(Duration::from_secs(4));
    assert_eq!(moved.says("starts").lines().count(), 1);
    let words = "supervise: warning: unable to listen for moved/supervise/notify-socket: file does not exist\n";
    assert_eq!(next.errors(), words);
}

/// When another program has had the name for a while, supervise takes it back.
#[test]
fn a_name_that_another_process_had_is_taken_back() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let service = lively(&scratch, "web");
    let supervise = begun(&service);
    let name = service.lines("starts", 1)[0].clone();
    supervise.kill();
    let squatter = squatter(&scratch, &name);
    wait_until("it has the name", || scratch.path().join("squatted").exists());
    let next = service.supervise();
    wait_until("it is said", || next.errors().contains("address already used"));
    squatter.kill();
    hears(&service, "taken back");
    assert_eq!(service.says("starts").lines().count(), 1);
    is_watched(&service);
}

/// svscan keeps the socket, also across an upgrade and for the svscan after that, so the name is never free.
#[test]
fn no_process_can_take_the_name_when_supervise_is_killed_under_svscan() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let service = lively(&scratch, "scan/web");
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
    assert_eq!(svscan.complaints(), "");
    // The next `run` sends to another name, and the old name is free.
    service.svc("-k");
    assert_ne!(service.lines("starts", 2)[1], name);
    wait_until("the name is free", || scratch.path().join("squatted").exists());
}

fn supervise_of(service: &Service) -> Pid {
    let pid = service.state("supervise").first().and_then(|line| line.split(' ').next()?.parse().ok());
    Pid::from_raw(pid.unwrap_or(0))
}

/// Whether svscan has a pocket. The pockets that it keeps for supervises are its only sockets for datagrams.
fn svscan_has_pocket(pid: i32) -> bool {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    let words = sockets.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let of_datagrams: Vec<String> =
        words.filter(|words| words.get(4) == Some(&"0002")).map(|words| format!("socket:[{}]", words[6])).collect();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut links = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok());
    links.any(|to| of_datagrams.iter().any(|socket| to.as_os_str() == socket.as_str()))
}

/// A supervise that is killed does not leave the check running either.
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
    // The first process ends. Its end no longer matters to supervise.
    go(&service, 0);
    sleep(Duration::from_millis(1300));
    assert_eq!((service.status().pid, service.says("starts").lines().count()), (child, 1));
    service.svc("-t");
    service.lines("starts", 2);
    assert!(!tests::is_alive(child));
}

/// A service that has dropped root's rights must not make root's supervise take another process for the service: not
/// supervise itself, no other running process, and no process that these have left behind.
#[test]
fn no_process_of_anything_else_becomes_the_service() {
    if !has("python3") {
        return;
    }
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    // A service that sends the contents of the files said0, said1 and so on. It has also left a process behind, as a
    // program that goes into the background does.
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

/// The setting may name any number, even one that supervise itself uses.
#[test]
fn any_number_will_do() {
    for number in 3..=14 {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", &format!("echo >/proc/self/fd/{number}; exec sleep 1000"))
            .file("notification-fd", &number.to_string())
            .file("restart-delay", "10");
        let mut supervise = service.supervise();
        wait_until(&format!("it is ready by {number}"), || is_ready(&service));
        // If the program cannot be executed, the child reports that over another descriptor.
        let _service = Service::at(&scratch, "web").script("run", "").file("run", "#!/no/such/shell\n");
        service.svc("-k");
        wait_until(&format!("it is not executed with {number}"), || {
            service.state("death").last().is_some_and(|death| death.ends_with(" unstarted 79"))
        });
        service.svc("-dx");
        assert_eq!(supervise.wait(), 0);
    }
}

/// A service there cannot reach names in the abstract namespace.
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
    // supervise writes the message once, and not for a service that can be reached.
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
fn a_socket_with_a_path_is_taken_over_by_the_next_supervise_and_its_directory_limits_who_reaches_it() {
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
    assert_ne!(say(), 0, "only the owner may enter supervise/");
    scratch.mode("web/supervise", 0o711);
    assert_eq!(say(), 0, "every account that may search supervise/ reaches the socket");
    // This sender is neither a process of the service nor of its account, so it is not believed.
    go(&web, 1);
    sleep(Duration::from_millis(200));
    assert_eq!(web.state("status-text"), ["still heard"]);
}

/// Without this message the service would be killed again and again without a reason.
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

/// If the socket cannot have a path, supervise says so once, and the service uses a name.
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

/// The socket lies where `$SUPERVISEDIR` says, which may be on another disk than the service.
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
