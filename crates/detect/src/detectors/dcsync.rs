//! # DCSync
//!
//! ## What it flags
//! A device that is no domain controller and asks one to replicate the directory.
//!
//! ## Why it matters
//! Replication hands over the secrets of every account. Whoever may ask for it owns the domain.
//!
//! ## How it scores
//! Domain controllers are recognised by what they answer (Kerberos, directory, netlogon). A request
//! for changes from anyone else starts at a score that no ordinary hour reaches, a little more when
//! the device has been watched long enough to be sure and when the usual preparation (looking up
//! the account, asking about controllers) came before it. Whoever did so on earlier days is a
//! synchronisation service and scores less.
//!
//! ## Evidence
//! The controller that was asked, the number of requests; the calls' events.
//!
//! ## What would have been normal
//! Replication between domain controllers.
//!
//! ## Known false alarms
//! Directory synchronisation with a cloud, directory backup and audit products when they are new, a
//! new controller before its first client.
//!
//! ## ATT&CK
//! T1003.006 OS Credential Dumping: DCSync.
//!
//! ## Sources
//! MS-DRSR, 4.1.10 (IDL_DRSGetNCChanges).

use thymus_schema::{
    Event, EventBody, PeerRole, Phase, SnapshotError, SnapshotReader, SnapshotWriter, Statement,
    Technique, Value,
};

use crate::controllers::Controllers;
use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::rpc::{Interface, is_operation};
use crate::table::Table;
use crate::window::Hourly;

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "dcsync",
    title: "DCSync",
    phase: Phase::Credentials,
    techniques: &[Technique::new("T1003.006")],
    source: include_str!("dcsync.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(Dcsync::default()),
};

const CLIENTS_MAX: usize = 1_024;

#[derive(Debug, Default)]
struct Asked {
    changes: f64,
    prepared: bool,
}

/// The detector's state.
struct Dcsync {
    controllers: Controllers,
    clients: Table<u64, Hourly<Asked>>,
    habits: Habits,
}

impl Default for Dcsync {
    fn default() -> Self {
        Self {
            controllers: Controllers::default(),
            clients: Table::new(CLIENTS_MAX),
            habits: Habits::new(CLIENTS_MAX),
        }
    }
}

impl Detector for Dcsync {
    fn interest(&self) -> Interest {
        Interest::KERBEROS
            .and(Interest::LDAP)
            .and(Interest::DCE_RPC)
            .and(Interest::FLOW)
    }

    fn dropped(&self) -> u64 {
        self.controllers.dropped() + self.clients.dropped() + self.habits.dropped()
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        self.controllers.learn(event, cx);
        let EventBody::DceRpc(call) = &event.body else {
            return;
        };
        if Interface::of(call) != Some(Interface::Replication) {
            return;
        }
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        let asked = self.clients.entry(client.key(), Hourly::default);
        asked.turn(event.ts);
        let is = |name, number| is_operation(call, name, &[number]);
        asked.it.prepared |= is("DRSCrackNames", 12) || is("DRSDomainControllerInfo", 16);
        if !is("DRSGetNCChanges", 3) {
            return;
        }
        asked.push(event);
        asked.it.changes += 1.0;
        let days = self.habits.note(client.key(), event.ts);
        if self.controllers.has(client) {
            return;
        }
        let mut score = 4.4 + 0.3 * asked.it.changes.log10();
        if asked.it.prepared {
            score += 0.5;
        }
        if self.controllers.has(server) && cx.age_secs(client.device) > 3600.0 {
            score += 0.6;
        }
        score = (score - Habits::relief(days)).max(0.0);
        if !cx.matters(score) || !asked.window.rises(score) {
            return;
        }
        let target = cx.entities().peer(PeerRole::Target, server);
        let statement = Statement::new(
            "asked {server} {count} times to replicate the directory, though it serves no domain itself",
            vec![
                asked
                    .trail
                    .fact("server", Value::Entity(target.entity.clone())),
                asked.count("count", asked.it.changes),
            ],
        );
        let normal = Statement::new(
            "Only domain controllers replicate with each other.",
            Vec::new(),
        );
        let mut finding = asked
            .trail
            .finding(client, server.key(), score, statement, normal);
        finding.peers.push(target);
        cx.raise(finding);
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.controllers.snapshot(out);
        self.habits.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.controllers = Controllers::restore(from)?;
        self.habits = Habits::restore(CLIENTS_MAX, from)?;
        Ok(())
    }
}
