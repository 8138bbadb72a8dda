//! # Foreign DHCP server
//!
//! ## What it flags
//! A second DHCP server that gives out another router or name server than the network's own, and a
//! client that asks for addresses under ever new hardware addresses, or for ever new addresses.
//!
//! ## Why it matters
//! Who hands out the router and the name server sees and steers everybody's traffic. Using up the
//! real server's addresses first is how it is done.
//!
//! ## How it scores
//! Servers are remembered with what they give out. One that appears after another has been at work
//! is scored by what differs: the router and the name servers most, and by how established the first
//! one is and how often the second has answered. Two servers that give out the same are the usual
//! fail-over pair and score low. Hardware addresses that ask for the first time in a minute are
//! counted; the score is the surprise of the number. The different addresses that one hardware
//! address asks for within an hour add up beyond two, of which one is that of the network it left.
//!
//! ## Evidence
//! The new server, what it gives out, what the known server gives out, the messages.
//!
//! ## What would have been normal
//! Answers from the known server, or from a second one with the same settings.
//!
//! ## Known false alarms
//! A router plugged in the wrong way round, a phone's hot spot, a virtualisation host's own server.
//! They do the same harm. A move to a new server once.
//!
//! ## ATT&CK
//! T1557.003 (DHCP spoofing).
//!
//! ## Sources
//! RFC 2131, RFC 2132 (options), RFC 7610 (DHCPv6 shield, the threat it answers).

use std::net::{IpAddr, Ipv4Addr};

use thymus_schema::{
    DhcpMessage, Event, EventBody, Mac, PeerRole, Phase, Scope, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Technique, Timestamp, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::tails;
use crate::trail::{Trail, key_of, read_party, write_party};

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "spoof_dhcp",
    title: "Foreign DHCP server",
    phase: Phase::Credentials,
    techniques: &[Technique::new("T1557.003")],
    source: include_str!("spoof_dhcp.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(SpoofDhcp::default()),
};

const SERVERS_MAX: usize = 256;
const CLIENTS_MAX: usize = 65_536;
/// From so many devices on it no longer matters how many a server has answered.
const SERVED_MAX: usize = 4;
/// Devices whose wishes for addresses are remembered.
const WISHERS_MAX: usize = 4_096;
/// Different addresses kept of one device's wishes; more only count.
const WISHES_MAX: usize = 64;
/// The span in which a device's wishes add up.
const WISH_SECS: f64 = 3600.0;
/// New hardware addresses in a minute that a network may have when people arrive.
const NEW_CLIENTS_USUAL: f64 = 12.0;

struct Server {
    party: Party,
    first: Timestamp,
    answers: u64,
    /// Different devices it answered, up to [`SERVED_MAX`].
    served: Vec<Mac>,
    routers: Vec<IpAddr>,
    name_servers: Vec<IpAddr>,
    trail: Trail,
}

/// The addresses one device asked for within an hour.
struct Wishes {
    since: Timestamp,
    addresses: Vec<IpAddr>,
    asker: Option<Party>,
    trail: Trail,
}

/// The detector's state.
pub(crate) struct SpoofDhcp {
    wishes: Table<(Scope, Mac), Wishes>,
    hoarders: Vec<(Scope, Mac)>,
    servers: Table<(Scope, IpAddr), Server>,
    clients: Table<Mac, ()>,
    minute: i64,
    new_clients: u32,
    new_trail: Trail,
    asker: Option<Party>,
}

impl Default for SpoofDhcp {
    fn default() -> Self {
        Self {
            wishes: Table::new(WISHERS_MAX),
            hoarders: Vec::new(),
            servers: Table::new(SERVERS_MAX),
            clients: Table::new(CLIENTS_MAX),
            minute: 0,
            new_clients: 0,
            new_trail: Trail::default(),
            asker: None,
        }
    }
}

impl Detector for SpoofDhcp {
    fn interest(&self) -> Interest {
        Interest::DHCP
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Dhcp(dhcp) = &event.body else {
            return;
        };
        let scope = event.conn.as_ref().map_or(Scope::NONE, |conn| conn.scope);
        self.on_wish(event, dhcp, scope, cx);
        match &*dhcp.message {
            "discover" | "solicit" => self.on_discover(event, dhcp, cx),
            "offer" | "ack" | "advertise" | "reply" => self.on_answer(event, dhcp, scope, cx),
            _ => {}
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.servers, &mut self.clients, &mut self.wishes]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        for key in std::mem::take(&mut self.hoarders) {
            if let Some(wishes) = self.wishes.get(&key) {
                hoarding(key.1, wishes, cx);
            }
        }
        let score = tails::pareto(f64::from(self.new_clients), NEW_CLIENTS_USUAL, 3.0);
        if score >= 0.3
            && cx.matters(score)
            && let Some(asker) = self.asker
        {
            let trail = &self.new_trail;
            let statement = Statement::new(
                "asked for addresses under {clients} new hardware addresses in a minute",
                vec![trail.fact("clients", Value::Count(u64::from(self.new_clients)))],
            );
            let counterfactual = Statement::new(
                "Even when people arrive, fewer than {usual} new devices ask in a minute.",
                vec![trail.fact("usual", Value::Count(NEW_CLIENTS_USUAL as u64))],
            );
            cx.raise(trail.finding(asker, 1, score, statement, counterfactual));
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.servers.write(
            out,
            |_, _| true,
            |out, (scope, addr), server| {
                out.u64(u64::from(scope.0)).str(&addr.to_string());
                write_party(out, server.party);
                out.i64(server.first.as_nanos()).u64(server.answers);
                for list in [&server.routers, &server.name_servers] {
                    out.u64(list.len() as u64);
                    for addr in list {
                        out.str(&addr.to_string());
                    }
                }
            },
        );
        self.clients.write(
            out,
            |_, ()| true,
            |out, mac, ()| {
                let bytes = mac.0.iter();
                out.u64(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)));
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let servers = Table::read(SERVERS_MAX, from, 80, |from| {
            let scope = Scope(from.u64()? as u32);
            let addr = from.str()?.parse();
            let addr = addr.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let party = read_party(from)?;
            let first = Timestamp::from_nanos(from.i64()?);
            let answers = from.u64()?;
            let mut list = || -> Result<Vec<IpAddr>, SnapshotError> {
                let mut list = Vec::new();
                for _ in 0..from.count(8)? {
                    list.extend(from.str()?.parse::<IpAddr>());
                }
                Ok(list)
            };
            let (routers, name_servers) = (list()?, list()?);
            let trail = Trail::default();
            let server = Server {
                party,
                first,
                answers,
                served: Vec::new(),
                routers,
                name_servers,
                trail,
            };
            Ok(((scope, addr), server))
        })?;
        let clients = Table::read(CLIENTS_MAX, from, 8, |from| {
            let bytes = from.u64()?.to_be_bytes();
            let mac = bytes.last_chunk::<6>().copied().unwrap_or_default();
            Ok((Mac(mac), ()))
        })?;
        *self = Self {
            servers,
            clients,
            ..Self::default()
        };
        Ok(())
    }
}

/// A device that asks for many different addresses.
fn hoarding(mac: Mac, wishes: &Wishes, cx: &mut DetectCx<'_>) {
    // A device that moved asks for its old address and gets another; few ask for a third.
    let more = (wishes.addresses.len() as f64 - 2.0).max(0.0);
    let score = 0.8 * more.powf(0.8);
    let Some(asker) = wishes.asker.filter(|_| score >= 0.3 && cx.matters(score)) else {
        return;
    };
    let trail = &wishes.trail;
    let shown = wishes
        .addresses
        .iter()
        .take(8)
        .map(|addr| addr.to_string().into());
    let statement = Statement::new(
        "asked for {count} different addresses under one hardware address, {mac}: {addresses}",
        vec![
            trail.fact("count", Value::Count(wishes.addresses.len() as u64)),
            trail.fact("mac", Value::Name(mac.to_string().into())),
            trail.fact("addresses", Value::Names(shown.collect())),
        ],
    );
    let counterfactual = Statement::new(
        "A device asks for {one} address, its last one.",
        vec![trail.fact("one", Value::Count(1))],
    );
    let mut finding = trail.finding(asker, key_of(mac), score, statement, counterfactual);
    finding.phase = Some(Phase::Reconnaissance);
    finding.techniques = vec![Technique::new("T1499"), Technique::new("T1557.003")];
    cx.raise(finding);
}

impl SpoofDhcp {
    /// Notes which addresses a device asks for, or is given.
    fn on_wish(&mut self, event: &Event, dhcp: &DhcpMessage, scope: Scope, cx: &DetectCx<'_>) {
        let asks = matches!(&*dhcp.message, "discover" | "request" | "decline");
        let wanted = if asks {
            dhcp.requested
        } else {
            dhcp.requested.or(dhcp.assigned)
        };
        let Some(addr) = wanted.filter(|addr| !addr.is_unspecified()) else {
            return;
        };
        if dhcp.mac.is_zero() {
            return;
        }
        let key = (scope, dhcp.mac);
        let fresh = || Wishes {
            since: event.ts,
            addresses: Vec::new(),
            asker: None,
            trail: Trail::default(),
        };
        let wishes = self.wishes.entry(key, fresh);
        if event.ts.secs_since(wishes.since) > WISH_SECS {
            *wishes = fresh();
        }
        if wishes.addresses.len() >= WISHES_MAX || wishes.addresses.contains(&addr) {
            return;
        }
        wishes.addresses.push(addr);
        wishes.trail.push(event);
        // Who has no address yet is told by the one it is about to get.
        let known = cx
            .client()
            .filter(|party| !party.addr.is_unspecified() && Some(party.addr) != dhcp.server);
        wishes.asker = known
            .or(wishes.asker)
            .or_else(|| Some(cx.party(addr, scope)));
        if wishes.addresses.len() > 2 && !self.hoarders.contains(&key) {
            self.hoarders.push(key);
        }
    }

    fn on_discover(&mut self, event: &Event, dhcp: &DhcpMessage, cx: &DetectCx<'_>) {
        let minute = event.ts.as_secs().div_euclid(60);
        if minute != self.minute {
            self.minute = minute;
            self.new_clients = 0;
            self.new_trail = Trail::default();
        }
        if self.clients.get(&dhcp.mac).is_none() {
            self.clients.entry(dhcp.mac, || ());
            self.new_clients += 1;
            self.new_trail.push(event);
            self.asker = cx.client().or(self.asker);
        }
    }

    fn on_answer(
        &mut self,
        event: &Event,
        dhcp: &DhcpMessage,
        scope: Scope,
        cx: &mut DetectCx<'_>,
    ) {
        let sender = cx
            .server()
            .filter(|party| dhcp.server == Some(party.addr))
            .or_else(|| cx.client());
        let Some(addr) = dhcp.server.or(sender.map(|party| party.addr)) else {
            return;
        };
        let party = cx.party(addr, scope);
        let known = self.servers.entry((scope, addr), || Server {
            party,
            first: event.ts,
            answers: 0,
            served: Vec::new(),
            routers: Vec::new(),
            name_servers: Vec::new(),
            trail: Trail::default(),
        });
        known.party = party;
        known.answers += 1;
        if known.served.len() < SERVED_MAX && !known.served.contains(&dhcp.mac) {
            known.served.push(dhcp.mac);
        }
        known.trail.push(event);
        for (list, given) in [
            (&mut known.routers, &dhcp.routers),
            (&mut known.name_servers, &dhcp.name_servers),
        ] {
            for addr in given {
                if list.len() < 8 && !list.contains(addr) {
                    list.push(*addr);
                }
            }
        }
        self.compare((scope, addr), event.ts, cx);
    }

    /// Compares the server that just answered with the most established other one.
    fn compare(&self, key: (Scope, IpAddr), now: Timestamp, cx: &mut DetectCx<'_>) {
        let Some(new) = self.servers.get(&key) else {
            return;
        };
        let older = self
            .servers
            .entries()
            .filter(|(_, other, server)| {
                other.0 == key.0 && other.1 != key.1 && server.first < new.first
            })
            .max_by_key(|(_, other, server)| (server.answers, std::cmp::Reverse(*other)));
        let Some((_, _, known)) = older else { return };
        let score = score(new, known, now);
        if score < 0.3 || !cx.matters(score) {
            return;
        }
        let names = |list: &[IpAddr]| {
            Value::Names(
                list.iter()
                    .take(4)
                    .map(|addr| addr.to_string().into())
                    .collect(),
            )
        };
        let trail = &new.trail;
        let statement = Statement::new(
            "gave out addresses {answers} times beside the known server {known}, with router \
             {routers} and name servers {name_servers}",
            vec![
                trail.fact("answers", Value::Count(new.answers)),
                trail.fact("known", Value::Name(known.party.addr.to_string().into())),
                trail.fact("routers", names(&new.routers)),
                trail.fact("name_servers", names(&new.name_servers)),
            ],
        );
        let counterfactual = Statement::new(
            "The known server has answered {count} times, with router {routers} and name servers \
             {name_servers}.",
            vec![
                trail.fact("count", Value::Count(known.answers)),
                trail.fact("routers", names(&known.routers)),
                trail.fact("name_servers", names(&known.name_servers)),
            ],
        );
        let mut finding = trail.finding(new.party, key_of(key.1), score, statement, counterfactual);
        finding.peers = vec![cx.entities().peer(PeerRole::Target, known.party)];
        cx.raise(finding);
    }
}

/// Whether two addresses could share a segment: as a rule one of 256 addresses, or a /64.
fn is_same_network(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        _ => false,
    }
}

fn score(new: &Server, known: &Server, now: Timestamp) -> f64 {
    let differs = |mine: &[IpAddr], theirs: &[IpAddr]| {
        !mine.is_empty() && !theirs.is_empty() && !mine.iter().any(|addr| theirs.contains(addr))
    };
    // A network of its own, which serves one device or two, is a phone that shares its line or a
    // new device in its set-up mode: whoever diverts others has to stay in their network.
    let apart = !is_same_network(new.party.addr, known.party.addr) && new.served.len() < SERVED_MAX;
    let weight = if apart { 0.2 } else { 1.0 };
    let mut score: f64 = 0.6;
    if differs(&new.routers, &known.routers) {
        score += 1.8 * weight;
    }
    if differs(&new.name_servers, &known.name_servers) {
        score += 1.0 * weight;
    }
    let head_start_hours = new.first.secs_since(known.first) / 3600.0;
    score += weight
        * (0.4 * (1.0 + known.answers as f64).log10() + 0.3 * (1.0 + head_start_hours).log10());
    score += 0.3 * (new.answers as f64).log10();
    // A server that has been there for days belongs.
    let days = now.secs_since(new.first) / 86_400.0;
    score - (1.0 + days).log2()
}
