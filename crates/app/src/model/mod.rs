//! `thymus model`: the networks that judge files, those that a user installs, and what is rare on the user's
//! own files.

pub(crate) mod calibrate;
mod install;
mod keys;
mod list;
mod shadow;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use thymus_scan::Networks;
use thymus_store::models::{Installed, ModelStore};

use crate::Found;
use crate::cli::{ModelArgs, ModelCommand};

/// Where models of the whole machine are.
const OF_MACHINE: &str = "/var/lib/thymus/models";

/// The models that judge.
pub(crate) struct InUse {
    /// All of them.
    pub(crate) networks: Networks,
    /// The files of those that a user installed, whose signatures count.
    pub(crate) files: Vec<Vec<u8>>,
}

/// Runs the command.
///
/// # Errors
/// When a file or folder cannot be read or written, a signature does not count, or no such network is there.
pub(crate) fn run(args: &ModelArgs) -> Result<Found> {
    let dir = args.models.as_deref();
    match &args.command {
        ModelCommand::List { json } => list::run(&store(dir)?, *json),
        ModelCommand::Card { name } => card(name, &in_use(dir, false)?),
        ModelCommand::Calibrate { paths, out, jobs } => {
            calibrate::run(paths, out, *jobs, &in_use(dir, false)?)
        }
        ModelCommand::Keygen {
            out,
            password_file,
            no_password,
        } => keys::generate(out, password_file.as_deref(), *no_password),
        ModelCommand::Sign {
            model,
            key,
            password_file,
        } => keys::sign(model, key, password_file.as_deref()),
        ModelCommand::Verify { model, key, json } => {
            keys::verify(model, key.as_deref(), dir, *json)
        }
        ModelCommand::Trust { key: Some(key) } => keys::trust(&store(dir)?, key),
        ModelCommand::Trust { key: None } => keys::list(&store(dir)?),
        ModelCommand::Distrust { id } => keys::distrust(&store(dir)?, id),
        ModelCommand::Install { model } => install::install(&store(dir)?, model),
        ModelCommand::Shadow(args) => shadow::run(args, dir),
        ModelCommand::Activate { name, anyway } => {
            install::activate(&store(dir)?, name, anyway.as_deref())
        }
        ModelCommand::Remove { name } => install::remove(&store(dir)?, name),
    }
}

/// The networks that ship.
///
/// # Errors
/// When one does not fit this build.
pub(crate) fn shipped() -> Result<Networks> {
    Networks::shipped().context("open the networks that ship")
}

/// Whether a model ships or was installed, in a word.
pub(crate) const fn origin(is_shipped: bool) -> &'static str {
    if is_shipped { "embedded" } else { "installed" }
}

/// The models that judge: those that are active in `dir` or the default folder, unless the embedded ones
/// are asked for, and the embedded ones that they leave.
///
/// # Errors
/// When one of them cannot be read, is not what was installed, or was signed by no key that is trusted: that
/// a stranger's model judges, or an old one unnoticed, is worse than no verdict.
pub(crate) fn in_use(dir: Option<&Path>, embedded_only: bool) -> Result<InUse> {
    let networks = shipped()?;
    if embedded_only {
        return Ok(InUse {
            networks,
            files: Vec::new(),
        });
    }
    let store = store(dir)?;
    let models = store.models().context("read the installed models")?;
    let active = models
        .into_iter()
        .filter_map(|(_, versions)| versions.active);
    with(networks, &store, &active.collect::<Vec<_>>())
}

/// The networks with these installed ones in their places.
fn with(networks: Networks, store: &ModelStore, models: &[Installed]) -> Result<InUse> {
    if models.is_empty() {
        return Ok(InUse {
            networks,
            files: Vec::new(),
        });
    }
    let keys = store.keys()?;
    let load = |model| Ok(store.load(model, &keys)?.bytes);
    let files: Vec<Vec<u8>> = models.iter().map(load).collect::<Result<_>>()?;
    let networks = networks.with(files.clone()).map_err(|(at, why)| {
        let name = models.get(at).map_or("", |model| &model.name);
        let dir = store.dir().display();
        anyhow::anyhow!(
            "the installed model {name} in {dir} cannot judge: {why}; install one that was made for this version, or take it away: `thymus model remove {name}`"
        )
    })?;
    Ok(InUse { networks, files })
}

/// The folder of installed models.
fn store(dir: Option<&Path>) -> Result<ModelStore> {
    let dir = dir.map_or_else(default_dir, |dir| Some(dir.to_path_buf()));
    let dir = dir.context("there is no home folder: name a folder with --models")?;
    Ok(ModelStore::open(&dir)?)
}

/// The folder of the user who runs this, where there is one, or that of the machine.
fn default_dir() -> Option<PathBuf> {
    let folder = |name: &str| {
        let folder = std::env::var_os(name).map(PathBuf::from);
        folder.filter(|folder| folder.is_absolute())
    };
    let of_machine = PathBuf::from(OF_MACHINE);
    if let Some(data) = folder("XDG_DATA_HOME") {
        return Some(data.join("thymus/models"));
    }
    if nix::unistd::geteuid().is_root() {
        return Some(of_machine);
    }
    let own = folder("HOME").map(|home| home.join(".local/share/thymus/models"));
    // Who runs this as another user often leaves the home of the first in place, which is no folder of theirs.
    let state = own.as_ref().map(fs::metadata);
    let is_shut = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match state {
        Some(Ok(_)) => own,
        Some(Err(error)) if !is_shut(&error) && !of_machine.exists() => own,
        _ => Some(of_machine),
    }
}

fn card(name: &str, in_use: &InUse) -> Result<Found> {
    let mut infos = in_use.networks.infos();
    let Some(info) = infos.find(|info| info.id().starts_with(name)) else {
        let known: Vec<String> = in_use.networks.infos().map(|info| info.id()).collect();
        bail!(
            "no network is called {name}; there are {}",
            known.join(", ")
        );
    };
    std::io::stdout().write_all(info.card.as_bytes())?;
    Ok(Found::Nothing)
}
