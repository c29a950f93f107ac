//! A storm: services, supervises, svscans and multilogs are killed at random, services are commanded, directories
//! appear and vanish, and a disk fills and empties. At the end the test counts: no service ever ran twice, every line
//! is in the log once, and no process is left. `STORM=SEED` makes the same choices again, though not at the same
//! moments.
//!
//! The original's programs go through the storm too. A storm that found no fault in them would be too weak.

use crate::every_call::the_originals;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs};
use tests::{Daemon, Disk, Scratch, Service, has, is_root, parent_of, skip, wait_until};

const SCANNED: &str = "services";
const SERVICES: usize = 5;

/// Each process of a service takes the lock, or reports that there are two. It writes its own name and consecutive
/// numbers, and records each number after it was written. A child of a killed process may hold the lock for a moment
/// longer, so a holder counts only while the process that took the lock is alive.
const COUNT: &str = "exec 9>>lock; if flock -w 0.1 9; then echo $$ >holder
elif kill -0 $(cat holder); then echo $$ >>../../twice; fi
me=$(date +%s%N 9>&-); n=0
while :; do i=0
while [ $i -lt BURST ]; do i=$((i+1)); n=$((n+1)); echo $me $n; done
echo $n >said.$me; sleep 0.005 9>&-; done";

/// How many lines a service writes at once. A loss shows only if a killed multilog has many lines in memory. In other
/// mixes, the lines that were written must be known exactly, so they come one by one.
fn burst(mix: Mix) -> usize {
    if mix == Mix::Kills { 100 } else { 1 }
}

/// Which actions a storm mixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mix {
    /// Everything may happen.
    All,
    /// Everything may happen, except that svscan is left alone.
    ButSvscan,
    /// Supervises and multilogs are killed, and nothing else happens.
    Kills,
    /// Several processes are killed at the same moment, and nothing else happens.
    Together,
}

/// The faults that were found in the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Faults {
    twice: usize,
    lost: usize,
    doubled: usize,
}

/// Marsaglia's xorshift.
pub struct Random(pub u64);

impl Random {
    /// A random number below this limit.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// The seed in this environment variable, or else a new one. It is printed, so that the same choices can be made again.
pub fn seed(name: &str) -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.subsec_nanos().into());
    let seed = env::var(name).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now).max(1);
    eprintln!("again: {name}={seed}");
    seed
}

struct Storm<'a> {
    scratch: &'a Scratch,
    folder: &'a Path,
    disk: Option<Disk<'a>>,
    full: bool,
    svscan: Daemon,
    random: Random,
    deeds: BTreeMap<&'static str, usize>,
    /// Processes of services that were killed together with all others that had their pipe open. What was in the pipe
    /// is lost.
    without_pipe: Vec<String>,
}

fn svscan(scratch: &Scratch, folder: &Path) -> Daemon {
    let mut command = Command::new(folder.join("svscan"));
    let path = format!("{}:/usr/bin:/bin", folder.display());
    Daemon::start(command.arg(SCANNED).current_dir(scratch.path()).env_clear().env("PATH", path), scratch)
}

impl<'a> Storm<'a> {
    fn new(scratch: &'a Scratch, folder: &'a Path, mix: Mix) -> Storm<'a> {
        let disk = match mix {
            Mix::Kills | Mix::Together => None,
            Mix::All | Mix::ButSvscan if is_root() => Some(Disk::new(scratch, 3000)),
            Mix::All | Mix::ButSvscan => {
                skip("needs root, to mount a disk that fills");
                None
            }
        };
        for number in 0..SERVICES {
            let main = if number == 0 && disk.is_some() { "../../../disk/main" } else { "./main" };
            let multilog = format!("exec multilog s50000 n10000 {main}");
            let count = COUNT.replace("BURST", &burst(mix).to_string());
            Service::new(scratch, &format!("{SCANNED}/s{number}"), &count)
                .script("log/run", &multilog)
                .file("restart-delay", "20");
        }
        let svscan = svscan(scratch, folder);
        let (random, deeds, without_pipe) = (Random(seed("STORM")), BTreeMap::new(), Vec::new());
        Storm { scratch, folder, disk, full: false, svscan, random, deeds, without_pipe }
    }

    fn service(&self, number: usize) -> Service<'a> {
        Service::at(self.scratch, &format!("{SCANNED}/s{number}"))
    }

    fn logger(&self, number: usize) -> Service<'a> {
        Service::at(self.scratch, &format!("{SCANNED}/s{number}/log"))
    }

    /// The log directory of a service.
    fn main(&self, number: usize) -> PathBuf {
        match (number, &self.disk) {
            (0, Some(_)) => self.scratch.path().join("disk/main"),
            _ => self.logger(number).path("main"),
        }
    }

    fn logs(&self, number: usize) -> bool {
        !logged(&self.main(number)).is_empty()
    }

    /// Whether a service's supervise may be killed. A pipe that no process has open is gone, with the lines in it. A
    /// logger and its supervise may be killed at any time, so the service's supervise is spared while svscan does not
    /// have the pipe open.
    fn may_go(&self, supervise: &i32) -> bool {
        let link = |path: PathBuf| fs::read_link(path).ok();
        let pipe = link(format!("/proc/{supervise}/fd/1").into());
        let held = fs::read_dir(format!("/proc/{}/fd", self.svscan.pid())).into_iter().flatten().flatten();
        held.map(|entry| link(entry.path())).any(|other| other == pipe)
    }

    /// Does one more action of the mix, chosen at random.
    fn act(&mut self, mix: Mix) {
        let number = self.random.below(SERVICES);
        let (service, logger) = (self.service(number), self.logger(number));
        let kinds = match mix {
            Mix::All => 12,
            Mix::ButSvscan => 10,
            Mix::Kills => 4,
            Mix::Together => return self.kill_together(number),
        };
        let deed = match (mix, self.random.below(kinds)) {
            (_, 0) => kill_one("a supervise", supervise(&service).filter(|pid| self.may_go(pid))),
            (_, 1) => kill_one("a logger's supervise", supervise(&logger)),
            (_, 2 | 3) => kill_one("a multilog", process(&logger)),
            (_, 4) => kill_one("a service", process(&service)),
            (_, 11) if supervise(&service).is_some() => {
                let all = [process(&logger), supervise(&logger), Some(self.svscan.pid())];
                let again = svscan(self.scratch, self.folder);
                all.into_iter().for_each(|pid| _ = kill_one("", pid));
                self.svscan = again;
                "svscan, a logger and its supervise killed"
            }
            (_, 10 | 11) => {
                let again = svscan(self.scratch, self.folder);
                std::mem::replace(&mut self.svscan, again).kill();
                "svscan killed"
            }
            (_, 5) => self.fill_or_free(),
            (_, 6) => self.appear_or_vanish(),
            (_, _) => {
                let commands = [b"t", b"d", b"u", b"p", b"c", b"h", b"u", b"c"];
                let _ = service.try_control(commands[self.random.below(commands.len())]);
                "a command"
            }
        };
        *self.deeds.entry(deed).or_default() += 1;
    }

    /// Kills, at the same moment, some of the processes that keep a service and its logger running. Then waits until
    /// everything runs again.
    fn kill_together(&mut self, number: usize) {
        let (service, logger) = (self.service(number), self.logger(number));
        let of = |service: &Service| [supervise(service), process(service)];
        let [[main, run], [log, multilog]] = [of(&service), of(&logger)];
        let chosen = 1 + self.random.below(31);
        let is_chosen = |bit: usize| chosen & 1 << bit != 0;
        let svscan = is_chosen(0).then(|| self.svscan.pid());
        let next = svscan.map(|_| self::svscan(self.scratch, self.folder));
        let others = [main, run, log, multilog].into_iter().enumerate();
        let killed: Vec<i32> = others.filter_map(|(bit, pid)| pid.filter(|_| is_chosen(bit + 1))).collect();
        if chosen == 31 {
            // The test reads this before the kill, because the next process may start at once.
            self.without_pipe.extend(last_instance(&service));
        }
        for pid in svscan.into_iter().chain(killed) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if let Some(next) = next {
            self.svscan = next;
        }
        eprintln!(
            "s{number}: {chosen:05b} of multilog, its supervise, the service, its supervise, svscan; {:?}",
            last_instance(&service)
        );
        *self.deeds.entry("some killed together").or_default() += 1;
        let before = run.filter(|_| is_chosen(2));
        wait_until("the service is up again", || {
            process(&service).is_some_and(|pid| Some(pid) != before && tests::is_alive(pid))
        });
        let before = multilog.filter(|_| is_chosen(4));
        wait_until("the logger is up again", || {
            process(&logger).is_some_and(|pid| Some(pid) != before && tests::is_alive(pid))
        });
        wait_until("svscan has its pipe", || {
            supervise(&service).is_some_and(|pid| self.may_go(&pid)) && supervise(&logger).is_some()
        });
    }

    fn fill_or_free(&mut self) -> &'static str {
        let Some(disk) = &self.disk else { return "no disk" };
        // Another process writes to the disk meanwhile.
        let hog = self.scratch.path().join("disk/hog");
        if self.full {
            disk.free()
        } else {
            _ = fs::write(hog, vec![0; 4 << 20])
        }
        self.full = !self.full;
        if self.full { "the disk full" } else { "the disk empty" }
    }

    /// Adds or removes a service that exists only at times. Once it is removed, only the test can end it.
    fn appear_or_vanish(&mut self) -> &'static str {
        let (here, there) = (self.scratch.path().join(SCANNED).join("guest"), self.scratch.path().join("guest"));
        if here.exists() {
            fs::rename(&here, &there).expect("take it out");
            return "a directory out";
        }
        if there.exists() {
            let guest = Service::at(self.scratch, "guest");
            let _ = guest.try_control(b"dx");
            if guest.is_supervised() {
                return "a guest told to end";
            }
            let _ = fs::rename(&there, &here);
        } else {
            Service::new(self.scratch, &format!("{SCANNED}/guest"), "exec sleep 1000");
        }
        "a directory in"
    }

    /// Counts the faults in the end. After [`Mix::Kills`], the services still write.
    fn count_faults(&self, mix: Mix) -> Faults {
        let twice = fs::read_to_string(self.scratch.path().join("twice")).unwrap_or_default().lines().count();
        let mut faults = Faults { twice, ..Faults::default() };
        for number in 0..SERVICES {
            let main = self.main(number);
            if mix != Mix::Kills {
                // The next multilog writes what a killed one had read.
                let multilog = self.scratch.outcome_of(self.scratch.command("multilog").arg(&main));
                assert_eq!(multilog, tests::prints(""));
            }
            let mut seen: BTreeMap<String, BTreeMap<usize, usize>> = BTreeMap::new();
            for line in logged(&main).lines() {
                let parts = line.split_once(' ').and_then(|(who, number)| Some((who, number.parse().ok()?)));
                match parts {
                    Some((who, number)) => *seen.entry(who.into()).or_default().entry(number).or_default() += 1,
                    None => {
                        eprintln!("s{number}: not a line: {line:?}");
                        faults.lost += 1;
                    }
                }
            }
            let service = self.service(number);
            for entry in fs::read_dir(service.path("")).expect("the service") {
                let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
                let Some(who) = name.strip_prefix("said.") else { continue };
                let said: usize = service.says(&name).trim().parse().unwrap_or(0);
                let lines = seen.remove(who).unwrap_or_default();
                let logged = lines.keys().last().copied().unwrap_or(0);
                let tail_is_lost = mix == Mix::Kills || self.without_pipe.iter().any(|gone| gone == who);
                let last = if tail_is_lost { logged } else { logged.max(said) };
                if last > lines.len() {
                    let missing: Vec<usize> = (1..=last).filter(|number| !lines.contains_key(number)).collect();
                    eprintln!("s{number}: {who} said {said}, last in the log {logged}, missing {missing:?}");
                }
                faults.lost += last - lines.len();
                faults.doubled += lines.values().sum::<usize>() - lines.len();
            }
        }
        faults
    }
}

/// The content of a log directory.
fn logged(main: &Path) -> String {
    let names = fs::read_dir(main).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_log = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name == "current" || name.starts_with('@')
    };
    names.filter(is_log).map(|path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()).collect()
}

/// The name of a service's last process. Names are times, so it is the latest.
fn last_instance(service: &Service) -> Option<String> {
    let names = fs::read_dir(service.path("")).into_iter().flatten().flatten();
    let said = names.filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("said.")?.to_string()));
    said.max_by_key(|who| who.parse::<u64>().unwrap_or(0))
}

fn process(service: &Service) -> Option<i32> {
    let status = tests::Status::read(&service.path("supervise/status"))?;
    Some(status.pid).filter(|pid| *pid > 0)
}

/// Our supervise records its own number. The original's is the parent of the service's process.
fn supervise(service: &Service) -> Option<i32> {
    let written = service.state("supervise").first().and_then(|line| line.split(' ').next()?.parse().ok());
    written.or_else(|| parent_of(process(service)?)).filter(|pid| *pid > 1 && is_in(*pid, service))
}

fn is_in(pid: i32, service: &Service) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == service.path("").components().as_path())
}

fn kill_one(deed: &'static str, pid: Option<i32>) -> &'static str {
    match pid {
        Some(pid) => {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            deed
        }
        None => "nobody there",
    }
}

/// Runs a storm, and returns the faults. No process is left afterwards.
fn run_mix(mix: Mix, duration: Duration) -> Faults {
    if !has("flock") {
        return Faults::default();
    }
    let scratch = Scratch::new();
    let mut storm = Storm::new(&scratch, tests::programs(), mix);
    // A multilog whose disk is full when it starts has no journal.
    wait_until("all log", || (0..SERVICES).all(|number| storm.logs(number)));
    let end = Instant::now() + duration;
    while Instant::now() < end {
        storm.act(mix);
        let pause = storm.random.below(100) as u64;
        sleep(Duration::from_millis(pause));
    }
    if storm.full {
        storm.fill_or_free();
    }
    // If the guest was removed, it does not belong to svscan.
    let guest = Service::at(&scratch, "guest");
    wait_until("the guest ends", || guest.try_control(b"dx").is_err());
    for number in 0..SERVICES {
        let service = storm.service(number);
        wait_until("every service is up and says something", || {
            let _ = service.try_control(b"uc");
            tests::Status::read(&service.path("supervise/status")).is_some_and(|status| status.want == b'u')
                && process(&service).is_some_and(tests::is_alive)
        });
        // Without a running logger, no process reads the pipe when svscan ends.
        let logger = storm.logger(number);
        wait_until("every logger is up", || process(&logger).is_some_and(tests::is_alive));
    }
    storm.svscan.signal(Signal::SIGTERM);
    assert_eq!(storm.svscan.wait(), 0, "{}", storm.svscan.errors());
    eprintln!("{:?}", storm.deeds);
    let left = tests::processes_in(scratch.path());
    assert_eq!(left, [], "processes are left");
    storm.count_faults(mix)
}

/// Runs a storm that must find no fault.
fn judge(mix: Mix, duration: Duration) {
    assert_eq!(run_mix(mix, duration), Faults::default());
}

#[test]
fn a_short_storm() {
    judge(Mix::ButSvscan, Duration::from_secs(8));
}

#[test]
#[ignore = "takes a minute"]
fn a_storm() {
    judge(Mix::ButSvscan, Duration::from_secs(60));
}

#[test]
#[ignore = "takes a minute"]
fn a_storm_that_kills_svscan_too() {
    judge(Mix::All, Duration::from_secs(60));
}

/// Kills several processes at the same moment, this many times.
fn together(rounds: usize) {
    if !has("flock") {
        return;
    }
    let scratch = Scratch::new().kept_on_failure();
    let mut storm = Storm::new(&scratch, tests::programs(), Mix::Together);
    wait_until("all log", || (0..SERVICES).all(|number| storm.logs(number)));
    for _ in 0..rounds {
        storm.act(Mix::Together);
    }
    storm.svscan.signal(Signal::SIGTERM);
    assert_eq!(storm.svscan.wait(), 0, "{}", storm.svscan.errors());
    assert_eq!(tests::processes_in(scratch.path()), [], "processes are left");
    assert_eq!(storm.count_faults(Mix::Together), Faults::default());
}

#[test]
fn a_few_are_killed_in_one_instant() {
    together(25);
}

/// `ROUNDS` sets the number; `.ci/slow` uses five hundred.
#[test]
#[ignore = "takes two minutes"]
fn many_times_a_few_are_killed_in_one_instant() {
    together(env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(100));
}

/// These faults of 0.76 are well known: a killed multilog loses lines, and a killed supervise leaves its service
/// behind, beside which the next supervise starts another process.
#[test]
fn the_originals_faults_are_found() {
    let Some(folder) = has("flock").then(the_originals).flatten() else { return };
    let mut found = Faults::default();
    for _ in 0..20 {
        let scratch = Scratch::new();
        let mut storm = Storm::new(&scratch, &folder, Mix::Kills);
        wait_until("all log", || (0..SERVICES).all(|number| storm.logs(number)));
        for _ in 0..12 {
            storm.act(Mix::Kills);
            sleep(Duration::from_millis(100));
        }
        // The original's svscan looks every five seconds.
        sleep(Duration::from_secs(6));
        let Faults { twice, lost, .. } = storm.count_faults(Mix::Kills);
        found.twice += twice;
        found.lost += lost;
        eprintln!("{found:?} {:?}", storm.deeds);
        if found.twice > 0 && found.lost > 0 {
            return;
        }
    }
    panic!("the storm finds nothing in the original: {found:?}");
}
