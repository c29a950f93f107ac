//! Ansible's modules `community.general.svc` and `community.general.runit`, unchanged, run as Ansible runs them: with
//! their arguments in a file.

use crate::driver::without_numbers;
use crate::machine::{LISTENS, Machine, Supervisor, both, linked, started, with_each_sv};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tests::{Scratch, Service, skip, wait_until};

/// Where Debian's package ansible installs the modules, and Python's name for that place.
const COLLECTION: &str = "/usr/lib/python3/dist-packages/ansible_collections/community/general/plugins/modules";
const PACKAGE: &str = "ansible_collections.community.general.plugins.modules";

/// One of the modules, for one service.
struct Module<'a> {
    machine: &'a Machine,
    module: &'a str,
    name: &'a str,
}

impl Module<'_> {
    /// The command that runs the module.
    fn line(&self, arguments: &Value) -> String {
        let mut all = json!({"name": self.name, "service_dir": "/service", "service_src": "/var/lib/service"});
        all.as_object_mut().unwrap().extend(arguments.as_object().unwrap().clone());
        let file = format!("/tmp/arguments{}", self.machine.scratch().next());
        fs::write(self.machine.path(&file), json!({"ANSIBLE_MODULE_ARGS": all}).to_string()).unwrap();
        format!("/usr/bin/python3 -m {PACKAGE}.{} {file}", self.module)
    }

    fn run(&self, arguments: &Value) -> Value {
        let said = self.machine.run(&self.line(arguments));
        serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"))
    }

    /// Whether the module reports that it has changed something.
    fn changes(&self, arguments: &Value) -> bool {
        self.run(arguments)["changed"].as_bool().unwrap()
    }

    fn reaches(&self, state: &str) -> bool {
        self.changes(&json!({"state": state}))
    }

    fn would_change(&self, state: &str) -> bool {
        self.changes(&json!({"state": state, "_ansible_check_mode": true}))
    }

    /// The state that the module reports, whether it finds the service enabled, and the words of svstat or sv.
    fn report(&self) -> (String, bool, String) {
        let said = self.run(&json!({}));
        let report = &said[if self.module == "svc" { "svc" } else { "sv" }];
        let text = |key: &str| report[key].as_str().unwrap_or_default().to_string();
        // runit's sv shows this text only with our supervise; see its tests.
        let words = without_numbers(&text("full_state")).replace(", got TERM", "");
        (text("state"), report["enabled"].as_bool().unwrap(), words)
    }
}

fn has_ansible() -> bool {
    let there = ["svc.py", "runit.py"].iter().all(|module| Path::new(COLLECTION).join(module).is_file());
    if !there {
        skip("Debian's ansible is not installed");
    }
    there
}

fn prepare(scratch: &Scratch) {
    linked(scratch, "web", LISTENS);
    linked(scratch, "log", LISTENS).script("log/run", "exec cat >/dev/null");
    linked(scratch, "idle", LISTENS).down();
    linked(scratch, "flapping", "exit 1");
    Service::new(scratch, "root/var/lib/service/unlinked", LISTENS);
}

/// Waits until the service is up and has written the line that comes after its start.
fn up(service: &Service) -> i32 {
    let pid = service.up();
    started(service, 1);
    pid
}

fn reported(state: &str, enabled: bool, words: &str) -> (String, bool, String) {
    (state.into(), enabled, words.into())
}

#[test]
fn svc_starts_and_stops_and_changes_nothing_the_second_time() {
    if !has_ansible() {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        for name in ["web", "log"] {
            let service = machine.service(name);
            let svc = Module { machine, module: "svc", name };
            let words = |state: &str| format!("/service/{name}: {state}");
            let pid = up(&service);
            assert!(!svc.reaches("started"));
            assert_eq!(svc.report(), reported("started", true, &words("up (pid N) N seconds")));
            assert!(svc.would_change("stopped"));
            assert!(!svc.would_change("started"));
            assert_eq!(service.status().pid, pid);
            assert!(svc.reaches("stopped"));
            service.wait_down();
            assert!(!svc.reaches("stopped"));
            assert_eq!(svc.report(), reported("stopped", true, &words("down N seconds, normally up")));
            assert!(svc.reaches("started"));
            service.another(pid);
            assert!(!svc.reaches("started"));
        }
        let svc = Module { machine, module: "svc", name: "log/log" };
        assert_eq!(svc.report(), reported("started", true, "/service/log/log: up (pid N) N seconds"));
    });
}

#[test]
fn svc_restarts_reloads_and_kills() {
    if !has_ansible() {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let service = machine.service("web");
        let svc = Module { machine, module: "svc", name: "web" };
        let mut pid = up(&service);
        for state in ["restarted", "killed"] {
            assert!(svc.would_change(state));
            assert_eq!(service.status().pid, pid);
            assert!(svc.reaches(state));
            pid = service.another(pid);
        }
        started(&service, 3);
        assert!(svc.reaches("reloaded"));
        // The svc of daemontools 0.76 does not know -1, and prints its usage.
        let heard = machine.differs("USR1\n", "");
        wait_until("the signal is heard", || service.says("heard") == heard);
        // The module removes the last two letters of `once`, and looks for a command `on`.
        let idle = Module { machine, module: "svc", name: "idle" };
        assert_eq!(idle.report(), reported("stopped", true, "/service/idle: down N seconds"));
        let crash = machine.run(&idle.line(&json!({"state": "once"})));
        assert!(crash.stderr.ends_with("'Svc' object has no attribute 'on'\n"), "{crash:?}");
        assert!(idle.reaches("started"));
        machine.service("idle").up();
        assert_eq!(idle.report(), reported("started", true, "/service/idle: up (pid N) N seconds, normally down"));
    });
}

#[test]
fn svc_finds_a_service_that_dies_at_once_started() {
    if !has_ansible() {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let svc = Module { machine, module: "svc", name: "flapping" };
        wait_until("it is supervised", || machine.service("flapping").is_supervised());
        // With the original, no process runs for a moment between two starts.
        let changed = (0..5).filter(|_| svc.reaches("started")).count();
        assert!(changed <= 1, "{changed} of 5 reported a change");
        assert!(svc.reaches("stopped"));
        machine.service("flapping").wait_for("is wanted down", |status| status.want == b'd' && status.pid == 0);
        assert!(!svc.reaches("stopped"));
    });
}

#[test]
fn svc_enables_and_disables_and_sets_the_down_file() {
    if !has_ansible() {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let log = machine.service("log/log");
        let service = machine.service("log");
        let svc = Module { machine, module: "svc", name: "log" };
        up(&service);
        log.up();
        for (downed, changed) in [(true, true), (true, false), (false, true), (false, false)] {
            assert_eq!(svc.changes(&json!({"downed": downed})), changed);
            assert_eq!(service.path("down").exists(), downed);
        }
        let enabled = |enabled: bool| svc.changes(&json!({"enabled": enabled}));
        assert!(!enabled(true));
        assert!(enabled(false));
        wait_until("nothing of it is supervised", || !service.is_supervised() && !log.is_supervised());
        assert!(!enabled(false));
        assert_eq!(svc.report(), reported("unknown", false, "/service/log: unable to chdir: file does not exist"));
        assert!(enabled(true));
        wait_until("it is supervised", || service.is_supervised());
        service.up();
        assert!(!enabled(true));
    });
}

#[test]
fn svc_reports_a_change_for_a_name_that_is_not_there_but_none_where_there_is_nothing_to_enable() {
    if !has_ansible() {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let svc = Module { machine, module: "svc", name: "nothing" };
        let unknown = reported("unknown", false, "/service/nothing: unable to chdir: file does not exist");
        assert_eq!(svc.report(), unknown);
        assert!(svc.reaches("started"));
        assert!(svc.reaches("started"));
        let said = svc.run(&json!({"enabled": true}));
        assert_eq!(said["msg"], "Could not find source for service to enable (/var/lib/service/nothing).");
        assert_eq!(said["failed"], true);
        assert_eq!(svc.report(), unknown);
    });
}

#[test]
fn runit_starts_and_stops_and_changes_nothing_the_second_time() {
    if !has_ansible() {
        return;
    }
    with_each_sv(prepare, |machine| {
        for name in ["web", "log"] {
            let service = machine.service(name);
            let runit = Module { machine, module: "runit", name };
            let log = if name == "log" { "; run: log: (pid N) Ns" } else { "" };
            let pid = up(&service);
            assert!(!runit.reaches("started"));
            assert_eq!(runit.report(), reported("started", true, &format!("run: /service/{name}: (pid N) Ns{log}")));
            assert!(runit.would_change("stopped"));
            assert!(!runit.would_change("started"));
            assert_eq!(service.status().pid, pid);
            assert!(runit.reaches("stopped"));
            assert_eq!(service.status().pid, 0);
            assert!(!runit.reaches("stopped"));
            assert_eq!(
                runit.report(),
                reported("stopped", true, &format!("down: /service/{name}: Ns, normally up{log}"))
            );
            assert!(runit.reaches("started"));
            assert_ne!(service.status().pid, 0);
            assert!(!runit.reaches("started"));
        }
    });
}

#[test]
fn runit_restarts_reloads_kills_and_runs_once() {
    if !has_ansible() {
        return;
    }
    with_each_sv(prepare, |machine| {
        let service = machine.service("web");
        let runit = Module { machine, module: "runit", name: "web" };
        let pid = up(&service);
        assert!(runit.would_change("restarted"));
        assert_eq!(service.status().pid, pid);
        assert!(runit.reaches("restarted"));
        assert_ne!(service.another(pid), pid);
        started(&service, 2);
        assert!(runit.reaches("reloaded"));
        assert_eq!(service.lines("heard", 1), ["HUP"]);
        assert!(runit.reaches("killed"));
        service.wait_down();
        assert_eq!(runit.report().0, "stopped");
        let idle = machine.service("idle");
        let once = Module { machine, module: "runit", name: "idle" };
        assert_eq!(once.report(), reported("stopped", true, "down: /service/idle: Ns"));
        assert!(once.reaches("once"));
        idle.up();
        assert_eq!(once.report().0, "started");
        assert!(once.reaches("stopped"));
        assert_eq!(once.report(), reported("stopped", true, "down: /service/idle: Ns"));
    });
}

#[test]
fn runit_enables_and_disables() {
    if !has_ansible() {
        return;
    }
    with_each_sv(prepare, |machine| {
        let service = machine.service("unlinked");
        let runit = Module { machine, module: "runit", name: "unlinked" };
        let enabled = |enabled: bool| runit.changes(&json!({"enabled": enabled}));
        assert!(!enabled(false));
        assert!(enabled(true));
        wait_until("it is supervised", || service.is_supervised());
        up(&service);
        assert!(!enabled(true));
        assert!(enabled(false));
        service.wait_down();
        assert!(!machine.path("service/unlinked").is_symlink());
        assert!(!enabled(false));
        let nothing = Module { machine, module: "runit", name: "nothing" };
        let said = nothing.run(&json!({"enabled": true}));
        assert_eq!(said["msg"], "Could not find source for service to enable (/var/lib/service/nothing).");
    });
}
