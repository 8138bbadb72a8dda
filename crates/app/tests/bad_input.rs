//! `thymus scan` over what is there to break it: every file is told of, with the reason, and the scan goes
//! on and ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

const SCRIPT: &[u8] = b"#!/usr/bin/perl\n";

fn thymus(folder: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("thymus"));
    command.arg("scan").current_dir(folder).stdin(Stdio::null());
    command
}

fn scan(folder: &Path, args: &[&str]) -> Output {
    thymus(folder).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Path, member and reason of everything that was not judged.
fn reasons(output: &Output) -> Vec<(String, String, String)> {
    let out = text(&output.stdout);
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &serde_json::Value| line["reason"].is_string())
        .map(|line| {
            let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            (word("path"), word("member"), word("reason"))
        })
        .collect()
}

/// Scans everything in a folder: exit code 0, and the reasons of what was not judged.
fn looked(folder: &Path) -> Vec<(String, String, String)> {
    let output = scan(folder, &[".", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    reasons(&output)
}

fn has(found: &[(String, String, String)], path: &str, reason: &str) {
    let is_there = found.iter().any(|(p, _, r)| p == path && r == reason);
    assert!(is_there, "{path}: {reason} is not in {found:#?}");
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A zip whose members, by name, begin where the list says, all stored (APPNOTE.TXT 4.3).
fn zip(content: &[u8], members: &[(&str, u32)]) -> Vec<u8> {
    let checksum = {
        let mut sum = flate2::Crc::new();
        sum.update(content);
        sum.sum()
    };
    let length = u32::try_from(content.len()).unwrap();
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    for number in [checksum, length, length] {
        common.extend_from_slice(&number.to_le_bytes());
    }
    let name_length = |name: &str| u16::try_from(name.len()).unwrap().to_le_bytes();
    let mut out = b"PK\x03\x04".to_vec();
    out.extend_from_slice(&common);
    out.extend_from_slice(&name_length(members[0].0));
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(members[0].0.as_bytes());
    out.extend_from_slice(content);
    let directory = u32::try_from(out.len()).unwrap();
    for (name, offset) in members {
        out.extend_from_slice(b"PK\x01\x02\x14\0");
        out.extend_from_slice(&common);
        out.extend_from_slice(&name_length(name));
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(name.as_bytes());
    }
    let size = u32::try_from(out.len()).unwrap() - directory;
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&count);
    out.extend_from_slice(&count);
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&directory.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out
}

#[test]
fn what_is_no_file_is_named_and_not_waited_for_also_when_a_person_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    symlink("loop", at("loop")).unwrap();
    symlink("there", at("here")).unwrap();
    symlink("here", at("there")).unwrap();
    fs::File::create(at("sparse"))
        .unwrap()
        .set_len(4 << 30)
        .unwrap();
    let args = [
        "pipe",
        "socket",
        "/dev/zero",
        "loop",
        "here",
        "sparse",
        "/proc/self",
        "--json",
    ];
    let output = scan(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0));
    let found = reasons(&output);
    has(&found, "pipe", "not a regular file (fifo)");
    has(&found, "socket", "not a regular file (socket)");
    has(&found, "/dev/zero", "not a regular file (device)");
    has(&found, "loop", "unreadable");
    has(&found, "here", "unreadable");
    has(&found, "sparse", "too large");
    has(&found, "/proc/self", "files of the kernel");
    assert_eq!(found.len(), 7);
}

#[test]
fn a_pipe_as_ignore_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".thymusignore");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    has(
        &looked(folder.path()),
        "./.thymusignore",
        "not a regular file (fifo)",
    );
}

#[test]
fn what_may_not_be_read_is_told_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(at("in")).unwrap();
    for name in ["in/open.pl", "in/shut.pl"] {
        fs::write(at(name), SCRIPT).unwrap();
    }
    fs::create_dir(at("in/shut")).unwrap();
    for name in ["in/shut.pl", "in/shut"] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o0)).unwrap();
    }
    let mut command = thymus(&at("in"));
    if nix::unistd::geteuid().is_root() {
        // Root reads everything, so somebody else must ask, who needs a program within reach.
        fs::copy(assert_cmd::cargo::cargo_bin!("thymus"), at("thymus")).unwrap();
        command = Command::new(at("thymus"));
        command.arg("scan").current_dir(at("in")).uid(65_534);
    }
    let output = command.args([".", "--json"]).output().unwrap();
    let found = reasons(&output);
    has(&found, "./open.pl", "no network for perl");
    has(&found, "./shut.pl", "unreadable");
    has(&found, "./shut", "unreadable");
    assert_eq!(output.status.code(), Some(0));
    fs::set_permissions(at("in/shut"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn what_vanishes_or_changes_into_something_else_meanwhile_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["gone.pl", "pipe.pl", "stays.pl"] {
        fs::write(at(name), SCRIPT).unwrap();
    }
    let args = ["-", "gone.pl", "pipe.pl", "stays.pl", "--json", "-j1"];
    let mut process = thymus(folder.path())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    // More than a pipe holds: it is past looking at its arguments when this returns.
    input.write_all(&vec![b'\n'; 1 << 20]).unwrap();
    fs::remove_file(at("gone.pl")).unwrap();
    fs::remove_file(at("pipe.pl")).unwrap();
    nix::unistd::mkfifo(&at("pipe.pl"), Mode::S_IRWXU).unwrap();
    drop(input);
    let output = process.wait_with_output().unwrap();
    let found = reasons(&output);
    has(&found, "gone.pl", "vanished");
    has(&found, "pipe.pl", "not a regular file (fifo)");
    has(&found, "stays.pl", "no network for perl");
}

#[test]
fn a_path_too_long_for_the_system_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let name = "d".repeat(200);
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY;
    let mut at: OwnedFd = fs::File::open(folder.path()).unwrap().into();
    for _ in 0..25 {
        mkdirat(&at, name.as_str(), Mode::S_IRWXU).unwrap();
        at = openat(&at, name.as_str(), flags, Mode::empty()).unwrap();
    }
    let found = looked(folder.path());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].2, "unreadable");
}

#[test]
fn names_steer_no_terminal_in_any_output() {
    let folder = tempfile::tempdir().unwrap();
    let names: [&[u8]; 6] = [
        b"new\nline.pl",
        b"\x1b]0;title\x07\x1b[2Jclear.pl",
        b"not utf-8 \xff\xfe\x80.pl",
        "right to left \u{202e}lp.exe".as_bytes(),
        b"c1 \xc2\x9b31m.pl",
        b"back\x08\x08\rspace.pl",
    ];
    for name in names {
        fs::write(folder.path().join(OsStr::from_bytes(name)), SCRIPT).unwrap();
    }
    let member = "in\u{1b}[2J\nside\u{202e}.pl";
    fs::write(
        folder.path().join("bad.zip"),
        zip(SCRIPT, &[(member, 0), ("\u{9b}x", 900)]),
    )
    .unwrap();
    let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    let check = |told: &[u8], lines: usize| {
        let told = text(told);
        assert!(!told.contains(steers), "{told:?}");
        assert!(told.lines().count() <= lines, "{told}");
    };
    for form in ["-v", "--json"] {
        let output = scan(folder.path(), &[".", form, "--sarif", "out.sarif"]);
        assert!(text(&output.stdout).contains("bad.zip"));
        check(&output.stdout, 30);
        check(&output.stderr, 0);
        check(&fs::read(folder.path().join("out.sarif")).unwrap(), 1);
        fs::remove_file(folder.path().join("out.sarif")).unwrap();
    }
    // Also in what is said of a name that is wrong.
    let missing = OsStr::from_bytes(b"miss\x1b[2J\ning\xff");
    let output = thymus(folder.path()).arg(missing).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    check(&output.stderr, 1);
}

#[test]
fn bombs_end() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    // A gigabyte of zeros, in a million bytes.
    put("zeros.gz", &deflated(&vec![0; 1 << 20]).repeat(1000));
    // Archives in archives, without an end in sight.
    let mut nested = SCRIPT.to_vec();
    for _ in 0..200 {
        nested = zip(&nested, &[("again.zip", 0)]);
    }
    put("nested.zip", &nested);
    // Each layer holds the one below many times: few bytes, and more members than atoms.
    let mut layer = vec![0; 100_000];
    for _ in 0..7 {
        layer = deflated(&layer.repeat(16));
    }
    put("layers.gz", &layer);
    // All members are the same bytes.
    let names: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    let members: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    put("overlap.zip", &zip(&vec![b'x'; 50_000], &members));
    // Cut in the middle, and with its end before its beginning.
    let whole = zip(SCRIPT, &[("a.pl", 0)]);
    put("cut.zip", &whole[..whole.len() / 2]);
    put("lies.zip", &zip(SCRIPT, &[("a.pl", u32::MAX)]));
    put("good.pl", SCRIPT);
    let output = scan(folder.path(), &[".", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let found = reasons(&output);
    has(&found, "./zeros.gz", "too large");
    has(&found, "./layers.gz", "expands too much");
    has(&found, "./nested.zip", "too deep");
    has(&found, "./overlap.zip", "overlapping members");
    has(&found, "./good.pl", "no network for perl");
    for name in [
        "zeros.gz",
        "nested.zip",
        "layers.gz",
        "overlap.zip",
        "cut.zip",
        "lies.zip",
    ] {
        let path = format!("./{name}");
        let whole = found.iter().find(|(p, m, _)| *p == path && m.is_empty());
        let (_, _, reason) = whole.expect(name);
        assert!(
            !["worker died", "decoder failed"].contains(&reason.as_str()),
            "{name}: {reason}"
        );
    }
}

#[test]
fn an_archive_that_claims_to_hold_itself_ends() {
    let folder = tempfile::tempdir().unwrap();
    // A stored zip whose one member is as long as the whole, itself included.
    let mut zip = zip(SCRIPT, &[("self.zip", 0)]);
    let local = 14;
    let directory = zip.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let size = u32::try_from(zip.len()).unwrap().to_le_bytes();
    for at in [local, directory + 16] {
        zip[at + 4..at + 8].copy_from_slice(&size);
        zip[at + 8..at + 12].copy_from_slice(&size);
    }
    fs::write(folder.path().join("quine.zip"), &zip).unwrap();
    let found = looked(folder.path());
    assert!(found.iter().any(|(path, _, _)| path == "./quine.zip"));
}

#[test]
fn too_much_standard_input_is_too_large() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), vec![b'x'; 2000]).unwrap();
    let run = |size: &str| {
        let input = fs::File::open(folder.path().join("in")).unwrap();
        let args = ["-", "--json", "--max-size", size];
        thymus(folder.path())
            .args(args)
            .stdin(input)
            .output()
            .unwrap()
    };
    has(&reasons(&run("1999")), "-", "too large");
    has(&reasons(&run("2000")), "-", "no network for text");
}

#[test]
fn an_output_that_is_full_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.pl"), SCRIPT).unwrap();
    for form in ["--json", "-v"] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = thymus(folder.path())
            .args([".", form])
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{form}");
        assert!(text(&output.stderr).contains("No space left"));
    }
}
