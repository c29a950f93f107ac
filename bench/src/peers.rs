//! The suites that are measured: ours, and those of the peers that are installed.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

/// A suite of programs that supervise and log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    Ours,
    Daemontools,
    Runit,
    S6,
}

/// How a log writer is to treat lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Stamped,
    /// The writer stamps the lines, and tries four patterns that no line matches.
    Selected,
}

/// The commands for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceCommand {
    Up,
    Down,
    Alarm,
    Continue,
}

/// The places of the programs.
#[derive(Debug)]
pub struct Peers {
    ours: PathBuf,
    /// The program of the measured services: see `bin/probe.rs`.
    pub probe: PathBuf,
    /// The suites, ours first.
    pub suites: Vec<Suite>,
}

impl Suite {
    pub const ALL: [Suite; 4] = [Suite::Ours, Suite::Daemontools, Suite::Runit, Suite::S6];

    /// The name of the suite: that of Debian's package, and of the column in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Ours => "ours",
            Suite::Daemontools => "daemontools",
            Suite::Runit => "runit",
            Suite::S6 => "s6",
        }
    }

    /// The largest number of services that the scanner of the suite accepts.
    pub fn limit(self) -> usize {
        match self {
            Suite::Daemontools | Suite::Runit => 1000,
            Suite::Ours | Suite::S6 => usize::MAX,
        }
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            Suite::Ours | Suite::Daemontools => &["svscan", "supervise", "svc", "svstat", "multilog"],
            Suite::Runit => &["runsvdir", "runsv", "sv", "svlogd"],
            Suite::S6 => &["s6-svscan", "s6-supervise", "s6-svc", "s6-svstat", "s6-log"],
        }
    }
}

impl Peers {
    /// Builds our programs and the probe, or takes them from `$BIN`, and finds the peers that are installed.
    pub fn find() -> Result<Peers> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
        let ours = match env::var_os("BIN") {
            Some(folder) => fs::canonicalize(&folder).context("the folder that BIN names")?,
            None => {
                succeed(Command::new(workspace.join("package/compile")).stdout(Stdio::null()), "package/compile")?;
                workspace.join("command")
            }
        };
        for program in Suite::Ours.programs() {
            let file = fs::File::open(ours.join(program));
            let file = file.with_context(|| format!("there is no {program} in {}", ours.display()))?;
            // Pages of a new program file that are not on the disk yet would count as memory that the process has
            // written.
            file.sync_all()?;
        }
        let suites = Suite::ALL.into_iter().filter(|suite| *suite == Suite::Ours || is_installed(*suite)).collect();
        let beside = ours.join("probe");
        let probe = if beside.is_file() { beside } else { build_probe(workspace)? };
        Ok(Peers { ours, probe, suites })
    }

    /// The packages that are not installed.
    pub fn missing(&self) -> Vec<&'static str> {
        Suite::ALL.into_iter().filter(|suite| !self.suites.contains(suite)).map(Suite::name).collect()
    }

    /// The version of each suite, for later readers of the figures.
    pub fn versions(&self) -> Vec<(&'static str, String)> {
        let version = |suite: &Suite| match suite {
            Suite::Ours => env!("CARGO_PKG_VERSION").to_string(),
            peer => debian_version(peer.name()).unwrap_or_else(|| "of unknown version".into()),
        };
        self.suites.iter().map(|suite| (suite.name(), version(suite))).collect()
    }

    /// A program of a suite, about to be run.
    pub fn program(&self, suite: Suite, name: &str) -> Command {
        match suite {
            Suite::Ours => Command::new(self.ours.join(name)),
            Suite::Daemontools | Suite::Runit | Suite::S6 => Command::new(folder().join(name)),
        }
    }

    /// The command that supervises the service in a directory.
    pub fn supervisor(&self, suite: Suite, directory: &Path) -> Command {
        let name = match suite {
            Suite::Ours | Suite::Daemontools => "supervise",
            Suite::Runit => "runsv",
            Suite::S6 => "s6-supervise",
        };
        let mut command = self.program(suite, name);
        command.arg(directory);
        command
    }

    /// The command that starts a supervisor for each service of a directory, for any number of services.
    pub fn scanner(&self, suite: Suite, directory: &Path) -> Command {
        let mut command = match suite {
            Suite::Ours | Suite::Daemontools => self.program(suite, "svscan"),
            Suite::Runit => self.program(suite, "runsvdir"),
            Suite::S6 => {
                let mut command = self.program(suite, "s6-svscan");
                command.args(["-c", "20000"]);
                command
            }
        };
        // These scanners look for their supervisors in PATH.
        let path = env::var_os("PATH").unwrap_or_default();
        let folder = if suite == Suite::Ours { self.ours.clone() } else { folder() };
        let all = env::join_paths([folder].into_iter().chain(env::split_paths(&path))).unwrap_or(path);
        command.arg(directory).env("PATH", all);
        command
    }

    /// The command that sends an order to services. That of s6 accepts only one service.
    pub fn order(&self, suite: Suite, order: ServiceCommand) -> Command {
        let (name, word) = match (suite, order) {
            (Suite::Runit, ServiceCommand::Up) => ("sv", "up"),
            (Suite::Runit, ServiceCommand::Down) => ("sv", "down"),
            (Suite::Runit, ServiceCommand::Alarm) => ("sv", "alarm"),
            (Suite::Runit, ServiceCommand::Continue) => ("sv", "cont"),
            (Suite::S6, order) => ("s6-svc", letter(order)),
            (Suite::Ours | Suite::Daemontools, order) => ("svc", letter(order)),
        };
        let mut command = self.program(suite, name);
        command.arg(word);
        command
    }

    /// The command that ends when a service is down, without polling. None if the suite has no such program.
    pub fn wait_until_down(&self, suite: Suite, directory: &Path) -> Option<Command> {
        let (mut command, goal) = match suite {
            Suite::Ours => (self.program(suite, "svwait"), "down"),
            Suite::S6 => (self.program(suite, "s6-svwait"), "-d"),
            Suite::Daemontools | Suite::Runit => return None,
        };
        command.arg(goal).arg(directory);
        Some(command)
    }

    /// The command that shows the state of services. None if it accepts only one service.
    pub fn status(&self, suite: Suite) -> Option<Command> {
        match suite {
            Suite::Ours | Suite::Daemontools => Some(self.program(suite, "svstat")),
            Suite::Runit => {
                let mut command = self.program(suite, "sv");
                command.arg("status");
                Some(command)
            }
            Suite::S6 => None,
        }
    }

    /// The log writer of a suite for a directory. Makes the directory if the writer does not.
    pub fn logger(&self, suite: Suite, style: Style, directory: &Path) -> io::Result<Command> {
        let stamped = (style != Style::Plain).then_some("t");
        let selected: &[&str] = match (style, suite) {
            (Style::Plain | Style::Stamped, _) => &[],
            (Style::Selected, Suite::S6) => &["-debug", "-trace", "+error", "-health check"],
            (Style::Selected, _) => &["-*debug*", "-*trace*", "+*error*", "-*health check*"],
        };
        let mut command = self.program(suite, suite.programs().last().copied().unwrap_or_default());
        match suite {
            Suite::Ours | Suite::Daemontools => {
                command.args(stamped).args(selected).args(["s16000000", "n99"]).arg(directory);
            }
            Suite::S6 => {
                command.arg("--").args(selected).args(stamped).args(["n99", "s16000000"]).arg(directory);
            }
            Suite::Runit => {
                fs::create_dir(directory)?;
                let config: String =
                    ["s16000000", "n99"].iter().chain(selected).map(|line| format!("{line}\n")).collect();
                fs::write(directory.join("config"), config)?;
                command.args(stamped.map(|_| "-t")).arg(directory);
            }
        }
        Ok(command)
    }
}

fn letter(order: ServiceCommand) -> &'static str {
    match order {
        ServiceCommand::Up => "-u",
        ServiceCommand::Down => "-d",
        ServiceCommand::Alarm => "-a",
        ServiceCommand::Continue => "-c",
    }
}

/// The folder of the peers' programs: `$PEERS`, or the one that Debian's packages use.
fn folder() -> PathBuf {
    env::var_os("PEERS").unwrap_or_else(|| "/usr/bin".into()).into()
}

fn is_installed(suite: Suite) -> bool {
    suite.programs().iter().all(|program| folder().join(program).is_file())
}

fn debian_version(package: &str) -> Option<String> {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Builds the probe as a static program like ours, so that it adds little to the figures.
fn build_probe(workspace: &Path) -> Result<PathBuf> {
    let target = env::var("CARGO_BUILD_TARGET").or_else(|_| host())?;
    let folder = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let flags = env::var("RUSTFLAGS").unwrap_or_default() + " -C target-feature=+crt-static -C relocation-model=static";
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--release", "--locked", "--package", "bench", "--bin", "probe"]);
    build.args(["--target", &target, "--target-dir"]).arg(&folder).env("RUSTFLAGS", flags).current_dir(workspace);
    succeed(&mut build, "cargo build --bin probe")?;
    Ok(fs::canonicalize(folder.join(target).join("release/probe"))?)
}

fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not name its host")?;
    Ok(host.to_string())
}

/// Runs a command that must succeed.
pub fn succeed(command: &mut Command, name: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("start {name}"))?;
    ensure!(status.success(), "{name} failed: {status}");
    Ok(())
}
