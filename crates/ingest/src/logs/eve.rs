//! Suricata's EVE JSON: one object a line, of any version (the documentation's "Eve JSON Format").
//!
//! A DNS query and its answer are two records before they are one transaction, so queries wait in a
//! bounded table for their answer.

mod dns;
mod flow;
mod session;
mod transfer;
mod windows;

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;
use thymus_parsers::Json;
use thymus_schema::{
    Conn, Endpoint, EventBody, FlowId, LocalNetworks, Observation, QuirkSeen, Scope, Timestamp,
    Transport,
};

use crate::input::Input;
use crate::local::Evidence;
use crate::logs::lines::{Line, Lines};
use crate::logs::record::entity;
use crate::logs::{Decoded, Decoder, LogSource, Records};
use crate::source::{Head, Lane, Sniffed, SourceCx, SourceSpec};

/// Suricata's EVE.
pub(crate) const SPEC: SourceSpec = SourceSpec {
    id: "eve",
    title: "Suricata EVE JSON",
    sniff,
    look,
    open,
};

/// Makes events of one record: its own part of the object, and the whole.
type Mapping = fn(&Json<'_>, &EveRecord<'_>, &mut Records) -> Decoded;

/// The record types that are read beside `dns`, in alphabetical order.
const TYPES: &[(&str, Mapping)] = &[
    ("alert", alert),
    ("anomaly", anomaly),
    ("dcerpc", windows::dcerpc),
    ("dhcp", session::dhcp),
    ("dnp3", session::dnp3),
    ("fileinfo", transfer::fileinfo),
    ("flow", flow::flow),
    ("ftp", transfer::ftp),
    ("http", transfer::http),
    ("krb5", windows::krb5),
    ("modbus", session::modbus),
    ("mqtt", session::mqtt),
    ("rdp", session::rdp),
    ("smb", windows::smb),
    ("smtp", transfer::smtp),
    ("snmp", session::snmp),
    ("ssh", session::ssh),
    ("tls", session::tls),
];

/// Records of the first files that are looked at to find the local networks.
const LOOK_RECORDS_MAX: usize = 20_000;

/// What all records have.
pub(crate) struct EveRecord<'a> {
    pub(crate) json: &'a Json<'a>,
    pub(crate) ts: Timestamp,
    pub(crate) conn: Option<Conn>,
    pub(crate) local: &'a LocalNetworks,
}

impl EveRecord<'_> {
    fn emit(&self, records: &mut Records, body: EventBody) -> Decoded {
        records.emit(self.ts, self.conn, body);
        Decoded::Used
    }
}

struct EveDecoder {
    local: LocalNetworks,
    dns: dns::Waiting,
}

impl Decoder for EveDecoder {
    fn line(&mut self, line: &[u8], records: &mut Records) -> Decoded {
        if line.trim_ascii().is_empty() {
            return Decoded::Nothing;
        }
        let Some(json) = Json::parse(line) else {
            return Decoded::Broken("line_is_not_json");
        };
        let Some(ts) = time(json.get("timestamp")) else {
            return Decoded::Broken("record_without_time");
        };
        let kind = json.get("event_type").text();
        let record = EveRecord {
            json: &json,
            ts,
            conn: conn(&json),
            local: &self.local,
        };
        if kind == "dns" {
            return self.dns.record(json.get("dns"), &record, records);
        }
        match TYPES.iter().find(|(name, _)| *name == kind) {
            Some((_, mapping)) => mapping(json.get(kind), &record, records),
            None => Decoded::Unused("log_not_used"),
        }
    }

    fn finish(&mut self, records: &mut Records) {
        self.dns.finish(records);
    }

    fn keep(&self) -> Value {
        serde_json::to_value(&self.dns).unwrap_or_default()
    }

    fn restore(&mut self, kept: &Value) {
        self.dns = dns::Waiting::deserialize(kept).unwrap_or_default();
    }
}

/// RFC 3339, also with an offset without its colon as Suricata writes it; or seconds.
pub(crate) fn time(json: &Json<'_>) -> Option<Timestamp> {
    let text = match json {
        Json::Text(text) => text,
        number => return number.f64().map(Timestamp::from_secs_f64),
    };
    if let Some(ts) = Timestamp::parse(text) {
        return Some(ts);
    }
    let (head, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let sign = head.as_bytes().get(head.len().checked_sub(3)?)?;
    if matches!(sign, b'+' | b'-') {
        return Timestamp::parse(&format!("{head}:{minutes}"));
    }
    text.parse().ok().map(Timestamp::from_secs_f64)
}

fn endpoint(json: &Json<'_>, addr: &str, port: &str) -> Option<Endpoint> {
    let addr: IpAddr = json.get(addr).text().parse().ok()?;
    let port = json
        .get(port)
        .u64()
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(0);
    Some(Endpoint::new(addr, port))
}

/// Between whom, the client first. A record is written from the side of the packet that caused it,
/// so the flow's own direction is asked first, then the ports that only servers have.
fn conn(json: &Json<'_>) -> Option<Conn> {
    let source = endpoint(json, "src_ip", "src_port")?;
    let destination = endpoint(json, "dest_ip", "dest_port")?;
    let transport = match json.get("proto").text() {
        "TCP" | "tcp" | "6" | "006" => Transport::Tcp,
        "UDP" | "udp" | "17" | "017" => Transport::Udp,
        "ICMP" | "IPv6-ICMP" | "icmp" | "ipv6-icmp" | "1" | "58" => Transport::Icmp,
        "SCTP" | "sctp" => Transport::Sctp,
        _ => Transport::Other,
    };
    let begun_by = endpoint(json.get("flow"), "src_ip", "src_port");
    let kind = json.get("event_type").text();
    let as_packet = matches!(kind, "alert" | "anomaly" | "fileinfo" | "dns");
    let reversed = match begun_by {
        Some(first) => first == destination,
        None if !as_packet => false,
        None if json.get("direction").text() == "to_client" => true,
        None => is_service(source.port) && !is_service(destination.port),
    };
    let (client, server) = if reversed {
        (destination, source)
    } else {
        (source, destination)
    };
    let icmp = |name| json.get(name).u64().unwrap_or(0) as u16;
    let (client, server) = if transport == Transport::Icmp {
        (
            Endpoint::new(client.addr, icmp("icmp_type")),
            Endpoint::new(server.addr, icmp("icmp_code")),
        )
    } else {
        (client, server)
    };
    let scope = json
        .get("vlan")
        .list()
        .iter()
        .filter_map(Json::u64)
        .fold(Scope::NONE, |scope, id| scope.enter(Scope::VLAN, id as u32));
    let flow = match json.get("flow_id").u64() {
        Some(id) => FlowId::digest(&[b"eve", &id.to_le_bytes()]),
        None => FlowId::default(),
    };
    Some(Conn {
        flow,
        client,
        server,
        transport,
        scope,
    })
}

const fn is_service(port: u16) -> bool {
    port != 0 && port < 1024
}

/// A text member, bounded.
pub(crate) fn text(json: &Json<'_>) -> Box<str> {
    let text = json.to_text();
    let end = text.floor_char_boundary(1024);
    text.get(..end).unwrap_or_default().into()
}

fn alert(alert: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let techniques = alert.at(&["metadata", "mitre_technique_id"]).list();
    let about = match record.conn {
        Some(_) => Vec::new(),
        None => ["src_ip", "dest_ip"]
            .into_iter()
            .filter_map(|name| record.json.get(name).text().parse().ok())
            .map(|addr| entity(addr, record.local))
            .collect(),
    };
    let observation = Observation {
        source: "suricata".into(),
        name: text(alert.get("signature")),
        category: text(alert.get("category")),
        severity: alert.get("severity").u64().unwrap_or(0).min(255) as u8,
        detail: match alert.get("signature_id").u64() {
            Some(id) => format!("signature {id}").into(),
            None => text(record.json.get("host")),
        },
        about,
        techniques: techniques.iter().take(16).map(text).collect(),
        file: None,
    };
    record.emit(records, EventBody::Observation(Box::new(observation)))
}

fn anomaly(anomaly: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let event = text(anomaly.get("event"));
    let quirk = if event.is_empty() {
        text(anomaly.get("type"))
    } else {
        event
    };
    record.emit(
        records,
        EventBody::Quirk(QuirkSeen {
            parser: "suricata".into(),
            quirk,
        }),
    )
}

fn sniff(head: &Head<'_>) -> Option<Sniffed> {
    let line = head
        .bytes
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty())?;
    let json = Json::parse(line)?;
    let kind = json.get("event_type");
    if kind.text().is_empty() || json.get("timestamp").is_null() {
        return None;
    }
    Some(Sniffed {
        format: "eve".to_owned(),
        first: None,
    })
}

fn look(input: &Input, evidence: &mut Evidence) {
    if !evidence.wants_more() {
        return;
    }
    let Ok(reader) = input.open() else { return };
    let mut lines = Lines::new(reader);
    for _ in 0..LOOK_RECORDS_MAX {
        let json = match lines.next() {
            Line::Text(line) => Json::parse(line),
            Line::TooLong => None,
            Line::Error(_) | Line::End => return,
        };
        let conversation = json
            .filter(|json| json.get("event_type").text() != "stats")
            .and_then(|json| conn(&json));
        if let Some(conn) = conversation {
            evidence.pair(conn.client.addr, conn.server.addr);
        }
    }
}

fn open(inputs: Vec<Input>, cx: &SourceCx) -> Vec<Lane> {
    let local = cx.local.clone();
    LogSource::lanes(inputs, move |_| decoder(&local))
}

/// Reads lines of EVE.
pub(crate) fn decoder(local: &LocalNetworks) -> Box<dyn Decoder> {
    Box::new(EveDecoder {
        local: local.clone(),
        dns: dns::Waiting::default(),
    })
}
