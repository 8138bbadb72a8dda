//! What a security blob carries: SPNEGO (RFC 4178), bare GSS-API Kerberos (RFC 4121), or bare
//! NTLMSSP.

use crate::{der, ntlm};

/// The mechanism's message inside a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// An NTLMSSP message.
    Ntlm(&'a [u8]),
    /// A Kerberos application request.
    KerberosRequest(&'a [u8]),
    /// A Kerberos application reply.
    KerberosReply(&'a [u8]),
    /// A Kerberos error.
    KerberosError(&'a [u8]),
    /// A mechanism list, a bare state, or something unknown.
    Other,
}

const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const GSS: u8 = 0x60;
const INIT: u8 = 0xa0;
const RESPONSE: u8 = 0xa1;
const OID_SPNEGO: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];

/// Unwraps a blob.
pub fn unwrap(blob: &[u8]) -> Token<'_> {
    inner(blob)
        .or_else(|| ntlm::locate(blob).map(Token::Ntlm))
        .unwrap_or(Token::Other)
}

fn inner(blob: &[u8]) -> Option<Token<'_>> {
    if blob.starts_with(ntlm::SIGNATURE) {
        return Some(Token::Ntlm(blob));
    }
    let outer = der::element(blob)?;
    match outer.tag {
        GSS => {
            let oid = der::element(outer.content)?;
            if oid.tag != OID {
                return None;
            }
            if oid.content != OID_SPNEGO {
                return kerberos(oid.rest);
            }
            let init = der::find(oid.rest, INIT)?;
            mechanism(octets(init, 0xa2)?)
        }
        INIT | RESPONSE => mechanism(octets(outer.content, 0xa2)?),
        // Application 14: a bare AP-REQ, as some carriers have it.
        0x6e => Some(Token::KerberosRequest(blob)),
        _ => None,
    }
}

/// The octet string in context field `tag` of the sequence.
fn octets(content: &[u8], tag: u8) -> Option<&[u8]> {
    der::find(der::find(content, SEQUENCE)?, tag).and_then(|field| der::find(field, OCTETS))
}

fn mechanism(token: &[u8]) -> Option<Token<'_>> {
    if token.starts_with(ntlm::SIGNATURE) {
        return Some(Token::Ntlm(token));
    }
    let outer = der::element(token)?;
    match outer.tag {
        GSS => kerberos(der::element(outer.content)?.rest),
        0x6e => Some(Token::KerberosRequest(token)),
        0x6f => Some(Token::KerberosReply(token)),
        0x7e => Some(Token::KerberosError(token)),
        _ => None,
    }
}

/// After the mechanism's OID come two bytes of token id (RFC 4121, 4.1), then the message.
fn kerberos(bytes: &[u8]) -> Option<Token<'_>> {
    let (id, message) = bytes.split_at_checked(2)?;
    match id {
        [1, 0] => Some(Token::KerberosRequest(message)),
        [2, 0] => Some(Token::KerberosReply(message)),
        [3, 0] => Some(Token::KerberosError(message)),
        _ => None,
    }
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Token::Ntlm(message) = unwrap(bytes) {
        debug_assert_eq!(
            ntlm::locate(message),
            Some(message),
            "a token begins with its signature"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_ntlm_bare_wrapped_and_in_a_response() {
        assert_eq!(unwrap(b"NTLMSSP\0\x01"), Token::Ntlm(b"NTLMSSP\0\x01"));
        let response = b"\xa1\x0f\x30\x0d\xa2\x0b\x04\x09NTLMSSP\0\x02";
        assert_eq!(unwrap(response), Token::Ntlm(b"NTLMSSP\0\x02"));
    }

    #[test]
    fn finds_kerberos_inside_gss_inside_spnego() {
        let gss = b"\x60\x08\x06\x02\x2a\x86\x01\x00\x6e\x00";
        assert_eq!(mechanism(gss), Some(Token::KerberosRequest(b"\x6e\x00")));
        let mut init =
            b"\x60\x1a\x06\x06\x2b\x06\x01\x05\x05\x02\xa0\x10\x30\x0e\xa2\x0c\x04\x0a".to_vec();
        init.extend(gss);
        assert_eq!(unwrap(&init), Token::KerberosRequest(b"\x6e\x00"));
    }

    #[test]
    fn a_bare_state_carries_nothing() {
        assert_eq!(
            unwrap(b"\xa1\x07\x30\x05\xa0\x03\x0a\x01\x00"),
            Token::Other
        );
    }
}
