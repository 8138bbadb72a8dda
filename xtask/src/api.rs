//! `cargo xtask api`: schemathesis (PyPI) asks a real console, filled with the demo, for everything that the
//! document says it answers and for much that it should refuse, once as an admin and once as a stranger.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::steps::{cargo_command, python, root, run, target};

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

pub(crate) fn all() -> Result<()> {
    run(&mut cargo_command(&[
        "build",
        "--locked",
        "--package",
        "thymus-app",
        "--bin",
        "thymus",
    ]))?;
    let folder = target().join("api");
    let python = python(&folder, &[SCHEMATHESIS])?;
    let console = Console::start(&folder)?;
    let asked = [("an admin", console.token.as_str()), ("a stranger", "")];
    for (who, token) in asked {
        println!("== as {who}");
        console.ask(&python, token)?;
    }
    Ok(())
}

/// A console with the demo, in a fresh folder; it ends with this.
struct Console {
    child: Child,
    url: String,
    token: String,
    /// An incident of the demo.
    incident: String,
}

impl Console {
    fn start(folder: &Path) -> Result<Self> {
        let state = folder.join("state");
        if state.exists() {
            fs::remove_dir_all(&state).with_context(|| format!("remove {}", state.display()))?;
        }
        fs::create_dir_all(&state).with_context(|| format!("make {}", state.display()))?;
        account(
            &state,
            &["user", "add", "admin", "--role", "admin"],
            "a long password\n",
        )?;
        let token = account(&state, &["token", "add", "api", "--role", "admin"], "")?;
        let mut child = Command::new(thymus())
            .args(["console", "--listen", "127.0.0.1:0", "--state"])
            .arg(&state)
            .stdout(Stdio::piped())
            .spawn()
            .context("start the console")?;
        let mut line = String::new();
        let out = child.stdout.as_mut().context("read what it prints")?;
        BufReader::new(out)
            .read_line(&mut line)
            .context("read what it prints")?;
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        let mut console = Self {
            incident: String::new(),
            url: url.unwrap_or_default().to_owned(),
            child,
            token,
        };
        console
            .curl(&["--request", "POST"], "demo")
            .context("load the demo")?;
        let incidents: Value = serde_json::from_str(&console.curl(&[], "incidents")?)?;
        let incident = incidents["items"][0]["id"].as_str();
        incident
            .context("the demo has no incident")?
            .clone_into(&mut console.incident);
        Ok(console)
    }

    /// What the admin is answered.
    fn curl(&self, arguments: &[&str], path: &str) -> Result<String> {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail"])
            .args(["--header", &format!("Authorization: Bearer {}", self.token)])
            .args(arguments)
            .arg(format!("{}/api/v1/{path}", self.url))
            .stderr(Stdio::inherit())
            .output()
            .context("start curl")?;
        if !output.status.success() {
            bail!("curl {path} ended with {}", output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Live events never end, so they are no route for it; tests of the server's own look at them. It asks no
    /// faster than the console lets one address ask.
    fn ask(&self, python: &Path, token: &str) -> Result<()> {
        let examples = std::env::var("THYMUS_API_EXAMPLES");
        run(Command::new(python)
            .args([
                "-c",
                "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())",
            ])
            .arg("--config-file")
            .arg(root().join("crates/server/tests/schemathesis.toml"))
            .args(["run", "--checks", "all", "--rate-limit", "90/s"])
            .args([
                "--exclude-path",
                "/api/v1/stream",
                "--generation-deterministic",
            ])
            .args(["--max-examples", examples.as_deref().unwrap_or("50")])
            .args(["--request-timeout", "60"])
            .arg(format!("{}/api/v1/openapi.json", self.url))
            .env("THYMUS_TOKEN", token)
            .env("THYMUS_INCIDENT", &self.incident)
            .current_dir(target().join("api")))
        .context("what it found is above")
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _is_ended = self.child.kill().and_then(|()| self.child.wait()).is_ok();
    }
}

fn thymus() -> PathBuf {
    target().join("debug/thymus")
}

fn account(state: &Path, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(thymus())
        .args(arguments)
        .arg("--state")
        .arg(state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("thymus {arguments:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("thymus {arguments:?} ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
