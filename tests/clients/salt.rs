//! Salt's modules `daemontools` and `runit`, and its state `service` with them, from PyPI's package salt.

use crate::driver::Driver;
use crate::machine::{LISTENS, Machine, Supervisor, both, clients, linked, started, with_each_sv};
use serde_json::{Value, json};
use std::fs;
use tests::{Scratch, Service, skip, wait_until};

fn has_salt() -> bool {
    let there = clients().join("salt/bin/python").exists();
    if !there {
        skip("Salt is not installed, see .ci/run");
    }
    there
}

/// A minion whose services one of the modules manages.
struct Salt<'a>(Driver, &'a str);

impl Salt<'_> {
    fn start<'a>(machine: &Machine, module: &'a str) -> Salt<'a> {
        let python = clients().join("salt/bin/python");
        let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/salt_caller.py");
        Salt(Driver::start(machine, &[python.to_str().unwrap(), driver, module]), module)
    }

    fn asks(&mut self, function: &str, arguments: Value) -> Value {
        let function = format!("{}.{function}", self.1);
        self.0.ask(&json!([function, arguments, {}]))
    }

    /// The result of one of the module's functions for this service.
    fn says(&mut self, function: &str, name: &str) -> Value {
        self.asks(function, json!([name]))
    }

    /// Whether a service reaches a state, and whether something was changed for that.
    fn reaches(&mut self, state: &str, name: &str) -> (Value, bool) {
        let named = json!({"name": name, "init_delay": 2});
        let answer = self.0.ask(&json!(["state.single", [format!("service.{state}")], named]));
        let outcome = answer.as_object().unwrap_or_else(|| panic!("{answer}")).values().next().unwrap();
        let changes = outcome["changes"].as_object().unwrap_or_else(|| panic!("{answer}"));
        (outcome["result"].clone(), !changes.is_empty())
    }
}

fn prepare(scratch: &Scratch) {
    linked(scratch, "web", LISTENS);
    linked(scratch, "log", LISTENS).script("log/run", "exec cat >/dev/null");
    linked(scratch, "idle", LISTENS).down();
    linked(scratch, "flapping", "exit 1");
    Service::new(scratch, "root/var/lib/service/unlinked", LISTENS);
}

#[test]
fn daemontools_starts_and_stops_and_tells_the_pid() {
    if !has_salt() {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let mut salt = Salt::start(machine, "daemontools");
        let service = machine.service("web");
        started(&service, 1);
        let mut pid = service.up();
        assert_eq!(salt.says("status", "web"), pid.to_string());
        for function in ["stop", "stop"] {
            assert_eq!(salt.says(function, "web"), true);
            service.wait_down();
            assert_eq!(salt.says("status", "web"), "");
            assert!(service.path("down").exists());
        }
        for function in ["start", "start"] {
            assert_eq!(salt.says(function, "web"), true);
            pid = service.up();
            assert_eq!(salt.says("status", "web"), pid.to_string());
            assert!(!service.path("down").exists());
        }
        let changing = [
            ("term", json!(true)),
            ("reload", json!(null)),
            ("restart", json!("restart True")),
            ("full_restart", json!(null)),
        ];
        for (function, answer) in changing {
            assert_eq!(salt.says(function, "web"), answer, "{function}");
            pid = service.another(pid);
            assert_eq!(salt.says("status", "web"), pid.to_string());
        }
        let log = machine.service("log/log").up();
        assert_eq!(salt.says("status", "log/log"), log.to_string());
    });
}

#[test]
fn daemontools_tells_what_is_there_and_enabled() {
    if !has_salt() {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let mut salt = Salt::start(machine, "daemontools");
        wait_until("all are supervised", || {
            ["flapping", "idle", "log", "web"].iter().all(|name| machine.service(name).is_supervised())
        });
        let services = ["flapping", "idle", "log", "web"];
        // Salt takes svscan's own directory for a service.
        let all = machine.differs([&[".svscan"], &services[..]].concat(), services.to_vec());
        assert_eq!(salt.asks("get_all", json!([])), json!(all));
        for (name, available, enabled) in [("web", true, true), ("idle", true, false), ("nothing", false, false)] {
            for (function, answer) in
                [("available", available), ("missing", !available), ("enabled", enabled), ("disabled", !enabled)]
            {
                assert_eq!(salt.says(function, name), answer, "{function} {name}");
            }
        }
        for name in ["idle", "nothing"] {
            assert_eq!(salt.says("status", name), "");
        }
        for function in ["start", "term"] {
            assert_eq!(salt.says(function, "nothing"), true, "{function}");
        }
        let error = salt.says("stop", "nothing");
        assert!(error["error"].as_str().is_some_and(|words| words.contains("No such file or directory")), "{error}");
    });
}

#[test]
fn daemontools_finds_a_service_that_dies_at_once_running() {
    if !has_salt() {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let mut salt = Salt::start(machine, "daemontools");
        wait_until("it is supervised", || machine.service("flapping").is_supervised());
        // With the original, no process runs for a moment between two starts.
        let running = (0..10).filter(|_| salt.says("status", "flapping") != "").count();
        assert!(running >= 9, "{running} of 10");
        assert_eq!(salt.reaches("dead", "flapping"), (json!(true), true));
        assert_eq!(salt.says("status", "flapping"), "");
        machine.service("flapping").wait_down();
    });
}

#[test]
fn a_state_with_daemontools_changes_nothing_the_second_time() {
    if !has_salt() {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let mut salt = Salt::start(machine, "daemontools");
        let service = machine.service("web");
        started(&service, 1);
        let pid = service.up();
        assert_eq!(salt.reaches("running", "web"), (json!(true), false));
        assert_eq!(service.up(), pid);
        assert_eq!(salt.reaches("dead", "web"), (json!(true), true));
        service.wait_down();
        assert_eq!(salt.reaches("dead", "web"), (json!(true), false));
        assert_eq!(salt.reaches("running", "web"), (json!(true), true));
        service.another(pid);
        assert_eq!(salt.reaches("running", "web"), (json!(true), false));
        assert_eq!(salt.reaches("running", "nothing"), (json!(false), false));
    });
}

#[test]
fn runit_starts_and_stops_and_tells_what_is_enabled() {
    if !has_salt() {
        return;
    }
    with_each_sv(prepare, |machine| {
        let mut salt = Salt::start(machine, "runit");
        let service = machine.service("web");
        started(&service, 1);
        let pid = service.up();
        assert_eq!(salt.says("status", "web"), true);
        for (function, status) in [("stop", false), ("stop", false), ("start", true), ("start", true)] {
            assert_eq!(salt.says(function, "web"), true, "{function}");
            assert_eq!(salt.says("status", "web"), status, "{function}");
        }
        let pid = service.another(pid);
        started(&service, 2);
        assert_eq!(salt.says("reload", "web"), true);
        assert_eq!(service.lines("heard", 1), ["HUP"]);
        // sv waits for byte 18; see its tests.
        assert_eq!(salt.says("restart", "web"), machine.differs(false, true));
        service.another(pid);
        assert_eq!(salt.says("start", "nothing"), false);
        assert_eq!(salt.says("status", "nothing"), false);
        wait_until("it is supervised", || machine.service("idle").is_supervised());
        assert_eq!(salt.says("status", "idle"), false);
        assert_eq!(salt.says("status_autostart", "idle"), false);
        assert_eq!(salt.says("status_autostart", "web"), true);
        assert_eq!(salt.reaches("running", "web"), (json!(true), false));
        assert_eq!(salt.reaches("dead", "web"), (json!(true), true));
        assert_eq!(salt.reaches("dead", "web"), (json!(true), false));
    });
}

#[test]
fn runit_enables_and_disables() {
    if !has_salt() {
        return;
    }
    with_each_sv(prepare, |machine| {
        let mut salt = Salt::start(machine, "runit");
        assert_eq!(salt.says("add_svc_avail_path", "/var/lib/service"), true);
        let linked = ["flapping", "idle", "log", "web"];
        assert_eq!(salt.asks("get_enabled", json!([])), json!(linked));
        assert_eq!(salt.asks("get_disabled", json!([])), json!(["unlinked"]));
        assert_eq!(salt.asks("get_all", json!([])), json!(["flapping", "idle", "log", "unlinked", "web"]));
        assert_eq!(salt.says("enable", "nothing"), false);
        let service = machine.service("unlinked");
        assert_eq!(salt.says("enabled", "unlinked"), false);
        let enabled = salt.says("enable", "unlinked");
        if machine.differs(false, enabled != true) {
            // runsvdir looks every five seconds, and Salt waits for five seconds.
            return;
        }
        assert_eq!(enabled, true);
        assert!(machine.path("service/unlinked").is_symlink() && service.is_supervised());
        assert_eq!(salt.says("enabled", "unlinked"), true);
        // Salt linked the service with a file `down`, and has removed that file.
        assert!(!service.path("down").exists());
        assert_eq!(service.status().pid, 0);
        assert_eq!(salt.says("start", "unlinked"), true);
        let shown = salt.says("show", "unlinked");
        for (key, value) in [("enabled", true), ("running", true), ("autostart", true), ("available", true)] {
            assert_eq!(shown[key], value, "{shown}");
        }
        // A disabled service has a file `down`; a removed service is not linked any more.
        assert_eq!(salt.says("disable", "unlinked"), true);
        assert_eq!(salt.says("status_autostart", "unlinked"), false);
        assert_eq!(salt.says("remove", "unlinked"), true);
        assert!(fs::symlink_metadata(machine.path("service/unlinked")).is_err());
        assert_eq!(salt.says("disabled", "unlinked"), true);
    });
}
