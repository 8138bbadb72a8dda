//! One case: run, match, count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufWriter;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use thymus_analyst::IncidentBudget;
use thymus_detect::{Engine, HourlyMaximum};
use thymus_schema::{Alert, AlertId, Event, Incident, LocalNetworks, PValue, Scope, Timestamp};

use crate::evaluate::BUDGETS;
use crate::evaluate::activity::Activity;
use crate::evaluate::baseline::{Alarm, Baseline, FirstSeen, Volume, within_budget};
use crate::evaluate::manifest::{Case, Kind};
use crate::output::{Findings, object};
use crate::pipeline::{self, Onlooker, Outcome, RunPlan};
use crate::replay::Lines;

/// What is the same for all cases.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The budget of the headline, in incidents a day.
    pub(crate) budget: u64,
    /// Where alerts and incidents of each case go.
    pub(crate) details: Option<PathBuf>,
    pub(crate) keep_maxima: bool,
}

/// What a detector or baseline made of a case at one budget.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub(crate) struct Score {
    /// Whether the attack was found; false for benign cases.
    pub(crate) found: bool,
    /// Rank of the true incident among all shown; 1 is first.
    pub(crate) rank: Option<u32>,
    pub(crate) seconds_to_detect: Option<f64>,
    /// Everything shown of a benign case; of an attack case, what names no listed entity.
    pub(crate) false_incidents: u64,
    pub(crate) shown: u64,
}

/// An incident that may be below the line.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Best {
    pub(crate) rank: u32,
    pub(crate) p_value: PValue,
    pub(crate) title: String,
}

/// The result of a case.
#[derive(Clone, Debug)]
pub(crate) struct CaseResult {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) techniques: Vec<String>,
    pub(crate) device_days: f64,
    pub(crate) events: u64,
    /// By budget in incidents a day.
    pub(crate) by_budget: BTreeMap<u64, Score>,
    /// At the default budget of `thymus replay`, which grows with the site.
    pub(crate) at_default: Score,
    /// By baseline, then budget.
    pub(crate) baselines: BTreeMap<&'static str, BTreeMap<u64, Score>>,
    /// Title of the true incident at the headline budget.
    pub(crate) title: Option<String>,
    /// Titles of the false incidents at the headline budget, at most ten.
    pub(crate) false_titles: Vec<String>,
    /// The first incident that matches whether shown or not, for finding what is missing.
    pub(crate) best: Option<Best>,
    /// Techniques that the true incident names and the manifest lists.
    pub(crate) techniques_named: Vec<String>,
    pub(crate) maxima: Vec<HourlyMaximum>,
    /// Why the case could not be run.
    pub(crate) error: Option<String>,
}

/// Runs a case. A case that cannot be run is not found, and says why.
pub(crate) fn run(case: &Case, settings: &Settings) -> CaseResult {
    let mut result = CaseResult {
        name: case.name.clone(),
        kind: case.kind,
        techniques: case.techniques.clone(),
        device_days: 0.0,
        events: 0,
        by_budget: BTreeMap::new(),
        at_default: Score::default(),
        baselines: BTreeMap::new(),
        title: None,
        false_titles: Vec::new(),
        best: None,
        techniques_named: Vec::new(),
        maxima: Vec::new(),
        error: None,
    };
    if let Err(error) = fill(&mut result, case, settings) {
        result.error = Some(format!("{error:#}"));
    }
    result
}

fn fill(result: &mut CaseResult, case: &Case, settings: &Settings) -> Result<()> {
    let plan = RunPlan {
        paths: case.input.clone(),
        learn: case.learn.clone(),
        budget: 5.0,
        keep_maxima: settings.keep_maxima,
        ..RunPlan::default()
    };
    let mut observer = Observer::default();
    let mut aliases = BTreeMap::new();
    let outcome = pipeline::run(
        &plan,
        &mut observer,
        |_, _| {},
        |engine, _, _| aliases = observer_aliases(engine),
    )?;
    result.device_days = observer.activity.device_days();
    result.events = outcome.coverage.events;
    let onset = case
        .window
        .map(|window| window.0)
        .max(observer.activity.first());
    let at = |budget: IncidentBudget| {
        let incidents = outcome.report.at_budget(budget);
        (
            score(case, &incidents, &observer.discovered, onset),
            incidents,
        )
    };
    for budget in budgets(settings) {
        let (score, incidents) = at(IncidentBudget::PerDay(budget));
        if budget == settings.budget {
            describe(result, case, &incidents);
        }
        result.by_budget.insert(budget, score);
    }
    result.at_default = at(IncidentBudget::default()).0;
    for baseline in [&observer.volume as &dyn Baseline, &observer.first_seen] {
        let alarms = baseline.alarms();
        let scores = budgets(settings).into_iter().map(|budget| {
            (
                budget,
                baseline_score(
                    case,
                    &within_budget(alarms.clone(), budget),
                    &aliases,
                    onset,
                ),
            )
        });
        result.baselines.insert(baseline.name(), scores.collect());
    }
    if let Some(dir) = &settings.details {
        write_details(dir, case, &outcome, settings.budget)?;
    }
    result.maxima = outcome.maxima;
    Ok(())
}

/// The reported budgets and that of the headline.
pub(crate) fn budgets(settings: &Settings) -> BTreeSet<u64> {
    BUDGETS.into_iter().chain([settings.budget]).collect()
}

fn score(
    case: &Case,
    incidents: &[Incident],
    discovered: &BTreeMap<AlertId, Timestamp>,
    onset: Option<Timestamp>,
) -> Score {
    let shown: Vec<&Incident> = incidents.iter().filter(|incident| incident.shown).collect();
    if case.kind == Kind::Benign {
        let n = shown.len() as u64;
        return Score {
            false_incidents: n,
            shown: n,
            ..Score::default()
        };
    }
    let hit = shown.iter().find(|incident| case.is_about(incident));
    let when = hit.and_then(|incident| {
        incident
            .steps
            .iter()
            .filter_map(|step| discovered.get(&step.alert))
            .min()
            .copied()
    });
    Score {
        found: hit.is_some(),
        rank: hit.map(|incident| incident.rank),
        seconds_to_detect: when
            .zip(onset)
            .map(|(when, onset)| when.secs_since(onset).max(0.0)),
        false_incidents: shown.iter().filter(|i| !case.names_entity(i)).count() as u64,
        shown: shown.len() as u64,
    }
}

/// Notes titles for people who look for causes.
fn describe(result: &mut CaseResult, case: &Case, incidents: &[Incident]) {
    const TITLES_MAX: usize = 10;
    let shown = incidents.iter().filter(|incident| incident.shown);
    if case.kind == Kind::Benign {
        result.false_titles = shown.take(TITLES_MAX).map(|i| i.title.clone()).collect();
        return;
    }
    if let Some(hit) = shown.clone().find(|incident| case.is_about(incident)) {
        result.title = Some(hit.title.clone());
        let names = |id: &str| hit.techniques.iter().any(|technique| technique.id() == id);
        result.techniques_named = case
            .techniques
            .iter()
            .filter(|id| names(id))
            .cloned()
            .collect();
    }
    result.false_titles = shown
        .filter(|incident| !case.names_entity(incident))
        .take(TITLES_MAX)
        .map(|incident| incident.title.clone())
        .collect();
    let best = incidents.iter().find(|incident| case.is_about(incident));
    result.best = best.map(|incident| Best {
        rank: incident.rank,
        p_value: incident.p_value,
        title: incident.title.clone(),
    });
}

fn baseline_score(
    case: &Case,
    alarms: &[Alarm],
    aliases: &BTreeMap<IpAddr, Vec<Box<str>>>,
    onset: Option<Timestamp>,
) -> Score {
    let shown = alarms.len() as u64;
    if case.kind == Kind::Benign {
        return Score {
            false_incidents: shown,
            shown,
            ..Score::default()
        };
    }
    let names_entity = |alarm: &Alarm| {
        let known = aliases.get(&alarm.device).into_iter().flatten();
        case.entities.is_empty()
            || case.lists(&alarm.device.to_string())
            || known.into_iter().any(|name| case.lists(name))
    };
    let is_about = |alarm: &Alarm| names_entity(alarm) && case.overlaps(alarm.first, alarm.last);
    let place = alarms.iter().position(is_about);
    let hit = place.and_then(|place| alarms.get(place));
    Score {
        found: hit.is_some(),
        rank: place.and_then(|place| u32::try_from(place + 1).ok()),
        seconds_to_detect: hit
            .zip(onset)
            .map(|(alarm, onset)| alarm.first.secs_since(onset).max(0.0)),
        false_incidents: alarms.iter().filter(|alarm| !names_entity(alarm)).count() as u64,
        shown,
    }
}

/// The names that local addresses held at the end.
fn observer_aliases(engine: &Engine) -> BTreeMap<IpAddr, Vec<Box<str>>> {
    let entities = engine.entities();
    let mut aliases = BTreeMap::new();
    for device in entities.indices() {
        let addr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let party = thymus_detect::Party {
            addr,
            scope: Scope::NONE,
            device: Some(device),
        };
        let names = entities.aliases(party);
        for addr in names.iter().filter_map(|name| name.parse::<IpAddr>().ok()) {
            aliases.insert(addr, names.clone());
        }
    }
    aliases
}

fn write_details(dir: &Path, case: &Case, outcome: &Outcome, budget: u64) -> Result<()> {
    let stem = case.name.replace(['/', '\\'], "_");
    let mut lines = Lines::create(&dir.join(format!("{stem}.alerts.jsonl")))?;
    for alert in outcome.report.alerts() {
        lines.write(alert)?;
    }
    lines.finish()?;
    let path = dir.join(format!("{stem}.incidents.json"));
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let findings = Findings::new(outcome, IncidentBudget::PerDay(budget));
    serde_json::to_writer_pretty(BufWriter::new(file), &object(&findings))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Looks on for the baselines and the clockwork of the evaluation.
#[derive(Default)]
struct Observer {
    activity: Activity,
    volume: Volume,
    first_seen: FirstSeen,
    /// When an alert was first a discovery: the last event of its evidence then.
    discovered: BTreeMap<AlertId, Timestamp>,
}

impl Onlooker for Observer {
    fn learned(&mut self, event: &Event, local: &LocalNetworks) -> Result<()> {
        self.volume.observe(event, local, true);
        self.first_seen.observe(event, local, true);
        Ok(())
    }

    fn event(&mut self, event: &Event, local: &LocalNetworks) -> Result<()> {
        self.activity.observe(event, local);
        self.volume.observe(event, local, false);
        self.first_seen.observe(event, local, false);
        Ok(())
    }

    fn alert(&mut self, alert: &Alert) -> Result<()> {
        if alert.discovered {
            self.discovered.entry(alert.id).or_insert(alert.last_seen);
        }
        Ok(())
    }
}
