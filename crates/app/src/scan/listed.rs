//! What lists say of a file, beside what was judged.

use serde::Serialize;
use thymus_scan::{List, ListEntry, Lists, Outcome, Scanned};

use crate::lists::{Shown, path_of, told};

/// What was judged, and the entry by which something else counts.
#[derive(Clone, Copy)]
pub(super) struct Listed<'l> {
    judged: Outcome,
    entry: &'l ListEntry,
}

impl<'l> Listed<'l> {
    /// What was judged.
    pub(super) const fn judged(&self) -> Outcome {
        self.judged
    }

    /// Whether it was found and counts as clean.
    pub(super) fn is_allowed(&self) -> bool {
        self.entry.list == List::Allow
    }

    /// The words for people, not made legible: by which entry, and who answers for it.
    pub(super) fn told(&self) -> String {
        let (word, what) = match self.entry.list {
            List::Allow => (
                "allowed",
                format!(", though judged {}", self.judged.as_str()),
            ),
            List::Block => ("blocked", String::new()),
        };
        let (entry, owner, reason) = (told(self.entry), &self.entry.owner, &self.entry.reason);
        let day = self.entry.expires;
        format!("{word} by {entry} ({owner}, until {day}: {reason}){what}")
    }

    /// The fields for programs.
    pub(super) fn shown(&self) -> Fields<'l> {
        Fields {
            judged: self.judged.as_str(),
            listed: Shown::new(self.entry),
        }
    }
}

/// What a line of JSON has more when a list decided.
#[derive(Serialize)]
pub(super) struct Fields<'l> {
    judged: &'static str,
    listed: Shown<'l>,
}

/// Puts what counts into the report, and gives for each verdict what it was, where a list changed or
/// named it.
pub(super) fn apply<'l>(lists: &'l Lists, scanned: &mut Scanned) -> Vec<Option<Listed<'l>>> {
    if lists.is_empty() {
        return vec![None; 1 + scanned.report.members.len()];
    }
    let path = path_of(&scanned.path);
    let decisions = lists.decide(path.as_deref(), &scanned.report);
    let report = &mut scanned.report;
    let verdicts = std::iter::once(&mut report.whole).chain(&mut report.members);
    let applied = verdicts.zip(decisions).map(|(verdict, decision)| {
        let decision = decision?;
        let judged = std::mem::replace(&mut verdict.outcome, decision.outcome);
        Some(Listed {
            judged,
            entry: decision.entry,
        })
    });
    applied.collect()
}

#[cfg(test)]
mod tests {
    use thymus_scan::{Day, FileReport, FileType, Judgement, Leaning, Reason, Verdict};

    use super::*;
    use crate::console::Paper;
    use crate::scan::{json, sarif, text};

    const ALLOW: &str = "[[allow]]\npath = \"/x/own.pdf\"\nscope = \"/\"\nowner = \"a\\u001bnn\"\n\
                         reason = \"ours\"\nexpires = 2030-01-31\n";

    /// A file that the network called malicious, and what the list says of it.
    fn allowed<T>(see: impl FnOnce(&Scanned, &[Option<Listed<'_>>]) -> T) -> T {
        let mut whole = Verdict::not_judged(FileType::Pdf, 9, Reason::Empty);
        whole.outcome = Outcome::Malicious;
        whole.judgement = Some(Judgement {
            leaning: Leaning::Malicious,
            probability: 0.75,
            ..Judgement::default()
        });
        let mut scanned = Scanned {
            path: "/x/own.pdf".into(),
            report: FileReport {
                whole,
                members: Vec::new(),
            },
            millis: 0,
            id: None,
            beside: None,
        };
        let today = Day {
            year: 2029,
            month: 1,
            day: 1,
        };
        let lists = Lists::parse(ALLOW, today).unwrap();
        let listed = apply(&lists, &mut scanned);
        see(&scanned, &listed)
    }

    #[test]
    fn what_is_allowed_counts_as_clean_and_is_never_silent() {
        let form = text::Form {
            verbose: false,
            explain: false,
            paper: Paper {
                width: 200,
                colour: false,
            },
        };
        let lines = allowed(|scanned, listed| text::lines(scanned, listed, form));
        assert_eq!(
            lines,
            "allowed    /x/own.pdf  (pdf)\n           \
             allowed by [[allow]] number 1, path /x/own.pdf (a�nn, until 2030-01-31: ours), \
             though judged malicious\n"
        );
        let mut out = Vec::new();
        allowed(|scanned, listed| json::lines(scanned, listed, json::Beside::default(), &mut out))
            .unwrap();
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&line["outcome"], &line["judged"]),
            (&"clean".into(), &"malicious".into())
        );
        assert_eq!(line["probability"], 0.75);
        assert_eq!(
            line["listed"],
            serde_json::json!({
                "list": "allow", "number": 1, "by": "path", "value": "/x/own.pdf", "scope": "/",
                "owner": "a\u{1b}nn", "reason": "ours", "expires": "2030-01-31",
            })
        );
        let mut log = sarif::Log::default();
        allowed(|scanned, listed| log.add(scanned, listed));
        let log: serde_json::Value = serde_json::from_str(&log.render().unwrap()).unwrap();
        let result = &log["runs"][0]["results"][0];
        assert_eq!(result["ruleId"], "malicious");
        assert_eq!(result["suppressions"][0]["kind"], "external");
    }
}
