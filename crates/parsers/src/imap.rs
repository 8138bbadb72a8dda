//! IMAP up to the log-in (RFC 9051 sections 6.1 to 6.2).

use crate::text::text;
use crate::words::{has_word, split_word};

const USER_BYTES_MAX: usize = 256;

/// What a client's line asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// LOGIN with this account; empty when it comes as a literal.
    Login(Box<str>),
    /// AUTHENTICATE: mechanism and first answer.
    Authenticate(&'a [u8], &'a [u8]),
    /// Go over to TLS.
    StartTls,
    /// Any other command.
    Other,
}

/// Tag and command of a line.
pub fn command(line: &[u8]) -> (&[u8], Command<'_>) {
    let (tag, rest) = split_word(line);
    let (verb, argument) = split_word(rest);
    let is = |word: &[u8]| verb.eq_ignore_ascii_case(word);
    let command = if is(b"LOGIN") {
        Command::Login(account(argument))
    } else if is(b"AUTHENTICATE") {
        let (mechanism, answer) = split_word(argument);
        Command::Authenticate(mechanism, answer)
    } else if is(b"STARTTLS") {
        Command::StartTls
    } else {
        Command::Other
    };
    (tag, command)
}

fn account(argument: &[u8]) -> Box<str> {
    if argument.starts_with(b"{") {
        return Box::default();
    }
    if let Some(quoted) = argument.strip_prefix(b"\"") {
        let end = quoted
            .iter()
            .position(|&byte| byte == b'"')
            .unwrap_or(quoted.len());
        return text(quoted.get(..end).unwrap_or(quoted), USER_BYTES_MAX);
    }
    text(split_word(argument).0, USER_BYTES_MAX)
}

/// Whether a line ends the command with this tag, and well.
pub fn completion(line: &[u8], tag: &[u8]) -> Option<bool> {
    let (word, rest) = split_word(line);
    if tag.is_empty() || word != tag {
        return None;
    }
    Some(has_word(rest, b"OK"))
}

/// Whether a first line is an IMAP server's greeting.
pub fn looks_like_greeting(line: &[u8]) -> bool {
    [&b"* OK"[..], b"* PREAUTH", b"* BYE"]
        .iter()
        .any(|start| has_word(line, start))
}

/// Whether a first line can only be an IMAP client's.
pub fn looks_like_command(line: &[u8]) -> bool {
    let (tag, rest) = split_word(line);
    let known: [&[u8]; 4] = [b"LOGIN", b"AUTHENTICATE", b"CAPABILITY", b"STARTTLS"];
    tag.len() <= 16 && known.iter().any(|word| has_word(rest, word))
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        let (tag, asked) = command(line);
        debug_assert!(tag.len() <= line.len());
        debug_assert!(asked == Command::Other || completion(line, tag) == Some(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_bare_quoted_and_left_out_as_a_literal() {
        assert_eq!(
            command(b"a1 LOGIN bob secret"),
            (&b"a1"[..], Command::Login("bob".into()))
        );
        assert_eq!(
            command(b"a1 login \"bob b\" \"x\"").1,
            Command::Login("bob b".into())
        );
        assert_eq!(command(b"a1 LOGIN {3}").1, Command::Login("".into()));
    }

    #[test]
    fn only_the_own_tag_completes_a_command() {
        assert_eq!(completion(b"a1 OK done", b"a1"), Some(true));
        assert_eq!(completion(b"a1 NO sorry", b"a1"), Some(false));
        assert_eq!(completion(b"* OK still here", b"a1"), None);
    }
}
