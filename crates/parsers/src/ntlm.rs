//! NTLMSSP messages, whatever carries them (MS-NLMP 2.2.1). Reads names only: no hash leaves here.

use crate::reader::Reader;
use crate::words::{c_text, reader_at, utf16le};

/// The eight bytes every message begins with.
pub const SIGNATURE: &[u8] = b"NTLMSSP\0";

/// What one message said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NtlmMessage {
    /// The client offers to authenticate.
    Negotiate {
        /// The client's workstation, when given.
        workstation: Box<str>,
        /// The client's domain, when given.
        domain: Box<str>,
    },
    /// The server's challenge.
    Challenge {
        /// The target's name (domain or server).
        target: Box<str>,
        /// NetBIOS name of the server.
        server: Box<str>,
        /// NetBIOS name of the domain.
        domain: Box<str>,
    },
    /// The client's answer.
    Authenticate(NtlmAnswer),
}

/// The client's answer to the challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NtlmAnswer {
    /// The account.
    pub user: Box<str>,
    /// Its domain.
    pub domain: Box<str>,
    /// The client's workstation.
    pub workstation: Box<str>,
    /// Whether the answer is NTLM version 1: 24 bytes, as a session answer of version 2 is longer.
    pub version1: bool,
    /// Whether no account is claimed (a null session).
    pub anonymous: bool,
}

const TEXT_UNITS_MAX: usize = 256;
const UNICODE: u32 = 1;

/// Where in `bytes` a message begins, for carriers that wrap it in something unread.
pub fn locate(bytes: &[u8]) -> Option<&[u8]> {
    let at = bytes
        .windows(SIGNATURE.len())
        .position(|window| window == SIGNATURE)?;
    bytes.get(at..)
}

/// Reads the message at the front; `None` when it is none.
pub fn parse(bytes: &[u8]) -> Option<NtlmMessage> {
    let mut reader = Reader::new(bytes);
    if reader.take(SIGNATURE.len())? != SIGNATURE {
        return None;
    }
    match reader.u32_le()? {
        1 => Some(negotiate(bytes, reader)),
        2 => Some(challenge(bytes, reader)),
        3 => authenticate(bytes, reader).map(NtlmMessage::Authenticate),
        _ => None,
    }
}

fn negotiate(bytes: &[u8], mut reader: Reader<'_>) -> NtlmMessage {
    let _flags = reader.u32_le();
    let domain = field(bytes, &mut reader).unwrap_or_default();
    let workstation = field(bytes, &mut reader).unwrap_or_default();
    NtlmMessage::Negotiate {
        workstation: c_text(workstation, TEXT_UNITS_MAX),
        domain: c_text(domain, TEXT_UNITS_MAX),
    }
}

fn challenge(bytes: &[u8], mut reader: Reader<'_>) -> NtlmMessage {
    let target = field(bytes, &mut reader).unwrap_or_default();
    let flags = reader.u32_le().unwrap_or(UNICODE);
    reader.skip(16);
    let mut pairs = Reader::new(field(bytes, &mut reader).unwrap_or_default());
    let (mut server, mut domain) = (Box::default(), Box::default());
    while let (Some(id @ 1..), Some(length)) = (pairs.u16_le(), pairs.u16_le()) {
        let value = pairs.take_up_to(length.into());
        match id {
            1 => server = utf16le(value, TEXT_UNITS_MAX),
            2 => domain = utf16le(value, TEXT_UNITS_MAX),
            _ => {}
        }
    }
    NtlmMessage::Challenge {
        target: name(target, flags),
        server,
        domain,
    }
}

fn authenticate(bytes: &[u8], mut reader: Reader<'_>) -> Option<NtlmAnswer> {
    let lm_answer = field(bytes, &mut reader)?;
    let (nt_length, nt_answer) = sized_field(bytes, &mut reader)?;
    let domain = field(bytes, &mut reader)?;
    let user = field(bytes, &mut reader)?;
    let workstation = field(bytes, &mut reader)?;
    let _session_key = field(bytes, &mut reader);
    let flags = reader.u32_le().unwrap_or(UNICODE);
    let user = name(user, flags);
    Some(NtlmAnswer {
        anonymous: user.is_empty() && nt_answer.is_empty() && lm_answer.len() <= 1,
        user,
        domain: name(domain, flags),
        workstation: name(workstation, flags),
        version1: nt_length == 24,
    })
}

fn name(bytes: &[u8], flags: u32) -> Box<str> {
    if flags & UNICODE == 0 {
        return c_text(bytes, TEXT_UNITS_MAX);
    }
    utf16le(bytes, TEXT_UNITS_MAX)
}

fn field<'a>(bytes: &'a [u8], reader: &mut Reader<'_>) -> Option<&'a [u8]> {
    sized_field(bytes, reader).map(|(_, content)| content)
}

/// The declared length and what is there of a field described by length, room and offset.
fn sized_field<'a>(bytes: &'a [u8], reader: &mut Reader<'_>) -> Option<(usize, &'a [u8])> {
    let length = usize::from(reader.u16_le()?);
    let _room = reader.u16_le()?;
    let offset = usize::try_from(reader.u32_le()?).ok()?;
    Some((length, reader_at(bytes, offset).take_up_to(length)))
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let found = locate(bytes).and_then(parse);
    let direct = parse(bytes);
    debug_assert!(
        found.is_some() || direct.is_none(),
        "what parses at the front is located"
    );
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "the tests' own lengths are small"
)]
mod tests {
    use super::*;

    /// An answer built as MS-NLMP 4.2.4.3 lays it out, with `nt` bytes of answer.
    fn answer(nt: usize, user: &str) -> Vec<u8> {
        let utf16 = |text: &str| {
            text.encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<_>>()
        };
        let parts = [
            vec![0; 24],
            vec![7; nt],
            utf16("Domain"),
            utf16(user),
            utf16("COMPUTER"),
            vec![],
        ];
        let mut head = [SIGNATURE, &3_u32.to_le_bytes()].concat();
        let mut body: Vec<u8> = Vec::new();
        for part in &parts {
            let length = (part.len() as u16).to_le_bytes();
            let offset = (64 + body.len() as u32).to_le_bytes();
            head.extend([&length[..], &length[..], &offset[..]].concat());
            body.extend(part);
        }
        head.extend(0xe288_8235_u32.to_le_bytes());
        head.extend(body);
        head
    }

    #[test]
    fn an_answer_names_user_domain_and_workstation() {
        let Some(NtlmMessage::Authenticate(read)) = parse(&answer(80, "User")) else {
            panic!()
        };
        assert_eq!(
            (&*read.user, &*read.domain, &*read.workstation),
            ("User", "Domain", "COMPUTER")
        );
        assert!(!read.version1 && !read.anonymous);
    }

    #[test]
    fn a_short_answer_is_version_one() {
        let Some(NtlmMessage::Authenticate(read)) = parse(&answer(24, "User")) else {
            panic!()
        };
        assert!(read.version1);
    }

    #[test]
    fn a_cut_answer_still_says_what_is_there() {
        let whole = answer(80, "User");
        for length in 0..whole.len() {
            fuzz(&whole[..length]);
        }
        assert!(parse(&whole[..60]).is_some());
        assert_eq!(parse(&whole[..20]), None);
    }

    #[test]
    fn a_message_is_found_inside_a_wrapper() {
        let wrapped = [b"\x60\x20junk", &answer(80, "User")[..]].concat();
        assert!(matches!(
            locate(&wrapped).and_then(parse),
            Some(NtlmMessage::Authenticate(_))
        ));
    }
}
