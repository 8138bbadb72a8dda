use std::time::Duration;

use serde_json::{Value, json};
use thymus_schema::Timestamp;

use super::*;
use crate::database::{CaseChange, IncidentFilter, IncidentItem, Limits, StateFilter};
use crate::journal::FrameBody;

const START: Timestamp = Timestamp::from_secs(1_714_953_600);

fn day(n: u64) -> Timestamp {
    START.plus(Duration::from_hours(24) * n as u32)
}

fn actor(at: Timestamp) -> Actor {
    Actor {
        user: "ann".into(),
        address: String::new(),
        at,
    }
}

/// An incident of one upload of so many bytes on day `n`.
fn upload(id: &str, n: u64, peer: &str, up: u64, rarity: f64) -> Value {
    let at = day(n).to_string();
    json!({"id": id, "rank": 1, "shown": true, "title": format!("Upload {id}"), "hypothesis": "h",
        "confidence": "medium", "p_value": rarity, "first_seen": at, "last_seen": at, "narrative": "",
        "affected": [{"entity": "device:10.0.0.7", "name": "pc", "aliases": [], "suspected": true}],
        "merged_from": [], "alerts": [{"id": format!("{id}-1"), "detector": "exfiltration",
            "entity": "device:10.0.0.7", "phase": "exfiltration", "discovered": true, "p_value": rarity,
            "first_seen": at, "last_seen": at, "peers": [{"role": "controller", "entity": peer}],
            "evidence": [{"key": "up", "type": "bytes", "value": up, "text": "x"}]}]})
}

const BACKUP: &str = "external:backup.example";

struct Site {
    _dir: tempfile::TempDir,
    database: Database,
    frames: u64,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), Limits::default(), START).unwrap();
        Self {
            _dir: dir,
            database,
            frames: 0,
        }
    }

    /// Three uploads to the same place on three days, each called harmless on its day.
    fn taught() -> Self {
        let mut site = Self::new();
        for n in 0..3 {
            let id = format!("h{n}");
            site.tell(n, vec![upload(&id, n, BACKUP, 1_000_000, 4.0)]);
            site.close(&id, n, Verdict::Harmless);
        }
        site
    }

    fn tell(&mut self, on: u64, incidents: Vec<Value>) {
        self.frames += 1;
        let frame = FrameBody::Incidents(incidents);
        self.database.ingest(self.frames, &frame, day(on)).unwrap();
    }

    fn set(&self, id: &str, on: u64, state: CaseState, verdict: Option<Verdict>) {
        let change = CaseChange {
            state: Some(state),
            verdict,
            ..CaseChange::default()
        };
        let actor = actor(day(on));
        self.database.change_case(&actor, id, &change).unwrap();
    }

    fn close(&self, id: &str, on: u64, verdict: Verdict) {
        self.set(id, on, CaseState::Closed, Some(verdict));
    }

    fn open_ones(&self) -> Vec<IncidentItem> {
        let filter = IncidentFilter {
            state: StateFilter::Open,
            limit: 100,
            ..IncidentFilter::default()
        };
        self.database.incidents(&filter, day(4)).unwrap().items
    }

    /// The open ones in their order, those below the line in brackets.
    fn order(&self) -> Vec<String> {
        let items = self.open_ones().into_iter();
        let said = |one: IncidentItem| {
            if one.shown {
                one.id
            } else {
                format!("({})", one.id)
            }
        };
        items.map(said).collect()
    }

    fn lowered(&self, id: &str) -> f64 {
        let lowered = self.database.lowered(id).unwrap();
        lowered.map_or(0.0, |lowered| lowered.by)
    }
}

#[test]
fn what_is_like_what_was_called_harmless_counts_less_and_nothing_else_does() {
    let mut site = Site::taught();
    site.tell(
        3,
        vec![
            upload("rare", 3, BACKUP, 1_000_000, 4.4),
            upload("common", 3, BACKUP, 1_000_000, 3.5),
            upload("elsewhere", 3, "external:paste.example", 1_000_000, 3.5),
            upload("more", 3, BACKUP, 10_000_000, 3.5),
        ],
    );
    let order = site.order();
    // As rare as it is, the one goes behind what was less rare, and the other below the line.
    assert_eq!(order, ["elsewhere", "more", "rare", "(common)"]);
    assert!((1.4..=LOWERED_MAX).contains(&site.lowered("common")));
    assert!(site.lowered("elsewhere") <= 0.0 && site.lowered("more") <= 0.0);
    let lowered = site.database.lowered("common").unwrap().unwrap();
    let because: Vec<&str> = lowered.because.iter().map(|one| &*one.title).collect();
    assert_eq!(because, ["Upload h0", "Upload h1", "Upload h2"]);
    assert!(lowered.is_below);
    // It fades by itself.
    site.database.retain(day(60)).unwrap();
    assert!(site.lowered("common") < 0.6);
    assert_eq!(site.order().len(), 4);
    assert!(!site.order().contains(&"(common)".to_owned()));
    site.database.retain(day(93)).unwrap();
    assert!(site.lowered("common") <= 0.0);
}

#[test]
fn what_is_taken_back_is_as_if_it_had_never_been_said() {
    let mut site = Site::taught();
    let incidents = vec![
        upload("rare", 3, BACKUP, 1_000_000, 5.0),
        upload("common", 3, BACKUP, 1_000_000, 3.5),
    ];
    site.tell(3, incidents.clone());
    let taught = site.open_ones();
    // One more verdict, and back: by opening the case again.
    site.tell(3, vec![upload("one", 3, BACKUP, 1_400_000, 3.6)]);
    let before = site.open_ones();
    site.close("one", 3, Verdict::Wrong);
    site.set("one", 3, CaseState::Open, None);
    assert_eq!(site.open_ones().len(), before.len());
    let strip = |mut all: Vec<IncidentItem>| -> Vec<IncidentItem> {
        all.retain(|one| one.id != "one");
        all
    };
    assert_eq!(strip(site.open_ones()), taught);
    // By another verdict: an attack of the class lifts all of it, and taken back it is there again.
    site.close("one", 3, Verdict::Attack);
    assert!(site.lowered("common") <= 0.0 && site.lowered("rare") <= 0.0);
    site.close("one", 3, Verdict::Harmless);
    site.set("one", 3, CaseState::Open, None);
    assert_eq!(strip(site.open_ones()), taught);
    // By the one button at an incident that is lowered.
    site.database
        .forget_feedback(&actor(day(3)), "common")
        .unwrap();
    let mut fresh = Site::new();
    fresh.tell(3, incidents);
    assert_eq!(strip(site.open_ones()), strip(fresh.open_ones()));
    let case = site.database.case("h1").unwrap();
    assert_eq!(case.verdict, Some(Verdict::Harmless));
    assert!(
        site.database
            .forget_feedback(&actor(day(3)), "common")
            .is_err()
    );
    let audit = site.database.audit(None, 1).unwrap().items;
    assert_eq!(audit[0].action, "feedback.undone");
}

#[test]
fn an_incident_that_outgrows_its_verdict_is_opened_again_and_teaches_nothing() {
    let mut site = Site::new();
    site.tell(0, vec![upload("slow", 0, BACKUP, 1_000_000, 4.0)]);
    site.close("slow", 0, Verdict::Harmless);
    site.tell(1, vec![upload("slow", 1, BACKUP, 2_500_000, 4.5)]);
    assert!(site.order().is_empty());
    site.tell(2, vec![upload("slow", 2, BACKUP, 5_000_000, 4.5)]);
    assert_eq!(site.order(), ["slow"]);
    let case = site.database.case("slow").unwrap();
    let said = &case.history.last().unwrap().what;
    assert!(
        said.contains("more than what was judged, up in an hour is 5 times"),
        "{said}"
    );
    // Now it is judged at its new size, and what it was goes over when it is merged.
    site.close("slow", 2, Verdict::Attack);
    let mut merged = upload("earlier", 2, BACKUP, 5_000_000, 4.5);
    merged["merged_from"] = json!(["slow"]);
    site.tell(3, vec![merged, upload("next", 3, BACKUP, 5_000_000, 4.5)]);
    for n in 0..3 {
        let id = format!("h{n}");
        site.tell(n, vec![upload(&id, n, BACKUP, 5_000_000, 4.5)]);
        site.close(&id, n, Verdict::Harmless);
    }
    assert!(
        site.lowered("next") <= 0.0,
        "a class with a confirmed attack"
    );
}

/// A story is named after the alert it began with, and forgets its oldest: it has another name each day then.
#[test]
fn a_story_that_changes_its_name_each_day_outgrows_its_verdict_too() {
    let mut site = Site::new();
    let story = |id: u64, up: u64| {
        let mut story = upload(&format!("s{id}"), id, BACKUP, up, 4.0);
        story["first_seen"] = json!(day(0).to_string());
        story["alerts"][0]["id"] = json!("shared");
        story
    };
    site.tell(0, vec![story(0, 1_000_000)]);
    site.close("s0", 0, Verdict::Harmless);
    for n in 1..5 {
        site.tell(n, vec![story(n, 1_000_000 + n * 400_000)]);
        assert!(site.order().is_empty());
    }
    site.tell(5, vec![story(5, 3_400_000)]);
    assert_eq!(site.order(), ["s5"]);
}
