//! Flow records. Suricata counts frames with their headers; the payload is estimated from them.

use thymus_parsers::Json;
use thymus_schema::{ConnState, EventBody, FlowRecord, Transport};

use super::{EveRecord, time};
use crate::logs::record::{service_by_name, state_by_flags};
use crate::logs::{Decoded, Records};

pub(super) fn flow(flow: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let (Some(conn), Some(start)) = (record.conn, time(flow.get("start"))) else {
        return Decoded::Broken("record_without_time_or_address");
    };
    let end = time(flow.get("end")).unwrap_or(start);
    let count = |name| flow.get(name).u64().unwrap_or(0);
    let (client_packets, server_packets) = (count("pkts_toserver"), count("pkts_toclient"));
    // Ethernet, IPv4 and the transport's smallest header.
    let header = if conn.transport == Transport::Tcp {
        54
    } else {
        42
    };
    let payload = |bytes: u64, packets: u64| bytes.saturating_sub(packets.saturating_mul(header));
    let body = FlowRecord {
        start,
        duration: end.since(start),
        client_bytes: payload(count("bytes_toserver"), client_packets),
        server_bytes: payload(count("bytes_toclient"), server_packets),
        client_packets,
        server_packets,
        state: state(record, flow, server_packets),
        service: service_by_name(record.json.get("app_proto").text(), conn.server.port),
        last: true,
        ..FlowRecord::default()
    };
    records.emit(
        start.plus(end.since(start)),
        record.conn,
        EventBody::Flow(Box::new(body)),
    );
    Decoded::Used
}

fn state(record: &EveRecord<'_>, flow: &Json<'_>, server_packets: u64) -> ConnState {
    let tcp = record.json.get("tcp");
    let flags = |name| u8::from_str_radix(tcp.get(name).text(), 16).ok();
    let (Some(client), Some(server)) = (flags("tcp_flags_ts"), flags("tcp_flags_tc")) else {
        return match flow.get("state").text() {
            _ if server_packets == 0 => ConnState::S0,
            "established" if !tcp.is_null() => ConnState::S1,
            _ => ConnState::Sf,
        };
    };
    state_by_flags(client, server)
}
