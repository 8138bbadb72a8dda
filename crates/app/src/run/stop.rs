//! When a process of a live run ends: at SIGINT, SIGTERM or SIGHUP. Who does not want to wait asks the
//! supervisor a second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

/// Whether it is time to end.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
}

impl Stop {
    /// Takes the signals from this thread and those it starts later.
    pub(crate) fn listen() -> Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block().context("cannot wait for signals")?;
        let asked = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&asked);
        thread::spawn(move || {
            while signals.wait().is_ok() {
                theirs.store(true, Ordering::Relaxed);
            }
        });
        Ok(Self { asked })
    }

    /// Whether it is time.
    pub(crate) fn is_due(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
