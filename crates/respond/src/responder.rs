//! Who changes the world.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use thymus_schema::Timestamp;

use crate::cut::Cut;
use crate::decision::{DecisionId, Realm, Verb};
use crate::policy::Policy;
use crate::responders::files::{self, Shelf};
use crate::responders::freezer::{self, Hand};
use crate::responders::{bouncers, nftables, reset};
use crate::table::Table;

/// What a responder found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Elements that were missing and are there now.
    pub added: usize,
    /// Elements that nobody wanted and are gone now.
    pub removed: usize,
    /// What somebody else had changed, and was put right.
    pub repaired: Vec<String>,
    /// Packets and bytes that each decision has cut so far.
    pub cut: BTreeMap<DecisionId, (u64, u64)>,
    /// Processes and files of this machine that each decision holds, for people.
    pub held: BTreeMap<DecisionId, Vec<String>>,
    /// What does not work at the moment and is tried again, for people.
    pub trouble: Option<String>,
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
    /// The system said no.
    #[error("cannot {doing}: {source}")]
    System {
        /// To do what to what.
        doing: String,
        /// Why.
        source: io::Error,
    },
    /// The process that was to do it cannot.
    #[error("{said}")]
    Hand {
        /// Why.
        said: String,
    },
}

/// What an action would take hold of on this machine now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grasp {
    /// Processes and files, for people.
    pub held: Vec<String>,
    /// Those that fit and are left alone, and why.
    pub spared: Vec<(String, String)>,
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

    /// What an action would take hold of now, beside traffic.
    ///
    /// # Errors
    /// When that cannot be looked up.
    fn rehearse(&mut self, _verb: Verb, _cuts: &[Cut]) -> Result<Grasp, ResponderError> {
        Ok(Grasp::default())
    }
}

/// What a responder gets from the process that it works in.
#[derive(Clone, Default)]
pub struct Place {
    /// The process that may stop others.
    pub freezer: Option<Hand>,
    /// Where files may be taken away.
    pub files: Option<Shelf>,
}

/// A responder, or what is missing for it.
pub type Built = Result<Box<dyn Responder>, String>;

/// A kind of responder.
#[derive(Clone, Copy, Debug)]
pub struct ResponderSpec {
    /// Its id, which is also its key in a policy.
    pub id: &'static str,
    /// What it does.
    pub title: &'static str,
    /// What it takes hold of.
    pub realm: Realm,
    /// Makes one, by what the policy says about it; or says what is missing there.
    pub build: fn(&Policy, &Place) -> Built,
}

/// The kinds there are: a new one is a file and a line here.
pub const RESPONDERS: &[ResponderSpec] = &[
    nftables::SPEC,
    nftables::BRIDGE,
    reset::SPEC,
    bouncers::SPEC,
    freezer::SPEC,
    files::SPEC,
];

/// Several responders as one: what one of them cannot do is not done.
#[derive(Default)]
pub struct Responders {
    all: Vec<Box<dyn Responder>>,
}

impl Responders {
    /// Those that the policy names.
    ///
    /// # Errors
    /// When there is none of a name, or one lacks something in the policy; the message says what.
    pub fn of(policy: &Policy, place: &Place) -> Result<Self, String> {
        let named = policy.responders.iter().map(|name| {
            let spec = RESPONDERS.iter().find(|spec| spec.id == name);
            let spec = spec.ok_or_else(|| {
                let known: Vec<&str> = RESPONDERS.iter().map(|spec| spec.id).collect();
                format!(
                    "there is no responder {name:?}; there are: {}",
                    known.join(", ")
                )
            })?;
            Ok((spec.realm, (spec.build)(policy, place)?))
        });
        let mut all = named.collect::<Result<Vec<_>, String>>()?;
        // A cut ends the connection by which the process is found that holds it.
        all.sort_by_key(|(realm, _)| *realm == Realm::Traffic);
        Ok(Self {
            all: all.into_iter().map(|(_, responder)| responder).collect(),
        })
    }

    /// Has each do it, also when one cannot.
    fn each(
        &mut self,
        mut does: impl FnMut(&mut dyn Responder) -> Result<Receipt, ResponderError>,
    ) -> Result<Receipt, ResponderError> {
        let mut receipt = Receipt::default();
        let mut failed = None;
        for responder in &mut self.all {
            match does(responder.as_mut()) {
                Ok(more) => receipt.join(more),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(receipt), Err)
    }
}

impl Responder for Responders {
    fn apply(&mut self, wanted: &Table, now: Timestamp) -> Result<Receipt, ResponderError> {
        self.each(|responder| responder.apply(wanted, now))
    }

    fn reconcile(&mut self, wanted: &Table, now: Timestamp) -> Result<Receipt, ResponderError> {
        self.each(|responder| responder.reconcile(wanted, now))
    }

    fn remove(&mut self) -> Result<(), ResponderError> {
        self.each(|responder| responder.remove().map(|()| Receipt::default()))
            .map(|_| ())
    }

    fn rehearse(&mut self, verb: Verb, cuts: &[Cut]) -> Result<Grasp, ResponderError> {
        let mut all = Grasp::default();
        for responder in &mut self.all {
            let grasp = responder.rehearse(verb, cuts)?;
            all.held.extend(grasp.held);
            all.spared.extend(grasp.spared);
        }
        Ok(all)
    }
}

impl Receipt {
    fn join(&mut self, other: Self) {
        self.added += other.added;
        self.removed += other.removed;
        self.repaired.extend(other.repaired);
        for (id, (packets, bytes)) in other.cut {
            let counted = self.cut.entry(id).or_default();
            counted.0 += packets;
            counted.1 += bytes;
        }
        for (id, held) in other.held {
            self.held.entry(id).or_default().extend(held);
        }
        self.trouble = self.trouble.take().or(other.trouble);
    }
}
