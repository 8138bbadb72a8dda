//! One record of a Zeek log and the values in it.

use std::borrow::Cow;
use std::net::IpAddr;

use super::fields::ZeekField;
use super::{ABSENT, Columns, ZeekTsv};
use crate::budget::ParseBudget;
use crate::json::Json;

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct ZeekRow<'a> {
    pub(super) columns: &'a Columns,
    pub(super) cells: Cells<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Cells<'a> {
    Tsv { line: &'a [u8], tsv: &'a ZeekTsv },
    Json(&'a [Json<'a>]),
}

enum Cell<'a> {
    Raw(&'a [u8], &'a ZeekTsv),
    Json(&'a Json<'a>),
}

impl<'a> ZeekRow<'a> {
    fn cell(&self, field: ZeekField) -> Option<Cell<'a>> {
        let column = *self
            .columns
            .get(field as usize)
            .filter(|column| **column != ABSENT)?;
        match self.cells {
            Cells::Tsv { line, tsv } => Some(Cell::Raw(tsv.cell(line, column)?, tsv)),
            Cells::Json(cells) => cells.get(usize::from(column)).map(Cell::Json),
        }
    }

    /// Whether the field is set.
    pub fn has(&self, field: ZeekField) -> bool {
        self.cell(field).is_some()
    }

    /// The field as text, bounded; empty when unset.
    pub fn text(&self, field: ZeekField) -> Cow<'a, str> {
        match self.cell(field) {
            None => Cow::Borrowed(""),
            Some(Cell::Raw(raw, tsv)) if raw == tsv.empty.as_slice() => Cow::Borrowed(""),
            Some(Cell::Raw(raw, _)) => plain_text(raw),
            Some(Cell::Json(Json::List(list))) => {
                bounded(list.first().map(Json::to_text).unwrap_or_default())
            }
            Some(Cell::Json(json)) => bounded(json.to_text()),
        }
    }

    /// The field as a number that is not negative.
    pub fn u64(&self, field: ZeekField) -> Option<u64> {
        match self.cell(field)? {
            Cell::Raw(raw, _) => digits(raw),
            Cell::Json(json) => json.u64(),
        }
    }

    /// The field as a port or another 16-bit number.
    pub fn u16(&self, field: ZeekField) -> Option<u16> {
        self.u64(field).and_then(|n| u16::try_from(n).ok())
    }

    /// The field as a boolean (`T`, `F`).
    pub fn bool(&self, field: ZeekField) -> Option<bool> {
        match self.cell(field)? {
            Cell::Raw(b"T", _) => Some(true),
            Cell::Raw(b"F", _) => Some(false),
            Cell::Raw(..) => None,
            Cell::Json(json) => json.bool(),
        }
    }

    /// The field as an address.
    pub fn addr(&self, field: ZeekField) -> Option<IpAddr> {
        match self.cell(field)? {
            Cell::Raw(raw, _) => std::str::from_utf8(raw).ok()?.parse().ok(),
            Cell::Json(json) => json.text().parse().ok(),
        }
    }

    /// The first element of a set as an address.
    pub fn addr_of_list(&self, field: ZeekField) -> Option<IpAddr> {
        self.list(field).first()?.parse().ok()
    }

    /// The field as seconds, in nanoseconds: an interval, or a time since the epoch. JSON times in
    /// milliseconds (an option of Zeek's writer) are recognised by their size.
    pub fn nanos(&self, field: ZeekField) -> Option<i64> {
        match self.cell(field)? {
            Cell::Raw(raw, _) => decimal_nanos(raw),
            Cell::Json(json) => {
                let secs = json.f64().filter(|n| n.is_finite())?;
                let secs = if secs > 1e11 { secs / 1e3 } else { secs };
                #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
                // Zeek's times have microseconds; a float's noise below them is dropped.
                Some(((secs * 1e6).round() as i64).saturating_mul(1000))
            }
        }
    }

    /// The elements of a set or vector, bounded in number and length.
    pub fn list(&self, field: ZeekField) -> Vec<Cow<'a, str>> {
        let items_max = ParseBudget::default().items_max;
        match self.cell(field) {
            None => Vec::new(),
            Some(Cell::Raw(raw, tsv)) if raw == tsv.empty.as_slice() => Vec::new(),
            Some(Cell::Raw(raw, tsv)) => {
                let parts = raw.split(|byte| *byte == tsv.set_separator).take(items_max);
                parts.map(plain_text).collect()
            }
            Some(Cell::Json(Json::List(list))) => list
                .iter()
                .take(items_max)
                .map(|item| bounded(item.to_text()))
                .collect(),
            Some(Cell::Json(json)) => vec![bounded(json.to_text())],
        }
    }

    /// The field as it is written, when it is text of a tab-separated log.
    pub fn raw(&self, field: ZeekField) -> Option<&'a [u8]> {
        match self.cell(field)? {
            Cell::Raw(raw, _) => Some(raw),
            Cell::Json(Json::Text(text)) => Some(text.as_bytes()),
            Cell::Json(_) => None,
        }
    }
}

impl ZeekRow<'_> {
    /// Asks for everything in every way.
    pub(super) fn fuzz(&self) {
        for field in ZeekField::ALL {
            let _text = self.text(*field);
            let _number = self.u16(*field);
            let _bool = self.bool(*field);
            let _addr = self.addr(*field);
            let _nanos = self.nanos(*field);
            let _list = self.list(*field);
        }
    }
}

/// Cuts text to the budget, at a character boundary.
fn bounded(text: Cow<'_, str>) -> Cow<'_, str> {
    let max = ParseBudget::default().text_bytes_max;
    if text.len() <= max {
        return text;
    }
    let end = text.floor_char_boundary(max);
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..end).unwrap_or_default()),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

fn plain_text(raw: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw).is_none() {
        return bounded(String::from_utf8_lossy(raw));
    }
    bounded(Cow::Owned(
        String::from_utf8_lossy(&unescape(raw)).into_owned(),
    ))
}

/// Undoes the writer's escapes: `\xHH` for a byte, a doubled backslash for itself.
pub(super) fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        match after {
            [b'\\', tail @ ..] => {
                out.push(b'\\');
                rest = tail;
            }
            [b'x', high, low, tail @ ..] => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push((high << 4) | low);
                    rest = tail;
                }
                _ => out.push(b'\\'),
            },
            _ => out.push(b'\\'),
        }
    }
    out
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

fn digits(raw: &[u8]) -> Option<u64> {
    if raw.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for byte in raw {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Decimal seconds as nanoseconds, exactly; digits beyond the ninth are dropped.
fn decimal_nanos(raw: &[u8]) -> Option<i64> {
    let (negative, raw) = match raw.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, raw),
    };
    let point = memchr::memchr(b'.', raw).unwrap_or(raw.len());
    let secs = i64::try_from(digits(raw.get(..point)?)?).ok()?;
    let fraction = raw.get(point.saturating_add(1)..).unwrap_or_default();
    let mut nanos = 0i64;
    let mut scale = 100_000_000i64;
    for byte in fraction {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        nanos = nanos.checked_add(i64::from(digit).checked_mul(scale)?)?;
        scale = scale.checked_div(10)?;
    }
    let value = secs.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    if negative {
        value.checked_neg()
    } else {
        Some(value)
    }
}
