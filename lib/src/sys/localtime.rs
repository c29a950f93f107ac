//! The calendar, as the C library knows it.

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

/// A second since 1970 by the time zone in $TZ; `None` where no calendar reaches.
pub fn local(second: i64) -> Option<Calendar> {
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
    let Calendar { year, month, day, hour, minute, second, .. } = local(second)?;
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}").into_bytes())
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
    fn utc_is_ahead_of_nobody() {
        let calendar = Calendar { year: 2000, month: 2, day: 29, hour: 23, minute: 59, second: 59, offset: 0 };
        assert_eq!(utc(951_868_799), Some(calendar));
        assert_eq!(utc(i64::MAX), None);
    }
}
