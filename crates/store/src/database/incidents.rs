//! Incidents: as they came, with what lists need beside.

use std::collections::BTreeMap;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thymus_schema::{Technique, Timestamp};
use utoipa::ToSchema;

use super::casework::CaseState;
use super::ingest::{list, text, time};
use super::settle::settle;
use super::{Database, DatabaseError, Page, files};

const CONFIDENCES: [&str; 3] = ["low", "medium", "high"];
/// How long an incident is new, unless somebody took it on.
const NEW_NANOS: i64 = 24 * 3_600 * 1_000_000_000;
const DEVICES_MAX: usize = 64;

/// Which incidents by the state of their case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateFilter {
    /// Those not closed.
    #[default]
    Open,
    /// Those closed.
    Closed,
    /// All.
    All,
}

/// Which incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// By the state of their case.
    pub state: StateFilter,
    /// Inside the budget or below the line; both without.
    pub shown: Option<bool>,
    /// With this entity in it.
    pub device: Option<String>,
    /// With this in title, story or names.
    pub text: Option<String>,
    /// First item.
    pub offset: u64,
    /// Items at most.
    pub limit: usize,
}

/// A device in an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeviceOfIncident {
    /// Who.
    pub entity: String,
    /// For people.
    pub name: String,
    /// Whether it acts (suspected) or is acted on.
    pub suspected: bool,
}

/// A technique of ATT&CK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TechniqueName {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What a list shows of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CaseSummary {
    /// How far it is.
    pub state: CaseState,
    /// Who works on it.
    pub assignee: Option<String>,
    /// What it was.
    pub verdict: Option<super::Verdict>,
    /// How many comments it has.
    pub comments: u64,
}

/// An incident in a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct IncidentItem {
    /// Its id.
    pub id: String,
    /// Its place among all of its run.
    pub rank: u64,
    /// Whether it is inside the budget.
    pub shown: bool,
    /// One line.
    pub title: String,
    /// What it most likely is.
    pub hypothesis: String,
    /// `low`, `medium` or `high`.
    pub confidence: String,
    /// How rarely chance alone does this, as −log10 of the probability.
    pub p_value: f64,
    /// First event.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Timestamp,
    /// Last event.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Timestamp,
    /// Whom it is about, the suspected first.
    pub devices: Vec<DeviceOfIncident>,
    /// Phases of an attack, in order.
    pub phases: Vec<String>,
    /// Techniques.
    pub techniques: Vec<TechniqueName>,
    /// How many alerts it is made of.
    pub alerts: u64,
    /// The work on it.
    pub case: CaseSummary,
    /// Whether it is below the line because of exceptions.
    pub is_excepted: bool,
    /// By how much less rare it is taken for because its like was called harmless or wrong, as −log10; 0 mostly.
    pub lowered: f64,
    /// Whether it came within a day and nobody has taken it on.
    pub is_new: bool,
}

/// Who did what to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Graph {
    /// Devices, users, services and outside parties.
    pub nodes: Vec<GraphNode>,
    /// What one did to another.
    pub edges: Vec<GraphEdge>,
}

/// A party of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct GraphNode {
    /// Who.
    pub entity: String,
    /// For people.
    pub name: String,
    /// `device`, `user`, `service` or `external`.
    pub kind: String,
    /// Whether it acts.
    pub suspected: bool,
    /// Whether it is ours.
    pub is_local: bool,
}

/// What one party did to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct GraphEdge {
    /// Who.
    pub from: String,
    /// To whom.
    pub to: String,
    /// `target`, `controller`, `relay` or `account`.
    pub role: String,
    /// Phase of an attack.
    pub phase: String,
    /// The alerts behind it.
    pub alerts: Vec<String>,
}

/// Writes an incident; one with the same id is replaced. Whether it is above the line.
pub(super) fn write(
    tx: &Transaction<'_>,
    id: &str,
    object: &Value,
    json: &str,
    (added_at, now): (i64, Timestamp),
) -> Result<bool, rusqlite::Error> {
    let mut phases: Vec<&str> = Vec::new();
    for phase in list(object, "alerts").filter_map(|alert| text(alert, "phase")) {
        if !phases.contains(&phase) {
            phases.push(phase);
        }
    }
    let techniques: Vec<&str> = list(object, "techniques")
        .filter_map(Value::as_str)
        .collect();
    let confidence = text(object, "confidence").unwrap_or_default();
    let confidence = CONFIDENCES.iter().position(|word| *word == confidence);
    let told = object.get("shown").and_then(Value::as_bool) == Some(true);
    tx.prepare_cached(
        "INSERT OR REPLACE INTO incidents (id, rank, title, hypothesis, confidence, rarity, first_seen,
             last_seen, alerts, phases, techniques, search, added_at, told, shown)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
    )?
    .execute(params![
        id,
        object.get("rank").and_then(Value::as_i64).unwrap_or(0),
        text(object, "title").unwrap_or_default(),
        text(object, "hypothesis").unwrap_or_default(),
        confidence.unwrap_or(0),
        object.get("p_value").and_then(Value::as_f64).unwrap_or(0.0),
        time(object, "first_seen").as_nanos(),
        time(object, "last_seen").as_nanos(),
        list(object, "alerts").count(),
        phases.join(" "),
        techniques.join(" "),
        searchable(object),
        added_at,
        told
    ])?;
    tx.prepare_cached("INSERT OR REPLACE INTO incident_objects VALUES (?, ?)")?
        .execute([id, json])?;
    tx.prepare_cached("DELETE FROM incident_devices WHERE incident = ?")?
        .execute([id])?;
    let mut insert =
        tx.prepare_cached("INSERT OR REPLACE INTO incident_devices VALUES (?, ?, ?, ?)")?;
    for part in list(object, "affected").take(DEVICES_MAX) {
        let Some(entity) = text(part, "entity") else {
            continue;
        };
        let suspected = part.get("suspected").and_then(Value::as_bool);
        insert.execute(params![
            id,
            entity,
            text(part, "name").unwrap_or_default(),
            suspected.unwrap_or(false)
        ])?;
    }
    files::named_by(tx, id, object)?;
    settle(tx, id, object, now)
}

/// What a search looks at, lower case.
fn searchable(object: &Value) -> String {
    let mut parts: Vec<&str> = ["id", "title", "hypothesis", "narrative"]
        .into_iter()
        .filter_map(|key| text(object, key))
        .collect();
    for part in list(object, "affected") {
        parts.extend(
            ["entity", "name"]
                .into_iter()
                .filter_map(|key| text(part, key)),
        );
        parts.extend(list(part, "aliases").filter_map(Value::as_str));
    }
    parts.extend(list(object, "techniques").filter_map(Value::as_str));
    parts.extend(list(object, "alerts").filter_map(|alert| text(alert, "detector")));
    parts.join("\n").to_lowercase()
}

impl Database {
    /// The incidents that `filter` asks for: the surest first, of those the rarest, both less what verdicts taught.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn incidents(
        &self,
        filter: &IncidentFilter,
        now: Timestamp,
    ) -> Result<Page<IncidentItem>, DatabaseError> {
        let (clause, mut values) = conditions(filter);
        self.read("read the incidents", |connection| {
            let from = format!("FROM incidents i LEFT JOIN cases c ON c.incident = i.id {clause}");
            let total = connection
                .prepare_cached(&format!("SELECT COUNT(*) {from}"))?
                .query_row(params_from_iter(&values), |row| row.get(0))?;
            values.push(Sql::from(filter.limit as i64));
            values.push(Sql::from(filter.offset as i64));
            let mut query = connection.prepare_cached(&format!(
                "SELECT i.id, i.rank, i.shown, i.title, i.hypothesis, i.confidence, i.rarity,
                    i.first_seen, i.last_seen, i.phases, i.techniques, i.alerts, i.added_at,
                    c.state, c.assignee, c.verdict,
                    (SELECT COUNT(*) FROM comments WHERE comments.incident = i.id), i.is_held, i.lowered
                 {from} ORDER BY i.shown DESC, i.order_confidence DESC, i.order_rarity DESC, i.id LIMIT ? OFFSET ?"
            ))?;
            let mut items = query
                .query_map(params_from_iter(&values), |row| item_of(row, now))?
                .collect::<Result<Vec<_>, _>>()?;
            for item in &mut items {
                item.devices = devices_of(connection, &item.id)?;
            }
            Ok(Page::at(filter.offset, items, total))
        })
    }

    /// The incident as it came; one that was merged gives the one it became.
    ///
    /// # Errors
    /// When there is none with this id.
    pub fn incident(&self, id: &str) -> Result<Value, DatabaseError> {
        let json = self.read("read an incident", |connection| {
            let id = resolved(connection, id)?;
            connection
                .prepare_cached("SELECT json FROM incident_objects WHERE id = ?")?
                .query_row([id], |row| row.get::<_, String>(0))
                .optional()
        })?;
        let json = json.ok_or(DatabaseError::NotFound("incident"))?;
        serde_json::from_str(&json).map_err(|_| DatabaseError::Damaged {
            doing: "read an incident",
        })
    }
}

/// The id of the incident that this one became.
pub(super) fn resolved(connection: &Connection, id: &str) -> Result<String, rusqlite::Error> {
    let mut id = id.to_owned();
    // Merges chain; a circle cannot be, and would end here.
    for _ in 0..16 {
        let next: Option<String> = connection
            .prepare_cached("SELECT target FROM redirects WHERE id = ?")?
            .query_row([&id], |row| row.get(0))
            .optional()?;
        match next {
            Some(next) => id = next,
            None => break,
        }
    }
    Ok(id)
}

fn conditions(filter: &IncidentFilter) -> (String, Vec<Sql>) {
    let mut clauses: Vec<&str> = Vec::new();
    let mut values: Vec<Sql> = Vec::new();
    match filter.state {
        StateFilter::Open => clauses.push("COALESCE(c.state, 'open') <> 'closed'"),
        StateFilter::Closed => clauses.push("c.state = 'closed'"),
        StateFilter::All => {}
    }
    if let Some(shown) = filter.shown {
        clauses.push("i.shown = ?");
        values.push(shown.into());
    }
    if let Some(device) = &filter.device {
        clauses.push(
            "EXISTS (SELECT 1 FROM incident_devices d WHERE d.incident = i.id AND d.entity = ?)",
        );
        values.push(device.clone().into());
    }
    if let Some(text) = filter.text.as_deref().filter(|text| !text.is_empty()) {
        clauses.push("instr(i.search, ?) > 0");
        values.push(text.to_lowercase().into());
    }
    let clause = if clauses.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", clauses.join(" AND "))
    };
    (clause, values)
}

fn item_of(row: &rusqlite::Row<'_>, now: Timestamp) -> Result<IncidentItem, rusqlite::Error> {
    let words = |column: usize| -> Result<Vec<String>, rusqlite::Error> {
        let text: String = row.get(column)?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    };
    let state: Option<String> = row.get(13)?;
    let is_untouched = state.is_none();
    let added: i64 = row.get(12)?;
    let confidence = CONFIDENCES.get(row.get::<_, usize>(5)?).copied();
    Ok(IncidentItem {
        id: row.get(0)?,
        rank: row.get::<_, i64>(1)?.max(0) as u64,
        shown: row.get(2)?,
        title: row.get(3)?,
        hypothesis: row.get(4)?,
        confidence: confidence.unwrap_or("low").to_owned(),
        p_value: row.get(6)?,
        first_seen: Timestamp::from_nanos(row.get(7)?),
        last_seen: Timestamp::from_nanos(row.get(8)?),
        devices: Vec::new(),
        phases: words(9)?,
        techniques: words(10)?.into_iter().map(technique).collect(),
        alerts: row.get(11)?,
        case: CaseSummary {
            state: CaseState::of(state.as_deref()),
            assignee: row.get(14)?,
            verdict: super::Verdict::of(row.get::<_, Option<String>>(15)?.as_deref()),
            comments: row.get(16)?,
        },
        is_excepted: row.get(17)?,
        lowered: row.get(18)?,
        is_new: is_untouched && now.as_nanos().saturating_sub(added) < NEW_NANOS,
    })
}

fn technique(id: String) -> TechniqueName {
    let known = Technique::from_id(&id);
    TechniqueName {
        name: known.map_or_else(String::new, |known| known.name().to_owned()),
        id,
    }
}

fn devices_of(connection: &Connection, id: &str) -> Result<Vec<DeviceOfIncident>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT entity, name, suspected FROM incident_devices WHERE incident = ?
             AND entity NOT LIKE 'external:%' ORDER BY suspected DESC, entity LIMIT 16",
        )?
        .query_map([id], |row| {
            Ok(DeviceOfIncident {
                entity: row.get(0)?,
                name: row.get(1)?,
                suspected: row.get(2)?,
            })
        })?
        .collect()
}

impl Graph {
    /// Who did what to whom in an incident, from its alerts.
    pub fn of(incident: &Value) -> Self {
        let mut nodes: BTreeMap<String, GraphNode> = BTreeMap::new();
        for part in list(incident, "affected") {
            let Some(entity) = text(part, "entity") else {
                continue;
            };
            let mut node = GraphNode::of(entity);
            node.suspected = part.get("suspected").and_then(Value::as_bool) == Some(true);
            if let Some(name) = text(part, "name").filter(|name| !name.is_empty()) {
                name.clone_into(&mut node.name);
            }
            nodes.insert(entity.to_owned(), node);
        }
        let mut edges: BTreeMap<[String; 4], Vec<String>> = BTreeMap::new();
        for alert in list(incident, "alerts") {
            let (Some(from), Some(id)) = (text(alert, "entity"), text(alert, "id")) else {
                continue;
            };
            let phase = text(alert, "phase").unwrap_or_default();
            nodes
                .entry(from.to_owned())
                .or_insert_with(|| GraphNode::of(from));
            for peer in list(alert, "peers") {
                let Some(to) = text(peer, "entity") else {
                    continue;
                };
                nodes
                    .entry(to.to_owned())
                    .or_insert_with(|| GraphNode::of(to));
                let role = text(peer, "role").unwrap_or_default();
                let edge = [from, to, role, phase].map(str::to_owned);
                edges.entry(edge).or_default().push(id.to_owned());
            }
        }
        let edges = edges
            .into_iter()
            .map(|([from, to, role, phase], alerts)| GraphEdge {
                from,
                to,
                role,
                phase,
                alerts,
            });
        Self {
            edges: edges.collect(),
            nodes: nodes.into_values().collect(),
        }
    }
}

impl GraphNode {
    fn of(entity: &str) -> Self {
        let (kind, key) = entity.split_once(':').unwrap_or(("external", entity));
        Self {
            entity: entity.to_owned(),
            name: key.to_owned(),
            kind: kind.to_owned(),
            suspected: false,
            is_local: kind != "external",
        }
    }
}
