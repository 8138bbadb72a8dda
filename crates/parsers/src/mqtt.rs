//! MQTT 3.1, 3.1.1 and 5 (OASIS): connects, topics and answers. Payloads are skipped by length.

use crate::reader::Reader;
use crate::text::text;

/// Longest topic or name kept, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// The fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Packet type, 1 connect to 15 auth.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Bytes of the header.
    pub header_len: usize,
    /// Bytes that follow.
    pub remaining: usize,
}

/// Reads the fixed header. `Ok(None)` when more is needed, `Err` when it is none.
pub fn header(bytes: &[u8]) -> Result<Option<Header>, NotMqtt> {
    let Some((first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if first >> 4 == 0 {
        return Err(NotMqtt);
    }
    let mut remaining = 0_usize;
    for at in 0..4_u8 {
        let Some(byte) = rest.get(usize::from(at)) else {
            return Ok(None);
        };
        remaining |= usize::from(byte & 0x7f) << (at.saturating_mul(7));
        if byte & 0x80 == 0 {
            let header_len = usize::from(at).saturating_add(2);
            let (kind, flags) = (first >> 4, first & 15);
            return Ok(Some(Header {
                kind,
                flags,
                header_len,
                remaining,
            }));
        }
    }
    Err(NotMqtt)
}

/// The bytes are not MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotMqtt;

/// A connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connect {
    /// Protocol level: 3, 4 or 5.
    pub level: u8,
    /// The client's identifier.
    pub client: Box<str>,
    /// The user, when one is given.
    pub user: Option<Box<str>>,
}

/// Reads a connect's body; `None` when it is none.
pub fn connect(body: &[u8]) -> Option<Connect> {
    let mut reader = Reader::new(body);
    if !matches!(reader.sub16()?.rest(), b"MQTT" | b"MQIsdp") {
        return None;
    }
    let level = reader.u8()?;
    let flags = reader.u8()?;
    reader.skip(2)?;
    if level == 5 {
        properties(&mut reader)?;
    }
    let client = text(reader.sub16()?.rest(), TEXT_BYTES_MAX);
    if flags & 4 != 0 {
        if level == 5 {
            properties(&mut reader)?;
        }
        reader.sub16()?;
        reader.sub16()?;
    }
    let named = flags & 0x80 != 0;
    let user = named.then(|| reader.sub16()).flatten();
    Some(Connect {
        level,
        client,
        user: user.map(|user| text(user.rest(), TEXT_BYTES_MAX)),
    })
}

fn properties(reader: &mut Reader<'_>) -> Option<()> {
    let mut length = 0_usize;
    for shift in [0, 7, 14, 21] {
        let byte = reader.u8()?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return reader.skip(length);
        }
    }
    None
}

/// The topic of a publish.
pub fn publish_topic(body: &[u8]) -> Option<Box<str>> {
    Reader::new(body)
        .sub16()
        .map(|topic| text(topic.rest(), TEXT_BYTES_MAX))
}

/// The first topic of a subscribe and how many there are.
pub fn subscribe_topics(body: &[u8], level: u8) -> Option<(Box<str>, usize)> {
    let mut reader = Reader::new(body);
    reader.skip(2)?;
    if level == 5 {
        properties(&mut reader)?;
    }
    let first = text(reader.sub16()?.rest(), TEXT_BYTES_MAX);
    reader.u8()?;
    let mut count = 1_usize;
    while reader.sub16().is_some() && reader.u8().is_some() {
        count = count.saturating_add(1);
    }
    Some((first, count))
}

/// The code of a connect's answer: 0 is success.
pub fn connack_code(body: &[u8]) -> Option<u8> {
    body.get(1).copied()
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let Ok(Some(header)) = header(bytes) else {
        return;
    };
    let body = bytes.get(header.header_len..).unwrap_or_default();
    let connect = connect(body);
    debug_assert!(connect.is_none_or(|connect| connect.client.len() <= 3 * TEXT_BYTES_MAX));
    debug_assert!(publish_topic(body).is_none() || body.len() >= 2);
    debug_assert!(subscribe_topics(body, 5).is_none_or(|(_, count)| count <= body.len()));
    debug_assert!(connack_code(body).is_none() || body.len() >= 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_names_client_and_user() {
        let body = b"\0\x04MQTT\x04\xc2\0\x3c\0\x02id\0\x03bob\0\x01p";
        let read = connect(body).unwrap();
        assert_eq!((&*read.client, read.user), ("id", Some("bob".into())));
        assert_eq!(
            header(b"\x10\x14"),
            Ok(Some(Header {
                kind: 1,
                flags: 0,
                header_len: 2,
                remaining: 20
            }))
        );
        assert_eq!(
            subscribe_topics(b"\0\x01\0\x01#\0\0\x01a\0", 4),
            Some(("#".into(), 2))
        );
        assert_eq!(header(b"\x30\xff\xff\xff\xff"), Err(NotMqtt));
    }
}
