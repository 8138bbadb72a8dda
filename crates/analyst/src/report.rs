//! What the analyst hands over.

use std::collections::{BTreeMap, BTreeSet};

use thymus_schema::{Alert, AlertId, Incident};

use crate::budget::{Candidate, IncidentBudget, rank};
use crate::narrative::Names;

/// All stories of one run, before and after ranking.
#[derive(Clone, Debug)]
pub struct Report {
    candidates: Vec<Candidate>,
    alerts: BTreeMap<AlertId, Alert>,
    /// Of them those that the next run may need.
    open: BTreeSet<AlertId>,
    names: Names,
    devices: u64,
    alerts_dropped: u64,
    ties_refused: u64,
}

impl Report {
    /// How many incidents below the line are kept visible.
    pub const BELOW_THE_LINE: usize = 10;

    pub(crate) fn new(
        candidates: Vec<Candidate>,
        alerts: Vec<Alert>,
        names: Names,
        devices: u64,
    ) -> Self {
        let alerts = alerts.into_iter().map(|alert| (alert.id, alert)).collect();
        Self {
            candidates,
            alerts,
            open: BTreeSet::new(),
            names,
            devices,
            alerts_dropped: 0,
            ties_refused: 0,
        }
    }

    pub(crate) fn counting(mut self, alerts_dropped: u64, ties_refused: u64) -> Self {
        self.alerts_dropped = alerts_dropped;
        self.ties_refused = ties_refused;
        self
    }

    pub(crate) fn keeping(mut self, open: BTreeSet<AlertId>) -> Self {
        self.open = open;
        self
    }

    /// The alerts of stories that may go on, by id.
    pub(crate) fn open_alerts(&self) -> impl Iterator<Item = &Alert> {
        self.open.iter().filter_map(|id| self.alerts.get(id))
    }

    /// All incidents at this budget in order of rank: the shown ones first.
    pub fn at_budget(&self, budget: IncidentBudget) -> Vec<Incident> {
        rank(&self.candidates, budget.per_day(self.devices))
    }

    /// The alert behind a step.
    pub fn alert(&self, id: AlertId) -> Option<&Alert> {
        self.alerts.get(&id)
    }

    /// All alerts, by id.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// How strong the alert behind a step is, as −log10 p.
    pub fn strength(&self, id: AlertId) -> f64 {
        self.alert(id)
            .map_or(0.0, |alert| alert.p_value.neg_log10())
    }

    /// How entities are called in text.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Devices the budget was computed from.
    pub fn devices(&self) -> u64 {
        self.devices
    }

    /// Alerts that were dropped because there were too many.
    pub fn alerts_dropped(&self) -> u64 {
        self.alerts_dropped
    }

    /// Ties between entities that were refused because the story would have grown too large.
    pub fn ties_refused(&self) -> u64 {
        self.ties_refused
    }
}
