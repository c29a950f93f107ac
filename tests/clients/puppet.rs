//! Puppet's type `service` with the providers `daemontools` and `runit`, of Debian's package puppet-agent.

use crate::driver::Driver;
use crate::machine::{LISTENS, Machine, Supervisor, both, linked, started, with_each_sv};
use serde_json::{Value, json};
use tests::{Scratch, Service, has, wait_until};

struct Puppet<'a>(Driver, &'a str);

impl Puppet<'_> {
    fn start<'a>(machine: &Machine, provider: &'a str) -> Puppet<'a> {
        let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/puppet_apply.rb");
        Puppet(Driver::start(machine, &["/usr/bin/ruby", driver]), provider)
    }

    fn told(&mut self, name: &str, parameters: Value) -> Value {
        let mut all = json!({"name": name, "provider": self.1});
        all.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        self.0.ask(&all)
    }

    /// Whether a resource with these parameters was applied without a failure and has changed something.
    fn changes(&mut self, name: &str, parameters: Value) -> bool {
        let report = self.told(name, parameters);
        assert_eq!(report["failed"], false, "{report}");
        report["changed"].as_bool().unwrap_or_else(|| panic!("{report}"))
    }

    fn reaches(&mut self, name: &str, ensure: &str) -> bool {
        self.changes(name, json!({"ensure": ensure}))
    }

    /// The result of one of the provider's methods.
    fn says(&mut self, name: &str, method: &str) -> Value {
        self.told(name, json!({"do": method}))["returns"].clone()
    }
}

fn prepare(scratch: &Scratch) {
    linked(scratch, "web", LISTENS);
    linked(scratch, "log", LISTENS).script("log/run", "exec cat >/dev/null");
    linked(scratch, "flapping", "exit 1");
    Service::new(scratch, "root/var/lib/service/unlinked", LISTENS);
}

#[test]
fn daemontools_starts_and_stops_and_changes_nothing_the_second_time() {
    if !has("puppet") {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let mut puppet = Puppet::start(machine, "daemontools");
        for name in ["web", "log"] {
            let service = machine.service(name);
            started(&service, 1);
            let pid = service.up();
            assert_eq!(puppet.says(name, "status"), "running");
            assert!(!puppet.reaches(name, "running"));
            assert!(!puppet.changes(name, json!({"ensure": "stopped", "noop": true})));
            assert_eq!(service.up(), pid);
            assert!(puppet.reaches(name, "stopped"));
            service.wait_down();
            assert_eq!(puppet.says(name, "status"), "stopped");
            assert!(!puppet.reaches(name, "stopped"));
            assert!(puppet.reaches(name, "running"));
            let pid = service.another(pid);
            assert!(!puppet.reaches(name, "running"));
            puppet.says(name, "restart");
            service.another(pid);
        }
        assert_eq!(puppet.says("nothing", "status"), "stopped");
        assert!(!puppet.reaches("nothing", "stopped"));
    });
}

#[test]
fn daemontools_enables_and_disables() {
    if !has("puppet") {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let mut puppet = Puppet::start(machine, "daemontools");
        let service = machine.service("unlinked");
        assert_eq!(puppet.says("unlinked", "enabled?"), "false");
        assert!(puppet.changes("unlinked", json!({"enable": true})));
        assert!(machine.path("service/unlinked").is_symlink());
        wait_until("it is supervised", || service.is_supervised());
        started(&service, 1);
        assert!(!puppet.changes("unlinked", json!({"enable": true, "ensure": "running"})));
        assert!(puppet.changes("unlinked", json!({"enable": false})));
        assert!(!machine.path("service/unlinked").is_symlink());
        assert_eq!(puppet.says("unlinked", "enabled?"), "false");
    });
}

#[test]
fn daemontools_stops_a_service_that_dies_at_once() {
    if !has("puppet") {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let mut puppet = Puppet::start(machine, "daemontools");
        let service = machine.service("flapping");
        wait_until("it is supervised", || service.is_supervised());
        // With the original, no process runs for a moment between two starts.
        let running = (0..10).filter(|_| puppet.says("flapping", "status") == "running").count();
        assert!(running >= 9, "{running} of 10");
        assert!(puppet.reaches("flapping", "stopped"));
        service.wait_for("is wanted down", |status| status.want == b'd' && status.pid == 0);
        assert!(!puppet.reaches("flapping", "stopped"));
    });
}

#[test]
fn runit_starts_and_stops_and_changes_nothing_the_second_time() {
    if !has("puppet") {
        return;
    }
    with_each_sv(prepare, |machine| {
        let mut puppet = Puppet::start(machine, "runit");
        let service = machine.service("web");
        started(&service, 1);
        let pid = service.up();
        assert_eq!(puppet.says("web", "status"), "running");
        assert!(!puppet.reaches("web", "running"));
        assert!(puppet.reaches("web", "stopped"));
        assert_eq!(puppet.says("web", "status"), "stopped");
        assert!(!puppet.reaches("web", "stopped"));
        assert!(puppet.reaches("web", "running"));
        assert!(!puppet.reaches("web", "running"));
        let pid = service.another(pid);
        started(&service, 2);
        // sv waits for byte 18; see its tests. The service is restarted, but the provider reports a failure.
        let restarted = puppet.told("web", json!({"do": "restart"}));
        assert_eq!(restarted["error"].is_string(), machine.differs(true, false), "{restarted}");
        service.another(pid);
        assert_eq!(puppet.says("unlinked", "enabled?"), "false");
        assert!(puppet.changes("unlinked", json!({"ensure": "running"})));
        let unlinked = machine.service("unlinked");
        started(&unlinked, 1);
        assert!(puppet.changes("unlinked", json!({"enable": false})));
        assert!(!machine.path("service/unlinked").is_symlink());
    });
}

/// A manifest, with the exit codes of `puppet apply`: 0, nothing was changed; 2, something was changed.
#[test]
fn a_manifest_is_applied_once() {
    if !has("puppet") {
        return;
    }
    both(Supervisor::Daemontools, prepare, |machine| {
        let service = machine.service("web");
        started(&service, 1);
        std::fs::write(
            machine.path("/tmp/web.pp"),
            "service { 'web': ensure => stopped, provider => daemontools, path => '/var/lib/service' }\n",
        )
        .unwrap();
        for code in [2, 0] {
            // Puppet takes seconds to start, and longer on a busy machine.
            let words = ["timeout", "180", "puppet", "apply", "--detailed-exitcodes", "/tmp/web.pp"];
            let output = machine.command(&words).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{output:?}");
            service.wait_down();
        }
    });
}
