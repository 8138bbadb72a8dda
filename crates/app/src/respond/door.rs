//! The way from the console to the enforcer. A console that can make connections is worth taking over: among the
//! sockets of a machine are those of its service manager. So it cannot; a small process that it started before it
//! gave up its rights passes on what the enforcer can be asked, and nothing else.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::control::{self, Answer, Ask};
use super::{apart, folder};
use crate::Found;
use crate::cli::DoorArgs;

/// No answer is longer: what is never acted upon is the most of it.
const LINE_MAX: u64 = 16 << 20;

/// What comes back through the door.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Answer(Answer),
    /// Nobody answered, and why.
    Nobody(String),
}

/// Why nothing was done.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// No enforcer answers.
    Nobody(String),
    /// It said no.
    Refused(String),
}

/// The console's side of the door.
pub(crate) struct Door {
    pipes: Mutex<Pipes>,
}

struct Pipes {
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// It ends when its input does.
    _door: Child,
}

impl Door {
    /// Starts the process; to be done before rights are given up.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn open(state: &Path, is_confined: bool) -> Result<Self> {
        let mut door = apart("response-door", state, is_confined)?
            .spawn()
            .context("cannot start the way to the enforcer")?;
        let (asks, answers) = door
            .stdin
            .take()
            .zip(door.stdout.take())
            .context("the way to the enforcer has no ends")?;
        Ok(Self {
            pipes: Mutex::new(Pipes {
                asks,
                answers: BufReader::new(answers),
                _door: door,
            }),
        })
    }

    /// Asks the enforcer.
    pub(crate) fn ask(&self, ask: &Ask) -> Result<Value, Unanswered> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        match pipes.ask(ask) {
            Ok(Said::Answer(Answer::Done(value))) => Ok(value),
            Ok(Said::Answer(Answer::Refused(why))) => Err(Unanswered::Refused(why)),
            Ok(Said::Nobody(why)) => Err(Unanswered::Nobody(why)),
            Err(error) => Err(Unanswered::Nobody(format!(
                "the console has lost its way to the enforcer ({error:#}); start the console again"
            ))),
        }
    }
}

impl Pipes {
    fn ask(&mut self, ask: &Ask) -> Result<Said> {
        let mut line = serde_json::to_vec(ask)?;
        line.push(b'\n');
        self.asks.write_all(&line)?;
        let mut answer = String::new();
        (&mut self.answers)
            .take(LINE_MAX)
            .read_line(&mut answer)
            .context("no answer")?;
        Ok(serde_json::from_str(&answer)?)
    }
}

/// Runs the process at the other side.
///
/// # Errors
/// When it cannot be confined, or the console's pipes break.
pub(crate) fn door(args: &DoorArgs) -> Result<Found> {
    let folder = folder(&args.state);
    if !args.no_sandbox {
        let read: [PathBuf; 1] = [args.state.clone()];
        thymus_sensor::confine_client(&[], &read, &[])?;
    }
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let said = pass(&folder, &line?);
        let mut answer = serde_json::to_vec(&said)?;
        answer.push(b'\n');
        out.write_all(&answer)?;
        out.flush()?;
    }
    Ok(Found::Nothing)
}

/// Only what can be asked at all is passed on, and nothing that a console has no business with.
fn pass(folder: &Path, line: &str) -> Said {
    match serde_json::from_str(line) {
        Ok(Ask::Contain { .. } | Ask::Rehearse { .. }) | Err(_) => {
            Said::Answer(Answer::Refused("a console cannot ask that".to_owned()))
        }
        Ok(ask) => match control::asked(folder, &ask) {
            Ok(answer) => Said::Answer(answer),
            Err(error) => Said::Nobody(format!("{error:#}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_console_may_ask_is_passed_on() {
        let nowhere = Path::new("/nowhere");
        for line in ["", "{}", r#"{"ask":"contain"}"#] {
            let said = pass(nowhere, line);
            assert!(matches!(said, Said::Answer(Answer::Refused(_))), "{line}");
        }
        assert!(
            matches!(pass(nowhere, r#"{"ask":"status"}"#), Said::Nobody(why) if why.contains("no enforcer"))
        );
    }
}
