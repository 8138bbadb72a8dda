//! Scripts in HTML pages and applications, by their tags; a page need not be well-formed for a browser
//! to run what is in it.

use memchr::memmem;

use super::Opening;
use crate::{FileType, Reason};

const TAG_BYTES_MAX: usize = 1024;

/// Hands out what stands between script tags.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let mut rest = bytes;
    let mut number = 0_u32;
    while let Some(start) = find(rest, b"<script") {
        opening.go_on()?;
        let head = rest.get(start..).unwrap_or_default();
        let head = head.get(..TAG_BYTES_MAX).unwrap_or(head);
        let Some(end_of_tag) = memchr::memchr(b'>', head) else {
            // No tag, whatever it is; a later one may be one.
            rest = rest.get(start + 1..).unwrap_or_default();
            continue;
        };
        let tag = head.get(..end_of_tag).unwrap_or_default();
        let tag = tag.to_ascii_lowercase();
        rest = rest.get(start + end_of_tag + 1..).unwrap_or_default();
        // Without an end tag the script runs to the end of the page.
        let length = find(rest, b"</script").unwrap_or(rest.len());
        let (body, after) = rest.split_at(length);
        if !body.trim_ascii().is_empty() && !is_data(&tag) {
            number += 1;
            let is_basic = memmem::find(&tag, b"vbs").is_some();
            let (ending, kind) = if is_basic {
                ("vbs", FileType::VbScript)
            } else {
                ("js", FileType::JavaScript)
            };
            opening.lend(&format!("script{number}.{ending}"), body, Some(kind));
        }
        rest = after;
    }
    Ok(())
}

/// Where a word that begins with `<` stands, in letters of either case.
fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'<', bytes).find(|at| {
        let here = bytes.get(*at..*at + word.len());
        here.is_some_and(|here| here.eq_ignore_ascii_case(word))
    })
}

/// Whether the tag says that the body is data for other scripts.
fn is_data(tag: &[u8]) -> bool {
    [&b"json"[..], b"text/template", b"text/html", b"text/x-"]
        .iter()
        .any(|word| memmem::find(tag, word).is_some())
}
