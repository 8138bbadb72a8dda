//! Which language a text is in: by its `#!` line, by words that only one language has, by what an
//! interpreter needs to find, and by the name where there is one; where nothing of this says anything, by a model.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use memchr::memmem;
use thymus_nets::language::Language;

use super::add;
use crate::FileType;

/// Bytes at either end that are searched for words.
const PART: usize = 256 << 10;
/// Bytes at the start that must be free of zeros for a file to be text.
const HEAD: usize = 4096;
/// Bytes of text before what is no text, for it to count.
const BEFORE_MIN: usize = 64;
/// What the words of a language must weigh together.
const ENOUGH: u32 = 4;

/// Whether PHP would find something to run: it looks for its opening tag in the whole of any file.
pub(super) fn has_php(bytes: &[u8]) -> bool {
    memmem::find_iter(bytes, b"<?").any(|at| {
        let after = bytes.get(at + 2..).unwrap_or_default();
        let is_long = after.get(..4).is_some_and(|word| {
            word.get(..3)
                .is_some_and(|w| w.eq_ignore_ascii_case(b"php"))
        }) && after.get(3).is_some_and(u8::is_ascii_whitespace);
        // The short tag is a few chance bytes in a picture, or a step in a table of numbers: what follows
        // must be text and something to run.
        let is_short = || {
            let line = after
                .get(1..33)
                .unwrap_or(after.get(1..).unwrap_or_default());
            after.first() == Some(&b'=')
                && line.len() >= 2
                && line
                    .iter()
                    .all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'))
                && (line.iter().any(|byte| matches!(byte, b'$' | b'`' | b'('))
                    || memmem::find(line, b"include").is_some()
                    || memmem::find(line, b"require").is_some())
        };
        is_long || is_short()
    })
}

/// Adds the languages of a text; nothing for what is no text.
pub(super) fn find(bytes: &[u8], name: &str, found: &mut Vec<FileType>) {
    let Some((text, is_whole)) = plain(bytes) else {
        return;
    };
    if let Some(kind) = interpreter(&text) {
        add(found, kind);
    }
    if is_mail(&text) {
        add(found, FileType::Eml);
    }
    if let Some(kind) = markup(&text) {
        add(found, kind);
    }
    languages(&text, found);
    // What is known by its form is not asked about: what scripts it holds are taken out of it.
    if found.is_empty() {
        for language in MODEL.iter().flat_map(|model| model.of(&text)) {
            if let Some((_, kind)) = SCRIPTS.iter().find(|(name, _)| *name == language) {
                add(found, *kind);
            }
        }
    }
    if let Some(kind) = extension(name) {
        add(found, kind);
    }
    if found.is_empty() && is_whole {
        found.push(FileType::Text);
    }
}

/// Adds each language whose words weigh enough, whatever other languages' words there are.
fn languages(text: &[u8], found: &mut Vec<FileType>) {
    let Some(words) = WORDS.as_ref() else {
        return;
    };
    let mut seen = vec![false; words.patterns_len()];
    for hit in words.find_overlapping_iter(text) {
        if let Some(seen) = seen.get_mut(hit.pattern().as_usize()) {
            *seen = true;
        }
    }
    let mut seen = seen.into_iter();
    for (kind, marks) in LANGUAGES {
        let weights = marks.iter().zip(seen.by_ref());
        let weight: u32 = weights
            .map(|((weight, _), is_seen)| weight * u32::from(is_seen))
            .sum();
        if weight >= ENOUGH {
            add(found, *kind);
        }
    }
}

/// Tells languages by how a text is written.
static MODEL: LazyLock<Option<Language>> = LazyLock::new(|| Language::shipped().ok());

/// The types of what [`MODEL`] tells.
const SCRIPTS: [(&str, FileType); 11] = [
    ("php", FileType::Php),
    ("javascript", FileType::JavaScript),
    ("vbscript", FileType::VbScript),
    ("vba", FileType::Vba),
    ("batch", FileType::Batch),
    ("powershell", FileType::PowerShell),
    ("shell", FileType::Shell),
    ("python", FileType::Python),
    ("perl", FileType::Perl),
    ("asp", FileType::Asp),
    ("jsp", FileType::Jsp),
];

/// The words of all languages, one after the other, searched for in one pass.
static WORDS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let marks = LANGUAGES.iter().flat_map(|(_, marks)| marks.iter());
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(marks.map(|(_, word)| word))
        .ok()
});

/// Both ends of a text as ASCII, UTF-16 narrowed, or the text before what is no text; nothing for what is none.
/// Second whether all of the file is text.
fn plain(bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
    let ends = |bytes: &[u8]| -> Vec<u8> {
        if bytes.len() <= 2 * PART {
            return bytes.to_vec();
        }
        let tail = bytes.get(bytes.len() - PART..).unwrap_or_default();
        let head = bytes.get(..PART).unwrap_or_default();
        [head, b"\n", tail].concat()
    };
    let narrow = |skip: usize, bytes: &[u8]| -> Vec<u8> {
        ends(bytes).into_iter().skip(skip).step_by(2).collect()
    };
    match bytes {
        [] => return None,
        [0xff, 0xfe, rest @ ..] => return Some((narrow(0, rest), true)),
        [0xfe, 0xff, rest @ ..] => return Some((narrow(1, rest), true)),
        _ => {}
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    let zeros = memchr::memchr_iter(0, head).count();
    // UTF-16 without a mark, which the script hosts accept.
    if zeros * 5 >= head.len() * 2 && zeros * 5 <= head.len() * 3 {
        let odd = head.iter().skip(1).step_by(2).filter(|b| **b == 0).count();
        return Some((narrow(usize::from(odd * 2 < zeros), bytes), true));
    }
    let is_control = |byte: &u8| *byte < 32 && !matches!(byte, 7..=13 | 27);
    let controls = head.iter().filter(|byte| is_control(byte)).count();
    if zeros == 0 && controls * 20 <= head.len() {
        return Some((ends(bytes), true));
    }
    // What is no text may stand behind one, which an interpreter runs all the same.
    let end = head.iter().position(is_control)?;
    (end >= BEFORE_MIN).then(|| (head[..end].to_vec(), false))
}

fn interpreter(text: &[u8]) -> Option<FileType> {
    const TABLE: &[(&str, FileType)] = &[
        ("python", FileType::Python),
        ("pypy", FileType::Python),
        ("perl", FileType::Perl),
        ("php", FileType::Php),
        ("node", FileType::JavaScript),
        ("nodejs", FileType::JavaScript),
        ("deno", FileType::JavaScript),
        ("bun", FileType::JavaScript),
        ("pwsh", FileType::PowerShell),
        ("bash", FileType::Shell),
        ("dash", FileType::Shell),
        ("zsh", FileType::Shell),
        ("ksh", FileType::Shell),
        ("ash", FileType::Shell),
        ("busybox", FileType::Shell),
        ("sh", FileType::Shell),
    ];
    let line = text.strip_prefix(b"#!")?;
    let line = line.get(..line.len().min(256))?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let mut words = line
        .split_ascii_whitespace()
        .filter(|word| !word.starts_with('-'));
    let mut program = words.next()?.rsplit('/').next()?;
    if program == "env" {
        program = words.find(|word| !word.contains('='))?.rsplit('/').next()?;
    }
    let program = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let hit = TABLE.iter().find(|(name, _)| *name == program);
    hit.map(|(_, kind)| *kind)
}

/// Two header fields of a message, the first on the first line (RFC 5322), or an mbox line.
fn is_mail(text: &[u8]) -> bool {
    const FIELDS: &[&[u8]] = &[
        b"received:",
        b"return-path:",
        b"delivered-to:",
        b"message-id:",
        b"mime-version:",
        b"from:",
        b"to:",
        b"subject:",
        b"date:",
        b"content-type:",
        b"reply-to:",
        b"x-",
        b"dkim-signature:",
        b"authentication-results:",
        b"arc-",
    ];
    let head = text.get(..16 << 10).unwrap_or(text).trim_ascii_start();
    let known = |line: &[u8]| {
        let hit = FIELDS.iter().position(|field| {
            line.get(..field.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(field))
        });
        hit.filter(|_| line.contains(&b':'))
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let is_mbox = head.starts_with(b"From ");
    if is_mbox {
        lines.next();
    }
    let mut seen = Vec::new();
    for line in lines.take(100) {
        if line.trim_ascii().is_empty() {
            break;
        }
        let is_folded = line.first().is_some_and(u8::is_ascii_whitespace);
        match known(line) {
            Some(field) if !seen.contains(&field) => seen.push(field),
            None if seen.is_empty() => return false,
            _ if is_folded => {}
            _ => {}
        }
    }
    seen.len() >= 2
}

fn markup(text: &[u8]) -> Option<FileType> {
    const PAGE: &[&[u8]] = &[
        b"<!doctype html",
        b"<html",
        b"<head",
        b"<script",
        b"<body",
        b"<iframe",
        b"<hta:application",
    ];
    let head = text.get(..1024).unwrap_or(text).to_ascii_lowercase();
    if PAGE.iter().any(|tag| memmem::find(&head, tag).is_some()) {
        return Some(FileType::Html);
    }
    let start = head.trim_ascii_start();
    (start.starts_with(b"<?xml") || start.starts_with(b"<svg")).then_some(FileType::Xml)
}

fn extension(name: &str) -> Option<FileType> {
    let (_, extension) = name.rsplit(['/', '\\']).next()?.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "js" | "mjs" | "cjs" | "jse" => FileType::JavaScript,
        "vbs" | "vbe" => FileType::VbScript,
        "bas" | "frm" | "cls" => FileType::Vba,
        "php" | "php3" | "php4" | "php5" | "phtml" => FileType::Php,
        "asp" | "aspx" | "ashx" | "asa" | "asmx" => FileType::Asp,
        "jsp" | "jspx" => FileType::Jsp,
        "ps1" | "psm1" => FileType::PowerShell,
        "bat" | "cmd" => FileType::Batch,
        "sh" | "bash" => FileType::Shell,
        "py" | "pyw" => FileType::Python,
        "pl" | "pm" => FileType::Perl,
        "htm" | "html" | "hta" => FileType::Html,
        "eml" => FileType::Eml,
        _ => return None,
    })
}

type Marks = &'static [(u32, &'static [u8])];

/// What each language says that others hardly do, lower-case, with a weight; four are enough.
const LANGUAGES: &[(FileType, Marks)] = &[
    (
        FileType::Vba,
        &[
            (4, b"attribute vb_name"),
            (4, b"attribute vb_base"),
            (2, b"sub autoopen"),
            (2, b"sub document_open"),
            (2, b"sub workbook_open"),
            (1, b"activedocument"),
            (1, b"thisworkbook"),
            (2, b"\nprivate declare "),
            (1, b"\nend sub"),
        ],
    ),
    (
        FileType::VbScript,
        &[
            (2, b"wscript.createobject"),
            (2, b"on error resume next"),
            (1, b"createobject("),
            (1, b"\nend if"),
            (1, b"\nend function"),
            (1, b"\nend sub"),
            (2, b"execute("),
            (2, b"\nwscript.sleep"),
            (1, b"\ndim "),
            (1, b"\nset "),
            (1, b" then\r\n"),
            (1, b"chr("),
            (2, b"option explicit"),
            (1, b"msgbox"),
        ],
    ),
    (
        FileType::JavaScript,
        &[
            (3, b"new activexobject("),
            (1, b"function("),
            (1, b"function ("),
            (1, b"=>"),
            (1, b"==="),
            (1, b"var "),
            (1, b"const "),
            (1, b"let "),
            (1, b"document."),
            (1, b"window."),
            (2, b"module.exports"),
            (1, b"require("),
            (1, b".prototype."),
            (2, b"string.fromcharcode"),
            (1, b"eval("),
            (2, b"console.log("),
            (2, b"\"use strict\""),
            (2, b"'use strict'"),
            (2, b"typeof "),
            (2, b"wscript.shell"),
            (2, b"wscript.echo"),
        ],
    ),
    (
        FileType::Asp,
        &[
            (4, b"<%@ page language=\"c#"),
            (4, b"<%@ webhandler"),
            (4, b"<%@ language"),
            (4, b"<%@language"),
            (4, b"runat=\"server\""),
            (2, b"<%eval request"),
            (2, b"<%execute"),
            (1, b"<%"),
            (2, b"response.write"),
            (2, b"request.form"),
            (2, b"server.createobject"),
            (2, b"request.item["),
            (1, b"request("),
        ],
    ),
    (
        FileType::Jsp,
        &[
            (4, b"<%@ page import"),
            (4, b"<%@page import"),
            (4, b"<%@ page language=\"java"),
            (4, b"<jsp:"),
            (1, b"<%"),
            (3, b"request.getparameter("),
            (2, b"runtime.getruntime("),
            (2, b"out.println("),
        ],
    ),
    (
        FileType::PowerShell,
        &[
            (3, b"new-object "),
            (2, b"invoke-expression"),
            (2, b"[system.convert]::"),
            (2, b"[system.text.encoding]::"),
            (2, b"write-host"),
            (2, b"write-output"),
            (2, b"get-childitem"),
            (2, b"set-itemproperty"),
            (2, b"start-process"),
            (2, b"invoke-webrequest"),
            (2, b"frombase64string"),
            (1, b"\nparam("),
            (1, b"[parameter("),
            (1, b"$_."),
            (1, b" -eq "),
            (1, b"foreach-object"),
            (1, b"$env:"),
            (2, b"[cmdletbinding("),
            (1, b"iex "),
            (1, b"downloadstring("),
        ],
    ),
    (
        FileType::Batch,
        &[
            (4, b"@echo off"),
            (2, b"%~dp0"),
            (2, b"\nsetlocal"),
            (2, b"goto :eof"),
            (1, b"\ngoto "),
            (1, b"\nrem "),
            (1, b"if not exist "),
            (1, b"errorlevel"),
            (1, b"%temp%"),
            (1, b"%appdata%"),
            (1, b">nul"),
            (1, b"cmd /c"),
        ],
    ),
    (
        FileType::Python,
        &[
            (1, b"\nimport "),
            (1, b"\nfrom "),
            (2, b"\ndef "),
            (1, b"\nclass "),
            (1, b"):\n"),
            (1, b"self."),
            (2, b"\nif __name__ == "),
            (2, b"    elif "),
            (1, b"\nprint("),
            (1, b"\n    def "),
            (1, b"import os"),
            (2, b"exec(base64"),
            (2, b"__import__("),
            (1, b"subprocess."),
            (1, b"lambda "),
        ],
    ),
    (
        FileType::Perl,
        &[
            (2, b"\nuse strict;"),
            (2, b"\nuse warnings"),
            (1, b"\nuse "),
            (1, b"\nsub "),
            (1, b"\nmy $"),
            (1, b"\n    my "),
            (1, b"=~ /"),
            (1, b"=~ s/"),
            (1, b"elsif"),
            (1, b"@_"),
            (2, b"\npackage "),
            (1, b"\n1;"),
            (1, b"shift;"),
        ],
    ),
    (
        FileType::Shell,
        &[
            (2, b"\nfi\n"),
            (1, b"\ndone"),
            (1, b"; then"),
            (1, b"; do"),
            (1, b"\nexport "),
            (1, b"/dev/null"),
            (1, b"\nchmod "),
            (1, b"chmod +x"),
            (1, b"chmod 777"),
            (2, b"wget http"),
            (2, b"curl -"),
            (1, b"/tmp"),
            (1, b"\nesac"),
            (1, b"\necho "),
            (1, b"$("),
            (1, b"[ -"),
        ],
    ),
];
