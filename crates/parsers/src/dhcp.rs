//! DHCP for IPv4 (RFC 2131, options of RFC 2132) and IPv6 (RFC 8415, RFC 3646, RFC 4704). A reader
//! of our own, because one cut option must not cost the whole message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{ParseBudget, Parsed, Reader, hex, text};

/// A message of either version, as far as it identifies or configures a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dhcp {
    /// Lower-case message name: `discover`, `offer`, …, of version 6 `solicit`, `advertise`, …
    pub message: &'static str,
    /// Whether it is version 6.
    pub v6: bool,
    /// Transaction id.
    pub transaction: u32,
    /// The client's hardware address; for version 6 the one inside its identifier.
    pub mac: [u8; 6],
    /// The client identifier, in hex.
    pub client_id: Box<str>,
    /// The client's host name.
    pub hostname: Box<str>,
    /// The vendor class.
    pub vendor: Box<str>,
    /// The address asked for, or already in use.
    pub requested: Option<IpAddr>,
    /// The address given.
    pub assigned: Option<IpAddr>,
    /// The server's identifier.
    pub server: Option<IpAddr>,
    /// Routers handed out.
    pub routers: Vec<IpAddr>,
    /// Name servers handed out.
    pub name_servers: Vec<IpAddr>,
    /// Lease time in seconds; 0 when absent.
    pub lease_secs: u32,
}

/// Reads a version 4 message; `None` when it is not one (plain BOOTP included).
pub fn parse_v4(bytes: &[u8], budget: &ParseBudget) -> Option<Parsed<Dhcp>> {
    let mut reader = Reader::new(bytes);
    let [op, hardware, hardware_len, _hops] = reader.array()?;
    if !matches!(op, 1 | 2) {
        return None;
    }
    let mut dhcp = Parsed::clean(Dhcp {
        transaction: reader.u32()?,
        ..Dhcp::default()
    });
    reader.skip(4)?;
    let address = |raw: [u8; 4]| Some(IpAddr::from(raw)).filter(|addr| !addr.is_unspecified());
    let in_use = address(reader.array()?);
    let given = address(reader.array()?);
    reader.skip(8)?;
    let chaddr = reader.array::<6>()?;
    if hardware == 1 && hardware_len == 6 {
        dhcp.value.mac = chaddr;
    }
    reader.skip(10 + 64 + 128)?;
    if reader.u32()? != 0x6382_5363 {
        return None;
    }
    dhcp.value.requested = in_use;
    while let Some(code) = reader.u8() {
        match code {
            0 => continue,
            255 => break,
            _ => {}
        }
        let Some(body) = reader.sub8() else {
            dhcp.quirk("cut_option");
            break;
        };
        if option_v4(code, body, &mut dhcp.value, budget).is_none() {
            dhcp.quirk("bad_option");
        }
    }
    if matches!(dhcp.value.message, "offer" | "ack") {
        dhcp.value.assigned = given;
    }
    (!dhcp.value.message.is_empty()).then_some(dhcp)
}

fn option_v4(code: u8, mut body: Reader<'_>, dhcp: &mut Dhcp, budget: &ParseBudget) -> Option<()> {
    match code {
        3 => addresses(body, &mut dhcp.routers, budget),
        6 => addresses(body, &mut dhcp.name_servers, budget),
        12 => dhcp.hostname = text(body.rest(), 255),
        50 => dhcp.requested = Some(IpAddr::from(body.array::<4>()?)),
        51 => dhcp.lease_secs = body.u32()?,
        53 => {
            dhcp.message = match body.u8()? {
                1 => "discover",
                2 => "offer",
                3 => "request",
                4 => "decline",
                5 => "ack",
                6 => "nak",
                7 => "release",
                8 => "inform",
                _ => "other",
            }
        }
        54 => dhcp.server = Some(IpAddr::from(body.array::<4>()?)),
        60 => dhcp.vendor = text(body.rest(), 255),
        61 => dhcp.client_id = hex(body.rest()),
        // The full name, after its flags; only the form that is not in DNS encoding.
        81 if dhcp.hostname.is_empty() && body.rest().first()? & 4 == 0 => {
            body.skip(3)?;
            dhcp.hostname = text(body.rest(), 255);
        }
        _ => {}
    }
    Some(())
}

fn addresses(mut body: Reader<'_>, out: &mut Vec<IpAddr>, budget: &ParseBudget) {
    while let Some(raw) = body.array::<4>() {
        if out.len() < budget.items_max {
            out.push(Ipv4Addr::from(raw).into());
        }
    }
}

/// Reads a version 6 message; of a relayed one what is inside.
pub fn parse_v6(bytes: &[u8], budget: &ParseBudget) -> Option<Parsed<Dhcp>> {
    let mut bytes = bytes;
    for _ in 0..budget.depth_max {
        let (&kind, rest) = bytes.split_first()?;
        if !matches!(kind, 12 | 13) {
            return message_v6(kind, rest, budget);
        }
        // The message inside is in option 9, after hop count and two addresses.
        let mut options = Reader::new(rest.get(33..)?);
        bytes = loop {
            let (code, body) = (options.u16()?, options.sub16()?);
            if code == 9 {
                break body.rest();
            }
        };
    }
    None
}

fn message_v6(kind: u8, rest: &[u8], budget: &ParseBudget) -> Option<Parsed<Dhcp>> {
    const NAMES: [&str; 11] = [
        "solicit",
        "advertise",
        "request",
        "confirm",
        "renew",
        "rebind",
        "reply",
        "release",
        "decline",
        "reconfigure",
        "inform",
    ];
    let message = NAMES.get(usize::from(kind.checked_sub(1)?))?;
    let mut reader = Reader::new(rest);
    let transaction = reader.u24()?;
    let mut dhcp = Parsed::clean(Dhcp {
        message,
        v6: true,
        transaction,
        ..Dhcp::default()
    });
    while !reader.is_empty() {
        let (Some(code), Some(body)) = (reader.u16(), reader.sub16()) else {
            dhcp.quirk("cut_option");
            break;
        };
        if option_v6(code, body, &mut dhcp.value, budget).is_none() {
            dhcp.quirk("bad_option");
        }
    }
    Some(dhcp)
}

fn option_v6(code: u16, mut body: Reader<'_>, dhcp: &mut Dhcp, budget: &ParseBudget) -> Option<()> {
    match code {
        1 => {
            dhcp.client_id = hex(body.rest().get(..body.len().min(130))?);
            // Link-layer based identifiers hold the hardware address.
            let skip = match (body.u16()?, body.u16()?) {
                (1, 1) => 4,
                (3, 1) => 0,
                _ => return Some(()),
            };
            body.skip(skip)?;
            dhcp.mac = body.array()?;
        }
        3 | 4 => {
            body.skip(if code == 3 { 12 } else { 4 })?;
            while let (Some(inner), Some(mut address)) = (body.u16(), body.sub16()) {
                if inner == 5 {
                    let given = Some(Ipv6Addr::from(address.array::<16>()?).into());
                    let _preferred = address.u32()?;
                    dhcp.lease_secs = address.u32()?;
                    if matches!(dhcp.message, "advertise" | "reply") {
                        dhcp.assigned = given;
                    } else {
                        dhcp.requested = given;
                    }
                }
            }
        }
        16 => {
            body.skip(4)?;
            dhcp.vendor = text(body.sub16()?.rest(), 255);
        }
        23 => {
            while let Some(raw) = body.array::<16>() {
                if dhcp.name_servers.len() < budget.items_max {
                    dhcp.name_servers.push(Ipv6Addr::from(raw).into());
                }
            }
        }
        39 => {
            body.skip(1)?;
            let whole = body.rest();
            dhcp.hostname = crate::dns::name(whole, &mut Reader::new(whole), &mut Vec::new())
                .unwrap_or_default()
                .into();
        }
        _ => {}
    }
    Some(())
}

/// Whether these bytes are DHCP for IPv4 by content.
pub fn looks_like_v4(bytes: &[u8]) -> bool {
    bytes.len() >= 240
        && matches!(bytes.first(), Some(1 | 2))
        && bytes.get(236..240) == Some(&[0x63, 0x82, 0x53, 0x63])
}

/// For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let budget = ParseBudget::default();
    let _ = looks_like_v4(bytes);
    let _ = parse_v4(bytes, &budget);
    let _ = parse_v6(bytes, &budget);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: ParseBudget = ParseBudget {
        text_bytes_max: 1024,
        items_max: 32,
        depth_max: 16,
    };

    fn v4(op: u8, given: [u8; 4], options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![op, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(given);
        bytes.extend([0; 8]);
        bytes.extend([2, 0, 0, 0, 0, 9]);
        bytes.extend([0; 10 + 64 + 128]);
        bytes.extend([0x63, 0x82, 0x53, 0x63]);
        bytes.extend(options);
        bytes
    }

    #[test]
    fn an_ack_gives_address_lease_and_what_was_handed_out() {
        let options = [
            53, 1, 5, 51, 4, 0, 0, 14, 16, 54, 4, 10, 0, 0, 1, 3, 4, 10, 0, 0, 1, 6, 8, 10, 0, 0,
            2, 10, 0, 0, 3, 255,
        ];
        let dhcp = parse_v4(&v4(2, [10, 0, 0, 9], &options), &BUDGET).unwrap();
        assert!(dhcp.quirks.is_empty());
        let dhcp = dhcp.value;
        assert_eq!((dhcp.message, dhcp.lease_secs), ("ack", 3600));
        assert_eq!(dhcp.assigned, Some("10.0.0.9".parse().unwrap()));
        assert_eq!((dhcp.routers.len(), dhcp.name_servers.len()), (1, 2));
        assert_eq!(dhcp.mac, [2, 0, 0, 0, 0, 9]);
    }

    #[test]
    fn a_cut_option_keeps_what_came_before() {
        let bytes = v4(1, [0; 4], &[53, 1, 3, 12, 2, b'p', b'c', 60, 200, 1]);
        let dhcp = parse_v4(&bytes, &BUDGET).unwrap();
        assert_eq!(
            (dhcp.value.message, &*dhcp.value.hostname),
            ("request", "pc")
        );
        assert_eq!(dhcp.quirks, ["cut_option"]);
        assert!(looks_like_v4(&bytes));
    }

    #[test]
    fn plain_bootp_is_not_dhcp() {
        assert_eq!(parse_v4(&v4(1, [0; 4], &[12, 1, b'x', 255]), &BUDGET), None);
    }

    #[test]
    fn a_relayed_solicit_gives_identifier_mac_and_name() {
        let mut inner = vec![1, 9, 9, 9, 0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 9];
        inner.extend(b"\0\x27\0\x09\x01\x02pc\x03lan\0");
        let mut relayed = vec![12, 0];
        relayed.extend([0; 32]);
        relayed.extend([0, 9, 0, inner.len() as u8]);
        relayed.extend(&inner);
        let dhcp = parse_v6(&relayed, &BUDGET).unwrap().value;
        assert_eq!((dhcp.message, &*dhcp.hostname), ("solicit", "pc.lan"));
        assert_eq!(dhcp.mac, [2, 0, 0, 0, 0, 9]);
        assert_eq!(&*dhcp.client_id, "00030001020000000009");
    }
}
