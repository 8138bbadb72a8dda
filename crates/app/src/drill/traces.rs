//! Events as attacks would make them, by size. Outside addresses and names are those set aside for
//! documentation (RFC 5737, RFC 2606).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use thymus_schema::{Event, Timestamp};

/// An attack that can be tried in sizes.
pub(super) struct Scenario {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What a size counts.
    pub(super) unit: &'static str,
    /// From small to large.
    pub(super) sizes: &'static [u64],
    make: fn(&mut Maker, u64),
}

/// All of them, in the order of an attack.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "port_scan",
        title: "Tries the ports of a neighbour",
        unit: "ports",
        sizes: &[10, 30, 100, 300, 1_000],
        make: |maker, size| {
            for n in 0..size {
                let port = n * 61 % 10_000 + 1;
                maker.refused(maker.neighbour, port as u16);
                maker.pause(60.0 / size as f64);
            }
        },
    },
    Scenario {
        id: "address_sweep",
        title: "Looks for file servers on its network",
        unit: "addresses",
        sizes: &[5, 15, 40, 100, 250],
        make: |maker, size| {
            for n in 0..size {
                let address = maker.nearby(n + 2);
                maker.unanswered(address, 445);
                maker.pause(60.0 / size as f64);
            }
        },
    },
    Scenario {
        id: "password_guessing",
        title: "Guesses passwords of a neighbour over SSH",
        unit: "tries",
        sizes: &[5, 15, 50, 150, 500],
        make: |maker, size| {
            for _ in 0..size {
                maker.failed_login(maker.neighbour);
                maker.pause(2.0);
            }
        },
    },
    Scenario {
        id: "beacon",
        title: "Calls home each minute over TLS",
        unit: "calls",
        sizes: &[15, 30, 60, 120, 240],
        make: |maker, size| {
            for _ in 0..size {
                maker.tls("status.example.net", 700, 1_900);
                let jitter = maker.share() * 6.0;
                maker.pause(57.0 + jitter);
            }
        },
    },
    Scenario {
        id: "dns_tunnel",
        title: "Carries data out in names",
        unit: "questions",
        sizes: &[30, 100, 300, 1_000, 3_000],
        make: |maker, size| {
            for _ in 0..size {
                maker.long_question("t.example.org");
                maker.pause(0.5);
            }
        },
    },
    Scenario {
        id: "upload",
        title: "Uploads to a place it never talked to",
        unit: "MB",
        sizes: &[5, 25, 100, 500, 2_000],
        make: |maker, size| {
            maker.tls("files.example.net", size * 1_000_000, 40_000);
        },
    },
];

/// Who does it, and to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) device: IpAddr,
    pub(super) neighbour: IpAddr,
    pub(super) resolver: IpAddr,
}

/// The events of `scenario` in this size, beginning at `at`.
///
/// # Errors
/// Never, while events can be written as JSON.
pub(super) fn trace(
    scenario: &Scenario,
    size: u64,
    part: Part,
    at: Timestamp,
) -> Result<Vec<Event>> {
    let mut maker = Maker {
        device: part.device,
        neighbour: part.neighbour,
        resolver: part.resolver,
        at,
        dice: 0x9e37_79b9_7f4a_7c15,
        made: 0,
        events: Vec::new(),
    };
    (scenario.make)(&mut maker, size);
    let events = maker.events.into_iter();
    let events: Result<Vec<Event>, _> = events.map(serde_json::from_value).collect();
    events.context("a trace of the drill is no event")
}

struct Maker {
    device: IpAddr,
    neighbour: IpAddr,
    resolver: IpAddr,
    at: Timestamp,
    dice: u64,
    made: u64,
    events: Vec<Value>,
}

/// Where attacks of the drill come from and go to, outside.
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77));
/// Tells its events from all others.
const INPUT: &str = "d911d911d911d911";

impl Maker {
    fn pause(&mut self, secs: f64) {
        self.at = self.at.plus(Duration::from_secs_f64(secs));
    }

    /// Xorshift64*.
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        self.dice.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn port(&mut self) -> u16 {
        49_152 + (self.roll() >> 52) as u16
    }

    /// An address of the device's own network; IPv6 has too many to sweep, and gets the same few bits.
    fn nearby(&self, n: u64) -> IpAddr {
        let low = (n % 254 + 1) as u8;
        match self.device {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Ipv4Addr::new(a, b, c, low).into()
            }
            IpAddr::V6(v6) => {
                let mut octets = v6.octets();
                octets[15] = low;
                octets[14] = (n / 254) as u8;
                IpAddr::from(octets)
            }
        }
    }

    fn push(&mut self, kind: &str, server: IpAddr, port: u16, transport: &str, mut body: Value) {
        let client = self.port();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("kind".into(), kind.into());
            fields.insert("id".into(), format!("{INPUT}-{}", self.made).into());
            fields.insert("ts".into(), json!(self.at));
            fields.insert(
                "conn".into(),
                json!({
                    "client": { "addr": self.device, "port": client },
                    "server": { "addr": server, "port": port },
                    "transport": transport,
                    "flow": format!("{:016x}", 0xd911_0000_0000 + self.made),
                }),
            );
        }
        self.made += 1;
        self.events.push(body);
    }

    fn flow(
        &mut self,
        server: IpAddr,
        port: u16,
        state: &str,
        bytes: (u64, u64),
        service: Option<&str>,
    ) {
        let packets = (
            bytes.0 / 1_200 + 1,
            bytes.1 / 1_200 + u64::from(state != "S0"),
        );
        let mut body = json!({
            "start": self.at, "duration": { "secs": 0, "nanos": 40_000_000 },
            "client_bytes": bytes.0, "server_bytes": bytes.1, "state": state,
            "client_packets": packets.0, "server_packets": packets.1,
        });
        if let (Some(service), Some(fields)) = (service, body.as_object_mut()) {
            fields.insert("service".into(), service.into());
        }
        self.push("flow", server, port, "tcp", body);
    }

    fn refused(&mut self, server: IpAddr, port: u16) {
        self.flow(server, port, "REJ", (0, 0), None);
    }

    fn unanswered(&mut self, server: IpAddr, port: u16) {
        self.flow(server, port, "S0", (0, 0), None);
    }

    fn failed_login(&mut self, server: IpAddr) {
        let body = json!({ "service": "ssh", "user": "root", "outcome": "failure", "attempts": 1 });
        self.push("login", server, 22, "tcp", body);
        self.flow(server, 22, "SF", (2_200, 2_900), Some("ssh"));
    }

    fn tls(&mut self, name: &str, sent: u64, got: u64) {
        let answers = json!([{ "rtype": 1, "data": OUTSIDE, "ttl": 300 }]);
        self.question(name, &answers, 1, 0);
        let hello = json!({ "sni": name, "version": 772, "established": true });
        self.push("tls", OUTSIDE, 443, "tcp", hello);
        self.flow(OUTSIDE, 443, "SF", (sent, got), Some("ssl"));
    }

    fn long_question(&mut self, domain: &str) {
        let mut label = || {
            let bytes: Vec<u8> = (0..5).flat_map(|_| self.roll().to_be_bytes()).collect();
            let letters = b"abcdefghijklmnopqrstuvwxyz234567";
            let text = bytes
                .iter()
                .map(|byte| char::from(letters[usize::from(byte % 32)]));
            text.collect::<String>()
        };
        let name = format!("{}.{}.{domain}", label(), label());
        let answers = json!([{ "rtype": 16, "data": "ok", "ttl": 0 }]);
        self.question(&name, &answers, 16, 0);
    }

    fn question(&mut self, name: &str, answers: &Value, qtype: u16, rcode: u16) {
        let body = json!({
            "query": name, "qtype": qtype, "rcode": rcode, "answers": answers,
            "query_len": name.len() + 18, "response_len": name.len() + 60,
        });
        self.push("dns", self.resolver, 53, "udp", body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_makes_events_in_order_of_time_that_grow_with_its_size() {
        let part = Part {
            device: IpAddr::from([10, 0, 0, 7]),
            neighbour: IpAddr::from([10, 0, 0, 2]),
            resolver: IpAddr::from([10, 0, 0, 1]),
        };
        for scenario in SCENARIOS {
            assert!(scenario.sizes.is_sorted(), "{}", scenario.id);
            let at = Timestamp::from_secs(1_700_000_000);
            let weight = |size: u64| {
                let events = trace(scenario, size, part, at).unwrap();
                assert!(events.is_sorted_by_key(|event| event.ts), "{}", scenario.id);
                serde_json::to_string(&events).unwrap().len()
            };
            let weights: Vec<usize> = scenario.sizes.iter().map(|size| weight(*size)).collect();
            assert!(weights.is_sorted() && weights.first() < weights.last());
        }
    }
}
