//! JSON lines: the object as `thymus replay --json` has it, with what kind it is and its id as a message.

use serde_json::{Value, json};

use super::{Format, FormatError, Shape};
use crate::escape;
use crate::record::Record;

pub(super) const FORMAT: Format = Format {
    id: "json",
    about: "JSON lines: the objects of thymus replay --json",
    content_type: "application/json",
    kinds: super::EVERYTHING,
    shape: Shape::Line(line),
};

#[expect(clippy::unnecessary_wraps, reason = "the shape of all formats")]
fn line(record: &Record) -> Result<String, FormatError> {
    let mut object = record.body.clone();
    if let Value::Object(fields) = &mut object {
        fields.insert("kind".to_owned(), json!(record.kind.as_str()));
        fields.insert("message_id".to_owned(), json!(record.id));
        fields.insert("is_update".to_owned(), json!(record.is_update));
    }
    Ok(escape::json(&object))
}
