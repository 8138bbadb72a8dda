//! Reads the lists from TOML (toml.io, 1.0), strictly: what is not understood is refused, with the
//! nearest right word, because a list that does less than it says is worse than none.

use std::collections::BTreeMap;
use std::path::PathBuf;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use toml::{Table, Value};

use super::{Day, List, ListEntry, Lists, Named};

/// Entries of both lists together.
const ENTRIES_MAX: usize = 100_000;
const LISTS: [List; 2] = [List::Block, List::Allow];
const KEYS: [&str; 9] = [
    "sha256", "path", "member", "signer", "subject", "scope", "owner", "reason", "expires",
];
/// Those of the keys of which each entry has one.
const WAYS: usize = 4;

/// Why lists were refused: a full sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListError(String);

impl std::fmt::Display for ListError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ListError {}

fn wrong<T>(text: impl Into<String>) -> Result<T, ListError> {
    Err(ListError(text.into()))
}

/// The nearest of some words, by Levenshtein's distance.
fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> &'w str {
    let words = words.into_iter();
    let nearest = words.min_by_key(|known| strsim::levenshtein(known, word));
    nearest.unwrap_or_default()
}

impl Lists {
    /// The lists in `text`, as they act on the day `today`.
    ///
    /// # Errors
    /// When anything in them is not understood.
    pub fn parse(text: &str, today: Day) -> Result<Self, ListError> {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| ListError(error.to_string()))?;
        let names = LISTS.map(List::as_str);
        if let Some(key) = table.keys().find(|key| !names.contains(&key.as_str())) {
            let near = nearest(key, names);
            return wrong(format!(
                "there is no list `{key}`; the nearest is [[{near}]]"
            ));
        }
        let mut lists = Self::default();
        for list in LISTS {
            let Some(value) = table.get(list.as_str()) else {
                continue;
            };
            let name = list.as_str();
            let tables = value.as_array().into_iter().flatten();
            let Some(tables) = tables.map(Value::as_table).collect::<Option<Vec<_>>>() else {
                return wrong(format!("entries of the list are written [[{name}]]"));
            };
            if !value.is_array() {
                return wrong(format!("entries of the list are written [[{name}]]"));
            }
            for (at, table) in tables.into_iter().enumerate() {
                let number = at + 1;
                let entry = entry(list, number, table)
                    .map_err(|why| ListError(format!("[[{name}]] number {number}: {why}")))?;
                if entry.expires < today {
                    lists.expired.push(entry);
                } else {
                    lists.entries.push(entry);
                }
            }
        }
        if lists.entries.len() + lists.expired.len() > ENTRIES_MAX {
            return wrong(format!("there are more than {ENTRIES_MAX} entries"));
        }
        lists.index()?;
        Ok(lists)
    }

    fn index(&mut self) -> Result<(), ListError> {
        let mut digests: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
        let mut signers: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
        let (mut paths, mut members) = (Vec::new(), Vec::new());
        for (at, entry) in self.entries.iter().enumerate() {
            match &entry.named {
                Named::Sha256(digest) => digests.entry(*digest).or_default().push(at),
                Named::Signer { certificate, .. } => {
                    signers.entry(*certificate).or_default().push(at);
                }
                Named::Path(pattern) => paths.push((glob(pattern, true)?, at)),
                Named::Member(pattern) => members.push((glob(pattern, false)?, at)),
            }
        }
        self.digests = digests;
        self.signers = signers;
        self.paths = set(paths)?;
        self.members = set(members)?;
        Ok(())
    }
}

fn glob(pattern: &str, stays: bool) -> Result<Glob, ListError> {
    let glob = GlobBuilder::new(pattern).literal_separator(stays).build();
    glob.map_err(|error| ListError(error.to_string()))
}

fn set(globs: Vec<(Glob, usize)>) -> Result<(GlobSet, Vec<usize>), ListError> {
    let mut builder = GlobSetBuilder::new();
    let mut numbers = Vec::new();
    for (glob, at) in globs {
        builder.add(glob);
        numbers.push(at);
    }
    let set = builder
        .build()
        .map_err(|error| ListError(error.to_string()))?;
    Ok((set, numbers))
}

fn entry(list: List, number: usize, table: &Table) -> Result<ListEntry, ListError> {
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let near = nearest(key, KEYS);
        return wrong(format!("there is no key `{key}`; the nearest is `{near}`"));
    }
    let text = |key: &str| match table.get(key) {
        None => wrong(format!("`{key}` is missing")),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
        Some(_) => wrong(format!("`{key}` must be text")),
    };
    let ways = KEYS
        .iter()
        .take(WAYS)
        .filter(|key| table.contains_key(**key));
    let named = match ways.copied().collect::<Vec<_>>()[..] {
        ["sha256"] => Named::Sha256(digest("sha256", &text("sha256")?)?),
        ["signer"] => {
            let has_subject = table.contains_key("subject");
            Named::Signer {
                // As openssl writes it, too.
                certificate: digest("signer", &text("signer")?.replace(':', ""))?,
                subject: has_subject.then(|| text("subject")).transpose()?,
            }
        }
        ["path"] => {
            let pattern = text("path")?;
            if !pattern.starts_with(['/', '*']) {
                return wrong("`path` must begin with / or **/");
            }
            glob(&pattern, true)?;
            Named::Path(pattern)
        }
        ["member"] => {
            let pattern = text("member")?;
            glob(&pattern, false)?;
            Named::Member(pattern)
        }
        _ => return wrong("it needs one of `sha256`, `path`, `member` and `signer`"),
    };
    if table.contains_key("subject") && !matches!(named, Named::Signer { .. }) {
        return wrong("`subject` belongs to a `signer`");
    }
    let scope = text("scope")?;
    if !scope.starts_with('/') || scope.contains("/../") || scope.contains('*') {
        return wrong("`scope` must be the path of a folder, and is / for everywhere");
    }
    Ok(ListEntry {
        list,
        number,
        named,
        scope: PathBuf::from(scope),
        owner: text("owner")?,
        reason: text("reason")?,
        expires: day(table.get("expires"))?,
    })
}

fn day(value: Option<&Value>) -> Result<Day, ListError> {
    let date = match value {
        None => return wrong("`expires` is missing"),
        Some(Value::Datetime(moment)) if moment.time.is_none() => moment.date,
        Some(Value::String(text)) => text
            .parse::<toml::value::Datetime>()
            .ok()
            .filter(|moment| moment.time.is_none())
            .and_then(|moment| moment.date),
        Some(_) => None,
    };
    let Some(date) = date else {
        return wrong("`expires` must be a day such as 2027-01-31");
    };
    Ok(Day {
        year: date.year.cast_signed(),
        month: date.month,
        day: date.day,
    })
}

fn digest(key: &str, text: &str) -> Result<[u8; 32], ListError> {
    let mut digest = [0; 32];
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    match digits {
        Some(digits) if digits.len() == 64 => {
            for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
                *byte = pair.iter().fold(0, |sum, digit| sum << 4 | *digit as u8);
            }
            Ok(digest)
        }
        _ => wrong(format!("`{key}` must be 64 hexadecimal digits")),
    }
}
