//! Scripts in HTML pages and applications, by their tags; a page need not be well-formed for a browser
//! to run what is in it.

use memchr::memmem;

use super::Opening;
use crate::{FileType, Reason};

const TAG_BYTES_MAX: usize = 1024;

/// Hands out what stands between script tags.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let lower = bytes.to_ascii_lowercase();
    let mut at = 0;
    let mut number = 0_u32;
    while let Some(found) = lower
        .get(at..)
        .and_then(|rest| memmem::find(rest, b"<script"))
    {
        opening.go_on()?;
        let start = at + found;
        let head = lower.get(start..).unwrap_or_default();
        let head = head.get(..TAG_BYTES_MAX).unwrap_or(head);
        let Some(end_of_tag) = memchr::memchr(b'>', head) else {
            break;
        };
        let tag = head.get(..end_of_tag).unwrap_or_default();
        let body_at = start + end_of_tag + 1;
        let rest = lower.get(body_at..).unwrap_or_default();
        // Without an end tag the script runs to the end of the page.
        let length = memmem::find(rest, b"</script").unwrap_or(rest.len());
        let body = bytes.get(body_at..body_at + length).unwrap_or_default();
        if !body.trim_ascii().is_empty() && !is_data(tag) {
            number += 1;
            let is_basic = memmem::find(tag, b"vbs").is_some();
            let (ending, kind) = if is_basic {
                ("vbs", FileType::VbScript)
            } else {
                ("js", FileType::JavaScript)
            };
            opening.lend(&format!("script{number}.{ending}"), body, Some(kind));
        }
        at = body_at + length;
    }
    Ok(())
}

/// Whether the tag says that the body is data for other scripts.
fn is_data(tag: &[u8]) -> bool {
    [&b"json"[..], b"text/template", b"text/html", b"text/x-"]
        .iter()
        .any(|word| memmem::find(tag, word).is_some())
}
