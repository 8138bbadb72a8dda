//! `thymus list` and `thymus explain`: what the registries know.

use std::io::{BufWriter, Write, stdout};

use anyhow::{Result, bail};
use serde::Serialize;
use thymus_detect::{DETECTORS, DetectorSpec};
use thymus_ingest::{ANALYZERS, AnalyzerSpec, SOURCES};
use thymus_schema::{Service, Technique};

use crate::Found;
use crate::cli::{ExplainArgs, ListArgs, ListKind};

#[derive(Serialize)]
struct Entry {
    id: String,
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

/// `thymus list`.
///
/// # Errors
/// When standard output cannot be written to.
pub(crate) fn list(args: &ListArgs) -> Result<Found> {
    let entries = match args.kind {
        ListKind::Detectors => DETECTORS.iter().map(detector_entry).collect(),
        ListKind::Sources => sources(),
        ListKind::Protocols => ANALYZERS.iter().map(protocol_entry).collect::<Vec<_>>(),
    };
    let mut out = BufWriter::new(stdout().lock());
    if args.json {
        serde_json::to_writer(&mut out, &entries)?;
        out.write_all(b"\n")?;
    } else {
        let wide = entries
            .iter()
            .map(|entry| entry.id.len())
            .max()
            .unwrap_or(0);
        for entry in &entries {
            let detail = if entry.detail.is_empty() {
                String::new()
            } else {
                format!("  ({})", entry.detail)
            };
            writeln!(out, "{:wide$}  {}{detail}", entry.id, entry.title)?;
        }
    }
    out.flush()?;
    Ok(Found::Nothing)
}

fn detector_entry(spec: &DetectorSpec) -> Entry {
    let techniques = spec
        .techniques
        .iter()
        .map(|technique| technique.id())
        .collect::<Vec<_>>();
    Entry {
        id: spec.id.to_owned(),
        title: spec.title.to_owned(),
        detail: techniques.join(", "),
    }
}

fn sources() -> Vec<Entry> {
    let entry = |id: &str, title: &str| Entry {
        id: id.to_owned(),
        title: title.to_owned(),
        detail: String::new(),
    };
    SOURCES
        .iter()
        .map(|spec| entry(spec.id, spec.title))
        .collect()
}

fn protocol_entry(spec: &AnalyzerSpec) -> Entry {
    let over: Vec<&str> = spec
        .transports
        .iter()
        .map(|transport| transport.as_str())
        .collect();
    let ports: Vec<String> = spec.usual_ports.iter().map(ToString::to_string).collect();
    let ports = if ports.is_empty() {
        "no usual port".to_owned()
    } else {
        format!("usually {}", ports.join(", "))
    };
    Entry {
        id: spec.service.as_str().to_owned(),
        title: format!("over {}", over.join(" and ")),
        detail: format!("{ports}; recognised by content"),
    }
}

/// `thymus explain`.
///
/// # Errors
/// When nothing has that id; the message names the nearest that has.
pub(crate) fn explain(args: &ExplainArgs) -> Result<Found> {
    let id = args.id.as_str();
    let page = detector_page(id)
        .or_else(|| technique_page(id))
        .or_else(|| protocol_page(id));
    let Some(page) = page else {
        let nearest = known_ids().min_by_key(|known| distance(known, id));
        bail!(
            "nothing is called {id}; the nearest is {}; `thymus list` shows detectors, sources and \
             protocols",
            nearest.unwrap_or_default()
        );
    };
    let mut out = stdout().lock();
    out.write_all(page.as_bytes())?;
    Ok(Found::Nothing)
}

fn detector_page(id: &str) -> Option<String> {
    let spec = DETECTORS.iter().find(|spec| spec.id == id)?;
    let mut page = format!("# {} ({})\n\n{}", spec.title, spec.id, spec.page());
    if !spec.techniques.is_empty() {
        page.push_str("\n## ATT&CK\n\n");
        for technique in spec.techniques {
            page.extend(["- ", technique.id(), " ", technique.name(), "\n"]);
        }
    }
    Some(page)
}

fn technique_page(id: &str) -> Option<String> {
    let technique = Technique::from_id(&id.to_ascii_uppercase())?;
    let mut page = format!(
        "# {} {}\n\nA technique of MITRE ATT&CK. ",
        technique.id(),
        technique.name()
    );
    let detectors: Vec<&DetectorSpec> = DETECTORS
        .iter()
        .filter(|spec| spec.techniques.contains(&technique))
        .collect();
    if detectors.is_empty() {
        page.push_str("No detector of this version names it by itself.\n");
        return Some(page);
    }
    page.push_str("Detectors that look for it:\n\n");
    for spec in detectors {
        page.extend(["- ", spec.id, ": ", spec.title, "\n"]);
    }
    Some(page)
}

fn protocol_page(id: &str) -> Option<String> {
    let service = Service::from_name(id)?;
    let Some(spec) = ANALYZERS.iter().find(|spec| spec.service == service) else {
        return Some(format!(
            "# {id}\n\nRecognised in logs; not read from packets.\n"
        ));
    };
    let entry = protocol_entry(spec);
    Some(format!(
        "# {id}\n\nRead from packets {}; {}.\n",
        entry.title, entry.detail
    ))
}

fn known_ids() -> impl Iterator<Item = &'static str> {
    let detectors = DETECTORS.iter().map(|spec| spec.id);
    let protocols = ANALYZERS.iter().map(|spec| spec.service.as_str());
    detectors
        .chain(protocols)
        .chain(Technique::all().map(Technique::id))
}

/// Edit distance (Levenshtein 1966), for suggesting what was meant.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (j, y) in b.iter().enumerate() {
            let at = |index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
            left = (at(j) + usize::from(x != *y))
                .min(at(j + 1) + 1)
                .min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_literature() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("beacon", "beacon"), 0);
    }

    #[test]
    fn every_detector_and_technique_has_a_page() {
        for spec in DETECTORS {
            let page = detector_page(spec.id).unwrap();
            assert!(
                page.contains(spec.title) && spec.page().len() > 100,
                "{}",
                spec.id
            );
        }
        assert!(
            technique_page("t1046")
                .unwrap()
                .contains("Network Service Discovery")
        );
        assert_eq!(technique_page("T9999"), None);
    }

    #[test]
    fn a_wrong_id_names_the_nearest() {
        let error = explain(&ExplainArgs {
            id: "T1046x".into(),
        })
        .unwrap_err();
        assert!(error.to_string().contains("T1046"), "{error}");
    }
}
