//! How fast the parts and the whole are: `cargo bench -p thymus-app`. No figure is asserted; compare
//! with the same machine's figures before a change.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot read its input has nothing to say"
)]

use std::hint::black_box;
use std::path::PathBuf;

use divan::Bencher;
use divan::counter::ItemsCount;
use thymus_app::pipeline::{self, RunPlan};
use thymus_detect::{Engine, EngineConfig};
use thymus_ingest::{ANALYZERS, FlowEngine, FlowLimits, Replay, ReplayOptions};
use thymus_parsers::{ParseBudget, dns, packet};
use thymus_schema::{Event, LocalNetworks};

fn main() {
    divan::main();
}

fn story() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../lab/captures/story.pcap.gz")
}

/// The events of the shipped capture, and whose networks are local.
fn events() -> (Vec<Event>, LocalNetworks) {
    let mut replay = Replay::open(&[story()], ReplayOptions::default()).unwrap();
    let mut events = Vec::new();
    while replay.next_batch(&mut events).unwrap() {}
    (events, replay.local().clone())
}

/// A look-up as a frame: Ethernet, IPv4, UDP, DNS response with one address.
fn frame(device: u8, port: u16) -> Vec<u8> {
    let mut dns = vec![0, port as u8, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    dns.extend(b"\x03www\x07example\x03org\0\0\x01\0\x01");
    dns.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x5d\xb8\xd8\x22");
    let udp_len = 8 + dns.len() as u16;
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    frame.extend((20 + udp_len).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 253, 10, 0, 0, device]);
    frame.extend([0, 53]);
    frame.extend(port.to_be_bytes());
    frame.extend(udp_len.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(dns);
    frame
}

#[divan::bench]
fn packet_decode(bencher: Bencher<'_, '_>) {
    let frame = frame(7, 40_000);
    bencher
        .counter(ItemsCount::new(1_u32))
        .bench(|| packet::fuzz(black_box(&[&[1], frame.as_slice()].concat())));
}

#[divan::bench]
fn dns_parse(bencher: Bencher<'_, '_>) {
    let frame = frame(7, 40_000);
    let message = frame.get(42..).unwrap_or_default();
    let budget = ParseBudget::default();
    bencher
        .counter(ItemsCount::new(1_u32))
        .bench(|| dns::parse(black_box(message), dns::Depth::Answers, &budget));
}

/// Ten thousand conversations of one packet each: a flow is made, read and ended for every packet.
#[divan::bench]
fn flow_table(bencher: Bencher<'_, '_>) {
    let frames: Vec<Vec<u8>> = (0..10_000_u16)
        .map(|n| frame((n % 200) as u8 + 1, 20_000 + n))
        .collect();
    bencher
        .counter(ItemsCount::new(frames.len()))
        .bench_local(|| {
            let local = LocalNetworks::default();
            let mut engine = FlowEngine::new(local, FlowLimits::default(), ANALYZERS);
            for (n, frame) in frames.iter().enumerate() {
                engine.packet(n as i64 * 1_000_000, None, 1, frame);
            }
            engine.finish();
            engine.events().len()
        });
}

/// All detectors and the calibration over the shipped capture's events.
#[divan::bench(sample_count = 20)]
fn engine_observe(bencher: Bencher<'_, '_>) {
    let (events, local) = events();
    bencher
        .counter(ItemsCount::new(events.len()))
        .bench_local(|| {
            let mut engine = Engine::new(&EngineConfig {
                local: local.clone(),
                ..EngineConfig::default()
            });
            for event in &events {
                engine.observe(event);
            }
            engine.finish();
            engine.take_alerts().len()
        });
}

/// From the file to the report.
#[divan::bench(sample_count = 20)]
fn whole_pipeline(bencher: Bencher<'_, '_>) {
    let plan = RunPlan {
        paths: vec![story()],
        budget: 5.0,
        ..RunPlan::default()
    };
    bencher.bench_local(|| pipeline::run(&plan, &mut (), |_, _| {}, |_, _, _| {}).unwrap());
}
