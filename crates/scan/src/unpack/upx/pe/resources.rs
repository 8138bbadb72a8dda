//! Resources that Windows reads from the file, as icons and versions, are not packed: they lie in a section of
//! their own, each behind the address where it was. Here they go back.

use super::rebuild::{Image, Kept, RESOURCE, outer_bytes, outer_directory};
use super::{Outer, le16, le32};

/// Type of the resources that list icons.
const ICON_GROUP: u32 = 14;
/// Levels of directories: type, name, language.
const LEVELS: u32 = 3;
/// Directories and resources of one program.
const ENTRIES_MAX: usize = 1 << 16;
/// Flag of a name that is text, and of an entry that is a directory.
const HIGH: u32 = 1 << 31;

/// Puts resources and their directory back; `extra` is where it says how many icons there were.
pub(super) fn restore(
    outer: &Outer<'_>,
    kept: &Kept,
    image: &mut Image,
    extra: usize,
) -> Option<()> {
    let (directory, size) = kept.directory(RESOURCE);
    let (own, own_size) = outer_directory(outer, RESOURCE);
    if size == 0 || own_size == 0 {
        return Some(());
    }
    let mut icons = le16(&image.bytes, extra)?;
    let mut tree = Tree {
        bytes: outer_bytes(outer, own)?,
        entries: 0,
        room: 0,
        leaves: Vec::new(),
    };
    tree.walk(0, 0, 0)?;
    for leaf in &mut tree.leaves {
        if leaf.address <= own {
            continue;
        }
        let origin = le32(outer_bytes(outer, leaf.address - 4)?, 0)?;
        let content = outer_bytes(outer, leaf.address)?;
        let size = (leaf.size as usize).checked_next_multiple_of(4)?;
        image.put(origin, content.get(..size)?)?;
        if icons > 0 && leaf.kind == ICON_GROUP {
            image.put(origin.checked_add(4)?, &icons.to_le_bytes())?;
            icons = 0;
        }
        leaf.address = origin;
    }
    // Where the directory lay in pieces it was not taken away, and is still there.
    if image.word(directory.checked_add(12)?)? == 0 {
        let mut written = Written::default();
        let mut leaves = tree.leaves.iter();
        tree.write(0, 0, &mut leaves, &mut written)?;
        written.directories.append(&mut written.names);
        let length = written.directories.len().next_multiple_of(4);
        written.directories.resize(length, 0);
        image.put(directory, &written.directories)?;
    }
    Some(())
}

struct Leaf {
    address: u32,
    size: u32,
    /// Its type, where that is a number.
    kind: u32,
}

#[derive(Default)]
struct Written {
    directories: Vec<u8>,
    /// Each with its length in front.
    names: Vec<u8>,
}

struct Tree<'t> {
    bytes: &'t [u8],
    entries: usize,
    /// Bytes of all directories and leaves.
    room: usize,
    leaves: Vec<Leaf>,
}

impl Tree<'_> {
    fn entries_at(&self, at: usize) -> Option<usize> {
        let named: usize = le16(self.bytes, at + 12)?.into();
        Some(named + usize::from(le16(self.bytes, at + 14)?))
    }

    /// Name and child of an entry of the directory at `at`.
    fn entry(&self, at: usize, number: usize) -> Option<(u32, u32)> {
        let at = at + 16 + 8 * number;
        Some((le32(self.bytes, at)?, le32(self.bytes, at + 4)?))
    }

    fn walk(&mut self, at: usize, level: u32, kind: u32) -> Option<()> {
        if level == LEVELS {
            self.room += 16;
            self.leaves.push(Leaf {
                address: le32(self.bytes, at)?,
                size: le32(self.bytes, at + 4)?,
                kind,
            });
            return Some(());
        }
        let entries = self.entries_at(at)?;
        self.room += 16 + 8 * entries;
        self.entries += entries;
        (self.entries <= ENTRIES_MAX).then_some(())?;
        for number in 0..entries {
            let (name, child) = self.entry(at, number)?;
            let is_leaf = child & HIGH == 0;
            (is_leaf == (level + 1 == LEVELS)).then_some(())?;
            let kind = if level == 0 { name } else { kind };
            self.walk((child & !HIGH) as usize, level + 1, kind)?;
        }
        Some(())
    }

    /// Each directory, then what is in it, one after the other; names behind all of them.
    fn write(
        &self,
        at: usize,
        level: u32,
        leaves: &mut std::slice::Iter<'_, Leaf>,
        written: &mut Written,
    ) -> Option<()> {
        if level == LEVELS {
            let address = leaves.next()?.address.to_le_bytes();
            written.directories.extend_from_slice(&address);
            let rest = self.bytes.get(at + 4..at + 16)?;
            written.directories.extend_from_slice(rest);
            return Some(());
        }
        let entries = self.entries_at(at)?;
        let head = self.bytes.get(at..at + 16)?;
        written.directories.extend_from_slice(head);
        let mut place = written.directories.len();
        written.directories.resize(place + 8 * entries, 0);
        for number in 0..entries {
            let (mut name, child) = self.entry(at, number)?;
            if name & HIGH > 0 {
                let text = self.name((name & !HIGH) as usize)?;
                name = (self.room + written.names.len()) as u32 | HIGH;
                written.names.extend_from_slice(text);
            }
            let here = written.directories.len() as u32 | (child & HIGH);
            let entry = [name.to_le_bytes(), here.to_le_bytes()].concat();
            let room = written.directories.get_mut(place..place + 8)?;
            room.copy_from_slice(&entry);
            place += 8;
            self.write((child & !HIGH) as usize, level + 1, leaves, written)?;
        }
        Some(())
    }

    fn name(&self, at: usize) -> Option<&[u8]> {
        let length = 2 + 2 * usize::from(le16(self.bytes, at)?);
        self.bytes.get(at..at.checked_add(length)?)
    }
}
