//! Whom something is about: a device, a user, a service or an external name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What kind of thing an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityKind {
    /// A machine on the local networks, stable across address changes where the traffic allows.
    Device,
    /// An account, `DOMAIN\name` or `name`.
    User,
    /// A local service: device plus port or share.
    Service,
    /// A name or address outside the local networks.
    External,
}

impl EntityKind {
    /// The word used in identifiers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::User => "user",
            Self::Service => "service",
            Self::External => "external",
        }
    }
}

/// An entity's stable name: `device:10.0.0.7`, `user:CORP\ann`, `external:example.org`. A device's
/// key is the address (with `%SCOPE` when tagged) under which it was first seen; its other
/// addresses, hardware address and host name are aliases kept by `detect`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityId {
    /// What it is.
    pub kind: EntityKind,
    /// Its key within the kind.
    pub key: Box<str>,
}

impl EntityId {
    /// A device by its key.
    pub fn device(key: impl fmt::Display) -> Self {
        Self {
            kind: EntityKind::Device,
            key: key.to_string().into(),
        }
    }

    /// A user by name.
    pub fn user(name: impl fmt::Display) -> Self {
        Self {
            kind: EntityKind::User,
            key: name.to_string().into(),
        }
    }

    /// A local service.
    pub fn service(key: impl fmt::Display) -> Self {
        Self {
            kind: EntityKind::Service,
            key: key.to_string().into(),
        }
    }

    /// Something outside.
    pub fn external(key: impl fmt::Display) -> Self {
        Self {
            kind: EntityKind::External,
            key: key.to_string().into(),
        }
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.key)
    }
}

impl FromStr for EntityId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, key) = text
            .split_once(':')
            .ok_or_else(|| format!("no kind in entity {text}"))?;
        let kind = match kind {
            "device" => EntityKind::Device,
            "user" => EntityKind::User,
            "service" => EntityKind::Service,
            "external" => EntityKind::External,
            other => return Err(format!("unknown entity kind {other}")),
        };
        Ok(Self {
            kind,
            key: key.into(),
        })
    }
}

impl Serialize for EntityId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntityId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_even_with_colons_in_the_key() {
        let id = EntityId::device("fe80::1%10");
        assert_eq!(id.to_string().parse::<EntityId>().unwrap(), id);
        assert!("printer".parse::<EntityId>().is_err());
    }
}
