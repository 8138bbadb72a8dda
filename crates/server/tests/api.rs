//! The API over real sockets, with a real client.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use thymus_schema::Timestamp;
use thymus_server::{
    ApprovalLink, Bans, CutTalk, DecisionFilter, DecisionLine, DecisionView, Host, HostError, Hub,
    Metrics, NeverView, Options, Packets, RehearsalView, ResponseAsk, ResponseError, ResponseView,
    Server, Storage, api,
};
use thymus_store::database::{Actor, Limits, NewToken, Role};
use thymus_store::journal::FrameBody;
use thymus_store::{Archive, ArchiveReader, Database};

const NOW: Timestamp = Timestamp::from_secs(1_714_989_600);
const PASSWORD: &str = "a long password";

struct Site(tempfile::TempDir, Asked);

/// What was asked of the enforcer.
type Asked = Arc<Mutex<Vec<String>>>;

impl Host for Site {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn events(&self, _of_demo: bool) -> ArchiveReader {
        ArchiveReader::new(&Archive::folder(self.0.path()))
    }

    fn drill(&self, of_demo: bool) -> Value {
        json!({ "of_demo": of_demo })
    }

    fn kept_demo(&self) -> Option<Database> {
        None
    }

    fn storage(&self) -> Storage {
        Storage::default()
    }

    fn packets(&self, _incident: &Value, _events: &[Value]) -> Result<Packets, HostError> {
        Ok(Packets::None("no raw packets are kept here".to_owned()))
    }

    fn decisions(
        &self,
        filter: &DecisionFilter,
    ) -> Result<(Vec<DecisionView>, u64), ResponseError> {
        let all: Vec<DecisionView> = [decision()]
            .into_iter()
            .filter(|one| filter.id.as_ref().is_none_or(|id| *id == one.id))
            .filter(|one| {
                let device = filter.device.as_ref();
                device.is_none_or(|device| *device == one.device)
            })
            .collect();
        let total = all.len() as u64;
        Ok((all, total))
    }

    fn response(&self) -> Result<ResponseView, ResponseError> {
        Ok(ResponseView {
            is_set_up: true,
            never: vec![NeverView {
                what: "10.0.0.7/32".to_owned(),
                why: "reception is the gateway".to_owned(),
            }],
            ..ResponseView::default()
        })
    }

    fn respond(&self, ask: &ResponseAsk, by: &str) -> Result<(), ResponseError> {
        self.1.lock().unwrap().push(format!("{by}: {ask:?}"));
        match ask {
            ResponseAsk::Approve(_) => Err(ResponseError::Refused(
                "decision d7 is active, so it cannot be approved".to_owned(),
            )),
            ResponseAsk::Resume => Err(ResponseError::Nobody("no enforcer answers".to_owned())),
            _ => Ok(()),
        }
    }

    fn link(&self, token: &str) -> Option<ApprovalLink> {
        let until = match token {
            "good" | "other" => NOW.plus(Duration::from_mins(1)),
            "old" => NOW,
            _ => return None,
        };
        Some(ApprovalLink {
            decision: "d7".to_owned(),
            until,
            digest: format!("digest of {token}"),
        })
    }

    fn metrics(&self, standing: &Metrics) -> String {
        let open = standing.incidents_open.values().sum::<u64>();
        format!("thymus_incidents_open {open}\n")
    }

    fn bans(&self) -> Result<Bans, HostError> {
        Ok(Bans::default())
    }

    fn load_demo(&self) -> Result<Database, HostError> {
        Ok(open(&self.0.path().join("demo")))
    }

    fn unload_demo(&self) -> Result<(), HostError> {
        Ok(())
    }
}

fn open(dir: &Path) -> Database {
    Database::open(dir, Limits::default(), NOW).unwrap()
}

fn actor(user: &str) -> Actor {
    Actor {
        user: user.into(),
        address: String::new(),
        at: NOW,
    }
}

fn decision() -> DecisionView {
    DecisionView {
        id: "d7".to_owned(),
        incident: "aa".to_owned(),
        incident_title: None,
        device: "device:10.0.0.7".to_owned(),
        verb: "quarantine".to_owned(),
        title: "quarantine the device".to_owned(),
        cuts: vec!["all of 10.0.0.7".to_owned()],
        cuts_total: 1,
        reason: "reception (10.0.0.7) talks".to_owned(),
        mode: "approve".to_owned(),
        state: "pending".to_owned(),
        is_over: false,
        stage: 0,
        rehearsal: RehearsalView {
            sentence: "Would have cut 1 of 9 usual conversations of the last day.".to_owned(),
            days: 1,
            flows: 9,
            cut: 1,
            devices: 1,
            named: vec![CutTalk {
                client: "10.0.0.7".to_owned(),
                server: "203.0.113.9".to_owned(),
                service: "tcp/443".to_owned(),
                flows: 1,
            }],
            unknown: 0,
        },
        proposed_at: NOW,
        duration_secs: 3600,
        began_at: None,
        until: Some(NOW),
        confirm_by: None,
        packets: Some(2),
        bytes: Some(99),
        history: vec![DecisionLine {
            at: NOW,
            by: "thymus".to_owned(),
            what: "pending: asked about 10.0.0.7".to_owned(),
        }],
    }
}

struct Running {
    address: SocketAddr,
    database: Arc<Database>,
    hub: Hub,
    asked: Asked,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join).unwrap().unwrap();
    }
}

fn start() -> Running {
    let site = Arc::new(Site(tempfile::tempdir().unwrap(), Asked::default()));
    let asked = Arc::clone(&site.1);
    let database = Arc::new(open(&site.0.path().join("store")));
    for role in Role::ALL {
        database
            .add_user(&actor("test"), role.as_str(), role, PASSWORD)
            .unwrap();
    }
    let incident = json!({"id": "aa", "rank": 1, "shown": true, "title": "<img src=x onerror=alert(1)>",
        "hypothesis": "h", "confidence": "high", "p_value": 9.0, "first_seen": "2024-05-06T09:00:00Z",
        "last_seen": "2024-05-06T10:00:00Z", "narrative": "reception (10.0.0.7) talks", "affected":
        [{"entity": "device:10.0.0.7", "name": "reception", "aliases": [], "suspected": true}], "alerts": []});
    let mut other = incident.clone();
    other["id"] = json!("bb");
    let device = json!({"entity": "device:10.0.0.7", "name": "reception", "addresses": ["10.0.0.7"],
        "names": ["reception"], "first_seen": "2024-05-01T00:00:00Z", "last_seen": "2024-05-06T10:00:00Z"});
    let frames = [
        FrameBody::Devices(vec![device]),
        FrameBody::Incidents(vec![incident, other]),
    ];
    for (seq, frame) in frames.iter().enumerate() {
        database.ingest(seq as u64 + 1, frame, NOW).unwrap();
    }
    let options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: None,
        hosts: vec![],
        dir: site.0.path().join("tls"),
    };
    let hub = Hub::default();
    let server = Server::bind(&options, Arc::clone(&database), site, hub.clone()).unwrap();
    let address = server.address().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&over);
    let thread = std::thread::spawn(move || {
        server.run(&|| theirs.load(Ordering::Relaxed)).unwrap();
    });
    Running {
        address,
        database,
        hub,
        asked,
        over,
        thread: Some(thread),
    }
}

/// What an answer says.
struct Answer {
    status: u16,
    cookie: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

impl Running {
    fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent: ureq::Agent = config
            .timeout_global(Some(Duration::from_mins(1)))
            .build()
            .into();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}/api/v1{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = match body {
            Some(body) => agent.run(
                request
                    .header("content-type", "application/json")
                    .body(body.to_string())
                    .unwrap(),
            ),
            None => agent.run(request.body(String::new()).unwrap()),
        }
        .unwrap();
        let headers: Vec<(String, String)> = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    value.to_str().unwrap_or_default().to_owned(),
                )
            })
            .collect();
        let cookie = headers.iter().find(|(name, _)| name == "set-cookie");
        Answer {
            status: response.status().as_u16(),
            cookie: cookie
                .and_then(|(_, value)| value.split(';').next())
                .unwrap_or_default()
                .to_owned(),
            body: response.body_mut().read_to_string().unwrap(),
            headers,
        }
    }

    fn token(&self, role: Role) -> String {
        let new = NewToken {
            name: role.as_str().into(),
            role,
            expires_at: None,
            pseudonymised: false,
        };
        let (_, secret) = self.database.add_token(&actor("test"), &new).unwrap();
        format!("Bearer {secret}")
    }

    fn log_in(&self, user: &str) -> (String, String) {
        let login = json!({"user": user, "password": PASSWORD});
        let answer = self.ask("POST", "/login", &[], Some(&login));
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(
            answer
                .header("set-cookie")
                .contains("HttpOnly; SameSite=Strict")
        );
        let csrf = answer.json()["csrf"].as_str().unwrap().to_owned();
        (answer.cookie, csrf)
    }
}

/// Method, path and the least role, of every route that the document names.
fn all_routes() -> Vec<(String, String, Option<Role>)> {
    let document: Value = serde_json::from_str(&api::document()).unwrap();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if !["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                continue;
            }
            let scope = operation["security"][0]["session"][0].as_str();
            // Those of bouncers have tests of their own.
            let Some(path) = path.strip_prefix("/api/v1") else {
                continue;
            };
            routes.push((
                method.to_uppercase(),
                path.to_owned(),
                scope.and_then(Role::from_name),
            ));
        }
    }
    assert!(routes.len() > 30, "{}", routes.len());
    routes
}

#[test]
fn the_document_that_is_checked_in_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, api::document()).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(
        kept == api::document(),
        "UPDATE_EXPECT=1 writes docs/openapi.json"
    );
}

#[test]
fn every_route_is_closed_to_strangers_and_to_lesser_roles() {
    let running = start();
    let tokens = Role::ALL.map(|role| (role, running.token(role)));
    for (method, path, least) in all_routes() {
        if path == "/stream" {
            continue;
        }
        let filled = path
            .replace("{id}", "nothing")
            .replace("{entity}", "nothing")
            .replace("{name}", "nothing");
        let body = (method != "GET" && method != "DELETE").then(|| json!({"not": "right"}));
        let stranger = running.ask(&method, &filled, &[], body.as_ref());
        let wrong = running.ask(
            &method,
            &filled,
            &[("authorization", "Bearer no")],
            body.as_ref(),
        );
        assert_eq!(stranger.status == 401, least.is_some(), "{method} {path}");
        assert_eq!(wrong.status == 401, least.is_some(), "{method} {path}");
        for (role, token) in &tokens {
            let answer = running.ask(&method, &filled, &[("authorization", token)], body.as_ref());
            let is_shut = answer.status == 403 && answer.json()["error"]["code"] == "not_allowed";
            assert_eq!(
                is_shut,
                least.is_some_and(|least| *role < least),
                "{method} {path} {role:?}"
            );
            assert_ne!(
                answer.status, 500,
                "{method} {path} {role:?} {}",
                answer.body
            );
        }
    }
}

#[test]
fn a_change_takes_the_csrf_token_and_our_own_origin() {
    let running = start();
    let (cookie, csrf) = running.log_in("analyst");
    let cookie = ("cookie", cookie.as_str());
    let path = "/incidents/aa/comments";
    let body = json!({"text": "'); DROP TABLE comments;-- <script>"});
    let ask = |headers: &[(&str, &str)]| running.ask("POST", path, headers, Some(&body)).status;
    assert_eq!(ask(&[cookie]), 403);
    assert_eq!(ask(&[cookie, ("x-csrf-token", "wrong")]), 403);
    assert_eq!(
        ask(&[
            cookie,
            ("x-csrf-token", &csrf),
            ("origin", "http://evil.example")
        ]),
        403
    );
    assert_eq!(
        ask(&[
            cookie,
            ("x-csrf-token", &csrf),
            ("sec-fetch-site", "cross-site")
        ]),
        403
    );
    assert_eq!(ask(&[cookie, ("x-csrf-token", &csrf)]), 200);
    assert_eq!(
        ask(&[cookie, ("x-csrf-token", &csrf), ("host", "evil.example")]),
        421
    );
    let one = running.ask("GET", "/incidents/aa", &[cookie], None);
    assert_eq!(one.json()["case"]["comments"][0]["text"], body["text"]);
    assert!(
        one.header("content-security-policy")
            .contains("script-src 'self'")
    );
    assert_eq!(one.header("content-type"), "application/json");
    let report = running.ask("GET", "/incidents/aa/report.html", &[cookie], None);
    assert!(
        !report.body.contains("<img") && !report.body.contains("<script"),
        "{}",
        report.body
    );
    assert_eq!(
        running
            .ask("POST", "/logout", &[cookie, ("x-csrf-token", &csrf)], None)
            .status,
        204
    );
    assert_eq!(running.ask("GET", "/me", &[cookie], None).status, 401);
}

#[test]
fn guessing_passwords_is_stopped() {
    let running = start();
    let wrong = json!({"user": "admin", "password": "wrong password"});
    let statuses: Vec<u16> = (0..12)
        .map(|_| running.ask("POST", "/login", &[], Some(&wrong)).status)
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 401).count(),
        10,
        "{statuses:?}"
    );
    let last = running.ask("POST", "/login", &[], Some(&wrong));
    assert_eq!(last.status, 429);
    assert!(!last.header("retry-after").is_empty());
}

#[test]
fn with_pseudonyms_nobody_is_named_and_only_an_admin_with_a_reason_is_told() {
    let running = start();
    let (cookie, csrf) = running.log_in("admin");
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];
    let on = json!({"pseudonymised": true});
    assert_eq!(running.ask("PATCH", "/me", &headers, Some(&on)).status, 200);
    let mut shown = String::new();
    for path in [
        "/incidents",
        "/incidents/aa",
        "/incidents/aa/report.html",
        "/decisions",
        "/decisions/d7",
        "/response",
        "/devices",
        "/overview",
    ] {
        let body = running.ask("GET", path, &headers, None).body;
        assert!(
            !body.contains("10.0.0.7") && !body.contains("reception"),
            "{path}: {body}"
        );
        shown = if path == "/devices" { body } else { shown };
    }
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let entity = shown["items"][0]["entity"].as_str().unwrap();
    let path = format!("/devices/{}", entity.replace(':', "%3A"));
    assert_eq!(running.ask("GET", &path, &headers, None).status, 200);
    assert_eq!(
        running
            .ask("GET", "/devices/device%3A10.0.0.7", &headers, None)
            .status,
        404
    );
    let search = running.ask("GET", "/devices?q=reception", &headers, None);
    assert_eq!(
        search.json()["total"],
        0,
        "a search must not tell who it is"
    );
    let pseudonym = entity.trim_start_matches("device:");
    let ask = json!({"pseudonym": pseudonym, "reason": ""});
    assert_eq!(
        running
            .ask("POST", "/pseudonyms/reveal", &headers, Some(&ask))
            .status,
        400
    );
    let ask = json!({"pseudonym": pseudonym, "reason": "works council, 12"});
    let told = running.ask("POST", "/pseudonyms/reveal", &headers, Some(&ask));
    assert_eq!(told.json()["original"], "10.0.0.7", "{}", told.body);
    let log = running.database.audit(None, 10).unwrap();
    assert!(
        log.items
            .iter()
            .any(|entry| entry.detail == "works council, 12")
    );
}

#[test]
fn large_and_slow_requests_are_refused() {
    let running = start();
    let token = running.token(Role::Analyst);
    let large = json!({"text": "x".repeat(300_000)});
    let answer = running.ask(
        "POST",
        "/incidents/aa/comments",
        &[("authorization", &token)],
        Some(&large),
    );
    assert_eq!(answer.status, 413);
    let long = "x".repeat(100_000);
    let answer = running.ask("GET", "/me", &[("x-long", &long)], None);
    assert_eq!(answer.status, 431);
    // A head that never ends is cut off, and others are answered meanwhile.
    let mut slow: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(running.address).unwrap();
            stream
                .write_all(b"GET /api/v1/setup HTTP/1.1\r\nHost: localhost\r\n")
                .unwrap();
            stream
        })
        .collect();
    assert_eq!(running.ask("GET", "/setup", &[], None).status, 200);
    let stream = &mut slow[0];
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    let mut rest = Vec::new();
    assert!(stream.read_to_end(&mut rest).is_ok(), "the server hangs up");
}

#[test]
fn what_happens_is_told_live() {
    let running = start();
    let token = running.token(Role::Viewer);
    let mut stream = TcpStream::connect(running.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    write!(
        stream,
        "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("retry: 3000") {
        let n = stream.read(&mut buffer).unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    running.hub.tell("changed", json!({"what": "incident"}));
    while !text.contains("event: changed") {
        let n = stream.read(&mut buffer).unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    assert!(text.contains(r#"data: {"what":"incident"}"#), "{text}");
    // A token that is taken away takes its live view with it.
    let admin = running.token(Role::Admin);
    let admin = [("authorization", admin.as_str())];
    let tokens = running.ask("GET", "/tokens", &admin, None).json();
    let mine = tokens["items"].as_array().unwrap().iter();
    let mine = mine.clone().find(|one| one["role"] == "viewer").unwrap();
    let path = format!("/tokens/{}", mine["id"].as_str().unwrap());
    assert_eq!(running.ask("DELETE", &path, &admin, None).status, 204);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
}

#[test]
fn an_exception_is_tried_made_listed_and_taken_back() {
    let running = start();
    let analyst = running.token(Role::Analyst);
    let analyst = [("authorization", analyst.as_str())];
    let alert = json!({"id": "cc-1", "detector": "beacon", "entity": "device:10.0.0.7", "phase": "control",
        "discovered": true, "peers": [], "evidence": []});
    let incident = json!({"id": "cc", "rank": 1, "shown": true, "title": "beaconing", "hypothesis": "h",
        "confidence": "high", "p_value": 9.0, "first_seen": "2024-05-06T09:00:00Z",
        "last_seen": "2024-05-06T10:00:00Z", "narrative": "", "affected": [], "alerts": [alert]});
    let frame = FrameBody::Incidents(vec![incident]);
    running.database.ingest(9, &frame, NOW).unwrap();
    let scope = json!({"detector": "beacon", "device": "device:10.0.0.7"});
    let tried = running.ask("POST", "/exceptions/test", &analyst, Some(&scope));
    assert_eq!(tried.json()["incidents"], 1, "{}", tried.body);
    let new = json!({"scope": scope, "reason": "the backup", "days": 30.0, "incident": "cc"});
    let made = running.ask("POST", "/exceptions", &analyst, Some(&new));
    assert_eq!(
        (made.status, &made.json()["incidents"]),
        (201, &json!(1)),
        "{}",
        made.body
    );
    let detail = running.ask("GET", "/incidents/cc", &analyst, None).json();
    assert_eq!(
        (&detail["shown"], &detail["is_excepted"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(detail["exceptions"][0]["alerts"], json!(["cc-1"]));
    let below = running
        .ask("GET", "/incidents?shown=false", &analyst, None)
        .json();
    assert_eq!(below["items"][0]["is_excepted"], true, "{below}");
    let wide = json!({"scope": {"detector": "beacon"}, "reason": "everything"});
    assert_eq!(
        running
            .ask("POST", "/exceptions", &analyst, Some(&wide))
            .status,
        400
    );
    let path = format!("/exceptions/{}", made.json()["id"]);
    assert_eq!(running.ask("DELETE", &path, &analyst, None).status, 204);
    assert_eq!(running.ask("DELETE", &path, &analyst, None).status, 404);
    let detail = running.ask("GET", "/incidents/cc", &analyst, None).json();
    assert_eq!(
        (&detail["shown"], &detail["is_excepted"]),
        (&json!(true), &json!(false))
    );
    // What hides a confirmed attack takes a second word.
    let called = json!({"state": "closed", "verdict": "attack"});
    let path = "/incidents/cc/case";
    assert_eq!(
        running.ask("PATCH", path, &analyst, Some(&called)).status,
        200
    );
    let tried = running.ask("POST", "/exceptions/test", &analyst, Some(&scope));
    assert_eq!(tried.json()["attacks"][0]["id"], "cc", "{}", tried.body);
    let mut new = new;
    let refused = running.ask("POST", "/exceptions", &analyst, Some(&new));
    assert_eq!(refused.status, 409, "{}", refused.body);
    new["force"] = json!(true);
    let made = running.ask("POST", "/exceptions", &analyst, Some(&new));
    assert_eq!(
        (made.status, &made.json()["attacks"]),
        (201, &json!(1)),
        "{}",
        made.body
    );
    // Who sees pseudonyms cannot ask by guessing.
    let admin = running.token(Role::Admin);
    let admin = [("authorization", admin.as_str())];
    let veiled = json!({"pseudonymised_roles": ["analyst"]});
    assert_eq!(
        running
            .ask("PUT", "/settings", &admin, Some(&veiled))
            .status,
        204
    );
    assert_eq!(
        running
            .ask("POST", "/exceptions/test", &analyst, Some(&scope))
            .status,
        403
    );
}

#[test]
fn what_is_like_what_was_called_harmless_counts_less_until_that_is_taken_back() {
    let running = start();
    let analyst = running.token(Role::Analyst);
    let analyst = [("authorization", analyst.as_str())];
    let incident = |id: &str| {
        let alert = json!({"id": format!("{id}-1"), "detector": "beacon", "entity": "device:10.0.0.7",
            "phase": "control", "discovered": true, "p_value": 3.0, "evidence": [],
            "peers": [{"role": "controller", "entity": "external:update.example"}]});
        json!({"id": id, "rank": 1, "shown": true, "title": format!("beaconing {id}"), "hypothesis": "h",
            "confidence": "low", "p_value": 3.0, "first_seen": "2024-05-06T09:00:00Z",
            "last_seen": "2024-05-06T10:00:00Z", "narrative": "", "affected": [], "alerts": [alert]})
    };
    let frame = FrameBody::Incidents(vec![incident("aa"), incident("bb")]);
    running.database.ingest(9, &frame, NOW).unwrap();
    let called = json!({"state": "closed", "verdict": "harmless"});
    let closed = running.ask("PATCH", "/incidents/aa/case", &analyst, Some(&called));
    assert_eq!(closed.status, 200, "{}", closed.body);
    let detail = running.ask("GET", "/incidents/bb", &analyst, None).json();
    assert_eq!(
        (&detail["shown"], &detail["lowered"]["because"][0]["id"]),
        (&json!(false), &json!("aa")),
        "{detail}"
    );
    let below = running.ask("GET", "/incidents?shown=false", &analyst, None);
    assert_eq!(below.json()["items"][0]["lowered"], 0.5, "{}", below.body);
    let path = "/incidents/bb/feedback";
    assert_eq!(running.ask("DELETE", path, &analyst, None).status, 200);
    assert_eq!(running.ask("DELETE", path, &analyst, None).status, 409);
    let detail = running.ask("GET", "/incidents/bb", &analyst, None).json();
    assert_eq!(
        (&detail["shown"], &detail["lowered"]),
        (&json!(true), &json!(null))
    );
}

#[test]
fn paths_that_are_no_route_give_the_page_and_paths_of_the_api_an_error() {
    let running = start();
    assert_eq!(running.ask("GET", "/nothing", &[], None).status, 404);
    assert_eq!(running.ask("PUT", "/overview", &[], None).status, 405);
    let mut stream = TcpStream::connect(running.address).unwrap();
    let ask = b"GET /incidents/aa HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(ask).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("content-type: text/html"), "{page}");
}

#[test]
fn people_have_a_say_in_the_response_and_it_is_written_down() {
    let running = start();
    let (cookie, csrf) = running.log_in("analyst");
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];
    let all = running.ask("GET", "/decisions?state=pending", &headers, None);
    assert_eq!(all.json()["items"][0]["id"], "d7");
    assert_eq!(
        all.json()["items"][0]["incident_title"],
        "<img src=x onerror=alert(1)>"
    );
    let bad = running.ask("GET", "/decisions?state=perhaps", &headers, None);
    assert_eq!(bad.status, 400);
    let post = |path: &str, body: Option<Value>| {
        let answer = running.ask("POST", path, &headers, body.as_ref());
        (answer.status, answer.body)
    };
    let why = Some(json!({"why": "harmless"}));
    assert_eq!(post("/decisions/d8/deny", why.clone()).0, 404);
    assert_eq!(post("/decisions/d7/deny", why).0, 200);
    assert_eq!(
        post("/decisions/d7/undo", Some(json!({"why": "x".repeat(1001)}))).0,
        400
    );
    assert_eq!(
        post("/decisions/d7/extend", Some(json!({"minutes": 0}))).0,
        400
    );
    assert_eq!(
        post("/decisions/d7/extend", Some(json!({"minutes": 90}))).0,
        200
    );
    let (status, body) = post("/decisions/d7/approve", None);
    assert!(status == 409 && body.contains("d7 is active"), "{body}");
    assert_eq!(post("/response/panic", None).0, 403, "only an admin");
    let (cookie, csrf) = running.log_in("admin");
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];
    assert_eq!(
        running
            .ask("POST", "/response/panic", &headers, None)
            .status,
        204
    );
    let resumed = running.ask("POST", "/response/resume", &headers, None);
    assert_eq!(resumed.status, 503, "{}", resumed.body);
    let asked = running.asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        [
            r#"analyst: Deny("d7", "harmless")"#,
            r#"analyst: Extend("d7", 5400s)"#,
            r#"analyst: Approve("d7")"#,
            "admin: Panic",
            "admin: Resume"
        ]
    );
    let audit = running.ask("GET", "/audit", &headers, None).json();
    let lines: Vec<(&str, &str, &str)> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| ["user", "action", "target"].map(|key| one[key].as_str().unwrap()))
        .map(|[user, action, target]| (user, action, target))
        .filter(|(_, action, _)| action.starts_with("decision") || action.starts_with("response"))
        .collect();
    assert_eq!(
        lines,
        [
            ("admin", "response.panic", ""),
            ("analyst", "decision.refused", "d7"),
            ("analyst", "decision.extended", "d7"),
            ("analyst", "decision.denied", "d7")
        ]
    );
}

#[test]
fn a_link_is_good_once_for_who_is_logged_in_and_what_is_refused_is_written_down() {
    let running = start();
    assert_eq!(running.ask("GET", "/links/good", &[], None).status, 401);
    let (cookie, csrf) = running.log_in("analyst");
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];
    let get = |token: &str| {
        let answer = running.ask("GET", &format!("/links/{token}"), &headers, None);
        let code = answer.json()["error"]["code"]
            .as_str()
            .unwrap_or("")
            .to_owned();
        (answer.status, code)
    };
    assert_eq!(get("good").0, 200);
    assert_eq!(get("good").0, 200, "looking does not use it up");
    assert_eq!(get("forged"), (404, "link_unknown".to_owned()));
    assert_eq!(get(&"x".repeat(200)), (404, "link_unknown".to_owned()));
    assert_eq!(get("old"), (410, "link_expired".to_owned()));
    // The enforcer of this test refuses to approve: nothing is done, and the link stays good.
    let approved = running.ask("POST", "/links/good/approve", &headers, None);
    assert_eq!(approved.status, 409, "{}", approved.body);
    assert_eq!(get("good").0, 200);
    let deny = || {
        let why = json!({"why": "no"});
        running
            .ask("POST", "/links/good/deny", &headers, Some(&why))
            .status
    };
    assert_eq!((deny(), deny()), (200, 410), "once");
    assert_eq!(get("good"), (410, "link_used".to_owned()));
    assert_eq!(get("other").0, 200, "another link is another link");
    let viewer = running.token(Role::Viewer);
    let by = [("authorization", viewer.as_str())];
    assert_eq!(
        running
            .ask("POST", "/links/other/approve", &by, None)
            .status,
        403
    );
    let (cookie, csrf) = running.log_in("admin");
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];
    let audit = running.ask("GET", "/audit", &headers, None).json();
    let lines: Vec<(&str, &str)> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["action"].as_str().unwrap(),
                one["detail"].as_str().unwrap_or(""),
            )
        })
        .filter(|(action, _)| action.starts_with("link") || action.starts_with("decision"))
        .collect();
    assert_eq!(
        lines,
        [
            ("link.refused", "link_used"),
            ("link.refused", "link_used"),
            ("decision.denied_by_link", "no"),
            (
                "decision.refused",
                "decision.approved_by_link: decision d7 is active, so it cannot be approved"
            ),
            ("link.refused", "link_expired"),
            ("link.refused", "link_unknown"),
            ("link.refused", "link_unknown"),
        ]
    );
}
