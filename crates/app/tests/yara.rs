//! YARA rules beside the networks as a person meets them: in confined workers, unless it says otherwise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const RULES: &str = r#"
rule Greeting : test { 
    meta:
        description = "says hello"
        author = "a\x1bnn"
    strings:
        $word = "hello thymus"
    condition:
        $word
}
"#;
const SCRIPT: &[u8] = b"#!/bin/sh\necho hello thymus\n";

fn thymus(folder: &Path, args: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("thymus"))
        .args(args)
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .current_dir(folder)
        .output()
        .unwrap()
}

fn scan(folder: &Path, more: &[&str]) -> Output {
    let args = ["scan", "--no-models", "--rules", "own.yar"];
    thymus(folder, &[&args[..], more].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let out = text(&output.stdout);
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// A folder with rules, a script that they match, one in an archive, and one that they do not match.
fn folder(rules: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("own.yar"), rules).unwrap();
    fs::create_dir(at("in")).unwrap();
    fs::write(at("in/a.sh"), SCRIPT).unwrap();
    let file = fs::File::create(at("in/b.sh.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    packed.write_all(SCRIPT).unwrap();
    packed.finish().unwrap();
    fs::write(at("in/c.sh"), "#!/bin/sh\necho fine\n").unwrap();
    folder
}

#[test]
fn matches_are_told_beside_verdicts_and_are_no_finding() {
    let folder = folder(RULES);
    let output = scan(folder.path(), &["in"]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}{output:?}");
    assert!(
        told.contains("rule       in/a.sh  Greeting  [test]  of own.yar\n"),
        "{told}"
    );
    assert!(told.contains("description: says hello\n"), "{told}");
    assert!(told.contains("author: a\u{fffd}nn\n"), "{told}");
    assert!(told.contains("$word at 0xf: hello thymus\n"), "{told}");
    assert!(
        told.contains("rule       in/b.sh.gz!b.sh  Greeting"),
        "{told}"
    );
    assert!(!told.contains("in/c.sh"), "{told}");
    assert!(
        told.contains("Rules: 2 matches in 2 objects, by 1 rule of 1 file\n"),
        "{told}"
    );
    assert!(!told.contains('\u{1b}'), "{told}");
}

#[test]
fn the_exit_code_heeds_rules_where_that_is_asked_for() {
    let folder = folder(RULES);
    for (args, code) in [
        (&["in/a.sh", "--fail-on", "rule"][..], 1),
        (&["in/a.sh", "--fail-on", "not-judged,rule"], 1),
        (&["in/c.sh", "--fail-on", "rule"], 0),
    ] {
        let output = scan(folder.path(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?} {output:?}");
    }
}

#[test]
fn json_has_the_same_verdicts_and_the_rules_beside_them_in_workers_and_without() {
    let folder = folder(RULES);
    let ruled = lines(&scan(folder.path(), &["in", "--json"]));
    let here = lines(&scan(folder.path(), &["in", "--json", "--no-sandbox"]));
    assert_eq!(ruled, here);
    let judged = lines(&thymus(
        folder.path(),
        &["scan", "--no-models", "in", "--json"],
    ));
    assert_eq!(ruled.len(), judged.len());
    let rule = &ruled[0]["rules"][0];
    assert_eq!(rule["rule"], "Greeting");
    assert_eq!(rule["namespace"], "own.yar");
    assert_eq!(rule["tags"][0], "test");
    assert_eq!(rule["meta"][1]["value"], "a\u{1b}nn");
    let place = &rule["strings"][0]["at"][0];
    assert_eq!(
        (&place["offset"], &place["text"]),
        (&15.into(), &"hello thymus".into())
    );
    let summary = &ruled.last().unwrap()["summary"]["rules"];
    assert_eq!(
        (&summary["rules"], &summary["matches"]),
        (&1.into(), &2.into())
    );
    assert_eq!(summary["sha256"].as_str().map(str::len), Some(64));
    let without = |mut line: Value| {
        for name in ["rules", "rules_left_out", "rules_unfinished"] {
            line.as_object_mut().unwrap().remove(name);
            if let Some(summary) = line["summary"].as_object_mut() {
                summary.remove(name);
            } else {
                line.as_object_mut().unwrap().remove("summary");
            }
        }
        line
    };
    let ruled: Vec<Value> = ruled.into_iter().map(without).collect();
    let judged: Vec<Value> = judged.into_iter().map(without).collect();
    assert_eq!(ruled, judged, "rules change no verdict");
}

#[test]
fn sarif_has_a_result_for_each_match() {
    let folder = folder(RULES);
    scan(folder.path(), &["in", "--sarif", "log.sarif"]);
    let log = fs::read(folder.path().join("log.sarif")).unwrap();
    let log: Value = serde_json::from_slice(&log).unwrap();
    let run = &log["runs"][0];
    let results = run["results"].as_array().unwrap();
    let ruled = results
        .iter()
        .filter(|r| r["ruleId"] == "yara/own.yar/Greeting");
    let ruled: Vec<&Value> = ruled.collect();
    assert_eq!(ruled.len(), 2, "{log}");
    assert_eq!(ruled[0]["level"], "note");
    let region = &ruled[0]["locations"][0]["physicalLocation"]["region"];
    assert_eq!(
        (&region["byteOffset"], &region["byteLength"]),
        (&15.into(), &12.into())
    );
    let member = &ruled[1]["locations"][0]["logicalLocations"][0];
    assert_eq!(member["fullyQualifiedName"], "b.sh");
    let described = run["tool"]["driver"]["rules"].as_array().unwrap();
    let described = described
        .iter()
        .find(|rule| rule["id"] == ruled[0]["ruleId"]);
    assert_eq!(described.unwrap()["shortDescription"]["text"], "says hello");
}

#[test]
fn what_does_not_compile_is_told_by_line_and_stops_unless_lenient() {
    let folder = folder(&format!("{RULES}\nrule Wrong {{ condition: nothing }}\n"));
    let output = scan(folder.path(), &["in/a.sh"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("own.yar:12"), "{told}");
    assert!(told.contains("--rules-lenient"), "{told}");
    assert!(output.stdout.is_empty());
    let output = scan(folder.path(), &["in/a.sh", "--rules-lenient"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let out = text(&output.stdout);
    assert!(out.contains("Greeting"), "{out}");
    assert!(
        out.contains("by 1 rule of 1 file; 1 error in the rules\n"),
        "{out}"
    );
    let check = |paths: &[&str]| thymus(folder.path(), &[&["rules", "check"], paths].concat());
    assert_eq!(check(&["own.yar"]).status.code(), Some(2));
    fs::write(folder.path().join("own.yar"), RULES).unwrap();
    let output = check(&["own.yar", "."]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).starts_with("2 rules of 2 files compiled"));
}

#[test]
fn the_same_bytes_under_two_names_are_matched_by_their_names() {
    let folder =
        folder("rule Named { condition: filename == \"a.sh\" and filepath endswith \"/in/a.sh\" }");
    fs::write(folder.path().join("in/d.sh"), SCRIPT).unwrap();
    let output = scan(folder.path(), &["in", "--json"]);
    let matched = lines(&output).into_iter();
    let matched = matched.filter(|line| line["rules"].as_array().is_some_and(|r| !r.is_empty()));
    let matched: Vec<Value> = matched.map(|line| line["path"].clone()).collect();
    assert_eq!(matched, ["in/a.sh"]);
}

#[test]
fn a_rule_without_an_end_costs_the_rules_of_its_file_and_nothing_else() {
    let endless = "rule Endless { condition:
        filename == \"a.sh\" and for all i in (0..9223372036854775806) : ( i >= 0 ) }
        rule Quick { condition: true }";
    let folder = folder(endless);
    let args = ["in", "--json", "--max-time", "3", "--jobs", "1"];
    let told = lines(&scan(folder.path(), &args));
    assert_eq!(told[0]["path"], "in/a.sh");
    assert_eq!(told[0]["rules_unfinished"], true);
    let judged = lines(&thymus(
        folder.path(),
        &["scan", "--no-models", "in/a.sh", "--json"],
    ));
    assert_eq!(told[0]["outcome"], judged[0]["outcome"]);
    assert_eq!(told[0]["reason"], judged[0]["reason"]);
    for line in &told[1..told.len() - 1] {
        assert_eq!(line["rules"][0]["rule"], "Quick", "{line}");
    }
    let args = ["in/a.sh", "--max-time", "3", "--fail-on", "not-judged"];
    let output = scan(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1));
    let out = text(&output.stdout);
    assert!(
        out.contains("in/a.sh  not looked for to the end: out of time\n"),
        "{out}"
    );
}

#[test]
fn programs_are_taken_apart_by_modules_in_the_sandbox() {
    let rules = "import \"elf\"\nimport \"pe\"\nimport \"math\"\nimport \"hash\"\n
        rule Program { condition:
            elf.type == elf.ET_DYN and elf.number_of_sections > 0 and not pe.is_pe
            and math.entropy(0, 4096) > 0.1 and hash.sha256(0, 4) != \"\"
            and for any i in (0..filesize - 8) : ( uint32(i) == 0x464c457f ) }";
    let folder = folder(rules);
    // This test's own program.
    let program = std::env::current_exe().unwrap();
    let bytes = fs::read(program).unwrap();
    let start = bytes.get(..bytes.len().min(60 << 20)).unwrap();
    fs::write(folder.path().join("in/program"), start).unwrap();
    let output = scan(folder.path(), &["in/program", "--json"]);
    let told = lines(&output);
    assert_eq!(told[0]["rules"][0]["rule"], "Program", "{told:?}");
}
