//! The steps that call other programs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::counts::Counts;

/// A step's name and what it runs.
type Step = (&'static str, fn() -> Result<()>);

const DENY_VERSION: &str = "0.20.2";

/// All of CI.
pub(crate) fn ci() -> Result<()> {
    let steps: [Step; 8] = [
        ("fmt", fmt),
        ("tidy", crate::tidy::run),
        ("pages", || crate::pages::run(false)),
        ("clippy", clippy),
        ("doc", doc),
        ("deny", deny),
        ("fuzz-build", fuzz_build),
        // Last, so that the run closes with the counts.
        ("test", test),
    ];
    for (name, step) in steps {
        println!("== {name}");
        step().with_context(|| format!("step {name}"))?;
    }
    Ok(())
}

/// A Python with packages from PyPI, in an environment of its own below `folder`.
pub(crate) fn python(folder: &Path, packages: &[&str]) -> Result<PathBuf> {
    let python = folder.join("venv/bin/python");
    if !python.exists() {
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(folder.join("venv")))
        .context("Debian has it in python3-venv")?;
    }
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet"])
        .args(packages))?;
    Ok(python)
}

pub(crate) fn fmt() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])
}

pub(crate) fn clippy() -> Result<()> {
    cargo(&[
        "clippy",
        "--workspace",
        "--exclude",
        "thymus-yara",
        "--all-targets",
        // It is no test of `ci`, so not among all targets.
        "--test",
        "firewall_bouncer",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])
}

/// All tests but those of [`yara`], then the counts of all test programs together.
pub(crate) fn test() -> Result<()> {
    have_programs()?;
    tested(&[
        "test",
        "--workspace",
        "--exclude",
        "thymus-yara",
        "--locked",
        "--no-fail-fast",
    ])
}

/// YARA rules: lints and tests of the crate and of the program with the feature. What they build on takes
/// minutes, so they are no part of [`ci`].
pub(crate) fn yara() -> Result<()> {
    let what = ["--package", "thymus-yara", "--package", "thymus-app"];
    let with = ["--features", "thymus-app/yara", "--locked"];
    let lint = [
        &["clippy"],
        &what[..],
        &with,
        &["--all-targets", "--", "-D", "warnings"],
    ];
    cargo(&lint.concat())?;
    let test = [&["test"], &what[..], &with, &["--no-fail-fast"]];
    tested(&test.concat())
}

fn tested(arguments: &[&str]) -> Result<()> {
    let mut command = cargo_command(arguments);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let mut counts = Counts::default();
    for line in child
        .stdout
        .take()
        .into_iter()
        .map(BufReader::new)
        .flat_map(BufRead::lines)
    {
        let line = line.context("read what the tests print")?;
        println!("{line}");
        counts.add(&line);
    }
    let status = child.wait().context("wait for the tests")?;
    println!("== {counts}");
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

pub(crate) fn doc() -> Result<()> {
    let mut command = cargo_command(&[
        "doc",
        "--workspace",
        "--exclude",
        "thymus-yara",
        "--no-deps",
        "--locked",
    ]);
    run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Licences, bans and sources. Advisories need a database that is cloned over the network, so they
/// are a lane of their own: `cargo deny check advisories`.
pub(crate) fn deny() -> Result<()> {
    let is_installed = Command::new("cargo-deny")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !is_installed {
        println!("installing cargo-deny {DENY_VERSION}");
        cargo(&[
            "install",
            "--quiet",
            "--locked",
            "cargo-deny",
            "--version",
            DENY_VERSION,
        ])?;
    }
    // The licences of crates that other platforms need are read too, so all sources must be there.
    cargo(&["fetch", "--quiet", "--locked"])?;
    cargo(&[
        "deny",
        "--workspace",
        "--offline",
        "check",
        "licenses",
        "bans",
        "sources",
    ])
}

/// What tests are made with: the collector with what others export, against what others make of it; packets
/// that were kept with who reads captures; files on their way with those who serve and fetch them; what is cut
/// with the kernel's packet filter.
fn have_programs() -> Result<()> {
    const PACKAGES: [(&str, &str); 12] = [
        ("softflowd", "softflowd"),
        ("nfdump", "nfcapd"),
        ("nfdump-sflow", "sfcapd"),
        ("pmacct", "pmacctd"),
        ("tcpdump", "tcpdump"),
        ("samba", "smbd"),
        ("smbclient", "smbclient"),
        ("vsftpd", "vsftpd"),
        ("lighttpd", "lighttpd"),
        ("exim4-daemon-light", "exim4"),
        ("curl", "curl"),
        ("nftables", "nft"),
    ];
    const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];
    let is_there = |program: &str| {
        let mut folders = FOLDERS.iter();
        folders.any(|folder| Path::new(folder).join(program).exists())
    };
    let missing = PACKAGES.iter().filter(|(_, program)| !is_there(program));
    let missing: Vec<&str> = missing.map(|(package, _)| *package).collect();
    install(&missing)
}

/// Installs packages of Debian; where their list is missing or old, after asking for a new one.
fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    println!("installing {}", packages.join(", "));
    let options = ["install", "--yes", "--quiet", "--no-install-recommends"];
    let once = || run(Command::new("apt-get").args(options).args(packages));
    let installed = once().or_else(|_| {
        run(Command::new("apt-get").args(["update", "--quiet"]))?;
        once()
    });
    installed.with_context(|| format!("install {} yourself", packages.join(", ")))
}

/// The fuzzer's runtime is C++; the product itself needs none.
pub(crate) fn have_cpp_compiler() -> Result<()> {
    let starts = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    let named = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if starts(&named) {
        return Ok(());
    }
    install(&["g++"]).context("the fuzzer's runtime needs a C++ compiler")
}

pub(crate) fn fuzz_build() -> Result<()> {
    have_cpp_compiler()?;
    let mut command = cargo_command(&["build", "--quiet", "--bins", "--locked"]);
    // Shares the workspace's target folder, so dependencies are not kept twice.
    run(command
        .current_dir(root().join("fuzz"))
        .env("CARGO_TARGET_DIR", fuzz_target()))
}

pub(crate) fn fuzz_target() -> PathBuf {
    target().join("fuzz")
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The workspace root.
pub(crate) fn root() -> PathBuf {
    // At run time first: a target folder that several checkouts share holds the program of one of them.
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().unwrap_or(&here).to_path_buf()
}

fn cargo(arguments: &[&str]) -> Result<()> {
    run(&mut cargo_command(arguments))
}

pub(crate) fn cargo_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
