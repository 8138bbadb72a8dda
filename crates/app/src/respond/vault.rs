//! Where the response keeps files that it took away: a store like that of `thymus quarantine`, in its own folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use thymus_respond::{Cut, Files, Policy, Realm, Responder, ResponderError, Shelf, Stored, Vault};
use thymus_schema::Timestamp;
use thymus_store::{Quarantine, QuarantineError, Request};

use super::{Reader, folder};
use crate::quarantine;

/// The store of a folder of the response.
struct Store(PathBuf);

impl Store {
    fn of(folder: &Path) -> Self {
        Self(folder.join("quarantine"))
    }
}

fn said(error: &QuarantineError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl Vault for Store {
    fn list(&self) -> Result<Vec<Stored>, String> {
        if !self.0.exists() {
            return Ok(Vec::new());
        }
        let store = Quarantine::open(&self.0).map_err(|error| said(&error))?;
        let entries = store.list().map_err(|error| said(&error))?;
        let stored = entries.into_iter().map(|entry| {
            let kept = entry.kept.map_err(|error| said(&error))?;
            Ok(Stored {
                id: entry.id,
                path: kept.path().to_path_buf(),
                sha256: kept.sha256,
            })
        });
        stored.collect()
    }

    fn keep(&self, path: &Path, sha256: &str, why: &str) -> Result<(), String> {
        let store = Quarantine::open(&self.0).map_err(|error| said(&error))?;
        let request = Request {
            path,
            id: None,
            sha256: Some(sha256),
            verdict: why,
            time: quarantine::now(),
        };
        let kept = store.add_exactly(&request);
        kept.map(|_| ()).map_err(|error| said(&error))
    }

    fn give_back(&self, id: &str) -> Result<(), String> {
        let store = Quarantine::open(&self.0).map_err(|error| said(&error))?;
        let given = store.restore(id, None).map(|_| ());
        given.map_err(|error| {
            let store = self.0.display();
            format!(
                "{}; `thymus quarantine restore {id} --store {store}` has it",
                said(&error)
            )
        })
    }
}

/// What the enforcer may do with files, where the policy names the quarantine. What lies in the store and no decision
/// wants is given back before.
///
/// # Errors
/// When a folder of the policy is not there.
pub(super) fn shelf(state: &Path, policy: &Policy) -> Result<Option<Shelf>> {
    let folder = folder(state);
    if !policy.reaches(Realm::Files) {
        // An earlier policy did.
        if let Err(error) = give_all_back(&folder) {
            eprintln!("thymus: {error}");
        }
        return Ok(None);
    }
    let shelf = Shelf::new(Arc::new(Store::of(&folder)), &policy.file_roots);
    let shelf = shelf.context("a folder of file_roots in the policy cannot be used")?;
    let now = Timestamp::from_nanos(crate::run::now_nanos());
    let holds = Reader::new(state).ledger(now)?;
    let is_wanted = |one: &Stored| {
        let mut cuts = holds.active().flat_map(|decision| &decision.cuts);
        cuts.any(|cut| matches!(cut, Cut::File { sha256, .. } if **sha256 == one.sha256))
    };
    for one in shelf.vault.list().map_err(anyhow::Error::msg)? {
        if !is_wanted(&one)
            && let Err(why) = shelf.vault.give_back(&one.id)
        {
            eprintln!("thymus: {why}");
        }
    }
    Ok(Some(shelf))
}

/// Gives back everything, whoever wants it.
///
/// # Errors
/// When something stays in the store.
pub(super) fn give_all_back(folder: &Path) -> Result<(), ResponderError> {
    let vault: Arc<dyn Vault> = Arc::new(Store::of(folder));
    let shelf = Shelf::new(vault, &[]).ok();
    Files::new(shelf).remove()
}
