//! What the program asks other libraries for: UPX keeps the names of libraries as its own imports and those of
//! functions, or their numbers, behind the image.

use super::rebuild::{ENTRIES_MAX, IMPORT, Image, Kept, outer_bytes, outer_directory, until_zero};
use super::{Outer, le16, le32};

/// Writes names and tables; `extra` is where it says where the list is.
pub(super) fn restore(
    outer: &Outer<'_>,
    kept: &Kept,
    image: &mut Image,
    extra: &mut usize,
) -> Option<()> {
    let (directory, size) = kept.directory(IMPORT);
    if directory == 0 || size <= 20 {
        return Some(());
    }
    let list = le32(&image.bytes, *extra)? as usize;
    let names = le32(&image.bytes, *extra + 4)?;
    *extra += 8;
    let list = image.bytes.get(list..)?.to_vec();
    let libraries = read_imports(&list)?;
    let (own, _) = outer_directory(outer, IMPORT);
    let name_of =
        |library: &Library<'_>| until_zero(outer_bytes(outer, own.wrapping_add(library.name))?);
    let mut room = 0;
    for library in &libraries {
        room += name_of(library)?.len() as u32 + 1;
    }
    let names = (names > 0).then_some(names);
    let first = names.map(|at| at.wrapping_add(room.next_multiple_of(2)));
    let (mut library_at, mut function_at) = (names, first);
    for (number, library) in libraries.iter().enumerate() {
        let entry = directory.checked_add(20 * number as u32)?;
        let name = [name_of(library)?, b"\0"].concat();
        if let Some(at) = library_at {
            image.put(at, &name)?;
            image.put(entry.checked_add(12)?, &at.to_le_bytes())?;
            library_at = at.checked_add(name.len() as u32);
        } else {
            let at = image.word(entry.checked_add(12)?)?;
            image.put(at, &name)?;
        }
        let table = image.base.wrapping_add(library.table);
        image.put(entry.checked_add(16)?, &table.to_le_bytes())?;
        let origin = (own, outer);
        functions(
            origin,
            kept,
            image,
            library,
            first.zip(function_at.as_mut()),
        )?;
    }
    Some(())
}

/// What one library is asked for.
struct Library<'l> {
    /// Where its name is, within the packed file's imports.
    name: u32,
    /// Where the addresses of its functions go, in the image.
    table: u32,
    functions: Vec<Function<'l>>,
}

enum Function<'l> {
    Name(&'l [u8]),
    Ordinal(u16),
    /// Kept in the packed file's imports.
    There(u32),
}

fn read_imports(list: &[u8]) -> Option<Vec<Library<'_>>> {
    let mut libraries = Vec::new();
    let mut at = 0;
    let mut entries = 0;
    loop {
        let name = le32(list, at)?;
        if name == 0 {
            return Some(libraries);
        }
        let table = le32(list, at + 4)?;
        at += 8;
        let mut functions = Vec::new();
        loop {
            entries += 1;
            if entries > ENTRIES_MAX {
                return None;
            }
            match *list.get(at)? {
                0 => break,
                1 => {
                    let name = until_zero(list.get(at + 1..)?)?;
                    functions.push(Function::Name(name));
                    at += name.len() + 2;
                }
                0xff => {
                    functions.push(Function::Ordinal(le16(list, at + 1)?));
                    at += 3;
                }
                _ => {
                    functions.push(Function::There(le32(list, at + 1)?));
                    at += 5;
                }
            }
        }
        at += 1;
        libraries.push(Library {
            name,
            table,
            functions,
        });
    }
}

/// Writes the table of one library, and the names it points at: one behind the other from `names` on, or
/// where the table has kept their places.
fn functions(
    origin: (u32, &Outer<'_>),
    kept: &Kept,
    image: &mut Image,
    library: &Library<'_>,
    mut names: Option<(u32, &mut u32)>,
) -> Option<()> {
    let (own, outer) = origin;
    let width = kept.word_bytes();
    let ordinal: u64 = 1 << (8 * width - 1);
    let mut slot = image.base.wrapping_add(library.table);
    for function in &library.functions {
        let value = match function {
            Function::Ordinal(number) => u64::from(*number) | ordinal,
            Function::There(at) => {
                let bytes = outer_bytes(outer, own.wrapping_add(*at))?;
                let bytes = bytes.get(..width)?.iter().rev();
                bytes.fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
            }
            Function::Name(name) => {
                let name = [*name, b"\0"].concat();
                if let Some((first, at)) = &mut names {
                    if at.wrapping_sub(*first) & 1 == 1 {
                        **at = at.wrapping_sub(1);
                    }
                    let here = **at;
                    image.put(here.checked_add(2)?, &name)?;
                    **at = here.checked_add(2 + name.len() as u32)?;
                    here.into()
                } else {
                    let at = image.word(slot)?;
                    image.put(at.checked_add(2)?, &name)?;
                    at.into()
                }
            }
        };
        image.put(slot, value.to_le_bytes().get(..width)?)?;
        slot = slot.checked_add(width as u32)?;
    }
    image.put(slot, [0; 8].get(..width)?)
}
