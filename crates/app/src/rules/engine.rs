//! What compiles rules: yara-x, in a crate of its own.

use anyhow::{Result, anyhow};
use thymus_scan::RuleMatcher;
use thymus_yara::Matcher;

use super::Source;

/// Compiled rules.
pub(super) struct RuleSet(thymus_yara::RuleSet);

impl RuleSet {
    pub(super) fn compile(sources: Vec<Source>) -> Result<Self> {
        let source = |(name, bytes)| thymus_yara::Source { name, bytes };
        let sources: Vec<_> = sources.into_iter().map(source).collect();
        let set = thymus_yara::compile(&sources).map_err(|why| anyhow!(why))?;
        Ok(Self(set))
    }

    pub(super) const fn matcher(&self) -> &dyn RuleMatcher {
        &self.0.matcher
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        self.0.matcher.to_bytes().map_err(|why| anyhow!(why))
    }

    pub(super) const fn rules(&self) -> u64 {
        self.0.rules
    }

    pub(super) const fn sha256(&self) -> &[u8; 32] {
        &self.0.sha256
    }

    pub(super) fn errors(&self) -> &[String] {
        &self.0.errors
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.0.warnings
    }
}

/// It is here.
#[expect(clippy::unnecessary_wraps, reason = "fails where it is not")]
pub(super) const fn check() -> Result<()> {
    Ok(())
}

pub(super) fn read(bytes: &[u8]) -> Result<Box<dyn RuleMatcher>, String> {
    Ok(Box::new(Matcher::read(bytes)?))
}
