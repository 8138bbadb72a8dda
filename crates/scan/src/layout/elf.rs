//! Sections of ELF files (gABI 4.1), and the segments where a file has no sections, as packed ones do.

use super::{Layout, text};
use crate::identify::{ElfFile, NO_BITS};

pub(super) fn places(bytes: &[u8], layout: &mut Layout) {
    let Some(elf) = ElfFile::read(bytes) else {
        return;
    };
    let sections: Vec<_> = elf.sections().collect();
    let names = sections.get(elf.names_section as usize);
    let names = names.and_then(|names| elf.slice(names.offset, names.size));
    for section in &sections {
        if section.kind == NO_BITS || section.kind == 0 {
            continue;
        }
        let at = usize::try_from(section.name).unwrap_or(usize::MAX);
        let name = names.and_then(|names| names.get(at..)).map(text);
        let name = name.filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| "section without a name".to_owned());
        layout.add(section.offset, section.size, &name);
    }
    let has_sections = !layout.places.is_empty();
    for segment in elf.segments() {
        if segment.kind == 1 && !has_sections {
            let flag = |bit: u64, letter: char| if segment.flags & bit > 0 { letter } else { '-' };
            let rights: String = [flag(4, 'r'), flag(2, 'w'), flag(1, 'x')].iter().collect();
            layout.add(segment.offset, segment.size, &format!("segment {rights}"));
        }
    }
    layout.add(0, elf.header_size, "ELF header");
    let (at, length) = elf.segment_table();
    layout.add(at, length, "program headers");
    let (at, length) = elf.section_table();
    layout.add(at, length, "section headers");
    if let Some(end) = elf.end() {
        let rest = (bytes.len() as u64).saturating_sub(end);
        layout.add(end, rest, "behind the program");
    }
}
