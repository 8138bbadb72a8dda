//! # Rare user agent
//!
//! ## What it flags
//! A device that sends an HTTP user agent which has never been seen on the site.
//!
//! ## Why it matters
//! Tools and implants that speak HTTP bring their own user agent; even one copied from a browser is
//! usually a version that nobody on the site runs.
//!
//! ## How it scores
//! Version numbers are taken out first, so that an update is not a new agent. The score of an hour
//! is −log10 of the Poisson probability of at least that many first-ever agents, given the rate
//! learned for the device, shrunk towards its peer group and the site, and
//! raised at hours of the day at which more is new on the site; of an hour that the site has not had
//! yet nothing is expected, so the first morning surprises nobody.
//!
//! ## Evidence
//! The agents and the first request with each.
//!
//! ## What would have been normal
//! The number of first-ever agents that the device's learned rate makes unremarkable.
//!
//! ## Known false alarms
//! New software, updaters that run once a year, developers.
//!
//! ## ATT&CK
//! T1071.001 Web Protocols.
//!
//! ## Sources
//! RFC 9110, section 10.1.5.

use std::borrow::Cow;

use thymus_schema::{Event, EventBody, PeerRole, Phase, Technique};

use crate::cx::DetectCx;
use crate::detector::DetectorSpec;
use crate::interest::Interest;
use crate::rare::{Name, Rare, Used};
use crate::trail::key_of;

pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "rare_user_agent",
    title: "Rare user agent",
    phase: Phase::Unusual,
    techniques: &[Technique::new("T1071.001")],
    source: include_str!("rare_user_agent.rs"),
    snapshot_version: 2,
    build: |_| {
        Box::new(Rare::new(
            Interest::HTTP,
            used,
            "sent {new} user agents never seen here before ({names}), among {draws} in that hour",
            "An hour with {expected} such new agents or fewer would have been ordinary for this device.",
        ))
    },
};

fn used<'a>(event: &'a Event, cx: &'a DetectCx<'_>) -> Option<Used<'a>> {
    let EventBody::Http(http) = &event.body else {
        return None;
    };
    let client = cx
        .client()
        .filter(|client| client.is_local() && !http.user_agent.is_empty())?;
    let server = cx.server()?;
    let versionless: Vec<u8> = http
        .user_agent
        .bytes()
        .filter(|byte| !byte.is_ascii_digit() && *byte != b'.')
        .collect();
    Some(Used {
        party: client,
        item: key_of(&versionless),
        name: Name::Is(Cow::Borrowed(&http.user_agent)),
        peer: Some((PeerRole::Controller, server)),
    })
}
