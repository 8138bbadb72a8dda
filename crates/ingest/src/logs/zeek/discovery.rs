//! `dns.log`, `dhcp.log`, `ntp.log`, `snmp.log`: how hosts find and manage one another.

use thymus_parsers::zeek::{ZeekField as F, ZeekRow};
use thymus_schema::{
    DhcpMessage, DnsAnswer, DnsFlavor, DnsTransaction, EventBody, Operation, Outcome, Service,
};

use super::{ZeekCx, dhcp_conn_of, span, text};
use crate::logs::Decoded;
use crate::logs::names::{dns_type, name_text};

pub(super) fn dns(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let flavor = match row.u16(F::RespP) {
        Some(5353) => DnsFlavor::Mdns,
        Some(5355) => DnsFlavor::Llmnr,
        Some(137) => DnsFlavor::Nbns,
        _ => DnsFlavor::Dns,
    };
    let qtype = row
        .u16(F::Qtype)
        .unwrap_or_else(|| dns_type(&row.text(F::QtypeName)));
    let ttls = row.list(F::Ttls);
    let data = row.list(F::Answers);
    let answers = data.iter().enumerate().map(|(index, data)| {
        let ttl = ttls
            .get(index)
            .and_then(|ttl| ttl.parse::<f64>().ok())
            .unwrap_or(0.0);
        answer(data, qtype, ttl as u32)
    });
    let rejected_without_code = row.bool(F::Rejected) == Some(true) && !row.has(F::Rcode);
    let transaction = DnsTransaction {
        flavor,
        query: name_text(&row.text(F::Query)),
        qtype,
        rcode: row
            .u64(F::Rcode)
            .and_then(|code| u8::try_from(code).ok())
            .or(rejected_without_code.then_some(5)),
        answers: answers.collect(),
        query_len: 0,
        response_len: 0,
        tcp: row.raw(F::Proto) == Some(b"tcp"),
        responder: None,
    };
    cx.emit_after(
        row,
        span(row, F::Rtt),
        EventBody::Dns(Box::new(transaction)),
    )
}

/// Zeek writes an answer's data only; its type follows from its shape and the question.
fn answer(data: &str, qtype: u16, ttl: u32) -> DnsAnswer {
    const TEXT: u16 = 16;
    const ALIAS: u16 = 5;
    if let Some(rest) = data.strip_prefix("TXT ") {
        // `TXT 12 the text`: the number is its length.
        let words = rest
            .split_once(' ')
            .filter(|(len, _)| len.parse::<u32>().is_ok());
        let data = words.map_or(rest, |(_, words)| words).into();
        return DnsAnswer::of_text(TEXT, data, ttl);
    }
    let rtype = match data.parse::<std::net::IpAddr>() {
        Ok(addr) if addr.is_ipv4() => 1,
        Ok(_) => 28,
        Err(_) if matches!(qtype, 1 | 28 | 65 | 255) => ALIAS,
        Err(_) => qtype,
    };
    DnsAnswer::of_text(rtype, name_text(data), ttl)
}

pub(super) fn dhcp(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let last = row
        .list(F::MsgTypes)
        .last()
        .map(|last| last.to_ascii_lowercase());
    let hostname = match text(row, F::HostName) {
        name if name.is_empty() => text(row, F::ClientFqdn),
        name => name,
    };
    let message = DhcpMessage {
        message: last.unwrap_or_else(|| "ack".to_owned()).into(),
        mac: row.text(F::Mac).parse().unwrap_or_default(),
        hostname,
        requested: row.addr(F::RequestedAddr),
        assigned: row
            .addr(F::AssignedAddr)
            .or_else(|| row.addr(F::AssignedIp)),
        server: row.addr(F::ServerAddr).or_else(|| row.addr(F::RespH)),
        lease_secs: span(row, F::LeaseTime).as_secs() as u32,
        ..DhcpMessage::default()
    };
    cx.emit_between(
        row,
        dhcp_conn_of(row),
        span(row, F::Duration),
        EventBody::Dhcp(Box::new(message)),
    )
}

pub(super) fn ntp(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let verb = match row.u64(F::Mode) {
        Some(1 | 2) => "symmetric",
        Some(3) => "client",
        Some(4) => "server",
        Some(5) => "broadcast",
        Some(6) => "control",
        Some(7) => "private",
        _ => "unknown",
    };
    cx.emit(
        row,
        operation(Service::Ntp, verb, Box::default(), Outcome::Unknown),
    )
}

pub(super) fn snmp(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let count = |field| row.u64(field).unwrap_or(0);
    let verb = if count(F::SetRequests) > 0 {
        "set"
    } else if count(F::GetBulkRequests) > 0 {
        "getbulk"
    } else {
        "get"
    };
    let answered = if count(F::GetResponses) > 0 {
        Outcome::Success
    } else {
        Outcome::Unknown
    };
    let body = Operation {
        service: Some(Service::Snmp),
        verb: verb.into(),
        object: Box::default(),
        detail: text(row, F::Community),
        outcome: answered,
        ..Operation::default()
    };
    cx.emit_after(
        row,
        span(row, F::Duration),
        EventBody::Operation(Box::new(body)),
    )
}

/// An operation without sizes.
pub(super) fn operation(
    service: Service,
    verb: &str,
    object: Box<str>,
    outcome: Outcome,
) -> EventBody {
    let verb = verb.into();
    EventBody::Operation(Box::new(Operation {
        service: Some(service),
        verb,
        object,
        outcome,
        ..Operation::default()
    }))
}
