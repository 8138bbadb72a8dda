//! Installers made by NSIS (its source: `exehead/fileform.h`), packed by LZMA: the script that tells them
//! what to do, then each file, as one stream or each its own. Names are in the script only and are not
//! read. NSIS changed Deflate and bzip2 for itself; those are told as unsupported.

use std::io::Read;

use super::{Opening, fill, skip};
use crate::{FileType, Reason};

const KIND: FileType = FileType::Nsis;
const UNSUPPORTED: Reason = Reason::Unsupported(KIND);
const BROKEN: Reason = Reason::Broken(KIND);
/// Bytes of what stands before the data: flags, mark, two lengths.
const HEADER: usize = 28;
/// Flag of a length: what follows is packed.
const PACKED: u32 = 1 << 31;
/// Largest dictionary that is given room.
const DICTIONARY_MAX: u32 = 64 << 20;

/// Hands out script and files of the installer that begins with the header in front of `bytes`.
///
/// # Errors
/// Why not all of it was handed out.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let script = word(20).ok_or(BROKEN)?;
    let data = bytes.get(HEADER..).unwrap_or_default();
    // It says how much there is with the header, and a checksum at its end.
    let said = word(24).ok_or(BROKEN)? as usize;
    let is_whole = said <= bytes.len();
    let data = data.get(..said.saturating_sub(HEADER)).unwrap_or(data);
    if let Some(decoder) = lzma(data) {
        return one_stream(script, decoder, opening);
    }
    let first = word(HEADER).ok_or(BROKEN)?;
    if first & PACKED == 0 && first != script {
        return Err(UNSUPPORTED);
    }
    each_its_own(data, opening)?;
    if is_whole { Ok(()) } else { Err(BROKEN) }
}

/// A decoder where packed bytes begin as those of LZMA do, behind the mark of a filter for programs.
fn lzma(data: &[u8]) -> Option<Box<dyn Read + '_>> {
    let data = match data {
        [0 | 1, 0x5d, 0, 0, ..] => data.get(1..)?,
        _ => data,
    };
    let [0x5d, a, b, c, d, 0, ..] = data else {
        return None;
    };
    let dictionary = u32::from_le_bytes([*a, *b, *c, *d]);
    if dictionary > DICTIONARY_MAX || dictionary.trailing_zeros() < 12 {
        return None;
    }
    let packed = data.get(5..)?;
    let decoder = lzma_rust2::LzmaReader::new_with_props(packed, u64::MAX, 0x5d, dictionary, None);
    Some(Box::new(decoder.ok()?))
}

fn one_stream(
    script: u32,
    decoder: Box<dyn Read + '_>,
    opening: &mut Opening<'_, '_>,
) -> Result<(), Reason> {
    let budget = opening.budget;
    let mut stream = budget.meter(decoder);
    for number in 0_u32.. {
        opening.go_on()?;
        let mut length = [0; 4];
        let read = fill(&mut stream, &mut length);
        // Nothing marks the end: behind the last file there is no further length.
        let is_length = read.is_ok_and(|read| read == length.len());
        let length = u32::from_le_bytes(length);
        if !is_length {
            return match number {
                0 => Err(budget.stopped().unwrap_or(BROKEN)),
                _ => budget.stopped().map_or(Ok(()), Err),
            };
        }
        if length & PACKED > 0 || (number == 0 && length != script) {
            return Err(BROKEN);
        }
        let mut content = (&mut stream).take(length.into());
        opening.read(KIND, &name(number), &mut content);
        let left = content.limit();
        if left > 0 && !skip(&mut stream, left) {
            return Err(budget.stopped().unwrap_or(BROKEN));
        }
    }
    Ok(())
}

fn each_its_own(data: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let mut rest = data;
    // The checksum at the end is no length.
    for number in 0_u32.. {
        let Some((length, after)) = rest
            .split_first_chunk()
            .filter(|(_, rest)| !rest.is_empty())
        else {
            break;
        };
        opening.go_on()?;
        let length = u32::from_le_bytes(*length);
        let size = (length & !PACKED) as usize;
        let content = after.get(..size).ok_or(BROKEN)?;
        if length & PACKED == 0 {
            opening.lend(&name(number), content, None);
        } else if let Some(decoder) = lzma(content) {
            let mut decoder = opening.budget.meter(decoder);
            opening.read(KIND, &name(number), &mut decoder);
        } else {
            opening.budget.count()?;
            opening.missing(&name(number), UNSUPPORTED);
        }
        rest = after.get(size..).unwrap_or_default();
    }
    Ok(())
}

fn name(number: u32) -> String {
    match number {
        0 => "script".to_owned(),
        number => format!("file{number}"),
    }
}
