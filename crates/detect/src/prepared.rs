//! What can be worked out from an event alone. The thread that reads does it beforehand, so that the
//! thread that judges, which has more to do, finds it ready.

use std::net::IpAddr;

use smallvec::SmallVec;
use thymus_schema::{Event, EventBody};

use crate::domains;
use crate::entities::{Bits, bits};
use crate::trail::key_of;

/// An event's own part of the work, as [`Preparer`] does it.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// Length of the registered part of the name asked for.
    pub(crate) registered: Option<usize>,
    /// Digests of that part and of the whole name.
    pub(crate) domain: u64,
    pub(crate) name: u64,
    /// The addresses a name server gave.
    pub(crate) addresses: SmallVec<[Bits; 2]>,
}

/// Works out what events alone can tell. Names come again and again, so what is registered of them is
/// remembered.
#[derive(Clone, Debug, Default)]
pub struct Preparer {
    /// Digests of names with the length of their registered part, one place for each.
    known: Vec<(u64, Option<u16>)>,
}

impl Preparer {
    /// Places; a power of two.
    const PLACES: usize = 8_192;

    /// Works out what `event` alone can tell.
    pub fn prepare(&mut self, event: &Event) -> Prepared {
        let EventBody::Dns(dns) = &event.body else {
            return Prepared::default();
        };
        let name = key_of(&dns.query);
        let registered = self.registered(&dns.query, name);
        let domain = registered.and_then(|len| dns.query.get(dns.query.len() - len..));
        let addresses = dns.answers.iter().filter_map(|answer| match answer.rtype {
            1 => answer.data.parse().ok().map(IpAddr::V4),
            28 => answer.data.parse().ok().map(IpAddr::V6),
            _ => None,
        });
        Prepared {
            registered,
            domain: domain.map_or(0, key_of),
            name,
            addresses: addresses.map(bits).collect(),
        }
    }

    fn registered(&mut self, name: &str, digest: u64) -> Option<usize> {
        self.known.resize(Self::PLACES, (0, None));
        let known = self.known.get_mut(digest as usize % Self::PLACES)?;
        if known.0 != digest {
            let len = domains::look_up(name).and_then(|domain| u16::try_from(domain.len()).ok());
            *known = (digest, len);
        }
        let len = usize::from(known.1?);
        (len <= name.len()).then_some(len)
    }
}
