//! Log folders become the events that stand beside them: `cases/logs/<case>/input` holds the files,
//! `expect.jsonl` the events in order and, last, the coverage and what the ledger complains about.
//! `UPDATE_EXPECT=1` rewrites the expectations.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use thymus_ingest::{IngestError, InputStatus, Replay, ReplayOptions};
use thymus_schema::Event;

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/logs")
}

/// All events of `paths`, and the replay at its end.
fn replay(paths: &[PathBuf], options: ReplayOptions) -> (Vec<Event>, Replay) {
    let mut replay = Replay::open(paths, options).unwrap();
    let mut events = Vec::new();
    while replay.next_batch(&mut events).unwrap() {}
    (events, replay)
}

/// Events as text, one a line, then what was not read and why. Paths are left out: they differ.
fn told(paths: &[PathBuf]) -> String {
    let (events, replay) = replay(paths, ReplayOptions::default());
    let mut lines: Vec<String> = events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    let mut coverage = replay.coverage();
    coverage.bytes = 0;
    lines.push(serde_json::to_string(&coverage).unwrap());
    for entry in &replay.ledger().entries {
        for problem in &entry.problems {
            lines.push(format!(
                "{} {:?} {}",
                entry.format, entry.status, problem.reason
            ));
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn every_case_gives_its_events() {
    let mut folders: Vec<PathBuf> = fs::read_dir(cases())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    assert!(folders.len() >= 4);
    for folder in folders {
        let got = told(&[folder.join("input")]);
        let expect = folder.join("expect.jsonl");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expect, &got).unwrap();
        }
        let wanted = fs::read_to_string(&expect).unwrap();
        assert_eq!(got, wanted, "{}", folder.display());
    }
}

#[test]
fn a_mixture_gives_the_same_events_twice_and_in_order() {
    let paths = [cases()];
    let (events, _) = replay(&paths, ReplayOptions::default());
    assert!(events.len() > 40);
    assert!(events.is_sorted_by_key(|event| event.ts));
    let mut ids: Vec<_> = events.iter().map(|event| event.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "ids are unique");
    assert_eq!(told(&paths), told(&paths));
}

#[test]
fn what_was_imported_is_known_and_what_is_there_twice_is_read_once() {
    let log = cases().join("eve/input/eve.json");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.json");
    fs::copy(&log, &copy).unwrap();
    let (events, first) = replay(&[log.clone(), copy], ReplayOptions::default());
    let statuses: Vec<_> = first
        .ledger()
        .entries
        .iter()
        .map(|entry| entry.status)
        .collect();
    assert_eq!(statuses, [InputStatus::Read, InputStatus::Duplicate]);
    let known = first.ledger().read_ids().collect();
    let (again, second) = replay(
        &[log],
        ReplayOptions {
            known,
            ..ReplayOptions::default()
        },
    );
    assert!(!events.is_empty() && again.is_empty());
    assert_eq!(second.ledger().totals().known, 1);
}

#[test]
fn compressed_logs_are_read_and_a_cut_one_tells_where() {
    let text = fs::read(cases().join("zeek-tsv/input/dns.log")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dns.00:00:00-01:00:00.log.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&text).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut whole = 0;
    for len in 0..=gzip.len() {
        fs::write(&path, &gzip[..len]).unwrap();
        match Replay::open(std::slice::from_ref(&path), ReplayOptions::default()) {
            Err(IngestError::NothingReadable { .. }) => {}
            Err(error) => panic!("{error}"),
            Ok(mut replay) => {
                let mut events = Vec::new();
                while replay.next_batch(&mut events).unwrap() {}
                assert!(events.len() <= 3);
                let entry = &replay.ledger().entries[0];
                let is_whole = entry.status == InputStatus::Read;
                assert_eq!(is_whole, entry.problems.is_empty(), "cut at {len}");
                assert_eq!(is_whole, len == gzip.len(), "cut at {len}");
                whole += usize::from(is_whole);
            }
        }
    }
    assert_eq!(whole, 1);
    fs::write(
        folder.path().join("z.log"),
        zstd::encode_all(text.as_slice(), 1).unwrap(),
    )
    .unwrap();
    let (events, replay) = replay(&[folder.path().to_path_buf()], ReplayOptions::default());
    assert_eq!(
        events.len(),
        6,
        "the same log in two wrappings is two inputs"
    );
    assert_eq!(replay.coverage().records, 6);
}

#[test]
fn rotated_logs_are_one_stream() {
    use std::fmt::Write as _;
    let folder = tempfile::tempdir().unwrap();
    for hour in 0..24 {
        let name = format!("conn.{hour:02}:00:00-{:02}:00:00.log", hour + 1);
        let day = folder.path().join("2024-05-06");
        fs::create_dir_all(&day).unwrap();
        let mut log = String::from("#separator \\x09\n#path\tconn\n#fields\tts\tuid\tid.orig_h");
        log.push_str("\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tduration\n");
        for minute in 0..60 {
            let ts = 1_714_953_600 + hour * 3600 + minute * 60;
            writeln!(log, "{ts}.0\tC{ts}\t10.0.0.7\t1\t10.0.0.8\t2\ttcp\t100.0").unwrap();
        }
        fs::write(day.join(name), log).unwrap();
    }
    let mut options = ReplayOptions::default();
    options.limits.open_lanes_max = 2;
    let (events, replay) = replay(&[folder.path().to_path_buf()], options);
    assert_eq!(events.len(), 24 * 60);
    assert!(events.is_sorted_by_key(|event| event.ts));
    assert_eq!(replay.coverage().dropped.get("late_record"), None);
    assert_eq!(replay.progress().0, replay.progress().1);
}

#[test]
fn what_is_no_log_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("empty.log"), "").unwrap();
    fs::write(at("notes.txt"), "dear diary\n").unwrap();
    fs::write(at("data.bin"), [0u8; 64]).unwrap();
    fs::write(at("a.zip"), b"PK\x03\x04rest").unwrap();
    std::os::unix::fs::symlink(folder.path(), at("loop")).unwrap();
    std::os::unix::fs::symlink("/does/not/exist", at("dangling")).unwrap();
    let paths = [folder.path().to_path_buf()];
    let Err(error) = Replay::open(&paths, ReplayOptions::default()) else {
        panic!("opened")
    };
    assert!(error.to_string().contains("none of the 5 files"), "{error}");
    fs::copy(cases().join("eve/input/eve.json"), at("eve.json")).unwrap();
    let (events, replay) = replay(&paths, ReplayOptions::default());
    assert!(!events.is_empty());
    let totals = replay.ledger().totals();
    assert_eq!((totals.refused, totals.read), (5, 1));
    for entry in &replay.ledger().entries {
        let refused = entry.status == InputStatus::Refused;
        assert_eq!(
            refused,
            entry.problems.iter().any(|p| !p.remedy.is_empty()),
            "{entry:?}"
        );
    }
    let missing = Replay::open(&[at("nowhere")], ReplayOptions::default());
    assert!(matches!(missing, Err(IngestError::Open { .. })));
    assert!(matches!(
        Replay::open(&[], ReplayOptions::default()),
        Err(IngestError::NoPaths)
    ));
}

/// Xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) as usize % bound.max(1)
    }
}

#[test]
fn mutated_logs_are_read_without_harm() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(0x7468_796d_7573);
    let names = [
        "zeek-tsv/input/conn.log",
        "zeek-json/input/mixed.log",
        "eve/input/eve.json",
    ];
    for round in 0..150 {
        for (index, name) in names.iter().enumerate() {
            let mut bytes = fs::read(cases().join(name)).unwrap();
            for _ in 0..=dice.below(6) {
                let at = dice.below(bytes.len());
                match dice.below(4) {
                    0 => bytes[at] ^= 1 << dice.below(8),
                    1 => bytes.truncate(at),
                    2 => bytes.insert(at, b"\t\n,-\"\\{}[]\0\xff"[dice.below(12)]),
                    _ => {
                        let end = (at + dice.below(40)).min(bytes.len());
                        bytes.drain(at..end);
                    }
                }
                if bytes.is_empty() {
                    break;
                }
            }
            fs::write(folder.path().join(format!("{index}.log")), &bytes).unwrap();
        }
        match Replay::open(&[folder.path().to_path_buf()], ReplayOptions::default()) {
            Err(error) => assert!(
                matches!(error, IngestError::NothingReadable { .. }),
                "{error}"
            ),
            Ok(mut replay) => {
                let mut events = Vec::new();
                while replay.next_batch(&mut events).unwrap() {}
                let coverage = replay.coverage();
                assert!(coverage.records_judged <= coverage.records, "round {round}");
                assert_eq!(coverage.events as usize, events.len());
            }
        }
    }
}
