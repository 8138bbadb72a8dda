//! A pack made from made files, read back and damaged.

use std::fs;
use std::path::Path;

use super::*;
use crate::corpus::index::Row;
use crate::corpus::manifest;
use crate::corpus::walk::Places;

const POLICY: Policy = Policy {
    head_kib: 2,
    windows: 1,
    window_kib: 1,
    tail_kib: 1,
};

fn elf(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x01\x01".to_vec();
    let mut state = u32::from(seed);
    bytes.extend((6..length).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    }));
    bytes
}

fn made(root: &Path, part_bytes_max: u64) -> (Vec<Row>, Vec<Vec<u8>>, std::path::PathBuf) {
    let folder = root.join("in");
    fs::create_dir_all(&folder).unwrap();
    let files: Vec<Vec<u8>> = (1..6).map(|n| elf(n, usize::from(n) * 1_500)).collect();
    for (number, bytes) in files.iter().enumerate() {
        fs::write(folder.join(format!("f{number}")), bytes).unwrap();
    }
    let text = "[[source]]\nname='s'\nkind='folder'\nwhere='in'\nlabel='malicious'\nrole='train'\n";
    fs::write(root.join("m.toml"), text).unwrap();
    let manifest = manifest::read(&root.join("m.toml")).unwrap();
    let places = Places {
        mirror: root.to_path_buf(),
        data: root.to_path_buf(),
        lists: root.to_path_buf(),
    };
    let rows = crate::corpus::gather::run(&manifest, &places, 1, &|_| {})
        .unwrap()
        .rows;
    let choice = Choice {
        kinds: vec![],
        cluster_files_max: 9,
        class_files_max: 9,
        part_bytes_max,
    };
    let secret = Secret::read_or_make(&root.join("key")).unwrap();
    let out = root.join("pack");
    let written = write(&manifest, &places, &rows, &choice, POLICY, &secret, &out).unwrap();
    assert_eq!(written.values().sum::<usize>(), 5);
    (rows, files, out)
}

#[test]
fn every_sample_reads_back_as_the_ranges_of_its_file() {
    let root = tempfile::tempdir().unwrap();
    let (rows, files, out) = made(root.path(), 6_000);
    let secret = Secret::read(&root.path().join("key")).unwrap();
    let parts = parts(&out).unwrap();
    assert!(parts.len() > 1);
    let mut seen = 0;
    for path in parts {
        assert!(fs::metadata(&path).unwrap().len() <= 6_000);
        let mut part = Part::open(&path, &secret).unwrap();
        for number in 0..part.entries.len() {
            let entry = part.entries[number].clone();
            let hex = crate::corpus::gather::hex(&entry.sha256);
            let row = rows.iter().find(|row| row.sha256 == hex).unwrap();
            assert_eq!(
                (entry.kind, entry.label, entry.role),
                (row.kind, row.label, row.role)
            );
            let file = files
                .iter()
                .find(|file| file.len() as u64 == entry.size)
                .unwrap();
            let sample = part.sample(number).unwrap();
            let mut at = 0;
            for range in sample.ranges {
                let (start, end) = (range.start as usize, range.end as usize);
                assert_eq!(sample.bytes[at..at + end - start], file[start..end]);
                at += end - start;
            }
            assert_eq!(at, sample.bytes.len());
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
}

#[test]
fn nothing_of_a_file_is_in_the_clear() {
    let root = tempfile::tempdir().unwrap();
    let (_, files, out) = made(root.path(), 1 << 20);
    let pack = fs::read(parts(&out).unwrap().remove(0)).unwrap();
    for file in files {
        let needle = &file[100..116];
        assert!(!pack.windows(16).any(|window| window == needle));
        assert!(!pack.windows(6).any(|window| window == &file[..6]));
    }
    assert!(!out.join("records.waiting").exists());
}

#[test]
fn another_key_and_a_flipped_bit_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (_, _, out) = made(root.path(), 1 << 20);
    let path = parts(&out).unwrap().remove(0);
    let other = Secret::read_or_make(&root.path().join("other")).unwrap();
    assert!(Part::open(&path, &other).unwrap().sample(0).is_err());
    let secret = Secret::read(&root.path().join("key")).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[60] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(Part::open(&path, &secret).unwrap().sample(0).is_err());
    assert!(Part::open(&path, &secret).unwrap().sample(1).is_ok());
}

#[test]
fn a_damaged_head_or_table_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (_, _, out) = made(root.path(), 1 << 20);
    let path = parts(&out).unwrap().remove(0);
    let secret = Secret::read(&root.path().join("key")).unwrap();
    let whole = fs::read(&path).unwrap();
    for length in [0, 7, 39, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(Part::open(&path, &secret).is_err(), "{length}");
    }
    let mut bytes = whole.clone();
    bytes[8..16].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    assert!(Part::open(&path, &secret).is_err());
    let last = whole.len() - ENTRY_BYTES;
    let mut bytes = whole;
    bytes[last + 32..last + 40].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    assert!(Part::open(&path, &secret).is_err());
}
