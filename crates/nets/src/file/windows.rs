//! Windows over a file, in one pass and constant memory: on each level every two neighbouring pieces.

use super::cuts::{Cutter, LEVELS};

/// What is kept of pieces; neighbours add up.
pub trait Bag: Default {
    /// Adds another's content.
    fn add(&mut self, other: &Self);
}

/// What keeps nothing.
impl Bag for () {
    fn add(&mut self, (): &Self) {}
}

/// A run of neighbouring pieces of the lowest level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Whether it begins with the file: bytes put before the file would change it.
    pub begins: bool,
    /// Whether it ends with the file and not at a cut: bytes put behind the file would change it.
    pub ends: bool,
}

/// What reads a file piece by piece.
pub trait Reader {
    /// What it keeps of pieces.
    type Bag: Bag + Clone;

    /// Pieces that are taken in at once.
    fn batch(&self) -> usize {
        1
    }

    /// Takes in the next pieces; gives as many bags.
    fn pieces(&mut self, pieces: &[&[u8]], bags: &mut Vec<Self::Bag>);

    /// Takes in a window of a level.
    fn window(&mut self, level: usize, stretch: &Stretch<Self::Bag>);
}

impl<B: Bag> Stretch<B> {
    fn take_in(&mut self, piece: &Self) {
        if self.count == 0 {
            (self.start, self.first) = (piece.start, piece.first);
        }
        self.end = piece.end;
        self.count += 1;
        self.begins |= piece.begins;
        self.ends |= piece.ends;
        self.bag.add(&piece.bag);
    }

    fn join(mut self, next: &Self) -> Self {
        if next.count > 0 {
            self.end = next.end;
            self.count += next.count;
            self.begins |= next.begins;
            self.ends |= next.ends;
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

/// Reads all of `bytes` in pieces of `2^bits` bytes on average. An empty file has no windows.
pub fn for_each_window<R: Reader>(bytes: &[u8], bits: u32, reader: &mut R) {
    let mut cutter = Cutter::new(bits);
    let mut levels: [Level<R::Bag>; LEVELS] = Default::default();
    let (mut start, mut count) = (0, 0);
    let (mut pieces, mut cuts, mut bags) = (Vec::new(), Vec::new(), Vec::new());
    while start < bytes.len() {
        let first = start;
        while pieces.len() < reader.batch() && start < bytes.len() {
            let rest = &bytes[start..];
            let (len, levels) = cutter.next_cut(rest).unwrap_or((rest.len(), 0));
            pieces.push(&rest[..len]);
            cuts.push(levels);
            start += len;
        }
        reader.pieces(&pieces, &mut bags);
        let mut at = first;
        for ((piece, cuts), bag) in pieces.drain(..).zip(cuts.drain(..)).zip(bags.drain(..)) {
            let end = at + piece.len();
            let piece = Stretch {
                bag,
                start: at as u64,
                end: end as u64,
                first: count,
                count: 1,
                begins: at == 0,
                ends: cuts == 0,
            };
            take_in(&mut levels, &piece, cuts, reader);
            (at, count) = (end, count + 1);
        }
    }
    for (number, level) in levels.into_iter().enumerate() {
        if level.growing.count > 0 || (level.windows == 0 && level.before.is_some()) {
            let last = level.before.unwrap_or_default();
            let mut last = if last.count == 0 {
                level.growing
            } else {
                last.join(&level.growing)
            };
            last.ends = true;
            reader.window(number, &last);
        }
    }
}

/// Takes in a piece that ends with a cut on so many levels.
fn take_in<R: Reader>(
    levels: &mut [Level<R::Bag>; LEVELS],
    piece: &Stretch<R::Bag>,
    cuts: usize,
    reader: &mut R,
) {
    for (number, level) in levels.iter_mut().enumerate() {
        level.growing.take_in(piece);
        if number < cuts {
            let grown = std::mem::take(&mut level.growing);
            if let Some(before) = level.before.replace(grown.clone()) {
                level.windows += 1;
                reader.window(number, &before.join(&grown));
            }
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

    struct Found {
        batch: usize,
        windows: Vec<(usize, Stretch<Text>)>,
    }

    impl Reader for Found {
        type Bag = Text;

        fn batch(&self) -> usize {
            self.batch
        }

        fn pieces(&mut self, pieces: &[&[u8]], bags: &mut Vec<Text>) {
            bags.extend(pieces.iter().map(|piece| Text(piece.to_vec())));
        }

        fn window(&mut self, level: usize, stretch: &Stretch<Text>) {
            self.windows.push((level, stretch.clone()));
        }
    }

    fn windows_in_batches(bytes: &[u8], batch: usize) -> Vec<(usize, Stretch<Text>)> {
        let windows = Vec::new();
        let mut found = Found { batch, windows };
        for_each_window(bytes, 4, &mut found);
        found.windows
    }

    fn windows(bytes: &[u8]) -> Vec<(usize, Stretch<Text>)> {
        windows_in_batches(bytes, 1)
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
            assert!(of_level[0].1.begins && of_level.last().unwrap().1.ends);
        }
        assert!(windows(b"").is_empty());
        let short = windows(b"short");
        assert_eq!(short.len(), LEVELS);
        assert!(
            short
                .iter()
                .all(|(_, window)| { window.begins && window.ends && window.bag.0 == b"short" })
        );
    }

    #[test]
    fn batches_change_nothing() {
        let bytes = noise(10_000);
        for batch in [2, 7, 1_000, 100_000] {
            assert_eq!(windows_in_batches(&bytes, batch), windows(&bytes));
        }
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
            if !window.begins && !window.ends {
                closed += 1;
                assert!(after.contains(&(level, window.bag.0)));
            }
        }
        assert!(closed > 500, "{closed}");
    }
}
