//! Addresses that names outside stood for of late: incidents name hosts, packet filters addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thymus_schema::{Event, EventBody, Timestamp};

const NAMES_MAX: usize = 50_000;
const ADDRS_MAX: usize = 8;

/// Names and their addresses, the latest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    by_name: BTreeMap<Box<str>, (Timestamp, Vec<IpAddr>)>,
}

impl Names {
    pub(super) fn events(&mut self, events: &[Event]) {
        for event in events {
            match (&event.body, &event.conn) {
                (EventBody::Dns(dns), _) => {
                    for answer in &dns.answers {
                        if let Ok(addr) = answer.data.to_string().parse() {
                            self.seen(&dns.query, addr, event.ts);
                        }
                    }
                }
                (EventBody::Tls(tls), Some(conn)) if !tls.sni.is_empty() => {
                    self.seen(&tls.sni, conn.server.addr, event.ts);
                }
                (EventBody::Http(http), Some(conn)) if !http.host.is_empty() => {
                    self.seen(&http.host, conn.server.addr, event.ts);
                }
                _ => {}
            }
        }
    }

    fn seen(&mut self, name: &str, addr: IpAddr, ts: Timestamp) {
        let (name, addr) = (plain(name), addr.to_canonical());
        if self.by_name.len() >= NAMES_MAX && !self.by_name.contains_key(name.as_str()) {
            let mut ages: Vec<Timestamp> = self.by_name.values().map(|(ts, _)| *ts).collect();
            let (_, middle, _) = ages.select_nth_unstable(NAMES_MAX / 2);
            let middle = *middle;
            self.by_name.retain(|_, (ts, _)| *ts > middle);
        }
        let (latest, addrs) = self.by_name.entry(name.into()).or_default();
        *latest = (*latest).max(ts);
        if addrs.first() != Some(&addr) {
            addrs.retain(|known| *known != addr);
            addrs.insert(0, addr);
            addrs.truncate(ADDRS_MAX);
        }
    }

    /// Addresses of a name, and of names below it.
    pub(super) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let name = plain(name);
        let below = format!(".{name}");
        let mut addrs: Vec<IpAddr> = self
            .by_name
            .iter()
            .filter(|(known, _)| ***known == *name || known.ends_with(&below))
            .flat_map(|(_, (_, addrs))| addrs.iter().copied())
            .collect();
        addrs.sort();
        addrs.dedup();
        addrs
    }
}

/// A name as it is looked up: without port and final dot, in small letters.
fn plain(name: &str) -> String {
    let name = match name.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !name.contains(':') => name,
        _ => name,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}
