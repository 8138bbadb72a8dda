#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use thymus_scan::{RULES_MAX, RuleMatch, RuleMatcher, RuleMatches, RuleTarget};

use crate::matcher::extension;
use crate::{Matcher, RuleSet, Source, compile};

const OWN: &str = r#"
rule Marker : first second {
    meta:
        description = "says hello"
        author = "ann"
        score = 70
        is_sure = true
    strings:
        $word = "hello thymus"
        $bytes = { 68 65 6C 6C 6F ?? 74 }
        $none = "nowhere"
    condition:
        $word and $bytes and not $none
}
"#;

fn set(sources: &[(&str, &str)]) -> RuleSet {
    let source = |(name, text): &(&str, &str)| Source {
        name: (*name).to_owned(),
        bytes: text.as_bytes().to_vec(),
    };
    compile(&sources.iter().map(source).collect::<Vec<_>>()).unwrap()
}

fn whole(sources: &[(&str, &str)]) -> RuleSet {
    let set = set(sources);
    assert_eq!(set.errors, [""; 0]);
    set
}

fn find_in(matcher: &Matcher, path: &str, bytes: &[u8]) -> RuleMatches {
    let name = path.rsplit('/').next().unwrap();
    matcher.find(&RuleTarget { name, path }, bytes, 20)
}

fn names(matches: &RuleMatches) -> Vec<String> {
    let told = |rule: &RuleMatch| format!("{}:{}", rule.namespace, rule.rule);
    matches.found.iter().map(told).collect()
}

#[test]
fn a_rule_is_told_with_all_that_its_author_says_and_where_it_matches() {
    let set = whole(&[("own.yar", OWN)]);
    assert_eq!(set.rules, 1);
    let matches = find_in(&set.matcher, "x", b"..hello thymus, hello thymus");
    assert!(!matches.is_unfinished);
    let [rule] = &matches.found[..] else {
        panic!("{matches:?}")
    };
    assert_eq!((&*rule.rule, &*rule.namespace), ("Marker", "own.yar"));
    assert_eq!(rule.tags, ["first", "second"]);
    let meta = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let all = [
        meta("description", "says hello"),
        meta("author", "ann"),
        meta("score", "70"),
        meta("is_sure", "true"),
    ];
    assert_eq!(rule.meta, all);
    let [word, bytes] = &rule.strings[..] else {
        panic!("{rule:?}")
    };
    assert_eq!((&*word.name, word.count), ("$word", 2));
    assert_eq!(word.spans, [(2, 12), (16, 12)]);
    assert_eq!(bytes.spans, [(2, 7), (16, 7)]);
    assert!(find_in(&set.matcher, "x", b"hello").found.is_empty());
}

#[test]
fn what_is_wrong_is_told_by_file_and_line_and_costs_its_rule_only() {
    let wrong = "rule Good { condition: true }\n\nrule Bad { condition: $none }\n";
    let set = set(&[("dir/wrong.yar", wrong), ("own.yar", OWN)]);
    let [error] = &set.errors[..] else {
        panic!("{:?}", set.errors)
    };
    assert!(error.contains("dir/wrong.yar:3"), "{error}");
    assert_eq!(set.rules, 2);
    let matches = find_in(&set.matcher, "x", b"hello thymus");
    assert_eq!(names(&matches), ["dir/wrong.yar:Good", "own.yar:Marker"]);
}

#[test]
fn one_name_may_stand_in_two_files_and_not_twice_in_one() {
    let rule = "rule Same { condition: true }";
    let set = whole(&[("a.yar", rule), ("b.yar", rule)]);
    let matches = find_in(&set.matcher, "x", b"");
    assert_eq!(names(&matches), ["a.yar:Same", "b.yar:Same"]);
    assert_eq!(self::set(&[("a.yar", &rule.repeat(2))]).errors.len(), 1);
}

#[test]
fn a_private_rule_is_not_told_and_a_global_one_bars_its_file() {
    let rules = "private rule Hidden { condition: filesize > 3 }
                 rule Seen { condition: Hidden }";
    let barred = "global rule Never { condition: false }
                  rule Barred { condition: true }";
    let set = whole(&[("a.yar", rules), ("b.yar", barred)]);
    assert_eq!(names(&find_in(&set.matcher, "x", b"four")), ["a.yar:Seen"]);
    assert!(find_in(&set.matcher, "x", b"abc").found.is_empty());
}

#[test]
fn a_rule_knows_the_name_of_what_it_sees() {
    let rules = r#"
        rule Name { condition: filename == "Setup.EXE" }
        rule Path { condition: filepath == "/tmp/a.zip!d/Setup.EXE" }
        rule End { condition: extension == ".exe" }"#;
    let set = whole(&[("n", rules)]);
    let told = find_in(&set.matcher, "/tmp/a.zip!d/Setup.EXE", b"x");
    assert_eq!(names(&told), ["n:Name", "n:Path", "n:End"]);
    // Nothing is left of the name before.
    assert!(find_in(&set.matcher, "/tmp/other", b"x").found.is_empty());
    for (name, end) in [("a.b.C", ".c"), ("none", ""), (".profile", ""), ("x.", ".")] {
        assert_eq!(extension(name), end, "{name}");
    }
}

#[test]
fn the_modules_of_rule_sets_in_the_open_are_there() {
    let modules = [
        "console", "dex", "dotnet", "elf", "hash", "lnk", "macho", "math", "pe", "string", "time",
    ];
    let mut text: String = modules.map(|name| format!("import \"{name}\"\n")).concat();
    text += "rule Hashed { condition: hash.md5(0, filesize) == \"900150983cd24fb0d6963f7d28e17f72\"
             and math.entropy(0, filesize) > 1.5 and not defined elf.type and not pe.is_pe }";
    let set = whole(&[("m", &text)]);
    assert_eq!(names(&find_in(&set.matcher, "x", b"abc")), ["m:Hashed"]);
}

#[test]
fn no_other_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.yar");
    std::fs::write(&other, "rule Other { condition: true }").unwrap();
    let text = format!("include \"{}\"", other.display());
    let set = set(&[("a.yar", &text)]);
    assert_eq!((set.rules, set.errors.len()), (0, 1));
}

#[test]
fn rules_come_out_of_their_bytes_as_they_were() {
    let set = whole(&[("own.yar", OWN)]);
    let bytes = set.matcher.to_bytes().unwrap();
    let matcher = Matcher::read(&bytes).unwrap();
    let text = b"hello thymus";
    assert_eq!(
        find_in(&matcher, "x", text),
        find_in(&set.matcher, "x", text)
    );
    assert_eq!(find_in(&matcher, "x", text).found.len(), 1);
    for wrong in [&b""[..], b"rules", bytes.get(..20).unwrap()] {
        assert!(Matcher::read(wrong).is_err());
    }
}

#[test]
fn the_digest_is_of_names_and_contents() {
    let one = set(&[("a", OWN)]).sha256;
    assert_eq!(set(&[("a", OWN)]).sha256, one);
    assert_ne!(set(&[("b", OWN)]).sha256, one);
    assert_ne!(set(&[("a", &OWN.replace("70", "71"))]).sha256, one);
}

#[test]
fn what_does_not_end_is_ended_and_the_next_is_looked_at() {
    let endless = "rule Endless { condition:
        filesize == 4 and for all i in (0..9223372036854775806) : ( i >= 0 ) }
        rule Quick { condition: true }";
    let set = whole(&[("e", endless)]);
    set.matcher.start().unwrap();
    let target = RuleTarget { name: "", path: "" };
    let told = set.matcher.find(&target, b"four", 1);
    assert_eq!(told, RuleMatches::unfinished());
    let next = set.matcher.find(&target, b"other", 1);
    assert_eq!(names(&next), ["e:Quick"]);
}

#[test]
fn what_is_told_is_bounded() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for number in 0..100 {
        let long = "ü".repeat(400);
        let tags: String = (0..30).fold(String::new(), |tags, tag| format!("{tags} t{tag}"));
        let meta: String = (0..30).fold(String::new(), |meta, key| {
            format!("{meta} m{key} = \"{long}\"")
        });
        let strings: String = (0..30).fold(String::new(), |strings, key| {
            format!("{strings} $s{key} = \"abcdefgh{}\"", key % 10)
        });
        writeln!(
            text,
            "rule r{number} :{tags} {{ meta:{meta} strings:{strings} condition: all of them }}"
        )
        .unwrap();
    }
    let set = whole(&[("many", &text)]);
    let content: String = (0..200).fold(String::new(), |all, n| format!("{all}abcdefgh{}", n % 10));
    let matches = find_in(&set.matcher, "x", content.as_bytes());
    assert_eq!(matches.found.len(), RULES_MAX);
    assert_eq!(matches.left_out, 36);
    let rule = &matches.found[0];
    assert_eq!(
        (rule.tags.len(), rule.meta.len(), rule.strings.len()),
        (16, 16, 16)
    );
    assert_eq!(rule.meta[0].1.len(), 512);
    assert_eq!(
        (rule.strings[0].count, rule.strings[0].spans.len()),
        (20, 4)
    );
}
