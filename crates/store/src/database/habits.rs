//! What local addresses do, summed up from their flows: with whom, by what service, at which hours.
//!
//! Bounded in three ways: addresses at all (a flood of made-up ones is counted under `*`), peers of an address
//! (those not seen for longest are folded into one remainder that says of how many), and age.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rusqlite::{OptionalExtension, Transaction, params};
use thymus_schema::{Conn, Event, EventBody, FlowRecord, LocalNetworks, Timestamp, Transport};

use super::Limits;
use super::ingest::hour_of;

/// Stands for whatever found no place.
pub(super) const REST: &str = "*";
/// Ports from here on are made up by clients, and say nothing of the service.
const EPHEMERAL: u16 = 32_768;

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    flows: u64,
    bytes: u64,
    first: i64,
    last: i64,
}

/// One address, one day: flows, bytes out, bytes in.
type Day = (u64, u64, u64);

#[derive(Debug, Default)]
struct Sums {
    habits: BTreeMap<(String, &'static str, String, String), Sum>,
    week: BTreeMap<(String, usize), u64>,
    days: BTreeMap<(String, i64), Day>,
    hours: BTreeMap<(i64, String), u64>,
    names: BTreeMap<IpAddr, (String, i64)>,
}

/// Adds what the flows among `events` say.
pub(super) fn take_in(
    tx: &Transaction<'_>,
    events: &[Event],
    local: &LocalNetworks,
    limits: &Limits,
) -> Result<(), rusqlite::Error> {
    let mut sums = Sums::default();
    let mut places = Places::new(tx, limits)?;
    for event in events {
        match (&event.body, &event.conn) {
            (EventBody::Flow(flow), Some(conn)) => {
                sums.flow(tx, &mut places, flow, conn, event.ts, local)?;
            }
            (EventBody::Tls(tls), Some(conn)) if !tls.sni.is_empty() => {
                sums.name(conn.server.addr, &tls.sni, event.ts);
            }
            (EventBody::Dns(dns), _) => {
                for answer in &dns.answers {
                    if let Ok(addr) = answer.data.to_string().parse() {
                        sums.name(addr, &dns.query, event.ts);
                    }
                }
            }
            _ => {}
        }
    }
    sums.write(tx, limits)
}

/// Which addresses have a place of their own.
struct Places {
    known: BTreeMap<IpAddr, bool>,
    free: u64,
}

impl Places {
    fn new(tx: &Transaction<'_>, limits: &Limits) -> Result<Self, rusqlite::Error> {
        let taken: u64 = tx
            .prepare_cached("SELECT COUNT(DISTINCT addr) FROM habit_week")?
            .query_row([], |row| row.get(0))?;
        Ok(Self {
            known: BTreeMap::new(),
            free: limits.addresses_max.saturating_sub(taken),
        })
    }

    fn of(&mut self, tx: &Transaction<'_>, addr: IpAddr) -> Result<String, rusqlite::Error> {
        let has_place = if let Some(has_place) = self.known.get(&addr) {
            *has_place
        } else {
            let is_old = tx
                .prepare_cached("SELECT 1 FROM habit_week WHERE addr = ?")?
                .exists([addr.to_string()])?;
            let has_place = is_old || self.free > 0;
            self.free -= u64::from(!is_old && has_place);
            self.known.insert(addr, has_place);
            has_place
        };
        Ok(if has_place {
            addr.to_string()
        } else {
            REST.to_owned()
        })
    }
}

impl Sums {
    fn flow(
        &mut self,
        tx: &Transaction<'_>,
        places: &mut Places,
        flow: &FlowRecord,
        conn: &Conn,
        ts: Timestamp,
        local: &LocalNetworks,
    ) -> Result<(), rusqlite::Error> {
        let (client, server) = (conn.client.addr, conn.server.addr);
        let service = service(flow, conn);
        let bytes = flow.client_bytes.saturating_add(flow.server_bytes);
        let sides = [
            (client, server, "out", flow.client_bytes, flow.server_bytes),
            (server, client, "in", flow.server_bytes, flow.client_bytes),
        ];
        for (addr, peer, direction, sent, received) in sides {
            if !local.contains(addr) {
                continue;
            }
            let addr = places.of(tx, addr)?;
            let peer = if addr == REST {
                REST.to_owned()
            } else {
                peer.to_string()
            };
            let begins = u64::from(flow.part == 0);
            let key = (addr.clone(), direction, peer, service.clone());
            let sum = self.habits.entry(key).or_insert(Sum {
                first: ts.as_nanos(),
                ..Sum::default()
            });
            sum.flows += begins;
            sum.bytes = sum.bytes.saturating_add(bytes);
            sum.first = sum.first.min(ts.as_nanos());
            sum.last = sum.last.max(ts.as_nanos());
            let day = self.days.entry((addr.clone(), ts.day())).or_default();
            day.0 += begins;
            day.1 = day.1.saturating_add(sent);
            day.2 = day.2.saturating_add(received);
            *self.hours.entry((hour_of(ts), addr.clone())).or_default() += bytes;
            *self.week.entry((addr, ts.hour_of_week())).or_default() += begins;
        }
        Ok(())
    }

    fn name(&mut self, addr: IpAddr, name: &str, ts: Timestamp) {
        if name.len() < 256 {
            self.names.insert(addr, (name.to_owned(), ts.as_nanos()));
        }
    }

    fn write(self, tx: &Transaction<'_>, limits: &Limits) -> Result<(), rusqlite::Error> {
        let mut touched: Vec<(String, i64)> = Vec::new();
        {
            let mut insert = tx.prepare_cached(
                "INSERT INTO habits VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)
                 ON CONFLICT DO UPDATE SET flows = flows + ?5, bytes = bytes + ?6,
                     first_seen = MIN(first_seen, ?7), last_seen = MAX(last_seen, ?8)",
            )?;
            for ((addr, direction, peer, service), sum) in self.habits {
                insert.execute(params![
                    addr,
                    direction,
                    peer,
                    service,
                    sum.flows as i64,
                    bounded(sum.bytes),
                    sum.first,
                    sum.last
                ])?;
                if touched.last().is_none_or(|(last, _)| *last != addr) {
                    touched.push((addr, 0));
                }
                if let Some((_, last)) = touched.last_mut() {
                    *last = sum.last.max(*last);
                }
            }
        }
        for (addr, last) in touched.iter().filter(|(addr, _)| addr != REST) {
            fold(tx, addr, limits.peers_max)?;
            tx.prepare_cached(
                "UPDATE devices SET last_seen = MAX(last_seen, ?2)
                 WHERE entity = (SELECT entity FROM addresses WHERE addr = ?1)",
            )?
            .execute(params![addr, last])?;
        }
        for ((addr, hour), flows) in self.week {
            tx.prepare_cached(
                "INSERT INTO habit_week VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET flows = flows + ?3",
            )?
            .execute(params![addr, hour, flows as i64])?;
        }
        for ((addr, day), (flows, sent, received)) in self.days {
            tx.prepare_cached(
                "INSERT INTO habit_days VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET flows = flows + ?3, bytes_out = bytes_out + ?4,
                     bytes_in = bytes_in + ?5",
            )?
            .execute(params![
                addr,
                day,
                flows as i64,
                bounded(sent),
                bounded(received)
            ])?;
        }
        for ((hour, addr), bytes) in self.hours {
            tx.prepare_cached(
                "INSERT INTO habit_hours VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET bytes = bytes + ?3",
            )?
            .execute(params![hour, addr, bounded(bytes)])?;
        }
        for (addr, (name, at)) in self.names {
            tx.prepare_cached("INSERT OR REPLACE INTO peer_names VALUES (?, ?, ?)")?
                .execute(params![addr.to_string(), name, at])?;
        }
        Ok(())
    }
}

/// Sums must not overflow a column, whatever a record says.
fn bounded(bytes: u64) -> i64 {
    bytes.min(1 << 50) as i64
}

fn service(flow: &FlowRecord, conn: &Conn) -> String {
    if let Some(service) = flow.service {
        return service.as_str().to_owned();
    }
    let transport = conn.transport.as_str();
    match conn.transport {
        Transport::Icmp | Transport::Other => transport.to_owned(),
        _ if conn.server.port >= EPHEMERAL => format!("{transport}/high"),
        _ => format!("{transport}/{}", conn.server.port),
    }
}

/// Makes room in the table of one address: what was not seen for longest goes into its remainder.
fn fold(tx: &Transaction<'_>, addr: &str, peers_max: u64) -> Result<(), rusqlite::Error> {
    let count: u64 = tx
        .prepare_cached("SELECT COUNT(*) FROM habits WHERE addr = ? AND peer <> '*'")?
        .query_row([addr], |row| row.get(0))?;
    if count <= peers_max {
        return Ok(());
    }
    // An eighth more than needed, so that not every frame has to.
    let gone = count - peers_max + peers_max / 8;
    let edge: Option<i64> = tx
        .prepare_cached(
            "SELECT last_seen FROM habits WHERE addr = ? AND peer <> '*'
             ORDER BY last_seen LIMIT 1 OFFSET ?",
        )?
        .query_row(params![addr, gone.saturating_sub(1)], |row| row.get(0))
        .optional()?;
    let Some(edge) = edge else {
        return Ok(());
    };
    tx.prepare_cached(
        "INSERT INTO habits
         SELECT addr, direction, '*', '*', SUM(flows), SUM(bytes), MIN(first_seen), MAX(last_seen), COUNT(*)
         FROM habits WHERE addr = ?1 AND peer <> '*' AND last_seen <= ?2 GROUP BY addr, direction
         ON CONFLICT DO UPDATE SET flows = flows + excluded.flows, bytes = bytes + excluded.bytes,
             first_seen = MIN(first_seen, excluded.first_seen),
             last_seen = MAX(last_seen, excluded.last_seen), folded = folded + excluded.folded",
    )?
    .execute(params![addr, edge])?;
    tx.prepare_cached("DELETE FROM habits WHERE addr = ? AND peer <> '*' AND last_seen <= ?")?
        .execute(params![addr, edge])?;
    Ok(())
}
