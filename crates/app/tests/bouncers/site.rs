//! What bouncers ask: an enforcer and a console on a folder of their own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A policy that leaves it to bouncers.
pub(crate) const POLICY: &str = "mode = 'simulate'\nresponders = ['bouncers']\n";

pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_thymus"))
}

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _is_killed = self.0.kill().is_ok();
        let _is_over = self.0.wait().is_ok();
    }
}

/// An enforcer that leaves it to bouncers, and a console that they ask.
pub(crate) struct Site {
    pub(crate) state: tempfile::TempDir,
    pub(crate) enforcer: Option<Running>,
    pub(crate) console: Option<Running>,
    pub(crate) url: String,
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::with(POLICY)
    }

    pub(crate) fn with(policy: &str) -> Self {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("policy.toml"), policy).unwrap();
        let mut site = Self {
            state,
            enforcer: None,
            console: None,
            url: String::new(),
        };
        site.enforce();
        site.serve("127.0.0.1:0");
        site
    }

    pub(crate) fn enforce(&mut self) {
        // One that was killed left its socket.
        let _was_there = std::fs::remove_file(self.state.path().join("response/control")).is_ok();
        let child = Command::new(program())
            .args(["enforce", "--state"])
            .arg(self.state.path())
            .arg("--policy")
            .arg(self.state.path().join("policy.toml"))
            .spawn()
            .unwrap();
        self.enforcer = Some(Running(child));
        let control = self.state.path().join("response/control");
        let never = self.state.path().join("response/never.json");
        eventually("the enforcer listens", || {
            control.exists() && never.exists()
        });
    }

    pub(crate) fn serve(&mut self, listen: &str) {
        let mut child = Command::new(program())
            .args(["console", "--listen", listen, "--state"])
            .arg(self.state.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        self.console = Some(Running(child));
        let mut said = said.lines();
        let line = said.next().unwrap().unwrap();
        // What else it says is read, too, or it could not say it.
        thread::spawn(move || said.count());
        let (_, url) = line.split_once("the console is at ").unwrap();
        url.clone_into(&mut self.url);
    }

    pub(crate) fn thymus(&self, arguments: &[&str]) -> String {
        let output = Command::new(program())
            .args(arguments)
            .arg("--state")
            .arg(self.state.path())
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {err}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn key(&self, name: &str) -> String {
        self.thymus(&["bouncer", "add", name]).trim().to_owned()
    }

    /// Bans an address from outside by hand; the number of the decision.
    pub(crate) fn ban(&self, address: &str) -> String {
        let arguments = ["contain", address, "--verb", "block_destination", "--json"];
        let said: Value = serde_json::from_str(&self.thymus(&arguments)).unwrap();
        said["id"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn eventually(what: &str, is: impl Fn() -> bool) {
    for _ in 0..300 {
        if is() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("not within thirty seconds: {what}");
}
