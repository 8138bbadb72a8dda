//! The readable start of SSH 2 (RFC 4253): banners and key exchange offers, with the HASSH
//! fingerprint (Salesforce, BSD-3-Clause). After the new keys nothing is read but sizes.

use md5::{Digest, Md5};

use crate::{Reader, text};

/// Message numbers.
pub mod message {
    /// Offer of algorithms.
    pub const KEXINIT: u8 = 20;
    /// What follows from this side is encrypted.
    pub const NEWKEYS: u8 = 21;
}

/// Longest packet of a sound key exchange, RFC 4253 section 6.1.
pub const PACKET_BYTES_MAX: usize = 35_000;

/// The software named in a banner line (`SSH-2.0-OpenSSH_9.6 Debian-1`); `None` when the line is no
/// banner, as the lines that a server may send before it.
pub fn banner(line: &[u8]) -> Option<Box<str>> {
    let rest = line.strip_prefix(b"SSH-")?;
    let at = rest.iter().position(|byte| *byte == b'-')?;
    Some(text(rest.get(at.checked_add(1)?..)?.trim_ascii_end(), 255))
}

/// An unencrypted packet: its message number, its payload after it, and its length on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Message number.
    pub message: u8,
    /// What follows the number, without padding.
    pub payload: &'a [u8],
    /// Bytes on the wire.
    pub length: usize,
}

/// Reads the packet at the front. The error is the number of bytes needed, or none when this is no
/// packet.
pub fn packet(bytes: &[u8]) -> Result<Packet<'_>, Option<usize>> {
    let mut reader = Reader::new(bytes);
    let announced = reader.u32().ok_or(Some(5))?;
    let inner = usize::try_from(announced).unwrap_or(usize::MAX);
    if !(2..=PACKET_BYTES_MAX).contains(&inner) {
        return Err(None);
    }
    let length = inner.saturating_add(4);
    let mut body = Reader::new(reader.take(inner).ok_or(Some(length))?);
    let padding = usize::from(body.u8().ok_or(None)?);
    let message = body.u8().ok_or(None)?;
    let payload = body
        .len()
        .checked_sub(padding)
        .and_then(|keep| body.take(keep))
        .ok_or(None)?;
    Ok(Packet {
        message,
        payload,
        length,
    })
}

/// The fingerprints of an offer, were it a client's and a server's; `None` when it is cut.
pub fn hassh(offer: &[u8]) -> Option<(Box<str>, Box<str>)> {
    let mut reader = Reader::new(offer);
    reader.skip(16)?;
    let mut lists = [&[][..]; 8];
    for list in &mut lists {
        let length = usize::try_from(reader.u32()?).ok()?;
        *list = reader.take(length)?;
    }
    let [
        kex,
        _key,
        to_server,
        to_client,
        mac_to_server,
        mac_to_client,
        zip_to_server,
        zip_to_client,
    ] = lists;
    let digest = |parts: [&[u8]; 4]| crate::hex(&Md5::digest(parts.join(&b';')));
    Some((
        digest([kex, to_server, mac_to_server, zip_to_server]),
        digest([kex, to_client, mac_to_client, zip_to_client]),
    ))
}

/// For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let _ = banner(bytes);
    if let Ok(packet) = packet(bytes) {
        let _ = hassh(packet.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Vec<u8> {
        let mut bytes = vec![7; 16];
        for list in ["kex", "key", "c1", "c2", "m1", "m2", "none", "none", "", ""] {
            bytes.extend((list.len() as u32).to_be_bytes());
            bytes.extend(list.bytes());
        }
        bytes.extend([0; 5]);
        bytes
    }

    #[test]
    fn a_banner_names_the_software() {
        assert_eq!(
            banner(b"SSH-2.0-OpenSSH_9.6 Debian-1\r").as_deref(),
            Some("OpenSSH_9.6 Debian-1")
        );
        assert_eq!(banner(b"Welcome"), None);
    }

    #[test]
    fn fingerprints_are_digests_of_the_offers_of_a_direction() {
        let (client, server) = hassh(&offer()).unwrap();
        assert_eq!(client, crate::hex(&Md5::digest(b"kex;c1;m1;none")));
        assert_eq!(server, crate::hex(&Md5::digest(b"kex;c2;m2;none")));
        assert_eq!(hassh(&offer()[..30]), None);
    }

    #[test]
    fn a_cut_packet_tells_how_much_is_missing() {
        assert_eq!(packet(&[0, 0, 0, 12, 10, 21]), Err(Some(16)));
        assert_eq!(packet(&[9, 9, 9, 9, 10]), Err(None));
        let whole = [0, 0, 0, 12, 10, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 99];
        let packet = packet(&whole).unwrap();
        assert_eq!(
            (packet.message, packet.payload.len(), packet.length),
            (message::NEWKEYS, 0, 16)
        );
    }
}
