//! # Machine-made names
//!
//! ## What it flags
//! A device that asks DNS for many different registered domains that do not exist and whose names
//! look made by a machine.
//!
//! ## Why it matters
//! Malware that draws its meeting points from a formula has to try many names until one exists. The
//! failures come in a burst and look like nothing a person types.
//!
//! ## How it scores
//! Each different registered domain that does not exist is judged by a small network over the
//! letters of its label. The expected number of machine-made ones among them, with a low prior,
//! grows into the score, each further one counting a little less, and less where they are few among
//! many failures. A burst of non-existing domains
//! as such counts by its size under a power law, so that formulas which put words together are not
//! missed altogether. What the device did in earlier hours is taken off; resolvers that ask for
//! others and mail servers, which look up whatever senders write, count for less.
//!
//! ## Evidence
//! How many domains did not exist, how many of them look machine-made, examples, the first queries.
//!
//! ## What would have been normal
//! A few mistyped or expired names in an hour, made of words.
//!
//! ## Known false alarms
//! Programs that probe for interception with random names, blocked advertising domains answered as
//! non-existing, mail filters. Names below one domain are the DNS tunnel detector's business.
//!
//! ## ATT&CK
//! T1568.002 (domain generation algorithms).
//!
//! ## Sources
//! Antonakakis et al., *From Throw-Away Traffic to Bots: Detecting the Rise of DGA-Based Malware*,
//! USENIX Security 2012 (count the failures per device); Drichel et al., *Analyzing the Real-World
//! Applicability of DGA Classifiers*, ARES 2020.

use thymus_nets::RandomName;
use thymus_schema::{
    DnsFlavor, Event, EventBody, PeerRole, Phase, Service, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Technique, Timestamp, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::sweep::{Distinct, failures_score};
use crate::table::Table;
use crate::tails;
use crate::trail::{Trail, key_of, read_party, write_party};

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "dga",
    title: "Machine-made names",
    phase: Phase::Control,
    techniques: &[Technique::new("T1568.002")],
    source: include_str!("dga.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(Dga::default()),
};

const DEVICES_MAX: usize = 16_384;
const HOUR_SECS: f64 = 3600.0;
/// Natural log of the prior odds that a name which does not exist was made by a machine.
const PRIOR: f64 = -3.0;
/// Different domains that do not exist in an ordinary busy hour.
const MISSES_USUAL: f64 = 12.0;
/// The share of machine-made names among the failures from which on they count full.
const MADE_SHARE: f64 = 0.25;
const NAME_ERROR: u8 = 3;

struct Misses {
    client: Party,
    server: Party,
    since: Timestamp,
    domains: Distinct,
    count: f64,
    made: f64,
    samples: Vec<(f64, Box<str>)>,
    usual_count: f64,
    usual_made: f64,
    trail: Trail,
    waiting: bool,
}

impl Misses {
    fn new(client: Party, server: Party, since: Timestamp) -> Self {
        Self {
            client,
            server,
            since,
            domains: Distinct::default(),
            count: 0.0,
            made: 0.0,
            samples: Vec::new(),
            usual_count: 0.0,
            usual_made: 0.0,
            trail: Trail::default(),
            waiting: false,
        }
    }

    fn turn(&mut self, now: Timestamp) {
        if now.secs_since(self.since) <= HOUR_SECS {
            return;
        }
        *self = Self {
            usual_count: self.count.max(0.95 * self.usual_count),
            usual_made: self.made.max(0.95 * self.usual_made),
            waiting: self.waiting,
            ..Self::new(self.client, self.server, now)
        };
    }

    /// Keeps the names that look most machine-made, for people to see.
    fn sample(&mut self, made: f64, domain: &str) {
        self.samples.push((made, domain.into()));
        self.samples.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.samples.truncate(6);
    }
}

/// The detector's state.
#[derive(Default)]
pub(crate) struct Dga {
    state: Option<State>,
}

/// Made with the first event that matters, so that building a detector loads no weights.
struct State {
    /// Absent only if the shipped weights were damaged; names are then only counted.
    net: Option<RandomName>,
    devices: Table<u64, Misses>,
    waiting: Vec<u64>,
}

impl State {
    fn fresh() -> Self {
        Self {
            net: RandomName::shipped().ok(),
            devices: Table::new(DEVICES_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for Dga {
    fn interest(&self) -> Interest {
        Interest::DNS
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Dns(dns) = &event.body else {
            return;
        };
        if dns.flavor != DnsFlavor::Dns || dns.rcode != Some(NAME_ERROR) || dns.qtype == 12 {
            return;
        }
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        let Some(asked) = cx.asked_domain(dns) else {
            return;
        };
        let domain = asked.domain;
        if !client.is_local() {
            return;
        }
        let label = domain.split('.').next().unwrap_or(domain);
        let state = self.state.get_or_insert_with(State::fresh);
        let key = client.key();
        let misses = state
            .devices
            .entry(key, || Misses::new(client, server, event.ts));
        misses.turn(event.ts);
        let Some(new) = misses.domains.add(key_of(label)) else {
            return;
        };
        // Short labels say too little to tell.
        let odds = state
            .net
            .as_ref()
            .filter(|_| label.len() >= 6)
            .map_or(f64::NEG_INFINITY, |net| net.log_odds(label) + PRIOR);
        let made = 1.0 / (1.0 + (-odds).exp());
        misses.count += new;
        misses.made += new * made;
        misses.sample(made, domain);
        misses.trail.push(event);
        if !misses.waiting && misses.count >= 2.0 {
            misses.waiting = true;
            state.waiting.push(key);
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        let state = self.state.iter_mut();
        state.map(|state| &mut state.devices as _).collect()
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        let Some(state) = &mut self.state else { return };
        for key in std::mem::take(&mut state.waiting) {
            if let Some(misses) = state.devices.get_mut(&key) {
                misses.waiting = false;
                judge(misses, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        let none = Table::new(0);
        let devices = self.state.as_ref().map_or(&none, |state| &state.devices);
        devices.write(
            out,
            |_, _| true,
            |out, device, misses| {
                out.u64(device);
                write_party(out, misses.client);
                write_party(out, misses.server);
                out.i64(misses.since.as_nanos());
                out.f64(misses.usual_count.max(misses.count))
                    .f64(misses.usual_made.max(misses.made));
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let devices = Table::read(DEVICES_MAX, from, 88, |from| {
            let device = from.u64()?;
            let (client, server) = (read_party(from)?, read_party(from)?);
            let mut misses = Misses::new(client, server, Timestamp::from_nanos(from.i64()?));
            misses.usual_count = from.f64()?;
            misses.usual_made = from.f64()?;
            Ok((device, misses))
        })?;
        self.state = Some(State {
            devices,
            ..State::fresh()
        });
        Ok(())
    }
}

fn score(misses: &Misses, cx: &DetectCx<'_>) -> f64 {
    // A formula's names are all made; a few among many failures are what lists of dead names hold,
    // as crawlers, filters and reputation checks ask for them.
    let share = (misses.made / misses.count.max(1.0) / MADE_SHARE).min(1.0);
    let made = share * share * failures_score(misses.made / (1.0 + misses.usual_made / 3.0) - 0.5);
    let usual = (1.5 * misses.usual_count).max(MISSES_USUAL);
    let burst = tails::pareto(misses.count, usual, 1.6);
    let mut score = made.max(burst) + 0.3 * made.min(burst);
    let roles = misses
        .client
        .device
        .and_then(|idx| cx.entities().roles(idx));
    let asks_for_others = roles
        .is_some_and(|roles| roles.is_server_of(Service::Dns) || roles.is_server_of(Service::Smtp));
    if asks_for_others {
        score *= 0.4;
    }
    score
}

fn judge(misses: &Misses, cx: &mut DetectCx<'_>) {
    let score = score(misses, cx);
    if score < 0.3 || !cx.matters(score) {
        return;
    }
    let trail = &misses.trail;
    let examples = misses
        .samples
        .iter()
        .map(|(_, domain)| domain.clone())
        .collect();
    let statement = Statement::new(
        "asked for {count} domains that do not exist in {span}, about {made} of them made by a \
         machine, such as {examples}",
        vec![
            trail.fact("count", Value::Count(misses.count as u64)),
            trail.fact(
                "span",
                Value::Seconds(trail.last().secs_since(trail.first())),
            ),
            trail.fact("made", Value::Count(misses.made.round() as u64)),
            trail.fact("examples", Value::Names(examples)),
        ],
    );
    let counterfactual = trail.normal(
        misses.usual_count,
        "A device asks for a few mistyped or expired names an hour; the most this one had before is \
         {usual}.",
        "A device asks for a few mistyped or expired names an hour; there is no earlier hour of \
         this one to compare with.",
    );
    let mut finding = trail.finding(misses.client, 0, score, statement, counterfactual);
    finding.peers = vec![cx.entities().peer(PeerRole::Relay, misses.server)];
    cx.raise(finding);
}
