//! Wall-clock time in the local time zone, for log lines only.

use nix::libc;

/// A moment as a calendar on the wall shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Such as 2024.
    pub year: i32,
    /// 1–12.
    pub month: u8,
    /// 1–31.
    pub day: u8,
    /// 0–23.
    pub hour: u8,
    /// 0–59.
    pub minute: u8,
    /// 0–60.
    pub second: u8,
    /// Ahead of UTC by this many minutes.
    pub offset_minutes: i32,
}

/// The moment `seconds` after 1970 in the time zone of `TZ` or `/etc/localtime`. May read the time zone's file, so it
/// is for processes that may wait. `None` when no calendar reaches so far.
pub fn local_time(seconds: u64) -> Option<LocalTime> {
    let seconds = seconds.try_into().ok()?;
    let mut parts = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the call, `parts` for writing a whole `tm`. The environment, which the call
    // reads, is changed by nobody: the daemon's processes have one thread.
    let result = unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
    if result.is_null() {
        return None;
    }
    // SAFETY: the call succeeded, so it has filled in all of `parts`.
    let parts = unsafe { parts.assume_init() };
    let small = |number: libc::c_int| u8::try_from(number).unwrap_or(0);
    Some(LocalTime {
        year: parts.tm_year.saturating_add(1900),
        month: small(parts.tm_mon + 1),
        day: small(parts.tm_mday),
        hour: small(parts.tm_hour),
        minute: small(parts.tm_min),
        second: small(parts.tm_sec),
        offset_minutes: i32::try_from(parts.tm_gmtoff / 60).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_moment_and_its_offset_agree() {
        // 2024-02-29 12:00:00 UTC, wherever the test runs.
        let time = local_time(1_709_208_000).unwrap();
        let minutes_of_day = i32::from(time.hour) * 60 + i32::from(time.minute);
        let day = i32::from(time.day) + if time.month == 3 { 29 } else { 0 };
        assert_eq!((day - 29) * 1440 + minutes_of_day, 720 + time.offset_minutes);
        assert_eq!((time.year, time.second), (2024, 0));
    }

    #[test]
    fn beyond_the_calendar_is_none() {
        assert_eq!(local_time(u64::MAX), None);
        assert_eq!(local_time(i64::MAX.unsigned_abs()), None);
    }
}
