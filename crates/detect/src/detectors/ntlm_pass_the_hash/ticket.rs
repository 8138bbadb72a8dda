//! Log-in tickets asked for in one kind of encryption alone. Operating systems offer all they know;
//! a program that holds one stolen key offers what that key is for (MS-KILE 3.1.5.2, RFC 4757).

use thymus_schema::{
    EntityId, Event, KerberosExchange, KerberosRequest, Outcome, Peer, PeerRole, SnapshotError,
    SnapshotReader, SnapshotWriter, Statement, Technique, Value,
};

use crate::cx::DetectCx;
use crate::habit::{Habits, Popularity};
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::trail::key_of;
use crate::window::Hourly;

const CLIENTS_MAX: usize = 8_192;
const SHAPES_MAX: usize = 1_024;
const RC4: i32 = 23;

/// What is remembered of requests for log-in tickets.
#[derive(Debug)]
pub(super) struct Tickets {
    clients: Table<u64, Hourly<Asked>>,
    /// Devices that offered several kinds with AES among them.
    modern: Habits,
    /// Which devices offer a list.
    shapes: Popularity,
    habits: Habits,
}

#[derive(Debug, Default)]
struct Asked {
    score: f64,
    was_modern: bool,
}

impl Default for Tickets {
    fn default() -> Self {
        Self {
            clients: Table::new(CLIENTS_MAX),
            modern: Habits::new(CLIENTS_MAX),
            shapes: Popularity::new(SHAPES_MAX),
            habits: Habits::new(CLIENTS_MAX),
        }
    }
}

fn is_aes(etype: i32) -> bool {
    (17..=20).contains(&etype)
}

fn name_of(etype: i32) -> &'static str {
    match etype {
        RC4 => "RC4",
        17 | 19 => "AES-128",
        18 | 20 => "AES-256",
        _ => "an old cipher",
    }
}

impl Tickets {
    /// Looks at a Kerberos exchange.
    pub(super) fn observe(
        &mut self,
        event: &Event,
        exchange: &KerberosExchange,
        (client, server): (Party, Party),
        cx: &mut DetectCx<'_>,
    ) {
        let offered = &*exchange.offered_etypes;
        let [etype] = *offered else {
            if offered.len() > 1 && offered.iter().any(|etype| is_aes(*etype)) {
                self.modern.note(client.key(), event.ts);
            }
            return;
        };
        let proved = exchange.request == KerberosRequest::As
            && exchange.preauth
            && exchange.outcome == Outcome::Success;
        if !proved {
            return;
        }
        let users = self.shapes.note(key_of(etype), client.key());
        let days = self.habits.note(key_of((client.key(), etype)), event.ts);
        let was_modern = self.modern.knows(client.key());
        // The ticket itself is sealed in the best the domain knows.
        let mut score = match (is_aes(etype), is_aes(exchange.ticket_etype)) {
            (true, _) => 0.4,
            (false, true) => 2.6,
            (false, false) => 0.8,
        };
        score += if was_modern { 1.2 } else { 0.0 };
        score -= 0.8 * (users - 1) as f64 + Habits::relief(days);
        let asked = self.clients.entry(client.key(), Hourly::default);
        asked.turn(event.ts);
        asked.push(event);
        asked.names.add(&exchange.client);
        asked.it.score = asked.it.score.max(score);
        asked.it.was_modern |= was_modern;
        let score = asked.it.score;
        if cx.matters(score) && asked.window.rises(score) {
            asked.raise(score, exchange, etype, (client, server), cx);
        }
    }

    /// What it keeps.
    pub(super) fn memories(&mut self) -> [&mut dyn Memory; 4] {
        [
            &mut self.clients,
            &mut self.modern,
            &mut self.shapes,
            &mut self.habits,
        ]
    }

    pub(super) fn snapshot(&self, out: &mut SnapshotWriter) {
        self.modern.snapshot(out);
        self.shapes.snapshot(out);
        self.habits.snapshot(out);
    }

    pub(super) fn restore(from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            modern: Habits::restore(CLIENTS_MAX, from)?,
            shapes: Popularity::restore(SHAPES_MAX, from)?,
            habits: Habits::restore(CLIENTS_MAX, from)?,
            ..Self::default()
        })
    }
}

impl Hourly<Asked> {
    fn raise(
        &self,
        score: f64,
        exchange: &KerberosExchange,
        etype: i32,
        (client, server): (Party, Party),
        cx: &mut DetectCx<'_>,
    ) {
        let template = if self.it.was_modern {
            "asked for log-in tickets of {account} and offered {etype} alone, though it offers several kinds otherwise"
        } else {
            "asked for log-in tickets of {account} and offered {etype} alone"
        };
        let statement = Statement::new(
            template,
            vec![
                self.trail
                    .fact("account", Value::Name(exchange.client.clone())),
                self.trail.fact("etype", Value::Name(name_of(etype).into())),
            ],
        );
        let normal = Statement::new(
            "Operating systems offer every kind of encryption they know; one alone is what a program \
             offers that holds a key and no password.",
            Vec::new(),
        );
        let key = key_of((client.key(), "ticket"));
        let mut finding = self.trail.finding(client, key, score, statement, normal);
        finding.peers = vec![
            cx.entities().peer(PeerRole::Target, server),
            Peer {
                role: PeerRole::Account,
                entity: EntityId::user(&exchange.client),
            },
        ];
        finding.techniques = vec![Technique::new("T1550.002"), Technique::new("T1550.003")];
        cx.raise(finding);
    }
}
