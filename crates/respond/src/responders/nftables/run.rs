//! Running `nft`.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::NFT;
use crate::responder::ResponderError;

/// It answers in milliseconds, or somebody holds the kernel's lock.
const PATIENCE: Duration = Duration::from_secs(20);
const ANSWER_MAX: u64 = 64 << 20;
const SAID_MAX: usize = 600;
const REMEDY: &str = "install nftables, or choose another responder";

/// What nft answers to a script.
pub(super) fn nft(args: &[&str], script: &str) -> Result<Vec<u8>, ResponderError> {
    let missing = |source| ResponderError::Missing {
        tool: NFT,
        source,
        remedy: REMEDY,
    };
    let mut child = Command::new(NFT)
        .args(args)
        .env("LC_ALL", "C")
        .env(
            "PATH",
            "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin",
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(missing)?;
    let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let script = script.as_bytes().to_vec();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            // One that ends early says why.
            let _is_written = stdin.write_all(&script).is_ok();
        }
    });
    let said = thread::spawn(move || read(err));
    thread::spawn(move || sender.send(read(out)));
    let Ok(answer) = receiver.recv_timeout(PATIENCE) else {
        let _is_ended = child.kill().and_then(|()| child.wait()).is_ok();
        return Err(refused("it did not answer in time"));
    };
    let status = child.wait().map_err(missing)?;
    let said = said.join().ok().and_then(Result::ok).unwrap_or_default();
    if !status.success() {
        return Err(refused(&String::from_utf8_lossy(&said)));
    }
    answer.map_err(missing)
}

fn read(from: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(ANSWER_MAX).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn refused(said: &str) -> ResponderError {
    let said = said.trim();
    ResponderError::Refused {
        tool: NFT,
        said: said.chars().take(SAID_MAX).collect(),
    }
}
