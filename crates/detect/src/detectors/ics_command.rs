//! # Industrial command
//!
//! ## What it flags
//! Commands to industrial controllers that this client never gave this controller: writes, stops,
//! restarts, changes of mode, clock, address or link, downloads of programs and firmware; and sweeps
//! over functions, units and controllers. Read are Modbus, DNP3, S7, EtherNet/IP with CIP (and the
//! PCCC commands inside), IEC 60870-5-104, BACnet/IP and FINS.
//!
//! ## Why it matters
//! Controllers obey whoever speaks their protocol. A new client that writes, or a stop command, can
//! break things and hurt people.
//!
//! ## How it scores
//! Control traffic hardly changes, so every function that is new between two known partners is rare,
//! the more the longer the controller has been watched: writes more than reads, a client that is new
//! to the controller more than a new function of a known one. The functions that change the
//! controller itself (stop, reset, mode, clock, address, link, lock, program, firmware) are rare
//! everywhere and score from the first day, while cyclic reads and writes of values are the
//! ordinary life of a plant. Exceptions, functions and units beyond
//! the few of ordinary use add up as scans. What was done on earlier days is worth less.
//!
//! ## Evidence
//! The controller, the functions by name, whether they write, how long the controller has been
//! watched, exceptions and units; the first requests' events.
//!
//! ## What would have been normal
//! The same client polling the same registers.
//!
//! ## Known false alarms
//! Engineers at work, commissioning, a replaced operator station, asset inventory.
//!
//! ## ATT&CK
//! T0836 Modify Parameter, T0843 Program Download, T0846 Remote System Discovery, T0855 Unauthorized
//! Command Message, T0858 Change Operating Mode, T0888 Remote System Information Discovery.
//!
//! ## Sources
//! Modbus Application Protocol 1.1b3; IEEE 1815 (DNP3); ODVA, *The CIP Networks Library*; IEC
//! 60870-5-101 and -104; ASHRAE 135 (BACnet); Omron W227 (FINS); Barbosa et al., *Exploiting traffic
//! periodicity in industrial control networks*, 2016.

use std::collections::BTreeSet;

use thymus_schema::{
    Event, EventBody, IcsCall, PeerRole, Phase, Service, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Technique, Timestamp, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "ics_command",
    title: "Industrial command",
    phase: Phase::Impact,
    techniques: &[
        Technique::new("T0836"),
        Technique::new("T0843"),
        Technique::new("T0846"),
        Technique::new("T0855"),
        Technique::new("T0858"),
        Technique::new("T0888"),
    ],
    source: include_str!("ics_command.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(IcsCommand::default()),
};

const PAIRS_MAX: usize = 8_192;
const HABITS_MAX: usize = 65_536;

/// What a function does to a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    /// Asks what the controller is.
    Identify,
    Write,
    /// Silences reports or changes how the link behaves.
    Configure,
    /// Stops, restarts or reprograms.
    Critical,
}

#[derive(Debug, Default)]
struct Calls {
    best: f64,
    others: f64,
    critical: bool,
    writes: f64,
    exceptions: f64,
    functions: BTreeSet<u16>,
    units: Distinct,
    done: Distinct,
    watched_secs: f64,
}

/// The detector's state.
struct IcsCommand {
    pairs: Table<u64, Hourly<Calls>>,
    /// Client, controller and function.
    known: Habits,
    /// When a controller was first spoken to.
    since: Table<u64, Timestamp>,
    controllers: Table<u64, Hourly<Distinct>>,
}

impl Default for IcsCommand {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            known: Habits::new(HABITS_MAX),
            since: Table::new(PAIRS_MAX),
            controllers: Table::new(PAIRS_MAX),
        }
    }
}

/// What a request does: by number where a specification numbers it, else by its name, else by whether
/// it writes.
fn kind_of(call: &IcsCall) -> Kind {
    let name = call.name.to_ascii_lowercase();
    let by_number = match call.protocol {
        Some(Service::Modbus) => match call.function {
            13 | 40 | 90 | 126 | 125 => Some(Kind::Critical),
            17 | 43 => Some(Kind::Identify),
            _ => None,
        },
        Some(Service::Dnp3) => match call.function {
            13..=16 | 18 => Some(Kind::Critical),
            19..=21 | 27 | 31 => Some(Kind::Configure),
            _ => None,
        },
        Some(Service::S7) => match call.function {
            0x1a..=0x1c | 0x28 | 0x29 => Some(Kind::Critical),
            0x1d..=0x1f => Some(Kind::Configure),
            _ => None,
        },
        Some(Service::Iec104) => match call.function {
            105 => Some(Kind::Critical),
            110..=113 | 123 | 125 => Some(Kind::Configure),
            // Stations set their outstations' clocks all day.
            103 => Some(Kind::Read),
            _ => None,
        },
        _ => None,
    };
    by_number
        .or_else(|| kind_of_name(&name))
        .unwrap_or(if call.write { Kind::Write } else { Kind::Read })
}

/// Words in the names of requests that change the controller itself.
const CRITICAL: &[&str] = &[
    "restart",
    "reset",
    "stop",
    "download",
    "firmware",
    "initialize",
    "plc_control",
    "reboot",
    "listen_only",
    "change_mode",
    "communication_control",
    "write_file",
    "life_safety",
    "force_bits",
    "set_network",
    "set_clock",
    "create_object",
    "delete_object",
    "restore_configuration",
    "controller_lock",
    "pccc_lock",
    "pccc_force",
];
/// Words in the names of requests that prepare it or change how the link behaves.
const CONFIGURE: &[&str] = &[
    "diagnostics",
    "change_ascii_delimiter",
    "clear_counters",
    "password",
    "access_right",
    "list_element",
    "program",
    "controller_ownership",
    "object_service",
    "apply_attributes",
    "save_configuration",
    "set_link",
    "unlock",
];
/// Words in the names of requests that ask what it is.
const IDENTIFY: &[&str] = &[
    "identi",
    "report_s",
    "device_id",
    "server_id",
    "list_services",
    "list_interfaces",
    "block_list",
];

fn kind_of_name(name: &str) -> Option<Kind> {
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if name == "start" || has(CRITICAL) {
        Some(Kind::Critical)
    } else if has(CONFIGURE) {
        Some(Kind::Configure)
    } else if has(IDENTIFY) {
        Some(Kind::Identify)
    } else {
        None
    }
}

impl Detector for IcsCommand {
    fn interest(&self) -> Interest {
        Interest::ICS
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![
            &mut self.pairs,
            &mut self.known,
            &mut self.since,
            &mut self.controllers,
        ]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Ics(call) = &event.body else {
            return;
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        let since = *self.since.entry(server.key(), || event.ts);
        let pair_key = key_of((client.key(), server.key(), call.protocol));
        let function = key_of((pair_key, call.function, &call.name));
        let is_new_client = !self.known.knows(pair_key);
        let is_new = !self.known.knows(function);
        self.known.note(pair_key, event.ts);
        let days = self.known.note(function, event.ts);
        let reached = self.controllers.entry(client.key(), Hourly::default);
        reached.turn(event.ts);
        reached.it.add(server.key());
        let controllers = reached.it.len() as f64;
        let pair = self.pairs.entry(pair_key, Hourly::default);
        pair.turn(event.ts);
        pair.it.watched_secs = event.ts.secs_since(since);
        let kind = kind_of(call);
        let counts = pair
            .it
            .take(call, kind, function, (is_new, is_new_client), days);
        if !counts {
            return;
        }
        pair.push(event);
        pair.names.add(&call.name);
        let score = pair.it.score(controllers);
        if cx.matters(score) && pair.window.rises(score) {
            pair.raise(pair_key, score, client, server, cx);
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.known.snapshot(out);
        self.since.write(
            out,
            |_, _| true,
            |out, key, since| {
                out.u64(key).i64(since.as_nanos());
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        *self = Self {
            known: Habits::restore(HABITS_MAX, from)?,
            since: Table::read(PAIRS_MAX, from, 16, |from| {
                Ok((from.u64()?, Timestamp::from_nanos(from.i64()?)))
            })?,
            ..Self::default()
        };
        Ok(())
    }
}

impl Calls {
    /// Takes in a call; whether it counts for anything.
    fn take(
        &mut self,
        call: &IcsCall,
        kind: Kind,
        function: u64,
        new: (bool, bool),
        days: f64,
    ) -> bool {
        let (is_new, is_new_client) = new;
        let failed = call.exception.is_some();
        self.exceptions += f64::from(u8::from(failed));
        self.writes += f64::from(u8::from(call.write));
        let widens = self.functions.len() < 512 && self.functions.insert(call.function);
        let reaches = self.units.add(u64::from(call.unit));
        let is_first = self.done.add(function);
        if is_first && (is_new || kind == Kind::Critical) {
            // Half of what can be known of a controller's habits is known after an hour.
            let settled = self.watched_secs / (self.watched_secs + 3600.0);
            let stranger = if is_new_client { 1.0 } else { 0.0 };
            let weight = match kind {
                Kind::Critical => 4.4 + settled * f64::from(u8::from(is_new)),
                Kind::Configure => 2.2 + settled * (1.5 + stranger),
                Kind::Write => 0.8 + settled * (2.6 + 1.4 * stranger),
                Kind::Identify => 1.8 + settled * (1.2 + stranger),
                Kind::Read => settled * (1.6 + 1.4 * stranger),
            } - Habits::relief(days);
            if weight > self.best {
                self.others += self.best;
                self.best = weight;
            } else {
                self.others += weight.max(0.0);
            }
            // What the controller refused did not happen.
            self.critical |= kind == Kind::Critical && !failed;
            return true;
        }
        failed || (widens && self.functions.len() > 6) || (reaches && self.units.len() > 6)
    }

    fn score(&self, controllers: f64) -> f64 {
        let scans = tails::pareto(self.exceptions, 5.0, 1.6)
            + tails::pareto(self.functions.len() as f64, 6.0, 3.0)
            + tails::pareto(self.units.len() as f64, 8.0, 2.0);
        let breadth = if self.best > 0.5 {
            tails::pareto(controllers, 3.0, 1.0)
        } else {
            0.0
        };
        self.best + 0.2 * self.others.min(5.0) + scans + breadth
    }
}

impl Hourly<Calls> {
    fn raise(&self, key: u64, score: f64, client: Party, server: Party, cx: &mut DetectCx<'_>) {
        let target = cx.entities().peer(PeerRole::Target, server);
        let statement = Statement::new(
            "gave the controller {server} commands it had not given before or that change how it runs ({names}): {writes} writes, \
             {functions} kinds of function, {units} units, {exceptions} refused, in {span}",
            vec![
                self.trail
                    .fact("server", Value::Entity(target.entity.clone())),
                self.named("names"),
                self.count("writes", self.it.writes),
                self.count("functions", self.it.functions.len() as f64),
                self.count("units", self.it.units.len() as f64),
                self.count("exceptions", self.it.exceptions),
                self.span(),
            ],
        );
        let template = if self.it.watched_secs > 0.0 {
            "The controller has been watched for {watched}; its partners repeat the same few requests."
        } else {
            "A controller's partners repeat the same few requests; this one was not seen before."
        };
        let watched = Value::Seconds(self.it.watched_secs);
        let normal = Statement::new(template, vec![self.trail.fact("watched", watched)]);
        let mut finding = self.trail.finding(client, key, score, statement, normal);
        finding.peers.push(target);
        finding.techniques = if self.it.critical {
            vec![
                Technique::new("T0843"),
                Technique::new("T0855"),
                Technique::new("T0858"),
            ]
        } else if self.it.writes > 0.0 {
            vec![Technique::new("T0836"), Technique::new("T0855")]
        } else {
            finding.phase = Some(Phase::Reconnaissance);
            vec![Technique::new("T0846"), Technique::new("T0888")]
        };
        cx.raise(finding);
    }
}
