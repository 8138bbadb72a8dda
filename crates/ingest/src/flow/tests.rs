//! Behaviour of the engine: packets in, events out.

use std::net::IpAddr;

use etherparse::PacketBuilder;
use thymus_schema::{
    ConnState, Event, EventBody, FlowRecord, LocalNetworks, Scope, Service, Transport,
};

use super::{FlowEngine, FlowLimits};
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};

const CLIENT: [u8; 4] = [10, 0, 0, 7];
const SERVER: [u8; 4] = [192, 0, 2, 80];
const START: i64 = 1_700_000_000_000_000_000;
const MILLI: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;

/// Repeats what it is given as quirk events, so that tests see the streams.
struct Echo;

impl Analyzer for Echo {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        assert_ne!(bytes, b"panic", "asked to");
        let side = if side == Side::Client { "c" } else { "s" };
        cx.quirk(
            "echo",
            &format!("{side}:{}", String::from_utf8_lossy(bytes)),
        );
    }

    fn gap(&mut self, _side: Side, missing: u64, cx: &mut AnalyzerCx<'_>) {
        cx.quirk("echo", &format!("gap:{missing}"));
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        cx.quirk("echo", "close");
    }
}

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = if opening.client.is_empty() {
        opening.server
    } else {
        opening.client
    };
    match bytes {
        b"" | b"E" => Probe::More,
        [b'E', b'C', ..] => Probe::Yes,
        _ => Probe::No,
    }
}

static ECHO: &[AnalyzerSpec] = &[AnalyzerSpec {
    service: Service::Irc,
    transports: &[Transport::Tcp, Transport::Udp],
    usual_ports: &[6667],
    probe,
    build: || Box::new(Echo),
}];

struct Bench {
    engine: FlowEngine,
    now: i64,
    ident: u16,
}

impl Bench {
    fn new() -> Self {
        Self::with(FlowLimits::default())
    }

    fn with(limits: FlowLimits) -> Self {
        let engine = FlowEngine::new(LocalNetworks::default(), limits, ECHO);
        Self {
            engine,
            now: START,
            ident: 1,
        }
    }

    fn raw(&mut self, frame: &[u8]) {
        self.now += MILLI;
        self.engine.packet(self.now, None, 1, frame);
    }

    /// A TCP segment with the flags named by letters of `SAFR`.
    fn tcp(&mut self, from_client: bool, flags: &str, seq: u32, ack: u32, payload: &[u8]) {
        let frame = self.tcp_frame(from_client, flags, seq, ack, payload);
        self.raw(&frame);
    }

    fn tcp_frame(
        &mut self,
        from_client: bool,
        flags: &str,
        seq: u32,
        ack: u32,
        payload: &[u8],
    ) -> Vec<u8> {
        let (from, to, ports) = if from_client {
            (CLIENT, SERVER, (40_000, 80))
        } else {
            (SERVER, CLIENT, (80, 40_000))
        };
        self.ident += 1;
        let mut ip =
            etherparse::Ipv4Header::new(0, 64, etherparse::IpNumber::TCP, from, to).unwrap();
        ip.identification = self.ident;
        let mut builder =
            PacketBuilder::ethernet2([2, 0, 0, 0, 0, from[3]], [2, 0, 0, 0, 0, to[3]])
                .ip(etherparse::IpHeaders::Ipv4(
                    ip,
                    etherparse::Ipv4Extensions::default(),
                ))
                .tcp(ports.0, ports.1, seq, 64_240);
        for flag in flags.chars() {
            builder = match flag {
                'S' => builder.syn(),
                'A' => builder.ack(ack),
                'F' => builder.fin(),
                _ => builder.rst(),
            };
        }
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).unwrap();
        frame
    }

    fn handshake(&mut self) {
        self.tcp(true, "S", 999, 0, b"");
        self.tcp(false, "SA", 4999, 1000, b"");
        self.tcp(true, "A", 1000, 5000, b"");
    }

    fn finish(mut self) -> Vec<Event> {
        self.engine.finish();
        std::mem::take(self.engine.events())
    }
}

fn flows(events: &[Event]) -> Vec<&FlowRecord> {
    let flow = |event: &'_ Event| matches!(event.body, EventBody::Flow(_));
    let records = events
        .iter()
        .filter(|event| flow(event))
        .map(|event| match &event.body {
            EventBody::Flow(record) => record.as_ref(),
            other => panic!("{other:?} is no flow"),
        });
    records.collect()
}

fn said(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match &event.body {
        EventBody::Quirk(quirk) if &*quirk.parser == "echo" => Some(quirk.quirk.to_string()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

fn udp(from: [u8; 4], to: [u8; 4], ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4(from, to, 64)
        .udp(ports.0, ports.1);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

#[test]
fn a_whole_connection_is_sf_with_zeeks_letters() {
    let mut bench = Bench::new();
    bench.handshake();
    bench.tcp(true, "A", 1000, 5000, b"ECHO");
    bench.tcp(false, "A", 5000, 1004, b"answer");
    bench.tcp(true, "FA", 1004, 5006, b"");
    bench.tcp(false, "FA", 5006, 1005, b"");
    bench.tcp(true, "A", 1005, 5007, b"");
    let events = bench.finish();
    let flow = flows(&events)[0];
    assert_eq!((flow.state, &*flow.history), (ConnState::Sf, "ShADdFf"));
    assert_eq!(
        (flow.client_bytes, flow.server_bytes),
        (4, 6),
        "the last ACK carries nothing"
    );
    assert_eq!((flow.client_packets, flow.server_packets), (5, 3));
    assert_eq!(
        flow.service,
        Some(Service::Irc),
        "by content, on a port that says otherwise"
    );
    assert_eq!(said(&events), ["c:ECHO", "s:answer", "close"]);
    assert!(events.is_sorted_by_key(|event| event.ts));
    let ids: Vec<u64> = events.iter().map(|event| event.id.index).collect();
    assert!(
        ids.iter()
            .enumerate()
            .all(|(at, index)| at as u64 == *index)
    );
}

#[test]
fn refused_unanswered_and_aborted_attempts_differ() {
    let end = |steps: &[(bool, &str, u32, u32)]| {
        let mut bench = Bench::new();
        for (from_client, flags, seq, ack) in steps {
            bench.tcp(*from_client, flags, *seq, *ack, b"");
        }
        let events = bench.finish();
        flows(&events)[0].state
    };
    assert_eq!(end(&[(true, "S", 9, 0)]), ConnState::S0);
    assert_eq!(
        end(&[(true, "S", 9, 0), (false, "RA", 0, 10)]),
        ConnState::Rej
    );
    assert_eq!(
        end(&[(true, "S", 9, 0), (true, "R", 10, 0)]),
        ConnState::Rstos0
    );
    assert_eq!(
        end(&[(false, "SA", 9, 0), (false, "R", 10, 0)]),
        ConnState::Rstrh
    );
    assert_eq!(end(&[(true, "S", 9, 0), (true, "F", 10, 0)]), ConnState::Sh);
    let open = [
        (true, "S", 9, 0),
        (false, "SA", 49, 10),
        (true, "A", 10, 50),
    ];
    assert_eq!(end(&open), ConnState::S1);
    assert_eq!(
        end(&[open.as_slice(), &[(false, "R", 50, 0)]].concat()),
        ConnState::Rstr
    );
    assert_eq!(
        end(&[open.as_slice(), &[(true, "F", 10, 50)]].concat()),
        ConnState::S2
    );
}

#[test]
fn each_retry_after_a_refusal_is_an_attempt_of_its_own() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.tcp(true, "S", 999, 0, b"");
        bench.tcp(false, "RA", 0, 1000, b"");
    }
    let events = bench.finish();
    let states: Vec<_> = flows(&events).iter().map(|flow| flow.state).collect();
    assert_eq!(states, [ConnState::Rej; 3]);
}

#[test]
fn segments_out_of_order_and_twice_are_read_once_in_order() {
    let mut bench = Bench::new();
    bench.handshake();
    bench.tcp(true, "A", 1006, 5000, b"three");
    bench.tcp(true, "A", 1000, 5000, b"ECH");
    bench.tcp(true, "A", 1000, 5000, b"ECH");
    bench.tcp(true, "A", 1003, 5000, b"two");
    let events = bench.finish();
    assert_eq!(said(&events), ["c:ECH", "c:two", "c:three", "close"]);
    let flow = flows(&events)[0];
    assert_eq!((flow.client_bytes, flow.missed_bytes), (11, 0));
    assert!(flow.history.contains('T'), "{}", flow.history);
}

#[test]
fn a_loss_that_was_acknowledged_is_a_gap() {
    let mut bench = Bench::new();
    bench.handshake();
    bench.tcp(true, "A", 1000, 5000, b"ECHO");
    bench.tcp(true, "A", 1104, 5000, b"after");
    bench.tcp(false, "A", 5000, 1109, b"");
    bench.now += SECOND;
    bench.tcp(true, "A", 1109, 5000, b"more");
    let events = bench.finish();
    assert_eq!(
        said(&events),
        ["c:ECHO", "gap:100", "c:after", "c:more", "close"]
    );
    assert_eq!(flows(&events)[0].missed_bytes, 100);
}

#[test]
fn of_overlapping_bytes_the_first_count_and_the_difference_is_told() {
    let mut bench = Bench::new();
    bench.handshake();
    bench.tcp(true, "A", 1004, 5000, b"good");
    bench.tcp(true, "A", 1004, 5000, b"evil");
    bench.tcp(true, "A", 1000, 5000, b"ECHO");
    let events = bench.finish();
    assert_eq!(said(&events), ["c:ECHO", "c:good", "close"]);
    let told = |event: &Event| matches!(&event.body, EventBody::Quirk(quirk) if &*quirk.quirk == "overlap_conflict");
    assert!(events.iter().any(told));
}

#[test]
fn sequence_numbers_may_wrap() {
    let mut bench = Bench::new();
    let first = u32::MAX - 2;
    bench.tcp(true, "S", first.wrapping_sub(1), 0, b"");
    bench.tcp(false, "SA", 4999, first, b"");
    bench.tcp(true, "A", first.wrapping_add(4), 5000, b"wrap");
    bench.tcp(true, "A", first, 5000, b"ECHO");
    let events = bench.finish();
    assert_eq!(said(&events), ["c:ECHO", "c:wrap", "close"]);
    assert_eq!(flows(&events)[0].client_bytes, 8);
}

#[test]
fn a_conversation_joined_in_the_middle_has_its_server_at_the_service_port() {
    let mut bench = Bench::new();
    bench.tcp(false, "A", 5000, 1000, b"EC late");
    let events = bench.finish();
    let conn = events.iter().find_map(|event| event.conn).unwrap();
    assert_eq!(conn.server.port, 80);
    assert_eq!(said(&events), ["s:EC late", "close"]);
    assert_eq!(&*flows(&events)[0].history, "^d");
}

#[test]
fn who_talks_with_many_from_one_port_is_the_server_of_what_is_joined_in_the_middle() {
    let mut bench = Bench::new();
    let frame = |from, to, ports: (u16, u16)| {
        let builder = PacketBuilder::ipv4(from, to, 64)
            .tcp(ports.0, ports.1, 7, 100)
            .ack(9);
        let mut bytes = vec![0; 12];
        bytes.extend_from_slice(&[8, 0]);
        builder.write(&mut bytes, b"xyz").unwrap();
        bytes
    };
    // Neither port is known; the server speaks first in the last one.
    for port in 1400..1404 {
        bench.raw(&frame(CLIENT, SERVER, (port, 7411)));
    }
    bench.raw(&frame(SERVER, CLIENT, (7411, 1500)));
    let events = bench.finish();
    let conns: Vec<_> = events.iter().filter_map(|event| event.conn).collect();
    assert!(
        conns.iter().all(|conn| conn.server.port == 7411),
        "{conns:?}"
    );
}

#[test]
fn an_opening_in_pieces_is_given_whole_to_the_analyzer() {
    let mut bench = Bench::new();
    bench.handshake();
    bench.tcp(true, "A", 1000, 5000, b"E");
    bench.tcp(true, "A", 1001, 5000, b"CHO");
    assert_eq!(said(&bench.finish()), ["c:E", "c:CHO", "close"]);
}

#[test]
fn an_analyzer_that_panics_is_taken_off_and_told_of() {
    let mut bench = Bench::new();
    bench.handshake();
    bench.tcp(true, "A", 1000, 5000, b"ECHO");
    bench.tcp(true, "A", 1004, 5000, b"panic");
    bench.tcp(true, "A", 1009, 5000, b"ignored");
    assert_eq!(
        bench.engine.coverage().dropped.get("analyzers_panicked"),
        Some(&1)
    );
    let events = bench.finish();
    assert_eq!(said(&events), ["c:ECHO"]);
    assert_eq!(flows(&events)[0].client_bytes, 16, "counting goes on");
}

#[test]
fn mirrored_copies_count_once_and_floods_stay_floods() {
    let mut bench = Bench::new();
    bench.handshake();
    let frame = bench.tcp_frame(true, "A", 1000, 5000, b"ECHO");
    bench.raw(&frame);
    bench.engine.packet(bench.now + 1000, None, 1, &frame);
    let events = bench.finish();
    assert_eq!(flows(&events)[0].client_packets, 3);
    assert!(!flows(&events)[0].history.contains('T'));

    let mut bench = Bench::new();
    let frame = bench.tcp_frame(true, "S", 7, 0, b"");
    for _ in 0..1000 {
        bench.engine.packet(bench.now, None, 1, &frame);
    }
    assert_eq!(
        flows(&bench.finish())[0].client_packets,
        500,
        "at most every second is a copy"
    );
}

#[test]
fn vlans_and_tunnels_are_networks_of_their_own() {
    let plain = udp(CLIENT, SERVER, (5000, 53), b"ECplain");
    let tagged = |id: u8| [&plain[..12], &[0x81, 0, 0, id], &plain[12..]].concat();
    let vxlan = |network: u8| {
        let payload = [&[8, 0, 0, 0, 0, 0, network, 0], plain.as_slice()].concat();
        udp([172, 16, 0, 1], [172, 16, 0, 2], (50_000, 4789), &payload)
    };
    let mut bench = Bench::new();
    for frame in [plain.clone(), tagged(10), tagged(20), vxlan(10), vxlan(10)] {
        bench.raw(&frame);
    }
    let events = bench.finish();
    let mut scopes: Vec<Scope> = events
        .iter()
        .filter(|event| matches!(event.body, EventBody::Flow(_)))
        .filter_map(|event| event.conn)
        .map(|conn| conn.scope)
        .collect();
    scopes.sort();
    let inside = Scope::NONE.enter(Scope::VXLAN, 10);
    assert_eq!(scopes, [Scope::NONE, Scope(10), Scope(20), inside]);
}

#[test]
fn fragments_are_joined_in_any_order() {
    let whole = udp(
        CLIENT,
        SERVER,
        (5000, 53),
        &[b"EC".as_slice(), &[b'x'; 62]].concat(),
    );
    let fragment = |from: usize, to: usize, more: bool| {
        let mut frame = whole[..34].to_vec();
        frame.extend_from_slice(&whole[34 + from..34 + to]);
        frame[16..18].copy_from_slice(&(20 + (to - from) as u16).to_be_bytes());
        let flags = (from as u16 / 8) | if more { 0x2000 } else { 0 };
        frame[18..20].copy_from_slice(&7_u16.to_be_bytes());
        frame[20..22].copy_from_slice(&flags.to_be_bytes());
        frame
    };
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let parts = [
            fragment(0, 24, true),
            fragment(24, 48, true),
            fragment(48, 72, false),
        ];
        let mut bench = Bench::new();
        for part in order {
            bench.raw(&parts[part]);
        }
        let coverage = bench.engine.coverage();
        assert_eq!((coverage.packets, coverage.packets_judged), (3, 3));
        let events = bench.finish();
        let record = flows(&events)[0];
        assert_eq!((record.client_bytes, record.client_packets), (64, 1));
        assert_eq!(said(&events).len(), 2, "the datagram and the end");
    }
}

#[test]
fn a_long_flow_is_reported_in_parts_that_add_up() {
    let mut bench = Bench::new();
    bench.handshake();
    for minute in 0..14_u32 {
        bench.now += 60 * SECOND;
        bench.tcp(true, "A", 1000 + minute * 10, 5000, b"0123456789");
    }
    let events = bench.finish();
    let records = flows(&events);
    assert!(records.len() >= 3, "{}", records.len());
    assert_eq!(
        records
            .iter()
            .map(|record| record.client_bytes)
            .sum::<u64>(),
        140
    );
    let parts: Vec<u32> = records.iter().map(|record| record.part).collect();
    assert!(
        parts
            .iter()
            .enumerate()
            .all(|(at, part)| at as u32 == *part),
        "{parts:?}"
    );
    assert!(records.iter().rev().skip(1).all(|record| !record.last));
    assert!(events.is_sorted_by_key(|event| event.ts));
}

#[test]
fn the_table_is_bounded_and_says_what_it_gave_up() {
    let mut bench = Bench::with(FlowLimits {
        flows_max: 8,
        ..FlowLimits::default()
    });
    for host in 0..50 {
        bench.raw(&udp(CLIENT, [192, 0, 2, host], (5000, 9), b"x"));
    }
    let coverage = bench.engine.coverage();
    assert_eq!(coverage.flows, 50);
    assert_eq!(coverage.dropped.get("flows_evicted"), Some(&42));
    assert_eq!(flows(&bench.finish()).len(), 50, "every flow is reported");
}

#[test]
fn time_that_jumps_is_followed_when_it_is_meant() {
    let year = 365 * 86_400 * SECOND;
    let frame = udp(CLIENT, SERVER, (5000, 9), b"x");
    let mut bench = Bench::new();
    bench.engine.packet(START, Some(START + 1), 1, &frame);
    // One packet with a broken clock between good ones.
    bench
        .engine
        .packet(START + 9 * year, Some(START + 2 * MILLI), 1, &frame);
    bench
        .engine
        .packet(START + 2 * MILLI, Some(START - year), 1, &frame);
    assert_eq!(
        bench.engine.coverage().dropped.get("time_outliers"),
        Some(&1)
    );
    // The capture starts again a year before, and stays there.
    bench
        .engine
        .packet(START - year, Some(START - year + 1), 1, &frame);
    bench.engine.packet(START - year + MILLI, None, 1, &frame);
    assert_eq!(
        bench.engine.coverage().dropped.get("time_jumps_back"),
        Some(&1)
    );
    bench.engine.packet(i64::MAX, None, 1, &frame);
    bench.engine.packet(i64::MIN, None, 1, &frame);
    bench.engine.packet(0, None, 1, &frame);
    let records = bench.finish();
    assert_eq!(
        flows(&records)[0].client_packets,
        3,
        "the outlier belongs to its neighbours"
    );
}

#[test]
fn windows_count_what_a_local_address_does() {
    let mut bench = Bench::new();
    bench.now = START / (10 * SECOND) * 10 * SECOND;
    for host in 1..=20 {
        bench.raw(&udp(
            CLIENT,
            [192, 0, 2, host],
            (5000, 1000 + u16::from(host)),
            &[0; 72],
        ));
    }
    bench.now += 10 * SECOND;
    bench.raw(&udp(CLIENT, SERVER, (5000, 9), b"x"));
    let events = bench.finish();
    let first = events.iter().find_map(|event| match &event.body {
        EventBody::Traffic(window) => Some(window),
        _ => None,
    });
    let first = first.unwrap();
    assert_eq!(first.addr, Some(IpAddr::from(CLIENT)));
    assert_eq!(
        (first.packets_out, first.bytes_out, first.udp),
        (20, 2000, 20)
    );
    assert!((18..=22).contains(&first.peers), "{}", first.peers);
    assert!((18..=22).contains(&first.ports_out), "{}", first.ports_out);
    assert!((first.size_mean - 100.0).abs() < 1e-9 && first.size_std < 1e-6);
}

#[test]
fn mutated_packets_never_stop_the_engine() {
    let mut bench = Bench::new();
    let plain = udp(CLIENT, SERVER, (5000, 53), b"ECplain");
    let gre = [
        &plain[..23],
        &[47],
        &plain[24..34],
        &[0, 0, 8, 0],
        &plain[14..],
    ]
    .concat();
    let seeds = [
        bench.tcp_frame(true, "S", 1, 0, b""),
        bench.tcp_frame(false, "SA", 1, 2, b""),
        bench.tcp_frame(true, "A", 2, 2, b"ECHO and more"),
        [
            &plain[..12],
            &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2],
            &plain[12..],
        ]
        .concat(),
        udp(
            CLIENT,
            SERVER,
            (1, 4789),
            &[&[8, 0, 0, 0, 0, 0, 1, 0], plain.as_slice()].concat(),
        ),
        gre,
        plain,
    ];
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % sides as u64) as usize
    };
    for round in 0..60_000_i64 {
        let mut frame = seeds[roll(seeds.len())].clone();
        for _ in 0..=roll(4) {
            let at = roll(frame.len());
            frame[at] = roll(256) as u8;
        }
        frame.truncate(frame.len() - if roll(4) == 0 { roll(frame.len()) } else { 0 });
        let link = [1, 1, 1, 0, 12, 113, 276, 9, 51][roll(9)];
        bench
            .engine
            .packet(START + round * MILLI * roll(50) as i64, None, link, &frame);
        bench.engine.events().clear();
    }
    let coverage = bench.engine.coverage();
    assert_eq!(coverage.packets, 60_000);
    assert_eq!(coverage.dropped.get("analyzers_panicked"), None);
}
