//! Times in SQL: text in UTC with microseconds, always as long, so that it sorts as it reads.

use std::cmp::Ordering;

use thymus_schema::Timestamp;

/// Writes times, and remembers the day it wrote last: rows of one day follow one another.
#[derive(Debug, Default)]
pub(super) struct TimeText {
    day: Option<i64>,
    text: String,
}

impl TimeText {
    /// `micros` since 1970 as `2026-11-23T10:00:00.000000Z`.
    pub(super) fn of(&mut self, micros: i64) -> &str {
        const DAY_MICROS: i64 = 86_400_000_000;
        let (day, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
        if self.day != Some(day) {
            let shown = Timestamp::from_secs(day * 86_400).to_string();
            self.day = Some(day);
            self.text.clear();
            self.text.push_str(shown.get(..10).unwrap_or("0000-00-00"));
        }
        self.text.truncate(10);
        self.text.push('T');
        let secs = rest / 1_000_000;
        for (value, end) in [(secs / 3_600, ':'), (secs / 60 % 60, ':'), (secs % 60, '.')] {
            self.digits(value, 2);
            self.text.push(end);
        }
        self.digits(rest % 1_000_000, 6);
        self.text.push('Z');
        &self.text
    }

    fn digits(&mut self, value: i64, count: u32) {
        for place in (0..count).rev() {
            let digit = value / 10_i64.pow(place) % 10;
            self.text.push(char::from(b'0' + digit as u8));
        }
    }
}

/// Reads what people write for a time: a day, a day with an hour and more, with `T` or a space, with
/// any offset or none (UTC).
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let day = text.get(..10)?;
    let rest = text.get(10..)?;
    let clock = match rest.strip_prefix(['T', 't', ' ']) {
        Some(clock) => clock,
        None if rest.is_empty() => "",
        None => return None,
    };
    let zone_at = clock.find(['Z', 'z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = (clock.get(..zone_at)?, clock.get(zone_at..)?);
    let zone = if zone.is_empty() { "Z" } else { zone };
    let rest = match clock.len() {
        0 => "00:00:00",
        2 => ":00:00",
        5 => ":00",
        _ => "",
    };
    Timestamp::parse(&format!("{day}T{clock}{rest}{zone}")).map(Timestamp::as_nanos)
}

/// How the collation `time` compares: what are times by when they are, other text behind them.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    if a.len() == b.len() && a.len() == 27 {
        return a.cmp(b);
    }
    match (parse(a), parse(b)) {
        (Some(x), Some(y)) => x.cmp(&y),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Seconds in `5m`, `1h`, `90s`, `7d`, or a bare number of seconds.
pub(super) fn span_secs(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..)? {
        "" | "s" | "sec" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return None,
    };
    let number: f64 = digits.trim().parse().ok()?;
    Some(number * unit).filter(|secs| secs.is_finite() && *secs > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_they_are_written() {
        let mut text = TimeText::default();
        for micros in [0, -1, 1_795_428_000_123_456, 951_782_399_999_999] {
            assert_eq!(parse(text.of(micros)), Some(micros * 1_000));
        }
        assert_eq!(
            text.of(1_795_428_000_123_456),
            "2026-11-23T10:00:00.123456Z"
        );
    }

    #[test]
    fn what_people_write_is_understood() {
        let ten = parse("2026-11-23T10:00:00Z");
        assert!(ten.is_some());
        for same in [
            "2026-11-23 10:00",
            "2026-11-23T10",
            "2026-11-23T10:00:00.000",
            "2026-11-23T11:00:00+01:00",
        ] {
            assert_eq!(parse(same), ten, "{same}");
            assert_eq!(
                compare(same, "2026-11-23T10:00:00.000000Z"),
                Ordering::Equal
            );
        }
        assert_eq!(parse("2026-11-23"), parse("2026-11-23T00:00:00Z"));
        for wrong in [
            "",
            "yesterday",
            "2026-11-2",
            "2026-11-23x",
            "2026-11-23T1",
            "é026-11-23",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(span_secs("5m"), Some(300.0));
        assert_eq!(span_secs("0.5h"), Some(1_800.0));
        assert_eq!(span_secs("m"), None);
        assert_eq!(span_secs("-1h"), None);
    }
}
