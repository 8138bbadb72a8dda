//! # TLS oddity
//!
//! ## What it flags
//! Encrypted conversations with outside hosts whose certificate or handshake is not what public
//! services have: signed by itself, expired, valid for very long or just made, with a subject of
//! random letters or none, for another name than the one asked for, or without any name at all.
//!
//! ## Why it matters
//! Whoever runs a control server for a week does not buy a good certificate; tools come with their
//! own.
//!
//! ## How it scores
//! Each oddity has a weight by how rare it is among outside hosts; the heaviest counts full and the
//! others four tenths. A destination that several devices use or that was used on earlier days is
//! part of the site and takes off two or more. Inside the local network certificates mean nothing.
//!
//! ## Evidence
//! The destination, the name asked for, subject and issuer, the oddities, the number of handshakes;
//! the first handshakes' events.
//!
//! ## What would have been normal
//! A certificate of a public authority for the name that was asked for.
//!
//! ## Known false alarms
//! Devices that speak to their vendor with certificates of its own, VPNs, games, peer-to-peer
//! programs, small servers of acquaintances.
//!
//! ## ATT&CK
//! T1573 Encrypted Channel, T1071.001 Web Protocols.
//!
//! ## Sources
//! RFC 5280, RFC 6066; Anderson, Paul and McGrew, *Deciphering malware's use of TLS (without
//! decryption)*, 2016.

use std::net::IpAddr;

use thymus_schema::{
    Certificate, Event, EventBody, PeerRole, Phase, SnapshotError, SnapshotReader, SnapshotWriter,
    Statement, Technique, Timestamp, TlsHandshake, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::domains;
use crate::habit::{Habits, Ordinary};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::table::Table;
use crate::trail::key_of;
use crate::window::Hourly;

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "tls_oddity",
    title: "TLS oddity",
    phase: Phase::Control,
    techniques: &[Technique::new("T1071.001"), Technique::new("T1573")],
    source: include_str!("tls_oddity.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(TlsOddity::default()),
};

const PAIRS_MAX: usize = 16_384;
const HABITS_MAX: usize = 65_536;
const DAY_SECS: f64 = 86_400.0;

/// The detector's state.
struct TlsOddity {
    pairs: Table<u64, Hourly<()>>,
    ordinary: Ordinary,
}

impl Default for TlsOddity {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            ordinary: Ordinary::new(HABITS_MAX),
        }
    }
}

/// The common name of a distinguished name.
fn common_name(name: &str) -> &str {
    name.split([',', '/'])
        .find_map(|part| {
            part.trim()
                .strip_prefix("CN=")
                .or_else(|| part.trim().strip_prefix("cn="))
        })
        .unwrap_or("")
}

/// Whether letters look drawn: long, with few vowels or digits mixed in.
fn looks_random(label: &str) -> bool {
    let letters = label.bytes().filter(u8::is_ascii_alphabetic).count();
    let digits = label.bytes().filter(u8::is_ascii_digit).count();
    let vowels = label
        .bytes()
        .filter(|b| b"aeiouyAEIOUY".contains(b))
        .count();
    let len = label.len();
    let plain = label.bytes().all(|b| b.is_ascii_alphanumeric());
    plain
        && len >= 8
        && domains::entropy(label.as_bytes()) > 2.6
        && (vowels * 5 < letters
            || (digits >= 2
                && digits * 5 > len
                && digits * 2 < len + letters
                && vowels * 4 < letters))
}

fn certificate_names(certificate: &Certificate, host: &str) -> bool {
    let covers = |pattern: &str| {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix("*.") {
            Some(rest) => {
                host.split_once('.').is_some_and(|(_, tail)| tail == rest) || host == rest
            }
            None => pattern == host,
        }
    };
    certificate.names.iter().any(|name| covers(name)) || covers(common_name(&certificate.subject))
}

/// The oddities of a certificate, with their weights.
fn of_certificate(
    certificate: &Certificate,
    sni: &str,
    now: Timestamp,
) -> Vec<(f64, &'static str)> {
    let mut odd = Vec::new();
    let subject = common_name(&certificate.subject);
    if certificate.self_signed {
        odd.push((2.2, "signed by itself"));
    }
    let validity = certificate.not_after.secs_since(certificate.not_before) / DAY_SECS;
    if certificate.not_after > Timestamp::default() {
        if now.secs_since(certificate.not_after) > 0.0 {
            odd.push((1.6, "expired"));
        }
        if now.secs_since(certificate.not_before) < -DAY_SECS {
            odd.push((1.8, "not yet valid"));
        }
        if validity > 5.0 * 366.0 {
            odd.push((0.9, "valid for very long"));
        }
        if certificate.self_signed
            && (0.0..7.0 * DAY_SECS).contains(&now.secs_since(certificate.not_before))
        {
            odd.push((1.0, "just made"));
        }
    }
    if subject.is_empty() && certificate.names.is_empty() {
        odd.push((1.4, "without a name"));
    }
    if subject.split('.').any(looks_random) {
        odd.push((1.4, "with a random name"));
    }
    let sni = sni.to_ascii_lowercase();
    let known = !certificate.names.is_empty() || !subject.is_empty();
    if !sni.is_empty() && known && !certificate_names(certificate, &sni) {
        odd.push((1.5, "for another name"));
    }
    odd
}

/// The oddities of a handshake, with their weights.
pub(super) fn oddities(
    tls: &TlsHandshake,
    port: u16,
    now: Timestamp,
    has_name: bool,
) -> Vec<(f64, &'static str)> {
    let mut odd = tls
        .certificate
        .as_deref()
        .map_or(Vec::new(), |c| of_certificate(c, &tls.sni, now));
    let is_bare = tls.sni.is_empty() || tls.sni.parse::<IpAddr>().is_ok();
    if is_bare && !has_name {
        odd.push((1.0, "without asking for a name"));
    }
    if tls.sni.split('.').any(looks_random) && !has_name {
        odd.push((0.8, "asking for a random name"));
    }
    if !odd.is_empty() && !matches!(port, 443 | 465 | 587 | 853 | 993 | 995 | 5223 | 5228) {
        odd.push((0.7, "on an unusual port"));
    }
    if tls.version != 0 && tls.version < 0x0303 && tls.established {
        odd.push((0.5, "in an old version"));
    }
    odd
}

impl Detector for TlsOddity {
    fn interest(&self) -> Interest {
        Interest::TLS
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.ordinary]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Tls(tls) = &event.body else {
            return;
        };
        let (Some(client), Some(server), Some(conn)) = (cx.client(), cx.server(), &event.conn)
        else {
            return;
        };
        if !client.is_local() || server.is_local() {
            return;
        }
        let resolved = cx.entities().name_of(server.addr);
        let mut odd = oddities(tls, conn.server.port, event.ts, resolved.is_some());
        if odd.is_empty() {
            return;
        }
        odd.sort_by(|a, b| b.0.total_cmp(&a.0));
        let addr = server.addr.to_string();
        let name = if tls.sni.is_empty() {
            resolved.unwrap_or(&addr)
        } else {
            &tls.sni
        };
        let place = key_of(domains::registered(name).unwrap_or(&addr));
        let (users, days) = self.ordinary.note(place, client.key(), event.ts);
        let best = odd.first().map_or(0.0, |one| one.0);
        let rest: f64 = odd.iter().skip(1).map(|one| one.0).sum();
        let pair = self
            .pairs
            .entry(key_of((client.key(), place)), Hourly::default);
        pair.turn(event.ts);
        pair.push(event);
        let score = best + 0.4 * rest - 2.0 * users.log10() - Habits::relief(days);
        if score <= 0.0 || !cx.matters(score) || !pair.window.rises(score) {
            return;
        }
        let what: Vec<Box<str>> = odd.iter().take(8).map(|one| one.1.into()).collect();
        let certificate = tls.certificate.as_deref();
        let text = |name: Option<&str>| -> Box<str> {
            name.filter(|name| !name.is_empty())
                .unwrap_or("unseen")
                .chars()
                .take(120)
                .collect::<String>()
                .into()
        };
        let statement = Statement::new(
            "opened {count} encrypted conversations with {name} at {addr} that are odd: {what} (subject {subject}, issuer {issuer})",
            vec![
                pair.count("count", pair.trail.total() as f64),
                pair.trail.fact("name", Value::Name(name.into())),
                pair.trail
                    .fact("addr", Value::Name(conn.server.to_string().into())),
                pair.trail.fact("what", Value::Names(what)),
                pair.trail.fact(
                    "subject",
                    Value::Name(text(certificate.map(|c| &*c.subject))),
                ),
                pair.trail
                    .fact("issuer", Value::Name(text(certificate.map(|c| &*c.issuer)))),
            ],
        );
        let normal = Statement::new(
            "Public services have certificates of public authorities, in time and for the name asked for.",
            Vec::new(),
        );
        let mut finding = pair.trail.finding(client, place, score, statement, normal);
        finding
            .peers
            .push(cx.entities().peer(PeerRole::Controller, server));
        cx.raise(finding);
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.ordinary.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.ordinary.restore(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_do_not_look_random_and_drawn_letters_do() {
        for word in [
            "microsoft",
            "cloudfront",
            "akamaiedge",
            "doubleclick",
            "example",
        ] {
            assert!(!looks_random(word), "{word}");
        }
        for drawn in ["xkqvztrwp", "qkzdwnbtrh"] {
            assert!(looks_random(drawn), "{drawn}");
        }
    }

    #[test]
    fn wildcards_cover_one_label() {
        let certificate = Certificate {
            names: vec!["*.example.org".into()],
            ..Certificate::default()
        };
        assert!(certificate_names(&certificate, "www.example.org"));
        assert!(!certificate_names(&certificate, "a.b.example.org"));
    }
}
