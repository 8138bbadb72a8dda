//! The way in for people: a local socket beside the journal, in a folder that only its owner may enter. A line of
//! JSON each way.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thymus_respond::{DecisionId, Proposal};

const NAME: &str = "control";
/// A pattern of life can be long.
const LINE_MAX: u64 = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(30);
/// Who asks at a time.
const ASKING_MAX: usize = 16;

/// What can be asked of the enforcer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask", deny_unknown_fields)]
pub(crate) enum Ask {
    /// How does it stand?
    Status,
    /// Carry out a decision that waits, or one again that is over.
    Approve {
        /// Which.
        id: DecisionId,
        /// Who says so.
        by: String,
    },
    /// Do not.
    Deny {
        /// Which.
        id: DecisionId,
        /// Who says so.
        by: String,
        /// Why.
        why: String,
    },
    /// Take actions back.
    Undo {
        /// Which.
        ids: Vec<DecisionId>,
        /// Who says so.
        by: String,
        /// Why.
        why: String,
    },
    /// Let it hold for so long from now on.
    Extend {
        /// Which.
        id: DecisionId,
        /// Who says so.
        by: String,
        /// Seconds.
        secs: u64,
    },
    /// Do what nobody proposed.
    Contain {
        /// What.
        proposal: Box<Proposal>,
        /// Who says so.
        by: String,
        /// For so many seconds.
        secs: u64,
    },
    /// What would it take hold of on this machine?
    Rehearse {
        /// What.
        proposal: Box<Proposal>,
    },
    /// It does no harm.
    Confirm {
        /// Which.
        id: DecisionId,
        /// Who says so.
        by: String,
    },
    /// Take everything back at once.
    Panic {
        /// Who says so.
        by: String,
    },
    /// Carry out decisions again.
    Resume {
        /// Who says so.
        by: String,
    },
}

/// What the enforcer answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Done, with what there is to say.
    Done(Value),
    /// Not done, and why.
    Refused(String),
}

/// A question that waits for its answer.
pub(super) struct Asked {
    pub(super) ask: Ask,
    pub(super) answer: SyncSender<Answer>,
}

/// Takes questions from now on, and gives them to `into`.
pub(super) fn listen(folder: &Path, into: SyncSender<Asked>) -> Result<()> {
    let path = folder.join(NAME);
    // Left by one that was killed; two on one folder are kept apart by a lock.
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("cannot use {}", path.display()));
    }
    let listener = bind(&path)?;
    thread::spawn(move || {
        let tickets = std::sync::Arc::new(());
        for stream in listener.incoming().flatten() {
            let ticket = std::sync::Arc::clone(&tickets);
            if std::sync::Arc::strong_count(&tickets) > ASKING_MAX {
                continue;
            }
            let into = into.clone();
            thread::spawn(move || {
                // Who goes away without waiting for an answer has none.
                let _is_served = serve(&stream, &into).is_ok();
                drop(ticket);
            });
        }
    });
    Ok(())
}

/// A socket's name has at most 107 bytes, a state folder's may have more: it is bound from inside the folder.
fn bind(path: &Path) -> Result<UnixListener> {
    let short = short(path)?;
    UnixListener::bind(&short.1).with_context(|| format!("cannot listen at {}", path.display()))
}

/// The path by way of an open folder, which is short whatever the folder is called.
fn short(path: &Path) -> Result<(std::fs::File, PathBuf)> {
    use std::os::fd::AsRawFd;
    let folder = path.parent().context("a socket lies in a folder")?;
    let open =
        std::fs::File::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
    let by_number = format!("/proc/self/fd/{}/{NAME}", open.as_raw_fd());
    Ok((open, PathBuf::from(by_number)))
}

fn serve(stream: &UnixStream, into: &SyncSender<Asked>) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(std::io::Read::take(stream, LINE_MAX)).lines();
    while let Some(line) = lines.next().transpose()? {
        let answer = match serde_json::from_str(&line) {
            Ok(ask) => {
                let (answer, answered) = sync_channel(1);
                into.send(Asked { ask, answer })?;
                answered.recv()?
            }
            Err(error) => Answer::Refused(format!("not understood: {error}")),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        (&*stream).write_all(&line)?;
    }
    Ok(())
}

/// Asks the enforcer of a state folder.
///
/// # Errors
/// When none answers, or it refuses.
pub(crate) fn ask(folder: &Path, ask: &Ask) -> Result<Value> {
    match asked(folder, ask)? {
        Answer::Done(value) => Ok(value),
        Answer::Refused(why) => bail!(why),
    }
}

/// The same, where a refusal is an answer.
///
/// # Errors
/// When none answers.
pub(super) fn asked(folder: &Path, ask: &Ask) -> Result<Answer> {
    let path = folder.join(NAME);
    let nobody = || {
        format!(
            "no enforcer answers at {}; start `thymus run --respond` or `thymus enforce` on this state folder",
            path.display()
        )
    };
    if !path.exists() {
        bail!(nobody());
    }
    let stream = UnixStream::connect(short(&path)?.1).with_context(nobody)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    (&stream).write_all(&line).with_context(nobody)?;
    let mut answer = String::new();
    BufReader::new(&stream)
        .read_line(&mut answer)
        .with_context(nobody)?;
    serde_json::from_str(&answer).with_context(nobody)
}
