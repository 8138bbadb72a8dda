//! A state folder survives being killed at any moment.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use thymus_store::StateDir;

const CHILD: &str = "THYMUS_STORE_TEST_FOLDER";
const SECTIONS: [&str; 3] = ["calibration", "engine", "imports"];

/// Snapshot number `n`: every section says `n`, so a mixture would show.
fn snapshot(n: u64) -> BTreeMap<String, Vec<u8>> {
    SECTIONS
        .iter()
        .enumerate()
        .map(|(place, name)| {
            (
                (*name).to_owned(),
                n.to_le_bytes().repeat(1_000 * (place + 1)),
            )
        })
        .collect()
}

fn number(sections: &BTreeMap<String, Vec<u8>>) -> u64 {
    let numbers: Vec<u64> = SECTIONS
        .iter()
        .map(|name| u64::from_le_bytes(sections[*name][..8].try_into().unwrap()))
        .collect();
    assert_eq!(
        sections,
        &snapshot(numbers[0]),
        "one whole snapshot and no mixture"
    );
    numbers[0]
}

/// Run by the test below as a process of its own: writes snapshots until it is killed.
fn write_until_killed(folder: &str) -> ! {
    let state = StateDir::open(folder.as_ref()).unwrap();
    let known = state.load().unwrap().by_name;
    let mut n = if known.is_empty() { 0 } else { number(&known) };
    loop {
        n += 1;
        state.save(&snapshot(n)).unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_state() {
    if let Ok(folder) = std::env::var(CHILD) {
        write_until_killed(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..25_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["a_kill_at_any_moment_leaves_a_whole_state", "--exact"])
            .env(CHILD, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Different moments, none of which matters: the property holds at all of them.
        std::thread::sleep(Duration::from_micros(5_000 + round * 7_919 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let state = StateDir::open(folder.path()).expect("the lock goes with the process");
        let loaded = state.load().unwrap();
        assert_eq!(loaded.remarks, Vec::<String>::new());
        if !loaded.by_name.is_empty() {
            let n = number(&loaded.by_name);
            assert!(n >= last, "{n} after {last}");
            last = n;
        }
    }
    // However slow the machine, this process can write, and what it writes is there.
    let state = StateDir::open(folder.path()).unwrap();
    state.save(&snapshot(last + 1)).unwrap();
    assert_eq!(number(&state.load().unwrap().by_name), last + 1);
}
