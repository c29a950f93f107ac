//! Decides what svscan does about the lock of its directory. No I/O.
//!
//! An svscan waits as long as another one serves the directory. But no other account may keep it from its directory: a lock
//! that another account owns, or may open, is replaced, unless a process of svscan's own account holds it, which may be an
//! svscan.

/// What came of the attempt to lock the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// svscan has the lock.
    Locked,
    /// Another process has it.
    Held,
    /// The system cannot lock this file.
    Refused,
}

/// What svscan does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockStep {
    /// It serves the directory.
    Serve,
    /// It waits until it has the lock.
    Wait,
    /// It puts a lock in place that no other account can open. Where that cannot be done, it serves the directory with the
    /// lock that it has, or without one.
    Replace,
    /// It serves the directory without a lock.
    ServeUnlocked,
}

/// Decides what svscan does after an attempt. `is_exposed` tells whether another account owns the file or may open it,
/// `is_held_by_ours` whether a process of svscan's own account may have the lock.
pub fn lock_step(attempt: Attempt, is_exposed: bool, is_held_by_ours: impl FnOnce() -> bool) -> LockStep {
    match attempt {
        Attempt::Held if !is_exposed || is_held_by_ours() => LockStep::Wait,
        Attempt::Locked | Attempt::Held | Attempt::Refused if is_exposed => LockStep::Replace,
        Attempt::Locked => LockStep::Serve,
        Attempt::Held | Attempt::Refused => LockStep::ServeUnlocked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_svscan_is_waited_for_and_no_other_account() {
        use Attempt::{Held, Locked, Refused};
        use LockStep::{Replace, Serve, ServeUnlocked, Wait};
        // What came of the attempt; then what is done if the file is svscan's own, and if it is exposed and is held by an own
        // process, or is not.
        let table = [
            (Locked, [Serve, Replace, Replace]),
            (Held, [Wait, Wait, Replace]),
            (Refused, [ServeUnlocked, Replace, Replace]),
        ];
        for (attempt, expected) in table {
            let found = [(false, true), (true, true), (true, false)].map(|(is_exposed, is_ours)| {
                let step = lock_step(attempt, is_exposed, || is_ours);
                assert_ne!(lock_step(attempt, false, || panic!("it makes no difference")), Replace);
                step
            });
            assert_eq!(found, expected, "{attempt:?}");
        }
    }
}
