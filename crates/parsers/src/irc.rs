//! IRC (RFC 2812): the lines that name people and channels.

use crate::text::text;
use crate::words::split_word;

const NAME_BYTES_MAX: usize = 128;

/// A line that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A nickname is taken.
    Nick(Box<str>),
    /// Channels are joined.
    Join(Box<str>),
    /// The first part of introducing oneself, with four words.
    User,
    /// A capability negotiation (IRCv3).
    Capabilities,
    /// A password, which is not kept.
    Pass,
    /// A server's numeric reply.
    Numeric(u16),
    /// A server's notice before the log-in.
    Notice,
    /// Other words.
    Other,
}

/// Reads a line of either side.
pub fn parse(line: &[u8]) -> Line {
    let (prefixed, line) = match line.strip_prefix(b":") {
        Some(rest) => (true, split_word(rest).1),
        None => (false, line),
    };
    let (verb, rest) = split_word(line);
    let is = |word: &[u8]| verb.eq_ignore_ascii_case(word);
    let name = || {
        let first = split_word(rest).0;
        text(first.strip_prefix(b":").unwrap_or(first), NAME_BYTES_MAX)
    };
    if is(b"NICK") && is_nick(name().as_bytes()) {
        Line::Nick(name())
    } else if is(b"JOIN") && name().starts_with(['#', '&', '+', '!']) {
        Line::Join(name())
    } else if is(b"USER") && has_four_words(rest) {
        Line::User
    } else if is(b"CAP") && split_word(rest).0.eq_ignore_ascii_case(b"LS") {
        Line::Capabilities
    } else if is(b"PASS") && !rest.is_empty() {
        Line::Pass
    } else if is(b"NOTICE") && memchr::memmem::find(rest, b" :").is_some() {
        Line::Notice
    } else if let ([a, b, c], true) = (verb, prefixed) {
        let digits = [a, b, c].iter().all(|digit| digit.is_ascii_digit());
        let number = str::from_utf8(verb)
            .ok()
            .and_then(|digits| digits.parse().ok());
        number.filter(|_| digits).map_or(Line::Other, Line::Numeric)
    } else {
        Line::Other
    }
}

fn is_nick(name: &[u8]) -> bool {
    let special = |byte: u8| b"[]\\`_^{|}-".contains(&byte);
    (1..=64).contains(&name.len())
        && name
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || special(byte))
}

/// `name mode unused :real name`.
fn has_four_words(rest: &[u8]) -> bool {
    let mut left = rest;
    for _ in 0..3 {
        let (word, after) = split_word(left);
        if word.is_empty() || after.is_empty() {
            return false;
        }
        left = after;
    }
    true
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Line::Nick(name) = parse(line) {
            debug_assert!(is_nick(name.as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_channels_are_named() {
        assert_eq!(parse(b"NICK bot-7"), Line::Nick("bot-7".into()));
        assert_eq!(parse(b"join #cmd key"), Line::Join("#cmd".into()));
        assert_eq!(parse(b":irc.example 001 bot :Welcome"), Line::Numeric(1));
        assert_eq!(parse(b"USER a 0 * :A"), Line::User);
        assert_eq!(parse(b"USER anonymous"), Line::Other, "FTP");
        assert_eq!(parse(b"220 ready"), Line::Other);
    }
}
