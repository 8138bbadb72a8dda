//! `cargo xtask outputs`: what Thymus tells others, taken by the programs that others use. The demo in every format goes
//! to the validators of OASIS, OCSF and MITRE (PyPI), metrics, rules and dashboard to promtool, and a journal is told
//! to rsyslog over TCP and TLS and to a mail server that wants STARTTLS and a password (aiosmtpd).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::steps::{cargo_command, python, root, run, target};

const PACKAGES: [&str; 5] = [
    "aiosmtpd==1.4.6",
    "jsonschema==4.26.0",
    "mitreattack-python==6.3.1",
    "ocsf-json-schema==1.2.0",
    "stix2-validator==3.3.2",
];
/// Debian's, by the program that is needed of each.
const PROGRAMS: [(&str, &str); 3] = [
    ("/usr/sbin/rsyslogd", "rsyslog"),
    (
        "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so",
        "rsyslog-gnutls",
    ),
    ("/usr/bin/promtool", "prometheus"),
];

pub(crate) fn all() -> Result<()> {
    for (program, package) in PROGRAMS {
        have(program, package)?;
    }
    let build = |what: &[&str]| run(&mut cargo_command(&[&["build", "--locked"], what].concat()));
    build(&["--package", "thymus-app", "--bin", "thymus"])?;
    build(&["--package", "thymus-store", "--example", "fill_journal"])?;
    let folder = target().join("outputs");
    let python = python(&folder, &PACKAGES)?;
    let work = folder.join("work");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    }
    fs::create_dir_all(&work).with_context(|| format!("make {}", work.display()))?;
    samples(&work)?;
    let script = root().join("crates/outputs/tests/clients.py");
    run(Command::new(&python)
        .arg(script)
        .arg(&work)
        .env("THYMUS", debug("thymus"))
        .env("THYMUS_FILL", debug("examples/fill_journal"))
        .env("THYMUS_PACKAGING", root().join("packaging"))
        .current_dir(&work))
    .context("what is wrong is above")
}

fn have(program: &str, package: &str) -> Result<()> {
    if Path::new(program).exists() {
        return Ok(());
    }
    println!("installing {package}: what is told goes to it");
    run(Command::new("apt-get").args([
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        package,
    ]))
    .with_context(|| format!("install {package} yourself"))
}

/// The demo, as it is and in every format.
fn samples(work: &Path) -> Result<()> {
    let report = work.join("report.json");
    // It ends with 1, as there is something to show.
    let status = Command::new(debug("thymus"))
        .args(["demo", "--json"])
        .stdout(File::create(&report).with_context(|| format!("write {}", report.display()))?)
        .status()
        .context("start thymus demo")?;
    if status.code() != Some(1) {
        bail!("thymus demo ended with {status}");
    }
    let report = fs::read(&report).context("read the demo")?;
    for format in ["cef", "ecs", "json", "navigator", "ocsf", "stix", "syslog"] {
        let out = work.join(format!("demo.{format}"));
        let mut child = Command::new(debug("thymus"))
            .args(["export", "--alerts", "--format", format, "-"])
            .stdin(Stdio::piped())
            .stdout(File::create(&out).with_context(|| format!("write {}", out.display()))?)
            .spawn()
            .context("start thymus export")?;
        let mut input = child.stdin.take().context("write the demo")?;
        input.write_all(&report).context("write the demo")?;
        drop(input);
        let status = child.wait().context("wait for thymus export")?;
        if !status.success() {
            bail!("thymus export --format {format} ended with {status}");
        }
    }
    Ok(())
}

fn debug(name: &str) -> PathBuf {
    target().join("debug").join(name)
}
