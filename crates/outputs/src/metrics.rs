//! How the program stands, in the text format of Prometheus (0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;
use thymus_schema::Timestamp;

use crate::escape::label_value;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is known when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The latest status of the run, as the journal has it; `null` before the first.
    pub status: Value,
    /// Open incidents that are shown, by confidence.
    pub incidents_open: BTreeMap<String, u64>,
    /// Bytes on the disk, by what takes them.
    pub storage: BTreeMap<&'static str, u64>,
    /// Whether the console keeps what the run tells.
    pub is_keeping: bool,
    /// How the outputs stand, as they write it down; `null` without any.
    pub outputs: Value,
    /// The time of day.
    pub now: Timestamp,
}

/// The text.
pub fn text(standing: &Standing) -> String {
    let mut page = Page::default();
    page.family("thymus_build_info", "gauge", "The version that answers.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.family(
        "thymus_keeping",
        "gauge",
        "Whether what the run tells is kept; 0 when the disk is full or the database in trouble.",
    );
    page.sample(&[], f64::from(u8::from(standing.is_keeping)));
    page.family(
        "thymus_incidents_open",
        "gauge",
        "Open incidents that are shown.",
    );
    for level in ["low", "medium", "high"] {
        let count = standing.incidents_open.get(level).copied().unwrap_or(0);
        page.sample(&[("confidence", level)], count as f64);
    }
    page.family("thymus_storage_bytes", "gauge", "Bytes on the disk.");
    for (what, bytes) in &standing.storage {
        page.sample(&[("what", what)], *bytes as f64);
    }
    run(&mut page, standing);
    processes(&mut page, &standing.status);
    detectors(&mut page, &standing.status);
    outputs(&mut page, &standing.outputs);
    page.out
}

fn run(page: &mut Page, standing: &Standing) {
    let status = &standing.status;
    let at = status["at"].as_str().and_then(Timestamp::parse);
    if let Some(at) = at {
        page.family(
            "thymus_status_age_seconds",
            "gauge",
            "Time since the run last said how it stands.",
        );
        page.sample(&[], standing.now.secs_since(at).max(0.0));
    }
    page.one(
        "thymus_source_down",
        "gauge",
        "Whether what is watched is switched off.",
        status["is_down"]
            .as_bool()
            .map(|is| f64::from(u8::from(is))),
    );
    page.one(
        "thymus_lag_seconds",
        "gauge",
        "How far the analysis is behind what it watches.",
        status["lag_ms"].as_f64().map(|ms| ms / 1e3),
    );
    let coverage = &status["coverage"];
    for (key, name, help) in [
        ("packets", "thymus_packets_total", "Packets seen."),
        (
            "packets_judged",
            "thymus_packets_judged_total",
            "Packets that were judged.",
        ),
        ("bytes", "thymus_bytes_total", "Bytes seen."),
        ("flows", "thymus_flows_total", "Flows seen."),
        ("records", "thymus_records_total", "Log records seen."),
        (
            "records_judged",
            "thymus_records_judged_total",
            "Log records that were judged.",
        ),
        ("events", "thymus_events_total", "Events made."),
    ] {
        page.one(name, "counter", help, coverage[key].as_f64());
    }
    for (key, name, help) in [
        ("entities", "thymus_devices", "Devices known."),
        (
            "cold_entities",
            "thymus_devices_cold",
            "Devices known for too short a time to be judged by themselves.",
        ),
    ] {
        page.one(name, "gauge", help, coverage[key].as_f64());
    }
    page.map(
        "thymus_dropped_total",
        "counter",
        "What was not looked at or not kept, by reason.",
        "reason",
        &coverage["dropped"],
    );
}

fn processes(page: &mut Page, status: &Value) {
    page.map(
        "thymus_process_resident_memory_bytes",
        "gauge",
        "Memory of a process that is resident.",
        "process",
        &status["memory_bytes"],
    );
    let Some(all) = status["processes"].as_array().filter(|all| !all.is_empty()) else {
        return;
    };
    page.family(
        "thymus_process_restarts_total",
        "counter",
        "How often a process was started again.",
    );
    for process in all {
        let name = process["name"].as_str().unwrap_or_default();
        let restarts = process["restarts"].as_f64().unwrap_or_default();
        page.sample(&[("process", name)], restarts);
    }
}

fn detectors(page: &mut Page, status: &Value) {
    let Some(all) = status["detectors"].as_array().filter(|all| !all.is_empty()) else {
        return;
    };
    page.family(
        "thymus_detector_state",
        "gauge",
        "1 for the state that a detector is in: ok, learning, demoted or disabled.",
    );
    for detector in all {
        let id = detector["id"].as_str().unwrap_or_default();
        let state = detector["state"].as_str().unwrap_or_default();
        page.sample(&[("detector", id), ("state", state)], 1.0);
    }
}

fn outputs(page: &mut Page, outputs: &Value) {
    let Some(all) = outputs["outputs"].as_array().filter(|all| !all.is_empty()) else {
        return;
    };
    for (key, name, kind, help) in [
        (
            "delivered",
            "thymus_output_delivered_total",
            "counter",
            "Records that an output took.",
        ),
        (
            "waiting",
            "thymus_output_waiting",
            "gauge",
            "Records that wait for an output.",
        ),
        (
            "waiting_bytes",
            "thymus_output_waiting_bytes",
            "gauge",
            "Bytes of them.",
        ),
        (
            "dropped",
            "thymus_output_dropped_total",
            "counter",
            "Records that went because the spool was full.",
        ),
        (
            "refused",
            "thymus_output_refused_total",
            "counter",
            "Records that an output will never take.",
        ),
    ] {
        page.family(name, kind, help);
        for output in all {
            let output_name = output["name"].as_str().unwrap_or_default();
            let value = output[key].as_f64().unwrap_or_default();
            page.sample(&[("output", output_name)], value);
        }
    }
    page.family(
        "thymus_output_failing",
        "gauge",
        "Whether the last try to deliver failed.",
    );
    for output in all {
        let is_failing = !output["failing_since"].is_null();
        let name = output["name"].as_str().unwrap_or_default();
        page.sample(&[("output", name)], f64::from(u8::from(is_failing)));
    }
}

#[derive(Default)]
struct Page {
    out: String,
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a string does not fail.
        let _is_written = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n").is_ok();
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(self.name);
        if !labels.is_empty() {
            let each = labels.iter();
            let all: Vec<String> = each
                .map(|(key, value)| format!("{key}=\"{}\"", label_value(value)))
                .collect();
            let _is_written = write!(self.out, "{{{}}}", all.join(",")).is_ok();
        }
        let _is_written = writeln!(self.out, " {value}").is_ok();
    }

    /// A family of one sample, where there is a value.
    fn one(&mut self, name: &'static str, kind: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.family(name, kind, help);
            self.sample(&[], value);
        }
    }

    /// A family with a sample for each field of an object.
    fn map(&mut self, name: &'static str, kind: &str, help: &str, label: &str, object: &Value) {
        let Some(fields) = object.as_object().filter(|fields| !fields.is_empty()) else {
            return;
        };
        self.family(name, kind, help);
        for (key, value) in fields {
            if let Some(value) = value.as_f64() {
                self.sample(&[(label, key)], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn before_the_first_status_there_is_little_and_it_is_whole() {
        let text = text(&Standing::default());
        assert!(text.contains("thymus_incidents_open{confidence=\"high\"} 0\n"));
        assert!(text.contains("thymus_keeping 0\n"));
        assert!(!text.contains("thymus_packets_total"));
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn every_sample_has_its_family_once_and_a_name_stays_in_its_label() {
        let standing = Standing {
            status: json!({
                "at": "2026-01-01T00:00:00Z", "is_down": false, "lag_ms": 1500,
                "coverage": {"packets": 10, "bytes": 1e12, "dropped": {"a\"}\nb": 3}},
                "memory_bytes": {"analysis": 1024}, "processes": [{"name": "analysis", "restarts": 2}],
                "detectors": [{"id": "beacon", "state": "ok"}],
            }),
            outputs: json!({"outputs": [
                {"name": "file", "delivered": 4, "waiting": 1, "failing_since": "2026-01-01T00:00:00Z"}]}),
            now: Timestamp::parse("2026-01-01T00:00:07Z").unwrap(),
            ..Standing::default()
        };
        let text = text(&standing);
        for line in [
            "thymus_lag_seconds 1.5",
            "thymus_bytes_total 1000000000000",
            "thymus_dropped_total{reason=\"a\\\"} b\"} 3",
            "thymus_detector_state{detector=\"beacon\",state=\"ok\"} 1",
            "thymus_output_failing{output=\"file\"} 1",
            "thymus_status_age_seconds 7",
        ] {
            assert!(
                text.lines().any(|one| one == line),
                "{line} is not in\n{text}"
            );
        }
        let mut families = std::collections::BTreeSet::new();
        let mut current = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().unwrap();
                assert!(families.insert(current), "{current} twice");
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(name, current);
            }
        }
    }
}
