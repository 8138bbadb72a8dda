//! What is known of a device, for people to look at.

use std::net::IpAddr;

use serde::Serialize;
use thymus_schema::{EntityId, Service, Timestamp};

use super::Entities;
use crate::party::DeviceIdx;

/// A device as people see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceCard {
    /// Its identity.
    pub entity: EntityId,
    /// What it is best called.
    pub name: Box<str>,
    /// Addresses it has held.
    pub addresses: Vec<Box<str>>,
    /// Names it goes by.
    pub names: Vec<Box<str>>,
    /// Its hardware address, once that is certain.
    pub mac: Option<Box<str>>,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// Services it answers to several others for.
    pub roles: Vec<Service>,
    /// Devices of one group do alike.
    pub group: Box<str>,
}

impl Entities {
    /// What is known of a device; nothing for an index that is not in use.
    pub fn card(&self, index: DeviceIdx) -> Option<DeviceCard> {
        let device = self.devices.get(index.0 as usize)?;
        if device.is_forgotten() {
            return None;
        }
        let aliases = device.aliases.iter().cloned();
        let (addresses, names): (Vec<Box<str>>, Vec<_>) =
            aliases.partition(|alias| alias.parse::<IpAddr>().is_ok());
        let best = names.first().or(addresses.last());
        let is_server = |service: &&Service| device.roles.is_server_of(**service);
        Some(DeviceCard {
            entity: device.id.clone(),
            name: best.unwrap_or(&device.id.key).clone(),
            addresses,
            names,
            mac: device.mac.map(|mac| mac.to_string().into()),
            first_seen: device.first_seen,
            roles: Service::ALL.iter().filter(is_server).copied().collect(),
            group: format!("{:x}", device.roles.group()).into(),
        })
    }
}
