//! What the server needs of this program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use thymus_outputs::metrics;
use thymus_schema::Timestamp;
use thymus_server::{
    ApprovalLink, Bans, DecisionFilter, DecisionView, Host, HostError, Metrics, Packets,
    ResponseAsk, ResponseError, ResponseView, Storage,
};
use thymus_store::{Archive, ArchiveLimits, ArchiveReader, ArchiveStatus, Database};

use super::response::Response;
use super::{demo, now};
use crate::drill::kept;
use crate::packets::{self, SLICE_BYTES_MAX, Wanted};
use crate::replay;
use crate::respond;
use crate::tell;

/// How long putting packets together may take.
const SLICE_TIME: Duration = Duration::from_secs(20);

/// The folder that is served, and how its keeping stands.
pub(super) struct Site {
    state: PathBuf,
    limits: ArchiveLimits,
    response: Response,
    standing: Mutex<Standing>,
    decisions: respond::Reader,
}

/// How the keeping stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) archive: ArchiveStatus,
    pub(super) trouble: Option<String>,
}

impl Site {
    /// Serves `state`, where events are kept within `limits`.
    pub(super) fn new(state: &Path, limits: ArchiveLimits, response: Response) -> Self {
        Self {
            state: state.to_path_buf(),
            limits,
            response,
            standing: Mutex::new(Standing::default()),
            decisions: respond::Reader::new(state),
        }
    }

    pub(super) fn limits(&self) -> ArchiveLimits {
        self.limits.clone()
    }

    /// The state folder, or what is laid out like it for the demo.
    fn folder(&self, of_demo: bool) -> PathBuf {
        if of_demo {
            return demo::folder(&self.state);
        }
        self.state.clone()
    }

    pub(super) fn set(&self, standing: Standing) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }
}

impl Host for Site {
    fn now(&self) -> Timestamp {
        now()
    }

    fn events(&self, of_demo: bool) -> ArchiveReader {
        ArchiveReader::new(&Archive::folder(&self.folder(of_demo)))
    }

    fn drill(&self, of_demo: bool) -> Value {
        kept::last(&self.folder(of_demo))
    }

    fn storage(&self) -> Storage {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let archive = &standing.archive;
        Storage {
            db_bytes: 0,
            events_bytes: archive.bytes,
            packets_bytes: bytes_in(&packets::folder(&self.state)),
            limit_bytes: self.limits.bytes_max,
            oldest_event: archive.oldest,
            trouble: standing.trouble.clone().or(archive.shedding.clone()),
        }
    }

    fn metrics(&self, known: &Metrics) -> String {
        let disk = self.storage();
        metrics::text(&metrics::Standing {
            status: known.status.clone(),
            incidents_open: known.incidents_open.clone(),
            storage: BTreeMap::from([
                ("database", known.db_bytes),
                ("events", disk.events_bytes),
                ("packets", disk.packets_bytes),
            ]),
            is_keeping: disk.trouble.is_none(),
            outputs: tell::health(&self.state).unwrap_or_default(),
            now: now(),
        })
    }

    fn decisions(
        &self,
        filter: &DecisionFilter,
    ) -> Result<(Vec<DecisionView>, u64), ResponseError> {
        self.response.decisions(filter)
    }

    fn response(&self) -> Result<ResponseView, ResponseError> {
        self.response.response()
    }

    fn respond(&self, ask: &ResponseAsk, by: &str) -> Result<(), ResponseError> {
        self.response.respond(ask, by)
    }

    fn link(&self, token: &str) -> Option<ApprovalLink> {
        let (digest, link) = tell::link(&self.state, token)?;
        Some(ApprovalLink {
            decision: link.decision,
            until: link.until,
            digest,
        })
    }

    fn packets(&self, incident: &Value, events: &[Value]) -> Result<Packets, HostError> {
        let began = replay::now();
        let is_late = || began.elapsed() > SLICE_TIME;
        let wanted = Wanted::of_incident(incident, events);
        let slice = packets::slice(&self.state, &wanted, SLICE_BYTES_MAX, &is_late);
        let slice = slice.map_err(|error| HostError(format!("{error:#}")))?;
        Ok(match slice.packets {
            0 => Packets::None(slice.remark),
            _ => Packets::File(slice.file),
        })
    }

    fn bans(&self) -> Result<Bans, HostError> {
        respond::bans(&self.state, &self.decisions, now())
            .map_err(|error| HostError(format!("{error:#}")))
    }

    fn load_demo(&self) -> Result<Database, HostError> {
        demo::load(&self.state).map_err(|error| HostError(format!("{error:#}")))
    }

    fn kept_demo(&self) -> Option<Database> {
        let kept = demo::kept(&self.state).unwrap_or_else(|error| {
            eprintln!(
                "thymus: the demo is not there any more ({error:#}); load it again in the console"
            );
            None
        })?;
        eprintln!(
            "thymus: the demo data set is still loaded; what was found here is shown when it is removed"
        );
        Some(kept)
    }

    fn unload_demo(&self) -> Result<(), HostError> {
        demo::unload(&self.state).map_err(|error| HostError(format!("{error:#}")))
    }
}

fn bytes_in(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum()
}
