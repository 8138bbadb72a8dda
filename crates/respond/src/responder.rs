//! Who changes the world.

use std::collections::BTreeMap;

use thymus_schema::Timestamp;

use crate::decision::DecisionId;
use crate::responders::nftables;
use crate::table::Table;

/// What a responder found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Elements that were missing and are there now.
    pub added: usize,
    /// Elements that nobody wanted and are gone now.
    pub removed: usize,
    /// What somebody else had changed, and was put right.
    pub repaired: Vec<String>,
    /// Packets and bytes that each decision has cut so far.
    pub cut: BTreeMap<DecisionId, (u64, u64)>,
}

/// Why a responder could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ResponderError {
    /// The tool is not there.
    #[error("{tool} cannot be started: {source}; {remedy}")]
    Missing {
        /// Which.
        tool: &'static str,
        /// Why.
        source: std::io::Error,
        /// What helps.
        remedy: &'static str,
    },
    /// The tool said no.
    #[error("{tool} refused: {said}")]
    Refused {
        /// Which.
        tool: &'static str,
        /// Its words, cut.
        said: String,
    },
    /// The tool said something that is not understood.
    #[error("{tool} answered what cannot be understood: {what}")]
    Rubbish {
        /// Which.
        tool: &'static str,
        /// What was looked for.
        what: String,
    },
}

/// Makes a part of the world as the table says, whatever it was before: adds what is missing, removes what is its
/// own and not wanted, touches nothing that is not its own. Doing it twice is doing it once.
pub trait Responder: Send {
    /// Makes it so, as far as is known without looking.
    ///
    /// # Errors
    /// When it is not so afterwards, or not known to be.
    fn apply(&mut self, wanted: &Table, now: Timestamp) -> Result<Receipt, ResponderError>;

    /// Looks at what is there, and makes it so.
    ///
    /// # Errors
    /// When it is not so afterwards, or not known to be.
    fn reconcile(&mut self, wanted: &Table, now: Timestamp) -> Result<Receipt, ResponderError>;

    /// Removes everything of its own.
    ///
    /// # Errors
    /// When something is left.
    fn remove(&mut self) -> Result<(), ResponderError>;
}

/// A kind of responder.
#[derive(Clone, Copy, Debug)]
pub struct ResponderSpec {
    /// Its id, which is also its key in a policy.
    pub id: &'static str,
    /// What it does.
    pub title: &'static str,
    /// Makes one.
    pub build: fn() -> Box<dyn Responder>,
}

/// The kinds there are: a new one is a file and a line here.
pub const RESPONDERS: &[ResponderSpec] = &[nftables::SPEC];
