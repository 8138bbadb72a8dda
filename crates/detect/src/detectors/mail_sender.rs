//! # Mail to many servers
//!
//! ## What it flags
//! A device that is no mail server and hands mail to many outside servers itself.
//!
//! ## Why it matters
//! People's mail goes through their provider's server on the ports for handing in. A device that
//! calls the receiving servers of many domains is sending spam, usually without its owner's knowledge.
//!
//! ## How it scores
//! The different outside servers called on the mail port within an hour, whether they take the mail
//! or not; the score is the surprise of their number under a power law that starts at what a printer
//! or script that sends its own mail needs, or at the device's own earlier hours. A device that
//! others bring mail to, and one that did so on earlier days, is a mail server and scores little.
//!
//! ## Evidence
//! How many servers, how many talked, the span, the first calls' events.
//!
//! ## What would have been normal
//! One server, the provider's.
//!
//! ## Known false alarms
//! A mail server in its first hours whose incoming mail is not seen; newsletters sent from a desktop.
//!
//! ## ATT&CK
//! T1071.003 (mail protocols), T1496 (resource hijacking), T1566 (phishing, of others).
//!
//! ## Sources
//! RFC 5321 (relaying), RFC 6409 (handing in on port 587); M3AAWG, *Managing Port 25 for Residential
//! or Dynamic IP Space*, 2005; Ramachandran, Feamster, *Understanding the Network-Level Behavior of
//! Spammers*, SIGCOMM 2006.

use thymus_schema::{
    Event, EventBody, PeerRole, Phase, Service, SnapshotError, SnapshotReader, SnapshotWriter,
    Statement, Technique, Transport,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::tails;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "mail_sender",
    title: "Mail to many servers",
    phase: Phase::Impact,
    techniques: &[
        Technique::new("T1071.003"),
        Technique::new("T1496"),
        Technique::new("T1566"),
    ],
    source: include_str!("mail_sender.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(MailSender::default()),
};

const SENDERS_MAX: usize = 8_192;
const PORT: u16 = 25;
/// Servers that a device which sends its own mail may need in an hour.
const SERVERS_USUAL: f64 = 3.0;
/// Targets kept as peers.
const SAMPLE_MAX: usize = 8;

#[derive(Debug, Default)]
struct Sent {
    servers: Distinct,
    talked: Distinct,
    sample: Vec<Party>,
}

/// The detector's state.
struct MailSender {
    senders: Table<u64, Hourly<Sent>>,
    habits: Habits,
}

impl Default for MailSender {
    fn default() -> Self {
        Self {
            senders: Table::new(SENDERS_MAX),
            habits: Habits::new(SENDERS_MAX),
        }
    }
}

impl Detector for MailSender {
    fn interest(&self) -> Interest {
        Interest::FLOW
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let (EventBody::Flow(flow), Some(conn)) = (&event.body, &event.conn) else {
            return;
        };
        if conn.transport != Transport::Tcp || conn.server.port != PORT || flow.part != 0 {
            return;
        }
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if !client.is_local() || server.is_local() || conn.client.port == PORT {
            return;
        }
        let sender = self.senders.entry(client.key(), Hourly::default);
        sender.turn(event.ts);
        let new = sender.it.servers.add(server.key());
        if flow.server_bytes > 0 {
            sender.it.talked.add(server.key());
        }
        if !new {
            return;
        }
        sender.push(event);
        if sender.it.sample.len() < SAMPLE_MAX {
            sender.it.sample.push(server);
        }
        let count = sender.it.servers.len() as f64;
        let mut score = tails::pareto(count, SERVERS_USUAL, 3.0);
        if score < 0.3 {
            return;
        }
        let days = self.habits.note(client.key(), event.ts);
        let roles = client.device.and_then(|idx| cx.entities().roles(idx));
        if roles.is_some_and(|roles| roles.is_server_of(Service::Smtp)) {
            score *= 0.2;
        }
        score -= Habits::relief(days);
        if cx.matters(score) && sender.window.rises(score) {
            sender.raise(score, client, cx);
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.senders, &mut self.habits]
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.habits.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.habits = Habits::restore(SENDERS_MAX, from)?;
        Ok(())
    }
}

impl Hourly<Sent> {
    fn raise(&self, score: f64, client: Party, cx: &mut DetectCx<'_>) {
        let statement = Statement::new(
            "called {servers} outside mail servers itself in {span}; {talked} of them talked with it",
            vec![
                self.count("servers", self.it.servers.len() as f64),
                self.span(),
                self.count("talked", self.it.talked.len() as f64),
            ],
        );
        let normal = Statement::new(
            "Devices hand their mail to one server, that of their provider.",
            Vec::new(),
        );
        let mut finding = self.trail.finding(client, 0, score, statement, normal);
        finding.peers = self
            .it
            .sample
            .iter()
            .map(|party| cx.entities().peer(PeerRole::Target, *party))
            .collect();
        cx.raise(finding);
    }
}
