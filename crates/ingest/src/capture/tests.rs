//! Files in, packets and problems out.

use std::io::Write;
use std::path::Path;

use etherparse::PacketBuilder;
use thymus_schema::{Event, EventBody};

use super::{CaptureLimits, CaptureSource};
use crate::input::Input;
use crate::ledger::Problem;
use crate::source::Source;
use crate::source::SourceCx;

const START_SECS: u32 = 1_700_000_000;

fn datagram(port: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(port, 9);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"payload").unwrap();
    frame
}

/// A pcap file of `(seconds after the start, packet)`.
fn pcap(packets: &[(u32, Vec<u8>)], big_endian: bool, nanos: bool) -> Vec<u8> {
    let word = |value: u32| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let half = |value: u16| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let mut out = word(if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }).to_vec();
    out.extend([half(2), half(4)].concat());
    out.extend([word(0), word(0), word(65_535), word(1)].concat());
    for (secs, packet) in packets {
        let len = packet.len() as u32;
        out.extend([word(START_SECS + secs), word(5), word(len), word(len)].concat());
        out.extend(packet);
    }
    out
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let len = body.len() as u32 + 12;
    [
        &kind.to_le_bytes()[..],
        &len.to_le_bytes(),
        &body,
        &len.to_le_bytes(),
    ]
    .concat()
}

fn pcapng_head() -> Vec<u8> {
    block(
        0x0a0d_0d0a,
        &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat(),
    )
}

/// An interface description with a time resolution.
fn interface(link_type: u16, resolution: u8) -> Vec<u8> {
    let options = [9, 0, 1, 0, resolution, 0, 0, 0, 0, 0, 0, 0];
    block(
        1,
        &[&link_type.to_le_bytes()[..], &[0; 6], &options].concat(),
    )
}

fn enhanced(interface: u32, ticks: u64, packet: &[u8]) -> Vec<u8> {
    let len = (packet.len() as u32).to_le_bytes();
    let high = ((ticks >> 32) as u32).to_le_bytes();
    let low = (ticks as u32).to_le_bytes();
    block(
        6,
        &[
            &interface.to_le_bytes()[..],
            &high,
            &low,
            &len,
            &len,
            packet,
        ]
        .concat(),
    )
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Input {
    let path = folder.join(name);
    std::fs::File::create(&path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
    Input::identify(&path).unwrap().0
}

fn read(files: Vec<Input>, limits: CaptureLimits) -> (Vec<Event>, Vec<Problem>, u64) {
    let mut source = CaptureSource::open(files, &SourceCx::default(), limits);
    let mut events = Vec::new();
    while source.next_batch(&mut events).unwrap() {}
    (events, source.take_problems(), source.coverage().packets)
}

fn starts(events: &[Event]) -> Vec<(u16, i64)> {
    let flow = |event: &Event| match &event.body {
        EventBody::Flow(record) => {
            let after = record.start.as_nanos() - i64::from(START_SECS) * 1_000_000_000;
            event.conn.map(|conn| (conn.client.port, after))
        }
        _ => None,
    };
    let mut starts: Vec<_> = events.iter().filter_map(flow).collect();
    starts.sort_unstable();
    starts
}

#[test]
fn both_byte_orders_and_resolutions_of_pcap_agree() {
    let folder = tempfile::tempdir().unwrap();
    for (big_endian, nanos) in [(false, false), (true, false), (false, true), (true, true)] {
        let bytes = pcap(&[(1, datagram(5000))], big_endian, nanos);
        let (events, problems, _) = read(
            vec![write(folder.path(), "a.pcap", &bytes)],
            CaptureLimits::default(),
        );
        let fraction = if nanos { 5 } else { 5_000 };
        assert_eq!(starts(&events), [(5000, 1_000_000_000 + fraction)]);
        assert!(problems.is_empty(), "{problems:?}");
    }
}

#[test]
fn interfaces_of_a_pcapng_have_their_own_clock_and_link_type() {
    let frame = datagram(5000);
    let raw = datagram(6000)[14..].to_vec();
    let nanos = u64::from(START_SECS) * 1_000_000_000;
    let binary = u64::from(START_SECS + 1) << 10;
    let bytes = [
        pcapng_head(),
        interface(1, 9),
        interface(101, 0x8a),
        enhanced(0, nanos + 7, &frame),
        block(0x0bad, &[1, 2, 3]),
        enhanced(1, binary, &raw),
    ]
    .concat();
    let folder = tempfile::tempdir().unwrap();
    let (events, problems, _) = read(
        vec![write(folder.path(), "a.pcapng", &bytes)],
        CaptureLimits::default(),
    );
    assert_eq!(starts(&events), [(5000, 7), (6000, 1_000_000_000)]);
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn packets_of_an_interface_never_described_are_counted() {
    let frame = datagram(5000);
    let nanos = u64::from(START_SECS) * 1_000_000_000;
    let bytes = [
        pcapng_head(),
        interface(1, 9),
        enhanced(0, nanos, &frame),
        enhanced(3, nanos, &frame),
        enhanced(4, nanos, &frame),
    ]
    .concat();
    let folder = tempfile::tempdir().unwrap();
    let (events, problems, _) = read(
        vec![write(folder.path(), "a.pcapng", &bytes)],
        CaptureLimits::default(),
    );
    assert_eq!(starts(&events).len(), 1);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].reason.starts_with("2 packets"), "{problems:?}");
}

#[test]
fn compressed_captures_read_like_plain_ones() {
    let folder = tempfile::tempdir().unwrap();
    let packets: Vec<_> = (0..2_000).map(|at| (at / 100, datagram(5000))).collect();
    let plain = pcap(&packets, false, false);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let files = [
        write(folder.path(), "plain.pcap", &plain),
        write(folder.path(), "a.pcap.gz", &gzip.finish().unwrap()),
        write(
            folder.path(),
            "a.pcap.zst",
            &zstd::encode_all(plain.as_slice(), 1).unwrap(),
        ),
    ];
    let counts = files.map(|file| read(vec![file], CaptureLimits::default()).2);
    assert_eq!(counts, [2_000; 3]);
}

#[test]
fn a_cut_file_is_judged_up_to_the_cut_which_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = pcap(&[(0, datagram(5000)), (1, datagram(6000))], false, false);
    let file = write(folder.path(), "cut.pcap", &whole[..whole.len() - 10]);
    let id = file.id;
    let (events, problems, packets) = read(vec![file], CaptureLimits::default());
    assert_eq!((starts(&events).len(), packets), (1, 1));
    let record = (24 + 16 + datagram(5000).len()) as u64;
    assert_eq!((problems[0].input, problems[0].offset), (Some(id), record));
    assert!(
        problems[0].reason.contains("ends inside a record"),
        "{}",
        problems[0].reason
    );
}

#[test]
fn the_advice_for_a_cut_file_is_about_the_layer_that_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let packets: Vec<_> = (0..12_000)
        .map(|at| (at, datagram(5000 + at as u16)))
        .collect();
    let plain = pcap(&packets, false, false);
    let inner = &plain[..plain.len() - 10];
    let gzip = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let ng = [pcapng_head(), interface(1, 9), enhanced(0, 1, &datagram(1))].concat();
    let cut_ng = [ng.as_slice(), &ng[ng.len() - 40..ng.len() - 4]].concat();
    for (name, bytes, advice, not) in [
        ("a.pcap", inner.to_vec(), "repair it with pcapfix", "-t"),
        ("b.pcapng", cut_ng, "repair it with pcapfix", "-t"),
        ("c.pcap.gz", half(gzip(&plain)), "gzip -t", "pcapfix"),
        ("d.pcap.zst", half(zstd(&plain)), "zstd -t", "pcapfix"),
        ("e.pcap.gz", gzip(inner), "gzip -d and repair", "-t"),
        ("f.pcap.zst", zstd(inner), "zstd -d and repair", "-t"),
    ] {
        let file = write(folder.path(), name, &bytes);
        let (_, problems, packets) = read(vec![file], CaptureLimits::default());
        assert!(packets > 0, "{name}: what came before the cut is judged");
        assert_eq!(problems.len(), 1, "{name}: {problems:?}");
        let said = &problems[0].remedy;
        assert!(
            said.contains(advice) && !said.contains(not),
            "{name}: {said}"
        );
    }
}

#[test]
fn a_corrupt_block_ends_the_file_with_its_offset() {
    let folder = tempfile::tempdir().unwrap();
    let good = [
        pcapng_head(),
        interface(1, 9),
        enhanced(0, 1, &datagram(5000)),
    ]
    .concat();
    let mut bad = enhanced(0, 2, &datagram(6000));
    bad[4] = 0xfe;
    let bytes = [good.as_slice(), &bad, &[0; 64]].concat();
    let (events, problems, _) = read(
        vec![write(folder.path(), "bad.pcapng", &bytes)],
        CaptureLimits::default(),
    );
    assert_eq!(starts(&events).len(), 1);
    assert_eq!(problems[0].offset, good.len() as u64);
}

#[test]
fn empty_and_foreign_files_are_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str); 4] = [
        ("zero", b"", "empty"),
        (
            "text",
            b"this is no capture at all, not even nearly",
            "not a capture",
        ),
        ("header", &pcap(&[], false, false), "no packet"),
        ("stub", &pcap(&[], false, false)[..10], "ends inside"),
    ];
    for (name, bytes, reason) in cases {
        let (events, problems, _) = read(
            vec![write(folder.path(), name, bytes)],
            CaptureLimits::default(),
        );
        assert!(events.is_empty());
        assert!(
            problems[0].reason.contains(reason),
            "{name}: {}",
            problems[0].reason
        );
        assert!(!problems[0].remedy.is_empty());
    }
}

#[test]
fn a_link_type_that_is_not_read_is_named_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = pcap(&[(0, datagram(5000)), (1, datagram(5000))], false, false);
    bytes[20] = 147;
    let (events, problems, packets) = read(
        vec![write(folder.path(), "odd.pcap", &bytes)],
        CaptureLimits::default(),
    );
    assert!(events.is_empty() && packets == 2);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].reason.contains("147"), "{}", problems[0].reason);
}

#[test]
fn a_flow_is_not_cut_where_a_file_ends() {
    let folder = tempfile::tempdir().unwrap();
    let second = write(
        folder.path(),
        "a-second.pcap",
        &pcap(&[(30, datagram(5000))], false, false),
    );
    let first = write(
        folder.path(),
        "b-first.pcap",
        &pcap(&[(0, datagram(5000))], false, false),
    );
    let (events, _, packets) = read(vec![second, first], CaptureLimits::default());
    assert_eq!(packets, 2);
    assert_eq!(
        starts(&events),
        [(5000, 5_000)],
        "one flow, begun in the earlier file"
    );
}

#[test]
fn files_that_overlap_are_merged_by_time_with_or_without_a_reader_thread() {
    let folder = tempfile::tempdir().unwrap();
    let every = |offset: u32, port: u16| -> Vec<(u32, Vec<u8>)> {
        (0..50)
            .map(|at| (offset + 2 * at, datagram(port)))
            .collect()
    };
    let files: Vec<Input> = (0..3)
        .map(|at| {
            let bytes = pcap(&every(at, 5000 + at as u16), false, false);
            write(folder.path(), &format!("{at}.pcap"), &bytes)
        })
        .collect();
    let run = |read_ahead, open_files_max| {
        let limits = CaptureLimits {
            open_files_max,
            read_ahead,
            ..CaptureLimits::default()
        };
        read(files.clone(), limits)
    };
    let (events, problems, packets) = run(true, 32);
    assert_eq!((packets, problems.len()), (150, 0));
    assert_eq!(events, run(false, 32).0);
    assert!(events.is_sorted_by_key(|event| event.ts));
    assert_eq!(
        starts(&events).len(),
        3,
        "merged, so no flow ends by a jump in time"
    );
    assert_eq!(run(true, 1).2, 150, "what cannot be merged is still read");
}
