use super::*;
use crate::{ScanPolicy, samples};

const SHELL: &[u8] = b"#!/bin/sh\necho EVIL\n";

/// What came out: names with bytes, and names with reasons.
#[derive(Debug, Default, PartialEq)]
struct Out {
    files: Vec<(String, Vec<u8>)>,
    missing: Vec<(String, Reason)>,
    done: Option<Reason>,
}

fn opened_with(policy: &ScanPolicy, kind: FileType, name: &str, bytes: &[u8]) -> Out {
    let budget = Budget::new(policy, bytes.len() as u64, &|| false);
    let mut out = Out::default();
    let mut give = |part: Part<'_>| match part {
        Part::File { name, bytes, .. } => out.files.push((name.to_owned(), bytes.to_vec())),
        Part::Missing { name, reason } => out.missing.push((name.to_owned(), reason)),
    };
    let mut opening = Opening {
        name,
        budget: &budget,
        give: &mut give,
    };
    let done = open(kind, bytes, &mut opening).err();
    out.done = done;
    out
}

fn opened(kind: FileType, bytes: &[u8]) -> Out {
    opened_with(&ScanPolicy::default(), kind, "x.js.gz", bytes)
}

/// Opens to exactly these files without a complaint.
fn check(kind: FileType, bytes: &[u8], files: &[(&str, &[u8])]) {
    let out = opened(kind, bytes);
    let files: Vec<_> = files
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
        .collect();
    assert_eq!(out.files, files, "{kind:?}");
    assert_eq!((out.missing, out.done), (Vec::new(), None), "{kind:?}");
}

#[test]
fn every_archive_gives_its_members() {
    let members: &[(&str, &[u8])] = &[("a/run.sh", SHELL), ("b.txt", b"words")];
    check(FileType::Zip, &samples::zip(members), members);
    check(
        FileType::SevenZip,
        &samples::seven_zip(None, members),
        members,
    );
    check(FileType::Tar, &samples::tar(members), members);
    check(FileType::Cpio, &samples::cpio(members), members);
    check(FileType::Ar, &samples::ar(members), members);
    let long: &[(&str, &[u8])] = &[("a-name-of-more-than-15-letters", SHELL), ("b", b"x")];
    check(FileType::Ar, &samples::ar(long), long);
    check(
        FileType::Iso,
        &samples::iso("RUN.SH", SHELL),
        &[("SUB/RUN.SH", SHELL)],
    );
    check(
        FileType::Rpm,
        &samples::rpm(b"payload"),
        &[("payload", b"payload")],
    );
}

#[test]
fn cabinets_give_their_members_however_they_are_packed() {
    let long = vec![b'x'; 70_000];
    let members: &[(&str, &[u8])] = &[("a/run.sh", SHELL), ("long", &long), ("b.txt", b"words")];
    check(FileType::Cab, &samples::cab(false, members), members);
    check(FileType::Cab, &samples::cab(true, members), members);
    // The second block is a match of three bytes that begin four before it.
    let blocks = [
        (b"CK\x01\x04\0\xfb\xffabcd".to_vec(), 4),
        (b"CK\x03\x62\0".to_vec(), 3),
    ];
    let members: &[(&str, &[u8])] = &[("all", b"abcdabc")];
    check(
        FileType::Cab,
        &samples::cab_of(1, members, &blocks),
        members,
    );
    // One block of LZX that is not compressed: its head, three distances, its bytes.
    let head = b"\0\x30\x40\x01\x01\0\0\0\x01\0\0\0\x01\0\0\0";
    let members: &[(&str, &[u8])] = &[("lzx.txt", b"twenty bytes of text")];
    let block = ([&head[..], members[0].1].concat(), 20);
    check(
        FileType::Cab,
        &samples::cab_of(0x0f03, members, &[block]),
        members,
    );
}

#[test]
fn what_a_cabinet_does_not_hold_is_told() {
    let members: &[(&str, &[u8])] = &[("a", b"first"), ("b", b"second")];
    let broken = Reason::Broken(FileType::Cab);
    let whole = samples::cab(false, members);
    let cut = opened(FileType::Cab, &whole[..whole.len() - 2]);
    assert_eq!(
        cut.missing,
        [("a".to_owned(), broken), ("b".to_owned(), broken)]
    );
    let mut elsewhere = whole.clone();
    elsewhere[44 + 8] = 0xfd;
    elsewhere[44 + 9] = 0xff;
    let out = opened(FileType::Cab, &elsewhere);
    assert_eq!(out.files, [("b".to_owned(), b"second".to_vec())]);
    assert_eq!(
        out.missing,
        [("a".to_owned(), Reason::Unsupported(FileType::Cab))]
    );
    let mut shared = whole;
    let second = 44 + 16 + 2;
    shared[second + 4] = 2;
    let out = opened(FileType::Cab, &shared);
    assert_eq!(out.missing, [("b".to_owned(), Reason::Overlapping)]);
    // A decoder that asserts costs its folder and no more.
    let members: &[(&str, &[u8])] = &[("lzx", b"x")];
    let nonsense = samples::cab_of(0x0f03, members, &[(vec![0; 40], 1)]);
    assert_eq!(
        opened(FileType::Cab, &nonsense).missing,
        [("lzx".to_owned(), broken)]
    );
}

#[test]
fn installers_give_their_script_and_files() {
    let kept: &[(&str, &[u8])] = &[("script", b"script"), ("file1", SHELL), ("file2", b"words")];
    let stream = samples::nsis(&samples::nsis_stream(&[SHELL, b"words"]));
    check(FileType::Pe, &stream, kept);
    let alone = samples::nsis(&samples::nsis_files(SHELL, b"words"));
    check(FileType::Pe, &alone, kept);
    let cut = opened(FileType::Pe, &stream[..stream.len() - 20]);
    assert_eq!(
        cut.files.first().map(|file| file.0.as_str()),
        Some("script")
    );
    let broken = Reason::Broken(FileType::Nsis);
    assert!(
        cut.missing.iter().any(|(_, reason)| *reason == broken),
        "{cut:?}"
    );
}

#[test]
fn a_program_with_more_archives_than_are_taken_says_so() {
    let archive = samples::cab(false, &[("a", b"x")]);
    let program = samples::pe(b".rsrc", &archive.repeat(17));
    let out = opened(FileType::Pe, &program);
    assert_eq!(
        (out.files.len(), out.done),
        (16, Some(Reason::TooManyMembers))
    );
}

#[test]
fn streams_give_what_they_hold_and_archives_in_them_their_members() {
    for (kind, pack) in [
        (FileType::Gzip, samples::gzip as fn(&[u8]) -> Vec<u8>),
        (FileType::Xz, samples::xz),
        (FileType::Zstd, samples::zstd),
        (FileType::Bzip2, samples::bzip2),
    ] {
        check(kind, &pack(SHELL), &[("x.js", SHELL)]);
        let members: &[(&str, &[u8])] = &[("run.sh", SHELL), ("empty", b"")];
        check(kind, &pack(&samples::tar(members)), members);
        check(kind, &pack(&samples::cpio(&members[..1])), &members[..1]);
        let cut = pack(&SHELL.repeat(1000));
        let out = opened(kind, &cut[..cut.len() - 9]);
        let told = out
            .missing
            .iter()
            .map(|(_, reason)| *reason)
            .chain(out.done);
        assert_eq!(told.collect::<Vec<_>>(), [Reason::Broken(kind)]);
    }
}

#[test]
fn long_names_in_tape_archives_are_whole() {
    let name = format!("{}/run.sh", "folder/".repeat(30));
    let members: &[(&str, &[u8])] = &[(&name, SHELL)];
    check(FileType::Tar, &samples::tar(members), members);
    let mut pax = ::tar::Builder::new(Vec::new());
    pax.append_pax_extensions([("path", name.as_bytes())])
        .unwrap();
    let mut header = ::tar::Header::new_ustar();
    header.set_size(SHELL.len() as u64);
    header.set_path("short").unwrap();
    header.set_cksum();
    pax.append(&header, SHELL).unwrap();
    check(FileType::Tar, &pax.into_inner().unwrap(), members);
}

#[test]
fn locked_archives_open_with_a_given_password_only() {
    let zip = samples::locked_zip("infected", "run.sh", SHELL);
    let seven = samples::seven_zip(Some("infected"), &[("run.sh", SHELL)]);
    assert_eq!(
        opened(FileType::Zip, &zip).missing,
        [("run.sh".to_owned(), Reason::Encrypted)]
    );
    assert_eq!(
        opened(FileType::SevenZip, &seven).done,
        Some(Reason::Encrypted)
    );
    let policy = ScanPolicy {
        passwords: vec!["wrong".to_owned(), "infected".to_owned()],
        ..ScanPolicy::default()
    };
    for (kind, bytes) in [(FileType::Zip, &zip), (FileType::SevenZip, &seven)] {
        let out = opened_with(&policy, kind, "x", bytes);
        assert_eq!(out.files, [("run.sh".to_owned(), SHELL.to_vec())]);
        assert_eq!((out.missing, out.done), (vec![], None));
    }
}

#[test]
fn one_broken_or_large_member_does_not_take_the_others_with_it() {
    let policy = ScanPolicy {
        member_bytes_max: 100,
        ..ScanPolicy::default()
    };
    let large = [b'x'; 101];
    let members: &[(&str, &[u8])] = &[("large", &large), ("run.sh", SHELL)];
    for (kind, bytes) in [
        (FileType::Zip, samples::zip(members)),
        (FileType::SevenZip, samples::seven_zip(None, members)),
        (FileType::Tar, samples::tar(members)),
        (FileType::Cpio, samples::cpio(members)),
        (FileType::Ar, samples::ar(members)),
    ] {
        let out = opened_with(&policy, kind, "x", &bytes);
        assert_eq!(
            out.missing,
            [("large".to_owned(), Reason::TooLarge)],
            "{kind:?}"
        );
        assert_eq!(
            out.files,
            [("run.sh".to_owned(), SHELL.to_vec())],
            "{kind:?}"
        );
    }
    let mut zip = samples::zip(&[("first", &[7; 500]), ("run.sh", SHELL)]);
    // Into the middle of the first member's data, behind its header of 30 bytes and its name.
    zip[38] ^= 0xff;
    let out = opened(FileType::Zip, &zip);
    assert!(
        out.missing
            .contains(&("first".to_owned(), Reason::Broken(FileType::Zip)))
    );
    assert!(out.files.contains(&("run.sh".to_owned(), SHELL.to_vec())));
}

#[test]
fn bombs_end() {
    let zeros = vec![0; 1 << 20];
    let policy = ScanPolicy {
        ratio_free_bytes: 4 << 20,
        ratio_max: 10,
        ..ScanPolicy::default()
    };
    let names: Vec<String> = (0..20).map(|number| format!("{number}")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &zeros[..])).collect();
    for (kind, bytes) in [
        (FileType::Zip, samples::zip(&members)),
        (FileType::SevenZip, samples::seven_zip(None, &members)),
        (FileType::Gzip, samples::gzip(&samples::tar(&members))),
        (FileType::Gzip, samples::gzip(&zeros.repeat(20))),
    ] {
        let out = opened_with(&policy, kind, "x", &bytes);
        let told = out
            .missing
            .iter()
            .map(|(_, reason)| *reason)
            .chain(out.done);
        assert!(
            told.clone().any(|reason| reason == Reason::ExpandsTooMuch),
            "{kind:?}: {:?}",
            told.collect::<Vec<_>>()
        );
        assert!(out.files.len() <= 4, "{kind:?}");
    }
}

#[test]
fn a_member_that_is_skipped_in_a_stream_is_paid_for() {
    let policy = ScanPolicy {
        member_bytes_max: 1000,
        ratio_free_bytes: 2 << 20,
        ratio_max: 1,
        ..ScanPolicy::default()
    };
    let bytes = samples::gzip(&samples::tar(&[("zeros", &vec![0; 8 << 20]), ("b", b"x")]));
    let out = opened_with(&policy, FileType::Gzip, "x", &bytes);
    assert_eq!(out.done, Some(Reason::ExpandsTooMuch));
    assert_eq!(out.files, []);
}

#[test]
fn members_that_share_bytes_are_not_opened() {
    let mut zip = samples::zip(&[("a", &[1; 100]), ("b", &[2; 100])]);
    // The second entry of the directory is made to point at the first member, too.
    let at = memchr::memmem::rfind(&zip, b"PK\x01\x02").unwrap();
    zip[at + 42..at + 46].copy_from_slice(&0_u32.to_le_bytes());
    let out = opened(FileType::Zip, &zip);
    assert_eq!(out.done, Some(Reason::Overlapping));
    assert_eq!(out.files, []);
}

#[test]
fn a_member_hidden_behind_another_of_its_name_is_found_or_told() {
    let renamed = |mut zip: Vec<u8>| {
        for at in memchr::memmem::find_iter(&zip.clone(), b"run2") {
            zip[at + 3] = b'1';
        }
        zip
    };
    let zip = renamed(samples::zip(&[("run1", b"first"), ("run2", b"second")]));
    check(
        FileType::Zip,
        &zip,
        &[("run1", b"first"), ("run1", b"second")],
    );
    // Behind a program the members do not stand in sequence from the start: it is told that one is hidden.
    let out = opened(FileType::Zip, &[b"MZ".to_vec(), zip].concat());
    assert_eq!(out.files, [("run1".to_owned(), b"second".to_vec())]);
    assert_eq!(out.missing, [("(hidden)".to_owned(), Reason::SameName)]);
}

#[test]
fn compound_files_give_source_objects_and_streams() {
    let module = samples::vba_module("Sub AutoOpen()\r\nMsgBox \"EVIL\"\r\nEnd Sub\r\n");
    let object = samples::packaged("run.sh", SHELL);
    let bytes = samples::ole(&[
        ("ThisDocument", &module),
        ("\u{1}Ole10Native", &object),
        ("WordDocument", &[9; 700]),
        ("EncryptedPackage", b"x"),
    ]);
    let out = opened(FileType::Ole, &bytes);
    let names: Vec<&str> = out.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "ThisDocument.bas",
            "\u{1}Ole10Native/run.sh",
            "WordDocument"
        ]
    );
    assert!(out.files[0].1.ends_with(b"MsgBox \"EVIL\"\r\nEnd Sub\r\n"));
    assert_eq!(out.files[1].1, SHELL);
    assert_eq!(out.files[2].1, [9; 700]);
    assert_eq!(
        out.missing,
        [("EncryptedPackage".to_owned(), Reason::Encrypted)]
    );
}

#[test]
fn messages_give_bodies_and_attachments_by_name() {
    let out = opened(FileType::Ole, &samples::message("run of the day.sh", SHELL));
    let find = |name: &str| &out.files.iter().find(|file| file.0 == name).unwrap().1[..];
    assert_eq!(
        find("__attach_version1.0_#00000000/run of the day.sh"),
        SHELL
    );
    assert_eq!(find("subject.txt"), b"Your invoice");
    assert_eq!(find("body.html"), b"<html><script>var a;</script></html>");
    assert_eq!(find("body.rtf"), b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}");
    assert_eq!((out.missing, out.done), (Vec::new(), None));
}

#[test]
fn a_compound_file_in_circles_ends() {
    let mut bytes = samples::ole(&[("Stream", &[5; 2000])]);
    // Its first sector becomes its own successor; the directory's tree leads back to itself.
    bytes[512 + 4..512 + 8].copy_from_slice(&1_u32.to_le_bytes());
    let entry = bytes.len() - 512 + 128;
    bytes[entry + 68..entry + 72].copy_from_slice(&1_u32.to_le_bytes());
    let out = opened(FileType::Ole, &bytes);
    assert_eq!(out.files.len(), 1);
    assert!(out.files[0].1.len() <= 2000);
}

#[test]
fn installer_names_are_readable() {
    let bytes = samples::ole(&[("\u{3f7f}\u{4164}\u{422f}", b"abc")]);
    let out = opened(FileType::Msi, &bytes);
    assert!(out.files[0].0.is_ascii(), "{:?}", out.files);
}

#[test]
fn pdf_scripts_are_found_in_strings_streams_and_packed_objects() {
    let script = b"app.alert('EVIL');";
    let packed = samples::pdf_stream("/Filter /FlateDecode", &samples::zlib(script));
    let hidden = samples::zlib(b"<< /S /JavaScript /JS (var hidden = 1;) >>");
    let bytes = samples::pdf(&[
        b"<< /OpenAction << /S /JavaScript /J#53 (one\\(1\\);) >> >>".to_vec(),
        b"<< /S /JavaScript /JS 3 0 R >>".to_vec(),
        packed,
        samples::pdf_stream("/Type /ObjStm /Filter [ /FlateDecode ]", &hidden),
        samples::pdf_stream("/Type /EmbeddedFile", SHELL),
        samples::pdf_stream("/Filter /DCTDecode", b"\xff\xd8\xff"),
        b"<< /JS <76617220623B> >>".to_vec(),
    ]);
    check(
        FileType::Pdf,
        &bytes,
        &[
            ("script1.js", b"one(1);"),
            ("script2.js", b"var b;"),
            ("script3.js", b"var hidden = 1;"),
            ("object3", script),
            ("object5", &[SHELL, b"\n"].concat()),
        ],
    );
}

#[test]
fn what_stands_before_a_pdf_is_taken_away() {
    let document = samples::pdf(&[b"<< /Root >>".to_vec()]);
    check(FileType::Pdf, &document, &[]);
    let hidden = [b"words of no harm %PDF", &b"-"[..], &document].concat();
    let first: &[u8] = &hidden[b"words of no harm ".len()..];
    // The one in front may be the one that a reader takes; the other is found in what is left.
    check(FileType::Pdf, &hidden, &[("from-header.pdf", first)]);
    check(FileType::Pdf, first, &[("from-header.pdf", &document)]);
}

#[test]
fn a_locked_pdf_says_so() {
    let bytes = samples::pdf(&[
        b"<< /Encrypt 9 0 R >>".to_vec(),
        samples::pdf_stream("", b"x"),
    ]);
    let out = opened(FileType::Pdf, &bytes);
    assert_eq!(out.missing, [("streams".to_owned(), Reason::Encrypted)]);
    assert_eq!(out.files, []);
}

#[test]
fn mail_gives_bodies_and_attachments() {
    let out = opened(
        FileType::Eml,
        &samples::mail("run.sh", "IyEvYmluL3NoCmVjaG8gRVZJTAo="),
    );
    assert_eq!(out.files.len(), 2, "{out:?}");
    assert_eq!(out.files[1], ("run.sh".to_owned(), SHELL.to_vec()));
}

#[test]
fn pages_give_their_scripts() {
    let page = b"<html><SCRIPT>var a;</script><script src=x></script>\
        <script type=\"application/json\">{}</script><script language=VBScript>Dim b</script>\
        <script>open to the end";
    check(
        FileType::Html,
        page,
        &[
            ("script1.js", b"var a;"),
            ("script2.vbs", b"Dim b"),
            ("script3.js", b"open to the end"),
        ],
    );
}

#[test]
fn what_grows_with_each_word_of_a_hostile_document_is_bounded() {
    for word in [&b"/JS ("[..], b"/JS <"] {
        let bytes = [b"%PDF-1.4\n", word.repeat(1 << 20).as_slice()].concat();
        let out = opened(FileType::Pdf, &bytes);
        assert_eq!(out.missing, [("scripts".to_owned(), Reason::TooLarge)]);
        assert!(
            out.files
                .iter()
                .map(|(_, bytes)| bytes.len())
                .sum::<usize>()
                <= 4 << 20
        );
    }
    let parts = b"From: a\nTo: b\nContent-Type: multipart/mixed; boundary=x\n\n".to_vec();
    let mail = [parts, b"--x\n\n".repeat(20_000)].concat();
    assert_eq!(
        opened(FileType::Eml, &mail).done,
        Some(Reason::TooManyMembers)
    );
}
