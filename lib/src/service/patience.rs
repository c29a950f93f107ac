//! How long a program waits for helpers that look at mounts which may not answer. No clock, no I/O.
//!
//! Within a round, which is what the program does until it waits for events again, it waits for one second in all, be it for
//! one mount or for many that fall silent together. After that each further mount gets a moment only, in which a server that
//! is well answers, and after another second nothing more is asked in this round.
//!
//! A server may also answer every look in time, but slowly. What the program has waited for such a mount is added up over the
//! rounds: after a second the mount rests for a second, and nothing is asked about it. A look that is answered as fast as
//! usual costs nothing, however many there are.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the program waits in a round for answers, unless further mounts are to be asked.
const ROUND: Duration = Duration::from_secs(1);
/// How long the program waits for each further mount after that.
const MOMENT: Duration = Duration::from_millis(50);
/// The longest time for which the program waits in one round.
const LONGEST_ROUND: Duration = Duration::from_secs(2);
/// An answer that takes no longer than this costs nothing.
const USUAL: Duration = Duration::from_millis(2);
/// After the program has waited for a mount for this long in all, the mount rests.
const ACCOUNT: Duration = Duration::from_secs(1);
/// How long such a mount rests. Meanwhile the program does what else there is to do.
const PAUSE: Duration = Duration::from_secs(1);
/// For every `FORGOTTEN` seconds that pass, one second of what the program has waited for a mount is forgotten.
const FORGOTTEN: u32 = 5;
/// For how long, at least, the program asks nothing about a mount that has not answered in time. One whose server answers always
/// too late takes no more than this part of the program's time.
pub const REST: Duration = Duration::from_secs(4);

/// How long the program has waited for some mounts.
#[derive(Debug, Clone, Copy)]
struct Account {
    spent: Duration,
    /// When `spent` was computed. Since then, a part of it was forgotten.
    at: Instant,
    rests_until: Option<Instant>,
}

impl Account {
    fn spent(&self, now: Instant) -> Duration {
        self.spent.saturating_sub(now.saturating_duration_since(self.at) / FORGOTTEN)
    }

    fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }
}

/// How long the program has waited, and for which mounts.
#[derive(Debug, Default)]
pub struct Patience {
    round: Duration,
    /// The accounts of the mounts to which looks led. Any of these may have been the slow one.
    accounts: HashMap<BTreeSet<PathBuf>, Account>,
}

impl Patience {
    /// How long the program may wait now for an answer about these mounts; `None` if it is not to ask.
    pub fn for_mounts(&mut self, points: &BTreeSet<PathBuf>, now: Instant) -> Option<Duration> {
        self.accounts.retain(|_, account| account.rests(now) || account.spent(now) > Duration::ZERO);
        let rests = self.accounts.iter().any(|(slow, account)| account.rests(now) && slow.is_subset(points));
        (!rests && self.round < LONGEST_ROUND).then(|| ROUND.saturating_sub(self.round).max(MOMENT))
    }

    /// Takes in that the program has waited for the time `time` for an answer about these mounts, until `now`.
    pub fn waited(&mut self, points: &BTreeSet<PathBuf>, time: Duration, now: Instant) {
        let time = time.saturating_sub(USUAL);
        if time.is_zero() {
            return;
        }
        self.round += time;
        let account = self.accounts.entry(points.clone()).or_insert(Account {
            spent: Duration::ZERO,
            at: now,
            rests_until: None,
        });
        let spent = account.spent(now) + time;
        let rests_until = (spent >= ACCOUNT).then(|| now + PAUSE);
        *account = Account { spent: if rests_until.is_some() { Duration::ZERO } else { spent }, at: now, rests_until };
    }

    /// Ends the round: the program does something else than to ask about mounts.
    pub fn end_round(&mut self) {
        self.round = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    /// Waits for mounts as long as there is patience, and returns for how long that is altogether.
    fn wait_for(
        patience: &mut Patience,
        silent: &[BTreeSet<PathBuf>],
        answer: Duration,
        now: &mut Instant,
    ) -> Duration {
        let began = *now;
        for mounts in silent {
            let Some(most) = patience.for_mounts(mounts, *now) else { continue };
            *now += most.min(answer);
            patience.waited(mounts, most.min(answer), *now);
        }
        now.duration_since(began)
    }

    #[test]
    fn many_mounts_that_fall_silent_together_cost_two_seconds_at_most() {
        let mut patience = Patience::default();
        let many: Vec<_> = (0..100).map(|number| mounts(&[&format!("/net/{number}")])).collect();
        let mut now = Instant::now();
        let cost = wait_for(&mut patience, &many, Duration::MAX, &mut now);
        assert!((LONGEST_ROUND..LONGEST_ROUND + Duration::from_millis(200)).contains(&cost), "{cost:?}");
        let one = mounts(&["/well"]);
        assert_eq!(patience.for_mounts(&one, now), None);
        patience.end_round();
        assert_eq!(patience.for_mounts(&one, now), Some(ROUND));
    }

    #[test]
    fn a_mount_that_answers_slowly_rests_from_time_to_time_and_one_that_answers_at_once_never() {
        let (mut patience, mut now) = (Patience::default(), Instant::now());
        let looks = |name| vec![mounts(&[name]); 1000];
        let slow = wait_for(&mut patience, &looks("/slow"), Duration::from_millis(30), &mut now);
        assert!((ACCOUNT..ACCOUNT * 3 / 2).contains(&slow), "{slow:?}");
        patience.end_round();
        assert_eq!(patience.for_mounts(&mounts(&["/slow"]), now), None);
        assert_eq!(patience.for_mounts(&mounts(&["/other", "/slow"]), now), None);
        assert_eq!(patience.for_mounts(&mounts(&["/other"]), now), Some(ROUND));
        assert_eq!(wait_for(&mut patience, &looks("/other"), USUAL, &mut now), USUAL * 1000);
        assert_eq!(patience.for_mounts(&mounts(&["/slow"]), now + PAUSE), Some(ROUND));
    }

    #[test]
    fn what_was_waited_is_forgotten_with_time() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        let one = mounts(&["/slow"]);
        for round in 0..100 {
            let now = now + ROUND * 5 * round;
            assert_eq!(patience.for_mounts(&one, now), Some(ROUND), "{round}");
            patience.waited(&one, ACCOUNT * 9 / 10, now);
            patience.end_round();
        }
        assert_eq!(patience.accounts.len(), 1);
    }
}
