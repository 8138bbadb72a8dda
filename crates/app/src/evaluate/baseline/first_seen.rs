//! First-seen: a device that talks to destinations and ports it never talked to while learning. The
//! score is how many such pairs a device has on a day.
//!
//! Without a normal period the first tenth of the time is for learning.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thymus_schema::{Event, LocalNetworks, Timestamp};

use crate::evaluate::baseline::{Alarm, Baseline};

/// Most pairs kept.
const PAIRS_MAX: usize = 2_000_000;
const LEARNING_SHARE: f64 = 0.1;

/// The baseline.
#[derive(Debug, Default)]
pub(crate) struct FirstSeen {
    /// When a device first talked to a destination and port.
    pairs: BTreeMap<(IpAddr, IpAddr, u16), Timestamp>,
    learned: Option<Timestamp>,
    span: Option<(Timestamp, Timestamp)>,
}

impl Baseline for FirstSeen {
    fn name(&self) -> &'static str {
        "first_seen"
    }

    fn observe(&mut self, event: &Event, local: &LocalNetworks, learning: bool) {
        if learning {
            self.learned = self.learned.max(Some(event.ts));
        } else {
            let (first, last) = self.span.unwrap_or((event.ts, event.ts));
            self.span = Some((first.min(event.ts), last.max(event.ts)));
        }
        let Some(conn) = &event.conn else { return };
        let pair = (conn.client.addr, conn.server.addr, conn.server.port);
        if local.contains(pair.0)
            && (self.pairs.len() < PAIRS_MAX || self.pairs.contains_key(&pair))
        {
            self.pairs.entry(pair).or_insert(event.ts);
        }
    }

    fn alarms(&self) -> Vec<Alarm> {
        let Some((first, last)) = self.span else {
            return Vec::new();
        };
        let tenth =
            std::time::Duration::from_secs_f64(last.secs_since(first).max(0.0) * LEARNING_SHARE);
        let known_until = self.learned.unwrap_or_else(|| first.plus(tenth));
        let mut alarms: BTreeMap<(IpAddr, i64), Alarm> = BTreeMap::new();
        for ((device, _, _), ts) in self.pairs.iter().filter(|(_, ts)| **ts > known_until) {
            let alarm = alarms.entry((*device, ts.day())).or_insert(Alarm {
                device: *device,
                first: *ts,
                last: *ts,
                score: 0.0,
            });
            alarm.first = alarm.first.min(*ts);
            alarm.last = alarm.last.max(*ts);
            alarm.score += 1.0;
        }
        alarms.into_values().collect()
    }
}
