//! `thymus model install`, `activate` and `remove`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use thymus_analyst::legible;
use thymus_store::models::{Act, Activation, Installed, ModelStore};

use super::{keys, shipped};
use crate::{Found, quarantine};

/// Different files that a shadow run must have judged.
const JUDGED_MIN: u64 = 1_000;

/// Installs the model in a file: in shadow, unless it passed its shadow run.
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
        activated: may_act(store, &signed.blake3)?
            .is_ok()
            .then_some(Activation { act, anyway: None }),
    };
    check_types(store, &fresh.name, signed.bytes.clone())
        .with_context(|| format!("{shown} was not installed"))?;
    store.install(&fresh, &signed)?;
    let (name, version) = (legible(&fresh.name), legible(&fresh.version));
    let key = &fresh.signer;
    if fresh.activated.is_some() {
        println!("installed {name} {version}, signed by key {key}; it judges from now on");
        return Ok(Found::Nothing);
    }
    println!("installed {name} {version}, signed by key {key}, in shadow: it judges nothing yet");
    println!("try it on the files of this machine: thymus model shadow {name} PATH...");
    println!("then let it judge: thymus model activate {name}");
    Ok(Found::Nothing)
}

/// Lets the version of a model that waits judge.
///
/// # Errors
/// When none waits, its signature does not count any more, another one judges its types, or it has not passed
/// a shadow run and no reason was given to do without.
pub(super) fn activate(store: &ModelStore, name: &str, anyway: Option<&str>) -> Result<Found> {
    let waiting = store.versions(name)?.shadow;
    let Some(waiting) = waiting else {
        bail!("{name} has no version that waits; `thymus model list` says what there is");
    };
    let signed = store.load(&waiting, &store.keys()?)?;
    check_types(store, name, signed.bytes)?;
    let version = legible(&waiting.version);
    let passed = may_act(store, &waiting.blake3)?;
    let anyway = match (&passed, anyway.map(str::trim)) {
        (Ok(()), _) => None,
        (Err(_), Some("")) => bail!("--anyway wants a reason, which is noted"),
        (Err(_), Some(reason)) => Some(reason.to_owned()),
        (Err(why), None) => bail!(
            "{name} {version} is not activated: {why}; run `thymus model shadow {name} PATH...`, or give a reason to do without: --anyway REASON"
        ),
    };
    let noted = if anyway.is_some() {
        "; who, when and why is noted"
    } else {
        ""
    };
    store.activate(name, Activation { act: act(), anyway })?;
    println!("{name} {version} judges from now on{noted}");
    Ok(Found::Nothing)
}

/// Whether a model passed a shadow run that is long enough, or why it does not count as passed.
fn may_act(store: &ModelStore, blake3: &str) -> Result<Result<(), String>> {
    Ok(match store.shadow_run(blake3)? {
        None => Err("it had no shadow run".to_owned()),
        Some(run) if !run.passed => {
            let why = run.why.unwrap_or_default();
            Err(format!(
                "it failed its shadow run of {}: {why}",
                run.act.time
            ))
        }
        Some(run) if run.judged < JUDGED_MIN => {
            let judged = run.judged;
            Err(format!(
                "its shadow run judged {judged} different files, {JUDGED_MIN} are needed"
            ))
        }
        Some(_) => Ok(()),
    })
}

/// Whether the model can judge beside the active ones of other names.
fn check_types(store: &ModelStore, name: &str, bytes: Vec<u8>) -> Result<()> {
    let keys = store.keys()?;
    let mut files = vec![bytes];
    for (other, versions) in store.models()? {
        if let Some(active) = versions.active.filter(|_| other != name) {
            files.push(store.load(&active, &keys)?.bytes);
        }
    }
    shipped()?.with(files).map_err(|(_, why)| why)?;
    Ok(())
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
