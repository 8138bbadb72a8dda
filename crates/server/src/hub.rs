//! What happens, for those who watch live.

use serde_json::Value;
use tokio::sync::{broadcast, watch};

/// Messages that a slow watcher may be behind, before it is told to look at everything again.
const BEHIND_MAX: usize = 256;

/// Passes on what happens.
#[derive(Clone, Debug)]
pub struct Hub {
    messages: broadcast::Sender<(&'static str, Value)>,
    over: watch::Sender<bool>,
    access: watch::Sender<()>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            messages: broadcast::Sender::new(BEHIND_MAX),
            over: watch::Sender::new(false),
            access: watch::Sender::new(()),
        }
    }
}

impl Hub {
    /// Tells everybody who watches: `incident`, `status` or `changed`, with its object.
    pub fn tell(&self, what: &'static str, object: Value) {
        // Nobody may be watching.
        let _watchers = self.messages.send((what, object));
    }

    /// Ends all that watch.
    pub fn close(&self) {
        self.over.send_replace(true);
    }

    /// Says that somebody may no longer be who they were: live views look at their session again.
    pub(crate) fn access_changed(&self) {
        self.access.send_replace(());
    }

    pub(crate) fn access(&self) -> watch::Receiver<()> {
        self.access.subscribe()
    }

    pub(crate) fn watch(&self) -> broadcast::Receiver<(&'static str, Value)> {
        self.messages.subscribe()
    }

    pub(crate) fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }
}
