//! What can be worked out from an event alone. The thread that reads does it beforehand, so that the
//! thread that judges, which has more to do, finds it ready.

use std::net::IpAddr;

use smallvec::SmallVec;
use thymus_schema::{Event, EventBody};

use crate::domains;
use crate::entities::{Bits, bits};

/// An event's own part of the work.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// Length of the registered part of the name asked for.
    pub(crate) registered: Option<usize>,
    /// The addresses a name server gave.
    pub(crate) addresses: SmallVec<[Bits; 2]>,
}

impl Prepared {
    /// Works out what `event` alone can tell.
    pub fn of(event: &Event) -> Self {
        let EventBody::Dns(dns) = &event.body else {
            return Self::default();
        };
        let addresses = dns.answers.iter().filter_map(|answer| match answer.rtype {
            1 => answer.data.parse().ok().map(IpAddr::V4),
            28 => answer.data.parse().ok().map(IpAddr::V6),
            _ => None,
        });
        Self {
            registered: domains::look_up(&dns.query).map(str::len),
            addresses: addresses.map(bits).collect(),
        }
    }
}
