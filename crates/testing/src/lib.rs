//! What tests of several crates share. Never part of the program: it is a dependency of tests only.

#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

use std::process::Command;

/// Set in the process that runs inside the namespaces.
const INSIDE: &str = "THYMUS_TEST_INSIDE";

/// Runs `test` in namespaces of its own: the test `name` of this program is started again by `unshare` with `flags`
/// (`-Urnm`: user, as root, network, mount), and ended after `secs` seconds. What it said comes back; nothing inside.
///
/// It panics where the test inside fails, and where no namespaces can be made: such a test is never skipped.
pub fn apart(flags: &str, secs: u32, name: &str, test: impl FnOnce()) -> String {
    if std::env::var_os(INSIDE).is_some() {
        test();
        return String::new();
    }
    let own = std::env::current_exe().expect("the path of this program");
    let output = Command::new("unshare")
        .args([flags, "timeout", &secs.to_string()])
        .arg(own)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux) is needed");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let is_over = match output.status.code() {
        Some(124) => format!("it was ended after {secs} s; "),
        _ => String::new(),
    };
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{is_over}{said}"
    );
    said
}
