//! A table of lives: each state that Upstart's job has, and each way that leads out of it, walked by the real programs of a
//! service.
//!
//! A life is told in words, which are done one after the other:
//!
//! | word | meaning |
//! |---|---|
//! | `+NAME` | the next thing that happens is that the program NAME begins, or that `run` is `told` to end by TERM |
//! | `+NAME+NAME` | the next two things are these, in any order |
//! | `-NAME`, `-NAME:CODE` | NAME, which waits for that, exits with CODE (0) |
//! | `!NAME` | NAME is killed by KILL |
//! | `svc-LETTERS` | svc gives these commands |
//! | `no-run`, `run` | `run` is taken away, and put back |
//! | `held-WHAT` | supervise waits until the start or the end is let go |
//! | `ready` | a reader takes the service for ready |
//! | `PHASE` | `supervise/state` says so |
//!
//! In the end nothing has happened that the words do not name.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use tests::{Scratch, Service, is_alive, wait_until};

/// Upstart's state, what happens in it, and the life in which it does.
const LIVES: [(&str, &str, &str); 30] = [
    ("waiting", "a start", "stopped svc-u held-starting"),
    ("waiting", "a stop changes nothing", "stopped svc-d stopped svc-u held-starting"),
    ("starting", "goes on", "BEGIN svc-g +start"),
    ("starting", "a stop cancels the start", "BEGIN svc-d stopped"),
    ("starting", "a second start does not wait any longer", "BEGIN svc-u +start"),
    ("pre-start", "ends well", "PREPARED -pre-start +run+post-start"),
    ("pre-start", "fails", "PREPARED -pre-start:3 held-stopping svc-g +finish -finish FAILS"),
    ("pre-start", "is killed", "PREPARED !pre-start held-stopping svc-g +finish -finish FAILS"),
    ("pre-start", "a stop waits for its end", "PREPARED svc-d -pre-start held-stopping svc-g FINISHES"),
    ("spawned", "run is executed", "PREPARED -pre-start +run+post-start"),
    (
        "spawned",
        "run cannot be executed",
        "PREPARED no-run -pre-start held-stopping svc-g +finish -finish held-starting run svc-g +pre-start",
    ),
    ("post-start", "ends", "STARTED -post-start ready"),
    ("post-start", "its failure counts for nothing", "STARTED -post-start:1 ready"),
    (
        "post-start",
        "its exit code 125 fails the service",
        "STARTED -post-start:125 +told -run held-stopping svc-g +finish -finish FAILS",
    ),
    (
        "post-start",
        "a stop waits for its end",
        "STARTED svc-d -post-start +pre-stop -pre-stop held-stopping svc-g TOLD",
    ),
    ("post-start", "run ends meanwhile", "STARTED -run:1 -post-start held-stopping svc-g AGAIN"),
    (
        "running",
        "run ends and is started again, without pre-stop",
        "RUNNING -run:1 held-stopping svc-g AGAIN -pre-start +run+post-start -post-start ready",
    ),
    ("running", "run is killed", "RUNNING !run held-stopping svc-g AGAIN"),
    ("running", "a stop", "RUNNING svc-d +pre-stop -pre-stop held-stopping svc-g TOLD"),
    (
        "pre-stop",
        "a start cancels the stop",
        "RUNNING svc-d +pre-stop svc-u -pre-stop ready svc-d +pre-stop -pre-stop held-stopping",
    ),
    ("pre-stop", "its failure counts for nothing", "RUNNING svc-d +pre-stop -pre-stop:1 held-stopping"),
    ("pre-stop", "run ends meanwhile", "RUNNING svc-d +pre-stop -run -pre-stop held-stopping svc-g FINISHES"),
    (
        "stopping",
        "a start cancels the stop",
        "RUNNING svc-d +pre-stop -pre-stop held-stopping svc-u ready svc-d +pre-stop -pre-stop held-stopping svc-g TOLD",
    ),
    ("stopping", "run ends meanwhile", "RUNNING svc-d +pre-stop -pre-stop held-stopping -run svc-g FINISHES"),
    (
        "stopping",
        "a second stop does not wait any longer",
        "RUNNING svc-d +pre-stop -pre-stop held-stopping svc-d TOLD",
    ),
    (
        "killed",
        "run's code counts for nothing",
        "RUNNING svc-d +pre-stop -pre-stop held-stopping svc-g +told -run:1 FINISHES",
    ),
    (
        "killed",
        "a start waits for the end",
        "RUNNING svc-d +pre-stop -pre-stop held-stopping svc-g +told svc-u -run AGAIN",
    ),
    (
        "post-stop",
        "a start waits for its end",
        "RUNNING svc-d +pre-stop -pre-stop held-stopping svc-g +told -run +finish svc-u -finish held-starting",
    ),
    (
        "post-stop",
        "a stop waits for its end",
        "RUNNING !run held-stopping svc-g +finish svc-d -finish +stop -stop stopped",
    ),
    ("post-stop", "its exit code 125 fails the service", "RUNNING !run held-stopping svc-g +finish -finish:125 FAILS"),
];

/// The parts of lives that have a name.
const PARTS: [(&str, &str); 8] = [
    ("RUNNING", "STARTED -post-start ready"),
    ("STARTED", "PREPARED -pre-start +run+post-start"),
    ("PREPARED", "BEGIN svc-g +start -start +pre-start"),
    ("BEGIN", "stopped svc-u held-starting"),
    ("TOLD", "+told -run FINISHES"),
    ("FINISHES", "+finish -finish +stop -stop stopped"),
    ("FAILS", "+stop -stop failed"),
    ("AGAIN", "+finish -finish held-starting svc-g +pre-start"),
];

/// A program that says that it runs, and waits until it is let go.
fn script(name: &str) -> String {
    let trap = if name == "run" { "trap 'echo told >>order' TERM\n" } else { "" };
    format!(
        "{trap}echo {name} $$ >>order\nwhile ! test -e go-{name}; do sleep 0.02; done\n\
         read -r code <go-{name}\nrm go-{name}\nexit $code"
    )
}

fn service(scratch: &Scratch) -> Service<'_> {
    let service = Service::new(scratch, "web", &script("run")).file("restart-delay", "10").down();
    let others = ["start", "pre-start", "post-start", "pre-stop", "finish", "stop"];
    others.into_iter().fold(service, |service, name| service.script(name, &script(name)))
}

/// What has happened: the first word of each line, and the process that wrote it.
fn events(service: &Service) -> Vec<(String, Option<i32>)> {
    let all = fs::read_to_string(service.path("order")).unwrap_or_default();
    let event = |line: &str| {
        let mut words = line.split(' ');
        (words.next().unwrap_or_default().to_string(), words.next().and_then(|pid| pid.parse().ok()))
    };
    all.lines().map(event).collect()
}

struct Life<'a> {
    scratch: &'a Scratch,
    service: Service<'a>,
    told: String,
    /// How many events the words have named so far.
    events: usize,
}

impl Life<'_> {
    fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        wait_until(&format!("{what}, in: {}", self.told), condition);
    }

    fn live(&mut self, words: &str) {
        for word in words.split(' ') {
            if let Some((_, part)) = PARTS.iter().find(|(name, _)| *name == word) {
                self.live(part);
            } else {
                self.told += &format!(" {word}");
                self.step(word);
            }
        }
    }

    /// The last process of a program.
    fn pid_of(&self, name: &str) -> i32 {
        events(&self.service).iter().rev().find_map(|(event, pid)| pid.filter(|_| event == name)).unwrap()
    }

    /// Waits until the process of this program has ended, and supervise has written that down.
    fn wait_for_end(&self, name: &str) {
        let pid = self.pid_of(name);
        let is_told = || {
            let told = [self.service.state("pid"), self.service.state("beside")].concat();
            told.iter().any(|words| words.split(' ').any(|word| word == pid.to_string()))
        };
        self.wait("its end is written down", || !is_alive(pid) && !is_told());
    }

    fn step(&mut self, word: &str) {
        let service = &self.service;
        if let Some(names) = word.strip_prefix('+') {
            let mut expected: Vec<&str> = names.split('+').collect();
            let before = self.events;
            self.events += expected.len();
            self.wait(word, || events(service).len() >= self.events);
            let mut seen =
                events(service)[before..self.events].iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            expected.sort_unstable();
            seen.sort_unstable();
            assert_eq!(seen, expected, "in: {}", self.told);
        } else if let Some(end) = word.strip_prefix('-') {
            let (name, code) = end.split_once(':').unwrap_or((end, "0"));
            fs::write(service.path("let-go"), format!("{code}\n")).unwrap();
            fs::rename(service.path("let-go"), service.path(&format!("go-{name}"))).unwrap();
            self.wait_for_end(name);
        } else if let Some(name) = word.strip_prefix('!') {
            kill(Pid::from_raw(self.pid_of(name)), Signal::SIGKILL).unwrap();
            self.wait_for_end(name);
        } else if let Some(commands) = word.strip_prefix("svc") {
            let want = match commands {
                "-u" => vec!["up".to_string()],
                "-d" => vec!["down".to_string()],
                _ => service.state("want"),
            };
            // What is commanded for the second time lets go what is held.
            let lets_go = service.state("want") == want;
            service.svc(commands);
            let is_obeyed = || service.state("want") == want && (!lets_go || service.state("held").is_empty());
            self.wait("the command is obeyed", is_obeyed);
        } else if let Some(what) = word.strip_prefix("held-") {
            self.wait(word, || service.state("held") == [what]);
        } else if word == "no-run" {
            fs::rename(service.path("run"), service.path("the-run")).unwrap();
        } else if word == "run" {
            fs::rename(service.path("the-run"), service.path("run")).unwrap();
        } else if word == "ready" {
            self.wait(word, || self.scratch.run("svwait -T 0 ready web").code == 0);
        } else {
            self.wait(word, || service.state("phase") == [word]);
        }
    }
}

#[test]
fn each_state_is_left_in_each_of_its_ways() {
    std::thread::scope(|scope| {
        for part in LIVES.chunks(LIVES.len().div_ceil(4)) {
            scope.spawn(move || part.iter().for_each(|(state, what, words)| walk(&format!("{state}: {what}:"), words)));
        }
    });
}

fn walk(title: &str, words: &str) {
    let scratch = Scratch::new();
    let service = service(&scratch).hold();
    let mut open = OpenOptions::new();
    let holder = open.read(true).custom_flags(nix::libc::O_NONBLOCK).open(service.path("supervise/hold")).unwrap();
    let _supervise = service.supervise();
    let mut life = Life { scratch: &scratch, service, told: title.into(), events: 0 };
    life.live(words);
    assert_eq!(events(&life.service).len(), life.events, "in: {}", life.told);
    drop(holder);
}
