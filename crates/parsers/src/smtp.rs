//! SMTP commands (RFC 5321, RFC 3207, RFC 4954, RFC 3030).

use crate::reply::reply;
use crate::text::text;
use crate::words::{has_word, split_word};

const TEXT_BYTES_MAX: usize = 320;

/// What a client's line asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// HELO, EHLO or LHLO with a name.
    Hello(Box<str>),
    /// The envelope's sender.
    From(Box<str>),
    /// A recipient.
    To(Box<str>),
    /// The message follows.
    Data,
    /// So many bytes of message follow; whether they are the last.
    Chunk(u64, bool),
    /// Go over to TLS.
    StartTls,
    /// Log in: the mechanism and a first answer, in base64.
    Auth(&'a [u8], &'a [u8]),
    /// Any other command.
    Other,
}

/// Reads a line of the client.
pub fn command(line: &[u8]) -> Command<'_> {
    let (verb, argument) = split_word(line);
    let is = |word: &[u8]| verb.eq_ignore_ascii_case(word);
    if is(b"EHLO") || is(b"HELO") || is(b"LHLO") {
        return Command::Hello(text(argument, TEXT_BYTES_MAX));
    }
    if is(b"MAIL") {
        return Command::From(path(argument));
    }
    if is(b"RCPT") {
        return Command::To(path(argument));
    }
    if is(b"DATA") {
        return Command::Data;
    }
    if is(b"BDAT") {
        let (size, rest) = split_word(argument);
        let size = str::from_utf8(size).ok().and_then(|size| size.parse().ok());
        return size.map_or(Command::Other, |size| {
            Command::Chunk(size, has_word(rest, b"LAST"))
        });
    }
    if is(b"STARTTLS") {
        return Command::StartTls;
    }
    if is(b"AUTH") {
        let (mechanism, answer) = split_word(argument);
        return Command::Auth(mechanism, answer);
    }
    Command::Other
}

/// The address in `FROM:<a@b> SIZE=3`.
fn path(argument: &[u8]) -> Box<str> {
    let after = argument
        .iter()
        .position(|&byte| byte == b':')
        .and_then(|colon| argument.get(colon.saturating_add(1)..));
    let (word, _) = split_word(after.unwrap_or_default());
    let inside = word.strip_prefix(b"<").unwrap_or(word);
    let end = inside
        .iter()
        .position(|&byte| byte == b'>')
        .unwrap_or(inside.len());
    text(inside.get(..end).unwrap_or(inside), TEXT_BYTES_MAX)
}

/// The value of a header line, when it is this header.
pub fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// Whether a first line can only be a mail client's.
pub fn looks_like_command(line: &[u8]) -> bool {
    [&b"EHLO"[..], b"HELO", b"LHLO"]
        .iter()
        .any(|word| has_word(line, word))
}

/// Whether a first line is a mail server's greeting that says so.
pub fn looks_like_greeting(line: &[u8]) -> bool {
    (line.starts_with(b"220 ") || line.starts_with(b"220-"))
        && line
            .windows(4)
            .any(|word| word.eq_ignore_ascii_case(b"smtp"))
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Command::Auth(mechanism, answer) = command(line) {
            debug_assert!(mechanism.len().saturating_add(answer.len()) <= line.len());
        }
        debug_assert!(header(line, b"Subject").is_none_or(|value| value.len() < line.len()));
        debug_assert!(reply(line).is_none_or(|(code, _)| code <= 999));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_read() {
        assert_eq!(
            command(b"MAIL FROM:<a@b.c> SIZE=3"),
            Command::From("a@b.c".into())
        );
        assert_eq!(command(b"rcpt to: d@e.f"), Command::To("d@e.f".into()));
        assert_eq!(command(b"BDAT 86 LAST"), Command::Chunk(86, true));
        assert_eq!(command(b"BDAT -1"), Command::Other);
        assert_eq!(
            command(b"AUTH PLAIN AGI="),
            Command::Auth(b"PLAIN", b"AGI=")
        );
    }

    #[test]
    fn a_header_is_matched_by_its_whole_name() {
        assert_eq!(header(b"Subject: hi\r", b"subject"), Some(&b"hi"[..]));
        assert_eq!(header(b"Subjects: hi", b"subject"), None);
    }
}
