//! What decoders give: events without an identity yet.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thymus_schema::{Conn, ConnState, EntityId, EventBody, LocalNetworks, Service, Timestamp};

/// An event without its id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) ts: Timestamp,
    pub(crate) conn: Option<Conn>,
    pub(crate) body: EventBody,
    /// A certificate of another log that belongs to it and was not there yet.
    pub(crate) wants: Option<Box<Wanted>>,
}

/// A certificate that may still come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Its names, the best first.
    pub(crate) keys: Vec<Box<str>>,
    /// How many the server sent.
    pub(crate) chain_len: u8,
}

/// The events of one line.
#[derive(Debug, Default)]
pub(crate) struct Records {
    list: Vec<Record>,
    /// Time of the record at hand, where it gives no event of its own.
    reached: Option<Timestamp>,
}

impl Records {
    pub(crate) fn emit(&mut self, ts: Timestamp, conn: Option<Conn>, body: EventBody) {
        self.list.push(Record {
            ts,
            conn,
            body,
            wants: None,
        });
    }

    /// The event last emitted lacks a certificate that may come later.
    pub(crate) fn want(&mut self, wanted: Wanted) {
        if let Some(record) = self.list.last_mut() {
            record.wants = Some(Box::new(wanted));
        }
    }

    /// The log has come to this time, though its record is no event.
    pub(crate) fn reach(&mut self, ts: Timestamp) {
        self.reached = Some(ts);
    }

    pub(crate) fn take_reached(&mut self) -> Option<Timestamp> {
        self.reached.take()
    }

    pub(crate) fn take(&mut self) -> std::vec::Drain<'_, Record> {
        self.list.drain(..)
    }
}

/// The entity an address stands for: a device when it is local, else something outside.
pub(crate) fn entity(addr: IpAddr, local: &LocalNetworks) -> EntityId {
    let addr = addr.to_canonical();
    if local.contains(addr) {
        EntityId::device(addr)
    } else {
        EntityId::external(addr)
    }
}

/// The protocol another tool's name stands for. Names with a prefix or suffix of the tool's own
/// (`spicy_ldap_tcp`, `krb_tcp`) mean the protocol; the port tells DNS's siblings apart.
pub(crate) fn service_by_name(name: &str, port: u16) -> Option<Service> {
    let name = name.trim_start_matches('-').trim_start_matches("spicy_");
    let name = name
        .strip_suffix("_tcp")
        .or_else(|| name.strip_suffix("_udp"))
        .unwrap_or(name);
    match name {
        "dns" => Some(dns_service(port)),
        "tls" => Some(Service::Tls),
        "krb5" | "kerberos" => Some(Service::Kerberos),
        "rfb" => Some(Service::Vnc),
        "dcerpc" => Some(Service::DceRpc),
        "ikev2" | "failed" | "" => None,
        "pgsql" | "postgres" => Some(Service::Postgres),
        "bittorrent-dht" => Some(Service::BitTorrent),
        "rdpeudp" => Some(Service::Rdp),
        other => Service::from_name(other),
    }
}

fn dns_service(port: u16) -> Service {
    match port {
        5353 => Service::Mdns,
        5355 => Service::Llmnr,
        137 => Service::Nbns,
        _ => Service::Dns,
    }
}

/// TCP's flags (RFC 9293).
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// How a TCP connection went, by the flags of all packets of each side together; none when the server sent
/// nothing.
pub(crate) fn state_by_flags(client: u8, server: u8) -> ConnState {
    match () {
        () if client & SYN == 0 && server & SYN != 0 => ConnState::Shr,
        () if client & SYN == 0 => ConnState::Oth,
        () if server == 0 && client & RST != 0 => ConnState::Rstos0,
        () if server == 0 && client & FIN != 0 => ConnState::Sh,
        () if server == 0 => ConnState::S0,
        () if server & SYN == 0 && server & RST != 0 => ConnState::Rej,
        () if client & RST != 0 && client & FIN == 0 => ConnState::Rsto,
        () if server & RST != 0 && server & FIN == 0 => ConnState::Rstr,
        () => match (client & FIN != 0, server & FIN != 0) {
            (true, true) => ConnState::Sf,
            (true, false) => ConnState::S2,
            (false, true) => ConnState::S3,
            (false, false) => ConnState::S1,
        },
    }
}
