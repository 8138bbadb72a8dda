//! Which inputs were imported before, so that the same file is learned once.

use std::collections::BTreeSet;

use thymus_schema::{InputId, SnapshotError, SnapshotReader, SnapshotWriter};

/// Digests of all inputs that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imports {
    known: BTreeSet<InputId>,
    not_kept: u64,
}

impl Imports {
    /// The section they are kept in.
    pub const SECTION: &'static str = "imports";
    /// Most digests kept (8 bytes each); beyond, an input may be learned twice, and it is counted.
    pub const KNOWN_MAX: usize = 4_000_000;
    const VERSION: u32 = 1;

    /// The digests.
    pub fn known(&self) -> &BTreeSet<InputId> {
        &self.known
    }

    /// Remembers an input.
    pub fn add(&mut self, id: InputId) {
        if self.known.len() < Self::KNOWN_MAX || self.known.contains(&id) {
            self.known.insert(id);
        } else {
            self.not_kept += 1;
        }
    }

    /// Inputs that found no room.
    pub fn not_kept(&self) -> u64 {
        self.not_kept
    }

    /// Writes them as a section.
    pub fn snapshot(&self, out: &mut SnapshotWriter) {
        out.section(Self::SECTION, Self::VERSION);
        out.u64(self.not_kept).u64(self.known.len() as u64);
        for id in &self.known {
            out.u64(id.0);
        }
    }

    /// Reads them from their section.
    ///
    /// # Errors
    /// When the section is damaged or of another version.
    pub fn restore(data: &[u8]) -> Result<Self, SnapshotError> {
        let mut from = SnapshotReader::open(Self::SECTION, data, Self::VERSION)?;
        let not_kept = from.u64()?;
        let count = from.count(8)?;
        let mut known = BTreeSet::new();
        for _ in 0..count {
            known.insert(InputId(from.u64()?));
        }
        Ok(Self { known, not_kept })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mut imports = Imports::default();
        imports.add(InputId(7));
        imports.add(InputId(u64::MAX));
        let mut writer = SnapshotWriter::new();
        imports.snapshot(&mut writer);
        let sections = writer.finish();
        assert_eq!(
            Imports::restore(&sections[Imports::SECTION]).unwrap(),
            imports
        );
        assert!(Imports::restore(&sections[Imports::SECTION][..15]).is_err());
    }
}
