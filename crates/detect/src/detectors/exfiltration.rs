//! # Unusual upload
//!
//! ## What it flags
//! A device that sends much more to one outside destination, in an hour or over a day, than devices
//! do; or that carries data in pings.
//!
//! ## Why it matters
//! Data that is stolen has to leave. Its bulk cannot be hidden, only spread over time.
//!
//! ## How it scores
//! Uploads per device, destination and hour follow a power law: each factor of ten is about ten
//! times rarer, from what is a busy hour on: half a megabyte, or less where the site's own hours
//! show that nobody sends as much. The score starts from that surprise (and from the same for the
//! sum of the day, for slow leaks), or from the surprise against the largest upload of the device's own earlier hours
//! where that says more. It is weighed by the share of the traffic that goes up, so downloads and
//! calls count less. A destination that few devices of the site use, that the device had not called
//! before, that has no name, or an hour in which the device never sent anything adds to it.
//! Destinations to which this device has sent as much before say little.
//!
//! ## Evidence
//! The destination, bytes up and down, the time span, and the flows.
//!
//! ## What would have been normal
//! The largest earlier upload of the device, to that destination and to any.
//!
//! ## Known false alarms
//! The first run of a new cloud backup, a video sent to a customer, a software build pushed to a
//! registry. Once it has happened it counts as usual for that device and destination.
//!
//! ## ATT&CK
//! T1041 (over the control channel), T1048 (over another protocol), T1567 (over a web service),
//! T1030 (in limited pieces).
//!
//! ## Sources
//! RFC 792 (echo data); heavy tails of transfer sizes: Crovella and Bestavros, *Self-Similarity in
//! World Wide Web Traffic*, IEEE/ACM ToN 1997.

mod scale;
mod span;

use smallvec::SmallVec;
use thymus_schema::{
    EntityId, Event, EventBody, Peer, PeerRole, Phase, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Technique, Timestamp, Transport, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::sweep::is_group;
use crate::table::Table;
use crate::tails;
use crate::trail::{key_of, read_party, write_party};
use scale::Scale;
use span::Span;

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "exfiltration",
    title: "Unusual upload",
    phase: Phase::Exfiltration,
    techniques: &[
        Technique::new("T1030"),
        Technique::new("T1041"),
        Technique::new("T1048"),
        Technique::new("T1567"),
    ],
    source: include_str!("exfiltration.rs"),
    snapshot_version: 3,
    build: |_: &Settings| Box::new(Exfiltration::default()),
};

const PAIRS_MAX: usize = 65_536;
const DEVICES_MAX: usize = 32_768;
const USERS_MAX: usize = 32;
/// How many busy hours make a busy day.
const BUSY_HOURS: f64 = 6.0;
/// Bytes that an ordinary device sends to one destination in a busy hour inside pings.
const PING_USUAL: f64 = 3_000.0;
const HOUR_SECS: f64 = 3600.0;
const DAY_SECS: f64 = 86_400.0;

/// Device, destination, and whether in pings.
type PairKey = (u64, u64, bool);

struct Upload {
    client: Party,
    server: Party,
    name: Option<Box<str>>,
    port: u16,
    known_since: Timestamp,
    hour: Span,
    /// The day, once it is more than its first hour: most destinations are called for less.
    day: Option<Box<Span>>,
    waiting: bool,
}

/// What a device does with all destinations together.
#[derive(Default)]
struct Habit {
    /// The most it sent to one destination in an earlier hour, slowly forgotten.
    usual: f64,
    hour: i64,
    top: f64,
    /// Hours of the day in which it sent something, as bits.
    active: u32,
    days: u32,
    day: i64,
}

/// The detector's state.
pub(crate) struct Exfiltration {
    pairs: Table<PairKey, Upload>,
    habits: Table<u64, Habit>,
    users: Table<u64, SmallVec<[u64; 2]>>,
    waiting: Vec<PairKey>,
    scale: Scale,
    /// Bytes from which an hour is worth a look: busy as the last minute saw it.
    worth: f64,
}

impl Default for Exfiltration {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            habits: Table::new(DEVICES_MAX),
            users: Table::new(PAIRS_MAX),
            waiting: Vec::new(),
            scale: Scale::default(),
            worth: scale::SHIPPED,
        }
    }
}

impl Detector for Exfiltration {
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
        if !client.is_local() || server.is_local() || is_group(server.addr) {
            return;
        }
        let ping = conn.transport == Transport::Icmp;
        let name = cx.entities().name_of(server.addr);
        let destination = name.map_or_else(|| server.key(), key_of);
        let users = self.users.entry(destination, SmallVec::new);
        if users.len() < USERS_MAX && !users.contains(&client.key()) {
            users.push(client.key());
        }
        let key = (client.key(), destination, ping);
        let pair = self.pairs.entry(key, || Upload {
            client,
            server,
            name: name.map(Box::from),
            port: conn.server.port,
            known_since: event.ts,
            hour: Span::starting(event.ts),
            day: None,
            waiting: false,
        });
        pair.server = server;
        pair.add(event, flow.client_bytes, flow.server_bytes);
        if !ping {
            let before = pair.hour.up - flow.client_bytes as f64;
            self.scale.grow(before, pair.hour.up);
        }
        let usual = if ping { PING_USUAL } else { self.worth };
        if !pair.waiting && pair.hour.up.max(pair.day().up) > usual {
            pair.waiting = true;
            self.waiting.push(key);
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.habits, &mut self.users]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        self.worth = self.scale.busy(0.0);
        let hour = cx.now().as_secs().div_euclid(3600);
        for key in std::mem::take(&mut self.waiting) {
            let users = self.users.get(&key.1).map_or(1, SmallVec::len);
            let habit = self.habits.entry(key.0, Habit::default);
            habit.turn(hour);
            if let Some(pair) = self.pairs.get_mut(&key) {
                pair.waiting = false;
                let busy = self.scale.busy(pair.hour.up);
                pair.judge(key, busy, users, habit, cx);
                if !key.2 {
                    habit.top = habit.top.max(pair.hour.up);
                }
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.pairs.write(
            out,
            |_, pair| pair.hour.up.max(pair.hour.usual) > PING_USUAL,
            |out, (device, destination, ping), pair| {
                out.u64(device).u64(destination).u64(u64::from(ping));
                write_party(out, pair.client);
                write_party(out, pair.server);
                out.str(pair.name.as_deref().unwrap_or(""));
                out.u64(u64::from(pair.port))
                    .i64(pair.known_since.as_nanos());
                for span in [&pair.hour, pair.day()] {
                    out.i64(span.since.as_nanos()).f64(span.usual.max(span.up));
                }
            },
        );
        self.habits.write(
            out,
            |_, _| true,
            |out, device, habit| {
                out.u64(device)
                    .f64(habit.usual)
                    .i64(habit.hour)
                    .f64(habit.top);
                out.u64(u64::from(habit.active))
                    .u64(u64::from(habit.days))
                    .i64(habit.day);
            },
        );
        self.scale.snapshot(out);
        // The many destinations with a single user would fill the file and say little.
        self.users.write(
            out,
            |_, users| users.len() > 1,
            |out, destination, users| {
                out.u64(destination).u64(users.len() as u64);
                for user in users {
                    out.u64(*user);
                }
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let mut fresh = Self::default();
        fresh.pairs = Table::read(PAIRS_MAX, from, 120, |from| {
            let key = (from.u64()?, from.u64()?, from.u64()? != 0);
            let (client, server) = (read_party(from)?, read_party(from)?);
            let name = from.str()?;
            let name = (!name.is_empty()).then(|| Box::from(name));
            let port = from.u64()? as u16;
            let known_since = Timestamp::from_nanos(from.i64()?);
            let mut span = || -> Result<Span, SnapshotError> {
                let since = Timestamp::from_nanos(from.i64()?);
                Ok(Span {
                    usual: from.f64()?,
                    ..Span::starting(since)
                })
            };
            let (hour, day) = (span()?, Some(Box::new(span()?)));
            let waiting = false;
            let upload = Upload {
                client,
                server,
                name,
                port,
                known_since,
                hour,
                day,
                waiting,
            };
            Ok((key, upload))
        })?;
        fresh.habits = Table::read(DEVICES_MAX, from, 56, |from| {
            let device = from.u64()?;
            let habit = Habit {
                usual: from.f64()?,
                hour: from.i64()?,
                top: from.f64()?,
                active: from.u64()? as u32,
                days: from.u64()? as u32,
                day: from.i64()?,
            };
            Ok((device, habit))
        })?;
        fresh.scale = Scale::restore(from)?;
        fresh.worth = fresh.scale.busy(0.0);
        fresh.users = Table::read(PAIRS_MAX, from, 16, |from| {
            let destination = from.u64()?;
            let users: Result<_, SnapshotError> = (0..from.count(8)?).map(|_| from.u64()).collect();
            Ok((destination, users?))
        })?;
        *self = fresh;
        Ok(())
    }
}

impl Habit {
    fn turn(&mut self, hour: i64) {
        if hour == self.hour {
            return;
        }
        self.usual = self.top.max(0.99 * self.usual);
        self.top = 0.0;
        if self.hour != 0 {
            self.active |= 1 << self.hour.rem_euclid(24);
        }
        self.hour = hour;
        let day = hour.div_euclid(24);
        self.days += u32::from(day != self.day);
        self.day = day;
    }

    /// Whether the device is well known and never sends anything at this hour of the day.
    fn is_off_hours(&self) -> bool {
        self.days > 3 && self.active & (1 << self.hour.rem_euclid(24)) == 0
    }
}

impl Upload {
    fn add(&mut self, event: &Event, up: u64, down: u64) {
        if self.day.is_none() && self.hour.is_over(event, HOUR_SECS) {
            self.day = Some(Box::new(self.hour.clone()));
        }
        self.hour.add(event, up, down, HOUR_SECS, 0.99);
        if let Some(day) = &mut self.day {
            day.add(event, up, down, DAY_SECS, 0.9);
        }
    }

    fn day(&self) -> &Span {
        self.day.as_deref().unwrap_or(&self.hour)
    }

    fn judge(&self, key: PairKey, busy: f64, users: usize, habit: &Habit, cx: &mut DetectCx<'_>) {
        let of_day = BUSY_HOURS * busy;
        let by_hour = self.base(&self.hour, key.2, busy, false, habit, cx);
        let by_day = self.base(self.day(), key.2, of_day, true, habit, cx);
        let (base, span) = if by_hour >= by_day {
            (by_hour, &self.hour)
        } else {
            (by_day, self.day())
        };
        let mut score = base;
        // What else speaks for it counts as far as the amount alone does.
        let marks = self.marks(users, habit, cx);
        score += if base > 1.0 {
            marks
        } else {
            base * marks.max(0.0)
        };
        if score < 0.3 || !cx.matters(score) {
            return;
        }
        let trail = &span.trail;
        let address: Box<str> = self.server.addr.to_string().into();
        let named = self.name.clone().unwrap_or_else(|| address.clone());
        let template = if key.2 {
            "sent {up} inside pings to {destination} in {span} and got {down} back"
        } else {
            "sent {up} to {destination} in {span} and got {down} back; {users} of {devices} \
             devices use that destination"
        };
        let statement = Statement::new(
            template,
            vec![
                trail.fact("up", Value::Bytes(span.up as u64)),
                trail.fact("destination", Value::Name(named.clone())),
                trail.fact(
                    "span",
                    Value::Seconds(trail.last().secs_since(trail.first())),
                ),
                trail.fact("down", Value::Bytes(span.down as u64)),
                trail.fact("users", Value::Count(users as u64)),
                trail.fact("devices", Value::Count(cx.devices() as u64)),
            ],
        );
        let template = match (span.usual >= 1.0, habit.usual >= 1.0) {
            (true, true) => {
                "The most this device sent before was {pair} to that destination and {any} to any \
                 one in an hour."
            }
            (true, false) => "The most this device sent before to that destination was {pair}.",
            (false, true) => {
                "It is not known to have sent anything to that destination before; the most it sent \
                 to any one in an hour was {any}."
            }
            (false, false) => {
                "There is no earlier upload of this device to compare with; a busy hour with one \
                 destination has {busy} here."
            }
        };
        let counterfactual = Statement::new(
            template,
            vec![
                trail.fact("pair", Value::Bytes(span.usual as u64)),
                trail.fact("any", Value::Bytes(habit.usual as u64)),
                trail.fact("busy", Value::Bytes(busy as u64)),
            ],
        );
        let mut finding = trail.finding(
            self.client,
            key_of((key.1, key.2)),
            score,
            statement,
            counterfactual,
        );
        finding.peers = vec![Peer {
            role: PeerRole::Controller,
            entity: EntityId::external(named),
        }];
        if key.2 {
            finding.techniques = vec![Technique::new("T1048"), Technique::new("T1095")];
        }
        cx.raise(finding);
    }

    fn base(
        &self,
        span: &Span,
        ping: bool,
        busy: f64,
        daily: bool,
        habit: &Habit,
        cx: &DetectCx<'_>,
    ) -> f64 {
        if ping {
            return tails::pareto(span.up, PING_USUAL.max(1.5 * span.usual), 2.0);
        }
        let mut base = tails::pareto(span.up, busy, 1.0);
        if !daily && cx.age_secs(self.client.device) > DAY_SECS {
            base = base.max(tails::pareto(
                span.up,
                3.0 * habit.usual.max(1_000_000.0),
                2.5,
            ));
        }
        if span.usual > 0.0 {
            base = base.min(0.2 + tails::pareto(span.up, 1.5 * span.usual, 3.0));
        }
        let share = span.up / (span.up + span.down).max(1.0);
        base * ((share - 0.3) / 0.5).clamp(0.15, 1.0)
    }

    fn marks(&self, users: usize, habit: &Habit, cx: &DetectCx<'_>) -> f64 {
        let users = users.max(1) as f64;
        let devices = (cx.devices() as f64).max(users);
        let mut marks = 0.5 * (devices / users).log10() - 0.8 * users.log10();
        if self.name.is_none() {
            marks += 0.4;
        }
        if !matches!(self.port, 80 | 443 | 25 | 465 | 587) {
            marks += 0.3;
        }
        let new = cx.now().secs_since(self.known_since) < DAY_SECS;
        if new && cx.age_secs(self.client.device) > 2.0 * DAY_SECS {
            marks += 0.4;
        }
        if habit.is_off_hours() {
            marks += 0.5;
        }
        marks
    }
}
