//! `thymus query` as a person meets it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use thymus_schema::Event;
use thymus_store::{Archive, ArchiveLimits};

fn keep_events(state: &Path) {
    let limits = ArchiveLimits {
        free_min: 0,
        age_max: None,
        ..ArchiveLimits::default()
    };
    let mut archive = Archive::open(&Archive::folder(state), limits).unwrap();
    let event = |index: u32| -> Event {
        let line = format!(
            r#"{{"id":"0000000000000001-{index}","ts":"2026-11-23T10:00:0{index}Z",
                "conn":{{"client":{{"addr":"10.0.0.7","port":5000}},
                        "server":{{"addr":"192.0.2.{index}","port":53}},"transport":"udp"}},
                "kind":"dns","query":"a, \u001b[31m \"b\" {index}.example","qtype":1}}"#
        );
        serde_json::from_str(&line).unwrap()
    };
    archive
        .append(1, &(0..5).map(event).collect::<Vec<_>>())
        .unwrap();
}

fn query(state: &Path, args: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("thymus"))
        .arg("query")
        .args(args)
        .arg("--state")
        .arg(state)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn events_that_were_kept_are_answered_from() {
    let state = tempfile::tempdir().unwrap();
    keep_events(state.path());
    let output = query(
        state.path(),
        &["SELECT client_addr, count(*) AS n FROM dns GROUP BY 1"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "client_addr  n\n10.0.0.7     5\n");
    let output = query(
        state.path(),
        &["SELECT query FROM dns WHERE ts < '2026-11-23T10:00:01'"],
    );
    assert_eq!(
        text(&output.stdout),
        "query\na, \u{fffd}[31m \"b\" 0.example\n"
    );
    let output = query(state.path(), &["SELECT query FROM dns LIMIT 1", "--csv"]);
    assert_eq!(
        text(&output.stdout),
        "query\r\n\"a, \u{1b}[31m \"\"b\"\" 0.example\"\r\n"
    );
    let output = query(
        state.path(),
        &["SELECT id FROM dns", "--json", "--limit", "2"],
    );
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (json["rows"].as_array().unwrap().len(), &json["truncated"]),
        (2, &true.into())
    );
    let from = ["SELECT count(*) FROM dns", "--from", "2026-11-23T10:00:03Z"];
    assert_eq!(
        text(&query(state.path(), &from).stdout),
        "count(*)\n       2\n"
    );
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let state = tempfile::tempdir().unwrap();
    let output = query(state.path(), &["SELECT 1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("no events in"),
        "{}",
        text(&output.stderr)
    );
    keep_events(state.path());
    for (sql, said) in [
        ("SELECT querry FROM dns", "did you mean query?"),
        ("DROP TABLE dns", "only SELECT"),
        ("SELECT 1 FROM dns WHERE ts > 'noon'", "is no time"),
    ] {
        let output = query(state.path(), &[sql]);
        assert_eq!(output.status.code(), Some(2), "{sql}");
        assert!(
            text(&output.stderr).contains(said),
            "{sql}: {}",
            text(&output.stderr)
        );
    }
    let endless =
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT sum(x) FROM n";
    let output = query(state.path(), &[endless, "--max-time", "0"]);
    assert!(
        text(&output.stderr).contains("took too long"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn the_tables_are_listed() {
    let output = Command::new(assert_cmd::cargo::cargo_bin!("thymus"))
        .args(["query", "--tables"])
        .output()
        .unwrap();
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(out.contains("dns: a name query with its answer"), "{out}");
    assert!(out.contains("cidr(addr, net)"), "{out}");
}
