//! Looks at files in processes that can do nothing else.
//!
//! Hostile bytes are read by workers: processes of the same program that can open no file, reach no
//! network, start nothing and take only so much memory and time ([`confine`], [`filter`]). The parent
//! walks, opens files and hands each open one over ([`protocol`]); a worker says what it found and waits
//! for the next ([`serve`]). The parent ends a worker that takes too long or dies, says so of the file,
//! and goes on with a fresh one ([`pool`]).
//!
//! What a worker says is believed for the file at hand, so one in a stranger's hands could call it clean;
//! it is replaced now and then, so that this ends.

mod confine;
mod filter;
mod pool;
mod protocol;
mod serve;

pub use confine::{Confinement, Landlock};
pub use pool::{StartError, Worker, Workers};
pub use protocol::Limits;
pub use serve::serve;

#[cfg(test)]
mod tests;
