//! Live capture on real interfaces, in a network namespace that each test makes for itself: `unshare -Urn`
//! needs no root where the kernel lets users make namespaces, and these tests fail where it does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, socket};
use nix::unistd::Pid;
use serde_json::Value;
use thymus_testing::apart;

/// What is sent must be over after this, or the test failed.
const PATIENCE_SECS: u32 = 120;

/// Runs the test `name` again in a user and network namespace of its own, and there `test` with a pair of
/// connected interfaces: what is sent on `out0` is received on `in0`.
fn with_wire(name: &str, test: impl FnOnce()) {
    apart("-Urnm", PATIENCE_SECS, name, || {
        for line in [
            "link add out0 type veth peer name in0",
            "link set out0 up",
            "link set in0 up",
        ] {
            ip(line);
        }
        test();
    });
}

fn ip(line: &str) {
    // Without IPv6 an interface says nothing by itself, so that every packet is the test's own.
    if let Some(name) = line
        .strip_prefix("link set ")
        .and_then(|l| l.strip_suffix(" up"))
    {
        let switch = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
        if Path::new(&switch).exists() {
            std::fs::write(switch, "1").unwrap();
        }
    }
    let done = Command::new("ip").args(line.split(' ')).status();
    assert!(
        done.expect("ip (iproute2) is needed").success(),
        "ip {line}"
    );
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_thymus"))
}

/// A run that watches.
struct Run {
    /// Until it is waited for.
    child: Option<Child>,
    said: Option<BufReader<std::process::ChildStderr>>,
}

impl Run {
    /// Starts it on `in0` and waits until it captures.
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(["run", "--interface", "in0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("watching in0"), "{line}");
        Self {
            child: Some(child),
            said: Some(said),
        }
    }

    /// Sends it a signal and gives exit code, standard output and standard error.
    fn end(self, signal: Signal) -> (Option<i32>, String, String) {
        // The kernel hands over what it has within 50 ms; the program looks once more when asked to end.
        kill(Pid::from_raw(self.id().cast_signed()), signal).unwrap();
        self.wait()
    }

    /// Waits until it has said this on standard error.
    fn hear(&mut self, part: &str) {
        let said = self.said.as_mut().unwrap();
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert_ne!(
                said.read_line(&mut line).unwrap(),
                0,
                "ended without: {part}"
            );
        }
    }

    /// The process of this name.
    fn process(&self, name: &str) -> i32 {
        let mut found = None;
        until(|| {
            found = processes_of(self.id()).into_iter().find(|id| {
                let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
                let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
                let role = words.iter().position(|word| *word == b"--role");
                let is = role.and_then(|at| words.get(at + 1)).or(words.get(1));
                is == Some(&name.as_bytes())
            });
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until a process of this name is there that is not `old`.
    fn new_process(&self, name: &str, old: i32) {
        until(|| self.process(name) != old);
    }

    fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    fn wait(mut self) -> (Option<i32>, String, String) {
        let mut errors = String::new();
        let mut said = self.said.take().unwrap();
        let reader = thread::spawn(move || {
            said.read_to_string(&mut errors).unwrap();
            errors
        });
        let Output { status, stdout, .. } = self.child.take().unwrap().wait_with_output().unwrap();
        (status.code(), text(&stdout), reader.join().unwrap())
    }
}

/// A test that fails leaves no run behind.
impl Drop for Run {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// The children of a process.
fn processes_of(parent: u32) -> Vec<i32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

/// Waits until it is so; a test that waits for ever is ended by its namespace.
fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        thread::sleep(Duration::from_millis(20));
    }
}

/// How many packets of a capture tcpdump's filter lets through.
fn dumped(path: &Path, filter: &str) -> usize {
    // Nobody: as root it would become a user that this namespace has not.
    let output = Command::new("unshare")
        .args(["-U", "tcpdump", "-nn", "-q", "-r"])
        .arg(path)
        .arg(filter)
        .output()
        .expect("tcpdump is needed to read captures back");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().count()
}

/// A capture of the lab.
fn capture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../lab/captures")
        .join(name);
    let mut all = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_end(&mut all)
        .unwrap();
    all
}

/// The packets of a capture of the lab that fit on the wire.
fn packets(name: &str) -> Vec<Vec<u8>> {
    let all = capture(name);
    let word = |at: usize| u32::from_le_bytes(all[at..at + 4].try_into().unwrap()) as usize;
    let mut packets = Vec::new();
    let mut at = 24;
    while at < all.len() {
        let end = at + 16 + word(at + 8);
        packets.push(all[at + 16..end].to_vec());
        at = end;
    }
    packets.retain(|packet| packet.len() <= 1_514);
    packets
}

/// Sends packets on `out0`, so many at a time with a pause between.
fn send(packets: &[Vec<u8>], at_a_time: usize, pause: Duration) {
    let all = nix::ifaddrs::getifaddrs().unwrap();
    let link = all
        .filter(|one| one.interface_name == "out0")
        .find_map(|one| one.address?.as_link_addr().copied())
        .unwrap();
    let kind = (AddressFamily::Packet, SockType::Raw);
    let wire = socket(kind.0, kind.1, SockFlag::empty(), None).unwrap();
    bind(wire.as_raw_fd(), &link).unwrap();
    for some in packets.chunks(at_a_time) {
        for packet in some {
            let sent = nix::sys::socket::send(wire.as_raw_fd(), packet, MsgFlags::empty());
            assert_eq!(sent, Ok(packet.len()));
        }
        thread::sleep(pause);
    }
}

fn lines(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The summary, which is the last line.
fn summary(stdout: &str) -> Value {
    let last = lines(stdout).pop().unwrap();
    assert_eq!(last["kind"], "summary");
    last
}

/// What an incident says. Ids are left out, which carry the name of the input, and the order of alerts of
/// the same instant, which goes by ids (and with it the last digits of a sum over them).
fn said(incident: &Value) -> String {
    let mut out = String::new();
    let fields = [
        "rank",
        "title",
        "hypothesis",
        "confidence",
        "techniques",
        "first_seen",
        "last_seen",
    ];
    for field in fields {
        writeln!(out, "{field}: {}", incident[field]).unwrap();
    }
    let sorted = |field: &str, one: fn(&Value) -> String| {
        let mut all: Vec<String> = incident[field]
            .as_array()
            .unwrap()
            .iter()
            .map(one)
            .collect();
        all.sort();
        all.join("\n")
    };
    let alert = |a: &Value| {
        let fields = [
            "detector",
            "entity",
            "first_seen",
            "last_seen",
            "p_value",
            "discovered",
            "statement",
        ];
        fields.map(|field| a[field].to_string()).join(" ")
    };
    writeln!(out, "p {:.9}", incident["p_value"].as_f64().unwrap()).unwrap();
    writeln!(out, "{}", sorted("affected", Value::to_string)).unwrap();
    writeln!(out, "{}", sorted("alerts", alert)).unwrap();
    out
}

#[test]
fn a_recording_replayed_gives_the_incidents_it_gave_live() {
    with_wire(
        "a_recording_replayed_gives_the_incidents_it_gave_live",
        || {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("live.pcapng");
            let run = Run::start(&["--json", "--record", file.to_str().unwrap()]);
            let sent = packets("scan-bruteforce.pcap.gz");
            send(&sent, 64, Duration::from_millis(5));
            let (code, stdout, errors) = run.end(Signal::SIGINT);
            assert_eq!(code, Some(1), "{errors}");
            let live = summary(&stdout);
            assert_eq!(
                live["coverage"]["packets"],
                sent.len(),
                "{}",
                live["coverage"]
            );
            let told = lines(&stdout);
            let title = &live["incidents"][0]["title"];
            assert!(title.is_string());
            assert!(
                told.iter()
                    .any(|line| line["kind"] == "incident" && &line["title"] == title),
                "told by itself too"
            );
            let replay = Command::new(program())
                .args(["replay", "--json", file.to_str().unwrap()])
                .output()
                .unwrap();
            let replayed: Value = serde_json::from_slice(&replay.stdout).unwrap();
            for what in ["incidents", "below_the_line"] {
                let all = |report: &Value| -> Vec<String> {
                    report[what].as_array().unwrap().iter().map(said).collect()
                };
                assert_eq!(all(&live), all(&replayed), "{what}");
            }
            assert_eq!(live["local_networks"], replayed["local_networks"]);
            for what in ["packets", "packets_judged", "bytes", "flows", "events"] {
                assert_eq!(live["coverage"][what], replayed["coverage"][what], "{what}");
            }
        },
    );
}

#[test]
fn no_packet_goes_missing_uncounted() {
    with_wire("no_packet_goes_missing_uncounted", || {
        // The smallest buffers, and everything at once: how much is shed depends on the machine, but what
        // is judged and what is shed must add up.
        let run = Run::start(&["--json", "--buffer", "1"]);
        let sent = packets("smb-ransom.pcap.gz");
        send(&sent, sent.len(), Duration::ZERO);
        let (_, stdout, errors) = run.end(Signal::SIGTERM);
        assert!(errors.is_empty(), "{errors}");
        let coverage = &summary(&stdout)["coverage"];
        assert_eq!(coverage["packets"], sent.len(), "{coverage}");
        let read = coverage["packets_judged"].as_u64().unwrap();
        let dropped = coverage["dropped"].as_object().unwrap();
        let dropped: u64 = dropped.values().filter_map(Value::as_u64).sum();
        assert!(read + dropped >= sent.len() as u64, "{coverage}");
        assert!(coverage["lag_ms_max"].is_u64());
    });
}

#[test]
fn what_was_learned_outlives_the_run_and_belongs_to_one() {
    with_wire(
        "what_was_learned_outlives_the_run_and_belongs_to_one",
        || {
            let folder = tempfile::tempdir().unwrap();
            let state = folder.path().join("state");
            let args = ["--json", "--state", state.to_str().unwrap()];
            let first = Run::start(&args);
            let second = Command::new(program())
                .args(["run", "--interface", "in0"])
                .args(args)
                .output()
                .unwrap();
            assert_eq!(second.status.code(), Some(2));
            let message = text(&second.stderr);
            assert!(message.contains("another"), "{message}");
            send(&packets("dns-tunnel.pcap.gz"), 64, Duration::from_millis(1));
            let (_, stdout, errors) = first.end(Signal::SIGTERM);
            let devices = summary(&stdout)["coverage"]["entities"].as_u64().unwrap();
            assert!(devices > 0, "{errors}");
            let (code, stdout, _) = Run::start(&args).end(Signal::SIGINT);
            let summary = summary(&stdout);
            assert_eq!(summary["coverage"]["entities"], devices, "remembered");
            assert_eq!(
                summary["incidents"].as_array().unwrap().len(),
                0,
                "told before"
            );
            assert_eq!(code, Some(0));
        },
    );
}

#[test]
fn an_interface_that_goes_away_is_waited_for() {
    with_wire("an_interface_that_goes_away_is_waited_for", || {
        let mut run = Run::start(&["--local", "10.0.0.0/8"]);
        let sent = packets("dns-tunnel.pcap.gz");
        send(&sent[..200], 64, Duration::from_millis(1));
        ip("link set in0 down");
        run.hear("switched off; waiting");
        ip("link set in0 up");
        run.hear("in0 is on");
        ip("link del in0");
        run.hear("in0 is gone");
        ip("link add out0 type veth peer name in0");
        ip("link set out0 up");
        ip("link set in0 up");
        run.hear("capturing on in0 again");
        send(&sent[200..300], 64, Duration::from_millis(1));
        let (_, stdout, errors) = run.end(Signal::SIGTERM);
        assert!(stdout.contains("300 of 300 packets"), "{stdout}{errors}");
    });
}

#[test]
fn who_is_killed_is_started_again_and_nothing_found_is_lost() {
    with_wire(
        "who_is_killed_is_started_again_and_nothing_found_is_lost",
        || {
            let folder = tempfile::tempdir().unwrap();
            let sent = packets("scan-bruteforce.pcap.gz");
            let third = sent.len() / 3;
            let mut reports = Vec::new();
            for kills in [false, true] {
                let dir = folder.path().join(format!("kills-{kills}"));
                let mut run = Run::start(&[
                    "--json",
                    "--local",
                    "10.0.0.0/8",
                    "--state",
                    dir.to_str().unwrap(),
                ]);
                for (part, victim) in sent.chunks(third).zip(["analysis", "capture", "", ""]) {
                    send(part, 64, Duration::from_millis(2));
                    // What was seen a second ago is in the journal.
                    thread::sleep(Duration::from_millis(1_200));
                    if kills && !victim.is_empty() {
                        let id = run.process(victim);
                        kill(Pid::from_raw(id), Signal::SIGKILL).unwrap();
                        run.hear(&format!("the {victim} process ended"));
                        run.new_process(victim, id);
                        if victim == "capture" {
                            run.hear("capturing on in0 again");
                        }
                    }
                }
                let (_, stdout, errors) = run.end(Signal::SIGTERM);
                reports.push((summary(&stdout), errors));
            }
            let [(whole, _), (killed, errors)] = reports.try_into().unwrap();
            // Detectors by device: numbers in titles differ with the pace of the sending.
            let found = |report: &Value| -> BTreeSet<String> {
                let incidents = report["incidents"].as_array().unwrap();
                let alerts = incidents
                    .iter()
                    .flat_map(|one| one["alerts"].as_array().unwrap());
                alerts
                    .map(|one| format!("{} {}", one["detector"], one["entity"]))
                    .collect()
            };
            assert_eq!(found(&killed), found(&whole), "{errors}");
            assert!(!found(&killed).is_empty());
            let dropped = &killed["coverage"]["dropped"];
            assert_eq!(dropped["analysis_restarts"], 1, "{dropped}");
        },
    );
}

#[test]
fn the_console_shows_what_the_run_finds_and_outlives_its_own_death() {
    with_wire(
        "the_console_shows_what_the_run_finds_and_outlives_its_own_death",
        || {
            ip("link set lo up");
            let folder = tempfile::tempdir().unwrap();
            let state = folder.path().join("state");
            let state_arg = state.to_str().unwrap();
            let args = ["--local", "10.0.0.0/8", "--state", state_arg, "--console"];
            let mut run = Run::start(&[&args[..], &["--filter", "ip or arp"]].concat());
            run.hear("the console is at");
            let token = Command::new(program())
                .args([
                    "token", "add", "test", "--role", "analyst", "--state", state_arg,
                ])
                .output()
                .unwrap();
            let token = text(&token.stdout).trim().to_owned();
            let get = |path: &str| -> Option<Value> {
                let request = ureq::get(format!("http://127.0.0.1:8642/api/v1/{path}"))
                    .header("Authorization", format!("Bearer {token}"));
                let mut answer = request.call().ok()?;
                serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()
            };
            send(
                &packets("scan-bruteforce.pcap.gz"),
                64,
                Duration::from_millis(2),
            );
            let shown = || {
                let incidents = get("incidents?shown=true")?;
                let first = incidents["items"].as_array()?.first()?;
                Some((first["id"].to_string(), first["devices"].to_string()))
            };
            until(|| shown().is_some());
            let (id, devices) = shown().unwrap();
            assert!(devices.contains("10.69.189.167"), "{devices}");
            until(|| {
                let query = "SELECT count(*) FROM events WHERE client_addr = '10.69.189.167'";
                let asked = ureq::post("http://127.0.0.1:8642/api/v1/query")
                    .header("Authorization", format!("Bearer {token}"))
                    .header("Content-Type", "application/json")
                    .send(
                        serde_json::json!({ "sql": query, "limit": 10 })
                            .to_string()
                            .as_bytes(),
                    );
                let answer = asked.and_then(|mut answer| answer.body_mut().read_to_string());
                let answer = answer
                    .ok()
                    .and_then(|text| serde_json::from_str(&text).ok());
                let answer: Value = answer.unwrap_or_default();
                answer["rows"][0][0].as_u64() > Some(40)
            });
            let id_bare = id.trim_matches('"');
            let slice = ureq::get(format!(
                "http://127.0.0.1:8642/api/v1/incidents/{id_bare}/packets.pcap"
            ))
            .header("Authorization", format!("Bearer {token}"))
            .call();
            let path = folder.path().join("slice.pcapng");
            let bytes = slice.unwrap().body_mut().read_to_vec().unwrap();
            std::fs::write(&path, bytes).unwrap();
            // What tcpdump makes of it: all packets of the guessing of passwords, and nobody else's.
            let guessing = "tcp port 22 and host 10.69.189.167 and host 10.69.189.10";
            let sent = folder.path().join("sent.pcap");
            std::fs::write(&sent, capture("scan-bruteforce.pcap.gz")).unwrap();
            let of_it = dumped(&path, guessing);
            assert!(of_it > 100, "{of_it}");
            assert_eq!(of_it, dumped(&sent, &format!("{guessing} and less 1514")));
            assert_eq!(dumped(&path, "not host 10.69.189.167"), 0);
            let console = run.process("console");
            kill(Pid::from_raw(console), Signal::SIGKILL).unwrap();
            run.hear("the console process ended");
            run.hear("the console is at");
            until(|| shown().is_some_and(|(again, _)| again == id));
            let health = get("health").unwrap();
            let spots = health["blind_spots"].to_string();
            assert!(spots.contains("only packets matching ip or arp"), "{spots}");
            let processes = health["status"]["processes"].clone();
            assert_eq!(processes.as_array().map(Vec::len), Some(4), "{processes}");
            assert_eq!(run.end(Signal::SIGTERM).0, Some(1));
        },
    );
}

#[test]
fn a_full_disk_ends_no_watching_and_what_is_found_still_gets_in() {
    with_wire(
        "a_full_disk_ends_no_watching_and_what_is_found_still_gets_in",
        || {
            let folder = tempfile::tempdir().unwrap();
            let mounted = Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=4800k", "tmpfs"])
                .arg(folder.path())
                .status();
            assert!(mounted.unwrap().success());
            let state = folder.path().join("state");
            let state_arg = state.to_str().unwrap();
            let args = ["--json", "--local", "10.0.0.0/8", "--state", state_arg];
            let mut run = Run::start(&[&args[..], &["--keep-packets", "0"]].concat());
            let sent = packets("scan-bruteforce.pcap.gz");
            // Another program fills the disk while it watches.
            send(&sent[..500], 64, Duration::from_millis(1));
            until(|| state.join("journal").join("reserve").exists());
            let mut rest = std::fs::File::create(folder.path().join("other")).unwrap();
            while std::io::Write::write_all(&mut rest, &[0; 4096]).is_ok() {}
            send(&sent, 64, Duration::from_millis(2));
            run.hear("journal cannot be written");
            let (_, stdout, errors) = run.end(Signal::SIGTERM);
            let summary = summary(&stdout);
            let coverage = &summary["coverage"];
            assert_eq!(coverage["packets"], sent.len() + 500, "{errors}");
            let unwritten = &coverage["dropped"]["journal_events_not_written"];
            assert!(unwritten.as_u64() > Some(0), "{coverage} {errors}");
            assert!(!summary["incidents"].as_array().unwrap().is_empty());
            // What was found is in the room that was held for it.
            assert!(!state.join("journal").join("reserve").exists());
        },
    );
}

#[test]
fn packets_are_kept_as_far_as_the_disk_has_room_and_through_kills() {
    with_wire(
        "packets_are_kept_as_far_as_the_disk_has_room_and_through_kills",
        || {
            let folder = tempfile::tempdir().unwrap();
            let state = folder.path().join("state");
            let state_arg = state.to_str().unwrap();
            let ring = state.join("packets");
            std::fs::create_dir_all(&ring).unwrap();
            let mounted = Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
                .arg(&ring)
                .status();
            assert!(mounted.unwrap().success());
            let other = ring.join("other");
            let mut rest = std::fs::File::create(&other).unwrap();
            while std::io::Write::write_all(&mut rest, &[0; 4096]).is_ok() {}
            let mut run = Run::start(&["--json", "--local", "10.0.0.0/8", "--state", state_arg]);
            let guessing = packets("scan-bruteforce.pcap.gz");
            send(&guessing[..500], 64, Duration::from_millis(1));
            run.hear("packets cannot be kept");
            drop(rest);
            std::fs::remove_file(&other).unwrap();
            send(&packets("smb-ransom.pcap.gz"), 64, Duration::from_millis(2));
            let kept = || {
                let files = std::fs::read_dir(&ring).unwrap();
                files
                    .map(|file| file.unwrap().metadata().unwrap().len())
                    .sum::<u64>()
            };
            until(|| kept() > 1 << 20);
            let capture_process = run.process("capture");
            kill(Pid::from_raw(capture_process), Signal::SIGKILL).unwrap();
            run.new_process("capture", capture_process);
            run.hear("capturing on in0 again");
            send(&guessing, 64, Duration::from_millis(2));
            let (_, stdout, errors) = run.end(Signal::SIGTERM);
            // A twentieth of the disk stays free, give or take a block of packets.
            assert!(
                kept() < (2 << 20) - (2 << 20) / 20 + (32 << 10),
                "{}",
                kept()
            );
            // What came last is there, whole; what came while there was no room is not.
            let slice = folder.path().join("slice.pcapng");
            let cut = Command::new(program())
                .args([
                    "packets",
                    "--state",
                    state_arg,
                    "--host",
                    "10.69.189.167",
                    "-o",
                ])
                .arg(&slice)
                .status();
            assert!(cut.unwrap().success());
            let sent = folder.path().join("sent.pcap");
            std::fs::write(&sent, capture("scan-bruteforce.pcap.gz")).unwrap();
            let of_host = "host 10.69.189.167 and tcp port 22";
            let wanted = dumped(&sent, &format!("{of_host} and less 1514"));
            assert!(wanted > 100, "{wanted}");
            assert_eq!(dumped(&slice, of_host), wanted, "{errors}");
            assert!(summary(&stdout)["incidents"].is_array());
        },
    );
}

#[test]
fn a_run_whose_first_process_is_killed_leaves_none_behind_and_goes_on_later() {
    with_wire(
        "a_run_whose_first_process_is_killed_leaves_none_behind_and_goes_on_later",
        || {
            let folder = tempfile::tempdir().unwrap();
            let state = folder.path().join("state");
            let args = ["--json", "--state", state.to_str().unwrap()];
            let run = Run::start(&args);
            send(&packets("dns-tunnel.pcap.gz"), 64, Duration::from_millis(1));
            thread::sleep(Duration::from_millis(1_200));
            let ids = ["capture", "analysis"].map(|name| run.process(name));
            kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGKILL).unwrap();
            for id in ids {
                until(|| !Path::new(&format!("/proc/{id}")).exists());
            }
            drop(run);
            let (_, stdout, _) = Run::start(&args).end(Signal::SIGINT);
            let known = summary(&stdout)["coverage"]["entities"].as_u64().unwrap();
            assert!(known > 0);
        },
    );
}

#[test]
fn a_tag_that_the_kernel_took_out_of_a_packet_is_put_back() {
    with_wire(
        "a_tag_that_the_kernel_took_out_of_a_packet_is_put_back",
        || {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("tagged.pcapng");
            let run = Run::start(&["--record", file.to_str().unwrap()]);
            let plain = packets("dns-tunnel.pcap.gz").swap_remove(0);
            let tagged = [&plain[..12], &[0x81, 0, 0x60, 0x07], &plain[12..]].concat();
            send(std::slice::from_ref(&tagged), 1, Duration::ZERO);
            let (_, stdout, _) = run.end(Signal::SIGINT);
            assert!(stdout.contains("1 of 1 packets"), "{stdout}");
            let recorded = std::fs::read(&file).unwrap();
            assert!(recorded.windows(tagged.len()).any(|bytes| bytes == tagged));
        },
    );
}

#[test]
fn a_filter_keeps_packets_out_and_stands_beside_every_result() {
    with_wire(
        "a_filter_keeps_packets_out_and_stands_beside_every_result",
        || {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("filtered.pcapng");
            let filter = "not (tcp port 22 or vlan 7) and ip";
            let filtered = ["--filter", filter, "--record", file.to_str().unwrap()];
            let run = Run::start(&[&filtered[..], &["--json"]].concat());
            let sent = packets("scan-bruteforce.pcap.gz");
            // The kernel takes the tags out before the filter sees the packet.
            let mut dns = packets("dns-tunnel.pcap.gz");
            dns.retain(|packet| packet[12..14] == [0x08, 0x00] && packet[23] == 17);
            let dns = dns.swap_remove(0);
            let tagged = |number| [&dns[..12], &[0x81, 0, 0x60, number], &dns[12..]].concat();
            send(&sent, 64, Duration::from_millis(2));
            send(&[tagged(7), tagged(8)], 1, Duration::ZERO);
            let (_, stdout, _) = run.end(Signal::SIGTERM);
            let coverage = &summary(&stdout)["coverage"];
            let whole = folder.path().join("sent.pcap");
            std::fs::write(&whole, capture("scan-bruteforce.pcap.gz")).unwrap();
            let wanted = dumped(&whole, "not tcp port 22 and ip and less 1514");
            assert!(wanted > 100 && wanted < sent.len(), "{wanted}");
            assert_eq!(coverage["packets"], wanted + 1, "{coverage}");
            assert_eq!(coverage["filter"], filter);
            assert_eq!(dumped(&file, "tcp port 22 or vlan 7"), 0);
            assert_eq!(dumped(&file, "vlan 8"), 1);
            let run = Run::start(&["--filter", "udp"]);
            send(&[dns], 1, Duration::ZERO);
            let (_, stdout, _) = run.end(Signal::SIGTERM);
            assert!(stdout.contains("only packets matching udp"), "{stdout}");
        },
    );
}

/// UDP packets that carry their number, from one of many ports.
fn numbered(numbers: std::ops::Range<u32>, port: u16) -> Vec<Vec<u8>> {
    let one = |number: u32| {
        let mut packet = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        packet.extend([0x45, 0, 0, 48, 0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        let from = 20_000 + (number % 50) as u16;
        packet.extend(from.to_be_bytes());
        packet.extend(port.to_be_bytes());
        packet.extend([0, 28, 0, 0]);
        packet.extend(format!("number {number:08}....").bytes().take(20));
        packet
    };
    numbers.map(one).collect()
}

/// The numbers in a capture file, in the order in which they are there.
fn numbers(path: &Path) -> Vec<u32> {
    let bytes = std::fs::read(path).unwrap();
    let found = bytes.windows(15).filter_map(|window| {
        let digits = window.strip_prefix(b"number ")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    });
    found.collect()
}

/// Every number is in the capture file, once, in order.
fn assert_in_order(path: &Path, count: u32) {
    let numbers = numbers(path);
    let wrong = numbers.iter().zip(0..).find(|(is, wanted)| **is != *wanted);
    assert_eq!(wrong, None);
    assert_eq!(numbers.len(), count as usize);
}

#[test]
fn several_sockets_see_every_packet_once_and_in_order() {
    with_wire("several_sockets_see_every_packet_once_and_in_order", || {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("all.pcapng");
        let run = Run::start(&[
            "--json",
            "--capture-sockets",
            "3",
            "--filter",
            "udp port 7",
            "--record",
            record.to_str().unwrap(),
        ]);
        // A line for each socket behind the heading: packet(7) has no other way to tell.
        let sockets = std::fs::read_to_string("/proc/net/packet").unwrap();
        assert_eq!(sockets.lines().count(), 4, "{sockets}");
        let cores = thread::available_parallelism().unwrap().get();
        for n in 0..400 {
            let mut core = nix::sched::CpuSet::new();
            core.set(n as usize % cores).unwrap();
            nix::sched::sched_setaffinity(Pid::from_raw(0), &core).unwrap();
            send(
                &numbered(n * 50..(n + 1) * 50, 7),
                50,
                Duration::from_millis(1),
            );
        }
        let (_, stdout, _) = run.end(Signal::SIGTERM);
        let coverage = &summary(&stdout)["coverage"];
        assert_eq!(coverage["packets"], 20_000, "{coverage}");
        assert_in_order(&record, 20_000);
    });
}

/// Has the run of a folder read its settings again.
fn reload(state: &Path) -> (Option<i32>, String, String) {
    let mut command = Command::new(program());
    let output = command.args(["reload", "--state"]).arg(state).output();
    let output = output.unwrap();
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    (output.status.code(), said, errors)
}

/// By which settings the run of a folder goes.
fn configuration(state: &Path) -> Value {
    let text = std::fs::read_to_string(state.join("configuration.json"));
    serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default()
}

/// A token for the console of a folder.
fn token(state: &Path) -> String {
    let token = Command::new(program())
        .args(["token", "add", "test", "--role", "admin", "--state"])
        .arg(state)
        .output()
        .unwrap();
    text(&token.stdout).trim().to_owned()
}

/// What the console answers, as soon as it does.
fn console_says(token: &str, path: &str) -> Value {
    let asked = || {
        let request = ureq::get(format!("http://127.0.0.1:8642/api/v1/{path}"))
            .header("Authorization", format!("Bearer {token}"));
        let text = request.call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str::<Value>(&text).ok()
    };
    let mut answer = None;
    until(|| {
        answer = asked();
        answer.is_some()
    });
    answer.unwrap()
}

#[test]
fn settings_are_taken_over_without_losing_a_packet() {
    with_wire("settings_are_taken_over_without_losing_a_packet", || {
        ip("link set lo up");
        let folder = tempfile::tempdir().unwrap();
        let (state, file) = (folder.path().join("state"), folder.path().join("a.toml"));
        let record = folder.path().join("all.pcapng");
        let write = |settings: &str| {
            let always = "local = \"10.0.0.0/8\"\nconsole = \"127.0.0.1:8642\"\n";
            std::fs::write(&file, format!("{always}{settings}")).unwrap();
        };
        write("budget = 5\nkeep-packets = 0\nfilter = \"not port 9\"\n");
        let run = Run::start(&[
            "--json",
            "--config",
            file.to_str().unwrap(),
            "--state",
            state.to_str().unwrap(),
            "--record",
            record.to_str().unwrap(),
        ]);
        until(|| state.join("processes.json").exists());
        let ids = ["capture", "analysis"].map(|name| run.process(name));
        let console = run.process("console");
        // All the while packets come, on a port that no filter leaves out.
        let wire = thread::spawn(|| {
            for n in 0..200 {
                let some = numbered(n * 100..(n + 1) * 100, 7);
                send(&some, 20, Duration::from_millis(2));
            }
        });
        let nothing = "no setting has changed\n".to_owned();
        assert_eq!(reload(&state), (Some(0), nothing, String::new()));
        write(
            "budget = 1000\nkeep-packets = 64\nfilter = \"ip\"\nbuffer = 32\nkeep-event-days = 7\n\
             keep-events = 128\n",
        );
        let (code, said, errors) = reload(&state);
        assert_eq!(code, Some(0), "{errors}");
        for part in [
            "budget from 5 to 1000\n",
            "keep-packets from 0 to 64\n",
            "filter from not port 9 to ip\n",
            "keep-event-days from unset to 7\n",
            "buffer stays unset: it needs a restart\n",
        ] {
            assert!(said.contains(part), "{part} not in {said}");
        }
        wire.join().unwrap();
        // Those who see packets are who they were; the console is another.
        assert_eq!(["capture", "analysis"].map(|name| run.process(name)), ids);
        run.new_process("console", console);
        let storage = console_says(&token(&state), "health")["storage"].clone();
        assert_eq!(storage["limit_bytes"], 128 << 20);
        // Port 9 was left out first; now it is seen, and kept.
        send(&numbered(20_000..20_010, 9), 1, Duration::ZERO);
        let kept = || {
            let files = std::fs::read_dir(state.join("packets")).unwrap();
            let sizes = files.map(|file| file.unwrap().metadata().unwrap().len());
            sizes.sum::<u64>()
        };
        until(|| kept() > 0);
        let (_, stdout, errors) = run.end(Signal::SIGTERM);
        let coverage = summary(&stdout)["coverage"].clone();
        assert_eq!(coverage["packets"], 20_010, "{errors}{coverage}");
        let missed = coverage["dropped"].get("kernel_ring_full");
        assert_eq!(missed, None, "{coverage}");
        assert_eq!(coverage["filter"], "ip (before: not port 9)");
        assert_in_order(&record, 20_010);
        assert!(
            errors.contains("settings taken over: filter from not port 9 to ip"),
            "{errors}"
        );
        assert!(!state.join("configuration.json").exists());
    });
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_that_is_said_everywhere() {
    with_wire(
        "a_file_that_is_wrong_changes_nothing_and_that_is_said_everywhere",
        || {
            ip("link set lo up");
            let folder = tempfile::tempdir().unwrap();
            let (state, file) = (folder.path().join("state"), folder.path().join("a.toml"));
            let write = |settings: &str| std::fs::write(&file, settings).unwrap();
            write("console = \"127.0.0.1:8642\"\nbudget = 7\n");
            let run = Run::start(&[
                "--config",
                file.to_str().unwrap(),
                "--state",
                state.to_str().unwrap(),
            ]);
            until(|| state.join("processes.json").exists());
            let all = ["capture", "analysis", "console"];
            let ids = all.map(|name| run.process(name));
            write("console = \"127.0.0.1:8642\"\nbudget = 5\nfilter = \"prot 9\"\nbufer = 1\n");
            // By a signal as by the command.
            kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGHUP).unwrap();
            until(|| configuration(&state)["reloads"][0].is_object());
            let refused = configuration(&state)["reloads"][0]["refused"].to_string();
            assert!(
                refused.contains("a.toml:4:1: there is no setting bufer"),
                "{refused}"
            );
            let (code, said, errors) = reload(&state);
            assert_eq!((code, said.as_str()), (Some(2), ""));
            assert!(errors.contains("a.toml:3:10: filter: prot 9"), "{errors}");
            // What is understood and cannot be used is refused too.
            let other = std::net::TcpListener::bind("127.0.0.1:8643").unwrap();
            write("console = \"127.0.0.1:8643\"\nbudget = 5\n");
            let (code, _, errors) = reload(&state);
            assert_eq!(code, Some(2));
            assert!(
                errors.contains("cannot listen at 127.0.0.1:8643"),
                "{errors}"
            );
            drop(other);
            let settings = configuration(&state)["settings"].clone();
            let mut settings = settings.as_array().unwrap().iter();
            let budget = settings.find(|one| one["name"] == "budget").unwrap();
            assert_eq!(budget["values"][0], "7");
            assert_eq!(all.map(|name| run.process(name)), ids);
            let token = token(&state);
            until(|| {
                let health = console_says(&token, "health");
                health["remarks"].to_string().contains("cannot listen at")
            });
            let audit = console_says(&token, "audit").to_string();
            assert_eq!(audit.matches("configuration.refused").count(), 3, "{audit}");
            write("console = \"127.0.0.1:8642\"\nbudget = 5\n");
            assert_eq!(reload(&state).1, "budget from 7 to 5\n");
            until(|| {
                let health = console_says(&token, "health");
                health["remarks"] == Value::Array(Vec::new())
            });
            let (_, _, errors) = run.end(Signal::SIGTERM);
            let refusals = errors.matches("the settings were not taken over").count();
            assert_eq!(refusals, 3, "{errors}");
            assert_eq!(reload(&state).0, Some(2), "nobody is there any more");
        },
    );
}

#[test]
fn another_analysis_goes_on_where_the_one_before_it_ended() {
    with_wire(
        "another_analysis_goes_on_where_the_one_before_it_ended",
        || {
            let folder = tempfile::tempdir().unwrap();
            let (state, file) = (folder.path().join("state"), folder.path().join("a.toml"));
            let record = folder.path().join("all.pcapng");
            let state_arg = state.to_str().unwrap();
            let list = folder.path().join("list.csv");
            std::fs::write(&list, "10.0.0.2\n").unwrap();
            let write = |settings: &str| std::fs::write(&file, settings).unwrap();
            write("local = \"10.0.0.0/8\"\n");
            let run = Run::start(&[
                "--json",
                "--config",
                file.to_str().unwrap(),
                "--state",
                state_arg,
                "--record",
                record.to_str().unwrap(),
            ]);
            until(|| state.join("processes.json").exists());
            let reload = || {
                let output = Command::new(program())
                    .args(["reload", "--state", state_arg])
                    .output()
                    .unwrap();
                assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
                text(&output.stdout)
            };
            let ids = ["capture", "analysis"].map(|name| run.process(name));
            let wire = thread::spawn(|| {
                for n in 0..100 {
                    send(
                        &numbered(n * 100..(n + 1) * 100, 7),
                        20,
                        Duration::from_millis(3),
                    );
                }
            });
            write("local = \"10.0.0.0/8\"\nindicators = \"list.csv\"\n");
            let said = reload();
            assert!(said.starts_with("indicators from unset to "), "{said}");
            run.new_process("analysis", ids[1]);
            // The same file with something else in it.
            let second = run.process("analysis");
            std::fs::write(&list, "10.0.0.2\n10.0.0.3\n").unwrap();
            assert_eq!(reload(), "the indicators were read again\n");
            run.new_process("analysis", second);
            wire.join().unwrap();
            assert_eq!(run.process("capture"), ids[0]);
            let (_, stdout, errors) = run.end(Signal::SIGTERM);
            assert_in_order(&record, 10_000);
            assert!(!errors.contains("process ended"), "{errors}");
            let coverage = &summary(&stdout)["coverage"];
            assert_eq!(
                coverage["dropped"].get("capture_restarts"),
                None,
                "{coverage}"
            );
            assert_eq!(coverage["dropped"]["analysis_restarts"], 2, "{coverage}");
            assert!(stdout.contains("list.csv"), "{stdout}");
        },
    );
}

#[test]
fn a_run_keeps_no_rights_that_it_does_not_need() {
    with_wire("a_run_keeps_no_rights_that_it_does_not_need", || {
        let rights = |id: i32, field: &str| {
            let status = std::fs::read_to_string(format!("/proc/{id}/status"));
            let status = status.unwrap();
            let value = status.lines().find_map(|line| line.strip_prefix(field));
            value.unwrap().trim().to_owned()
        };
        let fields = ["CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:"];
        let run = Run::start(&[]);
        // CAP_DAC_OVERRIDE is left, and a filter of system calls is there.
        let confined = ["0000000000000002", "0000000000000000", "1", "2"];
        for name in ["capture", "analysis"] {
            let id = run.process(name);
            until(|| fields.map(|field| rights(id, field)) == confined);
        }
        assert_eq!(run.end(Signal::SIGINT).0, Some(0));
        let run = Run::start(&["--no-sandbox"]);
        for name in ["capture", "analysis"] {
            assert_ne!(rights(run.process(name), "CapEff:"), confined[0], "{name}");
        }
        run.end(Signal::SIGINT);
    });
}

#[test]
fn what_cannot_be_watched_is_refused_with_the_remedy() {
    let refused = |command: &mut Command, parts: &[&str]| {
        let output = command.output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert_eq!(text(&output.stdout), "");
        for part in parts {
            assert!(message.contains(part), "{part} not in: {message}");
        }
    };
    let run = ["run", "--stop-after", "5", "--interface"];
    refused(
        Command::new(program()).args(run).arg("none0"),
        &["none0", "lo"],
    );
    refused(
        Command::new(program())
            .args(run)
            .args(["lo", "--filter", "tcp port http"]),
        &["--filter", "at character 10", "a port is a number"],
    );
    // In a user namespace where it is nobody it has no rights over the network.
    refused(
        Command::new("unshare")
            .arg("-U")
            .arg(program())
            .args(run)
            .arg("lo"),
        &["CAP_NET_RAW", "setcap"],
    );
    with_wire("what_cannot_be_watched_is_refused_with_the_remedy", || {
        refused(
            Command::new(program())
                .args(run)
                .args(["in0", "--record", "no/such/folder/a.pcapng"]),
            &["no/such/folder", "--record"],
        );
    });
}
