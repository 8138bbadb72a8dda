//! Real exporters, read by the collector and, as an oracle, by nfdump: softflowd reads a capture of this
//! repository and exports it over loopback. `cargo xtask ci` installs what this needs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use thymus_ingest::{Collector, CollectorLimits, Export};
use thymus_schema::{Coverage, Event, EventBody, InputId, Timestamp, Transport};

/// Nothing more comes when nothing came for so long.
const SILENCE: Duration = Duration::from_secs(2);

fn capture(folder: &Path) -> PathBuf {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/captures/story.pcap.gz");
    let mut bytes = Vec::new();
    let mut gzip = flate2::read::GzDecoder::new(fs::File::open(packed).unwrap());
    gzip.read_to_end(&mut bytes).unwrap();
    let path = folder.join("story.pcap");
    fs::write(&path, bytes).unwrap();
    path
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn missing(name: &str, error: &std::io::Error) -> ! {
    panic!(
        "{name} does not start ({error}); install it: apt-get install softflowd nfdump nfdump-sflow pmacct"
    );
}

/// What an exporter sends to a socket of ours until it is done.
fn exported(
    pauses: u32,
    start: impl FnOnce(u16) -> std::process::Child,
) -> Vec<(SocketAddr, Vec<u8>)> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let listener = thread::spawn(move || {
        let mut datagrams = Vec::new();
        let mut buffer = vec![0; 65_536];
        let mut silent = 0;
        // Starting takes some time; what has begun to come comes with few pauses.
        while silent < if datagrams.is_empty() { 10 } else { pauses } {
            match socket.recv_from(&mut buffer) {
                Ok((len, from)) => datagrams.push((from, buffer[..len].to_vec())),
                Err(_) => silent += 1,
            }
        }
        datagrams
    });
    let child = start(port);
    let datagrams = listener.join().unwrap();
    let mut child = child;
    drop(child.kill());
    drop(child.wait());
    datagrams
}

fn softflowd(capture: &Path, options: &[&str]) -> Vec<(SocketAddr, Vec<u8>)> {
    exported(1, |port| {
        let mut command = tool("softflowd");
        command.arg("-r").arg(capture).arg("-D").args(options);
        command
            .args(["-n", &format!("127.0.0.1:{port}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
            .spawn()
            .unwrap_or_else(|error| missing("softflowd", &error))
    })
}

/// One line of nfdump for each flow: start and end in milliseconds, protocol, packets, bytes, flags.
#[derive(Debug)]
struct Oracle {
    start: i64,
    end: i64,
    protocol: u8,
    v4: bool,
    packets: u64,
    bytes: u64,
}

impl Oracle {
    fn payload(&self) -> u64 {
        let ip = if self.v4 { 20 } else { 40 };
        let header = match self.protocol {
            6 => ip + 20,
            17 | 1 | 58 => ip + 8,
            _ => ip,
        };
        self.bytes.saturating_sub(self.packets * header)
    }
}

/// What nfcapd and nfdump make of the same datagrams.
fn nfdump(collector: &str, folder: &Path, datagrams: &[(SocketAddr, Vec<u8>)]) -> Vec<Oracle> {
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let files = folder.join("nfcapd");
    fs::create_dir_all(&files).unwrap();
    let mut command = tool(collector);
    command
        .args([
            "-b",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-t",
            "3600",
            "-l",
        ])
        .arg(&files);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| missing(collector, &error));
    thread::sleep(Duration::from_secs(2));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (_, bytes) in datagrams {
        socket.send_to(bytes, ("127.0.0.1", port)).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_secs(2));
    // Asked to end, it writes what it holds.
    let ended = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(ended.unwrap().success());
    child.wait().unwrap();
    let mut command = tool("nfdump");
    command
        .arg("-R")
        .arg(&files)
        .args(["-q", "-N", "-6", "-o", "fmt:%tsr,%td,%pr,%sa,%pkt,%byt"]);
    command.env("TZ", "UTC");
    let output = command
        .output()
        .unwrap_or_else(|error| missing("nfdump", &error));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(oracle).collect()
}

fn oracle(line: &str) -> Option<Oracle> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [start, duration, protocol, source, packets, bytes] = fields.as_slice() else {
        return None;
    };
    let millis = |text: &str| (text.parse::<f64>().unwrap() * 1000.0).round() as i64;
    Some(Oracle {
        start: millis(start),
        // Version 1.7.1 writes some ends before their starts.
        end: millis(start).saturating_add(millis(duration)),
        protocol: match *protocol {
            "TCP" => 6,
            "UDP" => 17,
            "ICMP" => 1,
            "ICMP6" => 58,
            other => other.parse().unwrap(),
        },
        v4: source.contains('.'),
        packets: packets.parse().unwrap(),
        bytes: bytes.parse().unwrap(),
    })
}

/// What the collector makes of them.
fn collected(
    export: Export,
    datagrams: &[(SocketAddr, Vec<u8>)],
) -> (Vec<Event>, Coverage, Collector) {
    let mut collector = Collector::new(InputId(1), CollectorLimits::default());
    let mut events = Vec::new();
    let now = now_nanos();
    for (from, bytes) in datagrams {
        collector.datagram(export, *from, now, bytes, &mut events);
    }
    collector.finish(&mut events);
    let coverage = collector.coverage();
    (events, coverage, collector)
}

#[expect(
    clippy::disallowed_methods,
    reason = "exporters stamp what they send with the clock"
)]
fn now_nanos() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_nanos(since.unwrap().as_nanos() as i64)
}

/// Start and end in milliseconds, packets and payload of all flows of all events.
fn totals(events: &[Event]) -> (i64, i64, u64, u64) {
    let mut totals = (i64::MAX, i64::MIN, 0, 0);
    for event in events {
        let EventBody::Flow(flow) = &event.body else {
            panic!("{event:?}");
        };
        totals.0 = totals.0.min(flow.start.as_nanos() / 1_000_000);
        totals.1 = totals
            .1
            .max(flow.start.plus(flow.duration).as_nanos() / 1_000_000);
        totals.2 += flow.client_packets + flow.server_packets;
        totals.3 += flow.client_bytes + flow.server_bytes;
    }
    totals
}

/// Which times of nfdump to compare with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    /// None.
    None,
    /// To the millisecond.
    Millis,
}

fn agree(options: &[&str], times: Times) -> Vec<Event> {
    let folder = tempfile::tempdir().unwrap();
    let datagrams = softflowd(&capture(folder.path()), options);
    let oracle = nfdump("nfcapd", folder.path(), &datagrams);
    let (events, coverage, _) = collected(Export::NetFlow, &datagrams);
    assert!(oracle.len() > 500, "{}: {coverage:?}", oracle.len());
    assert_eq!(coverage.records, oracle.len() as u64, "{coverage:?}");
    assert_eq!(coverage.records_judged, coverage.records, "{coverage:?}");
    assert_eq!(coverage.dropped, std::collections::BTreeMap::new());
    let (start, end, packets, payload) = totals(&events);
    let wanted = (
        oracle.iter().map(|flow| flow.packets).sum::<u64>(),
        oracle.iter().map(Oracle::payload).sum::<u64>(),
    );
    assert_eq!((packets, payload), wanted);
    if times != Times::None {
        let first = oracle.iter().map(|flow| flow.start).min().unwrap();
        let last = oracle.iter().map(|flow| flow.end).max().unwrap();
        // Where flows are older than their exporter, nfdump puts them 49.7 days, 32 bits of milliseconds,
        // later.
        let off = (first - start).rem_euclid(1 << 32);
        assert_eq!((end - start, off), (last - first, 0));
    }
    assert!(events.is_sorted_by_key(|event| event.ts));
    let paired = events.iter().filter(|event| {
        matches!(&event.body, EventBody::Flow(flow) if flow.client_packets > 0 && flow.server_packets > 0)
    });
    assert!(
        paired.count() * 2 > events.len(),
        "most conversations have two sides"
    );
    events
}

/// Clients, servers and volumes, without times.
fn conversations(events: &[Event]) -> Vec<String> {
    let mut all: Vec<String> = events
        .iter()
        .map(|event| {
            let (EventBody::Flow(flow), Some(conn)) = (&event.body, event.conn) else {
                panic!("{event:?}");
            };
            let (to, back) = (flow.client_packets, flow.server_packets);
            let state = flow.state.as_str();
            format!("{} > {} {state} {to} {back}", conn.client, conn.server)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn version_5_of_softflowd_is_what_nfdump_makes_of_it() {
    agree(&["-v", "5"], Times::Millis);
}

#[test]
fn version_9_of_softflowd_is_what_nfdump_makes_of_it() {
    agree(&["-v", "9"], Times::Millis);
}

#[test]
fn ipfix_of_softflowd_is_what_nfdump_makes_of_it() {
    // Counted from when the exporter started, which it tells in an options record that nfdump leaves out.
    let ipfix = totals(&agree(&["-v", "10"], Times::None));
    let version_5 = totals(&agree(&["-v", "5"], Times::Millis));
    assert!(
        (ipfix.1 - ipfix.0).abs_diff(version_5.1 - version_5.0) <= 2,
        "{ipfix:?} {version_5:?}"
    );
    assert!(
        ipfix.0.abs_diff(version_5.0) <= 60_000,
        "{ipfix:?} {version_5:?}"
    );
}

#[test]
fn times_that_no_flow_can_have_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    // This version of softflowd reckons milliseconds in 32 bits, and comes to a day years ago.
    let datagrams = softflowd(&capture(folder.path()), &["-v", "10", "-A", "milli"]);
    let (events, coverage, collector) = collected(Export::NetFlow, &datagrams);
    assert_eq!(
        collector.exporters()[0].times_not_believed,
        coverage.records
    );
    let export = u32::from_be_bytes(datagrams[0].1[4..8].try_into().unwrap());
    let (start, _, _, _) = totals(&events);
    assert!(start / 1000 >= i64::from(export) - 1, "{start} {export}");
}

#[test]
fn records_of_both_directions_give_the_conversations_of_two_records() {
    let two = conversations(&agree(&["-v", "10"], Times::None));
    let folder = tempfile::tempdir().unwrap();
    let datagrams = softflowd(&capture(folder.path()), &["-v", "10", "-b"]);
    let (one, coverage, _) = collected(Export::NetFlow, &datagrams);
    assert!(coverage.records < two.len() as u64 + 100, "{coverage:?}");
    let one = conversations(&one);
    let same = one
        .iter()
        .filter(|line| two.binary_search(line).is_ok())
        .count();
    let differing: Vec<_> = one
        .iter()
        .filter(|line| two.binary_search(line).is_err())
        .take(20)
        .collect();
    assert!(
        same * 100 >= two.len() * 90,
        "{same} of {} and {}: {differing:#?}",
        one.len(),
        two.len()
    );
}

/// pmacct's probe samples each packet of the capture.
fn sfprobe(folder: &Path, capture: &Path) -> Vec<(SocketAddr, Vec<u8>)> {
    exported(4, |port| {
        let config = folder.join("pmacctd.conf");
        let text = format!(
            "daemonize: false\nplugins: sfprobe\nsfprobe_receiver: 127.0.0.1:{port}\n\
             sfprobe_agentip: 127.0.0.1\nsampling_rate: 1\npcap_savefile: {}\n",
            capture.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = tool("pmacctd");
        command
            .arg("-f")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
            .spawn()
            .unwrap_or_else(|error| missing("pmacctd", &error))
    })
}

#[test]
fn sampled_packets_of_pmacct_are_what_nfdump_makes_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let capture = capture(folder.path());
    let datagrams = sfprobe(folder.path(), &capture);
    let (events, coverage, collector) = collected(Export::Sflow, &datagrams);
    assert_eq!(
        coverage.dropped.get("export_datagrams_lost"),
        None,
        "{coverage:?}"
    );
    let oracle = nfdump("sfcapd", folder.path(), &datagrams);
    assert!(oracle.len() > 10_000, "{}", oracle.len());
    assert_eq!(coverage.records, oracle.len() as u64, "{coverage:?}");
    assert_eq!(coverage.records_judged, coverage.records, "{coverage:?}");
    let of = |transport: Transport| {
        let is_it = |event: &&Event| event.conn.is_some_and(|conn| conn.transport == transport);
        let events: Vec<Event> = events.iter().filter(is_it).cloned().collect();
        let (_, _, packets, payload) = totals(&events);
        (packets, payload)
    };
    let oracle_of = |protocols: &[u8]| {
        let flows = oracle
            .iter()
            .filter(|flow| protocols.contains(&flow.protocol));
        // It counts frames, with Ethernet's header and check sum.
        flows.fold((0, 0), |(packets, payload), flow| {
            (
                packets + flow.packets,
                payload + flow.payload() - 18 * flow.packets,
            )
        })
    };
    assert_eq!(of(Transport::Udp), oracle_of(&[17]));
    assert_eq!(of(Transport::Icmp), oracle_of(&[1, 58]));
    assert_eq!(of(Transport::Tcp).0, oracle_of(&[6]).0);
    assert_eq!(collector.exporters()[0].sampling, 1);
}
