//! One JSON value that borrows what it can from its text: what log lines are read with. Order of
//! members is kept, duplicate members are kept (the first one counts), nesting is bounded by
//! `serde_json`, and a value never holds more than its text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json<'a> {
    /// `null`, and what is not there.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Json<'a>>),
    /// An object.
    Map(Vec<(Cow<'a, str>, Json<'a>)>),
}

static NULL: Json<'static> = Json::Null;

impl<'a> Json<'a> {
    /// Reads one value; `None` when the text is not JSON.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The member `key` of an object, else null.
    pub fn get(&self, key: &str) -> &Json<'a> {
        match self {
            Self::Map(members) => members
                .iter()
                .find(|(name, _)| name == key)
                .map_or(&NULL, |(_, value)| value),
            _ => &NULL,
        }
    }

    /// The value at a path of members.
    pub fn at(&self, path: &[&str]) -> &Json<'a> {
        path.iter().fold(self, |value, key| value.get(key))
    }

    /// The string; empty for anything else.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// The value as text: strings as they are, numbers and booleans as they are written.
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Int(n) => Cow::Owned(n.to_string()),
            Self::Float(n) => Cow::Owned(n.to_string()),
            Self::Bool(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
            Self::Null | Self::List(_) | Self::Map(_) => Cow::Borrowed(""),
        }
    }

    /// The number, not negative, also when written as a string.
    pub fn u64(&self) -> Option<u64> {
        match self {
            Self::Int(n) => u64::try_from(*n).ok(),
            #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
            Self::Float(n) if (0.0..1.8e19).contains(n) => Some(*n as u64),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The number, also when written as a string.
    pub fn f64(&self) -> Option<f64> {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "counts beyond 2^53 do not occur"
            )]
            Self::Int(n) => Some(*n as f64),
            Self::Float(n) => Some(*n),
            Self::Text(text) => text.parse().ok().filter(|n: &f64| n.is_finite()),
            _ => None,
        }
    }

    /// The boolean.
    pub fn bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The elements of an array; empty for anything else.
    pub fn list(&self) -> &[Json<'a>] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }

    /// The members of an object; empty for anything else.
    pub fn members(&self) -> &[(Cow<'a, str>, Json<'a>)] {
        match self {
            Self::Map(members) => members,
            _ => &[],
        }
    }

    /// Whether it is null or was not there.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Self::Value, E> {
        Ok(Json::Int(n))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "beyond i64 only the size matters"
        )]
        Ok(i64::try_from(n).map_or(Json::Float(n as f64), Json::Int))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Self::Value, E> {
        Ok(Json::Float(n))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(24);
        while let Some((Key(key), value)) = map.next_entry()? {
            members.push((key, value));
        }
        Ok(Json::Map(members))
    }
}

/// A member's name, borrowed when it has no escapes (serde's own `Cow` always copies).
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(JsonVisitor)? {
            Json::Text(text) => Ok(Self(text)),
            _ => Err(serde::de::Error::custom("a member's name is not a string")),
        }
    }
}

/// Reads hostile bytes and asks every value for everything.
pub fn fuzz(bytes: &[u8]) {
    fn ask(json: &Json<'_>) {
        let _asked = (
            json.to_text(),
            json.u64(),
            json.f64(),
            json.bool(),
            json.get("a").is_null(),
        );
        json.list().iter().for_each(ask);
        json.members().iter().for_each(|(_, value)| ask(value));
    }
    if let Some(json) = Json::parse(bytes) {
        ask(&json);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrows_and_reads_paths() {
        let json = Json::parse(br#"{"a":{"b":[1,-2.5,"x\ny",true,null]},"n":"7"}"#).unwrap();
        let list = json.at(&["a", "b"]).list();
        assert_eq!(list[0].u64(), Some(1));
        assert_eq!(list[1].f64(), Some(-2.5));
        assert_eq!(list[1].u64(), None);
        assert_eq!(list[2].text(), "x\ny");
        assert_eq!(list[3].bool(), Some(true));
        assert_eq!(json.get("n").u64(), Some(7));
        assert!(json.at(&["a", "missing", "deeper"]).is_null());
    }

    #[test]
    fn broken_or_deep_text_is_refused() {
        assert_eq!(Json::parse(b"{\"a\":"), None);
        assert_eq!(Json::parse("[".repeat(100_000).as_bytes()), None);
        assert_eq!(Json::parse(b"\"\xff\""), None);
    }
}
