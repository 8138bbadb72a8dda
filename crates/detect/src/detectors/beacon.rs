//! # Beaconing
//!
//! ## What it flags
//! A device that calls the same destination again and again in a rhythm: directly, through a web
//! proxy, over QUIC, or by DNS questions below one registered domain.
//!
//! ## Why it matters
//! Malware that waits for orders has to ask for them. Most of it sleeps for a set time, with or
//! without a drawn jitter, and asks again, for hours and days.
//!
//! ## How it scores
//! Times between calls are compared with their median: how many fall into a band around it (three
//! widths, up to sleeps drawn from half to the whole of the period), with lost beats folded in and
//! nights set aside, against arrivals without memory. A periodogram finds timers under other
//! traffic to the same destination. That something *is* periodic is common in ordinary life, so it
//! is only the gate. The score then grows with the logarithm of the number of beats and of the time
//! they lasted, with how few devices of the site use the destination, with a jitter that looks
//! drawn, with requests of one size and with a destination that has no name. It falls for
//! destinations many devices use, for the shapes of benign polling (mail, connectivity checks,
//! media segments, very short periods), for local servers, and as the call grows old enough to be
//! part of the device's own pattern of life.
//!
//! ## Evidence
//! The destination, the number of calls, the period, the share of gaps that fit, the time span and
//! how many devices of the site call the destination; the first calls' events.
//!
//! ## What would have been normal
//! Calls at irregular times as people make them, or a rhythm shared with other devices.
//!
//! ## Known false alarms
//! Update checks, telemetry, chat and mail clients, smart-home devices, web pages left open and
//! licence checks poll as well. A poll that only one device makes, to a rare name, for hours, looks
//! the same on the wire; it is expected once per installed program, not daily. Time and name
//! service, revocation checks and group addresses are left out.
//!
//! ## ATT&CK
//! T1071.001 and T1071.004 (application layer protocols), T1573 (encrypted channel).
//!
//! ## Sources
//! Hu et al., *BAYWATCH: Robust Beaconing Detection to Identify Infected Hosts in Large-Scale
//! Enterprise Networks*, DSN 2016 (permutation threshold, rarity and novelty filters); the four
//! sub-scores of RITA (activecm/rita) as the baseline; Mardia and Jupp, *Directional Statistics*
//! (Rayleigh test).

use std::collections::VecDeque;

use thymus_schema::{
    Event, EventBody, FlowId, FlowRecord, HttpTransaction, Peer, PeerRole, Phase, Service,
    SnapshotError, SnapshotReader, SnapshotWriter, Statement, Technique, Timestamp, Transport,
    Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::domains;
use crate::entities::{DeviceIdx, Party};
use crate::rhythm::{self, Rhythm};
use crate::table::Table;
use crate::trail::{Trail, key_of, read_party, write_party};

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "beacon",
    title: "Beaconing",
    phase: Phase::Control,
    techniques: &[
        Technique::new("T1071.001"),
        Technique::new("T1071.004"),
        Technique::new("T1573"),
    ],
    source: include_str!("beacon.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(Beacon::default()),
};

const PAIRS_MAX: usize = 32_768;
const DESTINATIONS_MAX: usize = 65_536;
const FLOWS_MAX: usize = 16_384;
/// Calls remembered for each pair.
const BEATS_MAX: usize = 256;
/// Calls closer than this are one.
const BEAT_SECS: f64 = 1.0;
/// Users of a destination that are told apart; beyond, it is popular anyway.
const USERS_MAX: usize = 32;

/// How the calls travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Channel {
    Flow,
    Web,
    Dns,
}

type PairKey = (DeviceIdx, u64, Channel);

struct Pair {
    client: Party,
    server: Party,
    /// Destination as people know it: host name, registered domain, else the address.
    name: Box<str>,
    port: u16,
    relayed: bool,
    named: bool,
    beats: VecDeque<f64>,
    sizes: VecDeque<u32>,
    received: f64,
    /// Requests that are polls by their very shape.
    routine: u64,
    /// Digests of the names asked for, over DNS.
    names: Vec<u64>,
    count: u64,
    judged_at: u64,
    waiting: bool,
    trail: Trail,
}

/// One call, as read from an event.
#[derive(Clone, Copy)]
struct Call<'a> {
    server: Party,
    name: &'a str,
    port: u16,
    at: Timestamp,
    channel: Channel,
    relayed: bool,
}

/// The detector's state.
pub(crate) struct Beacon {
    pairs: Table<PairKey, Pair>,
    users: Table<u64, Vec<DeviceIdx>>,
    flows: Table<FlowId, PairKey>,
    waiting: Vec<PairKey>,
}

impl Default for Beacon {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            users: Table::new(DESTINATIONS_MAX),
            flows: Table::new(FLOWS_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for Beacon {
    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let (Some(conn), Some(client), Some(server)) = (&event.conn, cx.client(), cx.server())
        else {
            return;
        };
        let Some(device) = client.device else { return };
        let mut call = Call {
            server,
            name: "",
            port: conn.server.port,
            at: event.ts,
            channel: Channel::Web,
            relayed: false,
        };
        match &event.body {
            EventBody::Flow(flow) => self.on_flow(event, flow, device, &call, cx),
            EventBody::Tls(tls) if !tls.sni.is_empty() => {
                call.name = &tls.sni;
                let key = self.beat(event, device, client, &call);
                if conn.flow != FlowId::default() {
                    self.flows.entry(conn.flow, || key);
                }
            }
            EventBody::Http(http) => self.on_http(event, http, device, &call, cx),
            EventBody::Dns(dns) if dns.flavor == thymus_schema::DnsFlavor::Dns => {
                if let Some(domain) = domains::registered(&dns.query) {
                    call.name = domain;
                    call.channel = Channel::Dns;
                    let key = self.beat(event, device, client, &call);
                    if let Some(pair) = self.pairs.get_mut(&key) {
                        let digest = key_of(&dns.query);
                        if pair.names.len() < 64 && !pair.names.contains(&digest) {
                            pair.names.push(digest);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn dropped(&self) -> u64 {
        self.pairs.dropped() + self.users.dropped() + self.flows.dropped()
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        for key in std::mem::take(&mut self.waiting) {
            let users = self.users.get(&key.1).map_or(1, Vec::len);
            if let Some(pair) = self.pairs.get_mut(&key) {
                pair.waiting = false;
                pair.judge(key, users, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        let pairs: Vec<_> = self
            .pairs
            .sorted()
            .into_iter()
            .filter(|(_, pair)| pair.count >= 4)
            .collect();
        out.u64(pairs.len() as u64);
        for ((device, destination, channel), pair) in pairs {
            out.u64(u64::from(device.0))
                .u64(destination)
                .u64(channel as u64);
            pair.write(out);
        }
        let users = self.users.sorted();
        out.u64(users.len() as u64);
        for (destination, devices) in users {
            out.u64(destination).u64(devices.len() as u64);
            for device in devices {
                out.u64(u64::from(device.0));
            }
        }
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let mut fresh = Self::default();
        for _ in 0..from.count(100)? {
            let device = DeviceIdx(from.u64()? as u32);
            let destination = from.u64()?;
            let channel = match from.u64()? {
                0 => Channel::Flow,
                1 => Channel::Web,
                _ => Channel::Dns,
            };
            let pair = Pair::read(from)?;
            fresh.pairs.entry((device, destination, channel), || pair);
        }
        for _ in 0..from.count(16)? {
            let destination = from.u64()?;
            let mut devices = Vec::new();
            for _ in 0..from.count(8)? {
                devices.push(DeviceIdx(from.u64()? as u32));
            }
            fresh.users.entry(destination, || devices);
        }
        *self = fresh;
        Ok(())
    }
}

impl Beacon {
    fn on_flow(
        &mut self,
        event: &Event,
        flow: &FlowRecord,
        device: DeviceIdx,
        call: &Call<'_>,
        cx: &DetectCx<'_>,
    ) {
        let Some(conn) = &event.conn else { return };
        if flow.part != 0 || is_plumbing(conn.transport, conn.server.port, flow.service) {
            return;
        }
        let addr = conn.server.addr;
        if !call.server.is_local() && !is_host(addr) {
            return;
        }
        if let Some(key) = self.flows.remove(&conn.flow) {
            if let Some(pair) = self.pairs.get_mut(&key) {
                pair.sized(flow.client_bytes, flow.server_bytes);
            }
            return;
        }
        if matches!(flow.service, Some(Service::Http | Service::Dns)) {
            return;
        }
        let text = addr.to_string();
        let name = cx.entities().name_of(addr).unwrap_or(&text);
        let call = Call {
            name,
            channel: Channel::Flow,
            at: flow.start,
            ..*call
        };
        let Some(client) = cx.client() else { return };
        let key = self.beat(event, device, client, &call);
        if let Some(pair) = self.pairs.get_mut(&key) {
            pair.sized(flow.client_bytes, flow.server_bytes);
        }
    }

    fn on_http(
        &mut self,
        event: &Event,
        http: &HttpTransaction,
        device: DeviceIdx,
        call: &Call<'_>,
        cx: &DetectCx<'_>,
    ) {
        let Some(client) = cx.client() else { return };
        if http.content_type.starts_with("application/ocsp-response") {
            return;
        }
        let text = call.server.addr.to_string();
        let host = host_of(&http.host);
        let name = if host.is_empty() { &text } else { host };
        let relayed = http.proxied || &*http.method == "CONNECT";
        let call = Call {
            name,
            relayed,
            ..*call
        };
        let key = self.beat(event, device, client, &call);
        if let Some(pair) = self.pairs.get_mut(&key) {
            pair.routine += u64::from(is_connectivity_check(http));
            pair.sized(http.request_len + http.uri.len() as u64, http.response_len);
        }
    }

    /// Notes one call and returns the pair it belongs to.
    fn beat(
        &mut self,
        event: &Event,
        device: DeviceIdx,
        client: Party,
        call: &Call<'_>,
    ) -> PairKey {
        let destination = key_of((call.name, call.port));
        let key = (device, destination, call.channel);
        let users = self.users.entry(destination, Vec::new);
        if users.len() < USERS_MAX && !users.contains(&device) {
            users.push(device);
        }
        let pair = self.pairs.entry(key, || Pair::new(client, call));
        pair.client = client;
        pair.server = call.server;
        pair.beat(event, call.at.as_secs_f64());
        let due = pair.judged_at + (pair.judged_at / 16).max(1);
        if !pair.waiting && pair.count >= due && pair.beats.len() > 5 {
            pair.waiting = true;
            self.waiting.push(key);
        }
        key
    }
}

impl Pair {
    fn new(client: Party, call: &Call<'_>) -> Self {
        Self {
            client,
            server: call.server,
            name: call.name.into(),
            port: call.port,
            relayed: call.relayed,
            named: call.name.parse::<std::net::IpAddr>().is_err(),
            beats: VecDeque::new(),
            sizes: VecDeque::new(),
            received: 0.0,
            routine: 0,
            names: Vec::new(),
            count: 0,
            judged_at: 0,
            waiting: false,
            trail: Trail::default(),
        }
    }

    fn beat(&mut self, event: &Event, at: f64) {
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
            self.beats.pop_front();
        }
    }

    fn sized(&mut self, sent: u64, received: u64) {
        self.sizes
            .push_back(u32::try_from(sent).unwrap_or(u32::MAX));
        if self.sizes.len() > 64 {
            self.sizes.pop_front();
        }
        self.received += received as f64;
    }

    fn judge(&mut self, key: PairKey, users: usize, cx: &mut DetectCx<'_>) {
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
                trail.fact("destination", Value::Name(self.name.clone())),
                trail.fact("port", Value::Number(f64::from(self.port))),
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
            entity: thymus_schema::EntityId::external(&self.name),
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
            let fresh = self.names.len() as f64 / (self.count.min(64) as f64).max(1.0);
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
        if self.routine * 2 > self.count || is_mailbox(self.port) {
            marks -= 2.0;
        }
        marks
    }

    fn write(&self, out: &mut SnapshotWriter) {
        write_party(out, self.client);
        write_party(out, self.server);
        out.str(&self.name)
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

    fn read(from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
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
            pair.beats.push_back(from.f64()?);
        }
        for _ in 0..from.count(8)? {
            pair.sizes.push_back(from.u64()? as u32);
        }
        for _ in 0..from.count(8)? {
            pair.names.push(from.u64()?);
        }
        pair.trail = Trail::read(from)?;
        pair.judged_at = pair.count;
        Ok(pair)
    }
}

/// Traffic that is periodic by its specification, or addressed to nobody in particular.
fn is_plumbing(transport: Transport, port: u16, service: Option<Service>) -> bool {
    let by_content = matches!(
        service,
        Some(
            Service::Ntp
                | Service::Dns
                | Service::Dhcp
                | Service::Mdns
                | Service::Llmnr
                | Service::Nbns
                | Service::Ssdp
                | Service::Stun
                | Service::Syslog
        )
    );
    by_content
        || !matches!(transport, Transport::Tcp | Transport::Udp)
        || (transport == Transport::Udp
            && matches!(port, 53 | 67 | 68 | 123 | 137 | 138 | 514 | 547))
}

fn is_host(addr: std::net::IpAddr) -> bool {
    match addr {
        std::net::IpAddr::V4(v4) => {
            !v4.is_broadcast() && !v4.is_multicast() && !v4.is_unspecified()
        }
        std::net::IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
    }
}

/// The host without its port.
fn host_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((head, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !head.contains(':') =>
        {
            head
        }
        _ => host,
    }
}

/// The captive-portal probes of the common systems, by their shape: a tiny answer that carries
/// nothing.
fn is_connectivity_check(http: &HttpTransaction) -> bool {
    let paths = [
        "/generate_204",
        "/gen_204",
        "/ncsi.txt",
        "/connecttest.txt",
        "/hotspot-detect.html",
        "/success.txt",
        "/canonical.html",
        "/check_network_status.txt",
        "/nm",
    ];
    http.response_len < 512 && paths.iter().any(|path| http.uri.starts_with(path))
}

fn is_mailbox(port: u16) -> bool {
    matches!(port, 110 | 143 | 993 | 995 | 5222 | 5223 | 5228)
}

/// Whether requests are of one size: half the spread between the quartiles is under a tenth of the
/// median.
fn one_size(sizes: &VecDeque<u32>) -> bool {
    if sizes.len() < 8 {
        return false;
    }
    let mut sorted: Vec<u32> = sizes.iter().copied().collect();
    sorted.sort_unstable();
    let at = |share: usize| f64::from(sorted.get(sorted.len() * share / 4).copied().unwrap_or(0));
    at(2) > 0.0 && (at(3) - at(1)) / 2.0 < 0.1 * at(2)
}
