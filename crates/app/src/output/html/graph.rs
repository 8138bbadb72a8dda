//! Who did what to whom, as inline SVG: outside parties on the left, suspected devices in the
//! middle, targets on the right. Positions follow from rank alone, so the same incident always
//! gives the same picture.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use thymus_schema::{Alert, EntityId, EntityKind, Incident, PeerRole, Phase};

use super::escaped;
use super::incident::phase_class;
use crate::output::Findings;

const WIDTH: f64 = 980.0;
const NODE: (f64, f64) = (236.0, 44.0);
const GAP: f64 = 26.0;
/// Most nodes in a column; the rest is counted in a last node.
const COLUMN_MAX: usize = 7;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Outside,
    Suspected,
    Target,
}

#[derive(Clone, Debug)]
struct Node<'a> {
    entity: &'a EntityId,
    column: Column,
    /// How strongly it acts.
    acts: f64,
    /// How gravely it is acted on.
    suffers: f64,
}

impl Node<'_> {
    fn weight(&self) -> f64 {
        if self.column == Column::Suspected {
            self.acts
        } else {
            self.acts.max(self.suffers)
        }
    }
}

/// What one entity did to another, by its gravest phase.
#[derive(Clone, Copy, Debug)]
struct Edge {
    phase: Phase,
    /// The tie is drawn from the controller to the device it steers.
    reversed: bool,
}

/// Draws the incident's graph; nothing when nobody else is in it.
pub(super) fn draw(incident: &Incident, findings: &Findings<'_>, out: &mut String) {
    let report = &findings.outcome.report;
    let alerts: Vec<&Alert> = incident
        .steps
        .iter()
        .filter_map(|step| report.alert(step.alert))
        .collect();
    let (nodes, edges) = collect(&alerts);
    if edges.is_empty() {
        return;
    }
    let mut places: BTreeMap<&EntityId, (f64, f64)> = BTreeMap::new();
    let columns = [Column::Outside, Column::Suspected, Column::Target].map(|column| {
        let mut own: Vec<&Node<'_>> = nodes.values().filter(|n| n.column == column).collect();
        own.sort_by(|a, b| {
            b.weight()
                .total_cmp(&a.weight())
                .then(a.entity.cmp(b.entity))
        });
        own
    });
    let rows = columns
        .iter()
        .map(|own| own.len().min(COLUMN_MAX + 1))
        .max()
        .unwrap_or(1);
    let height = rows as f64 * (NODE.1 + GAP) + 34.0;
    for (index, own) in columns.iter().enumerate() {
        let x = [8.0, (WIDTH - NODE.0) / 2.0, WIDTH - NODE.0 - 8.0][index];
        let shown = own
            .len()
            .min(COLUMN_MAX + usize::from(own.len() == COLUMN_MAX + 1));
        let top = 34.0 + (rows - own.len().min(rows)) as f64 * (NODE.1 + GAP) / 2.0;
        for (row, node) in own.iter().take(shown).enumerate() {
            places.insert(node.entity, (x, top + row as f64 * (NODE.1 + GAP)));
        }
    }
    let _ = write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Who did what to whom\">\
         <defs>"
    );
    for phase in 0..8 {
        let _ = write!(
            out,
            "<marker id=\"m{id}-{phase}\" class=\"p{phase}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" \
             markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path class=\"tip\" \
             d=\"M0 0 L10 5 L0 10 z\"/></marker>",
            id = incident.id
        );
    }
    out.push_str("</defs>");
    for (label, x) in [
        ("Outside", 8.0),
        ("Suspected", (WIDTH - NODE.0) / 2.0),
        ("Targets", WIDTH - NODE.0 - 8.0),
    ] {
        let _ = write!(out, "<text class=\"dim\" x=\"{x}\" y=\"14\">{label}</text>");
    }
    edges_svg(incident, &edges, &places, out);
    nodes_svg(findings, &nodes, &places, out);
    more_svg(&columns, rows, out);
    out.push_str("</svg>");
}

type Collected<'a> = (
    BTreeMap<&'a EntityId, Node<'a>>,
    BTreeMap<(&'a EntityId, &'a EntityId), Edge>,
);

fn collect<'a>(alerts: &[&'a Alert]) -> Collected<'a> {
    let mut nodes: BTreeMap<&EntityId, Node<'_>> = BTreeMap::new();
    let mut edges: BTreeMap<(&EntityId, &EntityId), Edge> = BTreeMap::new();
    let mut put = |entity: &'a EntityId, column: Column, acts: f64, suffers: f64| {
        let node = nodes.entry(entity).or_insert(Node {
            entity,
            column,
            acts,
            suffers,
        });
        // Who acts is suspected, whatever else was done to it.
        if column == Column::Suspected {
            node.column = column;
        }
        node.acts = node.acts.max(acts);
        node.suffers = node.suffers.max(suffers);
    };
    // What suffered the later phase stands higher; strength decides within a phase.
    for alert in alerts {
        let weight = alert.p_value.neg_log10();
        let is_outside = alert.entity.kind == EntityKind::External;
        let column = if is_outside {
            Column::Outside
        } else {
            Column::Suspected
        };
        put(&alert.entity, column, weight, 0.0);
        for peer in alert
            .peers
            .iter()
            .filter(|peer| peer.entity != alert.entity)
        {
            let (column, reversed) = match peer.role {
                PeerRole::Controller if peer.entity.kind == EntityKind::External => {
                    (Column::Outside, alert.phase != Phase::Exfiltration)
                }
                PeerRole::Controller => (Column::Suspected, false),
                PeerRole::Target => (Column::Target, false),
                PeerRole::Relay | PeerRole::Account => continue,
            };
            let gravity = weight + 100.0 * f64::from(alert.phase as u8);
            put(&peer.entity, column, 0.0, gravity);
            let edge = edges.entry((&alert.entity, &peer.entity)).or_insert(Edge {
                phase: alert.phase,
                reversed,
            });
            if alert.phase > edge.phase {
                *edge = Edge {
                    phase: alert.phase,
                    reversed,
                };
            }
        }
    }
    (nodes, edges)
}

fn edges_svg(
    incident: &Incident,
    edges: &BTreeMap<(&EntityId, &EntityId), Edge>,
    places: &BTreeMap<&EntityId, (f64, f64)>,
    out: &mut String,
) {
    let mut labels = String::new();
    let mut labelled: BTreeSet<(&EntityId, Phase)> = BTreeSet::new();
    let mut order: Vec<_> = edges.iter().collect();
    let height_of = |to: &EntityId| places.get(to).map_or(0.0, |place| place.1);
    order.sort_by(|a, b| height_of(a.0.1).total_cmp(&height_of(b.0.1)));
    for ((from, to), edge) in order {
        let (Some(a), Some(b)) = (places.get(*from), places.get(*to)) else {
            continue;
        };
        let (a, b) = if edge.reversed { (b, a) } else { (a, b) };
        let middle = NODE.1 / 2.0;
        let (start, end, bend) = if (a.0 - b.0).abs() < 1.0 {
            // Same column: around the right side.
            let x = a.0 + NODE.0;
            ((x, a.1 + middle), (x, b.1 + middle), (x + 58.0, x + 58.0))
        } else if a.0 < b.0 {
            let (x, y) = (a.0 + NODE.0, b.0);
            (
                (x, a.1 + middle),
                (y, b.1 + middle),
                (f64::midpoint(x, y), f64::midpoint(x, y)),
            )
        } else {
            let (x, y) = (a.0, b.0 + NODE.0);
            (
                (x, a.1 + middle),
                (y, b.1 + middle),
                (f64::midpoint(x, y), f64::midpoint(x, y)),
            )
        };
        let class = phase_class(edge.phase);
        let number = class.trim_start_matches('p');
        let label = (
            0.125 * start.0 + 0.375 * bend.0 + 0.375 * bend.1 + 0.125 * end.0,
            f64::midpoint(start.1, end.1) - 5.0,
        );
        let _ = write!(
            out,
            "<g class=\"{class}\"><path class=\"edge\" d=\"M{:.1} {:.1} C{:.1} {:.1} {:.1} {:.1} {:.1} \
             {:.1}\" marker-end=\"url(#m{}-{number})\"/></g>",
            start.0, start.1, bend.0, start.1, bend.1, end.1, end.0, end.1, incident.id
        );
        // A fan of edges of one kind needs its name once.
        if labelled.insert((from, edge.phase)) {
            let _ = write!(
                labels,
                "<text class=\"tag halo {class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                label.0,
                label.1,
                edge.phase.title()
            );
        }
    }
    out.push_str(&labels);
}

fn nodes_svg(
    findings: &Findings<'_>,
    nodes: &BTreeMap<&EntityId, Node<'_>>,
    places: &BTreeMap<&EntityId, (f64, f64)>,
    out: &mut String,
) {
    let names = findings.outcome.report.names();
    for (entity, (x, y)) in places {
        let Some(node) = nodes.get(entity) else {
            continue;
        };
        let class = match node.column {
            Column::Outside => "node outside",
            Column::Suspected => "node suspect",
            Column::Target => "node",
        };
        let called = names.of(entity);
        let (line, second) = match called.split_once(" (") {
            Some((key, name)) => (name.trim_end_matches(')'), key),
            None if node.column == Column::Target && entity.kind == EntityKind::External => {
                (called.as_str(), "")
            }
            None => (called.as_str(), entity.kind.as_str()),
        };
        let first_line = y + if second.is_empty() { 27.0 } else { 19.0 };
        let _ = write!(
            out,
            "<g><title>{}</title><rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{}\" \
             height=\"{}\" rx=\"8\"/><text class=\"strong\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
             <text class=\"dim\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            escaped(&called),
            NODE.0,
            NODE.1,
            x + 12.0,
            first_line,
            escaped(&shortened(line)),
            x + 12.0,
            y + 35.0,
            escaped(&shortened(second))
        );
    }
}

fn more_svg(columns: &[Vec<&Node<'_>>; 3], rows: usize, out: &mut String) {
    for (index, own) in columns.iter().enumerate() {
        if own.len() <= COLUMN_MAX + 1 {
            continue;
        }
        let x = [8.0, (WIDTH - NODE.0) / 2.0, WIDTH - NODE.0 - 8.0][index];
        let y = 34.0 + (rows - 1) as f64 * (NODE.1 + GAP);
        let more = own.len() - COLUMN_MAX;
        let _ = write!(
            out,
            "<text class=\"dim\" x=\"{:.1}\" y=\"{:.1}\">and {more} more</text>",
            x + 12.0,
            y + 19.0
        );
    }
}

/// At most as many characters as fit a node.
fn shortened(text: &str) -> String {
    const FIT: usize = 32;
    if text.chars().count() <= FIT {
        return text.to_owned();
    }
    let head: String = text.chars().take(FIT - 1).collect();
    format!("{head}…")
}
