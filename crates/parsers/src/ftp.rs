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
    /// Where the client listens for a data connection: the port.
    Port(u16),
    /// The client asks where the server listens.
    Passive,
    /// From which byte on the next file is wanted.
    Restart(u64),
    /// Whether data connections are encrypted from now on.
    Protect(bool),
    /// How many bytes a file has.
    Size(Box<str>),
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
        "port" => numbers(argument).map_or(Command::Other, Command::Port),
        "eprt" => extended_port(argument).map_or(Command::Other, Command::Port),
        "pasv" | "epsv" => Command::Passive,
        "rest" => decimal(argument).map_or(Command::Other, Command::Restart),
        "prot" => Command::Protect(!starts(argument, b"C")),
        "size" => Command::Size(text(argument, TEXT_BYTES_MAX)),
        _ => Command::Other,
    }
}

/// The port in a server's answer to PASV (227) or EPSV (229).
pub fn passive_port(line: &[u8]) -> Option<u16> {
    let from = line.iter().position(|byte| *byte == b'(')?;
    let inside = line.get(from.checked_add(1)?..)?;
    let inside = inside.split(|byte| *byte == b')').next()?;
    match line.get(..3)? {
        b"227" => numbers(inside),
        b"229" => extended_port(inside),
        _ => None,
    }
}

/// The size in a server's answer to SIZE (213), or in its word that a transfer begins (150).
pub fn told_size(line: &[u8]) -> Option<u64> {
    let rest = line.get(4..)?;
    match line.get(..3)? {
        b"213" => decimal(rest),
        b"125" | b"150" => {
            let at = rest.iter().rposition(|byte| *byte == b'(')?;
            let (digits, unit) = split_word(rest.get(at.checked_add(1)?..)?);
            starts(unit, b"bytes").then(|| decimal(digits)).flatten()
        }
        _ => None,
    }
}

/// The port of `h1,h2,h3,h4,p1,p2`.
fn numbers(text: &[u8]) -> Option<u16> {
    let mut parts = text.trim_ascii().split(|byte| *byte == b',');
    let [high, low] = [parts.nth(4)?, parts.next()?].map(|part| decimal(part).unwrap_or(256));
    if parts.next().is_some() {
        return None;
    }
    let [high, low] = [u8::try_from(high).ok()?, u8::try_from(low).ok()?];
    Some(u16::from_be_bytes([high, low])).filter(|port| *port > 0)
}

/// The port of `|1|132.235.1.2|6275|` (RFC 2428); address and kind may be missing.
fn extended_port(text: &[u8]) -> Option<u16> {
    let text = text.trim_ascii();
    let bar = text.first()?;
    let mut parts = text.split(|byte| byte == bar);
    u16::try_from(decimal(parts.nth(3)?)?)
        .ok()
        .filter(|port| *port > 0)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let digits = digits.trim_ascii();
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
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
        debug_assert!(passive_port(line) != Some(0));
        debug_assert!(told_size(line).is_none_or(|_| line.len() > 4));
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
    fn ports_and_sizes_are_read_as_each_server_writes_them() {
        assert_eq!(
            passive_port(b"227 Entering Passive Mode (10,0,0,2,195,80)."),
            Some(50_000)
        );
        assert_eq!(
            passive_port(b"229 Entering Extended Passive Mode (|||50001|)"),
            Some(50_001)
        );
        assert_eq!(
            passive_port(b"227 Entering Passive Mode (10,0,0,2,999,80)."),
            None
        );
        assert_eq!(passive_port(b"229 (|||0|)"), None);
        assert_eq!(command(b"PORT 10,0,0,7,4,1"), Command::Port(1_025));
        assert_eq!(command(b"EPRT |2|fe80::1|5282|"), Command::Port(5_282));
        assert_eq!(command(b"REST 100"), Command::Restart(100));
        assert_eq!(told_size(b"213 48"), Some(48));
        let begins = b"150 Opening BINARY mode data connection for a (1).zip (900 bytes).";
        assert_eq!(told_size(begins), Some(900));
        assert_eq!(told_size(b"150 Here comes the directory listing."), None);
    }

    #[test]
    fn a_mail_greeting_is_not_ftp() {
        assert!(looks_like_greeting(b"220 (vsFTPd 3.0.3)"));
        assert!(!looks_like_greeting(b"220 mail.example.org ESMTP"));
    }
}
