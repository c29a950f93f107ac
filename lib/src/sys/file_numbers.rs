//! File systems on which the number of a file (`st_ino`) does not identify it: the number may differ each time the file
//! is looked at, although nothing has happened to the file.
//!
//! On all other file systems, two different numbers mean two different files. Among these are NFS and Ceph, where the
//! server assigns the numbers and keeps them; FAT, which makes numbers up but keeps that of a file while it is open; and
//! overlayfs if its layers lie on one file system, as those of a container do. There it keeps a directory's number while
//! it is mounted, and a file's from the time when the file is first opened for writing.
//!
//! If the layers of an overlay lie on several file systems, as those of a system that runs from a medium or from squashfs
//! do, overlayfs makes up the number of a directory, unless it is mounted with `xino`. It makes up another one after the
//! kernel has dropped the directory from its memory.

use crate::sys::kind::is_directory;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstat, fstatat};
use std::os::fd::AsFd;

/// Each of these file systems: its type as statfs(2) reports it, its name, and where its numbers come from.
///
/// Source: linux/magic.h. For types that the kernel does not have or does not name there: `stat` of GNU coreutils.
const UNSTABLE: [(i64, &str, &str); 9] = [
    (
        0x6573_5546,
        "FUSE",
        "the program that serves it; by default they are made up, and again for a file that was forgotten",
    ),
    (0x0102_1997, "9P", "the server; one that serves several file systems makes them up"),
    (0xff53_4d42, "CIFS", "the client counts, where the server tells none or serverino is off"),
    (0xfe53_4d42, "SMB2 and SMB3", "the same as CIFS"),
    (0x0000_517b, "smbfs", "the client counts"),
    (0x0000_564c, "NCP", "the client counts"),
    (0x786f_4256, "vboxsf (VirtualBox)", "the client counts"),
    (0xbacb_acbc, "vmhgfs (VMware)", "those of the host; the client counts, where the host tells none"),
    (0x7c7c_6673, "prl_fs (Parallels)", "nothing is said of them, and the host may have none"),
];

/// Whether a file system of this type (as statfs(2) reports it) keeps the numbers of its files.
pub fn keeps_numbers(kind: i64) -> bool {
    // All types fit into 32 bits, but on some machines statfs(2) extends their sign.
    let kind = kind & 0xffff_ffff;
    !UNSTABLE.iter().any(|(unstable, ..)| *unstable == kind)
}

const OVERLAYFS: i64 = 0x794c_7630;

/// Whether a file system of this type is an overlay. There a directory of the lower layer is copied into the upper one when
/// something is first changed in it. It keeps its number, but the time when it was made is that of the copy from then on.
pub fn copies_on_write(kind: i64) -> bool {
    kind & 0xffff_ffff == OVERLAYFS
}

/// Whether the number of this directory, which is on a file system of this type, is kept. If overlayfs makes up the numbers
/// of directories, it shows files under another device than directories. The directory has one of the `files`.
///
/// # Errors
/// The directory cannot be looked at.
pub fn keeps_number_of(directory: impl AsFd, kind: i64, files: &[&str]) -> nix::Result<bool> {
    if !copies_on_write(kind) {
        return Ok(keeps_numbers(kind));
    }
    let device = fstat(&directory)?.st_dev;
    let file = |name: &&str| fstatat(&directory, *name, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
    let is_file = |file: &FileStat| !is_directory(file);
    Ok(files.iter().find_map(|name| file(name).filter(is_file)).is_none_or(|file| file.st_dev == device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_signed_or_not() {
        for (kind, name, _) in UNSTABLE {
            assert!(!keeps_numbers(kind) && !keeps_numbers(i64::from(kind as u32 as i32)), "{name}");
        }
        for (kind, name) in [(0xef53, "ext4"), (0x0102_1994, "tmpfs"), (0x6969, "NFS"), (0x794c_7630, "overlayfs")] {
            assert!(keeps_numbers(kind), "{name}");
        }
    }
}
