//! Syslog by RFC 5424: a head, structured data, and a message. By itself the message is a sentence and the structured
//! data has the fields; around another format (`format=cef` and so on) the message is what that writes.

use thymus_schema::Timestamp;

use super::{Format, FormatError, Shape, read};
use crate::escape::{clip, plain, sd_value, syslog_name};
use crate::record::{Claim, Kind, Level, Record, Story, Verdict};

pub(super) const FORMAT: Format = Format {
    id: "syslog",
    about: "syslog, RFC 5424 with structured data",
    content_type: "text/plain; charset=utf-8",
    kinds: super::EVERYTHING,
    shape: Shape::Line(line),
};

/// The number that RFC 5612 sets aside for those who have none of their own.
const SD_ID: &str = "thymus@32473";
const VALUE_MAX: usize = 1_024;

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The host, as it calls itself.
    pub host: String,
    /// The facility, 0 to 23.
    pub facility: u8,
}

impl Default for Sender {
    /// No host, facility local0.
    fn default() -> Self {
        Self {
            host: String::new(),
            facility: 16,
        }
    }
}

fn line(record: &Record) -> Result<String, FormatError> {
    let (head, data, text) = parts(&Sender::default(), record)?;
    Ok(format!("{head} {data} {text}"))
}

/// A record as a message of at most `bytes_max`, around what `format` writes; nothing when it does not fit, however
/// much is left out.
///
/// # Errors
/// When a field is not of the type that its name stands for.
pub fn message(
    sender: &Sender,
    record: &Record,
    format: &Format,
    bytes_max: usize,
) -> Result<Option<String>, FormatError> {
    if format.id != FORMAT.id {
        let (head, _, _) = parts(sender, record)?;
        let data = format!("[{SD_ID} id=\"{}\"]", sd_value(&record.id));
        let room = bytes_max.saturating_sub(head.len() + data.len() + 2);
        let inside = format.within(record, room)?;
        return Ok(inside.map(|inside| format!("{head} {data} {inside}")));
    }
    for step in 0..=Record::STEPS {
        let (head, data, text) = parts(sender, &record.smaller(step))?;
        let whole = format!("{head} {data} {text}");
        if whole.len() <= bytes_max {
            return Ok(Some(whole));
        }
    }
    Ok(None)
}

/// Head, structured data, and the message.
fn parts(sender: &Sender, record: &Record) -> Result<(String, String, String), FormatError> {
    let (at, fields, text) = match record.kind {
        Kind::Incident => incident(&read(record)?),
        Kind::Alert => alert(&read(record)?),
        Kind::Decision => decision(read(record)?),
    };
    let severity = match record.level() {
        Level::High => 2,
        Level::Medium => 4,
        Level::Low => 5,
    };
    let head = format!(
        "<{}>1 {} {} thymus - {}",
        u16::from(sender.facility.min(23)) * 8 + severity,
        stamp(at),
        syslog_name(&sender.host, 255),
        record.kind.as_str(),
    );
    let mut data = format!("[{SD_ID} id=\"{}\"", sd_value(&record.id));
    for (key, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        let value = sd_value(&clip(value, VALUE_MAX));
        data.extend([" ", key, "=\"", &value, "\""]);
    }
    data.push(']');
    Ok((head, data, plain(&text)))
}

type Fields = Vec<(&'static str, String)>;

fn decision(said: Verdict) -> (Timestamp, Fields, String) {
    let fields = vec![
        ("decision", said.id),
        ("state", said.state),
        ("verb", said.verb),
        ("device", said.device),
        ("incident", said.incident),
        ("cuts", said.cuts_in_words.join("; ")),
        ("until", said.until.map(stamp).unwrap_or_default()),
        ("by", said.by.unwrap_or_default()),
        ("why", said.why.unwrap_or_default()),
    ];
    (said.at, fields, said.title)
}

fn incident(story: &Story) -> (Timestamp, Fields, String) {
    let named = |is_suspected: bool| {
        let parties = story.affected.iter();
        let names = parties.filter(|party| party.suspected == is_suspected);
        names
            .map(|party| &*party.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let fields = vec![
        ("incident", story.id.clone()),
        ("confidence", story.confidence.clone()),
        ("minusLog10P", format!("{:.2}", story.p_value)),
        ("firstSeen", stamp(story.first_seen)),
        ("lastSeen", stamp(story.last_seen)),
        ("suspected", named(true)),
        ("affected", named(false)),
        ("techniques", story.techniques.join(" ")),
        ("alerts", story.alerts.len().to_string()),
    ];
    (
        story.last_seen,
        fields,
        format!("{}. {}", story.title, story.hypothesis),
    )
}

fn alert(claim: &Claim) -> (Timestamp, Fields, String) {
    let peers: Vec<&str> = claim.peers.iter().map(|peer| &*peer.entity).collect();
    let fields = vec![
        ("alert", claim.id.clone()),
        ("incident", claim.incident.clone()),
        ("confidence", claim.confidence.clone()),
        ("detector", claim.detector.clone()),
        ("entity", claim.entity.clone()),
        ("peers", peers.join(", ")),
        ("phase", claim.phase.clone()),
        ("minusLog10P", format!("{:.2}", claim.p_value)),
        ("firstSeen", stamp(claim.first_seen)),
        ("lastSeen", stamp(claim.last_seen)),
        ("techniques", claim.techniques.join(" ")),
    ];
    (claim.last_seen, fields, claim.sentence())
}

/// RFC 5424 takes at most six digits of a second.
fn stamp(ts: Timestamp) -> String {
    let micros = ts.as_nanos().div_euclid(1_000).rem_euclid(1_000_000);
    let whole = Timestamp::from_secs(ts.as_secs()).to_string();
    format!("{}.{micros:06}Z", whole.trim_end_matches('Z'))
}
