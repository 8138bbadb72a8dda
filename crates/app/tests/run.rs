//! Live capture on real interfaces, in a network namespace that each test makes for itself: `unshare -Urn`
//! needs no root where the kernel lets users make namespaces, and these tests fail where it does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

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

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "THYMUS_TEST_INSIDE";
/// What is sent must be over after this, or the test failed.
const PATIENCE_SECS: &str = "120";

/// Runs the test `name` again in a user and network namespace of its own, and there `test` with a pair of
/// connected interfaces: what is sent on `out0` is received on `in0`.
fn with_wire(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        for line in [
            "link add out0 type veth peer name in0",
            "link set out0 up",
            "link set in0 up",
        ] {
            ip(line);
        }
        return test();
    }
    let output = Command::new("unshare")
        .args(["-Urn", "timeout", PATIENCE_SECS])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux) is needed to test live capture");
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
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

/// The packets of a capture of the lab that fit on the wire.
fn packets(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../lab/captures")
        .join(name);
    let mut all = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_end(&mut all)
        .unwrap();
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
fn an_interface_that_goes_away_ends_the_run_with_its_report() {
    with_wire(
        "an_interface_that_goes_away_ends_the_run_with_its_report",
        || {
            let run = Run::start(&["--local", "10.0.0.0/8"]);
            send(
                &packets("dns-tunnel.pcap.gz")[..200],
                64,
                Duration::from_millis(1),
            );
            ip("link set in0 down");
            thread::sleep(Duration::from_millis(400));
            ip("link set in0 up");
            thread::sleep(Duration::from_millis(400));
            ip("link del in0");
            let (code, stdout, errors) = run.wait();
            assert_eq!(code, Some(2), "{errors}");
            assert!(stdout.contains("200 of 200 packets"), "{stdout}");
            let order = ["switched off; waiting", "in0 is on", "in0 is gone"];
            let places: Vec<_> = order.iter().map(|part| errors.find(part)).collect();
            assert!(
                places.iter().all(Option::is_some) && places.is_sorted(),
                "{errors}"
            );
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
fn a_run_keeps_no_rights_that_it_does_not_need() {
    with_wire("a_run_keeps_no_rights_that_it_does_not_need", || {
        let rights = |run: &Run, field: &str| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", run.id()));
            let status = status.unwrap();
            let value = status.lines().find_map(|line| line.strip_prefix(field));
            value.unwrap().trim().to_owned()
        };
        let fields = ["CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:"];
        let run = Run::start(&[]);
        // CAP_DAC_OVERRIDE is left, and a filter of system calls is there.
        let kept = fields.map(|field| rights(&run, field));
        assert_eq!(kept, ["0000000000000002", "0000000000000000", "1", "2"]);
        assert_eq!(run.end(Signal::SIGINT).0, Some(0));
        let run = Run::start(&["--no-sandbox"]);
        assert_ne!(rights(&run, "CapEff:"), "0000000000000002");
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
