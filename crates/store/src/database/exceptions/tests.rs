use serde_json::{Value, json};
use thymus_schema::Timestamp;

use super::*;
use crate::database::{CaseChange, CaseState, IncidentFilter, Limits, StateFilter};
use crate::journal::FrameBody;

const NOW: Timestamp = Timestamp::from_secs(1_714_989_600);
const DEVICE: &str = "device:10.0.0.7";

fn actor() -> Actor {
    Actor {
        user: "ann".into(),
        address: String::new(),
        at: NOW,
    }
}

/// An upload of so many bytes in an hour that is this rare.
fn upload(id: &str, up: u64, rarity: f64) -> Value {
    json!({"id": id, "detector": "exfiltration", "entity": DEVICE, "phase": "exfiltration", "discovered": true,
        "p_value": rarity, "first_seen": "2024-05-06T09:00:00Z", "last_seen": "2024-05-06T09:30:00Z",
        "peers": [{"role": "controller", "entity": "external:backup.example"}],
        "evidence": [{"key": "up", "type": "bytes", "value": up, "text": "x"}]})
}

fn told(id: &str, alerts: &[Value]) -> Value {
    json!({"id": id, "rank": 1, "shown": true, "title": format!("Upload {id}"), "hypothesis": "h",
        "confidence": "high", "p_value": 5.0, "first_seen": "2024-05-06T09:00:00Z",
        "last_seen": "2024-05-06T10:00:00Z", "narrative": "", "affected": [], "merged_from": [],
        "alerts": alerts})
}

struct Site {
    _dir: tempfile::TempDir,
    database: Database,
    frames: u64,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), Limits::default(), NOW).unwrap();
        Self {
            _dir: dir,
            database,
            frames: 0,
        }
    }

    fn tell(&mut self, incidents: Vec<Value>) {
        self.frames += 1;
        let frame = FrameBody::Incidents(incidents);
        self.database.ingest(self.frames, &frame, NOW).unwrap();
    }

    fn above(&self) -> Vec<String> {
        let filter = IncidentFilter {
            state: StateFilter::All,
            shown: Some(true),
            limit: 100,
            ..IncidentFilter::default()
        };
        let items = self.database.incidents(&filter, NOW).unwrap().items;
        let mut ids: Vec<String> = items.into_iter().map(|item| item.id).collect();
        ids.sort();
        ids
    }

    fn called(&self, id: &str, verdict: Verdict) {
        let change = CaseChange {
            state: Some(CaseState::Closed),
            verdict: Some(verdict),
            ..CaseChange::default()
        };
        self.database.change_case(&actor(), id, &change).unwrap();
    }

    fn tripped(&self, id: &str) -> String {
        let (is_held, uses) = self.database.exceptions_of(id).unwrap();
        assert!(!is_held);
        uses[0].tripped.clone().unwrap_or_default()
    }
}

fn uploads() -> NewException {
    NewException {
        scope: ExceptionScope {
            detector: "exfiltration".into(),
            device: Some(DEVICE.into()),
            ..ExceptionScope::default()
        },
        owner: None,
        reason: "the backup moved".into(),
        days: Some(30),
        incident: None,
        force: false,
    }
}

#[test]
fn the_tripwire_shows_what_is_clearly_worse_and_says_why() {
    let mut site = Site::new();
    site.tell(vec![told("first", &[upload("a1", 1_000_000, 4.0)])]);
    let id = site.database.add_exception(&actor(), &uploads()).unwrap();
    assert!(site.above().is_empty());
    let mut impact = upload("e2", 1, 1.0);
    impact["detector"] = json!("share_encryption");
    impact["phase"] = json!("impact");
    impact["discovered"] = json!(false);
    let mut earlier = impact.clone();
    earlier["id"] = json!("f2");
    earlier["phase"] = json!("reconnaissance");
    site.tell(vec![
        told("alike", &[upload("b1", 2_900_000, 5.9)]),
        told("more", &[upload("c1", 5_000_000, 4.0)]),
        told("rarer", &[upload("d1", 1_000_000, 6.5)]),
        // What goes further into an attack counts also where it is not rare enough by itself.
        told("further", &[upload("e1", 1_000_000, 4.0), impact]),
        told("before", &[upload("f1", 1_000_000, 4.0), earlier]),
    ]);
    assert_eq!(site.above(), ["further", "more", "rarer"]);
    let why = site.tripped("more");
    assert!(why.contains("up in an hour is 5 times the most"), "{why}");
    let why = site.tripped("rarer");
    assert!(why.contains("316 times rarer"), "{why}");
    let why = site.tripped("further");
    assert!(
        why.contains("share_encryption (impact), which goes further"),
        "{why}"
    );
    let listed = &site.database.exceptions().unwrap()[0];
    assert_eq!(
        (listed.incidents, listed.tripped, listed.attacks),
        (3, 3, 0)
    );
    let seen = listed.seen.clone().unwrap();
    assert_eq!((seen.alerts, seen.most.amounts["up"]), (1, 1_000_000.0));
    // What was held at the beginning and grows beyond it comes back.
    site.tell(vec![told("first", &[upload("a1", 9_000_000, 4.0)])]);
    assert!(site.above().contains(&"first".to_owned()));
    site.database.remove_exception(&actor(), id).unwrap();
    assert_eq!(site.above().len(), 6);
}

#[test]
fn what_hides_a_confirmed_attack_is_made_only_on_a_second_word_and_noted() {
    let mut site = Site::new();
    let mut lateral = upload("c2", 1, 4.0);
    lateral["detector"] = json!("lateral_movement");
    lateral["phase"] = json!("lateral");
    site.tell(vec![
        told("theft", &[upload("a1", 50_000_000, 6.0)]),
        told("backup", &[upload("b1", 1_000_000, 4.0)]),
        // More than an upload: an exception would not have hidden it.
        told("campaign", &[upload("c1", 1_000_000, 4.0), lateral]),
    ]);
    site.called("theft", Verdict::Attack);
    site.called("campaign", Verdict::Attack);
    let mut new = uploads();
    let tried = site.database.test_exception(&new.scope, NOW).unwrap();
    let ids =
        |all: &[HeldIncident]| -> Vec<String> { all.iter().map(|one| one.id.clone()).collect() };
    assert_eq!(ids(&tried.attacks), ["theft"]);
    let mut held = ids(&tried.held);
    held.sort();
    assert_eq!(held, ["backup", "theft"]);
    let refused = site.database.add_exception(&actor(), &new).unwrap_err();
    assert!(
        matches!(&refused, DatabaseError::Conflict(why) if why.contains("(theft)")),
        "{refused}"
    );
    assert!(site.database.exceptions().unwrap().is_empty());
    assert_eq!(site.above().len(), 3, "nothing is left half done");
    new.force = true;
    site.database.add_exception(&actor(), &new).unwrap();
    let audit = site.database.audit(None, 10).unwrap().items;
    assert!(
        audit[0]
            .detail
            .contains("although it would have hidden 1 incident"),
        "{:?}",
        audit[0]
    );
    // The attack is no measure of what is normal: something of its size trips the wire.
    site.tell(vec![told("again", &[upload("d1", 50_000_000, 6.0)])]);
    assert!(site.above().contains(&"again".to_owned()));
    assert_eq!(site.database.exceptions().unwrap()[0].attacks, 2);
}

#[test]
fn what_the_preview_says_is_what_happens() {
    let mut site = Site::new();
    let sizes = [1_000_u64, 30_000, 5_000_000, 80_000_000];
    let incidents = sizes.iter().enumerate().map(|(n, up)| {
        let alert = upload(&format!("{n}-1"), *up, 3.0 + n as f64);
        told(&format!("{n}"), &[alert])
    });
    site.tell(incidents.collect());
    let tried = site.database.test_exception(&uploads().scope, NOW).unwrap();
    site.database.add_exception(&actor(), &uploads()).unwrap();
    assert_eq!(tried.incidents, 4);
    assert!(site.above().is_empty());
}
