//! # DCSync
//!
//! ## What it flags
//! A device that is no domain controller and asks one to replicate the directory, or to take it for
//! one; a program that fetches the policy store of a federation service as its servers do among
//! themselves.
//!
//! ## Why it matters
//! Replication hands over the secrets of every account. Whoever may ask for it owns the domain. The
//! policy store holds the key that signs everybody's log-ins to the cloud.
//!
//! ## How it scores
//! Domain controllers are recognised by what they answer (Kerberos, directory, netlogon). A request
//! for changes from anyone else starts at a score that no ordinary hour reaches, a little more when
//! the device has been watched long enough to be sure and when the usual preparation (looking up
//! the account, asking about controllers) came before it; the same for a device that announces itself
//! as a controller. The policy store scores as high when the program that asks says a name, which the
//! servers of the federation do not, and little otherwise. Whoever did so on earlier days is a
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
//! T1003.006 OS Credential Dumping: DCSync, T1552.004 Private Keys.
//!
//! ## Sources
//! MS-DRSR, 4.1.10 (IDL_DRSGetNCChanges), 4.1.19 (IDL_DRSReplicaAdd) and 4.1.1 (IDL_DRSAddEntry); the
//! path of the policy store transfer is that of Active Directory Federation Services.

use thymus_schema::{
    Event, EventBody, HttpTransaction, PeerRole, Phase, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Technique, Value,
};

use crate::controllers::Controllers;
use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::rpc::{Interface, is_operation};
use crate::table::Table;
use crate::trail::key_of;
use crate::window::Hourly;

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "dcsync",
    title: "DCSync",
    phase: Phase::Credentials,
    techniques: &[Technique::new("T1003.006"), Technique::new("T1552.004")],
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
            .and(Interest::HTTP)
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.controllers, &mut self.clients, &mut self.habits]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        self.controllers.learn(event, cx);
        let call = match &event.body {
            EventBody::DceRpc(call) => call,
            EventBody::Http(http) => return self.policy_store(event, http, cx),
            _ => return,
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
        // Whoever takes part in replication is asked to, or adds itself first.
        if !is("DRSGetNCChanges", 3) && !is("DRSReplicaAdd", 5) && !is("DRSAddEntry", 17) {
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

impl Dcsync {
    /// The store of a federation service is asked for.
    fn policy_store(&mut self, event: &Event, http: &HttpTransaction, cx: &mut DetectCx<'_>) {
        const STORE: &str = "/adfs/services/policystoretransfer";
        let is_store = http
            .uri
            .get(..STORE.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(STORE));
        let (Some(client), Some(server), true) = (cx.client(), cx.server(), is_store) else {
            return;
        };
        let days = self.habits.note(key_of((client.key(), STORE)), event.ts);
        let asked = self
            .clients
            .entry(key_of((client.key(), STORE)), Hourly::default);
        asked.turn(event.ts);
        asked.push(event);
        let named = !http.user_agent.is_empty();
        let score = if named { 4.0 } else { 0.5 } - Habits::relief(days);
        if !cx.matters(score) || !asked.window.rises(score) {
            return;
        }
        let target = cx.entities().peer(PeerRole::Target, server);
        let agent = if named { &*http.user_agent } else { "nothing" };
        let statement = Statement::new(
            "fetched the policy store of the federation service at {server} with {count} requests, as {agent}",
            vec![
                asked
                    .trail
                    .fact("server", Value::Entity(target.entity.clone())),
                asked.count("count", asked.trail.total() as f64),
                asked.trail.fact("agent", Value::Name(agent.into())),
            ],
        );
        let normal = Statement::new(
            "Only the servers of the federation fetch it from each other, and their requests name no program.",
            Vec::new(),
        );
        let mut finding = asked
            .trail
            .finding(client, key_of(STORE), score, statement, normal);
        finding.peers.push(target);
        finding.techniques = vec![Technique::new("T1552.004")];
        cx.raise(finding);
    }
}
