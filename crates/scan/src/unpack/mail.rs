//! Mail messages (RFC 5322, MIME), by the mail-parser crate: every part that has a body, attached or not.

use mail_parser::{MessageParser, MimeHeaders, PartType};

use super::Opening;
use crate::{FileType, Reason};

/// Lines that may stand between parts.
const LINES_MAX: usize = 10_000;

/// Hands out the parts.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    // The crate keeps every part it sees, so their number is bounded before it sees them.
    if memchr::memmem::find_iter(bytes, b"\n--")
        .take(LINES_MAX + 1)
        .count()
        > LINES_MAX
    {
        return Err(Reason::TooManyMembers);
    }
    let message = MessageParser::default()
        .parse(bytes)
        .ok_or(Reason::Broken(FileType::Eml))?;
    for (number, part) in message.parts.iter().enumerate() {
        opening.go_on()?;
        let name = part.attachment_name().map(str::to_owned);
        let name = name.unwrap_or_else(|| format!("part{number}"));
        match &part.body {
            PartType::Text(text) if !text.trim().is_empty() => {
                opening.lend(&name, text.as_bytes(), None);
            }
            PartType::Html(text) => opening.lend(&name, text.as_bytes(), Some(FileType::Html)),
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => {
                opening.lend(&name, bytes, None);
            }
            PartType::Message(message) => {
                opening.lend(&name, message.raw_message(), Some(FileType::Eml));
            }
            PartType::Text(_) | PartType::Multipart(_) => {}
        }
    }
    Ok(())
}
