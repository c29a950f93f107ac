//! Prometheus' own checker, promtool, judges what `svctl metrics` tells and the alert rules that are shipped, and a real
//! Prometheus raises such an alert. Both are in Debian's package prometheus.

use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use tests::{Daemon, Outcome, Scratch, Service, has, prints, wait_until};

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("package/daemontools.rules.yml")
}

/// A scan directory with services of all kinds, and an svscan for it.
fn scanned(scratch: &Scratch) -> Daemon {
    let web = Service::new(scratch, "sv/web", "echo hello; exec sleep 1000");
    scratch.script("sv/web/log/run", "#!/bin/sh\nexec multilog t ./main\n");
    Service::new(scratch, "sv/crash", "exit 3");
    let failed = Service::new(scratch, "sv/gave\"up\\", "exit 100");
    let svscan = Daemon::start(scratch.command("svscan").arg("sv"), scratch);
    web.up();
    wait_until("the log is written", || web.path("log/main/current").metadata().is_ok_and(|file| file.len() > 0));
    failed.wait_for("it has given up", |_| !failed.state("failure").is_empty());
    wait_until("it has ended", || !Service::at(scratch, "sv/crash").state("death").is_empty());
    scratch.dir("sv/nothing");
    svscan
}

#[test]
fn promtool_finds_no_fault_in_the_metrics() {
    if !has("promtool") {
        return;
    }
    let scratch = Scratch::new();
    let _svscan = scanned(&scratch);
    let outcome = scratch.run("svctl -d sv metrics --processes --logs --textfile metrics.prom");
    assert_eq!(outcome, prints(""));
    let metrics = fs::read_to_string(scratch.path().join("metrics.prom")).unwrap();
    for sample in [
        "service_up{service=\"web\"} 1",
        "service_up{service=\"web/log\"} 1",
        "service_phase{service=\"gave\\\"up\\\\\",phase=\"failed\"} 1",
        "service_last_exit_status{service=\"crash\"} 3",
        "service_supervised{service=\"nothing\"} 0",
        "service_processes{service=\"web\"} 1",
        "log_files{service=\"web\"} 1",
    ] {
        assert!(metrics.contains(&format!("daemontools_{sample}\n")), "{sample}: {metrics}");
    }
    for metric in ["service_cpu_seconds_total", "service_memory_bytes", "service_open_fds", "log_bytes"] {
        assert!(metrics.contains(&format!("daemontools_{metric}{{service=\"web\"")), "{metric}: {metrics}");
    }
    let Outcome { code, stdout, stderr } = scratch.shell("promtool check metrics <metrics.prom");
    assert_eq!((code, stdout + &stderr), (0, String::new()), "{metrics}");
    // It does find faults.
    assert_ne!(scratch.shell("sed 's/ counter$/ stateset/' metrics.prom | promtool check metrics").code, 0);
}

#[test]
fn the_alerts_that_are_shipped_fire() {
    if !has("promtool") {
        return;
    }
    let scratch = Scratch::new();
    let rules = rules();
    let checked = scratch.outcome_of(scratch.command("promtool").args(["check", "rules"]).arg(&rules));
    assert!(checked.code == 0 && checked.stdout.contains("SUCCESS: 4 rules found"), "{checked:?}");
    let status = "To see why, run: svctl status web";
    let cases = [
        Case {
            alert: "Failed",
            series: &[("service_phase{service=\"web\",phase=\"failed\"}", "0 1x9")],
            labels: "severity: critical, phase: failed",
            summary: "web has failed, and is not restarted",
            description: "To see why, run: svctl status web. To start it again, run: svctl start web",
        },
        Case {
            alert: "Flapping",
            series: &[("service_starts_total{service=\"web\"}", "1+3x9")],
            labels: "severity: warning",
            summary: "web ends again and again: it was started 15 times in five minutes",
            description: status,
        },
        Case {
            alert: "Down",
            series: &[("service_wanted_up{service=\"web\"}", "1x9"), ("service_up{service=\"web\"}", "1 0x9")],
            labels: "severity: critical",
            summary: "web is wanted up, and has been down for a minute",
            description: status,
        },
        Case {
            alert: "Unsupervised",
            series: &[("service_supervised{service=\"web\"}", "1 0x9")],
            labels: "severity: critical",
            summary: "No supervise is in charge of web",
            description: "Look whether svscan runs, and whether the service has a file run",
        },
    ]
    .map(|case| case.text())
    .concat();
    let head = format!("rule_files: [{}]\nevaluation_interval: 1m\ntests:\n", rules.display());
    scratch.file("fired.yml", head + &cases);
    let outcome = scratch.run("promtool test rules fired.yml");
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

#[test]
#[ignore = "takes ten seconds: .ci/slow runs it"]
fn an_alert_of_a_real_prometheus_fires_and_is_resolved() {
    if !has("prometheus") {
        return;
    }
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "sv/web", "[ -e mended ] || exit 100; exec sleep 1000");
    let _svscan = Daemon::start(scratch.command("svscan").arg("sv"), &scratch);
    web.wait_for("it has given up", |_| !web.state("failure").is_empty());
    let target = serve(scratch.path().join("metrics.prom"));
    let settings = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\n\
         rule_files: [{}]\n\
         scrape_configs: [{{job_name: daemontools, static_configs: [{{targets: ['{target}']}}]}}]\n",
        rules().display()
    );
    scratch.file("prometheus.yml", settings);
    let words = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"];
    let prometheus = Daemon::start(scratch.command("prometheus").args(words), &scratch);
    // The states of the alert at this moment; none before Prometheus answers.
    let states = || {
        assert_eq!(scratch.run("svctl -d sv metrics --textfile metrics.prom"), prints(""));
        let errors = prometheus.errors();
        let (_, address) = errors.rsplit_once("address=127.0.0.1:")?;
        let answer = get(&format!("127.0.0.1:{}", address.split_whitespace().next()?), "/api/v1/alerts")?;
        let alerts = answer["data"]["alerts"].as_array()?.clone();
        let failed = alerts.into_iter().filter(|alert| alert["labels"]["alertname"] == "DaemontoolsServiceFailed");
        Some(failed.map(|alert| (alert["labels"]["service"].clone(), alert["state"].clone())).collect::<Vec<_>>())
    };
    wait_until("the alert fires", || states() == Some(vec![("web".into(), "firing".into())]));
    fs::write(web.path("mended"), "").unwrap();
    assert_eq!(scratch.run("svctl -d sv start --no-wait web").code, 0);
    wait_until("the alert is resolved", || states() == Some(Vec::new()));
}

/// Serves a file, as it is at each request, to all who connect to this address.
fn serve(file: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = connection.read(&mut [0; 4096]);
            let text = fs::read_to_string(&file).unwrap_or_default();
            let head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n";
            let _ = connection.write_all(format!("{head}{text}").as_bytes());
        }
    });
    address
}

/// What a server answers, if it does, in JSON.
fn get(address: &str, path: &str) -> Option<Value> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// An alert that does not fire at first and does after five minutes, given these values of each minute.
struct Case {
    alert: &'static str,
    series: &'static [(&'static str, &'static str)],
    labels: &'static str,
    summary: &'static str,
    description: &'static str,
}

impl Case {
    /// The case for `promtool test rules`.
    fn text(&self) -> String {
        let Case { alert, series, labels, summary, description } = self;
        let values = |(series, values): &(&str, &str)| {
            format!("      - {{series: 'daemontools_{series}', values: '{values}'}}\n")
        };
        let series: String = series.iter().map(values).collect();
        let fires = |time: &str, alerts: &str| {
            format!("      - {{eval_time: {time}, alertname: DaemontoolsService{alert}, exp_alerts: [{alerts}]}}\n")
        };
        let annotations = format!("{{summary: '{summary}', description: '{description}'}}");
        let fired = format!("{{exp_labels: {{service: web, {labels}}}, exp_annotations: {annotations}}}");
        let (early, late) = (fires("0m", ""), fires("5m", &fired));
        format!("  - interval: 1m\n    input_series:\n{series}    alert_rule_test:\n{early}{late}")
    }
}
