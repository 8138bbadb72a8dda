//! What a live run does beside judging: tells incidents as they appear, saves what was learned, keeps the
//! status line. None of it changes what is found.

use std::collections::BTreeMap;
use std::io::{BufWriter, IsTerminal, Write, stderr, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use thymus_analyst::{Analyst, IncidentBudget, Report};
use thymus_detect::{AlertBudget, Engine};
use thymus_schema::{
    Confidence, Coverage, Event, Incident, IncidentId, LocalNetworks, Timestamp, Value,
};

use super::chronicle::Chronicle;
use super::live::Standing;
use super::orders::Orders;
use super::printer::Printer;
use super::resume::{Kept, POSITION, SECTION};
use super::vitals::{self, Vitals};
use super::{no_files, now_nanos, out_of_the_way};
use crate::cli::{LiveArgs, OutputArgs};
use crate::console::Paper;
use crate::output::{self, Findings};
use crate::pipeline::{self, Outcome};
use crate::replay::{Memory, Watcher, declared, detail_of, now};
use crate::respond::Planner;

/// Incidents are looked for no more often than this, and take no more than a tenth of the time.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const LOOK_SHARE: u32 = 10;
/// What is to be answered may take a third of it.
const LOOK_SHARE_URGENT: u32 = 2;
/// A new incident is saved at once, but no more often than this.
const SAVE_EVERY_MIN: Duration = Duration::from_secs(10);
/// The status line is drawn again this often.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Incidents remembered as told.
const TOLD_MAX: usize = 10_000;

/// The part of a live run that people see.
pub(super) struct Desk<'a> {
    args: &'a LiveArgs,
    budget: f64,
    save_every: u32,
    /// What the supervisor said last and was taken over.
    heeded: Option<Arc<Orders>>,
    analyst: Analyst,
    memory: Option<Memory>,
    chronicle: Option<Chronicle>,
    planner: Option<Planner>,
    vitals: Vitals,
    local: LocalNetworks,
    /// What is watched, for people.
    source: String,
    /// Set to learn where reading stands, which is saved with what was learned from it.
    wants_position: Option<Arc<AtomicBool>>,
    position: Option<Vec<u8>>,
    watcher: Watcher,
    printer: Printer,
    standing: Standing,
    lag_ms_max: u64,
    /// What was told of each incident.
    told: BTreeMap<IncidentId, Told>,
    is_changed: bool,
    /// An alert came that may make or change an incident.
    is_urgent: bool,
    /// The newest packet when the first such alert came.
    tipped: Option<i64>,
    is_told_unsaved: bool,
    looked: Instant,
    look_cost: Duration,
    saved: Instant,
    status: Option<Status>,
}

/// What a run begins with.
pub(super) struct Start {
    pub(super) analyst: Analyst,
    pub(super) memory: Option<Memory>,
    pub(super) chronicle: Option<Chronicle>,
    pub(super) planner: Option<Planner>,
    pub(super) local: LocalNetworks,
    pub(super) source: String,
    pub(super) is_down: bool,
    /// How often the analysis was started again.
    pub(super) restarts: u64,
    pub(super) wants_position: Option<Arc<AtomicBool>>,
    pub(super) position: Option<Vec<u8>>,
}

/// As much of an incident as makes it worth telling again when it changes.
#[derive(Clone, PartialEq, Eq)]
struct Told {
    title: String,
    confidence: Confidence,
    affected: usize,
}

struct Status {
    at: Instant,
    packets: u64,
}

impl<'a> Desk<'a> {
    pub(super) fn new(args: &'a LiveArgs, start: Start) -> Result<Self> {
        let at = now();
        Ok(Self {
            args,
            budget: args.run.budget,
            save_every: args.save_every,
            heeded: None,
            analyst: start.analyst,
            memory: start.memory,
            chronicle: start.chronicle,
            planner: start.planner,
            vitals: Vitals::new(start.source.clone(), start.restarts),
            local: start.local,
            source: start.source,
            wants_position: start.wants_position,
            position: start.position,
            watcher: Watcher::new(&args.output, args.goes_on)?,
            printer: Printer::start(stdout()),
            standing: Standing {
                is_down: start.is_down,
                ..Standing::default()
            },
            lag_ms_max: 0,
            told: BTreeMap::new(),
            is_changed: true,
            is_urgent: false,
            tipped: None,
            is_told_unsaved: false,
            looked: at,
            look_cost: Duration::ZERO,
            saved: at,
            status: (stderr().is_terminal() && !args.output.quiet)
                .then_some(Status { at, packets: 0 }),
        })
    }

    /// After each batch of events.
    pub(super) fn batch(
        &mut self,
        engine: &mut Engine,
        events: &[Event],
        standing: Standing,
    ) -> Result<()> {
        for event in events {
            pipeline::Onlooker::event(&mut self.watcher, event, &self.local)?;
        }
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.events(events);
            if let Some(verdicts) = &standing.verdicts {
                chronicle.files(&verdicts.told(events, engine));
            }
        }
        if let Some(planner) = &mut self.planner {
            planner.events(events);
        }
        self.take_alerts(engine)?;
        if self.is_urgent {
            self.tipped = self.tipped.or(standing.newest);
        }
        let lag_ms = standing.newest.map_or(0, lag_ms);
        self.lag_ms_max = self.lag_ms_max.max(lag_ms);
        self.switched(standing.is_down);
        self.position = standing.position.clone().or(self.position.take());
        self.standing = standing;
        self.heed(engine);
        let at = now();
        // What is to be answered is looked at as soon as that leaves time for anything else.
        let is_urgent = self.is_urgent && self.planner.is_some();
        let pause = if is_urgent {
            self.look_cost * LOOK_SHARE_URGENT
        } else {
            LOOK_EVERY.max(self.look_cost * LOOK_SHARE)
        };
        if self.is_changed && at.duration_since(self.looked) >= pause {
            self.look(engine)?;
        }
        let every = Duration::from_secs(60 * u64::from(self.save_every));
        let since = at.duration_since(self.saved);
        if self.memory.is_some()
            && (since >= every || (self.is_told_unsaved && since >= SAVE_EVERY_MIN))
        {
            self.save_soon(engine);
        }
        self.show_status(lag_ms);
        self.tell_vitals(engine, lag_ms)
    }

    /// The end of the run: the outcome, and whether the state could be kept.
    pub(super) fn finish(mut self, engine: &mut Engine) -> Result<(Outcome, Result<()>)> {
        self.take_alerts(engine)?;
        if self.args.output.json || self.chronicle.is_some() {
            // Each incident is a line of its own, also one that came last.
            self.look(engine)?;
        }
        out_of_the_way(self.status.is_some())?;
        self.vitals.is_due = true;
        self.tell_vitals(engine, 0)?;
        let outcome = self.outcome(engine);
        let kept = self.keep(engine, &outcome.report);
        self.watcher.finish()?;
        self.printer.finish()?;
        Ok((outcome, kept))
    }

    fn take_alerts(&mut self, engine: &mut Engine) -> Result<()> {
        let before = self.analyst.alerts();
        let mut count = Counting {
            watcher: &mut self.watcher,
            chronicle: self.chronicle.as_mut(),
            alerts: 0,
            discovered: 0,
        };
        pipeline::hand_over(engine, &mut self.analyst, &mut count)?;
        self.is_urgent |= count.discovered > 0;
        self.is_changed |= count.alerts > 0 || self.analyst.alerts() != before;
        Ok(())
    }

    /// How things stand, as a replay would tell it if it ended here.
    fn outcome(&self, engine: &mut Engine) -> Outcome {
        let summary = engine.summary();
        let site = pipeline::site(engine, &summary);
        let report = self.analyst.clone().finish(&site);
        let mut coverage = Coverage {
            lag_ms_max: Some(self.lag_ms_max),
            filter: self.standing.filter.clone(),
            ..self.standing.coverage.clone()
        };
        coverage.drop_for("analysis_restarts", self.vitals.restarts);
        let unwritten = self.chronicle.as_ref().map_or(0, Chronicle::dropped);
        coverage.drop_for("journal_events_not_written", unwritten);
        pipeline::complete(&mut coverage, &summary, &report);
        Outcome {
            report,
            coverage,
            ledger: no_files(),
            local: self.local.clone(),
            summary,
            maxima: Vec::new(),
        }
    }

    /// Takes over what the supervisor said since the last batch.
    fn heed(&mut self, engine: &mut Engine) {
        let Some(orders) = &self.standing.orders else {
            return;
        };
        if self
            .heeded
            .as_ref()
            .is_some_and(|heeded| Arc::ptr_eq(heeded, orders))
        {
            return;
        }
        self.save_every = orders.save_every;
        if let Some(local) = declared(&orders.local) {
            engine.set_local(local.clone());
            self.local = local;
        }
        self.budget = orders.budget;
        engine.set_budget(AlertBudget::new(orders.budget));
        self.heeded = Some(Arc::clone(orders));
        // What was below the line may be above it now.
        self.is_changed = true;
    }

    /// How many incidents a person wants to see.
    pub(super) fn budget(&self) -> IncidentBudget {
        IncidentBudget::PerHundredDevices(self.budget)
    }

    /// Whether another process takes the place of this one.
    pub(super) fn is_handing_over(&self) -> bool {
        let orders = self.heeded.as_ref();
        orders.is_some_and(|orders| orders.is_to_leave(self.args.restarts))
    }

    /// Tells the incidents that are new or not what they were.
    fn look(&mut self, engine: &mut Engine) -> Result<()> {
        let began = now();
        let outcome = self.outcome(engine);
        let findings = Findings::new(&outcome, self.budget());
        if let Some(planner) = &mut self.planner {
            let tipped = self.tipped.take().map(Timestamp::from_nanos);
            planner.look(&findings, engine, &self.local, tipped);
        }
        self.is_urgent = false;
        let mut all_told = true;
        for incident in &findings.shown {
            let is = Told::of(incident);
            if self.told.get(&incident.id) == Some(&is) {
                continue;
            }
            out_of_the_way(self.status.is_some())?;
            let message = message(incident, &findings, &self.args.output)?;
            if !self.printer.print(message)? {
                // Nobody reads: told at a later look, when there is room.
                all_told = false;
                continue;
            }
            if self.told.len() >= TOLD_MAX {
                self.told.clear();
            }
            self.told.insert(incident.id, is);
            self.is_told_unsaved = true;
        }
        self.is_changed = !all_told;
        if let Some(chronicle) = &mut self.chronicle {
            let all = findings.shown.iter().chain(&findings.below);
            let values = all.filter_map(|incident| {
                let value = output::incident_value(incident, &findings).ok()?;
                Some((incident.id.to_string(), value))
            });
            chronicle.incidents(values.collect());
        }
        self.looked = now();
        self.look_cost = self.looked.duration_since(began);
        Ok(())
    }

    /// Saves what was learned, as soon as it is known where reading stands behind it.
    fn save_soon(&mut self, engine: &mut Engine) {
        if let Some(wants) = &self.wants_position
            && self.position.is_none()
        {
            wants.store(true, Ordering::Relaxed);
            return;
        }
        self.save(engine);
    }

    /// Saves what was learned. That it cannot be saved does not end the watching.
    pub(super) fn save(&mut self, engine: &mut Engine) {
        let report = self.outcome(engine).report;
        if let Err(error) = self.keep(engine, &report) {
            eprintln!("thymus: {error:#}; trying again later");
        }
        self.is_told_unsaved = false;
        self.saved = now();
    }

    fn keep(&mut self, engine: &Engine, report: &Report) -> Result<()> {
        let Some(memory) = &self.memory else {
            return Ok(());
        };
        let journal = self.chronicle.as_mut().map_or(0, Chronicle::position);
        let local = self.local.clone();
        let kept = serde_json::to_vec(&Kept { journal, local })?;
        let position = self.position.take();
        let mut besides = vec![(SECTION, kept.as_slice())];
        besides.extend(position.as_deref().map(|position| (POSITION, position)));
        memory.keep(engine, &no_files(), report, &besides)?;
        if let Some(planner) = &self.planner {
            planner.keep(&self.local)?;
        }
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.kept(journal);
        }
        Ok(())
    }

    /// Tells the console how the run and its devices stand.
    fn tell_vitals(&mut self, engine: &mut Engine, lag_ms: u64) -> Result<()> {
        if self.chronicle.is_none() || !self.vitals.is_due() {
            return Ok(());
        }
        let summary = engine.summary();
        let mut coverage = self.standing.coverage.clone();
        coverage.entities = summary.devices as u64;
        coverage.cold_entities = summary.cold_devices as u64;
        coverage.filter = self.standing.filter.clone();
        let status = self
            .vitals
            .status(&coverage, &summary, lag_ms, &self.standing);
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.status(&status);
            chronicle.devices(vitals::devices(engine)?);
        }
        Ok(())
    }

    /// Tells when the interface is switched off or on.
    fn switched(&self, is_down: bool) {
        if is_down == self.standing.is_down {
            return;
        }
        let name = &self.source;
        if is_down {
            eprintln!("thymus: {name} was switched off; waiting for it");
        } else {
            eprintln!("thymus: {name} is on");
        }
    }

    fn show_status(&mut self, lag_ms: u64) {
        let Some(status) = &mut self.status else {
            return;
        };
        let passed = status.at.elapsed();
        if passed < STATUS_EVERY {
            return;
        }
        let coverage = &self.standing.coverage;
        let rate = coverage.packets.saturating_sub(status.packets) as f64 / passed.as_secs_f64();
        let missed = |why: &str| coverage.dropped.get(why).copied().unwrap_or(0);
        let line = format!(
            "{}: {} packets/s, {} flows so far, {} packets missed, {:.1} s behind, {} incidents",
            self.source,
            Value::Count(rate as u64),
            Value::Count(coverage.flows),
            Value::Count(missed("kernel_ring_full") + missed("analysis_queue_full")),
            lag_ms as f64 / 1e3,
            self.told.len(),
        );
        eprint!("\r\x1b[2K{line}");
        *status = Status {
            at: now(),
            packets: coverage.packets,
        };
    }
}

impl Told {
    fn of(incident: &Incident) -> Self {
        Self {
            title: incident.title.clone(),
            confidence: incident.confidence,
            affected: incident.affected.len(),
        }
    }
}

/// Writes alerts and counts them.
struct Counting<'a> {
    watcher: &'a mut Watcher,
    chronicle: Option<&'a mut Chronicle>,
    alerts: u64,
    discovered: u64,
}

impl pipeline::Onlooker for Counting<'_> {
    fn alert(&mut self, alert: &thymus_schema::Alert) -> Result<()> {
        self.alerts += 1;
        self.discovered += u64::from(alert.discovered);
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.alert(alert);
        }
        self.watcher.alert(alert)
    }
}

/// How long ago `ts` was, in milliseconds.
fn lag_ms(ts: i64) -> u64 {
    let nanos = now_nanos().saturating_sub(ts).max(0);
    nanos.unsigned_abs() / 1_000_000
}

/// One incident as it is printed.
fn message(incident: &Incident, findings: &Findings<'_>, output: &OutputArgs) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    if output.json {
        serde_json::to_writer(&mut out, &output::incident_line(incident, findings))?;
        out.push(b'\n');
    } else {
        let detail = detail_of(output);
        output::print_incident(incident, findings, detail, Paper::stdout(), &mut out)?;
    }
    Ok(out)
}

/// Prints the report at the end of the run.
pub(super) fn write_summary(findings: &Findings<'_>, output: &OutputArgs) -> Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    if output.json {
        serde_json::to_writer(&mut out, &output::summary_line(findings))?;
        out.write_all(b"\n")?;
    } else {
        out.write_all(b"\n")?;
        output::print(findings, detail_of(output), Paper::stdout(), &mut out)?;
    }
    Ok(out.flush()?)
}
