//! Decisions about incidents, told when they begin to wait, hold, or are over; and the links by which people answer.
//!
//! The journal of decisions has no frames. A record of it gets a place behind the last frame that was told, by a number
//! that only grows and is on the disk before the record is offered: killed in between, it is told again, under a place
//! that no spool has seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thymus_outputs::{Kind, Mark, Record};
use thymus_respond::{Decision, Ledger, State};
use thymus_schema::Timestamp;

use super::place::replace;
use crate::replay;
use crate::respond::Reader;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Records of decisions stand behind all records of a frame.
const BEHIND: u32 = 1 << 24;
/// Lines of a cut that are told in words.
const CUTS_MAX: usize = 20;
const LINKS: &str = "links.json";
/// A link that is over is known for so long, so that it can be said that it is.
const REMEMBERED: Duration = Duration::from_hours(7 * 24);
/// Links that are known.
const LINKS_MAX: usize = 2_000;

/// What was told of decisions that are not over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Known {
    told: BTreeMap<u64, Told>,
    /// Records so far.
    number: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    state: State,
    until: Option<Timestamp>,
    confirm_by: Option<Timestamp>,
}

/// A link by which somebody may answer. Its secret is in the message alone; what is kept is a digest of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// `d7`.
    pub(crate) decision: String,
    /// It is over then.
    pub(crate) until: Timestamp,
}

/// Looks at the journal of decisions.
pub(super) struct Watch {
    reader: Reader,
    console: Option<String>,
    looked: Option<Instant>,
    trouble: Option<String>,
}

/// Something that is to be told, and what is known when it was.
pub(super) struct News {
    id: u64,
    told: Option<Told>,
    pub(super) mark: Mark,
    pub(super) record: Record,
}

impl Watch {
    pub(super) fn new(state: &Path, console: Option<&str>) -> Self {
        Self {
            reader: Reader::new(state),
            console: console.map(|url| url.trim_end_matches('/').to_owned()),
            looked: None,
            trouble: None,
        }
    }

    /// The ledger, when it is time to look at it.
    pub(super) fn look(&mut self, now: Timestamp) -> Option<std::sync::Arc<Ledger>> {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return None;
        }
        self.looked = Some(replay::now());
        match self.reader.ledger(now) {
            Ok(ledger) => {
                self.trouble = None;
                Some(ledger)
            }
            Err(error) => {
                let said = error.to_string();
                if self.trouble.as_ref() != Some(&said) {
                    eprintln!("thymus: decisions are not told: {said}");
                    self.trouble = Some(said);
                }
                None
            }
        }
    }

    /// The record of a decision, with a link where a person is asked and there is a console.
    pub(super) fn record(&self, one: &Decision, is_update: bool, dir: &Path) -> Result<Record> {
        let link = match &self.console {
            Some(url) if one.state == State::Pending => {
                let token = token()?;
                keep_link(dir, &token, one)?;
                Some(format!("{url}/approve/{token}"))
            }
            _ => None,
        };
        Ok(Record::new(
            Kind::Decision,
            is_update,
            body(one, link.as_deref()),
        ))
    }
}

impl Known {
    /// Decisions of which something is to be told: those that wait or hold and did not when they were told last, and
    /// those that are over and were told before.
    pub(super) fn news<'a>(&self, ledger: &'a Ledger) -> Vec<&'a Decision> {
        let fits = |one: &&Decision| {
            let told = self.told.get(&one.id.0);
            let known = (!one.state.is_over()).then(|| Told::of(one));
            told != known.as_ref()
        };
        let mut news: Vec<&Decision> = ledger.live().filter(fits).collect();
        let over = self.told.keys().filter_map(|id| {
            let one = ledger.get(thymus_respond::DecisionId(*id)).ok()?;
            one.state.is_over().then_some(one)
        });
        news.extend(over);
        news.sort_by_key(|one| one.id);
        news
    }

    /// The place of the next record, behind the frame that was told last.
    pub(super) fn next(&mut self, frame: u64) -> Mark {
        self.number = self.number.wrapping_add(1) % BEHIND;
        Mark {
            frame,
            index: BEHIND + self.number,
        }
    }

    pub(super) fn is_known(&self, one: &Decision) -> bool {
        self.told.contains_key(&one.id.0)
    }

    pub(super) fn was_told(&mut self, news: &News) {
        match &news.told {
            Some(told) => self.told.insert(news.id, told.clone()),
            None => self.told.remove(&news.id),
        };
    }

    /// What the ledger has forgotten is no news any more.
    pub(super) fn forget(&mut self, ledger: &Ledger) {
        let is_there = |id: &u64| ledger.get(thymus_respond::DecisionId(*id)).is_ok();
        self.told.retain(|id, _| is_there(id));
    }
}

impl Told {
    fn of(one: &Decision) -> Self {
        Self {
            state: one.state,
            until: one.until,
            confirm_by: one.confirm_by,
        }
    }
}

impl News {
    pub(super) fn new(one: &Decision, mark: Mark, record: Record) -> Self {
        Self {
            id: one.id.0,
            told: (!one.state.is_over()).then(|| Told::of(one)),
            mark,
            record,
        }
    }
}

/// A decision as it is told: as the journal has it, with words for people.
fn body(one: &Decision, link: Option<&str>) -> Value {
    let last = one.history.last();
    let device = &one.device.key;
    let what = one.verb.title();
    let title = match one.state {
        State::Pending => format!("{} waits for your answer: {what}, {device}", one.id),
        State::Active => format!("{} holds: {what}, {device}", one.id),
        over => format!("{} is over ({}): {what}, {device}", one.id, over.as_str()),
    };
    let cuts: Vec<String> = one
        .cuts
        .iter()
        .take(CUTS_MAX)
        .map(ToString::to_string)
        .collect();
    json!({
        "id": one.id.to_string(),
        "title": title,
        "text": text(one, &cuts, link),
        "state": one.state,
        "verb": one.verb,
        "device": one.device,
        "incident": one.incident,
        // A question is to be seen whatever an output wants of incidents.
        "confidence": "high",
        "mode": one.mode,
        "reason": one.reason,
        "cuts": one.cuts,
        "cuts_in_words": cuts,
        "rehearsal": one.rehearsal,
        "proposed_at": one.proposed_at,
        "began_at": one.began_at,
        "until": one.until,
        "duration_secs": one.duration.as_secs(),
        "confirm_by": one.confirm_by,
        "by": last.map(|line| &line.by),
        "why": last.map(|line| &line.what),
        "at": last.map_or(one.proposed_at, |line| line.at),
        "link": link,
    })
}

/// In words.
fn text(one: &Decision, cuts: &[String], link: Option<&str>) -> String {
    let mut parts = vec![format!("{}.", one.reason)];
    let is_over = one.state.is_over();
    let verb = match one.state {
        State::Pending => "Would cut",
        State::Active => "Cuts",
        _ => "Was about",
    };
    let more = one.cuts.len().saturating_sub(cuts.len());
    let mut lines: Vec<String> = cuts.iter().map(|cut| format!("- {verb}: {cut}")).collect();
    if more > 0 {
        lines.push(format!("- and {more} more"));
    }
    parts.push(lines.join("\n"));
    if !is_over {
        parts.push(one.rehearsal.sentence());
    }
    if let Some(line) = one.history.last().filter(|_| one.state != State::Pending) {
        parts.push(format!("{}, by {}.", line.what, line.by));
    }
    if let (State::Pending, Some(until)) = (one.state, one.until) {
        let id = one.id;
        let by_hand = format!(
            "On the machine itself: thymus approve {id} --state DIR, or thymus deny {id} --state DIR"
        );
        parts.push(format!("Unanswered it lapses at {until}."));
        parts.extend(link.map(|link| format!("Answer here, after a login, once: {link}")));
        parts.push(by_hand);
    } else if let Some(until) = one.until {
        parts.push(format!("It ends by itself at {until}."));
    }
    if !one.incident.is_empty() {
        parts.push(format!("Incident {}.", one.incident));
    }
    parts.join("\n\n")
}

/// A secret that nobody guesses.
fn token() -> Result<String> {
    let mut bytes = [0_u8; 32];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("the system gives no random bytes"),
        }
    }
    Ok(blake3::Hash::from_bytes(bytes).to_hex().to_string())
}

/// What is kept of a token.
pub(crate) fn digest(token: &str) -> String {
    blake3::hash(token.as_bytes()).to_hex().to_string()
}

fn links(dir: &Path) -> BTreeMap<String, Link> {
    let text = std::fs::read(dir.join(LINKS)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn keep_link(dir: &Path, token: &str, one: &Decision) -> Result<()> {
    let mut all = links(dir);
    let now = super::now();
    all.retain(|_, link| now.since(link.until) < REMEMBERED);
    while all.len() >= LINKS_MAX {
        let Some(oldest) = all.iter().min_by_key(|(_, link)| link.until) else {
            break;
        };
        let oldest = oldest.0.clone();
        all.remove(&oldest);
    }
    let link = Link {
        decision: one.id.to_string(),
        until: one.until.unwrap_or(now),
    };
    all.insert(digest(token), link);
    replace(&dir.join(LINKS), &all)
}

/// The link of a token, and the digest it is known by.
pub(crate) fn link(state: &Path, token: &str) -> Option<(String, Link)> {
    let digest = digest(token);
    let link = links(&super::folder(state)).remove(&digest)?;
    Some((digest, link))
}
