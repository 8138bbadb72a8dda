//! POP3 up to the log-in (RFC 1939, RFC 2595, RFC 5034).

use crate::text::text;
use crate::words::{has_word, split_word};

const USER_BYTES_MAX: usize = 256;

/// What a client's line asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// USER.
    User(Box<str>),
    /// PASS; the password is not kept.
    Password,
    /// APOP with this account.
    Apop(Box<str>),
    /// AUTH: mechanism and first answer.
    Auth(&'a [u8], &'a [u8]),
    /// Go over to TLS.
    StartTls,
    /// Any other command.
    Other,
}

/// Reads a line of the client.
pub fn command(line: &[u8]) -> Command<'_> {
    let (verb, argument) = split_word(line);
    let is = |word: &[u8]| verb.eq_ignore_ascii_case(word);
    if is(b"USER") {
        return Command::User(text(argument, USER_BYTES_MAX));
    }
    if is(b"PASS") {
        return Command::Password;
    }
    if is(b"APOP") {
        return Command::Apop(text(split_word(argument).0, USER_BYTES_MAX));
    }
    if is(b"STLS") {
        return Command::StartTls;
    }
    if is(b"AUTH") && !argument.is_empty() {
        let (mechanism, answer) = split_word(argument);
        return Command::Auth(mechanism, answer);
    }
    Command::Other
}

/// What a server's line says of the command: done, failed, or go on (`+ `).
pub fn status(line: &[u8]) -> Option<Status> {
    if has_word(line, b"+OK") {
        return Some(Status::Ok);
    }
    if has_word(line, b"-ERR") {
        return Some(Status::Failed);
    }
    has_word(line, b"+").then_some(Status::More)
}

/// A server's word on a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Failed.
    Failed,
    /// The log-in goes on.
    More,
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Command::Auth(mechanism, _) = command(line) {
            debug_assert!(!mechanism.is_empty());
        }
        debug_assert!(status(line).is_none() || command(line) == Command::Other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_in_commands_are_read() {
        assert_eq!(command(b"USER bob@b.c"), Command::User("bob@b.c".into()));
        assert_eq!(command(b"APOP bob c4c9334b"), Command::Apop("bob".into()));
        assert_eq!(command(b"AUTH"), Command::Other);
        assert_eq!(status(b"+OK welcome"), Some(Status::Ok));
        assert_eq!(status(b"+ challenge"), Some(Status::More));
    }
}
