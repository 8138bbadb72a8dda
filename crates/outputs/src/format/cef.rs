//! ArcSight Common Event Format, version 0, with keys of its dictionary (implementation standard, version 25).

use std::fmt::Write;

use thymus_schema::Timestamp;

use super::{Format, FormatError, PRODUCT, Shape, VERSION, read};
use crate::escape::{cef_head, cef_value, clip};
use crate::record::{Claim, Kind, Level, Record, Story, Verdict, Who, everybody, millis};

pub(super) const FORMAT: Format = Format {
    id: "cef",
    about: "ArcSight Common Event Format, version 0",
    content_type: "text/plain; charset=utf-8",
    kinds: super::EVERYTHING,
    shape: Shape::Line(line),
};

/// How long values of the dictionary may be, in bytes.
const TEXT_MAX: usize = 1023;
const CUSTOM_MAX: usize = 4000;
const NAME_MAX: usize = 512;

fn line(record: &Record) -> Result<String, FormatError> {
    match record.kind {
        Kind::Incident => Ok(incident(record, &read(record)?)),
        Kind::Alert => Ok(alert(record, &read(record)?)),
        Kind::Decision => Ok(decision(record, &read(record)?)),
    }
}

fn incident(record: &Record, story: &Story) -> String {
    let everybody = everybody(story);
    let suspect = everybody.iter().find(|(_, party)| party.suspected);
    let target = everybody.iter().find(|(_, party)| !party.suspected);
    let mut line = Line::begin("incident", &story.title, record.level());
    line.common(record, &story.id, story.first_seen, story.last_seen);
    line.put("cat", &story.hypothesis, TEXT_MAX);
    line.put("msg", &story.narrative, TEXT_MAX);
    line.end_point(suspect.map(|(who, _)| who), &SOURCE);
    line.end_point(target.map(|(who, _)| who), &DESTINATION);
    let names: Vec<&str> = story.affected.iter().map(|party| &*party.name).collect();
    line.custom(1, "affected", &names.join(", "));
    line.custom(2, "techniques", &story.techniques.join(" "));
    line.custom(3, "nextSteps", &story.next_steps.join(" "));
    line.rarity(story.p_value);
    line.number("cnt", story.alerts.len() as u64);
    line.out
}

fn alert(record: &Record, claim: &Claim) -> String {
    let mut line = Line::begin(&claim.detector, &claim.title(), record.level());
    line.common(record, &claim.id, claim.first_seen, claim.last_seen);
    line.put("cat", &claim.phase, TEXT_MAX);
    line.put("msg", &claim.sentence(), TEXT_MAX);
    line.end_point(Some(&Who::of(&claim.entity, "", &[])), &SOURCE);
    let peer = claim.peers.first();
    let peer = peer.map(|peer| Who::of(&peer.entity, "", &[]));
    line.end_point(peer.as_ref(), &DESTINATION);
    line.custom(1, "incident", &claim.incident);
    line.custom(2, "techniques", &claim.techniques.join(" "));
    line.custom(
        3,
        "normal",
        claim.counterfactual.as_deref().unwrap_or_default(),
    );
    line.rarity(claim.p_value);
    line.out
}

/// What was decided: `act` is where it stands.
fn decision(record: &Record, said: &Verdict) -> String {
    let mut line = Line::begin("decision", &said.title, record.level());
    let began = said.began_at.unwrap_or(said.proposed_at);
    line.ids(record, &said.id, &said.state);
    line.put("start", &millis(began).to_string(), 32);
    line.put("rt", &millis(said.at).to_string(), 32);
    line.put("cat", &said.verb, TEXT_MAX);
    line.put("msg", &said.text, TEXT_MAX);
    line.put("reason", said.why(), TEXT_MAX);
    line.end_point(Some(&Who::of(&said.device, "", &[])), &SOURCE);
    line.custom(1, "incident", &said.incident);
    line.custom(2, "cuts", &said.cuts_in_words.join("; "));
    line.custom(3, "by", said.by.as_deref().unwrap_or_default());
    if let Some(until) = said.until {
        line.put("deviceCustomDate1Label", "until", TEXT_MAX);
        line.put("deviceCustomDate1", &millis(until).to_string(), 32);
    }
    line.out
}

/// The keys of one end.
struct End {
    address: &'static str,
    /// The custom field for IPv6, and what it is called.
    address6: (&'static str, &'static str),
    host: &'static str,
    user: &'static str,
    mac: &'static str,
}

const SOURCE: End = End {
    address: "src",
    address6: ("c6a2", "Source IPv6 Address"),
    host: "shost",
    user: "suser",
    mac: "smac",
};
const DESTINATION: End = End {
    address: "dst",
    address6: ("c6a3", "Destination IPv6 Address"),
    host: "dhost",
    user: "duser",
    mac: "dmac",
};

struct Line {
    out: String,
    has_fields: bool,
}

impl Line {
    fn begin(class: &str, name: &str, level: Level) -> Self {
        let severity = match level {
            Level::Low => 3,
            Level::Medium => 6,
            Level::High => 9,
        };
        let name = cef_head(&clip(name, NAME_MAX));
        let class = cef_head(class);
        Self {
            out: format!("CEF:0|{PRODUCT}|{PRODUCT}|{VERSION}|{class}|{name}|{severity}|"),
            has_fields: false,
        }
    }

    fn ids(&mut self, record: &Record, id: &str, act: &str) {
        self.put("externalId", id, 40);
        self.put("deviceExternalId", &record.id, 255);
        self.put("act", act, 63);
    }

    fn common(&mut self, record: &Record, id: &str, first: Timestamp, last: Timestamp) {
        let act = if record.is_update { "update" } else { "create" };
        self.ids(record, id, act);
        self.put("start", &millis(first).to_string(), 32);
        self.put("end", &millis(last).to_string(), 32);
        self.put("rt", &millis(last).to_string(), 32);
    }

    fn put(&mut self, key: &str, value: &str, max: usize) {
        if value.is_empty() {
            return;
        }
        if self.has_fields {
            self.out.push(' ');
        }
        self.has_fields = true;
        self.out.push_str(key);
        self.out.push('=');
        self.out.push_str(&cef_value(&clip(value, max)));
    }

    fn number(&mut self, key: &str, value: u64) {
        self.put(key, &value.to_string(), 20);
    }

    fn custom(&mut self, number: u8, label: &str, value: &str) {
        if !value.is_empty() {
            self.put(&format!("cs{number}Label"), label, TEXT_MAX);
            self.put(&format!("cs{number}"), value, CUSTOM_MAX);
        }
    }

    /// How rare it is when nothing is wrong: one in so many device-hours, as a power of ten.
    fn rarity(&mut self, p_value: f64) {
        let mut value = String::new();
        // Writing to a string does not fail.
        let _is_written = write!(value, "{p_value:.2}").is_ok();
        self.put("cfp1Label", "minusLog10P", TEXT_MAX);
        self.put("cfp1", &value, 32);
    }

    fn end_point(&mut self, who: Option<&Who>, end: &End) {
        let Some(who) = who else {
            return;
        };
        if let Some(address) = who.ips.iter().find(|address| address.is_ipv4()) {
            self.put(end.address, &address.to_string(), 64);
        }
        if let Some(address) = who.ips.iter().find(|address| address.is_ipv6()) {
            let (key, label) = end.address6;
            self.put(&format!("{key}Label"), label, TEXT_MAX);
            self.put(key, &address.to_string(), 64);
        }
        if let Some(host) = who.hosts.first() {
            self.put(end.host, host, TEXT_MAX);
        }
        if let Some(mac) = who.macs.first() {
            self.put(end.mac, &mac.replace('-', ":").to_ascii_lowercase(), 32);
        }
        if let Some(user) = &who.user {
            self.put(end.user, user, TEXT_MAX);
        }
    }
}
