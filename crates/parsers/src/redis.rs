//! Redis commands (RESP 2 and 3): the words of a command, as far as they are short.

use crate::words::split_word;

/// Most words kept of a command.
const WORDS_MAX: usize = 6;
/// Longest word kept, in bytes.
const WORD_BYTES_MAX: usize = 256;

/// What stands at the front of a client's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The first words of a command, and its bytes (which may reach beyond what has come).
    Words(Vec<Vec<u8>>, usize),
    /// More is needed.
    More,
    /// Not a command.
    Not,
}

/// Reads the command at the front.
pub fn command(bytes: &[u8]) -> Command {
    let Some(rest) = bytes.strip_prefix(b"*") else {
        return inline(bytes);
    };
    let Some((count, mut rest)) = number(rest) else {
        return more_or_not(rest);
    };
    if !(1..=1_000_000).contains(&count) {
        return Command::Not;
    }
    let mut words = Vec::new();
    for _ in 0..count.min(WORDS_MAX) {
        let Some(after) = rest.strip_prefix(b"$") else {
            return if rest.is_empty() {
                Command::More
            } else {
                Command::Not
            };
        };
        let Some((length, after)) = number(after) else {
            return more_or_not(after);
        };
        let Some(word) = after.get(..length) else {
            // A long word that is not the first decides nothing: what came before is enough.
            let used = bytes
                .len()
                .saturating_sub(after.len())
                .saturating_add(length);
            let whole = used.saturating_add(2);
            return if length > 4096 && !words.is_empty() {
                Command::Words(words, whole)
            } else {
                Command::More
            };
        };
        words.push(word.get(..WORD_BYTES_MAX).unwrap_or(word).to_vec());
        let Some(next) = after.get(length.saturating_add(2)..) else {
            return Command::More;
        };
        rest = next;
    }
    Command::Words(words, bytes.len().saturating_sub(rest.len()))
}

fn inline(bytes: &[u8]) -> Command {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
        return if bytes.len() < 1024 {
            Command::More
        } else {
            Command::Not
        };
    };
    let mut words = Vec::new();
    let mut line = bytes.get(..end).unwrap_or_default();
    while words.len() < WORDS_MAX {
        let (word, rest) = split_word(line);
        if word.is_empty() {
            break;
        }
        words.push(word.get(..WORD_BYTES_MAX).unwrap_or(word).to_vec());
        line = rest;
    }
    Command::Words(words, end.saturating_add(1))
}

/// Digits up to a line's end.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.windows(2).take(12).position(|pair| pair == b"\r\n")?;
    let (digits, rest) = bytes.split_at_checked(end)?;
    let value = str::from_utf8(digits).ok()?.parse().ok()?;
    Some((value, rest.get(2..)?))
}

fn more_or_not(bytes: &[u8]) -> Command {
    if bytes.len() < 12
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'\r')
    {
        return Command::More;
    }
    Command::Not
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Command::Words(words, length) = command(bytes) {
        debug_assert!(length > 0 && words.len() <= WORDS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_whole_cut_and_inline() {
        let bytes = b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n";
        let words = vec![b"AUTH".to_vec(), b"x".to_vec()];
        assert_eq!(command(bytes), Command::Words(words, bytes.len()));
        assert_eq!(command(&bytes[..12]), Command::More);
        assert_eq!(
            command(b"PING\r\n"),
            Command::Words(vec![b"PING".to_vec()], 6)
        );
        assert_eq!(command(b"*x\r\n"), Command::Not);
    }
}
