use std::fs::{self, File};
use std::path::Path;

use rusqlite::Connection;
use thymus_schema::{Event, Timestamp};

use super::*;
use crate::archive::{Archive, ArchiveLimits, ArchiveReader, QueryLimits};
use crate::state_dir::StateDir;

fn event(index: u64) -> Event {
    let line = format!(
        r#"{{"id":"0000000000000001-{index}","ts":"2026-11-23T10:00:00Z","kind":"quirk","quirk":"q{index}"}}"#
    );
    serde_json::from_str(&line).unwrap()
}

fn limits() -> ArchiveLimits {
    ArchiveLimits {
        free_min: 0,
        age_max: None,
        ..ArchiveLimits::default()
    }
}

/// A state folder with a bit of everything, in use.
fn state(dir: &Path) -> (StateDir, Archive, Connection) {
    let held = StateDir::open(dir).unwrap();
    held.save(&[("one".to_owned(), vec![7; 5_000])].into())
        .unwrap();
    fs::create_dir_all(dir.join("journal")).unwrap();
    fs::write(dir.join("journal/0000000001.jnl"), vec![1; 9_000]).unwrap();
    let mut archive = Archive::open(&Archive::folder(dir), limits()).unwrap();
    archive
        .append(1, &(0..50).map(event).collect::<Vec<_>>())
        .unwrap();
    archive.flush().unwrap();
    let database = Connection::open(dir.join(DATABASE)).unwrap();
    database.pragma_update(None, "journal_mode", "wal").unwrap();
    database
        .execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1), (2)")
        .unwrap();
    fs::create_dir_all(dir.join(PACKETS)).unwrap();
    fs::write(dir.join("packets/0.pcapng"), b"raw").unwrap();
    (held, archive, database)
}

fn now() -> Timestamp {
    Timestamp::parse("2026-11-23T12:00:00Z").unwrap()
}

#[test]
fn what_was_backed_up_in_use_is_put_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let [from, file, to] = ["from", "a.thymus", "deep/er"].map(|name| folder.path().join(name));
    let (held, archive, database) = state(&from);
    database
        .execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (3)")
        .unwrap();
    let taken = backup(&from, &file, false, now()).unwrap();
    assert_eq!(taken.left_out, ["raw packets (--packets takes them along)"]);
    assert_eq!(verify(&file).unwrap().files, taken.files);
    drop((held, archive, database));
    let given = restore(&file, &to).unwrap();
    assert_eq!(
        (given.files, given.bytes, &given.head),
        (taken.files, taken.bytes, &taken.head)
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        3,
        "nothing is left behind"
    );
    let sections = StateDir::open(&to).unwrap().load().unwrap();
    assert_eq!(
        (sections.by_name["one"].len(), sections.remarks.len()),
        (5_000, 0)
    );
    assert_eq!(
        fs::read(to.join("journal/0000000001.jnl")).unwrap(),
        vec![1; 9_000]
    );
    let reader = ArchiveReader::new(&Archive::folder(&to));
    let count = reader
        .query("SELECT count(*) FROM quirks", &QueryLimits::default())
        .unwrap();
    assert_eq!(count.rows, [[serde_json::json!(50)]]);
    let rows = |path: &Path| -> i64 {
        let database = Connection::open(path.join(DATABASE)).unwrap();
        database
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(rows(&to), 2, "what was not committed is not in it");
    assert!(!to.join(PACKETS).exists());
}

#[test]
fn packets_come_along_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let [from, file, to] = ["from", "a.thymus", "to"].map(|name| folder.path().join(name));
    let _used = state(&from);
    assert_eq!(
        backup(&from, &file, true, now()).unwrap().left_out,
        Vec::<String>::new()
    );
    fs::create_dir(&to).unwrap();
    restore(&file, &to).unwrap();
    assert_eq!(fs::read(to.join("packets/0.pcapng")).unwrap(), b"raw");
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let [from, file] = ["from", "a.thymus"].map(|name| folder.path().join(name));
    let _used = state(&from);
    backup(&from, &file, false, now()).unwrap();
    let whole = fs::read(&file).unwrap();
    assert!(matches!(
        backup(&from, &file, false, now()),
        Err(BackupError::Exists { .. })
    ));
    assert!(matches!(
        restore(&file, &from),
        Err(BackupError::Exists { .. })
    ));
    assert_eq!(fs::read(&file).unwrap(), whole);
    let inside = from.join("a.thymus");
    assert!(matches!(
        backup(&from, &inside, false, now()),
        Err(BackupError::Inside { .. })
    ));
    let nowhere = folder.path().join("nowhere");
    assert!(matches!(
        backup(&nowhere, &folder.path().join("b"), false, now()),
        Err(BackupError::NoState { .. })
    ));
}

#[test]
fn a_damaged_backup_puts_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let [from, file, to] = ["from", "a.thymus", "to"].map(|name| folder.path().join(name));
    let _used = state(&from);
    backup(&from, &file, false, now()).unwrap();
    let whole = fs::read(&file).unwrap();
    let hurt = folder.path().join("hurt.thymus");
    let noticed = |bytes: &[u8]| {
        fs::write(&hurt, bytes).unwrap();
        let result = restore(&hurt, &to);
        let is_left = to.exists() || fs::read_dir(folder.path()).unwrap().count() != 3;
        assert!(!is_left, "something is left");
        result.is_err()
    };
    for len in [0, 10, whole.len() / 3, whole.len() / 2, whole.len() - 20] {
        assert!(noticed(&whole[..len]), "cut at {len}");
    }
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        if noticed(&bytes) {
            continue;
        }
        panic!("byte {at} of {}", whole.len());
    }
}

/// A backup with entries of one's own.
fn made(file: &Path, entries: &[(&str, &[u8])]) {
    let encoder = zstd::Encoder::new(File::create(file).unwrap(), 1).unwrap();
    let mut tar = tar::Builder::new(encoder);
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        // As a name that the library would not write.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
}

#[test]
fn a_backup_of_a_newer_version_is_refused_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.thymus");
    let head = br#"{"format":2,"thymus":"9.9.9","made_at":"2030-01-01T00:00:00Z"}"#;
    made(&file, &[(HEAD, head), (MANIFEST, br#"{"files":{}}"#)]);
    let error = restore(&file, &folder.path().join("to"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("thymus 9.9.9") && error.contains("update thymus"),
        "{error}"
    );
}

#[test]
fn a_backup_that_was_made_to_harm_writes_nothing_outside() {
    let folder = tempfile::tempdir().unwrap();
    let (file, to) = (folder.path().join("a.thymus"), folder.path().join("in/to"));
    let head = br#"{"format":1,"thymus":"0.1.0","made_at":"2026-01-01T00:00:00Z"}"#;
    for name in ["../evil", "a/../../evil", "/tmp/thymus-evil", "."] {
        made(
            &file,
            &[(HEAD, head), (name, b"x"), (MANIFEST, br#"{"files":{}}"#)],
        );
        assert!(
            matches!(restore(&file, &to), Err(BackupError::Damaged { .. })),
            "{name}"
        );
        assert!(!to.exists() && !folder.path().join("evil").exists());
    }
    made(
        &file,
        &[
            (HEAD, head),
            ("extra", b"x"),
            (MANIFEST, br#"{"files":{}}"#),
        ],
    );
    let error = restore(&file, &to).unwrap_err().to_string();
    assert!(error.contains("extra is not what was backed up"), "{error}");
    made(&file, &[("state.thymus", b"x")]);
    assert!(restore(&file, &to).is_err());
}
