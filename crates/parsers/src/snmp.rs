//! SNMP versions 1 (RFC 1157), 2c (RFC 1901, RFC 3416) and 3 (RFC 3412, RFC 3414), over our own
//! reader of DER: a cut response still shows its first object.

use crate::der;
use crate::text::{hex, text};

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const OBJECT_BYTES_MAX: usize = 128;
const NAME_BYTES_MAX: usize = 128;

/// What a datagram shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// 1, 2 (for 2c) or 3.
    pub version: u8,
    /// The community, or the user of version 3.
    pub community: Box<str>,
    /// `get`, `getnext`, `response`, `set`, `trap`, `getbulk`, `inform`, `report`; `encrypted` when
    /// version 3 hides it.
    pub operation: &'static str,
    /// The request's id; 0 when hidden.
    pub id: u64,
    /// Error status of a response.
    pub error: u64,
    /// The first object, in dots; the enterprise of a version 1 trap.
    pub object: Box<str>,
}

impl Message {
    /// Whether it answers a request.
    pub fn is_response(&self) -> bool {
        matches!(self.operation, "response" | "report")
    }
}

/// Reads a datagram; `None` when it is not SNMP.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let outer = der::element(bytes).filter(|outer| outer.tag == SEQUENCE)?;
    let version = der::element(outer.content)
        .filter(|field| field.tag == INTEGER && field.content.len() == 1)?;
    match version.content {
        [number @ (0 | 1)] => {
            let community = der::element(version.rest).filter(|field| field.tag == OCTETS)?;
            let mut out = Message {
                version: number.saturating_add(1),
                community: text(community.content, NAME_BYTES_MAX),
                ..Message::default()
            };
            pdu(community.rest, &mut out)?;
            Some(out)
        }
        [3] => version3(version.rest),
        _ => None,
    }
}

fn version3(bytes: &[u8]) -> Option<Message> {
    let global = der::element(bytes).filter(|field| field.tag == SEQUENCE)?;
    let security = der::element(global.rest).filter(|field| field.tag == OCTETS)?;
    let mut out = Message {
        version: 3,
        operation: "encrypted",
        id: der::find(global.content, INTEGER).map_or(0, der::unsigned),
        ..Message::default()
    };
    // Engine, boots and time stand before the user's name (RFC 3414, 2.4).
    if let Some(user) = der::find(security.content, SEQUENCE)
        .and_then(der::element)
        .and_then(|engine| der::find(engine.rest, OCTETS))
    {
        out.community = text(user, NAME_BYTES_MAX);
    }
    let data = der::element(security.rest)?;
    match data.tag {
        OCTETS => {}
        SEQUENCE => {
            let engine = der::element(data.content).filter(|field| field.tag == OCTETS)?;
            let context = der::element(engine.rest).filter(|field| field.tag == OCTETS)?;
            pdu(context.rest, &mut out)?;
        }
        _ => return None,
    }
    Some(out)
}

fn pdu(bytes: &[u8], out: &mut Message) -> Option<()> {
    let pdu = der::element(bytes)?;
    out.operation = match pdu.tag {
        0xa0 => "get",
        0xa1 => "getnext",
        0xa2 => "response",
        0xa3 => "set",
        0xa4 | 0xa7 => "trap",
        0xa5 => "getbulk",
        0xa6 => "inform",
        0xa8 => "report",
        _ => return None,
    };
    let first = der::element(pdu.content)?;
    if pdu.tag == 0xa4 {
        out.object = (first.tag == OID).then(|| dots(first.content))?;
        return Some(());
    }
    let second = der::element(first.rest)?;
    let third = der::element(second.rest)?;
    if [first.tag, second.tag, third.tag] != [INTEGER; 3] {
        return None;
    }
    out.id = der::unsigned(first.content);
    if out.is_response() {
        out.error = der::unsigned(second.content);
    }
    if let Some(object) = der::find(third.rest, SEQUENCE)
        .and_then(|list| der::find(list, SEQUENCE))
        .and_then(|pair| der::find(pair, OID))
    {
        out.object = dots(object);
    }
    Some(())
}

/// An object identifier in dots (X.690, 8.19).
fn dots(content: &[u8]) -> Box<str> {
    let content = content.get(..OBJECT_BYTES_MAX).unwrap_or(content);
    let mut out = String::new();
    let mut arc = 0_u64;
    for &byte in content {
        let Some(next) = arc
            .checked_mul(128)
            .and_then(|arc| arc.checked_add(u64::from(byte & 127)))
        else {
            return hex(content);
        };
        arc = next;
        if byte & 128 != 0 {
            continue;
        }
        if out.is_empty() {
            let top = (arc / 40).min(2);
            out = format!("{top}.{}", arc.saturating_sub(top.saturating_mul(40)));
        } else {
            out.push('.');
            out.push_str(&arc.to_string());
        }
        arc = 0;
    }
    out.into()
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(message) = parse(bytes) {
        debug_assert!(!message.operation.is_empty());
        debug_assert!(message.community.len() <= 3 * NAME_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2c_shows_community_and_object() {
        let get = b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x07\x02\x01\x00\x02\x01\x00\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\x00\x05\x00";
        let found = parse(get).unwrap();
        assert_eq!(
            (found.version, &*found.community, found.operation),
            (2, "public", "get")
        );
        assert_eq!((&*found.object, found.id), ("1.3.6.1.2.1.1.1.0", 7));
        assert_eq!(
            parse(b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"),
            None,
            "LDAP"
        );
    }

    #[test]
    fn version_3_shows_its_user_and_hides_the_rest() {
        let secret = b"\x30\x2d\x02\x01\x03\x30\x0d\x02\x01\x09\x02\x02\x05\xdc\x04\x01\x07\x02\x01\x03\x04\x15\x30\x13\x04\x01e\x02\x01\0\x02\x01\0\x04\x03ann\x04\x01a\x04\x00\x04\x02xy";
        let found = parse(secret).unwrap();
        assert_eq!(
            (found.version, &*found.community, found.operation),
            (3, "ann", "encrypted")
        );
    }
}
