use super::*;
use crate::{FileType, Judgement, Leaning, Reason};

const TODAY: Day = Day {
    year: 2026,
    month: 6,
    day: 15,
};
const REST: &str = "scope = \"/\"\nowner = \"ann\"\nreason = \"ours\"\nexpires = 2026-06-15\n";

fn lists(text: &str) -> Lists {
    Lists::parse(text, TODAY).unwrap()
}

fn refused(text: &str) -> String {
    Lists::parse(text, TODAY).unwrap_err().to_string()
}

fn verdict(member: Option<&str>, outcome: Outcome, is_judged: bool) -> Verdict {
    let mut verdict = Verdict::not_judged(FileType::Pdf, 1, Reason::Empty);
    verdict.member = member.map(str::to_owned);
    verdict.outcome = outcome;
    verdict.sha256 = Some([member.map_or(0, |member| member.len() as u8); 32]);
    verdict.judgement = is_judged.then(|| Judgement {
        leaning: Leaning::Malicious,
        probability: 1.0,
        ..Judgement::default()
    });
    verdict
}

const BAD: Outcome = Outcome::Malicious;
const GOOD: Outcome = Outcome::Clean;

fn report() -> FileReport {
    FileReport {
        whole: verdict(None, BAD, false),
        members: vec![
            verdict(Some("in.zip"), BAD, false),
            verdict(Some("in.zip!bad.pdf"), BAD, true),
            verdict(Some("good.pdf"), GOOD, true),
        ],
    }
}

/// What counts, with the words of the list, of each verdict of the report above.
fn decided(text: &str, path: &str) -> Vec<Option<(&'static str, Outcome)>> {
    let lists = lists(text);
    let decisions = lists.decide(Some(Path::new(path)), &report());
    let word = |decision: Decision<'_>| (decision.entry.list.as_str(), decision.outcome);
    decisions.into_iter().map(|d| d.map(word)).collect()
}

#[test]
fn an_entry_acts_through_its_last_day_and_not_after_it() {
    let text = format!("[[allow]]\nsha256 = \"{}\"\n{REST}", "0".repeat(64));
    assert_eq!(lists(&text).entries().len(), 1);
    let tomorrow = Day { day: 16, ..TODAY };
    let later = Lists::parse(&text, tomorrow).unwrap();
    assert!(later.is_empty());
    assert_eq!(later.expired().len(), 1);
    let decisions = later.decide(Some(Path::new("/a")), &report());
    assert!(decisions.iter().all(Option::is_none));
}

#[test]
fn what_is_not_understood_is_refused_with_the_nearest_right_word() {
    let digest = "ab".repeat(32);
    for (text, says) in [
        ("[[alow]]\npath = \"/x\"\n", "[[allow]]"),
        ("[allow]\npath = \"/x\"\n", "written [[allow]]"),
        ("[[block]]\nsha25 = \"x\"\n", "the nearest is `sha256`"),
        (
            "[[block]]\nexpired = 2026-01-01\n",
            "the nearest is `expires`",
        ),
        (&*format!("[[block]]\n{REST}"), "needs one of"),
        (
            &*format!("[[block]]\npath = \"/x\"\nmember = \"y\"\n{REST}"),
            "needs one of",
        ),
        (&*format!("[[block]]\npath = \"x\"\n{REST}"), "begin with /"),
        (
            &*format!("[[block]]\npath = \"/[\"\n{REST}"),
            "[[block]] number 1",
        ),
        (
            &*format!("[[block]]\nsha256 = \"ab\"\n{REST}"),
            "64 hexadecimal",
        ),
        (
            &*format!("[[block]]\nsha256 = \"{digest}\"\nowner = \"a\"\n"),
            "`scope` is missing",
        ),
        (
            &*format!("[[block]]\nsha256 = \"{digest}\"\nscope = \"x\"\n"),
            "`scope` must be",
        ),
        (
            &*format!(
                "[[block]]\nsha256 = \"{digest}\"\n{}",
                REST.replace("2026-06-15", "7")
            ),
            "a day such as",
        ),
        (
            &*format!(
                "[[block]]\nsha256 = \"{digest}\"\n{}",
                REST.replace("ours", " ")
            ),
            "`reason` must be text",
        ),
        ("nonsense", "TOML"),
    ] {
        let said = refused(text);
        assert!(said.contains(says), "{text}: {said}");
    }
}

#[test]
fn an_allowed_member_clears_what_was_found_for_it_alone() {
    let text = format!("[[allow]]\nmember = \"*bad.pdf\"\n{REST}");
    let clean = Some(("allow", GOOD));
    assert_eq!(decided(&text, "/x/a.zip"), [clean, clean, clean, None]);
    // What was judged itself stays what it is.
    let mut judged = report();
    judged
        .whole
        .judgement
        .clone_from(&judged.members[1].judgement);
    let lists = lists(&text);
    assert_eq!(lists.decide(Some(Path::new("/x")), &judged)[0], None);
}

#[test]
fn what_is_allowed_does_not_clear_what_was_not_looked_at() {
    let lists = lists(&format!("[[allow]]\nmember = \"*bad.pdf\"\n{REST}"));
    let with = |reason| {
        let mut report = report();
        report.whole.kind = FileType::Zip;
        let more = verdict(Some("more"), Outcome::NotJudged(reason), false);
        report.members.push(more);
        let decided = lists.decide(Some(Path::new("/x")), &report);
        decided[0].map(|decision| decision.outcome)
    };
    let not_judged = Outcome::NotJudged(Reason::MembersNotJudged);
    assert_eq!(with(Reason::Encrypted), Some(not_judged));
    // Members that are not told of may be what it was found for.
    assert_eq!(with(Reason::TooManyMembers), None);
}

#[test]
fn many_members_of_hostile_names_are_decided_about() {
    let lists = lists(&format!("[[block]]\nmember = \"*\"\n{REST}"));
    let mut report = report();
    let deep = "!".repeat(4000);
    report.members = (0..20_000)
        .map(|number| verdict(Some(&format!("{deep}{number}")), GOOD, true))
        .collect();
    let decided = lists.decide(None, &report);
    assert!(
        decided
            .iter()
            .all(|decision| decision.unwrap().outcome == BAD)
    );
}

#[test]
fn an_allowed_file_clears_what_is_in_it_but_not_what_is_blocked() {
    let allow = format!("[[allow]]\npath = \"/x/*.zip\"\n{REST}");
    let clean = Some(("allow", GOOD));
    assert_eq!(decided(&allow, "/x/a.zip"), [clean, clean, clean, None]);
    assert_eq!(decided(&allow, "/x/y/a.zip"), [None; 4]);
    let both = format!("{allow}[[block]]\nmember = \"good.*\"\n{REST}");
    let blocked = Some(("block", BAD));
    assert_eq!(decided(&both, "/x/a.zip"), [blocked, clean, clean, blocked]);
}

#[test]
fn a_block_acts_on_what_was_not_judged_and_an_allow_does_not() {
    let lists = lists(&format!(
        "[[block]]\npath = \"/x/b\"\n{REST}[[allow]]\npath = \"/x/a\"\n{REST}"
    ));
    let report = FileReport::not_judged(0, Reason::TooLarge);
    let decide = |path: &str| lists.decide(Some(Path::new(path)), &report)[0];
    assert_eq!(decide("/x/b").unwrap().outcome, BAD);
    assert_eq!(decide("/x/a"), None);
    assert!(
        lists
            .matching(Some(Path::new("/x/a")), &report.whole)
            .is_some()
    );
}

#[test]
fn a_scope_is_a_folder_and_standard_input_is_in_none() {
    let digest = "00".repeat(32);
    let scoped = REST.replace("\"/\"", "\"/srv/up\"");
    let narrow = format!("[[allow]]\nsha256 = \"{digest}\"\n{scoped}");
    let wide = format!("[[allow]]\nsha256 = \"{digest}\"\n{REST}");
    assert!(decided(&narrow, "/srv/up/a.zip")[0].is_some());
    assert_eq!(decided(&narrow, "/srv/upper/a.zip"), [None; 4]);
    let of = |text: &str| lists(text).matching(None, &report().whole).is_some();
    assert!(of(&wide) && !of(&narrow));
}

fn signed(refused: Option<crate::Refusal>, names_code_signing: bool) -> Verdict {
    let certificate = |number: u8| crate::SignerCertificate {
        sha256: [number; 32],
        subject: format!("CN={number}"),
        issuer: "CN=9".to_owned(),
        common_name: Some(number.to_string()),
        organisation: Some("Example Ltd".to_owned()),
        names_code_signing,
    };
    let mut verdict = verdict(None, BAD, true);
    verdict.signatures = vec![crate::Signature {
        refused,
        chain: vec![certificate(1), certificate(2)],
        timestamp: crate::Timestamp::None,
    }];
    verdict
}

#[test]
fn a_signer_is_named_by_certificate_and_name_and_only_when_verified() {
    let pin = |number: u8, more: &str| {
        let digits = format!("{number:02x}").repeat(32);
        format!("[[allow]]\nsigner = \"{digits}\"\n{more}{REST}")
    };
    let acts = |text: &str, verdict: &Verdict| {
        let lists = lists(text);
        let path = Some(Path::new("/a"));
        let why = lists.unsigned(path, verdict).first().map(|(_, why)| *why);
        let is_named = lists.matching(path, verdict).is_some();
        assert_eq!(is_named, why.is_none());
        let report = FileReport {
            whole: verdict.clone(),
            members: Vec::new(),
        };
        assert_eq!(lists.decide(path, &report)[0].is_some(), is_named);
        why
    };
    let good = signed(None, true);
    assert_eq!(acts(&pin(1, ""), &good), None);
    assert_eq!(acts(&pin(2, ""), &good), None);
    assert_eq!(acts(&pin(3, ""), &good), Some(Unsigned::OtherSigner));
    let colons = pin(1, "").replace("0101", "01:01");
    assert_eq!(acts(&colons, &good), None);
    for name in ["1", "Example Ltd"] {
        let pinned = pin(2, &format!("subject = \"{name}\"\n"));
        assert_eq!(acts(&pinned, &good), None);
    }
    // The name is the signer's, not that of who vouches for it.
    let other = pin(2, "subject = \"2\"\n");
    assert_eq!(acts(&other, &good), Some(Unsigned::OtherSubject));
    let mail = signed(None, false);
    assert_eq!(acts(&pin(1, ""), &mail), None);
    assert_eq!(acts(&pin(2, ""), &mail), Some(Unsigned::NotForCode));
    let why = crate::Refusal::DigestDiffers;
    let broken = signed(Some(why), true);
    assert_eq!(acts(&pin(1, ""), &broken), Some(Unsigned::Refused(why)));
    let away = pin(1, "").replace("\"/\"", "\"/srv\"");
    assert_eq!(acts(&away, &good), Some(Unsigned::OutOfScope));
    let mut bare = verdict(None, BAD, true);
    bare.kind = FileType::Pe;
    assert_eq!(acts(&pin(1, ""), &bare), Some(Unsigned::NotSigned));
    let text = pin(1, "").replace("[[allow]]", "[[block]]");
    assert_eq!(acts(&text, &good), None);
    assert!(refused(&pin(1, "subject = \"\"\n")).contains("`subject` must be text"));
    let stray = format!("[[allow]]\npath = \"/x\"\nsubject = \"x\"\n{REST}");
    assert!(refused(&stray).contains("belongs to a `signer`"));
}
