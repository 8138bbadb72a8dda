//! # HTTP oddity
//!
//! ## What it flags
//! Programs downloaded from bare addresses or from hosts nobody else uses, contents that are not what
//! the server calls them, requests of scripting tools, and uploads to bare addresses without any
//! browsing around them.
//!
//! ## Why it matters
//! Droppers fetch their programs over plain HTTP more often than people think, and the first stage
//! speaks to addresses, not names.
//!
//! ## How it scores
//! Each oddity of a transaction has a weight by how rare it is: a program by its first bytes (one and a half), from
//! a bare address (one and a half more), under another declared type (one and a half more), asked for by a script or by
//! nobody (a half to one). A destination that several devices use, or that is used on earlier days, is part
//! of the site and takes two or more off. Repeated posts to a bare address without a page count two. The
//! strongest transaction of the hour counts, a few tenths more for further ones.
//!
//! ## Evidence
//! The host, the address, the file, its type by content and as declared, the user agent, how many
//! transactions were odd; the first of them.
//!
//! ## What would have been normal
//! Programs from the update services that many devices share.
//!
//! ## Known false alarms
//! Installers of small vendors, firmware updates of devices, games, content networks addressed by
//! number, administrators who fetch tools.
//!
//! ## ATT&CK
//! T1105 Ingress Tool Transfer, T1071.001 Web Protocols.
//!
//! ## Sources
//! Invernizzi et al., *Nazca: Detecting Malware Distribution in Large-Scale Networks*, NDSS 2014.

use std::net::IpAddr;

use thymus_schema::{
    EntityId, Event, EventBody, HttpTransaction, Peer, PeerRole, Phase, SnapshotError,
    SnapshotReader, SnapshotWriter, Statement, Technique, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::domains;
use crate::habit::{Habits, Popularity};
use crate::table::Table;
use crate::trail::key_of;
use crate::window::Hourly;

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "http_oddity",
    title: "HTTP oddity",
    phase: Phase::Access,
    techniques: &[Technique::new("T1071.001"), Technique::new("T1105")],
    source: include_str!("http_oddity.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(HttpOddity::default()),
};

const PAIRS_MAX: usize = 16_384;
const HABITS_MAX: usize = 65_536;

#[derive(Debug, Default)]
struct Talk {
    odd: f64,
    posts: f64,
    pages: f64,
    best: f64,
    /// What was seen in the oddest transaction.
    file: Box<str>,
    what: Box<str>,
}

/// The detector's state.
struct HttpOddity {
    pairs: Table<u64, Hourly<Talk>>,
    users: Popularity,
    habits: Habits,
}

impl Default for HttpOddity {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            users: Popularity::new(HABITS_MAX),
            habits: Habits::new(HABITS_MAX),
        }
    }
}

fn is_program(magic: &str) -> bool {
    matches!(
        magic,
        "pe" | "elf" | "macho" | "dex" | "class" | "msi" | "jar"
    )
}

/// Whether the declared type is one that a program would hide behind.
fn is_disguised(http: &HttpTransaction) -> bool {
    let declared = http.content_type.to_ascii_lowercase();
    let hides = [
        "image/",
        "text/",
        "audio/",
        "video/",
        "font/",
        "application/pdf",
        "application/javascript",
        "application/json",
    ]
    .iter()
    .any(|kind| declared.starts_with(kind));
    let name = http.file_name.to_ascii_lowercase();
    let named = [
        "jpg", "jpeg", "png", "gif", "txt", "css", "html", "php", "pdf", "ico", "dat",
    ]
    .iter()
    .any(|ext| name.rsplit_once('.').is_some_and(|(_, end)| end == *ext));
    // Some servers call every unknown file plain text; its own name then says what it is.
    let honest = ["exe", "msi", "dll", "sh"]
        .iter()
        .any(|ext| name.rsplit_once('.').is_some_and(|(_, end)| end == *ext));
    is_program(&http.magic) && (named || (hides && !(honest && declared.starts_with("text/plain"))))
}

/// Whether a script or a bare tool asked, not a browser or a product.
fn agent_oddity(agent: &str) -> f64 {
    if agent.is_empty() {
        return 0.7;
    }
    let agent = agent.to_ascii_lowercase();
    let tools = [
        "curl",
        "wget",
        "powershell",
        "python",
        "winhttp",
        "certutil",
        "bits",
        "libwww",
        "go-http",
        "java/",
        "perl",
        "ruby",
    ];
    if tools.iter().any(|tool| agent.contains(tool)) {
        0.5
    } else {
        0.0
    }
}

/// The host of the request, without its port.
fn host_of<'a>(http: &'a HttpTransaction, addr: &'a str) -> &'a str {
    let host = if http.host.is_empty() {
        addr
    } else {
        &*http.host
    };
    match host.rsplit_once(':') {
        Some((head, port)) if !head.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            head
        }
        _ => host,
    }
}

/// The odd weight of one transaction with a name for it.
fn oddity(http: &HttpTransaction, is_bare: bool, port: u16) -> (f64, &'static str) {
    let ok = http.status == 0 || (200..300).contains(&http.status);
    if is_program(&http.magic) && ok && http.response_len > 0 {
        let mut weight = 1.5 + agent_oddity(&http.user_agent);
        weight += if is_bare { 1.5 } else { 0.0 };
        weight += if matches!(port, 80 | 8080 | 3128) {
            0.0
        } else {
            0.4
        };
        if is_disguised(http) {
            return (weight + 1.5, "a program under a false type");
        }
        return (weight, "a program");
    }
    let is_script = &*http.magic == "script" && ok && is_bare;
    if is_script && agent_oddity(&http.user_agent) > 0.0 {
        return (2.4, "a script fetched by a script");
    }
    let long = http.uri.len() > 600 && domains::entropy(http.uri.as_bytes()) > 5.2 && is_bare;
    if long {
        (1.5, "a very long encoded address")
    } else {
        (0.0, "")
    }
}

impl Detector for HttpOddity {
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
        let host = host_of(http, &addr);
        let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        // Inside, names and addresses mean nothing, and updates come from one's own servers.
        if literal.is_some_and(|addr| cx.is_local(addr)) || (server.is_local() && !http.proxied) {
            return;
        }
        let is_bare = literal.is_some();
        let place = key_of(domains::registered(host).unwrap_or(host));
        let users = self.users.note(place, client.key()) as f64;
        let days = self.habits.note(place, event.ts);
        let (weight, what) = oddity(http, is_bare, conn.server.port);
        let is_post = &*http.method == "POST" && is_bare;
        if weight == 0.0 && !is_bare {
            return;
        }
        let pair = self
            .pairs
            .entry(key_of((client.key(), place)), Hourly::default);
        pair.turn(event.ts);
        pair.it.posts += f64::from(u8::from(is_post));
        pair.it.pages += f64::from(u8::from(
            &*http.method == "GET" && (200..400).contains(&http.status),
        ));
        if weight == 0.0 && !is_post {
            return;
        }
        pair.push(event);
        pair.it.odd += 1.0;
        if weight > pair.it.best {
            pair.it.best = weight;
            pair.it.what = what.into();
            pair.it.file = if http.file_name.is_empty() {
                http.uri.chars().take(80).collect::<String>().into()
            } else {
                http.file_name.clone()
            };
        }
        let score = pair.score() - 2.0 * users.log10() - Habits::relief(days);
        if score > 0.0 && cx.matters(score) && pair.window.rises(score) {
            pair.raise(place, score, client, host, &http.user_agent, cx);
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.users.snapshot(out);
        self.habits.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.users = Popularity::restore(HABITS_MAX, from)?;
        self.habits = Habits::restore(HABITS_MAX, from)?;
        Ok(())
    }
}

impl Hourly<Talk> {
    fn score(&self) -> f64 {
        let talk = &self.it;
        let only_posts = talk.posts >= 3.0 && talk.pages == 0.0;
        let posts = if only_posts {
            2.0 + 0.3 * (talk.posts / 3.0).log10()
        } else {
            0.0
        };
        talk.best.max(posts) + 0.4 * talk.best.min(posts) + 0.3 * talk.odd.max(1.0).log10()
    }

    fn raise(
        &self,
        key: u64,
        score: f64,
        client: crate::entities::Party,
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
        } else {
            facts.push(self.count("posts", self.it.posts));
            "posted {posts} times to the bare address {host} without fetching a page, as user agent {agent}, \
             {count} requests in all"
        };
        let normal = Statement::new(
            "Programs come from the update services that many devices share, under names.",
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
