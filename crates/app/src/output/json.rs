//! The machine-readable report. Field names are stable; a golden file guards them.

use std::collections::BTreeMap;

use serde::Serialize;
use thymus_analyst::{Names, narrative, sentence};
use thymus_detect::Promise;
use thymus_ingest::{LedgerEntry, LedgerTotals};
use thymus_schema::{
    Affected, AlertId, Confidence, Coverage, EntityId, EventId, Fact, Incident, IncidentId, PValue,
    Phase, Technique, Timestamp, Value,
};

use crate::output::Findings;

/// The whole answer of `thymus replay --json`.
#[derive(Serialize)]
pub(crate) struct Object<'a> {
    incidents: Vec<IncidentObject<'a>>,
    below_the_line: Vec<IncidentObject<'a>>,
    incidents_hidden: usize,
    budget_per_day: u64,
    coverage: CoverageObject<'a>,
    local_networks: Vec<String>,
    local_networks_declared: bool,
    inputs: LedgerTotals,
    ledger: Vec<&'a LedgerEntry>,
    detectors_disabled: &'a [&'static str],
    detectors_demoted: Vec<&'a Promise>,
}

#[derive(Serialize)]
struct IncidentObject<'a> {
    id: IncidentId,
    rank: u32,
    shown: bool,
    title: &'a str,
    hypothesis: &'a str,
    confidence: Confidence,
    p_value: PValue,
    entities: Vec<&'a str>,
    affected: Vec<AffectedObject<'a>>,
    techniques: &'a [Technique],
    first_seen: Timestamp,
    last_seen: Timestamp,
    narrative: String,
    next_steps: &'a [String],
    merged_from: &'a [IncidentId],
    alerts: Vec<AlertObject<'a>>,
}

#[derive(Serialize)]
struct AffectedObject<'a> {
    entity: &'a EntityId,
    name: String,
    aliases: &'a [Box<str>],
    suspected: bool,
}

#[derive(Serialize)]
struct AlertObject<'a> {
    id: AlertId,
    detector: &'a str,
    entity: &'a EntityId,
    peers: Vec<PeerObject<'a>>,
    phase: Phase,
    techniques: &'a [Technique],
    first_seen: Timestamp,
    last_seen: Timestamp,
    p_value: PValue,
    calibrated_by: &'a str,
    discovered: bool,
    statement: Option<String>,
    /// The sentence with slots in braces, which name what is in `evidence`.
    template: &'a str,
    evidence: Vec<FactObject<'a>>,
    counterfactual: Option<String>,
}

#[derive(Serialize)]
struct PeerObject<'a> {
    role: thymus_schema::PeerRole,
    entity: &'a EntityId,
}

#[derive(Serialize)]
struct FactObject<'a> {
    key: &'a str,
    #[serde(flatten)]
    value: &'a Value,
    text: String,
    events: &'a [EventId],
    events_total: u64,
}

#[derive(Serialize)]
pub(crate) struct CoverageObject<'a> {
    packets: u64,
    packets_judged: u64,
    bytes: u64,
    flows: u64,
    records: u64,
    records_judged: u64,
    events: u64,
    entities: u64,
    cold_entities: u64,
    dropped: &'a BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<&'a str>,
}

/// A line of `thymus run --json`.
#[derive(Serialize)]
pub(crate) struct Line<T> {
    kind: &'static str,
    #[serde(flatten)]
    value: T,
}

/// An incident as a line of its own.
pub(crate) fn incident_line<'a>(
    incident: &'a Incident,
    findings: &'a Findings<'a>,
) -> Line<impl Serialize + 'a> {
    Line {
        kind: "incident",
        value: incident_object(incident, findings),
    }
}

/// Those that do not keep their promise here.
fn demoted(promises: &[Promise]) -> Vec<&Promise> {
    let mut demoted: Vec<&Promise> = promises.iter().collect();
    demoted.retain(|promise| promise.demoted_since.is_some());
    demoted
}

/// An incident by itself, as the report has it.
pub(crate) fn incident_value(
    incident: &Incident,
    findings: &Findings<'_>,
) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(incident_object(incident, findings))
}

/// The whole report as a line.
pub(crate) fn summary_line<'a>(findings: &'a Findings<'a>) -> Line<impl Serialize + 'a> {
    Line {
        kind: "summary",
        value: object(findings),
    }
}

/// The report as an object to serialise.
pub(crate) fn object<'a>(findings: &'a Findings<'a>) -> Object<'a> {
    let outcome = findings.outcome;
    let coverage = &outcome.coverage;
    Object {
        incidents: findings
            .shown
            .iter()
            .map(|i| incident_object(i, findings))
            .collect(),
        below_the_line: findings
            .below
            .iter()
            .map(|i| incident_object(i, findings))
            .collect(),
        incidents_hidden: findings.hidden,
        budget_per_day: findings.per_day,
        coverage: coverage_object(coverage),
        local_networks: outcome
            .local
            .networks()
            .iter()
            .map(ToString::to_string)
            .collect(),
        local_networks_declared: outcome.local.is_declared(),
        inputs: outcome.ledger.totals(),
        ledger: outcome.ledger.entries.iter().collect(),
        detectors_disabled: &outcome.summary.disabled,
        detectors_demoted: demoted(&outcome.summary.promises),
    }
}

/// What was looked at, as the report has it.
pub(crate) fn coverage_object(coverage: &Coverage) -> CoverageObject<'_> {
    CoverageObject {
        packets: coverage.packets,
        packets_judged: coverage.packets_judged,
        bytes: coverage.bytes,
        flows: coverage.flows,
        records: coverage.records,
        records_judged: coverage.records_judged,
        events: coverage.events,
        entities: coverage.entities,
        cold_entities: coverage.cold_entities,
        dropped: &coverage.dropped,
        lag_ms_max: coverage.lag_ms_max,
        filter: coverage.filter.as_deref(),
    }
}

fn incident_object<'a>(incident: &'a Incident, findings: &'a Findings<'a>) -> IncidentObject<'a> {
    let names = findings.outcome.report.names();
    IncidentObject {
        id: incident.id,
        rank: incident.rank,
        shown: incident.shown,
        title: &incident.title,
        hypothesis: &incident.hypothesis,
        confidence: incident.confidence,
        p_value: incident.p_value,
        entities: incident
            .affected
            .iter()
            .map(|part| &*part.entity.key)
            .collect(),
        affected: incident
            .affected
            .iter()
            .map(|part| affected_object(part, names))
            .collect(),
        techniques: &incident.techniques,
        first_seen: incident.first_seen,
        last_seen: incident.last_seen,
        narrative: narrative(incident, &findings.outcome.report),
        next_steps: &incident.next_steps,
        merged_from: &incident.merged_from,
        alerts: alert_objects(incident, findings),
    }
}

fn affected_object<'a>(part: &'a Affected, names: &Names) -> AffectedObject<'a> {
    AffectedObject {
        entity: &part.entity,
        name: names.of(&part.entity),
        aliases: &part.aliases,
        suspected: part.suspected,
    }
}

fn alert_objects<'a>(incident: &'a Incident, findings: &'a Findings<'a>) -> Vec<AlertObject<'a>> {
    let report = &findings.outcome.report;
    let names = report.names();
    let alerts = incident
        .steps
        .iter()
        .filter_map(|step| report.alert(step.alert));
    alerts
        .map(|alert| AlertObject {
            id: alert.id,
            detector: &alert.detector,
            entity: &alert.entity,
            peers: alert
                .peers
                .iter()
                .map(|peer| PeerObject {
                    role: peer.role,
                    entity: &peer.entity,
                })
                .collect(),
            phase: alert.phase,
            techniques: &alert.techniques,
            first_seen: alert.first_seen,
            last_seen: alert.last_seen,
            p_value: alert.p_value,
            calibrated_by: &alert.calibrated_by,
            discovered: alert.discovered,
            statement: sentence(&alert.statement, names),
            template: &alert.statement.template,
            evidence: alert.statement.facts.iter().map(fact_object).collect(),
            counterfactual: sentence(&alert.counterfactual, names),
        })
        .collect()
}

fn fact_object(fact: &Fact) -> FactObject<'_> {
    FactObject {
        key: &fact.key,
        value: &fact.value,
        text: thymus_analyst::legible(&fact.value.to_string()),
        events: &fact.events,
        events_total: fact.events_total,
    }
}
