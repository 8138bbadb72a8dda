//! # Answers to names that are not one's own
//!
//! ## What it flags
//! A host that answers link-local name questions (LLMNR, NetBIOS, multicast DNS) for many names,
//! for names nobody answered before, or for the automatic proxy's name.
//!
//! ## Why it matters
//! A mistyped server name is asked to everybody on the segment. Whoever answers gets the log-in that
//! follows.
//!
//! ## How it scores
//! A host answers for its own name. The score grows with the number of different names it answers
//! with its own address, with how many of them had gone unanswered before, and when `wpad` is among
//! them. Answers that name another host's address (name servers, sleep proxies) count a third. Names
//! that the host asked for itself before (RFC 6762 probing, LLMNR uniqueness, NetBIOS registration)
//! are its own and do not count.
//!
//! ## Evidence
//! The names, how many of them nobody had answered before, and the answers' events.
//!
//! ## What would have been normal
//! Answers for one name, the host's own.
//!
//! ## Known false alarms
//! Hosts with aliases or several virtual names; a name server for NetBIOS (WINS); a file server that
//! was away and is back.
//!
//! ## ATT&CK
//! T1557.001 (LLMNR/NBT-NS poisoning and SMB relay).
//!
//! ## Sources
//! RFC 4795 (LLMNR: a responder must be authoritative for the name), RFC 1002, RFC 6762.

use std::net::IpAddr;

use thymus_schema::{
    DnsFlavor, DnsTransaction, Event, EventBody, PeerRole, Phase, Scope, Statement, Technique,
    Timestamp, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::trail::{Trail, key_of};

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "spoof_name",
    title: "Answers to names that are not one's own",
    phase: Phase::Credentials,
    techniques: &[Technique::new("T1557.001")],
    source: include_str!("spoof_name.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(SpoofName::default()),
};

const RESPONDERS_MAX: usize = 8_192;
const NAMES_MAX: usize = 32_768;
/// Names kept of one responder; more are only counted.
const OWN_MAX: usize = 32;
const DAY_SECS: f64 = 86_400.0;

struct Responder {
    party: Party,
    since: Timestamp,
    names: Vec<Box<str>>,
    /// Weighed number of different names.
    count: f64,
    /// Of them, names that had gone unanswered at least twice.
    dead: f64,
    proxy_name: bool,
    askers: Vec<Party>,
    trail: Trail,
    waiting: bool,
}

/// The detector's state. A day is its longest memory, so nothing is kept over a restart.
pub(crate) struct SpoofName {
    responders: Table<u64, Responder>,
    unanswered: Table<u64, u32>,
    /// Who asked for which name before anybody answered: names claimed for oneself.
    probed: Table<(u64, u64), ()>,
    waiting: Vec<u64>,
}

impl Default for SpoofName {
    fn default() -> Self {
        Self {
            responders: Table::new(RESPONDERS_MAX),
            unanswered: Table::new(NAMES_MAX),
            probed: Table::new(NAMES_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for SpoofName {
    fn interest(&self) -> Interest {
        Interest::DNS
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Dns(dns) = &event.body else {
            return;
        };
        let by_host_address = matches!(dns.qtype, 1 | 28 | 255);
        let relevant = match dns.flavor {
            DnsFlavor::Dns => false,
            DnsFlavor::Mdns => by_host_address,
            DnsFlavor::Llmnr => true,
            DnsFlavor::Nbns => dns.qtype == 32 || by_host_address,
        };
        if !relevant {
            return;
        }
        let scope = event.conn.as_ref().map_or(Scope::NONE, |conn| conn.scope);
        let name = host_part(&dns.query);
        if name.is_empty() || &*name == "*" {
            return;
        }
        let digest = key_of(&*name);
        // A registration brings the answer that it asks for.
        let registers = dns.responder.is_none() && dns.rcode.is_none();
        if let Some(asker) = cx.client()
            && registers
            && (dns.answers.is_empty() || gives(dns, asker.addr))
        {
            self.probed.entry((digest, asker.key()), || ());
        }
        if dns.answers.is_empty() {
            // A question for everything there is under a name is one before claiming it.
            if dns.rcode.is_none() && dns.qtype != 255 {
                *self.unanswered.entry(digest, || 0) += 1;
            }
            return;
        }
        let Some(party) = responder(dns, scope, cx) else {
            return;
        };
        // Who wants a name asks for it himself first, and whoever has it already speaks up. A forger
        // answers what others ask.
        if self.probed.get(&(digest, party.key())).is_some() {
            return;
        }
        let dead = self.unanswered.remove(&digest).unwrap_or(0) >= 2;
        self.answered(event, dns, party, name, dead, cx.client());
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.responders, &mut self.unanswered, &mut self.probed]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        for key in std::mem::take(&mut self.waiting) {
            if let Some(responder) = self.responders.get_mut(&key) {
                responder.waiting = false;
                judge(responder, cx);
            }
        }
    }
}

impl SpoofName {
    fn answered(
        &mut self,
        event: &Event,
        dns: &DnsTransaction,
        party: Party,
        name: Box<str>,
        dead: bool,
        asker: Option<Party>,
    ) {
        let key = party.key();
        let fresh = || Responder {
            party,
            since: event.ts,
            names: Vec::new(),
            count: 0.0,
            dead: 0.0,
            proxy_name: false,
            askers: Vec::new(),
            trail: Trail::default(),
            waiting: false,
        };
        let responder = self.responders.entry(key, fresh);
        if event.ts.secs_since(responder.since) > DAY_SECS {
            *responder = Responder {
                waiting: responder.waiting,
                ..fresh()
            };
        }
        if responder.names.contains(&name) || responder.names.len() >= OWN_MAX {
            return;
        }
        // Claiming a name means giving one's own address for it.
        let own = gives(dns, party.addr);
        responder.count += if own { 1.0 } else { 0.33 };
        responder.dead += if dead && own { 1.0 } else { 0.0 };
        responder.proxy_name |= &*name == "wpad" && own;
        responder.names.push(name);
        if let Some(asker) = asker
            && responder.askers.len() < 8
            && !responder.askers.contains(&asker)
        {
            responder.askers.push(asker);
        }
        responder.trail.push(event);
        if !responder.waiting {
            responder.waiting = true;
            self.waiting.push(key);
        }
    }
}

/// Whether the answers give an address.
fn gives(dns: &DnsTransaction, addr: IpAddr) -> bool {
    dns.answers.iter().any(|answer| answer.addr() == Some(addr))
}

/// Who answered: named by the source, else the server of the conversation when that is a host.
fn responder(dns: &DnsTransaction, scope: Scope, cx: &DetectCx<'_>) -> Option<Party> {
    let party = match dns.responder {
        Some(addr) => cx.party(addr, scope),
        None => cx.server()?,
    };
    (!crate::sweep::is_group(party.addr)).then_some(party)
}

/// The host's part of a link-local name: `printer.local` and `PRINTER<20>` are both `printer`.
fn host_part(query: &str) -> Box<str> {
    let end = query.find(['.', '<', '\0']).unwrap_or(query.len());
    query
        .get(..end)
        .unwrap_or(query)
        .trim()
        .to_ascii_lowercase()
        .into()
}

fn judge(responder: &Responder, cx: &mut DetectCx<'_>) {
    let more = (responder.count - 1.0).max(0.0);
    let mut score = 0.7 * more.powf(0.95) + 0.8 * (1.0 + responder.dead).log2();
    if responder.proxy_name {
        score += 1.2;
    }
    if score < 0.3 || !cx.matters(score) {
        return;
    }
    let trail = &responder.trail;
    let names = responder.names.iter().take(8).cloned().collect();
    let statement = Statement::new(
        "answered for {count} different names with its own address: {names}; {dead} of them had \
         gone unanswered before",
        vec![
            trail.fact("count", Value::Count(responder.names.len() as u64)),
            trail.fact("names", Value::Names(names)),
            trail.fact("dead", Value::Count(responder.dead as u64)),
        ],
    );
    let counterfactual = Statement::new(
        "A host answers for {own} name, its own.",
        vec![trail.fact("own", Value::Count(1))],
    );
    let mut finding = trail.finding(responder.party, 0, score, statement, counterfactual);
    finding.peers = responder
        .askers
        .iter()
        .map(|party| cx.entities().peer(PeerRole::Target, *party))
        .collect();
    cx.raise(finding);
}
