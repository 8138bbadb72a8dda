//! Windows over a file: on each level every two neighbouring pieces, in one pass and constant memory.

use super::cuts::{Cutter, LEVELS};

/// What is kept of pieces; neighbours add up.
pub trait Bag: Default {
    /// Adds another's content.
    fn add(&mut self, other: &Self);
}

/// A run of neighbouring pieces of the lowest level.
#[derive(Clone, Debug, Default)]
pub struct Stretch<B> {
    /// What is kept of it.
    pub bag: B,
    /// Where it begins in the file, in bytes.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// Pieces of the lowest level before it.
    pub first: u32,
    /// Pieces of the lowest level in it.
    pub count: u32,
    /// Whether its beginning or its end is the file's own and no cut: added bytes would move it.
    pub open: bool,
}

impl<B: Bag> Stretch<B> {
    fn take_in(&mut self, piece: &Self) {
        if self.count == 0 {
            (self.start, self.first) = (piece.start, piece.first);
        }
        self.end = piece.end;
        self.count += 1;
        self.open |= piece.open;
        self.bag.add(&piece.bag);
    }

    fn join(mut self, next: &Self) -> Self {
        if next.count > 0 {
            self.end = next.end;
            self.count += next.count;
            self.open |= next.open;
            self.bag.add(&next.bag);
        }
        self
    }
}

/// One level: the piece that is growing and the one before it.
#[derive(Debug, Default)]
struct Level<B> {
    before: Option<Stretch<B>>,
    growing: Stretch<B>,
    windows: u64,
}

/// Reads all of `bytes` in pieces of `2^bits` bytes on average: `fill` makes the bag of each, `window`
/// is called with the level and content of every window. An empty file has none.
pub fn for_each_window<B: Bag + Clone>(
    bytes: &[u8],
    bits: u32,
    mut fill: impl FnMut(&[u8]) -> B,
    mut window: impl FnMut(usize, &Stretch<B>),
) {
    let mut cutter = Cutter::new(bits);
    let mut levels: [Level<B>; LEVELS] = Default::default();
    let (mut start, mut pieces) = (0, 0);
    while start < bytes.len() {
        let rest = &bytes[start..];
        let (len, cuts) = cutter.next_cut(rest).unwrap_or((rest.len(), 0));
        let piece = Stretch {
            bag: fill(&rest[..len]),
            start: start as u64,
            end: (start + len) as u64,
            first: pieces,
            count: 1,
            open: start == 0 || cuts == 0,
        };
        for (number, level) in levels.iter_mut().enumerate() {
            level.growing.take_in(&piece);
            if number < cuts {
                let grown = std::mem::take(&mut level.growing);
                if let Some(before) = level.before.replace(grown.clone()) {
                    level.windows += 1;
                    window(number, &before.join(&grown));
                }
            }
        }
        start += len;
        pieces += 1;
    }
    for (number, level) in levels.into_iter().enumerate() {
        if level.growing.count > 0 || (level.windows == 0 && level.before.is_some()) {
            let last = level.before.unwrap_or_default();
            let mut last = if last.count == 0 {
                level.growing
            } else {
                last.join(&level.growing)
            };
            last.open = true;
            window(number, &last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Text(Vec<u8>);

    impl Bag for Text {
        fn add(&mut self, other: &Self) {
            self.0.extend(&other.0);
        }
    }

    fn windows(bytes: &[u8]) -> Vec<(usize, Stretch<Text>)> {
        let mut found = Vec::new();
        for_each_window(
            bytes,
            4,
            |piece| Text(piece.to_vec()),
            |level, stretch| found.push((level, stretch.clone())),
        );
        found
    }

    fn noise(len: usize) -> Vec<u8> {
        (0..len as u64)
            .map(|at| (at.wrapping_mul(at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
            .collect()
    }

    #[test]
    fn windows_cover_the_file_and_hold_its_bytes() {
        let bytes = noise(10_000);
        let found = windows(&bytes);
        for level in 0..LEVELS {
            let of_level: Vec<_> = found.iter().filter(|window| window.0 == level).collect();
            let mut covered = 0;
            for (_, window) in &of_level {
                let (start, end) = (window.start as usize, window.end as usize);
                assert!(start <= covered && end >= covered);
                assert_eq!(window.bag.0, bytes[start..end]);
                covered = end;
            }
            assert_eq!(covered, bytes.len());
            assert!(of_level[0].1.open && of_level.last().unwrap().1.open);
        }
        assert!(windows(b"").is_empty());
        let short = windows(b"short");
        assert_eq!(short.len(), LEVELS);
        assert!(
            short
                .iter()
                .all(|window| window.1.open && window.1.bag.0 == b"short")
        );
    }

    #[test]
    fn closed_windows_outlive_whatever_is_put_before_and_after() {
        let bytes = noise(10_000);
        let mut shifted = vec![b'x'; 777];
        shifted.extend(&bytes);
        shifted.extend([b'y'; 555]);
        let after: Vec<_> = windows(&shifted)
            .into_iter()
            .map(|(level, window)| (level, window.bag.0))
            .collect();
        let mut closed = 0;
        for (level, window) in windows(&bytes) {
            if !window.open {
                closed += 1;
                assert!(after.contains(&(level, window.bag.0)));
            }
        }
        assert!(closed > 500, "{closed}");
    }
}
