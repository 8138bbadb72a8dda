//! Client and server hello (RFC 8446 sections 4.1.2 and 4.1.3, and the versions before).

use crate::{Parsed, Reader};

/// What a client offers, in its own order, reserved values included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Version in the hello's fixed part.
    pub version: u16,
    /// Session id; not empty when an old session is to be resumed (up to TLS 1.2).
    pub session_id: Box<[u8]>,
    /// Cipher suites.
    pub ciphers: Vec<u16>,
    /// Extension types.
    pub extensions: Vec<u16>,
    /// Server name; empty when not given.
    pub server_name: Box<str>,
    /// First protocol offered (ALPN), raw; `None` when there is no such extension or it is empty.
    pub alpn: Option<Box<[u8]>>,
    /// Supported groups.
    pub groups: Vec<u16>,
    /// Point formats.
    pub point_formats: Vec<u8>,
    /// Signature algorithms.
    pub signature_algorithms: Vec<u16>,
    /// Supported versions.
    pub versions: Vec<u16>,
}

impl ClientHello {
    /// Reads a client hello's body; `None` when it ends before its extensions. A broken extension
    /// ends the list with a quirk.
    pub fn parse(body: &[u8]) -> Option<Parsed<Self>> {
        let mut reader = Reader::new(body);
        let version = reader.u16()?;
        reader.skip(32)?;
        let session_id = reader.sub8()?.rest().into();
        let ciphers = numbers(reader.sub16()?);
        let _compression = reader.sub8()?;
        let hello = Self {
            version,
            session_id,
            ciphers,
            ..Self::default()
        };
        let mut hello = Parsed::clean(hello);
        if reader.is_empty() {
            return Some(hello);
        }
        let announced = reader.u16()?;
        if usize::from(announced) != reader.len() {
            hello.quirk("extensions_length");
        }
        let mut extensions = Reader::new(reader.take_up_to(usize::from(announced)));
        while !extensions.is_empty() {
            let kind = extensions.u16();
            if let Some(kind) = kind {
                hello.value.extensions.push(kind);
            }
            let (Some(kind), Some(data)) = (kind, extensions.sub16()) else {
                hello.quirk("cut_extension");
                break;
            };
            if !data.is_empty() && hello.value.extension(kind, data).is_none() {
                hello.quirk("bad_extension");
            }
        }
        Some(hello)
    }

    fn extension(&mut self, kind: u16, mut data: Reader<'_>) -> Option<()> {
        match kind {
            0 => {
                let mut list = data.sub16()?;
                if list.u8()? == 0 {
                    let name = crate::text(list.sub16()?.rest(), 255);
                    self.server_name = name.to_ascii_lowercase().into();
                }
            }
            10 => self.groups = numbers(data.sub16()?),
            11 => self.point_formats = data.sub8()?.rest().to_vec(),
            13 => self.signature_algorithms = numbers(data.sub16()?),
            16 => self.alpn = Some(data.sub16()?.sub8()?.rest().into()),
            43 => self.versions = numbers(data.sub8()?),
            _ => {}
        }
        Some(())
    }
}

/// What a server chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHello {
    /// The version agreed, from its extension when there.
    pub version: u16,
    /// Session id.
    pub session_id: Box<[u8]>,
    /// The cipher suite chosen.
    pub cipher: u16,
    /// Whether a pre-shared key was taken: an old session resumed (TLS 1.3).
    pub pre_shared_key: bool,
    /// Whether it asks for another client hello instead (TLS 1.3).
    pub retry: bool,
}

/// The random value that marks a request to try again, RFC 8446 section 4.1.3.
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

impl ServerHello {
    /// Reads a server hello's body; `None` when it ends before the chosen cipher.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let version = reader.u16()?;
        let retry = reader.array::<32>()? == RETRY_RANDOM;
        let session_id = reader.sub8()?.rest().into();
        let cipher = reader.u16()?;
        let mut hello = Self {
            version,
            session_id,
            cipher,
            retry,
            pre_shared_key: false,
        };
        let mut extensions = reader;
        if extensions.skip(3).is_some() {
            while let (Some(kind), Some(mut data)) = (extensions.u16(), extensions.sub16()) {
                match kind {
                    41 => hello.pre_shared_key = true,
                    43 => hello.version = data.u16().unwrap_or(version),
                    _ => {}
                }
            }
        }
        Some(hello)
    }
}

fn numbers(mut list: Reader<'_>) -> Vec<u16> {
    let mut out = Vec::with_capacity(list.len() / 2);
    while let Some(number) = list.u16() {
        out.push(number);
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A hello body with these cipher suites and ready-made extensions.
    pub(in super::super) fn client_hello(ciphers: &[u16], extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend((ciphers.len() as u16 * 2).to_be_bytes());
        body.extend(ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()));
        body.extend([1, 0]);
        let mut list = Vec::new();
        for (kind, data) in extensions {
            list.extend(kind.to_be_bytes());
            list.extend((data.len() as u16).to_be_bytes());
            list.extend(*data);
        }
        body.extend((list.len() as u16).to_be_bytes());
        body.extend(list);
        body
    }

    #[test]
    fn a_hello_gives_name_protocol_and_lists_in_order() {
        let body = client_hello(
            &[0x0a0a, 0x1301, 0xc02f],
            &[
                (0, b"\0\x0e\0\0\x0bExample.ORG"),
                (16, b"\0\x0c\x02h2\x08http/1.1"),
                (43, b"\x04\x03\x04\x03\x03"),
                (10, b"\0\x04\0\x1d\0\x17"),
            ],
        );
        let hello = ClientHello::parse(&body).unwrap();
        assert!(hello.quirks.is_empty());
        let hello = hello.value;
        assert_eq!(&*hello.server_name, "example.org");
        assert_eq!(hello.alpn.as_deref(), Some(&b"h2"[..]));
        assert_eq!(hello.ciphers, [0x0a0a, 0x1301, 0xc02f]);
        assert_eq!(hello.extensions, [0, 16, 43, 10]);
        assert_eq!(
            (hello.versions, hello.groups),
            (vec![0x0304, 0x0303], vec![29, 23])
        );
    }

    #[test]
    fn a_broken_extension_costs_only_itself() {
        let body = client_hello(&[0x002f], &[(0, b"\0\xff\0"), (43, b"\x02\x03\x04")]);
        let hello = ClientHello::parse(&body).unwrap();
        assert_eq!(hello.quirks, ["bad_extension"]);
        assert_eq!(hello.value.versions, [0x0304]);
        let cut = ClientHello::parse(&body[..body.len() - 1]).unwrap();
        assert_eq!(cut.value.extensions, [0, 43]);
        assert_eq!(
            cut.quirks,
            ["extensions_length", "bad_extension", "cut_extension"]
        );
    }

    #[test]
    fn the_version_agreed_is_that_of_the_extension() {
        let mut body = vec![3, 3];
        body.extend([1; 32]);
        body.extend([
            0, 0x13, 0x02, 0, 0, 12, 0, 43, 0, 2, 3, 4, 0, 41, 0, 2, 0, 0,
        ]);
        let hello = ServerHello::parse(&body).unwrap();
        assert_eq!((hello.version, hello.cipher), (0x0304, 0x1302));
        assert!(hello.pre_shared_key && !hello.retry);
        let plain = ServerHello::parse(&body[..38]).unwrap();
        assert_eq!(plain.version, 0x0303);
    }
}
