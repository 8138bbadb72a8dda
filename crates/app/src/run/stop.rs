//! When a live run ends: at a signal (SIGINT, SIGTERM, SIGHUP) or after a time. A second signal ends the
//! process at once, as it would without us.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::replay::now;

/// Whether it is time to end.
#[derive(Debug)]
pub(super) struct Stop {
    asked: Arc<AtomicBool>,
    at: Option<Instant>,
}

impl Stop {
    /// Takes the signals from this thread and those it starts later.
    pub(super) fn listen(after: Option<Duration>) -> Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block().context("cannot wait for signals")?;
        let asked = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&asked);
        thread::spawn(move || {
            let came = signals.wait().is_ok();
            theirs.store(came, Ordering::Relaxed);
            // What comes now has its usual effect.
            let _is_unblocked = signals.thread_unblock().is_ok();
            loop {
                thread::park();
            }
        });
        Ok(Self {
            asked,
            at: after.and_then(|after| now().checked_add(after)),
        })
    }

    /// Whether it is time.
    pub(super) fn is_due(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.at.is_some_and(|at| now() >= at)
    }
}
