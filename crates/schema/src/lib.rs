//! The nouns that cross crates, and nothing else.
//!
//! Sources make [`Event`]s, detectors make [`Alert`]s, the analyst makes [`Incident`]s. This crate
//! holds those types, the identifiers that tie them together and the plain-data snapshot format in
//! which state is kept. It does no I/O, reads no clock, and knows no detector: whoever needs two
//! layers to meet puts the meeting point here.
//!
//! Reading order follows the data: time and identity, events, alerts, incidents, state.

#![forbid(unsafe_code)]

mod time;

mod address;
mod entity;
mod id;

mod event;
mod flow;
mod local;
mod protocol;
mod service;

mod alert;
mod fact;
mod incident;
mod pvalue;
mod technique;

mod coverage;
mod snapshot;

pub use address::{Mac, Scope};
pub use alert::{Alert, Peer, PeerRole, Phase};
pub use coverage::{Coverage, DropReason};
pub use entity::{EntityId, EntityKind};
pub use event::{Event, EventBody};
pub use fact::{Fact, Statement, Value};
pub use flow::{Conn, ConnState, Endpoint, FlowRecord, TrafficWindow, Transport};
pub use id::{AlertId, EventId, FlowId, IncidentId, InputId};
pub use incident::{Affected, Confidence, Incident, Step};
pub use local::LocalNetworks;
pub use protocol::{
    ArpMessage, Certificate, DceRpcCall, DhcpMessage, DnsAnswer, DnsData, DnsFlavor,
    DnsTransaction, FileSeen, FileVerdict, HttpTransaction, IcsCall, KerberosExchange,
    KerberosRequest, LdapCall, Login, MailEnvelope, NdpMessage, NtlmAuth, Observation, Operation,
    Outcome, QuirkSeen, RdpHello, SmbAction, SmbOperation, SshHello, TlsHandshake,
};
pub use pvalue::PValue;
pub use service::Service;
pub use snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
pub use technique::Technique;
pub use time::Timestamp;
