//! cpio archives in the "new" portable format (cpio(5)), as RPM and initial ramdisks use it. The older
//! formats are recognised and not opened.

use std::io::Read;

use super::{Opening, fill, skip};
use crate::{FileType, Reason};

const HEADER: usize = 110;
const NAME_BYTES_MAX: u64 = 4096;
const KIND: FileType = FileType::Cpio;

/// Hands out the files of an archive.
pub(super) fn open(reader: &mut dyn Read, opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    loop {
        opening.go_on()?;
        let broken = || opening.budget.stopped().unwrap_or(Reason::Broken(KIND));
        let mut header = [0; HEADER];
        let read = fill(reader, &mut header).map_err(|_| broken())?;
        if header.starts_with(b"070707") {
            return Err(Reason::Unsupported(KIND));
        }
        let is_header = header.starts_with(b"070701") || header.starts_with(b"070702");
        if read < HEADER || !is_header {
            return Err(broken());
        }
        let field = |number: usize| {
            let at = 6 + 8 * number;
            let digits = header.get(at..at + 8)?;
            u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let (Some(mode), Some(size), Some(name_size)) = (field(1), field(6), field(11)) else {
            return Err(broken());
        };
        if name_size == 0 || name_size > NAME_BYTES_MAX {
            return Err(broken());
        }
        // Header with name, and body, end on multiples of four.
        let padded = (HEADER as u64 + name_size).next_multiple_of(4) - HEADER as u64;
        let mut name = vec![0; usize::try_from(padded).unwrap_or_default()];
        if fill(reader, &mut name).map_err(|_| broken())? < name.len() {
            return Err(broken());
        }
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        if name == "TRAILER!!!" {
            return Ok(());
        }
        let is_file = mode & 0o170_000 == 0o100_000;
        let mut body = reader.take(size);
        if is_file && size > 0 {
            opening.read(KIND, name.trim_start_matches("./"), &mut body);
        }
        let left = body.limit();
        if !skip(reader, left + (size.next_multiple_of(4) - size)) {
            return Err(opening.budget.stopped().unwrap_or(Reason::Broken(KIND)));
        }
    }
}
