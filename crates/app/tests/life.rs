//! `thymus life`: of which devices the pattern of life is known well enough to be enforced.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const HEADER: &str = "#separator \\x09\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\t\
    proto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\n";
/// A Monday.
const FIRST: u64 = 1_709_510_400;

/// A day on which a printer's server is asked every hour and a person goes somewhere new.
fn day(folder: &Path, day: u64) -> String {
    let mut text = HEADER.to_owned();
    for hour in 0..24 {
        let at = FIRST + day * 86_400 + hour * 3_600;
        let mut line = |client: &str, server: &str, port: u16| {
            writeln!(
                text,
                "{at}.0\tC{at}{port}{server}\t{client}\t4{hour:02}00\t{server}\t{port}\ttcp\t-\t1.0\t500\t900\tSF"
            )
            .unwrap();
        };
        line("10.0.0.5", "10.0.0.9", 631);
        line("10.0.0.6", "10.0.0.9", 631);
        if hour == 12 {
            line("10.0.0.6", &format!("198.51.100.{}", 10 + day), 443);
        }
    }
    let path = folder.join(format!("day-{day}"));
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("conn.log"), text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn life(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_thymus"))
        .arg("life")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn of<'a>(devices: &'a Value, device: &str) -> &'a Value {
    let mut all = devices["devices"].as_array().unwrap().iter();
    all.find(|one| one["device"] == device).unwrap()
}

#[test]
fn each_day_is_held_against_those_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let days: Vec<String> = (0..4).map(|number| day(dir.path(), number)).collect();
    let mut words: Vec<&str> = days.iter().map(String::as_str).collect();
    let (code, said, _) = life(&words);
    assert_eq!(code, Some(1), "one is not known well: {said}");
    assert!(said.contains("Of 3 devices 2 are known well"), "{said}");
    words.push("--json");
    let (_, said, _) = life(&words);
    let said: Value = serde_json::from_str(&said).unwrap();
    let printer = of(&said, "10.0.0.9");
    assert_eq!(
        (&printer["cut"], &printer["flows"]),
        (&0.into(), &96.into())
    );
    // The first day ended a second short of a whole one, so the second is not held against it.
    assert_eq!(of(&said, "10.0.0.6")["cut"], 2);
    let (code, said, _) = life(&[&words[..4], &["--device", "10.0.0.6"]].concat());
    assert_eq!(code, Some(1));
    assert!(said.contains("to 198.51.100.12 by tcp/443"), "{said}");
    let (code, ..) = life(&[&words[..4], &["--limit", "5"]].concat());
    assert_eq!(code, Some(0));
}

#[test]
fn what_is_held_is_held_against_what_was_learned() {
    let dir = tempfile::tempdir().unwrap();
    let days: Vec<String> = (0..2).map(|number| day(dir.path(), number)).collect();
    let (code, said, _) = life(&[&days[0], "--held", &days[1], "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, Some(1));
    let person = of(&said, "10.0.0.6");
    assert_eq!((&person["cut"], &person["flows"]), (&1.into(), &25.into()));
    assert_eq!(person["outside"][0]["server"], "198.51.100.11");
    assert_eq!(person["inside"][0]["flows"], 24);
}

#[test]
fn what_cannot_be_said_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let one = day(dir.path(), 0);
    let (code, said, _) = life(&[&one]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("more than a day of traffic is needed"),
        "{said}"
    );
    let (code, _, err) = life(&[&one, "--device", "10.0.0.77"]);
    assert!(
        code == Some(2) && err.contains("nothing is known of 10.0.0.77"),
        "{err}"
    );
    let (code, _, err) = life(&["--state", dir.path().to_str().unwrap()]);
    assert!(
        code == Some(2) && err.contains("holds no conversations"),
        "{err}"
    );
}
