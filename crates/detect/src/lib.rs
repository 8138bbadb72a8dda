//! Behaviour: who is on the network, what is normal for whom, and what does not belong.
//!
//! Events go in, calibrated alerts come out. Detectors only turn behaviour into raw scores with
//! evidence; one shared path turns scores into p-values, controls false discoveries and keeps the
//! alert budget, so no detector decides an alert by a threshold of its own.
//!
//! Must not: read a clock, do I/O, know any other crate than `schema` and `nets`.

#![forbid(unsafe_code)]

mod alerts;
mod attempts;
mod audit;
mod budget;
mod calibration;
mod controllers;
mod cx;
mod detector;
pub mod detectors;
mod domains;
mod doorkeeper;
mod engine;
mod entities;
mod fdr;
mod fetch;
mod habit;
mod hours;
mod interest;
mod memory;
mod novelty;
mod party;
mod prepared;
mod rare;
mod rhythm;
mod roles;
mod rpc;
mod solo;
mod steps;
mod sweep;
mod table;
mod tails;
mod trail;
mod window;

pub use audit::{Promise, PromiseState};
pub use budget::AlertBudget;
pub use cx::{DetectCx, Finding};
pub use detector::{Detector, DetectorSpec, Settings};
pub use detectors::DETECTORS;
pub use engine::{Engine, EngineConfig, EngineSummary};
pub use entities::{DeviceCard, Entities};
pub use hours::HourlyMaximum;
pub use interest::Interest;
pub use memory::Memory;
pub use party::{DeviceIdx, Party};
pub use prepared::{Prepared, Preparer};
pub use roles::Roles;
pub use solo::{Seen, Solo};
