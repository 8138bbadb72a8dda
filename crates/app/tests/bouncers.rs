//! Bouncers made for CrowdSec, which ask the console for what is to be banned, by plain requests. A real one asks in
//! `firewall_bouncer.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "bouncers/site.rs"]
mod site;

use std::time::Duration;

use serde_json::Value;

use site::{POLICY, Site, eventually};

const STARTUP: &str = "decisions/stream?startup=true";
const STREAM: &str = "decisions/stream";

/// A client, with connections that it uses again.
struct Client {
    agent: ureq::Agent,
    url: String,
    key: String,
}

impl Client {
    fn of(site: &Site, key: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        Self {
            agent: config
                .timeout_global(Some(Duration::from_secs(30)))
                .build()
                .into(),
            url: site.url.clone(),
            key: key.to_owned(),
        }
    }

    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.url))
            .header("x-api-key", &self.key)
            .header("user-agent", "test-bouncer/v1")
            .header("content-type", "application/json");
        let body = if method == "POST" { "{}" } else { "" };
        let mut answer = self
            .agent
            .run(request.body(body.to_owned()).unwrap())
            .unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), text)
    }

    fn get(&self, path: &str) -> Value {
        let (status, text) = self.ask("GET", path);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Values new and deleted.
    fn changes(&self, path: &str) -> (Vec<String>, Vec<String>) {
        let said = self.get(path);
        let values = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.map(|one| one["value"].as_str().unwrap().to_owned())
                .collect()
        };
        (values(&said["new"]), values(&said["deleted"]))
    }
}

fn of<const N: usize>(values: [&str; N]) -> Vec<String> {
    values.map(str::to_owned).to_vec()
}

#[test]
fn a_bouncer_is_told_what_holds_and_what_is_over_in_the_words_it_knows() {
    let site = Site::start();
    let client = Client::of(&site, &site.key("edge"));
    let empty = client.get(STARTUP);
    assert!(empty["new"].is_null() && empty["deleted"].is_null());
    let first = site.ban("203.0.113.9");
    let said = client.get(STREAM);
    let ban = &said["new"][0];
    assert!(said["deleted"].is_null() && said["new"].as_array().unwrap().len() == 1);
    for (name, value) in [
        ("value", "203.0.113.9"),
        ("scope", "Ip"),
        ("type", "ban"),
        ("origin", "thymus"),
        ("scenario", "thymus/block_destination"),
    ] {
        assert_eq!(ban[name], value);
    }
    let duration = ban["duration"].as_str().unwrap();
    assert!(
        duration.starts_with("59m") && duration.ends_with('s'),
        "{duration}"
    );
    assert!(ban["id"].as_u64().unwrap() > 0 && ban["uuid"].as_str().unwrap().len() == 36);
    // One service of a pair cannot be said by the ban of an address, and is not.
    let pair = [
        "contain",
        "10.0.0.5",
        "--verb",
        "block_pattern",
        "--to",
        "198.51.100.7",
    ];
    site.thymus(&[&pair[..], &["--port", "tcp/443"]].concat());
    assert_eq!(client.changes(STREAM), (of([]), of([])));
    let list = site.thymus(&["bouncer", "list"]);
    assert!(list.contains("not expressible to bouncers: 1"), "{list}");
    assert!(
        list.contains("test-bouncer/v1") && list.contains("to ban: 1"),
        "{list}"
    );
    assert_eq!(
        client.get("decisions?ip=203.0.113.9")[0]["value"],
        "203.0.113.9"
    );
    assert!(client.get("decisions?ip=203.0.113.10").is_null());
    site.thymus(&["undo", &first]);
    assert_eq!(client.changes(STREAM), (of([]), of(["203.0.113.9"])));
    assert!(client.get("decisions").is_null());
    assert_eq!(client.ask("HEAD", "decisions"), (200, String::new()));
    assert_eq!(client.ask("POST", "usage-metrics").0, 201);
}

#[test]
fn who_has_no_key_is_refused_and_named() {
    let site = Site::start();
    let key = site.key("edge");
    for path in [STARTUP, "decisions", "nothing"] {
        let (status, said) = Client::of(&site, "wrong").ask("GET", path);
        let said: Value = serde_json::from_str(&said).unwrap();
        let wanted = if path == "nothing" { 404 } else { 403 };
        assert_eq!(status, wanted, "{path}");
        assert!(!said["message"].as_str().unwrap().is_empty());
    }
    let list = site.thymus(&["bouncer", "list"]);
    assert!(
        list.contains("Refused") && list.contains("127.0.0.1"),
        "{list}"
    );
    let client = Client::of(&site, &key);
    assert_eq!(client.ask("GET", "decisions?ip=nothing").0, 400);
    assert_eq!(client.ask("GET", STARTUP).0, 200);
    site.thymus(&["bouncer", "remove", "edge"]);
    assert_eq!(client.ask("GET", STARTUP).0, 403);
    let audit = site.thymus(&["audit"]);
    assert!(audit.contains("bouncer.made") && audit.contains("bouncer.removed"));
    assert!(!audit.contains(&key));
}

#[test]
fn a_console_that_is_killed_forgets_nothing_that_was_to_be_told() {
    let mut site = Site::start();
    let key = site.key("edge");
    let mut client = Client::of(&site, &key);
    assert_eq!(client.changes(STARTUP), (of([]), of([])));
    let first = site.ban("203.0.113.9");
    assert_eq!(client.changes(STREAM).0, of(["203.0.113.9"]));
    // Nobody knows whether that arrived: killed here, it is told again.
    let listen = site.url.trim_start_matches("http://").to_owned();
    site.console = None;
    site.thymus(&["undo", &first]);
    let second = site.ban("203.0.113.10");
    site.serve(&listen);
    client = Client::of(&site, &key);
    let change = (of(["203.0.113.10"]), of(["203.0.113.9"]));
    assert_eq!(client.changes(STREAM), change);
    site.console = None;
    site.serve(&listen);
    client = Client::of(&site, &key);
    assert_eq!(client.changes(STREAM), change, "told again");
    assert_eq!(client.changes(STREAM), (of([]), of([])), "and then no more");
    // An enforcer that is killed changes nothing of what holds.
    site.enforcer = None;
    assert_eq!(client.changes(STARTUP).0, of(["203.0.113.10"]));
    site.enforce();
    site.thymus(&["undo", &second]);
    assert_eq!(client.changes(STREAM).1, of(["203.0.113.10"]));
}

#[test]
fn what_becomes_untouchable_is_let_go_and_a_panic_lets_everything_go() {
    let site = Site::start();
    let client = Client::of(&site, &site.key("edge"));
    site.ban("203.0.113.9");
    site.ban("198.51.100.9");
    assert_eq!(client.changes(STARTUP).0.len(), 2);
    let policy = format!("{POLICY}never = ['203.0.113.0/24']\n");
    std::fs::write(site.state.path().join("policy.toml"), policy).unwrap();
    eventually("the bouncer hears of it", || {
        client.changes(STREAM).1 == of(["203.0.113.9"])
    });
    assert!(site.thymus(&["bouncer", "list"]).contains("withheld"));
    std::fs::write(site.state.path().join("response/panic"), "somebody").unwrap();
    assert_eq!(client.changes(STREAM).1, of(["198.51.100.9"]));
}
