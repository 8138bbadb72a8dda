//! YARA rules of a scan: read from files and folders, compiled, handed to what looks for them; and
//! `thymus rules`. What compiles them is in programs built with the feature `yara` only.

#[cfg(not(feature = "yara"))]
#[path = "absent.rs"]
mod engine;
#[cfg(feature = "yara")]
mod engine;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use thymus_analyst::legible;
use thymus_scan::RuleMatcher;

use self::engine::RuleSet;
use crate::Found;
use crate::cli::{RulesAction, RulesArgs};

/// Bytes of rules in one run.
const SOURCES_BYTES_MAX: u64 = 256 << 20;
/// Folders inside one another.
const DEPTH_MAX: u32 = 32;
/// What is wrong with rules and is printed; all of it is counted.
const PRINTED_MAX: usize = 20;

/// A file of rules: what it is called, and what is in it.
type Source = (String, Vec<u8>);

/// The rules of a scan.
pub(crate) struct InForce {
    set: RuleSet,
    /// Files they are from.
    pub(crate) files: u64,
}

impl InForce {
    /// What looks for them.
    pub(crate) fn matcher(&self) -> &dyn RuleMatcher {
        self.set.matcher()
    }

    /// The rules for a worker's [`read`].
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        self.set.to_bytes()
    }

    /// How many compiled.
    pub(crate) const fn rules(&self) -> u64 {
        self.set.rules()
    }

    /// What did not compile.
    pub(crate) fn errors(&self) -> &[String] {
        self.set.errors()
    }

    /// SHA-256 of names and contents of the files, in hexadecimal digits.
    pub(crate) fn sha256(&self) -> String {
        use std::fmt::Write as _;
        let digits = self.set.sha256().iter();
        digits.fold(String::with_capacity(64), |mut text, byte| {
            // Writing into a string cannot fail.
            let _written = write!(text, "{byte:02x}").is_ok();
            text
        })
    }
}

/// Runs `thymus rules`.
///
/// # Errors
/// When a rule does not compile, or a path cannot be read.
pub(crate) fn run(args: &RulesArgs) -> Result<Found> {
    let RulesAction::Check { paths } = &args.action;
    let Some(rules) = compile(paths)? else {
        bail!("name files or folders of rules");
    };
    print(rules.errors());
    print(rules.set.warnings());
    let (count, files) = (rules.rules(), rules.files);
    println!(
        "{count} rules of {files} files compiled: {} errors, {} warnings",
        rules.errors().len(),
        rules.set.warnings().len()
    );
    if !rules.errors().is_empty() {
        bail!("not every rule compiles");
    }
    Ok(Found::Nothing)
}

/// The rules of these files, and of what is called `*.yar` or `*.yara` in these folders; none where none are
/// named. Where one does not compile, that is said, and the others go on only if `is_lenient`.
///
/// # Errors
/// When a path cannot be read, a rule does not compile, or this program can not look for rules.
pub(crate) fn load(paths: &[PathBuf], is_lenient: bool) -> Result<Option<InForce>> {
    let Some(rules) = compile(paths)? else {
        return Ok(None);
    };
    let count = rules.errors().len();
    if count > 0 {
        print(rules.errors());
        if !is_lenient {
            bail!("{count} errors in rules; --rules-lenient goes on with the rules that compile");
        }
        eprintln!("thymus: {count} errors in rules: those rules are not looked for");
    }
    if rules.rules() == 0 {
        bail!("there is no rule in what --rules names");
    }
    Ok(Some(rules))
}

/// Compiled rules in a worker.
///
/// # Errors
/// When they are not understood.
pub(crate) fn read(bytes: &[u8]) -> io::Result<Box<dyn RuleMatcher>> {
    engine::read(bytes).map_err(io::Error::other)
}

fn compile(paths: &[PathBuf]) -> Result<Option<InForce>> {
    if paths.is_empty() {
        return Ok(None);
    }
    engine::check()?;
    let sources = sources(paths)?;
    let files = sources.len() as u64;
    let set = RuleSet::compile(sources)?;
    Ok(Some(InForce { set, files }))
}

fn print(said: &[String]) {
    for said in said.iter().take(PRINTED_MAX) {
        for line in said.lines() {
            eprintln!("{}", legible(&line.replace('\t', "    ")));
        }
    }
    if let Some(more @ 1..) = said.len().checked_sub(PRINTED_MAX) {
        eprintln!("… and {more} more");
    }
}

fn sources(paths: &[PathBuf]) -> Result<Vec<Source>> {
    let mut files = Vec::new();
    for path in paths {
        let told = || format!("cannot read {}", legible(&path.to_string_lossy()));
        if fs::metadata(path).with_context(told)?.is_dir() {
            gather(path, 0, &mut files).with_context(told)?;
        } else {
            files.push(path.clone());
        }
    }
    let mut left = SOURCES_BYTES_MAX;
    let mut sources: Vec<Source> = Vec::new();
    for path in files {
        let name = path.to_string_lossy().into_owned();
        // Named twice is no reason to complain of rules of one name.
        if sources.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let bytes = contents(&path, left).with_context(|| format!("read {}", legible(&name)))?;
        left -= bytes.len() as u64;
        sources.push((name, bytes));
    }
    Ok(sources)
}

/// The files of rules in a folder, by name. Links are not followed.
fn gather(folder: &Path, depth: u32, files: &mut Vec<PathBuf>) -> Result<()> {
    if depth >= DEPTH_MAX {
        bail!("folders are nested too deep");
    }
    let entries: io::Result<Vec<fs::DirEntry>> = fs::read_dir(folder)?.collect();
    let mut entries = entries?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let is_named = path
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("yar") || end.eq_ignore_ascii_case("yara"));
        if kind.is_dir() {
            gather(&path, depth + 1, files)?;
        } else if kind.is_file() && is_named {
            files.push(path);
        }
    }
    Ok(())
}

fn contents(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        bail!("rules are longer than {SOURCES_BYTES_MAX} bytes altogether");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_by_name_and_files_as_they_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("deep")).unwrap();
        for name in ["b.yar", "a.YARA", "deep/c.yar", "notes.txt", "named"] {
            fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink(at("b.yar"), at("link.yar")).unwrap();
        let paths = [folder.path().to_path_buf(), at("named"), at("b.yar")];
        let sources = sources(&paths).unwrap();
        let read: Vec<&[u8]> = sources.iter().map(|(_, bytes)| &bytes[..]).collect();
        let told: [&[u8]; 4] = [b"a.YARA", b"b.yar", b"deep/c.yar", b"named"];
        assert_eq!(read, told);
        assert!(super::sources(&[at("none")]).is_err());
    }

    #[cfg(not(feature = "yara"))]
    #[test]
    fn a_program_that_cannot_says_what_to_do() {
        let error = load(&[PathBuf::from("x.yar")], true).err().unwrap();
        assert!(error.to_string().contains("--features yara"), "{error}");
        assert!(load(&[], false).unwrap().is_none());
    }
}
