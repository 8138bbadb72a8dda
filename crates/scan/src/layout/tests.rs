use super::*;
use crate::samples;

#[test]
fn sections_of_programs_have_their_names() {
    let elf = samples::elf(b".text", b"CODE");
    let at = |bytes: &[u8], word: &[u8]| memchr::memmem::find(bytes, word).unwrap() as u64;
    let layout = Layout::of(FileType::Elf, &elf);
    assert_eq!(layout.name(0, 4).as_deref(), Some("ELF header"));
    assert_eq!(layout.name(at(&elf, b"CODE"), 4).as_deref(), Some(".text"));
    let behind = [&elf[..], b"more"].concat();
    let layout = Layout::of(FileType::Elf, &behind);
    assert_eq!(
        layout.name(elf.len() as u64, 4).as_deref(),
        Some("behind the program")
    );
    let pe = samples::pe(b".rsrc", b"DATA");
    let layout = Layout::of(FileType::Pe, &pe);
    assert_eq!(layout.name(0, 4).as_deref(), Some("PE header"));
    assert_eq!(layout.name(at(&pe, b"DATA"), 4).as_deref(), Some(".rsrc"));
    assert_eq!(layout.name(pe.len() as u64 + 100, 4), None);
}

#[test]
fn objects_of_documents_have_their_numbers() {
    let body = samples::pdf_stream("/Kind /Odd", b"CONTENT endobj");
    let pdf = samples::pdf(&[b"<< /Root >>".to_vec(), body]);
    let layout = Layout::of(FileType::Pdf, &pdf);
    let name = |word: &[u8]| {
        let at = memchr::memmem::find(&pdf, word).unwrap();
        layout.name(at as u64, word.len() as u64).unwrap()
    };
    assert_eq!(name(b"%PDF"), "before the first object");
    assert_eq!(name(b"/Root"), "object 1");
    assert_eq!(name(b"/Odd"), "object 2");
    assert_eq!(name(b"CONTENT"), "stream of object 2");
    assert_eq!(name(b"trailer"), "trailer");
    let all = layout.name(0, pdf.len() as u64).unwrap();
    assert_eq!(
        all,
        "before the first object, object 1, object 2 and 2 more"
    );
    // Numbers that are none, and objects that never end.
    for text in [
        &b" obj"[..],
        b"0 obj",
        b"x 0 obj",
        b"99999999999 0 obj",
        b"7 0 obj <<",
    ] {
        let layout = Layout::of(FileType::Pdf, text);
        let is_object = text.starts_with(b"7");
        let name = layout.name(0, text.len() as u64).unwrap();
        assert_eq!(name.starts_with("object"), is_object, "{name}");
    }
}

#[test]
fn streams_of_compound_files_have_their_paths() {
    let ole = samples::ole(&[("First", b"alpha"), ("Second", &[b'b'; 2_000])]);
    let layout = Layout::of(FileType::Ole, &ole);
    let at = memchr::memmem::find(&ole, b"alpha").unwrap() as u64;
    assert_eq!(layout.name(at, 5).as_deref(), Some("First"));
    assert_eq!(layout.name(at + 512 + 1_000, 5).as_deref(), Some("Second"));
    assert_eq!(layout.name(0, 5).as_deref(), Some("header"));
}
