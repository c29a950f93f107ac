//! The kernel's table of mounts, and the mount that a path leads to. No I/O, except in functions that the caller gives.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// The file systems that are all in the kernel's memory. Every other one may wait: for a server, for a device, or for the
/// file systems that it is made of.
const IN_MEMORY: [&str; 22] = [
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "pstore",
    "ramfs",
    "rootfs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// The file system in which a link may lead anywhere, whatever its text says: for example from `/proc/PID/cwd` to a mount that
/// no table shows, as it was detached. To look for a file there may also be to wait for the process that it is about.
const PROCESSES: &[u8] = b"proc";

/// A path of this many names below such a file system tells its links from each other: `PID/fd/3`.
const NAMES: usize = 3;

/// The largest number of links that are followed in one path; the kernel has the same limit.
const LINKS: usize = 40;

/// What is mounted at a mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    /// The numbers of the file system as text, as the kernel's table has them: `98:0`.
    device: Vec<u8>,
    may_wait: bool,
    leads_anywhere: bool,
}

/// All mount points, and the scan directory.
#[derive(Debug, Default)]
pub struct MountPoints {
    points: HashMap<PathBuf, Mounted>,
    directory: PathBuf,
}

impl MountPoints {
    /// The mount points in the kernel's table, for this scan directory. Several lines may have one mount point, for example
    /// that of `autofs` and that of what it has mounted there: it may wait if one of them may.
    pub fn of(table: &[u8], directory: &Path) -> MountPoints {
        let mut points: HashMap<PathBuf, Mounted> = HashMap::new();
        for (point, mounted) in table.split(|byte| *byte == b'\n').filter_map(mounted) {
            let may_wait = mounted.may_wait || points.get(&point).is_some_and(|before| before.may_wait);
            points.insert(point, Mounted { may_wait, ..mounted });
        }
        MountPoints { points, directory: directory.to_path_buf() }
    }

    /// Takes in that the scan directory has this path now. The file system of the scan directory never counts as one
    /// that may wait, also where it is mounted in further places: without that file system, svscan has nothing left to
    /// do.
    pub fn move_to(&mut self, directory: &Path) {
        self.directory = directory.to_path_buf();
    }

    /// The path of the scan directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether something is mounted there, or a link there may lead anywhere.
    pub fn includes(&self, point: &Path) -> bool {
        let leads_anywhere = |above: &Path| self.points.get(above).is_some_and(|mounted| mounted.leads_anywhere);
        self.points.contains_key(point) || point.ancestors().any(leads_anywhere)
    }

    /// Whether something that may wait is mounted at a file or directory with one of these names.
    pub fn has_any_named(&self, names: &[&OsStr]) -> bool {
        let is_named = |point: &Path| point.file_name().is_some_and(|name| names.contains(&name));
        self.points.iter().any(|(point, mounted)| mounted.may_wait && is_named(point))
    }

    /// The first mount point on the way along a path from the scan directory, at which there is another file system that may
    /// wait. `link` tells where a link leads; it is not asked about what lies on such a file system. The directories above the
    /// scan directory are no others. For a path into a `/proc` the answer is the beginning of that path, as each of its links
    /// leads to another place.
    pub fn crossed(&self, path: &Path, link: impl FnMut(&Path) -> Option<PathBuf>) -> Option<PathBuf> {
        let own = self.point_of(&self.directory).and_then(|point| self.points.get(point));
        let is_other = |at: &Path, ahead: &[OsString]| {
            let point = self.point_of(at)?;
            let mounted = self.points.get(point)?;
            if mounted.leads_anywhere {
                return Some(ahead.iter().rev().take(NAMES).fold(at.to_path_buf(), |at, name| at.join(name)));
            }
            let is_own = own.is_some_and(|own| own.device == mounted.device) || self.directory.starts_with(at);
            (mounted.may_wait && !is_own).then(|| point.to_path_buf())
        };
        followed(&self.directory, path, is_other, link)
    }

    /// The mount point above a path, or the path itself.
    fn point_of<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        path.ancestors().find(|above| self.points.contains_key(*above))
    }
}

/// The mount point in a line of the kernel's table, and what is mounted there.
///
/// ```text
/// 36 35 98:0 /root /mount\040point rw,noatime master:1 - nfs4 server:/export rw
/// ```
fn mounted(line: &[u8]) -> Option<(PathBuf, Mounted)> {
    let mut words = line.split(|byte| *byte == b' ');
    let device = words.nth(2)?.to_vec();
    let point = words.nth(1)?;
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    let may_wait = !IN_MEMORY.iter().any(|known| known.as_bytes() == kind);
    let mounted = Mounted { device, may_wait, leads_anywhere: kind == PROCESSES };
    Some((PathBuf::from(OsString::from_vec(unescaped(point))), mounted))
}

/// The text with octal escapes such as `\040`, which is a blank, replaced by what they stand for.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut parts = text.split(|byte| *byte == b'\\');
    let mut plain = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(3).unwrap_or((b"", part));
        let byte = std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.extend(byte);
        plain.extend(rest);
    }
    plain
}

/// Follows a path from `start`, step by step, until `found` returns something. `found` is given the place that was
/// reached, and the names that are still ahead, in reverse order. `link` tells where a link leads.
fn followed(
    start: &Path,
    path: &Path,
    found: impl Fn(&Path, &[OsString]) -> Option<PathBuf>,
    mut link: impl FnMut(&Path) -> Option<PathBuf>,
) -> Option<PathBuf> {
    let reversed = |path: &Path| -> Vec<OsString> {
        path.components().rev().map(|part| part.as_os_str().to_os_string()).collect()
    };
    let (mut at, mut ahead, mut links) = (start.to_path_buf(), reversed(path), 0);
    while let Some(part) = ahead.pop() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::CurDir) | None => {}
            // An absolute part takes the place of all parts before it.
            Some(_) => at.push(OsStr::from_bytes(part.as_bytes())),
        }
        if let Some(found) = found(&at, &ahead) {
            return Some(found);
        }
        let target = if part == ".." || part == "." { None } else { link(&at) };
        if let Some(target) = target {
            links += 1;
            if links > LINKS {
                return None;
            }
            at.pop();
            ahead.extend(reversed(&target));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_where_file_systems_are_mounted_that_may_wait() {
        let table = [
            (r"36 35 98:0 / /mnt rw - nfs4 server:/x rw", Some(("/mnt", true))),
            (r"36 35 98:0 / /a\040b\134c rw master:1 shared:2 - fuse.sshfs x rw", Some((r"/a b\c", true))),
            ("36 35 98:0 / /mnt rw master:1 - ext4 /dev/nfs rw", Some(("/mnt", true))),
            ("36 35 98:0 / /mnt rw - overlay x rw", Some(("/mnt", true))),
            ("36 35 98:0 / /sys/fs/fuse/connections rw - fusectl x rw", Some(("/sys/fs/fuse/connections", false))),
            ("36 35 98:0 / /tmp rw - tmpfs x rw", Some(("/tmp", false))),
            ("36 35 98:0 / /mnt rw", None),
            ("", None),
        ];
        for (line, expected) in table {
            let found = mounted(line.as_bytes());
            let expected = expected.map(|(point, may_wait)| {
                (PathBuf::from(point), Mounted { device: b"98:0".to_vec(), may_wait, leads_anywhere: false })
            });
            assert_eq!(found, expected, "{line}");
        }
    }

    fn points(lines: &[&str], directory: &str) -> MountPoints {
        let line = |line: &&str| {
            let mut words = line.split(' ');
            let mut next = || words.next().unwrap();
            format!("36 35 {} / {} rw - {} x rw\n", next(), next(), next())
        };
        MountPoints::of(lines.iter().map(line).collect::<String>().as_bytes(), Path::new(directory))
    }

    #[test]
    fn a_mount_point_counts_by_its_name_if_it_may_wait() {
        let points = points(&["8:1 / ext4", "0:2 /s/web/supervise/status nfs4", "0:3 /s/web/supervise/ok tmpfs"], "/s");
        for (names, expected) in [(&["status"][..], true), (&["ok", "state"], false), (&["state", "status"], true)] {
            let names: Vec<&OsStr> = names.iter().map(OsStr::new).collect();
            assert_eq!(points.has_any_named(&names), expected, "{names:?}");
        }
    }

    #[test]
    fn a_path_is_followed_up_to_another_mount_that_may_wait_and_no_further() {
        let mounts =
            ["8:1 / ext4", "0:1 /proc proc", "0:2 /net nfs4", "8:1 /bind ext4", "8:2 /var ext4", "0:3 /run tmpfs"];
        let links = [
            ("/s/link", "/etc/x"),
            ("/etc/x", "../net/y"),
            ("/s/circle", "circle"),
            ("/s/up", ".."),
            ("/s/memory", "/run/x"),
            ("/run/x", "/var/x"),
            ("/run/s/web", "/etc/web"),
            ("/run/s/here", "/run/here"),
            ("/s/cwd", "/dev/fd/../5/cwd/x/y"),
            ("/dev/fd", "/proc/self/fd"),
        ];
        let table = [
            ("/s", "plain", None),
            ("/s", "link", Some("/net")),
            ("/s", "link/log", Some("/net")),
            ("/s", "circle", None),
            ("/s", "up/net/z", Some("/net")),
            ("/s", "./../net", Some("/net")),
            ("/s", "/nets/a", None),
            ("/s", "/net/../x", Some("/net")),
            ("/s", "/bind/x", None),
            ("/s", "memory", Some("/var")),
            ("/s", "/proc/5/cwd/x/y", Some("/proc/5/cwd/x")),
            ("/s", "/proc/sys", Some("/proc/sys")),
            ("/s", "cwd", Some("/proc/self/fd/..")),
            ("/s", "/proc", Some("/proc")),
            ("/run/s", "web", Some("/")),
            ("/run/s", "here", None),
            ("/net/s", "x", None),
            ("/net/s", "/etc/x", Some("/")),
            ("/net/s", "../../net/x", None),
        ];
        for (directory, path, point) in table {
            let mounts = points(&mounts, directory);
            let link = |path: &Path| {
                assert!(directory == "/net/s" || !path.starts_with("/net"), "touched {path:?}");
                assert!(!path.starts_with("/var") && !path.starts_with("/proc"), "touched {path:?}");
                links.iter().find(|(name, _)| Path::new(name) == path).map(|(_, target)| PathBuf::from(target))
            };
            assert_eq!(mounts.crossed(Path::new(path), link), point.map(PathBuf::from), "{directory} {path}");
        }
    }

    #[test]
    fn what_is_mounted_and_each_link_of_a_process_is_included() {
        let mounts = points(&["8:1 / ext4", "0:1 /proc proc", "0:2 /net nfs4"], "/s");
        for (point, is_included) in [("/net", true), ("/net/x", false), ("/proc/5/cwd", true), ("/old", false)] {
            assert_eq!(mounts.includes(Path::new(point)), is_included, "{point}");
        }
    }
}
