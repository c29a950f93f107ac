//! The calendar of the C library.
//!
//! The C library reads the time zone's file once, and does not read it again when another file takes its place
//! (`timedatectl`, a new /etc/localtime). So this module checks the file, at most once a minute, when it is asked for a
//! local time. Only programs with one thread may use it, because the C library reads the zone again only when the
//! environment changes.

use nix::sys::stat::{FileStat, stat};
use nix::time::{ClockId, clock_gettime};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Mutex;
use std::time::Duration;

/// The interval between two checks of the file.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What is known of the time zone's file.
struct Zone {
    /// When the file is checked next; `None` before the first check.
    look_at: Option<Duration>,
    /// The identity of the file, if there was one.
    file: Option<FileId>,
    /// How often the file has changed.
    changes: u64,
}

/// The device, the inode, and the time of the last modification.
type FileId = (u64, u64, i64, i64);

static ZONE: Mutex<Zone> = Mutex::new(Zone { look_at: None, file: None, changes: 0 });

/// How often the time zone has changed, as far as is known. After a change, a caller must compute again what it had
/// computed from local time.
pub fn changes() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from);
    ZONE.lock().map_or(0, |mut zone| {
        zone.look(now, file_of(std::env::var_os("TZ")));
        zone.changes
    })
}

/// The time zone's file if $TZ has this value; `None` if the value is a name or a rule.
fn file_of(tz: Option<OsString>) -> Option<OsString> {
    let Some(tz) = tz else { return Some("/etc/localtime".into()) };
    let name = tz.as_bytes().strip_prefix(b":").unwrap_or(tz.as_bytes());
    name.starts_with(b"/").then(|| OsString::from_vec(name.to_vec()))
}

impl Zone {
    fn look(&mut self, now: Duration, path: Option<OsString>) {
        let Some(path) = path.filter(|_| self.look_at.is_none_or(|at| now >= at)) else { return };
        let id = |file: FileStat| (file.st_dev, file.st_ino, file.st_mtime, file.st_mtime_nsec);
        let file = stat(path.as_os_str()).ok().map(id);
        let is_first = self.look_at.replace(now + LOOK_AGAIN).is_none();
        if std::mem::replace(&mut self.file, file) != file && !is_first {
            self.changes += 1;
            read_again();
        }
    }
}

/// Makes the C library read the file again. It does so only when $TZ has changed.
fn read_again() {
    let tz = std::env::var_os("TZ");
    // SAFETY: there is only one thread. The environment has its old value again afterwards.
    unsafe {
        std::env::set_var("TZ", "UTC0");
        tzset();
        match tz {
            Some(tz) => std::env::set_var("TZ", tz),
            None => std::env::remove_var("TZ"),
        }
        tzset();
    }
}

unsafe extern "C" {
    fn tzset();
}

/// A second as date and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// The year, such as 1970.
    pub year: i64,
    /// The month, from 1.
    pub month: i32,
    /// The day of the month, from 1.
    pub day: i32,
    /// The hour, up to 23.
    pub hour: i32,
    /// The minute, up to 59.
    pub minute: i32,
    /// The second, up to 60 in a leap second.
    pub second: i32,
    /// How many seconds the local clock is ahead of UTC.
    pub offset: i64,
}

impl Calendar {
    /// Date and time, such as `2026-11-21 05:13:07`, with this character between the two.
    pub fn date_and_time(&self, between: char) -> String {
        let Calendar { year, month, day, hour, minute, second, .. } = self;
        format!("{year:04}-{month:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}")
    }

    /// How far the local clock is ahead of UTC, such as `+01:00`.
    pub fn offset_from_utc(&self) -> String {
        let (sign, minutes) = (if self.offset < 0 { '-' } else { '+' }, self.offset.abs() / 60);
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// The local date and time of a second since 1970, by the time zone in $TZ; `None` if no calendar reaches it.
pub fn local(second: i64) -> Option<Calendar> {
    changes();
    // SAFETY: the call reads one integer and writes one struct, and there is only one thread.
    calendar(|to| unsafe { !libc::localtime_r(&second, to).is_null() })
}

/// The date and time of a second since 1970 in UTC; `None` if no calendar reaches it.
pub fn utc(second: i64) -> Option<Calendar> {
    // SAFETY: the call reads one integer and writes one struct.
    calendar(|to| unsafe { !libc::gmtime_r(&second, to).is_null() })
}

fn calendar(fill: impl FnOnce(&mut libc::tm) -> bool) -> Option<Calendar> {
    // SAFETY: this is a struct of integers and a pointer, for which all zeros is a valid value.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    fill(&mut tm).then(|| Calendar {
        year: i64::from(tm.tm_year) + 1900,
        month: tm.tm_mon + 1,
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
        offset: tm.tm_gmtoff,
    })
}

/// The local date and time of a second since 1970, such as `2026-11-21 05:13:07`, by the time zone in $TZ; `None` if no
/// calendar reaches it.
pub fn local_second(second: i64) -> Option<Vec<u8>> {
    local(second).map(|calendar| calendar.date_and_time(' ').into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_a_date_unless_they_are_beyond_all_calendars() {
        assert_eq!(local_second(86_400 * 366).map(|text| text.len()), Some(19));
        assert_eq!(local_second(i64::MAX), None);
    }

    #[test]
    fn a_second_is_written_as_iso_8601_has_it() {
        let calendar = utc(951_868_799).unwrap();
        assert_eq!(calendar.date_and_time('T'), "2000-02-29T23:59:59");
        for (offset, expected) in [(0, "+00:00"), (3600, "+01:00"), (-12_600, "-03:30"), (45_900, "+12:45")] {
            assert_eq!(Calendar { offset, ..calendar }.offset_from_utc(), expected);
        }
    }

    /// The contents of a time zone's file for a zone that is this many hours ahead of UTC.
    fn zone_ahead(hours: u32) -> Vec<u8> {
        let block = [&b"TZif2"[..], &[0; 15], &[0, 0, 0, 0].repeat(4), &[0, 0, 0, 1, 0, 0, 0, 4]].concat();
        let kind = [&(hours * 3600).to_be_bytes()[..], &[0, 0], b"XXX\0"].concat();
        [&block[..], &kind, &block, &kind, format!("\nXXX-{hours}\n").as_bytes()].concat()
    }

    /// This is the only test of the crate that depends on the time zone, which all threads share.
    #[test]
    fn a_time_zone_that_changes_is_followed_after_a_minute() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::write(at("one"), zone_ahead(1)).unwrap();
        std::fs::write(at("five"), zone_ahead(5)).unwrap();
        std::os::unix::fs::symlink("one", at("zone")).unwrap();
        // SAFETY: no other test of the crate reads this variable.
        unsafe { std::env::set_var("TZ", at("zone")) };
        read_again();
        // SAFETY: the call reads one integer and writes one struct.
        let hour = || calendar(|to| unsafe { !libc::localtime_r(&0, to).is_null() }).map(|calendar| calendar.hour);
        let mut zone = Zone { look_at: None, file: None, changes: 0 };
        let path = || file_of(std::env::var_os("TZ"));
        let second = Duration::from_secs;
        zone.look(second(100), path());
        assert_eq!((hour(), zone.changes), (Some(1), 0));
        std::fs::remove_file(at("zone")).unwrap();
        std::os::unix::fs::symlink("five", at("zone")).unwrap();
        zone.look(second(159), path());
        assert_eq!((hour(), zone.changes), (Some(1), 0));
        zone.look(second(160), path());
        assert_eq!((hour(), zone.changes), (Some(5), 1));
        std::fs::write(at("new"), zone_ahead(3)).unwrap();
        std::fs::rename(at("new"), at("five")).unwrap();
        zone.look(second(220), path());
        assert_eq!((hour(), zone.changes), (Some(3), 2));
        zone.look(second(280), path());
        assert_eq!(zone.changes, 2);
        assert_eq!(std::env::var_os("TZ"), Some(at("zone").into_os_string()));
    }

    #[test]
    fn only_a_zone_that_is_a_file_can_change() {
        let file = |tz: Option<&str>| file_of(tz.map(OsString::from));
        assert_eq!(file(None), Some("/etc/localtime".into()));
        assert_eq!((file(Some(":/a")), file(Some("/a"))), (Some("/a".into()), Some("/a".into())));
        assert_eq!((file(Some("")), file(Some("UTC0")), file(Some("Europe/Berlin"))), (None, None, None));
    }

    #[test]
    fn utc_has_no_offset() {
        let calendar = Calendar { year: 2000, month: 2, day: 29, hour: 23, minute: 59, second: 59, offset: 0 };
        assert_eq!(utc(951_868_799), Some(calendar));
        assert_eq!(utc(i64::MAX), None);
    }
}
