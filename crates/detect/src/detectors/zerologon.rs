//! # Zerologon
//!
//! ## What it flags
//! A storm of netlogon authentications against a domain controller, and a machine password set right
//! after it.
//!
//! ## Why it matters
//! With the flaw CVE-2020-1472 one of about 256 authentications with an empty key succeeds, and the
//! controller's own password can then be emptied: the domain is lost in seconds.
//!
//! ## How it scores
//! Per hour, client and controller: the number of challenges and authentications beyond the few that
//! a domain member needs (three digits per factor of ten), and the most in one minute (one and a half). A
//! password set after ten or more authentications adds two.
//!
//! ## Evidence
//! The controller, the number of authentications, the most in one minute, whether a password was
//! set; the first calls' events.
//!
//! ## What would have been normal
//! A few authentications when a member starts.
//!
//! ## Known false alarms
//! Members that lost their trust and retry fast; scanners for this flaw.
//!
//! ## ATT&CK
//! T1210 Exploitation of Remote Services.
//!
//! ## Sources
//! MS-NRPC, 3.5.4.4; Tervoort, *Zerologon: Unauthenticated domain controller compromise by
//! subverting Netlogon cryptography*, 2020.

use thymus_schema::{Event, EventBody, PeerRole, Phase, Statement, Technique, Value};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::rpc::{Interface, is_operation};
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::Hourly;

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "zerologon",
    title: "Zerologon",
    phase: Phase::Credentials,
    techniques: &[Technique::new("T1210")],
    source: include_str!("zerologon.rs"),
    snapshot_version: 1,
    build: |_: &Settings| {
        Box::new(Zerologon {
            pairs: Table::new(PAIRS_MAX),
        })
    },
};

const PAIRS_MAX: usize = 8_192;

#[derive(Debug, Default)]
struct Tries {
    authentications: f64,
    set_password: f64,
}

/// The detector's state; nothing of it outlives an hour.
struct Zerologon {
    pairs: Table<u64, Hourly<Tries>>,
}

impl Detector for Zerologon {
    fn interest(&self) -> Interest {
        Interest::DCE_RPC
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::DceRpc(call) = &event.body else {
            return;
        };
        if Interface::of(call) != Some(Interface::Netlogon) {
            return;
        }
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        let pair = self
            .pairs
            .entry(key_of((client.key(), server.key())), Hourly::default);
        pair.turn(event.ts);
        if is_operation(call, "NetrServerAuthenticate", &[5, 15, 26]) {
            pair.push(event);
            pair.it.authentications += 1.0;
        } else if is_operation(call, "NetrServerPasswordSet", &[6, 30]) {
            pair.push(event);
            pair.it.set_password += 1.0;
        } else {
            return;
        }
        let tries = pair.it.authentications;
        let mut score =
            tails::pareto(tries, 4.0, 3.0) + tails::pareto(pair.window.burst(), 5.0, 1.5);
        let is_set = pair.it.set_password > 0.0 && tries >= 10.0;
        if is_set {
            score += 2.0;
        }
        if !cx.matters(score) || !pair.window.rises(score) {
            return;
        }
        let target = cx.entities().peer(PeerRole::Target, server);
        let template = if is_set {
            "authenticated to {server} by netlogon {count} times in {span}, {burst} calls in one minute, \
             and then set a machine password"
        } else {
            "authenticated to {server} by netlogon {count} times in {span}, {burst} calls in one minute"
        };
        let statement = Statement::new(
            template,
            vec![
                pair.trail
                    .fact("server", Value::Entity(target.entity.clone())),
                pair.count("count", tries),
                pair.count("burst", pair.window.burst()),
                pair.span(),
            ],
        );
        let normal = Statement::new(
            "A member of the domain authenticates once or twice when it starts.",
            Vec::new(),
        );
        let mut finding = pair
            .trail
            .finding(client, server.key(), score, statement, normal);
        finding.peers.push(target);
        cx.raise(finding);
    }
}
