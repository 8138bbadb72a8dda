//! The seam to what looks for rules that people wrote. What a rule finds is told beside the verdict and
//! never changes it: a rule says what its author looked for, not what a file is.

use serde::{Deserialize, Serialize};

use crate::Excerpt;
use crate::layout::Layout;

/// Rules told of one file or member.
pub const RULES_MAX: usize = 64;
/// Rules told of one file with everything in it.
pub(crate) const RULES_OF_FILE_MAX: usize = 1024;

/// Looks for rules in content.
pub trait RuleMatcher: Send + Sync {
    /// Readies what keeps the time, in a process that can start no thread afterwards.
    ///
    /// # Errors
    /// When it cannot.
    fn start(&self) -> Result<(), String>;

    /// The rules that match `bytes`, at most [`RULES_MAX`] of them, without excerpts. It stops by itself
    /// after about `secs_max` seconds. The same bytes under the same name must give the same, whoever else
    /// is asking at the time; it must not keep them.
    fn find(&self, named: &RuleTarget<'_>, bytes: &[u8], secs_max: u64) -> RuleMatches;
}

/// What a rule can know of the content besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RuleTarget<'t> {
    /// Its name, without folders.
    pub name: &'t str,
    /// Its whole path; inside of files with `!` between the steps.
    pub path: &'t str,
}

/// What was found by rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleMatches {
    /// The rules that match, in the order of the rule set.
    pub found: Vec<RuleMatch>,
    /// How many more there were.
    pub left_out: u64,
    /// Whether not every rule had its turn, for want of time.
    pub is_unfinished: bool,
}

/// A rule that matches. Everything in it is in its author's words, nothing is made legible.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleMatch {
    /// Its name.
    pub rule: String,
    /// The namespace it is in: the file it was read from.
    pub namespace: String,
    /// Its tags, of many the first.
    pub tags: Vec<String>,
    /// What its author says of it, of much the beginning.
    pub meta: Vec<(String, String)>,
    /// Its strings that were found, of many the first.
    pub strings: Vec<RuleString>,
    /// Path of the part of a document that it matches, where that has no verdict of its own.
    pub part: Option<String>,
}

/// A string of a rule that was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleString {
    /// Its name, such as `$a`.
    pub name: String,
    /// How often it was found, as far as was counted.
    pub count: u64,
    /// Where, offset and length, of many the first.
    pub spans: Vec<(u64, u64)>,
    /// What stands at each of them.
    pub excerpts: Vec<Excerpt>,
}

impl RuleMatches {
    /// Nothing was found so far, and nobody looked to the end.
    pub fn unfinished() -> Self {
        Self {
            is_unfinished: true,
            ..Self::default()
        }
    }

    /// Shows what stands where the strings were found.
    pub(crate) fn show(&mut self, bytes: &[u8], layout: &Layout) {
        for string in self.found.iter_mut().flat_map(|rule| &mut rule.strings) {
            let spans = string.spans.iter();
            string.excerpts = spans.map(|s| Excerpt::of(bytes, layout, *s)).collect();
        }
    }

    /// Keeps the first `most`.
    pub(crate) fn cut(&mut self, most: usize) {
        self.left_out += self.found.len().saturating_sub(most) as u64;
        self.found.truncate(most);
    }

    /// Takes in what was found elsewhere in it.
    pub(crate) fn add(&mut self, mut other: Self) {
        self.found.append(&mut other.found);
        self.left_out += other.left_out;
        self.is_unfinished |= other.is_unfinished;
        self.cut(RULES_MAX);
    }

    /// Says of everything found that it is in the part of a document at `path`.
    #[must_use]
    pub(crate) fn of_part(mut self, path: &str) -> Self {
        for found in &mut self.found {
            found.part = Some(path.to_owned());
        }
        self
    }
}

#[cfg(test)]
mod tests;
