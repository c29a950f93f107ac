//! Decides which files in `supervise/` are made again. No I/O.
//!
//! Others may remove the files, or put other ones in their places, while supervise runs. Without the FIFOs, others would not reach
//! this supervise, without the lock a second supervise could start, and without status and state others do not know the service.

/// Which files are at their places. A file counts only if it is the one that supervise has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesFound {
    /// `supervise/lock`, which supervise has locked.
    pub lock: bool,
    /// `supervise/control`, from which supervise reads commands.
    pub control: bool,
    /// `supervise/ok`. It counts as there as long as supervise has not shown yet that the service is supervised.
    pub ok: bool,
    /// `supervise/status` and `supervise/state`, if they were written.
    pub written: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Nothing is missing.
    Nothing,
    /// Everything is made again: `supervise/` itself is gone.
    Directory,
    /// The files are made again that are not there. Those that supervise cannot make now, it has open as before, and tries again
    /// later.
    Files(FilesFound),
}

/// Decides what is to be done. `is_directory_gone` looks whether `supervise/` is missing.
pub fn repair(found: FilesFound, is_directory_gone: impl FnOnce() -> bool) -> Repair {
    let FilesFound { lock, control, ok, written } = found;
    if lock && control && ok && written {
        Repair::Nothing
    } else if is_directory_gone() {
        Repair::Directory
    } else {
        Repair::Files(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made_again() {
        let whole = FilesFound { lock: true, control: true, ok: true, written: true };
        assert_eq!(repair(whole, || panic!("nothing is missing")), Repair::Nothing);
        let without = [
            FilesFound { lock: false, ..whole },
            FilesFound { control: false, ..whole },
            FilesFound { ok: false, ..whole },
            FilesFound { written: false, ..whole },
        ];
        for found in without {
            assert_eq!(repair(found, || false), Repair::Files(found));
            assert_eq!(repair(found, || true), Repair::Directory);
        }
    }
}
