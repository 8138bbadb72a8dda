//! A spool that is killed, damaged and filled.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn mark(frame: u64) -> Mark {
    Mark { frame, index: 0 }
}

fn open(dir: &TempDir) -> Spool {
    Spool::open(dir.path(), SpoolLimits::of(4_000)).unwrap()
}

fn texts(spool: &mut Spool) -> Vec<String> {
    let found = spool.peek(usize::MAX, usize::MAX).unwrap();
    found
        .into_iter()
        .map(|(_, payload)| String::from_utf8(payload).unwrap())
        .collect()
}

#[test]
fn what_was_kept_is_there_after_a_kill_and_what_was_delivered_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir);
    for n in 1..=5 {
        assert!(
            spool
                .append(mark(n), format!("record {n}").as_bytes())
                .unwrap()
        );
    }
    let first = spool.peek(2, usize::MAX).unwrap();
    assert_eq!(first.len(), 2);
    spool.done(first[1].0, false).unwrap();
    // No word of farewell: as if killed.
    std::mem::forget(spool);
    let mut spool = open(&dir);
    assert_eq!(texts(&mut spool), ["record 3", "record 4", "record 5"]);
    assert!(!spool.append(mark(5), b"again").unwrap(), "kept before");
    assert!(spool.append(Mark { frame: 5, index: 1 }, b"new").unwrap());
    assert_eq!(spool.totals().delivered, 2);
    assert_eq!(spool.waiting().0, 4);
}

#[test]
fn a_torn_end_costs_only_what_was_torn() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir);
    for n in 1..=3 {
        spool
            .append(mark(n), format!("record {n}").as_bytes())
            .unwrap();
    }
    let path = segment::path(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut spool = open(&dir);
        let kept = cut * 3 / whole.len();
        assert_eq!(texts(&mut spool).len(), kept, "cut at {cut}");
        assert!(spool.append(mark(9), b"next").unwrap());
        assert_eq!(texts(&mut open(&dir)).last().unwrap(), "next");
        // What the test added goes again.
        for first in segment::list(dir.path()).unwrap() {
            segment::remove(dir.path(), first).unwrap();
        }
        let _is_gone = fs::remove_file(dir.path().join(CURSOR)).is_ok();
    }
}

#[test]
fn a_damaged_record_is_passed_over_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir);
    for n in 1..=3 {
        spool
            .append(mark(n), format!("record {n}").as_bytes())
            .unwrap();
    }
    let path = segment::path(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    // Also by who has it open.
    assert_eq!(texts(&mut spool), ["record 1", "record 3"]);
    assert_eq!(spool.totals().damaged, 1);
    let mut again = open(&dir);
    assert_eq!(texts(&mut again), ["record 1", "record 3"]);
    assert_eq!(again.totals().damaged, 1);
    again.done(3, false).unwrap();
    assert_eq!(again.totals().delivered, 2);
}

#[test]
fn what_has_no_room_goes_from_the_oldest_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir);
    for n in 1..=100_u64 {
        spool.append(mark(n), &[b'x'; 100]).unwrap();
        let held: u64 = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(held < 4_000 + 200, "{held}");
    }
    let (waiting, bytes) = spool.waiting();
    assert_eq!(waiting + spool.totals().dropped, 100);
    assert!(waiting > 20 && bytes <= 4_000);
    let found = spool.peek(1, usize::MAX).unwrap();
    assert_eq!(found[0].0, 101 - waiting);
    let again = open(&dir);
    assert_eq!(again.waiting(), (waiting, bytes));
    assert_eq!(again.totals().dropped, 100 - waiting);
}

#[test]
fn what_is_larger_than_all_of_it_is_refused_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir);
    spool.append(mark(1), b"small").unwrap();
    assert!(spool.append(mark(2), &[0; 5_000]).unwrap());
    assert!(!open(&dir).append(mark(2), &[0; 5_000]).unwrap());
    assert_eq!(spool.totals().refused, 1);
    assert_eq!(texts(&mut spool), ["small"]);
}

#[test]
fn a_cursor_that_is_lost_repeats_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir);
    spool.append(mark(1), b"one").unwrap();
    spool.done(1, false).unwrap();
    spool.append(mark(2), b"two").unwrap();
    fs::write(dir.path().join(CURSOR), "").unwrap();
    assert_eq!(texts(&mut open(&dir)), ["one", "two"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Appends, deliveries and kills in any order: every record is delivered, in order, each once but for what was
    /// delivered without its number being written down.
    #[test]
    fn nothing_is_lost_by_kills(steps in prop::collection::vec(0_u8..4, 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let limits = SpoolLimits { bytes_max: 1 << 20, segment_bytes_max: 120 };
        let mut spool = Spool::open(dir.path(), limits).unwrap();
        let (mut kept, mut delivered) = (0_u64, 0_u64);
        for step in steps {
            match step {
                0 | 1 => {
                    kept += 1;
                    prop_assert!(spool.append(mark(kept), kept.to_string().as_bytes()).unwrap());
                }
                2 => {
                    let found = spool.peek(1, 100).unwrap();
                    if let Some((number, payload)) = found.first() {
                        delivered += 1;
                        let wanted = delivered.to_string();
                        prop_assert_eq!(payload.as_slice(), wanted.as_bytes());
                        spool.done(*number, false).unwrap();
                    }
                }
                _ => spool = Spool::open(dir.path(), limits).unwrap(),
            }
            prop_assert_eq!(spool.waiting().0, kept - delivered);
            prop_assert_eq!(spool.mark(), mark(kept));
        }
    }
}
