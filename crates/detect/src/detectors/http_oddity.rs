//! # HTTP oddity
//!
//! ## What it flags
//! Uploads without any browsing around them, the same page tried on host after host, active content
//! without a file's name, very long encoded addresses, and public names spoken to hosts of the local
//! network. Programs that are fetched have a detector of their own.
//!
//! ## Why it matters
//! What breaks in speaks the protocol that every firewall lets through, but not as browsers do: it
//! posts without having read, and works through lists of servers.
//!
//! ## How it scores
//! What products do as well counts little, so that only several oddities together weigh. Active content
//! without a file's name counts a half, a very long encoded address one, either from a bare address six
//! tenths more; different oddities of one host add four tenths of each. Repeated posts without a page
//! count a half to a bare address and 0.4 to a page that is a program elsewhere, up to seven tenths more
//! when nobody, a script or a false browser posts, and three tenths for bodies that no form makes. The
//! same page posted to on three registered domains, as a list of control servers is worked through,
//! counts two and more. The strongest transaction of the hour counts, a few tenths more for further
//! ones. A destination that several devices use, or that is used on earlier days, is part of the site
//! and takes two or more off. Inside the local network only one thing counts: a public name in requests
//! to a local host that no name service gave that name, the same few pages again and again.
//!
//! ## Evidence
//! The host, the page or file, the user agent, how many transactions were odd; the first of them.
//!
//! ## What would have been normal
//! Forms that are sent from pages which were read before.
//!
//! ## Known false alarms
//! Telemetry of products that post to an address, advertisements with active content, games.
//!
//! ## ATT&CK
//! T1071.001 Web Protocols, T1008 Fallback Channels.
//!
//! ## Sources
//! Invernizzi et al., *Nazca: Detecting Malware Distribution in Large-Scale Networks*, NDSS 2014.

mod transaction;

use thymus_schema::{
    EntityId, Event, EventBody, HttpTransaction, Peer, PeerRole, Phase, SnapshotError,
    SnapshotReader, SnapshotWriter, Statement, Technique, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::domains;
use crate::fetch::{asker, host_of, is_page, literal};
use crate::habit::{Habits, Ordinary};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::trail::key_of;
use crate::window::Hourly;

use self::transaction::oddity;

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "http_oddity",
    title: "HTTP oddity",
    phase: Phase::Access,
    techniques: &[Technique::new("T1071.001"), Technique::new("T1008")],
    source: include_str!("http_oddity.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(HttpOddity::default()),
};

const PAIRS_MAX: usize = 16_384;
const HABITS_MAX: usize = 65_536;
/// Hosts of a round, and pages of a host, that are told apart.
const ROUND_MAX: usize = 64;
const PATHS_MAX: usize = 6;

/// What a device did at one destination.
#[derive(Debug, Default)]
struct Talk {
    odd: f64,
    posts: f64,
    /// Posts without saying which program posts.
    silent: f64,
    /// Posts to a page that is a program, to a host with a name.
    machine: f64,
    /// How little those who posted are like a browser or a product, at most.
    asker: f64,
    /// Whether a post held what no form holds.
    sealed: bool,
    pages: f64,
    best: f64,
    /// The kinds of oddities, each with its highest weight.
    kinds: Vec<(&'static str, f64)>,
    /// Requests to a local host under a public name, and the different pages they asked for.
    foreign: f64,
    paths: Vec<u64>,
    /// What was seen in the oddest transaction.
    file: Box<str>,
    what: Box<str>,
}

/// The detector's state.
struct HttpOddity {
    pairs: Table<u64, Hourly<Talk>>,
    /// For a device and a page, the domains it was posted to.
    rounds: Table<u64, Hourly<Vec<Box<str>>>>,
    ordinary: Ordinary,
}

impl Default for HttpOddity {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            rounds: Table::new(PAIRS_MAX),
            ordinary: Ordinary::new(HABITS_MAX),
        }
    }
}

impl Detector for HttpOddity {
    fn interest(&self) -> Interest {
        Interest::HTTP
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Http(http) = &event.body else {
            return;
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if !client.is_local() {
            return;
        }
        let addr = server.addr.to_string();
        let host = host_of(http, &addr);
        let literal = literal(host);
        let is_foreign = literal.is_none() && is_foreign(http, host, server, cx);
        // Inside, names and addresses mean nothing, and updates come from one's own servers.
        if literal.is_some_and(|addr| cx.is_local(addr))
            || (server.is_local() && !http.proxied && !is_foreign)
        {
            return;
        }
        let is_bare = literal.is_some();
        let place = key_of(domains::registered(host).unwrap_or(host));
        let (users, days) = self.ordinary.note(place, client.key(), event.ts);
        let relief = 2.0 * users.log10() + Habits::relief(days);
        let (weight, what) = if is_foreign {
            (0.0, "")
        } else {
            oddity(http, is_bare)
        };
        let is_post = &*http.method == "POST";
        let by_machine = is_post && http.referrer.is_empty() && is_page(&http.uri);
        if by_machine && !is_bare && !is_foreign {
            self.round(event, http, host, client, relief, cx);
        }
        let key = key_of((client.key(), place));
        if weight == 0.0 && !is_bare && !by_machine && !is_foreign {
            if let Some(pair) = self.pairs.get_mut(&key) {
                pair.it.pages += f64::from(u8::from(&*http.method == "GET"));
            }
            return;
        }
        let pair = self.pairs.entry(key, Hourly::default);
        pair.turn(event.ts);
        pair.it.note(http, is_bare, by_machine, is_foreign);
        if weight == 0.0 && !is_post && !is_foreign {
            return;
        }
        pair.push(event);
        pair.it.odd += 1.0;
        pair.it.oddest(weight, what, http);
        let score = pair.score() - relief;
        if score > 0.0 && cx.matters(score) && pair.window.rises(score) {
            pair.raise(place, score, client, host, &http.user_agent, cx);
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.rounds, &mut self.ordinary]
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.ordinary.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.ordinary.restore(from)
    }
}

impl HttpOddity {
    /// The same page on host after host: a list of control servers that is worked through.
    fn round(
        &mut self,
        event: &Event,
        http: &HttpTransaction,
        host: &str,
        client: Party,
        relief: f64,
        cx: &mut DetectCx<'_>,
    ) {
        let page = http.uri.split('?').next().unwrap_or_default();
        let domain = domains::registered(host).unwrap_or(host);
        let key = key_of((client.key(), page));
        let round = self.rounds.entry(key, Hourly::default);
        round.turn(event.ts);
        // A place that others use, or that was used before, is no news on the list either.
        if relief > 0.5 || round.it.len() >= ROUND_MAX || round.it.iter().any(|d| **d == *domain) {
            return;
        }
        round.it.push(domain.into());
        round.push(event);
        let count = round.it.len() as f64;
        let score = 2.2 + 1.2 * (count / 3.0).log2();
        if count < 3.0 || !cx.matters(score) || !round.window.rises(score) {
            return;
        }
        let statement = Statement::new(
            "posted to the same page {page} on {count} hosts of different owners, {hosts}, without \
             having been sent there",
            vec![
                round.trail.fact(
                    "page",
                    Value::Name(page.chars().take(80).collect::<String>().into()),
                ),
                round.count("count", count),
                round.trail.fact(
                    "hosts",
                    Value::Names(round.it.iter().take(8).cloned().collect()),
                ),
            ],
        );
        let normal = Statement::new(
            "A page that takes posts belongs to one site, and people come to it from another page.",
            Vec::new(),
        );
        let mut finding = round.trail.finding(client, key, score, statement, normal);
        finding.phase = Some(Phase::Control);
        finding.techniques = vec![Technique::new("T1071.001"), Technique::new("T1008")];
        finding.peers = round
            .it
            .iter()
            .take(8)
            .map(|host| Peer {
                role: PeerRole::Controller,
                entity: EntityId::external(host),
            })
            .collect();
        cx.raise(finding);
    }
}

/// Whether a public name is spoken to a local host that no name service ever gave a name: a forged
/// `Host` header, or a relay.
fn is_foreign(http: &HttpTransaction, host: &str, server: Party, cx: &DetectCx<'_>) -> bool {
    let public = host.rsplit('.').next().is_some_and(|top| {
        !matches!(
            top,
            "local" | "lan" | "internal" | "home" | "corp" | "localdomain" | "arpa"
        )
    });
    server.is_local()
        && !http.proxied
        && &*http.method != "CONNECT"
        && public
        && http.referrer.is_empty()
        && domains::registered(host).is_some()
        && cx.entities().name_of(server.addr).is_none()
}

impl Talk {
    fn note(&mut self, http: &HttpTransaction, is_bare: bool, by_machine: bool, is_foreign: bool) {
        let is_post = &*http.method == "POST";
        let one = |is: bool| f64::from(u8::from(is));
        self.posts += one(is_post && is_bare);
        self.silent += one(is_post && is_bare && http.user_agent.is_empty());
        self.machine += one(by_machine && !is_bare && !is_foreign);
        self.foreign += one(is_foreign);
        if is_post {
            self.asker = self.asker.max(asker(http));
            self.sealed |= matches!(&*http.request_shape, "random" | "binary" | "base64");
        }
        self.pages += one(&*http.method == "GET" && (200..400).contains(&http.status));
        if is_foreign && self.paths.len() < PATHS_MAX {
            let path = key_of(http.uri.split('?').next().unwrap_or_default());
            if !self.paths.contains(&path) {
                self.paths.push(path);
            }
        }
    }

    fn oddest(&mut self, weight: f64, what: &'static str, http: &HttpTransaction) {
        if weight > 0.0 {
            match self.kinds.iter_mut().find(|kind| kind.0 == what) {
                Some(kind) => kind.1 = kind.1.max(weight),
                None => self.kinds.push((what, weight)),
            }
        }
        if weight > self.best {
            self.best = weight;
            self.what = what.into();
            self.file = if http.file_name.is_empty() {
                http.uri.chars().take(80).collect::<String>().into()
            } else {
                http.file_name.clone()
            };
        }
    }

    /// Posts of a program, without any page around them.
    fn posting(&self) -> f64 {
        if self.pages > 0.0 {
            return 0.0;
        }
        let grows = |count: f64, from: f64| 0.3 * (count / from).log10();
        let odd = 0.8 * self.asker + if self.sealed { 0.3 } else { 0.0 };
        if self.posts >= 3.0 || self.silent >= 2.0 {
            0.5 + odd + grows(self.posts, 2.0)
        } else if self.machine >= 3.0 {
            0.4 + odd + grows(self.machine, 3.0)
        } else {
            0.0
        }
    }

    /// A few pages again and again, under a public name on a local host.
    fn foreign(&self) -> f64 {
        let few = (self.paths.len() as f64) < PATHS_MAX as f64;
        if few && self.foreign >= 4.0 * (self.paths.len() as f64).max(2.0) {
            2.0 + 0.5 * (self.foreign / 8.0).log10()
        } else {
            0.0
        }
    }
}

impl Hourly<Talk> {
    fn score(&self) -> f64 {
        let talk = &self.it;
        let posts = talk.posting().max(talk.foreign());
        let kinds: f64 = talk.kinds.iter().map(|kind| kind.1).sum();
        talk.best.max(posts)
            + 0.4 * talk.best.min(posts)
            + 0.4 * (kinds - talk.best).max(0.0)
            + 0.3 * talk.odd.max(1.0).log10()
    }

    fn raise(
        &self,
        key: u64,
        score: f64,
        client: Party,
        host: &str,
        agent: &str,
        cx: &mut DetectCx<'_>,
    ) {
        let mut facts = vec![
            self.trail.fact("host", Value::Name(host.into())),
            self.count("count", self.it.odd),
            self.trail.fact(
                "agent",
                Value::Name(if agent.is_empty() {
                    "none".into()
                } else {
                    agent.into()
                }),
            ),
        ];
        let template = if self.it.best > 0.0 {
            facts.push(self.trail.fact("what", Value::Name(self.it.what.clone())));
            facts.push(self.trail.fact("file", Value::Name(self.it.file.clone())));
            "fetched {what} ({file}) from {host}, with {count} odd requests in that hour, as user agent {agent}"
        } else if self.it.foreign > 0.0 {
            facts.push(self.count("pages", self.it.paths.len() as f64));
            "called a host of the local network by the public name {host}, which no name service gave it, \
             {count} times for the same {pages} pages, as user agent {agent}"
        } else if self.it.machine > 0.0 {
            facts.push(self.count("posts", self.it.machine));
            "posted {posts} times to the same host {host} without fetching a page, as user agent {agent}, \
             {count} requests in all"
        } else {
            facts.push(self.count("posts", self.it.posts));
            "posted {posts} times to the bare address {host} without fetching a page, as user agent {agent}, \
             {count} requests in all"
        };
        let normal = Statement::new(
            "Forms are sent from pages that were read before, and active content has a name.",
            Vec::new(),
        );
        let mut finding =
            self.trail
                .finding(client, key, score, Statement::new(template, facts), normal);
        finding.peers.push(Peer {
            role: PeerRole::Controller,
            entity: EntityId::external(host),
        });
        if self.it.best == 0.0 {
            finding.phase = Some(Phase::Control);
            finding.techniques = vec![Technique::new("T1071.001")];
        }
        cx.raise(finding);
    }
}
