//! # Stolen-hash log-ins
//!
//! ## What it flags
//! NTLM log-ins of one account from one device to several servers, from a device where the account
//! was not at home, or under a workstation name that is not the device's; NTLM version 1; and Kerberos
//! log-ins that offer one kind of encryption alone, as programs do that hold a key and no password.
//!
//! ## Why it matters
//! A stolen password hash works with NTLM and not with a plain Kerberos log-in. The log-ins succeed, so nothing
//! else complains.
//!
//! ## How it scores
//! Per hour, device and account: the number of servers beyond two (two digits per factor of ten), and
//! then, only when there are several servers or the session is otherwise strange: the account was seen
//! with Kerberos before (three quarters), never on this device though it has been watched for a day (one),
//! under a workstation name other than this device's usual one or none (three quarters), in an older
//! dialect of the file protocol than the device agreed on with the same server before, as another
//! program does (one), NTLM version 1 (one). What is done on many days is worth less. A log-in ticket asked for with a proof and in RC4
//! alone scores two and a half where the domain seals its tickets in AES, little elsewhere and for one
//! AES kind alone; one more when the same device offers several kinds otherwise. Other devices that do
//! the same take off most of a digit each.
//!
//! ## Evidence
//! The account, the servers, the workstation names, the version; the first log-ins' events.
//!
//! ## What would have been normal
//! Kerberos log-ins with all the encryption the system knows, or NTLM to the few servers that are
//! called by address.
//!
//! ## Known false alarms
//! Programs that call servers by address, devices outside the domain, management systems, scanners
//! with credentials, services that log in from a file with one key.
//!
//! ## ATT&CK
//! T1550.002 Pass the Hash, T1550.003 Pass the Ticket, T1078 Valid Accounts.
//!
//! ## Sources
//! MS-NLMP; MS-KILE; RFC 4757; Ho et al., *Hopper: modeling and detecting lateral movement*, USENIX Security 2021.

mod ticket;

use thymus_schema::{
    EntityId, Event, EventBody, NtlmAuth, Outcome, Peer, PeerRole, Phase, Service, SmbAction,
    SnapshotError, SnapshotReader, SnapshotWriter, Statement, Technique, Value,
};

use self::ticket::Tickets;
use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "ntlm_pass_the_hash",
    title: "Stolen-hash log-ins",
    phase: Phase::Lateral,
    techniques: &[
        Technique::new("T1078"),
        Technique::new("T1550.002"),
        Technique::new("T1550.003"),
    ],
    source: include_str!("ntlm_pass_the_hash.rs"),
    snapshot_version: 2,
    build: |_: &Settings| Box::new(PassTheHash::default()),
};

const PAIRS_MAX: usize = 8_192;
const HABITS_MAX: usize = 65_536;

#[derive(Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one mark that was seen or not"
)]
struct Logins {
    servers: Distinct,
    uses_kerberos: bool,
    not_at_home: bool,
    odd_name: bool,
    older_dialect: bool,
    version1: bool,
}

/// The detector's state.
struct PassTheHash {
    pairs: Table<u64, Hourly<Logins>>,
    /// Accounts seen with Kerberos.
    kerberos: Habits,
    /// Account on device.
    homes: Habits,
    /// Workstation name of a device.
    names: Table<u64, u64>,
    /// Newest dialect of the file protocol agreed by client and server, and whether the last was older.
    dialects: Table<u64, (u16, bool)>,
    /// Several servers by NTLM, by device and account.
    habits: Habits,
    tickets: Tickets,
}

impl Default for PassTheHash {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            kerberos: Habits::new(HABITS_MAX),
            homes: Habits::new(HABITS_MAX),
            names: Table::new(PAIRS_MAX),
            dialects: Table::new(PAIRS_MAX),
            habits: Habits::new(HABITS_MAX),
            tickets: Tickets::default(),
        }
    }
}

fn account_of(user: &str) -> u64 {
    let name = user.rsplit('\\').next().unwrap_or(user);
    key_of(name.split('@').next().unwrap_or(name).to_ascii_lowercase())
}

impl Detector for PassTheHash {
    fn interest(&self) -> Interest {
        Interest::KERBEROS.and(Interest::NTLM).and(Interest::SMB)
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        let mut all: Vec<&mut dyn Memory> = vec![
            &mut self.pairs,
            &mut self.kerberos,
            &mut self.homes,
            &mut self.names,
            &mut self.dialects,
            &mut self.habits,
        ];
        all.extend(self.tickets.memories());
        all
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if let EventBody::Kerberos(exchange) = &event.body {
            self.tickets.observe(event, exchange, (client, server), cx);
        }
        match &event.body {
            EventBody::Kerberos(exchange) if exchange.outcome == Outcome::Success => {
                let account = account_of(&exchange.client);
                if !exchange.client.is_empty() {
                    self.kerberos.note(account, event.ts);
                    self.homes.note(key_of((client.key(), account)), event.ts);
                }
            }
            EventBody::Smb(smb) if smb.action == SmbAction::Negotiate && smb.dialect > 0 => {
                let pair = key_of((client.key(), server.key()));
                let known = self.dialects.entry(pair, || (smb.dialect, false));
                known.1 = smb.dialect < known.0;
                known.0 = known.0.max(smb.dialect);
            }
            EventBody::Ntlm(auth) if !auth.user.is_empty() && auth.outcome != Outcome::Failure => {
                self.login(event, auth, client, server, cx);
            }
            _ => {}
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.kerberos.snapshot(out);
        self.homes.snapshot(out);
        self.habits.snapshot(out);
        self.tickets.snapshot(out);
        self.names.write(
            out,
            |_, _| true,
            |out, device, name| {
                out.u64(device).u64(*name);
            },
        );
        self.dialects.write(
            out,
            |_, _| true,
            |out, pair, (newest, _)| {
                out.u64(pair).u64(u64::from(*newest));
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        *self = Self {
            kerberos: Habits::restore(HABITS_MAX, from)?,
            homes: Habits::restore(HABITS_MAX, from)?,
            habits: Habits::restore(HABITS_MAX, from)?,
            tickets: Tickets::restore(from)?,
            names: Table::read(PAIRS_MAX, from, 16, |from| Ok((from.u64()?, from.u64()?)))?,
            dialects: Table::read(PAIRS_MAX, from, 16, |from| {
                Ok((from.u64()?, (from.u64()? as u16, false)))
            })?,
            ..Self::default()
        };
        Ok(())
    }
}

impl PassTheHash {
    fn login(
        &mut self,
        event: &Event,
        auth: &NtlmAuth,
        client: Party,
        server: Party,
        cx: &mut DetectCx<'_>,
    ) {
        let account = account_of(&auth.user);
        let home = key_of((client.key(), account));
        let watched = cx.age_secs(client.device) > 86_400.0;
        let was_home = self.homes.knows(home);
        self.homes.note(home, event.ts);
        let name = key_of(auth.workstation.to_ascii_lowercase());
        let usual = *self.names.entry(client.key(), || name);
        let older = self
            .dialects
            .get(&key_of((client.key(), server.key())))
            .is_some_and(|(_, older)| *older && auth.carrier == Some(Service::Smb));
        let pair = self.pairs.entry(home, Hourly::default);
        pair.turn(event.ts);
        pair.push(event);
        pair.it.servers.add(server.key());
        pair.names.add(&server.addr.to_string());
        pair.it.uses_kerberos |= self.kerberos.knows(account);
        pair.it.not_at_home |= watched && !was_home;
        pair.it.odd_name |= auth.workstation.is_empty() || name != usual;
        pair.it.older_dialect |= older;
        pair.it.version1 |= auth.version1;
        if older || pair.it.servers.len() > 2 {
            pair.days = self.habits.note(home, event.ts);
        }
        let score = pair.score(client);
        if cx.matters(score) && pair.window.rises(score) {
            pair.raise(home, score, auth, client, server, cx);
        }
    }
}

impl Hourly<Logins> {
    fn score(&self, client: Party) -> f64 {
        let it = &self.it;
        let mark = |seen: bool, weight: f64| if seen { weight } else { 0.0 };
        let marks = mark(it.uses_kerberos, 0.75)
            + mark(it.not_at_home, 1.0)
            + mark(it.odd_name, 0.75)
            + mark(it.older_dialect, 1.0)
            + mark(it.version1, 1.0);
        let servers = tails::pareto(it.servers.len() as f64, 2.0, 2.5);
        let mut score = servers + marks * if it.servers.len() > 2 { 1.0 } else { 0.5 };
        if !client.is_local() {
            score += 1.0;
        }
        (score - Habits::relief(self.days)).max(0.0)
    }

    fn raise(
        &self,
        key: u64,
        score: f64,
        auth: &NtlmAuth,
        client: Party,
        server: Party,
        cx: &mut DetectCx<'_>,
    ) {
        let it = &self.it;
        let mut marks: Vec<Box<str>> = Vec::new();
        let said = [
            (it.uses_kerberos, "the account otherwise uses Kerberos"),
            (it.not_at_home, "it was never used on this device"),
            (
                it.odd_name,
                "the workstation name is not this device's usual one",
            ),
            (
                it.older_dialect,
                "the file protocol was of an older dialect than this device speaks",
            ),
            (it.version1, "NTLM version 1 was used"),
        ];
        marks.extend(
            said.iter()
                .filter(|(seen, _)| *seen)
                .map(|(_, text)| Box::from(*text)),
        );
        if marks.is_empty() {
            marks.push("several servers in one hour".into());
        }
        let workstation = if auth.workstation.is_empty() {
            "none"
        } else {
            &*auth.workstation
        };
        let statement = Statement::new(
            "logged in as {account} by NTLM to {servers} servers ({names}) in {span}, as workstation {workstation}: {marks}",
            vec![
                self.trail.fact("account", Value::Name(auth.user.clone())),
                self.count("servers", it.servers.len() as f64),
                self.named("names"),
                self.span(),
                self.trail
                    .fact("workstation", Value::Name(workstation.into())),
                self.trail.fact("marks", Value::Names(marks)),
            ],
        );
        let normal = Statement::new(
            "Members of a domain log in by Kerberos; NTLM is left for the few servers called by address.",
            Vec::new(),
        );
        let mut finding = self.trail.finding(client, key, score, statement, normal);
        finding.peers = vec![
            cx.entities().peer(PeerRole::Target, server),
            Peer {
                role: PeerRole::Account,
                entity: EntityId::user(&auth.user),
            },
        ];
        finding.techniques = vec![Technique::new("T1550.002"), Technique::new("T1078")];
        cx.raise(finding);
    }
}
