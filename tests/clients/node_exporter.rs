//! node_exporter's collector for runit's services, from Debian's package prometheus-node-exporter.

use crate::machine::{LISTENS, Machine, Supervisor, both, linked, started};
use std::io::{Read, Write};
use std::net::TcpStream;
use tests::{Daemon, Scratch, has, wait_until};

fn prepare(scratch: &Scratch) {
    linked(scratch, "web", LISTENS);
    linked(scratch, "idle", LISTENS).down();
    linked(scratch, "ending", "exit 0")
        .script("finish", "echo $$ >>finishing; while [ ! -e ended ]; do sleep 0.05; done");
}

/// The metrics about services, without times.
fn metrics(machine: &Machine) -> String {
    let words = [
        "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.runit",
        "--collector.runit.servicedir=/service",
        "--web.listen-address=127.0.0.1:0",
    ];
    let exporter = Daemon::start(&mut machine.command(&words), machine.scratch());
    let address = || {
        let errors = exporter.errors();
        let (_, address) = errors.rsplit_once("address=127.0.0.1:")?;
        Some(format!("127.0.0.1:{}", address.split_whitespace().next()?))
    };
    wait_until("it listens", || address().is_some_and(|address| TcpStream::connect(address).is_ok()));
    let mut connection = TcpStream::connect(address().unwrap()).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    text.lines().filter(|line| line.starts_with("node_service_")).map(|line| format!("{line}\n")).collect()
}

/// The value of one metric of a service.
fn value(metrics: &str, metric: &str, service: &str) -> f64 {
    let head = format!("node_service_{metric}{{service=\"{service}\",supervisor=\"runit\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&head)).unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

#[test]
fn its_metrics_tell_each_state() {
    if !has("prometheus-node-exporter") {
        return;
    }
    both(Supervisor::Runit, prepare, |machine| {
        let web = machine.service("web");
        started(&web, 1);
        machine.service("ending").lines("finishing", 1);
        wait_until("it is supervised", || machine.service("idle").is_supervised());
        let first = metrics(machine);
        let states = |metrics: &str, service| {
            ["state", "desired_state", "normal_state"].map(|metric| value(metrics, metric, service))
        };
        assert_eq!(states(&first, "web"), [1.0, 1.0, 1.0], "{first}");
        // It expects the file `down` in supervise/, where no program puts it. So every service counts as normally up.
        assert_eq!(states(&first, "idle"), [0.0, 0.0, 1.0], "{first}");
        assert_eq!(value(&first, "state", "ending"), 2.0, "{first}");
        let changed = value(&first, "state_last_change_timestamp_seconds", "web");
        assert_eq!(changed as i64, web.status().unix_seconds());
        assert_eq!(first.lines().count(), 12, "{first}");
        assert_eq!(machine.run("sv stop /service/web").code, 0);
        let second = metrics(machine);
        assert_eq!(states(&second, "web"), [0.0, 0.0, 1.0], "{second}");
    });
}
