//! BitTorrent: the peers' handshake (BEP 3), the DHT's queries (BEP 5), UDP trackers (BEP 15) and
//! uTP (BEP 29).

use crate::Reader;

/// What a peer says first over TCP or uTP.
const HANDSHAKE: &[u8] = b"\x13BitTorrent protocol";
/// The magic number of a tracker's connect request.
const TRACKER: u64 = 0x0417_2710_1980;

/// Whether the front of a stream is a handshake; `None` when more is needed.
pub fn stream(bytes: &[u8]) -> Option<bool> {
    if bytes.starts_with(HANDSHAKE) {
        return Some(true);
    }
    (!HANDSHAKE.starts_with(bytes)).then_some(false)
}

/// Whether a datagram alone is BitTorrent's.
pub fn datagram(bytes: &[u8]) -> bool {
    dht(bytes) || tracker(bytes)
}

/// A bencoded dictionary as the DHT's messages begin and end.
fn dht(bytes: &[u8]) -> bool {
    let begins = [
        &b"d1:ad2:id20:"[..],
        b"d1:rd2:id20:",
        b"d1:eli20",
        b"d2:ip6:",
        b"d1:ad2:bs",
    ]
    .iter()
    .any(|start| bytes.starts_with(start));
    let kind = [&b"1:y1:q"[..], b"1:y1:r", b"1:y1:e"]
        .iter()
        .any(|kind| memchr::memmem::find(bytes, kind).is_some());
    begins && kind && bytes.ends_with(b"e")
}

fn tracker(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    bytes.len() == 16 && reader.u64() == Some(TRACKER) && reader.u32() == Some(0)
}

/// Whether two datagrams open a uTP connection: the answer takes up the number and the sequence of
/// the opening.
pub fn is_utp(open: &[u8], answer: &[u8]) -> bool {
    let (Some(open), Some(answer)) = (utp(open), utp(answer)) else {
        return false;
    };
    open.kind == 4
        && answer.kind == 2
        && open.connection == answer.connection
        && open.sequence == answer.acknowledged
}

/// Whether a datagram could open a uTP connection.
pub fn may_be_utp(bytes: &[u8]) -> bool {
    utp(bytes).is_some_and(|header| header.kind == 4 && header.acknowledged == 0)
}

struct Utp {
    kind: u8,
    connection: u16,
    sequence: u16,
    acknowledged: u16,
}

fn utp(bytes: &[u8]) -> Option<Utp> {
    let mut reader = Reader::new(bytes);
    let [first, extension] = reader.array()?;
    let connection = reader.u16()?;
    reader.skip(12)?;
    (first & 15 == 1 && first >> 4 <= 4 && extension <= 2).then_some(Utp {
        kind: first >> 4,
        connection,
        sequence: reader.u16()?,
        acknowledged: reader.u16()?,
    })
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    debug_assert!(stream(bytes) != Some(true) || !datagram(bytes));
    debug_assert!(!is_utp(bytes, bytes), "an opening is no answer");
    debug_assert!(!may_be_utp(bytes) || bytes.len() >= 20);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_is_known() {
        assert_eq!(stream(b"\x13BitTorrent protocol\0\0"), Some(true));
        assert_eq!(stream(b"\x13Bit"), None);
        assert!(datagram(
            b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"
        ));
        assert!(!datagram(b"d4:name3:abce"), "another bencoded text");
        assert!(datagram(b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0abcd"));
    }
}
