//! Looks for compiled rules in content.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use thymus_scan::{RULES_MAX, RuleMatch, RuleMatcher, RuleMatches, RuleString, RuleTarget};
use yara_x::{MetaValue, Pattern, Rule, Rules, Scanner};

use crate::{EXTENSION, FILE_NAME, FILE_PATH};

/// Longest name of a rule, namespace, tag, meta key or string, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Longest value of a meta, in bytes.
const VALUE_BYTES_MAX: usize = 512;
const TAGS_MAX: usize = 16;
const META_MAX: usize = 16;
const STRINGS_MAX: usize = 16;
/// Places told of one string.
const SPANS_MAX: usize = 4;
/// Places of one string that are looked for: beyond them a condition counts no further.
const PLACES_MAX: usize = 100_000;

/// Compiled rules; one serves all threads.
#[derive(Debug)]
pub struct Matcher {
    rules: Rules,
}

impl Matcher {
    pub(crate) const fn new(rules: Rules) -> Self {
        Self { rules }
    }

    /// The rules as bytes, for [`Matcher::read`] of the same program on the same machine.
    ///
    /// # Errors
    /// When they cannot be written down.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        self.rules.serialize().map_err(|error| error.to_string())
    }

    /// Rules from such bytes. They hold code that will be run, so they must come from [`Matcher::to_bytes`]
    /// by a way that nobody else can write to.
    ///
    /// # Errors
    /// When they are of another version, or broken.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let rules = Rules::deserialize(bytes).map_err(|error| error.to_string())?;
        Ok(Self { rules })
    }

    fn scanner(&self, target: &RuleTarget<'_>, secs_max: u64) -> Result<Scanner<'_>, String> {
        let mut scanner = Scanner::new(&self.rules);
        scanner.set_timeout(Duration::from_secs(secs_max));
        scanner.max_matches_per_pattern(PLACES_MAX);
        for (name, value) in [
            (FILE_NAME, target.name),
            (FILE_PATH, target.path),
            (EXTENSION, &extension(target.name)),
        ] {
            let set = scanner.set_global(name, value);
            set.map_err(|error| error.to_string())?;
        }
        Ok(scanner)
    }
}

impl RuleMatcher for Matcher {
    /// The first scan with a bound on time starts the thread that counts the seconds of all.
    fn start(&self) -> Result<(), String> {
        let nothing = RuleTarget { name: "", path: "" };
        let scan = || {
            let mut scanner = self.scanner(&nothing, 1)?;
            let told = scanner.scan(b"").map(|_| ());
            told.map_err(|error| error.to_string())
        };
        let told = catch_unwind(AssertUnwindSafe(scan));
        told.map_err(|_| "the clock of the rules did not start".to_owned())?
    }

    fn find(&self, target: &RuleTarget<'_>, bytes: &[u8], secs_max: u64) -> RuleMatches {
        let Ok(mut scanner) = self.scanner(target, secs_max) else {
            return RuleMatches::unfinished();
        };
        let Ok(results) = scanner.scan(bytes) else {
            return RuleMatches::unfinished();
        };
        let mut matches = RuleMatches::default();
        for rule in results.matching_rules() {
            if matches.found.len() < RULES_MAX {
                matches.found.push(told(&rule));
            } else {
                matches.left_out += 1;
            }
        }
        matches
    }
}

fn told(rule: &Rule<'_, '_>) -> RuleMatch {
    let name = |text: &str| cut(text, NAME_BYTES_MAX);
    let tags = rule.tags().take(TAGS_MAX);
    let meta = rule.metadata().take(META_MAX);
    let strings = rule.patterns().filter_map(|pattern| string(&pattern));
    RuleMatch {
        rule: name(rule.identifier()),
        namespace: name(rule.namespace()),
        tags: tags.map(|tag| name(tag.identifier())).collect(),
        meta: meta
            .map(|(key, value)| (name(key), cut(&text(&value), VALUE_BYTES_MAX)))
            .collect(),
        strings: strings.take(STRINGS_MAX).collect(),
        part: None,
    }
}

fn string(pattern: &Pattern<'_, '_>) -> Option<RuleString> {
    let mut spans = Vec::new();
    let mut count = 0;
    for found in pattern.matches() {
        count += 1;
        if spans.len() < SPANS_MAX {
            let range = found.range();
            spans.push((range.start as u64, range.len() as u64));
        }
    }
    (count > 0).then(|| RuleString {
        name: cut(pattern.identifier(), NAME_BYTES_MAX),
        count,
        spans,
        excerpts: Vec::new(),
    })
}

fn text(value: &MetaValue<'_>) -> String {
    match value {
        MetaValue::Integer(number) => number.to_string(),
        MetaValue::Float(number) => number.to_string(),
        MetaValue::Bool(is_so) => is_so.to_string(),
        MetaValue::String(text) => (*text).to_owned(),
        MetaValue::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// As much of a text as may be kept.
fn cut(text: &str, most: usize) -> String {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

/// From the last dot of a name on, in lower case; empty where it has none, or only one in front.
pub(crate) fn extension(name: &str) -> String {
    match name.rfind('.') {
        None | Some(0) => String::new(),
        Some(dot) => name.get(dot..).unwrap_or_default().to_lowercase(),
    }
}
