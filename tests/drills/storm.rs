//! A storm: services, supervises, svscans and multilogs are killed at random, services are commanded, directories come
//! and go, a disk fills and empties. Then a reckoning: no service ever had two instances, every line is in the log,
//! once, and nothing is left. `STORM=SEED` makes the same choices again, though not at the same moments.
//!
//! The original's programs are put out into it too: a storm that finds nothing in them would be none.

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

/// Each instance has the lock or says that there are two; and says its own name and a number, the next after the last.
/// What it said is written down after it has been. A process of a killed one may have the lock for a moment longer: it
/// counts only if the one that took it lives.
const COUNT: &str = "exec 9>>lock; if flock -w 0.1 9; then echo $$ >holder
elif kill -0 $(cat holder); then echo $$ >>../../twice; fi
me=$(date +%s%N 9>&-); n=0
while :; do i=0
while [ $i -lt BURST ]; do i=$((i+1)); n=$((n+1)); echo $me $n; done
echo $n >said.$me; sleep 0.005 9>&-; done";

/// How many lines are said in a row. What a multilog that is killed has in its memory must be many, to be seen to be lost;
/// otherwise what was said is to be known to the line.
fn burst(weather: Weather) -> usize {
    if weather == Weather::Kills { 100 } else { 1 }
}

/// What may happen to programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Everything.
    All,
    /// Everything, but svscan is left alone.
    ButSvscan,
    /// Supervises and multilogs are killed.
    Kills,
    /// Several are killed in one instant, and nothing else happens.
    Together,
}

/// What is found in the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Faults {
    twice: usize,
    lost: usize,
    doubled: usize,
}

/// Marsaglia's xorshift.
pub struct Random(pub u64);

impl Random {
    /// A number below this one.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// The seed that the environment has under this name, or a new one, said so that the same choices can be made again.
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
    /// Instances of services that were killed with all others who had their pipe: what was in it is gone.
    without_pipe: Vec<String>,
}

fn svscan(scratch: &Scratch, folder: &Path) -> Daemon {
    let mut command = Command::new(folder.join("svscan"));
    let path = format!("{}:/usr/bin:/bin", folder.display());
    Daemon::start(command.arg(SCANNED).current_dir(scratch.path()).env_clear().env("PATH", path), scratch)
}

impl<'a> Storm<'a> {
    fn new(scratch: &'a Scratch, folder: &'a Path, weather: Weather) -> Storm<'a> {
        let disk = match weather {
            Weather::Kills | Weather::Together => None,
            Weather::All | Weather::ButSvscan if is_root() => Some(Disk::new(scratch, 3000)),
            Weather::All | Weather::ButSvscan => {
                skip("a disk that fills: only root can mount one");
                None
            }
        };
        for number in 0..SERVICES {
            let main = if number == 0 && disk.is_some() { "../../../disk/main" } else { "./main" };
            let multilog = format!("exec multilog s50000 n10000 {main}");
            let count = COUNT.replace("BURST", &burst(weather).to_string());
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

    /// Where its lines are.
    fn main(&self, number: usize) -> PathBuf {
        match (number, &self.disk) {
            (0, Some(_)) => self.scratch.path().join("disk/main"),
            _ => self.logger(number).path("main"),
        }
    }

    fn logs(&self, number: usize) -> bool {
        !logged(&self.main(number)).is_empty()
    }

    /// A pipe that nobody holds is gone, with the lines in it. While svscan does not hold it (again), whose loggers may
    /// be killed with it, the service's supervise is spared.
    fn may_go(&self, supervise: &i32) -> bool {
        let link = |path: PathBuf| fs::read_link(path).ok();
        let pipe = link(format!("/proc/{supervise}/fd/1").into());
        let held = fs::read_dir(format!("/proc/{}/fd", self.svscan.pid())).into_iter().flatten().flatten();
        held.map(|entry| link(entry.path())).any(|other| other == pipe)
    }

    /// Another deed is done.
    fn blow(&mut self, weather: Weather) {
        let number = self.random.below(SERVICES);
        let (service, logger) = (self.service(number), self.logger(number));
        let kinds = match weather {
            Weather::All => 12,
            Weather::ButSvscan => 10,
            Weather::Kills => 4,
            Weather::Together => return self.kill_together(number),
        };
        let deed = match (weather, self.random.below(kinds)) {
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

    /// Kills some of those who keep a service and its logger running, in one instant; then waits until all is as before.
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
            // Asked before: the next one may begin at once.
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
        // Others write meanwhile.
        let hog = self.scratch.path().join("disk/hog");
        if self.full {
            disk.free()
        } else {
            _ = fs::write(hog, vec![0; 4 << 20])
        }
        self.full = !self.full;
        if self.full { "the disk full" } else { "the disk empty" }
    }

    /// A service that is there only now and then; nobody but we can end what was taken out.
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

    /// What there is in the end; after mere kills the services still speak.
    fn reckon(&self, weather: Weather) -> Faults {
        let twice = fs::read_to_string(self.scratch.path().join("twice")).unwrap_or_default().lines().count();
        let mut faults = Faults { twice, ..Faults::default() };
        for number in 0..SERVICES {
            let main = self.main(number);
            if weather != Weather::Kills {
                // What a killed one had read, and was to be written by the next.
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
                let tail_is_lost = weather == Weather::Kills || self.without_pipe.iter().any(|gone| gone == who);
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

/// All that is in a log directory.
fn logged(main: &Path) -> String {
    let names = fs::read_dir(main).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_log = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name == "current" || name.starts_with('@')
    };
    names.filter(is_log).map(|path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()).collect()
}

/// The name that the last instance of a service gives itself: the latest.
fn last_instance(service: &Service) -> Option<String> {
    let names = fs::read_dir(service.path("")).into_iter().flatten().flatten();
    let said = names.filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("said.")?.to_string()));
    said.max_by_key(|who| who.parse::<u64>().unwrap_or(0))
}

fn process(service: &Service) -> Option<i32> {
    let status = tests::Status::read(&service.path("supervise/status"))?;
    Some(status.pid).filter(|pid| *pid > 0)
}

/// Ours writes down who it is; the original is its process's parent.
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

/// What it did wrong; nothing is left of it.
fn weather(weather: Weather, duration: Duration) -> Faults {
    if !has("flock") {
        return Faults::default();
    }
    let scratch = Scratch::new();
    let mut storm = Storm::new(&scratch, tests::programs(), weather);
    // A multilog that finds its disk full when it begins has no journal.
    wait_until("all log", || (0..SERVICES).all(|number| storm.logs(number)));
    let end = Instant::now() + duration;
    while Instant::now() < end {
        storm.blow(weather);
        let pause = storm.random.below(100) as u64;
        sleep(Duration::from_millis(pause));
    }
    if storm.full {
        storm.fill_or_free();
    }
    // The guest is not svscan's if it is out.
    let guest = Service::at(&scratch, "guest");
    wait_until("the guest ends", || guest.try_control(b"dx").is_err());
    for number in 0..SERVICES {
        let service = storm.service(number);
        wait_until("every service is up and says something", || {
            let _ = service.try_control(b"uc");
            tests::Status::read(&service.path("supervise/status")).is_some_and(|status| status.want == b'u')
                && process(&service).is_some_and(tests::is_alive)
        });
        // Without one, svscan has nobody to read what is in the pipe when it ends.
        let logger = storm.logger(number);
        wait_until("every logger is up", || process(&logger).is_some_and(tests::is_alive));
    }
    storm.svscan.signal(Signal::SIGTERM);
    assert_eq!(storm.svscan.wait(), 0, "{}", storm.svscan.errors());
    eprintln!("{:?}", storm.deeds);
    let left = tests::processes_in(scratch.path());
    assert_eq!(left, [], "what is left");
    storm.reckon(weather)
}

/// No service ran twice, every line is there, once.
fn judge(kind: Weather, duration: Duration) {
    assert_eq!(weather(kind, duration), Faults::default());
}

#[test]
fn a_short_storm() {
    judge(Weather::ButSvscan, Duration::from_secs(8));
}

#[test]
#[ignore = "takes a minute"]
fn a_storm() {
    judge(Weather::ButSvscan, Duration::from_secs(60));
}

#[test]
#[ignore = "takes a minute"]
fn a_storm_that_kills_svscan_too() {
    judge(Weather::All, Duration::from_secs(60));
}

/// As many rounds as there may be.
fn together(rounds: usize) {
    if !has("flock") {
        return;
    }
    let scratch = Scratch::new().kept_on_failure();
    let mut storm = Storm::new(&scratch, tests::programs(), Weather::Together);
    wait_until("all log", || (0..SERVICES).all(|number| storm.logs(number)));
    for _ in 0..rounds {
        storm.blow(Weather::Together);
    }
    storm.svscan.signal(Signal::SIGTERM);
    assert_eq!(storm.svscan.wait(), 0, "{}", storm.svscan.errors());
    assert_eq!(tests::processes_in(scratch.path()), [], "what is left");
    assert_eq!(storm.reckon(Weather::Together), Faults::default());
}

#[test]
fn a_few_are_killed_in_one_instant() {
    together(25);
}

/// `ROUNDS` says how often; `.ci/slow` has it done five hundred times.
#[test]
#[ignore = "takes two minutes"]
fn many_times_a_few_are_killed_in_one_instant() {
    together(env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(100));
}

/// What everybody knows of 0.76: a killed multilog loses lines, a killed supervise leaves its service behind, and the
/// next one starts another.
#[test]
fn the_originals_faults_are_found() {
    let Some(folder) = has("flock").then(the_originals).flatten() else { return };
    let mut found = Faults::default();
    for _ in 0..20 {
        let scratch = Scratch::new();
        let mut storm = Storm::new(&scratch, &folder, Weather::Kills);
        wait_until("all log", || (0..SERVICES).all(|number| storm.logs(number)));
        for _ in 0..12 {
            storm.blow(Weather::Kills);
            sleep(Duration::from_millis(100));
        }
        // svscan looks every five seconds.
        sleep(Duration::from_secs(6));
        let Faults { twice, lost, .. } = storm.reckon(Weather::Kills);
        found.twice += twice;
        found.lost += lost;
        eprintln!("{found:?} {:?}", storm.deeds);
        if found.twice > 0 && found.lost > 0 {
            return;
        }
    }
    panic!("the storm finds nothing in the original: {found:?}");
}
