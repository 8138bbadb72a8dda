//! Near-duplicate clusters: TLSH distance at most 30 for binary formats (Oliver, Cheng, Chen, *TLSH — a
//! locality sensitive hash*, 2013), equal token shapes for text. Single linkage: what is near to one
//! member is in the cluster, so that no near pair is ever parted.

use std::collections::BTreeMap;

use tlsh2::{TlshDefault, TlshDefaultBuilder};

use super::kind::Kind;
use super::tokens;

/// Largest TLSH distance of near duplicates.
pub(crate) const DISTANCE_MAX: i32 = 30;

/// Bytes digested of a long file: what repeats there repeats in its front, and the walk stays fast.
const BYTES_MAX: usize = 4 << 20;

/// What two files are compared by.
pub(crate) enum Likeness {
    /// Binary content.
    Bytes(Box<TlshDefault>),
    /// Text, or a binary TLSH cannot digest (too short, too uniform): equal or not.
    Shape([u8; 32]),
}

impl Likeness {
    /// Of a file.
    pub(crate) fn of(kind: Kind, bytes: &[u8]) -> Self {
        if kind.is_text() {
            return Self::Shape(tokens::shape(bytes));
        }
        let front = bytes.get(..BYTES_MAX).unwrap_or(bytes);
        TlshDefaultBuilder::build_from(front).map_or_else(
            || Self::Shape(*blake3::hash(bytes).as_bytes()),
            |digest| Self::Bytes(Box::new(digest)),
        )
    }
}

/// The cluster of each item, named by the smallest index in it.
pub(crate) fn clusters(items: &[&Likeness]) -> Vec<usize> {
    let mut forest = Forest::new(items.len());
    let mut shapes: BTreeMap<&[u8; 32], usize> = BTreeMap::new();
    let mut digests: Vec<(u8, usize, &TlshDefault)> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match item {
            Likeness::Shape(shape) => {
                let first = *shapes.entry(shape).or_insert(index);
                forest.join(first, index);
            }
            Likeness::Bytes(digest) => digests.push((length_code(digest), index, digest)),
        }
    }
    digests.sort_unstable_by_key(|(length, index, _)| (*length, *index));
    for (at, (length, index, digest)) in digests.iter().enumerate() {
        for (other_length, other, other_digest) in digests.get(at + 1..).unwrap_or_default() {
            // Lengths this far apart cost more than the limit alone.
            if other_length - length > LENGTH_STEPS_MAX {
                break;
            }
            if !forest.same(*index, *other) && digest.diff(other_digest, true) <= DISTANCE_MAX {
                forest.join(*index, *other);
            }
        }
    }
    (0..items.len()).map(|index| forest.root(index)).collect()
}

/// TLSH charges 12 a step of its logarithmic length beyond one.
const LENGTH_STEPS_MAX: u8 = 2;

/// The length byte of the digest: two hexadecimal digits, swapped, after `T1` and the checksum.
fn length_code(digest: &TlshDefault) -> u8 {
    let text = digest.hash();
    let digit = |at: usize| {
        let digit = text.get(at).copied().unwrap_or(b'0');
        char::from(digit).to_digit(16).unwrap_or(0) as u8
    };
    (digit(5) << 4) | digit(4)
}

/// Union-find; the root is the smallest member.
struct Forest {
    parents: Vec<usize>,
}

impl Forest {
    fn new(length: usize) -> Self {
        Self {
            parents: (0..length).collect(),
        }
    }

    fn root(&mut self, mut index: usize) -> usize {
        while let Some(parent) = self.parents.get(index).copied() {
            if parent == index {
                break;
            }
            let over = self.parents.get(parent).copied().unwrap_or(parent);
            if let Some(slot) = self.parents.get_mut(index) {
                *slot = over;
            }
            index = over;
        }
        index
    }

    fn same(&mut self, one: usize, two: usize) -> bool {
        self.root(one) == self.root(two)
    }

    fn join(&mut self, one: usize, two: usize) {
        let (one, two) = (self.root(one), self.root(two));
        if let Some(slot) = self.parents.get_mut(one.max(two)) {
            *slot = one.min(two);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u32, length: usize) -> Vec<u8> {
        let mut state = seed;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    #[test]
    fn a_patched_binary_is_near_and_another_is_not() {
        let one = noise(1, 20_000);
        let mut two = one.clone();
        two[500..520].fill(0);
        let three = noise(99, 20_000);
        let items: Vec<Likeness> = [one, two, three]
            .iter()
            .map(|bytes| Likeness::of(Kind::Elf, bytes))
            .collect();
        let items: Vec<&Likeness> = items.iter().collect();
        let clusters = clusters(&items);
        assert_eq!(clusters[..2], [0, 0]);
        assert_eq!(clusters[2], 2);
    }

    #[test]
    fn the_length_code_grows_with_the_length() {
        let code = |length| match Likeness::of(Kind::Pe, &noise(5, length)) {
            Likeness::Bytes(digest) => length_code(&digest),
            Likeness::Shape(_) => 0,
        };
        assert!(code(1_000) < code(2_000));
        assert!(code(2_000) < code(200_000));
    }

    #[test]
    fn a_binary_without_digest_is_near_to_its_like_alone() {
        let items = [
            Likeness::of(Kind::Elf, &[0; 40]),
            Likeness::of(Kind::Elf, &[0; 40]),
            Likeness::of(Kind::Elf, &[0; 41]),
        ];
        let items: Vec<&Likeness> = items.iter().collect();
        assert_eq!(clusters(&items), [0, 0, 2]);
    }

    #[test]
    fn the_link_is_single() {
        let mut forest = Forest::new(5);
        forest.join(4, 3);
        forest.join(1, 2);
        forest.join(2, 4);
        let roots: Vec<usize> = (0..5).map(|index| forest.root(index)).collect();
        assert_eq!(roots, [0, 1, 1, 1, 1]);
    }
}
