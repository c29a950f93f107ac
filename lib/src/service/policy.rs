//! What the files of a service directory ask of supervise, and what they mean: no I/O.
//!
//! Each setting is a file of its own. It is read at every start, so that a change counts from the next start on. Only
//! the first line counts, and blanks around it do not. A duration is a bare number of milliseconds, as in s6, or has
//! units (`5s`, `1m 30s`). For a file that cannot be understood there is a warning, and the default counts;
//! for one that cannot be read now, what it said before.
//!
//! | file | content | default |
//! |---|---|---|
//! | `down-signal` | the signal that `svc -d` sends first: a name or a number | `TERM` |
//! | `timeout-kill` | how long after it KILL follows; 0: never | 0 |
//! | `timeout-start` `timeout-pre-start` `timeout-post-start` `timeout-pre-stop` `timeout-reload` `timeout-stop` | how long that program may take before it is killed; 0: for ever | 0 |
//! | `timeout-finish` | how long `finish` may take before it is killed; 0: for ever | 5s |
//! | `kill-scope` | which processes stopping reaches: `main`, `group`, `tree` | `main` |
//! | `restart-delay` | `FIRST [CAP [STABLE]]`: least time from a start to the next; doubled after each life shorter than STABLE, up to CAP | `1s` |
//! | `restart-limit` | `COUNT in TIME`: after this many deaths within this time the service has failed; `COUNT in TIME respawns`: it has failed when it would be restarted more often than that, counted as by Upstart | none |
//! | `success-codes` | exit codes of `run`, and names of signals, after which its work is done | none |
//! | `max-death-tally` | how many deaths `supervise/state` remembers, at most 4096; those that `restart-limit` counts are remembered anyway | 16 |
//! | `notification-fd` | the descriptor on which `run` writes a newline when it is ready | none |
//! | `timeout-up` | how long `run` may take to be ready before it is stopped and started again; 0: for ever | 0; with `expect` or `pidfile` 90s |
//! | `notify-socket` | (any) `run` has NOTIFY_SOCKET and says READY=1 when it is ready; `path`: the socket has a path | |
//! | `check` | a program run until it succeeds: then the service is ready | |
//! | `setsid` | (any) `run` leads a session of its own, as it does with `kill-scope` `group` | |
//! | `no-setsid` | (any) never that | |
//! | `abstract` | (any) the service is a state: without `run`, it is up without a process; with one, this counts for nothing | |
//! | `watchdog` | `run` must send WATCHDOG=1 at least that often | none |
//! | `expect` | `fork`, `daemon`: `run` goes into the background; `stop`: it raises SIGSTOP when it is ready | |
//! | `pidfile` | `run` goes into the background, and its process writes its number into this file | |

use super::setting::{self, TIMEOUT_KILL, timeout};
use super::{Beside, Role};
use crate::{duration, spelling};
use nix::sys::signal::Signal;
use std::str::FromStr;
use std::time::Duration;

/// Which processes the signals of stopping reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The process that was started, as with the original.
    Main,
    /// The process group of that process, which leads one of its own.
    Group,
    /// All descendants of that process, wherever they moved.
    Tree,
}

/// The pause between two starts of `run`, counted from the earlier start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// The pause after a first short run.
    pub first: Duration,
    /// The longest pause.
    pub cap: Duration,
    /// A run that lasts this long is not short.
    pub stable: Duration,
}

impl Restart {
    /// The pause after `short_runs` short runs in a row.
    pub fn pause(&self, short_runs: u32) -> Duration {
        let doublings = short_runs.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.cap)
    }
}

/// How many deaths within which time are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The number of deaths.
    pub count: usize,
    /// The time within which they count.
    pub within: Duration,
}

/// How `run` shows that it has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It goes into the background by one fork: its first process ends well.
    Fork,
    /// It goes into the background by two forks: its first process ends well.
    Daemon,
    /// It raises SIGSTOP, and goes on when it is continued.
    Stop,
}

/// How long a service with an `expect` or a `pidfile` may take to start.
///
/// Source: systemd, whose `DefaultTimeoutStartSec` this is.
const START_OF_A_DAEMON: Duration = Duration::from_secs(90);

/// How long each program but `run` may take before KILL ends it; `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The time for `start`.
    pub start: Option<Duration>,
    /// The time for `pre-start`.
    pub pre_start: Option<Duration>,
    /// The time for `post-start`.
    pub post_start: Option<Duration>,
    /// The time for `pre-stop`.
    pub pre_stop: Option<Duration>,
    /// The time for `reload`.
    pub reload: Option<Duration>,
    /// The time for `finish`.
    pub finish: Option<Duration>,
    /// The time for `stop`.
    pub stop: Option<Duration>,
}

impl Timeouts {
    /// The time for the program of this role. `run` may run for ever.
    pub fn of(&self, role: Role) -> Option<Duration> {
        match role {
            Role::Start => self.start,
            Role::PreStart => self.pre_start,
            Role::Run => None,
            Role::Finish => self.finish,
            Role::Stop => self.stop,
        }
    }

    /// The time for this program, which runs beside `run`.
    pub fn of_beside(&self, beside: Beside) -> Option<Duration> {
        match beside {
            Beside::PostStart => self.post_start,
            Beside::PreStop => self.pre_stop,
            Beside::Reload => self.reload,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            start: None,
            pre_start: None,
            post_start: None,
            pre_stop: None,
            reload: None,
            finish: Some(Duration::from_secs(5)),
            stop: None,
        }
    }
}

/// All that the settings say.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// There is an `abstract` and no `run`: the service is a state, which is up without a process.
    pub is_state: bool,
    /// There is a `start`.
    pub has_start: bool,
    /// There is a `pre-start`.
    pub has_pre_start: bool,
    /// There is a `post-start`.
    pub has_post_start: bool,
    /// There is a `pre-stop`.
    pub has_pre_stop: bool,
    /// There is a `reload`.
    pub has_reload: bool,
    /// There is a `finish`.
    pub has_finish: bool,
    /// There is a `stop`.
    pub has_stop: bool,
    /// What `svc -d` sends first.
    pub down_signal: Signal,
    /// How long after the down signal KILL follows.
    pub kill_after: Option<Duration>,
    /// How long each program but `run` may take.
    pub timeouts: Timeouts,
    /// Which processes stopping reaches.
    pub scope: Scope,
    /// How long supervise waits before it starts `run` again.
    pub restart: Restart,
    /// After how many deaths supervise does not start `run` again.
    pub restart_limit: Option<Limit>,
    /// After how many restarts supervise does not restart `run` any more, counted in windows of time as by Upstart: the first
    /// restart after the end of a window begins the next one.
    pub respawn_limit: Option<Limit>,
    /// Exit codes of `run` after which its work is done.
    pub success: Vec<i32>,
    /// Signals that may end `run` when its work is done.
    pub success_signals: Vec<i32>,
    /// How many deaths are remembered, besides those that the restart limit counts.
    pub deaths_kept: usize,
    /// Where `run` writes a newline when it is ready.
    pub notification_fd: Option<i32>,
    /// There is a `notify-socket`: `run` finds NOTIFY_SOCKET in its environment.
    pub notify_socket: bool,
    /// `notify-socket` says that the socket is to have a path.
    pub has_socket_path: bool,
    /// There is a `check`.
    pub has_check: bool,
    /// There is a `notify`.
    pub has_notify: bool,
    /// How long `run` may take to be ready, where `timeout-up` says that.
    pub ready_within: Option<Duration>,
    /// There is a `timeout-up`.
    pub has_timeout_up: bool,
    /// How `run` shows that it has started, where `expect` says that.
    pub expect: Option<Expect>,
    /// The file into which the process that `run` leaves in the background writes its number.
    pub pidfile: Option<String>,
    /// How often `run` must say that it is alive.
    pub watchdog: Option<Duration>,
    /// There is a `setsid`.
    pub setsid: bool,
    /// There is a `no-setsid`, which outweighs `setsid`.
    pub no_setsid: bool,
}

impl Restart {
    /// The original's pause: a second from each start to the next.
    const DEFAULT: Restart =
        Restart { first: Duration::from_secs(1), cap: Duration::from_secs(1), stable: Duration::from_secs(1) };
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            is_state: false,
            has_start: false,
            has_pre_start: false,
            has_post_start: false,
            has_pre_stop: false,
            has_reload: false,
            has_finish: false,
            has_stop: false,
            down_signal: Signal::SIGTERM,
            kill_after: None,
            timeouts: Timeouts::default(),
            scope: Scope::Main,
            restart: Restart::DEFAULT,
            restart_limit: None,
            respawn_limit: None,
            success: Vec::new(),
            success_signals: Vec::new(),
            deaths_kept: 16,
            notification_fd: None,
            notify_socket: false,
            has_socket_path: false,
            has_check: false,
            has_notify: false,
            ready_within: None,
            has_timeout_up: false,
            expect: None,
            pidfile: None,
            watchdog: None,
            setsid: false,
            no_setsid: false,
        }
    }
}

/// What a file of the service directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// supervise runs it.
    Program,
    /// It only has to be there. `notify-socket` may also say `path`.
    Mark,
    /// Its first line is a value.
    Value,
}

/// What such a file sets in a [`Policy`].
#[derive(Debug, Clone, Copy)]
enum Sets {
    /// That the file is there.
    Presence(fn(&mut Policy) -> &mut bool),
    /// What its first line says. If the function refuses the line, it leaves the policy as it was.
    Text(fn(&mut Policy, &str) -> Result<(), &'static str>),
}

/// A file by which the owner of a service sets something.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The name of the file.
    pub file: &'static str,
    /// What the file is.
    pub kind: Kind,
    sets: Sets,
}

/// The mark of a state.
pub const ABSTRACT: &str = "abstract";
/// The file that says which ends of `run` mean that its work is done.
pub const SUCCESS_CODES: &str = "success-codes";

/// All settings, in the order in which supervise reads them.
pub const SETTINGS: [Setting; 32] = [
    program("start", |policy| &mut policy.has_start),
    program("pre-start", |policy| &mut policy.has_pre_start),
    program("post-start", |policy| &mut policy.has_post_start),
    program("pre-stop", |policy| &mut policy.has_pre_stop),
    program("reload", |policy| &mut policy.has_reload),
    program("finish", |policy| &mut policy.has_finish),
    program("stop", |policy| &mut policy.has_stop),
    program("check", |policy| &mut policy.has_check),
    program("notify", |policy| &mut policy.has_notify),
    Setting {
        file: "notify-socket",
        kind: Kind::Mark,
        sets: Sets::Text(|policy, text| {
            (policy.notify_socket, policy.has_socket_path) = (true, text == "path");
            Ok(())
        }),
    },
    mark("setsid", |policy| &mut policy.setsid),
    mark("no-setsid", |policy| &mut policy.no_setsid),
    mark(ABSTRACT, |policy| &mut policy.is_state),
    value("down-signal", |policy, text| store(&mut policy.down_signal, signal(text))),
    value(TIMEOUT_KILL, |policy, text| store(&mut policy.kill_after, timeout(text))),
    value("timeout-start", |policy, text| store(&mut policy.timeouts.start, timeout(text))),
    value("timeout-pre-start", |policy, text| store(&mut policy.timeouts.pre_start, timeout(text))),
    value("timeout-post-start", |policy, text| store(&mut policy.timeouts.post_start, timeout(text))),
    value("timeout-pre-stop", |policy, text| store(&mut policy.timeouts.pre_stop, timeout(text))),
    value("timeout-reload", |policy, text| store(&mut policy.timeouts.reload, timeout(text))),
    value("timeout-finish", |policy, text| store(&mut policy.timeouts.finish, timeout(text))),
    value("timeout-stop", |policy, text| store(&mut policy.timeouts.stop, timeout(text))),
    value("kill-scope", |policy, text| store(&mut policy.scope, scope(text))),
    value("restart-delay", |policy, text| store(&mut policy.restart, restart(text))),
    value("restart-limit", |policy, text| {
        (policy.restart_limit, policy.respawn_limit) = limits(text)?;
        Ok(())
    }),
    value(SUCCESS_CODES, |policy, text| {
        (policy.success, policy.success_signals) = successes(text)?;
        Ok(())
    }),
    value("max-death-tally", |policy, text| store(&mut policy.deaths_kept, at_most(text, 4096))),
    value("notification-fd", |policy, text| store(&mut policy.notification_fd, descriptor(text).map(Some))),
    value("timeout-up", |policy, text| {
        (policy.ready_within, policy.has_timeout_up) = (timeout(text)?, true);
        Ok(())
    }),
    value("watchdog", |policy, text| store(&mut policy.watchdog, timeout(text))),
    value("expect", |policy, text| store(&mut policy.expect, expect(text).map(Some))),
    value("pidfile", |policy, text| store(&mut policy.pidfile, path(text).map(Some))),
];

const fn program(file: &'static str, place: fn(&mut Policy) -> &mut bool) -> Setting {
    Setting { file, kind: Kind::Program, sets: Sets::Presence(place) }
}

const fn mark(file: &'static str, place: fn(&mut Policy) -> &mut bool) -> Setting {
    Setting { file, kind: Kind::Mark, sets: Sets::Presence(place) }
}

const fn value(file: &'static str, set: fn(&mut Policy, &str) -> Result<(), &'static str>) -> Setting {
    Setting { file, kind: Kind::Value, sets: Sets::Text(set) }
}

fn store<T>(place: &mut T, value: Result<T, &'static str>) -> Result<(), &'static str> {
    *place = value?;
    Ok(())
}

/// The names of the files of one kind.
pub fn files(kind: Kind) -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter(move |setting| setting.kind == kind).map(|setting| setting.file)
}

/// What the file of this name is, if it is a setting.
pub fn kind_of(file: &str) -> Option<Kind> {
    SETTINGS.iter().find(|setting| setting.file == file).map(|setting| setting.kind)
}

/// A file of s6, which says there what `no-setsid` says here.
const OF_OTHERS: &[u8] = b"nosetsid";

/// The setting that was probably meant by a file of this name, which is none: its name is one edit away. Names with a
/// character that no setting has, as editors give to copies (`watchdog~`, `.watchdog.swp`), and numbered ones, are meant for
/// nothing. Programs have short names, which many others resemble.
pub fn meant_by(name: &[u8]) -> Option<&'static str> {
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_');
    let settings = || files(Kind::Value).chain(files(Kind::Mark));
    if !name.iter().all(is_letter) || name == OF_OTHERS || settings().any(|setting| name == setting.as_bytes()) {
        return None;
    }
    settings().find(|setting| spelling::is_one_edit_away(name, setting.as_bytes()))
}

impl Policy {
    /// Whether all that comes between a death of `run` and its next start is what the original does.
    pub fn pauses_as_the_original(&self) -> bool {
        let has_more = self.has_pre_start || self.has_finish || self.goes_into_background();
        self.restart == Restart::DEFAULT && !has_more && self.scope != Scope::Tree
    }

    /// What these settings ask for; [`Policy::set`] has accepted each of them before.
    pub fn of(settings: &[(String, String)]) -> Policy {
        let mut policy = Policy::default();
        for (file, text) in settings {
            let _ = policy.set(file, text);
        }
        policy
    }

    /// Whether the number of deaths is limited, be it as that of restarts.
    pub fn limits_deaths(&self) -> bool {
        self.restart_limit.is_some() || self.respawn_limit.is_some()
    }

    /// Whether `run` leads a session of its own.
    pub fn own_session(&self) -> bool {
        (self.setsid || self.scope == Scope::Group) && !self.no_setsid
    }

    /// Whether the service tells, or `check` finds out, when it is ready. Otherwise it is ready as soon as it runs. A
    /// state has no process that could tell.
    pub fn tells_when_ready(&self) -> bool {
        !self.is_state && (self.notification_fd.is_some() || self.notify_socket || self.has_check || self.expects())
    }

    /// Whether supervise sees by itself that `run` has started: it goes into the background, or raises SIGSTOP.
    pub fn expects(&self) -> bool {
        self.expect.is_some() || self.pidfile.is_some()
    }

    /// Whether `run` goes into the background: the process of the service is one that its first process leaves.
    pub fn goes_into_background(&self) -> bool {
        match self.expect {
            Some(Expect::Fork | Expect::Daemon) => true,
            Some(Expect::Stop) => false,
            None => self.pidfile.is_some(),
        }
    }

    /// How long `run` may take to be ready.
    pub fn start_limit(&self) -> Option<Duration> {
        if self.expects() && !self.has_timeout_up { Some(START_OF_A_DAEMON) } else { self.ready_within }
    }

    /// Whether the service has a socket for its messages.
    pub fn listens(&self) -> bool {
        self.notify_socket || self.watchdog.is_some()
    }

    /// Sets what the text of one of [`SETTINGS`] says. Of a program, and of most marks, only the presence counts.
    ///
    /// # Errors
    /// What is wrong with it, in a few words; the policy is as before.
    pub fn set(&mut self, file: &str, text: &str) -> Result<(), &'static str> {
        match SETTINGS.iter().find(|setting| setting.file == file).map(|setting| setting.sets) {
            Some(Sets::Presence(place)) => *place(self) = true,
            Some(Sets::Text(set)) => return set(self, setting::value(text)),
            None => return Err("not a setting"),
        }
        Ok(())
    }
}

fn signal(value: &str) -> Result<Signal, &'static str> {
    let by_number = value.parse().ok().and_then(|number: i32| Signal::try_from(number).ok());
    let upper = value.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    by_number.or_else(|| Signal::from_str(&name).ok()).ok_or("not a signal, as in INT or HUP")
}

fn scope(value: &str) -> Result<Scope, &'static str> {
    match value {
        "main" => Ok(Scope::Main),
        "group" => Ok(Scope::Group),
        "tree" => Ok(Scope::Tree),
        _ => Err("neither main nor group nor tree"),
    }
}

fn expect(value: &str) -> Result<Expect, &'static str> {
    match value {
        "fork" => Ok(Expect::Fork),
        "daemon" => Ok(Expect::Daemon),
        "stop" => Ok(Expect::Stop),
        _ => Err("neither fork nor daemon nor stop"),
    }
}

fn path(value: &str) -> Result<String, &'static str> {
    if value.is_empty() || value.contains('\0') { Err("not a path, as in /run/web.pid") } else { Ok(value.into()) }
}

fn restart(value: &str) -> Result<Restart, &'static str> {
    let mut durations = value.split_ascii_whitespace().map(duration::parse);
    let first = durations.next().ok_or(duration::NO_DURATION)??;
    let cap = durations.next().transpose()?.unwrap_or(first).max(first);
    let stable = durations.next().transpose()?.unwrap_or(cap);
    if durations.next().is_some() {
        return Err("more than FIRST, CAP and STABLE, as in 1s 1m 5m");
    }
    Ok(Restart { first, cap, stable })
}

const NO_LIMIT: &str = "not COUNT in TIME, as in 5 in 1m";

/// The limit of deaths, or the limit of restarts. Of restarts, 0 in either number is no limit.
///
/// Source: Upstart's `respawn limit`.
fn limits(value: &str) -> Result<(Option<Limit>, Option<Limit>), &'static str> {
    let Some(respawns) = value.strip_suffix(" respawns") else {
        let Limit { count, within } = limit(value)?;
        return Ok((Some(Limit { count: count.max(1), within }), None));
    };
    let respawns = limit(respawns)?;
    Ok((None, (respawns.count > 0 && !respawns.within.is_zero()).then_some(respawns)))
}

fn limit(value: &str) -> Result<Limit, &'static str> {
    let (count, within) = value.split_once(" in ").ok_or(NO_LIMIT)?;
    let count = at_most(count.trim(), 4096).map_err(|_| NO_LIMIT)?;
    Ok(Limit { count, within: duration::parse(within.trim()).map_err(|_| NO_LIMIT)? })
}

/// Exit codes, and signals by their names.
fn successes(value: &str) -> Result<(Vec<i32>, Vec<i32>), &'static str> {
    const NEITHER: &str = "not exit codes from 0 to 255 or names of signals, as in 0 3 TERM";
    let (mut codes, mut signals) = (Vec::new(), Vec::new());
    let words = value.split(|separator: char| separator == ',' || separator.is_ascii_whitespace());
    for word in words.filter(|word| !word.is_empty()) {
        match word.parse::<u8>() {
            Ok(code) => codes.push(code.into()),
            Err(_) if word.starts_with(|first: char| first.is_ascii_alphabetic()) => {
                signals.push(signal(word).map_err(|_| NEITHER)? as i32);
            }
            Err(_) => return Err(NEITHER),
        }
    }
    Ok((codes, signals))
}

fn descriptor(value: &str) -> Result<i32, &'static str> {
    value.parse().ok().filter(|fd| (3..=1023).contains(fd)).ok_or("not a descriptor from 3 to 1023, as in 3")
}

fn at_most(value: &str, limit: usize) -> Result<usize, &'static str> {
    value.parse().map(|number: usize| number.min(limit)).map_err(|_| "not a number, as in 16")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_one_of_deaths_or_one_of_restarts() {
        let limit = |count, seconds| Some(Limit { count, within: Duration::from_secs(seconds) });
        let table = [
            ("3 in 5s", Ok((limit(3, 5), None))),
            ("0 in 5s", Ok((limit(1, 5), None))),
            ("10 in 5s respawns", Ok((None, limit(10, 5)))),
            ("0 in 5s respawns", Ok((None, None))),
            ("3 in 0 respawns", Ok((None, None))),
            ("respawns", Err(NO_LIMIT)),
            ("3 in 5s respawn", Err(NO_LIMIT)),
            ("3 respawns", Err(NO_LIMIT)),
        ];
        for (text, expected) in table {
            assert_eq!(limits(text), expected, "{text}");
        }
    }

    #[test]
    fn codes_are_numbers_and_signals_have_names() {
        let table = [
            ("0 3", Some((vec![0, 3], vec![]))),
            ("0, TERM SIGHUP", Some((vec![0], vec![15, 1]))),
            ("sigint", Some((vec![], vec![2]))),
            ("", Some((vec![], vec![]))),
            ("256", None),
            ("-1", None),
            ("TREM", None),
        ];
        for (text, expected) in table {
            assert_eq!(successes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_name_one_edit_away_is_meant_for_a_setting() {
        let table = [
            ("timeout-kil", Some("timeout-kill")),
            ("timeout-killl", Some("timeout-kill")),
            ("timeout_kill", Some("timeout-kill")),
            ("timeuot-kill", Some("timeout-kill")),
            ("restart_limit", Some("restart-limit")),
            ("success-code", Some("success-codes")),
            ("Watchdog", Some("watchdog")),
            ("notifysocket", Some("notify-socket")),
            // They are settings themselves.
            ("setsid", None),
            ("no-setsid", None),
            ("timeout-up", None),
            // Two edits, copies, and what other programs know.
            ("timeoutkil", None),
            ("watchdog~", None),
            ("watchdog.", None),
            ("timeout-kill1", None),
            ("#watchdog", None),
            ("nosetsid", None),
            ("after", None),
            ("essential", None),
            ("down", None),
            ("run~", None),
            ("stops", None),
            ("checks", None),
            ("ready", None),
            ("", None),
        ];
        for (name, meant) in table {
            assert_eq!(meant_by(name.as_bytes()), meant, "{name}");
        }
        for Setting { file, .. } in SETTINGS {
            assert_eq!(meant_by(file.as_bytes()), None, "{file}");
        }
    }
    use proptest::prelude::*;

    fn with(file: &str, text: &str) -> Result<Policy, &'static str> {
        let mut policy = Policy::default();
        policy.set(file, text).map(|()| policy)
    }

    #[test]
    fn durations_are_milliseconds_or_have_units() {
        let table = [
            ("5000", Some(Duration::from_secs(5))),
            (" 5s \nsecond line", Some(Duration::from_secs(5))),
            ("1m 30s", Some(Duration::from_secs(90))),
            ("0", None),
        ];
        for (text, expected) in table {
            assert_eq!(with("timeout-kill", text).unwrap().kill_after, expected, "{text}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["HUP", "hup", "SIGHUP", "1\n"] {
            assert_eq!(with("down-signal", text).unwrap().down_signal, Signal::SIGHUP, "{text}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_cap() {
        let restart = with("restart-delay", "100ms 1s").unwrap().restart;
        let pauses: Vec<_> = (0..8).map(|short_runs| restart.pause(short_runs).as_millis()).collect();
        assert_eq!(pauses, [100, 100, 200, 400, 800, 1000, 1000, 1000]);
        assert_eq!(restart.pause(u32::MAX), Duration::from_secs(1));
        assert_eq!(restart.stable, Duration::from_secs(1));
    }

    #[test]
    fn limits_count_deaths_in_a_time() {
        let expected = Limit { count: 5, within: Duration::from_secs(60) };
        assert_eq!(with("restart-limit", "5 in 1m").unwrap().restart_limit, Some(expected));
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let table = [
            ("down-signal", "NONSENSE"),
            ("timeout-kill", ""),
            ("timeout-kill", "-5"),
            ("kill-scope", "everything"),
            ("restart-delay", "1s 2s 3s 4s"),
            ("restart-limit", "5"),
            ("success-codes", "0 256"),
            ("notification-fd", "2"),
            ("notification-fd", "99999999999999999999"),
        ];
        for (file, text) in table {
            let mut policy = Policy::default();
            assert!(policy.set(file, text).is_err(), "{file}: {text}");
            assert_eq!(policy, Policy::default());
        }
    }

    #[test]
    fn a_socket_has_a_path_only_where_that_is_said() {
        for (text, has_path) in [("", false), ("yes", false), ("path", true), (" path \nmore", true), ("/path", false)]
        {
            let policy = with("notify-socket", text).unwrap();
            assert!(policy.notify_socket && policy.has_socket_path == has_path, "{text:?}");
        }
    }

    #[test]
    fn a_session_of_its_own_is_asked_for_or_needed_and_can_be_forbidden() {
        let table: [(&[&str], bool); 5] = [
            (&[], false),
            (&["setsid"], true),
            (&["kill-scope"], true),
            (&["no-setsid", "setsid"], false),
            (&["kill-scope", "no-setsid"], false),
        ];
        for (files, expected) in table {
            let settings: Vec<_> = files.iter().map(|file| (file.to_string(), "group".to_string())).collect();
            assert_eq!(Policy::of(&settings).own_session(), expected, "{files:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(setting in prop::sample::select(&SETTINGS[..]), text in "(?s).{0,60}") {
            let mut policy = Policy::default();
            prop_assert!(policy.set(setting.file, &text).is_ok() || policy == Policy::default());
        }
    }
}
