//! Box plot over volume: a device whose bytes of an hour lie above the upper Tukey fence (Tukey
//! 1977: third quartile plus one and a half interquartile ranges) of its own hours, or of all
//! devices' hours while it has too few of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thymus_schema::{Event, EventBody, LocalNetworks, Timestamp};

use crate::evaluate::baseline::{Alarm, Baseline};

const HOUR: i64 = 3_600;
/// Hours of its own that a device needs before it is compared with itself.
const OWN_HOURS_MIN: usize = 8;
/// Most device-hours kept.
const HOURS_MAX: usize = 2_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Hour {
    bytes: u64,
    learned: bool,
}

/// The baseline.
#[derive(Debug, Default)]
pub(crate) struct Volume {
    hours: BTreeMap<(IpAddr, i64), Hour>,
}

impl Baseline for Volume {
    fn name(&self) -> &'static str {
        "volume_box_plot"
    }

    fn observe(&mut self, event: &Event, local: &LocalNetworks, learning: bool) {
        let (Some(conn), EventBody::Flow(flow)) = (&event.conn, &event.body) else {
            return;
        };
        let bytes = flow.client_bytes + flow.server_bytes;
        let hour = event.ts.as_secs().div_euclid(HOUR);
        for addr in [conn.client.addr, conn.server.addr] {
            let is_new = !self.hours.contains_key(&(addr, hour));
            if !local.contains(addr) || (is_new && self.hours.len() >= HOURS_MAX) {
                continue;
            }
            let own = self.hours.entry((addr, hour)).or_default();
            own.bytes += bytes;
            own.learned = learning;
        }
    }

    fn alarms(&self) -> Vec<Alarm> {
        let site: Vec<u64> = self.hours.values().map(|hour| hour.bytes).collect();
        let mut own: BTreeMap<IpAddr, Vec<u64>> = BTreeMap::new();
        for ((addr, _), hour) in &self.hours {
            own.entry(*addr).or_default().push(hour.bytes);
        }
        let site_fence = Fence::of(&site);
        let mut alarms: BTreeMap<(IpAddr, i64), Alarm> = BTreeMap::new();
        for ((addr, at), hour) in self.hours.iter().filter(|(_, hour)| !hour.learned) {
            let hours = own.get(addr).map_or(&[][..], Vec::as_slice);
            let fence = if hours.len() >= OWN_HOURS_MIN {
                Fence::of(hours)
            } else {
                site_fence
            };
            let score = fence.beyond(hour.bytes);
            if score <= 0.0 {
                continue;
            }
            let (first, last) = (at * HOUR, (at + 1) * HOUR);
            let alarm = alarms
                .entry((*addr, first.div_euclid(86_400)))
                .or_insert(Alarm {
                    device: *addr,
                    first: Timestamp::from_secs(first),
                    last: Timestamp::from_secs(last),
                    score,
                });
            alarm.last = Timestamp::from_secs(last);
            alarm.score = alarm.score.max(score);
        }
        alarms.into_values().collect()
    }
}

#[derive(Clone, Copy)]
struct Fence {
    upper_quartile: f64,
    range: f64,
}

impl Fence {
    fn of(values: &[u64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let quartile = |share: f64| {
            let at = share * (sorted.len().saturating_sub(1)) as f64;
            let (low, high) = (at.floor() as usize, at.ceil() as usize);
            let value = |i: usize| sorted.get(i).copied().unwrap_or(0) as f64;
            value(low) + (value(high) - value(low)) * (at - at.floor())
        };
        let upper_quartile = quartile(0.75);
        Self {
            upper_quartile,
            range: upper_quartile - quartile(0.25),
        }
    }

    /// Interquartile ranges beyond the fence; 0 inside it.
    fn beyond(self, value: u64) -> f64 {
        let fence = self.upper_quartile + 1.5 * self.range;
        ((value as f64 - fence) / self.range.max(1.0)).max(0.0)
    }
}
