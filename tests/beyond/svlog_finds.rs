//! Which log svlog shows for a service, and which logs it must not show instead.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{PipeWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tests::{Daemon, Multilog, Outcome, Scratch, Service, fails, has, is_root, parent_of, prints, skip, wait_until};

/// A service `web` whose logger writes to `far`, while `log/main` has an older log. The words start its supervise.
struct Web<'a> {
    scratch: &'a Scratch,
    log: Service<'a>,
    supervise: Daemon,
    /// The pipe to the logger, into which the test writes as the service.
    says: PipeWriter,
}

impl<'a> Web<'a> {
    fn start(scratch: &'a Scratch, run: &str, words: &[&str]) -> Web<'a> {
        scratch.file("web/log/main/lock", "");
        scratch.file("web/log/main/current", "older\n");
        let log = Service::new(scratch, "web/log", run);
        let (reader, says) = std::io::pipe().unwrap();
        let mut command = scratch.command(words[0]);
        let supervise = Daemon::start(command.args(&words[1..]).arg("web/log").stdin(reader), scratch);
        Web { scratch, log, supervise, says }
    }

    /// Writes a line, and waits until it is in `far`.
    fn logs(&mut self, line: &str) {
        self.says.write_all(line.as_bytes()).unwrap();
        wait_until("it is logged", || {
            fs::read(self.scratch.path().join("far/current")).is_ok_and(|log| log == line.as_bytes())
        });
    }

    /// Kills all processes. The files still describe them.
    fn kill_all(self) -> (Service<'a>, i32) {
        let pid = self.log.status().pid;
        self.supervise.kill();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        wait_until("the logger is gone", || !Path::new(&format!("/proc/{pid}")).exists());
        (self.log, pid)
    }
}

fn logger(scratch: &Scratch) -> String {
    format!("exec multilog {}/far", scratch.path().display())
}

/// svlog's outcome if it shows the older log, with this warning.
fn older(warning: &str) -> Outcome {
    let stderr = format!("svlog: warning: web: {warning}: showing web/log/main");
    let doubt = if warning.ends_with("has ended") { "\n" } else { ", which may be another log\n" };
    Outcome { code: 0, stdout: "older\n".into(), stderr: stderr + doubt }
}

/// Replaces the process number in the status and, if there is one, in the state.
fn renumber(log: &Service, from: i32, to: i32) {
    let mut status = fs::read(log.path("supervise/status")).unwrap();
    status[12..16].copy_from_slice(&to.to_le_bytes());
    fs::write(log.path("supervise/status"), status).unwrap();
    let state = log.says("supervise/state").replace(&format!("\npid {from}\n"), &format!("\npid {to}\n"));
    fs::write(log.path("supervise/state"), state).unwrap();
}

#[test]
fn a_logger_that_has_ended_is_not_looked_for_in_a_process_that_has_its_number() {
    let scratch = Scratch::new();
    let mut web = Web::start(&scratch, &logger(&scratch), &["supervise"]);
    web.logs("newer\n");
    assert_eq!(scratch.run("svlog web"), prints("newer\n"));
    let (log, pid) = web.kill_all();
    assert_eq!(scratch.run("svlog web"), older(&format!("its logger, process {pid}, has ended")));

    let mut stranger = Multilog::start(&scratch, "./secret");
    stranger.feed("secret\n");
    wait_until("the stranger logs", || {
        fs::read(scratch.path().join("secret/current")).is_ok_and(|log| log == b"secret\n")
    });
    renumber(&log, pid, stranger.pid());
    assert_eq!(scratch.run("svlog web"), older(&format!("its logger, process {}, has ended", stranger.pid())));
    // The original's supervise leaves the files like this.
    fs::remove_file(log.path("supervise/state")).unwrap();
    let unproven = format!("process {} is not proven to be its logger", stranger.pid());
    assert_eq!(scratch.run("svlog web"), older(&unproven));
    fs::remove_dir_all(log.path("main")).unwrap();
    fs::remove_file(log.path("run")).unwrap();
    assert_eq!(
        scratch.run("svlog web"),
        fails(111, &format!("svlog: fatal: unable to find a log in web: {unproven}\n"))
    );
}

/// The original's supervise writes no state.
#[test]
fn a_process_without_proof_that_writes_where_the_files_say_is_the_logger() {
    let scratch = Scratch::new();
    let web = Web::start(&scratch, "exec multilog ./main", &["supervise"]);
    let log = || scratch.run("svlog web");
    { &web.says }.write_all(b"newer\n").unwrap();
    wait_until("it is logged", || log() == prints("older\nnewer\n"));
    fs::remove_file(web.log.path("supervise/state")).unwrap();
    assert_eq!(log(), prints("older\nnewer\n"));
}

#[test]
fn the_copy_of_a_service_does_not_show_the_log_of_the_original() {
    let scratch = Scratch::new();
    let mut web = Web::start(&scratch, &logger(&scratch), &["supervise"]);
    web.logs("newer\n");
    assert_eq!(scratch.shell("mv web original && cp -a original web"), prints(""));
    assert_eq!(scratch.run("svlog original"), prints("newer\n"));
    let pid = Service::at(&scratch, "original/log").status().pid;
    assert_eq!(scratch.run("svlog web"), older(&format!("process {pid} is not proven to be its logger")));
}

/// The owner of `supervise/` could name any process there, such as another logger of root's.
#[test]
fn a_process_that_others_may_have_written_down_must_prove_itself() {
    if !is_root() {
        return skip("a file of another account needs root, to give it away");
    }
    for is_known in [true, false] {
        let scratch = Scratch::new();
        let give = |name: &str| std::os::unix::fs::chown(scratch.path().join("web/log").join(name), Some(12345), None);
        scratch.dir("web/log/supervise");
        if is_known {
            // In this case supervise gives the service's processes a mark.
            give("supervise").unwrap();
        }
        let mut web = Web::start(&scratch, &logger(&scratch), &["supervise"]);
        web.logs("newer\n");
        give("supervise").unwrap();
        let pid = web.log.up();
        let unproven = format!("process {pid} is not proven to be its logger");
        let expected = || if is_known { prints("newer\n") } else { older(&unproven) };
        assert_eq!(scratch.run("svlog web"), expected());
        give("supervise/state").unwrap();
        assert_eq!(scratch.run("svlog web"), expected());
    }
}

/// Makes a log `far`, and a logger that writes to another file system at the same path in a mount namespace of its own.
/// Returns the path and the logger's `run`.
fn mounted_over(scratch: &Scratch) -> (String, String) {
    scratch.file("far/current", "a stranger's\n");
    scratch.file("far/lock", "");
    let far = scratch.path().join("far").display().to_string();
    let run = format!("exec unshare -m sh -c 'mount -t tmpfs none {far} && exec multilog {far}'");
    (far, run)
}

/// In the logger's mount namespace another log has the same path.
#[test]
fn what_the_path_of_a_logger_in_another_mount_namespace_leads_to_is_not_shown() {
    if !is_root() {
        return skip("a mount namespace needs root");
    }
    if !has("unshare") || !has("nsenter") {
        return;
    }
    let scratch = Scratch::new();
    let (far, run) = mounted_over(&scratch);
    let mut web = Web::start(&scratch, &run, &["supervise"]);
    web.says.write_all(b"newer\n").unwrap();
    let pid = web.log.up();
    let inside = |what: &str| scratch.shell(&format!("nsenter -t {pid} -m {what}"));
    wait_until("it is logged", || inside(&format!("cat {far}/current")) == prints("newer\n"));
    let directory = scratch.path().join("web").display().to_string();
    let programs = scratch.programs().display().to_string();
    assert_eq!(inside(&format!("{programs}/svlog {directory}")), prints("newer\n"));
    let away = format!("its logger, process {pid}, writes to {far} of another mount namespace, or below a mount");
    assert_eq!(scratch.run("svlog web"), older(&away));
    fs::remove_dir_all(web.log.path("main")).unwrap();
    assert_eq!(scratch.run("svlog web"), fails(111, &format!("svlog: fatal: unable to find a log in web: {away}\n")));
}

#[test]
fn what_was_mounted_over_the_log_of_a_logger_is_not_shown() {
    if !is_root() {
        return skip("a mount needs root");
    }
    if !has("unshare") {
        return;
    }
    let scratch = Scratch::new();
    let mut web = Web::start(&scratch, &logger(&scratch), &["supervise"]);
    web.logs("newer\n");
    let mount = "mount -t tmpfs none far && echo 'a stranger' >far/current && : >far/lock";
    let seen = scratch.shell(&format!("unshare -m sh -c \"{mount} && svlog web\""));
    let far = scratch.path().join("far").display().to_string();
    let pid = web.log.status().pid;
    let away = format!("its logger, process {pid}, writes to {far} of another mount namespace, or below a mount");
    assert_eq!(seen, older(&away));
    assert_eq!(scratch.run("svlog web"), prints("newer\n"));
}

/// The logger's number belongs to its container. Outside, another process may have the number, and paths may lead to
/// other logs.
#[test]
fn the_log_of_a_container_is_not_looked_for_in_a_process_outside() {
    if !is_root() {
        return skip("a pid namespace needs root");
    }
    if !has("unshare") || !has("nsenter") {
        return;
    }
    let scratch = Scratch::new();
    let words = ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "supervise"];
    let mut web = Web::start(&scratch, &logger(&scratch), &words);
    web.logs("newer\n");
    let pid = web.log.up();
    let elsewhere = format!("its logger is process {pid} of another pid namespace");
    assert_eq!(scratch.run("svlog web"), older(&elsewhere));
    // An absolute path in `run` belongs to the container too.
    fs::remove_dir_all(web.log.path("main")).unwrap();
    let nothing = fails(111, &format!("svlog: fatal: unable to find a log in web: {elsewhere}\n"));
    assert_eq!(scratch.run("svlog web"), nothing);
    let inside =
        tests::processes_in(scratch.path()).into_iter().find(|pid| parent_of(*pid) == Some(web.supervise.pid()));
    let inside = inside.expect("the supervise in the container");
    let seen =
        scratch.shell(&format!("nsenter -t {inside} -m -p sh -c 'cd {} && svlog web'", scratch.path().display()));
    assert_eq!(seen, prints("newer\n"));
}

/// A service that is not supervised any more. Its log is `main`, and its `run` names `elsewhere`.
fn closed(scratch: &Scratch) {
    scratch.file("web/log/supervise/status", [0; 20]);
    scratch.file("web/log/main/current", "a line\n");
    scratch.file("web/log/env/SECRET", "");
    scratch.file("web/log/run", "#!/bin/sh\nexec multilog ./elsewhere\n");
}

#[test]
fn what_may_not_be_looked_at_is_said_to_be_denied() {
    let scratch = Scratch::new();
    let svlog = || scratch.outcome_of(scratch.as_nobody("svlog").arg("web"));
    for (change, directory, words) in [
        (":", "web/log/main", "directory web/log/main"),
        (":", "web/log", "directory web/log"),
        (":", "web", "directory web"),
        ("mv web/log/main web/log/elsewhere", "web/log/elsewhere", "directory web/log/./elsewhere"),
        ("rm -r web/log/main", "web/log/env", "directory web/log/env"),
        ("rm -r web/log/main", "web/log/run", "web/log/run"),
        ("rm -r web/log/main", "web/log/supervise", "web/log/supervise/status"),
        ("rm -r web/log/main; chmod 0 web/log/env", "web/log/supervise", "web/log/supervise/status"),
    ] {
        closed(&scratch);
        assert_eq!(scratch.shell(change), prints(""));
        scratch.mode(directory, 0);
        let denied = fails(111, &format!("svlog: fatal: unable to open {words}: access denied\n"));
        assert_eq!(svlog(), denied, "{change}; chmod 0 {directory}");
        assert_eq!(scratch.shell("chmod 755 web web/log; chmod -R u+rwx web; rm -r web"), prints(""));
    }
    closed(&scratch);
    assert_eq!(svlog(), prints("a line\n"));
}

#[test]
fn what_a_logger_of_another_account_writes_to_may_be_another_log() {
    if !is_root() {
        return skip("a logger of another account needs root");
    }
    let scratch = Scratch::new();
    let mut web = Web::start(&scratch, &logger(&scratch), &["supervise"]);
    web.logs("newer\n");
    web.log.up();
    fs::set_permissions(web.log.path("supervise"), fs::Permissions::from_mode(0o755)).unwrap();
    let pid = web.log.status().pid;
    let svlog: &mut Command = &mut scratch.as_nobody("svlog");
    let unseen = format!("what its logger, process {pid}, writes to cannot be seen: access denied");
    assert_eq!(scratch.outcome_of(svlog.arg("web")), older(&unseen));
}

/// A logger whose script does not tell svlog its directory.
fn hidden(scratch: &Scratch) -> String {
    format!("D={}/far\nexec multilog $D", scratch.path().display())
}

fn unknown(status: &str, reason: &str) -> String {
    format!("nothing is known of its logger: unable to open {status}: {reason}")
}

#[test]
fn what_the_files_name_may_be_another_log_where_the_status_may_not_be_read() {
    if !is_root() {
        return skip("a supervise of another account needs root");
    }
    let scratch = Scratch::new();
    let mut web = Web::start(&scratch, &hidden(&scratch), &["supervise"]);
    web.logs("newer\n");
    assert_eq!(scratch.run("svlog web"), prints("newer\n"));
    let as_nobody = |log: &str| scratch.outcome_of(scratch.as_nobody("svlog").args(["-n1", log]));
    assert_eq!(as_nobody("web"), older(&unknown("web/log/supervise/status", "access denied")));
    // A directory that the user names is shown.
    assert_eq!(as_nobody("web/log/main"), prints("older\n"));
    fs::remove_dir_all(web.log.path("main")).unwrap();
    assert_eq!(as_nobody("web"), fails(111, "svlog: fatal: unable to open web/log/supervise/status: access denied\n"));
}

/// A user who may not read the status cannot know whether the logger is in another mount namespace.
#[test]
fn the_directory_that_a_script_names_may_be_another_log_where_the_status_may_not_be_read() {
    if !is_root() {
        return skip("a mount namespace needs root");
    }
    if !has("unshare") {
        return;
    }
    let scratch = Scratch::new();
    let (far, run) = mounted_over(&scratch);
    let web = Web::start(&scratch, &run, &["supervise"]);
    web.log.up();
    fs::remove_dir_all(web.log.path("main")).unwrap();
    let why = unknown("web/log/supervise/status", "access denied");
    let stderr = format!("svlog: warning: web: {why}: showing {far}, which may be another log\n");
    let seen = scratch.outcome_of(scratch.as_nobody("svlog").arg("web"));
    assert_eq!(seen, Outcome { code: 0, stdout: "a stranger's\n".into(), stderr });
}

/// The user does not have svscan's `$SUPERVISEDIR`.
#[test]
fn what_the_files_name_may_be_another_log_where_there_is_no_status() {
    let missing = unknown("web/log/supervise/status", "file does not exist");
    for place in [".state", "/all"] {
        let scratch = Scratch::new();
        let place = if place == "/all" { scratch.path().join("all").display().to_string() } else { place.into() };
        let variable = format!("SUPERVISEDIR={place}");
        let mut web = Web::start(&scratch, &hidden(&scratch), &["env", &variable, "supervise"]);
        web.logs("newer\n");
        assert_eq!(scratch.shell(&format!("{variable} svlog web")), prints("newer\n"));
        assert_eq!(scratch.run("svlog web"), older(&missing));
        assert_eq!(scratch.run("svlog web/log/main"), prints("older\n"));
    }
}

#[test]
fn a_service_that_was_never_supervised_has_no_other_log_than_its_script_names() {
    let scratch = Scratch::new();
    let missing = unknown("web/log/supervise/status", "file does not exist");
    scratch.file("web/log/main/current", "older\n");
    assert_eq!(scratch.run("svlog web"), prints("older\n"));
    for (run, is_told) in [("multilog t ./main", true), ("multilog t $D", false), ("logger", false)] {
        scratch.script("web/log/run", &format!("#!/bin/sh\nexec {run}\n"));
        assert_eq!(scratch.run("svlog web"), if is_told { prints("older\n") } else { older(&missing) }, "{run}");
    }
    // A service with such a directory must have a supervise with its files.
    scratch.script("web/log/run", "#!/bin/sh\nexec multilog ./main\n");
    scratch.dir("web/log/supervise");
    assert_eq!(scratch.run("svlog web"), older(&missing));
    scratch.file("web/log/supervise/status", "short");
    let short = "nothing is known of its logger: unable to read web/log/supervise/status: bad format";
    assert_eq!(scratch.run("svlog web"), older(short));
}

#[test]
fn the_log_of_a_logger_that_is_down_or_has_none_open_may_be_another() {
    let scratch = Scratch::new();
    let mut web =
        Web::start(&scratch, &format!("[ ! -e idle ] || exec sleep 1000\n{}", hidden(&scratch)), &["supervise"]);
    // Otherwise the first logger would not yet have read a line.
    web.logs("newer\n");
    scratch.file("web/log/idle", "");
    web.log.svc("-t");
    let mut pid = 0;
    wait_until("it idles", || {
        pid = web.log.status().pid;
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
    });
    let idle = older(&format!("its logger, process {pid}, has no log open, last exited 0"));
    assert_eq!(scratch.run("svlog web"), idle);
    web.log.svc("-d");
    web.log.wait_down();
    let down = "its logger is not running, last killed by SIGTERM";
    wait_until("it is shown to be down", || scratch.run("svlog web") == older(down));
    fs::remove_dir_all(web.log.path("main")).unwrap();
    let nothing = format!("svlog: fatal: unable to find a log in web: {down}\n");
    assert_eq!(scratch.run("svlog web"), fails(111, &nothing));
}

/// svlog reports the same cause as svstat.
#[test]
fn why_a_logger_that_wrote_nothing_has_ended_is_said() {
    let missing = "last not executed: access denied: it is not executable (chmod +x)";
    for (log, logger) in [("log/run", "web/log"), ("log", "web")] {
        for (content, mode, limit, last) in [
            ("exit 7", 0o755, "", "last exited 7; what it said is among the messages of svscan"),
            ("exit 7", 0o644, "", missing),
            ("exit 7", 0o755, "1 in 1m", "gave up: restart-limit 1 in 1m reached, last exited 7"),
            ("exec sleep 1000", 0o755, "", "has no log open"),
        ] {
            // Settings apply only to a logger of the same supervise. A `log` that is neither executable nor a directory
            // is no logger.
            if log == "log" && (mode != 0o755 || !limit.is_empty()) {
                continue;
            }
            let scratch = Scratch::new();
            let web = Service::new(&scratch, "web", "exec sleep 1000");
            scratch.script(format!("web/{log}"), &format!("#!/bin/sh\n{content}\n"));
            scratch.mode(format!("web/{log}"), mode);
            if !limit.is_empty() {
                scratch.file("web/log/restart-limit", limit);
            }
            let _supervise = Service::at(&scratch, logger).supervise();
            let begin = "svlog: fatal: unable to find a log in web: its logger";
            wait_until(&format!("it says {last}"), || {
                let Outcome { code, stderr, .. } = scratch.run("svlog web");
                code == 111 && stderr.starts_with(begin) && stderr.ends_with(&format!(", {last}\n"))
            });
            drop(web);
        }
    }
}

#[test]
fn a_service_without_logger_is_said_to_have_none() {
    let scratch = Scratch::new();
    let none = fails(111, "svlog: fatal: unable to find a log in web: it has no logger\n");
    scratch.script("web/run", "#!/bin/sh\nexec sleep 1000\n");
    assert_eq!(scratch.run("svlog web"), none);
    let web = Service::at(&scratch, "web");
    let _supervise = web.supervise();
    web.up();
    assert_eq!(scratch.run("svlog web"), none);
    if is_root() {
        // A user who may not read the status needs only the directory to know this.
        assert_eq!(scratch.outcome_of(scratch.as_nobody("svlog").arg("web")), none);
    }
    scratch.script("web/log/run", "#!/bin/sh\nexec multilog ./main\n");
    let missing = unknown("web/log/supervise/status", "file does not exist");
    let never = fails(111, &format!("svlog: fatal: unable to find a log in web: {missing}\n"));
    assert_eq!(scratch.run("svlog web"), never);
}

#[test]
fn a_name_without_its_path_is_no_directory_and_a_word_of_others_is_no_service() {
    let scratch = Scratch::new();
    let seen = scratch.run("svlog status");
    let words = "svlog: status is no service here: did you mean svstat SERVICE?\n\
                 svlog: fatal: unable to open directory status: file does not exist\n";
    assert_eq!(seen, fails(111, words));
}
