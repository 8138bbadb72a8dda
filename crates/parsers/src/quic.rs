//! QUIC's first packets (RFC 9000, RFC 9001, RFC 9369; drafts 29 to 32): their keys follow from the
//! header, so anyone on the path can read the client's hello. Keys and ciphers are rustls's.

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::{Keys, Version};

use crate::{ParseBudget, Reader};

/// Most bytes of hello put together from packets.
const CRYPTO_BYTES_MAX: usize = 32 * 1024;
/// Most pieces that wait for what comes before them.
const PIECES_MAX: usize = 64;

/// The header of a long-header packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header<'a> {
    version: u32,
    initial: bool,
    destination: &'a [u8],
    /// Bytes before the packet number.
    number_at: usize,
    /// Where the packet ends.
    end: usize,
}

fn known(version: u32) -> Option<Version> {
    Some(match version {
        1 => Version::V1,
        0x6b33_43cf => Version::V2,
        0xff00_001d..=0xff00_0020 => Version::V1Draft,
        _ => return None,
    })
}

fn header(bytes: &[u8]) -> Option<Header<'_>> {
    let mut reader = Reader::new(bytes);
    let first = reader.u8()?;
    if first & 0xc0 != 0xc0 {
        return None;
    }
    let version = reader.u32()?;
    known(version)?;
    let destination = reader.sub8()?.rest();
    let source = reader.sub8()?.rest();
    if destination.len() > 20 || source.len() > 20 {
        return None;
    }
    // Version 2 numbers the packet types anew.
    let kind = (first >> 4) & 3;
    let initial = kind == u8::from(version == 0x6b33_43cf);
    if initial {
        let token = varint(&mut reader)?;
        reader.skip(usize::try_from(token).ok()?)?;
    }
    let length = usize::try_from(varint(&mut reader)?).ok()?;
    let number_at = bytes.len().checked_sub(reader.len())?;
    reader.skip(length)?;
    Some(Header {
        version,
        initial,
        destination,
        number_at,
        end: number_at.checked_add(length)?,
    })
}

/// A number of one, two, four or eight bytes, RFC 9000 section 16.
fn varint(reader: &mut Reader<'_>) -> Option<u64> {
    let first = *reader.rest().first()?;
    Some(match first >> 6 {
        0 => u64::from(reader.u8()?),
        1 => u64::from(reader.u16()? & 0x3fff),
        2 => u64::from(reader.u32()? & 0x3fff_ffff),
        _ => reader.u64()? & 0x3fff_ffff_ffff_ffff,
    })
}

/// Whether a client's first datagram is QUIC: a long header of a version we know.
pub fn looks_like(datagram: &[u8]) -> bool {
    header(datagram).is_some_and(|header| header.initial && header.destination.len() >= 8)
}

/// Puts the client's hello together from its initial packets.
#[derive(Default)]
pub struct HelloReader {
    keys: Option<(Box<[u8]>, Keys)>,
    /// Pieces by offset.
    pieces: Vec<(usize, Vec<u8>)>,
}

impl HelloReader {
    /// Takes a datagram of the client; gives the handshake bytes when the whole hello is there.
    pub fn datagram(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut rest = datagram;
        for _ in 0..ParseBudget::default().depth_max {
            let Some(header) = header(rest) else { break };
            if header.initial && self.packet(rest, &header).is_none() {
                break;
            }
            rest = rest.get(header.end..)?;
        }
        self.joined()
    }

    fn packet(&mut self, bytes: &[u8], header: &Header<'_>) -> Option<()> {
        // Later packets use the identifier that the server chose, but the keys of the first.
        if self.keys.is_none() {
            let suite = TLS13_AES_128_GCM_SHA256.tls13()?;
            let keys = Keys::initial(
                known(header.version)?,
                suite,
                suite.quic_suite()?.quic,
                header.destination,
                rustls::Side::Server,
            );
            self.keys = Some((header.destination.into(), keys));
        }
        let (_, keys) = self.keys.as_ref()?;
        let mut packet = bytes.get(..header.end)?.to_vec();
        let sample_at = header.number_at.checked_add(4)?;
        let sample_end = sample_at.checked_add(keys.remote.header.sample_len())?;
        let sample: Vec<u8> = packet.get(sample_at..sample_end)?.to_vec();
        let (head, tail) = packet.split_at_mut_checked(header.number_at)?;
        let first = head.first_mut()?;
        let number = tail.get_mut(..4)?;
        keys.remote
            .header
            .decrypt_in_place(&sample, first, number)
            .ok()?;
        let number_len = usize::from(*first & 3).checked_add(1)?;
        let value = number
            .iter()
            .take(number_len)
            .fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
        let body_at = header.number_at.checked_add(number_len)?;
        let (aad, body) = packet.split_at_mut_checked(body_at)?;
        let plain = keys.remote.packet.decrypt_in_place(value, aad, body).ok()?;
        frames(plain, &mut self.pieces)
    }

    fn joined(&self) -> Option<Vec<u8>> {
        let mut out: Vec<u8> = Vec::new();
        let mut pieces: Vec<&(usize, Vec<u8>)> = self.pieces.iter().collect();
        pieces.sort_by_key(|(offset, _)| *offset);
        for (offset, piece) in pieces {
            let known = out.len().checked_sub(*offset)?;
            out.extend_from_slice(piece.get(known..).unwrap_or_default());
        }
        match crate::tls::handshake(&out) {
            Ok(_) => Some(out),
            Err(_) => None,
        }
    }
}

fn frames(plain: &[u8], pieces: &mut Vec<(usize, Vec<u8>)>) -> Option<()> {
    let mut reader = Reader::new(plain);
    while !reader.is_empty() {
        match reader.u8()? {
            // Padding, ping.
            0 | 1 => {}
            kind @ (2 | 3) => {
                let _largest = varint(&mut reader)?;
                let _delay = varint(&mut reader)?;
                let ranges = varint(&mut reader)?;
                let _first = varint(&mut reader)?;
                for _ in 0..ranges {
                    varint(&mut reader)?;
                    varint(&mut reader)?;
                }
                if kind == 3 {
                    for _ in 0..3 {
                        varint(&mut reader)?;
                    }
                }
            }
            6 => {
                let offset = usize::try_from(varint(&mut reader)?).ok()?;
                let length = usize::try_from(varint(&mut reader)?).ok()?;
                let data = reader.take(length)?;
                if pieces.len() < PIECES_MAX && offset.saturating_add(length) <= CRYPTO_BYTES_MAX {
                    pieces.push((offset, data.to_vec()));
                }
            }
            _ => return None,
        }
    }
    Some(())
}

/// For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let _ = looks_like(bytes);
    let _ = HelloReader::default().datagram(bytes);
    // Behind the cipher no mutation comes: the frames are read in the clear as well.
    let _ = frames(bytes, &mut Vec::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A protected initial packet with these crypto frames, as a client would send it.
    fn initial(version: u32, number: u8, frames: &[(u8, &[u8])]) -> Vec<u8> {
        let id = [1, 2, 3, 4, 5, 6, 7, 8];
        let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
        let quic = suite.quic_suite().unwrap().quic;
        let keys = Keys::initial(
            known(version).unwrap(),
            suite,
            quic,
            &id,
            rustls::Side::Client,
        );
        let mut plain = Vec::new();
        for (offset, data) in frames {
            plain.extend([6, *offset, u8::try_from(data.len()).unwrap()]);
            plain.extend(*data);
        }
        plain.resize(60, 0);
        let first = if version == 0x6b33_43cf { 0xd0 } else { 0xc0 };
        let mut packet = vec![first];
        packet.extend(version.to_be_bytes());
        packet.push(8);
        packet.extend(id);
        packet.extend([0, 0, 0x40, 77, number]);
        let tag = keys
            .local
            .packet
            .encrypt_in_place(u64::from(number), &packet, &mut plain)
            .unwrap();
        let at = packet.len() - 1;
        packet.extend(plain);
        packet.extend(tag.as_ref());
        let sample = packet[at + 4..at + 20].to_vec();
        let (head, tail) = packet.split_at_mut(at);
        keys.local
            .header
            .encrypt_in_place(&sample, &mut head[0], &mut tail[..1])
            .unwrap();
        packet
    }

    #[test]
    fn a_hello_over_two_packets_out_of_order_is_put_together() {
        for version in [1, 0x6b33_43cf, 0xff00_001d] {
            let second = initial(version, 1, &[(4, b"world")]);
            let first = initial(version, 0, &[(0, b"\x01\0\0\x05")]);
            assert!(looks_like(&second), "version {version:x}");
            let mut reader = HelloReader::default();
            assert_eq!(reader.datagram(&second), None);
            assert_eq!(
                reader.datagram(&first).as_deref(),
                Some(&b"\x01\0\0\x05world"[..])
            );
        }
    }

    #[test]
    fn a_changed_packet_is_not_believed() {
        let mut packet = initial(1, 0, &[(0, b"\x01\0\0\x02hi")]);
        let last = packet.len() - 1;
        packet[last] ^= 1;
        assert_eq!(HelloReader::default().datagram(&packet), None);
    }

    #[test]
    fn versions_nobody_speaks_are_not_quic() {
        let mut packet = initial(1, 0, &[(0, b"x")]);
        packet[1] = 9;
        assert!(!looks_like(&packet));
    }
}
