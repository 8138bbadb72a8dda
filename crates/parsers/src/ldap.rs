//! LDAP messages (RFC 4511), and the Microsoft bind choices (MS-ADTS 5.1.1.1): what is asked, about
//! what, and how it ended. Values of attributes and passwords are not kept. Read directly, because
//! entries must be skipped by length and cut messages must still say what they asked.

use crate::der::{self, Element};
use crate::text::{hex, text};

/// Longest name kept, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Longest filter text, in bytes.
const FILTER_BYTES_MAX: usize = 512;
/// Most attributes kept.
const ATTRIBUTES_MAX: usize = 32;
/// Deepest filter followed.
const DEPTH_MAX: usize = 16;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Ties results to their request.
    pub id: u64,
    /// What it is.
    pub op: Op<'a>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// A bind request.
    Bind(Bind<'a>),
    /// A bind's result, with the server's credentials.
    BindResult(u32, &'a [u8]),
    /// Any other request.
    Request(Request),
    /// One entry of a search.
    Entry,
    /// The result of any other request.
    Result(u32),
    /// Unbind, abandon, a reference.
    Other,
}

/// A bind request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Who binds.
    pub name: Box<str>,
    /// `simple`, `anonymous`, `ntlm`, or the SASL mechanism.
    pub method: Box<str>,
    /// Credentials of a mechanism; empty for a simple bind.
    pub credentials: &'a [u8],
}

/// A request that is no bind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `search`, `modify`, `add`, `delete`, `rename`, `compare`, `extended`.
    pub verb: &'static str,
    /// The entry, base or extension it is about.
    pub name: Box<str>,
    /// A search's filter as text.
    pub filter: Box<str>,
    /// Attributes asked for or changed.
    pub attributes: Vec<Box<str>>,
}

/// Length of the message at the front and whether it is only an entry; `None` when more is needed.
/// A length of 0 says that this is no message.
pub fn message_length(bytes: &[u8]) -> Option<(usize, bool)> {
    if bytes.first() != Some(&0x30) {
        return Some((0, false));
    }
    // A message of an unbounded length is not LDAP's (RFC 4511, 5.1).
    if bytes.get(1) == Some(&0x80) {
        return Some((0, false));
    }
    if bytes.len() < 16 {
        let (start, length) = der::header(bytes)?;
        return (bytes.len() >= start.saturating_add(length))
            .then_some((start.saturating_add(length), false));
    }
    let Some((start, length)) = der::header(bytes) else {
        return Some((0, false));
    };
    let content = bytes.get(start..)?;
    let Some(id) = der::element(content) else {
        return Some((0, false));
    };
    if id.tag != 2 || id.content.len() > 4 {
        return Some((0, false));
    }
    Some((start.saturating_add(length), id.rest.first() == Some(&0x64)))
}

/// Whether a message may begin here.
pub fn looks_like_message(bytes: &[u8]) -> bool {
    parse(bytes).is_some_and(|message| message.op != Op::Other || bytes.len() < 16)
}

/// Reads the message at the front; `None` when it is none.
pub fn parse(bytes: &[u8]) -> Option<Message<'_>> {
    let outer = der::element(bytes).filter(|outer| outer.tag == 0x30)?;
    let id = der::element(outer.content).filter(|id| id.tag == 2 && id.content.len() <= 4)?;
    let op = der::element(id.rest)?;
    Some(Message {
        id: der::unsigned(id.content),
        op: operation(op)?,
    })
}

fn operation(op: Element<'_>) -> Option<Op<'_>> {
    let request = |verb, name| {
        Op::Request(Request {
            verb,
            name,
            ..Request::default()
        })
    };
    match op.tag {
        0x60 => bind(op.content),
        0x61 => {
            let (code, rest) = result(op.content)?;
            Some(Op::BindResult(
                code,
                der::find(rest, 0x87).unwrap_or_default(),
            ))
        }
        0x63 => Some(Op::Request(search(op.content)?)),
        0x64 => Some(Op::Entry),
        0x65 | 0x67 | 0x69 | 0x6b | 0x6d | 0x6f | 0x78 => Some(Op::Result(result(op.content)?.0)),
        0x66 => Some(Op::Request(changes(op.content, "modify", true)?)),
        0x68 => Some(Op::Request(changes(op.content, "add", false)?)),
        0x4a => Some(request("delete", text(op.content, NAME_BYTES_MAX))),
        0x6c => Some(request("rename", octets(op.content)?)),
        0x6e => Some(request("compare", octets(op.content)?)),
        0x77 => {
            let name = der::find(op.content, 0x80).unwrap_or_default();
            Some(request("extended", text(name, NAME_BYTES_MAX)))
        }
        0x42 | 0x50 | 0x73 | 0x79 => Some(Op::Other),
        _ => None,
    }
}

fn octets(bytes: &[u8]) -> Option<Box<str>> {
    let element = der::element(bytes).filter(|element| element.tag == 4)?;
    Some(text(element.content, NAME_BYTES_MAX))
}

fn bind(content: &[u8]) -> Option<Op<'_>> {
    let version = der::element(content).filter(|version| version.tag == 2)?;
    let name = der::element(version.rest).filter(|name| name.tag == 4)?;
    let choice = der::element(name.rest)?;
    let (method, credentials): (Box<str>, &[u8]) = match choice.tag {
        0x80 if choice.content.is_empty() => ("anonymous".into(), &[]),
        0x80 => ("simple".into(), &[]),
        0xa3 => {
            let mechanism = der::element(choice.content)?;
            let method = text(mechanism.content, 32).to_ascii_lowercase();
            (
                method.into(),
                der::find(mechanism.rest, 4).unwrap_or_default(),
            )
        }
        0x89..=0x8b => ("ntlm".into(), choice.content),
        _ => return None,
    };
    Some(Op::Bind(Bind {
        name: text(name.content, NAME_BYTES_MAX),
        method,
        credentials,
    }))
}

/// The code of a result and what follows its three fixed fields.
fn result(content: &[u8]) -> Option<(u32, &[u8])> {
    let code = der::element(content).filter(|code| code.tag == 10)?;
    let matched = der::element(code.rest)?;
    let rest = der::element(matched.rest).map_or(&[][..], |message| message.rest);
    Some((
        u32::try_from(der::unsigned(code.content)).unwrap_or(u32::MAX),
        rest,
    ))
}

fn search(content: &[u8]) -> Option<Request> {
    let base = der::element(content).filter(|base| base.tag == 4)?;
    let mut rest = base.rest;
    for _ in 0..5 {
        rest = der::element(rest)?.rest;
    }
    let filter = der::element(rest)?;
    let mut words = String::new();
    write_filter(filter, DEPTH_MAX, &mut words);
    Some(Request {
        verb: "search",
        name: text(base.content, NAME_BYTES_MAX),
        filter: words.into(),
        attributes: names(der::find(filter.rest, 0x30).unwrap_or_default()),
    })
}

fn changes(content: &[u8], verb: &'static str, nested: bool) -> Option<Request> {
    let entry = der::element(content).filter(|entry| entry.tag == 4)?;
    let list = der::find(entry.rest, 0x30).unwrap_or_default();
    let mut attributes = Vec::new();
    let mut rest = list;
    while let Some(change) = der::element(rest) {
        rest = change.rest;
        // A change wraps its attribute once more than an addition does.
        let attribute = if nested {
            der::find(change.content, 0x30)
        } else {
            Some(change.content)
        };
        if let (Some(name), true) = (
            attribute.and_then(octets),
            attributes.len() < ATTRIBUTES_MAX,
        ) {
            attributes.push(name);
        }
    }
    let name = text(entry.content, NAME_BYTES_MAX);
    Some(Request {
        verb,
        name,
        attributes,
        ..Request::default()
    })
}

fn names(mut list: &[u8]) -> Vec<Box<str>> {
    let mut names = Vec::new();
    while let (Some(element), true) = (der::element(list), names.len() < ATTRIBUTES_MAX) {
        names.push(text(element.content, NAME_BYTES_MAX));
        list = element.rest;
    }
    names
}

/// A filter in the text form of RFC 4515, cut at its bound.
fn write_filter(filter: Element<'_>, depth: usize, out: &mut String) {
    if depth == 0 || out.len() >= FILTER_BYTES_MAX {
        return;
    }
    out.push('(');
    match filter.tag {
        0xa0..=0xa2 => {
            out.push(match filter.tag {
                0xa0 => '&',
                0xa1 => '|',
                _ => '!',
            });
            let mut rest = filter.content;
            while let Some(part) = der::element(rest) {
                write_filter(part, depth.saturating_sub(1), out);
                rest = part.rest;
            }
        }
        0x87 => {
            out.push_str(&text(filter.content, 128));
            out.push_str("=*");
        }
        0xa4 => substrings(filter.content, out),
        0xa3 | 0xa5 | 0xa6 | 0xa8 => {
            let sign = match filter.tag {
                0xa3 => "=",
                0xa5 => ">=",
                0xa6 => "<=",
                _ => "~=",
            };
            comparison(filter.content, sign, out);
        }
        0xa9 => extensible(filter.content, out),
        _ => out.push('?'),
    }
    out.push(')');
}

fn comparison(content: &[u8], sign: &str, out: &mut String) {
    let Some(name) = der::element(content) else {
        return;
    };
    out.push_str(&text(name.content, 128));
    out.push_str(sign);
    out.push_str(&value(
        der::element(name.rest).map_or(&[][..], |value| value.content),
    ));
}

fn value(bytes: &[u8]) -> Box<str> {
    if bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) || str::from_utf8(bytes).is_ok() {
        return text(bytes, 128);
    }
    hex(bytes.get(..32).unwrap_or(bytes))
}

fn substrings(content: &[u8], out: &mut String) {
    let Some(name) = der::element(content) else {
        return;
    };
    out.push_str(&text(name.content, 128));
    out.push('=');
    let mut rest = der::find(name.rest, 0x30).unwrap_or_default();
    let mut open = true;
    while let (Some(part), true) = (der::element(rest), out.len() < FILTER_BYTES_MAX) {
        if part.tag != 0x80 && open {
            out.push('*');
        }
        out.push_str(&value(part.content));
        open = part.tag != 0x82;
        if open {
            out.push('*');
            open = false;
        }
        rest = part.rest;
    }
}

fn extensible(content: &[u8], out: &mut String) {
    let field = |tag| text(der::find(content, tag).unwrap_or_default(), 128);
    out.push_str(&field(0x82));
    out.push(':');
    out.push_str(&field(0x81));
    out.push_str(":=");
    out.push_str(&value(der::find(content, 0x83).unwrap_or_default()));
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let length = message_length(bytes);
    if let Some(Message {
        op: Op::Request(request),
        ..
    }) = parse(bytes)
    {
        debug_assert!(request.attributes.len() <= ATTRIBUTES_MAX);
    }
    debug_assert!(!looks_like_message(bytes) || length != Some((0, true)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_shows_base_filter_and_attributes() {
        let bytes = b"\x30\x3c\x02\x01\x02\x63\x37\x04\x04dc=x\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\
            \x02\x01\x00\x01\x01\x00\xa0\x16\xa3\x09\x04\x02cn\x04\x03bob\x87\x02sn\xa4\x05\x04\x01\
            a\x30\x00\x30\x05\x04\x03uid";
        let Some(Message {
            id: 2,
            op: Op::Request(request),
        }) = parse(bytes)
        else {
            panic!()
        };
        assert_eq!((request.verb, &*request.name), ("search", "dc=x"));
        assert_eq!(&*request.filter, "(&(cn=bob)(sn=*)(a=))");
        assert_eq!(request.attributes, [Box::from("uid")]);
    }

    #[test]
    fn a_simple_bind_names_its_account_and_not_its_password() {
        let bytes = b"\x30\x11\x02\x01\x01\x60\x0c\x02\x01\x03\x04\x04cn=b\x80\x01p";
        let Some(Message {
            op: Op::Bind(bind), ..
        }) = parse(bytes)
        else {
            panic!()
        };
        assert_eq!(
            (&*bind.name, &*bind.method, bind.credentials),
            ("cn=b", "simple", &b""[..])
        );
        assert_eq!(message_length(bytes), Some((19, false)));
    }

    #[test]
    fn other_bytes_are_no_message() {
        assert_eq!(message_length(b"\x16\x03\x01"), Some((0, false)));
        assert!(!looks_like_message(
            b"\x30\x82\x01\x0a\x02\x82\x01\x01\x00\xaa\xbb"
        ));
    }
}
