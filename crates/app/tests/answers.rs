//! Decisions told to a webhook, and answered by the links in it: the real enforcer, console and teller, and a receiver
//! that checks signatures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and has the clock that the program has"
)]

#[path = "answers/hook.rs"]
mod hook;
#[path = "bouncers/site.rs"]
#[allow(dead_code, reason = "bouncers need more of it")]
mod site;

use std::fs::File;
use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};

use hook::{Hook, Person, account, token};
use site::{Running, Site, program};

const POLICY: &str =
    "mode = 'approve'\nresponders = ['bouncers']\nnever = ['10.44.0.1/32']\nanswer_minutes = ";

fn start() -> Site {
    let site = Site::with(&format!("{POLICY}40\n"));
    for (user, role) in [("ann", "analyst"), ("vic", "viewer")] {
        account(&program(), site.state.path(), user, role);
    }
    site
}

fn tell(site: &Site, hook: &Hook) -> Running {
    let child = Command::new(program())
        .args(["tell", "--console-url", &site.url, "--state"])
        .arg(site.state.path())
        .args(["--output", &hook.output(site.state.path())])
        .spawn();
    Running(child.unwrap())
}

fn cuts(device: &str) -> Value {
    json!([{ "what": "address", "of": format!("{device}/32"), "side": "both" }])
}

/// Proposes to cut a device off, as the analysis does.
fn propose(site: &Site, device: &str) {
    let rehearsal = json!({ "days": 7, "flows": 4120, "cut": 9, "flows_all": 410_000, "devices": 1,
        "devices_all": 120, "named": [], "unknown": 0 });
    let now = thymus_schema::Timestamp::from_secs(
        i64::try_from(
            std::time::SystemTime::UNIX_EPOCH
                .elapsed()
                .unwrap()
                .as_secs(),
        )
        .unwrap(),
    );
    let proposal = json!({ "incident": "4a5b6c7d8e9f0a1b", "confidence": "high",
        "device": format!("device:{device}"), "addrs": [device], "verb": "quarantine",
        "cuts": cuts(device), "reason": "it opens the files of 38 others", "stage": 0,
        "evidence_at": now, "rehearsal": rehearsal });
    let line = json!({ "say": "proposals", "at": now, "proposals": [proposal] });
    let path = site.state.path().join("response/proposals.jsonl");
    let mut file = File::options().create(true).append(true).open(path);
    writeln!(file.as_mut().unwrap(), "{line}").unwrap();
}

/// The status, and that the message says why.
#[track_caller]
fn refused((status, said): (u16, String), wanted: u16, why: &str) {
    assert_eq!(status, wanted, "{said}");
    assert!(said.contains(why), "{said}");
}

#[test]
fn a_signed_webhook_asks_and_who_is_logged_in_answers_once() {
    let site = start();
    let hook = Hook::start();
    let _teller = tell(&site, &hook);
    propose(&site, "10.44.0.17");
    let asked = hook.of("10.44.0.17", "pending");
    assert_eq!(asked["cuts"], cuts("10.44.0.17"));
    assert_eq!(asked["cuts_in_words"], json!(["all of 10.44.0.17"]));
    assert_eq!(asked["incident"], "4a5b6c7d8e9f0a1b");
    assert_eq!(asked["verb"], "quarantine");
    assert!(asked["until"].is_string() && asked["began_at"].is_null());
    // The receiver had no time: the same came again.
    hook.told("it once more", |_| hook.taken().len() > 1);
    let ids: Vec<String> = hook
        .taken()
        .iter()
        .map(|one| one.header("x-thymus-delivery").to_owned())
        .collect();
    assert_eq!(ids[0], ids[1]);

    let link = token(&asked);
    let kept = std::fs::read_to_string(site.state.path().join("outputs/links.json")).unwrap();
    assert!(!kept.contains(&link), "what is kept opens nothing");
    let nobody = Person::nobody(&site.url);
    assert_eq!(
        nobody.send("GET", &format!("/approve/{link}"), "").0,
        200,
        "the page asks for a login"
    );
    refused(nobody.look(&link), 401, "log in");
    refused(nobody.answer(&link, "approve"), 401, "log in");
    let viewer = Person::login(&site.url, "vic");
    assert_eq!(viewer.look(&link).0, 200);
    refused(viewer.answer(&link, "approve"), 403, "analyst");
    let mut ann = Person::login(&site.url, "ann");
    let csrf = std::mem::take(&mut ann.csrf);
    refused(ann.answer(&link, "approve"), 403, "X-CSRF-Token");
    ann.csrf = csrf;
    for forged in [
        "0".repeat(64),
        link.to_uppercase(),
        link.replace(['0', '1'], "f"),
        "x".repeat(4_000),
    ] {
        refused(
            ann.answer(&forged, "approve"),
            404,
            "was not given out here",
        );
    }
    assert_eq!(
        ann.look(&link).0,
        200,
        "looking does not use it up, nor does a no"
    );
    let (status, said) = ann.answer(&link, "approve");
    assert!(
        status == 200 && said.contains("\"state\":\"active\""),
        "{said}"
    );
    for what in ["approve", "deny"] {
        refused(ann.answer(&link, what), 410, "was used before");
    }
    let held = hook.of("10.44.0.17", "active");
    assert_eq!(
        (&held["by"], &held["cuts"]),
        (&json!("ann"), &cuts("10.44.0.17"))
    );
    assert!(held["until"].is_string() && held["link"].is_null());
    site.thymus(&[
        "undo",
        held["id"].as_str().unwrap(),
        "--why",
        "it was the backup",
    ]);
    let over = hook.of("10.44.0.17", "cleared");
    assert!(
        over["why"].as_str().unwrap().contains("it was the backup"),
        "{over}"
    );
    assert!(over["until"].is_null());
    let audit = site.thymus(&["audit"]);
    for action in ["decision.approved_by_link", "link.refused"] {
        assert!(audit.contains(action), "{audit}");
    }
    assert!(!audit.contains(&link));
}

#[test]
fn a_link_whose_question_is_answered_or_lapsed_does_nothing() {
    let mut site = start();
    let hook = Hook::start();
    let _teller = tell(&site, &hook);
    let ann = Person::login(&site.url, "ann");
    propose(&site, "10.44.0.18");
    let first = hook.of("10.44.0.18", "pending");
    site.thymus(&["deny", first["id"].as_str().unwrap(), "--why", "known"]);
    hook.of("10.44.0.18", "denied");
    refused(ann.look(&token(&first)), 410, "was answered already");
    refused(
        ann.answer(&token(&first), "approve"),
        410,
        "was answered already",
    );

    propose(&site, "10.44.0.19");
    let link = token(&hook.of("10.44.0.19", "pending"));
    // Nobody carries it out: nothing is done, and the link is good again when somebody does.
    site.enforcer = None;
    refused(ann.answer(&link, "approve"), 503, "no enforcer");
    std::fs::write(
        site.state.path().join("policy.toml"),
        format!("{POLICY}1\n"),
    )
    .unwrap();
    site.enforce();
    assert_eq!(ann.answer(&link, "deny").0, 200);
    let denied = hook.of("10.44.0.19", "denied");
    assert_eq!(denied["by"], "ann");
    assert!(
        denied["why"].as_str().unwrap().contains("it is the backup"),
        "{denied}"
    );

    // The one that is asked for a minute.
    propose(&site, "10.44.0.20");
    let link = token(&hook.of("10.44.0.20", "pending"));
    hook.of("10.44.0.20", "lapsed");
    for answer in [
        ann.look(&link),
        ann.answer(&link, "approve"),
        ann.answer(&link, "deny"),
    ] {
        refused(answer, 410, "has lapsed");
    }
    assert!(
        !site
            .thymus(&["decisions", "--all", "--json"])
            .contains("\"state\":\"active\"")
    );
}
