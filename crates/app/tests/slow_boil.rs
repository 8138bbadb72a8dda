//! Poisoning by patience: a device sends a little more each day, for weeks, and whoever is asked calls it harmless.
//!
//! An office of made-up devices, seeded, as Zeek would log it; each day is replayed by the program with the state
//! of the day before, and what it tells goes into the console's database, where an analyst answers. The last day's
//! theft has to be above the line all the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it measured; sizes of made-up flows are small"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use thymus_schema::Timestamp;
use thymus_store::Database;
use thymus_store::database::{
    Actor, CaseChange, CaseState, IncidentFilter, IncidentItem, Limits, StateFilter, Verdict,
};
use thymus_store::journal::FrameBody;

const HEADER: &str = "#separator \\x09\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\t\
    id.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\tlocal_orig\tlocal_resp\t\
    missed_bytes\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n";
/// A Monday.
const FIRST: u64 = 1_709_510_400;
const DAY: u64 = 86_400;
const DEVICES: u64 = 24;
const THIEF: &str = "10.20.0.17";
const DROP: &str = "203.0.113.50";

/// SplitMix64: the same office on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Between 0 and 1.
    fn share(&mut self) -> f64 {
        self.below(1 << 32) as f64 / (1u64 << 32) as f64
    }
}

struct Flow {
    at: f64,
    client: String,
    server: String,
    up: u64,
    down: u64,
}

/// A day of the office: working hours, a few sites for each device, sizes with a heavy tail.
fn office(day: u64, dice: &mut Dice) -> Vec<Flow> {
    let mut flows = Vec::new();
    for device in 0..DEVICES {
        for hour in 7..19 {
            for _ in 0..2 + dice.below(5) {
                let site = (device * 7 + dice.below(6)) % 40;
                let at = (FIRST + day * DAY + hour * 3_600) as f64 + dice.share() * 3_590.0;
                let heavy = 1.0 / (1.0 - dice.share()).max(1e-3);
                flows.push(Flow {
                    at,
                    client: format!("10.20.0.{}", 10 + device),
                    server: format!("198.51.100.{}", 10 + site),
                    up: (700.0 * heavy) as u64,
                    down: (9_000.0 * heavy) as u64,
                });
            }
        }
    }
    flows
}

fn write_day(folder: &Path, mut flows: Vec<Flow>) {
    flows.sort_by(|a, b| a.at.total_cmp(&b.at));
    let mut text = HEADER.to_owned();
    for (n, flow) in flows.iter().enumerate() {
        let Flow {
            at,
            client,
            server,
            up,
            down,
        } = flow;
        let port = 40_000 + n % 20_000;
        let (sent, got) = (up / 1_000 + 4, down / 1_000 + 4);
        writeln!(
            text,
            "{at:.6}\tC{:.0}x{n}\t{client}\t{port}\t{server}\t443\ttcp\tssl\t2.0\t{up}\t{down}\tSF\tT\tF\t0\t\
             ShADadFf\t{sent}\t{}\t{got}\t{}",
            at,
            up + sent * 40,
            down + got * 40
        )
        .unwrap();
    }
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("conn.log"), text).unwrap();
}

struct Office {
    folder: tempfile::TempDir,
    database: Database,
    dice: Dice,
    day: u64,
}

impl Office {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = Timestamp::from_secs(FIRST as i64);
        let database = Database::open(&folder.path().join("store"), Limits::default(), at).unwrap();
        Self {
            folder,
            database,
            dice: Dice(4711),
            day: 0,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_secs((FIRST + self.day * DAY) as i64)
    }

    /// Lives through a day on which the device sends so many bytes to its outside party, and tells the console.
    fn live(&mut self, stolen: u64) {
        let mut flows = office(self.day, &mut self.dice);
        for n in 0..4 {
            let hour = 3_600.0 * (14.0 + self.dice.share());
            flows.push(Flow {
                at: (FIRST + self.day * DAY) as f64 + hour,
                client: THIEF.to_owned(),
                server: DROP.to_owned(),
                up: stolen / 4 + n,
                down: 4_000,
            });
        }
        let logs = self.folder.path().join(format!("day-{}", self.day));
        write_day(&logs, flows);
        self.day += 1;
        let done = Command::new(env!("CARGO_BIN_EXE_thymus"))
            .args(["replay", "--quiet", "--json", "--state"])
            .arg(self.folder.path().join("state"))
            .arg(&logs)
            .output()
            .unwrap();
        assert!(
            matches!(done.status.code(), Some(0 | 1)),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        let told = ["incidents", "below_the_line"].map(|key| said[key].as_array().unwrap().clone());
        let frame = FrameBody::Incidents(told.concat());
        self.database.ingest(self.day, &frame, self.now()).unwrap();
    }

    /// What is above the line, open, about the device taking something out, and went on in the day lived last.
    fn shown(&self) -> Vec<IncidentItem> {
        let filter = IncidentFilter {
            state: StateFilter::Open,
            shown: Some(true),
            device: Some(format!("device:{THIEF}")),
            limit: 100,
            ..IncidentFilter::default()
        };
        let items = self.database.incidents(&filter, self.now()).unwrap().items;
        let today = self.now().minus(Duration::from_secs(DAY));
        items
            .into_iter()
            .filter(|item| item.last_seen >= today)
            .filter(|item| item.phases.iter().any(|phase| phase == "exfiltration"))
            .collect()
    }

    fn answer(&self, id: &str, verdict: Verdict) {
        let change = CaseChange {
            state: Some(CaseState::Closed),
            verdict: Some(verdict),
            ..CaseChange::default()
        };
        let actor = Actor {
            user: "ann".into(),
            address: String::new(),
            at: self.now(),
        };
        self.database.change_case(&actor, id, &change).unwrap();
    }
}

/// Days on which the office is learned before the device begins.
const QUIET: u64 = 5;
/// What the device sends then.
const NOTHING: u64 = 3_000;
/// What it was all for.
const THEFT: u64 = 100_000_000;

/// One day: what the device sent, and whether that was shown.
#[derive(Clone, Copy, Debug)]
struct Told {
    bytes: f64,
    is_shown: bool,
}

/// Learns the office, then lives days on which the device sends `begin` bytes and each day `growth` times as much,
/// until `end`. Who answers calls everything harmless that is shown.
fn grow(office: &mut Office, begin: f64, growth: f64, end: f64, answers: bool) -> Vec<Told> {
    for _ in 0..QUIET {
        office.live(NOTHING);
    }
    let mut days = Vec::new();
    let mut bytes = begin;
    while bytes < end {
        office.live(bytes as u64);
        let shown = office.shown();
        days.push(Told {
            bytes,
            is_shown: !shown.is_empty(),
        });
        for item in shown.iter().filter(|_| answers) {
            office.answer(&item.id, Verdict::Harmless);
        }
        bytes *= growth;
    }
    days
}

fn count_shown(days: &[Told]) -> usize {
    days.iter().filter(|day| day.is_shown).count()
}

/// Days that grow are called harmless whenever they are shown; then all of it goes in one day.
fn strikes_after(begin: f64, growth: f64, end: f64) {
    let mut office = Office::new();
    let days = grow(&mut office, begin, growth, end, true);
    println!("{} days, asked on {}", days.len(), count_shown(&days));
    assert!(count_shown(&days) > 0);
    office.live(THEFT);
    let shown = office.shown();
    assert!(!shown.is_empty(), "the theft is not above the line");
    assert!(shown.iter().all(|item| item.lowered <= 0.0), "{shown:?}");
}

#[test]
fn who_teaches_a_size_for_weeks_and_then_takes_all_is_shown() {
    strikes_after(1e6, 1.0001, 1.0022e6);
}

#[test]
fn who_grows_for_weeks_and_then_takes_all_is_shown() {
    strikes_after(1e5, 1.1, 4e6);
}

/// What answers cost: nothing that is told without them is kept back once it is clearly more than what was judged.
#[test]
fn answers_keep_nothing_back_that_is_clearly_more_than_what_was_judged() {
    let alone = grow(&mut Office::new(), 1e5, 1.3, 50e6, false);
    let answered = grow(&mut Office::new(), 1e5, 1.3, 50e6, true);
    println!(
        "of {} days shown on {} without answers, on {} with",
        alone.len(),
        count_shown(&alone),
        count_shown(&answered)
    );
    let mut judged = f64::INFINITY;
    for (alone, answered) in alone.iter().zip(&answered) {
        // An hour may hold all of a day's four pieces or one of them when it is judged.
        if alone.is_shown && alone.bytes > 3.0 * 4.0 * judged {
            assert!(answered.is_shown, "at {:.0} after {judged:.0}", alone.bytes);
        }
        if answered.is_shown {
            judged = answered.bytes;
        }
    }
}

/// Without any answer: what is learned by itself. Three days after it was alerted an hour teaches like any other,
/// so who grows slowly enough becomes normal: that is wrong, and measured in docs/feedback.md. `SLOW_BOIL=1.05,1.02`
/// measures other growths a day.
#[test]
fn what_is_learned_alone_is_boiled_by_slow_growth_and_not_by_a_strike() {
    let asked = std::env::var("SLOW_BOIL").ok();
    let growths: Vec<f64> = match &asked {
        Some(asked) => asked.split(',').map(|one| one.parse().unwrap()).collect(),
        None => vec![1.1],
    };
    for growth in growths {
        let mut office = Office::new();
        let days = grow(&mut office, 1e5, growth, 50e6, false);
        let first = days.iter().find(|day| day.is_shown).map(|day| day.bytes);
        let large: Vec<Told> = days.into_iter().filter(|day| day.bytes >= 1e6).collect();
        println!(
            "{growth}: first shown at {:.2} MB; of {} days with a megabyte or more shown on {}, longest silence {:?} days",
            first.unwrap_or(0.0) / 1e6,
            large.len(),
            count_shown(&large),
            large.split(|day| day.is_shown).map(<[Told]>::len).max()
        );
        if asked.is_none() {
            assert!(
                count_shown(&large) * 2 < large.len(),
                "better than docs/feedback.md says: measure again"
            );
            office.live(50 * THEFT);
            assert!(!office.shown().is_empty(), "a strike is seen");
        }
    }
}
