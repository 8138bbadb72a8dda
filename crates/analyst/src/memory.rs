//! What one run keeps for the next: the alerts of stories that may go on.
//!
//! A story is open while its last alert is no older than the window that ties alerts; time is that
//! of the newest alert. Only what the next run adds to is told again, with its beginning; a story
//! nothing was added to has been told, and one to which only a small oddity was added stays below the
//! line.

use thymus_schema::{Alert, SnapshotError, SnapshotReader, SnapshotWriter, Timestamp};

use crate::analyst::{Analyst, AnalystConfig};
use crate::report::Report;

const VERSION: u32 = 1;

impl Report {
    /// The section that [`Report::snapshot`] writes.
    pub const SECTION: &'static str = "analyst";

    /// Writes the alerts of open stories as a section.
    pub fn snapshot(&self, out: &mut SnapshotWriter) {
        out.section(Self::SECTION, VERSION);
        let open = self.open_alerts();
        let open: Vec<Vec<u8>> = open
            .filter_map(|alert| serde_json::to_vec(alert).ok())
            .collect();
        out.u64(open.len() as u64);
        for alert in open {
            out.bytes(&alert);
        }
    }
}

impl Analyst {
    /// Reads what [`Report::snapshot`] wrote in an earlier run.
    ///
    /// # Errors
    /// When the section is damaged or of another version; nothing is then remembered.
    pub fn restore(&mut self, data: &[u8]) -> Result<(), SnapshotError> {
        let mut from = SnapshotReader::open(Report::SECTION, data, VERSION)?;
        let mut alerts: Vec<Alert> = Vec::new();
        for _ in 0..from.count(8)? {
            let alert = serde_json::from_slice(from.bytes()?);
            alerts.push(alert.map_err(|_| SnapshotError::Invalid {
                section: Report::SECTION.to_owned(),
                reading: "alert",
            })?);
        }
        for alert in alerts {
            self.remember(alert);
        }
        Ok(())
    }
}

/// Indices of the alerts to keep, the strongest that there is room for: those of stories whose last
/// alert is within the window, unless they are older than the longest story.
pub(crate) fn open(
    alerts: &[Alert],
    stories: &[Vec<Vec<usize>>],
    config: &AnalystConfig,
) -> Vec<usize> {
    let newest = alerts.iter().map(|alert| alert.last_seen).max();
    let newest = newest.unwrap_or(Timestamp::MIN);
    let age = |alert: &Alert| newest.secs_since(alert.last_seen);
    let mut kept: Vec<(usize, &Alert)> = Vec::new();
    for story in stories {
        let own: Vec<(usize, &Alert)> = story
            .iter()
            .flatten()
            .filter_map(|&at| Some((at, alerts.get(at)?)))
            .collect();
        if own
            .iter()
            .any(|(_, alert)| age(alert) <= config.window_secs)
        {
            let young = own.into_iter();
            kept.extend(young.filter(|(_, alert)| age(alert) <= config.span_secs_max));
        }
    }
    kept.sort_by(|(_, a), (_, b)| {
        let p = |alert: &Alert| alert.p_value.neg_log10();
        b.discovered
            .cmp(&a.discovered)
            .then(p(b).total_cmp(&p(a)))
            .then(a.id.cmp(&b.id))
    });
    kept.truncate(config.kept_max);
    kept.into_iter().map(|(at, _)| at).collect()
}
