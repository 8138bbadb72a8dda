//! `thymus quarantine` as a person meets it, also when it is killed in the midst of its work.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn thymus(folder: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("thymus"));
    command
        .args(["quarantine", "--store", "store"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    thymus(folder).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The lines of a command that succeeds.
fn lines(folder: &Path, args: &[&str]) -> Vec<serde_json::Value> {
    let output = thymus(folder).args(args).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    let lines = out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What a command that fails says.
fn refused(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args);
    assert_eq!(output.status.code(), Some(2));
    text(&output.stderr)
}

#[test]
fn a_file_goes_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a\u{1b}[2J.doc");
    fs::write(&path, b"evil").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let added = lines(folder.path(), &["add", name]);
    assert!(!path.exists());
    let listed = lines(folder.path(), &["list"]);
    assert_eq!(added, listed);
    let canonical = fs::canonicalize(folder.path()).unwrap().join(name);
    assert_eq!(listed[0]["path"], canonical.to_str().unwrap());
    assert_eq!(listed[0]["mode"], "0604");
    assert_eq!(listed[0]["bytes"], 4);
    assert_eq!(listed[0]["verdict"], "by hand");
    let shown = text(&run(folder.path(), &["list"]).stdout);
    assert!(
        shown.contains("4 bytes") && !shown.contains('\u{1b}'),
        "{shown}"
    );
    let id = listed[0]["id"].as_str().unwrap();
    fs::write(&path, b"new").unwrap();
    assert!(refused(folder.path(), &["restore", id]).contains("is there already"));
    assert_eq!(fs::read(&path).unwrap(), b"new");
    fs::remove_file(&path).unwrap();
    let restored = lines(folder.path(), &["restore", id]);
    assert_eq!(restored[0]["has_owner"], true);
    assert_eq!(fs::read(&path).unwrap(), b"evil");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o604);
    assert_eq!(
        text(&run(folder.path(), &["list"]).stdout),
        "nothing is kept\n"
    );
    lines(folder.path(), &["add", name]);
    lines(folder.path(), &["delete", id]);
    assert!(refused(folder.path(), &["restore", id]).contains("there is no"));
}

#[test]
fn one_that_cannot_be_handled_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b"), b"b").unwrap();
    let said = refused(folder.path(), &["add", "gone", ".", "b"]);
    assert!(said.contains("cannot read gone"), "{said}");
    assert!(said.contains("2 of the files"), "{said}");
    let listed = lines(folder.path(), &["list"]);
    assert_eq!(listed.len(), 1);
    fs::write(folder.path().join("store/key"), b"short").unwrap();
    let damaged = lines(folder.path(), &["list"]);
    assert!(damaged[0]["error"].as_str().unwrap().contains("key"));
}

#[test]
fn a_store_that_others_may_enter_or_that_has_no_place_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("store")).unwrap();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path().join("store"), open).unwrap();
    assert!(refused(folder.path(), &["list"]).contains("0700"));
    let mut homeless = Command::new(assert_cmd::cargo::cargo_bin!("thymus"));
    homeless.args(["quarantine", "list"]).env_clear();
    let output = homeless.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--store"));
    let at_home = homeless.env("HOME", folder.path()).output().unwrap();
    assert_eq!(at_home.status.code(), Some(0));
    let default = folder.path().join(".local/state/thymus/quarantine");
    assert_eq!(
        fs::metadata(default).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn no_room_is_told_and_the_original_is_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = vec![5; 1 << 20];
    fs::write(folder.path().join("large"), &bytes).unwrap();
    fs::write(folder.path().join("small"), b"x").unwrap();
    lines(folder.path(), &["add", "small"]);
    // A bound on the size of files stands in for a full disk: writing fails in the midst of it.
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 100; exec \"$0\" quarantine --store store add large",
        ])
        .arg(assert_cmd::cargo::cargo_bin!("thymus"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("large is untouched") && said.contains("too large"),
        "{said}"
    );
    assert_eq!(fs::read(folder.path().join("large")).unwrap(), bytes);
    assert_eq!(lines(folder.path(), &["list"]).len(), 1);
    let left = fs::read_dir(folder.path().join("store")).unwrap();
    let mut left: Vec<String> = left
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    left.sort();
    assert_eq!(left, ["key", "lock"]);
}

/// Where the bytes of the file `x` are after a kill: its own place, or the way out of it.
fn originals(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let is_way_out = path.to_string_lossy().contains(".thymus-quarantine-");
            if is_way_out { path.join("file") } else { path }
        })
        .filter(|path| path.ends_with("x") || path.ends_with("file"))
        .filter(|path| path.exists())
        .collect()
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the kills are spread over the time it takes"
)]
fn a_kill_at_any_moment_loses_nothing() {
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 253) as u8).collect();
    let began = Instant::now();
    let mut whole = Duration::ZERO;
    for step in 0..=16 {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x"), &bytes).unwrap();
        let mut process = thymus(folder.path()).args(["add", "x"]).spawn().unwrap();
        if step > 0 {
            thread::sleep(whole * step / 14);
            process.kill().unwrap();
        }
        process.wait().unwrap();
        if step == 0 {
            whole = began.elapsed();
        }
        let left = originals(folder.path());
        for path in &left {
            assert_eq!(fs::read(path).unwrap(), bytes, "{step}");
        }
        // Neither a half-written copy nor a half-made key is in the way.
        let kept = lines(folder.path(), &["list"]);
        assert!(!left.is_empty() || kept.len() == 1, "{step}");
        for entry in &kept {
            let id = entry["id"].as_str().unwrap();
            lines(folder.path(), &["restore", id, "--to", "y"]);
            assert_eq!(fs::read(folder.path().join("y")).unwrap(), bytes);
        }
        fs::write(folder.path().join("z"), b"z").unwrap();
        lines(folder.path(), &["add", "z"]);
    }
}
