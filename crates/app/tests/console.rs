//! The console as a program: accounts, the demo, a second one on the same folder, its end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use thymus_store::journal::{FrameKind, JournalOptions, JournalWriter};
use thymus_testing::apart;

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
    let url = told(&mut child);
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    (child, url)
}

/// Where a console says it is.
fn told(console: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(console.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    line.trim().rsplit(' ').next().unwrap().to_owned()
}

fn get(url: &str, path: &str, token: &str) -> Value {
    let mut answer = ureq::get(format!("{url}/api/v1/{path}"))
        .header("authorization", format!("Bearer {token}"))
        .call()
        .unwrap();
    serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
}

/// The status and the answer.
fn post(url: &str, path: &str, token: &str, body: &Value) -> (u16, String) {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let mut answer = agent
        .post(format!("{url}/api/v1/{path}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .send(body.to_string())
        .unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), text)
}

fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn end(mut console: Child) {
    kill(Pid::from_raw(console.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(console.wait().unwrap().success());
}

fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    (output.status.success(), format!("{out}{err}"))
}

fn incident(id: &str, narrative: &str) -> Value {
    json!({"id": id, "rank": 1, "shown": true, "title": "t", "hypothesis": "h", "confidence": "high",
        "p_value": 9.0, "first_seen": "2024-05-06T09:00:00Z", "last_seen": "2024-05-06T10:00:00Z",
        "narrative": narrative, "affected": [], "alerts": []})
}

#[test]
fn a_full_disk_keeps_reading_says_what_is_wrong_and_loses_nothing() {
    apart(
        "-Urnm",
        120,
        "a_full_disk_keeps_reading_says_what_is_wrong_and_loses_nothing",
        || {
            assert!(run("ip", &["link", "set", "lo", "up"]).0);
            let dir = tempfile::tempdir().unwrap();
            let state = dir.path().to_str().unwrap();
            let store = dir.path().join("store");
            std::fs::create_dir(&store).unwrap();
            let options = ["-t", "tmpfs", "-o", "size=6m", "tmpfs"];
            let mounted = Command::new("mount").args(options).arg(&store).status();
            assert!(mounted.unwrap().success());
            account(
                &["user", "add", "ann", "--role", "admin"],
                state,
                "a long password\n",
            );
            let token = account(&["token", "add", "test", "--role", "admin"], state, "");
            let mut journal =
                JournalWriter::open(&dir.path().join("journal"), JournalOptions::default(), 0)
                    .unwrap();
            let mut write = |object: Value| {
                let list = serde_json::to_vec(&[object]).unwrap();
                journal.write(FrameKind::Incidents, &list).unwrap();
            };
            write(incident("a1", "small"));
            let (console, url) = start(state);
            let count = || get(&url, "incidents", &token)["total"].as_u64();
            until(|| count() == Some(1));
            let mut filler = std::fs::File::create(store.join("filler")).unwrap();
            while filler.write_all(&[0; 4096]).is_ok() {}
            write(incident("a2", &"long ".repeat(100_000)));
            let note = json!({ "text": "word ".repeat(3_000) });
            let mut kept = 0;
            let refused = loop {
                match post(&url, "incidents/a1/comments", &token, &note) {
                    (200, _) => kept += 1,
                    refused => break refused,
                }
            };
            assert_eq!(refused.0, 507, "{}", refused.1);
            assert!(refused.1.contains("the disk is full"), "{}", refused.1);
            until(|| {
                let health = get(&url, "health", &token);
                health["storage"]["trouble"]
                    .as_str()
                    .is_some_and(|said| said.contains("full"))
            });
            assert_eq!(count(), Some(1));
            drop(filler);
            std::fs::remove_file(store.join("filler")).unwrap();
            until(|| count() == Some(2));
            let (status, case) = post(&url, "incidents/a1/comments", &token, &note);
            assert_eq!(status, 200, "{case}");
            let case: Value = serde_json::from_str(&case).unwrap();
            assert_eq!(case["comments"].as_array().map(Vec::len), Some(kept + 1));
            until(|| get(&url, "health", &token)["storage"]["trouble"].is_null());
            end(console);
            let verified = account(&["audit", "verify"], state, "");
            assert!(verified.contains("all as they were written"), "{verified}");
        },
    );
}

/// A certificate for localhost and its key, by openssl.
fn certificate(dir: &Path, name: &str) -> (String, String) {
    let file = |ending: &str| {
        let path = dir.join(format!("{name}.{ending}"));
        path.to_str().unwrap().to_owned()
    };
    let (cert, key) = (file("crt"), file("key"));
    let (is_made, said) = run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            &key,
            "-out",
            &cert,
        ],
    );
    assert!(is_made, "{said}");
    (cert, key)
}

#[test]
fn tls_takes_the_right_certificate_and_nothing_older() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let (cert, key) = certificate(dir.path(), "mine");
    let mut console = thymus()
        .args(["console", "--state", state, "--listen", "127.0.0.1:0"])
        .args(["--tls-cert", &cert, "--tls-key", &key])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let url = told(&mut console);
    let port = url.rsplit(':').next().unwrap().to_owned();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let page = format!("https://localhost:{port}/api/v1/setup");
    let (is_ok, said) = run(
        "curl",
        &["-sSi", "--max-time", "20", "--cacert", &cert, &page],
    );
    assert!(is_ok && said.contains(r#"{"needed":true}"#), "{said}");
    assert!(said.contains("strict-transport-security"), "{said}");
    // A client that was not told of the certificate leaves.
    let (is_ok, said) = run("curl", &["-sS", "--max-time", "20", &page]);
    assert!(!is_ok && said.contains("certificate"), "{said}");
    // In the clear nothing is answered.
    let plain = page.replace("https", "http");
    let (is_ok, said) = run("curl", &["-sSi", "--max-time", "20", &plain]);
    assert!(!is_ok && !said.contains("needed"), "{said}");
    let connect = format!("localhost:{port}");
    for (version, is_spoken) in [
        ("-tls1_3", true),
        ("-tls1_2", true),
        ("-tls1_1", false),
        ("-tls1", false),
    ] {
        let weak = "DEFAULT:@SECLEVEL=0";
        let asked = [
            "s_client", "-connect", &connect, version, "-cipher", weak, "-CAfile", &cert,
        ];
        let (_, said) = run("openssl", &asked);
        assert_eq!(
            said.contains("Verify return code: 0 (ok)") && said.contains("BEGIN CERTIFICATE"),
            is_spoken,
            "{version}: {said}"
        );
    }
    end(console);
}

#[test]
fn a_key_that_does_not_fit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let (cert, key) = certificate(dir.path(), "mine");
    let (_, other) = certificate(dir.path(), "other");
    let nothing = dir.path().join("nothing.pem").to_str().unwrap().to_owned();
    for (cert, key, wanted) in [
        (&cert, &other, "does not belong to"),
        (&cert, &nothing, "nothing.pem"),
        (&cert, &cert, "no private key"),
        (&key, &key, "no certificate"),
    ] {
        let output = thymus()
            .args(["console", "--state", state, "--listen", "127.0.0.1:0"])
            .args(["--tls-cert", cert, "--tls-key", key])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn a_damaged_database_is_told_by_whatever_opens_it_first() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let file = dir.path().join("store/thymus.db");
    account(
        &["user", "add", "ann", "--role", "admin"],
        state,
        "a long password\n",
    );
    let token = account(&["token", "add", "test", "--role", "admin"], state, "");
    let (console, url) = start(state);
    assert_eq!(get(&url, "me", &token)["role"], "admin");
    end(console);
    let damage = || {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[200..4_000].fill(0xaa);
        let middle = bytes.len() / 2;
        bytes[middle..middle + 4_096].fill(0x55);
        std::fs::write(&file, bytes).unwrap();
    };
    let users = |arguments: &[&str]| {
        let output = thymus()
            .args(arguments)
            .args(["--state", state])
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.code(),
            out,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for arguments in [
        &["user", "list"][..],
        &["token", "list"],
        &["audit", "verify"],
    ] {
        damage();
        let (code, out, err) = users(arguments);
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(
            err.contains("was damaged") && err.contains("the copy of"),
            "{arguments:?}: {err}"
        );
    }
    let (_, out, err) = users(&["user", "list"]);
    assert_eq!((out.trim(), err.as_str()), ("ann  admin", ""));
    // While a console has it open, nobody puts it aside under its feet.
    let (console, _) = start(state);
    // It stands still: it would find the damage by itself, and end for a new start.
    let (is_held, said) = run("kill", &["-STOP", &console.id().to_string()]);
    assert!(is_held, "{said}");
    damage();
    let (code, out, err) = users(&["user", "list"]);
    assert_eq!(code, Some(2), "{out}{err}");
    assert!(err.contains("another thymus console"), "{err}");
    let mut console = console;
    console.kill().unwrap();
    console.wait().unwrap();
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
    // Where nobody ever responded, its page shows what would be: planned, rehearsed, and carried out by nobody.
    let standing = get(&url, "response", &token);
    assert!(standing["is_set_up"] == true && standing["is_running"] == false);
    assert!(standing["why_not"].as_str().unwrap().contains("demo"));
    let decided = get(&url, "decisions", &token);
    let decided = decided["items"].as_array().unwrap();
    assert!(decided.len() > 1, "{decided:?}");
    assert!(
        decided.iter().any(|one| one["state"] == "pending"),
        "{decided:?}"
    );
    for one in decided {
        assert!(
            one["incident_title"].is_string() && one["rehearsal"]["flows"].as_u64() > Some(0),
            "{one}"
        );
    }
    let path = format!("decisions/{}/approve", decided[0]["id"].as_str().unwrap());
    assert_eq!(post(&url, &path, &token, &json!({})).0, 503);
    kill(Pid::from_raw(console.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(console.wait().unwrap().success());
    // The demo is there again after a restart, said, and gone for good once it is taken away.
    let (mut console, url) = start(state);
    let before: Value = serde_json::from_str(&incidents).unwrap();
    assert_eq!(get(&url, "incidents", &token), before);
    assert_eq!(get(&url, "overview", &token)["is_demo"], true);
    let gone = ureq::delete(format!("{url}/api/v1/demo"))
        .header("authorization", &bearer)
        .call();
    assert_eq!(gone.unwrap().status(), 204);
    let said = console.stderr.take().unwrap();
    end(console);
    let said = std::io::read_to_string(said).unwrap();
    assert!(said.contains("demo data set is still loaded"), "{said}");
    let (console, url) = start(state);
    assert_eq!(get(&url, "overview", &token)["is_demo"], false);
    assert_eq!(get(&url, "response", &token)["is_set_up"], false);
    end(console);
    assert!(!dir.path().join("store/demo").exists());
    let verified = account(&["audit", "verify"], state, "");
    assert!(verified.contains("all as they were written"), "{verified}");
    assert!(dir.path().join("store/thymus.last-good.db").exists());
}
