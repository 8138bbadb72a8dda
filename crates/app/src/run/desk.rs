//! What a live run does beside judging: tells incidents as they appear, saves what was learned, keeps the
//! status line. None of it changes what is found.

use std::collections::BTreeMap;
use std::io::{BufWriter, IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};

use anyhow::Result;
use thymus_analyst::{Analyst, IncidentBudget};
use thymus_detect::Engine;
use thymus_schema::{Confidence, Coverage, Event, Incident, IncidentId, LocalNetworks, Value};
use thymus_sensor::Interface;

use super::live::Standing;
use super::printer::Printer;
use super::{no_files, now_nanos, out_of_the_way};
use crate::cli::{LiveArgs, OutputArgs};
use crate::console::Paper;
use crate::output::{self, Findings};
use crate::pipeline::{self, Outcome};
use crate::replay::{Memory, Watcher, detail_of, now};

/// Incidents are looked for no more often than this, and take no more than a tenth of the time.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const LOOK_SHARE: u32 = 10;
/// A new incident is saved at once, but no more often than this.
const SAVE_EVERY_MIN: Duration = Duration::from_secs(10);
/// The status line is drawn again this often.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Incidents remembered as told.
const TOLD_MAX: usize = 10_000;

/// The part of a live run that people see.
pub(super) struct Desk<'a> {
    args: &'a LiveArgs,
    analyst: Analyst,
    memory: Option<Memory>,
    local: LocalNetworks,
    interface: String,
    watcher: Watcher,
    printer: Printer,
    standing: Standing,
    lag_ms_max: u64,
    /// What was told of each incident.
    told: BTreeMap<IncidentId, Told>,
    is_changed: bool,
    is_told_unsaved: bool,
    looked: Instant,
    look_cost: Duration,
    saved: Instant,
    status: Option<Status>,
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
    pub(super) fn new(
        args: &'a LiveArgs,
        analyst: Analyst,
        memory: Option<Memory>,
        local: LocalNetworks,
        interface: &Interface,
    ) -> Result<Self> {
        let at = now();
        Ok(Self {
            args,
            analyst,
            memory,
            local,
            interface: interface.name.clone(),
            watcher: Watcher::new(&args.output)?,
            printer: Printer::start(stdout()),
            standing: Standing {
                is_down: !interface.is_up,
                ..Standing::default()
            },
            lag_ms_max: 0,
            told: BTreeMap::new(),
            is_changed: false,
            is_told_unsaved: false,
            looked: at,
            look_cost: Duration::ZERO,
            saved: at,
            status: (stderr().is_terminal() && !args.output.quiet)
                .then_some(Status { at, packets: 0 }),
        })
    }

    /// Gives the engine and the analyst what the run before knew.
    pub(super) fn remember(&mut self, engine: &mut Engine) {
        if let Some(memory) = &mut self.memory {
            memory.remind(engine, &mut self.analyst);
            memory.release();
        }
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
        self.take_alerts(engine)?;
        let lag_ms = standing.newest.map_or(0, lag_ms);
        self.lag_ms_max = self.lag_ms_max.max(lag_ms);
        self.switched(standing.is_down);
        self.standing = standing;
        let at = now();
        let pause = LOOK_EVERY.max(self.look_cost * LOOK_SHARE);
        if self.is_changed && at.duration_since(self.looked) >= pause {
            self.look(engine)?;
        }
        let every = Duration::from_secs(60 * u64::from(self.args.save_every));
        let since = at.duration_since(self.saved);
        if self.memory.is_some()
            && (since >= every || (self.is_told_unsaved && since >= SAVE_EVERY_MIN))
        {
            self.save(engine);
        }
        self.show_status(lag_ms);
        Ok(())
    }

    /// The end of the run: the outcome, and whether the state could be kept.
    pub(super) fn finish(mut self, engine: &mut Engine) -> Result<(Outcome, Result<()>)> {
        self.take_alerts(engine)?;
        if self.args.output.json {
            // Each incident is a line of its own, also one that came last.
            self.look(engine)?;
        }
        out_of_the_way(self.status.is_some())?;
        let outcome = self.outcome(engine);
        let kept = self.memory.as_ref().map_or(Ok(()), |memory| {
            memory.keep(engine, &no_files(), &outcome.report)
        });
        self.watcher.finish()?;
        self.printer.finish()?;
        Ok((outcome, kept))
    }

    fn take_alerts(&mut self, engine: &mut Engine) -> Result<()> {
        let before = self.analyst.alerts();
        let mut count = Counting {
            watcher: &mut self.watcher,
            alerts: 0,
        };
        pipeline::hand_over(engine, &mut self.analyst, &mut count)?;
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
            ..self.standing.coverage.clone()
        };
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

    /// Tells the incidents that are new or not what they were.
    fn look(&mut self, engine: &mut Engine) -> Result<()> {
        let began = now();
        let outcome = self.outcome(engine);
        let budget = IncidentBudget::PerHundredDevices(self.args.run.budget);
        let findings = Findings::new(&outcome, budget);
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
        self.looked = now();
        self.look_cost = self.looked.duration_since(began);
        Ok(())
    }

    /// Saves what was learned. That it cannot be saved does not end the watching.
    fn save(&mut self, engine: &mut Engine) {
        let report = self.outcome(engine).report;
        if let Some(memory) = &self.memory
            && let Err(error) = memory.keep(engine, &no_files(), &report)
        {
            eprintln!("thymus: {error:#}; trying again later");
        }
        self.is_told_unsaved = false;
        self.saved = now();
    }

    /// Tells when the interface is switched off or on.
    fn switched(&self, is_down: bool) {
        if is_down == self.standing.is_down {
            return;
        }
        let name = &self.interface;
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
            self.interface,
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
    alerts: u64,
}

impl pipeline::Onlooker for Counting<'_> {
    fn alert(&mut self, alert: &thymus_schema::Alert) -> Result<()> {
        self.alerts += 1;
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
