//! `thymus model install` and `remove`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use thymus_analyst::legible;
use thymus_store::models::{Act, Activation, Installed, ModelStore};

use super::{keys, shipped};
use crate::{Found, quarantine};

/// Installs the model in a file.
///
/// # Errors
/// When its signature does not count, it is no model for this version, or another one judges its types.
pub(super) fn install(store: &ModelStore, model: &Path) -> Result<Found> {
    let shown = legible(&model.to_string_lossy());
    let signed = ModelStore::signed(model, &store.keys()?)?;
    let told = keys::told(&signed.bytes).with_context(|| format!("{shown} was not installed"))?;
    let act = act();
    let fresh = Installed {
        name: told.name,
        version: told.version,
        blake3: signed.blake3.clone(),
        signer: signed.signer.clone(),
        types: told.types,
        installed: act.clone(),
        activated: Some(Activation { act, anyway: None }),
    };
    let mut files = vec![signed.bytes.clone()];
    for (name, versions) in store.models()? {
        if let Some(active) = versions.active.filter(|_| name != fresh.name) {
            files.push(store.load(&active, &store.keys()?)?.bytes);
        }
    }
    if let Err((_, why)) = shipped()?.with(files) {
        bail!("{shown} was not installed: {why}");
    }
    store.install(&fresh, &signed)?;
    let (name, version) = (legible(&fresh.name), legible(&fresh.version));
    println!(
        "installed {name} {version}, signed by key {}; it judges from now on",
        fresh.signer
    );
    Ok(Found::Nothing)
}

/// Removes an installed model.
///
/// # Errors
/// When there is none of that name.
pub(super) fn remove(store: &ModelStore, name: &str) -> Result<Found> {
    store.remove(name)?;
    let is_embedded = shipped()?.infos().any(|info| info.name == name);
    let rest = if is_embedded {
        "the embedded one judges again"
    } else {
        "its types are not judged any more"
    };
    println!("removed {name}; {rest}");
    Ok(Found::Nothing)
}

/// Who does something now.
pub(super) fn act() -> Act {
    let now = Timestamp::from_second(quarantine::now()).unwrap_or(Timestamp::UNIX_EPOCH);
    let id = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(id).ok().flatten();
    Act {
        time: now.to_string(),
        user: user.map_or_else(|| id.to_string(), |user| user.name),
    }
}
