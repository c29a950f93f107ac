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
//! | `timeout-finish` | how long `finish` may take before it is killed; 0: for ever | 5s |
//! | `kill-scope` | which processes stopping reaches: `main`, `group`, `tree` | `main` |
//! | `restart-delay` | `FIRST [CAP [STABLE]]`: least time from a start to the next; doubled after each life shorter than STABLE, up to CAP | `1s` |
//! | `restart-limit` | `COUNT in TIME`: after this many deaths within this time the service has failed | none |
//! | `success-codes` | exit codes of `run` after which its work is done | none |
//! | `max-death-tally` | how many deaths `supervise/state` remembers, at most 4096 | 16 |
//! | `notification-fd` | the descriptor on which `run` writes a newline when it is ready | none |
//! | `timeout-up` | how long `run` may take to be ready before it is stopped and started again; 0: for ever | 0 |
//! | `notify-socket` | (any) `run` has NOTIFY_SOCKET and says READY=1 when it is ready; `path`: the socket has a path | |
//! | `check` | a program run until it succeeds: then the service is ready | |
//! | `setsid` | (any) `run` leads a session of its own, as it does with `kill-scope` `group` | |
//! | `no-setsid` | (any) never that | |
//! | `watchdog` | `run` must send WATCHDOG=1 at least that often | none |

use daemontools::service::setting::{TIMEOUT_KILL, timeout, value};
use daemontools::{duration, suggest};
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

/// All that the settings say.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// There is a `start`.
    pub has_start: bool,
    /// There is a `finish`.
    pub has_finish: bool,
    /// There is a `stop`.
    pub has_stop: bool,
    /// What `svc -d` sends first.
    pub down_signal: Signal,
    /// How long after the down signal KILL follows.
    pub kill_after: Option<Duration>,
    /// How long `finish` may run before KILL ends it.
    pub kill_finish_after: Option<Duration>,
    /// Which processes stopping reaches.
    pub scope: Scope,
    /// How long supervise waits before it starts `run` again.
    pub restart: Restart,
    /// After how many deaths supervise does not start `run` again.
    pub restart_limit: Option<Limit>,
    /// Exit codes of `run` after which its work is done.
    pub success: Vec<i32>,
    /// How many deaths are remembered.
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
    /// How long `run` may take to be ready.
    pub ready_within: Option<Duration>,
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
            has_start: false,
            has_finish: false,
            has_stop: false,
            down_signal: Signal::SIGTERM,
            kill_after: None,
            kill_finish_after: Some(Duration::from_secs(5)),
            scope: Scope::Main,
            restart: Restart::DEFAULT,
            restart_limit: None,
            success: Vec::new(),
            deaths_kept: 16,
            notification_fd: None,
            notify_socket: false,
            has_socket_path: false,
            has_check: false,
            has_notify: false,
            ready_within: None,
            watchdog: None,
            setsid: false,
            no_setsid: false,
        }
    }
}

/// The files that are run.
pub const PROGRAMS: [&str; 5] = ["start", "finish", "stop", "check", "notify"];

/// The files that only have to be there. `notify-socket` may also say `path`.
pub const MARKS: [&str; 3] = ["notify-socket", "setsid", "no-setsid"];

/// The files that hold a value.
pub const SETTINGS: [&str; 11] = [
    "down-signal",
    TIMEOUT_KILL,
    "timeout-finish",
    "kill-scope",
    "restart-delay",
    "restart-limit",
    "success-codes",
    "max-death-tally",
    "notification-fd",
    "timeout-up",
    "watchdog",
];

/// A file of s6, which says there what `no-setsid` says here.
const OF_OTHERS: &[u8] = b"nosetsid";

/// The setting that was probably meant by a file of this name, which is none: its name is one edit away. Names with a
/// character that no setting has, as editors give to copies (`watchdog~`, `.watchdog.swp`), and numbered ones, are meant for
/// nothing. Programs have short names, which many others resemble.
pub fn meant_by(name: &[u8]) -> Option<&'static str> {
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_');
    let mut settings = SETTINGS.into_iter().chain(MARKS);
    if !name.iter().all(is_letter) || name == OF_OTHERS || settings.clone().any(|setting| name == setting.as_bytes()) {
        return None;
    }
    settings.find(|setting| suggest::is_one_edit_away(name, setting.as_bytes()))
}

impl Policy {
    /// Whether all that comes between a death of `run` and its next start is what the original does.
    pub fn pauses_as_the_original(&self) -> bool {
        self.restart == Restart::DEFAULT && !self.has_finish && self.scope != Scope::Tree
    }

    /// What these settings ask for; [`Policy::set`] has accepted each of them before.
    pub fn of(settings: &[(String, String)]) -> Policy {
        let mut policy = Policy::default();
        for (file, text) in settings {
            let _ = policy.set(file, text);
        }
        policy
    }

    /// Whether `run` leads a session of its own.
    pub fn own_session(&self) -> bool {
        (self.setsid || self.scope == Scope::Group) && !self.no_setsid
    }

    /// Whether the service tells, or `check` finds out, when it is ready. Otherwise it is ready as soon as it runs.
    pub fn tells_when_ready(&self) -> bool {
        self.notification_fd.is_some() || self.notify_socket || self.has_check
    }

    /// Whether the service has a socket for its messages.
    pub fn listens(&self) -> bool {
        self.notify_socket || self.watchdog.is_some()
    }

    /// Sets what the text of one of [`SETTINGS`] says, or that there is one of [`PROGRAMS`] or [`MARKS`].
    ///
    /// # Errors
    /// What is wrong with it, in a few words; the policy is as before.
    pub fn set(&mut self, file: &str, text: &str) -> Result<(), &'static str> {
        let value = value(text);
        match file {
            "down-signal" => self.down_signal = signal(value)?,
            TIMEOUT_KILL => self.kill_after = timeout(value)?,
            "timeout-finish" => self.kill_finish_after = timeout(value)?,
            "kill-scope" => self.scope = scope(value)?,
            "restart-delay" => self.restart = restart(value)?,
            "restart-limit" => self.restart_limit = Some(limit(value)?),
            "success-codes" => self.success = codes(value)?,
            "max-death-tally" => self.deaths_kept = at_most(value, 4096)?,
            "notification-fd" => self.notification_fd = Some(descriptor(value)?),
            "timeout-up" => self.ready_within = timeout(value)?,
            "watchdog" => self.watchdog = timeout(value)?,
            "start" => self.has_start = true,
            "finish" => self.has_finish = true,
            "stop" => self.has_stop = true,
            "check" => self.has_check = true,
            "notify" => self.has_notify = true,
            "notify-socket" => (self.notify_socket, self.has_socket_path) = (true, value == "path"),
            "setsid" => self.setsid = true,
            "no-setsid" => self.no_setsid = true,
            _ => return Err("not a setting"),
        }
        Ok(())
    }
}

fn signal(value: &str) -> Result<Signal, &'static str> {
    let by_number = value.parse().ok().and_then(|number: i32| Signal::try_from(number).ok());
    let upper = value.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    by_number.or_else(|| Signal::from_str(&name).ok()).ok_or("not a signal")
}

fn scope(value: &str) -> Result<Scope, &'static str> {
    match value {
        "main" => Ok(Scope::Main),
        "group" => Ok(Scope::Group),
        "tree" => Ok(Scope::Tree),
        _ => Err("neither main nor group nor tree"),
    }
}

fn restart(value: &str) -> Result<Restart, &'static str> {
    let mut durations = value.split_ascii_whitespace().map(duration::parse);
    let first = durations.next().ok_or("not a duration")??;
    let cap = durations.next().transpose()?.unwrap_or(first).max(first);
    let stable = durations.next().transpose()?.unwrap_or(cap);
    if durations.next().is_some() {
        return Err("more than three durations");
    }
    Ok(Restart { first, cap, stable })
}

fn limit(value: &str) -> Result<Limit, &'static str> {
    let (count, within) = value.split_once(" in ").ok_or("not COUNT in TIME")?;
    let count = at_most(count.trim(), 4096)?.max(1);
    Ok(Limit { count, within: duration::parse(within.trim())? })
}

fn codes(value: &str) -> Result<Vec<i32>, &'static str> {
    let words = value.split(|separator: char| separator == ',' || separator.is_ascii_whitespace());
    let codes = words.filter(|word| !word.is_empty()).map(|word| word.parse::<u8>().map(i32::from));
    codes.collect::<Result<_, _>>().map_err(|_| "not exit codes")
}

fn descriptor(value: &str) -> Result<i32, &'static str> {
    value.parse().ok().filter(|fd| (3..=1023).contains(fd)).ok_or("not a descriptor from 3 to 1023")
}

fn at_most(value: &str, limit: usize) -> Result<usize, &'static str> {
    value.parse().map(|number: usize| number.min(limit)).map_err(|_| "not a number")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for name in SETTINGS.into_iter().chain(MARKS).chain(PROGRAMS) {
            assert_eq!(meant_by(name.as_bytes()), None, "{name}");
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
        fn any_text_is_taken_or_refused(file in prop::sample::select(&SETTINGS[..]), text in "(?s).{0,60}") {
            let _ = Policy::default().set(file, &text);
        }
    }
}
