//! Value syntaxes of ha.cf (spec/config.md 1.1).

use std::time::Duration;

/// Longest time accepted: what fits in 31 bits of milliseconds, almost 25 days.
const TIME_MAX_MS: u128 = i32::MAX as u128;
/// Digits after the point that are looked at: nanoseconds.
const FRACTION_DIGITS: usize = 9;

/// Why a word is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeFault {
    /// Does not begin with a number.
    NotANumber,
    /// A number, then a unit other than `ms` and `us`.
    Unit,
    /// More than 24 days.
    TooLong,
}

/// `N`, `N.M`, `.M` seconds, or with a suffix that begins with `ms` or `us`, to the nearest whole millisecond.
pub(crate) fn time(word: &str) -> Result<Duration, TimeFault> {
    let whole_length = word.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = word.split_at(whole_length);
    let after_point = rest.strip_prefix('.').unwrap_or_default();
    let fraction_length = after_point.bytes().take_while(u8::is_ascii_digit).count();
    if whole_length + fraction_length == 0 {
        return Err(TimeFault::NotANumber);
    }
    let suffix = if rest.starts_with('.') { &after_point[fraction_length..] } else { rest };
    // In units of 10⁻⁹ of what is written; longer numbers are too long anyway.
    if whole.trim_start_matches('0').len() > 15 {
        return Err(TimeFault::TooLong);
    }
    let fraction = &after_point[..fraction_length.min(FRACTION_DIGITS)];
    let value: u128 = format!("{whole}{fraction:0<FRACTION_DIGITS$}").parse().map_err(|_| TimeFault::NotANumber)?;
    let unit: u128 = match suffix.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("ms") => 1_000_000_000,
        Some("us") => 1_000_000_000_000,
        None if suffix.is_empty() => 1_000_000,
        _ => return Err(TimeFault::Unit),
    };
    let millis = (value + unit / 2) / unit;
    if millis > TIME_MAX_MS {
        return Err(TimeFault::TooLong);
    }
    Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

/// `true on yes y 1`, `false off no n 0`, in any case.
pub(super) fn boolean(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "y" | "1" => Some(true),
        "false" | "off" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// A whole number as Heartbeat reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Integer {
    /// Leading digits; zero without any; saturated.
    pub(super) value: i64,
    /// Nothing but digits stood there.
    pub(super) is_clean: bool,
}

/// Leading decimal digits, the rest ignored.
pub(super) fn integer(word: &str) -> Integer {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, word),
    };
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let number = &digits[..length];
    let value = if number.is_empty() { 0 } else { number.parse::<i64>().unwrap_or(i64::MAX) };
    Integer { value: sign * value, is_clean: length > 0 && length == digits.len() }
}

/// A time as people write it: `250 ms`, `1 s`, `1.5 s`.
pub fn spoken(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 1000 {
        format!("{millis} ms")
    } else if millis.is_multiple_of(1000) {
        format!("{} s", millis / 1000)
    } else {
        let text = format!("{}.{:03}", millis / 1000, millis % 1000);
        format!("{} s", text.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_spec() {
        for (word, millis) in [
            ("1", 1000),
            ("0.25", 250),
            (".25", 250),
            ("1.", 1000),
            ("200ms", 200),
            ("200MSec", 200),
            ("499us", 0),
            ("500us", 1),
            ("1500us", 2),
            ("0.0004", 0),
            ("0.0005", 1),
            ("1.5ms", 2),
            ("0", 0),
            ("0000000000000000000005", 5000),
            ("0.99999999999999999999", 1000),
            ("2147483", 2_147_483_000),
        ] {
            assert_eq!(time(word), Ok(Duration::from_millis(millis)), "{word}");
        }
    }

    #[test]
    fn times_that_are_none() {
        for (word, fault) in [
            ("", TimeFault::NotANumber),
            (".", TimeFault::NotANumber),
            ("ms", TimeFault::NotANumber),
            ("-1", TimeFault::NotANumber),
            ("x", TimeFault::NotANumber),
            ("1x", TimeFault::Unit),
            ("5s", TimeFault::Unit),
            ("2m", TimeFault::Unit),
            ("1.2.3", TimeFault::Unit),
            ("1ä", TimeFault::Unit),
            ("1mä", TimeFault::Unit),
            ("2147484", TimeFault::TooLong),
            ("99999999999999999999999999999999999999999999999", TimeFault::TooLong),
            ("99999999999999999999999999999999999999999999999us", TimeFault::TooLong),
        ] {
            assert_eq!(time(word), Err(fault), "{word}");
        }
    }

    #[test]
    fn booleans_and_integers() {
        assert_eq!(boolean("YES"), Some(true));
        assert_eq!(boolean("0"), Some(false));
        assert_eq!(boolean("maybe"), None);
        assert_eq!(integer("12x"), Integer { value: 12, is_clean: false });
        assert_eq!(integer("12"), Integer { value: 12, is_clean: true });
        assert_eq!(integer("x"), Integer { value: 0, is_clean: false });
        assert_eq!(integer("-3"), Integer { value: -3, is_clean: true });
        assert_eq!(integer("-"), Integer { value: 0, is_clean: false });
        assert_eq!(integer("99999999999999999999"), Integer { value: i64::MAX, is_clean: true });
    }

    #[test]
    fn times_are_spoken_shortly() {
        for (millis, text) in [(0, "0 ms"), (250, "250 ms"), (1000, "1 s"), (1500, "1.5 s"), (30_050, "30.05 s")] {
            assert_eq!(spoken(Duration::from_millis(millis)), text);
        }
    }
}
