//! NetBIOS name service (RFC 1001 section 14.1, RFC 1002 section 4.2): DNS framing around names of
//! sixteen bytes, each written as two letters.

use std::net::Ipv4Addr;

use compact_str::CompactString;

use crate::dns::{Data, Question, Record, labels, skip_name};
use crate::{ParseBudget, Parsed, Quirk, Reader};

/// Record type of a name.
pub const NB: u16 = 0x20;
/// Record type of a node's status.
pub const NBSTAT: u16 = 0x21;

/// A NetBIOS name service message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Transaction id.
    pub id: u16,
    /// Flag word, laid out as in DNS.
    pub flags: u16,
    /// The name asked for or answered, with its type; the name is followed by `<xx>`, its suffix.
    pub question: Question,
    /// Answers: addresses of a name, names of a node.
    pub records: Vec<Record>,
}

impl Message {
    /// Whether it answers.
    pub const fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// Operation: 0 query, 5 registration, 6 release, 7 wait, 8 or 9 refresh.
    pub const fn opcode(&self) -> u8 {
        ((self.flags >> 11) & 15) as u8
    }

    /// Response code.
    pub const fn rcode(&self) -> u8 {
        (self.flags & 15) as u8
    }
}

/// Reads a message; `None` when it is not NetBIOS name service.
pub fn parse(bytes: &[u8], budget: &ParseBudget) -> Option<Parsed<Message>> {
    let mut reader = Reader::new(bytes);
    let mut message = Parsed::clean(Message {
        id: reader.u16()?,
        flags: reader.u16()?,
        ..Message::default()
    });
    let questions = reader.u16()?;
    let answers = reader.u16()?;
    let _authorities = reader.u16()?;
    let additional = reader.u16()?;
    if questions > 1 || (questions == 0 && answers == 0) {
        return None;
    }
    let name = name(bytes, &mut reader, &mut message.quirks)?;
    let qtype = reader.u16()?;
    if !matches!(qtype, NB | NBSTAT | 2 | 10) {
        return None;
    }
    let qclass = reader.u16()?;
    message.value.question = Question {
        name,
        qtype,
        qclass,
    };
    // A response repeats no question: its first record starts with the name just read.
    let mut left = if questions == 0 {
        if record_body(&mut reader, qtype, &mut message, budget).is_none() {
            message.quirk("cut_answer");
            return Some(message);
        }
        answers.saturating_sub(1)
    } else {
        answers.saturating_add(additional)
    };
    while left > 0 {
        left = left.saturating_sub(1);
        if record(&mut reader, &mut message, budget).is_none() {
            message.quirk("cut_answer");
            break;
        }
    }
    Some(message)
}

fn record(
    reader: &mut Reader<'_>,
    message: &mut Parsed<Message>,
    budget: &ParseBudget,
) -> Option<()> {
    skip_name(reader)?;
    let rtype = reader.u16()?;
    reader.skip(2)?;
    record_body(reader, rtype, message, budget)
}

fn record_body(
    reader: &mut Reader<'_>,
    rtype: u16,
    message: &mut Parsed<Message>,
    budget: &ParseBudget,
) -> Option<()> {
    let ttl = reader.u32()?;
    let mut body = reader.sub16()?;
    let records = &mut message.value.records;
    let mut push = |data: Data| {
        if records.len() < budget.items_max {
            records.push(Record {
                name: CompactString::default(),
                rtype,
                ttl,
                data,
            });
        }
    };
    match rtype {
        NB => {
            while body.skip(2).is_some() {
                push(Data::Address(Ipv4Addr::from(body.array::<4>()?).into()));
            }
        }
        NBSTAT => {
            let count = body.u8()?;
            for _ in 0..count {
                let raw = body.array::<16>()?;
                body.skip(2)?;
                push(readable(&raw).into());
            }
        }
        _ => {}
    }
    Some(())
}

/// Whether these bytes are NetBIOS name service by content.
pub fn looks_like(bytes: &[u8]) -> bool {
    bytes.len() >= 50 && parse(bytes, &ParseBudget::default()).is_some()
}

/// Reads an encoded name: 32 letters `A` to `P`, two for each byte.
fn name<'a>(
    whole: &'a [u8],
    reader: &mut Reader<'a>,
    quirks: &mut Vec<Quirk>,
) -> Option<CompactString> {
    let mut first = None;
    labels(whole, reader, quirks, |label| {
        if first.is_none() {
            first = Some(label);
        }
    })?;
    let encoded: &[u8; 32] = first?.try_into().ok()?;
    let mut raw = [0_u8; 16];
    for (byte, pair) in raw.iter_mut().zip(encoded.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        let (high, low) = (high.checked_sub(b'A')?, low.checked_sub(b'A')?);
        if high > 15 || low > 15 {
            return None;
        }
        *byte = (high << 4) | low;
    }
    Some(readable(&raw))
}

/// `NAME<20>`: the name without padding, then its suffix.
fn readable(raw: &[u8; 16]) -> CompactString {
    let [name @ .., suffix] = raw;
    let end = name.iter().rposition(|byte| !matches!(byte, b' ' | 0));
    let kept = name.get(..=end.unwrap_or(0)).unwrap_or(name);
    let kept = if end.is_none() { &[][..] } else { kept };
    format!("{}<{suffix:02x}>", crate::text(kept, 16))
        .to_ascii_lowercase()
        .into()
}

/// For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let _ = looks_like(bytes);
    let _ = parse(bytes, &ParseBudget::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `FILESRV<20>`.
    fn query() -> Vec<u8> {
        let mut bytes = vec![0xbe, 0xef, 0x01, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 32];
        for byte in *b"FILESRV         " {
            let byte = if byte == b' ' { 0x20 } else { byte };
            bytes.extend(
                [byte >> 4, byte & 15].map(|nibble| b"ABCDEFGHIJKLMNOP"[usize::from(nibble)]),
            );
        }
        bytes.extend([0, 0, 0x20, 0, 1]);
        bytes
    }

    #[test]
    fn a_query_names_the_host_and_its_suffix() {
        let message = parse(&query(), &ParseBudget::default()).unwrap().value;
        assert_eq!(&*message.question.name, "filesrv<20>");
        assert_eq!(message.question.qtype, NB);
        assert!(!message.is_response() && looks_like(&query()));
    }

    #[test]
    fn a_response_without_question_gives_name_and_address() {
        let mut bytes = query();
        bytes[2] = 0x85;
        bytes[5] = 0;
        bytes[7] = 1;
        bytes.extend([0, 0, 0, 60, 0, 6, 0, 0, 10, 0, 0, 66]);
        let message = parse(&bytes, &ParseBudget::default()).unwrap().value;
        assert!(message.is_response());
        assert_eq!(&*message.question.name, "filesrv<20>");
        assert_eq!(message.records[0].data.to_string(), "10.0.0.66");
    }

    #[test]
    fn plain_dns_is_not_taken_for_netbios() {
        let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(b"\x07example\x03org\x00\x00\x01\x00\x01");
        assert_eq!(parse(&bytes, &ParseBudget::default()), None);
    }
}
