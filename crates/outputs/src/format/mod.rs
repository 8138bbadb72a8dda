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

/// Formats that have something for decisions.
const DECISIONS: [&str; 2] = [json::FORMAT.id, syslog::FORMAT.id];

/// One way to write.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Its name in options.
    pub id: &'static str,
    /// What it is, with the version of its schema.
    pub about: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its function.
    pub shape: Shape,
}

/// What a format makes.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Each record is one line without its end.
    Line(fn(&Record) -> Result<String, FormatError>),
    /// Incidents become one document; alerts have none of their own.
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
        match self.shape {
            Shape::Line(_) => kind != Kind::Decision || DECISIONS.contains(&self.id),
            Shape::Document(_) => kind == Kind::Incident,
        }
    }

    /// One record by itself.
    ///
    /// # Errors
    /// When a field is not of the type that its name stands for.
    pub fn one(&self, record: &Record) -> Result<String, FormatError> {
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
                let incidents: Vec<&Record> = records
                    .iter()
                    .filter(|record| record.kind == Kind::Incident)
                    .copied()
                    .collect();
                Ok(document(&incidents)? + "\n")
            }
        }
    }
}

/// A record that a format has nothing for.
fn nothing(format: &'static str, record: &Record) -> FormatError {
    FormatError::Nothing {
        format,
        kind: record.kind.as_str(),
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
