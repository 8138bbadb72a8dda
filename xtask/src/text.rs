//! Checks on the text of tracked files: sizes, module pages, words that do not belong.

use std::fs;
use std::path::{Path, PathBuf};

use crate::steps::root;

/// Non-test lines a source file may have.
const LINES_MAX: usize = 800;
/// Above this a file needs a reason; the files that have one, with their size today. The numbers may
/// only go down.
const RATCHET_FROM: usize = 500;
const RATCHET: &[(&str, usize)] = &[];

/// Files that may have unsafe code, with the reason.
const UNSAFE: &[(&str, &str)] = &[(
    "crates/store/src/archive/query/vtab.rs",
    "SQLite's virtual tables are unsafe traits: two promises about layout, and no unsafe call",
)];

/// Words that must not be left in sources, with the reason.
const WORDS: &[(&str, &str)] = &[
    ("FIXME", "fix it or say in the issue why not"),
    ("TODO", "do it or say in the issue why not"),
    ("dbg!(", "debugging output"),
    (
        "#[ignore",
        "a test that never runs; assert the wrong behaviour instead and say why it is wrong",
    ),
];

/// Checks every tracked file.
pub(crate) fn check(files: &[PathBuf], complaints: &mut Vec<String>) {
    for path in files {
        // The checks name what they look for.
        if path.starts_with("xtask") || !root().join(path).is_file() {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(path)) else {
            continue;
        };
        if path.extension().is_some_and(|extension| extension == "rs") {
            source(path, &text, complaints);
        }
        machine_paths(path, &text, complaints);
    }
}

fn source(path: &Path, text: &str, complaints: &mut Vec<String>) {
    let name = path.display().to_string();
    let is_fuzz_target = path.starts_with("fuzz");
    // The body of a `mod tests` is part of the module above it.
    let is_module = !is_fuzz_target && !name.ends_with("tests.rs");
    if is_module && !text.starts_with("//!") && !text.starts_with("// tidy: table") {
        complaints.push(format!("{name}: no module page (`//!`) on the first line"));
    }
    for (word, reason) in WORDS {
        if text.contains(word) {
            complaints.push(format!("{name}: {word} is left over ({reason})"));
        }
    }
    let has_unsafe = text.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
    });
    if has_unsafe && UNSAFE.iter().all(|(file, _)| *file != name) {
        complaints.push(format!(
            "{name}: unsafe code outside the list that tidy knows"
        ));
    }
    if !text
        .lines()
        .take(10)
        .any(|line| line.contains("tidy: table"))
    {
        size(&name, text, complaints);
    }
}

fn size(name: &str, text: &str, complaints: &mut Vec<String>) {
    let is_test = name.contains("/tests/") || name.ends_with("tests.rs");
    if is_test {
        return;
    }
    let lines = text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count();
    let allowed = RATCHET
        .iter()
        .find(|(file, _)| *file == name)
        .map(|(_, lines)| *lines);
    if lines > LINES_MAX {
        complaints.push(format!(
            "{name}: {lines} lines without tests, at most {LINES_MAX}"
        ));
    } else if lines > allowed.unwrap_or(RATCHET_FROM) {
        complaints.push(format!(
            "{name}: {lines} lines without tests, more than {}: split it, or give the reason in the ratchet",
            allowed.unwrap_or(RATCHET_FROM)
        ));
    }
}

/// Paths of somebody's machine have no place in a repository.
fn machine_paths(path: &Path, text: &str, complaints: &mut Vec<String>) {
    for prefix in ["/work/", "/root/"] {
        let hit = text.lines().position(|line| {
            line.match_indices(prefix).any(|(at, _)| {
                let before = line.get(..at).unwrap_or_default().chars().next_back();
                before.is_none_or(|c| {
                    !c.is_alphanumeric() && !matches!(c, '.' | '-' | '_' | '/' | '}' | '*')
                })
            })
        });
        if let Some(line) = hit {
            complaints.push(format!(
                "{}:{}: names a machine's path {prefix}",
                path.display(),
                line + 1
            ));
        }
    }
}
