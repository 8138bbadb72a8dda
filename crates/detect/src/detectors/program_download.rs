//! # Program download
//!
//! ## What it flags
//! Programs fetched over plain HTTP in a way that installers and updates are not: under another type
//! or a neutral name, behind a mask, from a bare address, in answer to a post, asked for by nobody or
//! by a script, and unreadable contents where a program, a picture or a page was promised.
//!
//! ## Why it matters
//! What breaks in is small and fetches the rest. The second stage comes from a hired or hacked web
//! server, is renamed to pass filters, and is fetched by a document, a script or the first stage, not
//! by a person.
//!
//! ## How it scores
//! Independent oddities of one transaction add up, on top of one for any program by its first bytes
//! (2.6 behind a repeated key, 2 written as text, 0.6 to 2.4 for unreadable contents by what was
//! promised): asked for by nobody (0.7), by a script (0.5), by a program that only calls itself a
//! browser (0.6) or by a part of the system (0.4), half of that outside Windows; a bare address (1.3);
//! a false type or a name of another kind (1.5); a neutral name (0.8); a page that gives it out (0.3);
//! an answer to a post (0.8); letters of two alphabets in its name (1.5); no page fetched there before
//! (0.2); less than a megabyte (0.3); an odd port (0.4); a generic top-level domain that few known
//! sites use (0.5). The strongest of the hour counts, a few tenths more for others of other kinds. A
//! place that several devices use, or that was used on earlier days, takes two or more off.
//!
//! ## Evidence
//! The host, the file, what it is by content and as declared, its size, the user agent and how many
//! such transactions there were; the first of them.
//!
//! ## What would have been normal
//! Programs from the update services that many devices share, under their own names.
//!
//! ## Known false alarms
//! Installers of small vendors that are fetched by a stub, firmware of devices, games, content
//! networks addressed by number, administrators who fetch tools.
//!
//! ## ATT&CK
//! T1105 Ingress Tool Transfer, T1036 Masquerading, T1027 Obfuscated Files or Information.
//!
//! ## Sources
//! Invernizzi et al., *Nazca: Detecting Malware Distribution in Large-Scale Networks*, NDSS 2014;
//! Rossow, Dietrich and Bos, *Large-Scale Analysis of Malware Downloaders*, DIMVA 2012.

use thymus_schema::{
    EntityId, Event, EventBody, HttpTransaction, Peer, PeerRole, Phase, SnapshotError,
    SnapshotReader, SnapshotWriter, Statement, Technique, Timestamp, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::domains;
use crate::fetch::{self, Place, Weighed};
use crate::habit::{Habits, Ordinary};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::trail::key_of;
use crate::window::Hourly;

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "program_download",
    title: "Program download",
    phase: Phase::Access,
    techniques: &[
        Technique::new("T1105"),
        Technique::new("T1036"),
        Technique::new("T1027"),
    ],
    source: include_str!("program_download.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(ProgramDownload::default()),
};

const PAIRS_MAX: usize = 8_192;
const VISITS_MAX: usize = 32_768;
const HABITS_MAX: usize = 65_536;
/// How long a visit to a page explains a download there.
const VISIT_SECS: f64 = 3600.0;

/// What a device fetched at one place.
#[derive(Debug, Default)]
struct Fetched {
    count: f64,
    best: f64,
    /// The kinds, each with its highest weight.
    kinds: Vec<(&'static str, f64)>,
    what: &'static str,
    file: Box<str>,
    declared: Box<str>,
    bytes: u64,
}

/// The detector's state.
struct ProgramDownload {
    pairs: Table<u64, Hourly<Fetched>>,
    /// When a device last fetched a page at a place.
    visits: Table<u64, Timestamp>,
    ordinary: Ordinary,
}

impl Default for ProgramDownload {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            visits: Table::new(VISITS_MAX),
            ordinary: Ordinary::new(HABITS_MAX),
        }
    }
}

impl Detector for ProgramDownload {
    fn interest(&self) -> Interest {
        Interest::HTTP
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Http(http) = &event.body else {
            return;
        };
        let (Some(client), Some(server), Some(conn)) = (cx.client(), cx.server(), &event.conn)
        else {
            return;
        };
        if !client.is_local() {
            return;
        }
        let addr = server.addr.to_string();
        let host = fetch::host_of(http, &addr);
        // Inside, names and addresses mean nothing, and updates come from one's own servers.
        if fetch::is_inside(http, host, cx) {
            return;
        }
        let place = key_of(domains::registered(host).unwrap_or(host));
        let (users, days) = self.ordinary.note(place, client.key(), event.ts);
        let key = key_of((client.key(), place));
        let visited = self
            .visits
            .get(&key)
            .is_some_and(|at| event.ts.secs_since(*at) < VISIT_SECS);
        let found = fetch::program(
            http,
            Place {
                host,
                is_bare: fetch::literal(host).is_some(),
                port: conn.server.port,
                visited,
            },
        );
        let Some(found) = found else {
            if &*http.magic == "html" && &*http.method == "GET" && fetch::is_given(http) {
                *self.visits.entry(key, || event.ts) = event.ts;
            }
            return;
        };
        let pair = self.pairs.entry(key, Hourly::default);
        pair.turn(event.ts);
        pair.push(event);
        pair.it.note(found, http);
        let score = pair.it.score() - 2.0 * users.log10() - Habits::relief(days);
        if score > 0.0 && cx.matters(score) && pair.window.rises(score) {
            pair.raise(place, score, client, host, &http.user_agent, cx);
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.visits, &mut self.ordinary]
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.ordinary.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.ordinary.restore(from)
    }
}

impl Fetched {
    fn note(&mut self, found: Weighed, http: &HttpTransaction) {
        self.count += 1.0;
        match self.kinds.iter_mut().find(|kind| kind.0 == found.what) {
            Some(kind) => kind.1 = kind.1.max(found.weight),
            None => self.kinds.push((found.what, found.weight)),
        }
        if found.weight <= self.best {
            return;
        }
        self.best = found.weight;
        self.what = found.what;
        let name = if http.file_name.is_empty() {
            &http.uri
        } else {
            &http.file_name
        };
        self.file = name.chars().take(80).collect::<String>().into();
        self.declared = if http.content_type.is_empty() {
            "nothing".into()
        } else {
            http.content_type.clone()
        };
        self.bytes = http.response_len;
    }

    fn score(&self) -> f64 {
        let kinds: f64 = self.kinds.iter().map(|kind| kind.1).sum();
        self.best + 0.3 * (kinds - self.best).clamp(0.0, 3.0) + 0.3 * self.count.max(1.0).log10()
    }
}

impl Hourly<Fetched> {
    fn raise(
        &self,
        key: u64,
        score: f64,
        client: Party,
        host: &str,
        agent: &str,
        cx: &mut DetectCx<'_>,
    ) {
        let agent = if agent.is_empty() { "none" } else { agent };
        let statement = Statement::new(
            "fetched {what} ({file}, {bytes}, declared as {declared}) from {host}, with {count} such downloads \
             in that hour, as user agent {agent}",
            vec![
                self.trail.fact("what", Value::Name(self.it.what.into())),
                self.trail.fact("file", Value::Name(self.it.file.clone())),
                self.trail.fact("bytes", Value::Bytes(self.it.bytes)),
                self.trail
                    .fact("declared", Value::Name(self.it.declared.clone())),
                self.trail.fact("host", Value::Name(host.into())),
                self.count("count", self.it.count),
                self.trail.fact("agent", Value::Name(agent.into())),
            ],
        );
        let normal = Statement::new(
            "Programs come from the update services that many devices share, under their own names.",
            Vec::new(),
        );
        let mut finding = self.trail.finding(client, key, score, statement, normal);
        finding.peers.push(Peer {
            role: PeerRole::Controller,
            entity: EntityId::external(host),
        });
        cx.raise(finding);
    }
}
