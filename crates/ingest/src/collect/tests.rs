use std::net::{Ipv4Addr, SocketAddr};

use proptest::prelude::*;
use thymus_schema::{Conn, ConnState, EventBody, FlowRecord, Outcome, Transport};

use super::*;

const EXPORT: i64 = 1_700_000_000;

fn be16(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn be32(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn set(id: u16, body: &[u8]) -> Vec<u8> {
    [be16(&[id, body.len() as u16 + 4]), body.to_vec()].concat()
}

fn v9(sequence: u32, sets: &[Vec<u8>]) -> Vec<u8> {
    let header = [be16(&[9, 1]), be32(&[60_000, EXPORT as u32, sequence, 1])].concat();
    [header, sets.concat()].concat()
}

/// Addresses, ports, protocol, flags, packets, bytes, first, last.
fn template() -> Vec<u8> {
    let fields = [
        8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 6, 1, 2, 4, 1, 4, 22, 4, 21, 4,
    ];
    set(0, &[be16(&[256, 10]), be16(&fields)].concat())
}

#[derive(Clone, Copy)]
struct Flow {
    from: (u8, u16),
    to: (u8, u16),
    protocol: u8,
    flags: u8,
    packets: u32,
    first: u32,
    last: u32,
}

const SYN_ACK_FIN: u8 = 0x13;

fn tcp(from: (u8, u16), to: (u8, u16)) -> Flow {
    Flow {
        from,
        to,
        protocol: 6,
        flags: SYN_ACK_FIN,
        packets: 5,
        first: 50_000,
        last: 51_000,
    }
}

fn record(flow: &Flow) -> Vec<u8> {
    let address = |last: u8| u32::from(Ipv4Addr::new(10, 0, 0, last));
    [
        be32(&[address(flow.from.0), address(flow.to.0)]),
        be16(&[flow.from.1, flow.to.1]),
        vec![flow.protocol, flow.flags],
        be32(&[flow.packets, flow.packets * 140, flow.first, flow.last]),
    ]
    .concat()
}

fn data(flows: &[Flow]) -> Vec<u8> {
    set(256, &flows.iter().flat_map(record).collect::<Vec<u8>>())
}

fn router(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 168, 0, last], 2055))
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(EXPORT + secs)
}

fn collector() -> Collector {
    Collector::new(InputId(7), CollectorLimits::default())
}

/// All that the datagrams give, and what was not judged.
fn told(datagrams: &[(u8, Vec<u8>)]) -> (Vec<Event>, Coverage) {
    let (mut collector, mut out) = (collector(), Vec::new());
    for (last, bytes) in datagrams {
        collector.datagram(Export::NetFlow, router(*last), at(0), bytes, &mut out);
    }
    collector.finish(&mut out);
    (out, collector.coverage())
}

fn flows(events: &[Event]) -> Vec<(Conn, FlowRecord)> {
    let flow = |event: &Event| match &event.body {
        EventBody::Flow(flow) => Some((event.conn?, (**flow).clone())),
        _ => None,
    };
    events.iter().filter_map(flow).collect()
}

#[test]
fn two_records_are_one_conversation_and_who_began_is_the_client() {
    let server = Flow {
        first: 50_001,
        packets: 9,
        ..tcp((2, 40_000), (1, 50_000))
    };
    let (events, coverage) = told(&[(
        1,
        v9(
            0,
            &[template(), data(&[server, tcp((1, 50_000), (2, 40_000))])],
        ),
    )]);
    let flows = flows(&events);
    assert_eq!(flows.len(), 1);
    let (conn, flow) = &flows[0];
    assert_eq!(conn.client.to_string(), "10.0.0.1:50000");
    assert_eq!((flow.client_packets, flow.server_packets), (5, 9));
    assert_eq!(flow.client_bytes, 5 * 100, "without headers");
    assert_eq!(flow.state, ConnState::Sf);
    assert_eq!(flow.start, at(-10));
    assert_eq!(flow.duration, Duration::from_secs(1));
    assert_eq!(
        (coverage.records, coverage.records_judged, coverage.flows),
        (2, 2, 1)
    );
    assert_eq!(events[0].ts, at(0), "told when it was known");
}

#[test]
fn a_lone_syn_failed_and_a_lone_answer_names_its_server() {
    let scan = Flow {
        flags: 0x02,
        packets: 1,
        ..tcp((1, 50_000), (9, 445))
    };
    let answer = Flow {
        flags: 0x18,
        ..tcp((2, 443), (1, 50_001))
    };
    let (events, _) = told(&[(1, v9(0, &[template(), data(&[scan, answer])]))]);
    let flows = flows(&events);
    assert_eq!(flows[0].1.state, ConnState::S0);
    assert_eq!(flows[1].0.server.to_string(), "10.0.0.2:443");
    assert_eq!(
        (flows[1].1.client_packets, flows[1].1.server_packets),
        (0, 5)
    );
    assert_eq!(flows[1].1.state, ConnState::Oth);
}

#[test]
fn nobody_answered_only_where_the_exporter_tells_both_directions() {
    let udp = |from, to| Flow {
        protocol: 17,
        ..tcp(from, to)
    };
    let lone = data(&[udp((1, 50_000), (9, 53))]);
    let (events, _) = told(&[(1, v9(0, &[template(), lone.clone()]))]);
    assert_eq!(flows(&events)[0].1.state, ConnState::Oth);
    let pair = data(&[udp((1, 50_001), (2, 53)), udp((2, 53), (1, 50_001))]);
    let (events, _) = told(&[(1, v9(0, &[template(), pair, lone]))]);
    let states: Vec<_> = flows(&events).iter().map(|(_, flow)| flow.state).collect();
    assert_eq!(states, [ConnState::Sf, ConnState::S0]);
}

#[test]
fn what_goes_on_is_another_part_of_the_same_flow() {
    let part = |first, flags| Flow {
        first,
        last: first + 20_000,
        flags,
        ..tcp((1, 50_000), (2, 443))
    };
    let (mut collector, mut out) = (collector(), Vec::new());
    let first = v9(0, &[template(), data(&[part(10_000, 0x12)])]);
    collector.datagram(Export::NetFlow, router(1), at(0), &first, &mut out);
    let second = v9(1, &[data(&[part(31_000, 0x10)])]);
    collector.datagram(Export::NetFlow, router(1), at(20), &second, &mut out);
    let again = v9(2, &[data(&[part(52_000, 0x12)])]);
    collector.datagram(Export::NetFlow, router(1), at(40), &again, &mut out);
    collector.finish(&mut out);
    let flows = flows(&out);
    let parts: Vec<_> = flows.iter().map(|(_, flow)| flow.part).collect();
    assert_eq!(parts, [0, 1, 0]);
    assert_eq!(flows[0].0.flow, flows[1].0.flow);
    assert_eq!(flows[1].1.start, flows[0].1.start);
    assert_ne!(
        flows[1].0.flow, flows[2].0.flow,
        "a new connection begins with SYN"
    );
    assert_eq!(collector.coverage().flows, 2);
}

#[test]
fn what_two_routers_saw_counts_once() {
    let datagram = v9(0, &[template(), data(&[tcp((1, 50_000), (2, 443))])]);
    let back = v9(1, &[data(&[tcp((2, 443), (1, 50_000))])]);
    let all = [(1, datagram.clone()), (2, datagram.clone()), (1, back)];
    let (events, coverage) = told(&all);
    assert_eq!(flows(&events).len(), 1);
    assert_eq!(
        coverage.dropped.get("flow_seen_by_another_exporter"),
        Some(&1)
    );
    let (events, coverage) = told(&[(1, datagram.clone()), (1, datagram)]);
    assert_eq!(flows(&events).len(), 1);
    assert_eq!(coverage.dropped.get("duplicate_flow_record"), Some(&1));
    assert_eq!((coverage.records, coverage.records_judged), (2, 1));
}

#[test]
fn data_before_its_template_waits_for_it() {
    let early = v9(0, &[data(&[tcp((1, 50_000), (2, 443))])]);
    let (events, coverage) = told(&[(1, early.clone()), (1, v9(1, &[template()]))]);
    assert_eq!(flows(&events).len(), 1);
    assert_eq!(coverage.dropped.len(), 0, "{coverage:?}");
    // The template of another exporter is another one.
    let (events, coverage) = told(&[(1, early), (2, v9(1, &[template()]))]);
    assert_eq!(flows(&events).len(), 0);
    assert_eq!(coverage.dropped.get("template_not_seen"), Some(&1));
    assert_eq!((coverage.records, coverage.records_judged), (1, 0));
}

#[test]
fn counts_of_samples_are_scaled_and_what_was_not_looked_at_is_declared() {
    let options = set(1, &be16(&[257, 4, 4, 1, 4, 34, 4]));
    let sampling = set(257, &be32(&[0, 100]));
    let syn = Flow {
        flags: 0x02,
        packets: 1,
        ..tcp((1, 50_000), (2, 443))
    };
    let (events, coverage) = told(&[(1, v9(0, &[template(), options, sampling, data(&[syn])]))]);
    let flows = flows(&events);
    assert_eq!(flows[0].1.client_packets, 100);
    assert_eq!(flows[0].1.client_bytes, 100 * 100);
    assert_eq!(
        flows[0].1.state,
        ConnState::Oth,
        "the answer may not have been looked at"
    );
    assert_eq!(coverage.dropped.get("packets_not_sampled"), Some(&99));
}

#[test]
fn lost_datagrams_are_counted() {
    let one = |sequence| (1, v9(sequence, &[template()]));
    let (_, coverage) = told(&[one(5), one(6), one(9), one(10)]);
    assert_eq!(coverage.dropped.get("export_datagrams_lost"), Some(&2));
}

#[test]
fn what_is_wrong_with_an_exporter_is_counted_for_it_alone() {
    let (mut collector, mut out) = (collector(), Vec::new());
    let mut send = |from, export, bytes: &[u8]| {
        collector.datagram(export, router(from), at(0), bytes, &mut out);
    };
    // Data without its template, something that is no export, a hole in the numbers, a broken message.
    send(
        1,
        Export::NetFlow,
        &v9(1, &[data(&[tcp((1, 50_000), (2, 443))])]),
    );
    send(1, Export::NetFlow, b"no export");
    send(2, Export::NetFlow, &v9(1, &[template()]));
    send(2, Export::NetFlow, &v9(4, &[template()]));
    send(3, Export::Sflow, b"no sample");
    let counters = collector.exporters();
    let told: Vec<_> = counters
        .iter()
        .map(|it| {
            (
                it.kinds.concat(),
                it.datagrams,
                it.waiting,
                it.unreadable,
                it.lost,
            )
        })
        .collect();
    let v9 = || "NetFlow v9".to_owned();
    assert_eq!(
        told,
        [
            (v9(), 2, 1, 1, 0),
            (v9(), 2, 0, 0, 2),
            (String::new(), 0, 0, 1, 0)
        ]
    );
    assert!(counters.iter().all(|it| it.last_seen == at(0)));
}

#[test]
fn an_exporter_whose_clock_is_off_by_years_is_moved_to_now() {
    let (mut collector, mut out) = (collector(), Vec::new());
    let bytes = v9(0, &[template(), data(&[tcp((1, 50_000), (2, 443))])]);
    let years = 86_400 * 1000;
    collector.datagram(Export::NetFlow, router(1), at(years), &bytes, &mut out);
    collector.finish(&mut out);
    assert_eq!(flows(&out)[0].1.start, at(years - 10));
    assert_eq!(collector.exporters()[0].clock_shift_secs, years);
}

#[test]
fn both_messages_of_a_ping_are_one_conversation() {
    // Version 5: type and code stand where the port would be.
    let mut datagram = be16(&[5, 2]);
    datagram.extend(be32(&[60_000, EXPORT as u32, 0, 0]));
    datagram.extend(be16(&[0, 0]));
    for (from, to, kind) in [(1, 2, 8_u16), (2, 1, 0)] {
        datagram.extend(be32(&[
            0x0a00_0000 + from,
            0x0a00_0000 + to,
            0,
            0,
            3,
            252,
            50_000,
            52_000,
        ]));
        datagram.extend(be16(&[0, kind << 8]));
        datagram.extend([0, 0, 1, 0]);
        datagram.extend([0; 8]);
    }
    let (events, _) = told(&[(1, datagram)]);
    let flows = flows(&events);
    assert_eq!(flows.len(), 1);
    let (conn, flow) = &flows[0];
    assert_eq!((conn.transport, conn.client.port), (Transport::Icmp, 8));
    assert_eq!((flow.client_packets, flow.server_packets), (3, 3));
}

#[test]
fn log_ins_come_from_datagrams_and_from_streams() {
    let (mut collector, mut out) = (collector(), Vec::new());
    let line =
        b"<38>Oct 11 22:14:15 gate sshd[1]: Failed password for root from 10.0.0.5 port 9 ssh2";
    collector.datagram(Export::Syslog, router(1), at(0), line, &mut out);
    let counted = [format!("{} ", line.len()).as_bytes(), line].concat();
    let (first, rest) = counted.split_at(30);
    collector.stream(4, router(2), at(1), first, &mut out);
    collector.stream(4, router(2), at(1), rest, &mut out);
    collector.stream(
        4,
        router(2),
        at(1),
        b"<38>Oct 11 22:14:15 gate cron: nothing",
        &mut out,
    );
    collector.stream_ended(4, router(2), at(2), &mut out);
    assert_eq!(out.len(), 2);
    for (event, last) in out.iter().zip([1, 2]) {
        let EventBody::Login(login) = &event.body else {
            panic!("{event:?}");
        };
        assert_eq!((&*login.user, login.outcome), ("root", Outcome::Failure));
        let conn = event.conn.unwrap();
        assert_eq!(conn.server.addr, router(last).ip(), "who sent the message");
    }
    let coverage = collector.coverage();
    assert_eq!((coverage.records, coverage.records_judged), (3, 2));
    assert_eq!(collector.exporters()[1].programs[0].program, "cron");
}

#[test]
fn too_many_exporters_templates_and_conversations_are_bounded() {
    let limits = CollectorLimits {
        exporters_max: 2,
        templates_max: 3,
        conversations_max: 10,
        ..CollectorLimits::default()
    };
    let (mut collector, mut out) = (Collector::new(InputId(7), limits), Vec::new());
    for last in 1..=5 {
        collector.datagram(
            Export::NetFlow,
            router(last),
            at(0),
            &v9(0, &[template()]),
            &mut out,
        );
    }
    assert_eq!(collector.coverage().dropped.get("exporters_full"), Some(&3));
    for id in 300..310 {
        let template = set(0, &be16(&[id, 1, 8, 4]));
        collector.datagram(
            Export::NetFlow,
            router(1),
            at(0),
            &v9(0, &[template]),
            &mut out,
        );
    }
    assert_eq!(collector.exporters()[0].templates, 3);
    assert_eq!(collector.coverage().dropped.get("templates_full"), Some(&8));
    for port in 0..100 {
        let flow = data(&[tcp((1, 50_000 + port), (2, 443))]);
        collector.datagram(Export::NetFlow, router(1), at(0), &v9(0, &[flow]), &mut out);
    }
    assert_eq!(out.len(), 90, "the oldest are told without waiting");
    collector.finish(&mut out);
    assert_eq!(flows(&out).len(), 100);
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let seeds = vec![
        v9(0, &[template(), data(&[tcp((1, 50_000), (2, 443))])]),
        v9(
            1,
            &[data(&[
                tcp((1, 50_000), (2, 443)),
                tcp((2, 443), (1, 50_000)),
            ])],
        ),
        v9(
            2,
            &[
                set(1, &be16(&[257, 4, 4, 1, 4, 34, 4])),
                set(257, &be32(&[0, 100])),
            ],
        ),
    ];
    let mutated = (
        prop::sample::select(seeds),
        prop::collection::vec((any::<u16>(), any::<u8>()), 0..6),
    )
        .prop_map(|(mut bytes, changes)| {
            for (place, byte) in changes {
                let place = usize::from(place) % bytes.len();
                bytes[place] = byte;
            }
            bytes
        });
    let kind = prop::sample::select(vec![[0_u8, 5], [0, 9], [0, 10], [0, 0]]);
    let random = (kind, prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(kind, rest)| [kind.to_vec(), rest].concat());
    prop_oneof![mutated, random]
}

proptest! {
    #[test]
    fn hostile_datagrams_neither_panic_nor_grow_nor_differ(
        datagrams in prop::collection::vec((0_u8..3, 0_u8..4, hostile(), -100_i64..100), 0..60),
    ) {
        let limits = CollectorLimits {
            template_bytes_max: 4096,
            pending_bytes_max: 2048,
            conversations_max: 16,
            connections_max: 2,
            streams_max: 8,
            ..CollectorLimits::default()
        };
        let run = || {
            let (mut collector, mut out) = (Collector::new(InputId(7), limits), Vec::new());
            for (kind, last, bytes, secs) in &datagrams {
                let export = [Export::NetFlow, Export::Sflow, Export::Syslog][usize::from(*kind)];
                collector.datagram(export, router(*last), at(*secs), bytes, &mut out);
                collector.stream(u64::from(*last), router(*last), at(*secs), bytes, &mut out);
                prop_assert!(collector.exporters.within(&limits));
                prop_assert!(collector.joiner.len() <= 17);
            }
            collector.finish(&mut out);
            Ok((out, collector.coverage()))
        };
        let (first, second) = (run()?, run()?);
        prop_assert!(first == second);
        let coverage = first.1;
        prop_assert!(coverage.records_judged <= coverage.records);
        let mut ids: Vec<_> = first.0.iter().map(|event| event.id).collect();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), first.0.len());
    }
}
