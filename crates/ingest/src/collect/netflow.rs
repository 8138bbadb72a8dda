//! Datagrams of NetFlow v5, v9 and IPFIX.

use std::net::SocketAddr;

use thymus_parsers::netflow::{
    Counts, Declared, Export, FlowFields, Message, Set, SetKind, V5, read, templates,
};
use thymus_schema::{Coverage, Endpoint, Mac, Scope, Timestamp};

use super::exporter::{Exporters, Pending, StreamKey};
use super::join::{Ends, Half, Volume};
use super::times::Base;

const SECOND: i64 = 1_000_000_000;
/// An exporter whose uptime goes back by more began anew.
const RESTART_MILLIS: u32 = 60_000;

/// A datagram on its way.
struct Cx<'a> {
    exporters: &'a mut Exporters,
    coverage: &'a mut Coverage,
    halves: &'a mut Vec<Half>,
    exporter: u32,
    key: StreamKey,
}

/// Reads a datagram of the exporter `from`, whose number comes first, into `halves`.
pub(super) fn datagram(
    exporters: &mut Exporters,
    coverage: &mut Coverage,
    (exporter, from): (u32, SocketAddr),
    received: Timestamp,
    bytes: &[u8],
    halves: &mut Vec<Half>,
) {
    exporters.count(exporter, |it| it.datagrams += 1);
    let export = read(bytes);
    exporters.heard(exporter, export.as_ref().and_then(kind), received);
    let mut cx = Cx {
        exporters,
        coverage,
        halves,
        exporter,
        key: StreamKey::new(from, 0, 0),
    };
    match export {
        Some(Export::V5(v5)) => {
            cx.key = StreamKey::new(from, 5, u32::from(v5.engine));
            cx.version_5(&v5, received);
        }
        Some(Export::Message(message)) => {
            let version = if message.uptime_ms.is_some() { 9 } else { 10 };
            cx.key = StreamKey::new(from, version, message.domain);
            cx.message(&message, received);
        }
        Some(Export::Version(_)) => cx.unread("netflow_version_not_read"),
        None => cx.unread("export_datagram_malformed"),
    }
}

/// Its name for people.
fn kind(export: &Export<'_>) -> Option<&'static str> {
    match export {
        Export::V5(_) => Some("NetFlow v5"),
        Export::Message(message) if message.uptime_ms.is_some() => Some("NetFlow v9"),
        Export::Message(_) => Some("IPFIX"),
        Export::Version(_) => None,
    }
}

impl Cx<'_> {
    /// Counts something that may have been a record.
    fn unread(&mut self, reason: &str) {
        self.exporters.count(self.exporter, |it| it.unreadable += 1);
        self.coverage.records += 1;
        self.coverage.drop_for(reason, 1);
    }

    /// Counts a template that is not kept.
    fn refused(&mut self, reason: &str) {
        self.coverage.drop_for(reason, 1);
        self.exporters
            .count(self.exporter, |it| it.templates_refused += 1);
    }

    /// What times of a datagram refer to; tells when the exporter began anew.
    fn base(&mut self, export: i64, uptime_ms: Option<u32>, received: Timestamp) -> Option<Base> {
        let exporter = self.exporters.get(self.exporter)?;
        exporter.skew.measure(export, received.as_nanos());
        let shift = exporter.skew.shift;
        let stream = self.exporters.stream(self.key)?;
        if let (Some(before), Some(now)) = (stream.uptime_ms, uptime_ms) {
            // Also over the end of the counter the difference is small when it only went on.
            let back = before.wrapping_sub(now);
            if (RESTART_MILLIS..u32::MAX / 2).contains(&back) {
                stream.restart();
            }
        }
        stream.uptime_ms = uptime_ms.or(stream.uptime_ms);
        Some(Base {
            export,
            uptime_ms,
            boot: stream.boot,
            shift,
        })
    }

    fn version_5(&mut self, v5: &V5<'_>, received: Timestamp) {
        let export = i64::from(v5.export_secs) * SECOND + i64::from(v5.export_nanos) % SECOND;
        let Some(base) = self.base(export, Some(v5.uptime_ms), received) else {
            return self.unread("exporters_full");
        };
        let count = v5.announced() as u32;
        if let Some(stream) = self.exporters.stream(self.key) {
            stream.sequence.take(v5.sequence, Some(count), count);
        }
        let mut seen = 0;
        for fields in v5.records() {
            seen += 1;
            self.flow(
                &fields,
                &base,
                Some(u64::from(v5.sampling)).filter(|rate| *rate > 1),
            );
        }
        let cut = v5.announced().saturating_sub(seen) as u64;
        self.coverage.records += cut;
        self.coverage.drop_for("export_datagram_cut", cut);
    }

    fn message(&mut self, message: &Message<'_>, received: Timestamp) {
        let export = i64::from(message.export_secs) * SECOND;
        let Some(base) = self.base(export, message.uptime_ms, received) else {
            return self.unread("exporters_full");
        };
        // All records, and those of flows; the first is not known where a template is missing.
        let (mut records, mut flows) = (Some(0_u32), 0_u32);
        let mut sets = message.sets();
        for set in sets.by_ref() {
            match set.kind {
                SetKind::Templates | SetKind::OptionsTemplates => self.templates(message, set),
                SetKind::Data(id) => {
                    let read = self.data(id, set.body, &base);
                    let (all, of_flows) = read.unwrap_or_default();
                    records = records.zip(read).map(|(sum, _)| sum.saturating_add(all));
                    flows = flows.saturating_add(of_flows);
                }
                SetKind::Reserved => self.unread("export_set_unknown"),
            }
        }
        if sets.is_broken() {
            self.unread("export_datagram_cut");
        }
        if let Some(stream) = self.exporters.stream(self.key) {
            // Version 9 counts datagrams, IPFIX data records.
            let step = message.uptime_ms.map_or(records, |_| Some(1));
            stream.sequence.take(message.sequence, step, flows);
        }
    }

    fn templates(&mut self, message: &Message<'_>, set: Set<'_>) {
        let is_options = set.kind == SetKind::OptionsTemplates;
        for declared in templates(message.layout, is_options, set.body) {
            match declared {
                Declared::Withdrawn(id) => self.exporters.withdraw(self.key, id),
                Declared::Refused => self.refused("template_refused"),
                Declared::Template(template) => {
                    let id = template.id;
                    let Some(ready) = self.exporters.keep_template(self.key, template) else {
                        self.refused("templates_full");
                        continue;
                    };
                    for pending in ready {
                        self.data(id, &pending.body, &pending.base);
                    }
                }
            }
        }
    }

    /// The records of a set; how many, and how many of them are of flows, unless their template is not known.
    fn data(&mut self, id: u16, body: &[u8], base: &Base) -> Option<(u32, u32)> {
        let Some(template) = self.exporters.template(self.key, id).cloned() else {
            let pending = Pending {
                template: id,
                base: *base,
                body: body.into(),
            };
            let given_up = self.exporters.put_aside(self.key, pending);
            self.coverage.records += given_up;
            self.coverage.drop_for("template_not_seen", given_up);
            self.exporters
                .count(self.exporter, |it| it.templates_missing += given_up);
            return None;
        };
        // Options of this very message may have told when the exporter started.
        let boot = self
            .exporters
            .stream(self.key)
            .and_then(|stream| stream.boot);
        let base = &Base { boot, ..*base };
        let mut count = 0_u32;
        let mut records = template.records(body);
        for fields in records.by_ref() {
            count = count.saturating_add(1);
            if template.is_options {
                self.options(&fields);
            } else {
                let sampling = self.sampling(&fields);
                self.flow(&fields, base, sampling);
            }
        }
        if records.is_broken() {
            self.unread("export_datagram_cut");
        }
        Some((count, if template.is_options { 0 } else { count }))
    }

    fn options(&mut self, fields: &FlowFields) {
        if let Some(exporter) = self.exporters.get(self.exporter) {
            exporter.counters.options += 1;
        }
        let Some(stream) = self.exporters.stream(self.key) else {
            return;
        };
        if let Some(sampling) = fields.sampling {
            stream.learn_sampling(fields.sampler, sampling);
        }
        let boot = fields
            .boot_millis
            .and_then(|millis| i64::try_from(millis).ok());
        if let Some(millis) = boot {
            stream.boot = Some(millis.saturating_mul(1_000_000));
        }
    }

    /// One packet in so many, for a record of this stream.
    fn sampling(&mut self, fields: &FlowFields) -> Option<u64> {
        let told = || self.exporters.stream(self.key)?.sampling_of(fields.sampler);
        fields.sampling.or_else(told).filter(|rate| *rate > 1)
    }

    /// A record of a flow.
    fn flow(&mut self, fields: &FlowFields, base: &Base, sampling: Option<u64>) {
        self.coverage.records += 1;
        let rate = sampling.unwrap_or(1);
        if let Some(exporter) = self.exporters.get(self.exporter) {
            exporter.counters.records += 1;
            exporter.counters.sampling = rate;
        }
        let Some(ends) = ends(fields) else {
            return self.coverage.drop_for("not_a_flow_record", 1);
        };
        let is_denied = fields.firewall_event == Some(3);
        if fields.is_translation && fields.forward.is_empty() && fields.reverse.is_empty() {
            return self.coverage.drop_for("not_a_flow_record", 1);
        }
        if fields.firewall_event == Some(1) {
            // It is told again, with its counts, when it ends.
            return self.coverage.drop_for("flow_not_ended", 1);
        }
        let span = base.span(fields);
        if !span.is_believed
            && let Some(exporter) = self.exporters.get(self.exporter)
        {
            exporter.counters.times_not_believed += 1;
        }
        let volume = |counts: &Counts| volume(counts, &ends, rate);
        let forward = volume(&fields.forward);
        let reverse = fields.reverse;
        let tells_both = reverse.packets.is_some() || reverse.octets.is_some();
        let reverse = tells_both.then(|| volume(&reverse));
        let seen = forward
            .packets
            .saturating_add(reverse.map_or(0, |reverse| reverse.packets));
        // Of these packets nothing was seen; the counts are estimates.
        self.coverage
            .drop_for("packets_not_sampled", seen - seen / rate);
        self.halves.push(Half {
            exporter: self.exporter,
            ends,
            forward,
            reverse,
            start: span.start,
            end: span.end,
            source_began: fields.source_began,
            is_sampled: rate > 1,
            is_denied,
        });
    }
}

/// Between whom; `None` when the record does not say.
fn ends(fields: &FlowFields) -> Option<Ends> {
    let protocol = fields.protocol?;
    let has_ports = matches!(protocol, 6 | 17 | 132);
    let port = |port| if has_ports { port } else { 0 };
    let mac = |mac: Option<[u8; 6]>| mac.map(Mac).filter(|mac| !mac.is_zero());
    let vlan = fields.vlan.map(u32::from);
    // Exporters that tell ICMP apart put type and code where the port would be.
    let icmp = fields.icmp.unwrap_or(fields.destination_port);
    Some(Ends {
        source: Endpoint::new(fields.source?, port(fields.source_port)),
        destination: Endpoint::new(fields.destination?, port(fields.destination_port)),
        protocol,
        icmp: matches!(protocol, 1 | 58).then_some(icmp),
        scope: vlan.map_or(Scope::NONE, |id| Scope::NONE.enter(Scope::VLAN, id)),
        source_mac: mac(fields.source_mac),
        destination_mac: mac(fields.destination_mac),
    })
}

/// Exporters count from the IP header on: the payload is estimated.
fn volume(counts: &Counts, ends: &Ends, rate: u64) -> Volume {
    let packets = counts
        .packets
        .unwrap_or(u64::from(counts.octets.unwrap_or(0) > 0));
    let ip = if ends.source.addr.is_ipv4() { 20 } else { 40 };
    let header = match ends.protocol {
        6 => ip + 20,
        17 | 1 | 58 => ip + 8,
        132 => ip + 12,
        _ => ip,
    };
    let octets = counts.octets.unwrap_or(0);
    let payload = octets.saturating_sub(packets.saturating_mul(header));
    Volume {
        packets: packets.saturating_mul(rate),
        payload: payload.saturating_mul(rate),
        flags: counts.flags,
    }
}
