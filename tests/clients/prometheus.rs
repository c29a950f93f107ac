//! Prometheus' own checker, promtool, judges what `svctl metrics` tells and the alert rules that are shipped. It is in
//! Debian's package prometheus.

use std::fs;
use std::path::{Path, PathBuf};
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
