//! # Protocol on the wrong port
//!
//! ## What it flags
//! A protocol, recognised by its bytes, on a port that belongs to another one: SSH on the port of
//! web pages, plain HTTP on the port of DNS, TLS on ports nobody registered for it.
//!
//! ## Why it matters
//! Firewalls let ports through, not protocols. Tunnels and backdoors use the ports that are open.
//!
//! ## How it scores
//! A base score for the pair of protocol and port: high where the port belongs to a different
//! well-known protocol, low for the usual alternates and for unregistered ports, half inside the
//! local network. A server that several devices use in this way, and one that is used so on earlier
//! days, is somebody's choice and scores less; a little more counts for repetition.
//!
//! ## Evidence
//! The protocol, the port and what it is for, the server, the number of connections and bytes; the
//! first connections' events.
//!
//! ## What would have been normal
//! The protocol on its own port.
//!
//! ## Known false alarms
//! Administrators who move SSH to another port, appliances with odd web ports, VPNs and
//! multiplexers on port 443.
//!
//! ## ATT&CK
//! T1571 Non-Standard Port, T1572 Protocol Tunneling.
//!
//! ## Sources
//! The IANA service name and port number registry.

use thymus_schema::{
    Event, EventBody, PeerRole, Phase, Service, SnapshotError, SnapshotReader, SnapshotWriter,
    Statement, Technique, Transport, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::{Habits, Ordinary};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::table::Table;
use crate::trail::key_of;
use crate::window::Hourly;

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "wrong_port",
    title: "Protocol on the wrong port",
    phase: Phase::Control,
    techniques: &[Technique::new("T1571"), Technique::new("T1572")],
    source: include_str!("wrong_port.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(WrongPort::default()),
};

const PAIRS_MAX: usize = 8_192;
const HABITS_MAX: usize = 32_768;

/// The detector's state.
struct WrongPort {
    pairs: Table<u64, Hourly<f64>>,
    ordinary: Ordinary,
}

impl Default for WrongPort {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            ordinary: Ordinary::new(HABITS_MAX),
        }
    }
}

/// What a well-known port is for; `None` for ports without one clear owner.
fn owner(port: u16) -> Option<&'static str> {
    Some(match port {
        20 | 21 => "FTP",
        22 => "SSH",
        23 => "telnet",
        25 | 110 | 143 | 465 | 587 | 993 | 995 => "mail",
        53 => "DNS",
        80 => "web pages",
        88 => "Kerberos",
        123 => "time",
        135 | 139 | 445 => "Windows file sharing",
        389 | 636 => "directory",
        443 => "encrypted web pages",
        1433 | 3306 | 5432 => "databases",
        3389 => "remote desktop",
        _ => return None,
    })
}

/// Ports a protocol uses by its registration or by wide custom.
fn is_at_home(service: Service, port: u16) -> bool {
    match service {
        Service::Ssh => matches!(port, 22 | 2222 | 830 | 22222 | 2022 | 29418),
        Service::Http => {
            matches!(port, 80 | 81 | 88 | 591 | 631 | 1900 | 2375 | 2869 | 3000..=3010 | 3128 | 5000 | 5357 | 5985 | 7547 | 8000..=8999 | 9000..=9100 | 9200 | 10000 | 11434 | 49152..)
        }
        // Many protocols change over to TLS on the port they began on.
        Service::Tls => {
            matches!(port, 21 | 25 | 110 | 143 | 261 | 389 | 443 | 448 | 465 | 563 | 587 | 614 | 636 | 853 | 989..=995 | 1433 | 1521 | 2083 | 2376 | 3268 | 3269 | 3306 | 3389 | 4190 | 4433 | 4443 | 5061 | 5222 | 5223 | 5228..=5230 | 5269 | 5349 | 5432 | 5671 | 5986 | 6443 | 6514 | 6697 | 7443 | 8000..=8999 | 9000..=9100 | 9200 | 9443 | 10443 | 49152..)
        }
        Service::Ftp => matches!(port, 21 | 2121),
        Service::Telnet => matches!(port, 23 | 2323),
        Service::Rdp => port == 3389,
        Service::Smb => matches!(port, 139 | 445),
        Service::Vnc => matches!(port, 5800..=5999),
        Service::Irc => matches!(port, 194 | 6660..=6669 | 6697 | 7000),
        Service::Dns => matches!(port, 53 | 5353..=5355),
        Service::Socks => matches!(port, 1080 | 1081 | 9050 | 9150),
        _ => true,
    }
}

/// −log10 of how rare the protocol is on the port, before anything is known of the site.
fn rarity(service: Service, port: u16) -> f64 {
    if is_at_home(service, port) {
        return 0.0;
    }
    match (service, port) {
        (Service::Ssh, 80 | 443 | 53 | 25 | 123) => 3.6,
        // Answered, that is: a browser that errs gets a refusal and comes back encrypted.
        (Service::Http, 443) => 2.4,
        (Service::Tls, 80) => 2.0,
        (
            Service::Irc
            | Service::Socks
            | Service::Telnet
            | Service::Rdp
            | Service::Vnc
            | Service::Smb,
            _,
        ) => {
            if owner(port).is_some() {
                4.0
            } else {
                2.2
            }
        }
        (_, port) if owner(port).is_some() => 3.4,
        (Service::Ssh | Service::Ftp | Service::Dns, _) => 1.6,
        _ => 1.2,
    }
}

impl Detector for WrongPort {
    fn interest(&self) -> Interest {
        Interest::FLOW
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.ordinary]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Flow(flow) = &event.body else {
            return;
        };
        let (Some(service), Some(conn)) = (flow.service, &event.conn) else {
            return;
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if conn.transport != Transport::Tcp || flow.part != 0 || flow.server_bytes == 0 {
            return;
        }
        let port = conn.server.port;
        let mut base = rarity(service, port);
        if base == 0.0 || !(client.is_local() || server.is_local()) {
            return;
        }
        if client.is_local() && server.is_local() {
            base *= 0.5;
        } else if server.is_local() {
            // Outsiders knock with every protocol on every port.
            base *= 0.6;
        }
        let place = key_of((server.key(), port, service));
        let (users, days) = self.ordinary.note(place, client.key(), event.ts);
        let pair = self
            .pairs
            .entry(key_of((client.key(), place)), Hourly::default);
        pair.turn(event.ts);
        pair.push(event);
        pair.it += (flow.client_bytes + flow.server_bytes) as f64;
        let count = pair.trail.total() as f64;
        let score = base + 0.3 * count.log10() - 1.5 * users.log10() - Habits::relief(days);
        if score <= 0.0 || !cx.matters(score) || !pair.window.rises(score) {
            return;
        }
        let peer = cx.entities().peer(PeerRole::Controller, server);
        let statement = Statement::new(
            "spoke {service} with {server} on port {port}, which is for {owner}, in {count} connections with {bytes}",
            vec![
                pair.trail
                    .fact("service", Value::Name(service.as_str().into())),
                pair.trail
                    .fact("server", Value::Entity(peer.entity.clone())),
                pair.trail
                    .fact("port", Value::Name(port.to_string().into())),
                pair.trail.fact(
                    "owner",
                    Value::Name(owner(port).unwrap_or("no protocol of that kind").into()),
                ),
                pair.count("count", count),
                pair.trail.fact("bytes", Value::Bytes(pair.it as u64)),
            ],
        );
        let normal = Statement::new("Servers answer each protocol on its own port.", Vec::new());
        let mut finding = pair.trail.finding(client, place, score, statement, normal);
        finding.peers.push(peer);
        cx.raise(finding);
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.ordinary.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.ordinary.restore(from)
    }
}
