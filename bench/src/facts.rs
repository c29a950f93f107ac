//! The facts that later readers of the figures need: when, on what machine, and with which versions they were measured.

use crate::peers::Peers;
use anyhow::Result;
use nix::sys::utsname::uname;
use serde_json::{Value, json};
use std::fs;
use std::thread::available_parallelism;
use std::time::SystemTime;

#[derive(Debug)]
pub struct Facts {
    /// The date of today, as 2026-11-21.
    date: String,
    cores: usize,
    /// The model of the processor, if the kernel names it.
    cpu: Option<String>,
    /// The release of the kernel.
    kernel: String,
    /// The user's words about the machine, or nothing.
    note: String,
    versions: Vec<(&'static str, String)>,
}

impl Facts {
    pub fn now(peers: &Peers, note: &str) -> Result<Facts> {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Ok(Facts {
            date: now.chars().take(10).collect(),
            cores: available_parallelism()?.get(),
            cpu: cpu_model(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            kernel: uname()?.release().to_string_lossy().into_owned(),
            note: note.into(),
            versions: peers.versions(),
        })
    }

    /// The facts in a line that fits below a picture. The user's note describes the machine.
    pub fn line(&self) -> String {
        let machine = match self.note.as_str() {
            "" => format!("{} cores", self.cores),
            note => note.into(),
        };
        let kernel = self.kernel.split('.').take(2).collect::<Vec<_>>().join(".");
        let versions = self.versions.iter().map(|(name, version)| format!("{name} {version}"));
        let facts = [self.date.clone(), machine, format!("Linux {kernel}")];
        facts.into_iter().chain(versions).collect::<Vec<_>>().join(", ")
    }

    /// All facts, with what was measured.
    pub fn with(&self, figures: Value) -> Value {
        let versions: serde_json::Map<_, _> =
            self.versions.iter().map(|(name, version)| ((*name).into(), version.as_str().into())).collect();
        json!({
            "date": self.date,
            "machine": { "cores": self.cores, "cpu": self.cpu, "note": self.note },
            "kernel": self.kernel,
            "versions": versions,
            "figures": figures,
        })
    }
}

/// The model of the first core in `/proc/cpuinfo`, which not every architecture gives.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let (_, model) = cpuinfo.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
    Some(model.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let cpu = cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n\nprocessor\t: 1\nmodel name\t: Other\n");
        let (date, kernel, versions) = ("2026-11-21".into(), "6.18.1-x".into(), vec![("ours", "0.1.0".into())]);
        Facts { date, cores: 2, cpu, kernel, note: String::new(), versions }
    }

    #[test]
    fn a_line_has_the_machine_or_the_note_for_it() {
        assert_eq!(facts().line(), "2026-11-21, 2 cores, Linux 6.18, ours 0.1.0");
        let note = "a quiet machine".into();
        assert_eq!(Facts { note, ..facts() }.line(), "2026-11-21, a quiet machine, Linux 6.18, ours 0.1.0");
    }

    #[test]
    fn an_arm_names_no_model() {
        assert_eq!(cpu_model("processor\t: 0\nBogoMIPS\t: 48.00\n"), None);
    }

    #[test]
    fn json_has_each_of_them() {
        let expected = json!({
            "date": "2026-11-21",
            "machine": { "cores": 2, "cpu": "Some CPU @ 2 GHz", "note": "" },
            "kernel": "6.18.1-x",
            "versions": { "ours": "0.1.0" },
            "figures": [],
        });
        assert_eq!(facts().with(json!([])), expected);
    }
}
