//! The way to the process that may stop others. Who looks into what processes have open cannot be confined to files as
//! the enforcer is (Landlock keeps a process from looking at any that is less confined), so a small one does nothing
//! else, and the enforcer keeps what it has.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use thymus_schema::Timestamp;

use crate::cut::Cut;
use crate::decision::{Realm, Verb};
use crate::responder::{Grasp, Receipt, Responder, ResponderError};
use crate::table::{Holds, Table};

/// No answer is longer.
const LINE_MAX: u64 = 16 << 20;

/// What that process is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// Hold these, and no others.
    Hold {
        /// What.
        wanted: Holds,
        /// Programs that are never stopped.
        never: BTreeSet<PathBuf>,
    },
    /// What would these take hold of?
    Rehearse {
        /// What.
        cuts: Vec<Cut>,
        /// Programs that are never stopped.
        never: BTreeSet<PathBuf>,
    },
    /// Let everything go.
    Remove,
}

/// Where to ask: shared by all that are made from one policy after the other.
#[derive(Clone)]
pub struct Hand {
    pipes: Arc<Mutex<Pipes>>,
}

struct Pipes {
    asks: Box<dyn Write + Send>,
    answers: BufReader<Box<dyn Read + Send>>,
}

impl Hand {
    /// By the two ends of its pipes: a line of JSON each way.
    pub fn new(asks: Box<dyn Write + Send>, answers: Box<dyn Read + Send>) -> Self {
        let answers = BufReader::new(answers);
        Self {
            pipes: Arc::new(Mutex::new(Pipes { asks, answers })),
        }
    }

    /// Has everybody let go.
    ///
    /// # Errors
    /// When somebody could not be, or nobody answers.
    pub fn let_go(&self) -> Result<(), ResponderError> {
        self.ask(&Asked::Remove)
    }

    fn ask<T: for<'de> Deserialize<'de>>(&self, asked: &Asked) -> Result<T, ResponderError> {
        let gone = |why: &dyn std::fmt::Display| ResponderError::Hand {
            said: format!(
                "the process that stops others does not answer ({why}); start thymus again"
            ),
        };
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = serde_json::to_vec(asked).map_err(|error| gone(&error))?;
        line.push(b'\n');
        pipes.asks.write_all(&line).map_err(|error| gone(&error))?;
        let mut answer = String::new();
        (&mut pipes.answers)
            .take(LINE_MAX)
            .read_line(&mut answer)
            .map_err(|error| gone(&error))?;
        let answer: Result<T, String> =
            serde_json::from_str(&answer).map_err(|error| gone(&error))?;
        answer.map_err(|said| ResponderError::Hand { said })
    }
}

/// The responder in the enforcer: passes on what concerns processes.
pub(super) struct Away {
    pub(super) hand: Option<Hand>,
    pub(super) never: BTreeSet<PathBuf>,
}

impl Away {
    fn hold(&self, table: &Table) -> Result<Receipt, ResponderError> {
        let (wanted, never) = (table.processes().clone(), self.never.clone());
        match &self.hand {
            Some(hand) => hand.ask(&Asked::Hold { wanted, never }),
            None if wanted.is_empty() => Ok(Receipt::default()),
            None => Err(missing()),
        }
    }
}

/// There is nobody to ask.
fn missing() -> ResponderError {
    ResponderError::Hand {
        said: "the enforcer gave up the rights to stop processes when it began, as the policy did not name the \
               freezer then; start thymus again"
            .to_owned(),
    }
}

impl Responder for Away {
    fn apply(&mut self, wanted: &Table, _: Timestamp) -> Result<Receipt, ResponderError> {
        self.hold(wanted)
    }

    fn reconcile(&mut self, wanted: &Table, _: Timestamp) -> Result<Receipt, ResponderError> {
        self.hold(wanted)
    }

    fn remove(&mut self) -> Result<(), ResponderError> {
        match &self.hand {
            Some(hand) => hand.let_go(),
            None => Ok(()),
        }
    }

    fn rehearse(&mut self, verb: Verb, cuts: &[Cut]) -> Result<Grasp, ResponderError> {
        if verb.realm() != Some(Realm::Processes) {
            return Ok(Grasp::default());
        }
        let (cuts, never) = (cuts.to_vec(), self.never.clone());
        let hand = self.hand.as_ref().ok_or_else(missing)?;
        hand.ask(&Asked::Rehearse { cuts, never })
    }
}
