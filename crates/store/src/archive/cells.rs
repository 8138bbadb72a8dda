//! Values of one column in memory, in the form in which Parquet takes and gives them: the values that
//! are there, and for each row whether it has one.

use bytes::Bytes;
use parquet::data_type::ByteArray;

/// Values without the gaps.
#[derive(Debug)]
pub(crate) enum Values {
    /// Text.
    Text(Vec<ByteArray>),
    /// Whole numbers, truth values and times.
    Int(Vec<i64>),
    /// Numbers.
    Real(Vec<f64>),
}

/// Some rows of one column.
#[derive(Debug)]
pub(crate) struct Batch {
    /// 1 for a row that has a value, else 0.
    pub(crate) levels: Vec<i16>,
    /// The values of the rows that have one.
    pub(crate) values: Values,
}

/// A column that grows row by row.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    levels: Vec<i16>,
    ints: Vec<i64>,
    reals: Vec<f64>,
    text: Vec<u8>,
    ends: Vec<usize>,
    kept: Kept,
}

/// What a column turned out to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kept {
    #[default]
    Text,
    Int,
    Real,
}

impl Cells {
    pub(crate) fn push_text(&mut self, value: Option<&str>) {
        self.levels.push(i16::from(value.is_some()));
        if let Some(value) = value {
            self.text.extend_from_slice(value.as_bytes());
            self.ends.push(self.text.len());
        }
    }

    pub(crate) fn push_int(&mut self, value: Option<i64>) {
        self.kept = Kept::Int;
        self.levels.push(i16::from(value.is_some()));
        self.ints.extend(value);
    }

    pub(crate) fn push_real(&mut self, value: Option<f64>) {
        self.kept = Kept::Real;
        self.levels.push(i16::from(value.is_some()));
        self.reals.extend(value);
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> usize {
        self.levels.len()
    }

    /// Everything pushed, as one batch. A copy: a part that had no room is written again.
    pub(crate) fn batch(&self) -> Batch {
        let values = match self.kept {
            Kept::Int => Values::Int(self.ints.clone()),
            Kept::Real => Values::Real(self.reals.clone()),
            Kept::Text => {
                let bytes = Bytes::copy_from_slice(&self.text);
                let mut start = 0;
                let slice = |end: &usize| {
                    let text = bytes.slice(start..*end);
                    start = *end;
                    ByteArray::from(text)
                };
                Values::Text(self.ends.iter().map(slice).collect())
            }
        };
        Batch {
            levels: self.levels.clone(),
            values,
        }
    }
}
