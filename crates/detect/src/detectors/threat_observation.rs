//! # Other tools' alerts
//!
//! ## What it flags
//! Alerts of other tools (intrusion detection, endpoint and log monitoring) and hits on the user's
//! own indicator lists that are out of the ordinary for the site.
//!
//! ## Why it matters
//! Such tools see what traffic cannot show, and they know names. But thousands of their alerts a day
//! are normal, so an alert alone means little.
//!
//! ## How it scores
//! Three parts. How many kinds of alert that the site has never seen the device's hour brings,
//! against the learned rate of such novelty. The severity the tool gives, which is worth at most
//! two, less for every device that has the same alert and for every day on which the site
//! had it. And the number of different uncommon alerts in the hour. A hit on an indicator list
//! starts at three, and so does a file on its way that our own file engine calls malicious (two: suspicious).
//!
//! ## Evidence
//! The tools and the names of the alerts, how many were new and uncommon, how many alerts there were
//! in all; the first alerts' events. Of a file: its name, type, size and digest, whom it came from or went to,
//! the bytes that decided, and how many harmless files look as bad.
//!
//! ## What would have been normal
//! The alerts the site has every day.
//!
//! ## Known false alarms
//! New versions of rule sets, new tools, penetration tests.
//!
//! ## ATT&CK
//! T1190 and T1210 stand for what most such alerts claim; the alert's own techniques are used where
//! it names any.
//!
//! ## Sources
//! Alahmadi et al., *99% False Positives: A Qualitative Study of SOC Analysts' Perspectives on
//! Security Alarms*, USENIX Security 2022.

use thymus_schema::{
    EntityKind, Event, EventBody, FileVerdict, Observation, PeerRole, Phase, Scope, Service,
    SnapshotError, SnapshotReader, SnapshotWriter, Statement, Technique, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::{Habits, Popularity};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::novelty::Novelty;
use crate::party::Party;
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "threat_observation",
    title: "Other tools' alerts",
    phase: Phase::Unusual,
    techniques: &[Technique::new("T1190"), Technique::new("T1210")],
    source: include_str!("threat_observation.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(ThreatObservation::default()),
};

const DEVICES_MAX: usize = 16_384;
const ALERTS_MAX: usize = 32_768;

#[derive(Debug, Default)]
struct Alerts {
    severity: f64,
    uncommon: Distinct,
    new: u64,
    novelty: f64,
    techniques: Vec<Technique>,
    /// The first of the gravest files, how it went, and with whom.
    file: Option<(Box<FileVerdict>, Way, Party)>,
}

/// Which way a file went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Fetched,
    Sent,
    WasSent,
    HandedOut,
}

impl Way {
    const fn of(is_client: bool, upload: bool) -> Self {
        match (is_client, upload) {
            (true, false) => Self::Fetched,
            (true, true) => Self::Sent,
            (false, true) => Self::WasSent,
            (false, false) => Self::HandedOut,
        }
    }

    const fn template(self) -> &'static str {
        match self {
            Self::Fetched => FETCHED,
            Self::Sent => SENT,
            Self::WasSent => WAS_SENT,
            Self::HandedOut => HANDED_OUT,
        }
    }
}

macro_rules! sentence {
    ($went:literal) => {
        concat!(
            $went,
            " over {protocol}, SHA-256 {sha256}, which {source} calls {verdict}: {decided} decided, and one in \
             {one_in} harmless files looks as bad ({count} alerts of other tools in {span})"
        )
    };
}

const FETCHED: &str = sentence!("fetched the file {file} ({kind}, {size}) from {peer}");
const SENT: &str = sentence!("sent the file {file} ({kind}, {size}) to {peer}");
const WAS_SENT: &str = sentence!("was sent the file {file} ({kind}, {size}) by {peer}");
const HANDED_OUT: &str = sentence!("handed out the file {file} ({kind}, {size}) to {peer}");

/// The detector's state.
struct ThreatObservation {
    devices: Table<u64, Hourly<Alerts>>,
    novelty: Novelty,
    users: Popularity,
    habits: Habits,
}

impl Default for ThreatObservation {
    fn default() -> Self {
        Self {
            devices: Table::new(DEVICES_MAX),
            novelty: Novelty::new(),
            users: Popularity::new(ALERTS_MAX),
            habits: Habits::new(ALERTS_MAX),
        }
    }
}

/// Whether somebody here wrote the indicator down.
fn is_own_indicator(observation: &Observation) -> bool {
    observation
        .category
        .to_ascii_lowercase()
        .contains("indicator")
        || [".csv", ".json", ".stix", ".txt"]
            .iter()
            .any(|end| observation.source.ends_with(end))
}

/// What the tool's own severity is worth before anything is known of the site.
fn severity_of(observation: &Observation) -> f64 {
    if is_own_indicator(observation) {
        return 3.0;
    }
    // Its promise is known: of some thousand harmless files one is called malicious, of some hundred
    // one suspicious.
    if &*observation.source == Observation::FILE_ENGINE {
        return if observation.severity == 1 { 3.0 } else { 2.0 };
    }
    match observation.severity {
        1 => 2.0,
        2 => 1.3,
        0 => 0.9,
        3 => 0.6,
        _ => 0.2,
    }
}

/// The device an alert is about: of a conversation the one that began it, if it is ours.
fn subjects(event: &Event, observation: &Observation, cx: &DetectCx<'_>) -> Vec<Party> {
    if let (Some(client), Some(server)) = (cx.client(), cx.server()) {
        let ours = [client, server].into_iter().find(Party::is_local);
        return vec![ours.unwrap_or(client)];
    }
    let scope = event.conn.as_ref().map_or(Scope::NONE, |conn| conn.scope);
    let about = observation
        .about
        .iter()
        .filter(|id| id.kind == EntityKind::Device);
    let addresses = about.filter_map(|id| id.key.split('%').next()?.parse().ok());
    addresses
        .take(4)
        .map(|addr| cx.party(addr, scope))
        .collect()
}

impl Detector for ThreatObservation {
    fn interest(&self) -> Interest {
        Interest::OBSERVATION
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![
            &mut self.devices,
            &mut self.novelty,
            &mut self.users,
            &mut self.habits,
        ]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Observation(observation) = &event.body else {
            return;
        };
        let item = key_of((&observation.source, &observation.name));
        let days = self.habits.note(item, event.ts);
        for party in subjects(event, observation, cx) {
            let users = self.users.note(item, party.key()) as f64;
            let surprise =
                self.novelty
                    .observe(party, item, || observation.name.clone(), event, cx);
            let alerts = self.devices.entry(party.key(), Hourly::default);
            alerts.turn(event.ts);
            alerts.push(event);
            alerts.it.note_file(observation, party, cx);
            if let Some(surprise) = surprise {
                alerts.it.novelty = alerts.it.novelty.max(surprise.score);
                alerts.it.new = surprise.new;
            }
            let worth = severity_of(observation) - 0.8 * users.log10() - Habits::relief(days);
            if worth > 0.0 {
                alerts.it.severity = alerts.it.severity.max(worth);
                if worth > 0.5 && alerts.it.uncommon.add(item) {
                    alerts.names.add(&observation.name);
                }
                let named = observation
                    .techniques
                    .iter()
                    .filter_map(|id| Technique::from_id(id));
                for technique in named {
                    if alerts.it.techniques.len() < 8 && !alerts.it.techniques.contains(&technique)
                    {
                        alerts.it.techniques.push(technique);
                    }
                }
            }
            let score = alerts.it.score();
            if cx.matters(score) && alerts.window.rises(score) {
                alerts.raise(score, party, &observation.source, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.novelty.snapshot(out);
        self.users.snapshot(out);
        self.habits.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let novelty = Novelty::new().restore(from)?;
        let users = Popularity::restore(ALERTS_MAX, from)?;
        let habits = Habits::restore(ALERTS_MAX, from)?;
        *self = Self {
            novelty,
            users,
            habits,
            ..Self::default()
        };
        Ok(())
    }
}

impl Alerts {
    /// Keeps the first of the gravest files.
    fn note_file(&mut self, observation: &Observation, party: Party, cx: &DetectCx<'_>) {
        let (Some(file), Some(client), Some(server)) =
            (&observation.file, cx.client(), cx.server())
        else {
            return;
        };
        let is_malicious = |file: &FileVerdict| &*file.outcome == "malicious";
        let is_graver = |kept: &FileVerdict| is_malicious(file) && !is_malicious(kept);
        if self
            .file
            .as_ref()
            .is_some_and(|(kept, _, _)| !is_graver(kept))
        {
            return;
        }
        let is_client = party.addr == client.addr;
        let other = if is_client { server } else { client };
        self.file = Some((file.clone(), Way::of(is_client, file.upload), other));
    }

    fn score(&self) -> f64 {
        self.severity + self.novelty + tails::pareto(self.uncommon.len() as f64, 3.0, 1.4)
    }
}

impl Hourly<Alerts> {
    fn raise(&self, score: f64, party: Party, source: &str, cx: &mut DetectCx<'_>) {
        if let Some(file) = &self.it.file {
            return self.raise_file(file, (score, party, source), cx);
        }
        let statement = Statement::new(
            "was the subject of {count} alerts of other tools in {span}, {uncommon} of them of uncommon kinds and {new} \
             of kinds never seen here ({names}; last by {source})",
            vec![
                self.count("count", self.trail.total() as f64),
                self.span(),
                self.count("uncommon", self.it.uncommon.len() as f64),
                self.count("new", self.it.new as f64),
                self.named("names"),
                self.trail.fact("source", Value::Name(source.into())),
            ],
        );
        let normal = Statement::new(
            "Alerts that the site has on most days, on many devices, mean little.",
            Vec::new(),
        );
        let mut finding = self.trail.finding(party, 0, score, statement, normal);
        finding.techniques.clone_from(&self.it.techniques);
        cx.raise(finding);
    }

    /// A file is told by what it is and where from, and by the bytes that decided.
    fn raise_file(
        &self,
        (file, way, other): &(Box<FileVerdict>, Way, Party),
        (score, party, source): (f64, Party, &str),
        cx: &mut DetectCx<'_>,
    ) {
        let name = |key, text: &str| self.trail.fact(key, Value::Name(text.into()));
        let mut called = if file.name.is_empty() {
            "without a name".to_owned()
        } else {
            file.name.to_string()
        };
        if !file.member.is_empty() {
            called = format!("{called}, in it {}", file.member);
        }
        let decided = match &*file.decided {
            "" => "all of its bytes",
            decided => decided,
        };
        let is_brought_in = matches!(way, Way::Fetched | Way::WasSent);
        let role = match (other.is_local(), is_brought_in) {
            (true, true) => PeerRole::Relay,
            (true, false) => PeerRole::Target,
            (false, _) => PeerRole::Controller,
        };
        let peer = cx.entities().peer(role, *other);
        let statement = Statement::new(
            way.template(),
            vec![
                name("file", &called),
                name("kind", &file.kind),
                self.trail.fact("size", Value::Bytes(file.bytes)),
                self.trail.fact("peer", Value::Entity(peer.entity.clone())),
                name(
                    "protocol",
                    file.service.map_or("an unknown protocol", Service::as_str),
                ),
                name("sha256", &file.sha256),
                name("source", source),
                name("verdict", &file.outcome),
                name("decided", decided),
                self.trail.fact("one_in", Value::Count(file.one_in)),
                self.count("count", self.trail.total() as f64),
                self.span(),
            ],
        );
        let normal = Statement::new(
            "Of some thousand harmless files one is called malicious, of some hundred one suspicious.",
            Vec::new(),
        );
        let mut finding = self.trail.finding(party, 0, score, statement, normal);
        finding.techniques.clone_from(&self.it.techniques);
        finding.peers = vec![peer];
        finding.phase = is_brought_in.then_some(Phase::Access);
        cx.raise(finding);
    }
}
