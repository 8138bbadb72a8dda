//! What a record says, whichever layout it has. Numbers are those of IANA's "IPFIX Information Elements";
//! version 9 uses the same for what is read here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Layout;
use super::template::Field;
use crate::Reader;

/// The enterprise whose elements are IANA's, of the other direction (RFC 5103).
const REVERSE: u32 = 29_305;
/// Seconds from 1900, where NTP begins, to 1970.
const NTP_TO_UNIX_SECS: i64 = 2_208_988_800;

/// When something was, as the record has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamp {
    /// Not said.
    #[default]
    None,
    /// Milliseconds since the exporter started, which wrap after 49 days.
    Uptime(u32),
    /// Nanoseconds since 1970.
    Nanos(i64),
    /// Microseconds before the message was sent.
    BeforeExport(u32),
}

/// What was counted in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets.
    pub packets: Option<u64>,
    /// Bytes, from the IP header on.
    pub octets: Option<u64>,
    /// TCP flags of all packets together.
    pub flags: Option<u8>,
}

impl Counts {
    /// Whether anything was counted.
    pub fn is_empty(&self) -> bool {
        self.packets.unwrap_or(0) == 0 && self.octets.unwrap_or(0) == 0
    }
}

/// What a record says about a flow, or an options record about the exporter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowFields {
    /// Who sent.
    pub source: Option<IpAddr>,
    /// To whom.
    pub destination: Option<IpAddr>,
    /// From which port; 0 where there is none.
    pub source_port: u16,
    /// To which port; 0 where there is none.
    pub destination_port: u16,
    /// The IP protocol.
    pub protocol: Option<u8>,
    /// ICMP type and code.
    pub icmp: Option<u16>,
    /// From source to destination.
    pub forward: Counts,
    /// Back, where the record tells both.
    pub reverse: Counts,
    /// First packet.
    pub start: Stamp,
    /// Last packet.
    pub end: Stamp,
    /// From first to last, in nanoseconds, where only that is said.
    pub duration: Option<u64>,
    /// When the exporter started, in milliseconds since 1970.
    pub boot_millis: Option<u64>,
    /// Hardware address of the sender.
    pub source_mac: Option<[u8; 6]>,
    /// Hardware address of the receiver.
    pub destination_mac: Option<[u8; 6]>,
    /// Its VLAN.
    pub vlan: Option<u16>,
    /// Which sampler chose its packets.
    pub sampler: Option<u64>,
    /// One packet in so many was looked at.
    pub sampling: Option<u64>,
    /// The record tells that packets between its two were skipped: so many.
    pub(super) space: Option<u64>,
    pub(super) size: Option<u64>,
    /// What a firewall did: 1 began, 2 ended, 3 denied, 5 goes on.
    pub firewall_event: Option<u8>,
    /// Whether the source began, where the record says who did.
    pub source_began: Option<bool>,
    /// What a firewall or translator reports other than a flow.
    pub is_translation: bool,
    pub(super) totals: [Option<u64>; 2],
    pub(super) outs: [Option<u64>; 2],
}

impl FlowFields {
    /// Takes the value of a field in.
    pub(super) fn enter(&mut self, layout: Layout, field: &Field, value: &[u8]) {
        match field.enterprise {
            0 => {}
            REVERSE => return self.enter_reverse(field.element, value),
            _ => return,
        }
        let number = unsigned(value);
        match field.element {
            4 => self.protocol = number.and_then(|number| number.try_into().ok()),
            7 | 180 | 182 => self.source_port = port(number),
            11 | 181 | 183 => self.destination_port = port(number),
            8 | 27 => address(&mut self.source, value),
            12 | 28 => address(&mut self.destination, value),
            32 | 139 => self.icmp = number.and_then(|number| number.try_into().ok()),
            176 | 178 => {
                self.icmp = Some(u16::from(last(value)) << 8 | self.icmp.unwrap_or(0) & 0xff);
            }
            177 | 179 => self.icmp = Some(self.icmp.unwrap_or(0) & 0xff00 | u16::from(last(value))),
            56 => self.source_mac = value.try_into().ok(),
            80 | 57 => self.destination_mac = value.try_into().ok(),
            58 | 243 => {
                self.vlan = number
                    .map(|number| low16(number) & 0xfff)
                    .filter(|id| *id > 0);
            }
            230 => self.is_translation = true,
            239 => {
                self.source_began = match last(value) {
                    1 => Some(true),
                    2 => Some(false),
                    _ => None,
                }
            }
            233 => self.firewall_event = Some(last(value)),
            1 | 2 | 6 | 23 | 24 | 85 | 86 | 231 | 232 | 298 | 299 => {
                self.enter_count(layout, field.element, value);
            }
            21 | 22 | 150..=161 | 322..=325 => self.enter_time(field.element, value),
            34 | 48 | 50 | 302 | 305 | 306 | 309 | 310 => {
                self.enter_sampling(field.element, number);
            }
            _ => {}
        }
    }

    fn enter_count(&mut self, layout: Layout, element: u16, value: &[u8]) {
        let number = unsigned(value);
        if matches!(element, 231 | 298) {
            self.source_began = Some(true);
        }
        match element {
            1 | 231 => self.forward.octets = number,
            2 | 298 => self.forward.packets = number,
            6 => self.forward.flags = Some(last(value)),
            // Version 9 exporters of both directions put the other one here; IPFIX means the same
            // packets on their way out.
            23 if layout == Layout::V9 => self.reverse.octets = number,
            24 if layout == Layout::V9 => self.reverse.packets = number,
            23 => self.outs = [number, self.outs[1]],
            24 => self.outs = [self.outs[0], number],
            85 => self.totals = [number, self.totals[1]],
            86 => self.totals = [self.totals[0], number],
            232 => self.reverse.octets = number,
            299 => self.reverse.packets = number,
            _ => {}
        }
    }

    fn enter_reverse(&mut self, element: u16, value: &[u8]) {
        match element {
            1 | 85 => self.reverse.octets = unsigned(value),
            2 | 86 => self.reverse.packets = unsigned(value),
            6 => self.reverse.flags = Some(last(value)),
            _ => {}
        }
    }

    fn enter_time(&mut self, element: u16, value: &[u8]) {
        let number = unsigned(value);
        let scaled = |unit: i64| {
            let number = number.and_then(|number| i64::try_from(number).ok());
            number.map_or(Stamp::None, |number| {
                Stamp::Nanos(number.saturating_mul(unit))
            })
        };
        match element {
            21 => self.end = number.map_or(Stamp::None, |ms| Stamp::Uptime(low32(ms))),
            22 => self.start = number.map_or(Stamp::None, |ms| Stamp::Uptime(low32(ms))),
            150 => self.start = scaled(1_000_000_000),
            151 => self.end = scaled(1_000_000_000),
            152 => self.start = scaled(1_000_000),
            153 => self.end = scaled(1_000_000),
            154 | 156 => self.start = ntp(value),
            155 | 157 => self.end = ntp(value),
            158 => self.start = number.map_or(Stamp::None, |us| Stamp::BeforeExport(low32(us))),
            159 => self.end = number.map_or(Stamp::None, |us| Stamp::BeforeExport(low32(us))),
            160 => self.boot_millis = number,
            161 => self.duration = number.map(|ms| ms.saturating_mul(1_000_000)),
            // When it was observed stands for both ends where they are not told.
            322 if self.end == Stamp::None => self.end = scaled(1_000_000_000),
            323 if self.end == Stamp::None => self.end = scaled(1_000_000),
            324 | 325 if self.end == Stamp::None => self.end = ntp(value),
            _ => {}
        }
    }

    fn enter_sampling(&mut self, element: u16, number: Option<u64>) {
        match element {
            34 | 50 => self.sampling = number,
            48 | 302 => self.sampler = number,
            305 | 309 => self.size = number,
            306 => self.space = number,
            310 => self.space = number.map(|all| all.saturating_sub(self.size.unwrap_or(1))),
            _ => {}
        }
    }

    /// After the last field: what one field alone could not tell.
    pub(super) fn settle(&mut self) {
        let [octets, packets] = self.totals;
        self.forward.octets = self.forward.octets.or(octets).or(self.outs[0]);
        self.forward.packets = self.forward.packets.or(packets).or(self.outs[1]);
        if let (None, Some(space)) = (self.sampling, self.space) {
            let size = self.size.unwrap_or(1).max(1);
            self.sampling = space
                .checked_add(size)
                .and_then(|all| all.checked_div(size));
        }
    }
}

/// A number of one to eight bytes: exporters may leave leading zeros out (RFC 7011, 6.2).
fn unsigned(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 8 {
        return None;
    }
    Some(
        value
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    )
}

fn last(value: &[u8]) -> u8 {
    value.last().copied().unwrap_or(0)
}

fn low16(number: u64) -> u16 {
    u16::try_from(number & 0xffff).unwrap_or(0)
}

fn low32(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or(0)
}

fn port(number: Option<u64>) -> u16 {
    number.map_or(0, low16)
}

/// Takes an address; of two families in one record the one that is not empty counts.
fn address(place: &mut Option<IpAddr>, value: &[u8]) {
    let read = match value.len() {
        4 => value
            .try_into()
            .ok()
            .map(|four: [u8; 4]| IpAddr::V4(Ipv4Addr::from(four))),
        16 => value
            .try_into()
            .ok()
            .map(|all: [u8; 16]| IpAddr::V6(Ipv6Addr::from(all))),
        _ => None,
    };
    if place.is_none_or(|placed| placed.is_unspecified()) && read.is_some() {
        *place = read;
    }
}

/// NTP's format (RFC 7011, 6.1.9): seconds since 1900 and a fraction, wrapping in 2036.
fn ntp(value: &[u8]) -> Stamp {
    let mut reader = Reader::new(value);
    let (Some(secs), Some(fraction)) = (reader.u32(), reader.u32()) else {
        return Stamp::None;
    };
    let era = if secs < 0x8000_0000 { 1_i64 << 32 } else { 0 };
    let secs = i64::from(secs)
        .saturating_add(era)
        .saturating_sub(NTP_TO_UNIX_SECS);
    let nanos = u64::from(fraction).saturating_mul(1_000_000_000) >> 32;
    let nanos = i64::try_from(nanos).unwrap_or(0);
    Stamp::Nanos(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
}
