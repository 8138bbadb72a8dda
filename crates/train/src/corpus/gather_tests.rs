//! The whole way from a folder of made packages to an index.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::*;
use crate::corpus::manifest;

const PHP_BAD: &str =
    "<?php $kz = \"aGVsbG8=\"; eval(base64_decode($kz)); foo(1); bar(2); baz(3); ?>\n";
const PHP_TWIN: &str =
    "<?php $qq9 = \"c2Vjb25k\"; eval(base64_decode($qq9)); foo(7); bar(8); baz(9); ?>\n";
const PHP_GOOD: &str =
    "<?php class Page { function show($text) { return htmlspecialchars($text); } } ?>\n";

fn tar_zst(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    let plain = tar.into_inner().unwrap();
    zstd::encode_all(plain.as_slice(), 1).unwrap()
}

fn deb(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    let body = tar_zst(files);
    for (name, bytes) in [
        ("debian-binary", b"2.0\n".as_slice()),
        ("data.tar.zst", &body),
    ] {
        writeln!(
            out,
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`",
            0,
            0,
            0,
            100_644,
            bytes.len()
        )
        .unwrap();
        out.extend_from_slice(bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

fn locked_zip(files: &[(&str, &[u8])], password: &str) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = zip::write::SimpleFileOptions::default()
            .with_aes_encryption(zip::AesMode::Aes256, password);
        out.start_file(*name, options).unwrap();
        out.write_all(bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

fn gather(root: &Path, text: &str) -> Gathered {
    let path = root.join("corpus.toml");
    fs::write(&path, text).unwrap();
    let places = Places {
        mirror: root.join("mirror"),
        data: root.to_path_buf(),
        lists: root.to_path_buf(),
    };
    run(&manifest::read(&path).unwrap(), &places, 2, &|_| {}).unwrap()
}

const MANIFEST: &str = "
[[source]]
name='bad'
kind='zip'
where='bad'
label='malicious'
passwords=['wrong','infected']
role={by='cluster',tune=0.0,test=1.0}
[[source]]
name='good'
kind='deb'
where='good'
label='benign'
role='train'
";

fn made(root: &Path) {
    fs::create_dir_all(root.join("bad")).unwrap();
    fs::create_dir_all(root.join("good")).unwrap();
    let shared = format!("<?php /* {} */ ?>", "both sides hold this file ".repeat(4));
    let bad = [
        ("a.php", PHP_BAD.as_bytes()),
        ("b.php", PHP_TWIN.as_bytes()),
        ("c.php", shared.as_bytes()),
    ];
    fs::write(root.join("bad/x.zip"), locked_zip(&bad, "infected")).unwrap();
    fs::write(root.join("bad/y.zip"), locked_zip(&bad[..1], "infected")).unwrap();
    let good = [
        ("./usr/share/p/page.php", PHP_GOOD.as_bytes()),
        ("./usr/share/p/both.php", shared.as_bytes()),
        (
            "./usr/share/doc/readme",
            b"words that are no script at all, but long enough to be looked at",
        ),
    ];
    fs::write(root.join("good/p_1_all.deb"), deb(&good)).unwrap();
}

#[test]
fn duplicates_twins_and_both_sided_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    let gathered = gather(folder.path(), MANIFEST);
    assert_eq!(gathered.scrubbed.len(), 1);
    assert_eq!(gathered.scrubbed[0].1, "bad");
    let bad: Vec<&Row> = gathered
        .rows
        .iter()
        .filter(|row| row.source == "bad")
        .collect();
    assert_eq!(bad.len(), 2);
    assert_eq!(bad[0].cluster, bad[1].cluster);
    assert_eq!(bad[0].role, Role::Test);
    let good: Vec<&Row> = gathered
        .rows
        .iter()
        .filter(|row| row.source == "good")
        .collect();
    assert_eq!(good.len(), 1);
    assert_eq!(good[0].role, Role::Train);
    assert!(!good[0].is_mixed);
    assert_eq!(good[0].locator, "p_1_all.deb!usr/share/p/page.php");
    assert_eq!(gathered.sources[1].tally.get("no type of ours"), Some(&1));
}

#[test]
fn a_cluster_that_reaches_both_ways_goes_whole_to_training() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    let twin = [(
        "./usr/share/p/twin.php",
        PHP_TWIN.replace("foo", "fo0o").into_bytes(),
    )];
    let twin: Vec<(&str, &[u8])> = twin.iter().map(|(n, b)| (*n, b.as_slice())).collect();
    fs::write(folder.path().join("good/q_1_all.deb"), deb(&twin)).unwrap();
    let gathered = gather(folder.path(), MANIFEST);
    let php: Vec<&Row> = gathered.rows.iter().filter(|row| row.is_mixed).collect();
    assert_eq!(php.len(), 3);
    assert!(php.iter().all(|row| row.role == Role::Train));
}

#[test]
fn the_same_sources_give_the_same_index() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    let text = |g: &Gathered| crate::corpus::index::render(&g.rows).unwrap();
    let one = gather(folder.path(), MANIFEST);
    let two = gather(folder.path(), MANIFEST);
    assert_eq!(text(&one), text(&two));
}

#[test]
fn a_missing_folder_is_told_before_anything_is_walked() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    fs::remove_dir_all(folder.path().join("good")).unwrap();
    let path = folder.path().join("corpus.toml");
    fs::write(&path, MANIFEST).unwrap();
    let places = Places {
        mirror: folder.path().to_path_buf(),
        data: folder.path().to_path_buf(),
        lists: folder.path().to_path_buf(),
    };
    let walked = AtomicUsize::new(0);
    let told = |_: &SourceReport| {
        walked.fetch_add(1, Ordering::Relaxed);
    };
    let error = run(&manifest::read(&path).unwrap(), &places, 1, &told).unwrap_err();
    assert!(format!("{error:#}").starts_with("source good: read "));
    assert_eq!(walked.into_inner(), 0);
}

#[test]
fn a_damaged_archive_is_counted_and_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    let whole = fs::read(folder.path().join("bad/x.zip")).unwrap();
    fs::write(folder.path().join("bad/x.zip"), &whole[..whole.len() / 2]).unwrap();
    let gathered = gather(folder.path(), MANIFEST);
    assert_eq!(gathered.sources[0].tally.get("broken zip"), Some(&1));
    assert_eq!(
        gathered
            .rows
            .iter()
            .filter(|row| row.source == "bad")
            .count(),
        1
    );
}
