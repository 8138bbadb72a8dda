//! Files that real clients fetch from real servers and send to them, in a network namespace that each test
//! makes for itself: what is put together from the packets is, byte for byte, what lies on the disk. The servers
//! change their user, so these tests need root (Debian: samba, smbclient, vsftpd, lighttpd, exim4-daemon-light,
//! curl, tcpdump).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod suspect;

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sha2::{Digest, Sha256};
use suspect::suspect;
use thymus_schema::Timestamp;
use thymus_store::Database;
use thymus_store::database::{FileFilter, Limits};
use thymus_store::journal::{FrameBody, JournalReader};
use thymus_testing::apart;

const PATIENCE_SECS: u32 = 120;
/// Where servers listen; clients come from 10.0.0.7.
const SERVER: &str = "10.0.0.1";

/// Runs the test `name` again in a network namespace of its own, and there `test` with a folder that anybody
/// may enter.
fn in_network(name: &str, test: impl FnOnce(&Path)) {
    // With the machine's own users, so as root.
    apart("-nm", PATIENCE_SECS, name, || {
        for line in [
            "link set lo up",
            "address add 10.0.0.1/32 dev lo",
            "address add 10.0.0.7/32 dev lo",
            "route replace local 10.0.0.1 dev lo table local proto kernel scope host src 10.0.0.7",
        ] {
            assert!(
                done("ip", &line.split(' ').collect::<Vec<_>>()),
                "ip {line}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        test(folder.path());
    });
}

fn done(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program).args(args).status();
    status
        .unwrap_or_else(|_| panic!("{program} is needed"))
        .success()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A program that runs until the end of the test.
struct Running(Child);

impl Running {
    fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        let command = command.args(args).stdin(Stdio::null());
        Self(
            command
                .stdout(Stdio::null())
                .spawn()
                .unwrap_or_else(|_| panic!("{program} is needed")),
        )
    }

    /// Waits until it takes connections.
    fn serving(self, port: u16) -> Self {
        for _ in 0..200 {
            if TcpStream::connect((SERVER, port)).is_ok() {
                return self;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("nobody listens on port {port}");
    }

    fn end(&mut self, signal: Signal) {
        let _is_sent = kill(Pid::from_raw(self.0.id() as i32), signal).is_ok();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(Signal::SIGKILL);
    }
}

/// What passes on the wire, and what the program makes of it.
struct Capture {
    tcpdump: Running,
    file: PathBuf,
}

impl Capture {
    fn start(folder: &Path) -> Self {
        let file = folder.join("a.pcap");
        let args = [
            "-i",
            "lo",
            "-B",
            "65536",
            "-U",
            "-Z",
            "root",
            "-w",
            text(&file),
            "tcp",
        ];
        let child = Command::new("tcpdump")
            .args(args)
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("tcpdump is needed");
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "tcpdump ended");
        }
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self {
            tcpdump: Running(child),
            file,
        }
    }

    /// The events of a replay, and its coverage.
    fn replayed(mut self, folder: &Path) -> (Vec<Value>, Value) {
        // The kernel hands over what it has within a second.
        thread::sleep(Duration::from_millis(1_500));
        self.tcpdump.end(Signal::SIGINT);
        let events = folder.join("events.jsonl");
        let output = Command::new(env!("CARGO_BIN_EXE_thymus"))
            .args(["replay", "--json", "--local", "10.0.0.0/24", "--events"])
            .args([&events, &self.file])
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let lines = fs::read_to_string(events).unwrap();
        let events = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        (events.collect(), report["coverage"].clone())
    }
}

fn digest(path: &Path) -> String {
    let mut out = String::new();
    for byte in Sha256::digest(fs::read(path).unwrap()) {
        write!(out, "{byte:02x}").unwrap();
    }
    out
}

/// The one file with this content, and the protocol and the way it took.
fn carved<'a>(events: &'a [Value], path: &Path) -> &'a Value {
    let digest = digest(path);
    let mut files = events.iter().filter(|event| event["kind"] == "file_seen");
    let found = files.find(|file| file["sha256"] == *digest);
    found.unwrap_or_else(|| {
        let seen = events.iter().filter(|event| event["kind"] == "file_seen");
        panic!(
            "{} is not among {:#?}",
            path.display(),
            seen.collect::<Vec<_>>()
        )
    })
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    let files = events.iter().filter(|event| event["kind"] == "file_seen");
    let is_named = |file: &&Value| file["name"].as_str().is_some_and(|it| it.ends_with(name));
    files.filter(is_named).collect()
}

/// A harmless file that looks like a program by its first bytes, of `size` bytes that do not repeat.
fn program(path: &Path, size: usize, seed: u64) {
    let mut state = seed | 1;
    let mut bytes = b"MZ\x90\x00\x03\x00\x00\x00".to_vec();
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    fs::write(path, bytes).unwrap();
}

fn malicious(events: &[Value], name: &str) {
    let said = events.iter().filter(|event| event["kind"] == "observation");
    let said: Vec<&Value> = said
        .filter(|said| {
            said["file"]["name"]
                .as_str()
                .is_some_and(|it| it.ends_with(name))
        })
        .collect();
    let [said] = said[..] else {
        panic!("{said:#?}")
    };
    assert_eq!(said["source"], "thymus files");
    assert!(
        said["file"]["decided"]
            .as_str()
            .unwrap()
            .starts_with("bytes 0x"),
        "{said}"
    );
}

#[test]
fn files_read_and_written_over_smb_are_put_together() {
    in_network(
        "files_read_and_written_over_smb_are_put_together",
        |folder| {
            let (share, mine, private) =
                (folder.join("share"), folder.join("mine"), folder.join("p"));
            for folder in [&share, &mine, &private] {
                fs::create_dir(folder).unwrap();
            }
            program(&share.join("large.exe"), 5_000_001, 3);
            program(&share.join("small.exe"), 700, 5);
            fs::write(share.join("shell.php"), suspect()).unwrap();
            program(&mine.join("mine.exe"), 3_333_333, 7);
            let config = folder.join("smb.conf");
            let (p, s) = (text(&private), text(&share));
            let settings = format!(
                "[global]\nserver role = standalone server\ninterfaces = lo\nbind interfaces only = no\n\
             smb ports = 445\ndisable netbios = yes\nprivate dir = {p}\nlock directory = {p}\n\
             state directory = {p}\ncache directory = {p}\npid directory = {p}\nncalrpc dir = {p}/rpc\n\
             log file = {p}/log\nmap to guest = Bad User\nguest account = root\nload printers = no\n\
             [docs]\npath = {s}\nguest ok = yes\nread only = no\n"
            );
            fs::write(&config, settings).unwrap();
            let config = text(&config).to_owned();
            let arguments = ["-F", "--no-process-group", "-s", &config, "-d", "0"];
            let _server = Running::start("smbd", &arguments).serving(445);
            let capture = Capture::start(folder);
            let mine = text(&mine);
            let commands = format!(
                "lcd {mine}; get large.exe; get small.exe; get shell.php; put mine.exe sub.exe"
            );
            let asked = ["-s", &config, "//10.0.0.1/docs", "-N", "-c", &commands];
            assert!(done("smbclient", &asked));
            let (events, coverage) = capture.replayed(folder);
            for name in ["large.exe", "small.exe", "shell.php"] {
                let file = carved(&events, &share.join(name));
                assert_eq!(
                    (&file["service"], &file["upload"]),
                    (&"smb".into(), &false.into())
                );
                assert!(
                    file["name"]
                        .as_str()
                        .unwrap()
                        .ends_with(&format!("docs\\{name}")),
                    "{file}"
                );
            }
            let sent = carved(&events, &share.join("sub.exe"));
            assert_eq!(
                (&sent["upload"], named(&events, "sub.exe").len()),
                (&true.into(), 1)
            );
            malicious(&events, "shell.php");
            assert!(coverage["dropped"]["files_cut"].is_null(), "{coverage}");
        },
    );
}

#[test]
fn data_connections_of_ftp_are_the_files_that_were_named() {
    in_network(
        "data_connections_of_ftp_are_the_files_that_were_named",
        |folder| {
            let (root, drop) = (folder.join("ftp"), folder.join("ftp/drop"));
            fs::create_dir_all(&drop).unwrap();
            fs::set_permissions(&drop, Permissions::from_mode(0o777)).unwrap();
            for (n, name) in ["a.exe", "b.exe", "c.exe", "d.exe"].iter().enumerate() {
                program(&root.join(name), 400_000 + n, n as u64 + 11);
            }
            let mine = folder.join("mine.exe");
            program(&mine, 900_001, 23);
            let shell = folder.join("shell.php");
            fs::write(&shell, suspect()).unwrap();
            let config = folder.join("vsftpd.conf");
            let root_name = text(&root);
            let settings = format!(
                "listen=YES\nlisten_address={SERVER}\nbackground=NO\nanonymous_enable=YES\nwrite_enable=YES\n\
             anon_upload_enable=YES\nanon_umask=022\nanon_root={root_name}\nno_anon_password=YES\n\
             seccomp_sandbox=NO\nsecure_chroot_dir={root_name}\nconnect_from_port_20=YES\nxferlog_enable=NO\n"
            );
            fs::write(&config, settings).unwrap();
            let _server = Running::start("vsftpd", &[text(&config)]).serving(21);
            let capture = Capture::start(folder);
            let got = folder.join("got");
            let fetch = |options: &[&str], name: &str| {
                let url = format!("ftp://{SERVER}/{name}");
                let all = [&["-sS", "-o", text(&got)], options, &[url.as_str()]].concat();
                assert!(done("curl", &all), "{name}");
            };
            fetch(&[], "a.exe");
            fetch(&["--disable-epsv"], "b.exe");
            fetch(&["-P", "-"], "c.exe");
            fetch(&["-P", "-", "--disable-eprt"], "d.exe");
            fs::remove_file(&got).unwrap();
            fetch(&["-r", "1000-"], "b.exe");
            let place = format!("ftp://{SERVER}/drop/");
            assert!(done("curl", &["-sS", "-T", text(&mine), &place]));
            assert!(done(
                "curl",
                &["-sS", "-P", "-", "-T", text(&shell), &place]
            ));
            let (events, coverage) = capture.replayed(folder);
            for name in ["a.exe", "b.exe", "c.exe", "d.exe"] {
                let file = carved(&events, &root.join(name));
                assert_eq!(
                    (&file["service"], &file["name"]),
                    (&"ftp-data".into(), &name.into())
                );
            }
            assert_eq!(carved(&events, &mine)["upload"], true);
            assert_eq!(carved(&events, &shell)["name"], "shell.php");
            malicious(&events, "shell.php");
            // What begins in the middle is not the file, and its first bytes tell nothing.
            assert_eq!(named(&events, "b.exe").len(), 1, "{coverage}");
        },
    );
}

#[test]
fn ranges_and_forms_of_http_are_files() {
    in_network("ranges_and_forms_of_http_are_files", |folder| {
        let root = folder.join("www");
        fs::create_dir(&root).unwrap();
        let (whole, part) = (root.join("whole.exe"), root.join("part.exe"));
        program(&whole, 300_000, 31);
        program(&part, 500_000, 37);
        let config = folder.join("lighttpd.conf");
        let settings = format!(
            "server.document-root = \"{}\"\nserver.port = 80\nserver.bind = \"{SERVER}\"\n\
             server.modules = (\"mod_cgi\")\ncgi.assign = (\".cgi\" => \"/bin/sh\")\n",
            text(&root)
        );
        fs::write(&config, settings).unwrap();
        // Takes the whole form before it answers.
        let takes = "echo Content-Type: text/plain; echo; wc -c";
        fs::write(root.join("up.cgi"), takes).unwrap();
        let _server = Running::start("lighttpd", &["-D", "-f", text(&config)]).serving(80);
        let shell = folder.join("shell.php");
        fs::write(&shell, suspect()).unwrap();
        let capture = Capture::start(folder);
        let got = folder.join("got");
        let url = |name: &str| format!("http://{SERVER}/{name}");
        assert!(done("curl", &["-sS", "-o", text(&got), &url("whole.exe")]));
        // Out of order, and not on one connection.
        for range in ["200000-499999", "0-99999", "100000-199999"] {
            assert!(done(
                "curl",
                &["-sS", "-o", text(&got), "-r", range, &url("part.exe")]
            ));
        }
        assert!(done(
            "curl",
            &["-sS", "-o", text(&got), "-r", "0-9999", &url("whole.exe")]
        ));
        let form = format!("file=@{}", text(&shell));
        assert!(done(
            "curl",
            &[
                "-sS",
                "-o",
                text(&got),
                "-F",
                "a=b",
                "-F",
                &form,
                &url("up.cgi")
            ]
        ));
        let (events, coverage) = capture.replayed(folder);
        assert_eq!(carved(&events, &whole)["name"], "whole.exe");
        assert_eq!(carved(&events, &part)["name"], "part.exe");
        let sent = carved(&events, &shell);
        assert_eq!(
            (&sent["name"], &sent["upload"]),
            (&"shell.php".into(), &true.into())
        );
        malicious(&events, "shell.php");
        // The first part of a file, and no more of it.
        assert_eq!(coverage["dropped"]["files_cut"], 1, "{coverage}");
    });
}

#[test]
fn a_mail_sent_in_chunks_is_judged() {
    in_network("a_mail_sent_in_chunks_is_judged", |folder| {
        let config = folder.join("exim.conf");
        let spool = folder.join("spool");
        let settings = format!(
            "primary_hostname = mail.example.net\nspool_directory = {}\nlog_file_path = {0}/%slog\n\
             acl_smtp_rcpt = accept\nacl_smtp_data = accept\nqueue_only = true\nnever_users =\n\
             tls_advertise_hosts =\nkeep_environment =\n",
            text(&spool)
        );
        fs::write(&config, settings).unwrap();
        let arguments = ["-bdf", "-C", text(&config), "-oX", "[10.0.0.1]:25"];
        let _server = Running::start("exim4", &arguments).serving(25);
        let capture = Capture::start(folder);
        let script = suspect().replace('\n', "\r\n");
        let mail = format!(
            "From: a@example.org\r\nTo: b@example.net\r\nSubject: invoice\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=xyz\r\n\r\n--xyz\r\nContent-Type: text/plain\r\n\r\n\
             hello\r\n--xyz\r\nContent-Type: application/octet-stream; name=\"x.php\"\r\n\
             Content-Disposition: attachment; filename=\"x.php\"\r\n\r\n{script}\r\n--xyz--\r\n"
        );
        let mut stream = TcpStream::connect((SERVER, 25)).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        let mut answered = |code: &str| loop {
            let mut line = String::new();
            answers.read_line(&mut line).unwrap();
            assert!(line.starts_with(code), "{line}");
            if line.as_bytes().get(3) == Some(&b' ') {
                break;
            }
        };
        answered("220");
        for (command, code) in [
            ("EHLO pc\r\n", "250"),
            ("MAIL FROM:<a@example.org>\r\n", "250"),
            ("RCPT TO:<b@example.net>\r\n", "250"),
        ] {
            stream.write_all(command.as_bytes()).unwrap();
            answered(code);
        }
        let (first, last) = mail.as_bytes().split_at(mail.len() / 2);
        for (chunk, end) in [(first, ""), (last, " LAST")] {
            stream
                .write_all(format!("BDAT {}{end}\r\n", chunk.len()).as_bytes())
                .unwrap();
            stream.write_all(chunk).unwrap();
            answered("250");
        }
        stream.write_all(b"QUIT\r\n").unwrap();
        let mut rest = Vec::new();
        answers.read_to_end(&mut rest).unwrap();
        let (events, _) = capture.replayed(folder);
        let sent = folder.join("sent.eml");
        fs::write(&sent, &mail).unwrap();
        assert_eq!(carved(&events, &sent)["service"], "smtp");
        malicious(&events, "message.eml");
        let mails = events.iter().filter(|event| event["kind"] == "mail");
        assert_eq!(mails.count(), 1);
    });
}

/// A run that watches the loopback interface.
fn watching(state: &Path) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_thymus"))
        .args([
            "run",
            "--interface",
            "lo",
            "--local",
            "10.0.0.0/24",
            "--keep-packets",
            "0",
            "--state",
        ])
        .arg(state)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("watching lo"), "{line}");
    thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    Running(child)
}

#[test]
fn a_live_run_tells_every_file_to_the_console() {
    in_network("a_live_run_tells_every_file_to_the_console", |folder| {
        let root = folder.join("www");
        fs::create_dir(&root).unwrap();
        let (shell, part, zip) = (
            root.join("shell.php"),
            root.join("part.exe"),
            root.join("a.zip"),
        );
        fs::write(&shell, suspect()).unwrap();
        program(&part, 300_000, 41);
        fs::write(&zip, [b"PK\x03\x04".as_slice(), &[0; 900]].concat()).unwrap();
        let config = folder.join("lighttpd.conf");
        let settings = format!(
            "server.document-root = \"{}\"\nserver.port = 80\nserver.bind = \"{SERVER}\"\n",
            text(&root)
        );
        fs::write(&config, settings).unwrap();
        let _server = Running::start("lighttpd", &["-D", "-f", text(&config)]).serving(80);
        let state = folder.join("state");
        let mut run = watching(&state);
        let got = folder.join("got");
        for name in ["shell.php", "a.zip", "shell.php"] {
            let url = format!("http://{SERVER}/{name}");
            assert!(done("curl", &["-sS", "-o", text(&got), &url]));
        }
        // A connection that is cut in the middle of a file.
        let mut stream = TcpStream::connect((SERVER, 80)).unwrap();
        stream
            .write_all(b"GET /part.exe HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        stream.read_exact(&mut [0; 5_000]).unwrap();
        drop(stream);
        thread::sleep(Duration::from_secs(1));
        run.end(Signal::SIGTERM);
        let database = Database::open(
            &folder.join("store"),
            Limits::default(),
            Timestamp::from_secs(1),
        )
        .unwrap();
        let mut journal = JournalReader::open(&state.join("journal"), 0);
        let mut status = Value::Null;
        while let Some(frame) = journal.read().unwrap() {
            if let FrameBody::Status(at) = &frame.body {
                status = at.clone();
            }
            database
                .ingest(frame.seq, &frame.body, Timestamp::from_secs(1))
                .unwrap();
        }
        let filter = FileFilter {
            limit: 100,
            ..FileFilter::default()
        };
        let files = database.files(&filter).unwrap().items;
        let of = |name: &str| {
            files
                .iter()
                .filter(|file| file["path"] == *name)
                .collect::<Vec<_>>()
        };
        let [first, second] = of("shell.php")[..] else {
            panic!("{files:#?}")
        };
        assert_ne!(first["event"], second["event"]);
        assert_eq!(first["outcome"], "malicious");
        assert_eq!(first["sha256"], *digest(&shell));
        assert_eq!(
            (&first["protocol"], &first["device"]),
            (&"http".into(), &"device:10.0.0.7".into())
        );
        assert_eq!(first["peer"], "10.0.0.1");
        assert!(
            first["ranges"][0]["hex"]
                .as_str()
                .is_some_and(|hex| !hex.is_empty()),
            "{first}"
        );
        let [zip] = of("a.zip")[..] else {
            panic!("{files:#?}")
        };
        assert_eq!(zip["outcome"], "not_judged");
        let [cut] = of("part.exe")[..] else {
            panic!("{files:#?}")
        };
        assert_eq!(
            (&cut["outcome"], &cut["reason"]),
            (&"not_judged".into(), &"incomplete".into())
        );
        let spots = status["files"]["not_judged"].as_array().unwrap();
        let is_told = |kind: &str| spots.iter().any(|spot| spot["type"] == *kind);
        assert!(is_told("pe") && is_told("zip"), "{spots:#?}");
    });
}
