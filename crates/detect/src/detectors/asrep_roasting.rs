//! # Account enumeration and AS-REP roasting
//!
//! ## What it flags
//! A device that asks the domain for tickets of accounts that do not exist or that it never logs in
//! as, or that gets a ticket without having proved to know a password.
//!
//! ## Why it matters
//! The answers tell which accounts exist, and for accounts without pre-authentication they hand over
//! material to guess the password from.
//!
//! ## How it scores
//! Per hour and device: unknown accounts beyond three (two and a half digits per factor of ten),
//! accounts that were asked for and not logged in beyond eight (two digits), and tickets given
//! without pre-authentication: a base score, one more when only RC4 was offered, two digits per
//! factor of ten. What is done on many days is worth less.
//!
//! ## Evidence
//! The numbers of unknown and untouched accounts, of tickets without pre-authentication, some names;
//! the first requests' events.
//!
//! ## What would have been normal
//! Requests for the accounts of the people who use the device, answered and followed by a log-in.
//!
//! ## Known false alarms
//! Services configured with accounts that are gone, old Unix systems whose accounts need no
//! pre-authentication, address-book synchronisation.
//!
//! ## ATT&CK
//! T1558.004 AS-REP Roasting, T1087.002 Domain Account discovery.
//!
//! ## Sources
//! RFC 4120, 3.1 and 7.5.9 (error codes 6 and 25).

use rustc_hash::FxHashSet;
use thymus_schema::{
    Event, EventBody, KerberosExchange, KerberosRequest, Outcome, PeerRole, Phase, SnapshotError,
    SnapshotReader, SnapshotWriter, Statement, Technique,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "asrep_roasting",
    title: "Account enumeration and AS-REP roasting",
    phase: Phase::Credentials,
    techniques: &[Technique::new("T1087.002"), Technique::new("T1558.004")],
    source: include_str!("asrep_roasting.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(AsrepRoasting::default()),
};

const CLIENTS_MAX: usize = 8_192;
const UNTOUCHED_MAX: usize = 4_096;
const UNKNOWN_PRINCIPAL: u32 = 6;
const PREAUTH_REQUIRED: u32 = 25;

#[derive(Debug, Default)]
struct Asked {
    unknown: Distinct,
    /// Accounts that exist, asked for and not logged in as.
    untouched: FxHashSet<u64>,
    given: Distinct,
    only_weak: bool,
}

/// The detector's state.
struct AsrepRoasting {
    clients: Table<u64, Hourly<Asked>>,
    habits: Habits,
}

impl Default for AsrepRoasting {
    fn default() -> Self {
        Self {
            clients: Table::new(CLIENTS_MAX),
            habits: Habits::new(CLIENTS_MAX),
        }
    }
}

/// A ticket that was given to somebody who proved nothing. Sources that do not show what the client
/// offered do not show its proof either.
fn is_unproved(exchange: &KerberosExchange) -> bool {
    exchange.outcome == Outcome::Success
        && exchange.error.is_none()
        && !exchange.preauth
        && !exchange.offered_etypes.is_empty()
        && exchange.ticket_etype != 0
}

impl Detector for AsrepRoasting {
    fn interest(&self) -> Interest {
        Interest::KERBEROS
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.clients, &mut self.habits]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Kerberos(exchange) = &event.body else {
            return;
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if exchange.request != KerberosRequest::As || exchange.client.is_empty() {
            return;
        }
        let account = key_of(exchange.client.to_ascii_lowercase());
        let asked = self.clients.entry(client.key(), Hourly::default);
        asked.turn(event.ts);
        match exchange.error {
            Some(UNKNOWN_PRINCIPAL) => {
                asked.it.unknown.add(account);
            }
            Some(PREAUTH_REQUIRED) if asked.it.untouched.len() < UNTOUCHED_MAX => {
                asked.it.untouched.insert(account);
            }
            _ if is_unproved(exchange) => {
                asked.it.given.add(account);
                let weak_only = !exchange
                    .offered_etypes
                    .iter()
                    .any(|etype| (17..=20).contains(etype));
                asked.it.only_weak |= weak_only;
                asked.days = self.habits.note(key_of((client.key(), account)), event.ts);
            }
            _ => {
                asked.it.untouched.remove(&account);
                return;
            }
        }
        asked.push(event);
        asked.names.add(&exchange.client);
        if asked.it.unknown.len() > 4 {
            asked.days = asked.days.max(self.habits.note(client.key(), event.ts));
        }
        let score = asked.score();
        if !cx.matters(score) || !asked.window.rises(score) {
            return;
        }
        let statement = Statement::new(
            "asked for tickets of {unknown} accounts that do not exist and of {untouched} that it did not log in \
             as, and got {given} tickets without a proof, in {span} ({names})",
            vec![
                asked.count("unknown", asked.it.unknown.len() as f64),
                asked.count("untouched", asked.it.untouched.len() as f64),
                asked.count("given", asked.it.given.len() as f64),
                asked.span(),
                asked.named("names"),
            ],
        );
        let normal = Statement::new(
            "A device asks for the accounts of the people who use it, proves the password and logs in.",
            Vec::new(),
        );
        let mut finding = asked.trail.finding(client, 0, score, statement, normal);
        finding
            .peers
            .push(cx.entities().peer(PeerRole::Target, server));
        cx.raise(finding);
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.habits.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.habits = Habits::restore(CLIENTS_MAX, from)?;
        Ok(())
    }
}

impl Hourly<Asked> {
    fn score(&self) -> f64 {
        let given = self.it.given.len() as f64;
        let mut score = tails::pareto(self.it.unknown.len() as f64, 3.0, 2.5);
        // The last account asked for may still log in.
        score += tails::pareto(self.it.untouched.len() as f64 - 1.0, 8.0, 2.0);
        if given > 0.0 {
            score += 3.0 + tails::pareto(given, 1.0, 2.0);
            if self.it.only_weak {
                score += 1.0;
            }
        }
        (score - Habits::relief(self.days)).max(0.0)
    }
}
