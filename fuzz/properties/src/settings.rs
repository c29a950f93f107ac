use crate::input::Input;
use daemontools::service::policy::{Kind, Policy, files};
use daemontools::service::{Command, Ending, Exit, Process, Record, Role, Want};
use daemontools::tai64::Moment;
use std::time::Duration;
use supervise::machine::{Event, Machine};

/// Reads settings from `data`: a byte that chooses the setting, its text up to a NUL, and so on. Each setting is
/// accepted or refused as a whole.
pub fn policy(input: &mut Input, most: usize) -> Policy {
    let settings: Vec<&str> = files(Kind::Value).collect();
    let mut policy = Policy::default();
    for _ in 0..most {
        if !input.has_more() {
            break;
        }
        let setting = settings[usize::from(input.byte()) % settings.len()];
        let text = String::from_utf8_lossy(input.piece()).into_owned();
        let before = policy.clone();
        match policy.set(setting, &text) {
            Err(why) => assert!(policy == before && !why.is_empty(), "{setting}: {text}"),
            Ok(()) => {
                let first_line = text.lines().next().unwrap_or_default();
                let mut again = policy.clone();
                assert_eq!(again.set(setting, first_line), Ok(()), "{setting}: {text}");
                assert_eq!(again, policy, "{setting}: {text}");
            }
        }
    }
    policy
}

/// Any text is accepted or refused. An accepted value is within its range, and no duration is too long for a deadline.
pub fn in_range(data: &[u8]) {
    let mut input = Input(data);
    let policy = policy(&mut input, 16);
    assert!(policy.deaths_kept <= 4096);
    assert!(policy.success.iter().all(|code| (0..=255).contains(code)));
    assert!(policy.notification_fd.is_none_or(|fd| (3..=1023).contains(&fd)));
    assert!(policy.restart_limit.is_none_or(|limit| (1..=4096).contains(&limit.count)));
    let timeouts = [policy.kill_after, policy.timeouts.finish, policy.start_limit(), policy.watchdog];
    assert!(timeouts.into_iter().flatten().all(|timeout| !timeout.is_zero()));
    let restart = policy.restart;
    let pauses: Vec<Duration> = [0, 1, 2, 3, 30, 31, 32, u32::MAX].map(|streak| restart.pause(streak)).to_vec();
    assert!(pauses.is_sorted() && pauses.iter().all(|pause| (restart.first..=restart.cap).contains(pause)));
    live_by(policy);
}

/// Runs the machine far enough that every duration was added to the present time.
fn live_by(policy: Policy) {
    let now = Moment { uptime: Duration::from_secs(1 << 32), ..Moment::now() };
    let mut machine = Machine::remember(policy.clone(), Want::Up, &Record::blank(), now);
    let mut todo = Vec::new();
    let told = [Command::Down, Command::Up].map(Event::Told);
    let [down, up] = told;
    let events = [
        Event::Begun,
        Event::Configured(Box::new(Policy { has_finish: true, ..policy.clone() })),
        Event::Launched,
        Event::Executed,
        Event::Alive,
        down.clone(),
        up.clone(),
        Event::Ended(Exit::Signal(9)),
        Event::Launched,
        Event::Ended(Exit::Code(0)),
        down,
        up,
        Event::Configured(Box::new(policy.clone())),
        Event::NotLaunched,
        Event::Woken,
    ];
    for event in events {
        machine.step(now, event, &mut todo);
        let _ = machine.deadline();
    }
    let process = Process { pid: nix::unistd::Pid::from_raw(9), ticks: 1, serial: 0 };
    let record = Record { process: Some((Role::Run, process)), ending: Some(Ending::Told), ..machine.record() };
    let mut machine = Machine::resume(policy, &record, now);
    let late = now.after(Duration::MAX);
    machine.step(late, Event::Woken, &mut todo);
    assert!(machine.deadline().is_none_or(|deadline| deadline >= now.uptime));
}
