//! Bytes put behind and in front.

use super::Victim;
use super::dice::Dice;
use crate::corpus::Kind;

/// Bytes put in front of a PDF: a reader looks for its header in the first 1,024.
const FRONT: usize = 900;

/// So many bytes of benign files of the type, from a place by chance on.
pub(super) fn benign(victim: &Victim<'_>, dice: &mut Dice, length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < length {
        let Some(file) = dice.pick(victim.benign) else {
            break;
        };
        let from = dice.below(file.len());
        let rest = file.get(from..).unwrap_or_default();
        let rest = rest.get(..length - out.len()).unwrap_or(rest);
        out.extend_from_slice(rest);
    }
    out
}

pub(super) fn behind(victim: &Victim<'_>, dice: &mut Dice, length: usize) -> Vec<u8> {
    let added = benign(victim, dice, length);
    let between: &[u8] = match victim.kind {
        Kind::Php => b"\n?>\n",
        Kind::Python | Kind::PowerShell | Kind::Shell => b"\n",
        _ => b"",
    };
    [victim.bytes, between, &added].concat()
}

/// Bytes of no language: what reads Python or a shell's words would stop at them.
pub(super) fn raw_behind(victim: &Victim<'_>, added: &[u8]) -> Option<Vec<u8>> {
    let is_script = victim.kind.is_text() && victim.kind != Kind::Php;
    (!is_script).then(|| [victim.bytes, added].concat())
}

/// Where the format allows it: bytes before the header of a PDF, a comment before a script.
pub(super) fn in_front(victim: &Victim<'_>, dice: &mut Dice) -> Option<Vec<u8>> {
    let front = match victim.kind {
        Kind::Pdf => {
            let at = memchr::memmem::find(victim.bytes.get(..1024)?, b"%PDF")?;
            benign(victim, dice, FRONT.checked_sub(at)?)
        }
        Kind::Php => {
            let text = words(&benign(victim, dice, 4096));
            [b"<?php /* ", &text[..], b" */ ?>"].concat()
        }
        // A line that names the interpreter or the encoding has to stay the first.
        Kind::Python if !victim.bytes.starts_with(b"#") => {
            let text = words(&benign(victim, dice, 4096));
            let lines = text.chunks(70).map(|line| [b"# ", line, b"\n"].concat());
            lines.collect::<Vec<_>>().concat()
        }
        _ => return None,
    };
    Some([&front, victim.bytes].concat())
}

/// Letters, digits and spaces only, so that no comment ends within.
pub(super) fn words(text: &[u8]) -> Vec<u8> {
    let keep = |byte: &u8| {
        if byte.is_ascii_alphanumeric() {
            *byte
        } else {
            b' '
        }
    };
    text.iter().map(keep).collect()
}
