//! One file for each kind of responder.

pub(crate) mod nftables;
