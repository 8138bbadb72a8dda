//! DNS messages and their kin: unicast DNS (RFC 1035), multicast DNS (RFC 6762), LLMNR (RFC 4795).
//! One tolerant reader: what is before a defect is kept. NetBIOS names are in [`crate::nbns`].
//!
//! Must not: follow names without bound (pointers only go backwards and are counted), keep record
//! types nobody reads (their bytes become hexadecimal digits, cut).

mod text;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use compact_str::{CompactString, format_compact};
use smallvec::SmallVec;

use crate::{ParseBudget, Parsed, Quirk, Reader};
use text::Name;

/// Longest name on the wire, RFC 1035 section 2.3.4.
const NAME_BYTES_MAX: usize = 255;
/// Bytes kept of a record whose type is not read.
const OPAQUE_BYTES_MAX: usize = 64;

/// How much of a message is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Answer data only, without the names of questions: for an answer whose question is known.
    Records,
    /// Question and answer data, without the owner names of the answers: enough for unicast.
    Answers,
    /// Also owner names and the additional section, as multicast DNS needs them.
    Everything,
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The name, lower case, without the final dot, other than printable bytes as `\ddd`.
    pub name: CompactString,
    /// Type.
    pub qtype: u16,
    /// Class; for multicast DNS the top bit asks for a unicast answer.
    pub qclass: u16,
}

/// A resource record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Owner; empty at [`Depth::Answers`].
    pub name: CompactString,
    /// Type.
    pub rtype: u16,
    /// Time to live in seconds.
    pub ttl: u32,
    /// The data.
    pub data: Data,
}

/// What a record holds. Addresses are by far the most common and need no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Of an address record.
    Address(IpAddr),
    /// Of any other.
    Text(CompactString),
}

impl Default for Data {
    fn default() -> Self {
        Self::Text(CompactString::default())
    }
}

impl From<CompactString> for Data {
    fn from(text: CompactString) -> Self {
        Self::Text(text)
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => addr.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Transaction id.
    pub id: u16,
    /// The flag word: response bit, opcode, flags, response code.
    pub flags: u16,
    /// Questions, of which multicast DNS may have many.
    pub questions: SmallVec<[Question; 1]>,
    /// Answers, then at [`Depth::Everything`] the additional records.
    pub records: SmallVec<[Record; 2]>,
    /// Answer records announced in the header.
    pub answer_count: u16,
}

impl Message {
    /// Whether it answers.
    pub const fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// Operation: 0 query, 4 notify, 5 update (registration for NetBIOS).
    pub const fn opcode(&self) -> u8 {
        ((self.flags >> 11) & 15) as u8
    }

    /// Response code without the extension of EDNS.
    pub const fn rcode(&self) -> u8 {
        (self.flags & 15) as u8
    }
}

/// Reads a message; `None` when not even the header and the announced question are there.
pub fn parse(bytes: &[u8], depth: Depth, budget: &ParseBudget) -> Option<Parsed<Message>> {
    let mut records = SmallVec::new();
    let mut message = parse_into(bytes, depth, budget, |record| records.push(record))?;
    message.value.records = records;
    Some(message)
}

/// As [`parse`], with the records handed to `take` as they come instead of collected.
pub fn parse_into<'a>(
    bytes: &'a [u8],
    depth: Depth,
    budget: &ParseBudget,
    mut take: impl FnMut(Record),
) -> Option<Parsed<Message>> {
    let mut reader = Reader::new(bytes);
    let mut message = Parsed::clean(Message {
        id: reader.u16()?,
        flags: reader.u16()?,
        ..Message::default()
    });
    let questions = reader.u16()?;
    let answers = reader.u16()?;
    let authorities = reader.u16()?;
    let additional = reader.u16()?;
    message.value.answer_count = answers;
    for index in 0..questions {
        let Some(question) = question(bytes, &mut reader, depth, &mut message.quirks) else {
            if index == 0 {
                return None;
            }
            message.quirk("cut_question");
            return Some(message);
        };
        if message.value.questions.len() >= budget.items_max {
            message.quirk("too_many_questions");
            return Some(message);
        }
        message.value.questions.push(question);
    }
    let mut room = budget.items_max;
    let mut records = |reader: &mut Reader<'a>, count, message: &mut Parsed<Message>| {
        for _ in 0..count {
            if room == 0 {
                message.quirk("too_many_records");
                return Some(());
            }
            if let Some(record) = record(bytes, reader, depth, &mut message.quirks, budget)? {
                room = room.saturating_sub(1);
                take(record);
            }
        }
        Some(())
    };
    if records(&mut reader, answers, &mut message).is_none() {
        message.quirk("cut_answer");
        return Some(message);
    }
    if depth == Depth::Everything {
        for _ in 0..authorities {
            if skip_record(&mut reader).is_none() {
                message.quirk("cut_authority");
                return Some(message);
            }
        }
        if records(&mut reader, additional, &mut message).is_none() {
            message.quirk("cut_additional");
        }
    }
    Some(message)
}

/// The bytes of the only question: name, type and class as they came. An answer repeats them.
pub fn question_bytes(message: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(message);
    reader.skip(4)?;
    if reader.u16()? != 1 {
        return None;
    }
    reader.skip(6)?;
    let from = reader.rest();
    skip_name(&mut reader)?;
    reader.skip(4)?;
    from.get(..from.len().checked_sub(reader.len())?)
}

/// Whether these bytes are a DNS message by content: a plausible header, one well-formed question
/// of the Internet class (or, in a response, at least one record). Ports are not asked.
pub fn looks_like(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let Some([_, flags, questions, answers, authorities, additional]) = (|| {
        Some([
            reader.u16()?,
            reader.u16()?,
            reader.u16()?,
            reader.u16()?,
            reader.u16()?,
            reader.u16()?,
        ])
    })() else {
        return false;
    };
    let response = flags & 0x8000 != 0;
    let opcode = (flags >> 11) & 15;
    if !matches!(opcode, 0 | 2 | 4 | 5) || (flags & 15) > 10 || questions > 16 {
        return false;
    }
    // Records never outnumber what the bytes can hold.
    let records = usize::from(answers)
        .saturating_add(usize::from(authorities))
        .saturating_add(usize::from(additional));
    if records > reader.len() / 11 || (!response && opcode == 0 && answers > 0 && questions == 0) {
        return false;
    }
    if questions == 0 {
        return response && answers > 0 && skip_record(&mut reader).is_some();
    }
    let mut quirks = Vec::new();
    let Some((qtype, qclass)) = (|| {
        labels(bytes, &mut reader, &mut quirks, |_| ())?;
        Some((reader.u16()?, reader.u16()?))
    })() else {
        return false;
    };
    quirks.is_empty()
        && qtype != 0
        && matches!(qclass & 0x7fff, 1 | 3 | 4 | 254 | 255)
        && (records > 0 || questions > 1 || reader.is_empty())
}

fn question<'a>(
    whole: &'a [u8],
    reader: &mut Reader<'a>,
    depth: Depth,
    quirks: &mut Vec<Quirk>,
) -> Option<Question> {
    let name = if depth == Depth::Records {
        skip_name(reader)?;
        CompactString::default()
    } else {
        name(whole, reader, quirks)?
    };
    Some(Question {
        name,
        qtype: reader.u16()?,
        qclass: reader.u16()?,
    })
}

fn skip_record(reader: &mut Reader<'_>) -> Option<()> {
    skip_name(reader)?;
    reader.skip(8)?;
    reader.sub16().map(|_| ())
}

/// One record; none for the pseudo record of EDNS, which says nothing about names.
#[expect(clippy::option_option)] // A cut record is not a record that is left out.
fn record<'a>(
    whole: &'a [u8],
    reader: &mut Reader<'a>,
    depth: Depth,
    quirks: &mut Vec<Quirk>,
    budget: &ParseBudget,
) -> Option<Option<Record>> {
    let owner = if depth == Depth::Everything {
        name(whole, reader, quirks)?
    } else {
        skip_name(reader)?;
        CompactString::default()
    };
    let rtype = reader.u16()?;
    let _class = reader.u16()?;
    let ttl = reader.u32()?;
    let mut names = *reader;
    let body = reader.sub16()?;
    names.skip(2)?;
    if rtype == 41 {
        return Some(None);
    }
    let data = typed_data(whole, rtype, body, names, quirks, budget)
        .unwrap_or_else(|| opaque_data(body.rest()).into());
    Some(Some(Record {
        name: owner,
        rtype,
        ttl,
        data,
    }))
}

fn opaque_data(bytes: &[u8]) -> CompactString {
    crate::hex(bytes.get(..OPAQUE_BYTES_MAX).unwrap_or(bytes)).into()
}

/// A record's data; `None` when the type is not read or its data is broken. `names` starts
/// where `body` does and goes on to the end of the message, as offsets of names are counted there.
fn typed_data<'a>(
    whole: &'a [u8],
    rtype: u16,
    mut body: Reader<'a>,
    mut names: Reader<'a>,
    quirks: &mut Vec<Quirk>,
    budget: &ParseBudget,
) -> Option<Data> {
    let text: CompactString = match rtype {
        1 => return Some(Data::Address(Ipv4Addr::from(body.array::<4>()?).into())),
        28 => return Some(Data::Address(Ipv6Addr::from(body.array::<16>()?).into())),
        2 | 5 | 6 | 12 | 39 => name(whole, &mut names, quirks)?,
        15 | 64 | 65 => {
            let order = names.u16()?;
            format_compact!("{order} {}", name(whole, &mut names, quirks)?)
        }
        33 => {
            let (priority, weight, port) = (names.u16()?, names.u16()?, names.u16()?);
            let target = name(whole, &mut names, quirks)?;
            format_compact!("{priority} {weight} {port} {target}")
        }
        16 => {
            let mut text = String::new();
            while let Some(part) = body.sub8() {
                if text.len() >= budget.text_bytes_max {
                    break;
                }
                part.rest()
                    .iter()
                    .for_each(|byte| push_text(&mut text, *byte));
            }
            text.into()
        }
        _ => return None,
    };
    Some(text.into())
}

fn push_text(out: &mut String, byte: u8) {
    if (0x20..0x7f).contains(&byte) {
        out.push(char::from(byte));
    } else {
        escape(out, byte);
    }
}

fn escape(out: &mut String, byte: u8) {
    out.push('\\');
    for digit in [byte / 100, byte / 10 % 10, byte % 10] {
        out.push(char::from_digit(u32::from(digit), 10).unwrap_or('?'));
    }
}

/// Steps over a name without reading it.
pub(crate) fn skip_name(reader: &mut Reader<'_>) -> Option<()> {
    loop {
        match reader.u8()? {
            0 => return Some(()),
            len @ 1..=63 => reader.skip(usize::from(len))?,
            0xc0..=0xff => return reader.skip(1),
            _ => return None,
        }
    }
}

/// Reads a name at `reader`, following pointers back into `whole`.
pub(crate) fn name<'a>(
    whole: &'a [u8],
    reader: &mut Reader<'a>,
    quirks: &mut Vec<Quirk>,
) -> Option<CompactString> {
    if let Some(name) = text::plain(reader.rest()) {
        // A length byte before each label and the end take one byte more than the dots between.
        reader.skip(name.len().saturating_add(2))?;
        return Some(name);
    }
    let mut text = Name::default();
    labels(whole, reader, quirks, |label| {
        if !text.is_empty() {
            text.push(b".");
        }
        text.label(label);
    })?;
    Some(text.finish())
}

/// Hands each label of a name to `take`. Pointers must go backwards, so there is no loop; a name
/// longer than the specification allows is cut and quirked.
pub(crate) fn labels<'a>(
    whole: &'a [u8],
    reader: &mut Reader<'a>,
    quirks: &mut Vec<Quirk>,
    mut take: impl FnMut(&'a [u8]),
) -> Option<()> {
    let mut at = *reader;
    let mut jumped = false;
    let mut limit = whole.len();
    let mut total = 0_usize;
    loop {
        let here = whole.len().checked_sub(at.len())?;
        let len = at.u8()?;
        match len {
            0 => break,
            1..=63 => {
                let label = at.take(usize::from(len))?;
                total = total.saturating_add(label.len()).saturating_add(1);
                if total <= NAME_BYTES_MAX {
                    take(label);
                } else {
                    note(quirks, "long_name");
                }
            }
            0xc0..=0xff => {
                let target = usize::from(u16::from_be_bytes([len & 0x3f, at.u8()?]));
                if !jumped {
                    *reader = at;
                    jumped = true;
                }
                if target >= limit.min(here) {
                    note(quirks, "bad_pointer");
                    return Some(());
                }
                limit = target;
                at = Reader::new(whole.get(target..)?);
            }
            _ => return None,
        }
        if total > NAME_BYTES_MAX.saturating_mul(4) {
            return None;
        }
    }
    if !jumped {
        *reader = at;
    }
    Some(())
}

fn note(quirks: &mut Vec<Quirk>, quirk: Quirk) {
    if !quirks.contains(&quirk) {
        quirks.push(quirk);
    }
}

/// For the mutation loop and the fuzzer.
///
/// # Panics
/// When a bound is broken.
pub fn fuzz(bytes: &[u8]) {
    let budget = ParseBudget::default();
    let _ = looks_like(bytes);
    let _ = question_bytes(bytes);
    for depth in [Depth::Records, Depth::Answers, Depth::Everything] {
        if let Some(parsed) = parse(bytes, depth, &budget) {
            assert!(parsed.value.records.len() <= budget.items_max);
            // Escaping makes at most four characters of a byte.
            assert!(
                parsed
                    .value
                    .questions
                    .iter()
                    .all(|q| q.name.len() <= 4 * NAME_BYTES_MAX)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: ParseBudget = ParseBudget {
        text_bytes_max: 1024,
        items_max: 32,
        depth_max: 16,
    };

    /// A response for WWW.example.org: a CNAME by pointer, then an address.
    fn response() -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
        bytes.extend(b"\x03WWW\x07example\x03org\x00\x00\x01\x00\x01");
        bytes.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01a\xc0\x10");
        bytes.extend(b"\xc0\x2d\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x5d\xb8\xd8\x22");
        bytes
    }

    #[test]
    fn a_response_gives_lower_case_question_and_answers_as_text() {
        let message = parse(&response(), Depth::Answers, &BUDGET).unwrap();
        assert!(message.quirks.is_empty());
        let message = message.value;
        assert!(message.is_response());
        assert_eq!(&*message.questions[0].name, "www.example.org");
        let data = message.records.iter().map(|record| record.data.to_string());
        let data: Vec<String> = data.collect();
        assert_eq!(data, ["a.example.org", "93.184.216.34"]);
        assert!(looks_like(&response()));
    }

    #[test]
    fn the_question_can_be_compared_instead_of_read() {
        let answer = response();
        let question = question_bytes(&answer).unwrap();
        assert_eq!(question, b"\x03WWW\x07example\x03org\x00\x00\x01\x00\x01");
        let message = parse(&answer, Depth::Records, &BUDGET).unwrap().value;
        assert_eq!(&*message.questions[0].name, "");
        let whole = parse(&answer, Depth::Answers, &BUDGET).unwrap().value;
        assert_eq!(message.records, whole.records);
        assert_eq!(question_bytes(&answer[..20]), None);
    }

    #[test]
    fn owner_names_are_read_when_wanted() {
        let message = parse(&response(), Depth::Everything, &BUDGET)
            .unwrap()
            .value;
        assert_eq!(&*message.records[1].name, "a.example.org");
    }

    #[test]
    fn a_pointer_to_itself_ends_the_name_with_a_quirk() {
        let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(b"\x01a\xc0\x0e\x00\x01\x00\x01");
        let message = parse(&bytes, Depth::Answers, &BUDGET).unwrap();
        assert_eq!(&*message.value.questions[0].name, "a");
        assert_eq!(message.quirks, ["bad_pointer"]);
        assert!(!looks_like(&bytes));
    }

    #[test]
    fn a_long_name_is_kept_whole() {
        let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for _ in 0..3 {
            bytes.push(60);
            bytes.extend([b'\xfe'; 60]);
        }
        bytes.extend([0, 0, 1, 0, 1]);
        let message = parse(&bytes, Depth::Answers, &BUDGET).unwrap().value;
        let label = "\\254".repeat(60);
        assert_eq!(*message.questions[0].name, [&*label; 3].join("."));
    }

    #[test]
    fn the_short_way_reads_names_as_the_long_one_does() {
        let long = |bytes: &[u8]| {
            let mut text = Name::default();
            labels(bytes, &mut Reader::new(bytes), &mut Vec::new(), |label| {
                if !text.is_empty() {
                    text.push(b".");
                }
                text.label(label);
            })?;
            Some(text.finish())
        };
        let longest = [&[63; 64][..], &[63; 64], &[63; 64], &[62; 63], &[0]].concat();
        for bytes in [
            &b"\x03wWw\x07EXAMPLE\x03org\0\0\x01"[..],
            b"\x01a\0",
            &longest,
        ] {
            assert!(text::plain(bytes).is_some());
            assert_eq!(text::plain(bytes), long(bytes));
        }
        let escaped: [&[u8]; 6] = [
            b"\0",
            b"\x03a.b\0",
            b"\x03a\\b\0",
            b"\x03a\xc3\xa4\0",
            b"\x03www\xc0\x0c",
            b"\x03ww",
        ];
        assert_eq!(escaped.map(text::plain), [const { None }; 6]);
        let too_long = [&[63; 64][..], &[63; 64], &[63; 64], &[63; 64], &[0]].concat();
        assert_eq!(text::plain(&too_long), None);
    }

    #[test]
    fn odd_bytes_in_names_are_escaped() {
        let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(b"\x04a.\xff\x00\x00\x00\x0a\x00\x01");
        let message = parse(&bytes, Depth::Answers, &BUDGET).unwrap().value;
        assert_eq!(&*message.questions[0].name, "a\\046\\255\\000");
    }

    #[test]
    fn a_cut_answer_keeps_what_came_before() {
        let bytes = response();
        let message = parse(&bytes[..bytes.len() - 2], Depth::Answers, &BUDGET).unwrap();
        assert_eq!(message.value.records.len(), 1);
        assert_eq!(message.quirks, ["cut_answer"]);
    }

    #[test]
    fn other_protocols_do_not_look_like_dns() {
        assert!(!looks_like(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"));
        assert!(!looks_like(&[
            0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0
        ]));
        assert!(!looks_like(&[0; 48]));
    }
}
