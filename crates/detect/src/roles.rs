//! What a device does on the network, learned from whom it calls and who calls it. Devices that do
//! alike are peers: what is rare for one is compared with the others of its group.

use std::collections::BTreeMap;

use thymus_schema::{Event, EventBody, Service, SnapshotError, SnapshotReader, SnapshotWriter};

use crate::party::Party;

/// Counters of one device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roles {
    initiated: u64,
    initiated_outside: u64,
    accepted: u64,
    /// Answered conversations by service, for the ports it serves on; bounded.
    serves: BTreeMap<Service, u64>,
    /// Recent clients by a small rotating sketch: how many differ.
    clients: ClientSketch,
}

/// A linear-counting sketch of 128 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct ClientSketch(u128);

impl ClientSketch {
    fn add(&mut self, key: u64) {
        let mixed = (key ^ (key >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 |= 1 << (mixed >> 57);
    }

    /// Estimated distinct keys, about 0 to 600.
    fn estimate(self) -> f64 {
        let empty = f64::from(self.0.count_zeros()).max(0.5);
        -128.0 * (empty / 128.0).ln()
    }
}

impl Roles {
    const SERVES_MAX: usize = 16;

    pub(crate) fn initiated(&mut self, server: Party, event: &Event) {
        if is_answered(event) {
            self.initiated += 1;
            self.initiated_outside += u64::from(!server.is_local());
        }
    }

    pub(crate) fn accepted(&mut self, client: Party, event: &Event) {
        let EventBody::Flow(flow) = &event.body else {
            return;
        };
        if !is_answered(event) {
            return;
        }
        self.accepted += 1;
        self.clients.add(client.key());
        if let Some(service) = flow.service
            && (self.serves.len() < Self::SERVES_MAX || self.serves.contains_key(&service))
        {
            *self.serves.entry(service).or_default() += 1;
        }
    }

    /// Whether several devices use it as a server for `service`.
    pub fn is_server_of(&self, service: Service) -> bool {
        self.serves.get(&service).is_some_and(|n| *n >= 5) && self.clients.estimate() >= 3.0
    }

    /// About how many different clients it has answered.
    pub fn clients(&self) -> f64 {
        self.clients.estimate()
    }

    /// Conversations it began that were answered.
    pub fn initiated_total(&self) -> u64 {
        self.initiated
    }

    /// Conversations it answered.
    pub fn accepted_total(&self) -> u64 {
        self.accepted
    }

    /// The peer group: devices with the same coarse profile of calling and serving.
    pub fn group(&self) -> u64 {
        let total = self.initiated + self.accepted;
        if total < 20 {
            return 0;
        }
        let serving = match self.accepted * 100 / total {
            0..10 => 1,
            10..60 => 2,
            _ => 3,
        };
        let outside = match self.initiated_outside * 100 / self.initiated.max(1) {
            0..20 => 0,
            20..80 => 1,
            _ => 2,
        };
        let infrastructure = u64::from(
            [
                Service::Dns,
                Service::Kerberos,
                Service::Ldap,
                Service::Smb,
                Service::Dhcp,
            ]
            .iter()
            .any(|service| self.is_server_of(*service)),
        );
        serving * 6 + outside * 2 + infrastructure
    }

    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        out.u64(self.initiated)
            .u64(self.initiated_outside)
            .u64(self.accepted);
        out.u64(self.clients.0 as u64)
            .u64((self.clients.0 >> 64) as u64);
        out.u64(self.serves.len() as u64);
        for (service, n) in &self.serves {
            out.str(service.as_str()).u64(*n);
        }
    }

    pub(crate) fn restore(from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
        let mut roles = Self {
            initiated: from.u64()?,
            initiated_outside: from.u64()?,
            accepted: from.u64()?,
            ..Self::default()
        };
        roles.clients.0 = u128::from(from.u64()?) | u128::from(from.u64()?) << 64;
        for _ in 0..from.count(16)? {
            let service = Service::from_name(from.str()?);
            let n = from.u64()?;
            if let Some(service) = service {
                roles.serves.insert(service, n);
            }
        }
        Ok(roles)
    }
}

fn is_answered(event: &Event) -> bool {
    matches!(&event.body, EventBody::Flow(flow) if flow.server_packets > 0 && !flow.state.is_failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sketch_counts_small_numbers_well() {
        let mut sketch = ClientSketch::default();
        for key in 0..20 {
            sketch.add(key);
            sketch.add(key);
        }
        assert!(
            (15.0..27.0).contains(&sketch.estimate()),
            "{}",
            sketch.estimate()
        );
    }

    #[test]
    fn a_new_device_belongs_to_the_group_of_the_unknown() {
        assert_eq!(Roles::default().group(), 0);
    }
}
