//! Sinks against real sockets and files on this machine, and receivers that behave badly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    reason = "tests"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use ring::hmac;
use serde_json::{Value, json};
use thymus_outputs::{
    Clock, Kind, Mark, Offered, Outlet, Output, Record, Sink, Spool, Surroundings,
};
use thymus_schema::Timestamp;

const NOW: i64 = 1_700_000_000;

fn clock() -> Clock {
    Arc::new(|| Timestamp::from_secs(NOW))
}

fn open(address: &str) -> Output {
    Output::open(address, "sensor", &clock()).unwrap_or_else(|error| panic!("{error}"))
}

fn sink(address: &str) -> Box<dyn Sink> {
    open(address).sink
}

fn start(dir: &Path, address: &str) -> Outlet {
    let output = open(address);
    let around = Surroundings {
        clock: clock(),
        jitter: Arc::new(|| 0.0),
    };
    let spool = Spool::open(dir, output.limits).unwrap();
    Outlet::start(
        &output.name,
        &output.target,
        output.wants,
        spool,
        output.sink,
        around,
    )
}

fn record(n: u64) -> Record {
    let body = json!({"id": format!("{n:04}"), "title": format!("incident {n}"), "confidence": "high",
        "first_seen": "2024-05-06T09:00:00Z", "last_seen": "2024-05-06T10:00:00Z"});
    Record::new(Kind::Incident, false, body)
}

fn mark(frame: u64) -> Mark {
    Mark { frame, index: 0 }
}

fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_file_is_added_to_and_followed_through_rotations() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("thymus.jsonl");
    let mut sink = sink(&format!("file://{}?format=cef", path.display()));
    sink.send(&[record(1), record(2)]).unwrap();
    // logrotate, by name and by copytruncate.
    fs::rename(&path, dir.path().join("thymus.jsonl.1")).unwrap();
    sink.send(&[record(3)]).unwrap();
    let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
    assert_eq!(lines(&dir.path().join("thymus.jsonl.1")), 2);
    assert_eq!(lines(&path), 1);
    File::options_truncate(&path);
    sink.send(&[record(4)]).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("CEF:0|Thymus|Thymus|"), "{text:?}");
    assert_eq!(text.lines().count(), 1);
    fs::remove_dir_all(dir.path()).unwrap();
    let failure = sink.send(&[record(5)]).unwrap_err();
    assert!(failure.why.contains("cannot write"), "{}", failure.why);
}

struct File;

impl File {
    fn options_truncate(path: &Path) {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(0).unwrap();
    }
}

#[test]
fn a_datagram_is_a_message() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut sink = sink(&format!(
        "syslog://127.0.0.1:{port}?facility=4&hostname=probe"
    ));
    sink.send(&[record(1)]).unwrap();
    let mut buffer = [0; 4_096];
    let length = socket.recv(&mut buffer).unwrap();
    let text = std::str::from_utf8(&buffer[..length]).unwrap();
    assert!(
        text.starts_with(
            "<34>1 2024-05-06T10:00:00.000000Z probe thymus - incident [thymus@32473 "
        ),
        "{text}"
    );
}

/// Reads messages by octet counting until the connection ends.
fn counted(stream: impl Read, sender: &std::sync::mpsc::Sender<String>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = Vec::new();
        if reader.read_until(b' ', &mut length).unwrap_or(0) == 0 {
            return;
        }
        let length = std::str::from_utf8(&length)
            .unwrap()
            .trim()
            .parse::<usize>()
            .unwrap();
        let mut message = vec![0; length];
        reader.read_exact(&mut message).unwrap();
        if sender.send(String::from_utf8(message).unwrap()).is_err() {
            return;
        }
    }
}

fn id_of(message: &str) -> String {
    let (_, rest) = message.split_once("id=\"").unwrap();
    rest.split('-').next().unwrap().to_owned()
}

#[test]
fn what_went_down_with_a_connection_is_sent_again_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut sink = sink(&format!("syslog+tcp://127.0.0.1:{port}"));
    let (sender, messages) = channel();
    sink.send(&[record(1)]).unwrap();
    // It takes the connection, reads nothing of it, and is gone.
    let (first, _) = listener.accept().unwrap();
    drop(first);
    let reading = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        counted(stream, &sender);
    });
    // The end of the connection may take a moment to get here; a check tells when it has.
    let mut got: Vec<String> = Vec::new();
    while got.is_empty() {
        sink.check().unwrap();
        got.extend(messages.recv_timeout(Duration::from_millis(50)));
    }
    sink.send(&[record(2)]).unwrap();
    got.push(messages.recv().unwrap());
    drop(sink);
    reading.join().unwrap();
    got.extend(messages.try_iter());
    let ids: Vec<String> = got.iter().map(|message| id_of(message)).collect();
    assert_eq!(ids, ["0001", "0002"]);
}

#[test]
fn bare_lines_go_over_tcp_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut sink = sink(&format!("tcp://127.0.0.1:{port}?format=ecs"));
    sink.send(&[record(1), record(2)]).unwrap();
    let (stream, _) = listener.accept().unwrap();
    drop(sink);
    let lines: Vec<Value> = BufReader::new(stream)
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["message"], "incident 2");
}

/// A request as it came.
#[derive(Debug)]
struct Request {
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

fn read_request(stream: &mut impl BufRead) -> Option<Request> {
    let mut headers = Vec::new();
    let mut line = String::new();
    if stream.read_line(&mut line).ok()? == 0 {
        return None;
    }
    assert!(line.starts_with("POST /hook?a=b HTTP/1.1"), "{line}");
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length?.1.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some(Request {
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

/// An HTTP server that gives these answers, one a connection, as raw bytes; nothing is an answer that never comes.
fn server(answers: Vec<Option<&'static str>>) -> (u16, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = channel();
    thread::spawn(move || {
        let mut held = Vec::new();
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let Some(request) = read_request(&mut reader) else {
                continue;
            };
            if sender.send(request).is_err() {
                return;
            }
            match answer {
                Some(text) => {
                    let _is_written = reader.get_mut().write_all(text.as_bytes()).is_ok();
                }
                None => held.push(reader),
            }
        }
    });
    (port, requests)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn with_secret(dir: &Path) -> String {
    let path = dir.join("secret");
    fs::write(&path, "a secret of both ends\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[test]
fn a_receiver_can_check_who_sent_a_record_and_when() {
    let dir = tempfile::tempdir().unwrap();
    let (port, requests) = server(vec![Some(OK)]);
    let secret = with_secret(dir.path());
    let mut sink = sink(&format!(
        "http://127.0.0.1:{port}/hook?query=a%3Db&secret-file={secret}"
    ));
    sink.send(&[record(1)]).unwrap();
    let request = requests.recv().unwrap();
    // As docs/outputs.md tells receivers to.
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"a secret of both ends");
    let at = request.header("X-Thymus-Timestamp");
    assert_eq!(at, NOW.to_string());
    let signed = format!("{at}.{}", request.body);
    let hex = request
        .header("X-Thymus-Signature")
        .strip_prefix("v1=")
        .unwrap();
    let signature: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    assert!(hmac::verify(&key, signed.as_bytes(), &signature).is_ok());
    assert!(hmac::verify(&key, signed.replace("0001", "0002").as_bytes(), &signature).is_err());
    assert_eq!(request.header("X-Thymus-Delivery"), record(1).id);
    assert_eq!(request.header("Content-Type"), "application/json");
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["title"], "incident 1");
}

#[test]
fn a_webhook_is_tried_until_it_takes_what_it_can_ever_take() {
    let dir = tempfile::tempdir().unwrap();
    let (port, requests) = server(vec![
        Some("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        Some("\u{1b}[2Jthis is no HTTP\r\n\r\n"),
        Some(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        Some(OK),
        Some("HTTP/1.1 422 No\r\nContent-Length: 9\r\nConnection: close\r\n\r\nbad\u{1b}[2J\r\n"),
        Some(OK),
    ]);
    let outlet = start(
        dir.path(),
        &format!("http://127.0.0.1:{port}/hook?query=a%3Db"),
    );
    for n in 1..=3 {
        assert_eq!(outlet.offer(mark(n), &record(n)), Offered::Taken);
    }
    until(|| outlet.health().delivered == 2);
    let tried: Vec<String> = requests
        .try_iter()
        .map(|one| one.header("X-Thymus-Delivery")[..4].to_owned())
        .collect();
    assert_eq!(tried, ["0001", "0001", "0001", "0001", "0002", "0003"]);
    let health = outlet.health();
    assert_eq!(
        (health.refused, health.waiting, health.failing_since),
        (1, 0, None)
    );
    let said = health.last_error.unwrap();
    assert!(
        said.contains("answered 422: bad") && !said.contains('\u{1b}'),
        "{said}"
    );
}

#[test]
fn a_webhook_that_hangs_holds_up_no_other_output_and_no_offer() {
    let dir = tempfile::tempdir().unwrap();
    let (port, requests) = server(vec![None]);
    let hanging = start(
        &dir.path().join("hook"),
        &format!("http://127.0.0.1:{port}/hook?query=a%3Db"),
    );
    let path = dir.path().join("out.jsonl");
    let file = start(
        &dir.path().join("file"),
        &format!("file://{}", path.display()),
    );
    for n in 1..=200 {
        assert_eq!(hanging.offer(mark(n), &record(n)), Offered::Taken);
        assert_eq!(file.offer(mark(n), &record(n)), Offered::Taken);
    }
    until(|| file.health().delivered == 200 && hanging.kept() == mark(200));
    assert!(
        requests.recv().is_ok(),
        "it was asked, and has not answered"
    );
    assert_eq!(
        (hanging.health().delivered, hanging.health().waiting),
        (0, 200)
    );
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 200);
    // Ending does not wait for it either.
    hanging.end(Duration::from_millis(50));
    file.end(Duration::from_secs(5));
}

#[test]
fn a_receiver_that_is_not_there_is_told_of_and_what_waits_survives() {
    let dir = tempfile::tempdir().unwrap();
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let address = format!("syslog+tcp://127.0.0.1:{port}");
    let outlet = start(dir.path(), &address);
    outlet.offer(mark(1), &record(1));
    until(|| outlet.health().last_error.is_some());
    let health = outlet.health();
    assert_eq!(health.failing_since, Some(Timestamp::from_secs(NOW)));
    assert!(health.last_error.unwrap().contains(&port.to_string()));
    until(|| outlet.kept() == mark(1));
    outlet.end(Duration::ZERO);
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let again = start(dir.path(), &address);
    let (stream, _) = listener.accept().unwrap();
    let (sender, messages) = channel();
    thread::spawn(move || counted(stream, &sender));
    assert_eq!(id_of(&messages.recv().unwrap()), "0001");
    until(|| again.health().delivered == 1);
}

/// A certificate for `localhost` in a file, and a server's configuration with it.
fn certified(dir: &Path) -> (String, Arc<rustls::ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = dir.join("root.pem");
    fs::write(&path, made.cert.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    (path.display().to_string(), Arc::new(config))
}

fn accept_tls(
    listener: &TcpListener,
    config: &Arc<rustls::ServerConfig>,
) -> rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    let (stream, _) = listener.accept().unwrap();
    let connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
    rustls::StreamOwned::new(connection, stream)
}

#[test]
fn over_tls_only_who_is_believed_gets_anything() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, config) = certified(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, messages) = channel();
    let serving = thread::spawn(move || {
        // By an address that is not in the certificate: no word of a record comes.
        let mut first = accept_tls(&listener, &config);
        assert!(first.read(&mut [0; 1]).is_err());
        counted(accept_tls(&listener, &config), &sender);
        let mut hook = BufReader::new(accept_tls(&listener, &config));
        let request = read_request(&mut hook).unwrap();
        hook.get_mut().write_all(OK.as_bytes()).unwrap();
        request.header("X-Thymus-Delivery").to_owned()
    });
    let mut wrong = sink(&format!("syslog+tls://127.0.0.1:{port}?ca={ca}"));
    let failure = wrong.send(&[record(1)]).unwrap_err();
    assert!(failure.why.contains("certificate"), "{}", failure.why);
    let mut right = sink(&format!("syslog+tls://localhost:{port}?ca={ca}"));
    right.send(&[record(1), record(2)]).unwrap();
    right.check().unwrap();
    drop(right);
    let got: Vec<String> = messages
        .iter()
        .take(2)
        .map(|message| id_of(&message))
        .collect();
    assert_eq!(got, ["0001", "0002"]);
    let mut hook = sink(&format!(
        "https://localhost:{port}/hook?query=a%3Db&ca={ca}"
    ));
    hook.send(&[record(3)]).unwrap();
    assert_eq!(serving.join().unwrap(), record(3).id);
}
