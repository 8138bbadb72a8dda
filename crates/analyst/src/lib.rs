//! The analyst: a few incidents a person can read, out of many alerts.
//!
//! Alerts are tied into stories by entity, time and path; each story gets a combined p-value, a
//! hypothesis, a timeline, the devices in it and what to do next; a budget per event-time day says
//! which are shown. Everything said is a [`Statement`](thymus_schema::Statement) over stored facts:
//! a sentence whose fact is missing is not said.
//!
//! Must not: read events, decide what is anomalous, read a clock, use randomness. The same alerts
//! give the same report, in whatever order they came.
//!
//! Reading order: what goes in and comes out ([`Analyst`], [`Report`]), how alerts are tied
//! together, how a story is weighed, how it is told; what is kept for the next run.

#![forbid(unsafe_code)]

mod analyst;
mod memory;
mod report;

mod correlate;

mod budget;
mod combine;

mod advice;
mod cast;
mod hypothesis;
mod narrative;
mod story;
mod told;

pub use analyst::{Analyst, AnalystConfig, Site};
pub use budget::IncidentBudget;
pub use combine::combined;
pub use narrative::{Names, legible, more_of_the_same, narrative, sentence};
pub use report::Report;
pub use told::{Told, told};
