//! File systems whose files the kernel makes up when they are read. Such a file may be about a process, as in `/proc`, and
//! may make its reader wait for that process.

use nix::sys::stat::{FileStat, major};
use nix::sys::statfs::fstatfs;
use std::os::fd::AsFd;

/// The types of these file systems, as statfs(2) reports them.
///
/// Source: linux/magic.h.
const MADE_UP: [(i64, &str); 17] = [
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0xcafe_4a11, "bpf"),
    (0x6265_6570, "configfs"),
    (0xde5e_81e4, "efivarfs"),
    (0xf97c_ff8c, "selinuxfs"),
    (0x4341_5d53, "smackfs"),
    (0x4249_4e4d, "binfmt_misc"),
    (0x6165_676c, "pstore"),
    (0x6573_5543, "fusectl"),
    (0x6e73_6673, "nsfs"),
    (0x0765_5821, "resctrl"),
];

/// Whether the kernel makes up the content of an open file. The file may be open as a place in the file system only
/// (O_PATH). `stat` is what fstat(2) says of it.
///
/// # Errors
/// EIO and others: the file system does not tell.
pub fn is_made_up(file: impl AsFd, stat: &FileStat) -> nix::Result<bool> {
    // A file system on a block device has another major number than 0. So mostly one question is enough.
    if major(stat.st_dev) != 0 {
        return Ok(false);
    }
    // The type of this number is not the same on all machines. All types fit into 32 bits, but on some machines statfs(2)
    // extends their sign.
    let kind = fstatfs(file)?.filesystem_type().0 as i64 & 0xffff_ffff;
    Ok(MADE_UP.iter().any(|(made_up, _)| *made_up == kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::fstat;
    use std::fs::File;

    #[test]
    fn what_lies_in_proc_is_made_up_and_what_lies_on_a_disk_is_not() {
        let is_made_up = |file: File| is_made_up(&file, &fstat(&file).unwrap());
        assert_eq!(is_made_up(File::open("/proc/self/status").unwrap()), Ok(true));
        assert_eq!(is_made_up(File::open("Cargo.toml").unwrap()), Ok(false));
        assert_eq!(is_made_up(tempfile::tempfile().unwrap()), Ok(false));
    }
}
