//! Debian's firewall bouncer, made for CrowdSec, asks a console in a network namespace that the test makes for itself.
//! `cargo xtask bouncer` gets it and runs this.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "bans hold by the clock, and the lane prints what it measured"
)]

#[path = "bouncers/site.rs"]
mod site;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use thymus_respond::{
    Change, Cut, Decision, DecisionId, Journal, Mode, Rehearsal, Side, State, Verb,
};
use thymus_schema::{EntityId, Timestamp};
use thymus_testing::apart;

use site::{Running, Site, eventually};

/// Where `cargo xtask bouncer` put Debian's bouncer.
const REAL: &str = "THYMUS_BOUNCER";

/// Runs a test again where it may make a network of its own.
fn inside(name: &str, test: impl FnOnce()) {
    println!("{}", apart("-Urnm", 400, name, test));
}

/// Debian's bouncer with nftables, and what it writes to its log.
struct Bouncer {
    _running: Running,
    log: PathBuf,
}

impl Bouncer {
    fn start(site: &Site, name: &str, key: &str) -> Self {
        let folder = site.state.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let family = |version: &str, suffix: &str| {
            format!(
                "  ipv{version}: {{enabled: true, set-only: false, table: crowdsec{suffix}, chain: crowdsec{suffix}-chain}}\n"
            )
        };
        let mut config = format!(
            "mode: nftables\npid_dir: {0}\nupdate_frequency: 1s\ndaemonize: false\nlog_mode: stdout\n\
             log_level: info\napi_url: {1}/\napi_key: {key}\ndisable_ipv6: false\ndeny_action: DROP\n\
             deny_log: false\nsupported_decisions_types: [ban]\nblacklists_ipv4: crowdsec-blacklists\n\
             blacklists_ipv6: crowdsec6-blacklists\nprometheus: {{enabled: false}}\nnftables:\n",
            folder.display(),
            site.url
        );
        write!(config, "{}{}", family("4", ""), family("6", "6")).unwrap();
        let path = folder.join("bouncer.yaml");
        std::fs::write(&path, config).unwrap();
        let log = folder.join("log");
        let out = std::fs::File::create(&log).unwrap();
        let real = std::env::var_os(REAL).expect("cargo xtask bouncer says where it is");
        let child = Command::new(real)
            .arg("-c")
            .arg(&path)
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn()
            .unwrap();
        Self {
            _running: Running(child),
            log,
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

fn banned(table: &str) -> String {
    let (family, set) = match table {
        "crowdsec" => ("ip", "crowdsec-blacklists"),
        _ => ("ip6", "crowdsec6-blacklists"),
    };
    let output = Command::new("nft")
        .args(["list", "set", family, table, set])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn many(state: &Path, count: u32) {
    let path = state.join("response/decisions.jnl");
    let (mut journal, held) = Journal::open(&path).unwrap();
    let first = held.changes.len() as u64 + 1_000;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = Timestamp::from_secs(now.as_secs() as i64);
    let changes: Vec<Change> = (0..count)
        .map(|n| {
            let address = std::net::Ipv4Addr::from(0xC612_0000 + n);
            let of = thymus_respond::host(address.into());
            let side = Side::Both;
            let decision = Decision {
                id: DecisionId(first + u64::from(n)),
                incident: "incident".into(),
                device: EntityId::external(address),
                verb: Verb::BlockDestination,
                cuts: vec![Cut::Address { of, side }],
                reason: "a test".into(),
                mode: Mode::Act,
                rehearsal: Rehearsal::default(),
                proposed_at: now,
                duration: Duration::from_hours(1),
                stage: 0,
                state: State::Active,
                began_at: Some(now),
                until: Some(now.plus(Duration::from_hours(1))),
                confirm_by: None,
                history: Vec::new(),
            };
            Change::Made {
                decision: Box::new(decision),
            }
        })
        .collect();
    journal.append(&changes).unwrap();
}

/// What a bouncer that asks by itself is told: how many are new, how many are over.
fn stream(site: &Site, key: &str, is_first: bool) -> (usize, usize) {
    let url = format!("{}/v1/decisions/stream?startup={is_first}", site.url);
    let answer = ureq::get(&url).header("X-Api-Key", key).call();
    let said = answer
        .unwrap()
        .into_body()
        .with_config()
        .limit(1 << 28)
        .read_to_string();
    let said: serde_json::Value = serde_json::from_str(&said.unwrap()).unwrap();
    let count = |what: &str| said[what].as_array().map_or(0, Vec::len);
    (count("new"), count("deleted"))
}

#[test]
fn debians_firewall_bouncer_bans_and_lets_go() {
    inside("debians_firewall_bouncer_bans_and_lets_go", || {
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.unwrap().success());
        let mut site = Site::start();
        let key = site.key("edge");
        let first = site.ban("203.0.113.9");
        site.ban("2001:db8::9");
        let stranger = Bouncer::start(&site, "stranger", "not-a-key");
        eventually("the wrong key is refused", || {
            stranger.said().contains("access forbidden")
        });
        println!("the bouncer with a wrong key: {}", stranger.said());
        let list = site.thymus(&["bouncer", "list"]);
        assert!(list.contains("Refused"), "{list}");
        drop(stranger);
        assert!(!banned("crowdsec").contains("203.0.113.9"));

        let bouncer = Bouncer::start(&site, "bouncer", &key);
        eventually("what held before is banned", || {
            banned("crowdsec").contains("203.0.113.9")
                && banned("crowdsec6").contains("2001:db8::9")
        });
        site.ban("203.0.113.10");
        eventually("what is new is banned", || {
            banned("crowdsec").contains("203.0.113.10")
        });
        site.thymus(&["undo", &first]);
        eventually("what was taken back is let go", || {
            let banned = banned("crowdsec");
            !banned.contains("203.0.113.9") && banned.contains("203.0.113.10")
        });
        let listen = site.url.trim_start_matches("http://").to_owned();
        site.console = None;
        let third = site.ban("203.0.113.11");
        thread::sleep(Duration::from_secs(2));
        site.serve(&listen);
        eventually("a console that was gone is asked again", || {
            banned("crowdsec").contains("203.0.113.11")
        });
        site.thymus(&["undo", &third]);
        eventually("and so on", || !banned("crowdsec").contains("203.0.113.11"));
        let list = site.thymus(&["bouncer", "list"]);
        assert!(list.contains("crowdsec-firewall-bouncer/"), "{list}");

        // More than a person decides, through the journal itself.
        let other = site.key("other");
        assert_eq!(stream(&site, &other, true), (2, 0));
        site.enforcer = None;
        many(site.state.path(), 10_000);
        let began = std::time::Instant::now();
        assert!(stream(&site, &other, false).0 >= 10_000);
        println!("10,000 bans told in {:.2} s", began.elapsed().as_secs_f64());
        let is_there = || banned("crowdsec").matches("198.").count() >= 10_000;
        eventually("ten thousand are banned", is_there);
        println!(
            "10,000 bans carried out in {:.1} s",
            began.elapsed().as_secs_f64()
        );
        let began = std::time::Instant::now();
        site.thymus(&["panic"]);
        assert!(stream(&site, &other, false).1 >= 10_000);
        println!(
            "10,000 taken back: told in {:.2} s",
            began.elapsed().as_secs_f64()
        );
        eventually("all are let go", || !banned("crowdsec").contains("198."));
        println!("10,000 let go in {:.1} s", began.elapsed().as_secs_f64());
        println!("{}", site.thymus(&["bouncer", "list"]));
        println!("{}", bouncer.said());
    });
}
