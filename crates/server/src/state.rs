//! What handlers share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;
use serde_json::Value;
use thymus_schema::Timestamp;
use thymus_store::database::{Ban, SessionLimits};
use thymus_store::{ArchiveReader, Database};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::hub::Hub;
use crate::limiter::Limiter;
use crate::response::{
    ApprovalLink, DecisionFilter, DecisionView, ResponseAsk, ResponseError, ResponseView,
};
use crate::veil::Veil;

/// Passwords that are hashed at the same time: each takes 19 MiB.
const HASHES_MAX: usize = 2;
/// Queries over events at the same time.
const QUERIES_MAX: usize = 2;
/// Live views at the same time.
pub(crate) const STREAMS_MAX: usize = 128;

/// Why the program around the server could not help.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct HostError(pub String);

/// How much of the disk is used, and by what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Storage {
    /// The database.
    pub db_bytes: u64,
    /// Events.
    pub events_bytes: u64,
    /// Raw packets.
    pub packets_bytes: u64,
    /// What events may take.
    pub limit_bytes: u64,
    /// The oldest event that is kept.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_event: Option<Timestamp>,
    /// Why something is not kept now, where that is so.
    pub trouble: Option<String>,
}

/// Raw packets of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packets {
    /// A capture file.
    File(Vec<u8>),
    /// None are kept, and why.
    None(String),
}

/// What bouncers are told to ban.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bans {
    /// Addresses and networks, those that hold now.
    pub bans: Vec<Ban>,
    /// Decisions that hold and that a ban of an address cannot say, or not all of it.
    pub not_expressible: u64,
    /// Bans that are left out because they are about what is never acted upon.
    pub withheld: u64,
    /// Why nothing is told at all, where that is so.
    pub trouble: Option<String>,
}

/// Something that happens now and then.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<Timestamp>>);

impl Seldom {
    /// Whether it may happen again, which it then has.
    pub(crate) fn is_time(&self, now: Timestamp, every: std::time::Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back is no reason to wait for it.
        let is_time = last.is_none_or(|last| now < last || now.since(last) >= every);
        if is_time {
            *last = Some(now);
        }
        is_time
    }
}

/// What the database knows for metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// The latest status of the run.
    pub status: Value,
    /// Open incidents that are shown, by confidence.
    pub incidents_open: BTreeMap<String, u64>,
    /// Bytes of the database.
    pub db_bytes: u64,
}

/// What the server needs of the program around it.
pub trait Host: Send + Sync {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Events that are kept: of the demo or of this site.
    fn events(&self, of_demo: bool) -> ArchiveReader;

    /// How much of the disk is used.
    fn storage(&self) -> Storage;

    /// What drills said last, of the demo or of this site; `null` before the first.
    fn drill(&self, of_demo: bool) -> Value;

    /// How the program stands, in the text format of Prometheus.
    fn metrics(&self, standing: &Metrics) -> String;

    /// What bouncers are told to ban, of this site.
    ///
    /// # Errors
    /// When the decisions cannot be read.
    fn bans(&self) -> Result<Bans, HostError>;

    /// Makes the demo: a database of its own, filled.
    ///
    /// # Errors
    /// When that did not work.
    fn load_demo(&self) -> Result<Database, HostError>;

    /// The demo that was loaded when the console last ended.
    fn kept_demo(&self) -> Option<Database>;

    /// Takes the demo's files away.
    ///
    /// # Errors
    /// When that did not work.
    fn unload_demo(&self) -> Result<(), HostError>;

    /// Decisions about incidents, the newest first, and how many there are in all. They are those of this site, also
    /// while the demo is shown: what holds is never out of sight.
    ///
    /// # Errors
    /// When they cannot be read.
    fn decisions(&self, filter: &DecisionFilter)
    -> Result<(Vec<DecisionView>, u64), ResponseError>;

    /// How the response stands.
    ///
    /// # Errors
    /// When the decisions cannot be read; an enforcer that does not answer is none.
    fn response(&self) -> Result<ResponseView, ResponseError>;

    /// Does what `by` asks for.
    ///
    /// # Errors
    /// When it was not done, and why.
    fn respond(&self, ask: &ResponseAsk, by: &str) -> Result<(), ResponseError>;

    /// The link that was given out with this secret.
    fn link(&self, token: &str) -> Option<ApprovalLink>;

    /// The raw packets of an incident, behind which these `events` are.
    ///
    /// # Errors
    /// When they cannot be read.
    fn packets(&self, incident: &Value, events: &[Value]) -> Result<Packets, HostError>;
}

/// What handlers share.
pub(crate) struct App {
    pub(crate) main: Arc<Database>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) hub: Hub,
    pub(crate) limiter: Limiter,
    pub(crate) sessions: SessionLimits,
    pub(crate) hashes: Semaphore,
    pub(crate) queries: Semaphore,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) is_tls: bool,
    pub(crate) hosts: Vec<String>,
    pub(crate) strangers: Seldom,
    pub(crate) demo_lock: tokio::sync::Mutex<()>,
    demo: RwLock<Option<Arc<Database>>>,
    veil: Mutex<Option<Arc<Veil>>>,
}

impl App {
    pub(crate) fn new(
        main: Arc<Database>,
        host: Arc<dyn Host>,
        hub: Hub,
        is_tls: bool,
        hosts: Vec<String>,
    ) -> Self {
        let demo = host.kept_demo().map(Arc::new);
        Self {
            main,
            host,
            hub,
            limiter: Limiter::default(),
            sessions: SessionLimits::default(),
            hashes: Semaphore::new(HASHES_MAX),
            queries: Semaphore::new(QUERIES_MAX),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            is_tls,
            hosts,
            strangers: Seldom::default(),
            demo_lock: tokio::sync::Mutex::new(()),
            demo: RwLock::new(demo),
            veil: Mutex::new(None),
        }
    }

    /// What was found: the demo's while it is loaded.
    pub(crate) fn evidence(&self) -> Arc<Database> {
        self.demo().unwrap_or_else(|| Arc::clone(&self.main))
    }

    pub(crate) fn demo(&self) -> Option<Arc<Database>> {
        self.demo
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_demo(&self, demo: Option<Arc<Database>>) {
        *self.demo.write().unwrap_or_else(PoisonError::into_inner) = demo;
        self.forget_veil();
    }

    /// The pseudonyms, with the names that are known now.
    pub(crate) fn veil(&self) -> Result<Arc<Veil>, ApiError> {
        let now = self.host.now();
        let kept = self.lock_veil().clone();
        if let Some(veil) = kept.filter(|veil| veil.is_fresh(now)) {
            return Ok(veil);
        }
        let key = self.main.pseudonym_key()?;
        let veil = Arc::new(Veil::new(key, &self.evidence().identities()?, now));
        *self.lock_veil() = Some(Arc::clone(&veil));
        Ok(veil)
    }

    pub(crate) fn forget_veil(&self) {
        *self.lock_veil() = None;
    }

    fn lock_veil(&self) -> std::sync::MutexGuard<'_, Option<Arc<Veil>>> {
        self.veil.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what waits for the disk where it holds up nobody.
    pub(crate) async fn wait<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let app = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&app))
            .await
            .map_err(|_| ApiError::internal())?
    }
}
