use super::*;
use crate::{ByteRange, Coverage, Leaning, samples};

const GOOD: &[u8] = b"#!/bin/sh\necho fine\n";
const BAD: &[u8] = b"#!/bin/sh\necho EVIL\n";

/// Knows some types, and finds the word `EVIL` malicious and `ODD` suspicious.
struct Words;

impl Judge for Words {
    fn judge(&self, kind: FileType, bytes: &[u8]) -> Option<Judgement> {
        use FileType::{Elf, JavaScript, Ooxml, Pdf, Php, Shell, Vba};
        if !matches!(kind, Elf | JavaScript | Ooxml | Pdf | Php | Shell | Vba) {
            return None;
        }
        assert!(
            !bytes.starts_with(b"#!/bin/sh\nPANIC"),
            "a judge that fails"
        );
        let evil = memchr::memmem::find(bytes, b"EVIL");
        let odd = memchr::memmem::find(bytes, b"ODD");
        let (leaning, probability) = match (evil, odd) {
            (Some(_), _) => (Leaning::Malicious, 0.99),
            (_, Some(_)) => (Leaning::Suspicious, 0.5),
            _ => (Leaning::Clean, 0.01),
        };
        let range = |at: usize| ByteRange {
            offset: at as u64,
            length: 4,
            weight: 1.0,
        };
        Some(Judgement {
            leaning,
            probability,
            ranges: evil.map(range).into_iter().collect(),
            model: "words".to_owned(),
            ..Judgement::default()
        })
    }
}

fn scan_under(policy: &ScanPolicy, name: &str, bytes: &[u8]) -> FileReport {
    Scanner::new(policy, Some(&Words)).scan(name, bytes, &|| false)
}

fn scan(name: &str, bytes: &[u8]) -> FileReport {
    scan_under(&ScanPolicy::default(), name, bytes)
}

fn not(reason: Reason) -> Outcome {
    Outcome::NotJudged(reason)
}

/// The outcome of the whole, then of each member.
fn check(bytes: &[u8], whole: Outcome, members: &[(&str, Outcome)]) {
    let report = scan("x", bytes);
    let found: Vec<(&str, Outcome)> = report
        .members
        .iter()
        .map(|verdict| (verdict.member.as_deref().unwrap(), verdict.outcome))
        .collect();
    assert_eq!(found, members);
    assert_eq!(report.whole.outcome, whole);
}

#[test]
fn without_a_judge_nothing_is_clean() {
    let policy = ScanPolicy::default();
    let scanner = Scanner::new(&policy, None);
    for bytes in [
        GOOD.to_vec(),
        samples::zip(&[("a", GOOD)]),
        b"%PDF-1.4".to_vec(),
    ] {
        let report = scanner.scan("x", &bytes, &|| false);
        assert!(
            report
                .verdicts()
                .all(|v| matches!(v.outcome, Outcome::NotJudged(_))),
            "{report:?}"
        );
    }
    let report = scanner.scan("x", GOOD, &|| false);
    assert_eq!(
        report.whole.outcome.reason().unwrap().to_string(),
        "no network for shell"
    );
}

#[test]
fn an_archive_is_as_bad_as_its_worst_member_and_clean_only_when_all_are() {
    use Outcome::{Clean, Malicious, Suspicious};
    check(GOOD, Clean, &[]);
    let zip = |members: &[(&str, &[u8])]| samples::zip(members);
    check(
        &zip(&[("a", GOOD), ("b", GOOD)]),
        Clean,
        &[("a", Clean), ("b", Clean)],
    );
    check(
        &zip(&[("a", GOOD), ("b", BAD), ("c", b"#!/bin/sh\nODD")]),
        Malicious,
        &[("a", Clean), ("b", Malicious), ("c", Suspicious)],
    );
    let text = not(Reason::NoNetwork(FileType::Text));
    check(
        &zip(&[("a", GOOD), ("b", b"words of a letter")]),
        not(Reason::MembersNotJudged),
        &[("a", Clean), ("b", text)],
    );
    check(&zip(&[]), not(Reason::Empty), &[]);
    check(b"", not(Reason::Empty), &[]);
}

#[test]
fn members_have_their_path_through_every_layer() {
    let inner = samples::gzip(&samples::tar(&[("dir/run.sh", BAD)]));
    let outer = samples::zip(&[("in.tar.gz", &inner)]);
    check(
        &outer,
        Outcome::Malicious,
        &[
            ("in.tar.gz", Outcome::Malicious),
            ("in.tar.gz!dir/run.sh", Outcome::Malicious),
        ],
    );
    check(
        &samples::deb(BAD, "usr/bin/x", GOOD),
        Outcome::Malicious,
        &[
            ("debian-binary", not(Reason::NoNetwork(FileType::Text))),
            ("control.tar.gz", Outcome::Malicious),
            ("control.tar.gz!postinst", Outcome::Malicious),
            ("data.tar.xz", Outcome::Clean),
            ("data.tar.xz!usr/bin/x", Outcome::Clean),
        ],
    );
}

#[test]
fn added_bytes_do_not_reroute() {
    // A document in front of an archive, and a web shell behind a picture.
    let both = [b"%PDF-1.4 fine\n".to_vec(), samples::zip(&[("a", BAD)])].concat();
    let report = scan("x.pdf", &both);
    assert_eq!(report.whole.outcome, Outcome::Malicious);
    assert_eq!(report.whole.kind, FileType::Zip);
    let shell = b"GIF89a...<?php eval($_POST['EVIL']); ?>";
    let report = scan("x.gif", shell);
    assert_eq!(
        (report.whole.outcome, report.whole.kind),
        (Outcome::Malicious, FileType::Php)
    );
    // What was malicious as a program stays it with an archive behind it.
    let mut elf = b"\x7fELF\x02\x01\x01\0EVIL".to_vec();
    elf.resize(200, 0);
    elf.extend(samples::zip(&[("a", GOOD)]));
    assert_eq!(scan("x", &elf).whole.outcome, Outcome::Malicious);
}

#[test]
fn a_document_is_judged_with_its_parts_and_again_by_its_code() {
    let module = samples::vba_module("Sub AutoOpen()\r\n' EVIL\r\nEnd Sub\r\n");
    let project = samples::ole(&[("VBA", &module)]);
    let parts: &[(&str, &[u8])] = &[
        ("[Content_Types].xml", b"<?xml version=\"1.0\"?>"),
        ("word/document.xml", b"<?xml version=\"1.0\"?>"),
        ("word/media/image1.png", b"\x89PNG\r\n\x1a\n"),
    ];
    check(&samples::zip(parts), Outcome::Clean, &[]);
    let with_code = [parts, &[("word/vbaProject.bin", &project[..])]].concat();
    check(
        &samples::zip(&with_code),
        Outcome::Malicious,
        &[
            ("word/vbaProject.bin", Outcome::Malicious),
            ("word/vbaProject.bin!VBA.bas", Outcome::Malicious),
        ],
    );
    let script = samples::pdf(&[b"<< /JS (app.alert\\('EV\\111L'\\)) >>".to_vec()]);
    check(
        &script,
        Outcome::Malicious,
        &[("script1.js", Outcome::Malicious)],
    );
}

#[test]
fn what_cannot_be_opened_is_told_and_never_clean() {
    check(
        &samples::locked_zip("p", "a", GOOD),
        not(Reason::MembersNotJudged),
        &[("a", not(Reason::Encrypted))],
    );
    let cut = samples::zip(&[("a", GOOD)]);
    check(
        &cut[..cut.len() - 10],
        not(Reason::Broken(FileType::Zip)),
        &[],
    );
    check(
        b"Rar!\x1a\x07\x01\0",
        not(Reason::Unsupported(FileType::Rar)),
        &[],
    );
    check(b"MSCF\0\0\0\0....", not(Reason::Broken(FileType::Cab)), &[]);
}

#[test]
fn nesting_ends_and_time_too() {
    let mut nested = GOOD.to_vec();
    for _ in 0..40 {
        nested = samples::zip(&[("z", &nested)]);
    }
    let report = scan("x", &nested);
    assert_eq!(report.whole.outcome, not(Reason::MembersNotJudged));
    let last = report.members.last().unwrap();
    assert_eq!(last.outcome, not(Reason::TooDeep));
    assert_eq!(report.members.len(), 8);
    let policy = ScanPolicy::default();
    let late = Scanner::new(&policy, Some(&Words));
    let report = late.scan("x", &samples::zip(&[("a", GOOD)]), &|| true);
    assert_eq!(report.whole.outcome, not(Reason::OutOfTime));
}

#[test]
fn a_judge_that_panics_costs_one_file() {
    check(
        &samples::zip(&[("a", b"#!/bin/sh\nPANIC"), ("b", BAD)]),
        Outcome::Malicious,
        &[
            ("a", not(Reason::DecoderPanicked)),
            ("b", Outcome::Malicious),
        ],
    );
}

#[test]
fn coverage_counts_what_has_content_of_its_own() {
    let mut coverage = Coverage::default();
    coverage.add(&scan(
        "x",
        &samples::zip(&[("a", GOOD), ("b", b"words of a letter")]),
    ));
    coverage.add(&scan("y", BAD));
    coverage.add(&FileReport::not_judged(0, Reason::Unreadable));
    assert_eq!(
        (coverage.files, coverage.malicious, coverage.not_judged),
        (3, 1, 2)
    );
    assert_eq!((coverage.objects, coverage.objects_judged), (4, 2));
    assert_eq!(coverage.bytes_judged, (GOOD.len() + BAD.len()) as u64);
    let reasons: Vec<(&str, u64)> = coverage
        .reasons
        .iter()
        .map(|(reason, count)| (reason.as_str(), *count))
        .collect();
    assert_eq!(reasons, [("no network for text", 1), ("unreadable", 1)]);
}

#[test]
fn what_a_program_carries_is_judged_beside_it() {
    use Outcome::{Clean, Malicious};
    let elf = samples::elf(b".text", b"CODE");
    check(&elf, Clean, &[]);
    let with = |more: &[u8]| [&elf[..], more].concat();
    let packed = samples::seven_zip(None, &[("run.sh", BAD)]);
    let inside = [("behind.7z", Malicious), ("behind.7z!run.sh", Malicious)];
    check(&with(&packed), Malicious, &inside);
    // Behind words that an unpacker passes over, and zip archives, which are found by their end.
    let inside = [
        ("at-0x110.7z", Malicious),
        ("at-0x110.7z!run.sh", Malicious),
    ];
    assert_eq!(elf.len() + 5, 0x110);
    check(&with(&[b";!@In", &packed[..]].concat()), Malicious, &inside);
    check(
        &with(&samples::zip(&[("run.sh", BAD)])),
        Malicious,
        &[("run.sh", Malicious)],
    );
    check(
        &with(&samples::zip(&[("run.sh", GOOD)])),
        Clean,
        &[("run.sh", Clean)],
    );
    let rar = not(Reason::Unsupported(FileType::Rar));
    check(
        &with(b"Rar!\x1a\x07\0\0\0\x73\0"),
        not(Reason::MembersNotJudged),
        &[("behind.rar", rar)],
    );
    // What only knows the magic bytes carries nothing.
    check(
        &with(b"text 7z\xbc\xaf\x27\x1c\0\x04 MSCF\0\0\0\0 Rar!\x1a\x07 text"),
        Clean,
        &[],
    );
    let nested = ScanPolicy {
        depth_max: 0,
        ..ScanPolicy::default()
    };
    assert_eq!(
        scan_under(&nested, "x", &elf).whole.outcome,
        Clean,
        "nothing to open"
    );
}

#[test]
fn archives_among_resources_are_judged_and_installers_are_told() {
    let cab = samples::cab(true, &[("run.sh", BAD)]);
    let report = scan("setup.exe", &samples::pe(b".rsrc", &cab));
    assert_eq!(report.whole.outcome, Outcome::Malicious);
    assert_eq!(report.members[0].member.as_deref(), Some("at-0x80.cab"));
    let report = scan("setup.exe", &samples::installer());
    let reasons: Vec<_> = report
        .members
        .iter()
        .map(|m| m.outcome.reason().unwrap())
        .collect();
    let unsupported = [FileType::Nsis, FileType::Inno].map(Reason::Unsupported);
    assert_eq!(reasons, unsupported);
    assert_eq!(reasons[0].to_string(), "unsupported nsis installer");
}

#[test]
fn packed_programs_are_told() {
    let packer = |bytes: &[u8]| scan("x", bytes).whole.packer;
    assert_eq!(packer(&samples::pe(b"UPX0", b"CODE")), Some(Packer::Upx));
    assert_eq!(
        packer(&samples::pe(b".text", b"CODE UPX!")),
        Some(Packer::Upx)
    );
    assert_eq!(packer(&samples::elf(b".text", b"UPX!")), Some(Packer::Upx));
    assert_eq!(packer(&samples::elf(b".text", b"CODE")), None);
    assert_eq!(packer(b"about UPX! in words"), None);
}

#[test]
fn the_deciding_bytes_are_shown() {
    let report = scan("x", BAD);
    let excerpt = &report.whole.excerpts[0];
    assert_eq!(excerpt.text().as_deref(), Some("EVIL"));
    assert_eq!(excerpt.section, None, "a script has none");
}
