//! Reads the files of HEAD out of a git store, straight into memory, through one `git cat-file`
//! child. Nothing is checked out. Objects the store does not hold (large ones in partial copies) are
//! counted, not asked for anywhere else.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// A file of the tree.
#[derive(Debug)]
pub(crate) struct Blob {
    /// Object id, hexadecimal.
    pub(crate) id: String,
    /// Path in the tree; what is not UTF-8 is replaced.
    pub(crate) path: String,
}

/// The git folder of `owner/name` below `mirror`.
pub(crate) fn store(mirror: &Path, repository: &str) -> Result<PathBuf> {
    let base = mirror.join(repository.replace('/', "+"));
    [
        base.join("repo/.git"),
        base.join("repo"),
        base.join(".git"),
        base.clone(),
    ]
    .into_iter()
    .find(|path| path.join("HEAD").is_file())
    .with_context(|| format!("no git store of {repository} at {}", base.display()))
}

fn git(store: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .arg("--git-dir")
        .arg(store)
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stderr(Stdio::null());
    command
}

/// Files of HEAD in the tree's order; links and submodules are left out.
pub(crate) fn list(store: &Path) -> Result<Vec<Blob>> {
    let output = git(store)
        .args(["ls-tree", "-r", "-z", "HEAD"])
        .output()
        .context("run git ls-tree")?;
    ensure!(
        output.status.success(),
        "git ls-tree fails on {}",
        store.display()
    );
    let mut blobs = Vec::new();
    for record in output.stdout.split(|byte| *byte == 0) {
        let Some(tab) = record.iter().position(|byte| *byte == b'\t') else {
            continue;
        };
        let (head, path) = record.split_at(tab);
        let head = String::from_utf8_lossy(head).into_owned();
        let mut words = head.split(' ');
        let (mode, sort, id) = (words.next(), words.next(), words.next());
        if sort != Some("blob") || mode == Some("120000") {
            continue;
        }
        blobs.push(Blob {
            id: id.unwrap_or_default().to_owned(),
            path: String::from_utf8_lossy(path.get(1..).unwrap_or_default()).into_owned(),
        });
    }
    Ok(blobs)
}

/// Reads blobs one after another.
#[derive(Debug)]
pub(crate) struct Reader {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Reader {
    /// Starts the child.
    pub(crate) fn open(store: &Path) -> Result<Self> {
        let mut child = git(store)
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("run git cat-file")?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("no pipe from git cat-file")?;
        let output = BufReader::with_capacity(1 << 16, output);
        Ok(Self {
            child,
            input,
            output,
        })
    }

    /// The bytes of a blob; none where the store does not hold it, or where it is longer than `max`.
    pub(crate) fn read(&mut self, id: &str, max: u64) -> Result<Option<Vec<u8>>> {
        let input = self.input.as_mut().context("git cat-file was closed")?;
        writeln!(input, "{id}").context("ask git cat-file")?;
        input.flush().context("ask git cat-file")?;
        let mut head = String::new();
        self.output
            .read_line(&mut head)
            .context("read git cat-file")?;
        let words: Vec<&str> = head.split_ascii_whitespace().collect();
        let (sort, size) = match words.as_slice() {
            [_, "missing"] => return Ok(None),
            [_, sort, size] => (*sort, size.parse::<u64>().context("size of a blob")?),
            _ => bail!("git cat-file answers {head:?}"),
        };
        if sort != "blob" || size > max {
            std::io::copy(&mut (&mut self.output).take(size + 1), &mut std::io::sink())?;
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(size)?];
        self.output.read_exact(&mut bytes).context("read a blob")?;
        self.output.read_exact(&mut [0]).context("read a blob")?;
        Ok(Some(bytes))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.input = None;
        // The child ends with its input; how it ends is of no interest any more.
        drop(self.child.wait());
    }
}
