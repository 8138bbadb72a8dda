//! # Rare TLS client
//!
//! ## What it flags
//! A device whose TLS or QUIC client fingerprint (JA4) has never been seen on the site.
//!
//! ## Why it matters
//! The fingerprint comes from the program's TLS library. A new one means new software speaks on the
//! device: often an update, sometimes an implant.
//!
//! ## How it scores
//! The score of an hour is −log10 of the Poisson probability of at least that many first-ever
//! fingerprints, given the rate learned for the device, shrunk towards its peer group and the site, and
//! raised at hours of the day at which more is new on the site; of an hour that the site has not had
//! yet nothing is expected, so the first morning surprises nobody.
//!
//! ## Evidence
//! The fingerprints and the first handshake with each.
//!
//! ## What would have been normal
//! The number of first-ever fingerprints that the device's learned rate makes unremarkable.
//!
//! ## Known false alarms
//! Browser and system updates, new applications, clients that permute their hello (JA4 sorts the
//! extensions, so most of that is already taken out).
//!
//! ## ATT&CK
//! T1573 Encrypted Channel.
//!
//! ## Sources
//! FoxIO, JA4 technical details (TLS client part, BSD licence).

use std::borrow::Cow;

use thymus_schema::{Event, EventBody, PeerRole, Phase, Technique};

use crate::cx::DetectCx;
use crate::detector::DetectorSpec;
use crate::interest::Interest;
use crate::rare::{Name, Rare, Used};
use crate::trail::key_of;

pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "rare_ja4",
    title: "Rare TLS client",
    phase: Phase::Unusual,
    techniques: &[Technique::new("T1573")],
    source: include_str!("rare_ja4.rs"),
    snapshot_version: 2,
    build: |_| {
        Box::new(Rare::new(
            Interest::TLS,
            used,
            "spoke TLS with {new} client fingerprints never seen here before ({names}), among {draws} in that hour",
            "An hour with {expected} such new fingerprints or fewer would have been ordinary for this device.",
        ))
    },
};

fn used<'a>(event: &'a Event, cx: &'a DetectCx<'_>) -> Option<Used<'a>> {
    let EventBody::Tls(tls) = &event.body else {
        return None;
    };
    let client = cx
        .client()
        .filter(|client| client.is_local() && !tls.ja4.is_empty())?;
    let server = cx.server()?;
    Some(Used {
        party: client,
        item: key_of(tls.ja4.as_bytes()),
        name: Name::Is(Cow::Borrowed(&tls.ja4)),
        peer: Some((PeerRole::Controller, server)),
    })
}
