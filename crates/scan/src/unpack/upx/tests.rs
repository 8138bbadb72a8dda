use super::block::Method;
use super::filter::{Filter, undo};
use super::nrv::{Code, decode};
use crate::budget::Budget;
use crate::samples::{self, Shape, Wiped};
use crate::unpack::{Opening, Part};
use crate::{Reason, ScanPolicy};

const METHODS: [Method; 6] = [
    Method::Nrv(Code::B, 4),
    Method::Nrv(Code::D, 4),
    Method::Nrv(Code::E, 4),
    Method::Nrv(Code::E, 1),
    Method::Lzma,
    Method::Deflate,
];
const SHAPES: [Shape; 4] = [
    shape(true, false),
    shape(true, true),
    shape(false, false),
    shape(false, true),
];

const fn shape(is_wide: bool, is_big: bool) -> Shape {
    Shape { is_wide, is_big }
}

/// Text that packs well, with matches near and far, long and short.
fn content() -> Vec<u8> {
    let words: Vec<u8> = (0_u32..120)
        .flat_map(|number| format!("{} and {};", number * number, number % 7).into_bytes())
        .collect();
    [&words, &[0; 300][..], &words[..900], b"EVIL"].concat()
}

fn opened(policy: &ScanPolicy, bytes: &[u8]) -> (Vec<Vec<u8>>, Result<(), Reason>) {
    let budget = Budget::new(policy, bytes.len() as u64, &|| false);
    let mut files = Vec::new();
    let mut give = |part: Part<'_>| match part {
        Part::File { name, bytes, .. } => {
            assert_eq!(name, "upx");
            files.push(bytes.to_vec());
        }
        Part::Missing { .. } => panic!("troubles are handed back"),
    };
    let mut opening = Opening {
        name: "x",
        budget: &budget,
        give: &mut give,
    };
    let done = super::open(bytes, &mut opening);
    (files, done)
}

#[test]
fn every_code_gives_back_what_was_packed() {
    let content = content();
    for code in [Code::B, Code::D, Code::E] {
        for unit in [1, 2, 4] {
            let packed = samples::nrv(code, unit, &content);
            assert!(packed.len() < content.len() / 2, "{code:?} packs");
            let decoded = decode(&packed, code, unit, content.len());
            assert!(
                decoded.is_whole && decoded.bytes == content,
                "{code:?} {unit}"
            );
            let short = decode(&packed, code, unit, content.len() - 1);
            assert!(!short.is_whole && short.bytes.len() < content.len());
            let cut = decode(&packed[..packed.len() - 1], code, unit, content.len());
            assert!(!cut.is_whole);
        }
    }
}

#[test]
fn a_match_before_the_beginning_ends_the_data() {
    // A zero bit, then the distance of before, which is one.
    for code in [Code::B, Code::D, Code::E] {
        let decoded = decode(&[0b0010_0000, 0, 0, 0], code, 1, 100);
        assert!(!decoded.is_whole && decoded.bytes.is_empty(), "{code:?}");
    }
}

#[test]
fn filters_are_taken_back() {
    let mut code = *b"\x90\xe8\x01\x00\x00\x14\xff\xff\xff\xff\xff";
    assert!(undo(Filter { id: 0x26, mark: 1 }, 0, &mut code));
    assert_eq!(code[1..6], *b"\xe8\x12\0\0\0");
    // One that the mark does not stand behind is no changed call.
    let mut other = *b"\x90\xe8\x02\x00\x00\x14\xff\xff\xff\xff\xff";
    assert!(undo(Filter { id: 0x26, mark: 1 }, 0, &mut other));
    assert_eq!(other[1..6], *b"\xe8\x02\0\0\x14");
    let mut jump = *b"\x90\x0f\x85\x01\x00\x00\x15\xff\xff\xff\xff\xff";
    assert!(undo(Filter { id: 0x49, mark: 1 }, 0, &mut jump));
    assert_eq!(jump[1..7], *b"\x0f\x85\x12\0\0\0");
    let mut plain = *b"\x90\xe8\x14\x00\x00\x00\xff\xff\xff\xff\xff";
    assert!(undo(Filter { id: 0x11, mark: 0 }, 0, &mut plain));
    assert_eq!(plain[1..6], *b"\xe8\x12\0\0\0");
    let mut arm = *b"\0\0\0\0\x05\0\0\xeb\0\0\0\0";
    assert!(undo(Filter { id: 0x50, mark: 0 }, 0, &mut arm));
    assert_eq!(arm[4..8], *b"\x04\0\0\xeb");
    let mut arm64 = *b"\0\0\0\0\x05\0\0\x94\0\0\0\0";
    assert!(undo(Filter { id: 0x52, mark: 0 }, 0, &mut arm64));
    assert_eq!(arm64[4..8], *b"\x04\0\0\x94");
    assert!(!undo(Filter { id: 0xd0, mark: 0 }, 0, &mut arm64));
}

#[test]
fn elf_programs_come_out_byte_for_byte_also_where_marks_were_wiped() {
    let content = content();
    for shape in SHAPES {
        let original = samples::loaded_elf(shape, &content);
        for method in METHODS {
            for wiped in [Wiped::Nothing, Wiped::Marks] {
                let packed = samples::packed_elf(shape, method, &content, wiped);
                assert!(super::is_packed(&packed));
                let (files, done) = opened(&ScanPolicy::default(), &packed);
                assert_eq!(done, Ok(()), "{shape:?} {method:?} {wiped:?}");
                assert!(files == [&original[..]], "{shape:?} {method:?} {wiped:?}");
            }
        }
    }
}

#[test]
fn what_is_missing_of_a_packed_program_is_told() {
    let content = content();
    let packed = samples::packed_elf(SHAPES[0], METHODS[0], &content, Wiped::Rest);
    let (files, done) = opened(&ScanPolicy::default(), &packed);
    assert_eq!(done, Err(super::block::BROKEN));
    let original = samples::loaded_elf(SHAPES[0], &content);
    assert_eq!(files.len(), 1, "the segments are there");
    assert!(original.starts_with(&files[0][..content.len()]));
    let (files, done) = opened(&ScanPolicy::default(), &packed[..400]);
    assert_eq!((files.len(), done), (0, Err(super::block::BROKEN)));
    // Marked, and nothing in it that could be blocks.
    let marked = samples::elf(b".text", b"UPX!");
    let (files, done) = opened(&ScanPolicy::default(), &marked);
    assert_eq!((files.len(), done), (0, Err(super::block::UNSUPPORTED)));
}

#[test]
fn programs_of_windows_get_sections_imports_and_relocations_back() {
    let content = content();
    for method in [METHODS[0], METHODS[1], METHODS[2], METHODS[4]] {
        for has_marks in [true, false] {
            let (original, packed) = samples::packed_pe(method, &content[..0x180], has_marks);
            assert!(super::is_packed(&packed));
            let (files, done) = opened(&ScanPolicy::default(), &packed);
            assert_eq!(done, Ok(()), "{method:?} {has_marks}");
            assert_eq!(files.len(), 1);
            let differs = original
                .iter()
                .zip(&files[0])
                .position(|(one, other)| one != other);
            assert_eq!(differs, None, "{method:?} {has_marks}");
            assert_eq!(files[0].len(), original.len());
        }
    }
}

#[test]
fn lengths_that_lie_and_programs_that_are_too_large_end() {
    let content = content();
    let policy = ScanPolicy {
        member_bytes_max: 1000,
        ..ScanPolicy::default()
    };
    for method in METHODS {
        let packed = samples::packed_elf(SHAPES[0], method, &content, Wiped::Nothing);
        let (files, done) = opened(&policy, &packed);
        assert_eq!(
            (files.len(), done),
            (0, Err(Reason::TooLarge)),
            "{method:?}"
        );
    }
    let (_, packed) = samples::packed_pe(METHODS[0], &content[..0x180], true);
    assert_eq!(opened(&policy, &packed).1, Err(Reason::TooLarge));
    let few = ScanPolicy {
        unpacked_bytes_max: 2000,
        ..ScanPolicy::default()
    };
    let packed = samples::packed_elf(SHAPES[0], METHODS[2], &content, Wiped::Nothing);
    assert_eq!(opened(&few, &packed).1, Err(Reason::ExpandsTooMuch));
}
