//! RPM packages: the payload behind lead, signature and header (RPM v3 and v4 package format). The
//! scripts that the header carries are not handed out yet.

use super::Opening;
use crate::{FileType, Reason};

const LEAD: usize = 96;
const BROKEN: Reason = Reason::Broken(FileType::Rpm);

/// Hands out the payload, which is a compressed cpio archive.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let signature = section(bytes, LEAD)?;
    let header = section(bytes, signature.next_multiple_of(8))?;
    let payload = bytes.get(header..).unwrap_or_default();
    if payload.is_empty() {
        return Err(BROKEN);
    }
    opening.lend("payload", payload, None);
    Ok(())
}

/// Where the header section that begins at `at` ends: magic, counts, index entries, data.
fn section(bytes: &[u8], at: usize) -> Result<usize, Reason> {
    let start = bytes.get(at..at + 16).ok_or(BROKEN)?;
    if !start.starts_with(b"\x8e\xad\xe8\x01") {
        return Err(BROKEN);
    }
    let number = |from: usize| {
        let field = start.get(from..from + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(field)).ok()
    };
    let (Some(entries), Some(data)) = (number(8), number(12)) else {
        return Err(BROKEN);
    };
    let length = entries
        .checked_mul(16)
        .and_then(|index| index.checked_add(data));
    length
        .and_then(|length| length.checked_add(at + 16))
        .filter(|end| *end <= bytes.len())
        .ok_or(BROKEN)
}
