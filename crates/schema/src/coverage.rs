//! What was looked at and what was not, stated beside every result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why something was not judged, snake case, stable: it appears in machine-readable output.
pub type DropReason = String;

/// Totals of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Packets read.
    pub packets: u64,
    /// Packets that became part of a flow or of a link-layer event.
    pub packets_judged: u64,
    /// Bytes read, as captured.
    pub bytes: u64,
    /// Flows.
    pub flows: u64,
    /// Log records read.
    pub records: u64,
    /// Log records that became events.
    pub records_judged: u64,
    /// Events delivered to detection.
    pub events: u64,
    /// Entities known.
    pub entities: u64,
    /// Entities whose own history is still too short to be compared with.
    pub cold_entities: u64,
    /// What was dropped, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// How far the analysis was behind the wire at most, in milliseconds; only where it ran live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms_max: Option<u64>,
    /// Only packets that this expression describes were looked at; nobody counted the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

impl Coverage {
    /// Counts `n` more drops for `reason`.
    pub fn drop_for(&mut self, reason: &str, n: u64) {
        if n == 0 {
            return;
        }
        if let Some(count) = self.dropped.get_mut(reason) {
            *count = count.saturating_add(n);
        } else {
            self.dropped.insert(reason.to_owned(), n);
        }
    }

    /// The share of packets and log records that was judged; 1 when there were none.
    pub fn judged_share(&self) -> f64 {
        let read = self.packets + self.records;
        let judged = self.packets_judged + self.records_judged;
        if read == 0 {
            1.0
        } else {
            judged as f64 / read as f64
        }
    }

    /// Adds another run's totals (entities are taken from the later run, not added).
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.packets_judged += other.packets_judged;
        self.bytes += other.bytes;
        self.flows += other.flows;
        self.records += other.records;
        self.records_judged += other.records_judged;
        self.events += other.events;
        self.entities = other.entities;
        self.cold_entities = other.cold_entities;
        self.lag_ms_max = self.lag_ms_max.max(other.lag_ms_max);
        if other.filter.is_some() {
            self.filter.clone_from(&other.filter);
        }
        for (reason, n) in &other.dropped {
            self.drop_for(reason, *n);
        }
    }
}
