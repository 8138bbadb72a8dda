//! IPv6 neighbour discovery (RFC 4861): router solicitation to redirect, with the options that
//! identify a host or configure one (RFC 8106 for name servers).

use std::net::Ipv6Addr;

use crate::{ParseBudget, Parsed, Reader};

/// A neighbour discovery message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ndp {
    /// ICMPv6 type, 133 to 137.
    pub message: u8,
    /// Target of a neighbour message or redirect.
    pub target: Option<Ipv6Addr>,
    /// Source or target link-layer address option.
    pub mac: Option<[u8; 6]>,
    /// Flags: of a neighbour advertisement bit 7 router, 6 solicited, 5 override; of a router
    /// advertisement bit 7 managed, 6 other configuration.
    pub flags: u8,
    /// Router lifetime in seconds; 0 for other messages.
    pub router_lifetime: u16,
    /// Prefixes announced, with their lengths in bits.
    pub prefixes: Vec<(Ipv6Addr, u8)>,
    /// Name servers announced.
    pub name_servers: Vec<Ipv6Addr>,
}

/// Reads an ICMPv6 message from its type byte on; `None` when it is not neighbour discovery or its
/// fixed part is cut.
pub fn parse(bytes: &[u8], budget: &ParseBudget) -> Option<Parsed<Ndp>> {
    let mut reader = Reader::new(bytes);
    let message = reader.u8()?;
    let _code = reader.u8()?;
    let _checksum = reader.u16()?;
    let mut ndp = Parsed::clean(Ndp {
        message,
        ..Ndp::default()
    });
    match message {
        133 => reader.skip(4)?,
        134 => {
            reader.skip(1)?;
            ndp.value.flags = reader.u8()?;
            ndp.value.router_lifetime = reader.u16()?;
            reader.skip(8)?;
        }
        135 | 136 => {
            ndp.value.flags = reader.u8()?;
            reader.skip(3)?;
            ndp.value.target = Some(Ipv6Addr::from(reader.array::<16>()?));
        }
        137 => {
            reader.skip(4)?;
            ndp.value.target = Some(Ipv6Addr::from(reader.array::<16>()?));
            reader.skip(16)?;
        }
        _ => return None,
    }
    let mut options = 0_usize;
    while !reader.is_empty() {
        options = options.saturating_add(1);
        if options > budget.items_max {
            ndp.quirk("too_many_options");
            break;
        }
        if option(&mut reader, &mut ndp, budget).is_none() {
            ndp.quirk("bad_option");
            break;
        }
    }
    Some(ndp)
}

fn option(reader: &mut Reader<'_>, ndp: &mut Parsed<Ndp>, budget: &ParseBudget) -> Option<()> {
    let kind = reader.u8()?;
    let units = usize::from(reader.u8()?);
    let mut body = Reader::new(reader.take(units.checked_mul(8)?.checked_sub(2)?)?);
    match kind {
        1 | 2 => ndp.value.mac = Some(body.array()?),
        3 => {
            let bits = body.u8()?;
            body.skip(13)?;
            ndp.value
                .prefixes
                .push((Ipv6Addr::from(body.array::<16>()?), bits));
        }
        25 => {
            body.skip(6)?;
            while let Some(server) = body.array::<16>() {
                if ndp.value.name_servers.len() < budget.items_max {
                    ndp.value.name_servers.push(Ipv6Addr::from(server));
                }
            }
        }
        _ => {}
    }
    Some(())
}

/// For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let _ = parse(bytes, &ParseBudget::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour_advertisement() -> Vec<u8> {
        let mut bytes = vec![136, 0, 0, 0, 0xe0, 0, 0, 0, 0xfe, 0x80];
        bytes.extend([0; 13]);
        bytes.push(7);
        bytes.extend([2, 1, 2, 0, 0, 0, 0, 9]);
        bytes
    }

    #[test]
    fn an_advertisement_names_target_and_mac() {
        let ndp = parse(&neighbour_advertisement(), &ParseBudget::default()).unwrap();
        assert_eq!(ndp.value.target, Some("fe80::7".parse().unwrap()));
        assert_eq!(ndp.value.mac, Some([2, 0, 0, 0, 0, 9]));
        assert!(ndp.quirks.is_empty());
    }

    #[test]
    fn a_zero_length_option_is_a_quirk_not_a_loop() {
        let mut bytes = neighbour_advertisement();
        bytes.extend([5, 0, 0, 0]);
        let ndp = parse(&bytes, &ParseBudget::default()).unwrap();
        assert_eq!(ndp.quirks, ["bad_option"]);
        assert!(ndp.value.mac.is_some(), "what came before is kept");
    }

    #[test]
    fn a_router_advertisement_gives_prefixes_and_servers() {
        let mut bytes = vec![134, 0, 0, 0, 64, 0x80, 7, 8];
        bytes.extend([0; 8]);
        bytes.extend([3, 4, 64, 0xc0]);
        bytes.extend([0; 12]);
        bytes.extend([0x20, 1, 0xd, 0xb8]);
        bytes.extend([0; 12]);
        bytes.extend([25, 3, 0, 0, 0, 0, 0, 60, 0xfe, 0x80]);
        bytes.extend([0; 13]);
        bytes.push(1);
        let ndp = parse(&bytes, &ParseBudget::default()).unwrap();
        assert_eq!(ndp.value.prefixes, [("2001:db8::".parse().unwrap(), 64)]);
        assert_eq!(
            ndp.value.name_servers,
            ["fe80::1".parse::<Ipv6Addr>().unwrap()]
        );
        assert_eq!(ndp.value.router_lifetime, 1800);
    }
}
