//! A receiver of webhooks that checks their signatures, and people who follow the links in them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const PASSWORD: &str = "a long password";
const SECRET: &[u8] = b"a secret that both ends know";

/// A delivery, as it came.
#[derive(Clone)]
pub(crate) struct Delivery {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Delivery {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn record(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether whoever knows the secret sent it now, by what docs/outputs.md says.
    fn is_signed_with(&self, secret: &[u8]) -> bool {
        let at = self.header("x-thymus-timestamp");
        let text = [at.as_bytes(), b".", &self.body].concat();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        self.header("x-thymus-signature") == format!("v1={}", hmac(secret, &text))
            && now.abs_diff(at.parse().unwrap()) < 300
    }
}

/// HMAC-SHA256 (RFC 2104) in hexadecimal, for secrets of at most 64 bytes.
fn hmac(secret: &[u8], text: &[u8]) -> String {
    let mut block = [0; 64];
    block[..secret.len()].copy_from_slice(secret);
    let round = |with: u8, text: &[u8]| {
        let padded = block.map(|byte| byte ^ with);
        Sha256::new()
            .chain_update(padded)
            .chain_update(text)
            .finalize()
    };
    let outer = round(0x5c, &round(0x36, text));
    outer
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A receiver on loopback. It has no time for the first delivery, which has to come again.
pub(crate) struct Hook {
    port: u16,
    taken: Arc<Mutex<Vec<Delivery>>>,
}

impl Hook {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let taken = Arc::clone(&theirs);
                thread::spawn(move || take(&stream.unwrap(), &taken));
            }
        });
        Self { port, taken }
    }

    /// What tells decisions to it, with a secret in a file of `dir`.
    pub(crate) fn output(&self, dir: &Path) -> String {
        let secret = dir.join("hook.secret");
        let mut options = std::fs::File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600);
        file.open(&secret).unwrap().write_all(SECRET).unwrap();
        let (port, secret) = (self.port, secret.display());
        format!("http://127.0.0.1:{port}/thymus?tell=decisions&secret-file={secret}")
    }

    pub(crate) fn taken(&self) -> Vec<Delivery> {
        self.taken.lock().unwrap().clone()
    }

    /// The first record like that, once it came, signed.
    pub(crate) fn told(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..2_400 {
            for one in self.taken() {
                assert!(one.is_signed_with(SECRET), "of all that comes");
                assert!(!one.is_signed_with(b"another secret that nobody knows"));
                let record = one.record();
                assert_eq!(record["kind"], one.header("x-thymus-kind"));
                if is(&record) {
                    return record;
                }
            }
            thread::sleep(Duration::from_millis(100));
        }
        let all: Vec<Value> = self.taken().iter().map(Delivery::record).collect();
        panic!("nobody told of {what}: {all:#?}");
    }

    /// What was told of a device, once it is in this state.
    pub(crate) fn of(&self, device: &str, state: &str) -> Value {
        let device = format!("device:{device}");
        let what = format!("{device} being {state}");
        self.told(&what, |one| {
            one["device"] == *device && one["state"] == *state
        })
    }
}

/// The requests of a connection.
fn take(stream: &TcpStream, taken: &Mutex<Vec<Delivery>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut headers = BTreeMap::new();
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            if let Some((name, value)) = line.split_once(": ") {
                headers.insert(name.to_lowercase(), value.trim().to_owned());
            }
            line.clear();
        }
        let Some(length) = headers.get("content-length") else {
            return;
        };
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let mut all = taken.lock().unwrap();
        let status = if all.is_empty() {
            "503 Not Now"
        } else {
            "204 Taken"
        };
        all.push(Delivery { headers, body });
        drop(all);
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        if (&*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The secret at the end of the link in a record.
pub(crate) fn token(record: &Value) -> String {
    let link = record["link"]
        .as_str()
        .unwrap_or_else(|| panic!("{record}"));
    let (_, token) = link.split_once("/approve/").unwrap();
    assert!(token.len() == 64 && record["text"].as_str().unwrap().contains(link));
    token.to_owned()
}

/// Gives somebody an account.
pub(crate) fn account(program: &Path, state: &Path, user: &str, role: &str) {
    let mut child = Command::new(program)
        .args(["user", "add", user, "--role", role, "--state"])
        .arg(state)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
}

/// Somebody at the console.
pub(crate) struct Person {
    agent: ureq::Agent,
    url: String,
    cookie: String,
    pub(crate) csrf: String,
}

impl Person {
    /// Who is not logged in.
    pub(crate) fn nobody(url: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let config = config.timeout_global(Some(Duration::from_mins(1)));
        Self {
            agent: config.build().into(),
            url: url.to_owned(),
            cookie: String::new(),
            csrf: String::new(),
        }
    }

    /// Logs in.
    pub(crate) fn login(url: &str, user: &str) -> Self {
        let mut person = Self::nobody(url);
        let who = json!({ "user": user, "password": PASSWORD });
        let (status, cookie, said) = person.send("POST", "/api/v1/login", &who.to_string());
        assert_eq!(status, 200, "{said}");
        let (cookie, _) = cookie.split_once(';').unwrap();
        cookie.clone_into(&mut person.cookie);
        let said: Value = serde_json::from_str(&said).unwrap();
        said["csrf"].as_str().unwrap().clone_into(&mut person.csrf);
        person
    }

    /// Status, cookie and body.
    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("cookie", &self.cookie)
            .header("x-csrf-token", &self.csrf)
            .header("content-type", "application/json");
        let request = request.body(body.to_owned()).unwrap();
        let mut answer = self.agent.run(request).unwrap();
        let cookie = answer.headers().get("set-cookie");
        let cookie = cookie.map_or("", |cookie| cookie.to_str().unwrap());
        let (status, cookie) = (answer.status().as_u16(), cookie.to_owned());
        (status, cookie, answer.body_mut().read_to_string().unwrap())
    }

    /// What a link is about: the status, and what is said.
    pub(crate) fn look(&self, token: &str) -> (u16, String) {
        let (status, _, said) = self.send("GET", &format!("/api/v1/links/{token}"), "");
        (status, said)
    }

    /// Answers by a link.
    pub(crate) fn answer(&self, token: &str, what: &str) -> (u16, String) {
        let body = match what {
            "deny" => json!({ "why": "it is the backup" }),
            _ => json!({}),
        };
        let path = format!("/api/v1/links/{token}/{what}");
        let (status, _, said) = self.send("POST", &path, &body.to_string());
        (status, said)
    }
}
