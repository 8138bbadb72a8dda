//! # DNS tunnel
//!
//! ## What it flags
//! A device that carries data in DNS: many different long, random-looking names below one registered
//! domain, or much different data in the answers.
//!
//! ## Why it matters
//! DNS is let through nearly everywhere. Tunnels use it to take data out, to steer malware and to
//! get around log-in pages.
//!
//! ## How it scores
//! By how much could have been told. Up: the bytes of *different* names below the domain in an hour,
//! weighed by their mean length and entropy. Down: the bytes of different answers that stay in the
//! domain or carry free text (TXT, NULL, CNAME, MX, SRV, private types). Volumes of ordinary lookups
//! follow a power law; the score is the surprise under it, with the device's own earlier hours
//! toward that domain as the usual. Many different names in types whose answers carry anything (TXT,
//! NULL, CNAME, MX, private) add to it. Answers that only say yes or no (addresses in 127.0.0.0/8, no
//! such name) are what reputation and block lists give and count less, as do domains that several
//! devices ask in the same way, domains that the device has asked for days, and resolvers that ask
//! for others.
//!
//! ## Evidence
//! The domain, how many different names, their mean length, the bytes up and down, the first
//! queries' events.
//!
//! ## What would have been normal
//! A few dozen short names below a domain in an hour, asked again and again.
//!
//! ## Known false alarms
//! Anti-virus and mail-filter lookups that put digests into names; telemetry that does so; very
//! large hosting domains. Reverse lookups and service discovery are left out.
//!
//! ## ATT&CK
//! T1071.004 (DNS), T1572 (protocol tunnelling), T1132 (data encoding), T1048 (exfiltration over an
//! alternative protocol).
//!
//! ## Sources
//! Paxson et al., *Practical Comprehensive Bounds on Surreptitious Communication Over DNS*, USENIX
//! Security 2013 (count what could be told, not what it looks like); the Public Suffix List.

use std::net::IpAddr;

use thymus_schema::{
    DnsAnswer, DnsFlavor, DnsTransaction, EntityId, Event, EventBody, Peer, PeerRole, Phase,
    Service, SnapshotError, SnapshotReader, SnapshotWriter, Statement, Technique, Timestamp, Value,
};

use crate::cx::{AskedDomain, DetectCx};
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::domains;
use crate::doorkeeper::Doorkeeper;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::sweep::Distinct;
use crate::table::Table;
use crate::tails;
use crate::trail::{Trail, key_of, read_party, write_party};

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "dns_tunnel",
    title: "DNS tunnel",
    phase: Phase::Control,
    techniques: &[
        Technique::new("T1048"),
        Technique::new("T1071.004"),
        Technique::new("T1132"),
        Technique::new("T1572"),
    ],
    source: include_str!("dns_tunnel.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(DnsTunnel::default()),
};

const PAIRS_MAX: usize = 32_768;
const DOMAINS_MAX: usize = 32_768;
const USERS_MAX: usize = 16;
const HOUR_SECS: f64 = 3600.0;
/// Bytes of different names below one domain that an ordinary hour has.
const UP_USUAL: f64 = 600.0;
/// Bytes of different free answers that an ordinary hour has.
const DOWN_USUAL: f64 = 1500.0;

/// Different names below one domain that an ordinary hour asks for in types that can carry anything.
const CARRIERS_USUAL: f64 = 20.0;

/// Client and domain.
type PairKey = (u64, u64);

struct Tunnel {
    client: Party,
    server: Party,
    domain: Box<str>,
    known_since: Timestamp,
    since: Timestamp,
    names: Distinct,
    answers: Distinct,
    distinct: f64,
    up: f64,
    down: f64,
    entropy: f64,
    /// Different names whose answer said only yes or no.
    curt: f64,
    /// Different names asked for in types whose answers can carry anything.
    carriers: f64,
    usual_up: f64,
    usual_down: f64,
    trail: Trail,
    waiting: bool,
}

/// The detector's state.
pub(crate) struct DnsTunnel {
    pairs: Table<PairKey, Tunnel>,
    /// When pairs that came once came: one question tells too little for a tunnel.
    asked: Doorkeeper<Timestamp>,
    users: Table<u64, Vec<u64>>,
    waiting: Vec<PairKey>,
}

impl Default for DnsTunnel {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            asked: Doorkeeper::default(),
            users: Table::new(DOMAINS_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for DnsTunnel {
    fn interest(&self) -> Interest {
        Interest::DNS
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Dns(dns) = &event.body else {
            return;
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if dns.flavor != DnsFlavor::Dns || !client.is_local() {
            return;
        }
        let Some(AskedDomain { domain, digest, .. }) = cx.asked_domain(dns) else {
            return;
        };
        let key = (client.key(), digest);
        let asked = &mut self.asked;
        let Some(pair) = self.pairs.entry_if(key, || {
            let since = asked.admit(key, event.ts)?;
            Some(Tunnel::new(client, server, domain, since))
        }) else {
            return;
        };
        if pair.query(event, dns, domain) && !pair.waiting && pair.up + pair.down > UP_USUAL / 2.0 {
            pair.waiting = true;
            self.waiting.push(key);
            let users = self.users.entry(digest, Vec::new);
            if users.len() < USERS_MAX && !users.contains(&key.0) {
                users.push(key.0);
            }
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.users]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        for key in std::mem::take(&mut self.waiting) {
            let users = self.users.get(&key.1).map_or(1, Vec::len);
            if let Some(pair) = self.pairs.get_mut(&key) {
                pair.waiting = false;
                pair.judge(key.1, users, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.pairs.write(
            out,
            |_, pair| pair.up.max(pair.usual_up) + pair.down.max(pair.usual_down) > 50.0,
            |out, (client, digest), pair| {
                out.u64(client).u64(digest);
                write_party(out, pair.client);
                write_party(out, pair.server);
                out.str(&pair.domain)
                    .i64(pair.known_since.as_nanos())
                    .i64(pair.since.as_nanos());
                out.f64(pair.usual_up.max(pair.up))
                    .f64(pair.usual_down.max(pair.down));
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let pairs = Table::read(PAIRS_MAX, from, 104, |from| {
            let key = (from.u64()?, from.u64()?);
            let (client, server) = (read_party(from)?, read_party(from)?);
            let domain = from.str()?;
            let known_since = Timestamp::from_nanos(from.i64()?);
            let since = Timestamp::from_nanos(from.i64()?);
            let mut pair = Tunnel::new(client, server, domain, since);
            pair.known_since = known_since;
            pair.usual_up = from.f64()?;
            pair.usual_down = from.f64()?;
            Ok((key, pair))
        })?;
        *self = Self {
            pairs,
            ..Self::default()
        };
        Ok(())
    }
}

impl Tunnel {
    fn new(client: Party, server: Party, domain: &str, since: Timestamp) -> Self {
        Self {
            client,
            server,
            domain: domain.into(),
            known_since: since,
            since,
            names: Distinct::default(),
            answers: Distinct::default(),
            distinct: 0.0,
            up: 0.0,
            down: 0.0,
            entropy: 0.0,
            curt: 0.0,
            carriers: 0.0,
            usual_up: 0.0,
            usual_down: 0.0,
            trail: Trail::default(),
            waiting: false,
        }
    }

    /// Takes in a query; returns whether it told something new.
    fn query(&mut self, event: &Event, dns: &DnsTransaction, domain: &str) -> bool {
        if event.ts.secs_since(self.since) > HOUR_SECS {
            let fresh = Self::new(self.client, self.server, domain, event.ts);
            *self = Self {
                known_since: self.known_since,
                usual_up: self.up.max(0.9 * self.usual_up),
                usual_down: self.down.max(0.9 * self.usual_down),
                waiting: self.waiting,
                ..fresh
            };
        }
        let sub = domains::below(&dns.query, domain);
        let mut told = false;
        if !sub.is_empty()
            && let Some(new) = self.names.add(key_of(sub))
        {
            self.distinct += new;
            self.up += new * sub.len() as f64;
            self.entropy += new * domains::entropy(sub.as_bytes());
            self.curt += if is_curt(dns) { new } else { 0.0 };
            // Text, null, alias and mail types, and the private ones.
            let carries = matches!(dns.qtype, 5 | 10 | 15 | 16 | 65_280..);
            self.carriers += if carries && dns.rcode != Some(3) {
                new
            } else {
                0.0
            };
            told = true;
        }
        for answer in &dns.answers {
            let free = match answer.rtype {
                5 | 15 | 33 => answer.text().ends_with(domain),
                10 | 16 => true,
                rtype => rtype >= 256,
            };
            if free && let Some(new) = self.answers.add(key_of(answer.text())) {
                self.down += new * answer.text().len() as f64;
                told = true;
            }
        }
        if dns.answers.is_empty() && (matches!(dns.qtype, 10 | 16) || dns.qtype > 256) {
            // Answers that the source could not put into text still have a size.
            let size = f64::from(dns.response_len) - f64::from(dns.query_len) - 16.0;
            self.down += size.max(0.0);
            told |= size > 0.0;
        }
        if told {
            self.trail.push(event);
        }
        told
    }

    fn score(&self, users: usize, cx: &DetectCx<'_>) -> f64 {
        let names = self.distinct.max(1.0);
        let length = ((self.up / names - 6.0) / 20.0).clamp(0.15, 1.2);
        let entropy = ((self.entropy / names - 2.6) / 1.2).clamp(0.3, 1.15);
        let told = 1.0 - 0.6 * (self.curt / names).min(1.0);
        let up = self.up * length * entropy * told;
        let up = tails::pareto(up, (1.5 * self.usual_up).max(UP_USUAL), 2.0);
        let down = tails::pareto(self.down, (1.5 * self.usual_down).max(DOWN_USUAL), 1.8);
        let mut score = up.max(down) + 0.4 * up.min(down);
        score += tails::pareto(self.carriers, CARRIERS_USUAL, 1.0);
        let age_hours = cx.now().secs_since(self.known_since) / 3600.0;
        if age_hours > 48.0 {
            score -= 0.5 * (age_hours / 24.0).log2();
        }
        score -= 1.2 * (users.max(1) as f64).log10();
        let relays = self.client.device.and_then(|idx| cx.entities().roles(idx));
        if relays.is_some_and(|roles| roles.is_server_of(Service::Dns)) {
            score *= 0.4;
        }
        score
    }

    fn judge(&self, digest: u64, users: usize, cx: &mut DetectCx<'_>) {
        let score = self.score(users, cx);
        if score < 0.3 || !cx.matters(score) {
            return;
        }
        let trail = &self.trail;
        let statement = Statement::new(
            "asked for {names} different names under {domain} in {span}, {length} characters long \
             on average; the names could carry {up}, the answers {down}",
            vec![
                trail.fact("names", Value::Count(self.distinct as u64)),
                trail.fact("domain", Value::Name(self.domain.clone())),
                trail.fact(
                    "span",
                    Value::Seconds(trail.last().secs_since(trail.first())),
                ),
                trail.fact(
                    "length",
                    Value::Count((self.up / self.distinct.max(1.0)) as u64),
                ),
                trail.fact("up", Value::Bytes(self.up as u64)),
                trail.fact("down", Value::Bytes(self.down as u64)),
            ],
        );
        let counterfactual = Statement::new(
            "In an ordinary hour the different names below one domain add up to less than {usual}.",
            vec![trail.fact("usual", Value::Bytes(self.usual_up.max(UP_USUAL) as u64))],
        );
        let mut finding = trail.finding(self.client, digest, score, statement, counterfactual);
        finding.peers = vec![
            Peer {
                role: PeerRole::Controller,
                entity: EntityId::external(&self.domain),
            },
            cx.entities().peer(PeerRole::Relay, self.server),
        ];
        cx.raise(finding);
    }
}

/// Whether the answer is that of a reputation or block list: no such name, or an address in
/// 127.0.0.0/8 that stands for a code.
fn is_curt(dns: &DnsTransaction) -> bool {
    let coded = |addr: IpAddr| addr.is_ipv4() && addr.is_loopback();
    matches!(dns.qtype, 1 | 28)
        && (dns.rcode == Some(3) || dns.answers.iter().filter_map(DnsAnswer::addr).any(coded))
}
