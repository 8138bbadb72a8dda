//! How a record is written. A format is one file with a pure function and one line in [`FORMATS`]: the same record
//! gives the same bytes, on any machine and on any day.

mod cef;
mod ecs;
mod json;
mod navigator;
mod ocsf;
mod stix;
pub mod syslog;

use crate::record::{Kind, Record};

/// All formats, by id.
pub static FORMATS: &[Format] = &[
    cef::FORMAT,
    ecs::FORMAT,
    json::FORMAT,
    navigator::FORMAT,
    ocsf::FORMAT,
    stix::FORMAT,
    syslog::FORMAT,
];

/// What most formats have something for.
const EVERYTHING: &[Kind] = &[Kind::Incident, Kind::Alert, Kind::Decision];

/// One way to write.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Its name in options.
    pub id: &'static str,
    /// What it is, with the version of its schema.
    pub about: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// What it has something for.
    pub kinds: &'static [Kind],
    /// Its function.
    pub shape: Shape,
}

/// What a format makes.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Each record is one line without its end.
    Line(fn(&Record) -> Result<String, FormatError>),
    /// What it has something for becomes one document.
    Document(fn(&[&Record]) -> Result<String, FormatError>),
}

/// Why a record cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The format has nothing for it.
    #[error("{format} has nothing for {kind}s")]
    Nothing {
        /// Which format.
        format: &'static str,
        /// What it has nothing for.
        kind: &'static str,
    },
    /// A field is not of the type that its name stands for.
    #[error("{kind} {id} is not what it should be")]
    Shape {
        /// What it is about.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Format {
    /// The format with this id.
    pub fn by_id(id: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.id == id)
    }

    /// Whether it has something for this kind.
    pub fn takes(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// One record by itself.
    ///
    /// # Errors
    /// When the format has nothing for it, or a field is not of the type that its name stands for.
    pub fn one(&self, record: &Record) -> Result<String, FormatError> {
        if !self.takes(record.kind) {
            return Err(FormatError::Nothing {
                format: self.id,
                kind: record.kind.as_str(),
            });
        }
        match self.shape {
            Shape::Line(line) => line(record),
            Shape::Document(document) => document(&[record]),
        }
    }

    /// One record in at most `bytes_max`: with less in it where it is longer, and nothing when even that is.
    ///
    /// # Errors
    /// As [`Self::one`].
    pub fn within(&self, record: &Record, bytes_max: usize) -> Result<Option<String>, FormatError> {
        let mut text = self.one(record)?;
        for step in 1..=Record::STEPS {
            if text.len() <= bytes_max {
                break;
            }
            text = self.one(&record.smaller(step))?;
        }
        Ok((text.len() <= bytes_max).then_some(text))
    }

    /// Several records as a file: lines with their ends, or one document.
    ///
    /// # Errors
    /// As [`Self::one`].
    pub fn file(&self, records: &[&Record]) -> Result<String, FormatError> {
        match self.shape {
            Shape::Line(line) => {
                let mut out = String::new();
                for record in records {
                    out.push_str(&line(record)?);
                    out.push('\n');
                }
                Ok(out)
            }
            Shape::Document(document) => {
                let taken = records.iter().filter(|record| self.takes(record.kind));
                let taken: Vec<&Record> = taken.copied().collect();
                Ok(document(&taken)? + "\n")
            }
        }
    }
}

/// The body of a record as a type.
fn read<T: serde::de::DeserializeOwned>(record: &Record) -> Result<T, FormatError> {
    serde_json::from_value(record.body.clone()).map_err(|source| FormatError::Shape {
        kind: record.kind.as_str(),
        id: record.id.clone(),
        source,
    })
}

/// Who writes.
const PRODUCT: &str = "Thymus";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of ATT&CK whose techniques are in the schema.
const ATTACK_VERSION: &str = "17";

#[cfg(test)]
mod tests;
