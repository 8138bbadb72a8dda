//! The second judge: boosted trees (Friedman, *Greedy function approximation*, Annals of Statistics 2001)
//! over how often each byte and each pair and triple of bytes (by their hash) is in a beginning of the file, and over its first bytes.
//!
//! It tells what kind of file this is, where the network tells what is in it. Beginnings have lengths that
//! depend on nothing, so bytes put behind a file leave its beginnings as they were; the file's logit is
//! that of the worst.

/// Pairs of bytes are counted in so many groups, by their hash.
pub const PAIRS: usize = 1024;
/// Triples of bytes are counted in so many groups, by their hash.
pub const TRIPLES: usize = 1024;
/// First bytes that are looked at where they stand.
pub const FIRST: usize = 512;
/// Numbers that the trees ask for.
pub const FEATURES: usize = PLACED + FIRST;
const TRIPLED: usize = 256 + PAIRS;
const PLACED: usize = TRIPLED + TRIPLES;
/// What stands for a first byte that is not there.
const ABSENT: f32 = -1.0;
/// Feature of a node that is a leaf.
const LEAF: u16 = u16::MAX;
/// Beginnings that go through the trees together: their numbers fit a core's own cache.
const AT_ONCE: usize = 8;
/// Each beginning is longer than the one before it by one part in so many.
const FINENESS: usize = 16;

/// What is counted of a stretch of bytes.
#[derive(Clone, Debug)]
pub struct Counts {
    bytes: [u64; 256],
    pairs: [u64; PAIRS],
    triples: [u64; TRIPLES],
    first: [f32; FIRST],
    /// The two bytes before the next.
    last: u32,
    /// How many bytes.
    len: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            bytes: [0; 256],
            pairs: [0; PAIRS],
            triples: [0; TRIPLES],
            first: [ABSENT; FIRST],
            last: 0,
            len: 0,
        }
    }
}

impl Counts {
    /// Counts the bytes that follow.
    pub fn add(&mut self, bytes: &[u8]) {
        let at = self.len.min(FIRST as u64) as usize;
        for (place, byte) in self.first[at..].iter_mut().zip(bytes) {
            *place = f32::from(*byte);
        }
        let group =
            |run: u32, groups: usize| (run.wrapping_mul(0x9e37_79b1) >> 22) as usize % groups;
        for byte in bytes {
            self.last = (self.last << 8 | u32::from(*byte)) & 0xff_ffff;
            self.bytes[usize::from(*byte)] += 1;
            self.pairs[group(self.last & 0xffff, PAIRS)] += 1;
            self.triples[group(self.last, TRIPLES)] += 1;
        }
        self.len += bytes.len() as u64;
    }

    /// The same without a stretch that begins at `start` and of which `other` was counted.
    #[must_use]
    pub fn without(&self, start: u64, other: &Self) -> Self {
        let mut rest = self.clone();
        for (count, part) in rest.bytes.iter_mut().zip(&other.bytes) {
            *count = count.saturating_sub(*part);
        }
        for (count, part) in rest.pairs.iter_mut().zip(&other.pairs) {
            *count = count.saturating_sub(*part);
        }
        for (count, part) in rest.triples.iter_mut().zip(&other.triples) {
            *count = count.saturating_sub(*part);
        }
        let end = (start + other.len).min(FIRST as u64) as usize;
        rest.first[(start as usize).min(end)..end].fill(ABSENT);
        rest.len = rest.len.saturating_sub(other.len);
        rest
    }

    /// Writes the numbers of all features.
    fn write(&self, features: &mut [f32]) {
        let counted = self.bytes.iter().chain(&self.pairs).chain(&self.triples);
        let len = self.len.max(1) as f32;
        for (feature, count) in features.iter_mut().zip(counted) {
            *feature = *count as f32 / len;
        }
        features[PLACED..].copy_from_slice(&self.first);
    }

    /// The number that stands for `feature`: shares of all bytes, from 0 to 1, and first bytes.
    pub fn feature(&self, feature: usize) -> f32 {
        let share = |count: u64| count as f32 / self.len.max(1) as f32;
        match feature {
            0..256 => share(self.bytes[feature]),
            256..TRIPLED => share(self.pairs[feature - 256]),
            TRIPLED..PLACED => share(self.triples[feature - TRIPLED]),
            _ => self.first.get(feature - PLACED).copied().unwrap_or(ABSENT),
        }
    }
}

/// One node: a question, or of a leaf what it adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    feature: u16,
    value: f32,
    left: u32,
    right: u32,
}

impl Node {
    /// Goes to `left` when the feature is below `value`, else to `right`; both come after it.
    pub fn question(feature: usize, value: f32, left: usize, right: usize) -> Self {
        Self {
            feature: feature as u16,
            value,
            left: left as u32,
            right: right as u32,
        }
    }

    /// Adds `value` to the logit.
    pub const fn leaf(value: f32) -> Self {
        Self {
            feature: LEAF,
            value,
            left: 0,
            right: 0,
        }
    }

    /// Four numbers that [`Forest::new`] reads.
    pub fn numbers(self) -> [f32; 4] {
        let feature = f32::from(self.feature);
        [feature, self.value, self.left as f32, self.right as f32]
    }
}

/// Trees whose leaves add up to the logit of being malicious.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    /// The nodes of all trees.
    steps: Vec<Step>,
    /// Where each tree begins, and how many questions it asks at most.
    roots: Vec<(u32, u32)>,
    base: f32,
}

/// A node to walk over: a leaf leads to itself, so that all walks of a tree are equally long and none of them
/// has to be foreseen.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    feature: u16,
    value: f32,
    /// Where to go when the feature is below the value, and where else.
    to: [u32; 2],
}

impl Forest {
    /// From the numbers of all nodes, [nodes, 4], where each tree begins, and what is added to their
    /// leaves; none when a node leads nowhere or back.
    pub fn new(nodes: &[f32], roots: &[f32], base: f32) -> Option<Self> {
        let (nodes, _) = nodes.as_chunks::<4>();
        let read = |(at, numbers): (usize, &[f32; 4])| {
            let [feature, value, left, right] = *numbers;
            let node = Node {
                feature: feature as u16,
                value,
                left: left as u32,
                right: right as u32,
            };
            let leads_on = |to: u32| to as usize > at && (to as usize) < nodes.len();
            let is_right = node.feature == LEAF
                || (usize::from(node.feature) < FEATURES
                    && leads_on(node.left)
                    && leads_on(node.right));
            is_right.then_some(node)
        };
        let all: Vec<Node> = nodes.iter().enumerate().map(read).collect::<Option<_>>()?;
        let mut heights = vec![0_u32; all.len()];
        for (at, node) in all.iter().enumerate().rev() {
            if node.feature != LEAF {
                let below = [node.left, node.right].map(|to| heights[to as usize]);
                heights[at] = 1 + below[0].max(below[1]);
            }
        }
        let root = |root: &f32| {
            let height = heights.get(*root as usize)?;
            Some((*root as u32, *height))
        };
        let step = |(at, node): (usize, &Node)| match node.feature {
            LEAF => Step {
                feature: 0,
                value: node.value,
                to: [at as u32; 2],
            },
            feature => Step {
                feature,
                value: node.value,
                to: [node.left, node.right],
            },
        };
        Some(Self {
            roots: roots.iter().map(root).collect::<Option<_>>()?,
            steps: all.iter().enumerate().map(step).collect(),
            base,
        })
    }

    /// The logit of being malicious of what was counted.
    pub fn logit(&self, counts: &Counts) -> f32 {
        let mut features = vec![0.0; FEATURES];
        counts.write(&mut features);
        let mut logit = [0.0];
        self.logits(&features, &mut logit);
        logit[0]
    }

    /// The logits of what was counted up to [`AT_ONCE`] times: `features` are [`FEATURES`] numbers for each. All go
    /// through a tree before any goes through the next, so that its nodes are read from memory once.
    fn logits(&self, features: &[f32], logits: &mut [f32]) {
        let (rows, _) = features.as_chunks::<FEATURES>();
        logits.fill(0.0);
        for (root, height) in &self.roots {
            let mut at = [*root as usize; AT_ONCE];
            for _ in 0..*height {
                for (at, row) in at.iter_mut().zip(rows) {
                    let step = &self.steps[*at];
                    let is_left = row[usize::from(step.feature)] < step.value;
                    *at = step.to[usize::from(!is_left)] as usize;
                }
            }
            for (logit, at) in logits.iter_mut().zip(at) {
                *logit += self.steps[at].value;
            }
        }
        for logit in logits {
            *logit += self.base;
        }
    }
}

/// What the trees make of a beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beginning {
    /// Where it ends, in bytes.
    pub end: u64,
    /// The logit of being malicious.
    pub logit: f32,
    /// Whether it is the whole of a file that is too short for any other.
    pub is_open: bool,
}

/// The worst beginning of `bytes`, of those of `shortest` bytes, a sixteenth more, and so on; of equals the
/// shortest. A file that is shorter is judged whole; an empty one not at all.
pub(super) fn worst_beginning(forest: &Forest, bytes: &[u8], shortest: usize) -> Option<Beginning> {
    let mut counts = Counts::default();
    let mut worst: Option<Beginning> = None;
    let mut features = vec![0.0; AT_ONCE * FEATURES];
    let (mut ends, mut logits) = (Vec::with_capacity(AT_ONCE), [0.0; AT_ONCE]);
    let (mut start, mut end) = (0, shortest);
    while end <= bytes.len() {
        ends.clear();
        for row in features.chunks_mut(FEATURES) {
            if end > bytes.len() {
                break;
            }
            counts.add(&bytes[start..end]);
            counts.write(row);
            ends.push(end);
            (start, end) = (end, end + (end / FINENESS).max(1));
        }
        let (features, logits) = (
            &features[..ends.len() * FEATURES],
            &mut logits[..ends.len()],
        );
        forest.logits(features, logits);
        for (end, logit) in ends.iter().zip(logits) {
            if worst.is_none_or(|worst| *logit > worst.logit) {
                worst = Some(Beginning {
                    end: *end as u64,
                    logit: *logit,
                    is_open: false,
                });
            }
        }
    }
    if worst.is_none() && !bytes.is_empty() {
        counts.add(bytes);
        worst = Some(Beginning {
            end: bytes.len() as u64,
            logit: forest.logit(&counts),
            is_open: true,
        });
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(bytes: &[u8]) -> Counts {
        let mut counts = Counts::default();
        counts.add(bytes);
        counts
    }

    #[test]
    fn counting_in_parts_is_counting_at_once_and_a_part_can_be_taken_out() {
        let bytes: Vec<u8> = (0..3_000_u32).map(|at| ((at * at) >> 3) as u8).collect();
        let whole = counts(&bytes);
        let mut parts = Counts::default();
        for part in bytes.chunks(7) {
            parts.add(part);
        }
        for feature in 0..FEATURES {
            assert_eq!(whole.feature(feature), parts.feature(feature), "{feature}");
        }
        let rest = whole.without(100, &counts(&bytes[100..200]));
        assert_eq!(rest.len, 2_900);
        assert_eq!(
            (rest.feature(PLACED + 99), rest.feature(PLACED + 100)),
            (whole.feature(PLACED + 99), ABSENT)
        );
        assert!((0..256).all(|byte| rest.bytes[byte] <= whole.bytes[byte]));
        assert_eq!(counts(b"ab").feature(PLACED + 2), ABSENT);
        assert_eq!(counts(b"aab").feature(usize::from(b'a')), 2.0 / 3.0);
    }

    #[test]
    fn trees_are_walked_and_add_up() {
        let nodes = [
            Node::question(usize::from(b'x'), 0.5, 1, 2),
            Node::leaf(-1.0),
            Node::leaf(2.0),
            Node::leaf(0.25),
        ];
        let numbers: Vec<f32> = nodes.iter().flat_map(|node| node.numbers()).collect();
        let forest = Forest::new(&numbers, &[0.0, 3.0], 0.5).unwrap();
        assert_eq!(forest.logit(&counts(b"xxx")), 2.75);
        assert_eq!(forest.logit(&counts(b"yyx")), -0.25);
        let back = Node::question(0, 0.5, 0, 0).numbers();
        assert_eq!(Forest::new(&back, &[0.0], 0.0), None, "it leads back");
        assert_eq!(Forest::new(&numbers, &[9.0], 0.0), None, "no such root");
    }

    #[test]
    fn the_worst_beginning_outlives_whatever_is_put_behind() {
        // The more x, the worse.
        let nodes = [
            Node::question(usize::from(b'x'), 0.5, 1, 2),
            Node::leaf(-1.0),
            Node::question(usize::from(b'x'), 0.75, 3, 4),
            Node::leaf(1.0),
            Node::leaf(2.0),
        ];
        let numbers: Vec<f32> = nodes.iter().flat_map(|node| node.numbers()).collect();
        let forest = Forest::new(&numbers, &[0.0], 0.0).unwrap();
        let file = [&[b'y'; 100][..], &[b'x'; 200]].concat();
        let worst = worst_beginning(&forest, &file, 64).unwrap();
        assert_eq!((worst.logit, worst.is_open), (1.0, false));
        assert!((200..=220).contains(&worst.end), "{}", worst.end);
        for len in [1, 5, 50, 5_000] {
            let longer = [&file[..], &vec![b'y'; len]].concat();
            assert_eq!(worst_beginning(&forest, &longer, 64), Some(worst));
        }
        let short = worst_beginning(&forest, b"xxx", 64).unwrap();
        assert_eq!((short.end, short.logit, short.is_open), (3, 2.0, true));
        assert_eq!(worst_beginning(&forest, b"", 64), None);
    }
}
