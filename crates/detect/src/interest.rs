//! Which kinds of events a detector looks at, so that the engine need not call it for others.

use thymus_schema::{Event, EventBody, FlowRecord, Service, Transport};

/// A set of event kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(u32);

/// How many kinds of events there are.
pub(crate) const KINDS: usize = 23;

macro_rules! kinds {
    ($($name:ident $variant:ident $number:literal $text:literal;)*) => {
        impl Interest {
            /// Every kind: what a detector that does not say gets.
            pub const ALL: Self = Self(u32::MAX);
            $(#[doc = concat!("Events of the kind `", $text, "`.")]
            pub const $name: Self = Self(1 << $number);)*
        }

        /// The number of an event's kind, below [`KINDS`].
        pub(crate) fn number(event: &Event) -> usize {
            match &event.body {
                EventBody::Flow(flow) if is_dns(event, flow) => DNS_FLOW,
                $(EventBody::$variant(_) => $number,)*
            }
        }
    };
}

kinds! {
    ARP Arp 0 "arp";
    DCE_RPC DceRpc 1 "dce_rpc";
    DHCP Dhcp 2 "dhcp";
    DNS Dns 3 "dns";
    FILE_SEEN FileSeen 4 "file_seen";
    FLOW Flow 5 "flow";
    HTTP Http 6 "http";
    ICS Ics 7 "ics";
    KERBEROS Kerberos 8 "kerberos";
    LDAP Ldap 9 "ldap";
    LOGIN Login 10 "login";
    MAIL Mail 11 "mail";
    NDP Ndp 12 "ndp";
    NTLM Ntlm 13 "ntlm";
    OBSERVATION Observation 14 "observation";
    OPERATION Operation 15 "operation";
    QUIRK Quirk 16 "quirk";
    RDP Rdp 17 "rdp";
    SMB Smb 18 "smb";
    SSH Ssh 19 "ssh";
    TLS Tls 20 "tls";
    TRAFFIC Traffic 21 "traffic";
}

/// The number of the kind that has no body of its own.
const DNS_FLOW: usize = KINDS - 1;

/// Whether a flow is an exchange of DNS datagrams.
fn is_dns(event: &Event, flow: &FlowRecord) -> bool {
    flow.service == Some(Service::Dns)
        && event
            .conn
            .as_ref()
            .is_some_and(|conn| conn.transport == Transport::Udp)
}

impl Interest {
    /// Flows that are exchanges of DNS datagrams. They make up most flows of many networks and tell
    /// little that the events of the kind `dns` do not, so [`Interest::FLOW`] leaves them out.
    pub const DNS_FLOW: Self = Self(1 << DNS_FLOW);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the kind with this number belongs to the set.
    pub(crate) const fn has(self, number: usize) -> bool {
        self.0 & (1 << number) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        let set = Interest::DNS.and(Interest::TRAFFIC);
        let numbers: Vec<usize> = (0..KINDS).filter(|number| set.has(*number)).collect();
        assert_eq!(numbers, [3, KINDS - 2]);
        assert!((0..KINDS).all(|number| Interest::ALL.has(number)));
    }
}
