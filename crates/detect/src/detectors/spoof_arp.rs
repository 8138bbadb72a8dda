//! # Address claimed by two devices
//!
//! ## What it flags
//! A hardware address that claims the network address of another device by ARP or neighbour
//! advertisements, the gateway's above all, while the other still uses it.
//!
//! ## Why it matters
//! Whoever answers for the gateway gets everybody's traffic and can read or change it.
//!
//! ## How it scores
//! One change of owner is ordinary: leases end, machines are replaced. The score grows when both
//! owners keep claiming (each change back counts), when the new owner has an address of its own
//! beside it or takes several addresses from others, with the number of answers nobody asked for,
//! when many devices ask for the address (a gateway or server), and when the frame's sender differs
//! from the claimed one. Virtual router addresses (VRRP, HSRP, GLBP, CARP) change by design and are
//! left out.
//!
//! ## Evidence
//! The address, both hardware addresses, how often it changed, how many answers were unasked, the
//! messages.
//!
//! ## What would have been normal
//! The known hardware address answers when it is asked.
//!
//! ## Known false alarms
//! Two machines set to one address by mistake; fail-over pairs and load balancers without a virtual
//! hardware address; wireless bridges that answer for others.
//!
//! ## ATT&CK
//! T1557.002 (ARP cache poisoning).
//!
//! ## Sources
//! RFC 826, RFC 5227 (address conflict detection), RFC 4861, RFC 5798 (VRRP), RFC 2281 (HSRP).

use std::net::IpAddr;

use thymus_schema::{
    Event, EventBody, Mac, PeerRole, Phase, Scope, Statement, Technique, Timestamp, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::sweep::is_group;
use crate::table::Table;
use crate::trail::{Trail, key_of};

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "spoof_arp",
    title: "Address claimed by two devices",
    phase: Phase::Credentials,
    techniques: &[Technique::new("T1557.002")],
    source: include_str!("spoof_arp.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(SpoofArp::default()),
};

const CLAIMS_MAX: usize = 32_768;
const OWNERS_MAX: usize = 32_768;
const MACS_MAX: usize = 4;
const ADDRESSES_MAX: usize = 16;
const ASKERS_HUB: usize = 4;
/// Two owners within this time contest an address.
const CONTEST_SECS: f64 = 3600.0;
/// An answer this long after a question was asked for.
const ASKED_SECS: f64 = 5.0;

type Address = (Scope, IpAddr);

/// Who claims an address.
#[derive(Default)]
struct Claim {
    /// Owners, the current one last, with when they last claimed and how many unasked answers they
    /// gave.
    owners: Vec<Owner>,
    /// Whose it is by right: who had it first and alone.
    holder: Option<Mac>,
    /// Changes back to an earlier owner.
    returns: u32,
    changes: u32,
    asked_at: Option<Timestamp>,
    askers: Vec<IpAddr>,
    forged_frames: u32,
    trail: Trail,
    waiting: bool,
}

struct Owner {
    mac: Mac,
    last: Timestamp,
    unasked: u32,
}

struct Assertion {
    address: Address,
    mac: Mac,
    answers: bool,
    forged_frame: bool,
}

/// The detector's state. Nothing of it is kept over a restart: a claim is known again after one
/// question.
pub(crate) struct SpoofArp {
    claims: Table<Address, Claim>,
    owned: Table<(Scope, Mac), Vec<IpAddr>>,
    waiting: Vec<Address>,
}

impl Default for SpoofArp {
    fn default() -> Self {
        Self {
            claims: Table::new(CLAIMS_MAX),
            owned: Table::new(OWNERS_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for SpoofArp {
    fn interest(&self) -> Interest {
        Interest::ARP.and(Interest::NDP)
    }

    fn observe(&mut self, event: &Event, _cx: &mut DetectCx<'_>) {
        let scope = event.conn.as_ref().map_or(Scope::NONE, |conn| conn.scope);
        match &event.body {
            EventBody::Arp(arp) => {
                if !arp.reply && arp.sender != arp.target && !is_group(arp.target) {
                    self.asked((scope, arp.target), arp.sender, event.ts);
                }
                let forged = !arp.frame_mac.is_zero() && arp.frame_mac != arp.sender_mac;
                let gratuitous = arp.sender == arp.target;
                self.claimed(
                    event,
                    &Assertion {
                        address: (scope, arp.sender),
                        mac: arp.sender_mac,
                        answers: arp.reply && !gratuitous,
                        forged_frame: forged,
                    },
                );
            }
            EventBody::Ndp(ndp) => {
                let Some(target) = ndp.target else { return };
                match ndp.message {
                    135 => self.asked((scope, target), ndp.sender, event.ts),
                    136 => self.claimed(
                        event,
                        &Assertion {
                            address: (scope, target),
                            mac: ndp.mac,
                            answers: true,
                            forged_frame: false,
                        },
                    ),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.claims, &mut self.owned]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        for address in std::mem::take(&mut self.waiting) {
            if let Some(claim) = self.claims.get_mut(&address) {
                claim.waiting = false;
            }
            self.judge(address, cx);
        }
    }
}

impl SpoofArp {
    fn asked(&mut self, address: Address, asker: IpAddr, ts: Timestamp) {
        let claim = self.claims.entry(address, Claim::default);
        claim.asked_at = Some(ts);
        if claim.askers.len() < ASKERS_HUB && !claim.askers.contains(&asker) && !is_group(asker) {
            claim.askers.push(asker);
        }
    }

    fn claimed(&mut self, event: &Event, said: &Assertion) {
        let mac = said.mac;
        if is_group(said.address.1) || mac.is_zero() || mac.is_multicast() || is_virtual(mac) {
            return;
        }
        let owned = self.owned.entry((said.address.0, mac), Vec::new);
        if owned.len() < ADDRESSES_MAX && !owned.contains(&said.address.1) {
            owned.push(said.address.1);
        }
        let claim = self.claims.entry(said.address, Claim::default);
        let asked = claim
            .asked_at
            .is_some_and(|at| event.ts.secs_since(at).abs() <= ASKED_SECS);
        let unasked = u32::from(said.answers && !asked);
        claim.forged_frames += u32::from(said.forged_frame);
        claim
            .owners
            .retain(|owner| owner.mac == mac || event.ts.secs_since(owner.last) <= CONTEST_SECS);
        if claim.owners.iter().all(|owner| owner.mac == mac) {
            claim.holder = Some(mac);
        }
        if let Some(at) = claim.owners.iter().position(|owner| owner.mac == mac) {
            if at + 1 < claim.owners.len() {
                claim.returns += 1;
                claim.changes += 1;
            }
            let mut owner = claim.owners.remove(at);
            owner.last = event.ts;
            owner.unasked += unasked;
            claim.owners.push(owner);
        } else {
            claim.changes += u32::from(!claim.owners.is_empty());
            if claim.owners.len() >= MACS_MAX {
                claim.owners.remove(0);
            }
            claim.owners.push(Owner {
                mac,
                last: event.ts,
                unasked,
            });
        }
        let odd = claim.owners.len() > 1 || unasked > 0 || said.forged_frame;
        if odd {
            claim.trail.push(event);
            if !claim.waiting {
                claim.waiting = true;
                self.waiting.push(said.address);
            }
        }
    }

    fn judge(&self, address: Address, cx: &mut DetectCx<'_>) {
        let Some(claim) = self.claims.get(&address) else {
            return;
        };
        // The claimant is the one that contests several addresses, then the one that did not have
        // this one before, then the one that pushes itself forward; on a draw, the newcomer. Who
        // pushes alone decides nothing: tools end by giving the address back in its owner's name.
        let Some(claimant) = claim.owners.iter().max_by_key(|owner| {
            let contests_several = self.contested_by(address.0, owner.mac) > 1;
            let is_new = claim.holder.is_some_and(|holder| holder != owner.mac);
            (contests_several, is_new, owner.unasked, owner.last)
        }) else {
            return;
        };
        let other = claim
            .owners
            .iter()
            .rev()
            .find(|owner| owner.mac != claimant.mac);
        let owned = self
            .owned
            .get(&(address.0, claimant.mac))
            .map_or(&[][..], Vec::as_slice);
        let score = self.score(claim, claimant, other.is_some(), owned, address, cx);
        if score < 0.3 || !cx.matters(score) {
            return;
        }
        let trail = &claim.trail;
        let text = |mac: Mac| Value::Name(mac.to_string().into());
        let template = if other.is_some() {
            "claimed {address} with hardware address {mac} while {other} uses it; the owner changed \
             {changes} times and {unasked} answers were unasked"
        } else {
            "claimed {address} with hardware address {mac} in {unasked} answers that nobody asked for"
        };
        let statement = Statement::new(
            template,
            vec![
                trail.fact("address", Value::Name(address.1.to_string().into())),
                trail.fact("mac", text(claimant.mac)),
                trail.fact("other", text(other.map_or(claimant.mac, |owner| owner.mac))),
                trail.fact("changes", Value::Count(u64::from(claim.changes))),
                trail.fact("unasked", Value::Count(u64::from(claimant.unasked))),
            ],
        );
        let counterfactual = Statement::new(
            "One hardware address answers for {address}, and only when it is asked.",
            vec![trail.fact("address", Value::Name(address.1.to_string().into()))],
        );
        // Its own address is one that nobody contests.
        let own = owned
            .iter()
            .find(|addr| **addr != address.1 && !self.is_contested((address.0, **addr)));
        let entity = cx.party(*own.unwrap_or(&address.1), address.0);
        let key = key_of((address.0, address.1));
        let mut finding = trail.finding(entity, key, score, statement, counterfactual);
        finding.peers = vec![
            cx.entities()
                .peer(PeerRole::Target, cx.party(address.1, address.0)),
        ];
        cx.raise(finding);
    }

    /// How many addresses that somebody else claims as well this hardware address has claimed.
    fn contested_by(&self, scope: Scope, mac: Mac) -> usize {
        let owned = self.owned.get(&(scope, mac)).map_or(&[][..], Vec::as_slice);
        let contested = owned
            .iter()
            .filter(|addr| self.is_contested((scope, **addr)));
        contested.count()
    }

    fn is_contested(&self, address: Address) -> bool {
        self.claims
            .get(&address)
            .is_some_and(|claim| claim.owners.len() > 1)
    }

    fn score(
        &self,
        claim: &Claim,
        claimant: &Owner,
        contested: bool,
        owned: &[IpAddr],
        address: Address,
        cx: &DetectCx<'_>,
    ) -> f64 {
        let unasked = (1.0 + f64::from(claimant.unasked)).log10();
        let others = owned.iter().filter(|addr| **addr != address.1);
        let forged = if claim.forged_frames > 0 { 0.7 } else { 0.0 };
        if !contested {
            // Without the true owner's voice only insistence for several addresses says something;
            // routers have several addresses as well, but wait to be asked.
            let several = others.count() >= 1 && !cx.entities().is_router(claimant.mac);
            return if several {
                (1.2 * unasked - 0.8 + forged).max(0.0)
            } else {
                0.0
            };
        }
        let mut score = 0.7 + forged + unasked;
        if claim.returns > 0 {
            score += 0.5 + 0.7 * f64::from(1 + claim.returns).log2();
        }
        let (taken, own): (Vec<&IpAddr>, Vec<&IpAddr>) =
            others.partition(|addr| self.is_contested((address.0, **addr)));
        score += if taken.is_empty() { 0.0 } else { 1.0 };
        score += if own.is_empty() { 0.0 } else { 0.8 };
        if claim.askers.len() >= ASKERS_HUB {
            score += 0.8;
        }
        score
    }
}

/// Hardware addresses that stand for a service and move by design: VRRP and CARP, HSRP 1 and 2,
/// GLBP, Microsoft load balancing.
fn is_virtual(mac: Mac) -> bool {
    matches!(
        mac.0,
        [0x00, 0x00, 0x5e, 0x00, 0x01 | 0x02, _]
            | [0x00, 0x00, 0x0c, 0x07, 0xac, _]
            | [0x00, 0x00, 0x0c, 0x9f, 0xf0..=0xff, _]
            | [0x00, 0x05, 0x73, 0xa0, ..]
            | [0x00, 0x07, 0xb4, ..]
            | [0x02, 0xbf, ..]
    )
}
