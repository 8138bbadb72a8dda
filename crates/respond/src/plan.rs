//! From an incident to the least that would contain it, and to what comes next if that does not help. Pure: the
//! same incident and book give the same proposals.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};
use thymus_schema::{
    Alert, Confidence, EntityId, EntityKind, Incident, LocalNetworks, PeerRole, Phase, Timestamp,
    Value,
};

use crate::book::{FlowBook, Rehearsal};
use crate::cut::{Cut, Port, Side, host};
use crate::decision::Verb;

/// Cuts of one proposal.
const CUTS_MAX: usize = 256;
/// So many networks of one site that attack make it the site.
const SITE_NETWORKS: usize = 3;
/// Services of one pair that are cut one by one; who uses more is cut off altogether.
const SERVICES_MAX: usize = 3;
/// A service tried on so many local devices is cut towards all of them.
const SWEPT_MIN: usize = 3;
/// Services named in a reason.
const PORTS_NAMED: usize = 8;
/// What is known of a device for less than this is no pattern of life.
const LIFE_MIN: Duration = Duration::from_hours(24);
/// Conversations that began so long before the first event may belong to it.
const SLACK: Duration = Duration::from_mins(1);

/// Something that could be done about an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The incident.
    pub incident: Box<str>,
    /// How sure it is.
    pub confidence: Confidence,
    /// Whom it is about.
    pub device: EntityId,
    /// The addresses it has now.
    pub addrs: Vec<IpAddr>,
    /// What is done.
    pub verb: Verb,
    /// Which traffic is cut.
    pub cuts: Vec<Cut>,
    /// Why, for people.
    pub reason: String,
    /// Whether data are being destroyed or taken, as far as is seen.
    #[serde(default)]
    pub harms: bool,
    /// 0 is tried first; each further one when the one before did not help.
    pub stage: u8,
    /// The last event that speaks for it.
    pub evidence_at: Timestamp,
    /// What it would have cut of the last days.
    pub rehearsal: Rehearsal,
}

/// What a plan is made from.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The incident.
    pub incident: &'a Incident,
    /// Its alerts.
    pub alerts: &'a [Alert],
    /// What an entity's addresses are now: a device's own, those a name outside resolved to.
    pub addresses: &'a dyn Fn(&EntityId) -> Vec<IpAddr>,
    /// Addresses of devices that usually do the same as this one.
    pub group: &'a dyn Fn(&EntityId) -> Vec<IpAddr>,
    /// What is usual.
    pub book: &'a FlowBook,
    /// Which addresses are ours.
    pub local: &'a LocalNetworks,
    /// Outsiders that attack of late, in this incident and in others.
    pub outsiders: &'a [IpAddr],
    /// The addresses of the very machine that this runs on.
    pub own: &'a [IpAddr],
}

/// What could be done about an incident, least first.
pub fn plan(scene: &Scene<'_>) -> Vec<Proposal> {
    let mut by_actor: BTreeMap<&EntityId, Vec<&Alert>> = BTreeMap::new();
    for alert in scene.alerts {
        if alert.phase != Phase::Unusual || !alert.peers.is_empty() {
            by_actor.entry(&alert.entity).or_default().push(alert);
        }
    }
    let suspected = |id: &EntityId| {
        let mut affected = scene.incident.affected.iter();
        affected.any(|one| one.entity == *id && one.suspected)
    };
    let mut proposals = Vec::new();
    for (actor, alerts) in by_actor {
        if suspected(actor) {
            Actor::new(scene, actor, alerts).propose(&mut proposals);
        }
    }
    proposals
}

/// One that acts in the incident.
struct Actor<'a> {
    scene: &'a Scene<'a>,
    entity: &'a EntityId,
    alerts: Vec<&'a Alert>,
    addrs: Vec<IpAddr>,
    since: Timestamp,
}

impl<'a> Actor<'a> {
    fn new(scene: &'a Scene<'a>, entity: &'a EntityId, alerts: Vec<&'a Alert>) -> Self {
        let mut addrs: Vec<IpAddr> = (scene.addresses)(entity)
            .into_iter()
            .map(|addr| addr.to_canonical())
            .collect();
        addrs.sort();
        addrs.dedup();
        Self {
            scene,
            entity,
            alerts,
            addrs,
            since: scene.incident.first_seen.minus(SLACK),
        }
    }

    fn propose(&self, into: &mut Vec<Proposal>) {
        if self.addrs.is_empty() {
            into.push(self.proposal(Verb::Notify, Vec::new(), 0, "its address is not known"));
            return;
        }
        let files = self.files();
        if !files.is_empty() {
            let why = "a file that it moved is malicious, and may lie on this machine";
            into.push(self.proposal(Verb::QuarantineFile, files, 0, why));
        }
        let (verb, cuts, why) = match self.entity.kind {
            EntityKind::External => self.outsider(),
            _ => self.insider(),
        };
        if cuts.is_empty() {
            into.push(self.proposal(Verb::Notify, Vec::new(), 0, &why));
            return;
        }
        let here = self.here(&cuts);
        into.push(self.proposal(verb, cuts, 0, &why));
        if !here.is_empty() {
            let why =
                "its process runs on this machine, and is stopped with all it holds in memory";
            into.push(self.proposal(Verb::FreezeProcess, here, 0, why));
        }
        if self.entity.kind == EntityKind::Device {
            self.further(into);
        }
    }

    /// An attacker from outside is kept from all of us.
    fn outsider(&self) -> (Verb, Vec<Cut>, String) {
        let cuts = self.addrs.iter().map(|addr| Cut::Address {
            of: prefix(*addr, self.scene.outsiders),
            side: Side::Both,
        });
        let why = "it comes from outside, and is kept from all devices".to_owned();
        (Verb::BlockDestination, cuts.take(CUTS_MAX).collect(), why)
    }

    /// A device of ours is kept from what it does that it should not.
    fn insider(&self) -> (Verb, Vec<Cut>, String) {
        let mut cuts = BTreeSet::new();
        let mut verb = Verb::BlockPattern;
        for alert in &self.alerts {
            for peer in &alert.peers {
                let is_far = matches!(peer.role, PeerRole::Controller | PeerRole::Target);
                if is_far && peer.entity != *self.entity {
                    for addr in (self.scene.addresses)(&peer.entity) {
                        verb = verb.max(self.pair(addr.to_canonical(), alert.phase, &mut cuts));
                    }
                }
            }
        }
        let mut swept = self.swept();
        // Towards all of ours only what it does not use itself: of the rest, what is new is cut one by one.
        let habits = self.scene.book.habits(&self.addrs, self.since);
        let uses: BTreeSet<Port> = habits
            .iter()
            .filter(|habit| habit.is_client)
            .map(|habit| habit.port)
            .collect();
        swept.retain(|port| !uses.contains(port));
        for port in &swept {
            // One cut towards all of ours stands for those towards each.
            cuts.retain(|cut| !matches!(cut, Cut::Pattern { port: Some(of), .. } if of == port));
            for network in self.scene.local.networks() {
                cuts.extend(self.own(network).map(|own| Cut::Pattern {
                    client: own,
                    server: *network,
                    port: Some(*port),
                }));
            }
        }
        let mut why = Vec::new();
        if !swept.is_empty() {
            let ports: Vec<String> = swept
                .iter()
                .take(PORTS_NAMED)
                .map(ToString::to_string)
                .collect();
            let more = match swept.len().saturating_sub(PORTS_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more services"),
            };
            why.push(format!(
                "it tried {}{more} on many devices",
                ports.join(", ")
            ));
        }
        let phases: BTreeSet<Phase> = self.alerts.iter().map(|alert| alert.phase).collect();
        let phases: Vec<&str> = phases.into_iter().map(Phase::title).collect();
        why.push(format!("seen: {}", phases.join(", ").to_lowercase()));
        (
            verb,
            cuts.into_iter()
                .take(CUTS_MAX)
                .map(Cut::canonical)
                .collect(),
            why.join("; "),
        )
    }

    /// Its own addresses of the same family as `network`.
    fn own(&self, network: &IpNet) -> impl Iterator<Item = IpNet> {
        let is_v4 = matches!(network, IpNet::V4(_));
        let addrs = self
            .addrs
            .iter()
            .filter(move |addr| addr.is_ipv4() == is_v4);
        addrs.map(|addr| host(*addr))
    }

    /// Cuts between it and one other: the services that are new between them, or all. Outsiders on IPv6 are whole
    /// networks, in which they change their address as they like.
    fn pair(&self, other: IpAddr, phase: Phase, cuts: &mut BTreeSet<Cut>) -> Verb {
        let mut verb = Verb::BlockPattern;
        let far = if self.scene.local.contains(other) {
            host(other)
        } else {
            prefix(other, self.scene.outsiders)
        };
        let net = |addr: IpAddr| if far.contains(&addr) { far } else { host(addr) };
        for own in self
            .addrs
            .iter()
            .filter(|own| own.is_ipv4() == other.is_ipv4())
        {
            let mut talks = self.scene.book.new_between(*own, far, self.since);
            if talks.is_empty() && phase >= Phase::Credentials {
                // An old habit that is abused.
                talks = self.scene.book.used_between(*own, far, self.since);
            }
            let services: BTreeSet<_> = talks.iter().map(|one| (one.transport, one.port)).collect();
            if talks.is_empty() || services.len() > SERVICES_MAX {
                verb = Verb::BlockDestination;
                cuts.insert(Cut::Pattern {
                    client: host(*own),
                    server: far,
                    port: None,
                });
            } else {
                cuts.extend(talks.into_iter().map(|talk| Cut::Pattern {
                    client: net(talk.client),
                    server: net(talk.server),
                    port: Some(Port {
                        transport: talk.transport,
                        port: talk.port,
                    }),
                }));
            }
        }
        verb
    }

    /// Services that it tried on many of ours since the beginning.
    fn swept(&self) -> BTreeSet<Port> {
        let sweeps = |phase| {
            matches!(
                phase,
                Phase::Reconnaissance | Phase::Lateral | Phase::Credentials | Phase::Access
            )
        };
        if !self.alerts.iter().any(|alert| sweeps(alert.phase)) {
            return BTreeSet::new();
        }
        let tried = self.addrs.iter().flat_map(|own| {
            self.scene
                .book
                .tried_on(*own, self.since, self.scene.local, SWEPT_MIN)
        });
        tried.take(CUTS_MAX).collect()
    }

    /// What of it this very machine begins: there its process can be found.
    fn here(&self, cuts: &[Cut]) -> Vec<Cut> {
        let is_own = |of: &IpNet| {
            of.prefix_len() == of.max_prefix_len() && self.scene.own.contains(&of.addr())
        };
        let begins = cuts
            .iter()
            .filter(|cut| matches!(cut, Cut::Pattern { client, .. } if is_own(client)));
        begins.cloned().collect()
    }

    /// Malicious files that it moved, where this very machine was one of the ends.
    fn files(&self) -> Vec<Cut> {
        let is_own = |addr: &IpAddr| self.scene.own.contains(addr);
        let is_here = |alert: &&&Alert| {
            let mut peers = alert.peers.iter();
            let addresses = |entity: &EntityId| (self.scene.addresses)(entity);
            self.addrs.iter().any(is_own)
                || peers.any(|peer| addresses(&peer.entity).iter().any(is_own))
        };
        let cuts = self.alerts.iter().filter(is_here).filter_map(|alert| {
            let name = |key: &str| match &alert.statement.fact(key)?.value {
                Value::Name(name) => Some(name.clone()),
                _ => None,
            };
            let Value::Bytes(bytes) = alert.statement.fact("size")?.value else {
                return None;
            };
            let sha256 = name("sha256")?;
            let is_digest = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
            (is_digest && &*name("verdict")? == "malicious").then(|| Cut::File {
                path: None,
                sha256: sha256.to_ascii_lowercase().into(),
                bytes,
            })
        });
        let cuts: BTreeSet<Cut> = cuts.collect();
        cuts.into_iter().collect()
    }

    /// What comes next: only what it usually does, then nothing.
    fn further(&self, into: &mut Vec<Proposal>) {
        let book = self.scene.book;
        let own = book.habits(&self.addrs, self.since);
        let is_known = book
            .known_since(&self.addrs)
            .is_some_and(|first| self.since.since(first) >= LIFE_MIN);
        let (verb, habits, whose) = if is_known && !own.is_empty() {
            (Verb::EnforceLife, own, "its own")
        } else {
            let group = (self.scene.group)(self.entity);
            let mut habits = book.habits(&group, self.since);
            habits.extend(own);
            (Verb::EnforcePeerLife, habits, "its group's")
        };
        if !habits.is_empty() {
            let cuts = self.addrs.iter().map(|addr| {
                Cut::AllBut {
                    of: host(*addr),
                    habits: habits.clone(),
                }
                .canonical()
            });
            let why = format!("it went on; everything but {whose} pattern of life is cut");
            into.push(self.proposal(verb, cuts.collect(), 1, &why));
        }
        let cuts = self.addrs.iter().map(|addr| Cut::Address {
            of: host(*addr),
            side: Side::Both,
        });
        let stage = 1 + u8::from(!habits.is_empty());
        let why = "it went on inside what it usually does";
        into.push(self.proposal(Verb::Quarantine, cuts.collect(), stage, why));
    }

    fn proposal(&self, verb: Verb, cuts: Vec<Cut>, stage: u8, why: &str) -> Proposal {
        let scene = self.scene;
        Proposal {
            incident: scene.incident.id.to_string().into(),
            confidence: scene.incident.confidence,
            device: self.entity.clone(),
            addrs: self.addrs.clone(),
            verb,
            reason: format!("{} ({why})", scene.incident.title),
            harms: self
                .alerts
                .iter()
                .any(|alert| matches!(alert.phase, Phase::Exfiltration | Phase::Impact)),
            stage,
            evidence_at: self
                .alerts
                .iter()
                .map(|alert| alert.last_seen)
                .max()
                .unwrap_or(scene.incident.last_seen),
            rehearsal: scene.book.rehearse(&cuts, self.since, scene.local),
            cuts,
        }
    }
}

/// The network of an outsider: one IPv4 address, or of IPv6 the /64 that one customer has at least. Where several such
/// networks of one larger attack, it is the larger: sites are given a /56 or a /48 (RFC 6177).
fn prefix(addr: IpAddr, outsiders: &[IpAddr]) -> IpNet {
    let IpAddr::V6(v6) = addr.to_canonical() else {
        return host(addr);
    };
    let net = |of: Ipv6Addr, length| Ipv6Net::new(of, length).unwrap_or(of.into()).trunc();
    let others = outsiders
        .iter()
        .filter_map(|other| match other.to_canonical() {
            IpAddr::V6(other) => Some(other),
            IpAddr::V4(_) => None,
        });
    let all: BTreeSet<Ipv6Addr> = others.chain([v6]).collect();
    let wide = [(48, 56), (56, 64)].into_iter().find(|(wide, narrow)| {
        let of_it = all
            .iter()
            .filter(|other| net(**other, *wide) == net(v6, *wide));
        let parts: BTreeSet<Ipv6Net> = of_it.map(|other| net(*other, *narrow)).collect();
        parts.len() >= SITE_NETWORKS
    });
    net(v6, wide.map_or(64, |(wide, _)| wide)).into()
}

#[cfg(test)]
mod tests;
