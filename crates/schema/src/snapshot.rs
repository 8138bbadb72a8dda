//! State as named, versioned sections of bytes. A unit writes its section, the store keeps opaque
//! bytes with a checksum each, and a section that is missing, corrupt or of another version costs
//! only that unit its memory.
//!
//! The values are little-endian and length-prefixed; sequences carry their count. A reader never
//! allocates more than the bytes it was given can hold.

use std::collections::BTreeMap;

/// Why a section could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The section ends too early.
    #[error("section {section} ends inside {reading}")]
    Truncated {
        /// Which section.
        section: String,
        /// What was being read.
        reading: &'static str,
    },
    /// A value is not possible.
    #[error("section {section} has an impossible {reading}")]
    Invalid {
        /// Which section.
        section: String,
        /// What was being read.
        reading: &'static str,
    },
    /// Other sections mean nothing without this one, which is lost or older than they are.
    #[error(
        "{orphans} sections go by the numbers that section {section} gives to devices, which \
         is lost or older than they are"
    )]
    Orphaned {
        /// The section they need.
        section: String,
        /// How many they are.
        orphans: usize,
    },
    /// Written by another version of the unit.
    #[error("section {section} has version {found}, this build reads {wanted}")]
    Version {
        /// Which section.
        section: String,
        /// The version in the file.
        found: u32,
        /// The version this build reads.
        wanted: u32,
    },
}

/// Collects the sections of one snapshot.
#[derive(Debug, Default)]
pub struct SnapshotWriter {
    sections: BTreeMap<String, Vec<u8>>,
    current: String,
}

impl SnapshotWriter {
    /// An empty snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins (or goes on with) the section `name`; `version` is the unit's own format version.
    pub fn section(&mut self, name: &str, version: u32) -> &mut Self {
        name.clone_into(&mut self.current);
        self.sections
            .insert(name.to_owned(), version.to_le_bytes().to_vec());
        self
    }

    fn out(&mut self) -> &mut Vec<u8> {
        self.sections.entry(self.current.clone()).or_default()
    }

    /// Appends an integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.out().extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a signed integer.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.out().extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a float, bit for bit.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.out().extend_from_slice(&value.to_bits().to_le_bytes());
        self
    }

    /// Appends bytes with their length.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u64(value.len() as u64);
        self.out().extend_from_slice(value);
        self
    }

    /// Appends text with its length.
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// The sections by name.
    pub fn finish(self) -> BTreeMap<String, Vec<u8>> {
        self.sections
    }
}

/// Reads one section.
#[derive(Debug)]
pub struct SnapshotReader<'a> {
    section: &'a str,
    rest: &'a [u8],
}

impl<'a> SnapshotReader<'a> {
    /// Opens the section `name` whose bytes are `data`, requiring format `version`.
    ///
    /// # Errors
    /// When the section is of another version or has none.
    pub fn open(name: &'a str, data: &'a [u8], version: u32) -> Result<Self, SnapshotError> {
        let truncated = || SnapshotError::Truncated {
            section: name.to_owned(),
            reading: "version",
        };
        let (head, rest) = data.split_first_chunk::<4>().ok_or_else(truncated)?;
        let found = u32::from_le_bytes(*head);
        if found != version {
            let section = name.to_owned();
            return Err(SnapshotError::Version {
                section,
                found,
                wanted: version,
            });
        }
        Ok(Self {
            section: name,
            rest,
        })
    }

    fn word(&mut self, reading: &'static str) -> Result<[u8; 8], SnapshotError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<8>() else {
            return Err(SnapshotError::Truncated {
                section: self.section.to_owned(),
                reading,
            });
        };
        self.rest = rest;
        Ok(*head)
    }

    /// Reads an integer.
    pub fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.word("integer").map(u64::from_le_bytes)
    }

    /// Reads a signed integer.
    pub fn i64(&mut self) -> Result<i64, SnapshotError> {
        self.word("integer").map(i64::from_le_bytes)
    }

    /// Reads a float.
    pub fn f64(&mut self) -> Result<f64, SnapshotError> {
        self.word("float")
            .map(|bytes| f64::from_bits(u64::from_le_bytes(bytes)))
    }

    /// Reads a count of items that take at least `item_bytes_min` bytes each; refuses a count that
    /// the rest of the section cannot hold, so a corrupt count never allocates.
    pub fn count(&mut self, item_bytes_min: usize) -> Result<usize, SnapshotError> {
        let count = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        if count.saturating_mul(item_bytes_min.max(1)) > self.rest.len() {
            let section = self.section.to_owned();
            return Err(SnapshotError::Invalid {
                section,
                reading: "count",
            });
        }
        Ok(count)
    }

    /// Reads bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], SnapshotError> {
        let len = self.count(1)?;
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(head)
    }

    /// Reads text.
    pub fn str(&mut self) -> Result<&'a str, SnapshotError> {
        let section = self.section.to_owned();
        std::str::from_utf8(self.bytes()?).map_err(|_| SnapshotError::Invalid {
            section,
            reading: "text",
        })
    }

    /// Whether everything has been read.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mut writer = SnapshotWriter::new();
        writer.section("unit", 3).u64(7).f64(-0.5).str("name");
        let sections = writer.finish();
        let mut reader = SnapshotReader::open("unit", &sections["unit"], 3).unwrap();
        assert_eq!(reader.u64().unwrap(), 7);
        assert_eq!(reader.f64().unwrap(), -0.5);
        assert_eq!(reader.str().unwrap(), "name");
        assert!(reader.is_at_end());
    }

    #[test]
    fn a_lying_count_is_refused() {
        let mut writer = SnapshotWriter::new();
        writer.section("unit", 1).u64(u64::MAX);
        let sections = writer.finish();
        let mut reader = SnapshotReader::open("unit", &sections["unit"], 1).unwrap();
        assert!(reader.bytes().is_err());
        assert!(SnapshotReader::open("unit", &sections["unit"], 2).is_err());
        assert!(SnapshotReader::open("unit", &[1], 1).is_err());
    }
}
