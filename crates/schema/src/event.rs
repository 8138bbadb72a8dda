//! What was seen. An event never says what to think of it.

use serde::{Deserialize, Serialize};

use crate::flow::{Conn, FlowRecord, TrafficWindow};
use crate::protocol::{
    ArpMessage, DceRpcCall, DhcpMessage, DnsTransaction, FileSeen, HttpTransaction, IcsCall,
    KerberosExchange, LdapCall, Login, MailEnvelope, NdpMessage, NtlmAuth, Observation, Operation,
    QuirkSeen, RdpHello, SmbOperation, SshHello, TlsHandshake,
};
use crate::{EventId, Timestamp};

/// One thing that was seen on the wire or in a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Digest of the input and the record's index in it.
    pub id: EventId,
    /// When it was complete (the last packet of a transaction, the end of a flow). Sources deliver
    /// events in this order as far as their reordering window allows.
    pub ts: Timestamp,
    /// Between whom, when it belongs to a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conn: Option<Conn>,
    /// What.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What was seen. Large variants are boxed so that a batch of events stays small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventBody {
    /// An ARP request or reply.
    Arp(ArpMessage),
    /// A DCE/RPC request, with its response when seen.
    DceRpc(Box<DceRpcCall>),
    /// A DHCP message.
    Dhcp(Box<DhcpMessage>),
    /// A DNS, mDNS, LLMNR or NetBIOS name query with its answer.
    Dns(Box<DnsTransaction>),
    /// A file moved over the network.
    FileSeen(Box<FileSeen>),
    /// A flow, or a part of a long one.
    Flow(Box<FlowRecord>),
    /// An HTTP request with its response.
    Http(Box<HttpTransaction>),
    /// A request to an industrial controller.
    Ics(Box<IcsCall>),
    /// A Kerberos exchange.
    Kerberos(Box<KerberosExchange>),
    /// An LDAP operation.
    Ldap(Box<LdapCall>),
    /// An attempt to log in, over whatever protocol.
    Login(Box<Login>),
    /// A mail handed over by SMTP.
    Mail(Box<MailEnvelope>),
    /// An IPv6 neighbour discovery message.
    Ndp(NdpMessage),
    /// An NTLM authentication.
    Ntlm(Box<NtlmAuth>),
    /// Another tool's alert, or a hit on the user's own indicator list. Evidence, never truth.
    Observation(Box<Observation>),
    /// An operation of a protocol that has no event of its own.
    Operation(Box<Operation>),
    /// Something malformed.
    Quirk(QuirkSeen),
    /// The start of a remote desktop session.
    Rdp(Box<RdpHello>),
    /// An operation on a file share.
    Smb(Box<SmbOperation>),
    /// The start of an SSH session.
    Ssh(Box<SshHello>),
    /// A TLS or QUIC handshake.
    Tls(Box<TlsHandshake>),
    /// Packet statistics of one local address over a few seconds.
    Traffic(Box<TrafficWindow>),
}

impl EventBody {
    /// The word used in JSON and in reports.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Arp(_) => "arp",
            Self::DceRpc(_) => "dce_rpc",
            Self::Dhcp(_) => "dhcp",
            Self::Dns(_) => "dns",
            Self::FileSeen(_) => "file_seen",
            Self::Flow(_) => "flow",
            Self::Http(_) => "http",
            Self::Ics(_) => "ics",
            Self::Kerberos(_) => "kerberos",
            Self::Ldap(_) => "ldap",
            Self::Login(_) => "login",
            Self::Mail(_) => "mail",
            Self::Ndp(_) => "ndp",
            Self::Ntlm(_) => "ntlm",
            Self::Observation(_) => "observation",
            Self::Operation(_) => "operation",
            Self::Quirk(_) => "quirk",
            Self::Rdp(_) => "rdp",
            Self::Smb(_) => "smb",
            Self::Ssh(_) => "ssh",
            Self::Tls(_) => "tls",
            Self::Traffic(_) => "traffic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_small_enough_for_batches() {
        assert!(
            std::mem::size_of::<Event>() <= 192,
            "{}",
            std::mem::size_of::<Event>()
        );
    }

    #[test]
    fn a_short_json_line_is_an_event() {
        let line = r#"{"id":"0000000000000001-7","ts":"2024-05-06T10:00:00Z",
            "conn":{"client":{"addr":"10.0.0.7","port":5000},
                    "server":{"addr":"10.0.0.1","port":53},"transport":"udp"},
            "kind":"dns","query":"example.org","qtype":1,"rcode":0}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!(event.body.kind(), "dns");
        let again: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
        assert_eq!(again, event);
    }
}
