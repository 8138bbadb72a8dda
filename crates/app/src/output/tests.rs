use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;

use thymus_analyst::{Analyst, AnalystConfig, IncidentBudget, Site};
use thymus_detect::EngineSummary;
use thymus_ingest::{InputStatus, Ledger, LedgerEntry, Problem};
use thymus_schema::{
    Alert, AlertId, Coverage, EntityId, EventId, Fact, InputId, LocalNetworks, PValue, Peer,
    PeerRole, Phase, Statement, Technique, Timestamp, Value,
};

use super::{Detail, Findings, object, page, print};
use crate::console::Paper;
use crate::pipeline::Outcome;

fn event(index: u64) -> EventId {
    EventId {
        input: InputId(0xfeed),
        index,
    }
}

fn fact(key: &'static str, value: Value) -> Fact {
    Fact::new(key, value, &[event(7), event(9)]).of_total(31)
}

fn alert(detector: &'static str, phase: Phase, who: &str, name: &str, at: i64, p: f64) -> Alert {
    Alert {
        id: AlertId::digest(&[detector.as_bytes(), who.as_bytes()]),
        detector: Cow::Borrowed(detector),
        entity: EntityId::device(who),
        aliases: vec![who.into(), name.into()],
        peers: vec![],
        phase,
        techniques: vec![Technique::new("T1071.001")],
        first_seen: Timestamp::from_secs(1_747_130_400 + at),
        last_seen: Timestamp::from_secs(1_747_130_400 + at + 1_800),
        score: p,
        p_value: PValue::from_neg_log10(p),
        calibrated_by: Cow::Borrowed("shipped"),
        discovered: p > 4.0,
        statement: Statement::new(
            "called {server} {count} times, every {period}",
            vec![
                fact("server", Value::Name("updates.evil.example".into())),
                fact("count", Value::Count(1_234)),
                fact("period", Value::Seconds(60.0)),
            ],
        ),
        counterfactual: Statement::new(
            "{usual} of its like call a new place so evenly",
            vec![fact("usual", Value::Share(0.004))],
        ),
        first_event: event(7),
    }
}

/// A small run with one story over two devices, one weak alert, and inputs of every kind of trouble.
fn outcome() -> Outcome {
    let mut beacon = alert("beacon", Phase::Control, "10.0.0.7", "anna-pc", 0, 8.25);
    beacon.peers = vec![Peer {
        role: PeerRole::Controller,
        entity: EntityId::external("updates.evil.example"),
    }];
    let mut lateral = alert("lateral", Phase::Lateral, "10.0.0.7", "anna-pc", 3_600, 6.5);
    lateral.peers = vec![
        Peer {
            role: PeerRole::Target,
            entity: EntityId::device("10.0.0.9"),
        },
        Peer {
            role: PeerRole::Account,
            entity: EntityId::user("CORP\\ann"),
        },
    ];
    lateral.techniques = vec![Technique::new("T1021.002")];
    let upload = alert(
        "upload",
        Phase::Exfiltration,
        "10.0.0.9",
        "<b>files</b>\u{1b}[31m",
        9_000,
        5.0,
    );
    let weak = alert("rare", Phase::Unusual, "10.0.0.31", "printer", 20_000, 2.5);
    let mut analyst = Analyst::new(AnalystConfig::default());
    for alert in [beacon, lateral, upload, weak] {
        analyst.observe(alert);
    }
    let report = analyst.finish(&Site {
        devices: 40,
        popular: BTreeSet::new(),
    });
    let entry = |path: &str, status, problems| LedgerEntry {
        path: PathBuf::from(path),
        id: Some(InputId(0xfeed)),
        bytes: 123_456,
        source: "capture".into(),
        format: "pcapng".into(),
        status,
        problems,
    };
    let problem = Problem {
        input: Some(InputId(0xfeed)),
        offset: 4_096,
        reason: "packet is cut short".into(),
        remedy: "copy the file again".into(),
    };
    let mut coverage = Coverage {
        packets: 1_000,
        packets_judged: 990,
        bytes: 640_000,
        flows: 120,
        events: 340,
        entities: 40,
        cold_entities: 40,
        ..Coverage::default()
    };
    coverage.drop_for("truncated", 10);
    Outcome {
        report,
        coverage,
        ledger: Ledger {
            entries: vec![
                entry("monday.pcapng", InputStatus::Read, vec![]),
                entry("cut.pcapng", InputStatus::Partial, vec![problem]),
            ],
            not_listed: 0,
        },
        local: LocalNetworks::declared(vec!["10.0.0.0/24".parse().unwrap()]),
        summary: EngineSummary::default(),
        maxima: vec![],
    }
}

/// Compares with a golden file; `UPDATE_EXPECT=1` rewrites it.
fn check(name: &str, got: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("cases/output")
        .join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, got).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, expected, "{name} differs; UPDATE_EXPECT=1 rewrites it");
}

fn text(detail: Detail, colour: bool) -> String {
    let outcome = outcome();
    let findings = Findings::new(&outcome, IncidentBudget::default());
    let mut out = Vec::new();
    print(&findings, detail, Paper { width: 90, colour }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_machine_readable_report_keeps_its_names() {
    let outcome = outcome();
    let findings = Findings::new(&outcome, IncidentBudget::default());
    let json = serde_json::to_string_pretty(&object(&findings)).unwrap();
    check("report.json", &format!("{json}\n"));
}

#[test]
fn the_text_report_is_plain() {
    check("report.txt", &text(Detail::Verbose, false));
    let quiet = text(Detail::Quiet, false);
    assert!(quiet.contains("anna-pc") && !quiet.contains("What was looked at"));
    assert!(quiet.lines().all(|line| line.chars().count() <= 90));
}

#[test]
fn names_from_the_wire_cannot_steer_the_terminal() {
    let plain = text(Detail::Verbose, false);
    assert!(!plain.contains('\u{1b}'));
    let colour = text(Detail::Normal, true);
    assert!(!colour.contains("\u{1b}[31m") && colour.contains("\u{1b}[1;31m"));
}

#[test]
fn the_page_fetches_nothing_and_escapes_names() {
    let outcome = outcome();
    let page = page(&Findings::new(&outcome, IncidentBudget::default()));
    for forbidden in [
        "<script", "http://", "https://", "url(http", "@import", "<link", "<img", "<b>files",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("&lt;b&gt;files&lt;/b&gt;") && page.contains("anna-pc"));
    let opened = page.matches("<section").count();
    assert_eq!(opened, page.matches("</section>").count());
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
}
