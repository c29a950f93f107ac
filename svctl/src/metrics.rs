//! The state of services in numbers, in the text format of Prometheus, version 0.0.4.
//!
//! Each service, and each logger as `web/log`, is the label `service` of its samples. [`METRICS`] is the list of what is
//! told. A sample is left out where nothing is known: of a supervise of other software, for example, how often it has
//! started the service.
//!
//! With `--textfile`, the file is replaced at once, so that node_exporter's textfile collector never reads half of it.
//!
//! Names are escaped as svctl shows them, and then as the format demands. No process id, exit code or command line is a
//! label: each new value of a label is a new series to keep.

use crate::answer::Answer;
use crate::arguments::Scope;
use crate::code::UNKNOWN;
use crate::cpu::CpuClock;
use crate::list::logger_of;
use crate::memory;
use crate::services::{Reach, Service, Services};
use crate::text::shown;
use crate::write;
use daemontools::files::put_file;
use daemontools::logdir::{CURRENT, Finished, locate};
use daemontools::service::view::View;
use daemontools::service::{Exit, LOG, Phase, Want};
use daemontools::sys::directory::for_each_name;
use daemontools::sys::process::{CpuTicks, proc_path, ticks_per_second};
use daemontools::tai64::{Tai64N, at, since_1970};
use daemontools::{Attempt, Fatal, Unable, report};
use nix::errno::Errno;
use nix::unistd::{Pid, geteuid, getpid};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What stands before the name of each metric.
const PREFIX: &str = "daemontools_";
/// The exit code of a shell for a program that cannot be executed.
pub const NOT_EXECUTED: i32 = 126;
/// The exit code of a shell for a program that does not exist.
pub const NOT_FOUND: i32 = 127;

/// Tells the metrics of the services that are meant.
///
/// # Errors
/// The directory cannot be read, or the answer cannot be written.
pub fn metrics(services: &Services, names: &[OsString], scope: &Scope) -> Result<i32, Fatal> {
    // Looking at a service changes the current directory.
    let file = scope.textfile.as_ref().map(std::path::absolute).transpose();
    let file = file.unable_to("find", scope.textfile.as_deref().unwrap_or_default())?;
    let (chosen, missing) = services.choose(names)?;
    missing.iter().for_each(|words| report::warning(&[words]));
    let mut labels = HashSet::new();
    let mut clock = CpuClock::default();
    let subjects = chosen.iter().flat_map(|service| subjects(service, scope, &mut clock));
    let subjects: Vec<Subject> = subjects.filter(|subject| labels.insert(subject.label.clone())).collect();
    let text = text(&subjects);
    // Root reads everything; a service that is out of order is told by its samples.
    if let Some(words) = unread_words(&subjects).filter(|_| !geteuid().is_root()) {
        report::warning(&[words.as_bytes()]);
    }
    match file {
        Some(file) => replace(&file, text.as_bytes())?,
        None => write(text.as_bytes())?,
    }
    Ok(if missing.is_empty() { 0 } else { UNKNOWN })
}

const STATE: &str = "state";
const PROCESSES: &str = "processes";
const OPEN_FILES: &str = "open files";
const LOG_FILES: &str = "log files";
/// No more names are told of services of which something could not be read.
const MOST_NAMES: usize = 5;

/// What could not be read, in one line: `unable to read as this account: state of web; open files of db, off`.
fn unread_words(subjects: &[Subject]) -> Option<String> {
    let of = |what: &'static str| {
        let names = subjects.iter().filter(|subject| subject.unread.contains(&what));
        let names: Vec<&str> = names.map(|subject| subject.label.as_str()).collect();
        let more = names.len().saturating_sub(MOST_NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let listed = names.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| format!("{what} of {listed}{more}"))
    };
    let all: Vec<String> = [STATE, PROCESSES, OPEN_FILES, LOG_FILES].into_iter().filter_map(of).collect();
    (!all.is_empty()).then(|| format!("unable to read as this account: {}", all.join("; ")))
}

/// Puts a new file in place of the old one. Another svctl may do the same at this moment.
fn replace(file: &Path, text: &[u8]) -> Result<(), Unable> {
    let mut new = file.as_os_str().to_os_string();
    new.push(format!(".new.{}", getpid()));
    let new = PathBuf::from(new);
    put_file(&new, file, text).map_err(|(verb, errno)| {
        // It is of no use, and may not be there.
        let _ = nix::unistd::unlink(&new);
        Unable::new(verb, file, errno)
    })
}

/// A service or a logger, and what is known of it.
struct Subject {
    label: String,
    answer: Answer,
    usage: Option<Usage>,
    log: Option<LogUsage>,
    /// What this account could not read of it.
    unread: Vec<&'static str>,
}

/// The service, and its logger.
fn subjects(service: &Service, scope: &Scope, clock: &mut CpuClock) -> Vec<Subject> {
    let answer = Answer::of(service);
    if service.reach == Reach::Hangs {
        return vec![Subject { label: shown(service.name.as_bytes()), answer, usage: None, log: None, unread: vec![] }];
    }
    let log = logger_of(service);
    let proven = |service: &Service, answer: &Answer| {
        let view = answer.view().filter(|_| scope.processes);
        view.map_or((None, None), |view| memory::proven(&service.path, view))
    };
    let (process, beside) = proven(service, &answer);
    // The logger is run by the same supervise, or has one of its own.
    let logger = answer.logger().map(|answer| (beside, answer)).or_else(|| {
        let answer = service.path.join(LOG).is_dir().then(|| Answer::of(&log))?;
        Some((proven(&log, &answer).0, answer))
    });
    let mut subject = |service: &Service, answer: Answer, process: Option<Pid>| {
        let usage = answer.pid().and(process).and_then(|pid| Usage::of(pid, clock));
        let is_unproven = scope.processes && answer.pid().is_some() && usage.is_none();
        let unread = [
            (STATE, matches!(answer, Answer::Unknown(_))),
            (PROCESSES, is_unproven),
            (OPEN_FILES, usage.as_ref().is_some_and(|usage| usage.open_files.is_none())),
        ];
        let unread = unread.into_iter().filter(|(_, is_unread)| *is_unread).map(|(what, _)| what).collect();
        Subject { label: shown(service.name.as_bytes()), usage, answer, log: None, unread }
    };
    let has_logger = logger.is_some();
    let mut own = subject(service, answer, process);
    own.log = (scope.logs && has_logger).then(|| LogUsage::of(service)).flatten();
    if scope.logs && has_logger && own.log.is_none() {
        own.unread.push(LOG_FILES);
    }
    [own].into_iter().chain(logger.map(|(process, answer)| subject(&log, answer, process))).collect()
}

/// What the processes of a service use.
struct Usage {
    /// `None` if the system does not tell.
    cpu: Option<CpuTicks>,
    memory: u64,
    processes: usize,
    /// `None` if that of one of the processes cannot be seen.
    open_files: Option<usize>,
}

impl Usage {
    fn of(pid: Pid, clock: &mut CpuClock) -> Option<Usage> {
        let family = memory::family(pid);
        let memory = memory::in_bytes(&family)?;
        let pids: Vec<Pid> = family.into_iter().map(|(pid, _)| pid).collect();
        // The list of the descriptors, unlike what they are, is told at any time.
        let open_files = |pid: &Pid| fs::read_dir(proc_path(*pid, "fd")).map(Iterator::count).ok();
        Some(Usage {
            cpu: clock.of(pid, &pids),
            memory,
            processes: pids.len(),
            open_files: pids.iter().map(open_files).sum(),
        })
    }
}

/// What the log directory of a service holds.
pub struct LogUsage {
    /// The bytes of all log files.
    pub bytes: u64,
    files: u64,
    last_write: Option<Tai64N>,
}

impl LogUsage {
    fn of(service: &Service) -> Option<LogUsage> {
        let found = locate::log_directory(service.path.as_os_str()).ok()?;
        if let Some(doubt) = found.doubt {
            report::warning(&[&doubt]);
        }
        LogUsage::of_directory(&found.path)
    }

    /// What this log directory holds.
    pub fn of_directory(path: &Path) -> Option<LogUsage> {
        let mut usage = LogUsage { bytes: 0, files: 0, last_write: None };
        let add = |name: &[u8]| {
            let is_log = name == CURRENT.as_bytes() || Finished::parse(name).is_some();
            let file = is_log.then(|| fs::symlink_metadata(path.join(OsStr::from_bytes(name))).ok()).flatten();
            if let Some(file) = file.filter(fs::Metadata::is_file) {
                usage.bytes += file.len();
                usage.files += 1;
                let written = file.modified().ok().map(at);
                usage.last_write =
                    [usage.last_write, written].into_iter().flatten().max_by_key(|label| (label.0.0, label.1));
            }
            ControlFlow::Continue(())
        };
        for_each_name(path, add).ok()?;
        Some(usage)
    }
}

/// One value, and its label beside `service`, if it has one.
type Sample = (Option<(&'static str, &'static str)>, String);

/// One metric: its name, its type, its explanation, and how its samples come from what is known of a service.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: fn(&Subject) -> Vec<Sample>,
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

/// All metrics of services, in the order in which they are told.
const METRICS: [Metric; 18] = [
    Metric {
        name: "service_supervised",
        kind: GAUGE,
        help: "Whether a supervise is in charge of the service.",
        samples: |subject| match subject.answer {
            Answer::Told(_) => truth(true),
            Answer::Unsupervised(_) => truth(false),
            Answer::Unknown(_) => Vec::new(),
        },
    },
    Metric {
        name: "service_up",
        kind: GAUGE,
        help: "Whether run of the service runs and was not told to pause, or the service is a state that is up.",
        samples: |subject| {
            let is_up = |view: &View| view.seen.status.is_active() || (view.runs_run() && !view.seen.status.paused);
            of_view(subject, |view| truth(is_up(view)))
        },
    },
    Metric {
        name: "service_ready",
        kind: GAUGE,
        help: "Whether the service is up and ready.",
        samples: |subject| {
            of_view(subject, |view| match view.seen.record {
                Some(_) => truth(view.ready() == Some(true)),
                None => Vec::new(),
            })
        },
    },
    Metric {
        name: "service_wanted_up",
        kind: GAUGE,
        help: "Whether the service is wanted up.",
        samples: |subject| of_view(subject, |view| truth(view.seen.status.want == Want::Up)),
    },
    Metric {
        name: "service_paused",
        kind: GAUGE,
        help: "Whether the service was told to pause.",
        samples: |subject| of_view(subject, |view| truth(view.seen.status.paused)),
    },
    Metric {
        name: "service_phase",
        kind: GAUGE,
        help: "1 for the phase in which the service is, and 0 for the others.",
        samples: |subject| of_view(subject, phases),
    },
    Metric {
        name: "service_since_timestamp_seconds",
        kind: GAUGE,
        help: "When a process of the service was last started, or ended.",
        samples: |subject| {
            of_view(subject, |view| {
                let since = view.seen.record.as_ref().map_or(view.seen.status.since, |record| record.since.label);
                one(seconds(since))
            })
        },
    },
    Metric {
        name: "service_starts_total",
        kind: COUNTER,
        help: "How often run was started.",
        samples: |subject| of_view(subject, |view| one(view.seen.starts())),
    },
    Metric {
        name: "service_ends_total",
        kind: COUNTER,
        help: "How often run has ended, by reason.",
        samples: |subject| of_view(subject, ends),
    },
    Metric {
        name: "service_last_exit_status",
        kind: GAUGE,
        help: "How run ended the last time, as in a shell: its exit code, or 128 and the number of the signal.",
        samples: |subject| of_view(subject, |view| one(view.seen.last_exit().and_then(exit_status))),
    },
    Metric {
        name: "service_next_start_timestamp_seconds",
        kind: GAUGE,
        help: "When run is started the next time, if it is going to be.",
        samples: |subject| {
            of_view(subject, |view| {
                let next = view.seen.record.as_ref().and_then(|record| record.next_start);
                one(next.and_then(|next| seconds(next.label)))
            })
        },
    },
    Metric {
        name: "service_cpu_seconds_total",
        kind: COUNTER,
        help: "How long the processes of the service have computed.",
        samples: |subject| of_usage(subject, cpu_seconds),
    },
    Metric {
        name: "service_memory_bytes",
        kind: GAUGE,
        help: "The resident memory of the processes of the service.",
        samples: |subject| of_usage(subject, |usage| one(Some(usage.memory))),
    },
    Metric {
        name: "service_processes",
        kind: GAUGE,
        help: "How many processes the service has.",
        samples: |subject| of_usage(subject, |usage| one(Some(usage.processes))),
    },
    Metric {
        name: "service_open_fds",
        kind: GAUGE,
        help: "How many files the processes of the service have open.",
        samples: |subject| of_usage(subject, |usage| one(usage.open_files)),
    },
    Metric {
        name: "log_bytes",
        kind: GAUGE,
        help: "How many bytes the log files of the service have.",
        samples: |subject| of_log(subject, |log| one(Some(log.bytes))),
    },
    Metric {
        name: "log_files",
        kind: GAUGE,
        help: "How many log files the service has.",
        samples: |subject| of_log(subject, |log| one(Some(log.files))),
    },
    Metric {
        name: "log_last_write_timestamp_seconds",
        kind: GAUGE,
        help: "When the log of the service was last written to.",
        samples: |subject| of_log(subject, |log| one(log.last_write.and_then(seconds))),
    },
];

fn truth(is: bool) -> Vec<Sample> {
    one(Some(u8::from(is)))
}

fn one(value: Option<impl ToString>) -> Vec<Sample> {
    value.map(|value| (None, value.to_string())).into_iter().collect()
}

fn of_view(subject: &Subject, samples: impl Fn(&View) -> Vec<Sample>) -> Vec<Sample> {
    subject.answer.view().map(samples).unwrap_or_default()
}

fn of_usage(subject: &Subject, samples: impl Fn(&Usage) -> Vec<Sample>) -> Vec<Sample> {
    subject.usage.as_ref().map(samples).unwrap_or_default()
}

fn of_log(subject: &Subject, samples: impl Fn(&LogUsage) -> Vec<Sample>) -> Vec<Sample> {
    subject.log.as_ref().map(samples).unwrap_or_default()
}

fn phases(view: &View) -> Vec<Sample> {
    let phases =
        [Phase::Stopped, Phase::Starting, Phase::Started, Phase::Running, Phase::Stopping, Phase::Failed].into_iter();
    let now = view.seen.status.phase;
    phases.map(|phase| (Some(("phase", phase.word())), u8::from(phase == now).to_string())).collect()
}

fn ends(view: &View) -> Vec<Sample> {
    let ends = view.seen.record.iter().flat_map(|record| record.ends.all());
    ends.map(|(reason, times)| (Some(("reason", reason.word())), times.to_string())).collect()
}

/// An exit that was not seen has no status.
fn exit_status(exit: Exit) -> Option<i32> {
    match exit {
        Exit::Code(code) => Some(code),
        Exit::Signal(signal) | Exit::Core(signal) => Some(128 + signal),
        Exit::Unstarted(errno) if Errno::from_raw(errno) == Errno::ENOENT => Some(NOT_FOUND),
        Exit::Unstarted(_) => Some(NOT_EXECUTED),
        Exit::Unknown => None,
    }
}

fn cpu_seconds(usage: &Usage) -> Vec<Sample> {
    let (Some(rate), Some(cpu)) = (ticks_per_second(), usage.cpu) else { return Vec::new() };
    let seconds = |ticks: u64| format!("{}.{:03}", ticks / rate, ticks % rate * 1000 / rate);
    [("user", cpu.user), ("system", cpu.system)].map(|(mode, ticks)| (Some(("mode", mode)), seconds(ticks))).into()
}

/// Seconds since 1970, if the label is of a time since then.
fn seconds(label: Tai64N) -> Option<String> {
    since_1970(label).map(|time| format!("{}.{:09}", time.as_secs(), time.subsec_nanos()))
}

/// The text: each metric with its samples, and last the version.
fn text(subjects: &[Subject]) -> String {
    let mut text = String::new();
    for metric in &METRICS {
        let samples: Vec<(&str, Sample)> = subjects
            .iter()
            .flat_map(|subject| (metric.samples)(subject).into_iter().map(|sample| (subject.label.as_str(), sample)))
            .collect();
        if samples.is_empty() {
            continue;
        }
        head(&mut text, metric.name, metric.kind, metric.help);
        for (service, (label, value)) in samples {
            let label = label.map(|(name, value)| format!(",{name}=\"{value}\"")).unwrap_or_default();
            let service = escaped(service);
            text.push_str(&format!("{PREFIX}{}{{service=\"{service}\"{label}}} {value}\n", metric.name));
        }
    }
    head(&mut text, "build_info", GAUGE, "1, with the version of the program that has written this.");
    text.push_str(&format!("{PREFIX}build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION")));
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    text.push_str(&format!("# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n"));
}

/// The value of a label between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service::view::Normally;
    use daemontools::service::{Death, Process, Record, Role, Snapshot, Status};
    use daemontools::tai64::{Moment, Tai64};
    use std::time::Duration;

    fn moment(second: i64) -> Moment {
        Moment { uptime: Duration::from_secs(1), label: Tai64N(Tai64::from_unix(second), 500_000_000) }
    }

    fn told(record: Record) -> Answer {
        let seen = Snapshot::of(Status::actual(&record), None, Some(record));
        Answer::Told(Box::new(View { seen, normally: Normally::Up, diagnosis: None, now: moment(2000), alive: None }))
    }

    fn subject(label: &str, answer: Answer) -> Subject {
        Subject { label: label.into(), answer, usage: None, log: None, unread: vec![] }
    }

    #[test]
    fn what_runs_another_program_is_not_up() {
        let process = up().process.map(|(_, process)| (Role::Finish, process));
        let text = text(&[subject("web", told(Record { process, phase: Phase::Stopping, ..up() }))]);
        assert!(text.contains("\ndaemontools_service_up{service=\"web\"} 0\n"), "{text}");
    }

    fn up() -> Record {
        let process = Process { pid: Pid::from_raw(7), ticks: 1, serial: 0 };
        Record {
            process: Some((Role::Run, process)),
            phase: Phase::Running,
            want: Want::Up,
            since: moment(1000),
            ready: Some(moment(1001)),
            starts: 3,
            ..Record::blank()
        }
    }

    fn waiting() -> Record {
        let (started, ended) = (moment(990).label, moment(1000).label);
        Record {
            want: Want::Up,
            since: moment(1000),
            starts: 1,
            next_start: Some(moment(1009)),
            deaths: vec![Death { started, ended, exit: Exit::Signal(15), counts: true, is_told: false }],
            ..Record::blank()
        }
    }

    #[test]
    fn every_metric_has_its_lines() {
        let cpu = Some(CpuTicks { user: 150, system: 7 });
        let usage = Usage { cpu, memory: 4096, processes: 2, open_files: None };
        let log = LogUsage { bytes: 99, files: 2, last_write: Some(moment(1500).label) };
        let subjects = [
            Subject { usage: Some(usage), log: Some(log), ..subject("web", told(up())) },
            subject("web/log", told(waiting())),
            subject("off", Answer::Unsupervised("supervise not running".into())),
            subject("odd", Answer::Unknown("unable to open supervise/ok: access denied".into())),
        ];
        let expected = include_str!("metrics.txt").replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(text(&subjects), expected);
    }

    #[test]
    fn what_was_not_read_is_told_in_one_line() {
        let unread = |label: String, unread| Subject { unread, ..subject(&label, Answer::Unknown(String::new())) };
        let mut subjects = vec![unread("web".into(), vec![LOG_FILES]), unread("db".into(), vec![])];
        let words = |subjects: &[Subject]| unread_words(subjects).unwrap_or_default();
        assert_eq!(words(&subjects), "unable to read as this account: log files of web");
        subjects.extend((1..8).map(|number| unread(format!("n{number}"), vec![STATE])));
        let expected = "unable to read as this account: state of n1, n2, n3, n4, n5 and 2 more; log files of web";
        assert_eq!(words(&subjects), expected);
        assert_eq!(words(&subjects[1..2]), "");
    }

    #[test]
    fn a_name_is_a_label_whatever_it_contains() {
        for (name, label) in [
            (&b"web"[..], "web"),
            (b"a\"b", "a\\\"b"),
            (b"a\\b", "a\\\\b"),
            (b"a\nb", "a\\\\x0ab"),
            (b"a\xffb", "a\\\\xffb"),
        ] {
            assert_eq!(escaped(&shown(name)), label);
        }
    }

    #[test]
    fn ends_have_the_status_of_a_shell() {
        for (exit, status) in [
            (Exit::Code(3), Some(3)),
            (Exit::Signal(9), Some(137)),
            (Exit::Core(11), Some(139)),
            (Exit::Unstarted(2), Some(127)),
            (Exit::Unstarted(13), Some(126)),
            (Exit::Unknown, None),
        ] {
            assert_eq!(exit_status(exit), status);
        }
    }
}
