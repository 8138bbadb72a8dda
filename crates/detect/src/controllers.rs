//! Which devices are domain controllers: those that answer Kerberos, LDAP, netlogon or replication
//! for others. Nobody has to say so.

use thymus_schema::{Event, EventBody, Service, SnapshotError, SnapshotReader, SnapshotWriter};

use crate::cx::DetectCx;
use crate::habit::Popularity;
use crate::memory::holds_memories;
use crate::party::Party;
use crate::rpc::Interface;

const DEVICES_MAX: usize = 4_096;

/// Devices by whom they answered as a domain controller would.
#[derive(Debug)]
pub(crate) struct Controllers(Popularity);

impl Default for Controllers {
    fn default() -> Self {
        Self(Popularity::new(DEVICES_MAX))
    }
}

impl Controllers {
    /// Learns from an event.
    pub(crate) fn learn(&mut self, event: &Event, cx: &DetectCx<'_>) {
        let serves = match &event.body {
            EventBody::Kerberos(_) => true,
            EventBody::Ldap(call) => call.result == Some(0),
            EventBody::DceRpc(call) => matches!(Interface::of(call), Some(Interface::Netlogon)),
            EventBody::Flow(flow) => {
                flow.service == Some(Service::Kerberos) && flow.server_bytes > 0
            }
            _ => false,
        };
        if serves && let (Some(client), Some(server)) = (cx.client(), cx.server()) {
            // A Kerberos ticket is also shown to ordinary servers; only the service itself counts.
            let at_home = event.conn.as_ref().is_some_and(|conn| {
                matches!(conn.server.port, 88 | 389 | 464 | 3268)
                    || matches!(event.body, EventBody::DceRpc(_) | EventBody::Flow(_))
            });
            if at_home {
                self.0.note(server.key(), client.key());
            }
        }
    }

    /// Whether it has answered as one.
    pub(crate) fn has(&self, party: Party) -> bool {
        self.0.users(party.key()) > 0
    }

    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        self.0.snapshot(out);
    }

    pub(crate) fn restore(from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self(Popularity::restore(DEVICES_MAX, from)?))
    }
}

holds_memories!(Controllers: 0);
