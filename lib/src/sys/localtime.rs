//! The calendar, as the C library knows it.
//!
//! The C library reads the file of the time zone once, and not again when another takes its place (`timedatectl`, a
//! new /etc/localtime). So here that is looked for, at most once a minute, when a local time is asked for. Only for
//! programs with one thread: the C library takes another zone only from the environment.

use nix::sys::stat::{FileStat, stat};
use nix::time::{ClockId, clock_gettime};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Mutex;
use std::time::Duration;

/// Between two looks at the file.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What is known of the file of the time zone.
struct Zone {
    /// When it is to be looked at again; `None` before the first time.
    look_at: Option<Duration>,
    /// Which file it was, if there was one.
    file: Option<FileId>,
    /// How often it was another one since.
    changes: u64,
}

/// Device, inode, and when it was modified.
type FileId = (u64, u64, i64, i64);

static ZONE: Mutex<Zone> = Mutex::new(Zone { look_at: None, file: None, changes: 0 });

/// How often the time zone has changed, as far as is known: what was reckoned by local time is to be reckoned again then.
pub fn changes() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from);
    ZONE.lock().map_or(0, |mut zone| {
        zone.look(now, file_of(std::env::var_os("TZ")));
        zone.changes
    })
}

/// The file that says what the time zone is, if $TZ is this; none if that is a name or a rule.
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

/// Lets the C library read the file again, which it does only when $TZ is another.
fn read_again() {
    let tz = std::env::var_os("TZ");
    // SAFETY: one thread; what is started later finds the environment as it was.
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

/// A second as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// 1970, say.
    pub year: i64,
    /// From 1.
    pub month: i32,
    /// From 1.
    pub day: i32,
    /// To 23.
    pub hour: i32,
    /// To 59.
    pub minute: i32,
    /// To 60, with a leap second.
    pub second: i32,
    /// Seconds that its clocks are ahead of UTC.
    pub offset: i64,
}

impl Calendar {
    /// Date and time, `2026-11-21 05:13:07`, with this character between the two.
    pub fn date_and_time(&self, between: char) -> String {
        let Calendar { year, month, day, hour, minute, second, .. } = self;
        format!("{year:04}-{month:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}")
    }

    /// How far its clocks are ahead of UTC, `+01:00`.
    pub fn offset_from_utc(&self) -> String {
        let (sign, minutes) = (if self.offset < 0 { '-' } else { '+' }, self.offset.abs() / 60);
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// A second since 1970 by the time zone in $TZ; `None` where no calendar reaches.
pub fn local(second: i64) -> Option<Calendar> {
    changes();
    // SAFETY: reads one integer, writes one struct; one thread.
    calendar(|to| unsafe { !libc::localtime_r(&second, to).is_null() })
}

/// A second since 1970 by UTC; `None` where no calendar reaches.
pub fn utc(second: i64) -> Option<Calendar> {
    // SAFETY: reads one integer, writes one struct.
    calendar(|to| unsafe { !libc::gmtime_r(&second, to).is_null() })
}

fn calendar(fill: impl FnOnce(&mut libc::tm) -> bool) -> Option<Calendar> {
    // SAFETY: a struct of integers and a pointer, for which zero is a value.
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

/// A second since 1970 as local date and time, `2026-11-21 05:13:07`, by the time zone in $TZ; `None`
/// where no calendar reaches.
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

    /// A file of a time zone that is so many hours ahead of UTC.
    fn zone_ahead(hours: u32) -> Vec<u8> {
        let block = [&b"TZif2"[..], &[0; 15], &[0, 0, 0, 0].repeat(4), &[0, 0, 0, 1, 0, 0, 0, 4]].concat();
        let kind = [&(hours * 3600).to_be_bytes()[..], &[0, 0], b"XXX\0"].concat();
        [&block[..], &kind, &block, &kind, format!("\nXXX-{hours}\n").as_bytes()].concat()
    }

    /// The only test here that depends on the time zone, which is one for all threads.
    #[test]
    fn a_time_zone_that_changes_is_followed_after_a_minute() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::write(at("one"), zone_ahead(1)).unwrap();
        std::fs::write(at("five"), zone_ahead(5)).unwrap();
        std::os::unix::fs::symlink("one", at("zone")).unwrap();
        // SAFETY: no other test here reads it.
        unsafe { std::env::set_var("TZ", at("zone")) };
        read_again();
        // SAFETY: reads one integer, writes one struct.
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
    fn utc_is_ahead_of_nobody() {
        let calendar = Calendar { year: 2000, month: 2, day: 29, hour: 23, minute: 59, second: 59, offset: 0 };
        assert_eq!(utc(951_868_799), Some(calendar));
        assert_eq!(utc(i64::MAX), None);
    }
}
