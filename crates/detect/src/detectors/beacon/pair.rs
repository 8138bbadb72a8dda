//! The calls of one device to one destination, and what they score.

use smallvec::SmallVec;
use thymus_schema::{
    Event, EventId, Peer, PeerRole, SnapshotError, SnapshotReader, SnapshotWriter, Statement,
    Technique, Timestamp, Value,
};

use crate::cx::DetectCx;
use crate::party::{DeviceIdx, Party};
use crate::rhythm::{self, Rhythm};
use crate::trail::{Trail, key_of, read_party, write_party};

/// Calls remembered for each pair.
const BEATS_MAX: usize = 256;
/// Names told apart.
const NAMES_MAX: usize = 64;
/// Calls closer than this are one.
const BEAT_SECS: f64 = 1.0;

/// How the calls travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Channel {
    Flow,
    Web,
    Dns,
}

/// A device, a digest of the destination, and how the calls travel.
pub(super) type PairKey = (DeviceIdx, u64, Channel);

/// The calls of one device to one destination.
pub(super) struct Pair {
    pub(super) client: Party,
    pub(super) server: Party,
    /// Host name or registered domain; empty when there is only the address.
    name: Box<str>,
    port: u16,
    relayed: bool,
    named: bool,
    /// Most pairs call once or twice: these few need no memory of their own.
    pub(super) beats: SmallVec<[f64; 3]>,
    sizes: SmallVec<[u32; 4]>,
    received: f64,
    /// Requests that are polls by their very shape.
    pub(super) routine: u64,
    /// Digests of the names asked for, over DNS.
    pub(super) names: SmallVec<[u64; 2]>,
    pub(super) count: u64,
    pub(super) judged_at: u64,
    pub(super) waiting: bool,
    trail: Trail,
}

/// What is kept of a question until a second one comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) event: EventId,
    pub(super) at: Timestamp,
    /// A digest of the name asked for.
    pub(super) name: u64,
}

/// One call, as read from an event.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) server: Party,
    /// The name called, empty when there is only the address.
    pub(super) name: &'a str,
    pub(super) port: u16,
    pub(super) at: Timestamp,
    pub(super) channel: Channel,
    pub(super) relayed: bool,
}

impl Call<'_> {
    /// A digest of the destination.
    pub(super) fn destination(&self) -> u64 {
        if self.name.is_empty() {
            key_of((self.server.addr, self.port))
        } else {
            key_of((self.name, self.port))
        }
    }
}

impl Pair {
    pub(super) fn new(client: Party, call: &Call<'_>) -> Self {
        Self {
            client,
            server: call.server,
            name: call.name.into(),
            port: call.port,
            relayed: call.relayed,
            named: !call.name.is_empty() && call.name.parse::<std::net::IpAddr>().is_err(),
            beats: SmallVec::new(),
            sizes: SmallVec::new(),
            received: 0.0,
            routine: 0,
            names: SmallVec::new(),
            count: 0,
            judged_at: 0,
            waiting: false,
            trail: Trail::default(),
        }
    }

    /// The destination as people know it.
    fn destination(&self) -> Box<str> {
        match &*self.name {
            "" => self.server.addr.to_string().into(),
            name => name.into(),
        }
    }

    /// Notes the call that came before there was a pair.
    pub(super) fn begin(&mut self, first: First) {
        self.trail.note(first.event, first.at);
        self.count += 1;
        self.beats.push(first.at.as_secs_f64());
        self.asks(first.name);
    }

    /// Notes a name asked for, by its digest.
    pub(super) fn asks(&mut self, name: u64) {
        if self.names.len() < NAMES_MAX && !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    /// Takes in a call; whether the pair begins to wait for being judged.
    pub(super) fn call(&mut self, event: &Event, client: Party, call: &Call<'_>) -> bool {
        self.client = client;
        self.server = call.server;
        self.beat(event, call.at.as_secs_f64());
        let due = self.judged_at + (self.judged_at / 16).max(1);
        let waits = !self.waiting && self.count >= due && self.beats.len() > 5;
        self.waiting |= waits;
        waits
    }

    /// Notes one call, unless it is part of the one before.
    pub(super) fn beat(&mut self, event: &Event, at: f64) {
        if self
            .beats
            .iter()
            .rev()
            .take(8)
            .any(|beat| (at - beat).abs() < BEAT_SECS)
        {
            return;
        }
        self.trail.push(event);
        self.count += 1;
        // Flows arrive in the order they end, so a start may lie before the last one.
        let after = self
            .beats
            .iter()
            .rev()
            .take_while(|beat| **beat > at)
            .count();
        self.beats.insert(self.beats.len() - after, at);
        if self.beats.len() > BEATS_MAX {
            self.beats.remove(0);
        }
    }

    pub(super) fn sized(&mut self, sent: u64, received: u64) {
        self.sizes.push(u32::try_from(sent).unwrap_or(u32::MAX));
        if self.sizes.len() > 64 {
            self.sizes.remove(0);
        }
        self.received += received as f64;
    }

    /// Measures the rhythm and raises a finding when it is worth one.
    pub(super) fn judge(&mut self, key: PairKey, users: usize, cx: &mut DetectCx<'_>) {
        self.judged_at = self.count;
        let times: Vec<f64> = self.beats.iter().copied().collect();
        let Some(rhythm) = rhythm::of(&times) else {
            return;
        };
        let score = self.score(&rhythm, key.2, users, cx);
        if score < 0.3 || !cx.matters(score) {
            return;
        }
        let span = self.trail.last().secs_since(self.trail.first());
        let trail = &self.trail;
        let template = match (key.2, self.relayed) {
            (Channel::Dns, _) => {
                "asked for names under {destination} {count} times in {span}, about every {period}; \
                 {share} of the pauses fit, and {users} of {devices} devices do so"
            }
            (_, true) => {
                "called {destination} through a proxy {count} times in {span}, about every \
                 {period}; {share} of the pauses fit, and {users} of {devices} devices call it"
            }
            _ => {
                "called {destination} on port {port} {count} times in {span}, about every \
                 {period}; {share} of the pauses fit, and {users} of {devices} devices call it"
            }
        };
        let statement = Statement::new(
            template,
            vec![
                trail.fact("destination", Value::Name(self.destination())),
                trail.fact("port", Value::Name(self.port.to_string().into())),
                trail.fact("count", Value::Count(self.count)),
                trail.fact("span", Value::Seconds(span)),
                trail.fact("period", Value::Seconds(rhythm.period)),
                trail.fact("jitter", Value::Share(rhythm.jitter)),
                trail.fact("share", Value::Share(rhythm.share)),
                trail.fact("users", Value::Count(users as u64)),
                trail.fact("devices", Value::Count(cx.devices() as u64)),
            ],
        );
        let counterfactual = Statement::new(
            "People call a destination at irregular times; of pauses without a rhythm fewer than \
             half would lie as close to {period} as {share} of these do.",
            vec![
                trail.fact("period", Value::Seconds(rhythm.period)),
                trail.fact("share", Value::Share(rhythm.share)),
            ],
        );
        let mut finding = trail.finding(self.client, key.1, score, statement, counterfactual);
        finding.peers = self.peers(key.2, cx);
        if key.2 == Channel::Dns {
            finding.techniques = vec![Technique::new("T1071.004")];
        }
        cx.raise(finding);
    }

    fn peers(&self, channel: Channel, cx: &DetectCx<'_>) -> Vec<Peer> {
        let by_name = Peer {
            role: PeerRole::Controller,
            entity: thymus_schema::EntityId::external(self.destination()),
        };
        let through = cx.entities().peer(PeerRole::Relay, self.server);
        match channel {
            _ if self.relayed => vec![by_name, through],
            Channel::Dns => vec![by_name, through],
            _ if self.server.is_local() => {
                vec![cx.entities().peer(PeerRole::Controller, self.server)]
            }
            _ => vec![by_name],
        }
    }

    fn score(&self, rhythm: &Rhythm, channel: Channel, users: usize, cx: &DetectCx<'_>) -> f64 {
        let sure = 1.0 - 10f64.powf(-rhythm.certainty / 4.0);
        let gate = sure * sure * rhythm.strength;
        let span_hours = self.trail.last().secs_since(self.trail.first()) / 3600.0;
        let lasting = (1.0 + self.count as f64 / 10.0).log10() + (1.0 + span_hours).log10();
        let score = 0.8 + lasting + Self::rarity(users, cx) + self.novelty(cx) + self.marks(rhythm);
        let mut score = gate * score;
        if self.server.is_local() && !self.relayed && channel != Channel::Dns {
            // Programs on the local network poll one another all day.
            score *= 0.5;
        }
        if channel == Channel::Dns {
            // The same few names again are an address looked up again because it expired.
            let fresh =
                self.names.len() as f64 / (self.count.min(NAMES_MAX as u64) as f64).max(1.0);
            score *= 0.3 + 0.7 * fresh.min(1.0);
        }
        score.max(0.0)
    }

    /// How few devices of the site call the destination.
    fn rarity(users: usize, cx: &DetectCx<'_>) -> f64 {
        let users = users.max(1) as f64;
        let devices = (cx.devices() as f64).max(users);
        let popular = if users >= 4.0 && users / devices > 0.3 {
            1.0
        } else {
            0.0
        };
        0.5 * (devices / users).log10() - 1.2 * users.log10() - popular
    }

    /// A call that began late in the device's known life is new; one that has gone on for days is a
    /// habit.
    fn novelty(&self, cx: &DetectCx<'_>) -> f64 {
        let known_hours = cx.age_secs(self.client.device) / 3600.0;
        let age_hours = cx.now().secs_since(self.trail.first()) / 3600.0;
        let before = (known_hours - age_hours).max(0.0);
        let habit = if age_hours > 48.0 {
            0.5 * (age_hours / 24.0).log2()
        } else {
            0.0
        };
        0.3 * (1.0 + before).log10() - habit
    }

    fn marks(&self, rhythm: &Rhythm) -> f64 {
        let mut marks = 0.0;
        if rhythm.drawn {
            marks += 0.4;
        }
        if !self.named && !self.server.is_local() {
            marks += 0.4;
        }
        if one_size(&self.sizes) {
            marks += 0.2;
        }
        marks -= match rhythm.period {
            ..5.0 => 0.7,
            ..30.0 => 0.3,
            _ => 0.0,
        };
        // Media segments and camera pictures are fetched in a rhythm as well.
        if self.received / self.count.max(1) as f64 > 50_000.0 {
            marks -= 1.5;
        }
        if self.routine * 2 > self.count || is_messaging(self.port) {
            marks -= 2.0;
        }
        marks
    }

    pub(super) fn write(&self, out: &mut SnapshotWriter) {
        write_party(out, self.client);
        write_party(out, self.server);
        out.str(&self.destination())
            .u64(u64::from(self.port))
            .u64(u64::from(self.relayed));
        out.f64(self.received).u64(self.routine).u64(self.count);
        out.u64(self.beats.len() as u64);
        for beat in &self.beats {
            out.f64(*beat);
        }
        out.u64(self.sizes.len() as u64);
        for size in &self.sizes {
            out.u64(u64::from(*size));
        }
        out.u64(self.names.len() as u64);
        for name in &self.names {
            out.u64(*name);
        }
        self.trail.write(out);
    }

    pub(super) fn read(from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
        let client = read_party(from)?;
        let server = read_party(from)?;
        let name = from.str()?;
        let call = Call {
            server,
            name,
            port: from.u64()? as u16,
            at: Timestamp::default(),
            channel: Channel::Flow,
            relayed: from.u64()? != 0,
        };
        let mut pair = Self::new(client, &call);
        pair.received = from.f64()?;
        pair.routine = from.u64()?;
        pair.count = from.u64()?;
        for _ in 0..from.count(8)? {
            pair.beats.push(from.f64()?);
        }
        for _ in 0..from.count(8)? {
            pair.sizes.push(from.u64()? as u32);
        }
        for _ in 0..from.count(8)? {
            pair.names.push(from.u64()?);
        }
        pair.trail = Trail::read(from)?;
        pair.judged_at = pair.count;
        Ok(pair)
    }
}

fn is_messaging(port: u16) -> bool {
    matches!(
        port,
        110 | 143 | 993 | 995 | 1883 | 5222 | 5223 | 5228 | 8883
    )
}

/// Whether requests are of one size: half the spread between the quartiles is under a tenth of the
/// median.
fn one_size(sizes: &[u32]) -> bool {
    if sizes.len() < 8 {
        return false;
    }
    let mut sorted = sizes.to_vec();
    sorted.sort_unstable();
    let at = |share: usize| f64::from(sorted.get(sorted.len() * share / 4).copied().unwrap_or(0));
    at(2) > 0.0 && (at(3) - at(1)) / 2.0 < 0.1 * at(2)
}
