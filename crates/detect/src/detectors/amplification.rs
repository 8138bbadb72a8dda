//! # Reflected amplification
//!
//! ## What it flags
//! A device that is hit by large answers it never asked for, from services that answer small
//! questions with much data; and a local server that is used to send them.
//!
//! ## Why it matters
//! Forged questions to open services turn a small stream into a flood toward the forged address. Who
//! runs such a service is part of the attack; who gets the answers is its victim.
//!
//! ## How it scores
//! Per minute and victim: bytes of datagrams that come *from* the ports of such services without any
//! question seen, and TCP answers without a beginning, in number. Per minute and local server: bytes
//! answered to outside where answers are ten times and more the questions. The score is the surprise
//! under a power law. It grows with the number of reflectors: many hosts that answer unasked from one
//! and the same service port in one minute are telling even where each sends little, except from
//! ports that a resolver or a clock talks to all day.
//!
//! ## Evidence
//! Bytes or packets in a minute, number of reflectors or victims, the ratio, the first events.
//!
//! ## What would have been normal
//! An answer follows a question of one's own; services answer outsiders in kind or not at all.
//!
//! ## Known false alarms
//! Captures that see only one direction: answers then look unasked. Public name servers with large
//! signed answers, whose volume becomes usual.
//!
//! ## ATT&CK
//! T1498.002 (reflection amplification).
//!
//! ## Sources
//! Rossow, *Amplification Hell: Revisiting Network Protocols for DDoS Abuse*, NDSS 2014 (protocols
//! and factors); RFC 4987.

use thymus_schema::{
    Conn, ConnState, Event, EventBody, FlowRecord, PeerRole, Phase, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Technique, Transport, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::sweep::{Distinct, is_group};
use crate::table::Table;
use crate::tails;
use crate::trail::{Trail, key_of, read_party, write_party};

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "amplification",
    title: "Reflected amplification",
    phase: Phase::Impact,
    techniques: &[Technique::new("T1498.002")],
    source: include_str!("amplification.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(Amplification::default()),
};

const TARGETS_MAX: usize = 8_192;
/// Answers this many times larger than the questions are an amplifier's.
const FACTOR_MIN: f64 = 10.0;

/// UDP ports whose services amplify (Rossow 2014 and later reports of the same kind).
const PORTS: [u16; 26] = [
    17, 19, 53, 69, 111, 123, 137, 161, 177, 389, 427, 500, 520, 1194, 1434, 1604, 1900, 3283,
    3702, 4500, 5351, 5683, 10_001, 11_211, 27_015, 37_810,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    /// Bytes of unasked answers.
    Victim,
    /// Unasked TCP answers.
    Backscatter,
    /// Bytes answered to outsiders who asked little.
    Reflector,
}

impl Part {
    const ALL: [Self; 3] = [Self::Victim, Self::Backscatter, Self::Reflector];

    /// What an ordinary minute may have.
    const fn usual(self) -> f64 {
        match self {
            Self::Victim => 100_000.0,
            Self::Backscatter => 120.0,
            Self::Reflector => 500_000.0,
        }
    }
}

impl Part {
    /// Surprise of so many hosts answering unasked from a port where one's own partners are few.
    fn spread(self, minute: &Minute) -> f64 {
        if self != Self::Victim || matches!(minute.port, 53 | 123) {
            return 0.0;
        }
        tails::pareto(minute.others_seen, 20.0, 1.5)
    }
}

struct Minute {
    party: Party,
    at: i64,
    amount: f64,
    asked: f64,
    others: Distinct,
    others_seen: f64,
    port: u16,
    usual: f64,
    sample: Vec<Party>,
    trail: Trail,
    waiting: bool,
}

impl Minute {
    fn new(party: Party, minute: i64) -> Self {
        Self {
            party,
            at: minute,
            amount: 0.0,
            asked: 0.0,
            others: Distinct::default(),
            others_seen: 0.0,
            port: 0,
            usual: 0.0,
            sample: Vec::new(),
            trail: Trail::default(),
            waiting: false,
        }
    }
}

/// The detector's state.
pub(crate) struct Amplification {
    minutes: Table<(u64, Part), Minute>,
    waiting: Vec<(u64, Part)>,
}

impl Default for Amplification {
    fn default() -> Self {
        Self {
            minutes: Table::new(TARGETS_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for Amplification {
    fn interest(&self) -> Interest {
        Interest::FLOW.and(Interest::DNS_FLOW)
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let (EventBody::Flow(flow), Some(conn)) = (&event.body, &event.conn) else {
            return;
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if is_group(server.addr) || is_group(client.addr) {
            return;
        }
        let up = flow.client_bytes as f64;
        let down = flow.server_bytes as f64;
        match conn.transport {
            Transport::Tcp if flow.part == 0 => {
                if let Some((victim, reflector)) = backscatter(flow, client, server) {
                    let answers = flow.server_packets.max(1) as f64;
                    self.add(event, Part::Backscatter, victim, reflector, answers, 0.0, 0);
                }
            }
            Transport::Udp
                if let Some((victim, reflector, port)) = unasked(flow, conn, client, server) =>
            {
                self.add(event, Part::Victim, victim, reflector, up + down, 0.0, port);
            }
            Transport::Udp
                if PORTS.contains(&conn.server.port)
                    && down > FACTOR_MIN * up.max(1.0)
                    && server.is_local()
                    && !client.is_local() =>
            {
                let port = conn.server.port;
                self.add(event, Part::Reflector, server, client, down, up, port);
            }
            _ => {}
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.minutes]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        for key in std::mem::take(&mut self.waiting) {
            if let Some(minute) = self.minutes.get_mut(&key) {
                minute.waiting = false;
                judge(key.1, minute, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.minutes.write(
            out,
            |_, _| true,
            |out, (target, part), minute| {
                out.u64(target).u64(part as u64);
                write_party(out, minute.party);
                out.i64(minute.at)
                    .f64(minute.usual.max(minute.amount.min(4.0 * part.usual())));
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let minutes = Table::read(TARGETS_MAX, from, 56, |from| {
            let target = from.u64()?;
            let part = Part::ALL
                .get(from.u64()? as usize)
                .copied()
                .unwrap_or(Part::Victim);
            let party = read_party(from)?;
            let mut minute = Minute::new(party, from.i64()?);
            minute.usual = from.f64()?;
            Ok(((target, part), minute))
        })?;
        *self = Self {
            minutes,
            ..Self::default()
        };
        Ok(())
    }
}

impl Amplification {
    #[allow(
        clippy::too_many_arguments,
        reason = "one call site per part, all of them numbers"
    )]
    fn add(
        &mut self,
        event: &Event,
        part: Part,
        party: Party,
        other: Party,
        amount: f64,
        asked: f64,
        port: u16,
    ) {
        let now = event.ts.as_secs().div_euclid(60);
        let key = (party.key(), part);
        let minute = self.minutes.entry(key, || Minute::new(party, now));
        if minute.at != now {
            let usual = minute.amount.min(4.0 * minute.usual.max(part.usual()));
            let usual = usual.max(0.98 * minute.usual);
            *minute = Minute {
                usual,
                waiting: minute.waiting,
                ..Minute::new(party, now)
            };
        }
        minute.amount += amount;
        minute.asked += asked;
        minute.port = port;
        minute.others_seen += minute.others.add(other.key()).unwrap_or(0.0);
        if minute.sample.len() < 8 && !minute.sample.contains(&other) {
            minute.sample.push(other);
        }
        minute.trail.push(event);
        if !minute.waiting && (minute.amount > part.usual() || part.spread(minute) > 0.0) {
            minute.waiting = true;
            self.waiting.push(key);
        }
    }
}

/// Datagrams from the port of an amplifying service that nobody asked for, whichever side the source
/// took for the client: victim, reflector and the service's port. Between equal service ports
/// servers talk.
fn unasked(
    flow: &FlowRecord,
    conn: &Conn,
    client: Party,
    server: Party,
) -> Option<(Party, Party, u16)> {
    let (from, to, victim, reflector) = if flow.server_packets == 0 {
        (conn.client.port, conn.server.port, server, client)
    } else if flow.client_packets == 0 && flow.part == 0 {
        (conn.server.port, conn.client.port, client, server)
    } else {
        return None;
    };
    let answers = PORTS.contains(&from) && from != to && !PORTS.contains(&to);
    (answers && victim.is_local() && !reflector.is_local()).then_some((victim, reflector, from))
}

/// A TCP answer whose beginning nobody sent: victim and reflector.
fn backscatter(flow: &FlowRecord, client: Party, server: Party) -> Option<(Party, Party)> {
    let unasked = matches!(flow.state, ConnState::Shr | ConnState::Rstrh)
        || (flow.client_packets == 0 && flow.history.starts_with('h'));
    if !unasked {
        return None;
    }
    // The side that answers is the reflector, whichever side the source took for the client.
    (client.is_local() && !server.is_local()).then_some((client, server))
}

fn judge(part: Part, minute: &Minute, cx: &mut DetectCx<'_>) {
    let usual = (1.5 * minute.usual).max(part.usual());
    let slope = if part == Part::Backscatter { 1.5 } else { 2.0 };
    let mass =
        tails::pareto(minute.amount, usual, slope) + 0.4 * minute.others_seen.max(1.0).log10();
    let score = mass.max(part.spread(minute));
    if score < 0.3 || !cx.matters(score) {
        return;
    }
    let trail = &minute.trail;
    let amount = match part {
        Part::Backscatter => Value::Count(minute.amount as u64),
        _ => Value::Bytes(minute.amount as u64),
    };
    let template = match part {
        Part::Victim => {
            "got {amount} of answers from port {port} of {others} hosts in a minute without asking"
        }
        Part::Backscatter => {
            "got {amount} TCP answers from {others} hosts in a minute without asking"
        }
        Part::Reflector => {
            "answered {amount} from port {port} to {others} outsiders in a minute, who had sent \
             {asked}"
        }
    };
    let statement = Statement::new(
        template,
        vec![
            trail.fact("amount", amount),
            trail.fact("port", Value::Name(minute.port.to_string().into())),
            trail.fact("others", Value::Count(minute.others_seen as u64)),
            trail.fact("asked", Value::Bytes(minute.asked as u64)),
        ],
    );
    let counterfactual = Statement::new(
        "Answers follow one's own questions and outsiders are answered in kind; a busy minute has \
         {usual} of such traffic.",
        vec![trail.fact("usual", Value::Number(usual))],
    );
    let mut finding = trail.finding(
        minute.party,
        key_of((part, minute.port)),
        score,
        statement,
        counterfactual,
    );
    let role = if part == Part::Reflector {
        PeerRole::Target
    } else {
        PeerRole::Relay
    };
    finding.peers = minute
        .sample
        .iter()
        .map(|party| cx.entities().peer(role, *party))
        .collect();
    cx.raise(finding);
}
