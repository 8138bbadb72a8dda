//! How fast events are kept, how much disk one takes, and how long questions take.
//!
//! ```text
//! cargo bench -p thymus-store --bench archive --profile quick -- 5000000 [FOLDER]
//! ```
//!
//! The events are those of the captures in the lab, again and again, each time later and of other
//! devices. With a folder the archive stays there, for `eval/store`, which asks another engine too.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench for the terminal"
)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thymus_ingest::{Replay, ReplayOptions};
use thymus_schema::{Event, FlowId, Timestamp};
use thymus_store::{Archive, ArchiveLimits, QueryLimits};

/// What is asked. `eval/store` asks two engines more, and compares the answers.
const QUESTIONS: &[(&str, &str)] = &[
    ("count all", "SELECT count(*) FROM events"),
    (
        "top servers by bytes",
        "SELECT server_addr, count(*) AS n, sum(client_bytes + server_bytes) AS bytes FROM flows \
         GROUP BY 1 ORDER BY bytes DESC, 1 LIMIT 20",
    ),
    (
        "who reached most servers",
        "SELECT client_addr, count(DISTINCT server_addr) AS n FROM flows GROUP BY 1 ORDER BY n DESC, 1 LIMIT 20",
    ),
    (
        "one name",
        "SELECT count(*), min(ts), max(ts) FROM dns WHERE query = 'files.office.example'",
    ),
    (
        "names that are not there",
        "SELECT query, count(*) AS n FROM dns WHERE rcode = 3 GROUP BY 1 ORDER BY n DESC, 1 LIMIT 20",
    ),
    (
        "requests by hour",
        "SELECT time_bucket('1h', ts) AS hour, count(*) FROM http GROUP BY 1 ORDER BY 1 LIMIT 50",
    ),
    (
        "the latest 100",
        "SELECT ts, kind, client_addr, server_addr, json FROM events ORDER BY ts DESC LIMIT 100",
    ),
    (
        "one event by its id",
        "SELECT json FROM events WHERE id = '0000000000000000-77'",
    ),
];

/// Events of the lab's captures.
fn captures() -> Vec<Event> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/captures");
    let names = [
        "office-day",
        "story",
        "dns-tunnel",
        "scan-bruteforce",
        "smb-ransom",
    ];
    let mut events = Vec::new();
    for name in names {
        let path = folder.join(format!("{name}.pcap.gz"));
        let mut replay = Replay::open(&[path], ReplayOptions::default()).unwrap();
        let mut batch = Vec::new();
        while replay.next_batch(&mut batch).unwrap() {
            events.append(&mut batch);
        }
        events.append(&mut batch);
    }
    events.sort_by_key(|event| event.ts);
    events
}

/// Copy number `copy` of an event: later, and between other hosts.
fn moved(event: &Event, copy: u64, ts: Timestamp) -> Event {
    let mut event = event.clone();
    event.ts = ts;
    event.id.input.0 ^= copy.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if let Some(conn) = &mut event.conn {
        conn.flow = FlowId(conn.flow.0 ^ copy.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for end in [&mut conn.client, &mut conn.server] {
            if let IpAddr::V4(v4) = end.addr {
                let [a, b, c, d] = v4.octets();
                end.addr = IpAddr::from([a, b, c.wrapping_add((copy % 20) as u8), d]);
            }
        }
    }
    event
}

fn main() {
    let mut args = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"));
    let wanted: u64 = args
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000);
    let kept = args.next().map(PathBuf::from);
    let made = tempfile::tempdir().unwrap();
    let dir = kept.as_deref().unwrap_or(made.path());
    let lab = captures();
    let (first, last) = (lab.first().unwrap().ts, lab.last().unwrap().ts);
    // The events of a copy follow one another over ten minutes, whichever day a capture is of.
    let place = |at: usize| Duration::from_nanos(600_000_000_000 / lab.len() as u64 * at as u64);
    println!("{} events of the lab, {} to {}", lab.len(), first, last);
    let limits = ArchiveLimits {
        free_min: 0,
        age_max: None,
        ..ArchiveLimits::default()
    };
    let mut archive = Archive::open(dir, limits).unwrap();
    let start = Timestamp::parse("2026-01-05T00:00:00Z").unwrap();
    let (mut count, mut copy, mut seq) = (0, 0, 0);
    let mut spent = Duration::ZERO;
    let mut now = start;
    while count < wanted {
        let after = Duration::from_secs(copy * 600);
        let events = lab.iter().enumerate();
        let events = events.map(|(at, event)| moved(event, copy, start.plus(after + place(at))));
        let events: Vec<Event> = events.collect();
        for frame in events.chunks(2_000) {
            seq += 1;
            let began = Instant::now();
            archive.append(seq, frame).unwrap();
            now = frame[0].ts;
            archive.tick(now).unwrap();
            spent += began.elapsed();
            count += frame.len() as u64;
        }
        copy += 1;
    }
    let began = Instant::now();
    archive.flush().unwrap();
    for _ in 0..1_000 {
        archive.tick(now.plus(Duration::from_hours(24))).unwrap();
    }
    spent += began.elapsed();
    let status = archive.status();
    let cpu = processor_secs();
    println!(
        "written {} events in {:.1} s ({cpu:.1} s of the processor with making them): {:.0} events/s, {} parts, {:.1} MB, {:.1} bytes an event",
        status.events,
        spent.as_secs_f64(),
        status.events as f64 / spent.as_secs_f64(),
        status.parts,
        status.bytes as f64 / 1e6,
        status.bytes as f64 / status.events as f64
    );
    let reader = archive.reader();
    for (name, sql) in QUESTIONS {
        let mut times: Vec<(f64, u64, usize)> = (0..3)
            .map(|_| {
                let began = Instant::now();
                let result = reader.query(sql, &QueryLimits::default()).unwrap();
                (
                    began.elapsed().as_secs_f64(),
                    result.scanned_rows,
                    result.rows.len(),
                )
            })
            .collect();
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (secs, scanned, rows) = times[1];
        println!("{secs:8.3} s  {scanned:>10} rows looked at, {rows:>4} given  {name}");
    }
    let to = status.newest;
    let from = to.map(|to| to.minus(Duration::from_hours(1)));
    let hour = QueryLimits {
        from,
        to,
        ..QueryLimits::default()
    };
    for (name, sql) in [QUESTIONS[1], QUESTIONS[6]] {
        let began = Instant::now();
        let result = reader.query(sql, &hour).unwrap();
        let secs = began.elapsed().as_secs_f64();
        println!(
            "{secs:8.3} s  {:>10} rows looked at, {:>4} given  {name}, of the last hour",
            result.scanned_rows,
            result.rows.len()
        );
    }
    println!("peak memory {} kB", peak_memory());
}

/// Seconds of the processor that this process took.
fn processor_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or("?")
        .trim()
        .trim_end_matches(" kB")
        .to_owned()
}
