//! Points in time as a person writes them: a date, a moment, or how long ago.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// `2026-01-31`, `2026-01-31T08:00:00Z`, or `90m`, `36h`, `7d` ago.
pub(crate) fn parse(text: &str) -> Result<SystemTime> {
    if let Some(ago) = ago(text) {
        return now().checked_sub(ago).context("that is before all time");
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.into());
    }
    let Ok(date) = text.parse::<Date>() else {
        bail!(
            "{text} is neither a date (2026-01-31), a moment (2026-01-31T08:00:00Z) nor an age (36h, 7d)"
        );
    };
    Ok(date.to_zoned(TimeZone::UTC)?.timestamp().into())
}

fn ago(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let secs = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(secs)?))
}

#[allow(
    clippy::disallowed_methods,
    reason = "an age is counted from the moment of the command"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_moments_and_ages_are_understood() {
        let second = |n| SystemTime::UNIX_EPOCH + Duration::from_secs(n);
        assert_eq!(parse("1970-01-02").unwrap(), second(86_400));
        assert_eq!(parse("1970-01-01T00:00:05Z").unwrap(), second(5));
        assert_eq!(ago("36h"), Some(Duration::from_hours(36)));
        assert!(parse("7d").unwrap() < parse("6d").unwrap());
        for wrong in ["", "yesterday", "d", "99999999999999999999d", "2026-13-01"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
