//! The start of a PostgreSQL connection (PostgreSQL documentation, "Message Formats").

use crate::reader::Reader;
use crate::text::text;
use crate::words::take_until;

/// The client's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Startup {
    /// It asks for TLS or GSS encryption.
    Encryption,
    /// It logs in as this account to this database.
    Login(Box<str>, Box<str>),
}

/// Reads the client's first message with its length; `None` when it is cut or none.
pub fn startup(bytes: &[u8]) -> Option<(Startup, usize)> {
    let mut reader = Reader::new(bytes);
    let length = usize::try_from(reader.u32()?).ok()?;
    let code = reader.u32()?;
    match (code, length) {
        (80_877_103 | 80_877_104, 8) => Some((Startup::Encryption, 8)),
        (0x0003_0000..=0x0003_0009, 9..=10_000) => {
            let mut parameters = Reader::new(reader.take(length.checked_sub(8)?)?);
            let (mut user, mut database) = (Box::default(), Box::default());
            while let Some(name) = take_until(&mut parameters, 0) {
                let Some(value) = take_until(&mut parameters, 0) else {
                    break;
                };
                match name {
                    b"user" => user = text(value, 128),
                    b"database" => database = text(value, 128),
                    _ => {}
                }
            }
            Some((Startup::Login(user, database), length))
        }
        _ => None,
    }
}

/// Whether the client's first bytes may be a start, as far as they have come.
pub fn looks_like_startup(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let length = reader.u32();
    let code = reader.u32();
    length.is_some_and(|length| (8..=10_000).contains(&length))
        && matches!(
            code,
            Some(80_877_103 | 80_877_104 | 0x0003_0000..=0x0003_0009)
        )
}

/// Type, length and, for authentication messages, the code of a server's message.
pub fn server_message(bytes: &[u8]) -> Option<(u8, usize, u32)> {
    let mut reader = Reader::new(bytes);
    let kind = reader.u8()?;
    let length = usize::try_from(reader.u32()?).ok()?;
    let code = reader.u32().unwrap_or(u32::MAX);
    (length >= 4).then_some((kind, length.saturating_add(1), code))
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    debug_assert!(startup(bytes).is_none_or(|(_, length)| length <= bytes.len()));
    debug_assert!(startup(bytes).is_none() || looks_like_startup(bytes));
    debug_assert!(server_message(bytes).is_none_or(|(_, length, _)| length >= 5));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_and_database_are_read() {
        let bytes = b"\0\0\0\x1e\0\x03\0\0user\0bob\0database\0db\0\0";
        let expected = (Startup::Login("bob".into(), "db".into()), 30);
        assert_eq!(startup(bytes), Some(expected));
        assert_eq!(
            startup(b"\0\0\0\x08\x04\xd2\x16\x2f"),
            Some((Startup::Encryption, 8))
        );
        assert_eq!(startup(&bytes[..20]), None);
    }
}
