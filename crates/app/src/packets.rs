//! Packets out of the ring of a live run: those behind an incident, or between two hosts.
//!
//! Only headers are read, by the parsers that the analysis uses too.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write, stdout};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use thymus_parsers::packet::{
    Next, Segment, Transport, decode_frame, decode_ip, decode_transport, decode_tunnel,
    decode_udp_tunnel,
};
use thymus_schema::{EntityId, EntityKind, Timestamp};
use thymus_sensor::{CaptureFile, RingPacket, RingSpan, read_ring};
use thymus_store::database::Limits;
use thymus_store::{Archive, ArchiveReader, Database, QueryLimits};

use crate::Found;
use crate::cli::PacketsArgs;
use crate::query::moment;
use crate::serve;

/// Around the times of an alert, for conversations that began before or went on after.
const MARGIN: Duration = Duration::from_mins(1);
/// Packets inside packets.
const DEPTH_MAX: usize = 8;
/// Bytes of a slice that is put together in memory.
pub(crate) const SLICE_BYTES_MAX: usize = 64 << 20;
const EVENTS_MAX: usize = 500;

/// Where a run keeps raw packets.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("packets")
}

/// Which packets are wanted: those of any of these conversations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(Vec<Talk>);

/// Who with whom, and when.
#[derive(Clone, Debug)]
struct Talk {
    from: Timestamp,
    to: Timestamp,
    /// One of them is on either side.
    hosts: BTreeSet<IpAddr>,
    /// One of them is on the other; anybody when it is empty.
    peers: BTreeSet<IpAddr>,
    /// On either side.
    port: Option<u16>,
}

impl Wanted {
    /// What the device of each alert of an incident exchanged with the peers of that alert, around the time of
    /// the alert. Peers are those it names and those of the `events` behind it, objects as they are kept.
    pub(crate) fn of_incident(incident: &Value, events: &[Value]) -> Self {
        let alerts = incident["alerts"].as_array().into_iter().flatten();
        Self(
            alerts
                .filter_map(|alert| talk(incident, alert, events))
                .collect(),
        )
    }

    fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let from = self.0.iter().map(|talk| talk.from).min()?;
        let to = self.0.iter().map(|talk| talk.to).max()?;
        Some((from, to))
    }

    fn has(&self, packet: &RingPacket<'_>) -> bool {
        let ts = Timestamp::from_nanos(packet.ts);
        let mut ends = None;
        let then = self
            .0
            .iter()
            .filter(|talk| talk.from <= ts && ts <= talk.to);
        then.into_iter().any(|talk| {
            let ends = ends.get_or_insert_with(|| ends_of(packet));
            ends.iter().flatten().any(|ends| talk.is_between(ends))
        })
    }
}

impl Talk {
    fn is_between(&self, ends: &Ends) -> bool {
        let [a, b] = ends.addresses;
        let is_peer = |peer| self.peers.is_empty() || self.peers.contains(&peer);
        let is_ours = |host, peer| self.hosts.contains(&host) && is_peer(peer);
        let [c, d] = ends.ports;
        // A later fragment has no ports: it goes with its addresses.
        let has_port = |port| (c == 0 && d == 0) || c == port || d == port;
        (is_ours(a, b) || is_ours(b, a)) && self.port.is_none_or(has_port)
    }
}

fn talk(incident: &Value, alert: &Value, events: &[Value]) -> Option<Talk> {
    let time = |key: &str| Timestamp::parse(alert[key].as_str()?);
    let entity = alert["entity"].as_str()?;
    let mut hosts = BTreeSet::new();
    hosts.extend(address_of(entity));
    let affected = incident["affected"].as_array().into_iter().flatten();
    for one in affected.filter(|one| one["entity"] == entity) {
        let aliases = one["aliases"].as_array().into_iter().flatten();
        hosts.extend(aliases.filter_map(|alias| alias.as_str()?.parse::<IpAddr>().ok()));
    }
    let mut peers = BTreeSet::new();
    for peer in alert["peers"].as_array().into_iter().flatten() {
        peers.extend(peer["entity"].as_str().and_then(address_of));
    }
    let facts = alert["evidence"].as_array().into_iter().flatten();
    let ids: BTreeSet<&str> = facts
        .filter_map(|fact| fact["events"].as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let behind = |event: &&Value| event["id"].as_str().is_some_and(|id| ids.contains(id));
    for event in events.iter().filter(behind) {
        let address = |place: &str| event.pointer(place)?.as_str()?.parse::<IpAddr>().ok();
        let ends = [
            [address("/conn/client/addr"), address("/conn/server/addr")],
            [address("/sender"), address("/target")],
        ];
        for ends in ends {
            let [Some(one), Some(other)] = ends.map(|end| end.map(|end| end.to_canonical())) else {
                continue;
            };
            if hosts.contains(&one) {
                peers.insert(other);
            } else if hosts.contains(&other) {
                peers.insert(one);
            } else {
                // A user or a service: the event tells between which addresses.
                hosts.insert(one);
                peers.insert(other);
            }
        }
    }
    (!hosts.is_empty()).then_some(Talk {
        from: time("first_seen")?.minus(MARGIN),
        to: time("last_seen")?.plus(MARGIN),
        hosts,
        peers,
        port: None,
    })
}

fn address_of(entity: &str) -> Option<IpAddr> {
    let entity: EntityId = entity.parse().ok()?;
    let key = match entity.kind {
        EntityKind::Device | EntityKind::External => &*entity.key,
        EntityKind::User | EntityKind::Service => return None,
    };
    // A device behind a VLAN is told with its tag.
    let bare = key.split_once('%').map_or(key, |(bare, _)| bare);
    Some(bare.parse::<IpAddr>().ok()?.to_canonical())
}

/// Between whom a packet went.
#[derive(Clone, Copy, Debug)]
struct Ends {
    addresses: [IpAddr; 2],
    ports: [u16; 2],
}

/// Between whom a packet went, and those inside it.
fn ends_of(packet: &RingPacket<'_>) -> [Option<Ends>; DEPTH_MAX] {
    let mut found = [None; DEPTH_MAX];
    let Some(mut frame) = decode_frame(u32::from(packet.link_type), packet.bytes) else {
        return found;
    };
    for place in &mut found {
        let bytes = match frame.next {
            Next::Ip(bytes) => bytes,
            Next::Arp(bytes) => {
                *place = arp_ends(bytes);
                break;
            }
            Next::Unread(_) => break,
        };
        let Some(ip) = decode_ip(bytes) else { break };
        let later_piece = ip.fragment.is_some_and(|fragment| fragment.offset > 0);
        let transport = if later_piece {
            None
        } else {
            decode_transport(ip.protocol, ip.payload, ip.missing)
        };
        let ports = transport.as_ref().map_or([0, 0], |transport| {
            [transport.source_port, transport.destination_port]
        });
        *place = Some(Ends {
            addresses: [ip.source.to_canonical(), ip.destination.to_canonical()],
            ports,
        });
        let inner = match transport {
            Some(Transport {
                segment: Segment::Udp(udp),
                ..
            }) => decode_udp_tunnel(&udp, &mut frame.tags),
            _ => decode_tunnel(ip.protocol, ip.payload, &mut frame.tags),
        };
        let Some(inner) = inner else { break };
        frame.enter(inner);
    }
    found
}

/// Of an ARP message over Ethernet for IPv4 (RFC 826).
fn arp_ends(bytes: &[u8]) -> Option<Ends> {
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 4] = *bytes.get(at..)?.first_chunk()?;
        Some(IpAddr::from(octets))
    };
    Some(Ends {
        addresses: [address(14)?, address(24)?],
        ports: [0, 0],
    })
}

/// Packets as a capture file, and what there is to say about them.
pub(crate) struct Slice {
    /// pcapng.
    pub(crate) file: Vec<u8>,
    pub(crate) packets: u64,
    /// In words: what was left out, and what the ring does not hold any more.
    pub(crate) remark: String,
}

/// The wanted packets that a state folder holds, at most `bytes_max` bytes of them, until `is_late`.
///
/// # Errors
/// When the ring cannot be read.
pub(crate) fn slice(
    state: &Path,
    wanted: &Wanted,
    bytes_max: usize,
    is_late: &dyn Fn() -> bool,
) -> Result<Slice> {
    let folder = folder(state);
    let (from, to) = wanted.span().unwrap_or_default();
    let mut file = CaptureFile::default();
    let (mut looked, mut cut) = (0_u64, None);
    let each = |packet: &RingPacket<'_>| {
        looked += 1;
        if looked.is_multiple_of(4_096) && is_late() {
            cut = Some("reading took too long, so the rest is left out");
            return ControlFlow::Break(());
        }
        if wanted.has(packet) {
            if file.size() + packet.bytes.len() > bytes_max {
                cut = Some("there are more than fit, so the rest is left out");
                return ControlFlow::Break(());
            }
            file.add(packet.link_type, packet.ts, packet.wire_len, packet.bytes);
        }
        ControlFlow::Continue(())
    };
    let span = read_ring(&folder, from.as_nanos(), to.as_nanos(), each)
        .with_context(|| format!("cannot read {}", folder.display()))?;
    let packets = file.count();
    let remark = remark(packets, from, to, span, cut);
    Ok(Slice {
        file: file.finish(&remark),
        packets,
        remark,
    })
}

fn remark(
    packets: u64,
    from: Timestamp,
    to: Timestamp,
    span: RingSpan,
    cut: Option<&str>,
) -> String {
    let Some(oldest) = span.oldest.map(Timestamp::from_nanos) else {
        return "no raw packets are kept: `thymus run --interface IF --state DIR` keeps them"
            .to_owned();
    };
    let mut said = vec![format!("{packets} packets between {from} and {to}")];
    if oldest > from {
        said.push(format!("the oldest packet that is kept is of {oldest}"));
    }
    if span.damaged > 0 {
        said.push(format!("{} files are damaged", span.damaged));
    }
    said.extend(cut.map(str::to_owned));
    said.join("; ")
}

/// `thymus packets`.
///
/// # Errors
/// When there is no such incident, or nothing can be read or written.
pub(crate) fn run(args: &PacketsArgs) -> Result<Found> {
    let wanted = match &args.incident {
        Some(id) => incident(&args.state, id)?,
        None => Wanted(vec![Talk {
            from: args.from.as_deref().map_or(Ok(Timestamp::MIN), moment)?,
            to: args.to.as_deref().map_or(Ok(Timestamp::MAX), moment)?,
            hosts: args.host.iter().take(1).map(IpAddr::to_canonical).collect(),
            peers: args.host.iter().skip(1).map(IpAddr::to_canonical).collect(),
            port: args.port,
        }]),
    };
    let slice = slice(&args.state, &wanted, usize::MAX, &|| false)?;
    if slice.packets == 0 {
        bail!("{}", slice.remark);
    }
    match &args.output {
        Some(path) => {
            std::fs::write(path, &slice.file)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        None if stdout().is_terminal() => {
            bail!("a capture is nothing to read: name a file with --output, or pipe it on");
        }
        None => stdout().write_all(&slice.file).context("standard output")?,
    }
    eprintln!("thymus: {}", slice.remark);
    Ok(Found::Nothing)
}

fn incident(state: &Path, id: &str) -> Result<Wanted> {
    let database = Database::open(&serve::folder(state), Limits::default(), serve::now())
        .context("cannot look the incident up")?;
    let incident = database
        .incident(id)
        .with_context(|| format!("cannot look up incident {id}"))?;
    let events = events(&ArchiveReader::new(&Archive::folder(state)), &incident)?;
    Ok(Wanted::of_incident(&incident, &events))
}

/// The events behind an incident that are still kept.
fn events(reader: &ArchiveReader, incident: &Value) -> Result<Vec<Value>> {
    let alerts = incident["alerts"].as_array().into_iter().flatten();
    let facts = alerts
        .filter_map(|alert| alert["evidence"].as_array())
        .flatten();
    let ids = facts.filter_map(|fact| fact["events"].as_array()).flatten();
    let ids: BTreeSet<thymus_schema::EventId> = ids
        .filter_map(|id| id.as_str()?.parse().ok())
        .take(EVENTS_MAX)
        .collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let list: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    let sql = format!("SELECT json FROM events WHERE id IN ({})", list.join(","));
    let limits = QueryLimits {
        rows_max: EVENTS_MAX,
        ..QueryLimits::default()
    };
    let rows = reader.query(&sql, &limits)?.rows;
    let cells = rows.into_iter().filter_map(|row| row.into_iter().next());
    Ok(cells
        .filter_map(|cell| serde_json::from_str(cell.as_str()?).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn packet(bytes: &[u8], secs: i64) -> RingPacket<'_> {
        RingPacket {
            ts: secs * 1_000_000_000,
            link_type: 1,
            wire_len: bytes.len() as u32,
            bytes,
        }
    }

    /// A TCP segment without payload over Ethernet.
    fn tcp(from: [u8; 4], to: [u8; 4], ports: [u16; 2]) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        bytes.extend_from_slice(&[8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
        bytes.extend_from_slice(&from);
        bytes.extend_from_slice(&to);
        for port in ports {
            bytes.extend_from_slice(&port.to_be_bytes());
        }
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn an_incident_is_what_its_devices_exchanged_with_the_peers_of_each_alert() {
        let incident = json!({
            "affected": [{ "entity": "device:10.0.0.7", "aliases": ["10.0.0.8", "aa:bb:cc:dd:ee:ff"] }],
            "alerts": [{
                "entity": "device:10.0.0.7", "peers": [{ "role": "target", "entity": "external:192.0.2.1" }],
                "first_seen": "1970-01-01T00:10:00Z", "last_seen": "1970-01-01T00:20:00Z",
                "evidence": [{ "events": ["0000000000000001-1"] }],
            }],
        });
        let events = [
            json!({ "id": "0000000000000001-1",
                "conn": { "client": { "addr": "10.0.0.9" }, "server": { "addr": "10.0.0.7" } } }),
            json!({ "id": "0000000000000001-2",
                "conn": { "client": { "addr": "10.0.0.7" }, "server": { "addr": "203.0.113.1" } } }),
        ];
        let wanted = Wanted::of_incident(&incident, &events);
        let has = |from, to, secs| wanted.has(&packet(&tcp(from, to, [1, 2]), secs));
        assert!(has([10, 0, 0, 7], [192, 0, 2, 1], 600));
        assert!(
            has([192, 0, 2, 1], [10, 0, 0, 8], 1_250),
            "back, to another address of it"
        );
        assert!(
            has([10, 0, 0, 9], [10, 0, 0, 7], 600),
            "a peer that only an event tells"
        );
        assert!(
            !has([10, 0, 0, 7], [203, 0, 113, 1], 600),
            "of an event of nobody"
        );
        assert!(!has([10, 0, 0, 7], [192, 0, 2, 1], 500), "before");
        assert!(!has([10, 0, 0, 7], [192, 0, 2, 1], 1_300), "after");
        assert!(!has([10, 0, 0, 9], [192, 0, 2, 1], 600), "two peers");
    }

    #[test]
    fn tunnels_are_looked_into_and_pieces_go_with_their_addresses() {
        let talk = Talk {
            from: Timestamp::MIN,
            to: Timestamp::MAX,
            hosts: ["10.0.0.7".parse().unwrap()].into(),
            peers: BTreeSet::new(),
            port: Some(443),
        };
        let wanted = Wanted(vec![talk]);
        let plain = tcp([10, 0, 0, 7], [192, 0, 2, 1], [50_000, 443]);
        assert!(wanted.has(&packet(&plain, 0)));
        assert!(!wanted.has(&packet(
            &tcp([10, 0, 0, 7], [192, 0, 2, 1], [50_000, 80]),
            0
        )));
        let mut tunnel = tcp([198, 51, 100, 1], [198, 51, 100, 2], [0, 0])[..34].to_vec();
        tunnel[17] = 60;
        tunnel[23] = 4;
        tunnel.extend_from_slice(&plain[14..]);
        assert!(wanted.has(&packet(&tunnel, 0)), "IP in IP");
        let mut piece = plain.clone();
        piece[21] = 100;
        assert!(wanted.has(&packet(&piece, 0)));
        for len in 0..plain.len() {
            // Whatever is cut says nothing or the truth, and never fails.
            let _is_wanted = wanted.has(&packet(&plain[..len], 0));
        }
    }
}
