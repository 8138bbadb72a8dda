//! FTP commands (RFC 959, RFC 4217).

use crate::reply::reply;
use crate::text::text;
use crate::words::split_word;

const TEXT_BYTES_MAX: usize = 512;

/// What a client's line asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An account.
    User(Box<str>),
    /// Its password, which is not kept.
    Password,
    /// Go over to TLS.
    AuthTls,
    /// Something done to a file: lower-case verb and path.
    File(Box<str>, Box<str>),
    /// Any other known or unknown command.
    Other,
}

/// Reads a line of the client.
pub fn command(line: &[u8]) -> Command {
    let (verb, argument) = split_word(line);
    let verb = text(verb, 8).to_ascii_lowercase();
    match verb.as_str() {
        "user" => Command::User(text(argument, TEXT_BYTES_MAX)),
        "pass" => Command::Password,
        "auth" if starts(argument, b"TLS") || starts(argument, b"SSL") => Command::AuthTls,
        "retr" | "stor" | "stou" | "appe" | "dele" | "rnfr" | "rnto" | "mkd" | "rmd" | "site"
        | "list" | "nlst" | "mlsd" => Command::File(verb.into(), text(argument, TEXT_BYTES_MAX)),
        _ => Command::Other,
    }
}

fn starts(argument: &[u8], word: &[u8]) -> bool {
    argument
        .get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Whether a first line can only be an FTP client's.
pub fn looks_like_command(line: &[u8]) -> bool {
    const FIRST: [&[u8]; 6] = [b"USER", b"AUTH", b"FEAT", b"SYST", b"OPTS", b"HOST"];
    FIRST.iter().any(|word| crate::words::has_word(line, word))
}

/// Whether a first line is an FTP server's greeting that says so.
pub fn looks_like_greeting(line: &[u8]) -> bool {
    (line.starts_with(b"220 ") || line.starts_with(b"220-"))
        && line
            .windows(3)
            .any(|word| word.eq_ignore_ascii_case(b"ftp"))
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        let asked = command(line);
        debug_assert!(asked != Command::AuthTls || line.len() >= 8);
        debug_assert!(reply(line).is_none_or(|(code, _)| code <= 999));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_in_any_case_and_passwords_are_not_kept() {
        assert_eq!(command(b"user bob"), Command::User("bob".into()));
        assert_eq!(command(b"PASS secret"), Command::Password);
        assert_eq!(command(b"AUTH TLS"), Command::AuthTls);
        assert_eq!(
            command(b"STOR a b.zip"),
            Command::File("stor".into(), "a b.zip".into())
        );
        assert_eq!(command(b""), Command::Other);
    }

    #[test]
    fn a_mail_greeting_is_not_ftp() {
        assert!(looks_like_greeting(b"220 (vsFTPd 3.0.3)"));
        assert!(!looks_like_greeting(b"220 mail.example.org ESMTP"));
    }
}
