//! The reports: text for a terminal, one JSON object for programs, one HTML page for people who were
//! not there. All three are made from the same findings.

mod html;
mod json;
mod text;

pub(crate) use html::page;
pub(crate) use json::{coverage_object, incident_line, incident_value, object, summary_line};
pub(crate) use text::{Detail, print, print_incident};

use thymus_analyst::{IncidentBudget, Report};
use thymus_schema::Incident;

use crate::pipeline::Outcome;

/// What a report is made from: the outcome at one budget.
pub(crate) struct Findings<'a> {
    /// The run.
    pub(crate) outcome: &'a Outcome,
    /// Incidents inside the budget, by rank.
    pub(crate) shown: Vec<Incident>,
    /// The next ones.
    pub(crate) below: Vec<Incident>,
    /// Incidents weaker than those.
    pub(crate) hidden: usize,
    /// Incidents a day that the budget allows here.
    pub(crate) per_day: u64,
}

impl<'a> Findings<'a> {
    /// The incidents of `outcome` at `budget`.
    pub(crate) fn new(outcome: &'a Outcome, budget: IncidentBudget) -> Self {
        let per_day = budget.per_day(outcome.report.devices());
        let (shown, rest): (Vec<_>, Vec<_>) = outcome
            .report
            .at_budget(budget)
            .into_iter()
            .partition(|incident| incident.shown);
        let hidden = rest.len().saturating_sub(Report::BELOW_THE_LINE);
        let below = rest.into_iter().take(Report::BELOW_THE_LINE).collect();
        Self {
            outcome,
            shown,
            below,
            hidden,
            per_day,
        }
    }

    /// Why there was nothing to look at, as a sentence; none when something was read.
    pub(crate) fn nothing_read(&self) -> Option<&'static str> {
        let Outcome {
            coverage, ledger, ..
        } = self.outcome;
        if coverage.packets + coverage.records > 0 {
            return None;
        }
        Some(if ledger.totals().known > 0 {
            "Nothing new: all of it was read before."
        } else {
            "Nothing was read: there is no packet and no log record in it."
        })
    }
}

#[cfg(test)]
mod tests;
