//! What can be worked out from an event alone. The thread that reads does it beforehand, so that the
//! thread that judges, which has more to do, finds it ready.

use smallvec::SmallVec;
use thymus_schema::{DnsAnswer, Event, EventBody};

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
    /// Parts of digests of names, 0 for none, with the length of their registered part, one place for each.
    known: Vec<(u32, Option<u8>)>,
}

impl Preparer {
    /// Places; a power of two.
    const PLACES: usize = 4_096;

    /// Works out what `event` alone can tell.
    pub fn prepare(&mut self, event: &Event) -> Prepared {
        let EventBody::Dns(dns) = &event.body else {
            return Prepared::default();
        };
        let name = key_of(&dns.query);
        let registered = self.registered(&dns.query, name);
        let domain = registered.and_then(|len| dns.query.get(dns.query.len() - len..));
        let addresses = dns.answers.iter().filter_map(DnsAnswer::addr);
        Prepared {
            registered,
            domain: domain.map_or(0, key_of),
            name,
            addresses: addresses.map(bits).collect(),
        }
    }

    fn registered(&mut self, name: &str, digest: u64) -> Option<usize> {
        if self.known.is_empty() {
            self.known.resize(Self::PLACES, (0, None));
        }
        let known = self.known.get_mut(digest as usize % Self::PLACES)?;
        let tag = (digest >> 32) as u32 | 1;
        if known.0 != tag {
            let len = domains::look_up(name).and_then(|domain| u8::try_from(domain.len()).ok());
            *known = (tag, len);
        }
        let len = usize::from(known.1?);
        // A name that only has the same digest as another may end in the middle of a label.
        let before = name.as_bytes().get(..name.len().checked_sub(len)?)?;
        before
            .last()
            .is_none_or(|byte| *byte == b'.')
            .then_some(len)
    }
}
