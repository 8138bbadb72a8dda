use super::*;
use crate::{
    Coverage, FileType, Judge, Judgement, Leaning, Outcome, Reason, ScanPolicy, Scanner, samples,
};

/// Judges shell scripts and Office documents: all clean.
struct Calm;

impl Judge for Calm {
    fn judge(&self, kind: FileType, _: &[u8]) -> Option<Judgement> {
        matches!(kind, FileType::Shell | FileType::Ooxml).then(|| Judgement {
            leaning: Leaning::Clean,
            ..Judgement::default()
        })
    }
}

/// Finds each line that begins with `match ` as a rule, told by the name of the file; gives up at `slow`.
struct Lines;

impl RuleMatcher for Lines {
    fn start(&self) -> Result<(), String> {
        Ok(())
    }

    fn find(&self, target: &RuleTarget<'_>, bytes: &[u8], secs_max: u64) -> RuleMatches {
        assert!(secs_max > 0);
        assert!(!bytes.starts_with(b"panic"), "a matcher that fails");
        if bytes.starts_with(b"slow") {
            return RuleMatches::unfinished();
        }
        let mut matches = RuleMatches::default();
        for at in memchr::memmem::find_iter(bytes, b"match ") {
            matches.found.push(RuleMatch {
                rule: target.name.to_owned(),
                namespace: target.path.to_owned(),
                strings: vec![RuleString {
                    spans: vec![(at as u64, 7)],
                    ..RuleString::default()
                }],
                ..RuleMatch::default()
            });
        }
        matches
    }
}

fn scan(path: &str, bytes: &[u8]) -> crate::FileReport {
    let policy = ScanPolicy::default();
    let scanner = Scanner::new(&policy, Some(&Calm)).with_rules(Some(&Lines));
    scanner.scan(path, bytes, &|| false)
}

fn named(matches: &RuleMatches) -> Vec<(&str, &str)> {
    let rules = matches.found.iter();
    rules
        .map(|rule| (rule.rule.as_str(), rule.namespace.as_str()))
        .collect()
}

#[test]
fn a_match_is_told_beside_the_verdict_with_what_stands_there() {
    let report = scan("/in/a.sh", b"#!/bin/sh\n# match a\n");
    assert_eq!(report.whole.outcome, Outcome::Clean);
    assert_eq!(named(&report.whole.rules), [("a.sh", "/in/a.sh")]);
    let string = &report.whole.rules.found[0].strings[0];
    assert_eq!(string.excerpts[0].bytes, b"match a");
    assert_eq!(string.excerpts[0].offset, 12);
    let without = Scanner::new(&ScanPolicy::default(), Some(&Calm)).scan(
        "/in/a.sh",
        b"#!/bin/sh\n# match a\n",
        &|| false,
    );
    assert_eq!(without.whole.rules, RuleMatches::default());
    let (mut ruled, judged) = (report.whole, without.whole);
    ruled.rules = RuleMatches::default();
    assert_eq!(ruled, judged);
}

#[test]
fn members_are_matched_by_their_own_names() {
    let inner = samples::zip(&[("d/b.sh", b"#!/bin/sh\nmatch b\n")]);
    let report = scan("/in/x.zip", &samples::zip(&[("in.zip", &inner)]));
    let last = report.members.last().unwrap();
    assert_eq!(named(&last.rules), [("b.sh", "/in/x.zip!in.zip!d/b.sh")]);
    assert_eq!(report.whole.outcome, Outcome::Clean);
    let mut coverage = Coverage::default();
    coverage.add(&report);
    assert_eq!((coverage.rule_matches, coverage.objects_with_rules), (1, 1));
}

#[test]
fn a_part_without_a_verdict_is_matched_and_told_of_its_document() {
    let parts: &[(&str, &[u8])] = &[
        ("[Content_Types].xml", b"<?xml version=\"1.0\"?><Types/>"),
        (
            "word/document.xml",
            b"<?xml version=\"1.0\"?><w>match c</w>",
        ),
    ];
    let report = scan("/in/c.docx", &samples::zip(parts));
    assert_eq!(report.whole.kind, FileType::Ooxml);
    assert_eq!(report.members, []);
    let rule = report.whole.rules.found.last().unwrap();
    assert_eq!(rule.part.as_deref(), Some("word/document.xml"));
    assert_eq!(rule.namespace, "/in/c.docx!word/document.xml");
}

#[test]
fn judgements_are_kept_by_content_and_matches_are_not() {
    let policy = ScanPolicy::default();
    let scanner = Scanner::new(&policy, Some(&Calm)).with_rules(Some(&Lines));
    for name in ["one.sh", "two.sh"] {
        let report = scanner.scan(name, b"#!/bin/sh\nmatch it\n", &|| false);
        assert_eq!(named(&report.whole.rules), [(name, name)]);
    }
}

#[test]
fn many_matches_are_bounded_and_counted() {
    let many = [&b"#!/bin/sh\n"[..], &b"match x\n".repeat(100)].concat();
    let report = scan("x.sh", &many);
    assert_eq!(report.whole.rules.found.len(), RULES_MAX);
    assert_eq!(report.whole.rules.left_out, 36);
    let names: Vec<String> = (0..20).map(|n| format!("{n}.sh")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &many[..])).collect();
    let report = scan("x.tar", &samples::tar(&members));
    let all = report.verdicts().map(|verdict| &verdict.rules);
    let (found, left_out) = all.fold((0, 0), |(found, left_out), rules| {
        (found + rules.found.len(), left_out + rules.left_out)
    });
    assert_eq!(found, RULES_OF_FILE_MAX);
    // The archive holds its members' bytes as they are.
    assert_eq!(found as u64 + left_out, 20 * 100 * 2);
}

#[test]
fn rules_that_do_not_end_are_given_up_for_the_file_and_cost_no_verdict() {
    let slow: &[u8] = b"slow";
    let script: &[u8] = b"#!/bin/sh\nmatch a\n";
    let members = [("a.sh", script), ("slow", slow), ("b.sh", script)];
    let report = scan("x.zip", &samples::zip(&members));
    let told: Vec<(bool, usize)> = report
        .members
        .iter()
        .map(|member| (member.rules.is_unfinished, member.rules.found.len()))
        .collect();
    assert_eq!(told, [(false, 1), (true, 0), (true, 0)]);
    assert_eq!(report.members[2].outcome, Outcome::Clean);
    let fails = scan("x", b"panic");
    assert!(fails.whole.rules.is_unfinished);
    let reason = fails.whole.outcome.reason().unwrap();
    assert!(matches!(reason, Reason::NoNetwork(_)), "{reason}");
}
