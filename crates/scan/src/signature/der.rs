//! A strict reader of DER (ITU-T X.690): definite lengths in their shortest form, and tags of one byte.

/// Tags that signatures are made of.
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BITS: u8 = 0x03;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const CONTEXT_0: u8 = 0xa0;
pub(super) const CONTEXT_1: u8 = 0xa1;

/// What is still to be read.
#[derive(Clone, Copy)]
pub(super) struct Der<'d>(pub(super) &'d [u8]);

/// One value.
#[derive(Clone, Copy)]
pub(super) struct Value<'d> {
    pub(super) tag: u8,
    /// Its content.
    pub(super) body: &'d [u8],
    /// The content with the tag and the length in front.
    pub(super) whole: &'d [u8],
}

impl<'d> Der<'d> {
    /// The next value; none at the end, and where it is not understood.
    pub(super) fn next(&mut self) -> Option<Value<'d>> {
        let bytes = self.0;
        let (&tag, &first) = (bytes.first()?, bytes.get(1)?);
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (start, length) = match first {
            short @ 0..=0x7f => (2, usize::from(short)),
            0x81..=0x84 => {
                let end = 2 + usize::from(first & 0x7f);
                let digits = bytes.get(2..end)?;
                let length = digits
                    .iter()
                    .fold(0_u64, |sum, digit| sum << 8 | u64::from(*digit));
                let is_shortest = length >= 0x80 && digits.first() != Some(&0);
                (end, usize::try_from(length).ok().filter(|_| is_shortest)?)
            }
            _ => return None,
        };
        let end = start.checked_add(length)?;
        let (whole, rest) = bytes.split_at_checked(end)?;
        self.0 = rest;
        Some(Value {
            tag,
            body: whole.get(start..)?,
            whole,
        })
    }

    /// The next value, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<Value<'d>> {
        self.next().filter(|value| value.tag == tag)
    }

    /// The next value, if it has this tag; nothing is read otherwise.
    pub(super) fn take_if(&mut self, tag: u8) -> Option<Value<'d>> {
        (self.0.first() == Some(&tag)).then(|| self.next())?
    }

    /// What is in the next value, which must have this tag.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Der<'d>> {
        self.take(tag).map(|value| Der(value.body))
    }

    /// Nothing, at the end.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Seconds since 1970 of a UTCTime or GeneralizedTime; parts of a second do not count.
pub(super) fn seconds(value: Value<'_>) -> Option<i64> {
    let text = str::from_utf8(value.body).ok()?.strip_suffix('Z')?;
    let whole = text.split('.').next()?;
    let digits = match value.tag {
        UTC_TIME if whole.len() == 12 && whole.starts_with(['5', '6', '7', '8', '9']) => {
            format!("19{whole}")
        }
        UTC_TIME if whole.len() == 12 => format!("20{whole}"),
        GENERALIZED_TIME if whole.len() == 14 => whole.to_owned(),
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let field = |from: usize, to: usize| digits.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    let is_right = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_right || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shortest_form_of_a_length_is_read() {
        assert_eq!(Der(b"\x04\x01x").next().unwrap().body, b"x");
        let long = [&b"\x04\x81\x80"[..], &[7; 128]].concat();
        assert_eq!(Der(&long).next().unwrap().body, [7; 128]);
        for wrong in [
            &b"\x04\x81\x01x"[..],
            b"\x04\x82\x00\x80",
            b"\x30\x80\x00\x00",
            b"\x1f\x81\x00",
            b"\x04\x02x",
            b"\x04",
        ] {
            assert!(Der(wrong).next().is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn times_are_seconds_since_1970() {
        let told = |tag, body: &'static str| {
            seconds(Value {
                tag,
                body: body.as_bytes(),
                whole: b"",
            })
        };
        assert_eq!(told(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(told(UTC_TIME, "240229123456Z"), Some(1_709_210_096));
        let fraction = told(GENERALIZED_TIME, "20240229123456.789Z");
        assert_eq!(fraction, Some(1_709_210_096));
        assert_eq!(told(GENERALIZED_TIME, "20241329123456Z"), None);
        assert_eq!(told(UTC_TIME, "240229123456+01"), None);
        assert_eq!(told(UTC_TIME, "2402291234ööZ"), None);
    }
}
