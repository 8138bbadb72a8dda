//! `thymus drill`: what would be found on this network, how soon, and from what size on.
//!
//! A copy of what was learned judges the last hours once more, moved on to where its knowledge ends, with
//! the events of an attack by one device mixed in. Found is what the budget shows: an incident that names
//! the device and is not there without the attack. Nothing of it is learned or acted on; what it said is kept
//! for the console ([`kept`]).

pub(crate) mod kept;
mod report;
mod traces;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use thymus_analyst::{Analyst, AnalystConfig, IncidentBudget, Report};
use thymus_detect::{AlertBudget, DeviceCard, Engine, EngineConfig};
use thymus_ingest::{Replay, ReplayOptions};
use thymus_schema::{
    Alert, EntityId, Event, EventBody, EventId, Incident, LocalNetworks, Service, Timestamp,
};
use thymus_store::journal::{FrameBody, FrameKind, JournalReader};

use crate::Found;
use crate::cli::DrillArgs;
use crate::console::Progress;
use crate::pipeline;
use crate::replay::{Memory, declared};
use crate::run::kept_local;
use traces::{Part, SCENARIOS, Scenario, trace};

/// Real events that an attack is mixed into: of the last hours, and at most so many.
const BACKGROUND_HOURS: u64 = 6;
const BACKGROUND_MAX: usize = 200_000;
/// Event time after the last event, so that every window closes.
const AFTERWARDS: Duration = Duration::from_hours(2);

/// Runs the command.
///
/// # Errors
/// When there is no state to copy, or no device or scenario of that name.
pub(crate) fn run(args: &DrillArgs) -> Result<Found> {
    let scenarios = chosen(&args.scenario)?;
    if args.list {
        report::list(&scenarios, args.json)?;
        return Ok(Found::Nothing);
    }
    let drill = Drill::open(args)?;
    let devices = drill.devices(args)?;
    let mut results = Vec::new();
    let tries = devices.len() * scenarios.len();
    let progress = Progress::count(tries as u64, args.quiet);
    let usual: BTreeSet<String> = drill.incidents(&[])?.into_keys().collect();
    for device in &devices {
        for scenario in &scenarios {
            results.push(drill.try_sizes(device, scenario, &usual)?);
            progress.to(results.len() as u64);
        }
    }
    progress.done();
    let summary = drill.summary(&devices, &scenarios, results);
    if !args.no_keep
        && let Err(error) = kept::keep(&args.state, &summary, args.budget)
    {
        eprintln!("thymus: {error:#}; the console goes on showing the drill before");
    }
    report::print(&summary, args.json)?;
    Ok(Found::Nothing)
}

fn chosen(ids: &[String]) -> Result<Vec<&'static Scenario>> {
    if ids.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |id: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.id == id);
        let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.id).collect();
        found.with_context(|| format!("there is no scenario {id}; there is: {}", known.join(", ")))
    };
    ids.iter().map(find).collect()
}

/// Where an attack stands among all.
fn place_of(id: &str) -> usize {
    let place = SCENARIOS.iter().position(|scenario| scenario.id == id);
    place.unwrap_or(SCENARIOS.len())
}

/// One attack on one device in all sizes up to the first that is found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Tried {
    pub(super) device: EntityId,
    pub(super) name: Box<str>,
    pub(super) scenario: &'static str,
    pub(super) unit: &'static str,
    /// The smallest size that was found; sizes above it are taken to be found too.
    pub(super) smallest: Option<u64>,
    /// From the first event of the attack to the alert, at that size, in seconds of event time.
    pub(super) delay_secs: Option<f64>,
    /// What the incident is called.
    pub(super) title: Option<String>,
    /// The detector whose evidence about the device was rarest.
    pub(super) detector: Option<String>,
}

/// What a drill says of the network.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) devices_tried: usize,
    pub(super) devices_known: usize,
    pub(super) background_events: usize,
    pub(super) learned_until: Timestamp,
    pub(super) scenarios: Vec<ScenarioResult>,
    pub(super) tried: Vec<Tried>,
}

#[derive(Debug, Serialize)]
pub(super) struct ScenarioResult {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) sizes: Vec<SizeResult>,
    /// Over the devices on which it was found, in seconds.
    pub(super) median_delay_secs: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct SizeResult {
    pub(super) size: u64,
    pub(super) found: u64,
    pub(super) of: u64,
    /// The exact 95 % interval of the share.
    pub(super) interval: (f64, f64),
}

struct Drill {
    memory: Memory,
    local: LocalNetworks,
    budget: f64,
    cards: Vec<DeviceCard>,
    /// Where what was learned ends.
    now: Timestamp,
    background: Vec<Event>,
}

impl Drill {
    fn open(args: &DrillArgs) -> Result<Self> {
        let memory = Memory::peek(&args.state)?;
        let local = declared(&args.local).or_else(|| kept_local(&memory));
        let local = local.unwrap_or_else(|| LocalNetworks::found(Vec::new()));
        let mut drill = Self {
            memory,
            local,
            budget: args.budget,
            cards: Vec::new(),
            now: Timestamp::MIN,
            background: Vec::new(),
        };
        let (engine, _) = drill.copy();
        let entities = engine.entities();
        let cards = entities.indices().filter_map(|index| entities.card(index));
        drill.cards = cards.collect();
        drill.now = engine.now();
        if drill.cards.is_empty() {
            bail!(
                "{} knows no device yet; let `thymus run --state` or `thymus replay --state` learn first",
                args.state.display()
            );
        }
        drill.background = drill.background(args)?;
        Ok(drill)
    }

    /// A copy of what was learned.
    fn copy(&self) -> (Engine, Analyst) {
        let mut engine = Engine::new(&EngineConfig {
            local: self.local.clone(),
            budget: AlertBudget::new(self.budget),
            ..EngineConfig::default()
        });
        let mut analyst = Analyst::new(AnalystConfig {
            titles: pipeline::titles(),
            ..AnalystConfig::default()
        });
        self.memory.remind(&mut engine, &mut analyst);
        (engine, analyst)
    }

    /// The last hours, moved on to where knowledge ends.
    fn background(&self, args: &DrillArgs) -> Result<Vec<Event>> {
        let mut events = if args.background.is_empty() {
            journal(&args.state.join("journal"))?
        } else {
            self.replayed(args)?
        };
        let Some(last) = events.last().map(|event| event.ts) else {
            return Ok(events);
        };
        let first = last.minus(Duration::from_hours(BACKGROUND_HOURS));
        events.retain(|event| event.ts >= first);
        events.drain(..events.len().saturating_sub(BACKGROUND_MAX));
        let begin = events.first().map_or(last, |event| event.ts);
        let step = self.start().as_nanos().saturating_sub(begin.as_nanos());
        for event in &mut events {
            event.ts = Timestamp::from_nanos(event.ts.as_nanos().saturating_add(step));
        }
        Ok(events)
    }

    fn replayed(&self, args: &DrillArgs) -> Result<Vec<Event>> {
        let options = ReplayOptions {
            local: Some(self.local.clone()),
            ..ReplayOptions::default()
        };
        let mut replay = Replay::open(&args.background, options)?;
        let mut events = Vec::new();
        while replay.next_batch(&mut events)? {
            let more = events.len().saturating_sub(4 * BACKGROUND_MAX);
            events.drain(..more);
        }
        Ok(events)
    }

    /// When the hours of the drill begin.
    fn start(&self) -> Timestamp {
        self.now.plus(Duration::from_mins(1))
    }

    fn devices(&self, args: &DrillArgs) -> Result<Vec<DeviceCard>> {
        let has_address = |card: &&DeviceCard| address_of(card).is_some();
        if args.device.is_empty() {
            let mut cards: Vec<&DeviceCard> = self.cards.iter().filter(has_address).collect();
            cards.sort_by_key(|card| card.first_seen);
            cards.truncate(args.devices as usize);
            return Ok(cards.into_iter().cloned().collect());
        }
        let is = |card: &DeviceCard, name: &str| {
            let words = card.addresses.iter().chain(&card.names);
            *card.entity.key == *name
                || card.entity.to_string() == name
                || words.chain([&card.name]).any(|word| **word == *name)
        };
        let find = |name: &String| {
            let card = self
                .cards
                .iter()
                .filter(has_address)
                .find(|card| is(card, name));
            card.cloned()
                .with_context(|| format!("no device of the name or address {name} is known"))
        };
        args.device.iter().map(find).collect()
    }

    /// Who takes part when `device` attacks.
    fn part(&self, device: &DeviceCard) -> Result<Part> {
        let own = address_of(device).context("a device without an address")?;
        let others = || {
            self.cards
                .iter()
                .filter(|card| card.entity != device.entity)
        };
        let alike = |card: &&DeviceCard| {
            address_of(card).is_some_and(|other| other.is_ipv4() == own.is_ipv4())
        };
        let server = others().filter(alike).find(|card| !card.roles.is_empty());
        let neighbour = server.or_else(|| others().find(alike)).and_then(address_of);
        let resolves = |card: &&DeviceCard| card.roles.contains(&Service::Dns);
        let resolver = others().filter(alike).find(resolves).and_then(address_of);
        let neighbour = neighbour.context("there is no other device to attack")?;
        Ok(Part {
            device: own,
            neighbour,
            resolver: resolver.unwrap_or(neighbour),
        })
    }

    /// The incidents that are shown when `attack` is mixed into the background, with who is in them, what
    /// they are called, and when each device was first alerted.
    fn incidents(&self, attack: &[Event]) -> Result<BTreeMap<String, Shown>> {
        let (mut engine, mut analyst) = self.copy();
        let mut alerted = BTreeMap::new();
        let last = self.background.last().into_iter().chain(attack.last());
        let end = last.map(|event| event.ts).max().unwrap_or(self.start());
        let mut events: Vec<&Event> = self.background.iter().chain(attack).collect();
        // Each minute passes, also where nothing happens.
        let words = words(self.start(), end.plus(AFTERWARDS));
        events.extend(&words);
        events.sort_by_key(|event| event.ts);
        for event in events {
            engine.observe(event);
            note(&mut engine, &mut analyst, &mut alerted)?;
        }
        engine.finish();
        note(&mut engine, &mut analyst, &mut alerted)?;
        let summary = engine.summary();
        let report = analyst.finish(&pipeline::site(&engine, &summary));
        let shown = report.at_budget(IncidentBudget::PerHundredDevices(self.budget));
        let shown = shown.into_iter().filter(|incident| incident.shown);
        Ok(shown
            .map(|incident| {
                let parts = incident.affected.iter();
                let devices = parts.filter(|part| part.suspected);
                let value = Shown {
                    devices: devices.map(|part| part.entity.clone()).collect(),
                    title: incident.title.clone(),
                    alerted: alerted.clone(),
                    found_by: found_by(&incident, &report),
                };
                (incident.id.to_string(), value)
            })
            .collect())
    }

    /// Tries the sizes from small to large until one is found.
    fn try_sizes(
        &self,
        device: &DeviceCard,
        scenario: &Scenario,
        usual: &BTreeSet<String>,
    ) -> Result<Tried> {
        let part = self.part(device)?;
        let at = self.start().plus(Duration::from_mins(7));
        let mut tried = Tried {
            device: device.entity.clone(),
            name: device.name.clone(),
            scenario: scenario.id,
            unit: scenario.unit,
            smallest: None,
            delay_secs: None,
            title: None,
            detector: None,
        };
        for size in scenario.sizes {
            let shown = self.incidents(&trace(scenario, *size, part, at)?)?;
            let new = shown.iter().filter(|(id, _)| !usual.contains(*id));
            let found = new.map(|(_, shown)| shown);
            let found = found.filter(|shown| shown.devices.contains(&device.entity));
            if let Some(shown) = found.into_iter().next() {
                let when = shown.alerted.get(&device.entity);
                tried.smallest = Some(*size);
                tried.delay_secs = when.map(|when| when.secs_since(at).max(0.0));
                tried.title = Some(shown.title.clone());
                tried.detector = shown.found_by.get(&device.entity).cloned();
                break;
            }
        }
        Ok(tried)
    }

    fn summary(
        &self,
        devices: &[DeviceCard],
        scenarios: &[&Scenario],
        tried: Vec<Tried>,
    ) -> Summary {
        let results = scenarios.iter().map(|scenario| {
            let mine: Vec<&Tried> = tried
                .iter()
                .filter(|one| one.scenario == scenario.id)
                .collect();
            let of = mine.len() as u64;
            let sizes = scenario.sizes.iter().map(|size| {
                let is_found = |one: &&&Tried| one.smallest.is_some_and(|least| least <= *size);
                let found = mine.iter().filter(is_found).count() as u64;
                SizeResult {
                    size: *size,
                    found,
                    of,
                    interval: thymus_nets::interval::share_95(found, of),
                }
            });
            let mut delays: Vec<f64> = mine.iter().filter_map(|one| one.delay_secs).collect();
            delays.sort_by(f64::total_cmp);
            ScenarioResult {
                id: scenario.id,
                title: scenario.title,
                unit: scenario.unit,
                sizes: sizes.collect(),
                median_delay_secs: delays.get(delays.len() / 2).copied(),
            }
        });
        Summary {
            devices_tried: devices.len(),
            devices_known: self.cards.len(),
            background_events: self.background.len(),
            learned_until: self.now,
            scenarios: results.collect(),
            tried,
        }
    }
}

struct Shown {
    devices: Vec<EntityId>,
    title: String,
    /// When each device was first alerted.
    alerted: BTreeMap<EntityId, Timestamp>,
    /// The detector with the rarest evidence, by device.
    found_by: BTreeMap<EntityId, String>,
}

fn found_by(incident: &Incident, report: &Report) -> BTreeMap<EntityId, String> {
    let steps = incident.steps.iter();
    let mut alerts: Vec<&Alert> = steps.filter_map(|step| report.alert(step.alert)).collect();
    // The rarest comes last, and the last one stays.
    alerts.sort_by(|a, b| a.p_value.neg_log10().total_cmp(&b.p_value.neg_log10()));
    let each = alerts.into_iter();
    each.map(|alert| (alert.entity.clone(), alert.detector.to_string()))
        .collect()
}

fn note(
    engine: &mut Engine,
    analyst: &mut Analyst,
    alerted: &mut BTreeMap<EntityId, Timestamp>,
) -> Result<()> {
    let now = engine.now();
    pipeline::hand_over(engine, analyst, &mut Noting { alerted, now })
}

struct Noting<'a> {
    alerted: &'a mut BTreeMap<EntityId, Timestamp>,
    now: Timestamp,
}

impl pipeline::Onlooker for Noting<'_> {
    fn alert(&mut self, alert: &thymus_schema::Alert) -> Result<()> {
        if alert.discovered {
            self.alerted.entry(alert.entity.clone()).or_insert(self.now);
        }
        Ok(())
    }
}

/// Events that say nothing, one a minute.
fn words(from: Timestamp, until: Timestamp) -> Vec<Event> {
    let minute = Duration::from_mins(1);
    let times = std::iter::successors(Some(from), |at| Some(at.plus(minute)));
    let word = |ts| Event {
        id: EventId::default(),
        ts,
        conn: None,
        body: EventBody::Traffic(Box::default()),
    };
    times.take_while(|at| *at <= until).map(word).collect()
}

fn address_of(card: &DeviceCard) -> Option<IpAddr> {
    let addresses = || card.addresses.iter().filter_map(|one| one.parse().ok());
    addresses()
        .find(IpAddr::is_ipv4)
        .or_else(|| addresses().next())
}

/// The last events of a live run.
fn journal(dir: &std::path::Path) -> Result<Vec<Event>> {
    let mut reader = JournalReader::open(dir, 0);
    let mut events: Vec<Event> = Vec::new();
    let next = |reader: &mut JournalReader| {
        let frame = reader.next_of(|kind| kind == FrameKind::Events);
        frame.with_context(|| format!("cannot read the journal {}", dir.display()))
    };
    while let Some(frame) = next(&mut reader)? {
        if let FrameBody::Events(more) = frame.body {
            events.extend(more);
        }
        let room = events.len().saturating_sub(4 * BACKGROUND_MAX);
        events.drain(..room);
    }
    events.sort_by_key(|event| event.ts);
    Ok(events)
}
