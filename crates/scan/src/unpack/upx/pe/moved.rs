//! Places to be relocated, which UPX packs its own way, and exports, which it moves.

use super::rebuild::{
    ENTRIES_MAX, EXPORT, Image, Kept, RELOCATION, outer_bytes, outer_directory, until_zero,
};
use super::{Outer, le16, le32};

/// Places to relocate are kept as distances of one to seven bytes; what stands there was turned around and
/// had the base taken off.
pub(super) fn relocations(kept: &mut Kept, image: &mut Image, extra: &mut usize) -> Option<()> {
    let (directory, size) = kept.directory(RELOCATION);
    if directory == 0 || size == 0 || kept.is_fixed() {
        return Some(());
    }
    if size == 8 {
        return image.put(directory, b"\0\0\0\0\x08\0\0\0");
    }
    let mut at = le32(&image.bytes, *extra)? as usize;
    let has_halves = image.bytes.get(*extra + 4)? & 6;
    *extra += 5;
    let width = kept.word_bytes();
    let kind: u16 = if kept.is_wide { 10 } else { 3 };
    let base = if kept.is_wide {
        u64::from(le32(&kept.header, 48)?) | u64::from(le32(&kept.header, 52)?) << 32
    } else {
        le32(&kept.header, 52)?.into()
    };
    let base = base.wrapping_add(image.base.into());
    let mut places = Vec::new();
    let mut place = 0_usize.wrapping_sub(4);
    loop {
        let step = match *image.bytes.get(at)? {
            0 => break,
            step @ 1..0xf0 => {
                at += 1;
                step.into()
            }
            step => {
                let low: usize = le16(&image.bytes, at + 1)?.into();
                let long = (usize::from(step & 15) << 16) | low;
                at += 3;
                if long > 0 {
                    long
                } else {
                    at += 4;
                    le32(&image.bytes, at - 4)? as usize
                }
            }
        };
        if step < 4 || places.len() >= ENTRIES_MAX {
            return None;
        }
        place = place.wrapping_add(step);
        let value = image.bytes.get_mut(place..place.checked_add(width)?)?;
        let told = value
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        value.copy_from_slice(told.wrapping_add(base).to_le_bytes().get(..width)?);
        places.push((image.base.checked_add(place as u32)?, kind));
    }
    if has_halves > 0 {
        halves(image, at + 1, has_halves, &mut places)?;
    }
    places.sort_unstable();
    let table = relocation_table(&places);
    image.put(directory, &table)?;
    kept.set_directory(RELOCATION, directory, table.len() as u32);
    Some(())
}

/// Places of which one half only is relocated: lists of four bytes each, ended by zero.
fn halves(image: &Image, mut at: usize, which: u8, places: &mut Vec<(u32, u16)>) -> Option<()> {
    let kinds: &[u16] = match which {
        2 => &[1],
        4 => &[2],
        _ => &[2, 1],
    };
    for kind in kinds {
        loop {
            let place = le32(&image.bytes, at)?;
            at += 4;
            if place == 0 {
                break;
            }
            if places.len() >= ENTRIES_MAX {
                return None;
            }
            places.push((image.base.wrapping_add(place), *kind));
        }
    }
    Some(())
}

fn relocation_table(places: &[(u32, u16)]) -> Vec<u8> {
    let mut table = Vec::new();
    for page in places.chunk_by(|(one, _), (other, _)| one >> 12 == other >> 12) {
        let Some((first, _)) = page.first() else {
            continue;
        };
        let size = (8 + 2 * page.len()).next_multiple_of(4);
        table.extend_from_slice(&(first & !0xfff).to_le_bytes());
        table.extend_from_slice(&(size as u32).to_le_bytes());
        for (place, kind) in page {
            table.extend_from_slice(&((kind << 12) | (place & 0xfff) as u16).to_le_bytes());
        }
        table.resize(table.len().next_multiple_of(4), 0);
    }
    table
}

/// A library's exports were moved, name by name; they are moved back with their inner addresses.
pub(super) fn exports(outer: &Outer<'_>, kept: &Kept, image: &mut Image) -> Option<()> {
    let (directory, size) = kept.directory(EXPORT);
    let (own, own_size) = outer_directory(outer, EXPORT);
    if size == 0 || own == directory || own == 0 {
        return Some(());
    }
    let head: [u8; 40] = *outer_bytes(outer, own)?.first_chunk()?;
    let text = |address: u32| Some([until_zero(outer_bytes(outer, address)?)?, b"\0"].concat());
    let (count, names) = (le32(&head, 20)? as usize, le32(&head, 24)? as usize);
    if count > ENTRIES_MAX || names > ENTRIES_MAX {
        return None;
    }
    let list = |at: usize, bytes: usize| outer_bytes(outer, le32(&head, at)?)?.get(..bytes);
    let mut functions = list(28, 4 * count)?.to_vec();
    let ordinals = list(36, 2 * names)?;
    let name = text(le32(&head, 12)?)?;
    let functions_at = directory.checked_add(40)?;
    let names_at = functions_at.checked_add(4 * count as u32)?;
    let ordinals_at = names_at.checked_add(4 * names as u32)?;
    let name_at = ordinals_at.checked_add(2 * names as u32)?;
    let mut at = name_at.checked_add(name.len() as u32)?;
    let mut pointers = Vec::new();
    let mut texts = Vec::new();
    for pointer in list(32, 4 * names)?.chunks_exact(4) {
        let own_text = text(le32(pointer, 0)?)?;
        pointers.extend_from_slice(&at.to_le_bytes());
        at = at.checked_add(own_text.len() as u32)?;
        texts.extend(own_text);
        (texts.len() <= size as usize).then_some(())?;
    }
    for function in functions.chunks_exact_mut(4) {
        let told = le32(function, 0)?;
        // An address within the exports names a function of another library.
        if told
            .checked_sub(own)
            .is_some_and(|within| within < own_size)
        {
            let own_text = text(told)?;
            function.copy_from_slice(&at.to_le_bytes());
            at = at.checked_add(own_text.len() as u32)?;
            texts.extend(own_text);
            (texts.len() <= size as usize).then_some(())?;
        }
    }
    let mut out = head.to_vec();
    for (field, address) in [
        (12, name_at),
        (28, functions_at),
        (32, names_at),
        (36, ordinals_at),
    ] {
        out.get_mut(field..field + 4)?
            .copy_from_slice(&address.to_le_bytes());
    }
    for part in [&functions, &pointers, ordinals, &name, &texts] {
        out.extend_from_slice(part);
    }
    image.put(directory, &out)
}
