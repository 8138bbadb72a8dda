use super::*;
use FileType as T;

fn check(bytes: &[u8], expected: &[FileType]) {
    assert_eq!(identify(bytes, ""), expected);
}

fn pe() -> Vec<u8> {
    let mut pe = vec![0; 512];
    pe[..2].copy_from_slice(b"MZ");
    pe[60] = 64;
    pe[64..68].copy_from_slice(b"PE\0\0");
    pe[70] = 1;
    // One section that fills the file from 256 on.
    pe[64 + 24 + 16..64 + 24 + 20].copy_from_slice(&256_u32.to_le_bytes());
    pe[64 + 24 + 20..64 + 24 + 24].copy_from_slice(&256_u32.to_le_bytes());
    pe
}

/// An archive with nothing in it but one directory entry, enough to be recognised.
const ZIP_END: &[u8] =
    b"PK\x01\x02............PK\x05\x06\0\0\0\0\x01\0\x01\0\x10\0\0\0\0\0\0\0\0\0";

#[test]
fn magic_alone_is_not_enough_where_structure_can_be_asked() {
    check(b"\x7fELF\x02\x01\x01\0rest", &[T::Elf]);
    check(
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0",
        &[T::ElfObject],
    );
    check(
        b"\x7fELF\x01\x02\x01\0\0\0\0\0\0\0\0\0\0\x01",
        &[T::ElfObject],
    );
    check(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0", &[T::Elf]);
    check(b"\x7fELF and other words", &[T::Text]);
    check(&pe(), &[T::Pe]);
    check(b"MZ is how this letter begins", &[T::Text]);
    check(b"\xca\xfe\xba\xbe\0\0\0\x34\0\x1d", &[T::Class]);
    check(b"\xca\xfe\xba\xbe\0\0\0\x02\x01\0\0\x07", &[T::MachO]);
    check(b"\xa7\x0d\r\n\0\0\0\0timesize\xe3rest", &[T::Pyc]);
    check(b"", &[T::Unknown]);
    check(&[0, 1, 2, 3, 0, 0xff], &[T::Unknown]);
}

#[test]
fn bytes_before_and_behind_add_types_and_take_none_away() {
    check(b"GIF89a junk %PDF-1.7 more", &[T::Image, T::Pdf]);
    check(&[b"%PDF-1.4\n", ZIP_END].concat(), &[T::Pdf, T::Zip]);
    check(&[pe().as_slice(), ZIP_END].concat(), &[T::Pe, T::Zip]);
    check(b"GIF89a;<?php eval($_POST[1]);", &[T::Image, T::Php]);
    let far = [vec![0xff; 3000], b"<?php system($_GET[0]);".to_vec()].concat();
    check(&far, &[T::Php]);
}

#[test]
fn php_inside_a_program_is_the_programs_business_but_not_behind_it() {
    let mut inside = pe();
    inside[300..306].copy_from_slice(b"<?php ");
    check(&inside, &[T::Pe]);
    let behind = [pe().as_slice(), b"<?php system($_GET[0]);"].concat();
    assert_eq!(overlay(&behind), b"<?php system($_GET[0]);");
    check(&behind, &[T::Pe, T::Php]);
    assert_eq!(overlay(&pe()), b"");
}

#[test]
fn a_short_tag_in_noise_is_chance() {
    assert!(identify(b"\x89PNG\r\n\x1a\n<?=\x01\x02\x03", "") == [T::Image]);
    assert_eq!(identify(b"<?=`$_GET[1]`?>", ""), [T::Php]);
    let table = b"\0\x01;?<?=?>???@?A?B?C?D?E?F?G?H?I?J?K?L?M?N?O?P?Q?R?S?T?";
    assert_eq!(identify(table, ""), [T::Unknown]);
}

#[test]
fn scripts_are_known_by_line_words_and_name() {
    for (text, name, expected) in [
        ("#!/usr/bin/env -S python3 -u\nx", "", T::Python),
        ("#!/bin/sh -e\nls", "", T::Shell),
        ("#! /usr/bin/perl\n", "", T::Perl),
        ("Attribute VB_Name = \"Module1\"\r\n", "", T::Vba),
        (
            "var s = new ActiveXObject(\"x\"); s.run();",
            "invoice.txt",
            T::JavaScript,
        ),
        (
            "On Error Resume Next\r\nSet a = CreateObject(\"b\")\r\nDim c",
            "",
            T::VbScript,
        ),
        ("@ECHO OFF\r\nstart x", "", T::Batch),
        ("$a = New-Object Net.WebClient; iex $a", "", T::PowerShell),
        ("<%@ Page Language=\"C#\" %>", "", T::Asp),
        ("<%@ page import=\"java.io.*\"%>", "", T::Jsp),
        ("x = 1\n", "a.py", T::Python),
        ("just words, nothing else", "letter", T::Text),
    ] {
        assert!(
            identify(text.as_bytes(), name).contains(&expected),
            "{text}: {:?}",
            identify(text.as_bytes(), name)
        );
    }
}

#[test]
fn short_scripts_are_known_by_how_they_are_written() {
    for (text, expected) in [
        (
            "import os\nos.system('touch here')\nfor name in os.listdir('.'):\n    print(name)\n",
            T::Python,
        ),
        (
            "$client = [Net.Sockets.TcpClient]::new($address, $port)\n$stream = $client.GetStream()\n$reader = [IO.StreamReader]::new($stream)\nwhile ($null -ne ($line = $reader.ReadLine())) {\n    $line | Out-String\n}\n",
            T::PowerShell,
        ),
        (
            "Dim shell\r\nSet shell = CreateObject(\"WScript.Shell\")\r\nshell.Run \"notepad\"\r\n",
            T::VbScript,
        ),
    ] {
        let found = identify(text.as_bytes(), "");
        assert!(found.contains(&expected), "{text}: {found:?}");
        // A stretch of it is enough, whatever follows.
        let more = [text.repeat(16), "Nothing but words.\n".repeat(200)].concat();
        let found = identify(more.as_bytes(), "");
        assert!(found.contains(&expected), "{text}: {found:?}");
        let more = [text.repeat(2).as_bytes(), &[0; 4_000]].concat();
        let found = identify(&more, "");
        assert!(found.contains(&expected), "{text} and zeros: {found:?}");
    }
    check(b"name: web\nreplicas: 3\nports:\n  - 80\n", &[T::Text]);
    check(
        b"# Title\n\nSome words about import and export.\n",
        &[T::Text],
    );
}

#[test]
fn padding_and_wide_characters_do_not_hide_a_script() {
    let script = b"var a = new ActiveXObject('x'); a.run();";
    let padded = [vec![b'\n'; 3 << 20], script.to_vec()].concat();
    assert_eq!(identify(&padded, ""), [T::JavaScript]);
    let wide: Vec<u8> = script.iter().flat_map(|byte| [*byte, 0]).collect();
    assert_eq!(identify(&wide, ""), [T::JavaScript]);
    let marked = [&[0xff, 0xfe][..], &wide].concat();
    assert_eq!(identify(&marked, ""), [T::JavaScript]);
}

#[test]
fn mail_needs_two_fields_from_the_first_line_on() {
    check(b"From: a@example.org\r\nSubject: b\r\n\r\nhello", &[T::Eml]);
    check(
        b"From a@example.org Mon\nReceived: by x\n\tfolded\nTo: c\n\nhi",
        &[T::Eml],
    );
    check(b"Hello,\nFrom: a\nSubject: b\n", &[T::Text]);
}

#[test]
fn tar_is_known_by_its_checksum_also_without_its_magic() {
    let mut header = tar::Header::new_old();
    header.set_path("a").unwrap();
    header.set_size(0);
    header.set_cksum();
    check(header.as_bytes(), &[T::Tar]);
    let mut broken = *header.as_bytes();
    broken[0] = b'b';
    assert!(!identify(&broken, "").contains(&T::Tar));
}

#[test]
fn an_office_document_is_a_zip_with_its_parts() {
    let names = b"[Content_Types].xml word/document.xml";
    let office = [b"PK\x03\x04", names.as_slice(), ZIP_END].concat();
    check(&office, &[T::Ooxml]);
}
