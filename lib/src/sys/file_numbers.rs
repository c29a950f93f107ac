//! File systems on which the number of a file (`st_ino`) does not tell it from another one: it may be another number each
//! time that the file is looked at, though nothing has happened to the file.
//!
//! On all other file systems two numbers that differ are two files. Among these are NFS and Ceph, where the server gives the
//! numbers and keeps them; overlayfs, which keeps that of a directory as long as it is mounted and that of a file from when
//! it is first opened for writing; and FAT, which makes numbers up, but keeps that of a file while it is open.

/// What statfs(2) calls each of them, its name, and where its numbers come from.
///
/// Source: linux/magic.h; for those that the kernel has not or does not name there, `stat` of GNU coreutils.
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

/// Whether a file system of this kind, as statfs(2) tells it, keeps the numbers of its files.
pub fn keeps_numbers(kind: i64) -> bool {
    // The kinds of all file systems fit into 32 bits, which some machines sign.
    let kind = kind & 0xffff_ffff;
    !UNSTABLE.iter().any(|(unstable, ..)| *unstable == kind)
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
