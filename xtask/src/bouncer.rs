//! `cargo xtask bouncer`: Debian's crowdsec-firewall-bouncer asks a real console, in a network namespace of its own. The
//! package is unpacked below `target`, not installed: its service would be started on this machine.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::steps::{cargo_command, run, target};

const PACKAGE: &str = "crowdsec-firewall-bouncer";

pub(crate) fn all() -> Result<()> {
    let folder = target().join("bouncer");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let program = folder.join("usr/bin").join(PACKAGE);
    if !program.exists() {
        println!("unpacking {PACKAGE}: it is the client");
        run(Command::new("apt-get")
            .args(["download", "--quiet", PACKAGE])
            .current_dir(&folder))
        .with_context(|| format!("put {PACKAGE} at {} yourself", program.display()))?;
        let entries = fs::read_dir(&folder).context("look for the package")?;
        let package = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|ending| ending == "deb"));
        let Some(package) = package else {
            bail!("apt-get left no package in {}", folder.display());
        };
        run(Command::new("dpkg").arg("-x").arg(package).arg(&folder))?;
    }
    let test = ["--package", "thymus-app", "--test", "firewall_bouncer"];
    let arguments = [&["test", "--locked"], &test[..], &["--", "--nocapture"]].concat();
    run(cargo_command(&arguments).env("THYMUS_BOUNCER", &program))
}
