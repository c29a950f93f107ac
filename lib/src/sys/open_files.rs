//! The limit on the number of open files of a process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files of this process to its hard limit. Returns both limits as they were before, or
/// `None` if nothing has changed.
pub fn raise() -> Option<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    (soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok()).then_some((soft, hard))
}

/// The current limit. Every new descriptor has a lower number.
///
/// # Errors
/// The errors of getrlimit(2), of which none is expected.
pub fn limit() -> nix::Result<u64> {
    getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{fork, wait_for};

    /// The test uses a child process, because all tests of this process share the limit.
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
