//! `conn.log`: flows. The event's time is the end of the flow.

use std::time::Duration;

use thymus_parsers::zeek::{ZeekField as F, ZeekRow};
use thymus_schema::{ConnState, EventBody, FlowRecord, Mac, Service, Transport};

use super::{ZeekCx, conn_of, span, time};
use crate::local::Evidence;
use crate::logs::Decoded;
use crate::logs::record::service_by_name;

/// Longest flow believed; a broken clock can make longer ones.
const DURATION_MAX: Duration = Duration::from_hours(24 * 366);

pub(super) fn conn(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let (Some(start), Some(conn)) = (time(row, F::Ts), conn_of(row)) else {
        return Decoded::Broken("record_without_time_or_address");
    };
    let duration = span(row, F::Duration).min(DURATION_MAX);
    let header = if conn.transport == Transport::Tcp {
        40
    } else {
        28
    };
    let client_packets = row.u64(F::OrigPkts).unwrap_or(0);
    let server_packets = row.u64(F::RespPkts).unwrap_or(0);
    let missed_bytes = row.u64(F::MissedBytes).unwrap_or(0);
    let volume = |payload, ip_bytes, packets: u64| {
        let ip_bytes = row.u64(ip_bytes);
        match (row.u64(payload), ip_bytes) {
            // TCP payload is counted by sequence numbers, which a forged or lone reset makes huge.
            (Some(payload), Some(ip)) if packets > 0 => {
                payload.min(ip.saturating_add(missed_bytes))
            }
            (Some(payload), _) => payload,
            (None, Some(ip)) => ip.saturating_sub(packets.saturating_mul(header)),
            (None, None) => 0,
        }
    };
    let flow = FlowRecord {
        start,
        duration,
        client_bytes: volume(F::OrigBytes, F::OrigIpBytes, client_packets),
        server_bytes: volume(F::RespBytes, F::RespIpBytes, server_packets),
        client_packets,
        server_packets,
        state: state(row),
        history: row.text(F::History).into(),
        service: service(row, conn.server.port),
        missed_bytes,
        client_mac: mac(row, F::OrigL2),
        server_mac: mac(row, F::RespL2),
        part: 0,
        last: true,
    };
    cx.records.emit(
        start.plus(duration),
        Some(conn),
        EventBody::Flow(Box::new(flow)),
    );
    Decoded::Used
}

/// What a record says about which addresses are local.
pub(super) fn evidence(row: &ZeekRow<'_>, evidence: &mut Evidence) {
    let Some(conn) = conn_of(row) else { return };
    let (client, server) = (conn.client.addr, conn.server.addr);
    evidence.pair(client, server);
    for (flag, addr) in [(F::LocalOrig, client), (F::LocalResp, server)] {
        if row.bool(flag) == Some(true) {
            evidence.named_local(addr);
        }
    }
    for (field, addr) in [(F::OrigL2, client), (F::RespL2, server)] {
        if let Some(mac) = mac(row, field) {
            evidence.mac(mac, addr);
        }
    }
}

fn mac(row: &ZeekRow<'_>, field: F) -> Option<Mac> {
    row.raw(field)
        .and_then(|raw| std::str::from_utf8(raw).ok()?.parse().ok())
}

fn state(row: &ZeekRow<'_>) -> ConnState {
    match row.raw(F::ConnState).unwrap_or_default() {
        b"S0" => ConnState::S0,
        b"S1" => ConnState::S1,
        b"S2" => ConnState::S2,
        b"S3" => ConnState::S3,
        b"SF" => ConnState::Sf,
        b"REJ" => ConnState::Rej,
        b"RSTO" => ConnState::Rsto,
        b"RSTR" => ConnState::Rstr,
        b"RSTOS0" => ConnState::Rstos0,
        b"RSTRH" => ConnState::Rstrh,
        b"SH" => ConnState::Sh,
        b"SHR" => ConnState::Shr,
        _ => ConnState::Oth,
    }
}

/// Zeek lists every analyzer that confirmed; the carrier is the one a person would name.
fn service(row: &ZeekRow<'_>, port: u16) -> Option<Service> {
    let raw = row.raw(F::Service)?;
    let names = std::str::from_utf8(raw).ok()?;
    let known = || {
        names
            .split(',')
            .filter_map(|name| service_by_name(name, port))
    };
    let embedded = |service: &Service| !matches!(service, Service::Kerberos | Service::DceRpc);
    known().find(embedded).or_else(|| known().next())
}
