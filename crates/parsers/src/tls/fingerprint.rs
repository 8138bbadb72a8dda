//! Fingerprints of client hellos: JA3 (Salesforce, BSD-3-Clause) and JA4 for TLS and QUIC clients
//! (FoxIO, BSD-3-Clause; the other fingerprints of the JA4 family are not). Both leave out values
//! reserved by RFC 8701.

use md5::{Digest, Md5};
use sha2::Sha256;

use super::{ClientHello, is_grease};

/// What carried the hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TLS over TCP.
    Tcp,
    /// QUIC.
    Quic,
    /// DTLS.
    Datagram,
}

/// JA3: MD5, in hex, of version, cipher suites, extensions, groups and point formats.
pub fn ja3(hello: &ClientHello) -> Box<str> {
    let mut text = String::with_capacity(256);
    push_decimal(&mut text, hello.version);
    for list in [&hello.ciphers, &hello.extensions, &hello.groups] {
        text.push(',');
        join(
            &mut text,
            list.iter().copied().filter(|value| !is_grease(*value)),
            '-',
            push_decimal,
        );
    }
    text.push(',');
    join(
        &mut text,
        hello.point_formats.iter().map(|format| u16::from(*format)),
        '-',
        push_decimal,
    );
    crate::hex(&Md5::digest(text.as_bytes()))
}

/// JA4 of a client hello.
pub fn ja4(hello: &ClientHello, carrier: Carrier) -> Box<str> {
    let real = |list: &[u16]| -> Vec<u16> {
        list.iter()
            .copied()
            .filter(|value| !is_grease(*value))
            .collect()
    };
    let mut ciphers = real(&hello.ciphers);
    let mut extensions = real(&hello.extensions);
    let highest = hello
        .versions
        .iter()
        .copied()
        .filter(|version| !is_grease(*version))
        .max();
    let mut out = String::with_capacity(36);
    out.push(match carrier {
        Carrier::Tcp => 't',
        Carrier::Quic => 'q',
        Carrier::Datagram => 'd',
    });
    out.push_str(version(highest.unwrap_or(hello.version)));
    out.push(if extensions.contains(&0) { 'd' } else { 'i' });
    push_count(&mut out, ciphers.len());
    push_count(&mut out, extensions.len());
    let [first, last] = alpn_ends(hello.alpn.as_deref().unwrap_or_default());
    out.push(first);
    out.push(last);
    out.push('_');
    ciphers.sort_unstable();
    let mut text = String::with_capacity(256);
    join(&mut text, ciphers.into_iter(), ',', push_hex);
    push_digest(&mut out, &text);
    out.push('_');
    extensions.retain(|kind| !matches!(kind, 0 | 16));
    extensions.sort_unstable();
    text.clear();
    join(&mut text, extensions.into_iter(), ',', push_hex);
    let signatures = real(&hello.signature_algorithms);
    if !signatures.is_empty() {
        text.push('_');
        join(&mut text, signatures.into_iter(), ',', push_hex);
    }
    push_digest(&mut out, &text);
    out.into_boxed_str()
}

const fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// First and last character of the protocol, or of its hexadecimal form when one is not a letter or
/// digit; `00` when there is none.
fn alpn_ends(alpn: &[u8]) -> [char; 2] {
    let (Some(&first), Some(&last)) = (alpn.first(), alpn.last()) else {
        return ['0', '0'];
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)];
    }
    [hex_digit(first >> 4), hex_digit(last & 15)]
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble & 15), 16).unwrap_or('0')
}

/// Two digits, at most 99.
fn push_count(out: &mut String, count: usize) {
    let count = count.min(99);
    for digit in [count / 10, count % 10] {
        out.push(
            u32::try_from(digit)
                .ok()
                .and_then(|d| char::from_digit(d, 10))
                .unwrap_or('0'),
        );
    }
}

/// The first twelve digits of the SHA-256 of `text`; zeros when it is empty.
fn push_digest(out: &mut String, text: &str) {
    if text.is_empty() {
        out.push_str("000000000000");
        return;
    }
    for byte in Sha256::digest(text.as_bytes()).iter().take(6) {
        out.push(hex_digit(byte >> 4));
        out.push(hex_digit(*byte));
    }
}

fn push_decimal(out: &mut String, value: u16) {
    let mut digits = value;
    let mut text = ['0'; 5];
    let mut used = 0_usize;
    for slot in text.iter_mut().rev() {
        *slot = char::from_digit(u32::from(digits % 10), 10).unwrap_or('0');
        used = used.saturating_add(1);
        digits /= 10;
        if digits == 0 {
            break;
        }
    }
    out.extend(text.iter().skip(text.len().saturating_sub(used)));
}

fn push_hex(out: &mut String, value: u16) {
    for byte in value.to_be_bytes() {
        out.push(hex_digit(byte >> 4));
        out.push(hex_digit(byte));
    }
}

fn join(out: &mut String, values: impl Iterator<Item = u16>, by: char, push: fn(&mut String, u16)) {
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(by);
        }
        push(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of FoxIO's technical description of JA4.
    fn example() -> ClientHello {
        ClientHello {
            version: 0x0303,
            ciphers: vec![
                0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
                0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
            ],
            extensions: vec![
                0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
                0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015,
            ],
            alpn: Some(b"h2".as_slice().into()),
            signature_algorithms: vec![
                0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
            ],
            versions: vec![0x0304, 0x0303],
            ..ClientHello::default()
        }
    }

    #[test]
    fn the_published_example_of_ja4_is_met() {
        assert_eq!(
            &*ja4(&example(), Carrier::Tcp),
            "t13d1516h2_8daaf6152771_e5627efa2ab1"
        );
        assert!(ja4(&example(), Carrier::Quic).starts_with("q13d1516h2_"));
    }

    #[test]
    fn reserved_values_and_order_change_nothing_in_ja4() {
        let mut hello = example();
        hello.ciphers.insert(0, 0x1a1a);
        hello.extensions.push(0xfafa);
        hello.versions.insert(0, 0x9a9a);
        hello.ciphers.reverse();
        assert_eq!(ja4(&hello, Carrier::Tcp), ja4(&example(), Carrier::Tcp));
    }

    #[test]
    fn a_hello_without_extensions_has_zeros() {
        let hello = ClientHello {
            version: 0x0301,
            ciphers: vec![0x0035],
            ..ClientHello::default()
        };
        assert!(ja4(&hello, Carrier::Tcp).starts_with("t10i010000_"));
        assert!(ja4(&hello, Carrier::Tcp).ends_with("_000000000000"));
    }

    #[test]
    fn a_protocol_with_odd_ends_is_shown_in_hex() {
        assert_eq!(alpn_ends(b"http/1.1"), ['h', '1']);
        assert_eq!(alpn_ends(b"\xab"), ['a', 'b']);
        assert_eq!(alpn_ends(b""), ['0', '0']);
        assert_eq!(alpn_ends(b"0\xab\xcd1"), ['0', '1']);
    }

    #[test]
    fn ja3_is_the_digest_of_the_five_lists() {
        // The example string of Salesforce's description of JA3 and its digest.
        let hello = ClientHello {
            version: 769,
            ciphers: vec![47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4],
            extensions: vec![0, 10, 11],
            groups: vec![23, 24, 25],
            point_formats: vec![0],
            ..ClientHello::default()
        };
        assert_eq!(&*ja3(&hello), "ada70206e40642a3e4461f35503241d5");
    }
}
