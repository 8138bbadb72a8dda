//! # Knocking at a dead server
//!
//! ## What it flags
//! A device that tries again and again to reach one outside address which refuses or never answers,
//! without a name that leads there.
//!
//! ## Why it matters
//! Control servers are taken down, blocked or switched off, and what was to obey them keeps calling:
//! the infection outlives its master. Products that call a server which is gone usually have a name
//! for it, and the name is gone first.
//!
//! ## How it scores
//! Failed TCP connections per device, address and port are counted within the hour; one that succeeds
//! forgives them all. From eight on the score is three tenths, and one more for each tenfold. A name in
//! DNS for the address takes off one, a port below 1024 three tenths, and each other device that
//! knocks there as well one: then it is a server that the site misses. What was done on earlier days
//! counts less for each of them. A device that tries many such servers at once does something else,
//! and further ones add little.
//!
//! ## Evidence
//! The address and port, the number of attempts, how many were refused, over which time; the first
//! attempts' events.
//!
//! ## What would have been normal
//! A few attempts, then success or giving up.
//!
//! ## Known false alarms
//! Peer-to-peer programs, agents set up with the address of a server that was switched off, firewalls
//! that block a product's service.
//!
//! ## ATT&CK
//! T1571 Non-Standard Port, T1095 Non-Application Layer Protocol, T1008 Fallback Channels.
//!
//! ## Sources
//! Gu, Zhang and Lee, *BotSniffer*, NDSS 2008; RFC 9293 section 3.10.7 (resets).

use thymus_schema::{
    ConnState, Event, EventBody, PeerRole, Phase, SnapshotError, SnapshotReader, SnapshotWriter,
    Statement, Technique, Transport, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::{Habits, Ordinary};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::trail::key_of;
use crate::window::Hourly;

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "dead_server",
    title: "Knocking at a dead server",
    phase: Phase::Control,
    techniques: &[
        Technique::new("T1571"),
        Technique::new("T1095"),
        Technique::new("T1008"),
    ],
    source: include_str!("dead_server.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(DeadServer::default()),
};

const PAIRS_MAX: usize = 16_384;
const DEVICES_MAX: usize = 8_192;
const HABITS_MAX: usize = 32_768;
/// Fewest attempts that are told.
const ATTEMPTS_MIN: f64 = 8.0;
/// More dead servers than this of one device in an hour are a sweep, which others look for.
const SERVERS_MAX: usize = 12;

/// The attempts at one server.
#[derive(Debug, Default)]
struct Knocks {
    failed: f64,
    refused: f64,
    answered: bool,
}

/// The detector's state.
struct DeadServer {
    pairs: Table<u64, Hourly<Knocks>>,
    /// The dead servers of a device in the hour.
    servers: Table<u64, Hourly<Vec<u64>>>,
    ordinary: Ordinary,
}

impl Default for DeadServer {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            servers: Table::new(DEVICES_MAX),
            ordinary: Ordinary::new(HABITS_MAX),
        }
    }
}

impl Detector for DeadServer {
    fn interest(&self) -> Interest {
        Interest::FLOW
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let (EventBody::Flow(flow), Some(conn)) = (&event.body, &event.conn) else {
            return;
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        let of_ours = client.is_local() && !server.is_local();
        if !of_ours || conn.transport != Transport::Tcp || flow.part != 0 {
            return;
        }
        let port = conn.server.port;
        let place = key_of((server.key(), port));
        let key = key_of((client.key(), place));
        let failed = matches!(flow.state, ConnState::S0 | ConnState::Rej)
            && flow.client_bytes == 0
            && flow.server_bytes == 0;
        if !failed {
            if flow.server_bytes > 0
                && let Some(pair) = self.pairs.get_mut(&key)
            {
                pair.it.answered = true;
            }
            return;
        }
        let pair = self.pairs.entry(key, Hourly::default);
        pair.turn(event.ts);
        pair.push(event);
        pair.it.failed += 1.0;
        pair.it.refused += f64::from(u8::from(flow.state == ConnState::Rej));
        if pair.it.answered || pair.it.failed < ATTEMPTS_MIN {
            return;
        }
        let servers = self.servers.entry(client.key(), Hourly::default);
        servers.turn(event.ts);
        if !servers.it.contains(&place) && servers.it.len() <= SERVERS_MAX {
            servers.it.push(place);
        }
        if servers.it.len() > SERVERS_MAX {
            return;
        }
        let users = self.ordinary.users.note(place, client.key()) as f64;
        let days = self.ordinary.habits.note(key, event.ts);
        let named = cx.entities().name_of(server.addr).is_some();
        let score = 0.3 + (pair.it.failed / ATTEMPTS_MIN).log10()
            - if named { 1.0 } else { 0.0 }
            - if port < 1_024 { 0.3 } else { 0.0 }
            - (users - 1.0)
            - Habits::relief(days);
        if score > 0.0 && cx.matters(score) && pair.window.rises(score) {
            pair.raise(place, score, client, server, port, cx);
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.servers, &mut self.ordinary]
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.ordinary.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.ordinary.restore(from)
    }
}

impl Hourly<Knocks> {
    fn raise(
        &self,
        key: u64,
        score: f64,
        client: Party,
        server: Party,
        port: u16,
        cx: &mut DetectCx<'_>,
    ) {
        let peer = cx.entities().peer(PeerRole::Controller, server);
        let statement = Statement::new(
            "tried {count} times within {span} to reach {server} on port {port}, which refused {refused} of them \
             and answered none",
            vec![
                self.count("count", self.it.failed),
                self.span(),
                self.trail
                    .fact("server", Value::Entity(peer.entity.clone())),
                self.trail
                    .fact("port", Value::Name(port.to_string().into())),
                self.count("refused", self.it.refused),
            ],
        );
        let normal = Statement::new("A few attempts, then success or giving up.", Vec::new());
        let mut finding = self.trail.finding(client, key, score, statement, normal);
        finding.peers.push(peer);
        cx.raise(finding);
    }
}
