//! Changes of scripts: spaces, comments, names, wrapping. By rules of thumb, not by a parser: in a long string
//! they may change what it says.

use std::collections::BTreeMap;

use super::Victim;
use super::add::{benign, words};
use super::dice::Dice;
use crate::corpus::Kind;

/// Names of PHP that are not the script's own.
const KEPT: [&[u8]; 11] = [
    b"this",
    b"GLOBALS",
    b"_GET",
    b"_POST",
    b"_REQUEST",
    b"_COOKIE",
    b"_SERVER",
    b"_FILES",
    b"_ENV",
    b"_SESSION",
    b"php_errormsg",
];

fn is_script(victim: &Victim<'_>) -> bool {
    matches!(victim.kind, Kind::Php | Kind::Python)
}

/// Calls `each` with every line, its end included, and whether it stands outside of long strings and is not
/// continued by the next.
fn lines(victim: &Victim<'_>, mut each: impl FnMut(&[u8], bool)) {
    let mut is_text = false;
    for line in victim.bytes.split_inclusive(|byte| *byte == b'\n') {
        let quotes = [&b"\"\"\""[..], b"'''"].map(|q| memchr::memmem::find_iter(line, q).count());
        if victim.kind == Kind::Python && quotes.iter().sum::<usize>() % 2 == 1 {
            is_text = !is_text;
        }
        let trimmed = line.trim_ascii_end();
        let is_whole = line.ends_with(b"\n") && !trimmed.ends_with(b"\\");
        each(line, is_whole && !is_text);
    }
}

/// Spaces at the ends of lines and empty lines, by chance.
pub(super) fn spaces(victim: &Victim<'_>, dice: &mut Dice) -> Option<Vec<u8>> {
    is_script(victim).then_some(())?;
    let mut out = Vec::new();
    lines(victim, |line, is_whole| {
        if !is_whole {
            return out.extend_from_slice(line);
        }
        out.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        out.resize(out.len() + dice.below(8), b' ');
        out.push(b'\n');
        out.resize(out.len() + dice.below(3), b'\n');
    });
    (out != victim.bytes).then_some(out)
}

/// Comments of benign words behind lines, by chance.
pub(super) fn comments(victim: &Victim<'_>, dice: &mut Dice) -> Option<Vec<u8>> {
    is_script(victim).then_some(())?;
    let text = words(&benign(victim, dice, 1 << 16));
    let mut texts = text.chunks(60).cycle();
    let mut out = Vec::new();
    lines(victim, |line, is_whole| {
        out.extend_from_slice(line);
        let ends = line.trim_ascii_end().last().copied();
        // In PHP only where a statement ends, so that no HTML is taken for it.
        let fits = victim.kind == Kind::Python || matches!(ends, Some(b';' | b'{'));
        if is_whole && fits && dice.below(2) == 0 {
            let mark: &[u8] = if victim.kind == Kind::Python {
                b"# "
            } else {
                b"// "
            };
            out.extend([mark, texts.next().unwrap_or_default(), b"\n"].concat());
        }
    });
    (out != victim.bytes).then_some(out)
}

/// Variables get other names.
pub(super) fn rename(victim: &Victim<'_>, dice: &mut Dice) -> Option<Vec<u8>> {
    let out = match victim.kind {
        Kind::Php => rename_php(victim.bytes, dice),
        Kind::Python => rename_python(victim.bytes, dice),
        _ => return None,
    };
    (out != victim.bytes).then_some(out)
}

const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Length of the name that `bytes` begins with.
fn name_length(bytes: &[u8]) -> usize {
    if bytes.first().is_none_or(u8::is_ascii_digit) {
        return 0;
    }
    bytes.iter().take_while(|byte| is_letter(**byte)).count()
}

fn rename_php(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut names: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'$', rest) {
        let (before, behind) = rest.split_at(at + 1);
        out.extend_from_slice(before);
        let (name, behind) = behind.split_at(name_length(behind));
        if name.is_empty() || KEPT.contains(&name) {
            out.extend_from_slice(name);
        } else {
            let other = names.entry(name).or_insert_with(|| dice.letters(8));
            out.extend_from_slice(other);
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    out
}

/// Names that a Python script gives values to, at the beginning of a line.
fn rename_python(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut names: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii_start();
        let (name, behind) = line.split_at(name_length(line));
        let behind = behind.trim_ascii_start();
        let is_given = behind.starts_with(b"=") && !behind.starts_with(b"==");
        if is_given && name.len() > 1 && !name.starts_with(b"__") {
            names.entry(name).or_insert_with(|| dice.letters(8));
        }
    }
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(first) = rest.first().copied() {
        let length = name_length(rest).max(1);
        let (name, behind) = rest.split_at(length);
        let is_member = out
            .last()
            .is_some_and(|byte| *byte == b'.' || is_letter(*byte));
        match names.get(name).filter(|_| is_letter(first) && !is_member) {
            Some(other) => out.extend_from_slice(other),
            None => out.extend_from_slice(name),
        }
        rest = behind;
    }
    out
}

/// The script as text that is decoded and evaluated when it runs.
pub(super) fn wrap(victim: &Victim<'_>) -> Option<Vec<u8>> {
    let (head, text, tail): (&[u8], _, &[u8]) = match victim.kind {
        Kind::Php => (
            b"<?php eval(base64_decode('",
            base64(&[b"?>", victim.bytes].concat()),
            b"')); ?>",
        ),
        Kind::Python => (
            b"import base64\nexec(base64.b64decode('",
            base64(victim.bytes),
            b"'))\n",
        ),
        _ => return None,
    };
    Some([head, &text, tail].concat())
}

/// Base 64 (RFC 4648).
fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for three in bytes.chunks(3) {
        let mut bits = 0_usize;
        for at in 0..3 {
            bits = (bits << 8) | usize::from(three.get(at).copied().unwrap_or(0));
        }
        for at in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * at)) & 63);
            out.push(if at > three.len() {
                b'='
            } else {
                letter.copied().unwrap_or(b'=')
            });
        }
    }
    out
}
