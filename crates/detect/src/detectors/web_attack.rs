//! # Web attack
//!
//! ## What it flags
//! A client that searches a web server of ours for what is not there, or sends requests shaped like
//! injections: quotes and keywords of queries, climbs out of folders, scripts, commands.
//!
//! ## Why it matters
//! Web applications are the most reachable part of a site. The search comes first, then the
//! injection, then the upload.
//!
//! ## How it scores
//! Per hour, client and server: different addresses that were refused or not found, beyond ten and
//! where they are most of the answers (two digits per factor of ten, a half more for pace), and different requests
//! with an injection's shape beyond one (two digits). A request of that shape that is answered with
//! contents adds a half. What is done on many days is worth less; outsiders, who scan everybody,
//! count six tenths.
//!
//! ## Evidence
//! The server, the numbers of requests, of addresses not found and of injections, an example; the
//! first requests' events.
//!
//! ## What would have been normal
//! Requests for pages that exist.
//!
//! ## Known false alarms
//! Search engines on old links, link checkers, monitoring of removed pages, vulnerability scans by
//! one's own people, pages that carry code in their addresses.
//!
//! ## ATT&CK
//! T1190 Exploit Public-Facing Application, T1595 Active Scanning.
//!
//! ## Sources
//! Kruegel and Vigna, *Anomaly Detection of Web-based Attacks*, CCS 2003.

use thymus_schema::{
    Event, EventBody, HttpTransaction, PeerRole, Phase, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Technique, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "web_attack",
    title: "Web attack",
    phase: Phase::Access,
    techniques: &[Technique::new("T1190"), Technique::new("T1595")],
    source: include_str!("web_attack.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(WebAttack::default()),
};

const PAIRS_MAX: usize = 8_192;
const HABITS_MAX: usize = 16_384;

#[derive(Debug, Default)]
struct Requests {
    all: f64,
    refused: f64,
    missing: Distinct,
    shaped: Distinct,
    answered: bool,
    example: Box<str>,
}

/// The detector's state.
struct WebAttack {
    pairs: Table<u64, Hourly<Requests>>,
    habits: Habits,
}

impl Default for WebAttack {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            habits: Habits::new(HABITS_MAX),
        }
    }
}

/// Percent escapes read once, plus as space, lower case; bounded by the event's own bound.
fn unescaped(uri: &str) -> String {
    let bytes = uri.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).to_ascii_lowercase()
}

/// Whether the address is shaped like an injection.
fn is_shaped(uri: &str) -> bool {
    let text = unescaped(uri);
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let query = has(&[
        "' or ",
        "\" or ",
        "' and ",
        "union select",
        "union all select",
        "sleep(",
        "benchmark(",
        "waitfor delay",
        "information_schema",
        "' --",
        "'--",
    ]) || (has(&["select "]) && has(&[" from "]) && has(&["'", "(", "--", "*"]));
    let climb = has(&[
        "../../",
        "..\\..\\",
        "/etc/passwd",
        "win.ini",
        "boot.ini",
        "....//",
    ]);
    let script = has(&[
        "<script",
        "javascript:",
        "onerror=",
        "onload=",
        "<svg",
        "<iframe",
    ]);
    let command = has(&[
        ";cat ",
        "|cat ",
        ";id",
        "$(",
        "`id`",
        "&&",
        ";wget ",
        ";curl ",
        "cmd.exe",
        "/bin/sh",
        "/bin/bash",
        "${jndi",
        "php://",
        "<?php",
        "base64_decode(",
        "eval(",
        "system(",
    ]);
    query || climb || script || command
}

fn is_missing(http: &HttpTransaction) -> bool {
    matches!(http.status, 400 | 403..=405 | 410 | 414 | 500 | 501)
}

impl Detector for WebAttack {
    fn interest(&self) -> Interest {
        Interest::HTTP
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.habits]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Http(http) = &event.body else {
            return;
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if http.proxied || http.uri.is_empty() {
            return;
        }
        // Servers outside are attacked by our devices rarely, and it is worth knowing.
        let key = key_of((client.key(), server.key()));
        let missing = is_missing(http);
        let shaped = is_shaped(&http.uri);
        if !missing && !shaped && self.pairs.get(&key).is_none() {
            return;
        }
        let pair = self.pairs.entry(key, Hourly::default);
        pair.turn(event.ts);
        pair.it.all += 1.0;
        if !missing && !shaped {
            return;
        }
        pair.push(event);
        let path = http.uri.split('?').next().unwrap_or(&http.uri);
        if missing {
            pair.it.refused += 1.0;
            pair.it.missing.add(key_of(path));
        }
        if shaped {
            pair.it.answered |= http.status == 200 && http.response_len > 0;
            if pair.it.shaped.add(key_of(&http.uri)) {
                pair.it.example = http.uri.chars().take(120).collect::<String>().into();
            }
        } else if pair.it.example.is_empty() {
            pair.it.example = path.chars().take(120).collect::<String>().into();
        }
        if pair.it.missing.len() + pair.it.shaped.len() > 10 {
            pair.days = self.habits.note(key, event.ts);
        }
        let score = pair.score(client, server);
        if cx.matters(score) && pair.window.rises(score) {
            pair.raise(key, score, client, server, cx);
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.habits.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.habits = Habits::restore(HABITS_MAX, from)?;
        Ok(())
    }
}

impl Hourly<Requests> {
    fn score(&self, client: Party, server: Party) -> f64 {
        let it = &self.it;
        // A crawler on old links mostly finds what it asks for.
        let share = (it.refused / it.all.max(1.0)).min(1.0);
        let mut search = tails::pareto(it.missing.len() as f64, 10.0, 2.0) * share;
        if search > 0.0 {
            search += tails::pareto(self.window.burst(), 30.0, 0.5);
        }
        let mut shaped = tails::pareto(it.shaped.len() as f64, 1.0, 2.0);
        if !it.shaped.is_empty() {
            shaped += 0.6 + if it.answered { 0.5 } else { 0.0 };
        }
        let score = (search + shaped - Habits::relief(self.days)).max(0.0);
        match (client.is_local(), server.is_local()) {
            (false, _) => 0.6 * score,
            (true, false) => 0.8 * score,
            (true, true) => score,
        }
    }

    fn raise(&self, key: u64, score: f64, client: Party, server: Party, cx: &mut DetectCx<'_>) {
        let target = cx.entities().peer(PeerRole::Target, server);
        let statement = Statement::new(
            "asked the web server {server} for {missing} addresses that it refused or does not have, and sent {shaped} \
             requests shaped like injections, in {span}, up to {burst} a minute (for example {example})",
            vec![
                self.trail
                    .fact("server", Value::Entity(target.entity.clone())),
                self.count("missing", self.it.missing.len() as f64),
                self.count("shaped", self.it.shaped.len() as f64),
                self.span(),
                self.count("burst", self.window.burst()),
                self.trail
                    .fact("example", Value::Name(self.it.example.clone())),
            ],
        );
        let normal = Statement::new(
            "Of {all} requests in that hour most would have found their page.",
            vec![self.count("all", self.it.all)],
        );
        let mut finding = self.trail.finding(client, key, score, statement, normal);
        finding.peers.push(target);
        if self.it.shaped.is_empty() {
            finding.phase = Some(Phase::Reconnaissance);
            finding.techniques = vec![Technique::new("T1595")];
        }
        cx.raise(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injections_have_a_shape_and_searches_for_words_do_not() {
        assert!(is_shaped("/item?id=1%27%20OR%20%271%27=%271"));
        assert!(is_shaped("/item?id=1+UNION+SELECT+user,pass+FROM+accounts"));
        assert!(is_shaped("/view?file=../../../../etc/passwd"));
        assert!(!is_shaped("/search?q=select+a+plan+for+o%27brien"));
        assert!(!is_shaped("/static/app.js?v=1.2"));
    }
}
