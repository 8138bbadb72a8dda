//! Where on the wire something was: hardware address and the tagged network it was in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A 48-bit hardware address, written `aa:bb:cc:dd:ee:ff`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether the group bit is set (multicast or broadcast).
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether no address was given.
    pub const fn is_zero(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// Whether the locally-administered bit is set, as randomised phone addresses have it.
    pub const fn is_local(self) -> bool {
        self.0[0] & 2 == 2
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Mac {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            *byte = u8::from_str_radix(parts.next().ok_or(())?, 16).map_err(|_| ())?;
        }
        if parts.next().is_some() {
            Err(())
        } else {
            Ok(Self(bytes))
        }
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|()| serde::de::Error::custom("not a hardware address"))
    }
}

/// The tagged network a packet was in: a digest of its VLAN stack and tunnel identifiers, outermost
/// first; 0 when untagged. Two hosts with one address in two VLANs are two entities.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Scope(pub u32);

impl Scope {
    /// The untagged network.
    pub const NONE: Self = Self(0);

    /// The scope reached by entering the tag or tunnel `id` of the given `kind` from here. A lone
    /// VLAN tag keeps its number, so reports can name it.
    #[must_use]
    pub fn enter(self, kind: u8, id: u32) -> Self {
        if self == Self::NONE && kind == Self::VLAN && id < 4096 {
            return Self(id);
        }
        let mut hash = 0x811c_9dc5_u32;
        for byte in self
            .0
            .to_le_bytes()
            .into_iter()
            .chain([kind])
            .chain(id.to_le_bytes())
        {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        Self(hash | 0x8000_0000)
    }

    /// Kind of an 802.1Q or 802.1ad tag.
    pub const VLAN: u8 = 0;
    /// Kind of a VXLAN network identifier.
    pub const VXLAN: u8 = 1;
    /// Kind of a GRE key.
    pub const GRE: u8 = 2;

    /// Whether nothing was tagged.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("untagged"),
            id @ 1..4096 => write!(f, "vlan {id}"),
            digest => write!(f, "net {digest:08x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_reads_what_it_writes() {
        let mac: Mac = "00:1A:2b:3c:4d:5e".parse().unwrap();
        assert_eq!(mac.to_string(), "00:1a:2b:3c:4d:5e");
        assert!("00:1a:2b".parse::<Mac>().is_err());
    }

    #[test]
    fn a_stack_of_tags_is_a_scope_of_its_own() {
        let outer = Scope::NONE.enter(Scope::VLAN, 10);
        assert_eq!(outer, Scope(10));
        assert_ne!(
            outer.enter(Scope::VLAN, 20),
            Scope::NONE.enter(Scope::VLAN, 20)
        );
        assert_ne!(Scope::NONE.enter(Scope::VXLAN, 10), Scope(10));
    }
}
