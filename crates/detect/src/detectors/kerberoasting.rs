//! # Kerberoasting
//!
//! ## What it flags
//! A device that collects Kerberos tickets for many service accounts, or asks for tickets in the old
//! RC4 encryption where the site uses AES.
//!
//! ## Why it matters
//! A service ticket is encrypted with the service account's password and can be guessed at leisure,
//! unseen. RC4 makes guessing a thousand times cheaper, so attackers ask for it.
//!
//! ## How it scores
//! Per hour and device: a request that offers RC4 alone or puts it before AES, or offers no AES though
//! the same device does otherwise, scores three, for it is the client's own choice; old devices, which
//! know nothing better, offer several old kinds. An RC4 ticket that the server chose for a service
//! account that nobody else uses with RC4
//! says little, more than two of them add two and a half digits per factor of ten. Tickets for many different services of accounts (not of
//! machines) count beyond six. The more of the site's tickets are RC4 anyway, the less RC4 counts.
//! What is done on many days is worth less.
//!
//! ## Evidence
//! The number of services and of RC4 tickets, the names of the services; the first requests' events.
//!
//! ## What would have been normal
//! Tickets for the few services the user works with, in AES.
//!
//! ## Known false alarms
//! Old devices that know only RC4, new monitoring of many services, audits of service accounts.
//!
//! ## ATT&CK
//! T1558.003 Kerberoasting.
//!
//! ## Sources
//! RFC 4120, MS-KILE, RFC 8429 (RC4 deprecated); Medin, *Attacking Kerberos: Kicking the Guard Dog of Hades*,
//! 2014.

use thymus_schema::{
    Event, EventBody, KerberosExchange, KerberosRequest, PeerRole, Phase, SnapshotError,
    SnapshotReader, SnapshotWriter, Statement, Technique,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::{Habits, Popularity};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "kerberoasting",
    title: "Kerberoasting",
    phase: Phase::Credentials,
    techniques: &[Technique::new("T1558.003")],
    source: include_str!("kerberoasting.rs"),
    snapshot_version: 2,
    build: |_: &Settings| Box::new(Kerberoasting::default()),
};

const CLIENTS_MAX: usize = 8_192;
const SERVICES_MAX: usize = 8_192;
const RC4: i32 = 23;

#[derive(Debug, Default)]
struct Tickets {
    services: Distinct,
    weak: Distinct,
    only_weak: bool,
}

/// The detector's state.
struct Kerberoasting {
    clients: Table<u64, Hourly<Tickets>>,
    /// Who uses a service with RC4.
    weak_users: Popularity,
    /// On which days a client used a service with RC4 or many services.
    habits: Habits,
    /// Devices that offered AES.
    modern: Habits,
    /// Tickets of the site: all, and RC4.
    tickets: f64,
    weak: f64,
}

impl Default for Kerberoasting {
    fn default() -> Self {
        Self {
            clients: Table::new(CLIENTS_MAX),
            weak_users: Popularity::new(SERVICES_MAX),
            habits: Habits::new(CLIENTS_MAX),
            modern: Habits::new(CLIENTS_MAX),
            tickets: 20.0,
            weak: 1.0,
        }
    }
}

/// The service class before the slash, when the principal belongs to an account that a person may
/// have given a password: machine accounts and the ticket service itself do not.
fn account_service(exchange: &KerberosExchange) -> Option<&str> {
    let service = &*exchange.service;
    let class = service.split('/').next().unwrap_or(service);
    let is_machine = service.ends_with('$')
        || [
            "krbtgt",
            "host",
            "cifs",
            "ldap",
            "gc",
            "dns",
            "rpcss",
            "rpc",
            "termsrv",
            "wsman",
            "restrictedkrbhost",
            "kadmin",
        ]
        .iter()
        .any(|name| class.eq_ignore_ascii_case(name));
    (!service.is_empty() && !is_machine).then_some(service)
}

fn offers_aes(exchange: &KerberosExchange) -> bool {
    exchange
        .offered_etypes
        .iter()
        .any(|etype| (17..=20).contains(etype))
}

/// Whether the client wants RC4 though it could have better: `modern` says that it offers AES
/// otherwise. Systems put their best first (MS-KILE 3.1.5.2), and old ones offer several old kinds.
fn chooses_weak(exchange: &KerberosExchange, modern: bool) -> bool {
    let offered = &*exchange.offered_etypes;
    if offered.first() == Some(&RC4) && (offered.len() == 1 || offers_aes(exchange)) {
        return true;
    }
    modern && offered.contains(&RC4) && !offers_aes(exchange)
}

impl Detector for Kerberoasting {
    fn interest(&self) -> Interest {
        Interest::KERBEROS
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![
            &mut self.clients,
            &mut self.weak_users,
            &mut self.habits,
            &mut self.modern,
        ]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Kerberos(exchange) = &event.body else {
            return;
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if exchange.request != KerberosRequest::Tgs || exchange.error.is_some() {
            return;
        }
        let modern = self.modern.knows(client.key());
        let only_weak = chooses_weak(exchange, modern);
        if offers_aes(exchange) && !only_weak {
            self.modern.note(client.key(), event.ts);
        }
        let is_weak = exchange.ticket_etype == RC4 || only_weak;
        let share = self.weak / self.tickets;
        self.tickets += 1.0;
        self.weak += f64::from(u8::from(is_weak && !only_weak));
        let is_home = exchange.service.to_ascii_lowercase().starts_with("krbtgt");
        let (Some(service), false) = (
            account_service(exchange).or(only_weak.then_some(&*exchange.service)),
            is_home,
        ) else {
            return;
        };
        let digest = key_of(service.to_ascii_lowercase());
        let tickets = self.clients.entry(client.key(), Hourly::default);
        tickets.turn(event.ts);
        tickets.push(event);
        tickets.names.add(service);
        if account_service(exchange).is_some() {
            tickets.it.services.add(digest);
        }
        // A service that several use with RC4 knows nothing better.
        if is_weak && (self.weak_users.note(digest, client.key()) < 3 || only_weak) {
            tickets.it.weak.add(digest);
            tickets.it.only_weak |= only_weak;
            tickets.days = self.habits.note(key_of((client.key(), digest)), event.ts);
        } else if tickets.it.services.len() > 6 {
            tickets.days = self.habits.note(client.key(), event.ts);
        }
        let score = tickets.score(share);
        if !cx.matters(score) || !tickets.window.rises(score) {
            return;
        }
        let statement = Statement::new(
            "asked for Kerberos tickets of {services} services of accounts, {weak} of them with RC4, in {span} ({names})",
            vec![
                tickets.count("services", tickets.it.services.len() as f64),
                tickets.count("weak", tickets.it.weak.len() as f64),
                tickets.span(),
                tickets.named("names"),
            ],
        );
        let normal = Statement::new(
            "A device asks for tickets of the few services its user works with, in the strongest \
             encryption both sides know.",
            Vec::new(),
        );
        let mut finding = tickets.trail.finding(client, 0, score, statement, normal);
        finding
            .peers
            .push(cx.entities().peer(PeerRole::Target, server));
        cx.raise(finding);
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        out.f64(self.tickets).f64(self.weak);
        self.weak_users.snapshot(out);
        self.habits.snapshot(out);
        self.modern.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let (tickets, weak) = (from.f64()?, from.f64()?);
        let weak_users = Popularity::restore(SERVICES_MAX, from)?;
        let habits = Habits::restore(CLIENTS_MAX, from)?;
        let modern = Habits::restore(CLIENTS_MAX, from)?;
        *self = Self {
            weak_users,
            habits,
            modern,
            tickets,
            weak,
            ..Self::default()
        };
        Ok(())
    }
}

impl Hourly<Tickets> {
    fn score(&self, share_weak: f64) -> f64 {
        let weak = self.it.weak.len() as f64;
        let mut score = 0.0;
        if weak > 0.0 {
            score = if self.it.only_weak {
                3.1 + tails::pareto(weak, 1.0, 2.5)
            } else {
                0.4 + tails::pareto(weak, 2.0, 2.5)
            };
            score *= (1.0 - share_weak).clamp(0.0, 1.0);
        }
        score += tails::pareto(self.it.services.len() as f64, 6.0, 2.5);
        score += tails::pareto(self.window.burst(), 10.0, 0.5).min(score);
        (score - Habits::relief(self.days)).max(0.0)
    }
}
