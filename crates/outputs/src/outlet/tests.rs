//! Outputs whose receivers are slow, hang, refuse and panic.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::spool::SpoolLimits;

const WANTS: Wants = Wants {
    incidents: true,
    decisions: true,
    alerts: false,
    level_min: Level::Low,
};

fn around() -> Surroundings {
    Surroundings {
        clock: Arc::new(|| Timestamp::from_secs(1_700_000_000)),
        jitter: Arc::new(|| 0.0),
    }
}

fn record(n: u64) -> Record {
    Record::new(
        Kind::Incident,
        false,
        json!({"id": n.to_string(), "confidence": "medium"}),
    )
}

fn mark(frame: u64) -> Mark {
    Mark { frame, index: 0 }
}

fn start(dir: &std::path::Path, sink: impl Sink + 'static) -> Outlet {
    let spool = Spool::open(dir, SpoolLimits::default()).unwrap();
    Outlet::start("test", "test://", WANTS, spool, Box::new(sink), around())
}

/// Waits for what is bound to come.
fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Writes down what came; the rest is what a test says.
#[derive(Clone, Default)]
struct Receiver1 {
    got: Arc<Mutex<Vec<String>>>,
    hangs: Arc<AtomicBool>,
    panics: Arc<AtomicUsize>,
    refuses: Option<&'static str>,
}

impl Receiver1 {
    fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }
}

impl Sink for Receiver1 {
    fn send(&mut self, records: &[Record]) -> Result<(), Failure> {
        while self.hangs.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        for (at, record) in records.iter().enumerate() {
            let id = record.body["id"].as_str().unwrap().to_owned();
            if self.refuses == Some(id.as_str()) {
                let failure = Failure::unreachable("no, thank you");
                return Err(Failure {
                    done: at,
                    blame: Blame::Never,
                    ..failure
                });
            }
            let left = self.panics.load(Ordering::Relaxed);
            if left > 0 {
                self.panics.store(left - 1, Ordering::Relaxed);
                panic!("a fault of the sink");
            }
            self.got.lock().unwrap().push(id);
        }
        Ok(())
    }
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn what_is_offered_arrives_in_order_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Receiver1::default();
    let outlet = start(dir.path(), sink.clone());
    for n in 1..=100 {
        assert_eq!(outlet.offer(mark(n), &record(n)), Offered::Taken);
    }
    let low = Record::new(Kind::Alert, false, json!({"id": "x"}));
    assert_eq!(outlet.offer(mark(101), &low), Offered::NotWanted);
    until(|| outlet.health().delivered == 100);
    assert_eq!(outlet.kept(), mark(100));
    let health = outlet.health();
    assert_eq!(
        (health.waiting, health.dropped, health.failing_since),
        (0, 0, None)
    );
    outlet.end(Duration::from_secs(5));
    // The same frames again, as after a kill of whoever offers.
    let outlet = start(dir.path(), sink.clone());
    for n in 90..=110 {
        outlet.offer(mark(n), &record(n));
    }
    until(|| outlet.health().delivered == 110);
    outlet.end(Duration::from_secs(5));
    assert_eq!(sink.got(), numbers(1..=110));
}

#[test]
fn a_receiver_that_hangs_holds_up_nobody_and_gets_all_of_it_later() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Receiver1::default();
    sink.hangs.store(true, Ordering::Relaxed);
    let outlet = start(dir.path(), sink.clone());
    let mut n = 0;
    while n < 3_000 {
        match outlet.offer(mark(n + 1), &record(n + 1)) {
            Offered::Taken => n += 1,
            // Only the disk is waited for here, by the test, not by the offer.
            _ => thread::yield_now(),
        }
    }
    until(|| outlet.kept() == mark(3_000));
    assert_eq!(outlet.health().delivered, 0);
    // Killed: nothing is ended, a second one goes on where the disk says.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let other = Receiver1::default();
    let second = start(copy.path(), other.clone());
    until(|| second.health().delivered == 3_000);
    assert_eq!(other.got(), numbers(1..=3_000));
    sink.hangs.store(false, Ordering::Relaxed);
    until(|| outlet.health().delivered == 3_000);
    assert_eq!(sink.got(), numbers(1..=3_000));
}

#[test]
fn what_a_receiver_never_takes_is_counted_and_the_rest_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Receiver1 {
        refuses: Some("3"),
        ..Receiver1::default()
    };
    let outlet = start(dir.path(), sink.clone());
    for n in 1..=5 {
        outlet.offer(mark(n), &record(n));
    }
    until(|| outlet.health().delivered == 4);
    let health = outlet.health();
    assert_eq!((health.refused, health.waiting), (1, 0));
    assert_eq!(health.last_error.as_deref(), Some("no, thank you"));
    assert_eq!(sink.got(), ["1", "2", "4", "5"]);
}

#[test]
fn a_sink_that_panics_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Receiver1::default();
    sink.panics.store(1, Ordering::Relaxed);
    let outlet = start(dir.path(), sink.clone());
    outlet.offer(mark(1), &record(1));
    until(|| outlet.health().delivered == 1);
    let health = outlet.health();
    assert!(health.last_error.unwrap().contains("panicked"));
    assert_eq!(health.failing_since, None);
}
