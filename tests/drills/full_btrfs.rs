//! A log directory on a disk that copies on write and is full again and again. On such a disk, even a store into the
//! mapped journal needs room.

use std::fs::{self, File};
use std::io::Write;
use tests::{Log, Multilog, Scratch, has, is_root, lines, prints, skip, wait_until};

/// The disk, which is unmounted however the test ends.
struct Mounted<'a>(&'a Scratch);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.0.shell("umount -l disk");
    }
}

/// Makes a btrfs of 120 MB; `None` if that is not possible here. Data and metadata share the room, so that what is
/// freed can be used for both.
fn btrfs(scratch: &Scratch) -> Option<Mounted<'_>> {
    if !is_root() {
        skip("a btrfs needs root, to mount it");
        return None;
    }
    if !has("mkfs.btrfs") {
        return None;
    }
    scratch.dir("disk");
    let mkfs = "PATH=$PATH:/usr/sbin:/sbin; truncate -s 120M image && mkfs.btrfs -q -M -m single -d single image && mount -o loop image disk";
    if scratch.shell(mkfs).code != 0 {
        skip("there is no loop device, or no btrfs in the kernel");
        return None;
    }
    Some(Mounted(scratch))
}

/// Fills the whole disk.
fn fill(scratch: &Scratch, round: usize) {
    for (part, size) in [(0, 1 << 20), (1, 1 << 12), (2, 1 << 10)] {
        let Ok(mut file) = File::create(scratch.path().join(format!("disk/fill{round}-{part}"))) else { continue };
        while file.write_all(&vec![0; size]).is_ok() {}
        scratch.shell("sync -f disk");
    }
}

#[test]
fn a_full_btrfs_loses_no_line_and_does_not_end_multilog() {
    let scratch = Scratch::new();
    let Some(_mounted) = btrfs(&scratch) else { return };
    let log = Log::of(&scratch, "disk/log");
    let mut multilog = Multilog::start(&scratch, "s100000 n100000 ./disk/log");
    let mut expected = Vec::new();
    for round in 0..4 {
        let text = lines(100, 50 + round);
        multilog.feed(&text);
        expected.extend(text);
        wait_until("it is logged", || log.all() == expected);
        fill(&scratch, round);
        for piece in 0..10 {
            let text = lines(20, 60 + piece);
            multilog.feed(&text);
            expected.extend(text);
            scratch.shell("sync -f disk");
        }
        for entry in fs::read_dir(scratch.path().join("disk")).expect("the disk").flatten() {
            if entry.file_name().to_string_lossy().starts_with("fill") {
                fs::remove_file(entry.path()).expect("free the disk");
            }
        }
        assert_eq!(scratch.shell("sync -f disk"), prints(""));
        wait_until("all is logged, once there is room", || log.all() == expected);
    }
    let errors = multilog.terminate();
    let expected = ["out of disk space", "journal", "again after"];
    assert!(errors.lines().all(|line| expected.iter().any(|words| line.contains(words))), "{errors}");
}
