//! Takes alerts in and makes the report.

use std::collections::{BTreeMap, BTreeSet};

use thymus_schema::{Alert, AlertId, EntityId};

use crate::correlate::{correlate, ties};
use crate::memory::open;
use crate::narrative::Names;
use crate::report::Report;
use crate::story;

/// How alerts are tied together. Times are event time.
#[derive(Clone, Debug)]
pub struct AnalystConfig {
    /// Alerts further apart than this are different stories, in seconds.
    pub window_secs: f64,
    /// The longest story of one entity, in seconds; a longer one is cut.
    pub span_secs_max: f64,
    /// Alerts weaker than this (−log10 p) and not discovered tie no two entities together.
    pub link_neg_log10_min: f64,
    /// An outside name or address that steers more entities than this is a popular service, not a
    /// controller, and ties nothing together.
    pub shared_entities_max: usize,
    /// A reconnaissance alert with more targets than this does not make its targets part of the
    /// story when they act later: somebody who looks at everything explains nothing.
    pub scan_targets_max: usize,
    /// Most entities that act in one story; a tie that would exceed it is refused and counted.
    pub entities_max: usize,
    /// Most alerts kept; the weakest are dropped and counted.
    pub alerts_max: usize,
    /// Most steps told of one story; the weakest are left out.
    pub steps_max: usize,
    /// Most alerts kept for the next run; the weakest are forgotten.
    pub kept_max: usize,
    /// What detectors flag, by detector id, for titles.
    pub titles: BTreeMap<String, String>,
}

impl Default for AnalystConfig {
    fn default() -> Self {
        Self {
            window_secs: 86_400.0,
            span_secs_max: 7.0 * 86_400.0,
            link_neg_log10_min: 2.0,
            shared_entities_max: 5,
            scan_targets_max: 4,
            entities_max: 24,
            alerts_max: 20_000,
            steps_max: 64,
            kept_max: 4_000,
            titles: BTreeMap::new(),
        }
    }
}

/// What the analyst is told about the site.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Devices known: the budget grows with them.
    pub devices: u64,
    /// Entities used by many devices in ordinary life: resolvers, proxies, gateways, file servers,
    /// well-known outside names. They tie no stories together.
    pub popular: BTreeSet<EntityId>,
}

/// Collects alerts and makes incidents of them.
#[derive(Clone, Debug, Default)]
pub struct Analyst {
    config: AnalystConfig,
    alerts: BTreeMap<AlertId, Alert>,
    /// Of them those of an earlier run, which told them.
    earlier: BTreeSet<AlertId>,
    dropped: u64,
}

impl Analyst {
    /// An analyst that has seen nothing.
    pub fn new(config: AnalystConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Takes in an alert; one with an id seen before replaces the earlier.
    pub fn observe(&mut self, alert: Alert) {
        self.earlier.remove(&alert.id);
        self.alerts.insert(alert.id, alert);
        if self.alerts.len()
            > self
                .config
                .alerts_max
                .saturating_add(self.config.alerts_max / 4)
        {
            self.drop_weakest();
        }
    }

    /// Takes in an alert of an earlier run.
    pub(crate) fn remember(&mut self, alert: Alert) {
        self.earlier.insert(alert.id);
        self.alerts.insert(alert.id, alert);
    }

    /// How many alerts are held.
    pub fn alerts(&self) -> usize {
        self.alerts.len()
    }

    /// Makes the report.
    pub fn finish(mut self, site: &Site) -> Report {
        if self.alerts.len() > self.config.alerts_max {
            self.drop_weakest();
        }
        let mut alerts: Vec<Alert> = self.alerts.into_values().collect();
        alerts.sort_by(|a, b| a.first_seen.cmp(&b.first_seen).then(a.id.cmp(&b.id)));
        let correlated = correlate(&alerts, &self.config, site);
        let open = open(&alerts, &correlated.stories, &self.config);
        let open = open.into_iter().filter_map(|at| Some(alerts.get(at)?.id));
        let open = open.collect();
        let names = Names::of_alerts(&alerts);
        let candidates = correlated.stories.iter().filter_map(|parts| {
            let own = parts.iter().flatten().filter_map(|&at| alerts.get(at));
            let mut new = own.filter(|alert| !self.earlier.contains(&alert.id));
            let first = new.next()?;
            let mut told = story::tell(&alerts, parts, &names, &self.config);
            // A small oddity more is no reason to show again what was shown before.
            told.discovered &= new.chain([first]).any(|alert| ties(alert, &self.config));
            Some(told)
        });
        let candidates = candidates.collect();
        Report::new(candidates, alerts, names, site.devices)
            .counting(self.dropped, correlated.ties_refused)
            .keeping(open)
    }

    /// Keeps the discovered and then the strongest alerts.
    fn drop_weakest(&mut self) {
        let mut order: Vec<(bool, f64, AlertId)> = self
            .alerts
            .values()
            .map(|alert| (alert.discovered, alert.p_value.neg_log10(), alert.id))
            .collect();
        order.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
        for (_, _, id) in order.iter().skip(self.config.alerts_max) {
            self.alerts.remove(id);
            self.dropped += 1;
        }
    }
}
