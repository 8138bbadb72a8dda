//! The archive when its writer is killed, and when the disk is full.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use thymus_schema::{Event, EventBody, EventId, InputId, QuirkSeen, Timestamp};
use thymus_store::journal::{FrameBody, JournalOptions, JournalReader, JournalWriter};
use thymus_store::{Archive, ArchiveLimits, ArchiveReader, QueryLimits};

const KILLED: &str = "THYMUS_ARCHIVE_TEST_KILLED";
const KEEPER: &str = "THYMUS_ARCHIVE_TEST_KEEPER";
const FULL: &str = "THYMUS_ARCHIVE_TEST_FULL";
const PER_FRAME: u64 = 3;

/// The events of frame `seq`, as a journal would give them again and again; some frames lie in two
/// hours.
fn frame(seq: u64) -> Vec<Event> {
    let event = |i: u64| Event {
        id: EventId {
            input: InputId(1),
            index: (seq - 1) * PER_FRAME + i,
        },
        ts: Timestamp::from_secs(1_795_428_000 + (seq * 40 + i * 1_500) as i64),
        conn: None,
        body: EventBody::Quirk(QuirkSeen {
            parser: "dns".into(),
            // Noise, so that a part has a size.
            quirk: blake3::hash(&(seq * 7 + i).to_le_bytes())
                .to_hex()
                .as_str()
                .into(),
        }),
    };
    (0..PER_FRAME).map(event).collect()
}

fn limits() -> ArchiveLimits {
    ArchiveLimits {
        free_min: 0,
        age_max: None,
        buffered_max: 20,
        ..ArchiveLimits::default()
    }
}

fn numbers(dir: &Path, sql: &str) -> Vec<u64> {
    let result = ArchiveReader::new(dir)
        .query(sql, &QueryLimits::default())
        .unwrap();
    assert_eq!(result.skipped, Vec::<String>::new());
    result.rows[0]
        .iter()
        .map(|value| value.as_u64().unwrap_or(0))
        .collect()
}

/// Run by the test below as a process of its own: writes and merges until it is killed.
fn write_until_killed(dir: &Path) -> ! {
    let mut archive = Archive::open(dir, limits()).unwrap();
    let mut seq = archive.last_seq();
    loop {
        seq += 1;
        archive.append(seq, &frame(seq)).unwrap();
        archive.tick(frame(seq)[0].ts).unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_loses_and_doubles_no_event() {
    if let Ok(folder) = std::env::var(KILLED) {
        write_until_killed(folder.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..25_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["a_kill_at_any_moment_loses_and_doubles_no_event", "--exact"])
            .env(KILLED, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Different moments, none of which matters: the property holds at all of them.
        std::thread::sleep(Duration::from_micros(60_000 + round * 7_919 % 90_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let archive =
            Archive::open(folder.path(), limits()).expect("the lock goes with the process");
        assert_eq!(archive.status().damaged, Vec::new());
        let done = archive.last_seq();
        assert!(done >= last, "{done} after {last}");
        last = done;
        drop(archive);
        let sql = format!(
            "SELECT count(*), count(DISTINCT id), \
             count(*) FILTER (WHERE CAST(substr(id, 18) AS INTEGER) < {}) FROM events",
            done * PER_FRAME
        );
        let found = numbers(folder.path(), &sql);
        assert_eq!(found[0], found[1], "none twice");
        assert_eq!(
            found[2],
            done * PER_FRAME,
            "all that was done, after round {round}"
        );
    }
    assert!(last > 0, "something was written");
}

/// What a keeper does, until the journal has no more.
fn keep(journal: &Path, events: &Path) -> Archive {
    let mut archive = Archive::open(events, limits()).unwrap();
    let mut reader = JournalReader::open(journal, archive.last_seq());
    while let Some(frame) = reader.read().unwrap() {
        if let FrameBody::Events(events) = &frame.body {
            archive.append(frame.seq, events).unwrap();
        }
    }
    archive
}

#[test]
fn the_journal_feeds_what_a_keeper_that_died_had_not_written() {
    if let Ok(folder) = std::env::var(KEEPER) {
        let folder = Path::new(&folder);
        let _archive = keep(&folder.join("journal"), &folder.join("events"));
        // Dies with events that wait.
        std::process::abort();
    }
    let folder = tempfile::tempdir().unwrap();
    let [journal, events] = ["journal", "events"].map(|name| folder.path().join(name));
    let mut writer = JournalWriter::open(&journal, JournalOptions::default(), 0).unwrap();
    for round in 1..=4_u64 {
        for _ in 0..25 {
            let seq = writer.position() + 1;
            let body = FrameBody::Events(frame(seq));
            writer.write(body.kind(), &body.json().unwrap()).unwrap();
            let status = FrameBody::Status(serde_json::json!({}));
            writer
                .write(status.kind(), &status.json().unwrap())
                .unwrap();
        }
        if round < 4 {
            let status = Command::new(std::env::current_exe().unwrap())
                .args([
                    "the_journal_feeds_what_a_keeper_that_died_had_not_written",
                    "--exact",
                ])
                .env(KEEPER, folder.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(status.code(), None, "it died");
            let kept = numbers(&events, "SELECT count(*) FROM events")[0];
            assert!(
                kept < round * 25 * PER_FRAME,
                "nothing waited in round {round}"
            );
        }
    }
    let mut archive = keep(&journal, &events);
    archive.flush().unwrap();
    assert_eq!(
        archive.last_seq(),
        writer.position() - 1,
        "the last frame is a status"
    );
    let found = numbers(&events, "SELECT count(*), count(DISTINCT id) FROM events");
    assert_eq!(found, [100 * PER_FRAME; 2]);
}

/// Run by the test below where the disk holds one megabyte.
fn fill_the_disk(dir: &Path) {
    let limits = ArchiveLimits {
        buffered_max: 300,
        ..limits()
    };
    let mut archive = Archive::open(&dir.join("events"), limits).unwrap();
    let mut seq = 0;
    while archive.status().expired_events == 0 {
        seq += 1;
        assert!(seq < 100_000, "one megabyte is not full");
        archive.append(seq, &frame(seq)).unwrap();
    }
    archive.flush().unwrap();
    let status = archive.status();
    assert_eq!(
        (status.shed_events, status.shedding),
        (0, None),
        "the oldest gave way"
    );
    assert!(
        status.newest > Some(frame(seq)[0].ts),
        "the newest are there"
    );
    // Somebody else takes all the room there is, also what the archive gives up.
    let mut filler = 0;
    while archive.status().shed_events == 0 {
        let path = dir.join(format!("filler-{filler}"));
        filler += 1;
        drop(std::fs::write(path, vec![0u8; 1 << 20]));
        for _ in 0..100 {
            seq += 1;
            archive.append(seq, &frame(seq)).unwrap();
        }
        archive.flush().unwrap();
        assert!(filler < 1_000, "nothing is shed");
    }
    assert!(archive.status().shedding.unwrap().contains("no space left"));
    // Room again: it goes on by itself.
    for filler in 0..filler {
        drop(std::fs::remove_file(dir.join(format!("filler-{filler}"))));
    }
    let shed = archive.status().shed_events;
    seq += 1;
    archive.append(seq, &frame(seq)).unwrap();
    archive.flush().unwrap();
    let status = archive.status();
    assert_eq!(
        (status.shed_events, status.shedding, status.last_seq),
        (shed, None, seq)
    );
    assert_eq!(status.damaged, Vec::new());
}

#[test]
fn on_a_full_disk_the_oldest_events_give_way_and_what_has_no_room_is_counted() {
    if let Ok(folder) = std::env::var(FULL) {
        fill_the_disk(folder.as_ref());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" && shift && exec \"$@\"";
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .arg("on_a_full_disk_the_oldest_events_give_way_and_what_has_no_room_is_counted")
        .args(["--exact", "--nocapture"])
        .env(FULL, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
