//! # Infection chain
//!
//! ## What it flags
//! Several different steps of an infection by one device within an hour: a lure or a program comes
//! down, the device asks for its own outside address, something that is no browser calls home, an
//! encrypted conversation without a proper certificate, a conversation in no known protocol, an
//! unanswered spray of packets, a gateway to hidden services, a public place where orders are left; or
//! a page of one of our own hosts and, at once, a conversation in no known protocol with that host.
//!
//! ## Why it matters
//! Each step alone is ordinary often enough. An infection needs them one after the other, within
//! minutes, and few things else do.
//!
//! ## How it scores
//! Each step has a weight by how rare it is in a device's hour; only the strongest of each kind
//! counts, the weights add up, less 0.4 for each kind beyond the first, because busy hours hold more
//! of everything. Two kinds are needed, and one of them must be a program, a call home or an odd
//! conversation. What several devices do, or what was done on earlier days, is part of the site and
//! does not count.
//!
//! ## Evidence
//! The steps in the order in which they were first seen, each with its place; the events of each.
//!
//! ## What would have been normal
//! Browsing: pages, then what belongs to them, by one browser.
//!
//! ## Known false alarms
//! The set-up of a small vendor's product, which fetches its parts, asks for the outside address and
//! registers itself; peer-to-peer programs.
//!
//! ## ATT&CK
//! T1105 Ingress Tool Transfer, T1071.001 Web Protocols, T1016 System Network Configuration
//! Discovery, T1204 User Execution.
//!
//! ## Sources
//! Gu et al., *BotHunter: Detecting Malware Infection Through IDS-Driven Dialog Correlation*, USENIX
//! Security 2007; Oprea et al., *MADE: Security Analytics for Enterprise Threat Detection*, ACSAC 2018.

mod step;

use std::borrow::Cow;

use thymus_schema::{
    DnsTransaction, EntityId, Event, EventBody, FlowRecord, Peer, PeerRole, Phase, SnapshotError,
    SnapshotReader, SnapshotWriter, Statement, Technique, Timestamp, Transport, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::domains;
use crate::fetch::{self, Place};
use crate::habit::Ordinary;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::trail::{began, key_of};
use crate::window::{Distinct, Hourly};

use self::step::{Host, Kind, Step, kind_of, lower, of_http, of_tls};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "infection_chain",
    title: "Infection chain",
    phase: Phase::Control,
    techniques: &[
        Technique::new("T1105"),
        Technique::new("T1071.001"),
        Technique::new("T1016"),
        Technique::new("T1204"),
    ],
    source: include_str!("infection_chain.rs"),
    snapshot_version: 2,
    build: |_: &Settings| Box::new(InfectionChain::default()),
};

const DEVICES_MAX: usize = 8_192;
const VISITS_MAX: usize = 32_768;
const HABITS_MAX: usize = 65_536;
const VISIT_SECS: f64 = 3600.0;
/// How soon after a page a conversation with its server is taken for its doing.
const PAGE_SECS: f64 = 120.0;
/// Outside addresses without an answer that make a spray.
const SPRAY_MIN: usize = 100;
/// What a further kind of step costs, because busy hours hold more of everything.
const BUSY: f64 = 0.4;

/// The steps of one device in an hour.
#[derive(Debug, Default)]
struct Chain {
    steps: Vec<Step>,
    unanswered: Distinct,
}

/// The detector's state.
struct InfectionChain {
    devices: Table<u64, Hourly<Chain>>,
    visits: Table<u64, Timestamp>,
    /// When a device last read a page of a host of ours by its address.
    pages: Table<u64, Timestamp>,
    ordinary: Ordinary,
}

impl Default for InfectionChain {
    fn default() -> Self {
        Self {
            devices: Table::new(DEVICES_MAX),
            visits: Table::new(VISITS_MAX),
            pages: Table::new(VISITS_MAX),
            ordinary: Ordinary::new(HABITS_MAX),
        }
    }
}

impl Detector for InfectionChain {
    fn interest(&self) -> Interest {
        Interest::FLOW
            .and(Interest::DNS_FLOW)
            .and(Interest::TLS)
            .and(Interest::HTTP)
            .and(Interest::DNS)
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if !client.is_local() {
            return;
        }
        let step = match &event.body {
            EventBody::Http(_) => self.http(event, client, server, cx),
            EventBody::Tls(tls) if !server.is_local() => {
                let port = event.conn.as_ref().map_or(0, |conn| conn.server.port);
                named(&tls.sni, domains::registered(&tls.sni))
                    .or_else(|| of_tls(tls, port, event.ts, server, cx))
            }
            EventBody::Dns(dns) => asked(dns, cx),
            EventBody::Flow(flow) if server.is_local() => self.inside(event, flow, client, server),
            EventBody::Flow(flow) => self.flow(event, flow, client, server, cx),
            _ => None,
        };
        let Some(step) = step else { return };
        let (users, days) = self.ordinary.note(step.place, client.key(), event.ts);
        if users > 1.0 || days > 0.0 {
            return;
        }
        let chain = self.devices.entry(client.key(), Hourly::default);
        chain.turn(event.ts);
        if !chain.it.add(step) {
            return;
        }
        chain.push(event);
        let score = chain.it.score();
        if score > 0.0 && cx.matters(score) && chain.window.rises(score) {
            chain.raise(score, client, cx);
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![
            &mut self.devices,
            &mut self.visits,
            &mut self.pages,
            &mut self.ordinary,
        ]
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.ordinary.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.ordinary.restore(from)
    }
}

/// The step that a name alone is; `domain` is its registered part.
fn named(name: &str, domain: Option<&str>) -> Option<Step> {
    let low = lower(name);
    let known = match &low {
        Cow::Borrowed(_) => domain.map(key_of),
        Cow::Owned(low) => domains::registered(low).map(key_of),
    };
    let kind = kind_of(name, key_of(&*low), known)?;
    Some(of_kind(kind, name, key_of(domain.unwrap_or(name))))
}

/// As [`named`], for a name asked for, which is in lower case.
fn asked(dns: &DnsTransaction, cx: &DetectCx<'_>) -> Option<Step> {
    let Some(asked) = cx.asked_domain(dns) else {
        return named(&dns.query, None);
    };
    let kind = kind_of(&dns.query, asked.name, Some(asked.digest))?;
    Some(of_kind(kind, &dns.query, asked.digest))
}

fn of_kind(kind: Kind, name: &str, place: u64) -> Step {
    let (weight, what) = match kind {
        Kind::Lookup => (0.9, "its own outside address"),
        Kind::Gateway => (1.3, "a gateway to hidden services"),
        _ => (0.4, "a public place for texts"),
    };
    Step::new(kind, weight, what, name, place)
}

impl InfectionChain {
    fn http(
        &mut self,
        event: &Event,
        client: Party,
        server: Party,
        cx: &DetectCx<'_>,
    ) -> Option<Step> {
        let EventBody::Http(http) = &event.body else {
            return None;
        };
        let addr = server.addr.to_string();
        let host = fetch::host_of(http, &addr);
        if fetch::is_inside(http, host, cx) {
            // A page from one of our own hosts without a name: see `inside`.
            if host == addr && &*http.method == "GET" && &*http.magic == "html" {
                let key = key_of((client.key(), server.key()));
                *self.pages.entry(key, || event.ts) = event.ts;
            }
            return None;
        }
        let domain = domains::registered(host);
        let place = key_of(domain.unwrap_or(host));
        let key = key_of((client.key(), place));
        let visited = self
            .visits
            .get(&key)
            .is_some_and(|at| event.ts.secs_since(*at) < VISIT_SECS);
        let is_browsed = &*http.method == "GET"
            && &*http.magic == "html"
            && fetch::is_given(http)
            && fetch::asker(http) < 0.5;
        if is_browsed {
            *self.visits.entry(key, || event.ts) = event.ts;
        }
        let port = event.conn.as_ref().map_or(80, |conn| conn.server.port);
        let at = Place {
            host,
            is_bare: fetch::literal(host).is_some(),
            port,
            visited,
        };
        named(host, domain).or_else(|| of_http(http, at, place))
    }

    /// A conversation in no known protocol with one of our own hosts whose page was just read: what
    /// breaks into a browser calls back to where it came from.
    fn inside(
        &mut self,
        event: &Event,
        flow: &FlowRecord,
        client: Party,
        server: Party,
    ) -> Option<Step> {
        let conn = event.conn.as_ref()?;
        let key = key_of((client.key(), server.key()));
        let read = *self.pages.get(&key)?;
        let port = conn.server.port;
        let soon = (0.0..PAGE_SECS).contains(&began(event).secs_since(read));
        let talks = flow.client_bytes > 0 && flow.server_bytes > 2_000 && flow.part == 0;
        let unknown = flow.service.is_none() && flow.missed_bytes == 0 && opens(&flow.history);
        if !soon || !talks || !unknown || conn.transport != Transport::Tcp || port < 1_024 {
            return None;
        }
        let what =
            "a conversation in no known protocol with a host of ours whose page was just read";
        let host = Host::Port(server.addr, port);
        Some(Step::new(Kind::CallBack, 3.1, what, host, key))
    }

    /// Conversations in no known protocol, and addresses that do not answer.
    fn flow(
        &mut self,
        event: &Event,
        flow: &FlowRecord,
        client: Party,
        server: Party,
        cx: &DetectCx<'_>,
    ) -> Option<Step> {
        let conn = event.conn.as_ref()?;
        let port = conn.server.port;
        let talks = flow.client_bytes > 0 && flow.server_bytes > 0;
        if conn.transport == Transport::Tcp && talks && flow.part == 0 {
            if flow.service.is_some() || flow.missed_bytes > 0 || !opens(&flow.history) {
                return None;
            }
            let name = cx.entities().name_of(server.addr);
            let domain = name.and_then(domains::registered);
            let place = domain.map_or_else(|| key_of(server.addr), key_of);
            // On the ports of the web it is mostly a product with a protocol of its own.
            let weight = match (name.is_some(), port) {
                (_, 80 | 443) => 0.3,
                (true, _) => 0.6,
                (false, _) => 0.9,
            };
            let what = "a conversation in no known protocol";
            let host = Host::Port(server.addr, port);
            return Some(Step::new(Kind::Raw, weight, what, host, place));
        }
        if flow.server_bytes > 0 || flow.server_packets > 0 {
            return None;
        }
        let chain = self.devices.entry(client.key(), Hourly::default);
        chain.turn(event.ts);
        chain.it.unanswered.add(server.key());
        let count = chain.it.unanswered.len();
        if count < SPRAY_MIN {
            return None;
        }
        let what = "packets to many addresses without an answer";
        Some(Step::new(
            Kind::Spray,
            0.8,
            what,
            Host::Address(server.addr),
            key_of((client.key(), port)),
        ))
    }
}

/// Whether the connection was seen from its beginning, as far as the source says.
fn opens(history: &str) -> bool {
    history.is_empty() || history.starts_with('S')
}

impl Chain {
    /// Adds a step; whether it changed anything.
    fn add(&mut self, step: Step) -> bool {
        match self.steps.iter_mut().find(|known| known.kind == step.kind) {
            Some(known) if known.weight >= step.weight => false,
            Some(known) => {
                *known = step;
                true
            }
            None => {
                self.steps.push(step);
                true
            }
        }
    }

    fn score(&self) -> f64 {
        let acts = |step: &Step| {
            matches!(
                step.kind,
                Kind::Program | Kind::CheckIn | Kind::Odd | Kind::Raw | Kind::CallBack
            )
        };
        // A call back is two steps in one: the page and what it did.
        let kinds = self.steps.len()
            + usize::from(self.steps.iter().any(|step| step.kind == Kind::CallBack));
        if kinds < 2 || !self.steps.iter().any(acts) {
            return 0.0;
        }
        let sum: f64 = self.steps.iter().map(|step| step.weight).sum();
        sum - BUSY * (self.steps.len() - 1) as f64
    }
}

impl Hourly<Chain> {
    fn raise(&self, score: f64, client: Party, cx: &mut DetectCx<'_>) {
        let steps: Vec<Box<str>> = self
            .it
            .steps
            .iter()
            .map(|step| format!("{} ({})", step.what, step.host).into())
            .collect();
        let statement = Statement::new(
            "took {count} different steps of an infection within {span}: {steps}",
            vec![
                self.count("count", steps.len() as f64),
                self.span(),
                self.trail.fact("steps", Value::Names(steps)),
            ],
        );
        let normal = Statement::new(
            "Browsing: pages, then what belongs to them, asked for by one browser.",
            Vec::new(),
        );
        let mut finding = self.trail.finding(client, 0, score, statement, normal);
        let mut hosts: Vec<String> = Vec::new();
        for step in &self.it.steps {
            let is_theirs = !matches!(step.kind, Kind::Lookup | Kind::Drop | Kind::Spray);
            let host = step.host.to_string();
            if is_theirs && !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        finding.peers = hosts
            .into_iter()
            .map(|host| Peer {
                role: PeerRole::Controller,
                entity: EntityId::external(host.split(':').next().unwrap_or(&host)),
            })
            .collect();
        cx.raise(finding);
    }
}
