//! A drill for each system call that a program makes: the parts that all drills share.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::scope;
use std::{env, fs};
use tests::{Scratch, has};

/// How many drills run at the same time. They wait most of the time.
const WORKERS: usize = 6;
/// How many of all drills a quick test runs.
const SAMPLE: usize = 60;

/// The exit code of strace when the program that it ran was killed.
const KILLED: i32 = 128 + 9;
/// The fault that is not an error but a kill.
const KILL: &str = "KILL";
/// The exit codes of a panic, of an abort, and of other signals that a bug in the program causes.
const CRASHES: [i32; 6] = [101, 128 + 4, 128 + 6, 128 + 7, 128 + 8, 128 + 11];

/// The call of the C library's loader between its last mapping and the beginning of the program, as strace shows it.
const LOADED: &str = "prlimit64(0, RLIMIT_STACK, ";

/// In a run of this `kind`, the call number `when` of `syscall`, or each of a range (`5..10`), has this `fault`: the
/// program is killed there, or the call fails with an error.
#[derive(Debug, Clone)]
pub struct Drill {
    pub kind: String,
    pub syscall: String,
    pub when: String,
    pub fault: String,
}

impl Drill {
    fn parse(text: &str) -> Drill {
        let words: Vec<&str> = text.split(':').collect();
        let word = |number: usize| words.get(number).copied().map(str::to_string);
        let required = |number| word(number).expect("KIND:CALL:NUMBER or KIND:CALL:NUMBER:ERROR");
        let fault = word(3).unwrap_or_else(|| KILL.into());
        Drill { kind: required(0), syscall: required(1), when: required(2), fault }
    }

    fn text(&self) -> String {
        let Drill { kind, syscall, when, fault } = self;
        if fault == KILL { format!("{kind}:{syscall}:{when}") } else { format!("{kind}:{syscall}:{when}:{fault}") }
    }

    /// The options of strace for this drill.
    pub fn options(&self) -> Vec<String> {
        let Drill { syscall, when, fault, .. } = self;
        let fault = if fault == KILL { "signal=SIGKILL".into() } else { format!("error={fault}") };
        let inject = format!("inject={syscall}:{fault}:when={when}");
        ["-e".into(), format!("trace={syscall},prlimit64"), "-e".into(), inject].into()
    }

    /// Whether the fault happened, judged by strace's exit code and trace. An error must not make the program crash.
    pub fn came(&self, code: i32, trace: &Path) -> bool {
        if self.fault == KILL {
            return code == KILLED;
        }
        let trace = fs::read_to_string(trace).unwrap_or_default();
        // The loader of a dynamic program crashes if a mapping fails. That is not counted, because the released
        // programs are static.
        let crashed = CRASHES.contains(&code) && trace.contains(LOADED);
        assert!(!crashed, "{} crashes: {code}", self.text());
        trace.contains("(INJECTED)")
    }
}

/// One drill for each system call in the trace of a complete run.
pub fn calls(kind: &str, trace: &Path) -> Vec<Drill> {
    let trace = fs::read_to_string(trace).expect("a trace");
    let mut counts = BTreeMap::new();
    for name in trace.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name) {
        if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
            *counts.entry(name.to_string()).or_insert(0) += 1;
        }
    }
    let each = counts.into_iter().flat_map(|(syscall, count)| (1..=count).map(move |when| (syscall.clone(), when)));
    each.map(|(syscall, when)| Drill { kind: kind.into(), syscall, when: when.to_string(), fault: KILL.into() })
        .collect()
}

/// What is drilled.
pub struct Subject {
    /// The name of the test. It runs the drills that $DRILL names.
    pub test: &'static str,
    pub kinds: &'static [&'static str],
    /// Whether the program is killed. Otherwise its calls fail.
    pub killed: bool,
    /// Finds all drills of a kind by tracing one run.
    pub drills: fn(&Scratch, &str) -> Vec<Drill>,
    /// Runs one drill, and returns whether the fault happened. A program does not make the same calls in every run.
    pub run: fn(&Scratch, &Drill) -> bool,
}

impl Subject {
    pub fn a_sample(&self) {
        if has("strace") {
            run_all(&self.quick(), self);
        }
    }

    pub fn every_one(&self) {
        if has("strace") {
            run_all(&self.all(), self);
        }
    }

    /// Runs the drills of a kind on the original's programs, which have a known fault: at least one drill must fail
    /// with these words. Drills that find nothing there are broken.
    pub fn finds_in_the_original(&self, kind: &str, words: &str) {
        let Some(folder) = has("strace").then(the_originals).flatten() else { return };
        let drills = (self.drills)(&Scratch::of(&folder), kind);
        let (next, found) = (AtomicUsize::new(0), AtomicBool::new(false));
        let is_it = |drill: &Drill| match catch_unwind(|| (self.run)(&Scratch::of(&folder), drill)) {
            Ok(_) => false,
            Err(panic) => message(panic.as_ref()).contains(words),
        };
        let sample: Vec<&Drill> = drills.iter().step_by(drills.len().div_ceil(SAMPLE)).collect();
        scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while !found.load(Ordering::Relaxed)
                        && let Some(drill) = sample.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        found.fetch_or(is_it(drill), Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(found.into_inner(), "{} drills find nothing in the original", sample.len());
    }

    fn all(&self) -> Vec<Drill> {
        self.kinds.iter().flat_map(|kind| (self.drills)(&Scratch::new(), kind)).collect()
    }

    fn has(&self, drill: &Drill) -> bool {
        self.kinds.contains(&drill.kind.as_str()) && self.killed == (drill.fault == KILL)
    }

    /// The drills named by $DRILL that belong to this subject, or else a sample of all.
    fn quick(&self) -> Vec<Drill> {
        match env::var("DRILL") {
            Ok(drills) => drills.split(',').map(Drill::parse).filter(|drill| self.has(drill)).collect(),
            Err(_) => {
                let all = self.all();
                all.iter().step_by(all.len().div_ceil(SAMPLE)).cloned().collect()
            }
        }
    }
}

/// The folder of the original's programs, if they are installed.
pub fn the_originals() -> Option<PathBuf> {
    if tests::original() { Some(tests::programs().into()) } else { tests::others() }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

/// Runs the drills, several at a time. Prints those that failed, with the command that repeats them. The fault must
/// have happened in most of them.
fn run_all(drills: &[Drill], subject: &Subject) {
    let Subject { test: name, run, .. } = subject;
    let (next, struck, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(drill) = drills.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let came = catch_unwind(|| run(&Scratch::new().kept_on_failure(), drill));
                    struck.fetch_add(usize::from(came.as_ref().is_ok_and(|came| *came)), Ordering::Relaxed);
                    if came.is_err() {
                        let replay =
                            format!("DRILL={} cargo test -p tests --test drills -- --exact {name}", drill.text());
                        eprintln!("failed; again: {replay}");
                        failed.lock().expect("the list").push(replay);
                    }
                }
            });
        }
    });
    let (struck, failed) = (struck.into_inner(), failed.into_inner().expect("the list"));
    eprintln!("{name}: {} drills, the fault came in {struck}, {} failed", drills.len(), failed.len());
    assert!(failed.is_empty(), "{} of {} drills failed:\n{}", failed.len(), drills.len(), failed.join("\n"));
    assert!(struck * 2 >= drills.len(), "the fault came in {struck} of {} drills only", drills.len());
}

#[test]
fn a_crash_counts_unless_it_is_the_loaders() {
    let scratch = Scratch::new();
    let trace = scratch.path().join("trace");
    let failed =
        "mmap(NULL, 266240, PROT_READ|PROT_WRITE, MAP_SHARED, 6, 0) = -1 ENOMEM (Cannot allocate memory) (INJECTED)";
    let loaded = format!("{LOADED}NULL, {{rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}}) = 0");
    let counts = |when: &str, lines: &[&str]| {
        fs::write(&trace, lines.join("\n")).expect("write a trace");
        catch_unwind(|| Drill::parse(&format!("plain:mmap:{when}:ENOMEM")).came(101, &trace)).is_err()
    };
    for when in ["1", "14", "12..15"] {
        assert!(counts(when, &[&loaded, failed]), "{when}");
        assert!(!counts(when, &[failed]), "{when}");
    }
}
