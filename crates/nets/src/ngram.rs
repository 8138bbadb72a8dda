//! Character n-grams of a short text, hashed into buckets.

/// Number of buckets.
pub const BUCKETS: usize = 1 << 15;
/// Shortest n-gram in bytes.
pub const NGRAM_MIN: usize = 1;
/// Longest n-gram in bytes.
pub const NGRAM_MAX: usize = 4;
/// Bytes of the text that are looked at.
const TEXT_MAX: usize = 63;

/// Calls `each` with the bucket of every n-gram of `text`, which is taken between a start and an end
/// mark, so `^ab` and `ab$` differ from `ab`. Order and count follow the text.
pub fn for_each_ngram(text: &[u8], mut each: impl FnMut(usize)) {
    let mut marked = [0u8; TEXT_MAX + 2];
    let mut len = 1;
    marked[0] = b'^';
    for (slot, byte) in marked.iter_mut().skip(1).zip(text.iter().take(TEXT_MAX)) {
        *slot = byte.to_ascii_lowercase();
        len += 1;
    }
    if let Some(end) = marked.get_mut(len) {
        *end = b'$';
        len += 1;
    }
    let marked = marked.get(..len).unwrap_or(&marked);
    for size in NGRAM_MIN..=NGRAM_MAX {
        for gram in marked.windows(size) {
            each(bucket(gram));
        }
    }
}

/// FNV-1a with a final mix; single bytes get their own value, so they never collide.
fn bucket(gram: &[u8]) -> usize {
    if let [byte] = gram {
        return usize::from(*byte);
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in gram {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 29;
    256 + (hash % (BUCKETS as u64 - 256)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_at_the_edge_matters_and_case_does_not() {
        let grams = |text: &str| {
            let mut all = Vec::new();
            for_each_ngram(text.as_bytes(), |bucket| all.push(bucket));
            all
        };
        assert_eq!(grams("AbC"), grams("abc"));
        assert_ne!(grams("abc"), grams("bca"));
        assert!(
            grams(&"x".repeat(500))
                .iter()
                .all(|bucket| *bucket < BUCKETS)
        );
        assert!(!grams("").is_empty());
    }
}
