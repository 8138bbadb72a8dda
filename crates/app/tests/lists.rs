//! Lists of what is allowed and blocked as a person meets them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

const SCRIPT: &[u8] = b"#!/usr/bin/perl\n";
const REST: &str = "scope = \"/\"\nowner = \"ann\"\nreason = \"ticket 7\"\n";
const LATER: &str = "expires = 9999-12-31\n";
const PAST: &str = "expires = 2001-01-01\n";

fn thymus(folder: &Path, args: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("thymus"))
        .args(args)
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Vec<serde_json::Value> {
    let out = text(&output.stdout);
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn put(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut digits = String::new();
    for byte in Sha256::digest(bytes) {
        write!(digits, "{byte:02x}").unwrap();
    }
    digits
}

/// A folder with a script, one in an archive, and lists that block the script by its bytes.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("in")).unwrap();
    fs::write(at("in/a.pl"), SCRIPT).unwrap();
    let file = fs::File::create(at("in/b.pl.gz")).unwrap();
    let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, SCRIPT).unwrap();
    gz.finish().unwrap();
    fs::write(at("in/c.pl"), b"#!/usr/bin/perl\nother\n").unwrap();
    let named = format!("[[block]]\nsha256 = \"{}\"\n{REST}{LATER}", digest(SCRIPT));
    put(&at("lists.toml"), &named);
    folder
}

#[test]
fn what_is_blocked_is_malicious_by_list_and_by_nothing_else() {
    let folder = folder();
    let plain = thymus(folder.path(), &["scan", "in", "--json"]);
    assert_eq!(plain.status.code(), Some(0));
    let args = ["scan", "in", "--json", "--lists", "lists.toml"];
    let output = thymus(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1));
    let lines = json(&output);
    let of = |path: &str, member: Option<&str>| {
        let found = lines
            .iter()
            .find(|line| line["path"] == path && line["member"].as_str() == member);
        found.unwrap().clone()
    };
    let blocked = of("in/a.pl", None);
    assert_eq!(blocked["outcome"], "malicious");
    assert_eq!(blocked["judged"], "not_judged");
    assert_eq!(blocked["listed"]["list"], "block");
    assert_eq!(blocked["listed"]["owner"], "ann");
    assert_eq!(blocked["probability"], serde_json::Value::Null);
    assert_eq!(of("in/b.pl.gz", Some("b.pl"))["outcome"], "malicious");
    assert_eq!(of("in/b.pl.gz", None)["outcome"], "malicious");
    let other = of("in/c.pl", None);
    assert_eq!(other["outcome"], "not_judged");
    assert!(other.get("listed").is_none() && other.get("judged").is_none());
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(
        (&summary["malicious"], &summary["blocked"]),
        (&2.into(), &2.into())
    );
    assert_eq!(summary["not_judged"], 1);
    let shown = text(&thymus(folder.path(), &["scan", "in", "--lists", "lists.toml"]).stdout);
    assert!(
        shown.contains("blocked by [[block]] number 1, sha256"),
        "{shown}"
    );
    assert!(shown.contains("By lists: 0 allowed, 2 blocked"), "{shown}");
}

#[test]
fn the_lists_of_the_default_place_act_until_told_otherwise() {
    let folder = folder();
    let place = folder.path().join("config/thymus");
    fs::create_dir_all(&place).unwrap();
    fs::rename(folder.path().join("lists.toml"), place.join("lists.toml")).unwrap();
    let code = |args: &[&str]| thymus(folder.path(), args).status.code();
    assert_eq!(code(&["scan", "in"]), Some(1));
    assert_eq!(code(&["scan", "in", "--no-lists"]), Some(0));
    assert_eq!(code(&["scan", "in", "--lists", "gone.toml"]), Some(2));
}

#[test]
fn a_list_that_others_may_write_is_refused() {
    let folder = folder();
    let path = folder.path().join("lists.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
    for args in [
        &["scan", "in", "--lists", "lists.toml"][..],
        &["lists", "check", "lists.toml"],
    ] {
        let output = thymus(folder.path(), args);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("no others may write"));
    }
}

#[test]
fn what_has_expired_does_not_act_and_is_told() {
    let folder = folder();
    let path = folder.path().join("lists.toml");
    let current = fs::read_to_string(&path).unwrap();
    put(&path, &current.replace(LATER, PAST));
    let output = thymus(folder.path(), &["scan", "in", "--lists", "lists.toml"]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stderr);
    assert!(said.contains("expired with 2001-01-01"), "{said}");
    let check = |args: &[&str]| thymus(folder.path(), &[&["lists", "check"], args].concat());
    let output = check(&["lists.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("0 entries act, 1 have expired"));
    assert_eq!(json(&check(&["lists.toml", "--json"]))[0]["expired"], true);
    put(&path, &current);
    assert_eq!(check(&["lists.toml"]).status.code(), Some(0));
    put(&path, &current.replace("owner", "owener"));
    let output = check(&["lists.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("`owener`; the nearest is `owner`"), "{said}");
}

#[test]
fn a_test_tells_which_entry_names_what() {
    let folder = folder();
    let member = format!("[[allow]]\nmember = \"*.pl\"\n{REST}{LATER}");
    put(&folder.path().join("member.toml"), &member);
    let test = |lists: &str, path: &str| {
        let args = ["lists", "test", "--lists", lists, path, "--json"];
        let output = thymus(folder.path(), &args);
        (output.status.code(), json(&output))
    };
    let (code, lines) = test("lists.toml", "in");
    assert_eq!((code, lines.len()), (Some(1), 2));
    assert_eq!(lines[0]["path"], "in/a.pl");
    assert_eq!(lines[1]["member"], "b.pl");
    assert_eq!(lines[1]["listed"]["by"], "sha256");
    let (code, lines) = test("member.toml", "in");
    assert_eq!((code, lines.len()), (Some(1), 1));
    assert_eq!(lines[0]["listed"]["value"], "*.pl");
    assert_eq!(test("lists.toml", "in/c.pl"), (Some(0), Vec::new()));
}

#[test]
fn a_scan_puts_what_is_malicious_into_the_quarantine() {
    let folder = folder();
    let lists = ["--lists", "lists.toml"];
    let keep = ["scan", "in", "--quarantine", "--store", "store", "--json"];
    let output = thymus(folder.path(), &[&keep[..], &lists].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let lines = json(&output);
    let kept: Vec<_> = lines
        .iter()
        .filter_map(|line| line["quarantine"]["id"].as_str())
        .collect();
    assert_eq!(kept.len(), 2);
    let left = fs::read_dir(folder.path().join("in")).unwrap();
    let left: Vec<_> = left.map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["c.pl"]);
    let list = ["quarantine", "list", "--store", "store", "--json"];
    let listed = json(&thymus(folder.path(), &list));
    let why = listed[0]["verdict"].as_str().unwrap();
    assert!(why.contains("blocked by [[block]] number 1"), "{why}");
    for id in kept {
        let restore = ["quarantine", "restore", "--store", "store", id];
        assert_eq!(thymus(folder.path(), &restore).status.code(), Some(0));
    }
    assert_eq!(fs::read(folder.path().join("in/a.pl")).unwrap(), SCRIPT);
    // Without the lists nothing is found, so nothing is kept; standard input is no file to be kept.
    thymus(folder.path(), &keep);
    assert!(folder.path().join("in/a.pl").exists());
    let mut input = Command::new(assert_cmd::cargo::cargo_bin!("thymus"));
    input
        .args(["scan", "-", "--quarantine", "--store", "store"])
        .args(lists);
    input.current_dir(folder.path());
    input.stdin(fs::File::open(folder.path().join("in/a.pl")).unwrap());
    let output = input.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("standard input is no file"));
}

/// A signed program, and the fingerprints of the signer's certificate and of its issuer's.
fn signed() -> (Vec<u8>, [&'static str; 2]) {
    let hex = include_str!("../../scan/cases/signature/rsa.hex");
    let digits: String = hex.lines().filter(|line| !line.starts_with('#')).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let program = digits.as_bytes().chunks(2).map(byte).collect();
    let signer = "228890617d2d23493c0995f8c427dc5bf61c5898ac38354b1df3f8547e4ae613";
    let issuer = "c861d2ea23391fcabb059c7967ba62838ec18cd9d9464348705f3bf31c41522e";
    (program, [signer, issuer])
}

#[test]
fn an_entry_for_a_signer_acts_on_what_is_signed_and_the_test_tells_why_not() {
    let folder = folder();
    let (program, [signer, issuer]) = signed();
    fs::write(folder.path().join("a.exe"), &program).unwrap();
    let mut changed = program.clone();
    changed[600] ^= 1;
    fs::write(folder.path().join("b.exe"), changed).unwrap();
    fs::write(
        folder.path().join("c.exe"),
        [&program[..], b"more"].concat(),
    )
    .unwrap();
    let mut bare = program[..1024].to_vec();
    // The entry that names the table of signatures.
    bare[232..240].fill(0);
    fs::write(folder.path().join("d.exe"), bare).unwrap();
    let block = format!("[[block]]\nsigner = \"{issuer}\"\n");
    let subject = "subject = \"Example Ltd\"\n";
    let all = format!("{block}{subject}{REST}{LATER}{block}subject = \"Other\"\n{REST}{LATER}");
    put(&folder.path().join("signers.toml"), &all);
    let scan = |path: &str| {
        let args = ["scan", "--json", "--lists", "signers.toml", path];
        json(&thymus(folder.path(), &args)).remove(0)
    };
    let line = scan("a.exe");
    assert_eq!(line["outcome"], "malicious");
    assert_eq!(line["listed"]["by"], "signer");
    assert_eq!(line["listed"]["subject"], "Example Ltd");
    let signature = &line["signatures"][0];
    assert_eq!(signature["state"], "verified");
    assert_eq!(signature["sha256"], signer);
    assert_eq!(signature["vouching"][0]["sha256"], issuer);
    assert_eq!(signature["timestamp"], "none");
    for (path, why) in [
        ("b.exe", "the file was changed after it was signed"),
        ("c.exe", "the signature does not cover all bytes"),
    ] {
        let line = scan(path);
        assert!(line.get("listed").is_none(), "{path}");
        assert_eq!(line["signatures"][0]["state"], "refused");
        assert_eq!(line["signatures"][0]["reason"], why);
    }
    assert!(scan("d.exe").get("signatures").is_none());
    let test = |path: &str| {
        let args = ["lists", "test", "--lists", "signers.toml", path];
        let output = thymus(folder.path(), &args);
        (output.status.code(), text(&output.stdout))
    };
    let (code, said) = test("a.exe");
    assert_eq!(code, Some(1));
    assert!(said.contains("a.exe: [[block]] number 1, signer"), "{said}");
    assert!(
        said.contains("with the name Other: the signer has another name"),
        "{said}"
    );
    for (path, why) in [
        ("b.exe", "not signed, because the file was changed"),
        ("d.exe", "there is no signature"),
    ] {
        let (code, said) = test(path);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.matches(why).count(), 2, "{said}");
    }
    let scan = thymus(folder.path(), &["scan", "-v", "a.exe"]);
    let said = text(&scan.stdout);
    let by = format!("signed by O=Example Ltd, CN=Example Ltd Programs ({signer}), vouched for by");
    assert!(said.contains(&by), "{said}");
}
