//! `thymus backup` and `thymus restore` as a person meets them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

use std::path::Path;
use std::process::{Command, Output};

use thymus_store::StateDir;

fn thymus(folder: &Path, args: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("thymus"))
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_state_goes_into_one_file_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("state")).unwrap();
    state
        .save(&[("one".to_owned(), vec![1; 100])].into())
        .unwrap();
    let taken = thymus(
        folder.path(),
        &["backup", "--state", "state", "monday.thymus"],
    );
    assert_eq!(taken.status.code(), Some(0), "{}", text(&taken.stderr));
    assert!(text(&taken.stdout).starts_with("backed up to monday.thymus: 1 files"));
    let checked = thymus(folder.path(), &["restore", "--check", "monday.thymus"]);
    assert!(
        text(&checked.stdout).starts_with("whole: monday.thymus"),
        "{}",
        text(&checked.stderr)
    );
    let given = thymus(
        folder.path(),
        &["restore", "monday.thymus", "--state", "again"],
    );
    assert_eq!(given.status.code(), Some(0), "{}", text(&given.stderr));
    let again = StateDir::open(&folder.path().join("again")).unwrap();
    assert_eq!(again.load().unwrap(), state.load().unwrap());
    for wrong in [
        &["restore", "monday.thymus", "--state", "state"][..],
        &["backup", "--state", "state", "monday.thymus"],
        &["backup", "--state", "nowhere", "b.thymus"],
        &["restore", "state/state.thymus", "--state", "new"],
    ] {
        let output = thymus(folder.path(), wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(
            text(&output.stderr).starts_with("thymus: "),
            "{}",
            text(&output.stderr)
        );
    }
    assert!(!folder.path().join("new").exists());
}
