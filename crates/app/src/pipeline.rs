//! The one run: paths to events to alerts to a report.
//!
//! Reading and parsing happen in one thread, detection in another, joined by a bounded channel of
//! event batches. The order of events does not depend on the threads, so neither does the result.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result, anyhow};
use thymus_analyst::{Analyst, AnalystConfig, Report, Site};
use thymus_detect::{
    AlertBudget, DETECTORS, Engine, EngineConfig, EngineSummary, HourlyMaximum, Party, Prepared,
    Preparer,
};
use thymus_ingest::{Indicators, Ledger, Replay, ReplayOptions};
use thymus_schema::{Alert, Coverage, EntityId, Event, EventBody, InputId, LocalNetworks, Scope};

use crate::carved;

/// Batches that may wait between the threads: enough to bridge stretches in which one is the slower.
const BATCHES_MAX: usize = 32;
/// A device with at least this many clients, and clients among this share of all devices, is a
/// service of the whole site: resolver, proxy, file server.
const CROWD_MIN: f64 = 10.0;
const CROWD_SHARE: f64 = 0.3;

/// What to run over what.
#[derive(Clone, Debug, Default)]
pub struct RunPlan {
    /// Captures, logs, folders.
    pub paths: Vec<PathBuf>,
    /// A normal period, learned first and not judged.
    pub learn: Vec<PathBuf>,
    /// The local networks, when declared.
    pub local: Option<LocalNetworks>,
    /// Inputs imported before.
    pub known: BTreeSet<InputId>,
    /// Incidents a day per hundred devices.
    pub budget: f64,
    /// The user's own indicator lists.
    pub indicators: Vec<PathBuf>,
    /// Whether to keep the hourly maxima of all detectors.
    pub keep_maxima: bool,
}

/// Somebody who looks on while a run goes.
pub trait Onlooker {
    /// Called for every event of the normal period, in order.
    fn learned(&mut self, _event: &Event, _local: &LocalNetworks) -> Result<()> {
        Ok(())
    }

    /// Called for every judged event, in order.
    fn event(&mut self, _event: &Event, _local: &LocalNetworks) -> Result<()> {
        Ok(())
    }

    /// Called for every alert that appears or grows.
    fn alert(&mut self, _alert: &Alert) -> Result<()> {
        Ok(())
    }

    /// Called now and then with the bytes read so far and in all.
    fn progress(&mut self, _done: u64, _total: u64) {}
}

/// Nobody.
impl Onlooker for () {}

/// What a run amounted to.
#[derive(Debug)]
pub struct Outcome {
    /// The stories.
    pub report: Report,
    /// What was looked at.
    pub coverage: Coverage,
    /// What became of the inputs.
    pub ledger: Ledger,
    /// Which addresses count as ours.
    pub local: LocalNetworks,
    /// What the engine says about itself.
    pub summary: EngineSummary,
    /// The hourly maxima, when kept.
    pub maxima: Vec<HourlyMaximum>,
}

/// Opens what `plan` names, runs it through a new engine and makes the report. `prepare` may give
/// the engine and the analyst memory before the first event, and `keep` may take it after the last.
///
/// # Errors
/// When no input can be read, or when an onlooker fails.
pub fn run(
    plan: &RunPlan,
    onlooker: &mut dyn Onlooker,
    prepare: impl FnOnce(&mut Engine, &mut Analyst),
    keep: impl FnOnce(&Engine, &Ledger, &Report),
) -> Result<Outcome> {
    let judge = carved::judge();
    let options = ReplayOptions {
        local: plan.local.clone(),
        known: plan.known.clone(),
        judge: Some(judge.clone()),
        ..ReplayOptions::default()
    };
    let indicators = Indicators::load(&plan.indicators)?;
    let replay = Replay::open(&plan.paths, options)?;
    let local = replay.local().clone();
    let mut engine = Engine::new(&EngineConfig {
        local: local.clone(),
        budget: AlertBudget::new(plan.budget),
        keep_maxima: plan.keep_maxima,
        ..EngineConfig::default()
    });
    let mut analyst = Analyst::new(AnalystConfig {
        titles: titles(),
        ..AnalystConfig::default()
    });
    prepare(&mut engine, &mut analyst);
    learn(plan, &indicators, &local, &mut engine, onlooker)?;
    let replay = feed(
        replay,
        &indicators,
        &mut engine,
        |engine, batch, progress| {
            for event in batch {
                onlooker.event(event, &local)?;
            }
            hand_over(engine, &mut analyst, onlooker)?;
            onlooker.progress(progress.0, progress.1);
            Ok(())
        },
    )?;
    let (ledger, mut coverage) = (replay.ledger().clone(), replay.coverage());
    judge.tell(&mut coverage);
    engine.finish();
    hand_over(&mut engine, &mut analyst, onlooker)?;
    let summary = engine.summary();
    let report = analyst.finish(&site(&engine, &summary));
    keep(&engine, &ledger, &report);
    complete(&mut coverage, &summary, &report);
    Ok(Outcome {
        report,
        coverage,
        ledger,
        local,
        summary,
        maxima: engine.take_maxima(),
    })
}

/// Feeds inputs into one engine, one after another, each an import of its own; `each` is called with
/// what was read of one. For measuring: what the engine keeps outlives every input.
pub(crate) fn series(
    inputs: impl Iterator<Item = Result<PathBuf>>,
    mut each: impl FnMut(&Coverage, &Engine) -> Result<()>,
) -> Result<()> {
    let indicators = Indicators::load(&[])?;
    let mut engine: Option<(Engine, Analyst, LocalNetworks)> = None;
    for path in inputs {
        let options = ReplayOptions {
            local: engine.as_ref().map(|(_, _, local)| local.clone()),
            ..ReplayOptions::default()
        };
        let replay = Replay::open(&[path?], options)?;
        let (engine, analyst, _) = engine.get_or_insert_with(|| {
            let local = replay.local().clone();
            let config = EngineConfig {
                local: local.clone(),
                ..EngineConfig::default()
            };
            let analyst = Analyst::new(AnalystConfig::default());
            (Engine::new(&config), analyst, local)
        });
        let replay = feed(replay, &indicators, engine, |engine, _, _| {
            hand_over(engine, analyst, &mut ())
        })?;
        each(&replay.coverage(), engine)?;
    }
    Ok(())
}

/// Feeds the normal period, if there is one: it teaches and alerts nobody.
fn learn(
    plan: &RunPlan,
    indicators: &Indicators,
    local: &LocalNetworks,
    engine: &mut Engine,
    onlooker: &mut dyn Onlooker,
) -> Result<()> {
    if plan.learn.is_empty() {
        return Ok(());
    }
    let options = ReplayOptions {
        local: Some(local.clone()),
        judge: Some(carved::judge()),
        ..ReplayOptions::default()
    };
    let past = Replay::open(&plan.learn, options).context("in the normal period to learn")?;
    engine.set_learning(true);
    feed(past, indicators, engine, |_, batch, _| {
        batch
            .iter()
            .try_for_each(|event| onlooker.learned(event, local))
    })?;
    engine.set_learning(false);
    Ok(())
}

/// What the analyst is told about the site.
pub(crate) fn site(engine: &Engine, summary: &EngineSummary) -> Site {
    Site {
        devices: summary.devices as u64,
        popular: popular(engine),
    }
}

/// Gives new alerts to the analyst.
pub(crate) fn hand_over(
    engine: &mut Engine,
    analyst: &mut Analyst,
    onlooker: &mut dyn Onlooker,
) -> Result<()> {
    for alert in engine.take_alerts() {
        onlooker.alert(&alert)?;
        analyst.observe(alert);
    }
    Ok(())
}

/// Where events come from.
pub(crate) trait Stream: Send {
    /// How far it is.
    type Progress: Default + Send;
    /// Whether the judging thread is to hear of it also when there is no event.
    const IS_LIVE: bool = false;

    /// Appends the next events, in order of time; `false` when there are no more.
    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool>;

    /// How far it is after that.
    fn progress(&self) -> Self::Progress;
}

impl Stream for Replay {
    /// Bytes read so far and in all.
    type Progress = (u64, u64);

    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool> {
        Ok(Self::next_batch(self, out)?)
    }

    fn progress(&self) -> (u64, u64) {
        Self::progress(self)
    }
}

/// Events on their way from the reading thread.
#[derive(Default)]
struct Batch<P> {
    events: Vec<Event>,
    /// One for each event, or none when this was left to the judging thread.
    prepared: Vec<Prepared>,
    progress: P,
}

/// Reads `stream` in a thread of its own and observes every event here; `after` is called with each
/// batch once it is observed. Gives the stream back at its end.
pub(crate) fn feed<S: Stream>(
    stream: S,
    indicators: &Indicators,
    engine: &mut Engine,
    mut after: impl FnMut(&mut Engine, &[Event], S::Progress) -> Result<()>,
) -> Result<S> {
    let (sender, receiver): (SyncSender<Batch<_>>, Receiver<Batch<_>>) = sync_channel(BATCHES_MAX);
    let empty: Mutex<Vec<Batch<S::Progress>>> = Mutex::new(Vec::new());
    let waiting = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (pool, waiting) = (&empty, &waiting);
        // The sender goes with the reader: its end is the end of the batches.
        let reader = scope.spawn(move || read(stream, indicators, &sender, pool, waiting));
        let mut result = Ok(());
        for mut batch in &receiver {
            waiting.fetch_sub(1, Ordering::Relaxed);
            if batch.prepared.is_empty() {
                batch.events.iter().for_each(|event| engine.observe(event));
            }
            for (event, prepared) in batch.events.iter().zip(&batch.prepared) {
                engine.observe_prepared(event, prepared);
            }
            let progress = std::mem::take(&mut batch.progress);
            result = after(engine, &batch.events, progress);
            // Events are freed by the thread that has the time.
            if waiting.load(Ordering::Relaxed) == 0 {
                batch.events.clear();
            }
            if let Ok(mut pool) = empty.lock() {
                pool.push(batch);
            }
            if result.is_err() {
                break;
            }
        }
        // The reader stops when nobody listens any more.
        drop(receiver);
        let read = reader
            .join()
            .map_err(|_| anyhow!("the reading thread stopped unexpectedly"))?;
        result.and(read)
    })
}

/// The reading thread: batches into the channel until there are no more or nobody listens.
fn read<S: Stream>(
    mut stream: S,
    indicators: &Indicators,
    sender: &SyncSender<Batch<S::Progress>>,
    empty: &Mutex<Vec<Batch<S::Progress>>>,
    waiting: &AtomicUsize,
) -> Result<S> {
    let mut preparer = Preparer::default();
    loop {
        let mut batch = empty
            .lock()
            .ok()
            .and_then(|mut pool| pool.pop())
            .unwrap_or_default();
        batch.events.clear();
        batch.prepared.clear();
        let more = stream.next_batch(&mut batch.events)?;
        if !indicators.is_empty() {
            batch.events = with_hits(batch.events, indicators);
        }
        // With nothing waiting the judging thread has the time to do it.
        if waiting.load(Ordering::Relaxed) > 1 {
            let prepared = batch.events.iter().map(|event| preparer.prepare(event));
            batch.prepared.extend(prepared);
        }
        batch.progress = stream.progress();
        if S::IS_LIVE || !batch.events.is_empty() {
            waiting.fetch_add(1, Ordering::Relaxed);
            if sender.send(batch).is_err() {
                break;
            }
        }
        if !more {
            break;
        }
    }
    Ok(stream)
}

/// The events with a hit on an indicator list after each event that has one.
fn with_hits(events: Vec<Event>, indicators: &Indicators) -> Vec<Event> {
    let mut out = Vec::with_capacity(events.len());
    for event in events {
        let hit = indicators.observe(&event).map(|observation| Event {
            id: event.id,
            ts: event.ts,
            conn: event.conn,
            body: EventBody::Observation(Box::new(observation)),
        });
        out.push(event);
        out.extend(hit);
    }
    out
}

/// What detectors flag, by id.
pub(crate) fn titles() -> BTreeMap<String, String> {
    DETECTORS
        .iter()
        .map(|spec| (spec.id.to_owned(), spec.title.to_owned()))
        .collect()
}

/// Devices that a large part of the site uses: they tie no stories together.
fn popular(engine: &Engine) -> BTreeSet<EntityId> {
    let entities = engine.entities();
    let crowd = (entities.devices() as f64 * CROWD_SHARE).max(CROWD_MIN);
    entities
        .indices()
        .filter(|idx| {
            entities
                .roles(*idx)
                .is_some_and(|roles| roles.clients() >= crowd)
        })
        .map(|idx| {
            let addr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            entities.id(Party {
                addr,
                scope: Scope::NONE,
                device: Some(idx),
            })
        })
        .collect()
}

/// What the engine and the analyst dropped belongs beside the result too.
pub(crate) fn complete(coverage: &mut Coverage, summary: &EngineSummary, report: &Report) {
    coverage.entities = summary.devices as u64;
    coverage.cold_entities = summary.cold_devices as u64;
    for (reason, n) in &summary.dropped {
        coverage.drop_for(reason, *n);
    }
    coverage.drop_for("analyst_alerts_full", report.alerts_dropped());
    coverage.drop_for("analyst_ties_refused", report.ties_refused());
}
