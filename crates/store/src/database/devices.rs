//! Devices and what was learned of them.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thymus_schema::Timestamp;
use utoipa::ToSchema;

use super::assets::{asset, labels_of};
use super::ingest::hour_of;
use super::similar::{Similar, similar};
use super::{Database, DatabaseError, Page, habits, overview};

const DAY: i64 = 86_400 * 1_000_000_000;
const PEERS_SHOWN: usize = 500;
const DAYS_SHOWN: usize = 92;

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceSort {
    /// Those in open incidents first, then the dear ones, then by name.
    #[default]
    Trouble,
    /// By name.
    Name,
    /// Those seen last first.
    LastSeen,
    /// Those that came last first.
    FirstSeen,
}

/// Which devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// With this in a name, an address or a label.
    pub text: Option<String>,
    /// Only those not known well yet, or only the others.
    pub cold: Option<bool>,
    /// In which order.
    pub sort: DeviceSort,
    /// First item.
    pub offset: u64,
    /// Items at most.
    pub limit: usize,
}

/// A device in a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DeviceItem {
    /// Who.
    pub entity: String,
    /// For people.
    pub name: String,
    /// Its addresses now.
    pub addresses: Vec<String>,
    /// Its hardware address.
    pub mac: String,
    /// First seen.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Timestamp,
    /// Last seen.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Timestamp,
    /// Whether it is not known well yet.
    pub is_cold: bool,
    /// What it does on the network.
    pub roles: Vec<String>,
    /// What people call it.
    pub labels: Vec<String>,
    /// How much it is worth, 0 to 3.
    pub value: u8,
    /// Open incidents it is in.
    pub incidents_open: u64,
    /// Bytes in the last day of what was seen.
    pub bytes_24h: u64,
    /// Peers in the last day of what was seen.
    pub peers_24h: u64,
}

/// With whom a device talks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PeerHabit {
    /// The other side; `*` is the remainder.
    pub addr: String,
    /// Its name, where known.
    pub name: String,
    /// By what.
    pub service: String,
    /// `out` when the device begins, else `in`.
    pub direction: String,
    /// Conversations.
    pub flows: u64,
    /// Bytes both ways.
    pub bytes: u64,
    /// First time.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Timestamp,
    /// Last time.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Timestamp,
    /// Whether it began in the last day of what was seen, and the device is older.
    pub is_new: bool,
    /// How many peers and services the remainder stands for.
    pub folded: u64,
}

/// By what service a device talks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ServiceHabit {
    /// By what.
    pub service: String,
    /// `out` when the device begins, else `in`.
    pub direction: String,
    /// Conversations.
    pub flows: u64,
    /// Bytes both ways.
    pub bytes: u64,
}

/// A day of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Day {
    /// The day, as `2026-01-31`.
    pub day: String,
    /// Conversations.
    pub flows: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
}

/// An incident that a device is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct IncidentOfDevice {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// `low`, `medium` or `high`.
    pub confidence: String,
    /// Whether it is inside the budget.
    pub shown: bool,
    /// Last event.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Timestamp,
    /// `open`, `acknowledged` or `closed`.
    pub state: String,
    /// Whether the device acts in it.
    pub suspected: bool,
}

/// All about a device.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DeviceDetail {
    /// As it came, with `labels`, `value` and `note` beside.
    pub device: Value,
    /// With whom it talks, most first.
    pub peers: Vec<PeerHabit>,
    /// By what, most first.
    pub services: Vec<ServiceHabit>,
    /// Conversations by hour of the week, UTC, Monday 00 first.
    pub hours: Vec<u64>,
    /// Days, oldest first.
    pub days: Vec<Day>,
    /// Incidents it is in, latest first.
    pub incidents: Vec<IncidentOfDevice>,
    /// Devices that do the same.
    pub similar: Vec<Similar>,
    /// Whether it is not known well yet, and why.
    pub cold: Value,
}

impl Database {
    /// The devices that `filter` asks for.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn devices(&self, filter: &DeviceFilter) -> Result<Page<DeviceItem>, DatabaseError> {
        let (clause, mut values) = conditions(filter);
        let order = match filter.sort {
            DeviceSort::Trouble => "open DESC, value DESC, d.name, d.entity",
            DeviceSort::Name => "d.name, d.entity",
            DeviceSort::LastSeen => "d.last_seen DESC, d.entity",
            DeviceSort::FirstSeen => "d.first_seen DESC, d.entity",
        };
        self.read("read the devices", |connection| {
            let from = format!("FROM devices d LEFT JOIN assets a ON a.entity = d.entity {clause}");
            let total = connection
                .prepare_cached(&format!("SELECT COUNT(*) {from}"))?
                .query_row(params_from_iter(&values), |row| row.get(0))?;
            values.push(Sql::from(filter.limit as i64));
            values.push(Sql::from(filter.offset as i64));
            // Who is on the page is found among narrow rows; a flood of forged addresses makes many devices.
            let mut items = connection
                .prepare_cached(&format!(
                    "WITH troubled AS MATERIALIZED (
                        SELECT i.entity, COUNT(*) AS open FROM incidents n
                        JOIN incident_devices i ON i.incident = n.id
                        LEFT JOIN cases c ON c.incident = n.id
                        WHERE n.shown AND COALESCE(c.state, 'open') <> 'closed' GROUP BY i.entity),
                     page AS MATERIALIZED (
                        SELECT d.entity, COALESCE(a.value, 0) AS value, COALESCE(t.open, 0) AS open
                        FROM devices d LEFT JOIN assets a ON a.entity = d.entity
                        LEFT JOIN troubled t ON t.entity = d.entity {clause}
                        ORDER BY {order} LIMIT ? OFFSET ?)
                     SELECT d.entity, d.name, d.mac, d.first_seen, d.last_seen, d.is_cold, d.json,
                        COALESCE(a.labels, ''), p.value AS value, p.open AS open
                     FROM page p JOIN devices d ON d.entity = p.entity
                     LEFT JOIN assets a ON a.entity = d.entity ORDER BY {order}"
                ))?
                .query_map(params_from_iter(&values), item_of)?
                .collect::<Result<Vec<_>, _>>()?;
            let until = overview::data_until(connection)?.unwrap_or_default();
            for item in &mut items {
                day_of(connection, item, until)?;
            }
            Ok(Page::at(filter.offset, items, total))
        })
    }

    /// All about a device.
    ///
    /// # Errors
    /// When there is none with this name.
    pub fn device(&self, entity: &str) -> Result<DeviceDetail, DatabaseError> {
        let found = self.read("read a device", |connection| {
            let Some((json, first_seen, last_seen)) = connection
                .prepare_cached("SELECT json, first_seen, last_seen FROM devices WHERE entity = ?")?
                .query_row([entity], |row| {
                    let json: String = row.get(0)?;
                    Ok((json, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
                })
                .optional()?
            else {
                return Ok(None);
            };
            let mut device: Value = serde_json::from_str(&json).unwrap_or_default();
            let days = days(connection, entity)?;
            let said = asset(connection, entity)?;
            if let Some(object) = device.as_object_mut() {
                object.insert("labels".to_owned(), json!(said.labels));
                object.insert("value".to_owned(), json!(said.value));
                object.insert("note".to_owned(), json!(said.note));
                let last_seen = Timestamp::from_nanos(last_seen);
                object.insert("last_seen".to_owned(), json!(last_seen));
                object
                    .entry("days_seen")
                    .or_insert_with(|| json!(days.len()));
            }
            let until = overview::data_until(connection)?.unwrap_or_default();
            let day_ago = until.as_nanos().saturating_sub(DAY);
            // Everything is new of a device that is.
            let new_since = (first_seen < day_ago).then_some(day_ago);
            Ok(Some(DeviceDetail {
                cold: cold(&device),
                device,
                peers: peers(connection, entity, new_since)?,
                services: services(connection, entity)?,
                hours: hours(connection, entity)?,
                days,
                incidents: incidents(connection, entity)?,
                similar: similar(connection, entity)?,
            }))
        })?;
        found.ok_or(DatabaseError::NotFound("device"))
    }
}

fn conditions(filter: &DeviceFilter) -> (String, Vec<Sql>) {
    let mut clauses: Vec<&str> = vec!["1"];
    let mut values: Vec<Sql> = Vec::new();
    if let Some(cold) = filter.cold {
        clauses.push("d.is_cold = ?");
        values.push(cold.into());
    }
    if let Some(text) = filter.text.as_deref().filter(|text| !text.is_empty()) {
        clauses.push("(instr(d.search, ?) > 0 OR instr(lower(COALESCE(a.labels, '')), ?) > 0)");
        values.push(text.to_lowercase().into());
        values.push(text.to_lowercase().into());
    }
    (format!("WHERE {}", clauses.join(" AND ")), values)
}

fn strings(object: &Value, key: &str) -> Vec<String> {
    super::ingest::list(object, key)
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn item_of(row: &rusqlite::Row<'_>) -> Result<DeviceItem, rusqlite::Error> {
    let json: String = row.get(6)?;
    let object: Value = serde_json::from_str(&json).unwrap_or_default();
    Ok(DeviceItem {
        entity: row.get(0)?,
        name: row.get(1)?,
        addresses: strings(&object, "addresses"),
        mac: row.get(2)?,
        first_seen: Timestamp::from_nanos(row.get(3)?),
        last_seen: Timestamp::from_nanos(row.get(4)?),
        is_cold: row.get(5)?,
        roles: strings(&object, "roles"),
        labels: labels_of(&row.get::<_, String>(7)?),
        value: row.get(8)?,
        incidents_open: row.get(9)?,
        bytes_24h: 0,
        peers_24h: 0,
    })
}

fn day_of(
    connection: &Connection,
    item: &mut DeviceItem,
    until: Timestamp,
) -> Result<(), rusqlite::Error> {
    item.bytes_24h = connection
        .prepare_cached(
            // Hour by hour: between two hours lie those of all addresses.
            "WITH RECURSIVE span (hour) AS (VALUES (?2) UNION ALL SELECT hour + 1 FROM span WHERE hour < ?3)
             SELECT COALESCE(SUM(h.bytes), 0) FROM addresses a CROSS JOIN span s
             CROSS JOIN habit_hours h ON h.hour = s.hour AND h.addr = a.addr WHERE a.entity = ?1",
        )?
        .query_row(
            params![item.entity, hour_of(until) - 23, hour_of(until)],
            |row| row.get(0),
        )?;
    item.peers_24h = connection
        .prepare_cached(
            "SELECT COUNT(DISTINCT h.peer) FROM addresses a
             JOIN habits h ON h.addr = a.addr AND h.last_seen >= ?2 AND h.peer <> '*'
             WHERE a.entity = ?1",
        )?
        .query_row(
            params![item.entity, until.as_nanos().saturating_sub(DAY)],
            |row| row.get(0),
        )?;
    Ok(())
}

fn cold(device: &Value) -> Value {
    let is_cold = device.get("is_cold").and_then(Value::as_bool) == Some(true);
    let days = device.get("days_seen").and_then(Value::as_u64).unwrap_or(0);
    let why = if is_cold {
        format!(
            "seen on {days} days so far: what is new for it is judged by what devices like it do"
        )
    } else {
        String::new()
    };
    json!({ "is_cold": is_cold, "why": why })
}

fn peers(
    connection: &Connection,
    entity: &str,
    new_since: Option<i64>,
) -> Result<Vec<PeerHabit>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT h.peer, COALESCE(n.name, d.name, ''), h.service, h.direction, SUM(h.flows), SUM(h.bytes),
                MIN(h.first_seen), MAX(h.last_seen), SUM(h.folded)
             FROM addresses a JOIN habits h ON h.addr = a.addr
             LEFT JOIN peer_names n ON n.addr = h.peer
             LEFT JOIN addresses p ON p.addr = h.peer LEFT JOIN devices d ON d.entity = p.entity
             WHERE a.entity = ? GROUP BY h.peer, h.service, h.direction
             ORDER BY h.peer = '*', SUM(h.bytes) DESC, h.peer LIMIT ?",
        )?
        .query_map(params![entity, PEERS_SHOWN], |row| {
            let first: i64 = row.get(6)?;
            let addr: String = row.get(0)?;
            Ok(PeerHabit {
                is_new: addr != habits::REST && new_since.is_some_and(|since| first >= since),
                addr,
                name: row.get(1)?,
                service: row.get(2)?,
                direction: row.get(3)?,
                flows: row.get(4)?,
                bytes: row.get(5)?,
                first_seen: Timestamp::from_nanos(first),
                last_seen: Timestamp::from_nanos(row.get(7)?),
                folded: row.get(8)?,
            })
        })?
        .collect()
}

fn services(connection: &Connection, entity: &str) -> Result<Vec<ServiceHabit>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT h.service, h.direction, SUM(h.flows), SUM(h.bytes)
             FROM addresses a JOIN habits h ON h.addr = a.addr WHERE a.entity = ?
             GROUP BY h.service, h.direction ORDER BY SUM(h.bytes) DESC, h.service LIMIT 100",
        )?
        .query_map([entity], |row| {
            Ok(ServiceHabit {
                service: row.get(0)?,
                direction: row.get(1)?,
                flows: row.get(2)?,
                bytes: row.get(3)?,
            })
        })?
        .collect()
}

fn hours(connection: &Connection, entity: &str) -> Result<Vec<u64>, rusqlite::Error> {
    let mut hours = vec![0u64; 168];
    let mut query = connection.prepare_cached(
        "SELECT h.hour, SUM(h.flows) FROM addresses a JOIN habit_week h ON h.addr = a.addr
         WHERE a.entity = ? GROUP BY h.hour",
    )?;
    let mut rows = query.query([entity])?;
    while let Some(row) = rows.next()? {
        if let Some(hour) = hours.get_mut(row.get::<_, usize>(0)?) {
            *hour = row.get(1)?;
        }
    }
    Ok(hours)
}

fn days(connection: &Connection, entity: &str) -> Result<Vec<Day>, rusqlite::Error> {
    let mut days: Vec<Day> = connection
        .prepare_cached(
            "SELECT h.day, SUM(h.flows), SUM(h.bytes_out), SUM(h.bytes_in)
             FROM addresses a JOIN habit_days h ON h.addr = a.addr
             WHERE a.entity = ? GROUP BY h.day ORDER BY h.day DESC LIMIT ?",
        )?
        .query_map(params![entity, DAYS_SHOWN], |row| {
            let day = Timestamp::from_secs(row.get::<_, i64>(0)?.saturating_mul(86_400));
            Ok(Day {
                day: day.to_string().chars().take(10).collect(),
                flows: row.get(1)?,
                bytes_out: row.get(2)?,
                bytes_in: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    days.reverse();
    Ok(days)
}

fn incidents(
    connection: &Connection,
    entity: &str,
) -> Result<Vec<IncidentOfDevice>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT n.id, n.title,
                CASE n.confidence WHEN 2 THEN 'high' WHEN 1 THEN 'medium' ELSE 'low' END,
                n.shown, n.last_seen, COALESCE(c.state, 'open'), i.suspected
             FROM incident_devices i JOIN incidents n ON n.id = i.incident
             LEFT JOIN cases c ON c.incident = n.id
             WHERE i.entity = ? ORDER BY n.last_seen DESC LIMIT 100",
        )?
        .query_map([entity], |row| {
            Ok(IncidentOfDevice {
                id: row.get(0)?,
                title: row.get(1)?,
                confidence: row.get(2)?,
                shown: row.get(3)?,
                last_seen: Timestamp::from_nanos(row.get(4)?),
                state: row.get(5)?,
                suspected: row.get(6)?,
            })
        })?
        .collect()
}
