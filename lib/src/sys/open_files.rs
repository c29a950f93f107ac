//! The limit on the number of files that a process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises this process's limit of open files to the highest that it may have. Returns the soft and the hard limit before
/// that; `None` if nothing has changed.
pub fn raise() -> Option<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    (soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok()).then_some((soft, hard))
}

/// The limit now: each descriptor that is opened has a lower number.
///
/// # Errors
/// Those of getrlimit(2), of which none is known.
pub fn limit() -> nix::Result<u64> {
    getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{fork, wait_for};

    /// In a child, as the limit is that of all tests beside this one.
    #[test]
    fn the_limit_is_raised_once() {
        let child = fork(|| {
            let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1 };
            let lowered = setrlimit(Resource::RLIMIT_NOFILE, 10, hard);
            let raised = raise();
            let is_so = lowered.is_ok() && raised == Some((10, hard)) && limit() == Ok(hard) && raise().is_none();
            i32::from(!is_so)
        });
        assert_eq!(wait_for(child.unwrap()), Ok(0));
    }
}
