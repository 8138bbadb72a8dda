//! Files that pass on the network: put together, judged, and evidence in the conversation that carried them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod suspect;

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};
use suspect::suspect;

/// A conversation over TCP between a device and a server, as a capture.
struct Talk {
    file: Vec<u8>,
    /// Next sequence number of client and server.
    seq: [u32; 2],
    port: u16,
    micros: u32,
    at: u32,
    client: [u8; 4],
    macs: [[u8; 6]; 2],
}

const CLIENT: [u8; 4] = [10, 0, 0, 7];
/// Hardware addresses of a device of the lab and its gateway.
const MACS: [[u8; 6]; 2] = [
    [0x54, 0xee, 0x75, 0x1a, 0xa8, 0xde],
    [0xe4, 0x8d, 0x8c, 0x63, 0x25, 0xde],
];
const SERVER: [u8; 4] = [198, 51, 100, 20];

impl Talk {
    fn begin(port: u16) -> Self {
        Self::of(
            (CLIENT, [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]]),
            1_700_000_000,
            port,
        )
    }

    /// Of this client, at a time.
    fn of((client, macs): ([u8; 4], [[u8; 6]; 2]), at: u32, port: u16) -> Self {
        let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend_from_slice(&[0, 0, 4, 0, 1, 0, 0, 0]);
        let mut talk = Self {
            file,
            seq: [1_000, 9_000],
            port,
            micros: 0,
            at,
            client,
            macs,
        };
        talk.packet(0, 0x02, b"");
        talk.packet(1, 0x12, b"");
        talk
    }

    /// A packet from the client (0) or the server (1).
    fn packet(&mut self, side: usize, flags: u8, payload: &[u8]) {
        self.write(side, flags, payload);
        let counts = payload.len() as u32 + u32::from(flags & 0x03 != 0);
        self.seq[side] += counts;
    }

    fn write(&mut self, side: usize, flags: u8, payload: &[u8]) {
        let mut frame = [self.macs[1 - side], self.macs[side]].concat();
        frame.extend_from_slice(&[8, 0, 0x45, 0]);
        frame.extend_from_slice(&(40 + payload.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[0, 1, 0x40, 0, 64, 6, 0, 0]);
        let ends = [(self.client, 50_000), (SERVER, self.port)];
        frame.extend_from_slice(&ends[side].0);
        frame.extend_from_slice(&ends[1 - side].0);
        frame.extend_from_slice(&ends[side].1.to_be_bytes());
        frame.extend_from_slice(&ends[1 - side].1.to_be_bytes());
        frame.extend_from_slice(&self.seq[side].to_be_bytes());
        frame.extend_from_slice(&self.seq[1 - side].to_be_bytes());
        frame.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend_from_slice(payload);
        self.micros += 1_000;
        for word in [self.at, self.micros, frame.len() as u32, frame.len() as u32] {
            self.file.extend_from_slice(&word.to_le_bytes());
        }
        self.file.extend_from_slice(&frame);
    }

    /// What one side says, in packets of 900 bytes; the packet with the number `missing` is not captured.
    fn say(&mut self, side: usize, text: &[u8], missing: Option<usize>) {
        for (n, part) in text.chunks(900).enumerate() {
            if missing == Some(n) {
                self.seq[side] += part.len() as u32;
            } else {
                self.packet(side, 0x18, part);
            }
            self.packet(1 - side, 0x10, b"");
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.packet(0, 0x11, b"");
        self.packet(1, 0x11, b"");
        self.packet(0, 0x10, b"");
        self.file
    }
}

/// A script that is called malicious.
fn script() -> Vec<u8> {
    suspect().into_bytes()
}

/// The events of a capture by kind, and its coverage.
fn replay(capture: &[u8], folder: &Path) -> (Vec<Value>, Value) {
    let (path, events) = (folder.join("a.pcap"), folder.join("events.jsonl"));
    std::fs::write(&path, capture).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_thymus"))
        .args(["replay", "--json", "--local", "10.0.0.0/8", "--events"])
        .args([&events, &path])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = std::fs::read_to_string(events).unwrap();
    let events = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (events.collect(), report["coverage"].clone())
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["kind"] == kind)
        .collect()
}

fn download(body: &[u8], missing: Option<usize>) -> Vec<u8> {
    downloaded(Talk::begin(80), body, missing)
}

fn downloaded(mut talk: Talk, body: &[u8], missing: Option<usize>) -> Vec<u8> {
    talk.say(
        0,
        b"GET /up/x.php.txt HTTP/1.1\r\nHost: files.example.net\r\n\r\n",
        None,
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    talk.say(1, &[head.as_bytes(), body].concat(), missing);
    talk.end()
}

#[test]
fn a_file_on_its_way_is_judged_and_the_verdict_is_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let body = script();
    let (events, _) = replay(&download(&body, None), folder.path());
    let [file] = of_kind(&events, "file_seen")[..] else {
        panic!("{events:?}")
    };
    let mut digest = String::new();
    for byte in Sha256::digest(&body) {
        write!(digest, "{byte:02x}").unwrap();
    }
    assert_eq!(file["sha256"], digest);
    assert_eq!(
        (&file["complete"], &file["bytes"]),
        (&Value::from(true), &Value::from(body.len()))
    );
    let [said] = of_kind(&events, "observation")[..] else {
        panic!("{events:?}")
    };
    assert_eq!(said["source"], "thymus files");
    assert!(
        said["name"].as_str().unwrap().ends_with("php file"),
        "{said}"
    );
    assert!(said["detail"].as_str().unwrap().contains(&digest), "{said}");
    assert_eq!(said["conn"], file["conn"]);
}

#[test]
fn a_file_of_which_a_part_is_missing_is_counted_and_not_judged() {
    let folder = tempfile::tempdir().unwrap();
    let (events, coverage) = replay(&download(&script(), Some(1)), folder.path());
    assert!(of_kind(&events, "observation").is_empty());
    assert_eq!(of_kind(&events, "file_seen")[0]["complete"], false);
    assert_eq!(coverage["dropped"]["files_cut"], 1, "{coverage}");
}

#[test]
fn what_nobody_judges_passes() {
    let folder = tempfile::tempdir().unwrap();
    let picture = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 4_000]].concat();
    let (events, _) = replay(&download(&picture, None), folder.path());
    assert!(of_kind(&events, "file_seen").is_empty());
    let (events, coverage) = replay(
        &download(&[b"PK\x03\x04".as_slice(), &[0; 900]].concat(), None),
        folder.path(),
    );
    assert_eq!(of_kind(&events, "file_seen").len(), 1);
    assert!(of_kind(&events, "observation").is_empty());
    assert_eq!(coverage["dropped"]["files_not_judged"], 1, "{coverage}");
}

#[test]
fn what_is_attached_to_a_mail_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let mut talk = Talk::begin(25);
    talk.say(1, b"220 mail.example.net ESMTP\r\n", None);
    for (command, answer) in [
        ("EHLO pc\r\n", "250 mail\r\n"),
        ("MAIL FROM:<a@example.org>\r\n", "250 ok\r\n"),
        ("RCPT TO:<b@example.net>\r\n", "250 ok\r\n"),
        ("DATA\r\n", "354 go\r\n"),
    ] {
        talk.say(0, command.as_bytes(), None);
        talk.say(1, answer.as_bytes(), None);
    }
    let script = String::from_utf8(script()).unwrap();
    let mail = format!(
        "From: a@example.org\r\nTo: b@example.net\r\nSubject: invoice\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=xyz\r\n\r\n--xyz\r\nContent-Type: text/plain\r\n\r\nhello\r\n\
         --xyz\r\nContent-Type: application/octet-stream; name=\"x.php\"\r\n\
         Content-Disposition: attachment; filename=\"x.php\"\r\n\r\n{}\r\n--xyz--\r\n.\r\n",
        script.replace('\n', "\r\n")
    );
    talk.say(0, mail.as_bytes(), None);
    talk.say(1, b"250 queued\r\n", None);
    let (events, _) = replay(&talk.end(), folder.path());
    let [said] = of_kind(&events, "observation")[..] else {
        panic!("{events:?}")
    };
    assert!(said["detail"].as_str().unwrap().contains("x.php"), "{said}");
    assert_eq!(said["techniques"][0], "T1566.001");
    assert_eq!(of_kind(&events, "mail").len(), 1);
}

/// A day of the lab with what an attacker did on it, and before that a download of a file that looks malicious,
/// by the device that was taken over.
#[test]
fn a_malicious_download_and_what_follows_are_one_story_that_names_the_file() {
    const DEVICE: [u8; 4] = [10, 69, 189, 29];
    let folder = tempfile::tempdir().unwrap();
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/captures");
    let body = script();
    let mut digest = String::new();
    for byte in Sha256::digest(&body) {
        write!(digest, "{byte:02x}").unwrap();
    }
    // Three minutes before the story begins.
    let talk = Talk::of((DEVICE, MACS), 1_747_136_400, 80);
    let capture = folder.path().join("download.pcap");
    std::fs::write(&capture, downloaded(talk, &body, None)).unwrap();
    let html = folder.path().join("report.html");
    let told = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_thymus"))
            .args(["replay", "--local", "10.69.189.0/24"])
            .args(more)
            .args(["office-day.pcap.gz", "story.pcap.gz"].map(|name| lab.join(name)))
            .arg(&capture)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let report: Value = serde_json::from_str(&told(&["--json"])).unwrap();
    let lists = ["incidents", "below_the_line"].map(|list| report[list].as_array().unwrap());
    let with_file: Vec<&Value> = lists
        .into_iter()
        .flatten()
        .filter(|incident| incident.to_string().contains(&digest))
        .collect();
    let [incident] = with_file[..] else {
        panic!("{with_file:#?}")
    };
    assert_eq!(
        (&incident["rank"], &incident["shown"]),
        (&1.into(), &true.into())
    );
    let alerts = incident["alerts"].as_array().unwrap();
    let by = |detector: &str| -> Vec<&Value> {
        let is_by = |alert: &&Value| alert["detector"].as_str().unwrap().contains(detector);
        alerts.iter().filter(is_by).collect()
    };
    let file = by("threat_observation")[0];
    assert_eq!(file["entity"], "device:10.69.189.29");
    let statement = file["statement"].as_str().unwrap();
    for said in [
        "x.php.txt",
        "php",
        &digest,
        "198.51.100.20",
        "bytes 0x",
        "malicious",
        "one in",
    ] {
        assert!(statement.contains(said), "{said} is not in {statement}");
    }
    assert!(
        !by("beacon").is_empty() && !by("scan").is_empty(),
        "{incident:#}"
    );
    let told_as = incident["narrative"].to_string();
    assert!(
        told_as.contains(&digest) && told_as.contains("x.php.txt"),
        "{told_as}"
    );
    let text = told(&["--html", html.to_str().unwrap()]);
    let html = std::fs::read_to_string(html).unwrap();
    for page in [&text, &html] {
        let flat: String = page.split_whitespace().collect();
        assert!(flat.contains(&digest) && flat.contains("bytes0x"), "{page}");
    }
}
