//! DCE/RPC, connection-oriented (The Open Group C706, chapter 12; MS-RPCE section 2.2): binds,
//! requests, responses and faults. Arguments are not unmarshalled; the return code at the end of a
//! response is read where the interface has one.

mod interfaces;

pub use interfaces::{Interface, Returns, interface};

use crate::reader::Reader;
use crate::words::reader_at;

/// Bytes of the common header.
pub const HEADER_LEN: usize = 16;
/// Most presentation contexts read of one bind.
pub const CONTEXTS_MAX: usize = 32;

/// An interface's UUID in the order of its text form.
pub type Uuid = [u8; 16];

/// The common header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type.
    pub kind: u8,
    /// First fragment.
    pub first: bool,
    /// Last fragment.
    pub last: bool,
    /// Whether integers are little-endian.
    pub little: bool,
    /// Length of this fragment with header and trailer.
    pub length: u16,
    /// Length of the authentication value at its end.
    pub auth_length: u16,
    /// Ties a response to its request.
    pub call_id: u32,
}

/// Reads the header; `None` when it is cut or cannot be one.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    let minor = reader.u8()?;
    let kind = reader.u8()?;
    let flags = reader.u8()?;
    let representation = reader.u8()?;
    reader.skip(3)?;
    let little = representation & 0xf0 == 0x10;
    let mut ints = Ints { reader, little };
    let length = ints.u16()?;
    let auth_length = ints.u16()?;
    let call_id = ints.u32()?;
    let plausible = version == 5 && minor <= 1 && kind <= 19 && representation & 0xe0 == 0;
    let fits = usize::from(length) >= HEADER_LEN && auth_length <= length;
    (plausible && fits).then_some(Header {
        kind,
        first: flags & 1 != 0,
        last: flags & 2 != 0,
        little,
        length,
        auth_length,
        call_id,
    })
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pdu {
    /// Interfaces are bound to context ids.
    Bind(Vec<(u16, Uuid)>),
    /// The server's answer, context by context: accepted or not.
    BindAck(Vec<bool>),
    /// The server refused.
    BindNak,
    /// An operation is called.
    Request {
        /// The context, and so the interface.
        context: u16,
        /// The operation.
        opnum: u16,
    },
    /// It returned.
    Response {
        /// The last four bytes of the results, unless they are sealed or not there.
        code: Option<u32>,
    },
    /// It failed.
    Fault {
        /// The fault's status.
        status: u32,
    },
    /// The third leg of a log-in, or anything else.
    Other,
}

struct Ints<'a> {
    reader: Reader<'a>,
    little: bool,
}

impl Ints<'_> {
    fn u16(&mut self) -> Option<u16> {
        if self.little {
            self.reader.u16_le()
        } else {
            self.reader.u16()
        }
    }

    fn u32(&mut self) -> Option<u32> {
        if self.little {
            self.reader.u32_le()
        } else {
            self.reader.u32()
        }
    }

    fn uuid(&mut self) -> Option<Uuid> {
        let mut raw: Uuid = self.reader.array()?;
        if self.little
            && let [a, b, c, d, e, f, g, h, ..] = &mut raw
        {
            (*a, *b, *c, *d) = (*d, *c, *b, *a);
            (*e, *f) = (*f, *e);
            (*g, *h) = (*h, *g);
        }
        Some(raw)
    }
}

/// Reads the fragment whose header was read; `None` when it is cut where it matters.
pub fn pdu(fragment: &[u8], header: &Header) -> Option<Pdu> {
    let reader = reader_at(fragment, HEADER_LEN);
    let mut body = Ints {
        reader,
        little: header.little,
    };
    match header.kind {
        0 => {
            body.reader.skip(4)?;
            let context = body.u16()?;
            Some(Pdu::Request {
                context,
                opnum: body.u16()?,
            })
        }
        2 => Some(Pdu::Response {
            code: return_code(fragment, header),
        }),
        3 => {
            body.reader.skip(8)?;
            Some(Pdu::Fault {
                status: body.u32()?,
            })
        }
        11 | 14 => bind(body),
        12 | 15 => bind_ack(fragment, body),
        13 => Some(Pdu::BindNak),
        _ => Some(Pdu::Other),
    }
}

fn bind(mut body: Ints<'_>) -> Option<Pdu> {
    body.reader.skip(8)?;
    let count = usize::from(body.reader.u8()?);
    body.reader.skip(3)?;
    let mut contexts = Vec::new();
    for _ in 0..count.min(CONTEXTS_MAX) {
        let Some((id, uuid, transfers)) = context(&mut body) else {
            break;
        };
        contexts.push((id, uuid));
        if body
            .reader
            .skip(usize::from(transfers).saturating_mul(20))
            .is_none()
        {
            break;
        }
    }
    Some(Pdu::Bind(contexts))
}

fn context(body: &mut Ints<'_>) -> Option<(u16, Uuid, u8)> {
    let id = body.u16()?;
    let transfers = body.reader.u8()?;
    body.reader.skip(1)?;
    let uuid = body.uuid()?;
    body.reader.skip(4)?;
    Some((id, uuid, transfers))
}

fn bind_ack<'a>(fragment: &'a [u8], mut body: Ints<'a>) -> Option<Pdu> {
    body.reader.skip(8)?;
    let address = usize::from(body.u16()?);
    // The secondary address is padded to four bytes from the start of the fragment.
    let end = 26_usize.saturating_add(address).next_multiple_of(4);
    body.reader = reader_at(fragment, end);
    let count = usize::from(body.reader.u8()?);
    body.reader.skip(3)?;
    let mut accepted = Vec::new();
    for _ in 0..count.min(CONTEXTS_MAX) {
        let Some(result) = body.u16() else { break };
        // 3 negotiates features and is no refusal.
        accepted.push(matches!(result, 0 | 3));
        if body.reader.skip(22).is_none() {
            break;
        }
    }
    Some(Pdu::BindAck(accepted))
}

/// What the last four bytes of the results say, when they are in the clear.
fn return_code(fragment: &[u8], header: &Header) -> Option<u32> {
    const PRIVACY: u8 = 6;
    if !header.last {
        return None;
    }
    let whole = fragment.get(..usize::from(header.length))?;
    let results = match auth(whole, header) {
        Some(auth) if auth.level >= PRIVACY => return None,
        Some(auth) => whole.get(..auth.results_end)?,
        None if header.auth_length > 0 => return None,
        None => whole,
    };
    let results = results.get(HEADER_LEN.saturating_add(8)..)?;
    let code = results.last_chunk::<4>()?;
    Some(if header.little {
        u32::from_le_bytes(*code)
    } else {
        u32::from_be_bytes(*code)
    })
}

/// The authentication trailer of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Security provider: 9 SPNEGO, 10 NTLM, 16 Kerberos, 68 Netlogon.
    pub provider: u8,
    /// Protection: 1 none to 6 privacy.
    pub level: u8,
    /// The provider's message.
    pub value: &'a [u8],
    results_end: usize,
}

/// The trailer of a whole fragment; `None` when it has none or is cut.
pub fn auth<'a>(fragment: &'a [u8], header: &Header) -> Option<Auth<'a>> {
    let length = usize::from(header.auth_length);
    if length == 0 {
        return None;
    }
    let start = usize::from(header.length)
        .checked_sub(length)?
        .checked_sub(8)?;
    let mut trailer = reader_at(fragment, start);
    let provider = trailer.u8()?;
    let level = trailer.u8()?;
    let padding = usize::from(trailer.u8()?);
    trailer.skip(5)?;
    let value = trailer.take(length)?;
    Some(Auth {
        provider,
        level,
        value,
        results_end: start.saturating_sub(padding),
    })
}

/// The text form of a UUID.
pub fn uuid_text(uuid: &Uuid) -> Box<str> {
    let hex = crate::text::hex(uuid);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
    .into()
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let Some(header) = header(bytes) else { return };
    let trailer = auth(bytes, &header);
    debug_assert!(trailer.is_none_or(|auth| auth.value.len() <= bytes.len()));
    if let Some(Pdu::Bind(contexts)) = pdu(bytes, &header) {
        for (_, uuid) in contexts {
            let name = interface(&uuid).map(|known| known.operation(header.auth_length));
            debug_assert!(name.is_none() || uuid_text(&uuid).len() == 36);
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "the tests' own lengths are small"
)]
mod tests {
    use super::*;

    const SVCCTL: &str = "367abb81-9844-35f1-ad32-98f038001003";

    fn fragment(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(HEADER_LEN + body.len()).unwrap();
        let mut bytes = vec![5, 0, kind, 3, 0x10, 0, 0, 0];
        bytes.extend(length.to_le_bytes());
        bytes.extend([0, 0, 1, 0, 0, 0]);
        bytes.extend(body);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Pdu> {
        pdu(bytes, &header(bytes).unwrap())
    }

    fn bind_svcctl() -> Vec<u8> {
        let mut body = vec![0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 1, 0];
        body.extend([0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35]);
        body.extend([0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03, 2, 0, 0, 0]);
        body.extend([0; 20]);
        fragment(11, &body)
    }

    #[test]
    fn a_bind_names_the_interface() {
        let Some(Pdu::Bind(contexts)) = read(&bind_svcctl()) else {
            panic!()
        };
        assert_eq!(contexts.len(), 1);
        assert_eq!(contexts[0].0, 4);
        assert_eq!(&*uuid_text(&contexts[0].1), SVCCTL);
        let known = interface(&contexts[0].1).unwrap();
        assert_eq!(
            (known.name, known.operation(12)),
            ("svcctl", Some("CreateServiceW"))
        );
    }

    #[test]
    fn a_response_shows_its_return_code() {
        let bytes = fragment(2, &[0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 5, 0, 0, 0]);
        assert_eq!(read(&bytes), Some(Pdu::Response { code: Some(5) }));
        assert_eq!(read(&bytes[..30]), Some(Pdu::Response { code: None }));
    }

    #[test]
    fn a_fault_shows_its_status() {
        let bytes = fragment(3, &[0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read(&bytes), Some(Pdu::Fault { status: 5 }));
    }

    #[test]
    fn other_bytes_are_no_header() {
        assert_eq!(header(b"GET / HTTP/1.1\r\nHost: x\r\n"), None);
        assert_eq!(header(&bind_svcctl()[..15]), None);
    }
}
