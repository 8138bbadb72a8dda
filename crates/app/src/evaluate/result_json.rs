//! The results for programs. Field names are stable; a golden file guards them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::evaluate::case::{Best, CaseResult, Score};
use crate::evaluate::manifest::Kind;
use crate::evaluate::totals::Totals;

/// The whole answer of `thymus eval --json`.
#[derive(Serialize)]
pub(crate) struct Object<'a> {
    behaviour: Behaviour,
    /// Labelled files are judged by the file engine, which this version does not have.
    files: [(); 0],
    cases: Vec<CaseObject<'a>>,
}

#[derive(Serialize)]
struct Behaviour {
    budget_per_day: u64,
    #[serde(flatten)]
    totals: Totals,
    by_budget: BTreeMap<String, Totals>,
    at_default_budget: Totals,
    baselines: BTreeMap<&'static str, BaselineObject>,
}

#[derive(Serialize)]
struct BaselineObject {
    #[serde(flatten)]
    totals: Totals,
    by_budget: BTreeMap<String, Totals>,
}

#[derive(Serialize)]
struct CaseObject<'a> {
    name: &'a str,
    kind: Kind,
    found: bool,
    rank: Option<u32>,
    best: Option<&'a Best>,
    seconds_to_detect: Option<f64>,
    shown: u64,
    false_incidents: u64,
    entity_days: f64,
    events: u64,
    title: Option<&'a str>,
    false_titles: &'a [String],
    techniques: &'a [String],
    techniques_named: &'a [String],
    by_budget: BTreeMap<String, &'a Score>,
    at_default_budget: &'a Score,
    baselines: BTreeMap<&'static str, BTreeMap<String, &'a Score>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// The results as an object to serialise; `budget` is that of the headline.
pub(crate) fn object(results: &[CaseResult], budget: u64) -> Object<'_> {
    let budgets = crate::evaluate::BUDGETS.into_iter().chain([budget]);
    let names: Vec<&'static str> = results
        .iter()
        .flat_map(|result| result.baselines.keys().copied())
        .collect();
    let at = |budget: u64| Totals::of(results, move |result| result.by_budget.get(&budget));
    let baselines = names.into_iter().map(|name| {
        let at = |budget: u64| {
            Totals::of(results, move |result| {
                result.baselines.get(name)?.get(&budget)
            })
        };
        let by_budget = budgets
            .clone()
            .map(|budget| (budget.to_string(), at(budget)))
            .collect();
        (
            name,
            BaselineObject {
                totals: at(budget),
                by_budget,
            },
        )
    });
    Object {
        behaviour: Behaviour {
            budget_per_day: budget,
            totals: at(budget),
            baselines: baselines.collect(),
            by_budget: budgets
                .clone()
                .map(|budget| (budget.to_string(), at(budget)))
                .collect(),
            at_default_budget: Totals::of(results, |result| Some(&result.at_default)),
        },
        files: [],
        cases: results
            .iter()
            .map(|result| case_object(result, budget))
            .collect(),
    }
}

fn case_object(result: &CaseResult, budget: u64) -> CaseObject<'_> {
    let score = result.by_budget.get(&budget);
    CaseObject {
        name: &result.name,
        kind: result.kind,
        found: score.is_some_and(|score| score.found),
        rank: score.and_then(|score| score.rank),
        best: result.best.as_ref(),
        seconds_to_detect: score.and_then(|score| score.seconds_to_detect),
        shown: score.map_or(0, |score| score.shown),
        false_incidents: score.map_or(0, |score| score.false_incidents),
        entity_days: result.device_days,
        events: result.events,
        title: result.title.as_deref(),
        false_titles: &result.false_titles,
        techniques: &result.techniques,
        techniques_named: &result.techniques_named,
        by_budget: by_text(&result.by_budget),
        at_default_budget: &result.at_default,
        baselines: result
            .baselines
            .iter()
            .map(|(name, own)| (*name, by_text(own)))
            .collect(),
        error: result.error.as_deref(),
    }
}

fn by_text(scores: &BTreeMap<u64, Score>) -> BTreeMap<String, &Score> {
    scores
        .iter()
        .map(|(budget, score)| (budget.to_string(), score))
        .collect()
}
