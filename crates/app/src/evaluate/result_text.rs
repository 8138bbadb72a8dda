//! The results for people.

use std::io::{self, Write};

use thymus_schema::Value;

use crate::evaluate::BUDGETS;
use crate::evaluate::case::CaseResult;
use crate::evaluate::manifest::Kind;
use crate::evaluate::totals::Totals;

/// Writes a table of cases and the totals; `budget` is that of the headline.
///
/// # Errors
/// When `out` cannot be written to.
pub(crate) fn print(results: &[CaseResult], budget: u64, out: &mut dyn Write) -> io::Result<()> {
    let wide = results
        .iter()
        .map(|result| result.name.chars().count())
        .max()
        .unwrap_or(4)
        .max(4);
    writeln!(
        out,
        "{:wide$}  {:6}  {:>5}  {:>4}  {:>9}  {:>5}  {:>11}  what was told",
        "case", "kind", "found", "rank", "after", "false", "device-days"
    )?;
    for result in results {
        case_line(result, budget, wide, out)?;
    }
    let of_thymus = |budget: u64| Totals::of(results, move |result| result.by_budget.get(&budget));
    let own: Vec<(String, Totals)> = BUDGETS
        .into_iter()
        .map(|budget| (format!("thymus, {budget} a day"), of_thymus(budget)))
        .chain([(
            "thymus, default".to_owned(),
            Totals::of(results, |result| Some(&result.at_default)),
        )])
        .collect();
    writeln!(out)?;
    writeln!(
        out,
        "{:26}  {:>9}  {:>5}  {:>9}  {:>7}  {:>6}  per device-day (95 % interval)  median delay",
        "", "found", "first", "first two", "false", "apart"
    )?;
    for (name, totals) in &own {
        totals_line(name, totals, out)?;
    }
    let names = results
        .first()
        .map(|result| result.baselines.keys().copied().collect::<Vec<_>>());
    for name in names.unwrap_or_default() {
        let totals = Totals::of(results, move |result| {
            result.baselines.get(name)?.get(&budget)
        });
        let name = format!("{}, {budget} a day", name.replace('_', " "));
        totals_line(&name, &totals, out)?;
    }
    let days = own.first().map_or(0.0, |(_, totals)| totals.entity_days);
    writeln!(out)?;
    writeln!(
        out,
        "false: shown incidents of benign cases, over {days:.2} device-days; apart: shown incidents of \
         attack cases that name no listed entity"
    )
}

fn case_line(result: &CaseResult, budget: u64, wide: usize, out: &mut dyn Write) -> io::Result<()> {
    let score = result.by_budget.get(&budget).cloned().unwrap_or_default();
    let (kind, found) = match (result.kind, score.found) {
        (Kind::Benign, _) => ("benign", "-"),
        (Kind::Attack, true) => ("attack", "yes"),
        (Kind::Attack, false) => ("attack", "NO"),
    };
    let told = match (&result.error, &result.title, result.false_titles.first()) {
        (Some(error), _, _) => format!("could not be run: {error}"),
        (_, Some(title), _) => title.clone(),
        (_, None, Some(title)) => format!("false: {title}"),
        (_, None, None) => match &result.best {
            Some(best) => {
                format!(
                    "not shown (p {}, place {}): {}",
                    best.p_value, best.rank, best.title
                )
            }
            None => String::new(),
        },
    };
    writeln!(
        out,
        "{:wide$}  {kind:6}  {found:>5}  {:>4}  {:>9}  {:>5}  {:>11.3}  {}",
        result.name,
        score.rank.map_or(String::new(), |rank| rank.to_string()),
        score
            .seconds_to_detect
            .map_or(String::new(), |secs| Value::Seconds(secs).to_string()),
        score.false_incidents,
        result.device_days,
        thymus_analyst::legible(&told)
    )
}

fn totals_line(name: &str, totals: &Totals, out: &mut dyn Write) -> io::Result<()> {
    let rate = match (totals.false_per_entity_day, totals.false_per_entity_day_95) {
        (Some(rate), Some((low, high))) => format!("{rate:.3} ({low:.3} to {high:.3})"),
        _ => "no benign device-days".to_owned(),
    };
    let delay = totals.median_seconds_to_detect;
    writeln!(
        out,
        "{name:26}  {:>4}/{:<4}  {:>5}  {:>9}  {:>7}  {:>6}  {rate:30}  {}",
        totals.found,
        totals.attack_cases,
        totals.ranked_first,
        totals.ranked_first_or_second,
        totals.false_incidents,
        totals.false_incidents_in_attack_cases,
        delay.map_or(String::new(), |secs| Value::Seconds(secs).to_string())
    )
}
