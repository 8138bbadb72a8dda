//! WireGuard's handshake (the protocol's paper, section 5.4): two messages of fixed length.

use crate::Reader;

const INITIATION_LEN: usize = 148;
const RESPONSE_LEN: usize = 92;
/// A key and two ciphertexts.
const NOISE_LEN: usize = 108;
/// So many different values are among 108 random bytes in practice always: 88 are expected, with a
/// standard deviation of about 4.
const DIFFERENT_MIN: u32 = 60;

/// The sender's index of a handshake's first message, and whether its second digest is empty, as it
/// is while the server is not under load.
pub fn initiation(bytes: &[u8]) -> Option<(u32, bool)> {
    let mut reader = Reader::new(bytes);
    let begins = bytes.len() == INITIATION_LEN && reader.u32_le() == Some(1);
    let index = reader.u32_le().filter(|_| begins)?;
    is_noise(reader.take(NOISE_LEN)?).then(|| (index, bytes.ends_with(&[0; 16])))
}

/// The index that an answer to a handshake takes up.
pub fn response(bytes: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(bytes);
    let begins = bytes.len() == RESPONSE_LEN && reader.u32_le() == Some(2);
    reader.skip(4).filter(|()| begins)?;
    reader.u32_le()
}

fn is_noise(bytes: &[u8]) -> bool {
    let mut seen = [0_u128; 2];
    for &byte in bytes {
        if let Some(half) = seen.get_mut(usize::from(byte >> 7)) {
            *half |= 1 << (byte & 127);
        }
    }
    seen.iter().map(|half| half.count_ones()).sum::<u32>() >= DIFFERENT_MIN
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    debug_assert!(initiation(bytes).is_none() || response(bytes).is_none());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_types_must_fit() {
        let mut open = vec![1, 0, 0, 0, 7, 0, 0, 0];
        open.extend(0..124);
        open.extend([0; 16]);
        assert_eq!(initiation(&open), Some((7, true)));
        open.push(0);
        assert_eq!(initiation(&open), None);
        let mut dull = open.clone();
        dull.truncate(148);
        dull[8..].fill(0);
        assert_eq!(initiation(&dull), None, "no key");
    }
}
