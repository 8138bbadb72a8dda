//! Puts what a scan found into the quarantine.

use anyhow::{Context, Result};
use thymus_analyst::legible;
use thymus_scan::{Outcome, Scanned};
use thymus_store::{Quarantine, Request};

use super::listed::Listed;
use crate::cli::ScanArgs;
use crate::quarantine;

/// Keeps what is malicious, and what is suspicious where that was asked for.
pub(super) struct Keeper {
    store: Quarantine,
    with_suspicious: bool,
    /// Files that should have been kept and could not be.
    pub(super) failed: u64,
}

/// The id of what was kept, or why it was not.
pub(super) type Kept = Result<String, String>;

impl Keeper {
    /// One, where the command line asks for it.
    ///
    /// # Errors
    /// When the store cannot be used, which is told before anything is scanned.
    pub(super) fn new(args: &ScanArgs) -> Result<Option<Self>> {
        if !args.quarantine {
            return Ok(None);
        }
        let store = quarantine::open(args.store.as_deref())?;
        Ok(Some(Self {
            store,
            with_suspicious: args.quarantine_suspicious,
            failed: 0,
        }))
    }

    /// Keeps a file whose outcome asks for that.
    pub(super) fn see(&mut self, scanned: &Scanned, listed: Option<Listed<'_>>) -> Option<Kept> {
        let outcome = scanned.report.whole.outcome;
        let is_wanted = match outcome {
            Outcome::Malicious => true,
            Outcome::Suspicious => self.with_suspicious,
            Outcome::Clean | Outcome::NotJudged(_) => false,
        };
        if !is_wanted {
            return None;
        }
        let kept = self.keep(scanned, listed);
        let kept = kept.map_err(|error| {
            self.failed += 1;
            let why = format!("{error:#}");
            let path = legible(&scanned.path.to_string_lossy());
            eprintln!("thymus: {path} is not in the quarantine: {}", legible(&why));
            why
        });
        Some(kept)
    }

    fn keep(&self, scanned: &Scanned, listed: Option<Listed<'_>>) -> Result<String> {
        let id = scanned.id.context("standard input is no file")?;
        // A person may have named a link; the file that was judged is told by its number.
        let path = std::fs::canonicalize(&scanned.path)?;
        let sha256 = scanned.report.whole.sha256_hex();
        let request = Request {
            path: &path,
            id: Some((id.device, id.inode)),
            sha256: sha256.as_deref(),
            verdict: &listed.map_or_else(|| verdict(scanned), |listed| listed.told()),
            time: quarantine::now(),
        };
        Ok(self.store.add(&request)?.0)
    }
}

/// The words kept with the file: the outcome, and who found it.
fn verdict(scanned: &Scanned) -> String {
    let outcome = scanned.report.whole.outcome;
    let word = outcome.as_str();
    let judged = scanned.report.verdicts();
    let worst = judged
        .filter(|verdict| verdict.outcome == outcome)
        .find_map(|verdict| Some((verdict, verdict.judgement.as_ref()?)));
    let Some((verdict, judgement)) = worst else {
        return word.to_owned();
    };
    let probability = judgement.probability;
    let model = &judgement.model;
    match &verdict.member {
        Some(member) => format!("{word} with probability {probability:.4} by {model}: {member}"),
        None => format!("{word} with probability {probability:.4} by {model}"),
    }
}
