//! The one path from events to alerts: detectors score, hours are calibrated, discoveries are
//! controlled, alerts grow.

mod state;

use std::cell::OnceCell;

use thymus_schema::{Alert, Event, LocalNetworks, PValue, Timestamp};

use crate::alerts::AlertBook;
use crate::audit::Promise;
use crate::budget::AlertBudget;
use crate::cx::{DetectCx, Finding};
use crate::detector::{Detector, Settings};
use crate::detectors::DETECTORS;
use crate::entities::Entities;
use crate::fdr::OnlineFdr;
use crate::hours::{HourlyMaximum, Hours};
use crate::interest::{self, KINDS};
use crate::memory::{Calendar, Memory, Turn};
use crate::prepared::{Prepared, Preparer};
use crate::steps::{Step, Steps};
use crate::trail::key_of;

/// What an engine is built from.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    /// The local networks.
    pub local: LocalNetworks,
    /// How many incidents a person wants to see.
    pub budget: AlertBudget,
    /// Detector settings.
    pub settings: Settings,
    /// Whether to keep every hourly maximum for [`Engine::take_maxima`].
    pub keep_maxima: bool,
}

/// What the engine knows at the end of a run, for the report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineSummary {
    /// Events taken in.
    pub events: u64,
    /// Devices known.
    pub devices: usize,
    /// Devices watched for less than a day of event time: their own history cannot speak yet.
    pub cold_devices: usize,
    /// Device-hours judged.
    pub device_hours: f64,
    /// What bounds threw away, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// By detector, what its tables had no room for.
    pub tables_full: Vec<(&'static str, u64)>,
    /// Detectors that were switched off because they panicked.
    pub disabled: Vec<&'static str>,
    /// What each detector promised and kept on this site.
    pub promises: Vec<Promise>,
}

struct Unit {
    id: &'static str,
    detector: Box<dyn Detector>,
    /// A unit that panicked is not called again.
    disabled: bool,
}

/// Runs all detectors over a stream of events.
pub struct Engine {
    entities: Entities,
    units: Vec<Unit>,
    /// For each kind of event the units that look at it, and last all of them.
    listeners: [Vec<usize>; KINDS + 1],
    findings: Vec<(usize, Finding)>,
    hours: Hours,
    alerts: AlertBook,
    fdr: OnlineFdr,
    budget: AlertBudget,
    calendar: Calendar,
    now: Timestamp,
    next_tick: Option<Timestamp>,
    steps: Steps,
    learning: bool,
    events: u64,
    preparer: Preparer,
}

/// The false discovery rate that is allowed among alerts that pass.
const FALSE_DISCOVERY_RATE: f64 = 0.1;
/// How many independent looks all detectors together amount to. Each of them looks at every
/// device-hour, so Bonferroni over their number would be valid under any dependence; it is also far
/// too strict, because most never speak on ordinary traffic and the shipped reference may not credit
/// them for hours nobody measured. With 4 the promise still holds on quiet lab days that had no part
/// in the calibration: docs/evaluation.md has the figures.
const EFFECTIVE_TESTS: f64 = 4.0;
/// An alert up to this many times less rare than the level is a discovery when its entity-hour is one.
const COMPANIONS: f64 = 4.0;
const TICK_SECS: i64 = 60;
/// Ticks made up for after a silence; a longer one is jumped over, its windows have closed anyway.
const TICKS_MAX: i64 = 180;

impl Engine {
    /// A new engine with all detectors.
    pub fn new(config: &EngineConfig) -> Self {
        let units = DETECTORS.iter().map(|spec| Unit {
            id: spec.id,
            detector: (spec.build)(&config.settings),
            disabled: false,
        });
        let units: Vec<Unit> = units.collect();
        let listeners = std::array::from_fn(|kind| {
            let listens = |unit: &Unit| kind == KINDS || unit.detector.interest().has(kind);
            (0..units.len())
                .filter(|index| units.get(*index).is_some_and(listens))
                .collect()
        });
        Self {
            entities: Entities::new(config.local.clone()),
            units,
            listeners,
            findings: Vec::new(),
            hours: Hours::new(DETECTORS, config.keep_maxima),
            alerts: AlertBook::default(),
            fdr: OnlineFdr::new(FALSE_DISCOVERY_RATE),
            budget: config.budget,
            calendar: Calendar::default(),
            now: Timestamp::MIN,
            next_tick: None,
            steps: Steps::default(),
            learning: false,
            events: 0,
            preparer: Preparer::default(),
        }
    }

    /// Switches between learning only (a normal period: scores teach, nothing is alerted) and
    /// judging, which is the default.
    pub fn set_learning(&mut self, learning: bool) {
        self.learning = learning;
    }

    /// How many incidents a person wants to see, from the next event on.
    pub fn set_budget(&mut self, budget: AlertBudget) {
        self.budget = budget;
    }

    /// The local networks from the next event on. Devices that are no longer in them stay until they are
    /// forgotten.
    pub fn set_local(&mut self, local: LocalNetworks) {
        self.entities.set_local(local);
    }

    /// Takes in one event. Time never runs backwards here: a late event is judged at the present.
    pub fn observe(&mut self, event: &Event) {
        let prepared = self.preparer.prepare(event);
        self.observe_prepared(event, &prepared);
    }

    /// As [`Engine::observe`], for an event whose own part of the work is done.
    pub fn observe_prepared(&mut self, event: &Event, prepared: &Prepared) {
        self.advance(event.ts);
        self.events += 1;
        match self.calendar.note(event.ts) {
            Turn::None => {}
            Turn::Doubt => self.remember(|memory| memory.mark()),
            Turn::Days(days) => {
                self.remember(|memory| memory.pass(days));
                self.alerts.pass(self.calendar.today());
            }
        }
        let parties = self.entities.learn(event, prepared);
        if let Some((client, server)) = parties {
            for party in [client, server] {
                if self.hours.active(party) {
                    self.entities.note_active(party);
                }
            }
        }
        let kind = interest::number(event);
        self.run(
            kind,
            |detector, cx| detector.observe(event, cx),
            parties,
            Some(prepared),
        );
    }

    /// Does something with everything that forgets by age.
    fn remember(&mut self, mut call: impl FnMut(&mut dyn Memory)) {
        call(&mut self.entities);
        self.hours.memories().for_each(&mut call);
        for unit in &mut self.units {
            unit.detector.memories().into_iter().for_each(&mut call);
        }
    }

    /// Moves event time on, closing minutes and hours on the way.
    fn advance(&mut self, ts: Timestamp) {
        let Some(mut next) = self.next_tick else {
            self.steps.begin();
            return self.begin(ts);
        };
        match self.steps.step(self.now, ts) {
            Step::Go => {}
            Step::Stay => return,
            Step::Restart => {
                self.close_hour();
                return self.begin(ts);
            }
        }
        if ts < next {
            self.now = self.now.max(ts);
            return;
        }
        let behind = ts.as_secs().saturating_sub(next.as_secs()) / TICK_SECS;
        if behind > TICKS_MAX {
            self.tick(next);
            next = Timestamp::from_secs(tick_after(ts).as_secs() - TICKS_MAX * TICK_SECS);
        }
        while next <= ts {
            self.tick(next);
            next = Timestamp::from_secs(next.as_secs() + TICK_SECS);
        }
        self.next_tick = Some(next);
        self.now = ts;
    }

    fn begin(&mut self, ts: Timestamp) {
        self.now = ts;
        self.hours.begin(ts);
        self.next_tick = Some(tick_after(ts));
    }

    fn tick(&mut self, at: Timestamp) {
        self.now = at;
        self.run(KINDS, |detector, cx| detector.tick(cx), None, None);
        if self.hours.is_over(at) {
            self.close_hour();
            self.hours.begin(at);
        }
    }

    /// Calls the units that listen to `kind` and takes in what they found. One that panics is
    /// switched off, the ones after it are called as if nothing had happened.
    fn run(
        &mut self,
        kind: usize,
        mut call: impl FnMut(&mut dyn Detector, &mut DetectCx<'_>),
        parties: Option<(crate::party::Party, crate::party::Party)>,
        prepared: Option<&Prepared>,
    ) {
        let listeners = self
            .listeners
            .get(kind)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let (mut begin, mut present) = (0, 0);
        while let Some(listening) = listeners.get(begin..).filter(|rest| !rest.is_empty()) {
            let (units, entities) = (&mut self.units, &self.entities);
            let findings = &mut self.findings;
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let mut cx = DetectCx {
                    now: self.now,
                    entities,
                    client: parties.map(|(client, _)| client),
                    server: parties.map(|(_, server)| server),
                    prepared,
                    attempt: OnceCell::new(),
                    findings,
                    detector: 0,
                    floor: SCORE_FLOOR,
                };
                for (at, index) in listening.iter().enumerate() {
                    present = at;
                    cx.detector = *index;
                    if let Some(unit) = units.get_mut(*index).filter(|unit| !unit.disabled) {
                        call(unit.detector.as_mut(), &mut cx);
                    }
                }
            }));
            if outcome.is_ok() {
                break;
            }
            let culprit = listening.get(present).copied().unwrap_or_default();
            if let Some(unit) = self.units.get_mut(culprit) {
                unit.disabled = true;
            }
            begin += present + 1;
        }
        if !self.findings.is_empty() {
            self.judge();
        }
    }

    /// Calibrates what was found and lets through what is rare enough.
    fn judge(&mut self) {
        let mut findings = std::mem::take(&mut self.findings);
        for (index, finding) in findings.drain(..) {
            let Some(spec) = DETECTORS.get(index) else {
                continue;
            };
            let calibrated = self
                .hours
                .score(index, finding.entity, finding.score, &self.entities);
            if self.learning {
                continue;
            }
            let p_value = calibrated.p_value.bonferroni(EFFECTIVE_TESTS);
            let discovered = self.is_discovery(finding.entity, p_value);
            self.alerts.grow(
                spec,
                finding,
                p_value,
                calibrated.by,
                discovered,
                &self.entities,
            );
        }
        self.findings = findings;
    }

    /// Whether an alert with this p-value is a discovery now. The test is of the entity-hour, with the
    /// evidence of all detectors; once it has passed, alerts of that entity and hour are discoveries
    /// until they are [`COMPANIONS`] times less rare than the level: those that together made it pass
    /// are not all above it.
    fn is_discovery(&mut self, entity: crate::party::Party, p_value: PValue) -> bool {
        let level = self.budget.level();
        if p_value < level.bonferroni(COMPANIONS) {
            return false;
        }
        if self.hours.is_discovered(entity) {
            return true;
        }
        let evidence = self.hours.evidence(entity).bonferroni(EFFECTIVE_TESTS);
        self.fdr.begin(self.now.day());
        if evidence < level || evidence < self.fdr.level() {
            return false;
        }
        let who = self.entities.id(entity).to_string();
        self.fdr.discover(key_of(who));
        self.hours.set_discovered(entity);
        true
    }

    fn close_hour(&mut self) {
        let passed = self.hours.close(&self.entities, self.learning);
        if self.learning {
            return;
        }
        for p_value in passed {
            self.fdr.pass(p_value.bonferroni(EFFECTIVE_TESTS));
        }
    }

    /// The alerts that appeared or grew since the last call, in order of first sight. An alert whose
    /// id was given before replaces that one.
    pub fn take_alerts(&mut self) -> Vec<Alert> {
        self.alerts.take_changed(&self.entities)
    }

    /// Ends the run: closes the windows that are open at the last event's time.
    pub fn finish(&mut self) {
        if let Some(next) = self.next_tick {
            self.tick(next);
            self.close_hour();
            self.hours.begin(next);
            self.next_tick = Some(tick_after(next));
        }
    }

    /// The time of the newest event.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Who is who.
    pub fn entities(&self) -> &Entities {
        &self.entities
    }

    /// The hourly maxima kept since the last call; empty unless
    /// [`EngineConfig::keep_maxima`] was set.
    pub fn take_maxima(&mut self) -> Vec<HourlyMaximum> {
        self.hours.take_kept()
    }

    /// Totals for the report.
    pub fn summary(&mut self) -> EngineSummary {
        let day = std::time::Duration::from_hours(24);
        let tables_full: Vec<(&'static str, u64)> = self
            .units
            .iter_mut()
            .map(|unit| {
                let memories = unit.detector.memories();
                let dropped = memories.iter().map(|memory| memory.dropped());
                (unit.id, dropped.sum())
            })
            .filter(|(_, dropped)| *dropped > 0)
            .collect();
        let tables = tables_full.iter().map(|(_, dropped)| dropped).sum();
        let is_cold = |idx: &crate::DeviceIdx| self.entities.first_seen(*idx).plus(day) > self.now;
        EngineSummary {
            events: self.events,
            devices: self.entities.devices(),
            cold_devices: self.entities.indices().filter(is_cold).count(),
            device_hours: self.hours.device_hours(),
            dropped: vec![
                ("device_table_full", self.entities.dropped()),
                ("alert_table_full", self.alerts.dropped()),
                ("hour_table_full", self.hours.dropped()),
                ("detector_tables_full", tables),
            ],
            tables_full,
            disabled: self
                .units
                .iter()
                .filter(|unit| unit.disabled)
                .map(|unit| unit.id)
                .collect(),
            promises: self.hours.promises(DETECTORS.iter().map(|spec| spec.id)),
        }
    }
}

/// Scores below this are not worth handing over: half of all device-hours reach them.
const SCORE_FLOOR: f64 = 0.3;

fn tick_after(ts: Timestamp) -> Timestamp {
    Timestamp::from_secs((ts.as_secs().div_euclid(TICK_SECS) + 1) * TICK_SECS)
}
