//! `cargo xtask ui`: the browser console. Checks its sources, runs their tests, and compares the
//! bundle that is checked in with what the sources build to, so that a Rust build needs no npm.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::steps::{cargo_command, root, run, target};

/// Where the sources lie; the bundle is below, in `dist`.
fn folder() -> PathBuf {
    root().join("crates/server/ui")
}

pub(crate) fn all() -> Result<()> {
    lock_names_no_private_registry()?;
    npm(&[
        "ci",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--loglevel=error",
    ])
    .context("npm comes with Node 20.19 or later")?;
    npm(&["run", "--silent", "check"])?;
    npm(&["run", "--silent", "test"])?;
    bundle()?;
    in_a_browser()
}

/// The whole story of the console, in Chromium, against the real program. Makes the pictures of the
/// documents.
fn in_a_browser() -> Result<()> {
    have_chromium()?;
    let build = |what: &[&str]| run(&mut cargo_command(&[&["build", "--locked"], what].concat()));
    build(&["--package", "thymus-app", "--bin", "thymus"])?;
    build(&["--package", "thymus-store", "--example", "fill_journal"])?;
    let debug = target().join("debug");
    run(Command::new("npm")
        .args(["run", "--silent", "e2e"])
        .current_dir(folder())
        .env("THYMUS", debug.join("thymus"))
        .env("THYMUS_FILL", debug.join("examples/fill_journal"))
        .env("THYMUS_IMAGES", root().join("docs/images")))
}

/// How the console bears a large site: fills one, and measures its API and its pages in Chromium. The program is
/// built with optimisation, as figures of any other would say nothing.
pub(crate) fn load() -> Result<()> {
    have_chromium()?;
    let build = |what: &[&str]| {
        let words = [&["build", "--locked", "--profile", "quick"], what].concat();
        run(&mut cargo_command(&words))
    };
    build(&["--package", "thymus-app", "--bin", "thymus"])?;
    build(&["--package", "thymus-store", "--example", "fill_journal"])?;
    npm(&[
        "ci",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--loglevel=error",
    ])?;
    let built = target().join("quick");
    run(Command::new("npm")
        .args(["run", "--silent", "e2e"])
        .current_dir(folder())
        .env("THYMUS_LOAD", "1")
        .env("THYMUS", built.join("thymus"))
        .env("THYMUS_FILL", built.join("examples/fill_journal")))
}

fn have_chromium() -> Result<()> {
    if Path::new("/usr/bin/chromium").exists() || std::env::var_os("CHROMIUM").is_some() {
        return Ok(());
    }
    println!("installing chromium: the console is tested in it");
    run(Command::new("apt-get").args(["install", "--yes", "--quiet", "chromium"]))
        .context("install Chromium yourself, or name it in CHROMIUM")
}

/// The bundle is what the sources build to.
fn bundle() -> Result<()> {
    let built = target().join("ui");
    let out = built.to_string_lossy().into_owned();
    npm(&[
        "run",
        "--silent",
        "build",
        "--",
        "--outDir",
        &out,
        "--emptyOutDir",
        "--logLevel",
        "warn",
    ])?;
    let (fresh, kept) = (files(&built)?, files(&folder().join("dist"))?);
    let differing: Vec<_> = fresh
        .keys()
        .chain(kept.keys())
        .filter(|name| fresh.get(*name) != kept.get(*name))
        .collect();
    if !differing.is_empty() {
        bail!(
            "crates/server/ui/dist is not what the sources build to ({differing:?}): run `npm run build` there"
        );
    }
    println!("ui: the bundle is what the sources build to");
    Ok(())
}

/// A lock file written behind a mirror would send everybody there.
fn lock_names_no_private_registry() -> Result<()> {
    let path = folder().join("package-lock.json");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let strange = text.lines().find(|line| {
        line.contains("\"resolved\"") && !line.contains("\"https://registry.npmjs.org/")
    });
    match strange {
        Some(line) => bail!("{} names another registry: {}", path.display(), line.trim()),
        None => Ok(()),
    }
}

fn npm(arguments: &[&str]) -> Result<()> {
    run(Command::new("npm").args(arguments).current_dir(folder()))
}

/// Every file below `folder`, by its name in it.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        let entries = fs::read_dir(&next).with_context(|| format!("read {}", next.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let name = path.strip_prefix(folder).unwrap_or(&path).to_path_buf();
            found.insert(name, bytes);
        }
    }
    Ok(found)
}
