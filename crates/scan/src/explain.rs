//! Why a judge says what it says, found out by asking it again about changed bytes.
//!
//! The smallest masking that turns a verdict around: which few bytes, overwritten with zeros, make the
//! judge milder. The ranges it names propose, and every proposal is tried out; then as much as possible
//! is put back. Greedy, so not always the smallest there is, but what is said holds.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{ByteRange, FileType, Judge, Judgement, Leaning};

/// How often a judge is asked for more ranges.
const ROUNDS_MAX: usize = 64;
/// Bytes judged in all tries together: what bounds the time.
const TRIED_BYTES_MAX: usize = 32 << 20;
/// Tries of even the smallest file.
const TRIES_MAX: usize = 500;
/// Ranges are made shorter in steps down to this.
const STEP_MIN: u64 = 16;
/// A longer range is shown from its beginning: to find where in it the weight lies would take too long.
const PEAK_BYTES_MAX: usize = 8 << 10;
/// Parts of a range that are tried, and the length of the shortest.
const PEAK_PARTS_MAX: usize = 16;
const PEAK_STEP: usize = 16;

/// Bytes without which a judgement would be milder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Masking {
    /// Offset and length of each range, apart from each other and in order.
    pub spans: Vec<(u64, u64)>,
    /// Which way the file leans with zeros there.
    pub leaning: Leaning,
    /// Its probability then.
    pub probability: f64,
}

impl Masking {
    /// How many bytes that are.
    pub fn bytes(&self) -> u64 {
        self.spans.iter().map(|(_, length)| length).sum()
    }
}

/// Asks a judge about one type of file.
pub(crate) struct Questions<'q> {
    pub(crate) judge: &'q dyn Judge,
    pub(crate) kind: FileType,
}

impl Questions<'_> {
    fn ask(&self, bytes: &[u8]) -> Option<Judgement> {
        self.judge.judge(self.kind, bytes)
    }

    /// Bytes of `bytes` without which they are judged milder than `leaning`; none for what is clean, or
    /// when the tries run out first or `is_over`.
    pub(crate) fn masking(
        &self,
        bytes: &[u8],
        leaning: Leaning,
        is_over: &dyn Fn() -> bool,
    ) -> Option<Masking> {
        if leaning == Leaning::Clean {
            return None;
        }
        let mut trial = Trial {
            questions: self,
            bytes,
            leaning,
            is_over,
            tries_left: (TRIED_BYTES_MAX / bytes.len().max(1)).min(TRIES_MAX),
        };
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let judged = trial.without(&ranges)?;
            if judged.leaning < leaning {
                break;
            }
            for range in &judged.ranges {
                add(
                    &mut ranges,
                    range.offset..range.offset.saturating_add(range.length),
                );
            }
        }
        if !trial.is_milder(&ranges) {
            return None;
        }
        trial.put_back(&mut ranges);
        trial.shorten(&mut ranges);
        let judged = self.ask(&masked(bytes, &ranges))?;
        Some(Masking {
            spans: ranges.iter().map(|r| (r.start, r.end - r.start)).collect(),
            leaning: judged.leaning,
            probability: judged.probability,
        })
    }

    /// Where in the file those bytes of a range begin without which it says least, judged alone.
    pub(crate) fn peak(&self, bytes: &[u8], range: &ByteRange) -> u64 {
        let start = usize::try_from(range.offset).unwrap_or(usize::MAX);
        let length = usize::try_from(range.length).unwrap_or(usize::MAX);
        let content = bytes.get(start..).unwrap_or_default();
        let content = content.get(..length).unwrap_or(content);
        if content.len() > PEAK_BYTES_MAX {
            return range.offset;
        }
        let step = content.len().div_ceil(PEAK_PARTS_MAX).max(PEAK_STEP);
        let mut best = (f64::INFINITY, 0);
        for at in (0..content.len()).step_by(step) {
            let mut without = content.to_vec();
            let end = (at + 2 * step).min(without.len());
            without[at..end].fill(0);
            let said = self.ask(&without).map_or(1.0, |judged| judged.probability);
            if said < best.0 {
                best = (said, at as u64);
            }
        }
        range.offset + best.1
    }
}

/// The bytes with zeros in these ranges.
fn masked(bytes: &[u8], ranges: &[Range<u64>]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for range in ranges {
        let end = (range.end as usize).min(bytes.len());
        if let Some(part) = bytes.get_mut(range.start as usize..end) {
            part.fill(0);
        }
    }
    bytes
}

struct Trial<'t> {
    questions: &'t Questions<'t>,
    bytes: &'t [u8],
    leaning: Leaning,
    is_over: &'t dyn Fn() -> bool,
    tries_left: usize,
}

impl Trial<'_> {
    /// What the file is judged as without these bytes; none when the tries are used up.
    fn without(&mut self, ranges: &[Range<u64>]) -> Option<Judgement> {
        if (self.is_over)() {
            return None;
        }
        self.tries_left = self.tries_left.checked_sub(1)?;
        self.questions.ask(&masked(self.bytes, ranges))
    }

    /// Whether the file is judged milder without these bytes; untried, it is not.
    fn is_milder(&mut self, ranges: &[Range<u64>]) -> bool {
        let judged = self.without(ranges);
        judged.is_some_and(|judged| judged.leaning < self.leaning)
    }

    /// Drops ranges that are not needed, the longest first.
    fn put_back(&mut self, ranges: &mut Vec<Range<u64>>) {
        let mut by_length = ranges.clone();
        by_length.sort_by_key(|range| (range.start as i64 - range.end as i64, range.start));
        for range in by_length {
            let mut fewer = ranges.clone();
            fewer.retain(|other| *other != range);
            if !fewer.is_empty() && self.is_milder(&fewer) {
                *ranges = fewer;
            }
        }
    }

    /// Takes off both ends of each range what is not needed there.
    fn shorten(&mut self, ranges: &mut [Range<u64>]) {
        for at in 0..ranges.len() {
            let mut step = (ranges[at].end - ranges[at].start) / 2;
            while step >= STEP_MIN {
                for is_front in [true, false] {
                    let old = ranges[at].clone();
                    if old.end - old.start <= step {
                        break;
                    }
                    if is_front {
                        ranges[at].start += step;
                    } else {
                        ranges[at].end -= step;
                    }
                    if !self.is_milder(ranges) {
                        ranges[at] = old;
                    }
                }
                step /= 2;
            }
        }
    }
}

/// Takes a range in and joins it with those it meets.
fn add(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    let (start, end) = (range.start, range.end);
    let (mut joined, apart): (Vec<_>, Vec<_>) = ranges
        .drain(..)
        .partition(|other| other.start <= end && start <= other.end);
    joined.push(range);
    let start = joined.iter().map(|r| r.start).min().unwrap_or(start);
    let end = joined.iter().map(|r| r.end).max().unwrap_or(end);
    *ranges = apart;
    ranges.push(start..end);
    ranges.sort_by_key(|range| range.start);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileType, Networks};

    /// So many scripts with words of web shells, which do nothing here, each with so many harmless lines
    /// behind it.
    fn script(copies: usize, lines: usize) -> Vec<u8> {
        let mut text = String::from("<?php\n@error_reporting(0);@set_time_limit(0);\n");
        for copy in 0..copies {
            for line in 0..20 {
                let word = char::from(b'A' + line);
                let more = format!("$v{line}=str_rot13('{word}wcH{word}wcH{word}wcH');\n");
                text.push_str(&more);
            }
            let more = format!(
                "$x='eJxLTc7IV1AvycgsVkjJTy1WyMsHsvPSFRJLFBJzctStUymUBwBocCGR{copy}';\n\
                 if(isset($_POST['cmd'])){{echo '<pre>'; echo 'no'; echo '</pre>';}}\n\
                 eval(gzuncompress(base64_decode($x)));\n"
            );
            text.push_str(&more);
        }
        for line in 0..lines {
            let more = format!("// The report of the year, page {line}, as it was printed.\n");
            text.push_str(&more);
        }
        text.into_bytes()
    }

    /// Asks without a limit of time.
    fn masking(networks: &Networks, kind: FileType, bytes: &[u8]) -> Option<Masking> {
        let leaning = networks.judge(kind, bytes)?.leaning;
        let questions = Questions {
            judge: networks,
            kind,
        };
        questions.masking(bytes, leaning, &|| false)
    }

    #[test]
    fn overwriting_what_is_named_really_turns_the_verdict_around() {
        let networks = Networks::shipped().unwrap();
        let mut found = 0;
        for (copies, words) in [(1, 0), (1, 10), (3, 0), (8, 20)] {
            let bytes = script(copies, words);
            let before = networks.judge(FileType::Php, &bytes).unwrap();
            let found_masking = masking(&networks, FileType::Php, &bytes);
            assert_eq!(found_masking.is_some(), before.leaning != Leaning::Clean);
            let Some(masking) = found_masking else {
                continue;
            };
            found += 1;
            assert!(!masking.spans.is_empty() && masking.bytes() < bytes.len() as u64);
            let ends = masking.spans.iter().map(|(start, length)| start + length);
            let next = masking.spans.iter().skip(1).map(|(start, _)| *start);
            assert!(
                ends.zip(next).all(|(end, start)| end < start),
                "{masking:?}"
            );
            let mut masked = bytes.clone();
            for (start, length) in &masking.spans {
                masked[*start as usize..][..*length as usize].fill(0);
            }
            let after = networks.judge(FileType::Php, &masked).unwrap();
            assert!(after.leaning < before.leaning);
            assert_eq!(
                (after.leaning, after.probability),
                (masking.leaning, masking.probability)
            );
        }
        assert!(found >= 2, "scripts of this kind are found: {found} of 4");
    }

    #[test]
    fn what_is_clean_has_no_masking_and_what_is_too_long_is_not_tried() {
        let networks = Networks::shipped().unwrap();
        assert_eq!(masking(&networks, FileType::Php, b"<?php\n"), None);
        assert_eq!(masking(&networks, FileType::Perl, b"print 1;"), None);
        let mut long = script(8, 0);
        long.resize(TRIED_BYTES_MAX + 1, b' ');
        assert_eq!(masking(&networks, FileType::Php, &long), None);
    }

    #[test]
    fn ranges_that_meet_become_one() {
        let mut ranges = Vec::new();
        for range in [10..20, 30..40, 0..5, 20..30, 50..60] {
            add(&mut ranges, range);
        }
        assert_eq!(ranges, [0..5, 10..40, 50..60]);
    }
}
