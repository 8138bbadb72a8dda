//! What is done about incidents: planned, guarded, rehearsed, applied, verified, journaled, taken back.
//!
//! ```text
//! incident ─► plan ─► guard ─► rehearse ─► ledger (journal) ─► wanted table ─► responder ─► applied
//! ```
//! [`plan`] and [`Guard`] are pure; [`FlowBook`] keeps the aggregates that a rehearsal and a pattern of life need;
//! [`Ledger`] is the fold of all [`Change`]s, each of which is in the [`Journal`] before anything is done;
//! [`Table`] is what a firewall has to hold at one moment, and a [`Responder`] makes that so, whatever was there.
//! The crate reads no clock: time is passed in.

#![forbid(unsafe_code)]

mod book;
mod cut;
mod decision;
mod enforcer;
mod guard;
mod journal;
mod ledger;
mod plan;
mod policy;
mod responder;
mod responders;
mod table;

pub use book::{FlowBook, LifeTest, Pattern, Rehearsal};
pub use cut::{Cut, Habit, Port, Side, Talk, host, net};
pub use decision::{Actor, Change, Decision, DecisionId, Event, Mode, Realm, State, Verb};
pub use enforcer::{Enforcer, EnforcerError, Standing};
pub use guard::{Guard, NeverAct, Refusal};
pub use journal::{Held, Journal, JournalError, fuzz_journal};
pub use ledger::{Ledger, LedgerError};
pub use plan::{Proposal, Scene, plan};
pub use policy::{Caps, Hours, ModeRule, Policy, ResetPolicy};
pub use responder::{
    Built, Grasp, Place, RESPONDERS, Receipt, Responder, ResponderError, ResponderSpec, Responders,
};
pub use responders::files::{Files, Shelf, Stored, Vault};
pub use responders::freezer::{Asked, Freezer, Hand, Process, Socket, boot, fuzz_proc, sockets};
pub use responders::nftables::{Nftables, fuzz_listing};
pub use responders::reset::{Reset, fuzz_frame};
pub use table::{Claim, Element, Hold, Holds, Judge, Rest, Seen, Set, Table};
