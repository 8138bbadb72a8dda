//! Device-days: how long each local device was there to be watched.
//!
//! A device counts from its first to its last sign of life, without absences longer than a day. Only
//! what a device itself sends is a sign of life: addresses that somebody else merely tried are none.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thymus_schema::{Event, EventBody, LocalNetworks, Scope, Timestamp};

const ABSENCE_SECS: f64 = 86_400.0;
/// Most addresses followed.
const DEVICES_MAX: usize = 200_000;

/// Counts device-days.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    devices: BTreeMap<(Scope, IpAddr), Span>,
    first: Option<Timestamp>,
}

#[derive(Debug)]
struct Span {
    last: Timestamp,
    secs: f64,
}

impl Activity {
    /// Takes in one event.
    pub(crate) fn observe(&mut self, event: &Event, local: &LocalNetworks) {
        self.first = Some(self.first.map_or(event.ts, |first| first.min(event.ts)));
        if let EventBody::Arp(arp) = &event.body {
            self.alive(Scope::NONE, arp.sender, event.ts, local);
        }
        if let EventBody::Traffic(window) = &event.body
            && let (Some(addr), true) = (window.addr, window.packets_out > 0)
        {
            self.alive(window.scope, addr, event.ts, local);
        }
        let Some(conn) = &event.conn else { return };
        if !is_unsolicited(&event.body) {
            self.alive(conn.scope, conn.client.addr, event.ts, local);
        }
        if let EventBody::Flow(flow) = &event.body
            && flow.server_packets > 0
        {
            self.alive(conn.scope, conn.server.addr, event.ts, local);
        }
    }

    fn alive(&mut self, scope: Scope, addr: IpAddr, ts: Timestamp, local: &LocalNetworks) {
        if !local.contains(addr) {
            return;
        }
        if let Some(span) = self.devices.get_mut(&(scope, addr)) {
            let secs = ts.secs_since(span.last);
            if secs > 0.0 {
                span.secs += if secs <= ABSENCE_SECS { secs } else { 0.0 };
                span.last = ts;
            }
        } else if self.devices.len() < DEVICES_MAX {
            self.devices.insert(
                (scope, addr),
                Span {
                    last: ts,
                    secs: 0.0,
                },
            );
        }
    }

    /// Device-days so far.
    pub(crate) fn device_days(&self) -> f64 {
        self.devices.values().map(|span| span.secs).sum::<f64>() / 86_400.0
    }

    /// The earliest event.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.first
    }
}

/// An observation names whom it is about, not who sent something.
fn is_unsolicited(body: &EventBody) -> bool {
    matches!(body, EventBody::Observation(_))
}
