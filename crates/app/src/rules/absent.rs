//! In the place of what compiles rules, in programs built without it: says what to do.

use anyhow::{Result, bail};
use thymus_scan::RuleMatcher;

use super::Source;

const WHY: &str = "this thymus was built without YARA rules; build one that has them by \
                   `cargo build --release --features yara`";

/// There are none.
pub(super) enum RuleSet {}

impl RuleSet {
    pub(super) fn compile(_: Vec<Source>) -> Result<Self> {
        bail!(WHY)
    }

    pub(super) const fn matcher(&self) -> &dyn RuleMatcher {
        match *self {}
    }

    pub(super) const fn to_bytes(&self) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(super) const fn rules(&self) -> u64 {
        match *self {}
    }

    pub(super) const fn sha256(&self) -> &[u8; 32] {
        match *self {}
    }

    pub(super) const fn errors(&self) -> &[String] {
        match *self {}
    }

    pub(super) const fn warnings(&self) -> &[String] {
        match *self {}
    }
}

/// Refuses before anything is read.
pub(super) fn check() -> Result<()> {
    bail!(WHY)
}

pub(super) fn read(_: &[u8]) -> Result<Box<dyn RuleMatcher>, &'static str> {
    Err(WHY)
}
