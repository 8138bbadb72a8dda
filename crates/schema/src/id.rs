//! Identifiers. All are digests of content, so the same input gives the same ids on every run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digest of one input file or stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputId(pub u64);

/// One event: the input it came from and the record's index there. Written `INPUT-INDEX` in hex and
/// decimal, so a reader can find the record again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Which input.
    pub input: InputId,
    /// Which record of it, counted from 0.
    pub index: u64,
}

impl fmt::Display for InputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.input, self.index)
    }
}

impl FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("not an event id: {text}");
        let (input, index) = text.split_once('-').ok_or_else(bad)?;
        let input = u64::from_str_radix(input, 16).map_err(|_| bad())?;
        Ok(Self {
            input: InputId(input),
            index: index.parse().map_err(|_| bad())?,
        })
    }
}

impl FromStr for InputId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| format!("not an input id: {text}"))
    }
}

impl Serialize for InputId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for InputId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The first eight bytes of the BLAKE3 digest of `parts`, each preceded by its length.
            pub fn digest(parts: &[&[u8]]) -> Self {
                let mut hasher = blake3::Hasher::new();
                for part in parts {
                    hasher.update(&(part.len() as u64).to_le_bytes());
                    hasher.update(part);
                }
                let digest = hasher.finalize();
                let mut first = [0u8; 8];
                first.copy_from_slice(digest.as_bytes().first_chunk::<8>().unwrap_or(&[0; 8]));
                Self(u64::from_le_bytes(first))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                u64::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id! {
    /// One flow: digest of scope, transport, both endpoints and the first packet's time.
    FlowId
}
hex_id! {
    /// One alert: digest of detector, entity and the first event.
    AlertId
}
hex_id! {
    /// One incident: digest of its founding detector, entity and first event. A merge keeps the
    /// oldest.
    IncidentId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_id_reads_what_it_writes() {
        let id = EventId {
            input: InputId(0xabc),
            index: 42,
        };
        assert_eq!(id.to_string(), "0000000000000abc-42");
        assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(
            FlowId::digest(&[b"ab", b"c"]),
            FlowId::digest(&[b"a", b"bc"])
        );
    }
}
