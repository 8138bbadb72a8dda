use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::segment::list;
use super::*;

fn small() -> JournalOptions {
    JournalOptions {
        bytes_max: 6_000,
        segment_bytes_max: 1_000,
    }
}

fn write(journal: &mut JournalWriter, body: &FrameBody) -> u64 {
    journal.write(body.kind(), &body.json().unwrap()).unwrap()
}

/// JSON that does not pack well.
fn noise(n: u64) -> Value {
    let text: String = (0..20)
        .map(|i| {
            blake3::hash(&[i, n as u8, (n >> 8) as u8])
                .to_hex()
                .to_string()
        })
        .collect();
    json!({ "n": n, "text": text })
}

fn read_all(dir: &Path) -> (Vec<u64>, ReaderCounters) {
    let mut reader = JournalReader::open(dir, 0);
    let mut seqs = Vec::new();
    while let Some(frame) = reader.read().unwrap() {
        seqs.push(frame.seq);
    }
    (seqs, reader.counters())
}

fn events(n: u64) -> FrameBody {
    let line = format!(
        r#"{{"id":"0000000000000001-{n}","ts":"2024-05-06T10:00:00Z",
        "conn":{{"client":{{"addr":"10.0.0.7","port":5000}},
        "server":{{"addr":"10.0.0.1","port":53}},"transport":"udp"}},
        "kind":"dns","query":"example-{}.org","qtype":1,"rcode":0}}"#,
        blake3::hash(&n.to_le_bytes()).to_hex()
    );
    FrameBody::Events(vec![serde_json::from_str(&line).unwrap(); 3])
}

#[test]
fn what_is_written_is_read_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = JournalWriter::open(dir.path(), JournalOptions::default(), 0).unwrap();
    let mut reader = JournalReader::open(dir.path(), 0);
    assert_eq!(reader.read().unwrap(), None);
    for (n, body) in [events(1), FrameBody::Status(json!({"a": 1})), events(2)]
        .into_iter()
        .enumerate()
    {
        let seq = write(&mut journal, &body);
        assert_eq!(seq, n as u64 + 1);
        assert_eq!(reader.read().unwrap(), Some(Frame { seq, body }));
        assert_eq!(reader.read().unwrap(), None);
    }
    let mut later = JournalReader::open(dir.path(), 2);
    assert_eq!(later.read().unwrap().unwrap().seq, 3);
}

#[test]
fn what_somebody_has_not_read_who_is_heeded_stays() {
    let dir = tempfile::tempdir().unwrap();
    let position = dir.path().join("position");
    let options = JournalOptions {
        bytes_max: 1 << 20,
        ..small()
    };
    let mut journal = JournalWriter::open(dir.path(), options, 0).unwrap();
    journal.heed(position.clone());
    let mut fill = |n: u64| {
        for _ in 0..n {
            let seq = write(&mut journal, &FrameBody::Status(noise(1)));
            journal.keep_after(seq);
            JournalReader::open(dir.path(), 0).taken(seq).unwrap();
        }
        read_all(dir.path()).0[0]
    };
    assert_eq!(fill(10), 1, "nobody said how far they are");
    fs::write(&position, "4").unwrap();
    assert_eq!(fill(2), 5);
    fs::write(&position, "1000").unwrap();
    assert!(fill(2) > 10);
}

#[test]
fn a_journal_goes_on_where_it_ended_over_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    for run in 0..5 {
        let mut journal = JournalWriter::open(dir.path(), small(), 0).unwrap();
        assert_eq!(journal.position(), run);
        write(&mut journal, &FrameBody::Status(noise(run)));
    }
    let (seqs, counters) = read_all(dir.path());
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
    assert_eq!(counters, ReaderCounters::default());
}

#[test]
fn a_cut_at_any_byte_loses_the_cut_frame_only_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = JournalWriter::open(dir.path(), JournalOptions::default(), 0).unwrap();
    for n in 0..3 {
        write(&mut journal, &FrameBody::Status(json!(n)));
    }
    let path = &list(dir.path()).unwrap()[0].path;
    let whole = fs::read(path).unwrap();
    for cut in 0..whole.len() {
        fs::write(path, &whole[..cut]).unwrap();
        let mut journal = JournalWriter::open(dir.path(), JournalOptions::default(), 3).unwrap();
        write(&mut journal, &FrameBody::Status(json!("new")));
        let (seqs, counters) = read_all(dir.path());
        assert_eq!(seqs.last(), Some(&4), "cut at {cut}");
        assert_eq!(seqs.len() as u64 + counters.frames_gone, 4, "cut at {cut}");
        fs::remove_file(super::segment::path_of(dir.path(), 4)).unwrap();
    }
}

#[test]
fn a_changed_byte_is_found_and_the_next_segment_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = JournalWriter::open(dir.path(), JournalOptions::default(), 0).unwrap();
    for n in 0..3 {
        write(&mut journal, &FrameBody::Status(json!(n)));
    }
    let path = list(dir.path()).unwrap()[0].path.clone();
    let whole = fs::read(&path).unwrap();
    let mut journal = JournalWriter::open(dir.path(), JournalOptions::default(), 0).unwrap();
    write(&mut journal, &FrameBody::Status(json!("new")));
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&path, bytes).unwrap();
        let (seqs, counters) = read_all(dir.path());
        assert_eq!(seqs.last(), Some(&4), "byte {at}");
        assert_eq!(seqs.len() as u64 + counters.frames_gone, 4, "byte {at}");
        assert!(counters.damaged + counters.torn > 0, "byte {at}");
    }
}

#[test]
fn when_it_is_full_events_go_before_anything_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = JournalWriter::open(dir.path(), small(), 0).unwrap();
    for n in 0..60 {
        write(&mut journal, &events(n));
        if n % 20 == 0 {
            write(
                &mut journal,
                &FrameBody::Incidents(vec![json!({ "id": n })]),
            );
        }
    }
    assert!(journal.event_frames_dropped() > 20);
    let mut reader = JournalReader::open(dir.path(), 0);
    let mut incidents = 0;
    while let Some(frame) = reader.read().unwrap() {
        incidents += u32::from(frame.body.kind() == FrameKind::Incidents);
    }
    assert_eq!(incidents, 3);
    assert!(reader.counters().frames_gone >= journal.event_frames_dropped());
    let size: u64 = list(dir.path())
        .unwrap()
        .iter()
        .map(|one| fs::metadata(&one.path).unwrap().len())
        .sum();
    assert!(size < 8_000, "{size}");
}

#[test]
fn what_everybody_has_is_taken_away_and_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = JournalWriter::open(dir.path(), small(), 0).unwrap();
    let mut last = 0;
    for n in 0..6 {
        last = write(&mut journal, &FrameBody::Status(noise(n)));
    }
    JournalReader::open(dir.path(), 0).taken(last).unwrap();
    journal.keep_after(last);
    write(&mut journal, &FrameBody::Status(noise(7)));
    assert_eq!(read_all(dir.path()).0, [last + 1]);
    for segment in list(dir.path()).unwrap() {
        fs::remove_file(segment.path).unwrap();
    }
    let journal = JournalWriter::open(dir.path(), small(), 0).unwrap();
    assert_eq!(journal.position(), last, "a number is not given twice");
}

#[test]
fn kinds_that_are_not_wanted_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = JournalWriter::open(dir.path(), JournalOptions::default(), 0).unwrap();
    write(&mut journal, &FrameBody::Status(json!(1)));
    write(&mut journal, &events(1));
    write(&mut journal, &FrameBody::Mark(json!({})));
    let mut reader = JournalReader::open(dir.path(), 0);
    let frame = reader.next_of(|kind| kind == FrameKind::Events).unwrap();
    assert_eq!(frame.unwrap().seq, 2);
    assert_eq!(
        reader.next_of(|kind| kind == FrameKind::Events).unwrap(),
        None
    );
    assert_eq!(reader.position(), 3);
    assert_eq!(reader.counters(), ReaderCounters::default());
}
