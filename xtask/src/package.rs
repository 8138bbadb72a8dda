//! The Debian package: built, installed into a folder of its own, tried, removed and purged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::steps::{cargo_command, root, run};

const CARGO_DEB_VERSION: &str = "3.8.0";
/// What the package brings, from the root.
const FILES: [&str; 4] = [
    "usr/bin/thymus",
    "lib/systemd/system/thymus@.service",
    "etc/default/thymus",
    "etc/thymus/thymus.toml",
];

/// Builds the package, then installs, tries, removes and purges it, in a root of its own: nothing of this
/// machine is touched but the target folder.
pub(crate) fn deb() -> Result<()> {
    have_cargo_deb()?;
    let package = build()?;
    println!("== {}", package.display());
    let room = root().join("target").join("deb-root");
    if room.exists() {
        fs::remove_dir_all(&room).context("empty the folder to install into")?;
    }
    fs::create_dir_all(room.join("var/lib/dpkg/info"))?;
    fs::create_dir_all(room.join("var/lib/dpkg/updates"))?;
    fs::write(room.join("var/lib/dpkg/status"), "")?;
    dpkg(&room, &["--install".as_ref(), package.as_os_str()])?;
    for file in FILES {
        ensure!(
            room.join(file).is_file(),
            "the package does not bring {file}"
        );
    }
    let said = Command::new(room.join(FILES[0]))
        .args(["demo", "--quiet"])
        .output()
        .context("start the installed program")?;
    ensure!(
        said.status.code() == Some(1),
        "the installed program did not tell its story: {}",
        String::from_utf8_lossy(&said.stderr)
    );
    let learned = room.join("var/lib/thymus/eth0/state.thymus");
    fs::create_dir_all(learned.parent().unwrap_or(&room))?;
    fs::write(&learned, "what was learned")?;
    dpkg(&room, &["--remove".as_ref(), "thymus".as_ref()])?;
    ensure!(
        !room.join(FILES[0]).exists(),
        "removed, and the program is still there"
    );
    ensure!(learned.exists(), "removing took away what was learned");
    dpkg(&room, &["--purge".as_ref(), "thymus".as_ref()])?;
    for file in ["etc/default/thymus", "var/lib/thymus"] {
        ensure!(
            !room.join(file).exists(),
            "purged, and {file} is still there"
        );
    }
    println!("== installed, tried, removed, purged");
    Ok(())
}

fn have_cargo_deb() -> Result<()> {
    let is_installed = Command::new("cargo-deb")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if is_installed {
        return Ok(());
    }
    println!("installing cargo-deb {CARGO_DEB_VERSION}");
    let what = ["cargo-deb", "--version", CARGO_DEB_VERSION];
    run(cargo_command(&["install", "--quiet", "--locked"]).args(what))
}

/// Builds it and gives its path.
fn build() -> Result<PathBuf> {
    let mut command = cargo_command(&[
        "deb",
        "--package",
        "thymus-app",
        "--profile",
        "dist",
        "--locked",
    ]);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let path = said
        .lines()
        .rev()
        .find(|line| Path::new(line).extension().is_some_and(|end| end == "deb"));
    Ok(PathBuf::from(path.context("cargo deb names no package")?))
}

fn dpkg(room: &Path, arguments: &[&std::ffi::OsStr]) -> Result<()> {
    let mut command = Command::new("dpkg");
    command.arg(format!("--root={}", room.display()));
    command.args([
        "--force-script-chrootless",
        "--force-depends",
        "--force-not-root",
    ]);
    run(command.args(arguments))
}
