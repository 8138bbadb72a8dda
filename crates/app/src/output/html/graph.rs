//! Who did what to whom, as inline SVG: outside parties on the left, suspected devices in the
//! middle, targets on the right. Positions follow from rank alone, so the same incident always
//! gives the same picture.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use thymus_schema::{Alert, EntityId, EntityKind, Incident, PeerRole, Phase};

use super::escaped;
use super::incident::phase_class;
use crate::output::Findings;

const WIDTH: f64 = 980.0;
const NODE: (f64, f64) = (216.0, 44.0);
const GAP: f64 = 26.0;
/// Room for the headings of the columns.
const TOP: f64 = 34.0;
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
pub(super) fn draw(incident: &Incident, findings: &Findings<'_>, out: &mut String) -> fmt::Result {
    let report = &findings.outcome.report;
    let alerts: Vec<&Alert> = incident
        .steps
        .iter()
        .filter_map(|step| report.alert(step.alert))
        .collect();
    let (nodes, edges) = collect(&alerts);
    if edges.is_empty() {
        return Ok(());
    }
    let layout = Layout::of(&nodes);
    let height = layout.rows as f64 * (NODE.1 + GAP) + TOP;
    write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Who did what to whom\">\
         <defs>"
    )?;
    for phase in 0..8 {
        write!(
            out,
            "<marker id=\"m{id}-{phase}\" class=\"p{phase}\" viewBox=\"0 0 10 10\" refX=\"9\" \
             refY=\"5\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path class=\"tip\" \
             d=\"M0 0 L10 5 L0 10 z\"/></marker>",
            id = incident.id
        )?;
    }
    out.push_str("</defs>");
    for (index, label) in ["Outside", "Suspected", "Targets"].into_iter().enumerate() {
        let x = column_x(index);
        write!(out, "<text class=\"dim\" x=\"{x}\" y=\"14\">{label}</text>")?;
    }
    edges_svg(incident, &edges, &layout.places, out)?;
    nodes_svg(findings, &nodes, &layout.places, out)?;
    for (index, more) in layout
        .hidden
        .iter()
        .enumerate()
        .filter(|(_, more)| **more > 0)
    {
        let (x, y) = (
            column_x(index) + 12.0,
            TOP + COLUMN_MAX as f64 * (NODE.1 + GAP) + 19.0,
        );
        write!(
            out,
            "<text class=\"dim\" x=\"{x:.1}\" y=\"{y:.1}\">and {more} more</text>"
        )?;
    }
    out.push_str("</svg>");
    Ok(())
}

/// Where the nodes stand.
struct Layout<'a> {
    places: BTreeMap<&'a EntityId, (f64, f64)>,
    rows: usize,
    /// Nodes of each column that found no place.
    hidden: [usize; 3],
}

impl<'a> Layout<'a> {
    fn of(nodes: &BTreeMap<&'a EntityId, Node<'a>>) -> Self {
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
        let mut layout = Self {
            places: BTreeMap::new(),
            rows,
            hidden: [0; 3],
        };
        for (index, (own, hidden)) in columns.iter().zip(&mut layout.hidden).enumerate() {
            // One more than fits takes the place of the words "and 1 more".
            let shown = if own.len() == COLUMN_MAX + 1 {
                own.len()
            } else {
                COLUMN_MAX
            };
            *hidden = own.len().saturating_sub(shown);
            let empty = rows - own.len().min(rows);
            let top = TOP + empty as f64 * (NODE.1 + GAP) / 2.0;
            for (row, node) in own.iter().take(shown).enumerate() {
                let place = (column_x(index), top + row as f64 * (NODE.1 + GAP));
                layout.places.insert(node.entity, place);
            }
        }
        layout
    }
}

fn column_x(index: usize) -> f64 {
    8.0 + index as f64 * (WIDTH - NODE.0 - 16.0) / 2.0
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
) -> fmt::Result {
    let mut labels = String::new();
    let mut labelled: BTreeSet<(&EntityId, Phase)> = BTreeSet::new();
    let mut order: Vec<_> = edges.iter().collect();
    let height_of = |to: &EntityId| places.get(to).map_or(0.0, |place| place.1);
    order.sort_by(|a, b| height_of(a.0.1).total_cmp(&height_of(b.0.1)));
    for ((from, to), edge) in order {
        let (Some(a), Some(b)) = (places.get(*from), places.get(*to)) else {
            continue;
        };
        let curve = if edge.reversed {
            Curve::between(*b, *a)
        } else {
            Curve::between(*a, *b)
        };
        let class = phase_class(edge.phase);
        write!(
            out,
            "<g class=\"{class}\"><path class=\"edge\" d=\"{}\" marker-end=\"url(#m{}-{})\"/></g>",
            curve.path(),
            incident.id,
            class.trim_start_matches('p')
        )?;
        // A fan of edges of one kind needs its name once.
        if labelled.insert((from, edge.phase)) {
            let (x, y) = curve.middle();
            write!(
                labels,
                "<text class=\"tag halo {class}\" x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                y - 5.0,
                edge.phase.title()
            )?;
        }
    }
    out.push_str(&labels);
    Ok(())
}

/// A cubic curve that leaves and enters nodes sideways.
#[derive(Clone, Copy)]
struct Curve {
    start: (f64, f64),
    bend: f64,
    end: (f64, f64),
}

impl Curve {
    fn between(from: (f64, f64), to: (f64, f64)) -> Self {
        let middle = NODE.1 / 2.0;
        let is_same_column = (from.0 - to.0).abs() < 1.0;
        let (start_x, end_x) = match (is_same_column, from.0 < to.0) {
            (true, _) => (from.0 + NODE.0, to.0 + NODE.0),
            (false, true) => (from.0 + NODE.0, to.0),
            (false, false) => (from.0, to.0 + NODE.0),
        };
        // Within a column the curve goes around the right side.
        let bend = if is_same_column {
            start_x + 58.0
        } else {
            f64::midpoint(start_x, end_x)
        };
        Self {
            start: (start_x, from.1 + middle),
            bend,
            end: (end_x, to.1 + middle),
        }
    }

    fn path(self) -> String {
        let Self { start, bend, end } = self;
        format!(
            "M{:.1} {:.1} C{bend:.1} {:.1} {bend:.1} {:.1} {:.1} {:.1}",
            start.0, start.1, start.1, end.1, end.0, end.1
        )
    }

    fn middle(self) -> (f64, f64) {
        let x = 0.125 * (self.start.0 + self.end.0) + 0.75 * self.bend;
        (x, f64::midpoint(self.start.1, self.end.1))
    }
}

fn nodes_svg(
    findings: &Findings<'_>,
    nodes: &BTreeMap<&EntityId, Node<'_>>,
    places: &BTreeMap<&EntityId, (f64, f64)>,
    out: &mut String,
) -> fmt::Result {
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
        write!(
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
        )?;
    }
    Ok(())
}

/// At most as many characters as fit a node.
fn shortened(text: &str) -> String {
    const FIT: usize = 29;
    if text.chars().count() <= FIT {
        return text.to_owned();
    }
    let head: String = text.chars().take(FIT - 1).collect();
    format!("{head}…")
}
