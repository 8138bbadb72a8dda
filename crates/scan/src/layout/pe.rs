//! Sections of Portable Executables (Microsoft PE Format).

use super::{Layout, text};
use crate::identify::PeFile;

pub(super) fn places(bytes: &[u8], layout: &mut Layout) {
    let Some(pe) = PeFile::read(bytes) else {
        return;
    };
    layout.add(0, pe.headers_end() as u64, "PE header");
    for section in pe.sections() {
        let name = text(&section.name);
        let name = if name.is_empty() {
            "section without a name".to_owned()
        } else {
            name
        };
        layout.add(section.offset.into(), section.size.into(), &name);
    }
    let end = pe.end() as u64;
    let rest = (bytes.len() as u64).saturating_sub(end);
    layout.add(end, rest, "behind the program");
}
