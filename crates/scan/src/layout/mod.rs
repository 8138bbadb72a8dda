//! What stands where in a file, by name: sections of programs, objects of PDF documents, streams of
//! compound files. For people who read an explanation; nothing is judged by it.
//!
//! Readers are tolerant: what the file says of itself is taken as far as it makes sense, and a place
//! nobody claims has no name. Names are a file's own words, so whoever prints them makes them legible.

mod elf;
mod pdf;
mod pe;

use std::ops::Range;

use crate::FileType;
use crate::unpack;

/// Most places kept of a file.
const PLACES_MAX: usize = 65_536;
/// Longest name that is kept, in letters.
const NAME_MAX: usize = 80;
/// Names that one answer joins.
const JOINED_MAX: usize = 3;

/// Named places of a file.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    places: Vec<(Range<u64>, String)>,
}

impl Layout {
    /// What is known of `bytes` as a file of type `kind`; nothing of most types.
    pub(crate) fn of(kind: FileType, bytes: &[u8]) -> Self {
        let mut layout = Self::default();
        match kind {
            FileType::Elf | FileType::ElfObject => elf::places(bytes, &mut layout),
            FileType::Pe => pe::places(bytes, &mut layout),
            FileType::Pdf => pdf::places(bytes, &mut layout),
            FileType::Ole | FileType::Msi => unpack::ole_places(bytes, &mut layout),
            _ => {}
        }
        layout
    }

    /// Names a place; an empty one, or one too many, is dropped.
    pub(crate) fn add(&mut self, start: u64, length: u64, name: &str) {
        let name: String = name.chars().take(NAME_MAX).collect();
        if let Some((last, of_last)) = self.places.last_mut()
            && (last.end, &*of_last) == (start, &name)
        {
            last.end = start.saturating_add(length);
            return;
        }
        if length == 0 || self.places.len() >= PLACES_MAX {
            return;
        }
        self.places
            .push((start..start.saturating_add(length), name));
    }

    /// Whether somebody claims the byte at `offset`.
    fn is_named(&self, offset: u64) -> bool {
        self.places.iter().any(|(range, _)| range.contains(&offset))
    }

    /// What stands in so many bytes from `offset` on: the names in the order of their places.
    pub(crate) fn name(&self, offset: u64, length: u64) -> Option<String> {
        let end = offset.saturating_add(length.max(1));
        let meets = |place: &&(Range<u64>, String)| place.0.start < end && place.0.end > offset;
        let mut found: Vec<_> = self.places.iter().filter(meets).collect();
        found.sort_by_key(|(range, _)| (range.start, range.end));
        let mut names: Vec<&str> = Vec::new();
        for (_, name) in found {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let more = names.len().saturating_sub(JOINED_MAX);
        names.truncate(JOINED_MAX);
        match (names.is_empty(), more) {
            (true, _) => None,
            (false, 0) => Some(names.join(", ")),
            (false, more) => Some(format!("{} and {more} more", names.join(", "))),
        }
    }
}

/// Letters up to the first zero.
fn text(field: &[u8]) -> String {
    let end = memchr::memchr(0, field).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

/// For the mutation loop and the fuzzer.
pub(crate) fn fuzz(bytes: &[u8]) {
    for kind in [FileType::Elf, FileType::Pe, FileType::Pdf, FileType::Ole] {
        let layout = Layout::of(kind, bytes);
        assert!(layout.places.len() <= PLACES_MAX);
        drop(layout.name(0, bytes.len() as u64));
    }
}

#[cfg(test)]
mod tests;
