//! `/proc` is away for a time, or hides what a service has left. No second copy of a service starts beside the first, and what
//! stopping reaches is ended.

use crate::background::forks_once;
use tests::{Outcome, Scratch, Service, has, is_root, skip};

/// What the script says that runs in a pid and mount namespace of its own, in the scratch directory.
fn in_a_namespace(scratch: &Scratch, script: &str) -> Outcome {
    let mut unshare = scratch.command("unshare");
    let private = ["-m", "--propagation", "private", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c"];
    scratch.outcome_of(unshare.args(private).arg(script))
}

fn until(condition: &str) -> String {
    format!("for i in $(seq 300); do {condition} && break; sleep 0.1; done")
}

/// The state of a service that looks for the process of this life, or has taken it; or another life has begun that should not.
fn looks_or_has_taken(life: usize) -> String {
    let begun = "$(wc -l <web/daemons 2>/dev/null || echo 0)";
    let is_done = format!("{{ grep -q '^search start' web/supervise/state || {IS_LAST}; }}");
    until(&format!("{{ [ {begun} -gt {life} ] || {{ [ {begun} = {life} ] && {is_done}; }}; }}"))
}

/// The process of the service is the one that was left last.
const IS_LAST: &str = "[ \"$(sed -n 's/^pid //p' web/supervise/state)\" = \"$(tail -n 1 web/daemons)\" ]";

const TAKEN: &str = "grep -q '^taken' web/supervise/state 2>/dev/null";

#[test]
fn what_went_into_the_background_while_proc_was_away_is_not_started_again() {
    if !is_root() || !has("unshare") {
        return skip("only root has namespaces of its own");
    }
    let away = "mount -t tmpfs none /proc";
    for (setting, text) in [("expect", "fork"), ("pidfile", "pid")] {
        // The process that stays writes no pid file before `/proc` is back.
        let end = if setting == "pidfile" { "tail -n 1 web/daemons >web/pid" } else { "true" };
        let moment = format!(
            "supervise web & {end_first}; {}; rm -f web/pid; {away}; kill $(cat web/daemons); {}; umount /proc; {end}; {}",
            until(TAKEN),
            looks_or_has_taken(2),
            until(&format!(
                "[ \"$(sed -n 's/^pid //p' web/supervise/state)\" = \"$(tail -n 1 web/daemons)\" ] && {TAKEN}"
            )),
            end_first = format_args!("{}; {end}", until("[ -s web/daemons ]")),
        );
        let ever = format!("{away}; supervise web & {}; umount /proc; {end}; {}", looks_or_has_taken(1), until(TAKEN));
        for (script, expected) in [(moment, "2\n"), (ever, "1\n")] {
            let scratch = Scratch::new();
            let service = Service::new(&scratch, "web", &forks_once()).file("restart-delay", "10ms 10ms 1s");
            let _service = service.file(setting, text);
            let outcome = in_a_namespace(&scratch, &format!("{script}; wc -l <web/daemons; {TAKEN} || echo not taken"));
            assert_eq!((outcome.code, outcome.stdout.as_str()), (0, expected), "{setting}: {script}: {outcome:?}");
        }
    }
}

#[test]
fn what_goes_into_the_background_and_is_hidden_is_not_started_again() {
    if !is_root() || !has("unshare") || !has("setpriv") {
        return skip("only root has namespaces of its own");
    }
    let scratch = Scratch::new();
    let run = "echo >>daemons; ../bin/sleep 1000 >/dev/null 2>&1 </dev/null &\nexit 0";
    let _service = Service::new(&scratch, "web", run).file("restart-delay", "10ms 10ms 1s").file("expect", "fork");
    // A set-uid program is root's, and so hidden. It is a child of supervise all the same.
    let script = format!(
        "chmod 755 .; mkdir bin; mount -t tmpfs -o suid none bin; cp /bin/sleep bin/; chmod 4755 bin/sleep; \
         chown -R 65534 web; mount -o remount,hidepid=2 /proc; \
         setpriv --reuid 65534 --clear-groups supervise web & {}; wc -l <web/daemons",
        until(&format!("{{ {TAKEN} || [ $(wc -l <web/daemons) -gt 1 ]; }}"))
    );
    let outcome = in_a_namespace(&scratch, &script);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "1\n"), "{outcome:?}");
}

#[test]
fn what_is_left_of_a_tree_while_proc_is_away_is_killed_when_it_is_back() {
    if !is_root() || !has("unshare") {
        return skip("only root has namespaces of its own");
    }
    let scratch = Scratch::new();
    let run = "setsid sleep 1000 >/dev/null 2>&1 </dev/null &\necho $! >>daemons\nexec sleep 1000";
    let _service = Service::new(&scratch, "web", run).file("kill-scope", "tree");
    let script = format!(
        "supervise web & {}; mount -t tmpfs none /proc; svc -d web; {}; umount /proc; {}; kill -0 $(cat web/daemons) && echo left",
        until("[ -s web/daemons ] && grep -q '^phase running' web/supervise/state"),
        until("grep -q '^phase stopped' web/supervise/state"),
        until("! kill -0 $(cat web/daemons) 2>/dev/null"),
    );
    let outcome = in_a_namespace(&scratch, &script);
    assert_eq!(outcome.stdout, "", "{outcome:?}");
    let said = "supervise: warning: web: not all of its processes could be found and killed in two seconds: see ps axf";
    assert!(outcome.stderr.contains(said), "{outcome:?}");
}

/// Another account can lead the path of the pid file to a file of root's, which names a process that is not the service's.
#[test]
fn a_pid_file_to_which_another_account_has_led_the_path_proves_nothing() {
    if !is_root() || !has("unshare") || !has("setpriv") {
        return skip("only root has namespaces of its own");
    }
    let led = "setpriv --reuid 65534 --clear-groups ln -s ../roots theirs/web";
    let linked = "mkdir theirs/web; ln roots/pid theirs/web/pid";
    for lead in [led, linked] {
        let scratch = Scratch::new();
        let run = "echo started >>starts\nenv -i sleep 1000 >/dev/null 2>&1 </dev/null &\nexit 0";
        let _service = Service::new(&scratch, "web", run).file("pidfile", "../theirs/web/pid");
        // The supervise is killed, so that the next one is not the parent of what `run` has left.
        let script = format!(
            "chmod 755 .; mkdir -p roots theirs; chown 65534 theirs; supervise web & first=$!; {}; \
             (setsid sh -c 'echo $$ >roots/pid; exec sleep 2000' &); {}; {lead}; kill -9 $first; wait $first 2>/dev/null; \
             supervise web & {}; svc -dk web; svc -x web; {}; kill -0 $(cat roots/pid) && echo lives",
            until("grep -q '^search start' web/supervise/state 2>/dev/null"),
            until("[ -s roots/pid ]"),
            until("grep -q \"^supervise $! \" web/supervise/state"),
            until("! svok web"),
        );
        let outcome = in_a_namespace(&scratch, &script);
        assert_eq!(outcome.stdout, "lives\n", "{lead}: {outcome:?}");
    }
}

/// svscan's stop waits for it.
#[test]
fn what_went_into_the_background_is_ended_though_proc_is_away() {
    if !is_root() || !has("unshare") {
        return skip("only root has namespaces of its own");
    }
    for (setting, text) in [("expect", "fork"), ("pidfile", "pid")] {
        let scratch = Scratch::new();
        let _service = Service::new(&scratch, "web", &forks_once()).file(setting, text);
        let script = format!(
            "mount -t tmpfs none /proc; supervise web & service=$!; {}; svc -dx web; wait $service; echo $?; \
             kill -0 $(cat web/daemons) && echo left",
            looks_or_has_taken(1),
        );
        let outcome = in_a_namespace(&scratch, &script);
        assert_eq!(outcome.stdout, "0\n", "{setting}: {outcome:?}");
    }
}
