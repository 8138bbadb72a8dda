use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use super::folder::{NotRemoved, Place};
use super::*;

struct Case {
    folder: tempfile::TempDir,
    store: Quarantine,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Quarantine::open(&folder.path().join("a/store")).unwrap();
        Self { folder, store }
    }

    fn at(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.at(name), bytes).unwrap();
        self.at(name)
    }

    fn add(&self, path: &Path) -> Result<String, QuarantineError> {
        self.store.add(&request(path)).map(|(id, _)| id)
    }

    fn ids(&self) -> Vec<String> {
        let entries = self.store.list().unwrap().into_iter();
        entries.map(|entry| entry.id).collect()
    }

    /// Names in the folder besides the store.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "a").collect();
        names.sort();
        names
    }
}

fn request(path: &Path) -> Request<'_> {
    Request {
        path,
        id: None,
        sha256: None,
        verdict: "malicious",
        time: 5,
    }
}

#[test]
fn what_is_kept_comes_back_as_it_was() {
    let case = Case::new();
    for length in [0, 1, 1 << 20, (3 << 20) + 5] {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let path = case.put("ev\nil.doc", &bytes);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_modified(time).unwrap();
        let id = case.add(&path).unwrap();
        assert_eq!(case.names(), [""; 0]);
        let kept = case.store.kept(&id).unwrap();
        assert_eq!(kept.path(), path);
        assert_eq!((kept.bytes, kept.mode, kept.time), (length, 0o640, 5));
        assert_eq!((kept.verdict.as_str(), kept.other_names), ("malicious", 0));
        let digits = id.strip_suffix("-1").unwrap();
        assert!(digits.len() == 12 && kept.sha256.starts_with(digits));
        let restored = case.store.restore(&id, None).unwrap();
        assert_eq!(restored.path, path);
        assert_eq!(fs::read(&path).unwrap(), bytes);
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o640);
        assert_eq!(metadata.modified().unwrap(), time);
        assert_eq!(case.ids(), [""; 0]);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn the_store_shows_nothing_of_what_it_keeps_and_nobody_else_may_enter() {
    let case = Case::new();
    let path = case.put(
        "x",
        b"a string that a scanner would find".repeat(9).as_slice(),
    );
    let id = case.add(&path).unwrap();
    let sealed = fs::read(case.store.file(&id)).unwrap();
    for clear in [&b"scanner"[..], b"malicious", b"sha256"] {
        assert!(!sealed.windows(clear.len()).any(|part| part == clear));
    }
    for (name, mode) in [
        ("key", 0o600),
        (&*format!("{id}.kept"), 0o600),
        (".", 0o700),
    ] {
        let metadata = fs::metadata(case.store.dir.join(name)).unwrap();
        assert_eq!(metadata.mode() & 0o777, mode, "{name}");
    }
    fs::set_permissions(&case.store.dir, fs::Permissions::from_mode(0o750)).unwrap();
    let opened = Quarantine::open(&case.store.dir);
    assert!(matches!(opened, Err(QuarantineError::NotPrivate { .. })));
}

#[test]
fn the_same_bytes_may_be_kept_twice() {
    let case = Case::new();
    let one = case.add(&case.put("one", b"same")).unwrap();
    let two = case.add(&case.put("two", b"same")).unwrap();
    assert_eq!(case.ids(), [one.clone(), two.clone()]);
    case.store.delete(&one).unwrap();
    assert_eq!(case.ids(), [two]);
    assert!(matches!(
        case.store.delete(&one),
        Err(QuarantineError::Unknown { .. })
    ));
    for id in ["", "../key", "key", "a/b"] {
        assert!(case.store.delete(id).is_err(), "{id}");
    }
}

#[test]
fn nothing_is_overwritten() {
    let case = Case::new();
    let path = case.put("x", b"old");
    let id = case.add(&path).unwrap();
    case.put("x", b"new");
    let refused = case.store.restore(&id, None);
    assert!(matches!(refused, Err(QuarantineError::Occupied { .. })));
    symlink("nowhere", case.at("link")).unwrap();
    assert!(case.store.restore(&id, Some(&case.at("link"))).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"new");
    let restored = case.store.restore(&id, Some(&case.at("y"))).unwrap();
    assert_eq!(fs::read(restored.path).unwrap(), b"old");
    assert_eq!(case.names(), ["link", "x", "y"]);
}

#[test]
fn what_was_tampered_with_does_not_come_back() {
    let case = Case::new();
    let bytes = vec![7; (1 << 20) + 9];
    let id = case.add(&case.put("x", &bytes)).unwrap();
    let sealed = fs::read(case.store.file(&id)).unwrap();
    let end = sealed.len();
    let first = 24..24 + (1 << 20) + 16;
    let mut wrongs: Vec<Vec<u8>> = [0, 10, 30, end / 2, end - 300, end - 20, end - 3]
        .iter()
        .map(|at| {
            let mut wrong = sealed.clone();
            wrong[*at] ^= 1;
            wrong
        })
        .collect();
    wrongs.push(sealed[..end - 1].to_vec());
    wrongs.push([&sealed[..first.start], &sealed[first.end..]].concat());
    wrongs.push([&sealed[..first.end], &sealed[first.start..]].concat());
    wrongs.push([&sealed[..first.end], &sealed[first.end + 25..]].concat());
    wrongs.push(Vec::new());
    for wrong in wrongs {
        fs::write(case.store.file(&id), wrong).unwrap();
        let restored = case.store.restore(&id, None);
        assert!(matches!(restored, Err(QuarantineError::Damaged { .. })));
        assert_eq!(case.names(), [""; 0]);
        assert_eq!(case.ids(), [id.as_str()]);
    }
    fs::write(case.store.file(&id), &sealed).unwrap();
    let key = fs::read(case.store.dir.join(KEY)).unwrap();
    fs::write(case.store.dir.join(KEY), [1; KEY_BYTES]).unwrap();
    assert!(matches!(
        case.store.kept(&id),
        Err(QuarantineError::Damaged { .. })
    ));
    fs::write(case.store.dir.join(KEY), [1; 31]).unwrap();
    assert!(matches!(
        case.store.kept(&id),
        Err(QuarantineError::Key { .. })
    ));
    // No other key is made where one is broken, or what is kept would be lost.
    assert!(case.add(&case.put("y", b"y")).is_err());
    fs::write(case.store.dir.join(KEY), key).unwrap();
    case.store.restore(&id, None).unwrap();
    assert_eq!(fs::read(case.at("x")).unwrap(), bytes);
}

#[test]
fn only_the_file_that_was_judged_is_taken() {
    let case = Case::new();
    let path = case.put("x", b"x");
    let metadata = fs::metadata(&path).unwrap();
    let wrongs = [
        Request {
            id: Some((metadata.dev(), metadata.ino() + 1)),
            ..request(&path)
        },
        Request {
            sha256: Some("00"),
            ..request(&path)
        },
    ];
    for wrong in wrongs {
        let added = case.store.add(&wrong);
        assert!(matches!(added, Err(QuarantineError::Changed { .. })));
    }
    // Exchanged between the reading and the removing.
    let place = Place::named(&path).unwrap();
    let stat = rustix::fs::fstat(place.read().unwrap()).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(case.at("other"), b"innocent").unwrap();
    fs::rename(case.at("other"), &path).unwrap();
    assert!(matches!(
        place.remove(&stat, "id"),
        Err(NotRemoved::Changed)
    ));
    assert_eq!(fs::read(&path).unwrap(), b"innocent");
    assert_eq!(case.names(), ["x"]);
    assert_eq!(case.ids(), [""; 0]);
}

#[test]
fn what_is_no_file_is_refused_and_other_names_are_told() {
    let case = Case::new();
    let path = case.put("x", b"x");
    symlink("x", case.at("link")).unwrap();
    fs::create_dir(case.at("folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, case.at("pipe"), rustix::fs::Mode::RWXU).unwrap();
    for name in ["link", "folder", "pipe"] {
        let added = case.add(&case.at(name));
        assert!(
            matches!(added, Err(QuarantineError::NotAFile { .. })),
            "{name}: {added:?}"
        );
    }
    assert!(matches!(
        case.add(&case.at("gone")),
        Err(QuarantineError::Read { .. })
    ));
    fs::hard_link(&path, case.at("second")).unwrap();
    let id = case.add(&path).unwrap();
    assert_eq!(case.store.kept(&id).unwrap().other_names, 1);
    assert_eq!(fs::read(case.at("second")).unwrap(), b"x");
}

#[test]
fn what_cannot_be_removed_is_not_kept() {
    let case = Case::new();
    let path = case.put("x", b"x");
    let digest = "2d711642b726";
    let way = case.at(&format!(".thymus-quarantine-{digest}-1"));
    fs::create_dir(&way).unwrap();
    let added = case.add(&path);
    assert!(
        matches!(added, Err(QuarantineError::Remove { .. })),
        "{added:?}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"x");
    assert_eq!(case.ids(), [""; 0]);
    fs::remove_dir(&way).unwrap();
    // What a killed process left is no hindrance.
    fs::write(case.store.dir.join(FRESH), b"half").unwrap();
    case.add(&path).unwrap();
}

#[test]
fn a_link_put_on_the_way_meanwhile_is_not_followed() {
    let case = Case::new();
    fs::create_dir(case.at("home")).unwrap();
    fs::create_dir(case.at("secret")).unwrap();
    let path = case.put("home/x", b"x");
    symlink("home", case.at("way")).unwrap();
    let id = case.add(&case.at("way/x")).unwrap();
    assert_eq!(case.store.kept(&id).unwrap().path(), path);
    fs::remove_dir(case.at("home")).unwrap();
    symlink("secret", case.at("home")).unwrap();
    let restored = case.store.restore(&id, None);
    assert!(matches!(restored, Err(QuarantineError::Restore { .. })));
    assert_eq!(fs::read_dir(case.at("secret")).unwrap().count(), 0);
    assert_eq!(case.ids(), [id]);
}

#[test]
fn an_exact_path_is_followed_through_no_link() {
    let case = Case::new();
    fs::create_dir(case.at("folder")).unwrap();
    let bad = case.put("folder/bad", b"bad");
    symlink(case.at("folder"), case.at("link")).unwrap();
    let led = case.at("link").join("bad");
    let refused = case.store.add_exactly(&request(&led)).unwrap_err();
    assert!(matches!(
        refused,
        QuarantineError::Read { .. } | QuarantineError::NotAFile { .. }
    ));
    assert!(bad.exists() && case.ids().is_empty());
    let changed = Request {
        sha256: Some("00"),
        ..request(&bad)
    };
    let refused = case.store.add_exactly(&changed).unwrap_err();
    assert!(matches!(refused, QuarantineError::Changed { .. }) && bad.exists());
    case.store.add_exactly(&request(&bad)).unwrap();
    assert!(!bad.exists());
}
