//! # Rare destination
//!
//! ## What it flags
//! A device of ours that contacts places on the outside which nobody on the site has contacted
//! before, more of them than this device's past and its peers' past explain.
//!
//! ## Why it matters
//! Command servers, drop sites and download hosts of an intruder are new to the site. A printer, a
//! camera or a server that has called the same three names for a month and now calls a fourth is
//! worth a question; a person who browses is not.
//!
//! ## How it scores
//! A destination is the registered domain of the TLS or HTTP host, else of the DNS name that gave
//! the address, else the address's /24 (IPv6: /64). Counted per device and hour; the score is
//! −log10 of the Poisson probability of at least that many first-ever destinations, given the rate
//! learned for the device, shrunk towards its peer group and the site, and
//! raised at hours of the day at which more is new on the site; of an hour that the site has not had
//! yet nothing is expected, so the first morning surprises nobody.
//!
//! ## Evidence
//! The new destinations by name, the first contact with each, and how many destinations the device
//! used in that hour.
//!
//! ## What would have been normal
//! The number of first-ever destinations that the device's learned rate makes unremarkable.
//!
//! ## Known false alarms
//! A new product rolled out, a first visit to a news site by a quiet machine, a moved cloud service.
//!
//! ## ATT&CK
//! T1071.001 Web Protocols.
//!
//! ## Sources
//! Teh et al., *Hierarchical Dirichlet processes*, 2006, for the nested priors; the rarity and
//! novelty filters of BAYWATCH (Hu et al., 2016).

use std::borrow::Cow;
use std::net::IpAddr;

use thymus_schema::{Event, EventBody, PeerRole, Phase, Technique};

use crate::cx::DetectCx;
use crate::detector::DetectorSpec;
use crate::domains;
use crate::interest::Interest;
use crate::rare::{Name, Rare, Used};
use crate::trail::key_of;

pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "rare_destination",
    title: "Rare destination",
    phase: Phase::Unusual,
    techniques: &[Technique::new("T1071.001")],
    source: include_str!("rare_destination.rs"),
    snapshot_version: 2,
    build: |_| {
        Box::new(Rare::new(
            Interest::TLS
                .and(Interest::HTTP)
                .and(Interest::FLOW)
                .and(Interest::DNS_FLOW),
            used,
            "contacted {new} destinations that nobody here had used before ({names}), among {draws} in that hour",
            "An hour with {expected} such first contacts or fewer would have been ordinary for this device.",
        ))
    },
};

fn used<'a>(event: &'a Event, cx: &'a DetectCx<'_>) -> Option<Used<'a>> {
    let (client, server) = (cx.client()?, cx.server()?);
    if !client.is_local() {
        return None;
    }
    let host: Option<&'a str> = match &event.body {
        EventBody::Tls(tls) if !tls.sni.is_empty() => Some(&tls.sni),
        // A proxied request names an outside host although the conversation stays inside.
        EventBody::Http(http) if !http.host.is_empty() => Some(&http.host),
        EventBody::Flow(flow) if flow.part == 0 && flow.server_packets > 0 => None,
        _ => return None,
    };
    let is_flow = host.is_none();
    if server.is_local() && (is_flow || matches!(event.body, EventBody::Tls(_))) {
        return None;
    }
    let host = host.map(|host| host.split(':').next().unwrap_or(host));
    let host = host.filter(|host| host.parse::<IpAddr>().is_err());
    if is_flow && (server.addr.is_multicast() || is_broadcast(server.addr)) {
        return None;
    }
    let name = match host.or_else(|| cx.entities().name_of(server.addr)) {
        Some(host) => Cow::Borrowed(domains::registered(host)?),
        None => Cow::Owned(network(server.addr)),
    };
    Some(Used {
        party: client,
        item: key_of(name.as_bytes()),
        name: Name::Is(name),
        peer: (!server.is_local()).then_some((PeerRole::Controller, server)),
    })
}

fn is_broadcast(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V4(v4) if v4.is_broadcast())
}

/// The address's neighbourhood: hosts of one service share it.
fn network(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}
