//! `thymus config`, and runs that take their settings from a file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn thymus(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_thymus"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes a file and gives its path.
fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("thymus.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_file_is_checked_before_anything_is_watched() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = file(folder.path(), "interface = \"lo\"\nbuget = 3\nbudget = 0\n");
    for command in [
        &["config", "check", &wrong][..],
        &["run", "--config", &wrong],
        &["run", "--config", &wrong, "--stop-after", "1"],
    ] {
        let output = thymus(command);
        let is_check = command[0] == "config";
        assert_eq!(output.status.code(), Some(if is_check { 1 } else { 2 }));
        assert_eq!(text(&output.stdout), "");
        let said = text(&output.stderr);
        assert!(
            said.contains(&format!(
                "{wrong}:2:1: there is no setting buget; did you mean budget?"
            )),
            "{said}"
        );
        assert!(
            said.contains(&format!(
                "{wrong}:3:10: budget: 0: a number between 0.1 and 1000"
            )),
            "{said}"
        );
    }
    let right = file(folder.path(), "interface = \"lo\"\nbudget = 3\n");
    let output = thymus(&["config", "check", &right]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("can be used"));
    // What does not go together is told as such, in a check and in a run.
    let apart = file(folder.path(), "follow = \"logs\"\nfilter = \"ip\"\n");
    for (command, code) in [
        (&["config", "check", &apart][..], 1),
        (&["run", "--config", &apart], 2),
    ] {
        let output = thymus(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("filter goes with --interface"), "{said}");
    }
    let nothing = file(folder.path(), "budget = 3\n");
    let output = thymus(&["run", "--config", &nothing]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("--collect"),
        "{}",
        text(&output.stderr)
    );
    assert!(thymus(&["config", "check", &nothing]).status.success());
}

#[test]
fn what_a_file_names_is_looked_at_too() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |text_of_file: &str, parts: &[&str]| {
        let path = file(folder.path(), text_of_file);
        let output = thymus(&["config", "check", &path]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part} not in {said}");
        }
    };
    refused(
        "interface = \"lo\"\nindicators = \"none.csv\"\n",
        &["none.csv"],
    );
    refused(
        "interface = \"lo\"\nstate = \"state\"\nconsole = \"127.0.0.1:8642\"\n\
         console-tls-cert = \"c.pem\"\nconsole-tls-key = \"k.pem\"\n",
        &["c.pem"],
    );
    refused(
        "interface = \"lo\"\nstate = \"state\"\nkeep-event-days = 30\n",
        &["keep-event-days", "--console"],
    );
    let open = file(folder.path(), "interface = \"lo\"\n");
    let others = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&open, others).unwrap();
    let output = thymus(&["config", "check", &open]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no others may write it"));
}

#[test]
fn the_settings_are_shown_with_where_they_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        "# ours\nlocal = [\"10.0.0.0/8\", \"192.0.2.0/24\"]\nbudget = 3\nstate = \"state\"\n",
    );
    let command = [
        "config", "show", &path, "--json", "--", "-i", "lo", "--budget", "7",
    ];
    let output = thymus(&command);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let one = |name: &str| {
        let all = shown["settings"].as_array().unwrap();
        let one = all.iter().find(|one| one["name"] == name).unwrap();
        (
            one["values"].to_string(),
            one["origin"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(
        one("interface"),
        ("[\"lo\"]".to_owned(), "command line".to_owned())
    );
    assert_eq!(
        one("budget"),
        ("[\"7\"]".to_owned(), "command line".to_owned())
    );
    let (local, origin) = one("local");
    assert_eq!(local, "[\"10.0.0.0/8\",\"192.0.2.0/24\"]");
    assert_eq!(origin, format!("{path}:2"));
    let state = folder.path().join("state");
    assert_eq!(one("state").0, format!("[\"{}\"]", state.display()));
    assert_eq!(
        one("keep-packets"),
        ("[\"1024\"]".to_owned(), "default".to_owned())
    );
    assert_eq!(one("keep-event-days").0, "[\"90\"]");
    let plain = text(&thymus(&["config", "show"]).stdout);
    assert!(
        plain
            .lines()
            .any(|line| line.starts_with("filter ") && line.contains("reload")),
        "{plain}"
    );
    let wrong = thymus(&["config", "show", &path, "--", "--nonsense"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("--nonsense"));
}

#[test]
fn the_file_of_the_package_is_understood_and_sets_nothing() {
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/thymus.toml");
    let packaged = std::fs::read_to_string(packaged).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &packaged);
    let output = thymus(&["config", "show", &path, "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = shown["settings"].as_array().unwrap();
    assert!(all.iter().all(|one| one["origin"] == "default"), "{shown}");
    // Each line that is commented out is a setting that is understood, and what is no example is the default.
    for line in packaged.lines().filter_map(|line| line.strip_prefix("# ")) {
        let Some((name, _)) = line.split_once(" = ") else {
            continue;
        };
        let path = file(folder.path(), line);
        let output = thymus(&["config", "show", &path, "--json"]);
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        let now = shown["settings"].as_array().unwrap().iter();
        let now = now.clone().find(|one| one["name"] == name).unwrap();
        let before = all.iter().find(|one| one["name"] == name).unwrap();
        if !line.contains("e.g.") && !name.contains("tls") {
            let number = |one: &Value| one["values"][0].as_str().unwrap_or("false").parse::<f64>();
            assert_eq!(number(now), number(before), "{line}");
        }
    }
    for one in all {
        let name = one["name"].as_str().unwrap();
        assert!(
            packaged.contains(&format!("# {name} = ")),
            "{name} is not in the file"
        );
    }
}
