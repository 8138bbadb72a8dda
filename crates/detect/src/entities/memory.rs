//! What the table of entities forgets by age, and how it is written and read back.

use std::net::{IpAddr, Ipv6Addr};

use rustc_hash::FxHashSet;
use thymus_schema::{
    EntityId, Mac, Scope, SnapshotError, SnapshotReader, SnapshotWriter, Timestamp,
};

use super::{Bits, Device, Entities, bits};
use crate::memory::{Ages, DAYS_KEPT, Memory};
use crate::party::DeviceIdx;
use crate::roles::Roles;

impl Memory for Entities {
    fn mark(&mut self) {
        self.ages.mark();
    }

    fn pass(&mut self, days: i64) {
        self.names_days += days;
        if self.names_days * 2 >= DAYS_KEPT {
            self.turn_names();
        }
        let Some(line) = self.ages.pass(days) else {
            return;
        };
        let today = self.ages.day;
        for (device, index) in self.devices.iter_mut().zip(0..) {
            if !device.is_forgotten() && device.touched <= line {
                self.keys.remove(&device.id.key);
                *device = Device::forgotten();
                self.free.push_back((today, DeviceIdx(index)));
            }
        }
        let known = |idx: &DeviceIdx| {
            let device = self.devices.get(idx.0 as usize);
            device.is_some_and(|device| !device.is_forgotten())
        };
        self.by_addr.retain(|_, idx| known(idx));
        self.by_mac.retain(|_, idx| known(idx));
        let held: FxHashSet<Bits> = self.by_addr.keys().map(|(_, addr)| *addr).collect();
        self.spoke_for
            .retain(|_, addrs| addrs.iter().any(|addr| held.contains(&bits(*addr))));
        self.complete.clear();
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Entities {
    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        out.u64(self.devices.len() as u64);
        for device in &self.devices {
            out.str(&device.id.key)
                .u64(device.touched)
                .i64(device.first_seen.as_nanos());
            out.str(&device.mac.map_or_else(String::new, |mac| mac.to_string()));
            out.u64(device.aliases.len() as u64);
            for alias in &device.aliases {
                out.str(alias);
            }
            device.roles.snapshot(out);
        }
        out.u64(self.free.len() as u64);
        for (day, idx) in &self.free {
            out.i64(*day).u64(u64::from(idx.0));
        }
        self.ages.write(out, |clock| clock);
        let mut addrs: Vec<_> = self
            .by_addr
            .iter()
            .map(|((scope, addr), idx)| {
                let addr = IpAddr::V6(Ipv6Addr::from_bits(*addr)).to_canonical();
                ((*scope, addr), *idx)
            })
            .collect();
        addrs.sort_unstable();
        out.u64(addrs.len() as u64);
        for ((scope, addr), idx) in addrs {
            out.u64(u64::from(scope.0))
                .str(&addr.to_string())
                .u64(u64::from(idx.0));
        }
    }

    pub(crate) fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let mut restored = Self::new(self.local.clone());
        for _ in 0..from.count(32)? {
            let id = EntityId::device(from.str()?);
            let touched = from.u64()?;
            let first_seen = Timestamp::from_nanos(from.i64()?);
            let mac = from.str()?.parse::<Mac>().ok();
            let aliases: Result<Vec<Box<str>>, _> = (0..from.count(8)?)
                .map(|_| from.str().map(Box::from))
                .collect();
            let roles = Roles::restore(from)?;
            let device = Device {
                id,
                aliases: aliases?,
                first_seen,
                mac,
                roles,
                touched,
            };
            if !device.is_forgotten() {
                restored.keys.insert(device.id.key.clone());
            }
            restored.devices.push(device);
        }
        for _ in 0..from.count(16)? {
            restored
                .free
                .push_back((from.i64()?, DeviceIdx(from.u64()? as u32)));
        }
        restored.ages = Ages::read(from)?;
        for _ in 0..from.count(24)? {
            let scope = Scope(from.u64()? as u32);
            let addr = from.str()?.parse::<IpAddr>();
            let idx = DeviceIdx(from.u64()? as u32);
            if let Ok(addr) = addr
                && (idx.0 as usize) < restored.devices.len()
            {
                restored.by_addr.insert((scope, bits(addr)), idx);
                if let Some(mac) = restored.devices.get(idx.0 as usize).and_then(|d| d.mac) {
                    restored.by_mac.insert((scope, mac), idx);
                }
            }
        }
        *self = restored;
        Ok(())
    }
}
