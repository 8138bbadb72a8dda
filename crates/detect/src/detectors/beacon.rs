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
//! destinations many devices use, for the shapes of benign polling (mail and messages, connectivity checks,
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

mod pair;

use smallvec::SmallVec;
use thymus_schema::{
    Event, EventBody, FlowId, FlowRecord, HttpTransaction, Phase, Service, SnapshotError,
    SnapshotReader, SnapshotWriter, Technique, Transport,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::doorkeeper::Doorkeeper;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::{DeviceIdx, Party};
use crate::table::Table;

use self::pair::{Call, Channel, First, Pair, PairKey};

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
    snapshot_version: 2,
    build: |_: &Settings| Box::new(Beacon::default()),
};

const PAIRS_MAX: usize = 32_768;
const DESTINATIONS_MAX: usize = 65_536;
const FLOWS_MAX: usize = 16_384;
/// Users of a destination that are told apart; beyond, it is popular anyway.
const USERS_MAX: usize = 32;

/// The detector's state.
pub(crate) struct Beacon {
    pairs: Table<PairKey, Pair>,
    /// Names asked for once. Web and other calls have a pair from the first on.
    asked: Doorkeeper<First>,
    users: Table<u64, SmallVec<[DeviceIdx; 4]>>,
    /// The users of destinations that have one.
    lone_users: Doorkeeper<DeviceIdx>,
    flows: Table<FlowId, PairKey>,
    waiting: Vec<PairKey>,
}

impl Default for Beacon {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            asked: Doorkeeper::default(),
            users: Table::new(DESTINATIONS_MAX),
            lone_users: Doorkeeper::default(),
            flows: Table::new(FLOWS_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for Beacon {
    fn interest(&self) -> Interest {
        Interest::FLOW
            .and(Interest::TLS)
            .and(Interest::HTTP)
            .and(Interest::DNS)
    }

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
                if let Some(asked) = cx.asked_domain(dns) {
                    call.name = asked.domain;
                    call.channel = Channel::Dns;
                    self.on_question(event, asked.name, device, client, &call);
                }
            }
            _ => {}
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.users, &mut self.flows]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        for key in std::mem::take(&mut self.waiting) {
            let users = self.users.get(&key.1).map_or(1, SmallVec::len);
            if let Some(pair) = self.pairs.get_mut(&key) {
                pair.waiting = false;
                pair.judge(key, users, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.pairs.write(
            out,
            |_, pair| pair.count >= 4,
            |out, (device, destination, channel), pair| {
                out.u64(u64::from(device.0))
                    .u64(destination)
                    .u64(channel as u64);
                pair.write(out);
            },
        );
        self.users.write(
            out,
            |_, _| true,
            |out, destination, devices| {
                out.u64(destination).u64(devices.len() as u64);
                for device in devices {
                    out.u64(u64::from(device.0));
                }
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let pairs = Table::read(PAIRS_MAX, from, 100, |from| {
            let device = DeviceIdx(from.u64()? as u32);
            let destination = from.u64()?;
            let channel = match from.u64()? {
                0 => Channel::Flow,
                1 => Channel::Web,
                _ => Channel::Dns,
            };
            let pair = Pair::read(from)?;
            Ok(((device, destination, channel), pair))
        })?;
        let users = Table::read(DESTINATIONS_MAX, from, 16, |from| {
            let destination = from.u64()?;
            let mut devices = SmallVec::new();
            for _ in 0..from.count(8)? {
                devices.push(DeviceIdx(from.u64()? as u32));
            }
            Ok((destination, devices))
        })?;
        *self = Self {
            pairs,
            users,
            ..Self::default()
        };
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
        let call = Call {
            name: cx.entities().name_of(addr).unwrap_or_default(),
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
        let relayed = http.proxied || &*http.method == "CONNECT";
        let call = Call {
            name: host_of(&http.host),
            relayed,
            ..*call
        };
        let key = self.beat(event, device, client, &call);
        if let Some(pair) = self.pairs.get_mut(&key) {
            pair.routine += u64::from(is_connectivity_check(http));
            pair.sized(http.request_len + http.uri.len() as u64, http.response_len);
        }
    }

    /// A question below a registered domain. Most domains are asked about once, so a pair is made for
    /// the second one.
    fn on_question(
        &mut self,
        event: &Event,
        name: u64,
        device: DeviceIdx,
        client: Party,
        call: &Call<'_>,
    ) {
        let key = (device, call.destination(), call.channel);
        self.note_user(key.1, device);
        let asked = &mut self.asked;
        let Some(pair) = self.pairs.entry_if(key, || {
            let now = First {
                event: event.id,
                at: event.ts,
                name,
            };
            let first = asked.admit(key, now)?;
            let mut pair = Pair::new(client, call);
            pair.begin(first);
            Some(pair)
        }) else {
            return;
        };
        pair.asks(name);
        if pair.call(event, client, call) {
            self.waiting.push(key);
        }
    }

    /// Counts a device among the users of a destination.
    fn note_user(&mut self, destination: u64, device: DeviceIdx) {
        if let Some(users) = self.users.touch(&destination) {
            if users.len() < USERS_MAX && !users.contains(&device) {
                users.push(device);
            }
            return;
        }
        if let Some(other) = self.lone_users.swap(destination, device)
            && other != device
        {
            self.users
                .entry(destination, || SmallVec::from_slice(&[other, device]));
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
        let key = (device, call.destination(), call.channel);
        self.note_user(key.1, device);
        let pair = self.pairs.entry(key, || Pair::new(client, call));
        if pair.call(event, client, call) {
            self.waiting.push(key);
        }
        key
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
