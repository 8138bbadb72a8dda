//! # Joint anomaly
//!
//! ## What it flags
//! A minute of packets, or five minutes of flows, in which a device's numbers do not go together the
//! way they always have: many small packets to few peers, much sent and little answered, resets
//! without connections.
//!
//! ## Why it matters
//! New attacks have no detector of their own yet. What they do have is traffic whose shape the
//! device never had, even when each number alone is ordinary.
//!
//! ## How it scores
//! Each device has two small autoencoders that learn on site from the first window on: one over 16
//! packet statistics a minute (packet sources only), one over 10 flow statistics per five minutes.
//! The log of the reconstruction error is standardised by its own damped history. Windows of one day
//! resemble each other and not those of the next, so what is known of a device grows with its days:
//! the score is the tail of Student's t with as many degrees of freedom as days were seen, stretched
//! for the heavy tails of traffic, less the windows an hour has. A network says nothing before it has
//! seen four hours of windows, and learns at a tenth of the rate from a window that stands out.
//!
//! ## Evidence
//! The window, how far its error stood out, and the statistic that was reconstructed worst.
//!
//! ## What would have been normal
//! An error within three standard deviations of the device's own history.
//!
//! ## Known false alarms
//! First backups, operating system upgrades, a device put to new use. The evidence is weak by
//! nature, so it ranks below every detector that can name what it saw.
//!
//! ## ATT&CK
//! None: it names no technique.
//!
//! ## Sources
//! Mirsky et al., *Kitsune: an ensemble of autoencoders for online network intrusion detection*,
//! 2018; Arp et al., *Dos and don'ts of machine learning in computer security*, 2022, for why it
//! stands beside simple baselines.

use rustc_hash::FxHashSet;
use thymus_nets::Autoencoder;
use thymus_schema::{
    Event, EventBody, EventId, Fact, FlowRecord, Phase, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Timestamp, TrafficWindow, Value,
};

use crate::cx::{DetectCx, Finding};
use crate::detector::{Detector, DetectorSpec};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::tails;

pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "joint_anomaly",
    title: "Joint anomaly",
    phase: Phase::Unusual,
    techniques: &[],
    source: include_str!("joint_anomaly.rs"),
    snapshot_version: 2,
    build: |_| {
        Box::new(JointAnomaly {
            devices: Table::new(DEVICES_MAX),
        })
    },
};

const DEVICES_MAX: usize = 4_096;
const PEERS_MAX: usize = 512;
/// Windows before a network may speak: four hours of minutes, or of five minutes.
const PACKET_WINDOWS_MIN: u64 = 240;
const FLOW_WINDOWS_MIN: u64 = 48;
/// Traffic has heavier tails than the normal distribution; deviations count for this share.
const STRETCH: f64 = 0.9;
const Z_MIN: f64 = 3.0;

const PACKET_NAMES: [&str; 16] = [
    "packets sent",
    "packets received",
    "bytes sent",
    "bytes received",
    "mean packet size",
    "spread of packet sizes",
    "mean gap between packets",
    "spread of gaps",
    "peers",
    "destination ports",
    "connection attempts sent",
    "connection attempts received",
    "resets",
    "UDP packets",
    "ICMP packets",
    "broadcast packets",
];
const FLOW_NAMES: [&str; 10] = [
    "connections opened",
    "connections accepted",
    "bytes sent",
    "bytes received",
    "failed connections",
    "peers",
    "mean duration",
    "UDP connections",
    "connections to the outside",
    "bytes per connection",
];

/// Sums of one device's present window.
#[derive(Debug, Default)]
struct Window {
    slot: i64,
    numbers: Vec<f64>,
    parts: f64,
    peers: FxHashSet<u64>,
    first: Option<(EventId, Timestamp)>,
}

impl Window {
    fn open(&mut self, slot: i64, inputs: usize, event: &Event) {
        *self = Self {
            slot,
            numbers: vec![0.0; inputs],
            ..Self::default()
        };
        self.first = Some((event.id, event.ts));
    }

    fn add(&mut self, index: usize, value: f64) {
        if let Some(number) = self.numbers.get_mut(index) {
            *number += value;
        }
    }
}

/// What one kind of window of a device was like.
#[derive(Debug)]
struct Habit {
    network: Autoencoder,
    /// Days with windows, and the last of them.
    days: u64,
    day: i64,
    window: Window,
}

impl Habit {
    fn new(network: Autoencoder) -> Self {
        Self {
            network,
            days: 0,
            day: i64::MIN,
            window: Window::default(),
        }
    }
}

#[derive(Debug)]
struct Device {
    packets: Habit,
    flows: Habit,
}

impl Device {
    fn new() -> Self {
        Self {
            packets: Habit::new(Autoencoder::new(PACKET_NAMES.len())),
            flows: Habit::new(Autoencoder::new(FLOW_NAMES.len())),
        }
    }
}

struct JointAnomaly {
    devices: Table<u64, Device>,
}

/// What the two kinds of window differ in.
struct Kind {
    names: &'static [&'static str],
    windows_min: u64,
    windows_per_hour: f64,
    key: u64,
}

const PACKETS: Kind = Kind {
    names: &PACKET_NAMES,
    windows_min: PACKET_WINDOWS_MIN,
    windows_per_hour: 60.0,
    key: 1,
};
const FLOWS: Kind = Kind {
    names: &FLOW_NAMES,
    windows_min: FLOW_WINDOWS_MIN,
    windows_per_hour: 12.0,
    key: 2,
};

impl Detector for JointAnomaly {
    fn interest(&self) -> Interest {
        Interest::TRAFFIC
            .and(Interest::FLOW)
            .and(Interest::DNS_FLOW)
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.devices]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        match &event.body {
            EventBody::Traffic(traffic) => self.take_traffic(traffic, event, cx),
            EventBody::Flow(flow) => {
                let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
                    return;
                };
                self.take_flow(client, server, true, flow, event, cx);
                self.take_flow(server, client, false, flow, event, cx);
            }
            _ => {}
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.devices.write(
            out,
            |_, _| true,
            |out, key, device| {
                out.u64(key);
                for habit in [&device.packets, &device.flows] {
                    out.u64(habit.days).i64(habit.day);
                    let numbers = habit.network.to_numbers();
                    out.u64(numbers.len() as u64);
                    for number in numbers {
                        out.f64(number);
                    }
                }
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.devices = Table::read(DEVICES_MAX, from, 56, |from| {
            let key = from.u64()?;
            let mut read = |inputs| -> Result<Habit, SnapshotError> {
                let (days, day) = (from.u64()?, from.i64()?);
                let count = from.count(8)?;
                let numbers: Result<Vec<f64>, _> = (0..count).map(|_| from.f64()).collect();
                let network = Autoencoder::from_numbers(inputs, &numbers?);
                Ok(Habit {
                    days,
                    day,
                    ..Habit::new(network.unwrap_or_else(|| Autoencoder::new(inputs)))
                })
            };
            let (packets, flows) = (read(PACKET_NAMES.len())?, read(FLOW_NAMES.len())?);
            Ok((key, Device { packets, flows }))
        })?;
        Ok(())
    }
}

impl JointAnomaly {
    fn take_traffic(&mut self, traffic: &TrafficWindow, event: &Event, cx: &mut DetectCx<'_>) {
        let Some(addr) = traffic.addr else { return };
        let party = cx.party(addr, traffic.scope);
        if !party.is_local() {
            return;
        }
        let device = self.devices.entry(party.key(), Device::new);
        let slot = event.ts.as_secs().div_euclid(60);
        let habit = &mut device.packets;
        if habit.window.slot != slot {
            judge(habit, party, &PACKETS, cx);
            habit.window.open(slot, PACKET_NAMES.len(), event);
        }
        let window = &mut habit.window;
        window.parts += 1.0;
        let numbers = [
            traffic.packets_out as f64,
            traffic.packets_in as f64,
            traffic.bytes_out as f64,
            traffic.bytes_in as f64,
            traffic.size_mean,
            traffic.size_std,
            traffic.gap_mean,
            traffic.gap_std,
            traffic.peers as f64,
            traffic.ports_out as f64,
            traffic.syn_out as f64,
            traffic.syn_in as f64,
            traffic.rst as f64,
            traffic.udp as f64,
            traffic.icmp as f64,
            traffic.group_out as f64,
        ];
        for (index, number) in numbers.into_iter().enumerate() {
            window.add(index, number);
        }
    }

    fn take_flow(
        &mut self,
        party: Party,
        peer: Party,
        is_client: bool,
        flow: &FlowRecord,
        event: &Event,
        cx: &mut DetectCx<'_>,
    ) {
        if !party.is_local() {
            return;
        }
        let device = self.devices.entry(party.key(), Device::new);
        let slot = event.ts.as_secs().div_euclid(300);
        let habit = &mut device.flows;
        if habit.window.slot != slot {
            judge(habit, party, &FLOWS, cx);
            habit.window.open(slot, FLOW_NAMES.len(), event);
        }
        let window = &mut habit.window;
        let (sent, received) = if is_client {
            (flow.client_bytes, flow.server_bytes)
        } else {
            (flow.server_bytes, flow.client_bytes)
        };
        window.add(2, sent as f64);
        window.add(3, received as f64);
        if flow.part != 0 {
            return;
        }
        window.parts += 1.0;
        let is_udp = event
            .conn
            .is_some_and(|conn| conn.transport == thymus_schema::Transport::Udp);
        window.add(usize::from(!is_client), 1.0);
        window.add(4, f64::from(u8::from(flow.state.is_failed())));
        window.add(6, flow.duration.as_secs_f64());
        window.add(7, f64::from(u8::from(is_udp)));
        window.add(8, f64::from(u8::from(!peer.is_local())));
        window.add(9, (sent + received) as f64);
        if window.peers.len() < PEERS_MAX {
            window.peers.insert(peer.key());
        }
    }
}

/// Judges a finished window and lets the network learn from it.
fn judge(habit: &mut Habit, party: Party, kind: &Kind, cx: &mut DetectCx<'_>) {
    let window = std::mem::take(&mut habit.window);
    let Some((first_event, first_seen)) = window.first else {
        return;
    };
    if habit.day != first_seen.day() {
        habit.day = first_seen.day();
        habit.days += 1;
    }
    let (network, days) = (&mut habit.network, habit.days);
    let mut numbers = window.numbers;
    let parts = window.parts.max(1.0);
    // Means were summed over the parts of the window; counts stay sums.
    let means: &[usize] = if kind.key == PACKETS.key {
        &[4, 5, 6, 7]
    } else {
        &[6, 9]
    };
    for index in means {
        if let Some(number) = numbers.get_mut(*index) {
            *number /= parts;
        }
    }
    if kind.key == FLOWS.key
        && let Some(peers) = numbers.get_mut(5)
    {
        *peers = window.peers.len() as f64;
    }
    for number in &mut numbers {
        *number = number.max(0.0).ln_1p();
    }
    let is_ready = network.windows() >= kind.windows_min;
    let verdict = network.judge_and_learn(&numbers);
    if !is_ready || verdict.z < Z_MIN {
        return;
    }
    let score = tails::student(verdict.z * STRETCH, days as f64) - kind.windows_per_hour.log10();
    if !cx.matters(score) {
        return;
    }
    let name = kind.names.get(verdict.worst).copied().unwrap_or_default();
    let direction = if verdict.worst_value > 0.0 {
        "high"
    } else {
        "low"
    };
    let seen = [first_event];
    let statement = Statement::new(
        "had traffic whose numbers do not go together as they always have: {deviation} standard deviations, most of all {statistic}, which was {direction}",
        vec![
            Fact::new("deviation", Value::Number(verdict.z), &seen),
            Fact::new("statistic", Value::Name(name.into()), &seen),
            Fact::new("direction", Value::Name(direction.into()), &seen),
        ],
    );
    let counterfactual = Statement::new(
        "Up to {normal} standard deviations would have been ordinary for this device, judged by {windows} earlier windows of {days} days.",
        vec![
            Fact::new("normal", Value::Number(Z_MIN), &[]),
            Fact::new("windows", Value::Count(network.windows()), &[]),
            Fact::new("days", Value::Count(days), &[]),
        ],
    );
    cx.raise(Finding {
        entity: party,
        key: kind.key,
        score,
        peers: Vec::new(),
        first_event,
        first_seen,
        last_seen: cx.now(),
        phase: None,
        techniques: Vec::new(),
        statement,
        counterfactual,
    });
}
