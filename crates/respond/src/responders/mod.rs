//! One file for each kind of responder.

pub(crate) mod bouncers;
pub(crate) mod files;
pub(crate) mod freezer;
pub(crate) mod nftables;
pub(crate) mod reset;
