//! The console as a program: accounts, the demo, a second one on the same folder, its end.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn thymus() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("thymus"))
}

fn account(arguments: &[&str], state: &str, input: &str) -> String {
    let mut child = thymus()
        .args(arguments)
        .args(["--state", state])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn start(state: &str) -> (Child, String) {
    let mut child = thymus()
        .args(["console", "--state", state, "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let url = line.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:"), "{line}");
    (child, url)
}

#[test]
fn a_console_shows_the_demo_keeps_others_out_and_ends_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    account(
        &["user", "add", "ann", "--role", "admin"],
        state,
        "a long password\n",
    );
    let token = account(&["token", "add", "test", "--role", "admin"], state, "");
    let (mut console, url) = start(state);
    let second = thymus()
        .args(["console", "--state", state, "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2));
    assert!(said.contains("another thymus console"), "{said}");
    let bearer = format!("Bearer {token}");
    let api = format!("{url}/api/v1");
    let loaded = ureq::post(format!("{api}/demo"))
        .header("authorization", &bearer)
        .send_empty()
        .unwrap();
    assert_eq!(loaded.status(), 204);
    let incidents = ureq::get(format!("{api}/incidents"))
        .header("authorization", &bearer)
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    assert!(incidents.contains("lateral movement"), "{incidents}");
    kill(Pid::from_raw(console.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(console.wait().unwrap().success());
    let verified = account(&["audit", "verify"], state, "");
    assert!(verified.contains("all as they were written"), "{verified}");
    assert!(dir.path().join("store/thymus.last-good.db").exists());
}
