//! What an engine remembers, and what it must forget when a part of its memory is lost.

#![allow(clippy::unwrap_used, reason = "all of this file is a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use thymus_detect::{Engine, EngineConfig};
use thymus_schema::{Event, SnapshotError, SnapshotWriter, Timestamp};

type Sections = BTreeMap<String, Vec<u8>>;

fn saved(engine: &Engine) -> Sections {
    let mut writer = SnapshotWriter::new();
    engine.snapshot(&mut writer);
    writer.finish()
}

fn restored(sections: &Sections) -> (Engine, Vec<SnapshotError>) {
    let mut engine = Engine::new(&EngineConfig::default());
    let lost = engine.restore(|name| sections.get(name).map(Vec::as_slice));
    (engine, lost)
}

/// An engine that has seen a case, and what it remembered half way.
fn learned() -> (Engine, Sections) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let case = root.join("scan_horizontal/worm_tries_smb/events.jsonl");
    let lines = std::fs::read_to_string(case).unwrap();
    let events: Vec<Event> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut engine = Engine::new(&EngineConfig::default());
    let (early, late) = events.split_at(events.len() / 2);
    for event in early {
        engine.observe(event);
    }
    let half = saved(&engine);
    for event in late {
        engine.observe(event);
    }
    engine.finish();
    (engine, half)
}

/// The sections that number devices.
fn dependents(sections: &Sections) -> Sections {
    let mut sections = sections.clone();
    sections.retain(|name, _| name.contains('.'));
    sections
}

#[test]
fn a_whole_memory_comes_back_whole() {
    let (mut engine, _) = learned();
    let sections = saved(&engine);
    let (mut again, lost) = restored(&sections);
    assert_eq!(lost, []);
    assert_eq!(again.summary().devices, engine.summary().devices);
    assert_eq!(saved(&again), sections);
}

#[test]
fn what_numbers_devices_is_dropped_with_the_table_of_devices() {
    let (engine, half) = learned();
    let whole = saved(&engine);
    let cold = dependents(&saved(&restored(&Sections::new()).0));
    assert_ne!(dependents(&whole), cold, "the case teaches something");
    let mut missing = whole.clone();
    missing.remove("entities").unwrap();
    let mut damaged = whole.clone();
    damaged.get_mut("entities").unwrap().truncate(40);
    // As the store gives it when only the table of the snapshot before is whole.
    let mut older = whole.clone();
    older.insert("entities".to_owned(), half["entities"].clone());
    for (sections, named) in [(missing, 0), (damaged, 1), (older, 0)] {
        let (again, lost) = restored(&sections);
        let orphaned = SnapshotError::Orphaned {
            section: "entities".to_owned(),
            orphans: dependents(&whole).len(),
        };
        assert_eq!(lost.len(), named + 1, "{lost:?}");
        assert_eq!(lost.last(), Some(&orphaned));
        assert!(
            lost.iter()
                .all(|lost| lost.to_string().contains("entities"))
        );
        let kept = dependents(&saved(&again));
        let without_stamp = |sections: &Sections| -> Vec<Vec<u8>> {
            sections.values().map(|data| data[12..].to_vec()).collect()
        };
        assert_eq!(without_stamp(&kept), without_stamp(&cold));
    }
}

/// So many conversations of one device, so many days after the case.
fn others(last: u8, days: u64, events: usize) -> Vec<Event> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let case = root.join("scan_horizontal/worm_tries_smb/events.jsonl");
    let case = std::fs::read_to_string(case).unwrap();
    let mut event: Event = serde_json::from_str(case.lines().next().unwrap()).unwrap();
    let conn = event.conn.as_mut().unwrap();
    conn.client.addr = [10, 200, 0, last].into();
    conn.server.addr = [192, 0, 2, 1].into();
    event.ts = event.ts.plus(Duration::from_hours(24 * days));
    vec![event; events]
}

#[test]
fn what_was_not_seen_for_a_season_is_forgotten_across_runs() {
    let (mut engine, _) = learned();
    let known = engine.summary().devices;
    assert!(known > 3, "the case has devices: {known}");
    let feed = |engine: &mut Engine, events: Vec<Event>| {
        for event in &events {
            engine.observe(event);
        }
        engine.summary().devices
    };
    assert_eq!(feed(&mut engine, others(1, 60, 300)), known + 1);
    let before = saved(&engine);
    let (mut again, lost) = restored(&before);
    assert_eq!(lost, []);
    // One event from a machine whose clock is wrong forgets nothing.
    assert_eq!(feed(&mut again, others(2, 9_000, 1)), known + 2);
    assert_eq!(feed(&mut again, others(1, 61, 300)), known + 2);
    // Many days later the case is older than a season, the others are not.
    let rest = feed(&mut again, others(1, 100, 300));
    assert_eq!(rest, 2, "of {known}");
    assert!(
        dependents(&saved(&again))
            .values()
            .map(Vec::len)
            .sum::<usize>()
            < dependents(&before).values().map(Vec::len).sum::<usize>(),
        "what detectors knew of them went too"
    );
}

/// Device-hours watched when one device converses every ten minutes for a day, and after so many of
/// these one event of its has the time of another day.
fn watched_with_a_wrong_clock(after: usize, days: i64) -> f64 {
    let first = others(1, 0, 1).remove(0);
    let at = |minutes: u64| Event {
        ts: first.ts.plus(Duration::from_mins(minutes)),
        ..first.clone()
    };
    let mut events: Vec<Event> = (0..144).map(|n| at(10 * n)).collect();
    let wild = Timestamp::from_secs(first.ts.as_secs() + days * 86_400);
    events.insert(
        after,
        Event {
            ts: wild,
            ..first.clone()
        },
    );
    let mut engine = Engine::new(&EngineConfig::default());
    for event in &events {
        engine.observe(event);
    }
    engine.finish();
    engine.summary().device_hours
}

#[test]
fn one_wrong_clock_does_not_stop_time() {
    let usual = watched_with_a_wrong_clock(70, 0);
    assert!(usual >= 20.0, "{usual}");
    for days in [-20_000, -9, 9, 9_000] {
        for after in [0, 1, 70, 144] {
            let watched = watched_with_a_wrong_clock(after, days);
            assert!(
                (watched - usual).abs() <= 2.0,
                "{days} days off after {after} events: {watched} instead of {usual} device-hours"
            );
        }
    }
}
