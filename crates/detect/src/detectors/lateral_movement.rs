//! # Lateral movement
//!
//! ## What it flags
//! A device that administers another one remotely in the ways intruders use: it creates services or
//! scheduled tasks, looks through or stops services, runs commands over WMI, DCOM or Windows remote
//! management, edits the remote registry, calls functions known for letting callers break in, sends
//! what no client of the file protocol sends, copies programs to administrative shares or password
//! stores from them, clears event logs, is refused the right to administer, or opens shells on many
//! devices it never visited.
//!
//! ## Why it matters
//! From the first infected device intruders go on to others with stolen accounts, through the same
//! doors that administrators use. Here they can be seen and stopped before the damage.
//!
//! ## How it scores
//! Each kind of remote administration has a weight by how rare it is in ordinary device-hours;
//! within an hour the heaviest counts full and each further kind against the same target adds a
//! third (what another kind cannot do without, such as opening the service manager, adds nothing). A
//! program copied to a hidden share, then a service, then a pipe of its own is one story; a package
//! for installation is worth less than a bare program. Several targets add up to a digit per factor
//! of ten, unless all was only looked at and nothing refused. Nearly half a digit is added (half of
//! that for looking) when neither side is known to serve others: workstations are administered from servers and
//! consoles, not from each other. One more is added when the device was itself administered remotely
//! shortly before. What four or more devices do on the same server is a service of that server and
//! worth less. Shells on servers new to the device count by their number. Whoever did the like on
//! earlier days is an administrator and scores less for each of them.
//!
//! ## Evidence
//! The target, the kinds of remote administration, the names of services, files or operations; the
//! first calls' events.
//!
//! ## What would have been normal
//! Use of the server's own services: files, mail, directory.
//!
//! ## Known false alarms
//! New administrators, software deployment and inventory in their first days, help desks that go from
//! their own device to others', vulnerability scanners with credentials.
//!
//! ## ATT&CK
//! T1021 with T1021.001 (RDP), T1021.002 (admin shares), T1021.003 (DCOM), T1021.004 (SSH) and
//! T1021.006 (WinRM), T1047 (WMI), T1053.005 (scheduled task), T1543.003 and T1569.002 (services),
//! T1570 (tool transfer), T1210 (exploitation of remote services), T1007 and T1489 (services looked
//! through and stopped), T1003.003 (hashes fetched), T1546.003 (event subscriptions),
//! T1070.001 (logs cleared), T1078 (an account tried where it has no rights).
//!
//! ## Sources
//! The protocol specifications MS-SCMR, MS-TSCH, MS-WMI, MS-DCOM, MS-RRP, MS-SRVS, MS-DSSP, MS-WSMV,
//! MS-RPRN, MS-PAR, MS-EVEN, MS-EVEN6; Microsoft security bulletins MS04-011, MS08-067 and MS17-010,
//! CVE-2020-0796, CVE-2021-34527; Ho et al., *Hopper: modeling
//! and detecting lateral movement*, USENIX Security 2021, for chains of log-ins.

mod act;

use std::collections::BTreeSet;

use thymus_schema::{
    Event, EventBody, PeerRole, Phase, Service, SnapshotError, SnapshotReader, SnapshotWriter,
    Statement, Technique, Timestamp, Value,
};

use self::act::{Act, is_management, of_call, of_http, of_quirk, of_share};
use crate::controllers::Controllers;
use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::{Habits, Popularity};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::roles::Roles;
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "lateral_movement",
    title: "Lateral movement",
    phase: Phase::Lateral,
    techniques: &[
        Technique::new("T1003.003"),
        Technique::new("T1007"),
        Technique::new("T1021"),
        Technique::new("T1021.001"),
        Technique::new("T1021.002"),
        Technique::new("T1021.003"),
        Technique::new("T1021.004"),
        Technique::new("T1021.006"),
        Technique::new("T1047"),
        Technique::new("T1053.005"),
        Technique::new("T1070.001"),
        Technique::new("T1078"),
        Technique::new("T1210"),
        Technique::new("T1489"),
        Technique::new("T1543.003"),
        Technique::new("T1546.003"),
        Technique::new("T1569.002"),
        Technique::new("T1570"),
    ],
    source: include_str!("lateral_movement.rs"),
    snapshot_version: 2,
    build: |_: &Settings| Box::new(LateralMovement::default()),
};

const PAIRS_MAX: usize = 8_192;
const HABITS_MAX: usize = 65_536;
const SERVICES_MAX: usize = 8_192;
/// Clients from which on a device is a server.
const SERVER_CLIENTS: f64 = 2.5;
const CHAIN_SECS: f64 = 7200.0;

#[derive(Debug, Default)]
struct Acts {
    kinds: BTreeSet<Act>,
    /// Targets of the same client this hour.
    targets: f64,
    /// Neither side is known to serve others.
    among_equals: bool,
    chained: bool,
}

/// The detector's state.
struct LateralMovement {
    pairs: Table<u64, Hourly<Acts>>,
    /// Targets of one client in one hour.
    targets: Table<u64, Hourly<Distinct>>,
    /// Servers new to a client on which it opened a shell.
    shells: Table<u64, Hourly<Distinct>>,
    /// When a device was last entered by another.
    entered: Table<u64, (Timestamp, u64)>,
    habits: Habits,
    known_shells: Habits,
    /// Who does a thing on a server.
    users: Popularity,
    controllers: Controllers,
}

impl Default for LateralMovement {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            targets: Table::new(PAIRS_MAX),
            shells: Table::new(PAIRS_MAX),
            entered: Table::new(PAIRS_MAX),
            habits: Habits::new(HABITS_MAX),
            known_shells: Habits::new(HABITS_MAX),
            users: Popularity::new(SERVICES_MAX),
            controllers: Controllers::default(),
        }
    }
}

impl Detector for LateralMovement {
    fn interest(&self) -> Interest {
        Interest::DCE_RPC
            .and(Interest::SMB)
            .and(Interest::HTTP)
            .and(Interest::FLOW)
            .and(Interest::KERBEROS)
            .and(Interest::LDAP)
            .and(Interest::QUIRK)
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![
            &mut self.pairs,
            &mut self.targets,
            &mut self.shells,
            &mut self.entered,
            &mut self.habits,
            &mut self.known_shells,
            &mut self.users,
            &mut self.controllers,
        ]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        self.controllers.learn(event, cx);
        let seen = match &event.body {
            EventBody::DceRpc(call) => of_call(call).map(|act| (act, &*call.operation)),
            EventBody::Smb(smb) => of_share(smb).map(|act| {
                (
                    act,
                    if smb.path.is_empty() {
                        &*smb.share
                    } else {
                        &*smb.path
                    },
                )
            }),
            EventBody::Quirk(seen) => of_quirk(seen).map(|act| (act, &*seen.quirk)),
            EventBody::Http(http) => of_http(http).map(|act| (act, &*http.uri)),
            EventBody::Flow(flow) => {
                let busy = flow.part == 0 && flow.server_bytes > 3_000 && flow.client_bytes > 1_000;
                let port = event.conn.as_ref().map_or(0, |conn| conn.server.port);
                match flow.service {
                    _ if is_management(flow, port) => Some((Act::Winrm, "")),
                    Some(service @ (Service::Ssh | Service::Rdp | Service::Vnc)) if busy => {
                        return self.shell(event, service, cx);
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some((act, name)) = seen {
            self.act(event, act, name, cx);
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.habits.snapshot(out);
        self.known_shells.snapshot(out);
        self.users.snapshot(out);
        self.controllers.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.habits = Habits::restore(HABITS_MAX, from)?;
        self.known_shells = Habits::restore(HABITS_MAX, from)?;
        self.users = Popularity::restore(SERVICES_MAX, from)?;
        self.controllers = Controllers::restore(from)?;
        Ok(())
    }
}

impl LateralMovement {
    fn act(&mut self, event: &Event, act: Act, name: &str, cx: &mut DetectCx<'_>) {
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        // An old hole is reached for on purpose, whosever device it is.
        if (!server.is_local() && act != Act::Fragile) || client.key() == server.key() {
            return;
        }
        let key = key_of((client.key(), server.key()));
        let users = self.users.note(key_of((server.key(), act)), client.key());
        if act.only_looks() || act == Act::Winrm {
            // Many do it: the server is there for that.
            if users > 3 {
                return;
            }
        }
        let among_equals = !self.serves(client, cx) && !self.serves(server, cx);
        // Who administers at all is no stranger to a further way of doing so.
        let any = self.habits.note(client.key(), event.ts);
        let days = self
            .habits
            .note(key_of((client.key(), act)), event.ts)
            .max(any / 2.0);
        let targets = self.targets.entry(client.key(), Hourly::default);
        targets.turn(event.ts);
        targets.it.add(server.key());
        let count = targets.it.len() as f64;
        let chained = self.was_entered(client, server, event.ts);
        if act.weight() >= 1.5 {
            self.entered
                .entry(server.key(), || (event.ts, 0))
                .clone_from(&(event.ts, client.key()));
        }
        let pair = self.pairs.entry(key, Hourly::default);
        pair.turn(event.ts);
        pair.push(event);
        pair.names.add(name);
        pair.days = if pair.it.kinds.is_empty() {
            days
        } else {
            pair.days.min(days)
        };
        pair.it.kinds.insert(act);
        pair.it.targets = count;
        pair.it.chained |= chained;
        pair.it.among_equals = among_equals;
        let score = pair.score(client, cx);
        if cx.matters(score) && pair.window.rises(score) {
            pair.raise(key, score, client, server, cx);
        }
    }

    /// Whether the device is known to serve others.
    fn serves(&self, party: Party, cx: &DetectCx<'_>) -> bool {
        let clients = party
            .device
            .and_then(|idx| cx.entities().roles(idx))
            .map_or(0.0, Roles::clients);
        clients > SERVER_CLIENTS || self.controllers.has(party)
    }

    /// Whether `client` was itself entered shortly before, by somebody other than `server`.
    fn was_entered(&self, client: Party, server: Party, now: Timestamp) -> bool {
        self.entered
            .get(&client.key())
            .is_some_and(|(at, from)| now.secs_since(*at) < CHAIN_SECS && *from != server.key())
    }

    /// A session of a remote shell or desktop that carried something.
    fn shell(&mut self, event: &Event, service: Service, cx: &mut DetectCx<'_>) {
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if !server.is_local() || !client.is_local() {
            return;
        }
        let pair = key_of((client.key(), server.key(), service));
        let is_new = !self.known_shells.knows(pair);
        self.known_shells.note(pair, event.ts);
        let days = self.habits.note(key_of((client.key(), service)), event.ts);
        let chained = self.was_entered(client, server, event.ts);
        self.entered
            .entry(server.key(), || (event.ts, 0))
            .clone_from(&(event.ts, client.key()));
        let shells = self.shells.entry(client.key(), Hourly::default);
        shells.turn(event.ts);
        if !is_new || !shells.it.add(server.key()) {
            return;
        }
        shells.push(event);
        shells.names.add(&server.addr.to_string());
        let servers = shells.it.len() as f64;
        let age = cx.age_secs(client.device) / 86_400.0;
        let settled = if age > 1.0 { 1.0 } else { 0.7 };
        let mut score = 0.6 * settled + tails::pareto(servers, 2.0, 2.5) * settled;
        score += if chained { 1.0 } else { 0.0 };
        score = (score - Habits::relief(days)).max(0.0);
        if !cx.matters(score) || !shells.window.rises(score) {
            return;
        }
        let statement = Statement::new(
            "opened {service} sessions on {servers} devices it had not visited before ({names}) in {span}",
            vec![
                shells
                    .trail
                    .fact("service", Value::Name(service.as_str().into())),
                shells.count("servers", servers),
                shells.named("names"),
                shells.span(),
            ],
        );
        let normal = Statement::new(
            "Most devices never open a shell on another; those that do keep to the same few.",
            Vec::new(),
        );
        let mut finding = shells.trail.finding(client, 1, score, statement, normal);
        finding
            .peers
            .push(cx.entities().peer(PeerRole::Target, server));
        finding.techniques = vec![Technique::new(match service {
            Service::Ssh => "T1021.004",
            Service::Rdp => "T1021.001",
            _ => "T1021",
        })];
        cx.raise(finding);
    }
}

impl Hourly<Acts> {
    fn score(&self, client: Party, cx: &DetectCx<'_>) -> f64 {
        let kinds = &self.it.kinds;
        let told = kinds
            .iter()
            .filter(|act| !kinds.iter().any(|other| act.is_part_of(*other)));
        let weights = told.map(|act| act.weight());
        let best = weights.clone().fold(0.0, f64::max);
        let others = weights.sum::<f64>() - best;
        // Inventory looks at many as it looks at one.
        let only_looks = kinds.iter().all(|act| act.only_looks());
        let mut score = best + 0.35 * others;
        if !only_looks {
            score += tails::pareto(self.it.targets, 1.0, 1.0);
        }
        // What is ordinary by itself does not become telling by who does it.
        if client.is_local() && best >= 1.6 {
            let settled = cx.age_secs(client.device) > 86_400.0 && self.days == 0.0;
            let equals = if only_looks { 0.2 } else { 0.4 };
            score += if self.it.among_equals { equals } else { 0.0 };
            score += if settled { 0.5 } else { 0.0 };
        }
        if self.it.chained {
            score += 1.0;
        }
        (score - Habits::relief(self.days)).max(0.0)
    }

    fn raise(&self, key: u64, score: f64, client: Party, server: Party, cx: &mut DetectCx<'_>) {
        let acts = self
            .it
            .kinds
            .iter()
            .map(|act| act.says().into())
            .collect::<Vec<Box<str>>>();
        let target = cx.entities().peer(PeerRole::Target, server);
        let mut facts = vec![
            self.trail
                .fact("server", Value::Entity(target.entity.clone())),
            self.trail
                .fact("acts", Value::Names(acts.into_iter().take(8).collect())),
            self.named("names"),
            self.count("count", self.trail.total() as f64),
            self.span(),
        ];
        let template = if self.it.chained {
            facts.push(self.count("targets", self.it.targets));
            "was itself administered remotely shortly before and then administered {server} \
             ({acts}; {names}) with {count} calls in {span}, one of {targets} targets in that hour"
        } else {
            "administered {server} remotely ({acts}; {names}) with {count} calls in {span}"
        };
        let statement = Statement::new(template, facts);
        let normal = self.trail.normal(
            self.days,
            "On {usual} earlier days it did the like; other devices use their servers without \
             administering them.",
            "No earlier day is known on which it did the like; other devices use their servers \
             without administering them.",
        );
        let mut finding = self.trail.finding(client, key, score, statement, normal);
        finding.peers.push(target);
        let techniques: BTreeSet<Technique> =
            self.it.kinds.iter().map(|act| act.technique()).collect();
        finding.techniques = techniques.into_iter().collect();
        cx.raise(finding);
    }
}
