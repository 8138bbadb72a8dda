//! # Rare internal service
//!
//! ## What it flags
//! A device that uses an internal service (protocol on a server) which neither it nor anyone else on
//! the site has used before.
//!
//! ## Why it matters
//! Lateral movement needs connections that ordinary work does not make: a workstation that opens
//! remote desktop on another workstation, a camera that speaks SMB to a file server.
//!
//! ## How it scores
//! The item is the server device together with the protocol recognised in the bytes (else the
//! port). Only answered connections count. The score of an hour is −log10 of the Poisson
//! probability of at least that many first-ever internal services, given the rate learned for the
//! device, shrunk towards its peer group and the site, and
//! raised at hours of the day at which more is new on the site; of an hour that the site has not had
//! yet nothing is expected, so the first morning surprises nobody.
//!
//! ## Evidence
//! The services by name and server, and the first connection to each.
//!
//! ## What would have been normal
//! The number of first-ever internal services that the device's learned rate makes unremarkable.
//!
//! ## Known false alarms
//! New servers, administrators at work, discovery by management software, the first days of
//! learning on a changing site.
//!
//! ## ATT&CK
//! T1021 Remote Services.
//!
//! ## Sources
//! Ho et al., *Hopper: modeling and detecting lateral movement*, 2021, for new paths as the sign of
//! lateral movement.

use std::borrow::Cow;

use thymus_schema::{Event, EventBody, PeerRole, Phase, Technique};

use crate::cx::DetectCx;
use crate::detector::DetectorSpec;
use crate::interest::Interest;
use crate::rare::{Name, Rare, Used};
use crate::trail::key_of;

pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "rare_service",
    title: "Rare internal service",
    phase: Phase::Lateral,
    techniques: &[Technique::new("T1021")],
    source: include_str!("rare_service.rs"),
    snapshot_version: 2,
    build: |_| {
        Box::new(Rare::new(
            Interest::FLOW.and(Interest::DNS_FLOW),
            used,
            "used {new} internal services that nobody here had used before ({names}), among {draws} in that hour",
            "An hour with {expected} such first uses or fewer would have been ordinary for this device.",
        ))
    },
};

fn used<'a>(event: &'a Event, cx: &'a DetectCx<'_>) -> Option<Used<'a>> {
    let (client, server) = (cx.client()?, cx.server()?);
    let EventBody::Flow(flow) = &event.body else {
        return None;
    };
    let conn = event.conn.as_ref()?;
    let is_answered = flow.server_packets > 0 && !flow.state.is_failed();
    // Ports above the registered range are one side of something dynamic, not a service.
    let is_service = flow.service.is_some() || (1..1024).contains(&conn.server.port);
    if flow.part != 0
        || !is_answered
        || !is_service
        || client.device.is_none()
        || server.device.is_none()
    {
        return None;
    }
    let what = flow.service.map_or_else(
        || Cow::Owned(format!("{}/{}", conn.server.port, conn.transport.as_str())),
        |service| Cow::Borrowed(service.as_str()),
    );
    let item = key_of(what.as_bytes()) ^ server.key().rotate_left(17);
    Some(Used {
        party: client,
        item,
        name: Name::On(what, server.addr),
        peer: Some((PeerRole::Target, server)),
    })
}
