//! An expression in words.

use super::FilterError;

/// A longer one would not fit into the kernel anyway.
const WORDS_MAX: usize = 4_096;

/// A word, and where it begins, counted from one.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

pub(super) fn words(text: &str) -> Result<Vec<Word<'_>>, FilterError> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut chars = text.char_indices().enumerate().peekable();
    let is_part = |c: char| c.is_ascii_alphanumeric() || ".:/-_\\".contains(c);
    while let Some((at, (from, c))) = chars.next() {
        let mut to = from + c.len_utf8();
        match c {
            _ if c.is_whitespace() => continue,
            '(' | ')' | '!' => {}
            '&' | '|' if chars.next_if(|(_, (_, next))| *next == c).is_some() => to += 1,
            _ if is_part(c) => {
                while let Some((_, (place, part))) = chars.next_if(|(_, (_, next))| is_part(*next))
                {
                    to = place + part.len_utf8();
                }
            }
            _ => {
                return Err(FilterError::Word {
                    at: at + 1,
                    why: format!(
                        "{c:?} is not understood; names, numbers and parentheses are, and no bytes are compared"
                    ),
                });
            }
        }
        if words.len() == WORDS_MAX {
            return Err(FilterError::Word {
                at: at + 1,
                why: format!("there are more than {WORDS_MAX} words"),
            });
        }
        let text = text.get(from..to).unwrap_or_default();
        words.push(Word { text, at: at + 1 });
    }
    Ok(words)
}
