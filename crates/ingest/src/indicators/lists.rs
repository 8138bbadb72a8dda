//! The formats of indicator lists.

use std::net::IpAddr;

use ipnet::IpNet;
use thymus_parsers::Json;

use super::{Indicator, IndicatorKind};

/// What was read, and how many entries were left out.
type Read = (Vec<Indicator>, u64);

/// Reads a list of any format.
///
/// # Errors
/// With the reason, when it is none of them.
pub(super) fn read(bytes: &[u8]) -> Result<Read, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(first, Some(b'{' | b'[')) {
        return Ok(csv(bytes));
    }
    let json = Json::parse(bytes).ok_or("it begins like JSON but is not; export it again")?;
    if json.get("type").text() == "bundle" {
        return Ok(stix(&json));
    }
    misp(&json).ok_or_else(|| "neither a STIX 2.1 bundle nor a MISP event; convert it".to_owned())
}

/// One column, or columns in any order among which type, value and comment are found by header or,
/// without one, as `type,value,comment`.
fn csv(bytes: &[u8]) -> Read {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let (mut value_at, mut comment_at) = (None, None);
    let (mut list, mut left_out) = (Vec::new(), 0);
    let mut row = csv::StringRecord::new();
    let mut first = true;
    loop {
        match reader.read_record(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            // A row that is not UTF-8 or not CSV costs itself only.
            Err(error) if error.is_io_error() => break,
            Err(_) => {
                left_out += 1;
                continue;
            }
        }
        if std::mem::take(&mut first) {
            let find = |names: &[&str]| {
                row.iter()
                    .position(|cell| names.contains(&cell.to_ascii_lowercase().as_str()))
            };
            let is_header = row.iter().all(|cell| classify(cell).is_none());
            value_at = find(&[
                "value",
                "indicator",
                "ioc",
                "domain",
                "ip",
                "address",
                "url",
            ]);
            comment_at = find(&["comment", "description", "note", "info"]);
            if !is_header {
                (value_at, comment_at) = (None, None);
            } else if value_at.is_some() {
                continue;
            }
        }
        let cell = |at: usize| row.get(at).unwrap_or_default();
        let value = match value_at {
            Some(at) => cell(at),
            None if row.len() > 1 && classify(cell(0)).is_none() => cell(1),
            None => cell(0),
        };
        let comment = match (comment_at, value_at) {
            (Some(at), _) => cell(at),
            (None, None) if row.len() > 2 => cell(2),
            (None, _) => "",
        };
        match classify(value) {
            Some((kind, value)) => list.push(Indicator {
                kind,
                value,
                comment: comment.into(),
            }),
            None if value.is_empty() => {}
            None => left_out += 1,
        }
    }
    (list, left_out)
}

/// What a value is by its shape. Values are often defanged: `hxxp://`, `[.]`.
pub(super) fn classify(value: &str) -> Option<(IndicatorKind, String)> {
    let value = value
        .trim()
        .replace("[.]", ".")
        .replace("(.)", ".")
        .replace("[:]", ":");
    let value = match value.get(..4) {
        Some(head) if head.eq_ignore_ascii_case("hxxp") => value.replacen("xx", "tt", 1),
        _ => value,
    };
    let lower = value.to_ascii_lowercase();
    if lower.parse::<IpAddr>().is_ok() || lower.parse::<IpNet>().is_ok() {
        return Some((IndicatorKind::Address, lower));
    }
    let is_hex = lower.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && matches!(lower.len(), 32 | 40 | 64) {
        return Some((IndicatorKind::Digest, lower));
    }
    if value.contains("://") {
        return Some((IndicatorKind::Url, value));
    }
    let name = lower.trim_start_matches("*.").trim_matches('.');
    let label = |label: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.len() < 64 && label.bytes().all(legal)
    };
    let is_name = name.contains('.') && name.len() < 254 && name.split('.').all(label);
    let ends_in_letter = name
        .bytes()
        .last()
        .is_some_and(|byte| byte.is_ascii_alphabetic());
    (is_name && ends_in_letter).then(|| (IndicatorKind::Domain, name.to_owned()))
}

fn stix(bundle: &Json<'_>) -> Read {
    let (mut list, mut left_out) = (Vec::new(), 0);
    for object in bundle.get("objects").list() {
        if object.get("type").text() != "indicator" {
            continue;
        }
        let comment: Box<str> = object.get("name").text().into();
        let found = equalities(object.get("pattern").text());
        if found.is_empty() {
            left_out += 1;
        }
        for (kind, value) in found {
            list.push(Indicator {
                kind,
                value,
                comment: comment.clone(),
            });
        }
    }
    (list, left_out)
}

/// The equalities of a pattern such as `[domain-name:value = 'a.example' OR ipv4-addr:value = '…']`.
/// A pattern that also demands something else (AND, NOT, FOLLOWEDBY, …) is not a list entry.
fn equalities(pattern: &str) -> Vec<(IndicatorKind, String)> {
    let body = pattern
        .trim()
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let Some(body) = body else { return Vec::new() };
    let mut found = Vec::new();
    let mut rest = body.trim();
    while !rest.is_empty() {
        let Some((object, after)) = rest.split_once('=') else {
            return Vec::new();
        };
        let Some(quoted) = after.trim_start().strip_prefix('\'') else {
            return Vec::new();
        };
        let Some((value, after)) = quoted.split_once('\'') else {
            return Vec::new();
        };
        let object = object.trim();
        let understood = [
            "ipv4-addr:value",
            "ipv6-addr:value",
            "domain-name:value",
            "url:value",
        ]
        .contains(&object)
            || object.starts_with("file:hashes.");
        match classify(value).filter(|_| understood) {
            Some(indicator) => found.push(indicator),
            None => return Vec::new(),
        }
        let after = after.trim_start();
        rest = match after.strip_prefix("OR ") {
            Some(next) => next.trim_start(),
            None if after.is_empty() => after,
            None => return Vec::new(),
        };
    }
    found
}

fn misp(json: &Json<'_>) -> Option<Read> {
    let events: Vec<&Json<'_>> = match json {
        Json::List(list) => list.iter().collect(),
        _ if !json.get("response").is_null() => json.get("response").list().iter().collect(),
        _ => vec![json],
    };
    let (mut list, mut left_out, mut any) = (Vec::new(), 0, false);
    for event in events {
        let event = if event.get("Event").is_null() {
            event
        } else {
            event.get("Event")
        };
        let of_objects = event
            .get("Object")
            .list()
            .iter()
            .map(|object| object.get("Attribute"));
        for attributes in std::iter::once(event.get("Attribute")).chain(of_objects) {
            any |= !attributes.is_null();
            for attribute in attributes.list() {
                left_out += u64::from(!add_attribute(attribute, &mut list));
            }
        }
    }
    any.then_some((list, left_out))
}

fn add_attribute(attribute: &Json<'_>, list: &mut Vec<Indicator>) -> bool {
    let value = attribute.get("value").text();
    let comment: Box<str> = attribute.get("comment").text().into();
    // `filename|sha256` and `ip-dst|port` have the type's parts joined.
    let kinds = attribute.get("type").text().split('|');
    let mut added = false;
    for (kind, part) in kinds.zip(value.split('|')) {
        let listed = matches!(
            kind,
            "ip-src"
                | "ip-dst"
                | "domain"
                | "hostname"
                | "url"
                | "uri"
                | "md5"
                | "sha1"
                | "sha256"
                | "ip"
        );
        if let Some((kind, value)) = classify(part).filter(|_| listed) {
            list.push(Indicator {
                kind,
                value,
                comment: comment.clone(),
            });
            added = true;
        }
    }
    added
}
