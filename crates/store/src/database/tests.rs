use std::fs;

use serde_json::{Value, json};
use thymus_schema::Timestamp;

use super::*;
use crate::journal::FrameBody;

const NOW: Timestamp = Timestamp::from_secs(1_714_989_600);

fn actor() -> Actor {
    Actor {
        user: "ann".into(),
        address: "127.0.0.1".into(),
        at: NOW,
    }
}

fn open(dir: &std::path::Path) -> Database {
    Database::open(dir, Limits::default(), NOW).unwrap()
}

fn incident(id: &str, alerts: usize) -> Value {
    let alerts: Vec<Value> = (0..alerts)
        .map(|n| {
            json!({"id": format!("{id}{n:014x}"), "detector": "beacon", "entity": "device:10.0.0.7",
                "phase": "control", "peers": [{"role": "controller", "entity": "external:bad.example"}]})
        })
        .collect();
    json!({"id": id, "rank": 1, "shown": true, "title": format!("Beacon {id}"), "hypothesis": "a bot",
        "confidence": "high", "p_value": 9.0, "first_seen": "2024-05-06T09:00:00Z",
        "last_seen": "2024-05-06T10:00:00Z", "narrative": "<script>alert(1)</script>",
        "affected": [{"entity": "device:10.0.0.7", "name": "reception", "aliases": ["10.0.0.7"],
            "suspected": true}],
        "techniques": ["T1071.001"], "merged_from": [], "alerts": alerts})
}

fn device(n: u8) -> Value {
    json!({"entity": format!("device:10.0.0.{n}"), "name": format!("pc-{n}"), "addresses": [format!("10.0.0.{n}")],
        "names": [format!("pc-{n}.corp")], "mac": "", "first_seen": "2024-05-01T00:00:00Z",
        "last_seen": "2024-05-06T10:00:00Z", "is_cold": n.is_multiple_of(2), "days_seen": 5, "roles": ["client"]})
}

fn flow(n: u64, client: &str, server: &str) -> thymus_schema::Event {
    serde_json::from_value(
        json!({"id": format!("0000000000000001-{n}"), "ts": "2024-05-06T10:00:00Z",
        "conn": {"client": {"addr": client, "port": 5000}, "server": {"addr": server, "port": 443},
            "transport": "tcp"},
        "kind": "flow", "client_bytes": 100, "server_bytes": 900, "service": "ssl"}),
    )
    .unwrap()
}

fn all() -> IncidentFilter {
    IncidentFilter {
        state: StateFilter::All,
        limit: 100,
        ..IncidentFilter::default()
    }
}

#[test]
fn a_frame_is_taken_in_once() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let frame = FrameBody::Events(vec![flow(1, "10.0.0.7", "192.0.2.1")]);
    assert!(!database.ingest(1, &frame, NOW).unwrap().is_known);
    assert!(database.ingest(1, &frame, NOW).unwrap().is_known);
    let devices = FrameBody::Devices(vec![device(7)]);
    database.ingest(2, &devices, NOW).unwrap();
    drop(database);
    let database = open(dir.path());
    assert_eq!(database.position().unwrap(), 2);
    let detail = database.device("device:10.0.0.7").unwrap();
    assert_eq!(detail.peers.len(), 1);
    assert_eq!((detail.peers[0].flows, detail.peers[0].bytes), (1, 1000));
    assert_eq!(detail.hours.iter().sum::<u64>(), 1);
    assert_eq!(detail.days[0].bytes_out, 100);
    let overview = database.overview(NOW, false).unwrap();
    assert_eq!(overview.activity.len(), 168);
    assert_eq!(overview.activity.last().unwrap().events, 1);
}

#[test]
fn peers_past_the_bound_are_folded_into_a_remainder_that_says_of_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        peers_max: 16,
        addresses_max: 3,
        ..Limits::default()
    };
    let database = Database::open(dir.path(), limits, NOW).unwrap();
    for n in 0..100u64 {
        let peer = format!("192.0.2.{n}");
        let frame = FrameBody::Events(vec![flow(n, "10.0.0.7", &peer)]);
        database.ingest(n + 1, &frame, NOW).unwrap();
    }
    let devices = FrameBody::Devices(vec![device(7)]);
    database.ingest(101, &devices, NOW).unwrap();
    let detail = database.device("device:10.0.0.7").unwrap();
    let rest = detail.peers.last().unwrap();
    assert!(detail.peers.len() <= 17, "{}", detail.peers.len());
    assert_eq!(rest.addr, "*");
    assert_eq!(rest.folded + detail.peers.len() as u64 - 1, 100);
    assert_eq!(detail.peers.iter().map(|peer| peer.flows).sum::<u64>(), 100);
    let flood = (0..50)
        .map(|n| flow(n, &format!("10.1.1.{n}"), "192.0.2.1"))
        .collect();
    database
        .ingest(102, &FrameBody::Events(flood), NOW)
        .unwrap();
    let places: u64 = database
        .read("count", |c| {
            c.query_row("SELECT COUNT(DISTINCT addr) FROM habits", [], |row| {
                row.get(0)
            })
        })
        .unwrap();
    assert_eq!(places, 4, "three addresses and the remainder");
}

#[test]
fn what_people_wrote_goes_over_when_incidents_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let both = vec![incident("aa", 1), incident("bb", 2)];
    let done = database
        .ingest(1, &FrameBody::Incidents(both), NOW)
        .unwrap();
    assert_eq!(done.incidents.len(), 2);
    database
        .comment(&actor(), "aa", "looks bad'); DROP TABLE comments;--")
        .unwrap();
    let verdict = CaseChange {
        state: Some(CaseState::Closed),
        verdict: Some(Verdict::Attack),
        ..CaseChange::default()
    };
    database.change_case(&actor(), "aa", &verdict).unwrap();
    let mut merged = incident("bb", 3);
    merged["merged_from"] = json!(["aa"]);
    database
        .ingest(2, &FrameBody::Incidents(vec![merged]), NOW)
        .unwrap();
    let case = database.case("aa").unwrap();
    assert_eq!(case.comments[0].text, "looks bad'); DROP TABLE comments;--");
    assert_eq!(case.verdict, Some(Verdict::Attack));
    assert_eq!(
        case.state,
        CaseState::Open,
        "it went on after it was closed"
    );
    assert_eq!(database.incident("aa").unwrap()["id"], "bb");
    assert_eq!(database.incidents(&all(), NOW).unwrap().total, 1);
    assert!(database.audit_state().unwrap().is_intact);
}

#[test]
fn a_story_that_turns_out_to_have_begun_earlier_is_not_told_twice() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let tell = |seq, told: Vec<Value>| {
        let body = FrameBody::Incidents(told);
        database.ingest(seq, &body, NOW).unwrap();
        let mut ids: Vec<String> = database
            .incidents(&all(), NOW)
            .unwrap()
            .items
            .into_iter()
            .map(|item| item.id)
            .collect();
        ids.sort();
        ids
    };
    tell(1, vec![incident("aa", 2), incident("bb", 1)]);
    database.comment(&actor(), "aa", "looks bad").unwrap();
    // The same alerts and an earlier one, so another name.
    let mut earlier = incident("cc", 3);
    earlier["alerts"][1] = incident("aa", 2)["alerts"][0].clone();
    earlier["alerts"][2] = incident("aa", 2)["alerts"][1].clone();
    assert_eq!(tell(2, vec![earlier.clone()]), ["bb", "cc"]);
    assert_eq!(database.incident("aa").unwrap()["id"], "cc");
    assert_eq!(database.case("cc").unwrap().comments[0].text, "looks bad");
    // Of two that are told together each is one, and what is told again is there again.
    let mut part = incident("aa", 1);
    part["alerts"][0] = earlier["alerts"][1].clone();
    assert_eq!(tell(3, vec![earlier, part]), ["aa", "bb", "cc"]);
    assert_eq!(database.incident("aa").unwrap()["id"], "aa");
}

#[test]
fn lists_are_searched_by_text_that_is_never_sql() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let two = vec![incident("aa", 1), incident("bb", 2)];
    database.ingest(1, &FrameBody::Incidents(two), NOW).unwrap();
    for (text, found) in [
        ("BEACON aa", 1),
        ("' OR 1=1 --", 0),
        ("%", 0),
        ("<script>", 2),
    ] {
        let filter = IncidentFilter {
            text: Some(text.into()),
            ..all()
        };
        assert_eq!(
            database.incidents(&filter, NOW).unwrap().total,
            found,
            "{text}"
        );
    }
    let filter = IncidentFilter {
        device: Some("device:10.0.0.7".into()),
        limit: 1,
        ..all()
    };
    let page = database.incidents(&filter, NOW).unwrap();
    assert_eq!((page.total, page.next_cursor.as_deref()), (2, Some("1")));
    assert_eq!(
        page.items[0].techniques[0].name,
        "Application Layer Protocol: Web Protocols"
    );
}

#[test]
fn retention_never_takes_what_somebody_touched() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        incidents_max: 1,
        ..Limits::default()
    };
    let database = Database::open(dir.path(), limits, NOW).unwrap();
    let four = ["aa", "bb", "cc", "dd"].map(|id| incident(id, 1)).to_vec();
    database
        .ingest(1, &FrameBody::Incidents(four), NOW)
        .unwrap();
    database.comment(&actor(), "aa", "mine").unwrap();
    assert_eq!(database.retain(NOW).unwrap().incidents, 2);
    assert!(database.incident("aa").is_ok());
    let years_later = Timestamp::from_secs(NOW.as_secs() + 3 * 365 * 86_400);
    assert_eq!(database.retain(years_later).unwrap().incidents, 1);
    assert!(database.incident("aa").is_ok());
}

#[test]
fn a_changed_or_cut_audit_log_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    for n in 0..5 {
        database
            .note(&actor(), "test.done", "x", &n.to_string())
            .unwrap();
    }
    assert!(database.audit_state().unwrap().is_intact);
    let sql = |sql: &str| database.change("try", |tx| tx.execute(sql, []).map_err(doing("try")));
    assert!(sql("DELETE FROM audit").is_err());
    assert!(sql("UPDATE audit SET user = 'eve'").is_err());
    assert!(sql("INSERT OR REPLACE INTO audit SELECT seq, at, 'eve', address, action, target, detail, hash
                 FROM audit WHERE seq = 3").is_err());
    sql("DROP TRIGGER audit_is_not_changed").unwrap();
    sql("DROP TRIGGER audit_stays").unwrap();
    sql("UPDATE audit SET detail = 'nothing' WHERE seq = 3").unwrap();
    assert_eq!(database.audit_state().unwrap().broken_at, Some(3));
    sql("UPDATE audit SET detail = '2' WHERE seq = 3").unwrap();
    assert!(database.audit_state().unwrap().is_intact);
    sql("DELETE FROM audit WHERE seq = 5").unwrap();
    assert_eq!(database.audit_state().unwrap().broken_at, Some(5));
}

#[test]
fn a_damaged_file_falls_back_to_the_copy_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    database
        .add_user(&actor(), "ann", Role::Admin, "a long password")
        .unwrap();
    database
        .ingest(1, &FrameBody::Incidents(vec![incident("aa", 1)]), NOW)
        .unwrap();
    database.keep_copy().unwrap();
    database
        .ingest(2, &FrameBody::Incidents(vec![incident("bb", 1)]), NOW)
        .unwrap();
    drop(database);
    let path = dir.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(100).step_by(7) {
        *byte ^= 0x55;
    }
    fs::write(&path, &bytes).unwrap();
    let database = open(dir.path());
    assert!(
        database
            .remarks()
            .iter()
            .any(|remark| remark.contains("the copy of")),
        "{:?}",
        database.remarks()
    );
    assert_eq!(
        database.position().unwrap(),
        1,
        "the journal is read again from there"
    );
    assert!(
        database
            .user_with("ann", "a long password")
            .unwrap()
            .is_some()
    );
    assert!(dir.path().join("thymus.damaged.db").exists());
    drop(database);
    fs::write(
        &path,
        b"not a database at all, but long enough to be looked at as one",
    )
    .unwrap();
    fs::write(dir.path().join("thymus.last-good.db"), b"nor this").unwrap();
    let database = open(dir.path());
    assert!(
        database
            .remarks()
            .iter()
            .any(|remark| remark.contains("begin anew"))
    );
    assert!(database.needs_setup().unwrap());
}

#[test]
fn users_sessions_and_tokens_end_when_they_should() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let limits = SessionLimits::default();
    let later = |secs: u64| NOW.plus(std::time::Duration::from_secs(secs));
    let setup = database.setup_token().unwrap().unwrap();
    assert!(
        database
            .set_up(&actor(), "wrong", "ann", "a long password")
            .is_err()
    );
    assert!(database.set_up(&actor(), &setup, "ann", "short").is_err());
    database
        .set_up(&actor(), &setup, "ann", "a long password")
        .unwrap();
    assert!(
        database
            .set_up(&actor(), &setup, "eve", "a long password")
            .is_err()
    );
    assert!(database.setup_token().unwrap().is_none());
    assert!(
        database
            .user_with("ann", "a wrong password")
            .unwrap()
            .is_none()
    );
    assert!(
        database
            .user_with("nobody", "a long password")
            .unwrap()
            .is_none()
    );
    let secret = database.begin_session(&actor()).unwrap();
    assert_eq!(
        database
            .session(&secret, NOW, limits)
            .unwrap()
            .unwrap()
            .role,
        Role::Admin
    );
    assert!(
        database
            .session(&secret, later(7 * 3_600), limits)
            .unwrap()
            .is_some()
    );
    assert!(
        database
            .session(&secret, later(14 * 3_600), limits)
            .unwrap()
            .is_some(),
        "it was used"
    );
    assert!(
        database
            .session(&secret, later(25 * 3_600), limits)
            .unwrap()
            .is_none()
    );
    assert!(
        database.remove_user(&actor(), "ann").is_err(),
        "the last admin stays"
    );
    let new = NewToken {
        name: "siem".into(),
        role: Role::Viewer,
        expires_at: Some(later(60)),
        pseudonymised: false,
    };
    let (token, secret) = database.add_token(&actor(), &new).unwrap();
    assert!(database.token_session(&secret, NOW).unwrap().is_some());
    assert!(
        database
            .token_session(&secret, later(61))
            .unwrap()
            .is_none()
    );
    database.remove_token(&actor(), &token.id).unwrap();
    assert!(database.token_session(&secret, NOW).unwrap().is_none());
}

#[test]
fn two_consoles_on_one_folder_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let _held = ConsoleLock::take(dir.path()).unwrap();
    let error = ConsoleLock::take(dir.path()).unwrap_err().to_string();
    assert!(error.contains("another thymus console"), "{error}");
}

/// An incident of one alert by `detector` of `entity`, with a peer and a named fact.
fn told(id: &str, detector: &str, entity: &str, server: &str) -> Value {
    let mut object = incident(id, 1);
    object["alerts"] = json!([alert_object(&format!("{id}-1"), detector, entity, server)]);
    object
}

fn alert_object(id: &str, detector: &str, entity: &str, server: &str) -> Value {
    json!({"id": id, "detector": detector, "entity": entity, "phase": "control", "discovered": true,
        "peers": [{"role": "controller", "entity": "external:203.0.113.9"}],
        "evidence": [{"key": "server", "type": "name", "value": server, "text": server},
            {"key": "calls", "type": "count", "value": 40, "text": "40"}]})
}

fn above(database: &Database) -> Vec<String> {
    let filter = IncidentFilter {
        shown: Some(true),
        ..all()
    };
    let page = database.incidents(&filter, NOW).unwrap();
    let mut ids: Vec<String> = page.items.into_iter().map(|item| item.id).collect();
    ids.sort();
    ids
}

fn moved(scope: &ExceptionScope, days: Option<u32>) -> NewException {
    NewException {
        scope: scope.clone(),
        owner: None,
        reason: "the backup moved".into(),
        days,
        incident: Some("same".into()),
        force: false,
    }
}

#[test]
fn an_exception_holds_what_it_is_about_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let mine = "device:10.0.0.7";
    let mut mixed = told("mixed", "beacon", mine, "backup.corp");
    let more = alert_object("mixed-2", "exfiltration", mine, "backup.corp");
    mixed["alerts"].as_array_mut().unwrap().push(more);
    let objects = vec![
        told("same", "beacon", mine, "backup.corp"),
        told("peer", "beacon", mine, "evil.example"),
        told("other", "beacon", "device:10.0.0.8", "backup.corp"),
        mixed,
    ];
    let frame = FrameBody::Incidents(objects);
    database.ingest(1, &frame, NOW).unwrap();
    let devices = FrameBody::Devices(vec![device(7), device(8)]);
    database.ingest(2, &devices, NOW).unwrap();
    let everything = ["mixed", "other", "peer", "same"];
    assert_eq!(above(&database), everything);
    let fact = ScopeFact {
        key: "server".into(),
        text: "backup.corp".into(),
    };
    let scope = ExceptionScope {
        detector: "beacon".into(),
        device: Some(mine.into()),
        facts: vec![fact],
        ..ExceptionScope::default()
    };
    let tried = database.test_exception(&scope, NOW).unwrap();
    assert_eq!(tried.incidents, 1, "{tried:?}");
    let id = database
        .add_exception(&actor(), &moved(&scope, Some(7)))
        .unwrap();
    assert_eq!(above(&database), ["mixed", "other", "peer"]);
    let listed = database.exceptions().unwrap();
    assert_eq!((listed[0].incidents, listed[0].owner.as_str()), (1, "ann"));
    // Only in part about this one, and still marked there.
    let (is_held, uses) = database.exceptions_of("mixed").unwrap();
    assert_eq!(
        (is_held, uses[0].alerts.as_slice()),
        (false, &["mixed-1".to_owned()][..])
    );
    assert!(!database.case("same").unwrap().history.is_empty());
    // What comes later is held too, and nobody is told of it.
    let later = FrameBody::Incidents(vec![told("later", "beacon", mine, "backup.corp")]);
    assert!(
        database
            .ingest(3, &later, NOW)
            .unwrap()
            .incidents
            .is_empty()
    );
    assert_eq!(above(&database), ["mixed", "other", "peer"]);
    // When its time is over, what it held comes back.
    let day = std::time::Duration::from_hours(24);
    assert!(!database.end_exceptions(NOW.plus(day * 6)).unwrap());
    assert!(database.end_exceptions(NOW.plus(day * 7)).unwrap());
    assert_eq!(
        above(&database),
        ["later", "mixed", "other", "peer", "same"]
    );
    assert!(!database.exceptions().unwrap()[0].is_live);
    database.remove_exception(&actor(), id).unwrap();
    let said: Vec<String> = database
        .audit(None, 100)
        .unwrap()
        .items
        .into_iter()
        .map(|entry| entry.action)
        .collect();
    for action in ["exception.added", "exception.ended", "exception.removed"] {
        assert!(said.contains(&action.to_owned()), "{said:?}");
    }
}

#[test]
fn a_file_and_the_incident_that_names_it_lead_to_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let digest = "ab".repeat(32);
    let mut object = told("bad", "threat_observation", "device:10.0.0.7", "x");
    object["alerts"][0]["evidence"][0] =
        json!({"key": "sha256", "type": "name", "value": digest, "text": digest});
    object["alerts"][0]["first_seen"] = json!("2024-05-06T09:30:00Z");
    object["alerts"][0]["last_seen"] = json!("2024-05-06T09:40:00Z");
    let file = |path: &str, sha256: &str, device: &str| {
        json!({"path": path, "sha256": sha256, "outcome": "malicious", "device": device,
            "seen_at": "2024-05-06T09:00:00Z", "ranges": [{"offset": 3, "length": 4}]})
    };
    let mut member = file("a.zip", &"cd".repeat(32), "device:10.0.0.7");
    member["member"] = json!("a.php");
    member["file_sha256"] = json!(digest);
    let files = vec![
        file("elsewhere.zip", &digest, "device:10.0.0.8"),
        file("a.zip", &digest, "device:10.0.0.7"),
        member,
        file("other.php", &"ef".repeat(32), "device:10.0.0.7"),
        {
            let mut second = file("second.php", &"01".repeat(32), "device:10.0.0.7");
            second["seen_at"] = json!("2024-05-06T09:40:00.5Z");
            second
        },
    ];
    // Whichever is told first.
    database.ingest(1, &FrameBody::Files(files), NOW).unwrap();
    database
        .ingest(2, &FrameBody::Incidents(vec![object.clone()]), NOW)
        .unwrap();
    let paths = |files: &[Value]| -> Vec<String> {
        let each = files.iter().map(|file| {
            let text = |key: &str| file[key].as_str().unwrap_or_default().to_owned();
            text("path") + &text("member")
        });
        each.collect()
    };
    let of_incident = database.files_of_incident("bad").unwrap();
    assert_eq!(
        paths(&of_incident),
        ["a.zip", "a.zipa.php", "second.php", "elsewhere.zip"]
    );
    assert_eq!(of_incident[0]["ranges"][0]["offset"], 3);
    let filter = FileFilter {
        limit: 10,
        ..FileFilter::default()
    };
    let page = database.files(&filter).unwrap();
    let linked = |path: &str| {
        let mut of_path = page.items.iter().filter(|file| file["path"] == path);
        of_path.all(|file| file["incidents"][0]["id"] == "bad")
    };
    assert!(
        linked("a.zip") && linked("elsewhere.zip") && linked("second.php") && !linked("other.php")
    );
    // What is merged away leads nowhere.
    object["id"] = json!("new");
    object["merged_from"] = json!(["bad"]);
    database
        .ingest(3, &FrameBody::Incidents(vec![object]), NOW)
        .unwrap();
    assert_eq!(database.files_of_incident("bad").unwrap().len(), 4);
    let page = database.files(&filter).unwrap();
    let leads_to: Vec<&Value> = page
        .items
        .iter()
        .map(|file| &file["incidents"][0]["id"])
        .collect();
    assert_eq!(leads_to.iter().filter(|id| ***id == "new").count(), 4);
}

#[test]
fn an_exception_by_label_follows_the_label() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let other = "device:10.0.0.8";
    let objects = vec![
        told("same", "beacon", "device:10.0.0.7", "backup.corp"),
        told("other", "beacon", other, "backup.corp"),
    ];
    database
        .ingest(1, &FrameBody::Incidents(objects), NOW)
        .unwrap();
    let devices = FrameBody::Devices(vec![device(7), device(8)]);
    database.ingest(2, &devices, NOW).unwrap();
    let labelled = ExceptionScope {
        detector: "beacon".into(),
        label: Some("backup".into()),
        ..ExceptionScope::default()
    };
    database
        .add_exception(&actor(), &moved(&labelled, None))
        .unwrap();
    let label = |labels: &[&str]| AssetChange {
        labels: Some(labels.iter().map(|&label| label.to_owned()).collect()),
        ..AssetChange::default()
    };
    database
        .change_asset(&actor(), other, &label(&["backup"]))
        .unwrap();
    assert_eq!(above(&database), ["same"]);
    database.change_asset(&actor(), other, &label(&[])).unwrap();
    assert_eq!(above(&database), ["other", "same"]);
    let wide = ExceptionScope {
        detector: "beacon".into(),
        ..ExceptionScope::default()
    };
    assert!(
        database
            .add_exception(&actor(), &moved(&wide, None))
            .is_err()
    );
}

#[test]
fn a_file_of_every_earlier_version_is_brought_to_this_one_and_a_newer_is_refused() {
    for version in 1..super::schema::MIGRATIONS.len() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(super::FILE);
        let connection = rusqlite::Connection::open(&path).unwrap();
        for migration in &super::schema::MIGRATIONS[..version] {
            connection.execute_batch(migration).unwrap();
        }
        connection
            .pragma_update(None, "user_version", version as u32)
            .unwrap();
        let object = incident("old", 1).to_string();
        let columns = "id, rank, shown, title, hypothesis, confidence, rarity, first_seen, last_seen, alerts, \
             phases, techniques, search, added_at";
        let values = "'old', 1, 1, 't', 'h', 2, 9.0, 0, 0, 1, '', '', 'old', 0";
        if version < 3 {
            let insert = format!("INSERT INTO incidents ({columns}, json) VALUES ({values}, ?)");
            connection.execute(&insert, [object]).unwrap();
        } else {
            let insert = format!("INSERT INTO incidents ({columns}, told) VALUES ({values}, 1)");
            connection.execute(&insert, []).unwrap();
            let insert = "INSERT INTO incident_objects VALUES ('old', ?)";
            connection.execute(insert, [object]).unwrap();
        }
        connection
            .execute_batch(
                "INSERT INTO users VALUES ('ann', 'admin', 'x', 0, 0, 0);
                 INSERT INTO cases VALUES ('old', 'acknowledged', 'ann', NULL, NULL, 1, 0);
                 INSERT INTO settings VALUES ('journal_seq', '41');",
            )
            .unwrap();
        drop(connection);
        let database = open(dir.path());
        assert!(database.remarks().is_empty(), "{:?}", database.remarks());
        assert_eq!(above(&database), ["old"], "version {version}");
        assert_eq!(database.position().unwrap(), 41);
        assert_eq!(database.users().unwrap()[0].name, "ann");
        assert_eq!(
            database.case("old").unwrap().assignee.as_deref(),
            Some("ann")
        );
        let frame = FrameBody::Incidents(vec![incident("new", 1)]);
        database.ingest(42, &frame, NOW).unwrap();
        assert_eq!(above(&database), ["new", "old"]);
        drop(database);
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let refused = Database::open(dir.path(), Limits::default(), NOW).unwrap_err();
        let said = refused.to_string();
        assert!(
            said.contains("has version 99") && said.contains("newer program"),
            "{said}"
        );
        let beside = Database::open_beside(dir.path(), Limits::default(), NOW);
        assert!(matches!(beside, Err(DatabaseError::Newer { .. })));
        assert!(path.exists(), "it is left where it was");
    }
}

#[test]
fn a_command_waits_for_a_console_that_brings_the_file_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(dir.path().join(super::FILE)).unwrap();
    connection
        .execute_batch(super::schema::MIGRATIONS[0])
        .unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    let lock = ConsoleLock::take(dir.path()).unwrap();
    let folder = dir.path().to_path_buf();
    let console = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        (
            Database::open(&folder, Limits::default(), NOW).unwrap(),
            lock,
        )
    });
    let beside = Database::open_beside(dir.path(), Limits::default(), NOW);
    assert!(beside.unwrap().users().unwrap().is_empty());
    console.join().unwrap();
}
