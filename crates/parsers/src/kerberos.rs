//! Kerberos 5 messages (RFC 4120 section 5), over `kerberos-parser`: who asks whom for what, with
//! which encryption types, and what came of it. Nothing encrypted is kept.

use der_parser::asn1_rs::FromDer;
use kerberos_parser::krb5::{ApReq, KdcRep, KdcReq, KrbError, PrincipalName, Realm};
use kerberos_parser::krb5_parser::{parse_as_rep, parse_as_req, parse_tgs_rep, parse_tgs_req};

use crate::text::text;

/// Longest name kept, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Most encryption types kept of a request.
const ETYPES_MAX: usize = 32;
const PA_ENC_TIMESTAMP: i32 = 2;
const PA_PK_AS_REQ: i32 = 16;
const PA_ENCRYPTED_CHALLENGE: i32 = 138;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request to the key distribution centre.
    Request(Request),
    /// Its reply.
    Reply(Reply),
    /// An error in reply to any request.
    Error(Failure),
    /// A ticket is used.
    Ap(Ticket),
    /// A message that says nothing of use.
    Other,
}

/// A request for a ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Whether it is for a service ticket (TGS) and not a ticket-granting one (AS).
    pub tgs: bool,
    /// The client principal; a TGS request has it only inside its ticket.
    pub client: Box<str>,
    /// The realm.
    pub realm: Box<str>,
    /// The service principal.
    pub service: Box<str>,
    /// Encryption types the client takes.
    pub etypes: Vec<i32>,
    /// Whether the client proves itself: an encrypted time stamp, a certificate or a challenge.
    pub preauth: bool,
}

/// A ticket was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Whether it answers a TGS request.
    pub tgs: bool,
    /// The client principal.
    pub client: Box<str>,
    /// The client's realm.
    pub realm: Box<str>,
    /// The ticket.
    pub ticket: Ticket,
}

/// What can be seen of a ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// The service's realm.
    pub realm: Box<str>,
    /// The service principal.
    pub service: Box<str>,
    /// Encryption type of the sealed part.
    pub etype: i32,
}

/// An error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The code of RFC 4120, 7.5.9.
    pub code: u32,
    /// The client principal, when given.
    pub client: Box<str>,
    /// The service principal.
    pub service: Box<str>,
    /// The realm.
    pub realm: Box<str>,
}

/// The application tag of the message at the front says what it is; `None` when it is none.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let tag = bytes.first()?;
    match tag {
        0x6a => parse_as_req(bytes)
            .ok()
            .map(|(_, read)| request(&read, false)),
        0x6c => parse_tgs_req(bytes)
            .ok()
            .map(|(_, read)| request(&read, true)),
        0x6b => parse_as_rep(bytes)
            .ok()
            .map(|(_, read)| reply(&read, false)),
        0x6d => parse_tgs_rep(bytes)
            .ok()
            .map(|(_, read)| reply(&read, true)),
        0x6e => {
            let (_, read) = ApReq::from_der(bytes).ok()?;
            Some(Message::Ap(Ticket {
                realm: realm(&read.ticket.realm),
                service: principal(&read.ticket.sname),
                etype: read.ticket.enc_part.etype.0,
            }))
        }
        0x7e => KrbError::from_der(bytes)
            .ok()
            .map(|(_, read)| failure(&read)),
        0x6f | 0x74 | 0x75 | 0x76 => Some(Message::Other),
        _ => None,
    }
}

/// Whether a message may begin here: the tag of one, and a first field that says version 5.
pub fn looks_like_message(bytes: &[u8]) -> bool {
    const VERSIONS: [&[u8]; 2] = [&[0xa1, 3, 2, 1, 5], &[0xa0, 3, 2, 1, 5]];
    let tagged = matches!(bytes.first(), Some(0x6a..=0x6f | 0x7e));
    let sequence = crate::der::element(bytes).and_then(|outer| crate::der::element(outer.content));
    tagged
        && sequence.is_some_and(|inner| {
            inner.tag == 0x30
                && VERSIONS
                    .iter()
                    .any(|version| inner.content.starts_with(version))
        })
}

/// The length of the message at the front of a TCP stream, with its prefix of four bytes (RFC 4120,
/// 7.2.2); `None` when the prefix is not whole.
pub fn stream_length(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*prefix))
        .ok()?
        .checked_add(4)
}

fn request(read: &KdcReq<'_>, tgs: bool) -> Message {
    let preauth = read.padata.iter().any(|data| {
        matches!(
            data.padata_type.0,
            PA_ENC_TIMESTAMP | PA_PK_AS_REQ | PA_ENCRYPTED_CHALLENGE
        )
    });
    let body = &read.req_body;
    Message::Request(Request {
        tgs,
        client: body.cname.as_ref().map(principal).unwrap_or_default(),
        realm: realm(&body.realm),
        service: body.sname.as_ref().map(principal).unwrap_or_default(),
        etypes: body
            .etype
            .iter()
            .take(ETYPES_MAX)
            .map(|etype| etype.0)
            .collect(),
        preauth,
    })
}

fn reply(read: &KdcRep<'_>, tgs: bool) -> Message {
    Message::Reply(Reply {
        tgs,
        client: principal(&read.cname),
        realm: realm(&read.crealm),
        ticket: Ticket {
            realm: realm(&read.ticket.realm),
            service: principal(&read.ticket.sname),
            etype: read.ticket.enc_part.etype.0,
        },
    })
}

fn failure(read: &KrbError<'_>) -> Message {
    Message::Error(Failure {
        code: u32::try_from(read.error_code.0).unwrap_or(u32::MAX),
        client: read.cname.as_ref().map(principal).unwrap_or_default(),
        service: principal(&read.sname),
        realm: realm(&read.realm),
    })
}

fn principal(name: &PrincipalName) -> Box<str> {
    text(name.name_string.join("/").as_bytes(), NAME_BYTES_MAX)
}

fn realm(name: &Realm) -> Box<str> {
    text(name.0.as_bytes(), NAME_BYTES_MAX)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let body = if stream_length(bytes) == Some(bytes.len()) {
        bytes.get(4..).unwrap_or_default()
    } else {
        bytes
    };
    if let Some(Message::Request(request)) = parse(body) {
        debug_assert!(request.etypes.len() <= ETYPES_MAX);
    }
    debug_assert!(!looks_like_message(body) || !body.is_empty());
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "the tests' own lengths are small"
)]
mod tests {
    use super::*;

    fn seed(name: &str) -> Vec<u8> {
        let path = format!("{}/cases/kerberos/{name}.hex", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let digits: String = text
            .lines()
            .filter_map(|line| line.split('#').next())
            .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
            .collect();
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(digits.get(at..at + 2).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn a_request_names_client_service_and_encryption_types() {
        let bytes = seed("as-req");
        assert!(looks_like_message(&bytes));
        let Some(Message::Request(request)) = parse(&bytes) else {
            panic!()
        };
        assert_eq!((&*request.client, &*request.realm), ("bob", "EXAMPLE.ORG"));
        assert_eq!(&*request.service, "krbtgt/EXAMPLE.ORG");
        assert_eq!(request.etypes, [18, 23]);
        assert!(!request.tgs && !request.preauth);
    }

    #[test]
    fn an_error_tells_its_code() {
        let Some(Message::Error(error)) = parse(&seed("krb-error")) else {
            panic!()
        };
        assert_eq!((error.code, &*error.realm), (25, "EXAMPLE.ORG"));
    }

    #[test]
    fn other_bytes_are_no_message() {
        assert!(!looks_like_message(b"\x6a\x03\x30\x01\x00"));
        assert_eq!(parse(b"GET / HTTP/1.1"), None);
    }
}
