//! The pseudonymised view: addresses, hardware addresses, device and user names of the local networks are
//! replaced in everything that goes out, in values and in running text. The same name always gets the same
//! pseudonym, by a key of the site; what stands behind it is told only to an admin who gives a reason.
//!
//! Addresses and names outside stay as they are: they are what an attack is recognised by, and nobody's here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use serde_json::Value;
use thymus_schema::{LocalNetworks, Timestamp};

/// Names that came since are veiled after so long; addresses always are.
const FRESH: Duration = Duration::from_secs(5);
const NAMES_MAX: usize = 100_000;

/// Fields with a fixed set of words, or of our own making, in which nothing can hide.
const PLAIN: &[&str] = &[
    "id",
    "kind",
    "state",
    "verdict",
    "role",
    "confidence",
    "phase",
    "phases",
    "detector",
    "service",
    "direction",
    "outcome",
    "transport",
    "code",
    "incident",
    "csrf",
    "user",
    "next_cursor",
    "cursor",
    "day",
    "at",
    "first_seen",
    "last_seen",
    "ty",
    "type",
    "alerts_id",
    "merged_from",
    "techniques",
    "calibrated_by",
];

/// Replaces what says who.
pub(crate) struct Veil {
    key: [u8; 32],
    names: Option<AhoCorasick>,
    local: LocalNetworks,
    known: Vec<IpAddr>,
    made_at: Timestamp,
}

/// Pseudonyms that were used, with what stands behind them.
pub(crate) type Used = BTreeMap<String, String>;

impl Veil {
    pub(crate) fn new(key: [u8; 32], identities: &[String], now: Timestamp) -> Self {
        let (addresses, names): (Vec<&String>, Vec<&String>) = identities
            .iter()
            .partition(|name| address_of(name).is_some());
        let names = names
            .into_iter()
            .filter(|name| name.chars().count() > 1)
            .take(NAMES_MAX);
        let mut known: Vec<IpAddr> = addresses
            .iter()
            .filter_map(|name| address_of(name))
            .collect();
        known.sort_unstable();
        Self {
            key,
            names: AhoCorasickBuilder::new()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::LeftmostLongest)
                .build(names)
                .ok(),
            local: LocalNetworks::default(),
            known,
            made_at: now,
        }
    }

    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.made_at) < FRESH
    }

    /// Replaces in every text of `value`.
    pub(crate) fn value(&self, value: &mut Value, used: &mut Used) {
        match value {
            Value::String(text) => *text = self.text(text, used),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, used)),
            Value::Object(fields) => {
                for (name, field) in fields {
                    let is_plain = PLAIN.contains(&name.as_str()) && is_words(field);
                    if !is_plain {
                        self.value(field, used);
                    }
                }
            }
            _ => {}
        }
    }

    /// Replaces in running text.
    pub(crate) fn text(&self, text: &str, used: &mut Used) -> String {
        let named = self.replace_names(text, used);
        self.replace_addresses(&named, used)
    }

    fn replace_names(&self, text: &str, used: &mut Used) -> String {
        let Some(names) = &self.names else {
            return text.to_owned();
        };
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for found in names.find_iter(text) {
            let before = text.get(..found.start()).unwrap_or_default();
            let after = text.get(found.end()..).unwrap_or_default();
            let is_whole = !before.ends_with(is_of_name) && !after.starts_with(is_of_name);
            let Some(name) = text.get(found.range()).filter(|_| is_whole) else {
                continue;
            };
            out.push_str(text.get(done..found.start()).unwrap_or_default());
            out.push_str(&self.pseudonym("name", name, used));
            done = found.end();
        }
        out.push_str(text.get(done..).unwrap_or_default());
        out
    }

    fn replace_addresses(&self, text: &str, used: &mut Used) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.find(|c| !is_of_address(c)).unwrap_or(rest.len());
            let (head, tail) = rest.split_at(word);
            out.push_str(&self.address(head, used));
            let other = tail.find(is_of_address).unwrap_or(tail.len());
            let (between, next) = tail.split_at(other);
            out.push_str(between);
            rest = next;
        }
        out
    }

    /// A run of characters that addresses are made of: an address, one with a port, or neither.
    fn address(&self, word: &str, used: &mut Used) -> String {
        if word.len() < 3 {
            return word.to_owned();
        }
        if is_mac(word) {
            return self.pseudonym("mac", word, used);
        }
        // A full stop or a colon may be the sentence's, and `device:10.0.0.7` begins with letters that are hex.
        let core = word.trim_end_matches(['.', ':']);
        let ends = core.len();
        let starts: Vec<usize> = std::iter::once(0)
            .chain(core.match_indices(':').map(|(at, _)| at + 1))
            .collect();
        for start in starts {
            for end in [Some(ends), core.rfind(':').filter(|end| *end > start)]
                .into_iter()
                .flatten()
            {
                let part = core.get(start..end).unwrap_or_default();
                let Some(found) = address_of(part) else {
                    continue;
                };
                if !self.is_ours(found) {
                    return word.to_owned();
                }
                let pseudonym = self.pseudonym("addr", part, used);
                return format!(
                    "{}{pseudonym}{}",
                    word.get(..start).unwrap_or_default(),
                    word.get(end..).unwrap_or_default()
                );
            }
        }
        word.to_owned()
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        self.local.contains(address) || self.known.binary_search(&address).is_ok()
    }

    fn pseudonym(&self, kind: &str, original: &str, used: &mut Used) -> String {
        let lower = original.to_lowercase();
        let digest = blake3::keyed_hash(&self.key, lower.as_bytes());
        let hex = digest.to_hex();
        let pseudonym = format!("{kind}-{}", hex.get(..12).unwrap_or_default());
        used.entry(pseudonym.clone()).or_insert(lower);
        pseudonym
    }
}

/// The pseudonyms in a text, as it may come back in a path or a search.
pub(crate) fn pseudonyms_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| {
            ["name-", "addr-", "mac-"]
                .iter()
                .any(|kind| word.strip_prefix(kind).is_some_and(|hex| hex.len() == 12))
        })
}

/// Whether a field holds a word or words and nothing that could be an address or a sentence.
fn is_words(field: &Value) -> bool {
    let is_word =
        |text: &str| address_of(text).is_none() && !text.contains(' ') && text.len() <= 128;
    match field {
        Value::String(text) => is_word(text),
        Value::Array(items) => items
            .iter()
            .all(|item| item.as_str().is_none_or(is_word) && !item.is_object()),
        Value::Object(_) => false,
        _ => true,
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_of_address(c: char) -> bool {
    c.is_ascii_hexdigit() || matches!(c, '.' | ':')
}

/// An address, also one with a scope (`10.0.0.7%vlan10`).
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.split('%').next().unwrap_or(text);
    bare.parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

fn is_mac(word: &str) -> bool {
    word.len() == 17
        && word
            .split(':')
            .all(|part| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn veil() -> Veil {
        let known = [
            "10.0.0.7",
            "203.0.113.9",
            "reception-pc",
            "CORP\\ann",
            "fe80::1",
        ];
        let known: Vec<String> = known.map(str::to_owned).to_vec();
        Veil::new([7; 32], &known, Timestamp::default())
    }

    #[test]
    fn nobody_is_named_in_values_or_in_sentences() {
        let (veil, mut used) = (veil(), Used::new());
        let mut value = json!({
            "entity": "device:10.0.0.7", "title": "Reception-PC (10.0.0.7) talks to 198.51.100.4.",
            "narrative": "10.0.0.7:445 and [fe80::1]:80, 00:11:22:33:44:55; CORP\\ann from 203.0.113.9.",
            "first_seen": "2024-05-06T10:00:00Z", "id": "00000000000000aa-10", "n": 3,
        });
        veil.value(&mut value, &mut used);
        let text = value.to_string();
        for name in [
            "10.0.0.7",
            "eception",
            "fe80",
            "00:11",
            "ann",
            "203.0.113.9",
        ] {
            assert!(!text.to_lowercase().contains(name), "{name} in {text}");
        }
        assert!(text.contains("198.51.100.4"), "{text}");
        assert!(text.contains("2024-05-06T10:00:00Z"), "{text}");
        assert!(text.contains("00000000000000aa-10"), "{text}");
        let entity = value["entity"].as_str().unwrap();
        assert!(
            value["title"]
                .as_str()
                .unwrap()
                .contains(entity.trim_start_matches("device:")),
            "{text}"
        );
        assert!(used.values().any(|original| original == "10.0.0.7"));
    }

    #[test]
    fn a_name_inside_a_word_is_no_name_and_plain_words_stay() {
        let (veil, mut used) = (veil(), Used::new());
        let mut value =
            json!({"state": "open", "text": "my-reception-pcs, cafe, dead.beef, 12:30"});
        let before = value.clone();
        veil.value(&mut value, &mut used);
        assert_eq!(value, before);
        let mut hidden = json!({"user": "10.0.0.7", "kind": {"x": "10.0.0.7"}});
        veil.value(&mut hidden, &mut used);
        assert!(!hidden.to_string().contains("10.0.0.7"));
    }
}
