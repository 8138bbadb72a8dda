//! What a file is: by magic bytes, then by what only that kind of script says, then by its name, then
//! by what the manifest takes the source's text for. Signatures as in the formats' specifications
//! (ELF; Microsoft PE Format; ISO 32000; MS-CFB; RTF 1.9.1; ECMA-376).

use memchr::memmem;
use serde::Deserialize;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// A type of file that a network judges.
        #[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[serde(rename_all = "lowercase")]
        pub(crate) enum Kind { $($(#[$doc])* $name),* }

        impl Kind {
            /// All types.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// Lower-case name.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

kinds! {
    /// Executable and Linkable Format.
    Elf = "elf",
    /// Portable Executable.
    Pe = "pe",
    /// Portable Document Format.
    Pdf = "pdf",
    /// Compound file: old Office documents, installers.
    Ole = "ole",
    /// Office Open XML.
    Ooxml = "ooxml",
    /// Rich Text Format.
    Rtf = "rtf",
    /// PHP.
    Php = "php",
    /// Active Server Pages, old and .NET.
    Asp = "asp",
    /// Jakarta Server Pages.
    Jsp = "jsp",
    /// JavaScript, also for the Windows Script Host.
    JavaScript = "javascript",
    /// VBScript.
    VbScript = "vbscript",
    /// Source of Office macros.
    Vba = "vba",
    /// Batch files.
    Batch = "batch",
    /// PowerShell.
    PowerShell = "powershell",
    /// Unix shells.
    Shell = "shell",
    /// Python.
    Python = "python",
    /// Perl.
    Perl = "perl",
}

impl Kind {
    /// The type of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// Whether near twins are found by tokens rather than by bytes.
    pub(crate) const fn is_text(self) -> bool {
        !matches!(
            self,
            Self::Elf | Self::Pe | Self::Pdf | Self::Ole | Self::Ooxml | Self::Rtf
        )
    }
}

/// How the type was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Magic bytes or a `#!` line.
    Magic,
    /// Words only that language has.
    Marker,
    /// The file name's extension.
    Name,
    /// The manifest.
    Manifest,
}

impl Typed {
    /// Lower-case name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Magic => "magic",
            Self::Marker => "marker",
            Self::Name => "name",
            Self::Manifest => "manifest",
        }
    }
}

/// Bytes looked at for markers.
const HEAD: usize = 4096;

/// The type of `bytes` found under `path`, or none of ours.
pub(crate) fn of(path: &str, bytes: &[u8], text_as: Option<Kind>) -> Option<(Kind, Typed)> {
    if let Some(kind) = binary(bytes) {
        return Some((kind, Typed::Magic));
    }
    let head = text_head(bytes)?;
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Some(line) = line.strip_prefix(b"#!") {
        return interpreter(line).map(|kind| (kind, Typed::Magic));
    }
    if let Some(kind) = marker(&head) {
        return Some((kind, Typed::Marker));
    }
    extension(path)
        .map(|kind| (kind, Typed::Name))
        .or_else(|| text_as.map(|kind| (kind, Typed::Manifest)))
}

fn binary(bytes: &[u8]) -> Option<Kind> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if starts(b"\x7fELF") {
        return Some(Kind::Elf);
    }
    if starts(b"MZ") {
        let at: [u8; 4] = bytes.get(60..64)?.try_into().ok()?;
        let at = u32::from_le_bytes(at) as usize;
        let is_pe = bytes.get(at..)?.starts_with(b"PE\0\0");
        return is_pe.then_some(Kind::Pe);
    }
    if starts(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return Some(Kind::Ole);
    }
    if starts(b"{\\rt") {
        return Some(Kind::Rtf);
    }
    if starts(b"PK\x03\x04") {
        return is_office_zip(bytes).then_some(Kind::Ooxml);
    }
    let head = bytes.get(..1024).unwrap_or(bytes);
    memmem::find(head, b"%PDF-").map(|_| Kind::Pdf)
}

/// Whether a zip archive is an Office document: its directory, at the end, names the content types and
/// one of the three main parts.
pub(crate) fn is_office_zip(bytes: &[u8]) -> bool {
    const TAIL: usize = 1 << 20;
    let tail = bytes.len().saturating_sub(TAIL);
    let tail = bytes.get(tail..).unwrap_or(bytes);
    let has = |needle: &[u8]| memmem::find(tail, needle).is_some();
    has(b"[Content_Types].xml") && [b"word/", b"xl/wo", b"ppt/p"].iter().any(|part| has(*part))
}

/// The first bytes as ASCII where the file is text, with UTF-16 narrowed.
fn text_head(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    let wide = |order: usize| head.iter().skip(2 + order).step_by(2).copied().collect();
    match head {
        [0xff, 0xfe, ..] => return Some(wide(0)),
        [0xfe, 0xff, ..] => return Some(wide(1)),
        _ => {}
    }
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    (!head.contains(&0)).then(|| head.to_vec())
}

fn interpreter(line: &[u8]) -> Option<Kind> {
    const TABLE: [(&str, Kind); 11] = [
        ("python", Kind::Python),
        ("perl", Kind::Perl),
        ("php", Kind::Php),
        ("node", Kind::JavaScript),
        ("pwsh", Kind::PowerShell),
        ("bash", Kind::Shell),
        ("dash", Kind::Shell),
        ("zsh", Kind::Shell),
        ("ksh", Kind::Shell),
        ("ash", Kind::Shell),
        ("sh", Kind::Shell),
    ];
    let line = String::from_utf8_lossy(line);
    let mut words = line
        .split_ascii_whitespace()
        .filter(|word| !word.starts_with('-'));
    let mut program = words.next()?.rsplit('/').next()?;
    if program == "env" {
        program = words.find(|word| !word.contains('='))?;
    }
    let program = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    TABLE
        .iter()
        .find(|(name, _)| *name == program)
        .map(|(_, kind)| *kind)
}

fn marker(head: &[u8]) -> Option<Kind> {
    const TABLE: [(&[u8], Kind); 8] = [
        (b"<?php", Kind::Php),
        (b"<?=", Kind::Php),
        (b"attribute vb_name", Kind::Vba),
        (b"attribute vb_base", Kind::Vba),
        (b"<%@ page import", Kind::Jsp),
        (b"<%@page import", Kind::Jsp),
        (b"<%@ page language=\"java", Kind::Jsp),
        (b"<%@ page language=\"c#", Kind::Asp),
    ];
    let lower = head.to_ascii_lowercase();
    TABLE
        .iter()
        .find(|(word, _)| memmem::find(&lower, word).is_some())
        .map(|(_, kind)| *kind)
}

fn extension(path: &str) -> Option<Kind> {
    let name = path.rsplit(['/', '!']).next()?;
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "js" | "mjs" | "cjs" | "jse" => Kind::JavaScript,
        "vbs" | "vbe" => Kind::VbScript,
        "bas" | "frm" => Kind::Vba,
        "php" | "php3" | "php4" | "php5" | "phtml" => Kind::Php,
        "asp" | "aspx" | "ashx" | "asa" | "asmx" => Kind::Asp,
        "jsp" | "jspx" => Kind::Jsp,
        "ps1" | "psm1" => Kind::PowerShell,
        "bat" | "cmd" => Kind::Batch,
        "sh" | "bash" => Kind::Shell,
        "py" => Kind::Python,
        "pl" | "pm" => Kind::Perl,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_comes_before_the_name() {
        assert_eq!(
            of("a.txt", b"\x7fELF\x01\x01", None),
            Some((Kind::Elf, Typed::Magic))
        );
        assert_eq!(
            of("a.js", b"%PDF-1.4\n", None),
            Some((Kind::Pdf, Typed::Magic))
        );
        let mut pe = vec![0; 128];
        pe[..2].copy_from_slice(b"MZ");
        pe[60] = 64;
        pe[64..68].copy_from_slice(b"PE\0\0");
        assert_eq!(of("x", &pe, None), Some((Kind::Pe, Typed::Magic)));
        pe[64] = 0;
        assert_eq!(of("x.php", &pe, None), None);
    }

    #[test]
    fn scripts_are_known_by_line_marker_name_and_manifest() {
        for (path, text, kind, typed) in [
            ("x", "#!/usr/bin/env python3\n", Kind::Python, Typed::Magic),
            ("x", "#!/bin/sh -e\n", Kind::Shell, Typed::Magic),
            ("x.txt", "\n<?PHP eval(", Kind::Php, Typed::Marker),
            (
                "a.CLS",
                "Attribute VB_Name = \"x\"",
                Kind::Vba,
                Typed::Marker,
            ),
            ("a!b/c.JS", "var a = 1;", Kind::JavaScript, Typed::Name),
            ("a.txt", "set x = 1", Kind::VbScript, Typed::Manifest),
        ] {
            let hint = (typed == Typed::Manifest).then_some(kind);
            assert_eq!(
                of(path, text.as_bytes(), hint),
                Some((kind, typed)),
                "{path}"
            );
        }
        assert_eq!(of("readme", b"words", None), None);
        assert_eq!(of("a.js", b"bin\0ary", Some(Kind::Php)), None);
    }

    #[test]
    fn wide_text_is_text() {
        let wide: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain("<?php".bytes().flat_map(|b| [b, 0]))
            .collect();
        assert_eq!(of("x", &wide, None), Some((Kind::Php, Typed::Marker)));
    }

    #[test]
    fn every_name_reads_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
        }
    }
}
