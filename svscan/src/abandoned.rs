//! Processes that were left without a supervise, of a service that is being stopped: whether such a process may still run. See [`leftover`](crate::leftover) for what svscan does
//! next when a supervise has ended, and [`orphans`](crate::orphans) for how such processes ended.

use daemontools::service::{Identity, Process};

/// From where svscan knows of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordSource {
    /// From the page of its supervise, in svscan's memory: the page is of this boot.
    Page,
    /// From `supervise/state`, which may be of another boot.
    File,
}

/// Whether a process may still run, as far as the system tells now.
pub fn may_run(process: &Process, source: RecordSource) -> bool {
    is_left(process.identity(), source)
}

/// Whether a process counts as left. It does if it is not proven to be gone: otherwise svscan would end, and the process would
/// run on.
fn is_left(identity: nix::Result<Identity>, source: RecordSource) -> bool {
    match (identity, source) {
        // There are no descriptors for now, or no memory.
        (Ok(Identity::Same) | Err(_), RecordSource::Page | RecordSource::File) => true,
        (Ok(Identity::Unknown), RecordSource::Page) => true,
        (Ok(Identity::Unknown), RecordSource::File) => false,
        (Ok(Identity::Gone), RecordSource::Page | RecordSource::File) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn a_process_that_is_not_proven_to_be_gone_counts_as_left() {
        let table = [
            (Ok(Identity::Same), [true, true]),
            (Ok(Identity::Gone), [false, false]),
            // Of another boot, a number says nothing.
            (Ok(Identity::Unknown), [true, false]),
            (Err(Errno::EMFILE), [true, true]),
            (Err(Errno::ENOMEM), [true, true]),
        ];
        for (identity, left) in table {
            assert_eq!(
                [RecordSource::Page, RecordSource::File].map(|source| is_left(identity, source)),
                left,
                "{identity:?}"
            );
        }
    }
}
