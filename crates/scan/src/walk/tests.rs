use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn walked(roots: &[&Path], options: WalkOptions) -> (Vec<(String, Found)>, Walker) {
    let base = roots[0].to_path_buf();
    let roots = roots.iter().map(|root| root.to_path_buf()).collect();
    let mut walker = Walker::new(roots, options).unwrap();
    let mut entries = Vec::new();
    for entry in walker.by_ref() {
        let path = entry.path.strip_prefix(&base).unwrap_or(&entry.path);
        entries.push((path.to_string_lossy().into_owned(), entry.found));
    }
    (entries, walker)
}

const FILE: Found = Found::File { may_follow: false };

fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }
    folder
}

fn names(entries: &[(String, Found)]) -> Vec<&str> {
    entries.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn the_order_is_that_of_the_bytes() {
    let folder = folder(&["b/2", "b/10", "a", "c", "B"]);
    let (entries, _) = walked(&[folder.path()], WalkOptions::default());
    assert_eq!(names(&entries), ["B", "a", "b/10", "b/2", "c"]);
    assert!(entries.iter().all(|(_, found)| *found == FILE));
}

#[test]
fn links_are_counted_and_specials_are_named_and_neither_is_opened() {
    let folder = folder(&["real/file"]);
    let at = |name: &str| folder.path().join(name);
    symlink("..", at("real/loop")).unwrap();
    symlink("/etc/passwd", at("out")).unwrap();
    symlink("nothing", at("dangling")).unwrap();
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let (entries, walker) = walked(&[folder.path()], WalkOptions::default());
    assert_eq!(
        entries,
        [
            (
                "pipe".to_owned(),
                Found::NotReadable(Reason::Special(Special::Fifo))
            ),
            ("real/file".to_owned(), FILE),
            (
                "socket".to_owned(),
                Found::NotReadable(Reason::Special(Special::Socket))
            ),
        ]
    );
    assert_eq!(walker.left_out().get("links"), Some(&3));
    // Were one put in place of a file meanwhile, it would not be followed, and no pipe waited for.
    assert_eq!(
        crate::read(&at("out"), false, 10),
        Err((0, Reason::Unreadable))
    );
    assert!(crate::read(&at("pipe"), false, 10).is_err());
    assert_eq!(
        crate::read(&at("gone"), false, 10),
        Err((0, Reason::Vanished))
    );
}

#[test]
fn a_sparse_file_is_too_large_without_being_read() {
    let folder = folder(&["sparse"]);
    let path = folder.path().join("sparse");
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(4 << 30)
        .unwrap();
    assert_eq!(
        crate::read(&path, false, 64 << 20),
        Err((4 << 30, Reason::TooLarge))
    );
}

#[test]
fn what_is_named_may_be_a_link_and_standard_input() {
    let folder = folder(&["file"]);
    let link = folder.path().join("link");
    symlink("file", &link).unwrap();
    let (entries, _) = walked(&[&link, Path::new("-")], WalkOptions::default());
    assert_eq!(entries[0].1, Found::File { may_follow: true });
    assert_eq!(crate::read(&link, true, 10), Ok(b"x".to_vec()));
    assert_eq!(entries[1], ("-".to_owned(), Found::StandardInput));
}

#[test]
fn patterns_and_ignore_files_leave_out_and_are_counted() {
    let folder = folder(&["keep.js", "a.iso", "build/x", "sub/a.iso"]);
    let at = |name: &str| folder.path().join(name);
    fs::write(at(IGNORE_FILE), b"build/\n").unwrap();
    let trusted = fs::Permissions::from_mode(0o644);
    fs::set_permissions(at(IGNORE_FILE), trusted).unwrap();
    let options = WalkOptions {
        exclude: vec!["*.iso".to_owned()],
        with_ignore_files: true,
        since: None,
    };
    let (entries, walker) = walked(&[folder.path()], options.clone());
    assert_eq!(names(&entries), [IGNORE_FILE, "keep.js"]);
    assert_eq!(walker.left_out().get("excluded files"), Some(&2));
    assert_eq!(walker.left_out().get("excluded folders"), Some(&1));
    // One that anybody may write is no word of the person who asks; one further down is none either.
    fs::set_permissions(at(IGNORE_FILE), fs::Permissions::from_mode(0o666)).unwrap();
    fs::write(at("sub/.thymusignore"), b"*\n").unwrap();
    let (entries, walker) = walked(&[folder.path()], options);
    assert_eq!(
        names(&entries),
        [IGNORE_FILE, "build/x", "keep.js", "sub/.thymusignore"]
    );
    assert_eq!(
        walker.ignore_files()[0].refused,
        Some("others may write it")
    );
}

#[test]
fn since_looks_at_both_times() {
    let folder = folder(&["old-looking"]);
    let path = folder.path().join("old-looking");
    let past = SystemTime::UNIX_EPOCH;
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(past)
        .unwrap();
    let since = |secs| WalkOptions {
        since: Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(secs)),
        ..WalkOptions::default()
    };
    // Its bytes claim to be old, but what the system noted is not.
    let (entries, _) = walked(&[folder.path()], since(86_400));
    assert_eq!(names(&entries), ["old-looking"]);
    let (entries, walker) = walked(&[folder.path()], since(1 << 40));
    assert_eq!(names(&entries), [""; 0]);
    assert_eq!(walker.left_out().get("unchanged files"), Some(&1));
}

#[test]
fn folders_of_the_kernel_are_not_entered() {
    if Path::new("/proc/self").exists() {
        let (entries, _) = walked(&[Path::new("/proc")], WalkOptions::default());
        assert_eq!(entries[0].1, Found::NotReadable(Reason::KernelFiles));
        assert_eq!(entries.len(), 1);
    }
}

#[test]
fn a_pattern_that_is_none_is_refused() {
    let options = WalkOptions {
        exclude: vec!["a{b".to_owned()],
        ..WalkOptions::default()
    };
    assert!(Walker::new(Vec::new(), options).is_err());
}
