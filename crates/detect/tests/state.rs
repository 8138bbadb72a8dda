//! What an engine remembers, and what it must forget when a part of its memory is lost.

#![allow(clippy::unwrap_used, reason = "all of this file is a test")]

use std::collections::BTreeMap;
use std::path::Path;

use thymus_detect::{Engine, EngineConfig};
use thymus_schema::{Event, SnapshotError, SnapshotWriter};

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
    let (engine, _) = learned();
    let sections = saved(&engine);
    let (again, lost) = restored(&sections);
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
