//! One file for each kind of responder.

pub(crate) mod bouncers;
pub(crate) mod nftables;
pub(crate) mod reset;
